//! What is kept: the points of the last minutes, and what netglance remembers from one start to the next.

pub mod history;
pub mod state;

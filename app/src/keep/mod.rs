//! What is kept: the points of the last minutes, of one app and of every app, and what netglance remembers from one start to the next.

pub mod budget;
pub mod calendar;
pub mod histories;
pub mod history;
pub mod recorder;
pub mod state;
pub mod store;
pub mod usage;

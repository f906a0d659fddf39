//! Keeps: the points of the last minutes, and what is remembered from one start to the next.

pub mod history;
pub mod state;

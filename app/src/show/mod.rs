//! Shows: tray, window and chart. It reads no counter and no file.

pub mod chart;
pub mod picture;
pub mod tray;
pub mod update;
pub mod window;

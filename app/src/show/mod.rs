//! Shows: tray, window and chart. It reads no counter, and no file but icons and fonts.

pub mod chart;
pub mod picture;
pub mod tray;
pub mod update;
pub mod window;

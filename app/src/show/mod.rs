//! Shows: tray, window and chart. It reads no counter, and no file but icons and fonts.

pub mod chart;
#[cfg(feature = "desktop")]
pub mod picture;
#[cfg(feature = "desktop")]
pub mod tray;
#[cfg(feature = "desktop")]
pub mod update;
#[cfg(feature = "desktop")]
pub mod window;

//! The base for everything else: the settings, and how figures and messages are worded.

pub mod file;
pub mod format;
pub mod say;
pub mod settings;

/// Whether this build has a window and a tray icon.
pub const HAS_WINDOW: bool = cfg!(feature = "desktop");

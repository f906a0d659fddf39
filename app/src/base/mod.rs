//! The base for everything else: the settings, and how figures and messages are worded.

pub mod file;
pub mod format;
pub mod say;
pub mod settings;

//! What everything else stands on: the settings, and how figures and errors are worded.

pub mod format;
pub mod say;
pub mod settings;

//! netglance: how much is this application talking to the outside world right now?
//!
//! One direction of flow: sampler -> target -> rate -> history -> chart, window, terminal. Only [`monitor`] sees all.

pub mod autostart;
pub mod chart;
pub mod cli;
pub mod desktop;
pub mod desktop_entry;
pub mod doctor;
pub mod exact;
pub mod format;
pub mod history;
pub mod instance;
pub mod link;
pub mod live;
pub mod monitor;
pub mod picture;
pub mod rate;
pub mod sampler;
pub mod say;
pub mod settings;
pub mod state;
pub mod target;
pub mod tray;
pub mod update;
pub mod verify;
pub mod window;

//! What netglance remembers from one start to the next, besides the settings: the watched apps, and the window's place.

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::budget::Told;
use crate::base::file;

/// The file `netglance/state.json` in `$XDG_STATE_HOME` (`~/.local/state`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct State {
    /// The ids of the watched apps, in the order in which they were chosen. `None`: nobody has chosen any yet.
    pub watched: Option<Vec<String>>,
    /// The chart's span in minutes; 0: nobody has chosen one yet.
    pub span_min: u32,
    /// The window's place.
    pub place: Place,
    /// What the person did not agree to for exact counting, in the words of the question: it is not asked again by itself.
    pub refused: Option<String>,
    /// Of which budgets a person has heard.
    pub told: Told,
}

/// A window's place in points. `None`: the desktop chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Place {
    /// The upper left corner, frame included. Wayland doesn't tell it.
    pub corner: Option<[i32; 2]>,
    /// Width and height without the frame.
    pub size: Option<[u32; 2]>,
}

impl State {
    /// Reads the file. If it is missing or makes no sense, this is like a first start.
    pub fn load() -> Self {
        let text = path().and_then(|path| fs::read_to_string(path).ok());
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    /// Writes the whole file or nothing.
    pub fn save(&self) -> io::Result<()> {
        let path = path().ok_or_else(|| io::Error::other("neither HOME nor XDG_STATE_HOME is set"))?;
        file::replace(&path, &(serde_json::to_string_pretty(self)? + "\n"))
    }
}

fn path() -> Option<PathBuf> {
    xdg::BaseDirectories::with_prefix("netglance").get_state_file("state.json")
}

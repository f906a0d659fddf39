//! The settings file: read, checked, and where each value's default stands.

/// Bytes or bits on screen; inside it is always bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// B/s, kB/s, MB/s (powers of 1000)
    #[default]
    Bytes,
    /// bit/s, kbit/s, Mbit/s (powers of 1000)
    Bits,
}

/// How the window looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// What the desktop asks for.
    #[default]
    System,
    /// Dark.
    Dark,
    /// Light.
    Light,
}

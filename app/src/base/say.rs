//! Messages on stderr. Names in them come from strangers. If stderr is closed or full, they are lost and nothing else happens.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

use netglance_dbus::text::printable_lines;

/// Prints a message after the program's name.
pub fn say(text: impl Display) {
    _ = writeln!(io::stderr(), "netglance: {}", printable_lines(&text.to_string()));
}

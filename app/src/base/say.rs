//! What netglance says on stderr. Names in it come from strangers, and whether anybody reads it is nobody's problem: a standard
//! error that is closed or full ends nothing.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

use netglance_dbus::text::printable_lines;

/// Says it, with the program's name before it.
pub fn say(text: impl Display) {
    _ = writeln!(io::stderr(), "netglance: {}", printable_lines(&text.to_string()));
}

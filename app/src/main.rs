//! The program `netglance`: reads the command line and does what it says.

use std::process::ExitCode;

use clap::Parser;
use netglance::cli::{self, Cli};

fn main() -> ExitCode {
    cli::complete();
    Cli::parse().execute()
}

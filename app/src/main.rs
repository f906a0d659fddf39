//! The program `netglance`: reads the command line and hands over.

use std::process::ExitCode;

use clap::Parser;
use netglance::{
    cli::{self, Cli, Start},
    program::{self, link},
};

fn main() -> ExitCode {
    cli::complete();
    match Cli::parse().execute() {
        Start::Done(code) => code,
        Start::Desktop { hidden } => program::run(hidden),
        Start::Window => link::show_window(),
    }
}

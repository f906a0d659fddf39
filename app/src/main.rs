//! The program `netglance`: reads the command line and hands over.

use std::{process::ExitCode, sync::mpsc, thread, time::Duration};

use clap::Parser;
use netglance::{
    cli::{Cli, Start},
    desktop,
    settings::SettingsFile,
    update::Place,
    window,
};

fn main() -> ExitCode {
    match Cli::parse().execute() {
        Start::Done(code) => code,
        Start::Window => show_window(),
    }
}

fn show_window() -> ExitCode {
    let (update_sender, updates) = mpsc::channel();
    let (commands, wishes) = mpsc::channel();
    let (command_sender, mut command_receiver) = tokio::sync::mpsc::unbounded_channel();
    thread::spawn(move || wishes.iter().try_for_each(|command| command_sender.send(command)));
    let shown = window::run(&SettingsFile::open().settings, 0, Place::default(), move |ctx| {
        // A request without a delay is two frames in egui; one with the shortest delay is one.
        let wake = move || ctx.request_repaint_after(Duration::from_nanos(1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let beat = move || runtime.block_on(desktop::serve(&update_sender, &mut command_receiver, wake));
        let started = thread::Builder::new().name("monitor".to_owned()).spawn(beat);
        started.map(|_| (updates, commands))
    });
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netglance: cannot open the window: {error}. The same figures in this terminal: netglance watch");
            ExitCode::FAILURE
        }
    }
}

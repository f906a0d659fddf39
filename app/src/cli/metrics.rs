//! `netglance metrics`.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Args, ValueHint};
use netglance_dbus::error::chain;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::sleep_until,
};

use super::{
    Error,
    watch::{print_as_it_is, say_settings_error, say_warning},
};
use crate::{
    base::say::say,
    look::sampler::Exact,
    metrics::{
        exporter::Exporter,
        server::{Question, Server},
        text::Format,
        textfile,
    },
};

/// Its arguments.
#[derive(Debug, Args)]
pub(super) struct MetricsArgs {
    /// Serve the figures over HTTP at this IP address and port, until interrupted
    ///
    /// Everybody who can reach it can read them: choose 127.0.0.1 for this computer alone.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Write the figures to a file for node_exporter's textfile collector; its name must end in .prom
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "listen")]
    textfile: Option<PathBuf>,
    /// Write the file again after so many seconds, from 1 to 3600, until interrupted; then the file is emptied
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "textfile")]
    interval: Option<Duration>,
    /// Include every user and the services of the system; needs authorization unless you are root
    #[arg(long)]
    all: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let secs: u64 = text.parse().map_err(|_| "not a whole number of seconds".to_owned())?;
    if (1..=3600).contains(&secs) {
        Ok(Duration::from_secs(secs))
    } else {
        Err("not between 1 and 3600 seconds".to_owned())
    }
}

/// Prints, writes or serves the figures.
pub(super) async fn metrics(args: &MetricsArgs) -> Result<ExitCode, Error> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::io("listen for signals"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::io("listen for signals"))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(Error::io("listen for signals"))?;
    if let Some(file) = &args.textfile {
        check_name(file)?;
    }
    // A port that is in use is said before anything else.
    let (mut server, mut questions) = match args.listen {
        Some(address) => {
            let opened = Server::open(address).await.map_err(|source| Error::Listen { address, source });
            let (server, questions) = opened?;
            (Some(server), Some(questions))
        }
        None => (None, None),
    };
    let mut exporter = Exporter::open(args.all).await?;
    let mut said = Said::default();
    said.say(&exporter);
    if let Some(server) = &server {
        let address = server.address().map_err(Error::io("find out the address"))?;
        let public =
            if address.ip().is_loopback() { "" } else { " Everybody who can reach this address can read them." };
        say(format_args!("the figures are at http://{address}/metrics.{public}"));
    }
    let mut due = Instant::now();
    let mut is_first = true;
    loop {
        if server.is_none() && Instant::now() >= due {
            let text = exporter.tell(Format::Text, false).await.map_err(|error| Error::Helper(chain(&error)));
            let given = text.and_then(|text| give(args.textfile.as_deref(), &text));
            let Some((interval, file)) = args.interval.zip(args.textfile.as_deref()) else {
                return given.map(|()| ExitCode::SUCCESS);
            };
            match given {
                Err(error) if is_first => return Err(error),
                Err(error) => {
                    say(chain(&error));
                    // Old figures must not look like new ones. That this fails too has been said.
                    _ = textfile::clear(file);
                }
                Ok(()) => is_first = false,
            }
            due = Instant::now() + interval;
        }
        let next = if server.is_some() { exporter.next_look() } else { exporter.next_look().min(due) };
        tokio::select! {
            () = accept(&mut server) => {}
            Some(question) = next_question(&mut questions) => {
                let told = exporter.tell(question.format, question.gzip).await;
                _ = question.answer.send(told.map_err(|error| chain(&error)));
            }
            () = sleep_until(next.into()) => {
                if exporter.next_look() <= Instant::now() {
                    exporter.look().await;
                }
            }
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = hangup.recv() => break,
        }
        said.say(&exporter);
    }
    if let Some(file) = &args.textfile {
        textfile::clear(file).map_err(|source| Error::Write { path: file.clone(), source })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn check_name(file: &Path) -> Result<(), Error> {
    if file.extension().is_some_and(|extension| extension == "prom") {
        return Ok(());
    }
    let source = io::Error::new(io::ErrorKind::InvalidInput, "node_exporter only reads files whose names end in .prom");
    Err(Error::Write { path: file.to_owned(), source })
}

/// To the file, or to stdout.
fn give(file: Option<&Path>, text: &[u8]) -> Result<(), Error> {
    match file {
        None => print_as_it_is(String::from_utf8_lossy(text).trim_end()).map(|_| ()),
        Some(file) => textfile::write(file, text).map_err(|source| Error::Write { path: file.to_owned(), source }),
    }
}

async fn accept(server: &mut Option<Server>) {
    match server {
        Some(server) => server.accept().await,
        None => std::future::pending().await,
    }
}

async fn next_question(questions: &mut Option<mpsc::Receiver<Question>>) -> Option<Question> {
    match questions {
        Some(questions) => questions.recv().await,
        None => std::future::pending().await,
    }
}

/// What a person has been told on stderr.
#[derive(Default)]
struct Said {
    exact: Option<Exact>,
    settings: Option<String>,
    warning: Option<String>,
}

impl Said {
    fn say(&mut self, exporter: &Exporter) {
        let monitor = exporter.monitor();
        self.settings = say_settings_error(monitor, self.settings.take());
        self.warning = say_warning(monitor, self.warning.take());
        if self.exact.as_ref() == Some(monitor.exact()) {
            return;
        }
        match monitor.exact() {
            Exact::Counting if self.exact.is_some() => say("the figures are exact from now on."),
            Exact::Counting => {}
            why => say(format_args!("the figures are an estimate: {why}")),
        }
        self.exact = Some(monitor.exact().clone());
    }
}

//! The line between the program and its window, which is a process of its own: what goes in at its standard input, what comes
//! out of its output, a JSON object a line. Its input's end closes the window, so that none outlives its program; its own end
//! is a window that was closed.
//!
//! Why a process: the drivers that draw a window take some hundred megabytes, and give nothing back while they are loaded.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, BufRead as _, Write as _},
    os::unix::fs::MetadataExt as _,
    process::{ExitCode, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use eframe::egui::{Context, ViewportCommand};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout},
    sync::mpsc::{Receiver, Sender, UnboundedSender, channel, error::TrySendError},
};

use crate::{
    base::say::say,
    show::{
        update::{Command, Update},
        window,
    },
};

/// The hidden command that is a window's process.
pub const COMMAND: &str = "window";
/// Updates that may wait for a window that is slow.
const WAITING: usize = 8;
/// A window that has not closed by then is ended.
const CLOSES_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Deserialize, Serialize)]
enum Line {
    Update(Box<Update>),
    /// Come to the front.
    Raise,
}

/// What a window tells the program.
#[derive(Debug)]
pub enum Said {
    /// A wish.
    Command(Command),
    /// It is gone; `None`: nobody knows how.
    Closed(Option<ExitStatus>),
}

/// A window's process, seen from the program. Dropped, it closes.
#[derive(Debug)]
pub struct Link {
    lines: Sender<String>,
    number: u64,
    behind: bool,
}

impl Link {
    /// Opens a window. What it says comes with `number`. `token`: what a Wayland desktop wants to see of one that takes the focus.
    pub fn open(number: u64, token: Option<String>, said: UnboundedSender<(u64, Said)>) -> io::Result<Self> {
        let mut command = tokio::process::Command::new(program()?);
        command.arg0("netglance").arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        for variable in ["XDG_ACTIVATION_TOKEN", "DESKTOP_STARTUP_ID"] {
            match &token {
                Some(token) => command.env(variable, token),
                None => command.env_remove(variable), // that of the program's own start
            };
        }
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the window's process has no pipes"));
        };
        let (lines, waiting) = channel(WAITING);
        tokio::spawn(write(stdin, waiting));
        tokio::spawn(read(child, stdout, number, said));
        Ok(Self { lines, number, behind: true })
    }

    /// Which one it is.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether its next update must say all that it has missed.
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// Sends an update. A window that is too slow for it misses it, and is behind then: the beat waits for nobody.
    pub fn send(&mut self, update: Update) {
        self.behind = !self.put(&Line::Update(Box::new(update)));
    }

    /// Brings it to the front.
    pub fn raise(&self) {
        self.put(&Line::Raise);
    }

    fn put(&self, line: &Line) -> bool {
        let Ok(mut text) = serde_json::to_string(line) else { return true };
        text.push('\n');
        !matches!(self.lines.try_send(text), Err(TrySendError::Full(_)))
    }
}

/// This program's file. Where an upgrade has replaced it, the one that runs: both ends must speak the same language.
fn program() -> io::Result<OsString> {
    const SELF: &str = "/proc/self/exe";
    let path = env::current_exe()?;
    let id = |path: &std::path::Path| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    Ok(if id(&path) == id(SELF.as_ref()) { path.into() } else { SELF.into() })
}

async fn write(mut stdin: ChildStdin, mut lines: Receiver<String>) {
    while let Some(line) = lines.recv().await {
        if stdin.write_all(line.as_bytes()).await.is_err() {
            return; // it is gone, and its output's end says so
        }
    }
}

async fn read(mut child: Child, stdout: ChildStdout, number: u64, said: UnboundedSender<(u64, Said)>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // A library that prints something is no wish.
        if let Ok(command) = serde_json::from_str(&line) {
            _ = said.send((number, Said::Command(command)));
        }
    }
    // It may have closed its output alone.
    let status = match tokio::time::timeout(CLOSES_WITHIN, child.wait()).await {
        Ok(status) => status.ok(),
        Err(_) => child.kill().await.ok().and(None),
    };
    _ = said.send((number, Said::Closed(status)));
}

/// The window's process: shows what comes in until there is no more or the window is closed.
pub fn show_window() -> ExitCode {
    let mut lines = io::BufReader::new(io::stdin())
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str(&line).ok());
    let Some(Line::Update(first)) = lines.next() else {
        say(format_args!("`{COMMAND}` is an internal command. To open the window, run: netglance"));
        return ExitCode::FAILURE;
    };
    let (update_sender, updates) = mpsc::channel();
    let (commands, wishes) = mpsc::channel();
    let beginning = first.clone();
    let start = move |ctx: Context| {
        _ = update_sender.send(*first);
        let receive = move || {
            // A request without a delay is two frames in egui; one with the shortest delay is one.
            let wake = || ctx.request_repaint_after(Duration::from_nanos(1));
            for line in lines {
                match line {
                    Line::Update(update) => _ = update_sender.send(*update),
                    Line::Raise => {
                        ctx.send_viewport_cmd(ViewportCommand::Minimized(false));
                        ctx.send_viewport_cmd(ViewportCommand::Focus);
                    }
                }
                wake();
            }
            ctx.send_viewport_cmd(ViewportCommand::Close);
            wake();
            thread::sleep(CLOSES_WITHIN);
            std::process::exit(0); // a driver hangs, or the window is in a dialog
        };
        thread::Builder::new().name("updates".to_owned()).spawn(receive)?;
        thread::Builder::new().name("commands".to_owned()).spawn(move || send(&wishes))?;
        Ok((updates, commands))
    };
    match window::run(&beginning, start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!(
                "cannot open the window: {error}. To see the same figures in this terminal, run: netglance watch"
            ));
            ExitCode::FAILURE
        }
    }
}

fn send(wishes: &mpsc::Receiver<Command>) {
    let mut out = io::stdout();
    for wish in wishes {
        let Ok(line) = serde_json::to_string(&wish) else { continue };
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            return; // the program is gone, and the window is about to go
        }
    }
}

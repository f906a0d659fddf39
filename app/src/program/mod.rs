//! The program behind the tray and the window: what may happen to it, and its start.

pub mod appearance;
pub mod autostart;
mod connections;
mod desktop;
pub mod exact;
mod face;
mod grants;
pub mod instance;
pub mod launchers;
pub mod link;
mod memory;
mod menu;
pub mod notify;
pub mod save;

use std::{process::ExitCode, time::Duration};

use appearance::Appearance;
use desktop::{Desktop, Granted, Senders};
use instance::{Asked, Instance};
use link::Said;
use memory::{Answer, Memory};
use save::Saved;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Instant, timeout_at},
};

use crate::{
    base::say::say,
    look::network::{self, Network},
    show::{
        tray::{self, Tray},
        update::Proof,
    },
};

/// So long it may take until the first word about a panel, and about the desktop's looks.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// Runs until a person ends it. `hidden`: don't open the window.
pub fn run(hidden: bool) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(format_args!("cannot start the event loop: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(start(hidden));
    // What still waits for a person has nobody left to tell.
    runtime.shutdown_background();
    code
}

async fn start(hidden: bool) -> ExitCode {
    let (asked_sender, asked) = unbounded_channel();
    let session = match instance::claim(!hidden, asked_sender).await {
        Ok(Instance::First(session)) => Some(session),
        Ok(Instance::Alone) => None,
        Ok(Instance::Second) => return ExitCode::SUCCESS,
        Err(error) => {
            say(error);
            return ExitCode::FAILURE;
        }
    };
    let (tell, hosts) = unbounded_channel();
    let (tray_sender, tray_events) = unbounded_channel();
    let (said_sender, said) = unbounded_channel();
    let (granted_sender, granted) = unbounded_channel();
    let (proven_sender, proven) = unbounded_channel();
    let (saved_sender, saved) = unbounded_channel();
    let (looks, appearance) = unbounded_channel();
    let (network_sender, networks) = unbounded_channel();
    let (answer, answers) = unbounded_channel();
    let (pressed_sender, pressed) = unbounded_channel();
    let ended = match signal(SignalKind::terminate()) {
        Ok(ended) => ended,
        Err(error) => {
            say(format_args!("cannot listen for signals: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let mut events = Events {
        asked,
        pressed,
        hosts,
        tray: tray_events,
        said,
        granted,
        proven,
        saved,
        appearance,
        networks,
        answers,
        ended,
    };
    tokio::spawn(async move { network::follow(network::system_bus().await, network_sender).await });
    tokio::spawn(appearance::follow(session.clone(), looks));
    let until = Instant::now() + FIRST_WITHIN;
    let mut panel = false;
    let mut tray = None;
    if let Some(session) = session.clone() {
        tokio::spawn(tray::follow_hosts(session, tell));
        tray = Tray::start(tray_sender).ok();
        // The first update says whether closing the window ends the program.
        panel = timeout_at(until, events.hosts.recv()).await.ok().flatten().unwrap_or(false);
    }
    let notices = session.clone().map(|session| notify::start(session, pressed_sender));
    let senders = Senders { said: said_sender, granted: granted_sender, proven: proven_sender, saved: saved_sender };
    let mut desktop = Desktop::new(tray, panel, senders, Memory::start(answer), notices, session).await;
    // A portal may take long to answer, or never do.
    desktop.take(Event::Appearance(Appearance::of_files()));
    if !hidden {
        // The first frame has the desktop's colours.
        if let Ok(Some(appearance)) = timeout_at(until, events.appearance.recv()).await {
            desktop.take(Event::Appearance(appearance));
        }
        desktop.show(std::env::var("XDG_ACTIVATION_TOKEN").ok());
    }
    desktop.serve(&mut events).await
}

/// What may happen beside the beat.
struct Events {
    asked: UnboundedReceiver<Asked>,
    /// A notification was pressed.
    pressed: UnboundedReceiver<Asked>,
    hosts: UnboundedReceiver<bool>,
    tray: UnboundedReceiver<tray::Event>,
    said: UnboundedReceiver<(u64, Said)>,
    granted: UnboundedReceiver<Granted>,
    proven: UnboundedReceiver<Proof>,
    saved: UnboundedReceiver<Saved>,
    appearance: UnboundedReceiver<Appearance>,
    networks: UnboundedReceiver<Network>,
    answers: UnboundedReceiver<Answer>,
    ended: Signal,
}

enum Event {
    Asked(Asked),
    Panel(bool),
    Tray(tray::Event),
    Said(u64, Said),
    Granted(Granted),
    Proven(Proof),
    Saved(Saved),
    Appearance(Appearance),
    Network(Network),
    Answer(Answer),
    /// The session ends, or somebody wants the program to.
    Ended,
}

impl Events {
    async fn next(&mut self) -> Event {
        tokio::select! {
            Some(asked) = self.asked.recv() => Event::Asked(asked),
            Some(asked) = self.pressed.recv() => Event::Asked(asked),
            Some(there) = self.hosts.recv() => Event::Panel(there),
            Some(event) = self.tray.recv() => Event::Tray(event),
            Some((number, said)) = self.said.recv() => Event::Said(number, said),
            Some(granted) = self.granted.recv() => Event::Granted(granted),
            Some(proof) = self.proven.recv() => Event::Proven(proof),
            Some(saved) = self.saved.recv() => Event::Saved(saved),
            Some(appearance) = self.appearance.recv() => Event::Appearance(appearance),
            Some(network) = self.networks.recv() => Event::Network(network),
            Some(answer) = self.answers.recv() => Event::Answer(answer),
            Some(()) = self.ended.recv() => Event::Ended,
            else => std::future::pending().await,
        }
    }
}

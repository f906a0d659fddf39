//! The program behind the window: one look a beat, and what the window asks for.

use std::{
    sync::mpsc::Sender,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    monitor::{Monitor, chain},
    settings::SettingsFile,
    target::Target,
    update::{Command, Update},
};

/// Looks every beat and sends what was seen, until nobody listens any more. `wake` is called after each update. Where
/// nothing can be watched, the reason is sent and it is tried again each beat.
pub async fn serve(updates: &Sender<Update>, commands: &mut UnboundedReceiver<Command>, wake: impl Fn()) {
    let mut beat = SettingsFile::open().settings.beat;
    let mut monitor = Monitor::open(None).await;
    let mut watched = Vec::new();
    let mut next = Instant::now() + beat;
    loop {
        match tokio::time::timeout_at(next.into(), commands.recv()).await {
            Ok(None | Some(Command::Quit)) => return,
            Ok(Some(Command::Watch(ids))) => watched = ids,
            Ok(Some(Command::Set(settings))) => {
                beat = settings.beat;
                next = Instant::now() + beat;
                continue;
            }
            Ok(Some(_)) => continue,
            Err(_) => next = (next + beat).max(Instant::now()),
        }
        if monitor.is_err() {
            monitor = Monitor::open(None).await;
        }
        let update = match &mut monitor {
            Ok(monitor) => update(monitor, &mut watched, beat).await,
            Err(error) => Update { failure: Some(chain(error)), ..Update::default() },
        };
        if updates.send(update).is_err() {
            return;
        }
        wake();
    }
}

/// Looks, and says all that a window shows. StB is watched where nothing is chosen and StB runs.
async fn update(monitor: &mut Monitor, watched: &mut Vec<String>, beat: Duration) -> Update {
    if watched.is_empty() && monitor.exists(&Target::stb()) {
        watched.push(Target::stb().name);
    }
    monitor.watch_apps(watched);
    let readings = monitor.look(beat).await;
    let settings = monitor.settings().settings.clone();
    let settings_error = monitor.settings().error.as_ref().map(ToString::to_string);
    let exact = monitor.exact().clone();
    Update { readings, apps: monitor.apps(), exact, settings, settings_error, ..Update::default() }
}

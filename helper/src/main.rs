//! The daemon: puts the parts together, serves the bus, follows the kernel, and leaves when nobody needs it.

use std::{env, io, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use futures_lite::StreamExt as _;
use netglance_dbus::helper1::{BUS_NAME, Helper1, OBJECT_PATH};
use netglance_helper::{
    authority::Authority, counters::Service, descriptors, error_chain, nft::ruleset::SET_SIZE, setup::Command,
    table::Table,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};
use zbus::{Connection, MessageStream};

/// So long it stays without being installed and without a call.
const STAYS: Duration = Duration::from_secs(30);
/// The exit status for a command line that says nothing.
const USAGE: u8 = 2;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Setup(#[from] netglance_helper::setup::Error),
    #[error("cannot serve {BUS_NAME} on the system bus")]
    Bus(#[from] zbus::Error),
    #[error("cannot wait for the kernel")]
    Wait(#[from] io::Error),
    #[error("the system bus is gone")]
    BusGone,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let result = match Command::parse(&arguments) {
        Ok(None) => run().await,
        Ok(Some(command)) => command.execute().await.map_err(Error::from),
        Err(error) => {
            eprintln!("netglance-helper: {error}");
            return ExitCode::from(USAGE);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netglance-helper: {}", error_chain(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    let kept = descriptors::take();
    let table = Table::open(
        &directory("STATE_DIRECTORY", "/var/lib/netglance"),
        &directory("RUNTIME_DIRECTORY", "/run/netglance"),
        kept,
        SET_SIZE,
    );
    let happened = Arc::new(Notify::new());
    match &table {
        Ok(table) => {
            for fd in table.events()? {
                let (fd, happened) = (descriptors::watch(fd)?, Arc::clone(&happened));
                tokio::spawn(async move {
                    while let Ok(mut ready) = fd.readable().await {
                        ready.clear_ready(); // what is in it now is read afterwards, and what comes meanwhile wakes again
                        happened.notify_one();
                    }
                });
            }
        }
        // Whoever calls is told; then it leaves, and the next call tries again.
        Err(error) => eprintln!("{}; nothing can be counted", error_chain(error)),
    }

    let connection = Connection::system().await?;
    let service = Service::new(table.map_err(Into::into), Authority::new(connection.clone()));
    // Its end is the bus's end.
    let mut messages = MessageStream::from(&connection);
    connection.object_server().at(OBJECT_PATH, Helper1(service)).await?;
    connection.request_name(BUS_NAME).await?;
    let object = connection.object_server().interface::<_, Helper1<Service>>(OBJECT_PATH).await?;
    // Shared with every call: none of them wants it for itself.
    let helper = object.get().await;
    let service = &helper.0;
    loop {
        let idle = service.idle_since();
        let due = service.with(|table| Ok(table.due())).ok().flatten();
        tokio::select! {
            () = happened_or_due(&happened, due) => {
                match service.with(Table::follow) {
                    Ok(true) => service.changed.notify_one(),
                    Ok(false) => {}
                    Err(error) => eprintln!("{}", error_chain(&error)),
                }
            }
            () = service.changed.notified() => {
                let emitter = object.signal_emitter();
                helper.installed_changed(emitter).await?;
                helper.internal_prefixes_changed(emitter).await?;
                helper.warning_changed(emitter).await?;
            }
            message = messages.next() => if message.is_none_or(|message| message.is_err()) {
                return Err(Error::BusGone);
            },
            () = sleep_until(idle.unwrap_or_else(Instant::now) + STAYS) => {
                if service.idle_since().is_some_and(|since| since.elapsed() >= STAYS) {
                    connection.release_name(BUS_NAME).await?;
                    return Ok(());
                }
            }
        }
    }
}

/// Waits until the kernel has said something, or until it is time to go on.
async fn happened_or_due(happened: &Notify, due: Option<std::time::Instant>) {
    match due {
        Some(due) => {
            // Whichever comes first.
            _ = timeout_at(due.into(), happened.notified()).await;
        }
        None => happened.notified().await,
    }
}

/// systemd names the directory that it has made; without systemd it is this one.
fn directory(variable: &str, default: &str) -> PathBuf {
    env::var_os(variable).map_or_else(|| default.into(), PathBuf::from)
}

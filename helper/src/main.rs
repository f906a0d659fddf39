//! The daemon: puts the parts together, serves the bus, follows the kernel, and leaves when nobody needs it.

use std::{env, io, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use futures_lite::StreamExt as _;
use netglance_dbus::helper1::{BUS_NAME, Helper1, OBJECT_PATH};
use netglance_helper::{
    authority::Authority,
    counters::Service,
    descriptors,
    setup::Command,
    table::{Table, chain},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use zbus::{Connection, MessageStream};

/// So long it stays without being installed and without a call.
const STAYS: Duration = Duration::from_secs(30);
/// The exit status for a command line that says nothing.
const USAGE: u8 = 2;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Table(#[from] netglance_helper::table::Error),
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
            eprintln!("netglance-helper: {}", chain(&error));
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
    )?;
    let happened = Arc::new(Notify::new());
    for fd in table.events()? {
        let (fd, happened) = (descriptors::watch(fd)?, Arc::clone(&happened));
        tokio::spawn(async move {
            while let Ok(mut ready) = fd.readable().await {
                ready.clear_ready(); // what is in it now is read afterwards, and what comes meanwhile wakes again
                happened.notify_one();
            }
        });
    }

    let connection = Connection::system().await?;
    let service = Service::new(table, Authority::new(connection.clone()));
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
        tokio::select! {
            () = happened.notified() => {
                // Bound first: no guard may live while something is awaited.
                let followed = service.table().follow();
                match followed {
                    Ok(true) => service.changed.notify_one(),
                    Ok(false) => {}
                    Err(error) => eprintln!("{}", chain(&error)),
                }
            }
            () = service.changed.notified() => {
                let emitter = object.signal_emitter();
                helper.installed_changed(emitter).await?;
                helper.internal_prefixes_changed(emitter).await?;
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

/// systemd names the directory that it has made; without systemd it is this one.
fn directory(variable: &str, default: &str) -> PathBuf {
    env::var_os(variable).map_or_else(|| default.into(), PathBuf::from)
}

//! The daemon: puts the parts together, serves the bus, follows the kernel, and leaves when nobody needs it.

use std::{
    env, io,
    os::fd::OwnedFd,
    path::PathBuf,
    pin::{Pin, pin},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use netglance_dbus::{
    error::chain,
    helper1::{BUS_NAME, Helper1, OBJECT_PATH},
    properties::Properties,
};
use netglance_helper::{
    authority::Authority, bus::Bus, counters::Service, descriptors, last, log, nft::ruleset::SET_SIZE, redirects::REST,
    setup::Command, table::Table,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use zbus::object_server::InterfaceRef;

/// So long it waits whether the bus has gone when it is told to end; that it has is known at once.
const LAST_WORD: Duration = Duration::from_millis(100);
/// So long it stays without being installed and without a call.
const STAYS: Duration = Duration::from_secs(30);
/// The exit status for a command line that says nothing.
const USAGE: u8 = 2;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Setup(#[from] netglance_helper::setup::Error),
    #[error("cannot serve {BUS_NAME} on the system bus")]
    Bus(#[from] netglance_helper::bus::Error),
    #[error("cannot wait for the kernel")]
    Wait(#[from] io::Error),
    #[error("the system bus is gone")]
    BusGone,
}

impl From<zbus::Error> for Error {
    fn from(error: zbus::Error) -> Self {
        Self::Bus(error.into())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let result = match Command::parse(&arguments) {
        Ok(None) => daemon().await,
        Ok(Some(command)) => command.execute().await.map_err(Error::from),
        Err(error) => {
            log(format_args!("netglance-helper: {error}"));
            return ExitCode::from(USAGE);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(format_args!("netglance-helper: {}", chain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// [`run`] on the heap: set-up, which is started under its caller's limits, needs none of the stack that it takes.
fn daemon() -> Pin<Box<dyn Future<Output = Result<(), Error>>>> {
    Box::pin(run())
}

async fn run() -> Result<(), Error> {
    let kept = descriptors::take();
    let table = Table::open(
        &directory("STATE_DIRECTORY", "/var/lib/netglance"),
        &directory("RUNTIME_DIRECTORY", "/run/netglance"),
        &last::boot_id(env::var("BOOT_ID").ok().as_deref()),
        kept,
        SET_SIZE,
    );
    let happened = Arc::new(Notify::new());
    match &table {
        Ok(table) => {
            wait_for(table.events()?, Duration::ZERO, &happened)?;
            wait_for(table.frequent_events()?, REST, &happened)?;
        }
        // Whoever calls is told; then it leaves, and the next call tries again.
        Err(error) => log(format_args!("{}; nothing can be counted", chain(error))),
    }
    let bus = Bus::connect().await?;
    let authority = Authority::new(bus.asking.clone(), Arc::clone(&bus.callers));
    let service = Service::new(table.map_err(Into::into), authority, Arc::clone(&bus.callers));
    serve(&bus, service, &happened).await
}

/// Has `happened` told whenever one of these is readable, at most once in `rest`.
fn wait_for(events: Vec<OwnedFd>, rest: Duration, happened: &Arc<Notify>) -> io::Result<()> {
    for fd in events {
        let (fd, happened) = (descriptors::watch(fd)?, Arc::clone(happened));
        tokio::spawn(async move {
            while let Ok(mut ready) = fd.readable().await {
                ready.clear_ready(); // what is in it now is read afterwards, and what comes meanwhile wakes again
                happened.notify_one();
                if !rest.is_zero() {
                    sleep(rest).await;
                }
            }
        });
    }
    Ok(())
}

/// Serves until the bus is gone or nobody needs it, and saves what has been counted, as late as it can.
async fn serve(bus: &Bus, service: Service, happened: &Notify) -> Result<(), Error> {
    let server = bus.serving.object_server();
    server.at(OBJECT_PATH, Helper1(service)).await?;
    Properties::<Service>::replace(server).await?;
    let mut following = pin!(bus.follow_callers());
    let told_to_end = signal(SignalKind::terminate())?;
    tokio::select! {
        named = bus.serving.request_name(BUS_NAME) => named?,
        _ = &mut following => return Err(Error::BusGone),
    }
    let object = server.interface::<_, Helper1<Service>>(OBJECT_PATH).await?;
    let ended = until_end(bus, &object, happened, following, told_to_end).await;
    object.get().await.0.save();
    ended
}

async fn until_end(
    bus: &Bus,
    object: &InterfaceRef<Helper1<Service>>,
    happened: &Notify,
    mut following: Pin<&mut impl Future<Output = Result<(), zbus::Error>>>,
    mut told_to_end: Signal,
) -> Result<(), Error> {
    // Shared with every call: none of them wants it for itself.
    let helper = object.get().await;
    let service = &helper.0;
    loop {
        let idle = service.idle_since();
        let due = service.with(|table| Ok(table.due())).ok().flatten();
        tokio::select! {
            () = happened_or_due(happened, due) => {
                if let Err(error) = service.follow() {
                    log(chain(&error));
                }
            }
            () = service.changed_due.notified() => {}
            () = service.changed.notified() => {
                Properties::<Service>::tell_changed(bus.serving.object_server(), object.signal_emitter()).await?;
            }
            () = bus.serving.closed() => return Err(Error::BusGone),
            _ = &mut following => return Err(Error::BusGone),
            // systemd ends a service whose name has gone from the bus, too. If the bus itself has gone, this is no end that
            // anybody wants: after a failure systemd starts the helper again, and keeps the table.
            _ = told_to_end.recv() => return tokio::select! {
                () = bus.serving.closed() => Err(Error::BusGone),
                _ = &mut following => Err(Error::BusGone),
                () = sleep(LAST_WORD) => Ok(()),
            },
            () = sleep_until(idle.unwrap_or_else(Instant::now) + STAYS) => {
                if service.idle_since().is_some_and(|since| since.elapsed() >= STAYS) {
                    bus.serving.release_name(BUS_NAME).await?;
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

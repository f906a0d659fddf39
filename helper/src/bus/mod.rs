//! The helper's two connections to the system bus, and what it knows of those who call.
//!
//! One connection serves: whatever comes in there has passed the [`gate`]. The other one asks, the bus about callers and polkit
//! about actions, so that its answers never stand behind a flood of calls; nobody can call it. It decides nothing about who
//! may do what: `authority.rs` does.
//!
//! `header`, `framing`, `meter`, `unread`, `outbox` and `gate` are pure, `socket` reads and writes, `asker` asks.

mod asker;
pub mod framing;
pub mod gate;
pub mod header;
pub mod meter;
pub mod outbox;
mod socket;
pub mod unread;

use std::{
    any::Any,
    collections::HashMap,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{ffi::OsStrExt as _, net as unix},
    },
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use gate::{Gate, Verdict, expect_reply};
use outbox::Outbox;
use tokio::sync::Notify;
use zbus::{
    Address, Connection,
    address::transport::{Transport, UnixSocket},
    connection::{Builder, socket::BoxedSplit},
    message::Message,
};

use crate::log;

/// The name of the connection that asks. It serves nobody: the bus's policy lets nobody send to who has it, which it could not
/// say of a connection without a name, and signals would else be anybody's to send.
const ASKING: &str = "org.netglance.Helper1.Asking";

/// Why there is no bus.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be reached, or has turned the helper away.
    #[error(transparent)]
    Bus(#[from] zbus::Error),
    /// There is nobody behind the socket.
    #[error("cannot connect to {1}")]
    Connect(#[source] io::Error, String),
    /// The address of a system bus names a Unix socket.
    #[error("the helper cannot use the address {0}: it needs a Unix socket")]
    Address(String),
}

/// Both connections.
#[derive(Debug)]
pub struct Bus {
    /// Whoever calls, calls here.
    pub serving: Connection,
    /// What is asked, is asked here.
    pub asking: Connection,
    /// Those who call.
    pub callers: Arc<Callers>,
}

impl Bus {
    /// Connects to the system bus twice. [`Self::follow_callers`] has to run for anybody to be served.
    pub async fn connect() -> Result<Self, Error> {
        let callers = Arc::<Callers>::default();
        let serving = connect(|socket| socket::serving(socket, &callers)).await?;
        let asking = connect(socket::asking).await?;
        if let Err(error) = asking.request_name(ASKING).await {
            log(format_args!(
                "others can send to the connection that asks polkit, because the bus gave it no name: {error}"
            ));
        }
        Ok(Self { serving, asking, callers })
    }

    /// Answers the gate's questions until the bus is gone.
    pub async fn follow_callers(&self) -> Result<(), zbus::Error> {
        asker::run(&self.asking, &self.callers).await
    }
}

async fn connect(split: impl FnOnce(unix::UnixStream) -> io::Result<BoxedSplit>) -> Result<Connection, Error> {
    let address = Address::system()?;
    let path = match address.transport() {
        Transport::Unix(unix) => unix.path(),
        _ => return Err(Error::Address(address.to_string())),
    };
    let at = match path {
        UnixSocket::File(path) => unix::SocketAddr::from_pathname::<&Path>(path.as_ref()),
        UnixSocket::Abstract(name) => unix::SocketAddr::from_abstract_name(name.as_bytes()),
        _ => return Err(Error::Address(address.to_string())),
    };
    let failed = |error| Error::Connect(error, address.to_string());
    let socket = at.and_then(|at| unix::UnixStream::connect_addr(&at)).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(Builder::socket(split(socket).map_err(failed)?).build().await?)
}

/// Dropped when an answer is written.
type Guard = Box<dyn Any + Send>;

/// The gate, shared by those who read, write and ask.
#[derive(Debug, Default)]
pub struct Callers {
    gate: Mutex<Gate>,
    /// What lasts until an answer is written, by caller and the number of the call.
    until_sent: Mutex<HashMap<(String, u32), Vec<Guard>>>,
    /// The gate has a question.
    asked: Notify,
    /// The gate has let something in, or the bus is gone.
    released: Notify,
    closed: AtomicBool,
    outbox: Mutex<Outbox<Message>>,
    /// There is something in the outbox.
    put: Notify,
}

impl Callers {
    /// The user of a connection that has called and is still on the bus, as the bus vouches for it.
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.gate().uid(name)
    }

    /// Keeps `guard` until the call's answer is written, or thrown away.
    pub fn until_sent(&self, name: &str, serial: u32, guard: impl Any + Send) {
        lock(&self.until_sent).entry((name.to_owned(), serial)).or_default().push(Box::new(guard));
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        lock(&self.gate)
    }

    fn handshake(&self, line: &[u8]) {
        self.change(|gate, _| gate.release(line.to_vec()));
    }

    fn arrived(&self, message: &mut [u8]) {
        self.change(|gate, now| {
            if gate.arrived(message, now) == Verdict::Pass {
                expect_reply(message);
                gate.release(message.to_vec());
            }
        });
    }

    /// Puts a message down for [`Self::next_out`]. Where too much waits for its user, it is thrown away.
    fn put(&self, message: Message) {
        let uid = answer(&message).and_then(|(to, serial)| self.gate().called_by(&to, serial));
        let bytes = message.data().len();
        let refused = lock(&self.outbox).put(uid, message, bytes);
        match refused {
            Some(message) if self.sends(&message, Instant::now()) => self.sent(&message),
            Some(_) => {}
            None => self.put.notify_one(),
        }
    }

    /// The next message that is to be written; [`Self::sent`] is owed for it.
    async fn next_out(&self) -> Message {
        loop {
            let next = lock(&self.outbox).take();
            match next {
                Some(message) if self.sends(&message, Instant::now()) => return message,
                Some(_) => {}
                None => self.put.notified().await,
            }
        }
    }

    fn closed(&self) {
        self.closed.store(true, Ordering::Release);
        self.released.notify_one();
    }

    /// The next message that comes in; `None` when the bus is gone.
    async fn released(&self) -> Option<Vec<u8>> {
        loop {
            let closed = self.closed.load(Ordering::Acquire);
            let released = self.gate().released();
            if released.is_some() || closed {
                return released;
            }
            self.released.notified().await;
        }
    }

    /// Whether a message is to be written.
    fn sends(&self, message: &Message, now: Instant) -> bool {
        let wanted =
            answer(message).is_none_or(|(to, serial)| self.gate().answered(&to, serial, message.data().len(), now));
        if !wanted {
            self.sent(message);
        }
        wanted
    }

    /// A message is written.
    fn sent(&self, message: &Message) {
        if let Some(call) = answer(message) {
            let mut until_sent = lock(&self.until_sent);
            if let Some(guards) = until_sent.get_mut(&call) {
                guards.pop();
                if guards.is_empty() {
                    until_sent.remove(&call);
                }
            }
        }
    }

    /// Does something with the gate, and wakes whom that concerns.
    fn change<T>(&self, act: impl FnOnce(&mut Gate, Instant) -> T) -> T {
        let mut gate = self.gate();
        let done = act(&mut gate, Instant::now());
        if gate.has_questions() {
            self.asked.notify_one();
        }
        if gate.has_released() {
            self.released.notify_one();
        }
        done
    }
}

/// Whom a message answers, and which call of theirs.
fn answer(message: &Message) -> Option<(String, u32)> {
    let header = message.header();
    Some((header.destination()?.to_string(), header.reply_serial()?.get()))
}

/// Nothing here leaves a half-done value behind, so that a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

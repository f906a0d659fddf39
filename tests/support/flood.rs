//! Ordinary users who send as fast as they can: raw connections to the bus, whose messages are written one behind the other
//! without waiting for anything.
#![allow(dead_code, reason = "each test file includes this module and uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is the test's")]

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use netglance_dbus::helper1::{BUS_NAME, OBJECT_PATH};
use zbus::{
    Connection,
    message::{Builder, Flags, Message},
};

use crate::system::Bus;

/// Longer than anything here takes on a slow machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Threads that write; each has its share of the connections.
const THREADS: usize = 2;
/// Messages that are written at once.
const BATCH: usize = 64;
/// Where a message's own number stands.
const SERIAL: std::ops::Range<usize> = 8..12;

/// A call of the helper with this body.
pub fn call(interface: &'static str, member: &'static str, body: &(impl serde::Serialize + zbus::Type)) -> Vec<u8> {
    bytes(Message::method_call(OBJECT_PATH, member).interface(interface).destination(BUS_NAME), body)
}

/// A call of one of the helper's own members, without arguments.
pub fn member(member: &'static str) -> Vec<u8> {
    call(BUS_NAME, member, &())
}

/// The same, to which no answer is wanted.
pub fn silent(member: &'static str) -> Vec<u8> {
    let builder = Message::method_call(OBJECT_PATH, member).interface(BUS_NAME).destination(BUS_NAME);
    bytes(builder.with_flags(Flags::NO_REPLY_EXPECTED), &())
}

/// All properties, in a call.
pub fn get_all() -> Vec<u8> {
    call("org.freedesktop.DBus.Properties", "GetAll", &BUS_NAME)
}

/// A signal to the helper with so many bytes in it.
pub fn signal(size: usize) -> Vec<u8> {
    bytes(Message::signal(OBJECT_PATH, BUS_NAME, "Noise").destination(BUS_NAME), &vec![7u8; size])
}

fn bytes(builder: Builder<'_>, body: &(impl serde::Serialize + zbus::Type)) -> Vec<u8> {
    builder.build(body).unwrap().data().to_vec()
}

/// A raw connection of a user, past the handshake and `Hello`.
pub fn connect(bus: &Bus, uid: u32) -> UnixStream {
    let path = bus.address.strip_prefix("unix:path=").unwrap().to_owned();
    try_connect(&path, uid).expect("a connection to the bus")
}

fn try_connect(path: &str, uid: u32) -> Option<UnixStream> {
    let path = path.to_owned();
    let connect = thread::spawn(move || {
        // This thread's alone: the kernel notes who connects.
        let user = rustix::process::Uid::from_raw(uid);
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        UnixStream::connect(path).ok()
    });
    let mut stream = connect.join().unwrap()?;
    let hex: String = uid.to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
    let hello = Message::method_call("/org/freedesktop/DBus", "Hello").destination("org.freedesktop.DBus");
    let hello = bytes(hello.interface("org.freedesktop.DBus"), &());
    stream.write_all(format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n").as_bytes()).ok()?;
    stream.write_all(&hello).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut read = Vec::new();
    // The answer to Hello and the signal that comes with it name the connection.
    while read.windows(3).filter(|part| part.starts_with(b":1.")).count() < 2 {
        let mut piece = [0; 1024];
        let length = stream.read(&mut piece).ok().filter(|length| *length > 0)?;
        read.extend_from_slice(&piece[..length]);
    }
    Some(stream)
}

/// A flood that goes on until it is ended.
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    /// So many connections of a user write these messages in turn. What is answered is read and thrown away, or left unread.
    pub fn new(bus: &Bus, uid: u32, connections: usize, messages: &[Vec<u8>], reads: bool) -> Self {
        let batch: Vec<_> = messages.iter().cycle().take(BATCH.max(messages.len())).cloned().collect();
        let batch = if batch.iter().map(Vec::len).sum::<usize>() > 1 << 20 { messages.to_vec() } else { batch };
        Self::begin(bus, uid, connections, batch, reads, Duration::ZERO)
    }

    /// As [`Self::new`], each connection one message per `pause`.
    pub fn paced(bus: &Bus, uid: u32, connections: usize, message: Vec<u8>, reads: bool, pause: Duration) -> Self {
        Self::begin(bus, uid, connections, vec![message], reads, pause)
    }

    fn begin(bus: &Bus, uid: u32, connections: usize, batch: Vec<Vec<u8>>, reads: bool, pause: Duration) -> Self {
        let mut streams: Vec<_> = (0..connections).map(|_| connect(bus, uid)).collect();
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let share = connections.div_ceil(THREADS);
        let mut threads = Vec::new();
        while !streams.is_empty() {
            let own: Vec<_> = streams.drain(..share.min(streams.len())).collect();
            let (batch, stop, sent) = (batch.clone(), Arc::clone(&stop), Arc::clone(&sent));
            threads.push(thread::spawn(move || write(own, &batch, reads, pause, &stop, &sent)));
        }
        Self { stop, sent, threads }
    }

    /// Users who connect, call a few times and leave, over and over.
    pub fn of_strangers(bus: &Bus, uid: u32, message: &[u8]) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let path = bus.address.strip_prefix("unix:path=").unwrap().to_owned();
        let (ended, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let calls = message.repeat(20);
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                if let Some(mut stream) = try_connect(&path, uid)
                    && stream.write_all(&calls).is_ok()
                {
                    count.fetch_add(20, Ordering::Relaxed);
                }
            }
        });
        Self { stop, sent, threads: vec![thread] }
    }

    /// Ends it. How many messages went out.
    pub fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What a connection has not written yet of the batch.
struct Writing {
    stream: UnixStream,
    bytes: Vec<u8>,
    from: usize,
    serial: u32,
    next: Instant,
}

fn write(
    streams: Vec<UnixStream>,
    batch: &[Vec<u8>],
    reads: bool,
    pause: Duration,
    stop: &AtomicBool,
    sent: &AtomicU64,
) {
    let start = |stream: UnixStream| {
        stream.set_nonblocking(true).unwrap();
        Writing { stream, bytes: Vec::new(), from: 0, serial: 1, next: Instant::now() }
    };
    let mut connections: Vec<_> = streams.into_iter().map(start).collect();
    let mut answers = vec![0; 1 << 16];
    while !stop.load(Ordering::Relaxed) {
        let mut idle = true;
        connections.retain_mut(|connection| {
            if connection.from == connection.bytes.len() {
                if connection.next > Instant::now() {
                    return true;
                }
                connection.next += pause;
                refill(connection, batch);
                sent.fetch_add(batch.len() as u64, Ordering::Relaxed);
            }
            let read = if reads { connection.stream.read(&mut answers) } else { Err(ErrorKind::WouldBlock.into()) };
            let written = connection.stream.write(&connection.bytes[connection.from..]);
            idle &= read.is_err() && written.is_err();
            connection.from += written.as_ref().copied().unwrap_or_default();
            // Who is thrown out has had its share.
            written.is_ok_and(|length| length > 0) || connection.stream.take_error().is_ok_and(|error| error.is_none())
        });
        if idle {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The batch again, each message with a number of its own.
fn refill(connection: &mut Writing, batch: &[Vec<u8>]) {
    (connection.bytes, connection.from) = (std::mem::take(&mut connection.bytes), 0);
    connection.bytes.clear();
    for message in batch {
        let at = connection.bytes.len();
        connection.serial = connection.serial % u32::MAX + 1;
        connection.bytes.extend_from_slice(message);
        connection.bytes[at + SERIAL.start..at + SERIAL.end].copy_from_slice(&connection.serial.to_le_bytes());
    }
}

/// How long something took each time, sorted.
#[derive(Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, took: Duration) {
        let at = self.0.partition_point(|other| *other < took);
        self.0.insert(at, took);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// So many of a hundred were as fast as this or faster, in milliseconds.
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn percentile(&self, percent: usize) -> f64 {
        let at = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(at).map_or(f64::NAN, |took| took.as_micros() as f64 / 1000.0)
    }
}

/// What a polite user sees for so long: `Read` and the bus's own `GetId` by turns, one at a time.
pub struct Polite {
    /// Of `Read`.
    pub read: Latencies,
    /// Of `GetId`, which the helper has no part in.
    pub bus: Latencies,
    /// `Read`s that failed.
    pub refused: Vec<String>,
}

/// Looks from a new connection of a user.
pub async fn polite(bus: &Bus, uid: u32, span: Duration) -> Polite {
    polite_on(&bus.connect(uid).await, span).await
}

/// Looks from this connection.
pub async fn polite_on(connection: &Connection, span: Duration) -> Polite {
    let (helper, daemon) = (Bus::helper(connection).await, zbus::fdo::DBusProxy::new(connection).await.unwrap());
    let mut seen = Polite { read: Latencies::default(), bus: Latencies::default(), refused: Vec::new() };
    let end = Instant::now() + span;
    while Instant::now() < end {
        let start = Instant::now();
        let read = tokio::time::timeout(PATIENCE, helper.read()).await;
        seen.read.add(start.elapsed());
        match read {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => seen.refused.push(error.to_string()),
            Err(_) => seen.refused.push("no answer".into()),
        }
        let start = Instant::now();
        daemon.get_id().await.unwrap();
        seen.bus.add(start.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    seen
}

/// The process id of the bus: the kernel notes who listens.
pub fn bus_pid(bus: &Bus) -> u32 {
    let stream = UnixStream::connect(bus.address.strip_prefix("unix:path=").unwrap()).unwrap();
    let listens = rustix::net::sockopt::socket_peercred(&stream).unwrap();
    listens.pid.as_raw_nonzero().get().try_into().unwrap()
}

/// A line of `/proc/PID/status` in kB: `VmHWM`, `VmRSS`.
pub fn memory_kb(pid: u32, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is alive");
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')).unwrap();
    found.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

/// CPU time of a process so far, in milliseconds.
pub fn cpu_ms(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is alive");
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
}

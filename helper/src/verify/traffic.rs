//! Known bytes: a process of its own that is moved into a cgroup, and only then makes sockets and moves payload.
//!
//! It is this program again, started with one fixed word. Before it reads anything it gives up root for good.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use netglance_dbus::verify::Payload;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::{Gid, Uid, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use serde::{Deserialize, Serialize};

use super::{Error, Stop, cgroups::Cgroups, namespace::Namespace};

/// The one word of the command line that makes this program the process which moves bytes.
pub const WORD: &str = "move-bytes";
/// Where the peer answers.
pub const PORT: u16 = 8001;
/// No answer of the peer takes so long.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// A task is over by then, even one that has failed.
const TASK_PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// Nobody's uid and gid, on every distribution.
const NOBODY: u32 = 65_534;

/// What to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Task {
    /// One connection to the peer: so many bytes up, so many down. Needs at least 16 up.
    Tcp {
        /// The peer.
        to: SocketAddr,
        /// Payload to send.
        up: u64,
        /// Payload to receive.
        down: u64,
    },
    /// Datagrams, each answered by one. Needs at least 2 bytes up; 0 down: no answer.
    Udp {
        /// The peer.
        to: SocketAddr,
        /// How many.
        count: u64,
        /// The payload of each.
        up: u64,
        /// The payload of each answer.
        down: u64,
    },
    /// As `Udp`, but the process answers itself, on this address of the host.
    Own {
        /// An address of the host.
        address: IpAddr,
        /// How many.
        count: u64,
        /// The payload of each.
        up: u64,
        /// The payload of each answer.
        down: u64,
    },
}

impl Task {
    /// The address at the other end.
    pub const fn remote(&self) -> IpAddr {
        match self {
            Self::Tcp { to, .. } | Self::Udp { to, .. } => to.ip(),
            Self::Own { address, .. } => *address,
        }
    }

    /// The payload that the process receives and sends.
    pub const fn sent(&self) -> Payload {
        match *self {
            Self::Tcp { up, down, .. } => Payload { rx_bytes: down, tx_bytes: up },
            Self::Udp { count, up, down, .. } => Payload { rx_bytes: count * down, tx_bytes: count * up },
            Self::Own { count, up, down, .. } => {
                Payload { rx_bytes: count * (up + down), tx_bytes: count * (up + down) }
            }
        }
    }

    /// The packets' bytes, received and sent, where the payload says them: of datagrams with the headers of IPv4 (20 bytes,
    /// RFC 791) or IPv6 (40, RFC 8200) and UDP (8, RFC 768). `None`: TCP, whose headers and acknowledgements vary.
    pub fn packets(&self) -> Option<Payload> {
        let headers = if self.remote().is_ipv4() { 28 } else { 48 };
        let Payload { rx_bytes, tx_bytes } = self.sent();
        match *self {
            Self::Tcp { .. } => None,
            Self::Udp { count, down, .. } => Some(Payload {
                rx_bytes: rx_bytes + if down > 0 { count * headers } else { 0 },
                tx_bytes: tx_bytes + count * headers,
            }),
            Self::Own { count, .. } => {
                Some(Payload { rx_bytes: rx_bytes + 2 * count * headers, tx_bytes: tx_bytes + 2 * count * headers })
            }
        }
    }
}

/// A process that moves bytes when it is told to. Dropped, it ends.
#[derive(Debug)]
pub struct Mover {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Mover {
    /// Starts it in a namespace and moves it into a cgroup.
    pub fn start(program: &Path, namespace: &Namespace, cgroups: &Cgroups, below: &str) -> Result<Self, Error> {
        let start = || {
            let mut command = Command::new(program);
            command.arg(WORD).env_clear().current_dir("/");
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()
        };
        let failed = Error::doing("start a process that moves bytes");
        let mut child = namespace.inside(start)?.map_err(&failed)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        let mover = Self { child, stdin: Some(stdin), stdout: BufReader::new(stdout) };
        cgroups.enter(below, mover.child.id())?;
        Ok(mover)
    }

    /// Has it carry out a task and waits until it has.
    pub fn run(&mut self, task: &Task, stop: &Stop) -> Result<(), Error> {
        let failed = Error::doing("move bytes");
        let mut line = serde_json::to_vec(task).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        self.stdin.as_mut().map_or(Ok(()), |stdin| stdin.write_all(&line)).map_err(&failed)?;
        let end = Instant::now() + TASK_PATIENCE;
        loop {
            let mut fds = [PollFd::new(self.stdout.get_ref(), PollFlags::IN)];
            if poll(&mut fds, Some(&LOOK_EVERY)).map_err(|errno| failed(errno.into()))? > 0 {
                break;
            }
            stop.check()?;
            if Instant::now() > end {
                return Err(failed(io::ErrorKind::TimedOut.into()));
            }
        }
        // It writes a line at once and is of our own code; a line that is too long is none.
        let mut answer = String::new();
        self.stdout.by_ref().take(4096).read_line(&mut answer).map_err(&failed)?;
        stop.check()?;
        let answer: Result<(), String> = serde_json::from_str(&answer).map_err(|error| failed(error.into()))?;
        answer.map_err(|text| failed(io::Error::other(text)))
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // It may be in the middle of a task. That it has ended already is no failure.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The process's side: carries out what comes on stdin, one task a line, until stdin closes.
pub fn serve() -> io::Result<()> {
    become_nobody()?;
    let mut stdout = io::stdout();
    for line in io::stdin().lock().lines() {
        let task = serde_json::from_str(&line?)?;
        let outcome = carry_out(task).map_err(|error| format!("{task:?}: {error}"));
        let mut answer = serde_json::to_vec(&outcome)?;
        answer.push(b'\n');
        stdout.write_all(&answer)?;
        stdout.flush()?;
    }
    Ok(())
}

/// Of one that is nobody already, or anybody, nothing is left to give up.
fn become_nobody() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_no_new_privs(true)?;
    if rustix::process::geteuid().is_root() || rustix::process::getuid().is_root() {
        // One thread so far: what is said of the thread holds for the process.
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        if set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_ok() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
    }
    Ok(())
}

fn carry_out(task: Task) -> io::Result<()> {
    match task {
        Task::Tcp { to, up, down } => tcp(to, up, down),
        Task::Udp { to, count, up, down } => udp(to, count, up, down),
        Task::Own { address, count, up, down } => own(address, count, up, down),
    }
}

fn tcp(to: SocketAddr, up: u64, down: u64) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    patient(&stream)?;
    let mut payload = [up.to_be_bytes(), down.to_be_bytes()].concat();
    payload.resize(length(up)?, 1);
    stream.write_all(&payload)?;
    stream.read_exact(&mut vec![0; length(down)?])?;
    // Both ends close in order, this one first, and it stays until the other has: no packet is left to the time after the
    // socket, when it would belong to nobody.
    stream.shutdown(Shutdown::Write)?;
    if stream.read(&mut [0])? == 0 { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Bounds how long a connection waits for the other side.
pub fn patient(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

fn udp(to: SocketAddr, count: u64, up: u64, down: u64) -> io::Result<()> {
    let any = if to.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let datagram = datagram(up, down)?;
    for _ in 0..count {
        socket.send_to(&datagram, to)?;
        if down > 0 {
            expect(socket.recv(&mut vec![0; length(down)? + 1])?, down)?;
        }
    }
    Ok(())
}

/// Both ends in one process, so that both directions are its own.
fn own(address: IpAddr, count: u64, up: u64, down: u64) -> io::Result<()> {
    let (here, there) = (UdpSocket::bind((address, 0))?, UdpSocket::bind((address, 0))?);
    let (question, answer) = (vec![2; length(up)?], vec![3; length(down)?]);
    for socket in [&here, &there] {
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    for _ in 0..count {
        here.send_to(&question, there.local_addr()?)?;
        expect(there.recv(&mut vec![0; question.len() + 1])?, up)?;
        there.send_to(&answer, here.local_addr()?)?;
        expect(here.recv(&mut vec![0; answer.len() + 1])?, down)?;
    }
    Ok(())
}

/// A datagram says in its first two bytes how long an answer it wants.
fn datagram(up: u64, down: u64) -> io::Result<Vec<u8>> {
    let down = u16::try_from(down).map_err(io::Error::other)?;
    let mut bytes = down.to_be_bytes().to_vec();
    bytes.resize(length(up)?, 2);
    Ok(bytes)
}

fn expect(received: usize, expected: u64) -> io::Result<()> {
    if u64::try_from(received) == Ok(expected) { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// A length that came in a message: never more than any case here moves.
pub fn length(bytes: u64) -> io::Result<usize> {
    const MOST: u64 = 1 << 24;
    usize::try_from(bytes.min(MOST)).map_err(io::Error::other)
}

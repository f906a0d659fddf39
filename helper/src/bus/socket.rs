//! The sockets to the bus, as zbus drives them: where messages are let in, skipped and dropped while they are read.
//!
//! zbus allocates for a message what its header says, up to 128 MiB, and hands every call to a task. So nothing reaches zbus
//! that has not passed here: this reads through a buffer of its own and gives zbus the bytes of what comes in, message by
//! message. Descriptors are never taken: the bus is not told that they could be, and keeps messages with some.

use std::{
    io,
    ops::Range,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, read},
    net::sockopt::set_socket_send_buffer_size,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
};
use zbus::{
    connection::socket::{BoxedSplit, ReadHalf, Split, WriteHalf},
    export::async_trait::async_trait,
    message::Message,
};

use super::{
    Callers,
    framing::{Framing, Piece},
    gate::BUS,
    header::{Header, Kind},
};

/// What the kernel keeps of answers that the bus has not taken: a queue that nobody can overtake.
const SEND_BUFFER: usize = 8 << 10;

/// The connection that is called: what comes in is for the gate to say.
pub(super) fn serving(socket: UnixStream, callers: &Arc<Callers>) -> io::Result<BoxedSplit> {
    set_socket_send_buffer_size(&socket, SEND_BUFFER)?;
    let (gate, reading) = (Arc::clone(callers), socket.try_clone()?);
    // A thread of its own, so that nothing that the helper does for one caller makes messages of others pile up in the bus,
    // which would write them out a few at a time.
    thread::Builder::new().name("gate".into()).spawn(move || {
        // Its end is the connection's; why the bus is gone helps nobody.
        let _ = take_in(&reading, &gate);
        gate.closed();
    })?;
    let out = tokio::net::UnixStream::from_std(socket.try_clone()?)?;
    tokio::spawn(write_out(out, Arc::clone(callers)));
    let (_, write) = tokio::net::UnixStream::from_std(socket)?.into_split();
    let inbox = Inbox { callers: Arc::clone(callers), taken: Vec::new(), rest: 0..0 };
    Ok(Split::new(
        Box::new(inbox),
        Box::new(Writer { socket: write, callers: Some(Arc::clone(callers)), unsent: None }),
    ))
}

/// The connection that asks: answers and the bus's own signals come in, and nobody's calls.
pub(super) fn asking(socket: UnixStream) -> io::Result<BoxedSplit> {
    let (read, write) = tokio::net::UnixStream::from_std(socket)?.into_split();
    let answers = Answers { socket: read, framing: Framing::default(), rest: 0..0 };
    Ok(Split::new(Box::new(answers), Box::new(Writer { socket: write, callers: None, unsent: None })))
}

/// Takes in everything as fast as it comes, until the bus is gone.
fn take_in(socket: &UnixStream, callers: &Callers) -> io::Result<()> {
    let mut framing = Framing::default();
    loop {
        while let Some(piece) = framing.piece()? {
            match piece {
                Piece::Line(line) => callers.handshake(framing.bytes(line)),
                Piece::Message(message) => callers.arrived(framing.bytes(message)),
            }
        }
        let came = match read(socket, framing.room()) {
            Ok(0) => return Ok(()),
            Ok(came) => came,
            Err(Errno::AGAIN) => {
                match poll(&mut [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)], None) {
                    Err(Errno::INTR) => {} // a signal, or the process was stopped and goes on
                    other => _ = other?,
                }
                continue;
            }
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        framing.came(came);
    }
}

/// Writes what is answered, each user's in turn, until the bus is gone.
async fn write_out(mut socket: tokio::net::UnixStream, callers: Arc<Callers>) -> io::Result<()> {
    loop {
        let message = callers.next_out().await;
        socket.write_all(message.data()).await?;
        callers.sent(&message);
    }
}

/// What has come in, zbus's to take.
#[derive(Debug)]
struct Inbox {
    callers: Arc<Callers>,
    taken: Vec<u8>,
    rest: Range<usize>,
}

#[async_trait]
impl ReadHalf for Inbox {
    async fn recvmsg(&mut self, into: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        loop {
            if let Some(taken) = hand(&self.taken, &mut self.rest, into) {
                return Ok((taken, Vec::new()));
            }
            let Some(message) = self.callers.released().await else { return Ok((0, Vec::new())) };
            (self.rest, self.taken) = (0..message.len(), message);
        }
    }
}

#[derive(Debug)]
struct Answers {
    socket: OwnedReadHalf,
    framing: Framing,
    rest: Range<usize>,
}

#[async_trait]
impl ReadHalf for Answers {
    async fn recvmsg(&mut self, into: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        loop {
            let whole = self.rest.end;
            if let Some(taken) = hand(self.framing.bytes(0..whole), &mut self.rest, into) {
                return Ok((taken, Vec::new()));
            }
            match self.framing.piece()? {
                Some(Piece::Line(line)) => self.rest = line,
                Some(Piece::Message(message)) => {
                    if is_answer(self.framing.bytes(message.clone())) {
                        self.rest = message;
                    }
                }
                None => {
                    // Others get their turn: dropping alone would go on for as long as somebody sends.
                    tokio::task::yield_now().await;
                    let came = self.socket.read(self.framing.room()).await?;
                    self.rest = 0..0;
                    if came == 0 {
                        return Ok((0, Vec::new()));
                    }
                    self.framing.came(came);
                }
            }
        }
    }
}

fn is_answer(message: &[u8]) -> bool {
    Header::read(message).is_some_and(|header| match header.kind {
        Kind::Call => false,
        Kind::Reply => true,
        Kind::Signal => header.sender == BUS,
    })
}

/// Copies the `rest` of some bytes, as far as there is room. `None` where nothing is left of them.
fn hand(bytes: &[u8], rest: &mut Range<usize>, into: &mut [u8]) -> Option<usize> {
    let taken = rest.len().min(into.len());
    if taken == 0 {
        return None;
    }
    let end = rest.start + taken;
    into.get_mut(..taken)?.copy_from_slice(bytes.get(rest.start..end)?);
    rest.start = end;
    Some(taken)
}

#[derive(Debug)]
struct Writer {
    socket: OwnedWriteHalf,
    /// Those who are answered here, in their turn.
    callers: Option<Arc<Callers>>,
    /// A message of which so much is written. Whoever wrote it may have given up waiting; the bus needs the rest all the same.
    unsent: Option<(Message, usize)>,
}

impl Writer {
    async fn finish(&mut self) -> io::Result<()> {
        while let Some((message, written)) = &mut self.unsent {
            let rest = message.data().get(*written..).unwrap_or_default();
            if rest.is_empty() {
                self.unsent = None;
                break;
            }
            let now = self.socket.write(rest).await?;
            if now == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            *written += now;
        }
        Ok(())
    }
}

#[async_trait]
impl WriteHalf for Writer {
    async fn send_message(&mut self, message: &Message) -> zbus::Result<()> {
        if let Some(callers) = &self.callers {
            callers.put(message.clone());
            return Ok(());
        }
        self.finish().await?;
        self.unsent = Some((message.clone(), 0));
        Ok(self.finish().await?)
    }

    async fn sendmsg(&mut self, bytes: &[u8], _fds: &[std::os::fd::BorrowedFd<'_>]) -> io::Result<usize> {
        self.socket.write(bytes).await // the handshake
    }

    async fn close(&mut self) -> io::Result<()> {
        self.socket.shutdown().await
    }
}

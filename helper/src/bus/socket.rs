//! The socket to the bus, both halves, as zbus drives them: where messages are let in, skipped and dropped while they are read.
//!
//! zbus allocates for a message what its header says, up to 128 MiB, and hands every call to a task. So nothing reaches zbus
//! that has not passed here: this reads through one buffer of its own and gives zbus the bytes of what comes in, message by
//! message. Descriptors are never taken: the bus is not told that they could be, and keeps messages with some.

use std::{io, ops::Range, os::fd::OwnedFd, sync::Arc, time::Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::yield_now,
};
use zbus::{
    connection::socket::{ReadHalf, Split, WriteHalf},
    export::async_trait::async_trait,
    message::Message,
};

use super::{
    Callers,
    gate::{BUS, MOST_MESSAGE, Verdict, expect_reply},
    header::{FIXED, Header, Kind, length},
};

/// Room for the longest message, and for many short ones.
const BUFFER: usize = MOST_MESSAGE + (32 << 10);
/// A line of the handshake is shorter.
const LINE: usize = 1024;

/// Who decides what comes in.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// Callers come in as the gate says.
    Calls(Arc<Callers>),
    /// Answers, and the bus's own signals. Nobody calls here.
    Answers,
}

pub(super) fn split(socket: UnixStream, rule: Rule) -> Split<Box<dyn ReadHalf>, Box<dyn WriteHalf>> {
    let (read, write) = socket.into_split();
    let reader = Reader {
        socket: read,
        rule: rule.clone(),
        buffer: vec![0; BUFFER],
        filled: 0..0,
        skip: 0,
        handshake: true,
        handed: 0..0,
        released: Vec::new(),
        released_rest: 0..0,
    };
    Split::new(Box::new(reader), Box::new(Writer { socket: write, rule, unsent: None }))
}

#[derive(Debug)]
struct Reader {
    socket: OwnedReadHalf,
    rule: Rule,
    buffer: Vec<u8>,
    /// What has been read and not been looked at.
    filled: Range<usize>,
    /// So much of a message that is too long is still to come.
    skip: u64,
    /// Lines come first; a message begins with no letter that a line begins with.
    handshake: bool,
    /// The part of the buffer that is zbus's to take.
    handed: Range<usize>,
    /// A call that waited at the gate, zbus's to take.
    released: Vec<u8>,
    released_rest: Range<usize>,
}

#[async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, into: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        loop {
            if let Some(taken) = self.take(into) {
                return Ok((taken, Vec::new()));
            }
            if self.next()? {
                continue;
            }
            // Others get their turn before the next piece: dropping alone would go on for as long as somebody sends.
            yield_now().await;
            self.make_room();
            if self.read().await? == Some(0) {
                return Ok((0, Vec::new()));
            }
        }
    }
}

impl Reader {
    /// Gives zbus what is its own.
    fn take(&mut self, into: &mut [u8]) -> Option<usize> {
        hand(&self.released, &mut self.released_rest, into).or_else(|| hand(&self.buffer, &mut self.handed, into))
    }

    /// Finds what zbus gets next. Whether there is something, or may be on another look.
    fn next(&mut self) -> io::Result<bool> {
        if let Rule::Calls(callers) = &self.rule
            && let Some(message) = callers.gate().released()
        {
            (self.released_rest, self.released) = (0..message.len(), message);
            return Ok(true);
        }
        if self.skip > 0 {
            let skipped = self.filled.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.filled.start += skipped;
            self.skip -= u64::try_from(skipped).unwrap_or_default();
        }
        let Some(waiting) = self.buffer.get(self.filled.clone()) else { return Ok(false) };
        if self.handshake {
            self.handshake = !matches!(waiting.first(), Some(b'l' | b'B'));
            if self.handshake {
                return self.line();
            }
        }
        let Some(head) = waiting.get(..FIXED) else { return Ok(false) };
        let length = length(head).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no D-Bus message"))?;
        let Some(short) = usize::try_from(length).ok().filter(|length| *length <= MOST_MESSAGE) else {
            self.skip = length;
            return Ok(true);
        };
        if waiting.len() < short {
            return Ok(false);
        }
        let message = self.filled.start..self.filled.start + short;
        self.filled.start = message.end;
        if let Some(bytes) = self.buffer.get_mut(message.clone())
            && self.rule.lets_in(bytes)
        {
            self.handed = message;
        }
        Ok(true)
    }

    fn line(&mut self) -> io::Result<bool> {
        let waiting = self.buffer.get(self.filled.clone()).unwrap_or_default();
        let end = waiting.iter().position(|byte| *byte == b'\n');
        if end.is_none() && waiting.len() > LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the bus's handshake has no end"));
        }
        if let Some(end) = end {
            self.handed = self.filled.start..self.filled.start + end + 1;
            self.filled.start = self.handed.end;
        }
        Ok(end.is_some())
    }

    /// Moves what is left of a message to the buffer's begin.
    fn make_room(&mut self) {
        self.buffer.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
    }

    /// Reads more, unless a call that waited comes first. 0 is the end.
    async fn read(&mut self) -> io::Result<Option<usize>> {
        let Some(room) = self.buffer.get_mut(self.filled.end..) else { return Ok(None) };
        let read = match &self.rule {
            Rule::Answers => self.socket.read(room).await?,
            Rule::Calls(callers) => tokio::select! {
                biased;
                () = callers.released.notified() => return Ok(None),
                read = self.socket.read(room) => read?,
            },
        };
        self.filled.end += read;
        Ok(Some(read))
    }
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

impl Rule {
    fn lets_in(&self, message: &mut [u8]) -> bool {
        match self {
            Self::Calls(callers) => {
                let passes = callers.arrived(message) == Verdict::Pass;
                if passes {
                    expect_reply(message);
                }
                passes
            }
            Self::Answers => Header::read(message).is_some_and(|header| match header.kind {
                Kind::Call => false,
                Kind::Reply => true,
                Kind::Signal => header.sender == BUS,
            }),
        }
    }
}

#[derive(Debug)]
struct Writer {
    socket: OwnedWriteHalf,
    rule: Rule,
    /// A message of which so much is written. Whoever wrote it may have given up waiting; the bus needs the rest all the same.
    unsent: Option<(Message, usize)>,
}

impl Writer {
    async fn finish(&mut self) -> io::Result<()> {
        while let Some((message, written)) = &mut self.unsent {
            let rest = message.data().get(*written..).unwrap_or_default();
            if rest.is_empty() {
                if let Rule::Calls(callers) = &self.rule {
                    callers.sent(message);
                }
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
        self.finish().await?;
        let wanted = match &self.rule {
            Rule::Calls(callers) => callers.sends(message, Instant::now()),
            Rule::Answers => true,
        };
        if wanted {
            self.unsent = Some((message.clone(), 0));
            self.finish().await?;
        }
        Ok(())
    }

    async fn sendmsg(&mut self, bytes: &[u8], _fds: &[std::os::fd::BorrowedFd<'_>]) -> io::Result<usize> {
        self.socket.write(bytes).await // the handshake
    }

    async fn close(&mut self) -> io::Result<()> {
        self.socket.shutdown().await
    }
}

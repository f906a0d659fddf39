//! Finds the messages in the bytes that come from the bus, in one buffer that never grows. Pure: reading is others' business.
//!
//! A message that is too long is skipped as it comes, so that its length costs nothing but the reading.

use std::{io, ops::Range};

use super::{
    gate::MOST_MESSAGE,
    header::{FIXED, length},
};

/// Room for the longest message, and for many short ones.
const BUFFER: usize = MOST_MESSAGE + (32 << 10);
/// A line of the handshake is shorter.
const LINE: usize = 1024;

/// Where a piece stands in the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A line of the handshake that comes before the first message.
    Line(Range<usize>),
    /// A whole message.
    Message(Range<usize>),
}

/// The buffer.
#[derive(Debug)]
pub struct Framing {
    buffer: Vec<u8>,
    /// What has come and was not looked at.
    filled: Range<usize>,
    /// So much of a message that is too long is still to come.
    skip: u64,
    /// Lines come first; a message begins with no letter that a line begins with.
    handshake: bool,
}

impl Default for Framing {
    fn default() -> Self {
        Self { buffer: vec![0; BUFFER], filled: 0..0, skip: 0, handshake: true }
    }
}

impl Framing {
    /// Where the next bytes go, never nothing; [`Self::came`] is owed. Pieces that were found before are gone.
    pub fn room(&mut self) -> &mut [u8] {
        self.buffer.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        self.buffer.get_mut(self.filled.end..).unwrap_or_default()
    }

    /// So many bytes have come.
    pub fn came(&mut self, bytes: usize) {
        self.filled.end = self.filled.end.saturating_add(bytes).min(self.buffer.len());
    }

    /// A piece that was found.
    pub fn bytes(&mut self, piece: Range<usize>) -> &mut [u8] {
        self.buffer.get_mut(piece).unwrap_or_default()
    }

    /// The next piece; `None` where more has to come. An error means that it is no bus at the other end.
    pub fn piece(&mut self) -> io::Result<Option<Piece>> {
        loop {
            let skipped = self.filled.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.filled.start += skipped;
            self.skip -= u64::try_from(skipped).unwrap_or_default();
            let waiting = self.buffer.get(self.filled.clone()).unwrap_or_default();
            if self.handshake && !waiting.is_empty() {
                self.handshake = !matches!(waiting.first(), Some(b'l' | b'B'));
                if self.handshake {
                    return self.line();
                }
            }
            let Some(head) = waiting.get(..FIXED) else { return Ok(None) };
            let length = length(head).ok_or_else(|| invalid("the bus sent something that is not a D-Bus message"))?;
            match usize::try_from(length) {
                Ok(length) if length <= MOST_MESSAGE => {
                    let piece = self.filled.start..self.filled.start + length;
                    if waiting.len() < length {
                        return Ok(None);
                    }
                    self.filled.start = piece.end;
                    return Ok(Some(Piece::Message(piece)));
                }
                _ => self.skip = length,
            }
        }
    }

    fn line(&mut self) -> io::Result<Option<Piece>> {
        let waiting = self.buffer.get(self.filled.clone()).unwrap_or_default();
        let Some(end) = waiting.iter().position(|byte| *byte == b'\n') else {
            return if waiting.len() > LINE { Err(invalid("the bus's handshake does not end")) } else { Ok(None) };
        };
        let piece = self.filled.start..self.filled.start + end + 1;
        self.filled.start = piece.end;
        Ok(Some(Piece::Line(piece)))
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use zbus::message::Message;

    use super::*;

    fn message(size: usize) -> Vec<u8> {
        let body = vec![7u8; size];
        Message::signal("/", "org.x.Y", "Z").build(&body).unwrap().data().to_vec()
    }

    /// Everything that is found when the bytes come in pieces of this size.
    fn found(stream: &[u8], size: usize) -> Vec<Vec<u8>> {
        let (mut framing, mut found) = (Framing::default(), Vec::new());
        let mut rest = stream;
        while !rest.is_empty() {
            let room = framing.room();
            let came = size.min(room.len()).min(rest.len());
            assert!(came > 0, "there is always room");
            room[..came].copy_from_slice(&rest[..came]);
            framing.came(came);
            rest = &rest[came..];
            while let Some(Piece::Line(piece) | Piece::Message(piece)) = framing.piece().unwrap() {
                found.push(framing.bytes(piece).to_vec());
            }
        }
        found
    }

    #[test]
    fn however_the_bytes_come_the_messages_are_the_same() {
        let (short, long, too_long) = (message(10), message(MOST_MESSAGE - 200), message(MOST_MESSAGE));
        let lines = [b"DATA\r\n".to_vec(), b"OK 0123456789abcdef\r\n".to_vec()];
        let stream = [&lines[0], &lines[1], &short, &too_long, &long, &too_long, &too_long, &short, &long, &short]
            .map(|part| &part[..]);
        let wanted = [&lines[0], &lines[1], &short, &long, &short, &long, &short].map(Clone::clone);
        for size in [1, 7, 16, 4096, 1 << 20] {
            assert_eq!(found(&stream.concat(), size), wanted, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_bus_is_an_error() {
        let mut framing = Framing::default();
        let room = framing.room();
        room[..FIXED].fill(b'l');
        let length = room.len().min(LINE + FIXED);
        framing.came(FIXED);
        assert_eq!(framing.piece().unwrap(), None, "a long message of which nothing has come: it is skipped");
        let mut framing = Framing::default();
        framing.room()[..length].fill(b'x');
        framing.came(length);
        assert_eq!(framing.piece().unwrap_err().kind(), io::ErrorKind::InvalidData);
        let first = message(1);
        let mut framing = Framing::default();
        framing.room()[..first.len()].copy_from_slice(&first);
        framing.came(first.len());
        assert!(framing.piece().unwrap().is_some());
        framing.room()[..FIXED].fill(b'x');
        framing.came(FIXED);
        assert_eq!(framing.piece().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

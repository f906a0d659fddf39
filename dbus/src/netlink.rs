//! A netlink socket: one request, and all its replies. It knows no family; the caller knows what a message means.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use netlink_packet_core::NetlinkBuffer;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType,
    netlink::SocketAddrNetlink,
    sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force},
};

/// `NLM_F_REQUEST | NLM_F_DUMP` of linux/netlink.h.
const REQUEST_DUMP: u16 = 0x301;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 0x1;
/// `NLM_F_REQUEST | NLM_F_ACK`.
const REQUEST_ACK: u16 = 0x5;
/// `NLM_F_DUMP_INTR`: the list changed while it was dumped.
const DUMP_INTR: u16 = 0x10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER_BYTES: usize = 16;
/// The kernel fills at most 32 KiB a dump datagram (netlink_dump in net/netlink/af_netlink.c).
const BUFFER_BYTES: usize = 1 << 16;
/// Asked for multicast groups; without CAP_NET_ADMIN the kernel caps it at net.core.rmem_max.
const GROUP_BUFFER_BYTES: usize = 4 << 20;

/// What can go wrong between us and the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on the socket failed.
    #[error("cannot {doing} netlink")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The kernel answered with an error.
    #[error("the kernel refused the request")]
    Refused(#[source] io::Error),
    /// A datagram that is not a sequence of netlink messages, or a payload that is not what it should be.
    #[error("malformed netlink message ({what}): {}", hex(bytes))]
    Malformed {
        /// What does not fit.
        what: &'static str,
        /// The offending bytes, from where reading stopped.
        bytes: Vec<u8>,
    },
}

impl Error {
    /// The error for bytes that are not what they should be.
    pub fn malformed(what: &'static str, bytes: &[u8]) -> Self {
        Self::Malformed { what, bytes: bytes.to_vec() }
    }

    fn io(doing: &'static str) -> impl Fn(rustix::io::Errno) -> Self {
        move |e| Self::Io { doing, source: e.into() }
    }
}

fn hex(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(64).map(|b| format!("{b:02x}")).collect::<String>();
    if bytes.len() > 64 { format!("{shown}… {} bytes", bytes.len()) } else { shown }
}

/// One message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub seq: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// The messages of one datagram. The first malformed one is an error and ends it. Pure.
pub fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Result<Message<'_>, Error>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut datagram);
        let Ok(buffer) = NetlinkBuffer::new_checked(rest) else {
            return Some(Err(Error::malformed("message length", rest)));
        };
        let length = buffer.length() as usize;
        let payload = rest.get(HEADER_BYTES..length).unwrap_or_default();
        datagram = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        let (kind, flags, seq) = (buffer.message_type(), buffer.flags(), buffer.sequence_number());
        Some(Ok(Message { kind, flags, seq, payload }))
    })
}

/// Whether everything was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing was lost or changed meanwhile.
    All,
    /// The list changed while it was dumped, or notifications were lost because the buffer was full.
    NotAll,
}

/// What [`Socket::take`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// A datagram, which has been taken.
    Taken,
    /// Notifications were lost because the buffer was full. More are lost until [`Self::Nothing`] is left waiting.
    Lost,
    /// Nothing.
    Nothing,
}

/// A bound netlink socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    seq: u32,
    /// How the latest dump went.
    dumped: Heard,
    buffer: Vec<u8>,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Socket {
    /// Opens a socket of `protocol` (rustix names them; `None` is NETLINK_ROUTE) and joins the multicast `groups` (bit N-1 is group N).
    pub fn open(protocol: Option<Protocol>, groups: u32) -> Result<Self, Error> {
        let flags = SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)
            .map_err(Error::io("open"))?;
        if groups != 0 {
            // Above the host's limit if we may (CAP_NET_ADMIN).
            if set_socket_recv_buffer_size_force(&fd, GROUP_BUFFER_BYTES).is_err() {
                set_socket_recv_buffer_size(&fd, GROUP_BUFFER_BYTES).map_err(Error::io("enlarge the buffer of"))?;
            }
        }
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups)).map_err(Error::io("bind"))?;
        Ok(Self { fd, seq: 0, dumped: Heard::All, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Sends a dump request and gives each reply's payload to `each`. Use a socket that has joined no group.
    pub fn dump(
        &mut self,
        kind: u16,
        payload: &[u8],
        mut each: impl FnMut(u16, &[u8]) -> Result<(), Error>,
    ) -> Result<Heard, Error> {
        self.begin_dump(kind, payload)?;
        loop {
            if let Some(heard) = self.go_on(&mut each)? {
                return Ok(heard);
            }
        }
    }

    /// Sends a dump request, whose replies [`Self::go_on`] takes in. The kernel makes each datagram when the one before is
    /// read, so a long dump may be read with breaks.
    pub fn begin_dump(&mut self, kind: u16, payload: &[u8]) -> Result<(), Error> {
        self.seq = self.seq.wrapping_add(1);
        self.dumped = Heard::All;
        let request = request(kind, REQUEST_DUMP, self.seq, payload);
        rustix::net::send(&self.fd, &request, SendFlags::empty()).map_err(Error::io("send to"))?;
        Ok(())
    }

    /// Takes in the next datagram of the latest dump; `None` until that is the last one.
    pub fn go_on(&mut self, mut each: impl FnMut(u16, &[u8]) -> Result<(), Error>) -> Result<Option<Heard>, Error> {
        let datagram = receive(&self.fd, &mut self.buffer, RecvFlags::empty())?;
        for message in messages(datagram) {
            let message = message?;
            if message.seq != self.seq {
                continue; // what an earlier dump that failed halfway left behind
            }
            if message.flags & DUMP_INTR != 0 {
                self.dumped = Heard::NotAll;
            }
            match message.kind {
                NLMSG_DONE => return Ok(Some(self.dumped)),
                NLMSG_ERROR => return Err(refusal(message.payload)),
                kind => each(kind, message.payload)?,
            }
        }
        Ok(None)
    }

    /// Sends a request that has one message as its answer, and gives that to `each`. Use a socket that has joined no group.
    pub fn get<T>(
        &mut self,
        kind: u16,
        payload: &[u8],
        each: impl Fn(u16, &[u8]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.seq = self.seq.wrapping_add(1);
        let seq = self.seq;
        let request = request(kind, REQUEST, seq, payload);
        rustix::net::send(&self.fd, &request, SendFlags::empty()).map_err(Error::io("send to"))?;
        loop {
            let datagram = receive(&self.fd, &mut self.buffer, RecvFlags::empty())?;
            for message in messages(datagram) {
                let message = message?;
                match (message.seq == seq, message.kind) {
                    (false, _) => {} // what an earlier request left behind
                    (true, NLMSG_ERROR) => return Err(refusal(message.payload)),
                    (true, kind) => return each(kind, message.payload),
                }
            }
        }
    }

    /// Sends a request that changes something, with more `NLM_F_*` flags, and waits for the kernel's yes or no. Use a socket that
    /// has joined no group.
    pub fn change(&mut self, kind: u16, flags: u16, payload: &[u8]) -> Result<(), Error> {
        self.seq = self.seq.wrapping_add(1);
        let seq = self.seq;
        let request = request(kind, flags | REQUEST_ACK, seq, payload);
        rustix::net::send(&self.fd, &request, SendFlags::empty()).map_err(Error::io("send to"))?;
        loop {
            let datagram = receive(&self.fd, &mut self.buffer, RecvFlags::empty())?;
            for message in messages(datagram) {
                let message = message?;
                if message.seq == seq && message.kind == NLMSG_ERROR {
                    let accepted = message.payload.first_chunk() == Some(&[0; 4]);
                    return if accepted { Ok(()) } else { Err(refusal(message.payload)) };
                }
            }
        }
    }

    /// Gives each notification that is waiting to `each`; never waits.
    pub fn drain(&mut self, mut each: impl FnMut(u16, &[u8]) -> Result<(), Error>) -> Result<Heard, Error> {
        let mut heard = Heard::All;
        loop {
            match self.take(|message| each(message.kind, message.payload))? {
                Waiting::Taken => {}
                Waiting::Lost => heard = Heard::NotAll,
                Waiting::Nothing => return Ok(heard),
            }
        }
    }

    /// Gives the notifications of the next datagram that is waiting to `each`; never waits.
    pub fn take(&mut self, mut each: impl FnMut(Message<'_>) -> Result<(), Error>) -> Result<Waiting, Error> {
        match receive(&self.fd, &mut self.buffer, RecvFlags::DONTWAIT) {
            Ok(datagram) => {
                for message in messages(datagram) {
                    each(message?)?;
                }
                Ok(Waiting::Taken)
            }
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::WouldBlock => Ok(Waiting::Nothing),
            Err(Error::Io { source, .. }) if source.raw_os_error() == Some(ENOBUFS) => Ok(Waiting::Lost),
            Err(error) => Err(error),
        }
    }
}

const ENOBUFS: i32 = rustix::io::Errno::NOBUFS.raw_os_error();

fn receive<'a>(fd: &OwnedFd, buffer: &'a mut [u8], flags: RecvFlags) -> Result<&'a [u8], Error> {
    let (_, length) = rustix::io::retry_on_intr(|| rustix::net::recv(fd, &mut *buffer, flags | RecvFlags::TRUNC))
        .map_err(Error::io("receive from"))?;
    buffer.get(..length).ok_or(Error::Malformed { what: "datagram longer than the buffer", bytes: Vec::new() })
}

fn refusal(payload: &[u8]) -> Error {
    match payload.first_chunk() {
        Some(code) => {
            Error::Refused(io::Error::from_raw_os_error(i32::from_ne_bytes(*code).checked_neg().unwrap_or_default()))
        }
        None => Error::malformed("error code", payload),
    }
}

fn request(kind: u16, flags: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes.extend_from_slice(payload);
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut header = NetlinkBuffer::new(&mut bytes);
    header.set_length(length);
    header.set_message_type(kind);
    header.set_flags(flags);
    header.set_sequence_number(seq);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_cut_anywhere_is_its_whole_messages_and_then_an_error() {
        let mut datagram = request(20, 2, 7, &[1, 2, 3, 4, 5]);
        datagram.resize(datagram.len().next_multiple_of(4), 0);
        let first = datagram.len();
        datagram.extend(request(NLMSG_DONE, 2, 7, &[0; 4]));
        for cut in 0..datagram.len() {
            let read: Vec<_> = messages(&datagram[..cut]).collect();
            let whole = read.iter().filter(|m| m.is_ok()).count();
            // The padding behind the first message may be missing.
            assert_eq!(whole, usize::from(cut >= first - 3), "cut at {cut}");
            assert_eq!(read.len() > whole, !(cut == 0 || (first - 3..=first).contains(&cut)), "cut at {cut}");
        }
        assert_eq!(messages(&datagram).filter(Result::is_ok).count(), 2);
    }

    #[test]
    fn no_byte_can_make_it_panic_or_loop() {
        let mut datagram = request(20, 2, 7, &[9; 40]);
        datagram.extend(request(NLMSG_ERROR, 0, 7, &[0xff; 4]));
        for i in 0..datagram.len() {
            for value in [0, 1, 15, 16, 0x7f, 0xff] {
                let mut mutated = datagram.clone();
                mutated[i] = value;
                assert!(messages(&mutated).count() < 8);
            }
        }
        assert!(matches!(refusal(&[0, 0, 0, 0x80]), Error::Refused(_)));
        assert!(matches!(refusal(&[1]), Error::Malformed { .. }));
    }
}

//! The other side: answers on each of its addresses, public and private ones, in a namespace of its own. It counts nothing.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd as _, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    Error,
    namespace::Namespace,
    traffic::{length, patient},
};
use crate::log;

const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// The servers. Dropped, they end.
#[derive(Debug)]
pub struct Peer {
    ended: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Peer {
    /// Serves TCP and UDP at these addresses, each inside its namespace.
    pub fn serve(places: &[(&Namespace, &[SocketAddr])]) -> Result<Self, Error> {
        let failed = Error::doing("start the peer");
        let (mut listeners, mut sockets) = (Vec::new(), Vec::new());
        for (namespace, addresses) in places {
            let bind = || -> io::Result<(Vec<TcpListener>, Vec<UdpSocket>)> {
                let listeners = addresses.iter().map(TcpListener::bind).collect::<io::Result<_>>()?;
                let sockets = addresses.iter().map(UdpSocket::bind).collect::<io::Result<_>>()?;
                Ok((listeners, sockets))
            };
            let (more_listeners, more_sockets) = namespace.inside(bind)?.map_err(&failed)?;
            listeners.extend(more_listeners);
            sockets.extend(more_sockets);
        }
        let ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ended);
        let serve = move || {
            while !until.load(Ordering::Relaxed) {
                // A client that goes away in the middle fails its own case, and a case that gets no answer fails too.
                if let Err(error) = look(&listeners, &sockets) {
                    log(format_args!("netglance-verify: the peer: {error}"));
                }
            }
        };
        let thread = thread::Builder::new().name("peer".into()).spawn(serve).map_err(failed)?;
        Ok(Self { ended, thread: Some(thread) })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(thread::JoinHandle::join));
    }
}

fn look(listeners: &[TcpListener], sockets: &[UdpSocket]) -> io::Result<()> {
    let fds: Vec<BorrowedFd<'_>> =
        listeners.iter().map(|l| l.as_fd()).chain(sockets.iter().map(|s| s.as_fd())).collect();
    let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    poll(&mut polled, Some(&LOOK_EVERY))?;
    let ready: Vec<bool> = polled.iter().map(|fd| fd.revents().contains(PollFlags::IN)).collect();
    for (listener, _) in listeners.iter().zip(&ready).filter(|(_, ready)| **ready) {
        answer_tcp(&listener.accept()?.0)?;
    }
    for (socket, _) in sockets.iter().zip(ready.iter().skip(listeners.len())).filter(|(_, ready)| **ready) {
        answer_udp(socket)?;
    }
    Ok(())
}

fn answer_tcp(mut stream: &TcpStream) -> io::Result<()> {
    patient(stream)?;
    let mut numbers = [0; 16];
    stream.read_exact(&mut numbers)?;
    let (up, down) = numbers.split_at(8);
    let number = |bytes: &[u8]| bytes.first_chunk().map(|chunk| u64::from_be_bytes(*chunk)).unwrap_or_default();
    let rest = length(number(up))?.saturating_sub(numbers.len());
    stream.read_exact(&mut vec![0; rest])?;
    stream.write_all(&vec![4; length(number(down))?])?;
    // The client closes first.
    if stream.read(&mut [0])? == 0 { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn answer_udp(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    let (bytes, from) = socket.recv_from(&mut buffer)?;
    let wanted = buffer.get(..bytes).and_then(|datagram| datagram.first_chunk()).map(|two| u16::from_be_bytes(*two));
    match wanted {
        Some(bytes) if bytes > 0 => socket.send_to(&vec![5; bytes.into()], from).map(drop),
        _ => Ok(()),
    }
}

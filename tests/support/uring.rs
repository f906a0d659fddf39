//! Ways of sending and receiving that pass by the ordinary system calls: io_uring and zero-copy.
#![allow(unsafe_code, reason = "the kernel is handed addresses; each call waits until it has given them back")]
#![allow(clippy::undocumented_unsafe_blocks, reason = "tests: see above")]

use std::{net::TcpStream, os::fd::AsRawFd as _};

use io_uring::{IoUring, cqueue, opcode, squeue, types::Fd};

/// Has the kernel do one thing, and returns how much of it was done.
fn submit(ring: &mut IoUring, entry: &squeue::Entry) -> usize {
    unsafe { ring.submission().push(entry).unwrap() };
    ring.submit_and_wait(1).unwrap();
    let done = ring.completion().next().unwrap();
    assert!(done.result() > 0, "io_uring: {}", std::io::Error::from_raw_os_error(-done.result()));
    // A zero-copy send says twice that it is done; only then the bytes are ours again.
    if cqueue::more(done.flags()) {
        while ring.completion().next().is_none() {
            ring.submit_and_wait(1).unwrap();
        }
    }
    usize::try_from(done.result()).unwrap()
}

fn each(bytes: usize, entry: impl Fn(*mut u8, u32) -> squeue::Entry) {
    let mut ring = IoUring::new(4).unwrap();
    let mut buffer = vec![7; 1 << 15];
    let mut left = bytes;
    while left > 0 {
        let piece = u32::try_from(left.min(buffer.len())).unwrap();
        left -= submit(&mut ring, &entry(buffer.as_mut_ptr(), piece));
    }
}

/// `IORING_OP_SEND`.
pub fn send(socket: &mut TcpStream, bytes: usize) {
    each(bytes, |at, length| opcode::Send::new(Fd(socket.as_raw_fd()), at, length).build());
}

/// `IORING_OP_SEND_ZC`, since Linux 6.0.
pub fn send_zerocopy(socket: &mut TcpStream, bytes: usize) {
    each(bytes, |at, length| opcode::SendZc::new(Fd(socket.as_raw_fd()), at, length).build());
}

/// `IORING_OP_RECV`.
pub fn receive(socket: &mut TcpStream, bytes: usize) {
    each(bytes, |at, length| opcode::Recv::new(Fd(socket.as_raw_fd()), at, length).build());
}

/// `MSG_ZEROCOPY`.
pub fn send_with_msg_zerocopy(socket: &mut TcpStream, bytes: usize) {
    let (fd, on) = (socket.as_raw_fd(), 1i32);
    let set = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_ZEROCOPY, (&raw const on).cast(), 4) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    let buffer = vec![7u8; bytes];
    let mut sent = 0;
    while sent < bytes {
        let rest = &buffer[sent..];
        let length = unsafe { libc::send(fd, rest.as_ptr().cast(), rest.len(), libc::MSG_ZEROCOPY) };
        assert!(length > 0, "{}", std::io::Error::last_os_error());
        sent += usize::try_from(length).unwrap();
    }
    // The pages stay as they are until the connection has ended.
    std::mem::forget(buffer);
}

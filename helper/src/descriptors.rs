//! File descriptors: the one that systemd keeps while the helper is down, and waiting for those of the kernel.
//!
//! The one file with unsafe code. Without systemd nothing is kept and nothing fails. It reads nothing from any of them.
#![allow(unsafe_code, reason = "a descriptor that was handed over is only a number, and tokio wants a promise")]

use std::{
    io,
    os::fd::{BorrowedFd, FromRawFd, OwnedFd},
};

use sd_notify::NotifyState::{Custom, FdName, FdStore, FdStoreRemove};
use tokio::io::{Interest, unix::AsyncFd};

use crate::log;

/// What the socket is called in the store.
const NAME: &str = "nft";

/// The socket that an earlier process stored. Call once, before anything else opens a descriptor.
pub fn take() -> Option<OwnedFd> {
    let mut handed_over = sd_notify::listen_fds_with_names().ok()?;
    let (fd, _) = handed_over.find(|(_, name)| name == NAME)?;
    // SAFETY: sd_listen_fds(3): systemd has opened descriptors 3 and up for this process alone (LISTEN_PID is ours, and
    // sd_notify has just found the descriptor open), and nothing else here has taken them.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Has systemd keep the socket, in the place of an earlier one.
pub fn keep(socket: BorrowedFd<'_>) {
    forget();
    // Without FDPOLL=0 systemd would drop the socket as soon as it has an error pending, such as a full buffer.
    warn(sd_notify::notify_with_fds(&[FdStore, FdName(NAME), Custom("FDPOLL=0")], &[socket]));
}

/// Has systemd drop what it keeps for us.
pub fn forget() {
    warn(sd_notify::notify(&[FdStoreRemove, FdName(NAME)]));
}

/// Without systemd's store a restart begins a new epoch, which is worth a line and no more.
fn warn(result: io::Result<()>) {
    if let Err(error) = result {
        log(format_args!(
            "systemd does not keep the socket, so counting will start from zero after a restart: {error}"
        ));
    }
}

/// Waits for `fd` in the running tokio.
pub fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open for as long as it lives, its number never changes, and the AsyncFd owns it.
    unsafe { Ok(AsyncFd::register_with_interest(fd, Interest::READABLE)?) }
}

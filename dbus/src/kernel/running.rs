//! Reads what the running kernel says of itself.

use std::fs;

use super::Kernel;

/// The kernel that runs. Where /proc is closed, what every process may ask has to do.
pub fn running() -> Kernel {
    let uname = rustix::system::uname();
    let read = |name: &str, otherwise: &std::ffi::CStr| {
        fs::read_to_string(format!("/proc/{name}")).unwrap_or_else(|_| otherwise.to_string_lossy().into_owned())
    };
    Kernel::new(
        &read("sys/kernel/osrelease", uname.release()),
        &read("sys/kernel/version", uname.version()),
        &read("version_signature", c""),
    )
}

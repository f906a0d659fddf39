//! What an ordinary user does with control groups of their own, on a thread that has no right but theirs.
#![allow(dead_code, reason = "each test file includes this module and uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is the test's")]

use std::{fs, path::Path, thread};

use rustix::process::{Gid, Uid};

/// Delegates a cgroup to a user, as systemd does.
pub fn give(directory: &Path, user: u32) {
    for file in ["", "cgroup.procs", "cgroup.subtree_control"] {
        rustix::fs::chown(directory.join(file), Some(Uid::from_raw(user)), Some(Gid::from_raw(user))).unwrap();
    }
}

/// Does something as a user.
pub fn as_user<T: Send>(user: u32, act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let user = Uid::from_raw(user);
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
            act()
        });
        thread.join().unwrap()
    })
}

/// `count` cgroups, as fast as it goes.
pub fn make(directory: &Path, prefix: &str, count: usize) {
    (0..count).for_each(|i| fs::create_dir(directory.join(format!("{prefix}{i}"))).unwrap());
}

/// They are removed, whoever made them.
pub fn remove(directory: &Path, prefix: &str, count: usize) {
    (0..count).for_each(|i| fs::remove_dir(directory.join(format!("{prefix}{i}"))).unwrap());
}

/// A number in kB out of /proc/PID/status, as bytes.
pub fn status(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Nanoseconds of CPU of all threads of a process.
pub fn cpu_ns(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let ns = |text: String| text.split(' ').next().unwrap().parse::<u64>().unwrap();
    tasks.map(|task| ns(fs::read_to_string(task.path().join("schedstat")).unwrap())).sum()
}

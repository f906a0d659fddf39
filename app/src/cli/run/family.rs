//! The processes that a command has started, and the cgroups in which they are.
//!
//! Whatever the command starts stays below this process: as its subreaper it becomes the parent of every process whose own
//! parent ends. So a process that moves itself to another cgroup, as flatpak and snap do, is found there. Not found is what
//! another program starts because the command asks for it, over D-Bus for instance.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, WaitStatus};

use crate::look::monitor::Monitor;

/// Looking at the processes takes this part of the time at most …
const SHARE: u32 = 20;
/// … and this part while many of them end: they have to be looked at before they are waited for.
const SHARE_AT_ENDS: u32 = 4;

/// Why a cgroup that processes of the command have moved to is not counted. The text goes on from "which is not counted: ".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It is older than the command.
    #[error("it was there before the command started, so other programs may be in it")]
    Older,
    /// Others are in it.
    #[error("processes that the command didn't start are in it as well")]
    Shared,
    /// It is another user's.
    #[error("it belongs to another user or to the system")]
    NotOwn,
}

/// What happens to a cgroup that processes of the command have moved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It is counted with the command.
    Counted,
    /// It is counted, but processes of others came in later.
    Joined,
    /// It isn't counted.
    Left(Why),
}

/// All processes that the command has started.
#[derive(Debug)]
pub struct Family {
    /// Children that this process had before the command.
    strangers: HashSet<i32>,
    /// The cgroups that were there before the command.
    before: HashSet<String>,
    /// The cgroups outside the command's own in which its processes were found.
    moved: BTreeMap<String, Moved>,
    /// Not looked again before then …
    next: Instant,
    /// … and where one has ended not before then.
    next_at_end: Instant,
    /// The kernel doesn't tell a process's children.
    is_blind: bool,
}

#[derive(Debug)]
struct Process {
    pid: i32,
    cgroup: String,
    /// It has ended, and its parent has not asked for its status.
    is_zombie: bool,
}

impl Family {
    /// To be called before the command is started.
    pub fn new(monitor: &Monitor) -> Self {
        let has_reaper = rustix::process::set_child_subreaper(Some(rustix::process::getpid())).is_ok();
        Self {
            strangers: children(own_pid()).into_iter().collect(),
            before: monitor.paths().chain(["/"]).map(str::to_owned).collect(),
            moved: BTreeMap::new(),
            next: Instant::now(),
            next_at_end: Instant::now(),
            is_blind: !has_reaper || !Path::new("/proc/thread-self/children").exists(),
        }
    }

    /// Whether processes that have moved can't be found.
    pub fn is_blind(&self) -> bool {
        self.is_blind
    }

    /// Whether a cgroup is older than the command.
    pub fn is_older(&self, cgroup: &str) -> bool {
        self.before.contains(cgroup)
    }

    /// The cgroups that processes of the command have moved to.
    pub fn moved(&self) -> impl Iterator<Item = (&str, Moved)> {
        self.moved.iter().map(|(cgroup, moved)| (cgroup.as_str(), *moved))
    }

    /// Like [`Self::look`], but only if that doesn't cost too much by now.
    pub fn glance(&mut self, monitor: &mut Monitor) -> Vec<(String, Moved)> {
        if Instant::now() < self.next { Vec::new() } else { self.look(monitor) }
    }

    /// Whether to look because a process has ended: always if it is the command, otherwise if that doesn't cost too much by now.
    pub fn is_due_at_end(&self, command: Pid) -> bool {
        Instant::now() >= self.next_at_end || has_ended(command)
    }

    /// A look, with all that belongs to it, took so long.
    pub fn rest_after(&mut self, took: Duration) {
        self.next_at_end = Instant::now() + took * SHARE_AT_ENDS;
    }

    /// Looks where the processes are, and makes the monitor count the new cgroups that are theirs alone. What is another now.
    pub fn look(&mut self, monitor: &mut Monitor) -> Vec<(String, Moved)> {
        let began = Instant::now();
        let mut news = Vec::new();
        let processes = self.processes();
        let known: HashSet<_> = processes.iter().map(|process| process.pid).collect();
        for process in &processes {
            if monitor.is_watched(&process.cgroup) {
                continue;
            }
            let top = topmost(&process.cgroup, |path| self.before.contains(path)).to_owned();
            if self.moved.contains_key(&top) {
                continue;
            }
            let moved = if self.before.contains(&top) {
                Moved::Left(Why::Older)
            } else if !monitor.is_own_cgroup(&top) {
                Moved::Left(Why::NotOwn)
            } else if !self.is_alone_in(&monitor.tree().directory(&top), &known) {
                Moved::Left(Why::Shared)
            } else {
                monitor.widen(&top);
                Moved::Counted
            };
            news.push((top.clone(), moved));
            self.moved.insert(top, moved);
        }
        for (cgroup, moved) in &self.moved {
            if *moved == Moved::Counted && !self.is_alone_in(&monitor.tree().directory(cgroup), &known) {
                news.push((cgroup.clone(), Moved::Joined));
            }
        }
        self.moved.extend(news.iter().cloned());
        let took = began.elapsed();
        self.next = Instant::now() + took * SHARE;
        news
    }

    /// How many processes there still are, by cgroup.
    pub fn remaining(&self) -> BTreeMap<String, usize> {
        let mut remaining = BTreeMap::new();
        for process in self.processes().into_iter().filter(|process| !process.is_zombie) {
            *remaining.entry(process.cgroup).or_default() += 1;
        }
        remaining
    }

    /// Those that exist, and those that have ended and were not waited for.
    fn processes(&self) -> Vec<Process> {
        let mut processes = Vec::new();
        let mut pids: Vec<_> = children(own_pid()).into_iter().filter(|pid| !self.strangers.contains(pid)).collect();
        while let Some(pid) = pids.pop() {
            pids.extend(children(pid));
            if let (Some(cgroup), Some(stat)) = (cgroup_of(pid), stat(pid)) {
                processes.push(Process { pid, cgroup, is_zombie: stat.is_zombie });
            }
        }
        processes
    }

    /// Whether a cgroup and those below it hold no process that the command has not started.
    fn is_alone_in(&self, directory: &Path, known: &HashSet<i32>) -> bool {
        members(directory).into_iter().all(|pid| known.contains(&pid) || self.is_one(pid))
    }

    /// Whether the command has started it. One that has ended meanwhile is no stranger.
    fn is_one(&self, mut pid: i32) -> bool {
        while let Some(Stat { parent, .. }) = stat(pid) {
            match parent {
                0 | 1 => return false,
                parent if parent == own_pid() => return !self.strangers.contains(&pid),
                parent => pid = parent,
            }
        }
        true
    }
}

/// Whether a child has ended, be it waited for or not. (/proc calls it a zombie as soon as its first thread has ended.)
fn has_ended(child: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(rustix::process::waitid(WaitId::Pid(child), options), Ok(None))
}

/// The command's own end, once it has ended. Children that others have left to this process are waited for too.
pub fn reap(command: Pid) -> io::Result<Option<WaitStatus>> {
    let mut ended = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == command => ended = Some(status),
            Ok(Some(_)) => {}
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(ended),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The cgroup that is counted for a process: the highest new one in its path that is not a slice, as a slice is for several
/// units.
fn topmost(path: &str, is_older: impl Fn(&str) -> bool) -> &str {
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
    let mut above = ends.filter_map(|end| path.get(..end));
    above.find(|above| !is_older(above) && !above.ends_with(".slice")).unwrap_or(path)
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_pid()
}

/// The children of all threads of a process.
fn children(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| numbers(&list)).collect()
}

/// The processes in a cgroup and in those below it.
fn members(directory: &Path) -> Vec<i32> {
    let mut pids = fs::read_to_string(directory.join("cgroup.procs")).map(|list| numbers(&list)).unwrap_or_default();
    let below = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        pids.extend(members(&entry.path()));
    }
    pids
}

fn numbers(list: &str) -> Vec<i32> {
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn cgroup_of(pid: i32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    // Of one that has ended, in a cgroup that is gone (proc_cgroup_show in kernel/cgroup/cgroup.c).
    Some(path.strip_suffix(" (deleted)").unwrap_or(path).to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: i32,
    is_zombie: bool,
}

/// `None`: it has ended.
fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// See proc_pid_stat(5). The name in it may hold anything, brackets too.
fn parse_stat(text: &str) -> Option<Stat> {
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    Some(Stat { is_zombie: matches!(fields.next()?, "Z" | "X"), parent: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_counted_as_a_whole_but_for_slices() {
        let before = ["/", "/user.slice", "/user.slice/user-1.slice", "/user.slice/user-1.slice/old.scope"];
        let check = |path: &str, expected: &str| {
            assert_eq!(topmost(path, |above| before.contains(&above)), expected, "{path}");
        };
        check("/user.slice/user-1.slice/old.scope", "/user.slice/user-1.slice/old.scope");
        check("/user.slice/user-1.slice/new.scope", "/user.slice/user-1.slice/new.scope");
        check("/user.slice/user-1.slice/new.scope/a/b", "/user.slice/user-1.slice/new.scope");
        check("/user.slice/user-1.slice/app-x.slice/new.scope/a", "/user.slice/user-1.slice/app-x.slice/new.scope");
        check("/user.slice/user-1.slice/app-x.slice", "/user.slice/user-1.slice/app-x.slice");
        check("/", "/");
    }

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let check = |text: &str, expected| assert_eq!(parse_stat(text), expected, "{text}");
        check("7 (a) Z 3 (b) S 5 5", Some(Stat { parent: 5, is_zombie: false }));
        check("7 (sh) Z 3 7 7 0", Some(Stat { parent: 3, is_zombie: true }));
        check("7 (sh", None);
        check("", None);
    }

    #[test]
    fn this_process_has_parent_cgroup_and_children() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(children(own_pid()).contains(&pid));
        assert!(!has_ended(Pid::from_child(&child)));
        assert_eq!(stat(pid).map(|stat| stat.parent), Some(own_pid()));
        assert_eq!(cgroup_of(pid), cgroup_of(own_pid()));
        child.kill().unwrap();
        rustix::process::waitid(WaitId::Pid(Pid::from_child(&child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
            .unwrap();
        assert!(has_ended(Pid::from_child(&child)) && stat(pid).unwrap().is_zombie, "and is not waited for");
        child.wait().unwrap();
        assert_eq!((stat(pid), cgroup_of(pid)), (None, None));
    }
}

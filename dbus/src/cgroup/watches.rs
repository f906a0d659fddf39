//! Reports cgroups that are made and removed: inotify, with an instance for each account, so that nobody's events can push out
//! another's. It knows ids, not paths.

use std::{
    collections::HashMap,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    event::{
        Timespec,
        epoll::{self, EventData, EventFlags},
    },
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};

/// By default the kernel allows root 128 instances, for all of its programs together.
const MOST_INSTANCES: usize = 32;
/// Bytes of events that are read at once. An event takes 16 bytes and its name, so these are some 700 events. Following them
/// takes some 20 ms at most.
const BUFFER_BYTES: usize = 1 << 15;

/// Whether a cgroup is watched now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// It is.
    Yes,
    /// It can't be read.
    Unreadable,
    /// It is gone.
    Gone,
    /// The kernel gives no more watches.
    Refused,
}

/// A directory was made or removed.
#[derive(Debug)]
pub struct Event {
    /// The cgroup in which it was.
    pub parent: u64,
    /// Its name.
    pub name: Box<[u8]>,
    /// Removed, not made.
    pub is_removed: bool,
}

/// All watches.
#[derive(Debug)]
pub struct Watches {
    /// Readable while any instance is.
    epoll: OwnedFd,
    instances: HashMap<u64, Instance>,
    /// The account whose instance serves all accounts without one of their own.
    common: u64,
}

#[derive(Debug)]
struct Instance {
    fd: OwnedFd,
    /// Cgroups by watch descriptor.
    of: HashMap<i32, u64>,
}

impl AsFd for Watches {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Watches {
    /// With one instance, for `common` and all accounts without one of their own.
    pub fn open(common: u64) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut this = Self { epoll, instances: HashMap::new(), common };
        this.begin_again();
        Ok(this)
    }

    /// Whether the kernel gives any.
    pub fn are_given(&self) -> bool {
        self.instances.contains_key(&self.common)
    }

    /// Releases all of them. The descriptor to wait on stays the same.
    pub fn give_up(&mut self) {
        self.instances.clear();
    }

    /// Asks the kernel again.
    pub fn begin_again(&mut self) {
        _ = self.begin(self.common); // see `are_given`
    }

    fn begin(&mut self, account: u64) -> Result<(), Errno> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        epoll::add(&self.epoll, &fd, EventData::new_u64(account), EventFlags::IN)?;
        self.instances.insert(account, Instance { fd, of: HashMap::new() });
        Ok(())
    }

    /// Watches a cgroup on behalf of an account.
    pub fn add(&mut self, account: u64, directory: BorrowedFd<'_>, id: u64) -> Watched {
        if !self.instances.contains_key(&account) && self.instances.len() < MOST_INSTANCES {
            _ = self.begin(account); // the common one does it too
        }
        let account = if self.instances.contains_key(&account) { account } else { self.common };
        let Some(instance) = self.instances.get_mut(&account) else { return Watched::Refused };
        // By descriptor, because a path may lead to another cgroup by now, or be too long.
        let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
        match inotify::add_watch(&instance.fd, path, WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::ONLYDIR) {
            Ok(watch) => {
                instance.of.insert(watch, id);
                Watched::Yes
            }
            Err(Errno::ACCESS | Errno::PERM) => Watched::Unreadable,
            Err(Errno::NOSPC | Errno::NOMEM) => Watched::Refused,
            Err(_) => Watched::Gone,
        }
    }

    /// Ends all watches of an account. Whether it had an instance of its own.
    pub fn end(&mut self, account: u64) -> bool {
        if account == self.common {
            return true;
        }
        let instance = self.instances.remove(&account);
        if let Some(instance) = &instance {
            _ = epoll::delete(&self.epoll, &instance.fd); // closing it would do
        }
        instance.is_some()
    }

    /// Ends the watches of the common instance, except those that `keep` holds for.
    pub fn end_common(&mut self, keep: impl Fn(u64) -> bool) {
        let Some(Instance { fd, of }) = self.instances.get_mut(&self.common) else { return };
        of.retain(|watch, id| {
            let stays = keep(*id);
            if !stays {
                _ = inotify::remove_watch(&*fd, *watch); // it may have gone with its cgroup
            }
            stays
        });
    }

    /// The accounts with events to take in.
    pub fn ready(&self) -> Vec<u64> {
        let mut buffer = [MaybeUninit::<epoll::Event>::uninit(); MOST_INSTANCES];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut buffer, Some(&at_once)) else { return Vec::new() };
        events.iter().map(|event| event.data.u64()).collect()
    }

    /// The next events of an account, and whether some were lost.
    pub fn read(&mut self, account: u64) -> (Vec<Event>, bool) {
        let Some(Instance { fd, of }) = self.instances.get_mut(&account) else { return (Vec::new(), false) };
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = inotify::Reader::new(&*fd, &mut buffer);
        let (mut events, mut lost) = (Vec::new(), false);
        while let Ok(event) = reader.next() {
            let flags = event.events();
            lost |= flags.contains(ReadFlags::QUEUE_OVERFLOW);
            if flags.contains(ReadFlags::IGNORED) {
                of.remove(&event.wd());
            } else if flags.contains(ReadFlags::ISDIR)
                && let (Some(parent), Some(name)) = (of.get(&event.wd()), event.file_name())
            {
                let is_removed = flags.contains(ReadFlags::DELETE);
                events.push(Event { parent: *parent, name: name.to_bytes().into(), is_removed });
            }
            if reader.is_buffer_empty() {
                break; // what came first is dealt with first
            }
        }
        (events, lost)
    }
}

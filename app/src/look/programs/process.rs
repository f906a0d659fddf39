//! A process: whose child it is, and which program it runs. Reading is here; what it means is pure.

use std::{
    fs,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

/// A command line is read up to here.
const LONGEST: usize = 8192;
/// Descriptors of one process that are looked at.
const MOST_DESCRIPTORS: usize = 4096;

/// What /proc says of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its parent.
    pub parent: u32,
    /// When it began, in clock ticks since the boot. With its number, it is told from all others.
    pub started: u64,
    /// What it runs.
    pub runs: Runs,
}

/// The program that a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Its file, or that of the script that it runs; `None`: it can't be known.
    pub file: Option<PathBuf>,
    /// What that is called.
    pub name: String,
    /// It is a shell that waits for what somebody types: what it starts is nobody's part.
    pub is_shell: bool,
    /// Its arguments, and those of its script.
    pub arguments: Vec<String>,
}

/// Reads what a process is; `None`: it has ended.
pub fn read(pid: u32) -> Option<Process> {
    let folder = Path::new("/proc").join(pid.to_string());
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let (parent, started) = parse_stat(&stat)?;
    let mut line = fs::read(folder.join("cmdline")).unwrap_or_default();
    line.truncate(LONGEST);
    let arguments: Vec<String> =
        line.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect();
    let comm = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or("", |(comm, _)| comm);
    let file = fs::read_link(folder.join("exe")).ok();
    Some(Process { parent, started, runs: runs(file, comm, arguments) })
}

/// The parent and the beginning in /proc/PID/stat (proc_pid_stat(5)). What is in brackets may be anything.
fn parse_stat(stat: &str) -> Option<(u32, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some((parent, started))
}

const SHELLS: [&str; 11] = ["ash", "bash", "csh", "dash", "fish", "ksh", "mksh", "rbash", "sh", "tcsh", "zsh"];
/// Programs that run others' text, beside shells.
const INTERPRETERS: [&str; 14] = [
    "electron",
    "gjs",
    "gjs-console",
    "java",
    "lua",
    "mono",
    "node",
    "nodejs",
    "perl",
    "php",
    "python",
    "ruby",
    "tclsh",
    "wish",
];

/// What a process runs: an interpreter's script rather than the interpreter. `file`: its executable.
pub fn runs(file: Option<PathBuf>, comm: &str, arguments: Vec<String>) -> Runs {
    let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let arguments: Vec<String> = arguments.into_iter().filter(|argument| !argument.is_empty()).collect();
    let typed = arguments.first().map(|first| base(first.split(' ').next().unwrap_or_default())).unwrap_or_default();
    // So the kernel calls the file of a program that an upgrade has replaced.
    let file = file.map(|file| match file.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(text) => PathBuf::from(text),
        None => file,
    });
    let own = file.as_ref().and_then(|file| file.file_name()?.to_str().map(str::to_owned));
    let name = own.or_else(|| Some(typed).filter(|typed| !typed.is_empty())).unwrap_or_else(|| comm.to_owned());
    // bash as a login shell is `-bash`; python3.13 is python.
    let plain = name.trim_start_matches('-').trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let is_shell = SHELLS.contains(&plain);
    if !is_shell && !INTERPRETERS.contains(&plain) {
        return Runs { file, name, is_shell: false, arguments: arguments.into_iter().skip(1).collect() };
    }
    let (script, is_given) = script(arguments.get(1..).unwrap_or_default(), is_shell);
    match script {
        Some((at, script)) => Runs {
            name: base(&script),
            file: Some(PathBuf::from(script)),
            is_shell: false,
            arguments: arguments.into_iter().skip(at + 2).collect(),
        },
        None => Runs {
            file,
            name: name.trim_start_matches('-').to_owned(),
            is_shell: is_shell && !is_given,
            arguments: arguments.into_iter().skip(1).collect(),
        },
    }
}

/// The script among an interpreter's arguments, and where it stands; and whether it has been given something to run at all.
fn script(arguments: &[String], is_shell: bool) -> (Option<(usize, String)>, bool) {
    let mut at = 0;
    while let Some(argument) = arguments.get(at) {
        let next = arguments.get(at + 1).cloned().map(|script| (at + 1, script));
        match argument.as_str() {
            "-m" | "-jar" if !is_shell => return (next, true),
            "-cp" | "-classpath" | "-o" => at += 2,
            option if is_shell && option.starts_with('-') && !option.starts_with("--") && option.contains('c') => {
                return (None, true);
            }
            "-c" | "-e" => return (None, true),
            option if option.starts_with('-') => at += 1,
            script => return (Some((at, script.to_owned())), true),
        }
    }
    (None, false)
}

/// Calls `found` with the inode of each socket that a process holds, until that says that it is enough. How many descriptors
/// were looked at.
pub fn sockets(pid: u32, mut found: impl FnMut(u32) -> bool) -> usize {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(folder) = rustix::fs::openat(rustix::fs::CWD, format!("/proc/{pid}/fd"), flags, Mode::empty()) else {
        return 1;
    };
    let Ok(descriptors) = rustix::fs::Dir::read_from(&folder) else { return 1 };
    let mut looked = 0;
    for descriptor in descriptors.flatten().take(MOST_DESCRIPTORS) {
        looked += 1;
        let mut buffer = [0u8; 64];
        let read = rustix::fs::readlinkat_raw(folder.as_fd(), descriptor.file_name(), &mut buffer[..]);
        let Some(link) = read.ok().and_then(|length| buffer.get(..length)) else { continue };
        let inode = link.strip_prefix(b"socket:[").and_then(|rest| rest.strip_suffix(b"]"));
        let inode = inode.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        if inode.is_some_and(&mut found) {
            break;
        }
    }
    looked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_called_as_what_it_runs() {
        let check = |file: &str, line: &str, name: &str, is_shell: bool| {
            let file = Some(PathBuf::from(file)).filter(|_| !file.is_empty());
            let runs = runs(file, "comm", line.split(' ').map(str::to_owned).collect());
            assert_eq!((runs.name.as_str(), runs.is_shell), (name, is_shell), "{line}");
        };
        check("/usr/lib/firefox/firefox (deleted)", "firefox -contentproc", "firefox", false);
        check("/usr/bin/python3.13", "/usr/bin/python3 -u /usr/bin/meld a b", "meld", false);
        check("/usr/bin/python3.13", "python3 -m http.server", "http.server", false);
        check("/usr/bin/python3.13", "python3 -c pass", "python3.13", false);
        check("/usr/bin/python3.13", "python3", "python3.13", false);
        check("/usr/bin/bash", "-bash", "bash", true);
        check("/usr/bin/bash", "bash -i", "bash", true);
        check("/usr/bin/bash", "bash --norc --login", "bash", true);
        check("/usr/bin/dash", "sh -c exec x", "dash", false);
        check("/usr/bin/bash", "bash -lc x", "bash", false);
        check("/usr/bin/dash", "/bin/sh /usr/bin/startx", "startx", false);
        check("/usr/lib/jvm/bin/java", "java -Xmx1g -jar /opt/x/app.jar", "app.jar", false);
        check("", "sshd: me [priv]", "sshd:", false);
        check("", "", "comm", false);
    }

    #[test]
    fn a_process_name_may_be_anything() {
        let stat = "12 (a) b ) R 7 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(parse_stat(stat), Some((7, 4711)));
        assert_eq!(parse_stat("12 (a"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn the_sockets_of_a_process_are_found() {
        use std::os::{fd::AsRawFd as _, unix::fs::MetadataExt as _};
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap().ino();
        let mut found = Vec::new();
        let looked = sockets(std::process::id(), |inode| {
            found.push(u64::from(inode));
            false
        });
        assert!(found.contains(&inode) && looked > found.len(), "{inode} {found:?}");
        assert_eq!(sockets(0, |_| true), 1);
        let me = read(std::process::id()).unwrap();
        assert!(me.started > 0 && me.runs.name.contains("netglance"), "{me:?}");
    }
}

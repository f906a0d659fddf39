//! Processes, as far as /proc shows them to this user.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt as _, path::Path};

/// One process.
#[derive(Debug)]
pub struct Process {
    /// Its real name, cut to 15 characters.
    pub name: String,
    /// Whose it is.
    pub uid: u32,
}

/// All that are visible.
pub fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let process = |entry: fs::DirEntry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        Some(Process { name: name.trim_end().to_owned(), uid: entry.metadata().ok()?.uid() })
    };
    entries.filter_map(process).collect()
}

/// What was found inside some processes.
#[derive(Debug, Default)]
pub struct Inside {
    /// Inodes of their sockets; `None`: not one could be looked into.
    pub sockets: Option<HashSet<u32>>,
    /// How many live in another network namespace than this process; `None`: not one could be looked into.
    pub elsewhere: Option<usize>,
    /// Whose those are that can't be looked into.
    pub closed: HashSet<u32>,
    /// The first proxy that one's environment names.
    pub proxy: Option<String>,
}

/// Looks into those that this user may look into.
pub fn look_into(pids: &[u32]) -> Inside {
    let mut inside = Inside::default();
    let here = fs::read_link("/proc/self/ns/net").ok();
    for pid in pids {
        let process = Path::new("/proc").join(pid.to_string());
        if let Ok(namespace) = fs::read_link(process.join("ns/net")) {
            *inside.elsewhere.get_or_insert(0) += usize::from(here.as_ref() != Some(&namespace));
        }
        let fds = fs::read_dir(process.join("fd"));
        if fds.is_err() {
            // One that has ended is nobody's.
            inside.closed.extend(fs::metadata(&process).map(|process| process.uid()));
        }
        if let Ok(fds) = fds {
            let inode = |fd: fs::DirEntry| {
                let link = fs::read_link(fd.path()).ok()?;
                link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u32>().ok()
            };
            inside.sockets.get_or_insert_default().extend(fds.flatten().filter_map(inode));
        }
        if inside.proxy.is_none() {
            inside.proxy = fs::read(process.join("environ")).ok().and_then(|environ| proxy(&environ));
        }
    }
    inside
}

/// The proxy for web traffic that an environment names.
fn proxy(environ: &[u8]) -> Option<String> {
    let variables =
        environ.split(|byte| *byte == 0).filter_map(|variable| std::str::from_utf8(variable).ok()?.split_once('='));
    let names = ["https_proxy", "all_proxy", "http_proxy"];
    let mut proxies =
        variables.filter(|(name, value)| !value.is_empty() && names.contains(&name.to_lowercase().as_str()));
    proxies.next().map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_names_a_proxy_in_either_case() {
        let check = |environ: &str, expected: Option<&str>| {
            assert_eq!(proxy(environ.as_bytes()).as_deref(), expected, "{environ:?}");
        };
        check("", None);
        check("HOME=/root\0https_proxy=\0no_proxy=x\0", None);
        check("A=b\0HTTPS_PROXY=http://localhost:1\0", Some("http://localhost:1"));
        check("all_proxy=socks5://[::1]:2", Some("socks5://[::1]:2"));
    }
}

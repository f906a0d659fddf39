//! What libvirt's networks have leased, and to which virtual machine: files that everybody may read, as libnss_libvirt_guest does.
//! They are read again when they change, and when a lease ends.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read as _},
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;
use tokio::time::sleep;

use super::{Engine, Holder, State, Teller, paths::Watch};

/// So many files are read, and so much of each. A lease is some 150 bytes.
const MOST_FILES: usize = 256;
const MOST_BYTES: u64 = 1 << 20;
/// What is written within this time is read at once.
const TOGETHER: Duration = Duration::from_millis(200);

/// Follows the leases in a directory, and tells them.
pub async fn follow(dir: PathBuf, mut teller: Teller) {
    let mut watch = Watch::new(vec![dir.clone()], true);
    loop {
        watch.begin();
        teller.begin();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let ends = match read(&dir) {
            Ok(files) => {
                let leases = leases(&files, now);
                teller.tell_holders(Engine::Libvirt, leases.holders);
                leases.ends
            }
            Err(error) => {
                teller.tell(match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => State::Absent,
                    io::ErrorKind::PermissionDenied => State::Denied,
                    _ => State::Failed(format!("it cannot be read ({error})")),
                });
                None
            }
        };
        let ends = ends.map(|ends| Duration::from_secs(ends.saturating_sub(now).saturating_add(1)));
        tokio::select! {
            () = watch.changed() => {}
            () = teller.asked() => {}
            () = sleep(ends.unwrap_or_default()), if ends.is_some() => {}
        }
        sleep(TOGETHER).await;
    }
}

/// The texts of the files that matter. A file that can't be read, or is longer than one may be, has none.
fn read(dir: &Path) -> io::Result<Files> {
    let mut files = Files::default();
    for entry in fs::read_dir(dir)?.flatten().take(MOST_FILES) {
        let path = entry.path();
        let of_kind = match path.extension().and_then(|extension| extension.to_str()) {
            Some("status") => &mut files.status,
            Some("macs") => &mut files.macs,
            _ => continue,
        };
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let mut text = String::new();
        if let Ok(file) = File::open(&path)
            && file.take(MOST_BYTES).read_to_string(&mut text).is_ok()
        {
            of_kind.push(text);
        }
    }
    Ok(files)
}

/// Texts of files.
#[derive(Debug, Default)]
struct Files {
    status: Vec<String>,
    macs: Vec<String>,
}

#[derive(Deserialize)]
struct Lease {
    #[serde(rename = "ip-address")]
    address: Option<String>,
    #[serde(rename = "mac-address")]
    mac: Option<String>,
    hostname: Option<String>,
    /// Seconds since 1970. 0: never.
    #[serde(rename = "expiry-time")]
    ends: Option<u64>,
}

#[derive(Deserialize)]
struct Domain {
    domain: Option<String>,
    #[serde(default)]
    macs: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Leases {
    holders: Vec<Holder>,
    /// When the first of them ends, in seconds since 1970.
    ends: Option<u64>,
}

/// Those that last at `now` (seconds since 1970), by virtual machine. One whose name is not known is called as it calls itself.
fn leases(files: &Files, now: u64) -> Leases {
    let mut names: HashMap<String, String> = HashMap::new();
    // A file without any lease is empty.
    for domain in files.macs.iter().flat_map(|text| serde_json::from_str::<Vec<Domain>>(text).unwrap_or_default()) {
        let Some(name) = domain.domain else { continue };
        names.extend(domain.macs.into_iter().map(|mac| (mac.to_lowercase(), name.clone())));
    }
    let mut held: HashMap<String, Vec<IpAddr>> = HashMap::new();
    let mut ends = None;
    for lease in files.status.iter().flat_map(|text| serde_json::from_str::<Vec<Lease>>(text).unwrap_or_default()) {
        let end = lease.ends.filter(|end| *end != 0);
        if end.is_some_and(|end| end <= now) {
            continue;
        }
        let Some(address) = lease.address.and_then(|text| text.parse().ok()) else { continue };
        let name = lease.mac.and_then(|mac| names.get(&mac.to_lowercase()).cloned()).or(lease.hostname);
        if let Some(name) = name {
            held.entry(name).or_default().push(address);
            ends = ends.into_iter().chain(end).min();
        }
    }
    let holders = held.into_iter().filter_map(|(name, addresses)| Holder::new(Engine::Libvirt, &name, None, addresses));
    let mut holders: Vec<_> = holders.collect();
    holders.sort_unstable();
    Leases { holders, ends }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by hand, with the fields that libnss_libvirt_guest reads.
    const STATUS: &str = r#"[
  { "ip-address": "192.168.122.7", "mac-address": "52:54:00:AB:cd:ef", "hostname": "deb", "client-id": "ff:00", "expiry-time": 2000 },
  { "ip-address": "fd00:122::7", "mac-address": "52:54:00:ab:cd:ef", "iaid": "11259375", "client-duid": "00:01", "expiry-time": 1900 },
  { "ip-address": "192.168.122.8", "mac-address": "52:54:00:00:00:08", "hostname": "fedora", "expiry-time": 0 },
  { "ip-address": "192.168.122.9", "mac-address": "52:54:00:00:00:09", "expiry-time": 2000 },
  { "ip-address": "192.168.122.10", "mac-address": "52:54:00:ab:cd:ef", "expiry-time": 1000 }
]"#;
    const MACS: &str = r#"[ { "domain": "debian 12", "macs": [ "52:54:00:ab:cd:ef" ] } ]"#;

    #[test]
    fn leases_belong_to_the_machine_with_their_mac_until_they_end() {
        let check = |status: &str, macs: &str, now: u64, expected: &[(&str, &[&str])], ends: Option<u64>| {
            let files = Files { status: vec![status.to_owned()], macs: vec![macs.to_owned()] };
            let found = leases(&files, now);
            let brief: Vec<(&str, Vec<String>)> = found
                .holders
                .iter()
                .map(|holder| (holder.name.as_str(), holder.addresses.iter().map(ToString::to_string).collect()))
                .collect();
            let expected: Vec<(&str, Vec<String>)> =
                expected.iter().map(|(name, all)| (*name, all.iter().map(|a| (*a).to_owned()).collect())).collect();
            assert_eq!((brief, found.ends), (expected, ends), "{status}");
        };
        let both: &[(&str, &[&str])] =
            &[("debian 12", &["192.168.122.7", "fd00:122::7"]), ("fedora", &["192.168.122.8"])];
        check(STATUS, MACS, 1000, both, Some(1900));
        check(STATUS, MACS, 1900, &[("debian 12", &["192.168.122.7"]), ("fedora", &["192.168.122.8"])], Some(2000));
        check(STATUS, MACS, 2000, &[("fedora", &["192.168.122.8"])], None);
        check(STATUS, "", 1900, &[("deb", &["192.168.122.7"]), ("fedora", &["192.168.122.8"])], Some(2000));
        for odd in ["", "{}", "[1]", "[", r#"[{"ip-address":"x","hostname":"a"}]"#, r#"[{"hostname":"a"}]"#] {
            check(odd, MACS, 0, &[], None);
        }
    }

    #[tokio::test]
    async fn files_that_are_written_anew_are_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("dnsmasq");
        let places = crate::look::engines::Places { libvirt: Some(at.clone()), ..Default::default() };
        let mut engines = crate::look::engines::Engines::new(&places);
        engines.settle().await;
        assert_eq!(engines.states()[0].state, State::Absent);
        let address = "192.168.122.8".parse().unwrap();
        fs::create_dir(&at).unwrap();
        fs::write(at.join("default.status"), STATUS).unwrap();
        fs::write(at.join("default.macs"), MACS).unwrap();
        let patience = Duration::from_secs(10);
        let named = async {
            while !engines.refresh() || engines.holder_of(address).is_none() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(patience, named).await.unwrap();
        assert_eq!(engines.path_of(address), "/forwarded/libvirt/fedora/192.168.122.8");
        assert_eq!(engines.states()[0].state, State::Answered { running: 1, left_out: 0 });
    }
}

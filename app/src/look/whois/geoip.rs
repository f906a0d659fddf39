//! The country and the network of an address, from files in MaxMind's format that are on this computer already. None is fetched, and
//! no address leaves this computer.
//!
//! A file is read as a whole, on a thread of its own, when somebody first looks, and given back when nobody does. Mapped into memory,
//! a file that becomes shorter meanwhile would end the program (SIGBUS).

use std::{
    fs,
    io::{self, Read as _},
    net::IpAddr,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use maxminddb::{PathElement, Reader};
use netglance_dbus::text::brief;
use serde::{Deserialize, Serialize};

/// Where files lie that the system's packages, MaxMind's `geoipupdate` or a person have put there, beside [`own_places`].
const PLACES: [&str; 4] = ["/usr/share/GeoIP", "/var/lib/GeoIP", "/usr/local/share/GeoIP", "/usr/local/var/GeoIP"];
/// Larger files are not read: the largest that tells a country has half of that.
const MOST_BYTES: u64 = 256 << 20;
/// So many files of a setting are read.
const MOST_FILES: usize = 8;
/// A name of an organisation is not longer.
const MOST_CHARS: usize = 80;
/// Files are looked for again so often.
const EVERY: Duration = Duration::from_secs(60);

/// A file in MaxMind's format, for a person.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct GeoFile {
    /// Its path.
    pub path: String,
    /// Why nothing is learnt from it, worded for a person. `None`: nothing is known to be wrong with it; it is read when somebody
    /// looks.
    pub problem: Option<String>,
}

/// The files, and what was read of them.
#[derive(Debug)]
pub struct Geoip {
    /// The setting; `None`: what lies in `places`.
    wanted: Option<Vec<PathBuf>>,
    places: Vec<PathBuf>,
    shared: Arc<Mutex<Shared>>,
    /// When they were last looked for, and whether they were read.
    checked: Option<(Instant, bool)>,
}

#[derive(Debug, Default)]
struct Shared {
    files: Vec<File>,
    news: bool,
    /// A thread looks for files.
    is_busy: bool,
    /// What a thread finds that began in an earlier age is not wanted any more.
    age: u64,
}

#[derive(Clone, Debug)]
struct File {
    path: PathBuf,
    stamp: Option<Stamp>,
    read: Option<Arc<Reader<Vec<u8>>>>,
    problem: Option<String>,
}

/// What changes when a file is written or another one takes its place: device, inode, length, time of change.
type Stamp = (u64, u64, u64, i64, i64);

/// What is known of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The country's ISO 3166 code.
    pub country: Option<String>,
    /// The autonomous system's number, and who runs it; `AS` and the number where the file doesn't say that.
    pub network: Option<(u32, String)>,
}

impl Geoip {
    /// One that has read nothing yet.
    pub fn new() -> Self {
        Self::of_places(PLACES.iter().map(PathBuf::from).chain(own_places()).collect())
    }

    fn of_places(places: Vec<PathBuf>) -> Self {
        Self { wanted: None, places, shared: Arc::default(), checked: None }
    }

    /// Where files are looked for that no setting names.
    pub fn places(&self) -> Vec<String> {
        self.places.iter().map(|place| place.display().to_string()).collect()
    }

    /// Takes over the setting `geoip`.
    pub fn set(&mut self, wanted: Option<&[PathBuf]>) {
        if self.wanted.as_deref() != wanted {
            self.wanted = wanted.map(<[_]>::to_vec);
            self.checked = None;
            let mut shared = lock(&self.shared);
            shared.files.clear();
            shared.is_busy = false;
            shared.age += 1;
            shared.news = true;
        }
    }

    /// The files that are used, as far as is known now.
    pub fn files(&self) -> Vec<GeoFile> {
        let files = &lock(&self.shared).files;
        let file = |file: &File| GeoFile { path: file.path.display().to_string(), problem: file.problem.clone() };
        files.iter().map(file).collect()
    }

    /// Whether something was learnt since this was last called.
    pub fn take_news(&self) -> bool {
        std::mem::take(&mut lock(&self.shared).news)
    }

    /// Whether no file is being read.
    #[cfg(test)]
    fn is_idle(&self) -> bool {
        !lock(&self.shared).is_busy
    }

    /// Looks for files in the background, once a minute, and reads them too if somebody wants to know what is in them.
    pub fn refresh(&mut self, reads: bool) {
        let is_due = self.checked.is_none_or(|(at, read)| at.elapsed() >= EVERY || (reads && !read));
        let mut shared = lock(&self.shared);
        if !is_due || shared.is_busy {
            return;
        }
        let (wanted, places, before) = (self.wanted.clone(), self.places.clone(), shared.files.clone());
        let (age, own) = (shared.age, Arc::clone(&self.shared));
        let looks = move || {
            let paths = wanted.unwrap_or_else(|| usual(&places));
            let files = paths.into_iter().take(MOST_FILES).map(|path| File::look(path, &before, reads)).collect();
            let mut shared = lock(&own);
            if shared.age == age {
                (shared.files, shared.news, shared.is_busy) = (files, true, false);
            }
        };
        // Without a thread there is no country this time.
        shared.is_busy = thread::Builder::new().name("geoip".to_owned()).spawn(looks).is_ok();
        drop(shared);
        self.checked = Some((Instant::now(), reads));
    }

    /// Nobody looks: gives the memory back.
    pub fn rest(&mut self) {
        let mut shared = lock(&self.shared);
        shared.age += 1;
        shared.is_busy = false;
        shared.files.iter_mut().for_each(|file| file.read = None);
        drop(shared);
        self.checked = self.checked.map(|(at, _)| (at, false));
    }

    /// What the files that are read by now say of an address.
    pub fn look(&self, address: IpAddr) -> Found {
        let files: Vec<_> = lock(&self.shared).files.iter().filter_map(|file| file.read.clone()).collect();
        let mut found = Found::default();
        for file in files {
            let Ok(record) = file.lookup(address) else { continue };
            let text = |path: &[&'static str]| {
                let path: Vec<_> = path.iter().map(|key| PathElement::Key(key)).collect();
                record.decode_path::<&str>(&path).ok().flatten()
            };
            let number = || {
                let number = record.decode_path::<u32>(&[PathElement::Key("autonomous_system_number")]).ok().flatten();
                number.or_else(|| text(&["asn"])?.strip_prefix("AS")?.parse().ok())
            };
            // As MaxMind and DB-IP write it, then as iptoasn and IPinfo do.
            let country = || {
                let code = text(&["country", "iso_code"]).or_else(|| text(&["country_code"]))?;
                (code.len() == 2 && code.bytes().all(|c| c.is_ascii_uppercase())).then(|| code.to_owned())
            };
            let network = || {
                let number = number().filter(|number| *number != 0)?;
                let name = text(&["autonomous_system_organization"]).or_else(|| text(&["as_name"]));
                let name = name.map(str::trim).filter(|name| !name.is_empty());
                Some((number, name.map_or_else(|| format!("AS{number}"), |name| brief(name, MOST_CHARS).into_owned())))
            };
            found.country = found.country.or_else(country);
            found.network = found.network.or_else(network);
        }
        found
    }
}

impl File {
    /// Looks at a file, and reads it if somebody wants it and it is another than before.
    fn look(path: PathBuf, before: &[Self], reads: bool) -> Self {
        let opened = open(&path);
        let stamp = opened.as_ref().ok().and_then(|file| file.metadata().ok()).map(|data| stamp(&data));
        let same = before.iter().find(|file| file.path == path && file.stamp == stamp);
        if let Some(same) =
            same.filter(|same| stamp.is_some() && (!reads || same.read.is_some() || same.problem.is_some()))
        {
            return same.clone();
        }
        let opened = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::other("it does not exist"),
            _ => error,
        });
        let (read, problem) = match opened.and_then(|file| if reads { read(&file).map(Some) } else { Ok(None) }) {
            Ok(read) => (read.map(Arc::new), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self { path, stamp, read, problem }
    }
}

fn stamp(data: &fs::Metadata) -> Stamp {
    (data.dev(), data.ino(), data.len(), data.mtime(), data.mtime_nsec())
}

/// Opens a file that may be read: nothing waits for a pipe.
fn open(path: &Path) -> io::Result<fs::File> {
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let data = file.metadata()?;
    if !data.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if data.len() > MOST_BYTES {
        return Err(io::Error::other(format!("it is larger than {} MiB", MOST_BYTES >> 20)));
    }
    Ok(file)
}

fn read(file: &fs::File) -> io::Result<Reader<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    bytes.shrink_to_fit();
    Reader::from_source(bytes).map_err(|_| io::Error::other("it is damaged, or not in MaxMind's format (.mmdb)"))
}

/// Where a user keeps files of their own.
fn own_places() -> Vec<PathBuf> {
    let data = xdg::BaseDirectories::new().get_data_home();
    data.into_iter().flat_map(|data| [data.join("netglance"), data.join("GeoIP")]).collect()
}

/// One file that tells the country and one that tells the network, by their names: that of the first place; of several there, one of
/// countries rather than of cities, which is larger, and the last in the order of their names, in which there may be a date.
fn usual(places: &[PathBuf]) -> Vec<PathBuf> {
    let best = |kinds: &[fn(&str) -> bool]| {
        places.iter().find_map(|place| {
            let entries = fs::read_dir(place).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            let names = names.filter(|name| Path::new(name).extension().is_some_and(|end| end == "mmdb"));
            let mut names: Vec<_> = names.map(|name| (name.to_lowercase(), name)).collect();
            names.sort_unstable();
            let of_kind = |is: &fn(&str) -> bool| names.iter().rev().find(|(lower, _)| is(lower));
            kinds.iter().find_map(of_kind).map(|(_, name)| place.join(name))
        })
    };
    let country: [fn(&str) -> bool; 3] =
        [|name| name.contains("country"), |name| name.contains("city"), |name| name.contains("ipinfo")];
    // "geo-whois-asn-country" tells the country.
    let network: [fn(&str) -> bool; 3] = [
        |name| name.contains("asn") && !name.contains("country"),
        |name| name.contains("isp"),
        |name| name.contains("ipinfo"),
    ];
    let (country, network) = (best(&country), best(&network));
    let mut paths: Vec<_> = country.into_iter().chain(network).collect();
    paths.dedup();
    paths
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(super) mod tests {
    use maxminddb_writer::{Database, metadata::IpVersion, paths::IpAddrWithMask};
    use serde_json::{Value, json};

    use super::*;

    /// Numbers have 32 bits in MaxMind's files.
    struct Record<'a>(&'a Value);

    impl Serialize for Record<'_> {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            match self.0 {
                Value::Object(fields) => to.collect_map(fields.iter().map(|(key, value)| (key, Record(value)))),
                Value::Number(number) => to.serialize_u32(number.as_u64().unwrap().try_into().unwrap()),
                other => other.serialize(to),
            }
        }
    }

    /// A file in MaxMind's format in which these prefixes have these records.
    pub fn database(kind: &str, records: &[(&str, Value)]) -> Vec<u8> {
        let mut database = Database::default();
        database.metadata.database_type = kind.to_owned();
        database.metadata.ip_version = IpVersion::V6;
        database.metadata.binary_format_major_version = 2;
        for (prefix, record) in records {
            let record = database.insert_value(Record(record)).unwrap();
            database.insert_node(prefix.parse::<IpAddrWithMask>().unwrap(), record);
        }
        database.write_to(Vec::new()).unwrap()
    }

    fn countries() -> Vec<u8> {
        let record = |code: &str| json!({ "continent": { "code": "EU" }, "country": { "iso_code": code, "names": { "en": "x" } } });
        database(
            "GeoLite2-Country",
            &[
                ("::5db8:d800/120", record("US")), // 93.184.216.0/24
                ("2606:2800:220::/48", record("US")),
                ("2001:db8:1::/48", record("us")),
                ("2001:db8:2::/48", record("\u{202e}S")),
                ("2001:db8:3::/48", json!({ "country_code": "DE", "asn": "AS64500", "as_name": "Example" })),
                ("2001:db8:4::/48", json!({ "country": "Germany", "country_code": "DE", "asn": "none" })),
                ("2001:db8:5::/48", json!(["a", 7])),
            ],
        )
    }

    fn networks() -> Vec<u8> {
        let record = |number: u32, name: &str| json!({ "autonomous_system_number": number, "autonomous_system_organization": name });
        let long = "n".repeat(500);
        database(
            "DBIP-ASN-Lite",
            &[
                ("::5db8:d800/120", record(15133, "Edgecast")),
                ("2001:db8:1::/48", record(64500, &format!("a\u{1b}[31m{long}"))),
                ("2001:db8:2::/48", record(0, "nobody")),
                ("2001:db8:5::/48", json!({ "autonomous_system_number": 64501 })),
            ],
        )
    }

    fn settle(geoip: &Geoip) {
        let until = Instant::now() + Duration::from_secs(10);
        while !geoip.is_idle() {
            assert!(Instant::now() < until, "it never came");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn look(geoip: &Geoip, address: &str) -> (Option<String>, Option<(u32, String)>) {
        let Found { country, network } = geoip.look(address.parse().unwrap());
        (country, network)
    }

    #[test]
    fn country_and_network_come_from_the_files_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("GeoLite2-Country.mmdb"), countries()).unwrap();
        fs::write(dir.path().join("dbip-asn-lite-2026-11.mmdb"), networks()).unwrap();
        let mut geoip = Geoip::of_places(vec![dir.path().join("none"), dir.path().to_owned()]);
        assert_eq!(look(&geoip, "93.184.216.34"), (None, None));
        geoip.refresh(false);
        settle(&geoip);
        let names = ["GeoLite2-Country.mmdb", "dbip-asn-lite-2026-11.mmdb"];
        let found = names.map(|name| GeoFile { path: dir.path().join(name).display().to_string(), problem: None });
        assert_eq!(geoip.files(), found);
        assert_eq!(look(&geoip, "93.184.216.34"), (None, None), "nobody has looked");
        geoip.refresh(true);
        settle(&geoip);
        assert!(geoip.take_news() && !geoip.take_news());
        let us = Some("US".to_owned());
        assert_eq!(look(&geoip, "93.184.216.34"), (us.clone(), Some((15133, "Edgecast".to_owned()))));
        assert_eq!(look(&geoip, "2606:2800:220::34"), (us, None));
        assert_eq!(look(&geoip, "198.51.100.1"), (None, None));
        let (country, network) = look(&geoip, "2001:db8:1::1");
        let (number, name) = network.unwrap();
        assert_eq!((country, number, name.chars().count()), (None, 64500, 80));
        assert!(name.starts_with("a\u{FFFD}[31mnnn"), "{name}");
        assert_eq!(look(&geoip, "2001:db8:2::1"), (None, None));
        let de = Some("DE".to_owned());
        assert_eq!(look(&geoip, "2001:db8:3::1"), (de.clone(), Some((64500, "Example".to_owned()))));
        assert_eq!(look(&geoip, "2001:db8:4::1"), (de, None));
        assert_eq!(look(&geoip, "2001:db8:5::1"), (None, Some((64501, "AS64501".to_owned()))));
        geoip.rest();
        assert_eq!(look(&geoip, "93.184.216.34"), (None, None), "the memory is given back");
        assert_eq!(geoip.files(), found);
        geoip.refresh(true);
        settle(&geoip);
        assert!(look(&geoip, "93.184.216.34").0.is_some());
    }

    #[test]
    fn a_file_that_is_replaced_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("any");
        fs::write(&path, networks()).unwrap();
        let mut geoip = Geoip::of_places(Vec::new());
        geoip.set(Some(std::slice::from_ref(&path)));
        let mut read = || {
            geoip.checked = None;
            geoip.refresh(true);
            settle(&geoip);
            (look(&geoip, "93.184.216.34"), geoip.files().pop().unwrap().problem)
        };
        assert_eq!(read().0.1, Some((15133, "Edgecast".to_owned())));
        fs::write(dir.path().join("new"), countries()).unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!(read().0, (Some("US".to_owned()), None));
        for (text, why) in [("", "it is damaged, or not in MaxMind's format (.mmdb)"), ("<html>", "it is damaged, or")]
        {
            fs::write(&path, text).unwrap();
            let (found, problem) = read();
            assert_eq!(found, (None, None));
            assert!(problem.is_some_and(|problem| problem.starts_with(why)), "{text}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(read(), ((None, None), Some("it does not exist".to_owned())));
        fs::create_dir(&path).unwrap();
        assert_eq!(read().1.as_deref(), Some("it is not a file"));
        fs::remove_dir(&path).unwrap();
        fs::File::create(&path).unwrap().set_len(MOST_BYTES + 1).unwrap();
        assert_eq!(read().1.as_deref(), Some("it is larger than 256 MiB"));
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(read().1.as_deref(), Some("it is not a file"), "nothing waits for a pipe");
        geoip.set(Some(&[]));
        geoip.refresh(true);
        settle(&geoip);
        assert_eq!(geoip.files(), []);
    }

    /// Whatever is wrong in a file, a look neither panics nor hangs.
    #[test]
    fn damaged_files_do_no_harm() {
        let (whole, mut seed) = (countries(), 1_u64);
        let mut random = |most: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap() % most
        };
        let (mut opened, start) = (0, Instant::now());
        for _ in 0..4000 {
            let mut bytes = whole.clone();
            for _ in 0..=random(8) {
                let at = random(bytes.len());
                bytes[at] = u8::try_from(random(256)).unwrap();
            }
            if random(4) == 0 {
                bytes.drain(..random(whole.len() / 2));
            }
            let Ok(reader) = Reader::from_source(bytes) else { continue };
            opened += 1;
            let geoip = Geoip::of_places(Vec::new());
            let file = File { path: PathBuf::new(), stamp: None, read: Some(Arc::new(reader)), problem: None };
            lock(&geoip.shared).files = vec![file];
            for address in ["93.184.216.34", "2606:2800:220::34", "2001:db8:3::1", "2001:db8:5::1"] {
                look(&geoip, address);
            }
        }
        assert!(opened > 500, "{opened} could be opened at all");
        assert!(start.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn one_file_for_countries_and_one_for_networks_are_chosen_by_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let places = [dir.path().join("a"), dir.path().join("b")];
        places.iter().for_each(|place| fs::create_dir(place).unwrap());
        let check = |files: &[&str], chosen: &[&str]| {
            files.iter().for_each(|file| fs::write(dir.path().join(file), "").unwrap());
            assert_eq!(usual(&places), chosen.iter().map(|file| dir.path().join(file)).collect::<Vec<_>>());
            files.iter().for_each(|file| fs::remove_file(dir.path().join(file)).unwrap());
        };
        check(&[], &[]);
        check(&["a/GeoIP.dat", "a/country.txt", "a/other.mmdb"], &[]);
        check(&["a/GeoLite2-City.mmdb", "a/GeoLite2-ASN.mmdb"], &["a/GeoLite2-City.mmdb", "a/GeoLite2-ASN.mmdb"]);
        check(
            &["a/GeoLite2-City.mmdb", "a/dbip-country-lite-2026-09.mmdb", "a/dbip-country-lite-2026-11.mmdb"],
            &["a/dbip-country-lite-2026-11.mmdb"],
        );
        check(
            &["a/geo-whois-asn-country.mmdb", "b/GeoIP2-ISP.mmdb"],
            &["a/geo-whois-asn-country.mmdb", "b/GeoIP2-ISP.mmdb"],
        );
        check(&["b/ipinfo_lite.mmdb"], &["b/ipinfo_lite.mmdb"]);
    }
}

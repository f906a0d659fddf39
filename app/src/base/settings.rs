//! The settings file `netglance/config.toml` in the user's configuration directory. It is read, checked, and written in a way
//! that keeps the user's own comments, order and spelling.

mod apps;
mod budget;
mod written;

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::file;
pub use apps::{OwnApp, cgroup, colour, colour_text, own_name, pattern};
pub use budget::RATE_SECS;

/// Bytes or bits on screen; inside it is always bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// B/s, kB/s, MB/s (powers of 1000)
    #[default]
    Bytes,
    /// bit/s, kbit/s, Mbit/s (powers of 1000)
    Bits,
}

/// How the window looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// As the desktop is set.
    #[default]
    System,
    /// Dark.
    Dark,
    /// Light.
    Light,
}

/// Two colours, for download and upload, wherever they are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Palette {
    /// From Okabe and Ito's palette, which colour-blind people can tell apart.
    #[default]
    BlueOrange,
    /// From the same palette.
    GreenPurple,
    /// For those who can tell them apart.
    GreenRed,
}

impl Palette {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::BlueOrange, Self::GreenPurple, Self::GreenRed];

    /// Its name in the file.
    fn key(self) -> &'static str {
        match self {
            Self::BlueOrange => "blue-orange",
            Self::GreenPurple => "green-purple",
            Self::GreenRed => "green-red",
        }
    }
}

/// The shortest and the longest time between two looks.
pub const BEAT_SECS: RangeInclusive<f64> = 0.1..=5.0;
/// The smallest and the largest history, in megabytes.
pub const HISTORY_MB: RangeInclusive<u32> = 5..=10_000;
/// The days on which a month may begin.
pub const BILLING_DAYS: RangeInclusive<u8> = 1..=31;

/// All settings. A key that is missing in the file has its default; an unknown key is an error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Settings {
    /// `beat`, in seconds: time between two looks. 0.5 by default.
    pub beat: Duration,
    /// `unit`: "bytes" (default) or "bits".
    pub unit: Unit,
    /// `theme`: "system" (default), "dark" or "light".
    pub theme: Theme,
    /// `colours`: "blue-orange" (default), "green-purple" or "green-red".
    pub colours: Palette,
    /// `reverse_dns`: ask the system's resolver for the names of remote addresses (reverse DNS). False by default.
    pub reverse_dns: bool,
    /// `geoip`: files in MaxMind's format, as they are written; see [`Self::geoip_files`]. `None` (default): those in the usual
    /// places. Empty: none.
    pub geoip: Option<Vec<String>>,
    /// `prefixes.internal`: also treated as internal.
    pub internal: Vec<IpNet>,
    /// `prefixes.external`: always treated as external.
    pub external: Vec<IpNet>,
    /// `history.record`: keep what was moved. True by default.
    pub record: bool,
    /// `history.limit_mb`: the history's file takes at most so many megabytes. 50 by default.
    pub history_limit_mb: u32,
    /// `history.billing_day`: the day of the month on which months begin, 1 to 31. 1 by default.
    pub billing_day: u8,
    /// `[[budget]]`: limits for what is moved.
    pub budgets: Vec<Budget>,
    /// `[apps."NAME"]`: apps as a person defines them, without those that are built in; see [`Self::own_apps`].
    pub apps: Vec<OwnApp>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            beat: Duration::from_millis(500),
            unit: Unit::default(),
            theme: Theme::default(),
            colours: Palette::default(),
            reverse_dns: false,
            geoip: None,
            internal: Vec::new(),
            external: Vec::new(),
            record: true,
            history_limit_mb: 50,
            billing_day: 1,
            budgets: Vec::new(),
            apps: Vec::new(),
        }
    }
}

/// How long what a [`Limit`] is for lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// From midnight to midnight.
    Day,
    /// From the first day of the week on.
    Week,
    /// From the billing day on.
    Month,
}

/// What should not be exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub enum Limit {
    /// External bytes, download and upload together, in a period.
    Usage {
        /// So many.
        bytes: u64,
        /// In this period.
        per: Per,
    },
    /// External bytes a second, download and upload together, for some time without a pause.
    Rate {
        /// So many a second.
        bytes: u64,
        /// For so many seconds.
        secs: u32,
    },
}

/// A limit that a person has set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub struct Budget {
    /// `app`: the app's id or name. `None`: all apps together.
    pub app: Option<String>,
    /// `limit` with `per` or `seconds`.
    pub limit: Limit,
    /// `metered`: only what is moved on metered networks counts. False by default.
    pub metered: bool,
}

/// What is wrong with the file: where, and why. The last good settings stay in force.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It exists but can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It has a mistake.
    #[error("{}, line {line}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// It can't be written.
    #[error("cannot write {}, so the new settings are lost when netglance quits: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not written because it has a mistake, which would be lost.
    #[error("the new settings are lost when netglance quits, because the file has a mistake: {0}")]
    Kept(Box<Error>),
    /// No directory is known for it.
    #[error(
        "there is no place for a settings file, so the new settings are lost when netglance quits: set HOME or XDG_CONFIG_HOME"
    )]
    NoPlace,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    beat: Option<Spanned<f64>>,
    #[serde(default)]
    unit: Unit,
    #[serde(default)]
    theme: Theme,
    #[serde(default)]
    colours: Palette,
    #[serde(default)]
    reverse_dns: bool,
    geoip: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    prefixes: Prefixes,
    #[serde(default)]
    history: History,
    #[serde(default)]
    budget: Vec<Spanned<budget::Entry>>,
    #[serde(default)]
    apps: BTreeMap<Spanned<String>, apps::Entry>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prefixes {
    #[serde(default)]
    internal: Vec<Spanned<String>>,
    #[serde(default)]
    external: Vec<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    record: Option<bool>,
    limit_mb: Option<Spanned<i64>>,
    billing_day: Option<Spanned<i64>>,
}

/// Where a mistake is in the text, and what it is.
type Mistake = (usize, String);

impl Settings {
    /// Reads the file's text. `path` is for the error only.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        Self::read(text).map_err(|(at, reason)| {
            let line = text.get(..at).unwrap_or(text).matches('\n').count() + 1;
            Error::Content { path: path.to_owned(), line, reason }
        })
    }

    fn read(text: &str) -> Result<Self, Mistake> {
        let file: File = toml::from_str(text)
            .map_err(|e| (e.span().map_or(0, |span| span.start), e.message().replace('\n', ", ")))?;
        let default = Self::default();
        let mut beat = default.beat;
        if let Some(secs) = file.beat {
            if !BEAT_SECS.contains(secs.get_ref()) {
                let reason = format!(
                    "beat = {} is not between {} and {} seconds",
                    secs.get_ref(),
                    BEAT_SECS.start(),
                    BEAT_SECS.end()
                );
                return Err((secs.span().start, reason));
            }
            beat = Duration::from_secs_f64(*secs.get_ref());
        }
        let prefixes = |list: Vec<Spanned<String>>| {
            let read = |text: Spanned<String>| prefix(text.get_ref()).map_err(|reason| (text.span().start, reason));
            list.into_iter().map(read).collect::<Result<Vec<_>, _>>()
        };
        let geoip = |path: Spanned<String>| match home_path(path.get_ref()) {
            Some(_) => Ok(path.into_inner()),
            None => {
                let reason = format!("\"{}\" is not an absolute path: it must begin with / or ~/", path.get_ref());
                Err((path.span().start, reason))
            }
        };
        let geoip = file.geoip.map(|paths| paths.into_iter().map(geoip).collect()).transpose()?;
        let limit_mb = file.history.limit_mb.map(|mb| within("limit_mb", &mb, HISTORY_MB)).transpose()?;
        let billing_day = file.history.billing_day.map(|day| within("billing_day", &day, BILLING_DAYS)).transpose()?;
        let budgets = file.budget.iter().map(|budget| budget.get_ref().read(budget.span().start));
        Ok(Self {
            beat,
            unit: file.unit,
            theme: file.theme,
            colours: file.colours,
            reverse_dns: file.reverse_dns,
            geoip,
            internal: prefixes(file.prefixes.internal)?,
            external: prefixes(file.prefixes.external)?,
            record: file.history.record.unwrap_or(default.record),
            history_limit_mb: limit_mb.unwrap_or(default.history_limit_mb),
            billing_day: billing_day.unwrap_or(default.billing_day),
            budgets: budgets.collect::<Result<_, _>>()?,
            apps: apps::read(file.apps)?,
        })
    }

    /// The apps that a person has defined, and the built-in ones that no entry of the same name replaces. A cgroup that several of
    /// them name belongs to the first.
    pub fn own_apps(&self) -> Vec<OwnApp> {
        let is_replaced = |app: &OwnApp| self.apps.iter().any(|own| own.name == app.name);
        let built_in = OwnApp::built_in().into_iter().filter(|app| !is_replaced(app));
        self.apps.iter().filter(|app| !app.is_empty()).cloned().chain(built_in).collect()
    }

    /// The files that [`Self::geoip`] names, with the home directory in place of `~`.
    pub fn geoip_files(&self) -> Option<Vec<PathBuf>> {
        self.geoip.as_ref().map(|paths| paths.iter().filter_map(|path| home_path(path)).collect())
    }
}

/// The path that a person means. `None`: it is no path that is the same wherever netglance was started. Without a home directory,
/// `~` stays.
fn home_path(text: &str) -> Option<PathBuf> {
    match text.strip_prefix("~/") {
        Some(rest) => Some(std::env::home_dir().unwrap_or_else(|| PathBuf::from("~")).join(rest)),
        None => text.starts_with('/').then(|| PathBuf::from(text)),
    }
}

/// A key's value, if it is one of these.
fn within<T: TryFrom<i64> + PartialOrd + Display>(
    key: &str,
    value: &Spanned<i64>,
    range: RangeInclusive<T>,
) -> Result<T, Mistake> {
    let read = T::try_from(*value.get_ref()).ok().filter(|read| range.contains(read));
    let reason = || format!("{key} = {} is not between {} and {}", value.get_ref(), range.start(), range.end());
    read.ok_or_else(|| (value.span().start, reason()))
}

/// A prefix, or a single address as a prefix of full length. The error is a sentence for the person who wrote it.
pub fn prefix(text: &str) -> Result<IpNet, String> {
    let wrong = |why: &str| format!("\"{text}\" is not a prefix: {why}");
    let Some((address, length)) = text.split_once('/') else {
        let address = text.parse::<std::net::IpAddr>();
        return address.map(IpNet::from).map_err(|_| wrong("it should read like 10.0.0.0/8 or 2001:db8::/32"));
    };
    let address: std::net::IpAddr =
        address.parse().map_err(|_| wrong("the part before the slash is not an IPv4 or IPv6 address"))?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let too_long = || wrong(&format!("its length must be a number from 0 to {most}"));
    let net = IpNet::new(address, length.parse().map_err(|_| too_long())?).map_err(|_| too_long())?;
    if net.addr() != net.network() {
        return Err(wrong(&format!("it has bits set beyond its length; did you mean {}?", net.trunc())));
    }
    Ok(net)
}

/// The file and its last good settings.
#[derive(Debug)]
pub struct SettingsFile {
    path: Option<PathBuf>,
    stamp: Option<(SystemTime, u64)>,
    /// The last good settings.
    pub settings: Settings,
    /// What is wrong with the file now.
    pub error: Option<Error>,
}

impl SettingsFile {
    /// Reads `netglance/config.toml` in `$XDG_CONFIG_HOME` (`~/.config`); no file means defaults.
    pub fn open() -> Self {
        let path = xdg::BaseDirectories::with_prefix("netglance").get_config_file("config.toml");
        let mut file = Self { path, stamp: None, settings: Settings::default(), error: None };
        file.refresh();
        file
    }

    /// Reads the file again if it was edited; otherwise costs one stat(2). Whether the settings or the error changed.
    pub fn refresh(&mut self) -> bool {
        let Some(path) = self.path.clone() else { return false };
        let stamp = stamp(&path);
        if stamp == self.stamp {
            return false;
        }
        self.stamp = stamp;
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(source) => Err(Error::Read { path: path.clone(), source }),
            Ok(text) => Ok(text),
        };
        match text.and_then(|text| Settings::parse(&text, &path)) {
            Ok(settings) => {
                self.settings = settings;
                self.error = None;
            }
            Err(error) => self.error = Some(error),
        }
        true
    }

    /// Puts `settings` in force and writes them to the file, keeping its comments and order. If they can't be written, they
    /// are in force until the program ends or the file is edited, and [`Self::error`] says so. A file with a mistake in it is
    /// left as it is.
    pub fn save(&mut self, settings: &Settings) {
        self.refresh();
        self.settings = settings.clone();
        self.error = match (self.path.clone(), self.error.take()) {
            (None, _) => Some(Error::NoPlace),
            (Some(_), Some(error @ (Error::Content { .. } | Error::Read { .. }))) => Some(Error::Kept(Box::new(error))),
            (Some(_), Some(error @ Error::Kept(_))) => Some(error),
            (Some(path), _) => self.write(&path).err(),
        };
    }

    fn write(&mut self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::Write { path: path.to_owned(), source };
        let text = match fs::read_to_string(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(failed)?,
        };
        let written = self.settings.written_into(&text).map_err(|e| failed(io::Error::other(e)))?;
        if written != text {
            file::replace(path, &written).map_err(failed)?;
        }
        self.stamp = stamp(path);
        Ok(())
    }
}

/// What changes when the file is edited.
fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    fs::metadata(path).and_then(|m| Ok((m.modified()?, m.len()))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_files_are_taken_and_bad_ones_name_line_and_reason() {
        let read = |text: &str| Settings::parse(text, Path::new("/c.toml"));
        let good = read(
            "beat = 2\nunit = \"bits\"\ntheme = \"light\"\ncolours = \"green-purple\"\n[prefixes]\ninternal = [\"203.0.114.0/24\"]\nexternal = [\n  \"10.0.0.7\", \"fd00::/8\"]\n",
        );
        let nets = |list: &[&str]| list.iter().map(|n| n.parse().unwrap()).collect::<Vec<IpNet>>();
        let expected = Settings {
            beat: Duration::from_secs(2),
            unit: Unit::Bits,
            theme: Theme::Light,
            colours: Palette::GreenPurple,
            internal: nets(&["203.0.114.0/24"]),
            external: nets(&["10.0.0.7/32", "fd00::/8"]),
            ..Settings::default()
        };
        assert_eq!(good.unwrap(), expected);
        assert_eq!(read("").unwrap(), Settings::default());
        let check = |text: &str, message: &str| {
            assert_eq!(read(text).unwrap_err().to_string(), format!("/c.toml, line {message}"));
        };
        check(
            "\n[prefixes]\ninternal = [\"10.0.0.0/8\",\n \"10.0.0.0/99\"]",
            "4: \"10.0.0.0/99\" is not a prefix: its length must be a number from 0 to 32",
        );
        check(
            "[prefixes]\nexternal = [\"10.1.0.0/8\"]",
            "2: \"10.1.0.0/8\" is not a prefix: it has bits set beyond its length; did you mean 10.0.0.0/8?",
        );
        check(
            "[prefixes]\nexternal = [\"lan\"]",
            "2: \"lan\" is not a prefix: it should read like 10.0.0.0/8 or 2001:db8::/32",
        );
        check(
            "[prefixes]\nexternal = [\"lan/8\"]",
            "2: \"lan/8\" is not a prefix: the part before the slash is not an IPv4 or IPv6 address",
        );
        check("beat = 0.01", "1: beat = 0.01 is not between 0.1 and 5 seconds");
        for (text, line) in [
            ("beat = \"fast\"", 1),
            ("\n\ncolour = 1", 3),
            ("theme = \"pink\"", 1),
            ("\ncolours = \"pink\"", 2),
            ("beat = ", 1),
            ("[prefixes]\ninternal = 7", 2),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("/c.toml, line {line}: ")), "{message}");
        }
    }

    #[test]
    fn history_and_budgets_are_taken_and_mistakes_in_them_named() {
        let read = |text: &str| Settings::parse(text, Path::new("/c.toml"));
        let good = read(
            "[history]\nrecord = false\nlimit_mb = 200\nbilling_day = 31\n\n[[budget]]\napp = \"StB\"\nlimit = \"5 GB\"\nper = \"month\"\n\
             [[budget]]\nlimit = \"500 MB\"\nper = \"day\"\nmetered = true\n[[budget]]\nlimit = \"1 MB/s\"\nseconds = 60\n",
        );
        let budget = |app: Option<&str>, limit, metered| Budget { app: app.map(str::to_owned), limit, metered };
        let expected = settings(|s| {
            (s.record, s.history_limit_mb, s.billing_day) = (false, 200, 31);
            s.budgets = vec![
                budget(Some("StB"), Limit::Usage { bytes: 5_000_000_000, per: Per::Month }, false),
                budget(None, Limit::Usage { bytes: 500_000_000, per: Per::Day }, true),
                budget(None, Limit::Rate { bytes: 1_000_000, secs: 60 }, false),
            ];
        });
        assert_eq!(good.unwrap(), expected);
        assert_eq!(read("history.record = true\nbudget = []\n").unwrap(), Settings::default());
        let check = |text: &str, message: &str| {
            assert_eq!(read(text).unwrap_err().to_string(), format!("/c.toml, line {message}"));
        };
        check("[history]\n\nlimit_mb = 4", "3: limit_mb = 4 is not between 5 and 10000");
        check("history.limit_mb = -1", "1: limit_mb = -1 is not between 5 and 10000");
        check("[history]\nbilling_day = 0", "2: billing_day = 0 is not between 1 and 31");
        check("[history]\nbilling_day = 288", "2: billing_day = 288 is not between 1 and 31");
        check(
            "beat = 1\n[[budget]]\napp = \"StB\"\nper = \"day\"",
            "2: a budget needs a limit, such as limit = \"5 GB\" with per = \"month\"",
        );
        check(
            "[[budget]]\nper = \"day\"\nlimit = \"5 XB\"",
            "3: \"5 XB\" is not a limit: it should read like \"500 MB\", \"5 GB\" or \"1.5 TiB\"",
        );
        check(
            "[[budget]]\nlimit = \"5 GB\"\nper = \"day\"\n[[budget]]\nlimit = \"5 GB\"\nper = \"day\"\nseconds = 60",
            "5: a budget has either per, for an amount, or seconds, for a rate, not both",
        );
        check("[[budget]]\nlimit = \"1 MB/s\"\nseconds = 3601", "3: seconds = 3601 is not between 1 and 3600");
        check(
            "[[budget]]\napp = \" \"\nlimit = \"5 GB\"\nper = \"day\"",
            "2: app is empty; leave it out for a budget of all applications together",
        );
        for (text, line) in [
            ("[history]\nrecord = 1", 2),
            ("[history]\nlimit = 1", 2),
            ("[[budget]]\nlimit = \"5 GB\"\nper = \"year\"", 3),
            ("[[budget]]\nlimit = 5\nper = \"day\"", 2),
            ("[[budget]]\nlimit = \"5 GB\"\nper = \"day\"\nmetered = \"yes\"", 4),
            ("[[budget]]\nlimit = \"5 GB\"\nper = \"day\"\nname = \"x\"", 4),
            ("[budget]\nlimit = \"5 GB\"\nper = \"day\"", 1),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("/c.toml, line {line}: ")), "{message}");
        }
    }

    #[test]
    fn names_of_remotes_are_taken_and_mistakes_in_them_named() {
        let read = |text: &str| Settings::parse(text, Path::new("/c.toml"));
        let good = read("reverse_dns = true\ngeoip = [\"/srv/a.mmdb\", \"~/b.mmdb\"]\n").unwrap();
        let paths = ["/srv/a.mmdb", "~/b.mmdb"].map(str::to_owned);
        assert_eq!(good, settings(|s| (s.reverse_dns, s.geoip) = (true, Some(paths.to_vec()))));
        let home = std::env::home_dir().unwrap();
        assert_eq!(good.geoip_files(), Some(vec![PathBuf::from("/srv/a.mmdb"), home.join("b.mmdb")]));
        assert_eq!(read("reverse_dns = false\n").unwrap(), Settings::default());
        assert_eq!(read("geoip = []\n").unwrap().geoip_files(), Some(Vec::new()));
        let check = |text: &str, message: &str| {
            assert_eq!(read(text).unwrap_err().to_string(), format!("/c.toml, line {message}"));
        };
        for path in ["a.mmdb", "", "~user/a.mmdb", "~"] {
            check(
                &format!("geoip = [\"/a.mmdb\",\n\"{path}\"]"),
                &format!("2: \"{path}\" is not an absolute path: it must begin with / or ~/"),
            );
        }
        for (text, line) in [("beat = 1\nreverse_dns = 1", 2), ("geoip = \"/a.mmdb\"", 1), ("geoip = [7]", 1)] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("/c.toml, line {line}: ")), "{message}");
        }
    }

    #[test]
    fn apps_are_taken_and_mistakes_in_them_named() {
        let read = |text: &str| Settings::parse(text, Path::new("/c.toml"));
        let list = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let text = "[apps.\"Z\"]\nunits = [\"a-*.service\"]\ncolour = \"#3584E4\"\nicon = \"web\"\n[apps.A]\n\
                    cgroups = [\"/x\"]\napps = [\"firefox\"]\ncontainers = [\"db-?\"]\n";
        let z = OwnApp {
            name: "Z".to_owned(),
            units: list(&["a-*.service"]),
            colour: Some([0x35, 0x84, 0xe4]),
            icon: Some("web".to_owned()),
            ..OwnApp::default()
        };
        let a = OwnApp {
            name: "A".to_owned(),
            cgroups: list(&["/x"]),
            apps: list(&["firefox"]),
            containers: list(&["db-?"]),
            ..OwnApp::default()
        };
        assert_eq!(read(text).unwrap().apps, [z, a], "in the order of the file");
        let names = |text: &str| read(text).unwrap().own_apps().into_iter().map(|app| app.name).collect::<Vec<_>>();
        assert_eq!(names(text), ["Z", "A", "StB"]);
        assert_eq!(names(""), ["StB"]);
        assert_eq!(names("[apps.StB]\nunits = []\n"), [""; 0], "taken away");
        let own = read("[apps.StB]\napps = [\"stb\"]\n").unwrap().own_apps();
        assert_eq!((own.len(), own[0].apps.clone()), (1, list(&["stb"])), "replaced");
        let check = |text: &str, message: &str| {
            assert_eq!(read(text).unwrap_err().to_string(), format!("/c.toml, line {message}"));
        };
        check("[apps.a]\n", "1: the app \"a\" names nothing: it needs units, cgroups, apps or containers");
        check("[apps.\" \"]\napps = [\"b\"]", "1: an app's name can't be empty");
        check(
            "[apps.\"a\\n\"]\napps = [\"b\"]",
            "1: an app's name can't contain control characters such as line breaks",
        );
        check("beat = 1\n[apps.a]\nunits = [\"ok\",\n\"[a\"]", "4: \"[a\" is not a pattern: invalid range pattern");
        check("[apps.a]\ncontainers = [\"\"]", "2: a pattern can't be empty");
        check(
            "[apps.a]\ncgroups = [\"x\"]",
            "2: \"x\" is not a cgroup's path: it must begin with /, as in /proc/PID/cgroup",
        );
        check(
            "[apps.a]\napps = [\"b\"]\ncolour = \"red\"",
            "3: \"red\" is not a colour: it should read like \"#3584e4\", with two hexadecimal digits each for red, green and blue",
        );
        for (text, line) in [("[apps.a]\nunit = [\"b\"]", 2), ("[apps]\na = 3", 2), ("[apps.a]\napps = \"b\"", 2)] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("/c.toml, line {line}: ")), "{message}");
        }
    }

    #[test]
    fn the_last_good_settings_stay_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let mut file =
            SettingsFile { path: Some(path.clone()), stamp: None, settings: Settings::default(), error: None };
        assert!(!file.refresh());
        fs::write(&path, "beat = 1").unwrap();
        assert!(file.refresh() && !file.refresh());
        fs::write(&path, "beat = oops").unwrap();
        assert!(file.refresh());
        assert!(file.error.is_some());
        assert_eq!(file.settings.beat, Duration::from_secs(1));
        fs::remove_file(&path).unwrap();
        assert!(file.refresh());
        assert!(file.error.is_none());
        assert_eq!(file.settings, Settings::default());
    }

    fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
        let mut settings = Settings::default();
        change(&mut settings);
        settings
    }

    #[test]
    fn what_is_saved_is_kept_and_a_file_with_a_mistake_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("dotfiles.toml");
        let path = dir.path().join("netglance/config.toml");
        let mut file =
            SettingsFile { path: Some(path.clone()), stamp: None, settings: Settings::default(), error: None };
        let bits = settings(|s| s.unit = Unit::Bits);
        file.save(&bits);
        assert!(file.error.is_none() && !file.refresh(), "its own edit is not news");
        assert_eq!((&file.settings, fs::read_to_string(&path).unwrap().as_str()), (&bits, "unit = \"bits\"\n"));

        fs::rename(&path, &real).unwrap();
        std::os::unix::fs::symlink(&real, &path).unwrap();
        file.save(&settings(|s| s.theme = Theme::Dark));
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink(), "a link stays one");
        assert_eq!(fs::read_to_string(&real).unwrap(), "unit = \"bytes\"\ntheme = \"dark\"\n");

        fs::write(&path, "unti = \"bits\"\n").unwrap();
        for _ in 0..2 {
            file.save(&bits);
            let error = file.error.as_ref().unwrap().to_string();
            assert!(
                error.starts_with("the new settings are lost when netglance quits, because the file has a mistake: "),
                "{error}"
            );
            assert!(error.contains("config.toml, line 1: unknown field `unti`"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "unti = \"bits\"\n", "left as it is");
            assert_eq!(file.settings, bits, "in force all the same");
        }
        fs::write(&path, "theme = \"light\"\n").unwrap();
        assert!(file.refresh() && file.error.is_none());
        assert_eq!(file.settings.theme, Theme::Light);

        file.path = Some(PathBuf::from("/proc/none/config.toml"));
        file.save(&bits);
        let error = file.error.as_ref().unwrap().to_string();
        assert!(error.starts_with("cannot write /proc/none/config.toml, so the new settings are lost"), "{error}");
        file.path = None;
        file.save(&bits);
        assert!(file.error.as_ref().unwrap().to_string().contains("set HOME or XDG_CONFIG_HOME"));
    }
}

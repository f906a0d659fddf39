//! The settings file `netglance/config.toml` in the user's configuration directory: read and checked, never written.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use toml::Spanned;

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
    /// What the desktop asks for.
    #[default]
    System,
    /// Dark.
    Dark,
    /// Light.
    Light,
}

/// The shortest and the longest time between two looks.
pub const BEAT_SECS: std::ops::RangeInclusive<f64> = 0.1..=5.0;

/// Every setting. A key that is missing in the file has its default; one that is unknown is an error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Settings {
    /// `beat`, in seconds: time between two looks. 0.5 by default.
    pub beat: Duration,
    /// `unit`: "bytes" (default) or "bits".
    pub unit: Unit,
    /// `theme`: "system" (default), "dark" or "light".
    pub theme: Theme,
    /// `prefixes.internal`: what else is internal.
    pub internal: Vec<IpNet>,
    /// `prefixes.external`: what is external all the same.
    pub external: Vec<IpNet>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            beat: Duration::from_millis(500),
            unit: Unit::default(),
            theme: Theme::default(),
            internal: Vec::new(),
            external: Vec::new(),
        }
    }
}

/// What is wrong with the file: where, and why. The settings before it stay in force.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is there but can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It says something that makes no sense.
    #[error("{}, line {line}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
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
    prefixes: Prefixes,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prefixes {
    #[serde(default)]
    internal: Vec<Spanned<String>>,
    #[serde(default)]
    external: Vec<Spanned<String>>,
}

impl Settings {
    /// Reads the file's text. `path` is for the error only.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let error = |at: usize, reason: String| {
            let line = text.get(..at).unwrap_or(text).matches('\n').count() + 1;
            Error::Content { path: path.to_owned(), line, reason }
        };
        let file: File = toml::from_str(text)
            .map_err(|e| error(e.span().map_or(0, |span| span.start), e.message().replace('\n', ", ")))?;
        let mut beat = Self::default().beat;
        if let Some(secs) = file.beat {
            if !BEAT_SECS.contains(secs.get_ref()) {
                let reason = format!(
                    "beat = {} is not between {} and {} seconds",
                    secs.get_ref(),
                    BEAT_SECS.start(),
                    BEAT_SECS.end()
                );
                return Err(error(secs.span().start, reason));
            }
            beat = Duration::from_secs_f64(*secs.get_ref());
        }
        let prefixes = |list: Vec<Spanned<String>>| {
            let read =
                |text: Spanned<String>| prefix(text.get_ref()).map_err(|reason| error(text.span().start, reason));
            list.into_iter().map(read).collect::<Result<Vec<_>, _>>()
        };
        let (internal, external) = (prefixes(file.prefixes.internal)?, prefixes(file.prefixes.external)?);
        Ok(Self { beat, unit: file.unit, theme: file.theme, internal, external })
    }
}

/// A prefix, or a lone address as a prefix of full length.
fn prefix(text: &str) -> Result<IpNet, String> {
    let wrong = |why: &str| format!("\"{text}\" is not a prefix: {why}");
    let Some((address, length)) = text.split_once('/') else {
        let address = text.parse::<std::net::IpAddr>();
        return address.map(IpNet::from).map_err(|_| wrong("it should read like 10.0.0.0/8 or 2001:db8::/32"));
    };
    let address: std::net::IpAddr =
        address.parse().map_err(|_| wrong("what stands before the slash is no IPv4 or IPv6 address"))?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let too_long = || wrong(&format!("its length should be a number from 0 to {most}"));
    let net = IpNet::new(address, length.parse().map_err(|_| too_long())?).map_err(|_| too_long())?;
    if net.addr() != net.network() {
        return Err(wrong(&format!("it has bits behind its length; did you mean {}?", net.trunc())));
    }
    Ok(net)
}

/// The file and what it last said.
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

    /// Takes in an edit of the file: costs one stat(2) where there was none. Whether the settings or the error changed.
    pub fn refresh(&mut self) -> bool {
        let Some(path) = self.path.clone() else { return false };
        let stamp = fs::metadata(&path).and_then(|m| Ok((m.modified()?, m.len()))).ok();
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

    /// Puts `settings` in force.
    pub fn save(&mut self, settings: &Settings) {
        self.settings = settings.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_files_are_taken_and_bad_ones_name_line_and_reason() {
        let read = |text: &str| Settings::parse(text, Path::new("/c.toml"));
        let good = read(
            "beat = 2\nunit = \"bits\"\ntheme = \"light\"\n[prefixes]\ninternal = [\"203.0.114.0/24\"]\nexternal = [\n  \"10.0.0.7\", \"fd00::/8\"]\n",
        );
        let nets = |list: &[&str]| list.iter().map(|n| n.parse().unwrap()).collect::<Vec<IpNet>>();
        let expected = Settings {
            beat: Duration::from_secs(2),
            unit: Unit::Bits,
            theme: Theme::Light,
            internal: nets(&["203.0.114.0/24"]),
            external: nets(&["10.0.0.7/32", "fd00::/8"]),
        };
        assert_eq!(good.unwrap(), expected);
        assert_eq!(read("").unwrap(), Settings::default());
        let check = |text: &str, message: &str| {
            assert_eq!(read(text).unwrap_err().to_string(), format!("/c.toml, line {message}"));
        };
        check(
            "\n[prefixes]\ninternal = [\"10.0.0.0/8\",\n \"10.0.0.0/99\"]",
            "4: \"10.0.0.0/99\" is not a prefix: its length should be a number from 0 to 32",
        );
        check(
            "[prefixes]\nexternal = [\"10.1.0.0/8\"]",
            "2: \"10.1.0.0/8\" is not a prefix: it has bits behind its length; did you mean 10.0.0.0/8?",
        );
        check(
            "[prefixes]\nexternal = [\"lan\"]",
            "2: \"lan\" is not a prefix: it should read like 10.0.0.0/8 or 2001:db8::/32",
        );
        check(
            "[prefixes]\nexternal = [\"lan/8\"]",
            "2: \"lan/8\" is not a prefix: what stands before the slash is no IPv4 or IPv6 address",
        );
        check("beat = 0.01", "1: beat = 0.01 is not between 0.1 and 5 seconds");
        for (text, line) in [
            ("beat = \"fast\"", 1),
            ("\n\ncolour = 1", 3),
            ("theme = \"pink\"", 1),
            ("beat = ", 1),
            ("[prefixes]\ninternal = 7", 2),
        ] {
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
}

//! The apps of the settings file: what a person says an app is. Pure.

use std::collections::BTreeMap;

use glob::Pattern;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::Mistake;

/// `[apps."NAME"]`: several units, cgroups, apps and containers that are one app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub struct OwnApp {
    /// What it is called. Its id as well.
    pub name: String,
    /// `units`: patterns for unit names, as systemctl takes them.
    pub units: Vec<String>,
    /// `cgroups`: paths as in /proc/PID/cgroup; all below them belongs to the app.
    pub cgroups: Vec<String>,
    /// `apps`: the ids of other apps, as `netglance apps` lists them.
    pub apps: Vec<String>,
    /// `containers`: patterns for the names of containers and virtual machines, and of compose projects.
    pub containers: Vec<String>,
    /// `colour`: "#rrggbb", red, green and blue. `None`: the next colour that is free.
    pub colour: Option<[u8; 3]>,
    /// `icon`: the name of an icon in the theme, or a file's absolute path. `None`: that of the first app in it that has one.
    pub icon: Option<String>,
}

/// The app for which netglance was made.
const STB: (&str, [&str; 3]) =
    ("StB", ["stb-next-host-agent@*.service", "stb-next-server@*.service", "stb-next-shell@*.service"]);

impl OwnApp {
    /// The apps that need no entry in the file. An entry of the same name replaces one; an entry that names nothing takes it away.
    pub fn built_in() -> Vec<Self> {
        let (name, units) = STB;
        vec![Self { name: name.to_owned(), units: units.map(str::to_owned).to_vec(), ..Self::default() }]
    }

    /// Whether it needs no entry in the file.
    pub fn is_built_in(&self) -> bool {
        Self::built_in().iter().any(|app| app.name == self.name)
    }

    /// Whether it names nothing, so that nothing can ever belong to it.
    pub fn is_empty(&self) -> bool {
        [&self.units, &self.cgroups, &self.apps, &self.containers].iter().all(|list| list.is_empty())
    }
}

/// `[apps."NAME"]`, as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    #[serde(default)]
    units: Vec<Spanned<String>>,
    #[serde(default)]
    cgroups: Vec<Spanned<String>>,
    #[serde(default)]
    apps: Vec<Spanned<String>>,
    #[serde(default)]
    containers: Vec<Spanned<String>>,
    colour: Option<Spanned<String>>,
    icon: Option<Spanned<String>>,
}

/// What the entries mean, in the order of the file.
pub(super) fn read(entries: BTreeMap<Spanned<String>, Entry>) -> Result<Vec<OwnApp>, Mistake> {
    let mut entries: Vec<_> = entries.into_iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries.into_iter().map(|(name, entry)| entry.read(&name)).collect()
}

impl Entry {
    fn read(self, name: &Spanned<String>) -> Result<OwnApp, Mistake> {
        let at = name.span().start;
        own_name(name.get_ref()).map_err(|reason| (at, reason))?;
        let app = OwnApp {
            name: name.get_ref().clone(),
            units: checked(self.units, pattern)?,
            cgroups: checked(self.cgroups, cgroup)?,
            apps: checked(self.apps, |id| not_empty(id, "an app's id"))?,
            containers: checked(self.containers, pattern)?,
            colour: self
                .colour
                .map(|text| colour(text.get_ref()).map_err(|why| (text.span().start, why)))
                .transpose()?,
            icon: self
                .icon
                .map(|text| {
                    not_empty(text.get_ref(), "an icon's name")
                        .map(|()| text.get_ref().clone())
                        .map_err(|why| (text.span().start, why))
                })
                .transpose()?,
        };
        if app.is_empty() && !app.is_built_in() {
            let reason = format!("the app \"{}\" names nothing: it needs units, cgroups, apps or containers", app.name);
            return Err((at, reason));
        }
        Ok(app)
    }
}

fn checked(list: Vec<Spanned<String>>, check: impl Fn(&str) -> Result<(), String>) -> Result<Vec<String>, Mistake> {
    let read = |text: Spanned<String>| match check(text.get_ref()) {
        Ok(()) => Ok(text.into_inner()),
        Err(reason) => Err((text.span().start, reason)),
    };
    list.into_iter().map(read).collect()
}

/// Whether an app may be called this. The error is a sentence for the person who wrote it.
pub fn own_name(name: &str) -> Result<(), String> {
    not_empty(name, "an app's name")?;
    const OTHERS: [&str; 6] = ["system:", "docker:", "podman:", "libvirt:", "nspawn:", "bridge:"];
    if let Some(start) = OTHERS.iter().find(|start| name.starts_with(**start)) {
        return Err(format!(
            "an app's name can't begin with \"{start}\": system services and containers are called so"
        ));
    }
    if name.chars().any(char::is_control) {
        return Err("an app's name can't contain control characters such as line breaks".to_owned());
    }
    Ok(())
}

/// Whether this is a pattern as `units` and `containers` have them: `*`, `?` and `[…]`. The error is a sentence for the person who
/// wrote it.
pub fn pattern(text: &str) -> Result<(), String> {
    not_empty(text, "a pattern")?;
    Pattern::new(text).map(drop).map_err(|error| format!("\"{text}\" is not a pattern: {}", error.msg))
}

/// Whether this is a cgroup's path. The error is a sentence for the person who wrote it.
pub fn cgroup(text: &str) -> Result<(), String> {
    if text.starts_with('/') {
        return Ok(());
    }
    Err(format!("\"{text}\" is not a cgroup's path: it must begin with /, as in /proc/PID/cgroup"))
}

fn not_empty(text: &str, what: &str) -> Result<(), String> {
    if text.trim().is_empty() { Err(format!("{what} can't be empty")) } else { Ok(()) }
}

/// Red, green and blue. The error is a sentence for the person who wrote it.
pub fn colour(text: &str) -> Result<[u8; 3], String> {
    let digits =
        text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
    let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let [_, red, green, blue] = number.map(u32::to_be_bytes).ok_or_else(|| {
        format!("\"{text}\" is not a colour: it should read like \"#3584e4\", with two hexadecimal digits each for red, green and blue")
    })?;
    Ok([red, green, blue])
}

/// A colour as the file has it.
pub fn colour_text([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

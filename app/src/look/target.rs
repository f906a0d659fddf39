//! Which cgroups are the app: targets, and the names that systemd and desktops give to apps. Pure: it looks at paths
//! only.

use glob::{MatchOptions, Pattern, PatternError};
use netglance_dbus::text::printable;

use super::{
    forwarded::{self, Forwarded},
    services,
};
use crate::base::settings::OwnApp;

/// The app being watched: every cgroup that a selector names, all descendants included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What a person reads.
    pub name: String,
    /// Whether it is waited for while none of its cgroups exists. A command that has ended does not come back.
    pub comes_back: bool,
    selectors: Vec<Selector>,
    /// What belongs to others all the same.
    except: Vec<Selector>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Selector {
    /// A pattern for unit names, as systemctl takes them: `*`, `?`, `[…]`.
    Unit(Pattern),
    /// A path as in /proc/PID/cgroup.
    Cgroup(String),
    /// The same, of all that there is.
    Everything(String),
    /// An app's id, as [`app_of`] says it.
    App(String),
    /// A pattern for the names of containers and virtual machines, and of compose projects.
    Container(Pattern),
}

/// A part of a cgroup's path that stands for a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitOf<'a> {
    /// The unit's name, or the last part of the path where there is none; "/" for the root.
    pub unit: &'a str,
    /// The path down to it.
    pub cgroup: &'a str,
}

impl Target {
    /// What a person says that an app is. What is no pattern matches nothing.
    pub fn own(app: &OwnApp) -> Self {
        let patterns = |list: &[String]| list.iter().filter_map(|text| Pattern::new(text).ok()).collect::<Vec<_>>();
        let units = patterns(&app.units).into_iter().map(Selector::Unit);
        let cgroups = app.cgroups.iter().map(|path| Selector::Cgroup(cgroup_path(path, "")));
        let apps = app.apps.iter().cloned().map(Selector::App);
        let containers = patterns(&app.containers).into_iter().map(Selector::Container);
        // An app of the same id would have the same row.
        let same = [Selector::App(app.name.clone())];
        let selectors = units.chain(cgroups).chain(apps).chain(containers).chain(same).collect();
        Self { name: app.name.clone(), comes_back: true, selectors, except: Vec::new() }
    }

    /// An app by the id that [`app_of`] gives it; `name` is what a person reads.
    pub fn app(id: &str, name: &str) -> Self {
        let selectors = vec![Selector::App(id.to_owned())];
        Self { name: name.to_owned(), comes_back: true, selectors, except: Vec::new() }
    }

    /// Without what belongs to another target.
    pub fn without(mut self, other: &Self) -> Self {
        self.except.extend(other.selectors.iter().cloned());
        self
    }

    /// Unit patterns and cgroup paths, which may begin with the tree's mount point.
    pub fn selection(units: &[String], cgroups: &[String], mount: &str) -> Result<Self, PatternError> {
        let mut selectors = Vec::new();
        for unit in units {
            selectors.push(Selector::Unit(Pattern::new(unit)?));
        }
        selectors.extend(cgroups.iter().map(|cgroup| Selector::Cgroup(cgroup_path(cgroup, mount))));
        Ok(Self { name: [units, cgroups].concat().join(" "), comes_back: true, selectors, except: Vec::new() })
    }

    /// Takes in one more cgroup, and all below it.
    pub fn add_cgroup(&mut self, path: &str) {
        self.selectors.push(Selector::Cgroup(path.to_owned()));
    }

    /// Every cgroup at and below this one.
    pub fn everything(top: &str) -> Self {
        Self {
            name: "all applications".to_owned(),
            comes_back: true,
            selectors: vec![Selector::Everything(top.to_owned())],
            except: Vec::new(),
        }
    }

    /// Whether containers or virtual machines are named in it.
    pub fn names_containers(&self) -> bool {
        let is_named = |selector: &Selector| match selector {
            Selector::Container(_) => true,
            Selector::App(id) => forwarded::name_in(id).is_some(),
            _ => false,
        };
        self.selectors.iter().any(is_named)
    }

    /// Whether it is all that there is, as [`Self::everything`] makes it.
    pub fn is_everything(&self) -> bool {
        matches!(self.selectors.as_slice(), [Selector::Everything(_)])
    }

    /// Whether this names apps by their ids alone. Two users may run the same one; then it is each user's own that is meant.
    pub fn is_of_apps(&self) -> bool {
        let is_app = |selector: &Selector| matches!(selector, Selector::App(id) if services::unit_of_id(id).is_none());
        self.selectors.iter().all(is_app)
    }

    /// What is waited for, in the words of the one who asked, for people to read: an app's id may have come from a cgroup.
    pub fn describe(&self) -> String {
        let is_name = |selector: &&Selector| self.selectors.len() > 1 && **selector == Selector::App(self.name.clone());
        let words = self.selectors.iter().filter(|selector| !is_name(selector)).map(|selector| match selector {
            Selector::Unit(pattern) | Selector::Container(pattern) => pattern.as_str(),
            Selector::Cgroup(text) | Selector::Everything(text) | Selector::App(text) => text.as_str(),
        });
        words.map(printable).collect::<Vec<_>>().join(", ")
    }

    /// The unit of this target to which a cgroup belongs: the deepest one in its path, at or below what a selector
    /// names. `None`: not this target's.
    pub fn unit_of<'a>(&self, path: &'a str) -> Option<UnitOf<'a>> {
        let top = self.selectors.iter().filter_map(|s| s.matched(path)).map(str::len).min()?;
        if self.except.iter().any(|selector| selector.matched(path).is_some()) {
            return None;
        }
        let unit = units(path).filter(|u| u.cgroup.len() >= top).last();
        let itself = || {
            let cgroup = path.get(..top)?;
            Some(UnitOf { unit: cgroup.rsplit('/').next().filter(|s| !s.is_empty()).unwrap_or("/"), cgroup })
        };
        unit.or_else(itself)
    }

    /// Names of units among `paths` that are nearly what the patterns say, nearest first.
    pub fn near<'a>(&self, paths: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let mut near: Vec<(f64, &str)> = Vec::new();
        for unit in paths.flat_map(units) {
            let likeness = self.selectors.iter().map(|s| s.likeness(unit.unit)).fold(0.0, f64::max);
            if likeness > 0.8 && !near.iter().any(|(_, name)| *name == unit.unit) {
                near.push((likeness, unit.unit));
            }
        }
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        near.truncate(5);
        near.into_iter().map(|(_, name)| name).collect()
    }
}

impl Selector {
    /// The path down to what this names, if `path` is it or is below it.
    fn matched<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self {
            Self::Unit(pattern) => {
                // systemctl's fnmatch has no case folding and lets `*` match a leading dot.
                let options = MatchOptions {
                    case_sensitive: true,
                    require_literal_separator: false,
                    require_literal_leading_dot: false,
                };
                let is_named = |u: &UnitOf<'_>| pattern.matches_with(u.unit, options) && !forwarded::is_in(u.cgroup);
                units(path).find(is_named).map(|u| u.cgroup)
            }
            Self::Container(pattern) => {
                let Forwarded { project, name, cgroup, .. } = Forwarded::of(path)?;
                (pattern.matches(name) || project.is_some_and(|project| pattern.matches(project))).then_some(cgroup)
            }
            Self::Cgroup(top) | Self::Everything(top) if top == "/" => path.get(..1),
            Self::Cgroup(top) | Self::Everything(top) => {
                let rest = path.strip_prefix(top.as_str())?;
                (rest.is_empty() || rest.starts_with('/')).then_some(path.get(..top.len())?)
            }
            Self::App(id) => {
                if let Some(unit) = services::unit_of_id(id) {
                    return services::service_of(path)
                        .filter(|service| service.unit == unit)
                        .map(|service| service.cgroup);
                }
                let app = app_of(path)?;
                (app.id == *id || app.is_called(id)).then_some(app.cgroup)
            }
        }
    }

    fn likeness(&self, unit: &str) -> f64 {
        let wanted = match self {
            Self::Unit(pattern) | Self::Container(pattern) => pattern.as_str(),
            Self::App(id) => id,
            Self::Cgroup(path) | Self::Everything(path) => path.rsplit('/').next().unwrap_or_default(),
        };
        let plain = |s: &str| s.replace(['*', '?'], "");
        let (wanted, stem) = (plain(wanted), stem(unit));
        strsim::jaro_winkler(&wanted, unit).max(strsim::jaro_winkler(stem_of(&wanted), stem))
    }
}

/// A cgroup's path as in /proc/PID/cgroup from one that somebody typed, which may begin with the tree's mount point.
pub fn cgroup_path(typed: &str, mount: &str) -> String {
    let path = typed.strip_prefix(mount).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    format!("/{}", path.unwrap_or(typed).trim_matches('/'))
}

/// The units along a cgroup's path, outermost first. A container or virtual machine is one.
pub fn units(path: &str) -> impl Iterator<Item = UnitOf<'_>> {
    let forwarded = Forwarded::of(path).map(|forwarded| UnitOf { unit: forwarded.name, cgroup: forwarded.cgroup });
    let path = if forwarded.is_some() { "" } else { path };
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
    ends.filter_map(move |end| {
        let cgroup = path.get(..end)?;
        let unit = cgroup.rsplit('/').next()?;
        let known = [".service", ".scope", ".slice", ".socket", ".mount", ".swap"];
        known
            .iter()
            .any(|suffix| unit.len() > suffix.len() && unit.ends_with(suffix))
            .then_some(UnitOf { unit, cgroup })
    })
    .chain(forwarded)
}

/// The app of a user to which a cgroup belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App<'a> {
    /// As the desktop specifies it (systemd.io/DESKTOP_ENVIRONMENTS): the desktop file's name for
    /// `app-<launcher>-<id>-<n>.scope`, `app-<id>@autostart.service` and their like. The unit's own name otherwise,
    /// without its instance and whatever tells it from others of its kind: a process id, a random number.
    pub id: String,
    /// The path down to what is the app's alone.
    pub cgroup: &'a str,
    /// Its service or scope.
    pub unit: UnitOf<'a>,
}

impl App<'_> {
    /// Whether this is the unit's name without suffix and instance. It is an id as well: earlier versions had no other.
    fn is_called(&self, id: &str) -> bool {
        let name = stem(self.unit.unit);
        name == id || name.contains('\\') && unescape(name) == id
    }
}

/// Finds the app of a user to which a cgroup belongs. `None`: it is no app's.
pub fn app_of(path: &str) -> Option<App<'_>> {
    if let Some(Forwarded { engine, name, cgroup, .. }) = Forwarded::of(path) {
        return Some(App { id: format!("{engine}:{name}"), cgroup, unit: UnitOf { unit: name, cgroup } });
    }
    let in_user = |unit: &UnitOf| unit.unit.starts_with("user@") && unit.unit.ends_with(".service");
    let mut below = units(path).skip_while(|unit| !in_user(unit)).skip(1).peekable();
    if below.peek().is_none() {
        // No user manager's unit: a login session as a whole, as desktops have it that start apps without systemd.
        let session = units(path).find(|u| u.unit.starts_with("session-") && u.unit.ends_with(".scope"))?;
        return Some(App { id: stem(session.unit).to_owned(), cgroup: session.cgroup, unit: session });
    }
    let mut slice = None;
    for unit in below {
        if let Some(name) = unit.unit.strip_suffix(".slice") {
            slice = slice.or_else(|| Some((app_slice(name)?, unit.cgroup)));
            continue;
        }
        if unit.unit == "init.scope" {
            return None;
        }
        let (id, cgroup) = match (app_unit(unit.unit), slice) {
            (Some(id), _) => (id, unit.cgroup),
            (None, Some(slice)) => slice,
            (None, None) => (unescape(kind(unit.unit)), unit.cgroup),
        };
        return Some(App { id, cgroup, unit });
    }
    // A slice holds no process itself.
    None
}

/// The unit of an app to which a cgroup belongs, as it is called from one start to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Unit {
    /// The app's id.
    pub app: String,
    /// Its name, with `*` for what is different at each start.
    pub unit: String,
    /// Its path, with the same.
    pub cgroup: String,
}

/// A unit of the app with this id, as it is called from one start to the next.
pub fn lasting(id: &str, UnitOf { unit, cgroup }: UnitOf<'_>) -> Unit {
    let name = if forwarded::is_in(cgroup) { unit.to_owned() } else { lasting_name(unit) };
    let above = cgroup.strip_suffix(unit).unwrap_or_default();
    Unit { app: lasting_app(id).to_owned(), cgroup: format!("{above}{name}"), unit: name }
}

/// The id under which an app is recorded: login sessions, which have a new number each, are one.
pub fn lasting_app(id: &str) -> &str {
    const SESSION: &str = "session";
    let numbered = id.strip_prefix(SESSION).and_then(|rest| rest.strip_prefix('-'));
    match numbered.map(|number| number.trim_start_matches('c')) {
        Some(EACH_START) => SESSION,
        Some(number) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => SESSION,
        _ => id,
    }
}

/// Stands in a recorded name for what is different at each start.
const EACH_START: &str = "*";

/// A unit's name with `*` in the place of numbers and the like that only this start of it has.
fn lasting_name(unit: &str) -> String {
    let (name, suffix) = unit.rsplit_once('.').unwrap_or((unit, ""));
    if let Some((_, called)) = name.strip_prefix("dbus-:").and_then(|rest| rest.split_once('-')) {
        let called = called.split_once('@').map_or(called.to_owned(), |(called, _)| format!("{called}@*"));
        return format!("dbus-:*-{called}.{suffix}");
    }
    if let Some((called, instance)) = name.split_once('@').filter(|_| name.starts_with("app-"))
        && instance.len() >= 8
        && instance.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return format!("{called}@*.{suffix}");
    }
    let kind = match lasting_app(name) {
        session if session != name => session,
        _ => kind(unit),
    };
    if kind.len() < stem(unit).len() { format!("{kind}-*.{suffix}") } else { unit.to_owned() }
}

/// `app-<id>.slice`, which systemd also makes for the instances of a template, escaping its name once more.
fn app_slice(name: &str) -> Option<String> {
    let id = unescape(name.strip_prefix("app-")?);
    Some(id.strip_prefix("app-").map(unescape).unwrap_or(id))
}

/// The id in a unit name that follows the desktops' convention.
fn app_unit(unit: &str) -> Option<String> {
    let name = unit.rsplit_once('.')?.0;
    if let Some(snap) = name.strip_prefix("snap.") {
        return snap.split('.').next().map(str::to_owned);
    }
    if let Some(activated) = name.strip_prefix("dbus-").filter(|rest| rest.starts_with(':')) {
        return Some(unescape(activated.split_once('-')?.1.split('@').next()?));
    }
    let rest = name.strip_prefix("app-")?;
    let rest = match rest.split_once('@') {
        Some((rest, _)) => rest,
        None if unit.ends_with(".scope") => rest.rsplit_once('-').map_or(rest, |(rest, _)| rest),
        None => rest,
    };
    let id = rest.rsplit('-').next().filter(|id| !id.is_empty())?;
    Some(unescape(id))
}

/// A unit's name without suffix and instance.
fn stem(unit: &str) -> &str {
    stem_of(unit.rsplit_once('.').map_or(unit, |(name, _)| name))
}

fn stem_of(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}

/// A unit's name without what tells it from others of its kind: `tmux-spawn` for `tmux-spawn-<uuid>.scope`. A service that is
/// not transient was named by a person: a date or a number in its name means something.
fn kind(unit: &str) -> &str {
    let transient = unit.ends_with(".scope") || unit.starts_with("run-");
    let mut kind = stem(unit);
    while let Some((rest, last)) = kind.rsplit_once('-') {
        let hex = last.len() >= 8 && last.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (digits, letters) = (last.contains(|c: char| c.is_ascii_digit()), last.contains(char::is_alphabetic));
        let random = hex && (last.len() >= 32 || digits) && (transient || letters);
        if let Some(rest) = without_uuid(kind) {
            kind = rest;
        } else if !rest.is_empty() && (random || transient && is_number(last)) {
            kind = rest;
        } else {
            break;
        }
    }
    kind
}

/// Whoever makes a scope numbers it, and systemd numbers what `systemd-run` starts: `1234`, `u1234`, `p1234`, `i1234`,
/// `r<32 hexadecimal digits>`.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['u', 'p', 'i']).unwrap_or(text);
    let random = text.strip_prefix('r').is_some_and(|hex| hex.len() == 32);
    let is = |text: &str, digit: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|byte| digit(&byte));
    text == EACH_START
        || is(digits, u8::is_ascii_digit)
        || random && is(text.trim_start_matches('r'), u8::is_ascii_hexdigit)
}

/// What stands before `-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` at the end.
fn without_uuid(name: &str) -> Option<&str> {
    let mut parts = name.rsplitn(6, '-');
    for digits in [12, 4, 4, 4, 8] {
        parts.next().filter(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    }
    parts.next().filter(|rest| !rest.is_empty())
}

/// Undoes systemd's `\xNN` (systemd.unit(5), "String escaping").
fn unescape(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name;
    while let Some((before, after)) = rest.split_once(r"\x") {
        bytes.extend_from_slice(before.as_bytes());
        match after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.extend_from_slice(br"\x");
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{base::settings::Settings, look::apps::Apps};

    fn built_in() -> Apps {
        Apps::new(&Settings::default())
    }

    fn app_id(path: &str) -> Option<String> {
        built_in().id_of(path)
    }

    fn stb() -> Target {
        built_in().target("StB", "x")
    }

    const USER: &str = "/user.slice/user-1000.slice/user@1000.service";

    #[test]
    fn apps_are_named_as_their_desktop_files() {
        let check = |below: &str, expected: Option<&str>| {
            assert_eq!(app_id(&format!("{USER}{below}")).as_deref(), expected, "{below}");
        };
        check("/app.slice/app-gnome-firefox-1234.scope", Some("firefox"));
        check("/app.slice/app-gnome-org.gnome.Terminal-77.scope", Some("org.gnome.Terminal"));
        check("/app.slice/app-org.kde.konsole-99ab.scope", Some("org.kde.konsole"));
        check("/app.slice/app-flatpak-org.mozilla.firefox-5.scope/inner", Some("org.mozilla.firefox"));
        check(r"/app.slice/app-electron\x2dgpt@autostart.service", Some("electron-gpt"));
        check(
            r"/app.slice/app-app\x2delectron\x5cx2dgpt.slice/app-electron\x2dgpt@autostart.service",
            Some("electron-gpt"),
        );
        check("/app.slice/app-firefox@0f3a.service", Some("firefox"));
        check("/app.slice/snap.code.code-1-2.scope", Some("code"));
        check(r"/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1f.scope", Some("org.gnome.Terminal"));
        check(r"/app.slice/app-dbus\x2d:1.2\x2dorg.a.B.slice/dbus-:1.2-org.a.B@0.service", Some("org.a.B"));
        check("/session.slice/pipewire.service", Some("pipewire"));
        check("/app.slice/app-foo.slice/foo@1.service/sub", Some("foo"));
        check(r"/app.slice/app-stb\x2dnext\x2dshell.slice/stb-next-shell@split.service", Some("StB"));
        check(r"/app.slice/app-stb\x2dnext\x2dother.slice/stb-next-other@split.service", Some("stb-next-other"));
        check("/init.scope", None);
        check("/app.slice", None);
        check("", None);
        assert_eq!(app_id("/user.slice/user-1000.slice/session-2.scope").as_deref(), Some("session-2"));
        assert_eq!(app_id("/system.slice/ssh.service"), None);
        assert_eq!(app_id(""), None);
        assert_eq!(unescape(r"a\x2db\xzz\x"), r"a-b\xzz\x");
    }

    /// What terminals, containers and `systemd-run` call their units, each as it was seen on a desktop.
    #[test]
    fn instances_of_one_thing_are_one_app() {
        let check = |below: &str, id: &str, old: &str| {
            let path = format!("{USER}/{below}");
            assert_eq!(app_id(&path).as_deref(), Some(id), "{below}");
            for name in [id, old] {
                assert!(Target::app(name, "").unit_of(&path).is_some(), "{name} names {below}");
            }
        };
        let scope = |below: &str, id: &str| {
            let name = below.rsplit('/').find(|part| part.contains('.')).unwrap();
            check(below, id, name.rsplit_once('.').unwrap().0);
        };
        scope("tmux-spawn-5f0c21a8-7e02-4b37-9a3c-1d0e7f0a9b11.scope", "tmux-spawn");
        scope("app.slice/vte-spawn-0d5e8b0a-3c52-4f07-8c8f-5a4bdc1c7c5d.scope", "vte-spawn");
        scope("app.slice/ptyxis-spawn-aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee.scope", "ptyxis-spawn");
        scope("app.slice/kitty-1234-0.scope", "kitty");
        scope("run-r0123456789abcdef0123456789abcdef.scope", "run");
        scope("app.slice/run-u123.service", "run");
        scope("app.slice/run-u7.scope", "run");
        scope("app.slice/run-p4711-i4712.scope", "run");
        scope("app.slice/run-1234.scope", "run");
        let hex = "8c9d0e8f3b8a4d0e9f6a7b8c9d0e1f2a3b4c5d6e7f8091a2b3c4d5e6f708192a";
        scope(&format!("user.slice/libpod-{hex}.scope/container"), "libpod");
        scope(&format!("user.slice/libpod-conmon-{hex}.scope"), "libpod-conmon");
        scope("user.slice/user-libpod_pod_0a1b.slice/libpod-0a1b2c3d4e5f60718293a4b5c6d7e8f9.scope", "libpod");
        scope("user.slice/podman-1234.scope", "podman");
        scope("user.slice/podman-pause-1a2b3c4d.scope", "podman-pause");
        scope(&format!("user.slice/docker-{hex}.scope"), "docker");
        scope("app.slice/netglance-run-1234.scope", "netglance-run");
        scope("background.slice/tracker-miner-fs-3.service", "tracker-miner-fs-3");
        scope("session.slice/at-spi-dbus-bus.service", "at-spi-dbus-bus");
        scope("app.slice/podman-user-wait-network-online.service", "podman-user-wait-network-online");
        scope("app.slice/gpg-agent.service", "gpg-agent");
        check("app.slice/syncthing@home.service", "syncthing", "syncthing");
        check(r"app.slice/my\x2dbackup-12.service", "my-backup-12", "my-backup-12");
        check("app.slice/facade-decade.service", "facade-decade", "facade-decade");
        // What a person has numbered or dated stays apart; what a program has numbered does not.
        for name in ["backup-20240115", "backup-20240116", "site-10000001", "site-10000002"] {
            check(&format!("app.slice/{name}.service"), name, name);
        }
        let number = "1".repeat(32);
        check(&format!("app.slice/site-{number}.service"), &format!("site-{number}"), &format!("site-{number}"));
        scope("app.slice/backup-20240115.scope", "backup");
        scope("app.slice/run-20240115.service", "run");
        scope("app.slice/job-1a2b3c4d.service", "job");
        scope("app.slice/job-0a1b2c3d4e5f60718293a4b5c6d7e8f9.service", "job");
        scope("app.slice/job-abcdefabcdefabcdefabcdefabcdefab.service", "job");
        scope("app.slice/job-5f0c21a8-7e02-4b37-9a3c-1d0e7f0a9b11.service", "job");
        // What has an id of the desktop's keeps it.
        check("app.slice/app-org.kde.konsole-1234.scope", "org.kde.konsole", "org.kde.konsole");
        check("app.slice/app-org.kde.konsole-99ab.scope/tab(3045).scope", "org.kde.konsole", "org.kde.konsole");
        check(r"app.slice/app-gnome-google\x2dchrome-4242.scope", "google-chrome", "google-chrome");
        check("app.slice/app-firefox@0f3a9c.service", "firefox", "firefox");
        check("app.slice/snap.firefox.firefox-5f0c21a8-7e02-4b37-9a3c-1d0e7f0a9b11.scope", "firefox", "firefox");
        check("app.slice/app-flatpak-org.mozilla.firefox-1234.scope", "org.mozilla.firefox", "org.mozilla.firefox");
        check("app.slice/dbus-:1.2-org.gnome.Nautilus@0.service", "org.gnome.Nautilus", "org.gnome.Nautilus");
        check("session.slice/session-2.scope", "session", "session-2");
        assert_eq!(Target::app("session-1", "").unit_of("/user.slice/user-1000.slice/session-2.scope"), None);
        assert_eq!(Target::app("run-u1", "").unit_of(&format!("{USER}/run-u12.service")), None);
    }

    #[test]
    fn a_unit_that_was_an_id_is_its_app_now() {
        let hex = "8c9d0e8f3b8a4d0e9f6a7b8c9d0e1f2a3b4c5d6e7f8091a2b3c4d5e6f708192a";
        let units = [
            &format!("user.slice/libpod-{hex}.scope/container"),
            "app.slice/kitty-1234-0.scope",
            "app.slice/kitty-99-0.scope",
            r"app.slice/my\x2dbackup.service",
            "app.slice/stb-next-shell@split.service",
            "app.slice/run-u1.service",
            "session.slice/session-2.scope",
            // Its id is the other's name.
            "app.slice/app-gnome-run\\x2du7-12.scope",
            "app.slice/run-u7.scope",
        ];
        let mut running: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for path in units.map(|unit| format!("{USER}/{unit}")) {
            running.entry(app_id(&path).unwrap()).or_default().push(path);
        }
        let check = |before: &[&str], after: &[&str]| {
            let before: Vec<_> = before.iter().map(|id| (*id).to_owned()).collect();
            assert_eq!(built_in().ids_now(&before, &running), after, "{before:?}");
        };
        let libpod = format!("libpod-{hex}");
        check(&[&libpod, "kitty-1234-0"], &["libpod", "kitty"]);
        check(&["kitty-99-0", "StB", "kitty-1234-0", "kitty"], &["kitty", "StB"]);
        check(&["kitty-5-0", "not.running", "my-backup"], &["kitty-5-0", "not.running", "my-backup"]);
        check(&["stb-next-shell", "session-2", "run-u1"], &["StB", "session", "run"]);
        check(&["run-u7"], &["run-u7"]);
        check(&[], &[]);
    }

    #[test]
    fn a_target_takes_its_units_and_all_below_them() {
        let shell = format!(r"{USER}/app.slice/app-stb\x2dnext\x2dshell.slice/stb-next-shell@split.service");
        let inner = format!("{shell}/renderer");
        let other = format!(r"{USER}/app.slice/app-electron\x2dgpt@autostart.service");
        let select = |unit: &[&str], cgroup: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
            Target::selection(&owned(unit), &owned(cgroup), "/sys/fs/cgroup").unwrap()
        };
        let check = |target: &Target, path: &str, expected: Option<(&str, &str)>| {
            let found = target.unit_of(path).map(|u| (u.unit, u.cgroup));
            assert_eq!(found, expected, "{} in {path}", target.describe());
        };
        let shell_unit = Some(("stb-next-shell@split.service", shell.as_str()));
        for target in [
            stb(),
            select(&["stb-next-*.service"], &[]),
            select(&["app-stb*.slice"], &[]),
            select(&[], &[&format!("/sys/fs/cgroup{shell}/")]),
            Target::everything("/"),
        ] {
            check(&target, &shell, shell_unit);
            check(&target, &inner, shell_unit);
        }
        check(&stb(), &other, None);
        check(&select(&["stb-next-?hell@split.service"], &[]), &shell, shell_unit);
        check(&select(&["stb-next"], &[]), &shell, None);
        check(&select(&[], &["/user.slice/user-1000"]), &shell, None);
        check(&select(&[], &[&inner]), &inner, Some(("renderer", inner.as_str())));
        check(
            &Target::app("electron-gpt", "GPT"),
            &other,
            Some((r"app-electron\x2dgpt@autostart.service", other.as_str())),
        );
        check(&Target::everything("/"), "/", Some(("/", "/")));
        check(&Target::everything("/"), "/plain/dir", Some(("/", "/")));
    }

    #[test]
    fn a_unit_is_called_the_same_at_its_next_start() {
        for (unit, expected) in [
            ("stb-next-server@split.service", "stb-next-server@split.service"),
            ("app-gnome-org.mozilla.firefox-4711.scope", "app-gnome-org.mozilla.firefox-*.scope"),
            ("app-org.kde.konsole@1a2b3c4d.service", "app-org.kde.konsole@*.service"),
            ("app-mail@autostart.service", "app-mail@autostart.service"),
            ("vte-spawn-7a6f3f6c-0f3b-4c3c-9a56-0123456789ab.scope", "vte-spawn-*.scope"),
            ("run-r0123456789abcdef0123456789abcdef.service", "run-*.service"),
            ("dbus-:1.24-org.gnome.Nautilus@0.service", "dbus-:*-org.gnome.Nautilus@*.service"),
            ("backup-20261127.service", "backup-20261127.service"),
        ] {
            let above = "/user.slice/user-1000.slice/user@1000.service/app.slice";
            let found = built_in().lasting_unit(&format!("{above}/{unit}/below")).unwrap();
            assert_eq!((found.unit.as_str(), found.cgroup), (expected, format!("{above}/{expected}")));
        }
        // What is recorded of what starts anew each time belongs to the same app.
        for unit in ["kitty-12-0.scope", "run-u12.service", "session-7.scope", "app-gnome-firefox-4711.scope"] {
            let path = format!("/user.slice/user-1000.slice/user@1000.service/app.slice/{unit}");
            let recorded = built_in().lasting_unit(&path).unwrap();
            let now = app_of(&recorded.cgroup).unwrap();
            assert_eq!(lasting_app(&now.id), recorded.app, "{unit}");
        }
        assert_eq!(built_in().lasting_unit("/system.slice/cron.service"), None);
        let session = built_in().lasting_unit("/user.slice/user-1000.slice/session-c42.scope").unwrap();
        assert_eq!((session.app.as_str(), session.unit.as_str()), ("session", "session-*.scope"));
        for (id, expected) in [("session-7", "session"), ("session-x", "session-x"), ("sessions", "sessions")] {
            assert_eq!(lasting_app(id), expected);
        }
    }

    #[test]
    fn near_names_are_found() {
        let paths =
            [format!("{USER}/app.slice/stb-next-shell@split.service"), format!("{USER}/app.slice/pipewire.service")];
        let near = |unit: &str| {
            let target = Target::selection(&[unit.to_owned()], &[], "").unwrap();
            target.near(paths.iter().map(String::as_str)).join(" ")
        };
        assert_eq!(near("stb-next-shel*"), "stb-next-shell@split.service");
        assert_eq!(near("stb-nxt-shell@split.service"), "stb-next-shell@split.service");
        assert_eq!(near("pipewir"), "pipewire.service");
        assert_eq!(near("zzz"), "");
    }
}

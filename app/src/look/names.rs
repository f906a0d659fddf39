//! What an app without a desktop entry is called: as systemd describes its units, or as their program is called. Each unit is
//! asked about once, in a task of its own: no look waits for a bus. Where systemd doesn't answer, it is asked again later.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use zbus::{OwnedObjectPath, connection::Builder, proxy};

use super::{forwarded, services};

/// A systemd that answers later than this is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// One that didn't answer is asked again after this time, which doubles each time until it is [`LONGEST_REST`].
const REST: Duration = Duration::from_secs(10);
const LONGEST_REST: Duration = Duration::from_secs(300);
/// Characters of a name. A description may be a whole sentence.
const LONGEST: usize = 60;

/// Whose units they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// The user's own systemd.
    User,
    /// The system's.
    System,
}

/// What is known of the units, and what is being asked.
#[derive(Debug)]
pub struct Names {
    manager: Manager,
    /// By the unit's cgroup path.
    known: HashMap<String, Known>,
    /// Questions without an answer.
    asking: usize,
    /// How long to wait after the next question that fails.
    rest: Duration,
    /// Until when nothing is asked again; `None`: systemd answers.
    rests_until: Option<Instant>,
    answers: UnboundedReceiver<Answer>,
    answer: UnboundedSender<Answer>,
}

#[derive(Debug, Default)]
struct Known {
    /// `None`: it has no name of its own, or none yet.
    name: Option<String>,
    /// systemd didn't say.
    unanswered: bool,
}

#[derive(Debug)]
struct Answer {
    /// By the unit's cgroup path.
    names: Vec<(String, Option<String>)>,
    /// `false`: systemd didn't answer, and the names are those of programs.
    answered: bool,
}

/// A unit that has to be asked about.
#[derive(Debug)]
pub struct Unit {
    /// Its app's id.
    pub id: String,
    /// Its name.
    pub unit: String,
    /// Its cgroup path.
    pub cgroup: String,
    /// The directories of its cgroups: those at and below `cgroup`.
    pub directories: Vec<PathBuf>,
}

impl Default for Names {
    fn default() -> Self {
        Self::of(Manager::User)
    }
}

impl Names {
    /// Nothing is known yet.
    pub fn of(manager: Manager) -> Self {
        let (answer, answers) = unbounded_channel();
        Self { manager, known: HashMap::new(), asking: 0, rest: REST, rests_until: None, answers, answer }
    }

    /// Takes in what was answered, and forgets the units that are gone.
    pub fn refresh(&mut self, exists: impl Fn(&str) -> bool) {
        while let Ok(answer) = self.answers.try_recv() {
            self.take(answer, Instant::now());
        }
        self.known.retain(|cgroup, _| exists(cgroup));
    }

    /// Whether a unit was asked about, and need not be asked about again by now.
    pub fn knows(&self, cgroup: &str, now: Instant) -> bool {
        let rests = self.rests_until.is_some_and(|until| now < until);
        self.known.get(cgroup).is_some_and(|known| rests || !known.unanswered)
    }

    /// What these units are called, if all of them are called the same.
    pub fn of_units<'a>(&self, mut cgroups: impl Iterator<Item = &'a str>) -> Option<&str> {
        let name = |cgroup: &str| self.known.get(cgroup)?.name.as_deref();
        let first = name(cgroups.next()?)?;
        cgroups.all(|cgroup| name(cgroup) == Some(first)).then_some(first)
    }

    /// Asks about units that are not known.
    pub fn ask(&mut self, units: Vec<Unit>) {
        if units.is_empty() {
            return;
        }
        for unit in &units {
            self.known.entry(unit.cgroup.clone()).or_default().unanswered = false;
        }
        self.asking += 1;
        let (answer, manager) = (self.answer.clone(), self.manager);
        tokio::spawn(async move {
            let descriptions = tokio::time::timeout(PATIENCE, descriptions(manager, &units)).await;
            let descriptions = descriptions.ok().and_then(Result::ok);
            // Reads files, and nothing else goes on meanwhile in this thread.
            let names = tokio::task::spawn_blocking(move || {
                let answered = descriptions.is_some();
                let descriptions = descriptions.unwrap_or_default();
                let name = |unit: Unit| {
                    let description = descriptions.get(&unit.unit).map(String::as_str).unwrap_or_default();
                    let name = described(description, &unit.unit).map(str::to_owned);
                    let name = name.or_else(|| needs_program(&unit.id).then(|| program(&unit)).flatten());
                    (unit.cgroup, name)
                };
                Answer { names: units.into_iter().map(name).collect(), answered }
            });
            _ = answer.send(names.await.unwrap_or(Answer { names: Vec::new(), answered: true }));
        });
    }

    /// Waits until everything that was asked is answered, which it is soon, also where nobody answers.
    pub async fn settle(&mut self) {
        while self.asking > 0 {
            let Some(answer) = self.answers.recv().await else { return };
            self.take(answer, Instant::now());
        }
    }

    fn take(&mut self, answer: Answer, now: Instant) {
        self.asking = self.asking.saturating_sub(1);
        if answer.answered {
            (self.rest, self.rests_until) = (REST, None);
        } else if self.rests_until.is_none_or(|until| now >= until) {
            self.rests_until = Some(now + self.rest);
            self.rest = (self.rest * 2).min(LONGEST_REST);
        }
        let known = |(cgroup, name)| (cgroup, Known { name, unanswered: !answer.answered });
        self.known.extend(answer.names.into_iter().map(known));
    }
}

/// What an app is called of which nothing but the id is known.
pub fn plain(id: &str) -> String {
    if let Some(unit) = services::unit_of_id(id) {
        return unit.to_owned();
    }
    let known = match id {
        "docker" => "Docker containers",
        "libpod" => "Podman containers",
        "libpod-conmon" => "Podman container monitors",
        "podman" => "Podman",
        "netglance-run" => "netglance run",
        "run" => "systemd-run",
        "vte-spawn" => "Terminal",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    if let Some(name) = forwarded::name_in(id) {
        return name.to_owned();
    }
    if let Some(number) = id.strip_prefix("session-") {
        return format!("Login session {number}");
    }
    let name = id.strip_suffix("-spawn").filter(|name| !name.is_empty()).unwrap_or(id);
    // Of `org.gnome.Shell.CalendarServer` its end says the most.
    let reversed = name.matches('.').count() >= 2 && !name.contains([' ', '/']);
    name.rsplit('.').next().filter(|end| reversed && end.len() > 2).unwrap_or(name).to_owned()
}

/// The part of a description that names what runs. Who starts a scope often writes which process did it, or the command line;
/// systemd takes the unit's own name where there is nothing else.
fn described<'a>(description: &'a str, unit: &str) -> Option<&'a str> {
    let stem = unit.rsplit_once('.').map_or(unit, |(stem, _)| stem);
    let whole = description.trim();
    let first = [" - ", " – ", " — ", ": "].iter().find_map(|dash| Some(whole.split_once(dash)?.0)).unwrap_or(whole);
    // "Syncthing - Open Source Continuous File Synchronization", but "Virtual filesystem service - disk device monitor"
    let name = if first.eq_ignore_ascii_case(stem) || whole.chars().count() > LONGEST { first } else { whole };
    let has_number = |word: &str| word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let numbered = name.split_whitespace().any(|word| has_number(word) && word.contains(|c: char| c.is_ascii_digit()));
    let names_nothing = name.is_empty()
        || name.starts_with(['/', '['])
        || description.contains(unit)
        || ["launched by", "child process", "child pane", "started by"].iter().any(|words| description.contains(words));
    (!names_nothing && !numbered && name.chars().count() <= LONGEST).then_some(name)
}

/// Whether an id is worth less than the name of a program: `run` says nothing, and `org.example.Thing` little; `podman` says all.
pub fn needs_program(id: &str) -> bool {
    id == "run" || id.contains('.')
}

/// Programs that run others' text.
const INTERPRETERS: [&str; 11] =
    ["bash", "dash", "env", "gjs", "gjs-console", "java", "node", "perl", "ruby", "sh", "zsh"];

/// What the first process of a unit is called.
fn program(unit: &Unit) -> Option<String> {
    let pid = unit.directories.iter().find_map(|directory| {
        let pids = fs::read_to_string(directory.join("cgroup.procs")).ok()?;
        pids.lines().next().filter(|pid| *pid != "0").map(str::to_owned)
    })?;
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let file = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let file = file.as_ref().and_then(|path| path.file_name()?.to_str());
    name_of_program(comm.trim_end(), file.unwrap_or_default(), &unit.id)
}

/// The kernel cuts a process's name after 15 bytes, so its file's name is better, but not that of an interpreter.
fn name_of_program(comm: &str, file: &str, id: &str) -> Option<String> {
    let file = file.strip_suffix(" (deleted)").unwrap_or(file);
    let name = if !comm.is_empty() && !file.starts_with(comm) { comm } else { file };
    let interpreter = INTERPRETERS.contains(&name) || name.starts_with("python");
    // `org.example.Thing` says more than "python3", `run` doesn't.
    let says_nothing = name.is_empty() || interpreter && id.contains('.');
    (!says_nothing).then(|| name.to_owned())
}

/// org.freedesktop.systemd1(5)
#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn list_units_by_names(&self, names: &[&str]) -> zbus::Result<Vec<Listed>>;
}

/// Name, description, load, active and sub state, followed unit, path, and the job's id, type and path.
type Listed = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// What systemd says of these units, by their names.
async fn descriptions(manager: Manager, units: &[Unit]) -> zbus::Result<HashMap<String, String>> {
    // One bad name would spoil the answer for all (systemd.unit(5)).
    let is_name =
        |name: &&str| name.len() < 256 && name.bytes().all(|b| b.is_ascii_alphanumeric() || br":-_.\@".contains(&b));
    let names: Vec<_> = units.iter().map(|unit| unit.unit.as_str()).filter(is_name).collect();
    let bus = match manager {
        Manager::User => Builder::session(),
        Manager::System => Builder::system(),
    };
    let bus = bus.method_timeout(PATIENCE).build().await?;
    let manager = ManagerProxy::new(&bus).await?;
    let listed = match manager.list_units_by_names(&names).await {
        Err(error) if blames_a_name(&error) => {
            let mut listed = Vec::new();
            for name in names {
                match manager.list_units_by_names(&[name]).await {
                    Err(error) if blames_a_name(&error) => {}
                    answer => listed.extend(answer?),
                }
            }
            listed
        }
        answer => answer?,
    };
    Ok(listed.into_iter().map(|(name, description, ..)| (name, description)).collect())
}

/// Whether systemd refused the question because of a unit, and not because of who asks or how busy it is.
fn blames_a_name(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::FDO(error) => matches!(**error, zbus::fdo::Error::InvalidArgs(_)),
        zbus::Error::MethodError(name, ..) => name.starts_with("org.freedesktop.systemd1."),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Descriptions as desktops have them.
    #[test]
    fn a_description_names_an_app_or_is_left_out() {
        let check = |unit: &str, description: &str, expected: Option<&str>| {
            assert_eq!(described(description, unit), expected, "{unit}: {description}");
        };
        check("pipewire.service", "PipeWire Multimedia Service", Some("PipeWire Multimedia Service"));
        check("dconf.service", "User preferences database", Some("User preferences database"));
        check(
            "gpg-agent.service",
            "GnuPG cryptographic agent and passphrase cache",
            Some("GnuPG cryptographic agent and passphrase cache"),
        );
        check("syncthing.service", "Syncthing - Open Source Continuous File Synchronization", Some("Syncthing"));
        check(
            "gvfs-udisks2-volume-monitor.service",
            "Virtual filesystem service - disk device monitor",
            Some("Virtual filesystem service - disk device monitor"),
        );
        check(
            "gnome-session-manager@gnome.service",
            "GNOME Session Manager (session: gnome)",
            Some("GNOME Session Manager (session: gnome)"),
        );
        check(
            "xdg-desktop-portal-gtk.service",
            "Portal service (GTK/GNOME implementation)",
            Some("Portal service (GTK/GNOME implementation)"),
        );
        check(
            "app-foo@autostart.service",
            "Foo: a very long story about whatever it is that this program does",
            Some("Foo"),
        );
        check("tracker-miner-fs-3.service", "Tracker file system data miner", Some("Tracker file system data miner"));
        check("run-u12.service", "/usr/bin/rclone sync a b", None);
        check("run-p1-i2.service", "[systemd-run] /usr/bin/rclone sync a b", None);
        check("run-u12.service", "Nightly backup", Some("Nightly backup"));
        check("netglance-run-12.scope", "netglance run", Some("netglance run"));
        check("vte-spawn-0d5e.scope", "VTE child process 4242 launched by gnome-terminal-server process 4200", None);
        check("kitty-1234-0.scope", "kitty child process: 1240 launched by: 1234", None);
        check("tmux-spawn-5f0c.scope", "tmux child pane 1234 launched by process 1230", None);
        check("app-gnome-foo-1234.scope", "Application launched by gnome-shell", None);
        check("libpod-8c9d.scope", "libpod-8c9d.scope", None);
        check("libpod-conmon-8c9d.scope", "libpod-conmon-8c9d.scope", None);
        check("dbus-:1.2-org.a.B@0.service", "dbus-:1.2-org.a.B@0.service", None);
        check("thing.service", "Job 4711 of thing", None);
        check("thing.service", "thing", Some("thing"));
        check("empty.service", "", None);
        check("long.service", &"x ".repeat(40), None);
    }

    #[test]
    fn a_program_is_named_by_its_file_and_an_interpreter_by_what_it_runs() {
        let check = |comm: &str, file: &str, id: &str, expected: Option<&str>| {
            assert_eq!(name_of_program(comm, file, id).as_deref(), expected, "{comm} {file} {id}");
        };
        check("gnome-shell-cal", "gnome-shell-calendar-server", "org.a.B", Some("gnome-shell-calendar-server"));
        check("rclone", "rclone (deleted)", "run", Some("rclone"));
        check("meld", "python3.13", "run", Some("meld"));
        check("python3", "python3.13", "run", Some("python3.13"));
        check("gjs", "gjs-console", "org.gnome.Shell.Notifications", None);
        check("bash", "bash", "run", Some("bash"));
        check("secret", "", "run", Some("secret"));
        check("", "", "run", None);
    }

    #[test]
    fn an_id_alone_is_made_a_name() {
        let check = |id: &str, expected: &str| assert_eq!(plain(id), expected, "{id}");
        check("session-2", "Login session 2");
        check("docker:shop.db", "shop.db");
        check("bridge:192.168.122.7", "192.168.122.7");
        check("what:ever", "what:ever");
        check("tmux-spawn", "tmux");
        check("ptyxis-spawn", "ptyxis");
        check("vte-spawn", "Terminal");
        check("libpod", "Podman containers");
        check("org.gnome.Shell.CalendarServer", "CalendarServer");
        check("pipewire", "pipewire");
        check("../../../evil", "../../../evil");
        check("-spawn", "-spawn");
    }

    #[test]
    fn units_share_a_name_only_where_all_have_it() {
        let mut names = Names::default();
        let named = |cgroup: &str, name: Option<&str>| (cgroup.to_owned(), name.map(str::to_owned));
        let answer = vec![named("/a", Some("rclone")), named("/b", Some("rclone")), named("/c", None)];
        let now = Instant::now();
        names.take(Answer { names: answer, answered: true }, now);
        assert_eq!(names.of_units(["/a", "/b"].into_iter()), Some("rclone"));
        assert_eq!(names.of_units(["/a", "/c"].into_iter()), None);
        assert_eq!(names.of_units(["/a", "/unknown"].into_iter()), None);
        assert_eq!(names.of_units(std::iter::empty()), None);
        names.refresh(|cgroup| cgroup == "/a");
        assert!(names.knows("/a", now) && !names.knows("/b", now));
    }

    #[test]
    fn what_was_not_answered_is_asked_again_but_less_and_less_often() {
        let mut names = Names::default();
        let begin = Instant::now();
        let at = |secs: u64| begin + Duration::from_secs(secs);
        let answer = |answered| Answer { names: vec![("/a".to_owned(), Some("rclone".to_owned()))], answered };
        let mut asked = 0;
        for rest in [10, 20, 40, 80, 160, 300, 300] {
            names.take(answer(false), at(asked));
            // Another that fails meanwhile changes nothing.
            names.take(answer(false), at(asked + 1));
            assert_eq!(names.of_units(["/a"].into_iter()), Some("rclone"), "its program is known");
            let knows = [asked, asked + rest - 1, asked + rest].map(|secs| names.knows("/a", at(secs)));
            assert_eq!(knows, [true, true, false], "{rest} s after {asked} s");
            asked += rest;
        }
        names.take(answer(false), at(asked));
        let other = |answered| Answer { names: vec![("/b".to_owned(), None)], answered };
        names.take(other(true), at(asked + 1));
        assert!(!names.knows("/a", at(asked + 1)), "systemd answers again");
        assert!(names.knows("/b", at(asked + 1_000)), "what was answered is not asked again");
        names.take(other(false), at(2_000));
        assert!(names.knows("/b", at(2_009)) && !names.knows("/b", at(2_010)), "from the shortest time on");
    }

    #[test]
    fn a_unit_is_told_from_a_bus_that_refuses() {
        let call = zbus::Message::method_call("/", "A").serial(1.try_into().unwrap()).build(&()).unwrap();
        let check = |name: &'static str, expected: bool| {
            let name = zbus::names::ErrorName::from_static_str(name).unwrap();
            let error = zbus::Error::from(zbus::Message::error(&call.header(), name).build(&"why").unwrap());
            assert_eq!(blames_a_name(&error), expected, "{error}");
        };
        check("org.freedesktop.DBus.Error.InvalidArgs", true);
        check("org.freedesktop.systemd1.NoSuchUnit", true);
        check("org.freedesktop.DBus.Error.ServiceUnknown", false);
        check("org.freedesktop.DBus.Error.NoReply", false);
        check("org.freedesktop.DBus.Error.AccessDenied", false);
    }
}

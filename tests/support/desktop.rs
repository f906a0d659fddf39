//! A real Debian 12 desktop in a container: systemd, logind, polkitd with its agent, a panel with a tray, user `cad`.
//!
//! `tests/desktop/` builds and boots it, `tests/desktop/replica/` makes it the owner's host. Two can run at a time. It goes
//! when the [`Desktop`] is dropped, or when the test program ends in whatever way. It tests nothing.
#![allow(dead_code, reason = "each test file includes this module and uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is the test's")]

#[path = "packages.rs"]
pub mod packages;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

use crate::support::{Program, eventually, traffic};

/// cad's password.
pub const PASSWORD: &str = "cad-secret";
/// Bytes a second that each of StB's services takes from outside; the other app takes ten times that.
pub const RATE: u64 = 200_000;
/// StB's services and their cgroups on this host, by the name that [`Desktop::truth`] takes.
pub const SERVICES: [(&str, &str); 3] = [
    ("host-agent", r"app-stb\x2dnext\x2dhost\x2dagent.slice/stb-next-host-agent@split.service"),
    ("server", r"app-stb\x2dnext\x2dserver.slice/stb-next-server@split.service"),
    ("shell", r"app-stb\x2dnext\x2dshell.slice/stb-next-shell@split.service"),
];
/// The other app, in the same way.
pub const OTHER: (&str, &str) = ("other", r"app-app\x2delectron\x5cx2dgpt.slice/app-electron\x2dgpt@autostart.service");
/// The container that docker runs after [`Desktop::docker`], as [`Desktop::truth`] calls it, and as docker does.
pub const CONTAINER: (&str, &str) = ("db", "stb-db");
/// What is before them in /proc/PID/cgroup.
pub const APP_SLICE: &str = "/user.slice/user-1000.slice/user@1000.service/app.slice/";

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Answer {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Answer {
    /// What it printed; fails if it did not succeed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status.success(), "{self:?}");
        self.stdout
    }
}

/// Something on the screen, in pixels.
#[derive(Debug, serde::Deserialize)]
pub struct Found {
    /// The name of the program that shows it.
    pub application: String,
    /// AT-SPI's word for what it is.
    pub role: String,
    /// Its name.
    pub name: String,
    /// What is written in it.
    pub text: String,
    /// AT-SPI's words for its state: "focused", "sensitive", "checked" …
    pub states: Vec<String>,
    /// Its left edge.
    pub x: i32,
    /// Its upper edge.
    pub y: i32,
    /// How wide it is.
    pub width: i32,
    /// How high it is.
    pub height: i32,
}

/// What the outside has counted of a service: bytes of packets that it has sent to and got from it, and with how many of them it
/// has ended a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// Sent to it.
    pub rx: u64,
    /// Got from it.
    pub tx: u64,
    /// Ends.
    pub ends: u64,
}

/// The booted container.
pub struct Desktop {
    /// Holds the container until its stdin closes.
    boot: Child,
    container: u32,
    run: PathBuf,
}

impl Desktop {
    /// Boots one and waits until cad's session is there.
    pub fn boot() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(rustix::process::geteuid().is_root(), "needs root: run the tests with sudo (tests/all does)");
        let name = format!("netglance-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut boot = Command::new(scripts().join("boot"))
            .arg(name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start tests/desktop/boot");
        let mut line = String::new();
        BufReader::new(boot.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some((container, run)) = line.trim_end().split_once(' ') else {
            panic!("the desktop can't be built or booted here: its reason is above ({})", boot.wait().unwrap());
        };
        let desktop = Self { boot, container: container.parse().unwrap(), run: run.into() };
        desktop.until_up();
        desktop
    }

    fn until_up(&self) {
        eventually("the desktop is up", || {
            // A process that has ended has no command line.
            let runs = fs::read(format!("/proc/{}/cmdline", self.container)).is_ok_and(|line| !line.is_empty());
            assert!(runs, "the desktop can't be booted here:\n{}", self.console());
            let leader = self.leader()?;
            let ready = self.enter(leader).arg("/usr/local/lib/desktop/ready").output().unwrap();
            ready.status.success().then_some(())
        });
    }

    /// The last that the container's console showed.
    fn console(&self) -> String {
        let console = fs::read(self.run.join("console")).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let lines: Vec<_> = console.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// The container's process 1.
    fn leader(&self) -> Option<u32> {
        let child = |of: u32| -> Option<u32> {
            fs::read_to_string(format!("/proc/{of}/task/{of}/children")).ok()?.split_whitespace().next()?.parse().ok()
        };
        let leader = child(child(self.container)?)?; // of systemd-nspawn, which is the script's
        (fs::read_to_string(format!("/proc/{leader}/comm")).ok()?.trim_end() == "systemd").then_some(leader)
    }

    fn enter(&self, leader: u32) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &leader.to_string(), "--all", "env", "-i", "LANG=C.UTF-8"]);
        command.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// A shell's command line as a service of its own, and so in a cgroup as real as any program's.
    fn service(&self, user: Option<&str>, unit: Option<&str>, script: &str) -> Command {
        let mut command = self.enter(self.leader().expect("the container runs"));
        if let Some(user) = user {
            command.args(["runuser", "--user", user, "--", "env", "XDG_RUNTIME_DIR=/run/user/1000"]);
            command.args(["systemd-run", "--user"]);
        } else {
            command.arg("systemd-run");
        }
        command.args(unit.map(|unit| format!("--unit={unit}")));
        command.args(["--quiet", "--pipe", "--wait", "--collect", "--service-type=exec", "--", "sh", "-c"]);
        command.arg(script.replace('$', "$$"));
        command
    }

    /// Runs a shell's command line as root.
    pub fn root(&self, script: &str) -> Answer {
        answer(&mut self.service(None, None, script))
    }

    /// Runs a shell's command line as cad, in the session.
    pub fn cad(&self, script: &str) -> Answer {
        answer(&mut self.service(Some("cad"), None, script))
    }

    /// Starts a shell's command line as cad, in the session, as a unit of that name. It goes on when the `Program` is
    /// dropped, until [`Self::stop`].
    pub fn start(&self, unit: &str, script: &str) -> Program {
        Program::spawn(self.service(Some("cad"), Some(unit), script))
    }

    /// Stops a unit of cad's.
    pub fn stop(&self, unit: &str) {
        self.cad(&format!("systemctl --user stop {unit}")).ok();
    }

    /// Runs a shell's command line as `guest`, who has no session and no rights.
    pub fn guest(&self, script: &str) -> Answer {
        let mut command = self.enter(self.leader().expect("the container runs"));
        command.args(["runuser", "--user", "guest", "--", "sh", "-c", script]);
        answer(&mut command)
    }

    /// Keeps what is on the screen as target/desktop/NAME.png.
    #[track_caller]
    pub fn screenshot(&self, name: &str) -> PathBuf {
        self.picture(name).expect("take a picture of the screen")
    }

    fn picture(&self, name: &str) -> std::io::Result<PathBuf> {
        let picture = self.on_screen("import -window root png:-").output()?;
        let path = pictures().join(name).with_extension("png");
        fs::write(&path, &picture.stdout)?;
        let complaint = || std::io::Error::other(String::from_utf8_lossy(&picture.stderr));
        if picture.status.success() { Ok(path) } else { Err(complaint()) }
    }

    fn on_screen(&self, script: &str) -> Command {
        let mut command = self.enter(self.leader().expect("the container runs"));
        command.args(["runuser", "--user", "cad", "--", "env", "DISPLAY=:0", "HOME=/home/cad"]);
        command.args(["XDG_RUNTIME_DIR=/run/user/1000", "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus"]);
        command.args(["sh", "-c", script]);
        command
    }

    /// What is on the screen with this role ("" is any) and a name or text that contains `name`.
    pub fn find(&self, role: &str, name: &str) -> Vec<Found> {
        let mut command = self.on_screen(r#"exec /usr/local/lib/desktop/find.py "$0" "$1""#);
        let found = answer(command.args([role, name]));
        found.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until there is such a thing.
    #[track_caller]
    pub fn shows(&self, role: &str, name: &str) -> Found {
        eventually(&format!("the screen shows a {role} {name:?}"), || self.find(role, name).into_iter().next())
    }

    /// Waits for such a thing and clicks on its middle.
    #[track_caller]
    pub fn click(&self, role: &str, name: &str) {
        let at = self.shows(role, name);
        self.click_at(at.x + at.width / 2, at.y + at.height / 2, 1);
    }

    /// Clicks a place of the screen: button 1 is the left one, 3 the right one.
    pub fn click_at(&self, x: i32, y: i32, button: u8) {
        answer(&mut self.on_screen(&format!("xdotool mousemove {x} {y} click {button}"))).ok();
    }

    /// Types into what has the focus.
    pub fn types(&self, text: &str) {
        let mut command = self.on_screen(r#"exec xdotool type --delay 20 "$0""#);
        answer(command.arg(text)).ok();
    }

    /// Presses a key: "Return", "Escape", "ctrl+q" …
    pub fn press(&self, key: &str) {
        answer(&mut self.on_screen(&format!("xdotool key {key}"))).ok();
    }

    /// Waits for polkit's dialog and gives it the focus.
    #[track_caller]
    pub fn dialog(&self) {
        self.shows("password text", "");
        let focus = "xdotool search --onlyvisible --class polkit windowfocus --sync";
        eventually("polkit's dialog takes the focus", || {
            answer(&mut self.on_screen(focus)).status.success().then_some(())?;
            self.find("password text", "").iter().any(|field| field.states.iter().any(|s| s == "focused")).then_some(())
        });
    }

    /// Waits until polkit's dialog is gone.
    #[track_caller]
    pub fn no_dialog(&self) {
        eventually("polkit's dialog is gone", || self.find("password text", "").is_empty().then_some(()));
    }

    /// Waits for polkit's dialog and answers with a password.
    #[track_caller]
    pub fn authorize(&self, password: &str) {
        self.dialog();
        self.types(password);
        self.press("Return");
    }

    /// Waits for polkit's dialog and closes it.
    #[track_caller]
    pub fn dismiss(&self) {
        self.dialog();
        self.press("Escape");
    }

    /// Copies a file of this machine into the container.
    pub fn copy(&self, from: &Path, to: &str) {
        let to = PathBuf::from(format!("/proc/{}/root{to}", self.leader().expect("the container runs")));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, &to).unwrap_or_else(|error| panic!("copy {} to {}: {error}", from.display(), to.display()));
    }

    /// Installs the packages of this build as the README says, with nothing but what is on this system.
    pub fn install(&self) {
        let [app, helper, ..] = packages::packages();
        self.apt_install(&[app, helper]);
    }

    /// Has apt install these packages from cad's folder of downloads.
    pub fn apt_install(&self, packages: &[&Path]) {
        let names = packages.iter().map(|package| format!("./{}", package.file_name().unwrap().display()));
        let names = names.collect::<Vec<_>>().join(" ");
        packages.iter().for_each(|package| self.download(package));
        self.root(&format!("cd /home/cad/Downloads && DEBIAN_FRONTEND=noninteractive apt-get -y install {names}")).ok();
    }

    /// Puts a file into cad's folder of downloads.
    pub fn download(&self, file: &Path) {
        let name = file.file_name().unwrap().display();
        self.copy(file, &format!("/home/cad/Downloads/{name}"));
        self.root("chown -R cad: /home/cad/Downloads").ok();
    }

    /// Every file, link and folder that lasts, with kind, mode and owner; but for what every program writes beside its own:
    /// apt's and dpkg's books, logs, temporary files.
    pub fn files(&self) -> BTreeSet<String> {
        let without =
            ["/var/lib/dpkg", "/var/lib/apt", "/var/cache", "/var/log", "/var/lib/systemd/timers", "/tmp", "/var/tmp"];
        let without = without.map(|path| format!("-path {path}")).join(" -o ");
        let own = r"find /run -maxdepth 1 -name 'netglance*' -printf '%y %m %U %p\n'";
        let all = format!(r"find / -xdev \( {without} \) -prune -o -printf '%y %m %U %p\n'");
        self.root(&format!("{all}; {own}")).ok().lines().map(str::to_owned).collect()
    }

    /// Starts netglance by its entry in the menu of applications.
    pub fn launch(&self) -> Program {
        let entry = "/usr/share/applications/org.netglance.Netglance.desktop";
        // What ends with its unit is what it has started.
        self.start("menu", &format!("gio launch {entry} && exec sleep infinity"))
    }

    /// Closes a program's window by the button in its frame.
    #[track_caller]
    pub fn close(&self, application: &str) {
        let frame = self.window(application).expect("its window is open");
        self.click_at(frame.x + frame.width - 11, frame.y - 14, 1);
        eventually("the window is closed", || self.window(application).is_none().then_some(()));
    }

    /// A program's window.
    pub fn window(&self, application: &str) -> Option<Found> {
        self.find("frame", "").into_iter().find(|frame| frame.application == application)
    }

    /// The panel's place for tray icons: what is left of the clock.
    #[track_caller]
    pub fn tray(&self) -> Found {
        eventually("the panel shows a tray icon", || {
            let parts = self.find("panel", "");
            let mut parts: Vec<_> = parts.into_iter().filter(|part| part.application == "xfce4-panel").collect();
            parts.sort_by_key(|part| part.x + part.width);
            let clock = parts.iter().filter(|part| part.x > 0).max_by_key(|part| part.x)?.x;
            parts.into_iter().rfind(|part| part.x + part.width == clock && (16..100).contains(&part.width))
        })
    }

    /// The pixels of the tray.
    pub fn tray_pixels(&self) -> Vec<u8> {
        let Found { x, y, width, height, .. } = self.tray();
        let crop = format!("import -window root -crop {width}x{height}+{x}+{y} -depth 8 rgb:-");
        self.on_screen(&crop).output().unwrap().stdout
    }

    /// Clicks on the tray icon.
    pub fn click_tray(&self, button: u8) {
        let at = self.tray();
        self.click_at(at.x + at.width / 2, at.y + at.height / 2, button);
        // Off the icon, so that no tooltip covers anything.
        answer(&mut self.on_screen("xdotool mousemove 1279 799")).ok();
    }

    /// Whether the tray icon's menu is open. The panel's tray is a process of its own, which tells AT-SPI nothing.
    pub fn tray_menu(&self) -> bool {
        let windows = "for window in $(xdotool search --onlyvisible --class wrapper-2.0); do \
                         xdotool getwindowgeometry --shell $window; done";
        let sizes = self.on_screen(windows).output().unwrap().stdout;
        String::from_utf8_lossy(&sizes).lines().any(|line| {
            line.strip_prefix("HEIGHT=").is_some_and(|height| height.parse::<u32>().is_ok_and(|height| height > 100))
        })
    }

    /// Keeps a file of the container as target/desktop/NAME.
    pub fn keep(&self, from: &str, name: &str) {
        let from = PathBuf::from(format!("/proc/{}/root{from}", self.leader().expect("the container runs")));
        fs::copy(from, pictures().join(name)).unwrap();
    }

    /// Keeps a text as target/desktop/NAME.txt.
    pub fn transcript(&self, name: &str, text: &str) {
        fs::write(pictures().join(name).with_extension("txt"), text).unwrap();
    }

    /// Makes it the owner's host, with StB and the other app running, now and after every reboot.
    pub fn replica(&self) {
        self.copy(&traffic(), "/usr/local/bin/traffic");
        self.root("/usr/local/lib/desktop/replica/install").ok();
        self.cad(
            "systemctl --user daemon-reload && systemctl --user --quiet enable --now \
             stb-next-host-agent@split.service stb-next-server@split.service stb-next-shell@split.service \
             'app-electron\\x2dgpt@autostart.service'",
        )
        .ok();
    }

    /// Has docker, or what stands in for it, run a container from the next boot on; cad is in docker's group then.
    pub fn docker(&self) {
        self.root("groupadd --system docker && usermod --append --groups docker cad").ok();
        self.root("systemctl --quiet enable replica-docker.service replica-container.service").ok();
    }

    /// Holds the outside's answers back, so that everything on its way arrives and figures can be compared.
    pub fn pause(&self) {
        self.root("systemctl freeze replica-peer.service replica-loopback.service").ok();
    }

    /// Goes on after [`Self::pause`].
    pub fn resume(&self) {
        self.root("systemctl thaw replica-peer.service replica-loopback.service").ok();
    }

    /// Bytes of packets that the outside has sent to and got from each service and the other app: (name, rx, tx).
    pub fn truth(&self, name: &str) -> (u64, u64) {
        let truth = self.truths(&[name], "nsenter --net=/run/netns/peer nft -j list table inet truth")[0];
        (truth.rx, truth.tx)
    }

    /// What a command prints of the outside's table that is about these services.
    pub fn truths(&self, names: &[&str], command: &str) -> Vec<Truth> {
        let list: Value = serde_json::from_str(&self.root(command).ok()).unwrap();
        let counter = |comment: &str| {
            let rule = list["nftables"].as_array().unwrap().iter().find_map(|entry| {
                (entry["rule"]["comment"] == comment).then(|| entry["rule"]["expr"].as_array().unwrap())
            });
            let expressions = rule.unwrap_or_else(|| panic!("no counter {comment}"));
            let counter =
                expressions.iter().map(|expression| &expression["counter"]).find(|it| it.is_object()).unwrap();
            ["bytes", "packets"].map(|field| counter[field].as_u64().unwrap())
        };
        let truth = |name: &&str| {
            let [[rx, _], [tx, _], [_, ends]] = ["rx", "tx", "ends"].map(|what| counter(&format!("{name} {what}")));
            Truth { rx, tx, ends }
        };
        names.iter().map(truth).collect()
    }

    /// Reboots it and waits until cad's session is there again.
    pub fn reboot(&self) {
        let before = self.leader();
        drop(self.root("systemctl reboot"));
        eventually("the container has a new process 1", || self.leader().filter(|leader| Some(*leader) != before));
        self.until_up();
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        if std::thread::panicking() && self.leader().is_some() {
            let test = std::thread::current().name().unwrap_or_default().to_owned();
            eprintln!("the screen at the failure: {:?}", self.picture(&format!("failed-{test}")));
        }
        drop(self.boot.stdin.take());
        let ended = self.boot.wait();
        if !std::thread::panicking() {
            assert!(ended.unwrap().success(), "the container left something behind");
        }
    }
}

/// Packets that the kernel has dropped on their way between two namespaces, since the machine started.
pub fn dropped() -> u64 {
    let all = fs::read_to_string("/proc/net/softnet_stat").unwrap();
    all.lines().map(|cpu| u64::from_str_radix(cpu.split(' ').nth(1).unwrap(), 16).unwrap()).sum()
}

fn answer(command: &mut Command) -> Answer {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Answer { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn scripts() -> PathBuf {
    packages::repository().join("tests/desktop")
}

/// Where pictures of the screen and transcripts are kept.
fn pictures() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("desktop");
    fs::create_dir_all(&directory).unwrap();
    directory
}

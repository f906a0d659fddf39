//! A desktop for one test: a session bus, a display, a panel that clicks, and a helper whose answers can be switched.
#![allow(
    dead_code,
    missing_docs,
    reason = "test support: each test file uses its own part of it, and the names say it"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is the test's")]

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use netglance_dbus::{
    forwarded::ForwardedSample,
    helper1::{BUS_NAME, Counters, Error as HelperError, Helper1, OBJECT_PATH, WirePrefix},
    remote::Remotes,
    sample::{Last, Sample},
};
use tokio::runtime::Runtime;
use x11rb::protocol::xproto::{ClientMessageEvent, ConnectionExt as _, EventMask};
use zbus::{
    Connection, OwnedVariant,
    connection::Builder,
    message::{Flags, Header},
};

use super::support::{Program, World, eventually};

/// Ends with the test, also one that fails.
pub struct Server(Child);

impl Server {
    pub fn start(program: &str, arguments: &[&str], environment: &[String]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        for variable in ["DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS"] {
            command.env_remove(variable);
        }
        command.envs(environment.iter().filter_map(|pair| pair.split_once('=')));
        Self(command.spawn().unwrap_or_else(|_| panic!("{program} does not start: run tests/all, which installs it")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A bus without any service that it could start.
pub fn bus(directory: &Path, name: &str) -> (Server, String) {
    let address = format!("unix:path={}/{name}", directory.display());
    let config = directory.join(format!("{name}.conf"));
    let rules = format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
          "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
        <busconfig><type>session</type><auth>EXTERNAL</auth><listen>{address}</listen>
          <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/></policy>
        </busconfig>"#
    );
    fs::write(&config, rules).unwrap();
    let config = format!("--config-file={}", config.display());
    let mut server = Server::start("dbus-daemon", &[&config, "--nofork", "--print-address"], &[]);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("unix:"), "dbus-daemon did not start");
    (server, address)
}

/// A desktop: a display, buses, and the test's connections to them. Field order is drop order.
pub struct Desk {
    pub world: World,
    pub _servers: Vec<Server>,
    pub session: String,
    pub system: String,
    pub environment: Vec<String>,
    pub display: Option<String>,
    pub runtime: Runtime,
    pub directory: tempfile::TempDir,
}

impl Desk {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Its thread drives what the test's objects on the buses have to do.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (session_server, session) = bus(directory.path(), "session");
        let (system_server, system) = bus(directory.path(), "system");
        let environment = vec![
            format!("DBUS_SESSION_BUS_ADDRESS={session}"),
            format!("DBUS_SYSTEM_BUS_ADDRESS={system}"),
            format!("XDG_RUNTIME_DIR={}", directory.path().display()),
        ];
        Self {
            world: World::new(),
            _servers: vec![session_server, system_server],
            session,
            system,
            environment,
            display: None,
            runtime,
            directory,
        }
    }

    pub fn x11() -> Self {
        let mut desk = Self::new();
        // The server itself finds a number that is free.
        let mut server = Server::start(
            "Xvfb",
            &["-displayfd", "1", "-screen", "0", "1000x700x24", "-nolisten", "tcp", "-noreset"],
            &[],
        );
        let mut line = String::new();
        BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let display = format!(":{}", line.trim());
        desk.environment.push(format!("DISPLAY={display}"));
        desk.display = Some(display);
        let manager = Server::start("openbox", &[], &desk.environment);
        desk._servers.insert(0, server);
        desk._servers.insert(0, manager);
        desk
    }

    pub fn wayland() -> Self {
        let mut desk = Self::new();
        let socket = "--socket=wayland-test";
        let arguments = ["--backend=headless-backend.so", socket, "--width=1000", "--height=700", "--idle-time=0"];
        let server = Server::start("weston", &arguments, &desk.environment);
        desk._servers.insert(0, server);
        let path = desk.directory.path().join("wayland-test");
        eventually("the Wayland compositor", || path.exists().then_some(()));
        desk.environment.extend(["WAYLAND_DISPLAY=wayland-test".to_owned(), "WAYLAND_DEBUG=client".to_owned()]);
        desk
    }

    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub fn connect(&self, address: &str) -> Connection {
        self.wait(Builder::address(address).method_timeout(Duration::from_secs(30)).build()).unwrap()
    }

    pub fn start(&self, arguments: &[&str]) -> Program {
        self.start_as(Path::new(env!("CARGO_BIN_EXE_netglance")), arguments)
    }

    pub fn start_as(&self, program: &Path, arguments: &[&str]) -> Program {
        self.world.netglance_with(&self.environment, program, arguments)
    }

    pub fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(arguments).env("DISPLAY", self.display.as_ref().unwrap()).stderr(Stdio::null());
        let out = command.output().unwrap_or_else(|_| panic!("{program} does not start: run tests/all"));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    pub fn windows(&self) -> Vec<String> {
        let found = self.ask("xdotool", &["search", "--onlyvisible", "--name", "^netglance$"]);
        found.lines().map(str::to_owned).collect()
    }

    /// The one window there is, once it is painted.
    #[track_caller]
    pub fn window(&self) -> String {
        eventually("one painted window", || {
            let [window] = &self.windows()[..] else { return None };
            let colours = self.ask("import", &["-window", window, "-format", "%k", "info:-"]);
            (colours.parse::<u32>().ok()? > 8).then(|| window.clone())
        })
    }

    #[track_caller]
    pub fn no_window(&self, program: &Program) {
        eventually("no window", || (self.windows().is_empty() && children(program.pid()).is_empty()).then_some(()));
    }

    /// Asks the window to close, as a window manager does when its cross is clicked (ICCCM 4.2.8.1).
    pub fn close(&self, window: &str) {
        let (connection, _) = x11rb::connect(self.display.as_deref()).unwrap();
        let atom = |name: &str| connection.intern_atom(true, name.as_bytes()).unwrap().reply().unwrap().atom;
        let window = window.parse().unwrap();
        let now = [atom("WM_DELETE_WINDOW"), x11rb::CURRENT_TIME, 0, 0, 0];
        let message = ClientMessageEvent::new(32, window, atom("WM_PROTOCOLS"), now);
        connection.send_event(false, window, EventMask::NO_EVENT, message).unwrap().check().unwrap();
    }

    pub fn panel(&self) -> Panel<'_> {
        let connection = self.connect(&self.session);
        let items = Arc::default();
        let watcher = Watcher { items: Arc::clone(&items), hosts: true };
        self.wait(async {
            connection.object_server().at("/StatusNotifierWatcher", watcher).await.unwrap();
            connection.request_name("org.kde.StatusNotifierWatcher").await.unwrap();
        });
        Panel { desk: self, connection, items }
    }

    /// Presses keys, one after the other, in the window.
    pub fn press(&self, window: &str, keys: &[&str]) {
        self.ask("xdotool", &["windowfocus", "--sync", window]);
        self.ask("xdotool", &[&["key", "--delay", "60"], keys].concat());
    }

    /// Keeps a picture of the window.
    pub fn picture(&self, window: &str, name: &str) {
        let path = format!("{}/{name}.png", env!("CARGO_TARGET_TMPDIR"));
        self.ask("import", &["-window", window, &path]);
        println!("the window's picture: {path}");
    }

    /// A stand-in for the helper on the system bus.
    pub fn helper(&self, switches: &Arc<Mutex<Switches>>) -> Connection {
        let system = self.connect(&self.system);
        self.wait(async {
            system.object_server().at(OBJECT_PATH, Helper1(Helper(Arc::clone(switches)))).await.unwrap();
            system.request_name(BUS_NAME).await.unwrap();
        });
        system
    }

    /// Puts an app into the desktop's menu.
    pub fn entry(&self, id: &str, text: &str) {
        let applications = self.world.home().join(".local/share/applications");
        fs::create_dir_all(&applications).unwrap();
        let text = format!("[Desktop Entry]\nType=Application\nExec=true\n{text}\n");
        fs::write(applications.join(format!("{id}.desktop")), text).unwrap();
    }

    /// A program in a directory with a helper that is not installed, and a pkexec that the test switches.
    pub fn unpacked(&mut self) -> PathBuf {
        let directory = self.directory.path().join("unpacked");
        fs::create_dir(&directory).unwrap();
        let script = |name: &str, text: &str| {
            fs::write(directory.join(name), format!("#!/bin/sh\n{text}")).unwrap();
            fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        };
        script("netglance-helper", "exit 0\n");
        script(
            "pkexec",
            "echo \"$@\" >> \"$HOME/pkexec.asked\"\ncat \"$HOME/pkexec.says\" >&2\nexit \"$(cat \"$HOME/pkexec.exits\")\"\n",
        );
        let program = directory.join("netglance");
        fs::copy(env!("CARGO_BIN_EXE_netglance"), &program).unwrap();
        self.environment.push(format!("PATH={}:{}", directory.display(), std::env::var("PATH").unwrap()));
        program
    }

    /// Puts a netglance-verify beside the program that writes down each proof and finds all right.
    pub fn prover(&self, program: &Path) {
        let report = serde_json::json!({
            "version": "0.1.0", "kernel": "6.1", "elapsed_s": 1.0, "passed": true,
            "cases": [{"case": "Loopback", "actor": "the app", "sent": null, "expected": null, "counted": null,
                       "strays": [], "verdict": "pass", "meaning": null}],
        });
        let verify = program.with_file_name("netglance-verify");
        fs::write(&verify, format!("#!/bin/sh\necho proven >> \"$HOME/proven\"\necho '{report}'\n")).unwrap();
        fs::set_permissions(&verify, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn state(&self) -> serde_json::Value {
        let text = fs::read_to_string(self.world.home().join("state/netglance/state.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
}

/// What the processes of a program's window are.
pub fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

pub fn resident_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

pub struct Watcher {
    pub items: Arc<Mutex<Vec<String>>>,
    pub hosts: bool,
}

#[zbus::interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    pub fn register_status_notifier_item(&self, service: String) {
        self.items.lock().unwrap().push(service);
    }

    #[zbus(property)]
    pub fn is_status_notifier_host_registered(&self) -> bool {
        self.hosts
    }
}

/// Width, height, and the pixels.
pub type Pixmaps = Vec<(i32, i32, Vec<u8>)>;

/// A panel, which shows what registers and clicks on it.
pub struct Panel<'a> {
    pub desk: &'a Desk,
    pub connection: Connection,
    pub items: Arc<Mutex<Vec<String>>>,
}

impl Panel<'_> {
    /// The item's bus name, once it has registered.
    #[track_caller]
    pub fn item(&self) -> String {
        eventually("the tray icon registers", || self.items.lock().unwrap().last().cloned())
    }

    pub fn call<B: serde::Serialize + zbus::Type>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> zbus::Message {
        let item = self.item();
        let call = self.connection.call_method(Some(item.as_str()), path, Some(interface), method, body);
        self.desk.wait(call).unwrap_or_else(|error| panic!("{interface}.{method}: {error}"))
    }

    pub fn click(&self) {
        self.call("/StatusNotifierItem", "org.kde.StatusNotifierItem", "Activate", &(0, 0));
    }

    pub fn property(&self, name: &str) -> OwnedVariant {
        let body = ("org.kde.StatusNotifierItem", name);
        self.call("/StatusNotifierItem", "org.freedesktop.DBus.Properties", "Get", &body).body().deserialize().unwrap()
    }

    pub fn tooltip(&self) -> String {
        let (_, _, _, text): (String, Pixmaps, String, String) = self.property("ToolTip").try_into().unwrap();
        text
    }

    pub fn icon(&self) -> Vec<u8> {
        let icons: Pixmaps = self.property("IconPixmap").try_into().unwrap();
        let [(48, 48, pixels)] = &icons[..] else { panic!("not one icon of 48 pixels") };
        pixels.clone()
    }

    /// Label, mark and id of each item of the menu.
    pub fn menu(&self) -> Vec<(String, bool, i32)> {
        type Layout = (u32, (i32, HashMap<String, OwnedVariant>, Vec<OwnedVariant>));
        type Item = (i32, HashMap<String, OwnedVariant>, Vec<OwnedVariant>);
        let none: &[&str] = &[];
        let reply = self.call("/MenuBar", "com.canonical.dbusmenu", "GetLayout", &(0, -1, none));
        let (_, (_, _, items)): Layout = reply.body().deserialize().unwrap();
        let read = |item: OwnedVariant| {
            let (id, properties, _): Item = item.try_into().unwrap();
            let label: String = properties.get("label")?.try_clone().unwrap().try_into().ok()?;
            let mark = properties.get("toggle-state").and_then(|mark| i32::try_from(mark).ok());
            Some((label, mark == Some(1), id))
        };
        items.into_iter().filter_map(read).collect()
    }

    pub fn labels(&self) -> Vec<String> {
        let marked = |(label, mark, _): (String, bool, i32)| if mark { format!("+{label}") } else { label };
        self.menu().into_iter().map(marked).collect()
    }

    #[track_caller]
    pub fn choose(&self, label: &str) {
        let menu = self.menu();
        let (.., id) = menu.iter().find(|(found, ..)| found == label).unwrap_or_else(|| panic!("no {label}: {menu:?}"));
        self.call("/MenuBar", "com.canonical.dbusmenu", "Event", &(*id, "clicked", zbus::Variant::from(0), 0_u32));
    }

    #[track_caller]
    pub fn says(&self, text: &str) {
        eventually(&format!("the tooltip says {text}"), || self.tooltip().contains(text).then_some(()));
    }

    #[track_caller]
    pub fn offers(&self, labels: &str) {
        let mut last = String::new();
        eventually(&format!("the menu is {labels}"), || {
            let now = self.labels().join(" | ");
            if now != last {
                println!("menu: {now}");
                last = now;
            }
            (last == labels).then_some(())
        });
    }
}

/// How the stand-in for the helper answers. The real one has tests of its own; here the program's side is what is tested.
#[derive(Default)]
pub struct Switches {
    pub refuses: bool,
    pub counts: bool,
    /// The kernel has a bug to which nobody has agreed.
    pub leaks: bool,
    /// It was set up before the bug came: reading fails with the same question.
    pub unconfirmed: bool,
    pub prefixes: Vec<(Vec<WirePrefix>, Vec<WirePrefix>)>,
    pub asked: usize,
    pub reads: usize,
    pub remotes_read: usize,
    /// Who calls is no root: the rows of all need a password.
    pub user: bool,
    /// It was given.
    pub all_granted: bool,
    /// Calls for the rows of all that allowed a dialog, and those that were answered without one.
    pub all_asked: usize,
    pub all_reads: usize,
    pub warning: String,
}

pub struct Helper(Arc<Mutex<Switches>>);

impl Helper {
    fn rows(&self) -> Result<Sample, HelperError> {
        let mut switches = self.0.lock().unwrap();
        if !switches.counts && switches.unconfirmed {
            return Err(HelperError::NeedsConfirmation("this kernel has a bug".into()));
        }
        if !switches.counts {
            return Err(HelperError::NotInstalled("choose Count Exactly".into()));
        }
        switches.reads += 1;
        Ok(Sample { epoch: 1, boottime_ns: super::support::boottime_ns(), rows: Vec::new() })
    }

    pub fn asked(&self, act: impl FnOnce(&mut Switches)) -> Result<(), HelperError> {
        let mut switches = self.0.lock().unwrap();
        switches.asked += 1;
        if switches.refuses {
            return Err(HelperError::NotAuthorized("the password dialog was closed".into()));
        }
        act(&mut switches);
        Ok(())
    }
}

impl Counters for Helper {
    async fn install(&self, _call: &Header<'_>) -> Result<(), HelperError> {
        if self.0.lock().unwrap().leaks {
            return Err(HelperError::NeedsConfirmation("this kernel has a bug".into()));
        }
        self.asked(|switches| switches.counts = true)
    }

    async fn install_anyway(&self, _call: &Header<'_>) -> Result<(), HelperError> {
        self.asked(|switches| switches.counts = true)
    }

    async fn uninstall(&self, _call: &Header<'_>) -> Result<(), HelperError> {
        self.asked(|switches| switches.counts = false)
    }

    async fn read(&self, _call: &Header<'_>) -> Result<Sample, HelperError> {
        self.rows()
    }

    async fn read_all(&self, call: &Header<'_>) -> Result<Sample, HelperError> {
        let may_ask = call.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
        {
            let mut switches = self.0.lock().unwrap();
            if switches.user && may_ask {
                switches.all_asked += 1;
                switches.all_granted = !switches.refuses;
            }
            if switches.user && !switches.all_granted {
                return Err(HelperError::NotAuthorized("the password dialog was closed".into()));
            }
            switches.all_reads += usize::from(!may_ask);
        }
        self.rows()
    }

    async fn read_last(&self, _call: &Header<'_>) -> Result<Last, HelperError> {
        Ok(Last::default())
    }

    async fn read_remotes(&self, _call: &Header<'_>, _cgroups: &[String]) -> Result<Remotes, HelperError> {
        self.0.lock().unwrap().remotes_read += 1;
        Ok(Remotes::default())
    }

    async fn read_forwarded(&self, _call: &Header<'_>) -> Result<ForwardedSample, HelperError> {
        Ok(ForwardedSample { epoch: 1, boottime_ns: super::support::boottime_ns(), rows: Vec::new() })
    }

    async fn set_prefixes(
        &self,
        _call: &Header<'_>,
        internal: &[WirePrefix],
        external: &[WirePrefix],
    ) -> Result<(), HelperError> {
        self.asked(|switches| switches.prefixes.push((internal.to_vec(), external.to_vec())))
    }

    async fn installed(&self) -> bool {
        self.0.lock().unwrap().counts
    }

    async fn warning(&self) -> String {
        self.0.lock().unwrap().warning.clone()
    }

    async fn internal_prefixes(&self) -> Vec<WirePrefix> {
        Vec::new()
    }
}

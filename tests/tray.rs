//! The program behind tray and window as a desktop meets it: a real session bus, real windows on X11 and Wayland, clicks over the
//! bus as a panel sends them. A watcher of the test's own stands in for the panel, so that it can come late and go.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;

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
    helper1::{BUS_NAME, Counters, Error as HelperError, Helper1, OBJECT_PATH, WirePrefix},
    sample::Sample,
};
use support::{OTHER, PUBLIC4, Program, SHELL, World, eventually};
use tokio::runtime::Runtime;
use x11rb::protocol::xproto::{ClientMessageEvent, ConnectionExt as _, EventMask};
use zbus::{Connection, OwnedVariant, connection::Builder, message::Header};

/// Ends with the test, also one that fails.
struct Server(Child);

impl Server {
    fn start(program: &str, arguments: &[&str], environment: &[String]) -> Self {
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
fn bus(directory: &Path, name: &str) -> (Server, String) {
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
struct Desk {
    world: World,
    _servers: Vec<Server>,
    session: String,
    system: String,
    environment: Vec<String>,
    display: Option<String>,
    runtime: Runtime,
    directory: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
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

    fn x11() -> Self {
        let mut desk = Self::new();
        // The server itself finds a number that is free.
        let mut server =
            Server::start("Xvfb", &["-displayfd", "1", "-screen", "0", "1000x700x24", "-nolisten", "tcp"], &[]);
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

    fn wayland() -> Self {
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

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn connect(&self, address: &str) -> Connection {
        self.wait(Builder::address(address).method_timeout(Duration::from_secs(30)).build()).unwrap()
    }

    fn start(&self, arguments: &[&str]) -> Program {
        self.start_as(Path::new(env!("CARGO_BIN_EXE_netglance")), arguments)
    }

    fn start_as(&self, program: &Path, arguments: &[&str]) -> Program {
        self.world.netglance_with(&self.environment, program, arguments)
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(arguments).env("DISPLAY", self.display.as_ref().unwrap()).stderr(Stdio::null());
        let out = command.output().unwrap_or_else(|_| panic!("{program} does not start: run tests/all"));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    fn windows(&self) -> Vec<String> {
        let found = self.ask("xdotool", &["search", "--onlyvisible", "--name", "^netglance$"]);
        found.lines().map(str::to_owned).collect()
    }

    /// The one window there is, once it is painted.
    #[track_caller]
    fn window(&self) -> String {
        eventually("one painted window", || {
            let [window] = &self.windows()[..] else { return None };
            let colours = self.ask("import", &["-window", window, "-format", "%k", "info:-"]);
            (colours.parse::<u32>().ok()? > 8).then(|| window.clone())
        })
    }

    #[track_caller]
    fn no_window(&self, program: &Program) {
        eventually("no window", || (self.windows().is_empty() && children(program.pid()).is_empty()).then_some(()));
    }

    /// Asks the window to close, as a window manager does when its cross is clicked (ICCCM 4.2.8.1).
    fn close(&self, window: &str) {
        let (connection, _) = x11rb::connect(self.display.as_deref()).unwrap();
        let atom = |name: &str| connection.intern_atom(true, name.as_bytes()).unwrap().reply().unwrap().atom;
        let window = window.parse().unwrap();
        let now = [atom("WM_DELETE_WINDOW"), x11rb::CURRENT_TIME, 0, 0, 0];
        let message = ClientMessageEvent::new(32, window, atom("WM_PROTOCOLS"), now);
        connection.send_event(false, window, EventMask::NO_EVENT, message).unwrap().check().unwrap();
    }

    fn panel(&self) -> Panel<'_> {
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
    fn press(&self, window: &str, keys: &[&str]) {
        self.ask("xdotool", &["windowfocus", "--sync", window]);
        self.ask("xdotool", &[&["key", "--delay", "60"], keys].concat());
    }

    /// Keeps a picture of the window.
    fn picture(&self, window: &str, name: &str) {
        let path = format!("{}/{name}.png", env!("CARGO_TARGET_TMPDIR"));
        self.ask("import", &["-window", window, &path]);
        println!("the window's picture: {path}");
    }

    /// A stand-in for the helper on the system bus.
    fn helper(&self, switches: &Arc<Mutex<Switches>>) -> Connection {
        let system = self.connect(&self.system);
        self.wait(async {
            system.object_server().at(OBJECT_PATH, Helper1(Helper(Arc::clone(switches)))).await.unwrap();
            system.request_name(BUS_NAME).await.unwrap();
        });
        system
    }

    fn state(&self) -> serde_json::Value {
        let text = fs::read_to_string(self.world.home().join("state/netglance/state.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
}

/// What the processes of a program's window are.
fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn resident_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

struct Watcher {
    items: Arc<Mutex<Vec<String>>>,
    hosts: bool,
}

#[zbus::interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    fn register_status_notifier_item(&self, service: String) {
        self.items.lock().unwrap().push(service);
    }

    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> bool {
        self.hosts
    }
}

/// Width, height, and the pixels.
type Pixmaps = Vec<(i32, i32, Vec<u8>)>;

/// A panel, which shows what registers and clicks on it.
struct Panel<'a> {
    desk: &'a Desk,
    connection: Connection,
    items: Arc<Mutex<Vec<String>>>,
}

impl Panel<'_> {
    /// The item's bus name, once it has registered.
    #[track_caller]
    fn item(&self) -> String {
        eventually("the tray icon registers", || self.items.lock().unwrap().last().cloned())
    }

    fn call<B: serde::Serialize + zbus::Type>(
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

    fn click(&self) {
        self.call("/StatusNotifierItem", "org.kde.StatusNotifierItem", "Activate", &(0, 0));
    }

    fn property(&self, name: &str) -> OwnedVariant {
        let body = ("org.kde.StatusNotifierItem", name);
        self.call("/StatusNotifierItem", "org.freedesktop.DBus.Properties", "Get", &body).body().deserialize().unwrap()
    }

    fn tooltip(&self) -> String {
        let (_, _, _, text): (String, Pixmaps, String, String) = self.property("ToolTip").try_into().unwrap();
        text
    }

    fn icon(&self) -> Vec<u8> {
        let icons: Pixmaps = self.property("IconPixmap").try_into().unwrap();
        let [(48, 48, pixels)] = &icons[..] else { panic!("not one icon of 48 pixels") };
        pixels.clone()
    }

    /// Label, mark and id of each item of the menu.
    fn menu(&self) -> Vec<(String, bool, i32)> {
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

    fn labels(&self) -> Vec<String> {
        let marked = |(label, mark, _): (String, bool, i32)| if mark { format!("+{label}") } else { label };
        self.menu().into_iter().map(marked).collect()
    }

    #[track_caller]
    fn choose(&self, label: &str) {
        let menu = self.menu();
        let (.., id) = menu.iter().find(|(found, ..)| found == label).unwrap_or_else(|| panic!("no {label}: {menu:?}"));
        self.call("/MenuBar", "com.canonical.dbusmenu", "Event", &(*id, "clicked", zbus::Variant::from(0), 0_u32));
    }

    #[track_caller]
    fn says(&self, text: &str) {
        eventually(&format!("the tooltip says {text}"), || self.tooltip().contains(text).then_some(()));
    }

    #[track_caller]
    fn offers(&self, labels: &str) {
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

#[test]
fn a_click_shows_and_hides_the_window_and_nothing_is_left_of_it() {
    let desk = Desk::x11();
    let panel = desk.panel();
    let program = desk.start(&[]);
    desk.window();
    let mut after_first = 0;
    for round in 0..20 {
        panel.click();
        desk.no_window(&program);
        if round == 0 {
            after_first = resident_kb(program.pid());
        }
        panel.click();
        desk.window();
    }
    panel.click();
    desk.no_window(&program);
    let after_last = resident_kb(program.pid());
    println!("resident after the first and after the last: {after_first} kB, {after_last} kB");
    assert!(after_last * 10 <= after_first * 11, "{after_first} kB, then {after_last} kB");
    panel.choose("Quit");
    assert!(program.ended().0.success());
}

#[test]
fn a_second_start_shows_the_first_ones_window() {
    let desk = Desk::x11();
    let panel = desk.panel();
    let first = desk.start(&["--hidden"]);
    panel.item();
    assert!(desk.start(&["--hidden"]).ended().0.success());
    assert!(desk.windows().is_empty(), "hidden stays hidden");
    assert!(desk.start(&[]).ended().0.success());
    let window = desk.window();
    desk.ask("xdotool", &["windowminimize", &window]);
    eventually("it is minimised", || desk.windows().is_empty().then_some(()));
    assert!(desk.start(&[]).ended().0.success());
    assert_eq!(desk.window(), window, "the same one, in front again");
    assert_eq!(children(first.pid()).len(), 1);
}

#[test]
fn closing_hides_where_there_is_a_panel_and_ends_where_there_is_none() {
    let desk = Desk::x11();
    let panel = desk.panel();
    let program = desk.start(&[]);
    desk.close(&desk.window());
    desk.no_window(&program);
    panel.click();
    desk.window();
    drop(program);
    eventually("the window goes with its program", || desk.windows().is_empty().then_some(()));
    desk.wait(panel.connection.close()).unwrap();
    let program = desk.start(&[]);
    desk.close(&desk.window());
    assert!(program.ended().0.success(), "without a panel it ends");
}

#[test]
fn without_a_session_bus_it_runs_alone() {
    let mut desk = Desk::x11();
    desk.environment.retain(|pair| !pair.starts_with("DBUS_SESSION"));
    let program = desk.start(&[]);
    desk.close(&desk.window());
    assert!(program.ended().0.success());
}

#[test]
fn a_panel_may_come_late_and_start_again() {
    let desk = Desk::x11();
    let mut program = desk.start(&["--hidden"]);
    for _ in 0..3 {
        let panel = desk.panel();
        panel.item();
        panel.click();
        desk.window();
        panel.click();
        desk.no_window(&program);
        desk.wait(panel.connection.close()).unwrap();
    }
    assert!(program.status().is_none());
}

#[test]
fn a_window_that_is_killed_is_only_a_closed_one() {
    let desk = Desk::x11();
    let panel = desk.panel();
    let program = desk.start(&[]);
    desk.window();
    let [window] = children(program.pid())[..] else { panic!("not one window process") };
    let window = rustix::process::Pid::from_raw(window.try_into().unwrap()).unwrap();
    rustix::process::kill_process(window, rustix::process::Signal::KILL).unwrap();
    desk.no_window(&program);
    panel.click();
    desk.window();
}

#[test]
fn the_icon_moves_and_the_menu_watches_pauses_and_starts_at_login() {
    let desk = Desk::x11();
    let panel = desk.panel();
    let mut program = desk.start(&["--hidden"]);
    panel.says("StB  down 0 B/s  up 0 B/s");
    let idle = panel.icon();
    let traffic = desk.world.traffic(SHELL, &["move", "90000000", "90000000", "400000", &support::at(PUBLIC4)]);
    eventually("the icon shows traffic", || (panel.icon() != idle).then_some(()));
    eventually("the tooltip shows traffic", || panel.tooltip().contains("kB/s").then_some(()));
    panel.offers("Show | +StB | electron-gpt | Login session 1 | Pause | Count exactly… | Start at login | Quit");
    panel.choose("electron-gpt");
    panel.offers("Show | +StB | +electron-gpt | Login session 1 | Pause | Count exactly… | Start at login | Quit");
    panel.says("\nelectron-gpt  down ");
    panel.choose("StB");
    panel.offers("Show | StB | +electron-gpt | Login session 1 | Pause | Count exactly… | Start at login | Quit");
    eventually("what is watched is kept", || {
        (desk.state()["watched"] == serde_json::json!(["electron-gpt"])).then_some(())
    });

    panel.choose("Pause");
    panel.says("Paused");
    panel.offers("Show | StB | +electron-gpt | Login session 1 | +Pause | Count exactly… | Start at login | Quit");
    panel.choose("Pause");
    panel.says("electron-gpt  down ");

    panel.choose("Start at login");
    let entry = desk.world.home().join("autostart/org.netglance.Netglance.desktop");
    let text = eventually("the autostart entry", || fs::read_to_string(&entry).ok());
    assert!(text.contains(&format!("Exec=\"{}\" --hidden\n", env!("CARGO_BIN_EXE_netglance"))), "{text}");
    panel.offers("Show | StB | +electron-gpt | Login session 1 | Pause | Count exactly… | +Start at login | Quit");
    panel.choose("Start at login");
    eventually("no autostart entry", || (!entry.exists()).then_some(()));

    desk.world.configure("unit = \"bits\"\n");
    panel.says("bit/s");
    desk.world.remove(OTHER);
    panel.says("electron-gpt  is not running");
    assert!(program.status().is_none());
    drop(traffic);
}

#[test]
fn what_is_watched_and_the_windows_place_are_remembered() {
    let desk = Desk::x11();
    let panel = desk.panel();
    let program = desk.start(&[]);
    let window = desk.window();
    eventually("StB is watched by itself", || (desk.state()["watched"] == serde_json::json!(["StB"])).then_some(()));
    desk.ask("xdotool", &["windowsize", "--sync", &window, "850", "560", "windowmove", "--sync", &window, "77", "55"]);
    let place = eventually("the place is kept", || {
        let place = desk.state()["place"].clone();
        (place["size"] == serde_json::json!([850, 560]) && place["corner"].is_array()).then_some(place)
    });
    let geometry = |window: &str| desk.ask("xdotool", &["getwindowgeometry", window]).replace(window, "");
    let before = geometry(&window);
    desk.press(&window, &["2"]);
    eventually("the span is kept", || (desk.state()["span_min"] == 5).then_some(()));
    panel.choose("electron-gpt");
    panel.choose("Quit");
    assert!(program.ended().0.success());
    panel.items.lock().unwrap().clear();

    let program = desk.start(&[]);
    panel.offers("Show | +StB | +electron-gpt | Login session 1 | Pause | Count exactly… | Start at login | Quit");
    for _ in 0..3 {
        let window = desk.window();
        eventually("it stands where it stood", || (geometry(&window) == before).then_some(()));
        assert_eq!(desk.state()["place"], place, "it does not creep");
        panel.click();
        desk.no_window(&program);
        panel.click();
    }
}

/// How the stand-in for the helper answers. The real one has tests of its own; here the program's side is what is tested.
#[derive(Default)]
struct Switches {
    refuses: bool,
    counts: bool,
    prefixes: Vec<(Vec<WirePrefix>, Vec<WirePrefix>)>,
    asked: usize,
    reads: usize,
    prefixes_read: usize,
    warning: String,
}

struct Helper(Arc<Mutex<Switches>>);

impl Helper {
    fn asked(&self, act: impl FnOnce(&mut Switches)) -> Result<(), HelperError> {
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
        self.asked(|switches| switches.counts = true)
    }

    async fn uninstall(&self, _call: &Header<'_>) -> Result<(), HelperError> {
        self.asked(|switches| switches.counts = false)
    }

    async fn read(&self, call: &Header<'_>) -> Result<Sample, HelperError> {
        self.read_all(call).await
    }

    async fn read_all(&self, _call: &Header<'_>) -> Result<Sample, HelperError> {
        let mut switches = self.0.lock().unwrap();
        if !switches.counts {
            return Err(HelperError::NotInstalled("choose Count exactly".into()));
        }
        switches.reads += 1;
        Ok(Sample { epoch: 1, boottime_ns: support::boottime_ns(), rows: Vec::new() })
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
        self.0.lock().unwrap().prefixes_read += 1;
        Vec::new()
    }
}

const ESTIMATE: &str = "Show | +StB | electron-gpt | Login session 1 | Pause | Count exactly… | Start at login | Quit";
const EXACT: &str = "Show | +StB | electron-gpt | Login session 1 | Pause | Start at login | Quit";

#[test]
fn count_exactly_asks_the_helper_once_and_a_refusal_changes_nothing() {
    let desk = Desk::x11();
    let switches = Arc::new(Mutex::new(Switches { refuses: true, ..Switches::default() }));
    let _helper = desk.helper(&switches);
    let panel = desk.panel();
    let mut program = desk.start(&["--hidden"]);
    panel.offers(ESTIMATE);
    panel.choose("Count exactly…");
    eventually("the helper is asked", || (switches.lock().unwrap().asked == 1).then_some(()));
    panel.offers(ESTIMATE);
    panel.says("StB  down ");
    switches.lock().unwrap().refuses = false;
    panel.choose("Count exactly…");
    eventually("the helper is read", || (switches.lock().unwrap().reads > 2).then_some(()));
    panel.offers(EXACT);
    assert_eq!(switches.lock().unwrap().asked, 2, "it does not ask by itself");
    assert!(switches.lock().unwrap().prefixes.is_empty());
    desk.world.configure("[prefixes]\ninternal = [\"203.0.114.0/24\"]\n");
    let handed = || switches.lock().unwrap().prefixes.clone();
    let expected = vec![(vec![(vec![203, 0, 114, 0], 24)], vec![])];
    eventually("the helper gets the prefixes", || (handed() == expected).then_some(()));
    assert_eq!(switches.lock().unwrap().asked, 3, "once");
    switches.lock().unwrap().refuses = true;
    desk.world.configure("[prefixes]\ninternal = [\"203.0.115.0/24\"]\n");
    eventually("the helper is asked again", || (switches.lock().unwrap().asked == 4).then_some(()));
    let reads = switches.lock().unwrap().reads;
    eventually("it goes on", || (switches.lock().unwrap().reads > reads + 2).then_some(()));
    panel.offers(EXACT);
    assert_eq!((handed(), switches.lock().unwrap().asked), (expected, 4), "no is no");
    assert!(program.status().is_none());
}

/// What the proof page asks for is done while it is open, and no longer.
#[test]
fn the_proof_page_proves_and_looks_at_the_sockets_while_it_is_open() {
    let mut desk = Desk::x11();
    let switches = Arc::new(Mutex::new(Switches { counts: true, ..Switches::default() }));
    let helper = desk.helper(&switches);
    let program = unpacked(&mut desk);
    let report = serde_json::json!({
        "version": "0.1.0", "kernel": "6.1", "elapsed_s": 1.0, "passed": true,
        "cases": [{"case": "Loopback", "actor": "the app", "sent": null, "expected": null, "counted": null,
                   "strays": [], "verdict": "pass", "meaning": null}],
    });
    let verify = program.with_file_name("netglance-verify");
    fs::write(&verify, format!("#!/bin/sh\necho proven >> \"$HOME/proven\"\necho '{report}'\n")).unwrap();
    fs::set_permissions(&verify, fs::Permissions::from_mode(0o755)).unwrap();
    let panel = desk.panel();
    let mut running = desk.start_as(&program, &[]);
    let window = desk.window();
    let seen = |what: fn(&Switches) -> usize| what(&switches.lock().unwrap());
    let reads = |more: usize| {
        let before = seen(|s| s.reads);
        eventually("beats go by", || (seen(|s| s.reads) >= before + more).then_some(()));
    };
    reads(2);
    assert_eq!(seen(|s| s.prefixes_read), 0, "nobody asks for sockets");

    // To the button past both tabs and Close.
    desk.press(&window, &["ctrl+p", "Tab", "Tab", "Tab", "Tab", "Return"]);
    eventually("it is proven", || fs::read_to_string(desk.world.home().join("proven")).ok());
    eventually("the sockets are looked at each beat", || (seen(|s| s.prefixes_read) > 2).then_some(()));
    switches.lock().unwrap().warning = "more than 9 control groups have traffic".to_owned();
    desk.wait(async {
        let object = helper.object_server().interface::<_, Helper1<Helper>>(OBJECT_PATH).await.unwrap();
        object.get().await.warning_changed(object.signal_emitter()).await.unwrap();
    });
    reads(2);
    desk.picture(&window, "proof");
    desk.press(&window, &["Escape"]);
    reads(2);
    let after = seen(|s| s.prefixes_read);
    reads(3);
    assert_eq!(seen(|s| s.prefixes_read), after, "closed, it costs nothing");
    desk.press(&window, &["ctrl+p"]);
    eventually("they are looked at again", || (seen(|s| s.prefixes_read) > after).then_some(()));
    panel.click();
    desk.no_window(&running);
    let after = seen(|s| s.prefixes_read);
    reads(3);
    assert_eq!(seen(|s| s.prefixes_read), after, "hidden, it costs nothing");
    assert_eq!(fs::read_to_string(desk.world.home().join("proven")).unwrap(), "proven\n", "once");
    assert!(running.status().is_none());
}

/// A program in a directory with a helper that is not installed, and a pkexec that the test switches.
fn unpacked(desk: &mut Desk) -> PathBuf {
    let directory = desk.directory.path().join("unpacked");
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
    desk.environment.push(format!("PATH={}:{}", directory.display(), std::env::var("PATH").unwrap()));
    program
}

#[test]
fn without_a_helper_on_the_system_pkexec_sets_it_up() {
    let mut desk = Desk::x11();
    let program = unpacked(&mut desk);
    let home = desk.world.home().to_owned();
    let panel = desk.panel();
    let mut running = desk.start_as(&program, &["--hidden"]);
    panel.offers(ESTIMATE);
    let asked = || fs::read_to_string(home.join("pkexec.asked")).unwrap_or_default();
    let mut expected = String::new();
    for (exits, says) in [("126", ""), ("127", "Error executing command as another user: Not authorized"), ("1", "no")]
    {
        fs::write(home.join("pkexec.exits"), exits).unwrap();
        fs::write(home.join("pkexec.says"), says).unwrap();
        panel.choose("Count exactly…");
        expected +=
            &format!("--disable-internal-agent {} set-up\n", program.with_file_name("netglance-helper").display());
        eventually("pkexec is asked", || (asked() == expected).then_some(()));
        panel.offers(ESTIMATE);
        panel.says("StB  down ");
    }
    assert!(running.status().is_none());
}

#[test]
fn on_wayland_it_shows_and_hides_as_well() {
    let desk = Desk::wayland();
    let panel = desk.panel();
    let program = desk.start(&[]);
    // What the client says to the compositor, which counts its windows and the pictures in them.
    let painted = |windows: usize| {
        eventually("a painted window", || {
            let said = program.stderr();
            let last = said.rfind("set_app_id(\"org.netglance.Netglance\")")?;
            let shown = said.matches("set_app_id(\"org.netglance.Netglance\")").count();
            let frames = said.get(last..)?.matches(".commit()").count();
            (shown == windows && frames > 2 && children(program.pid()).len() == 1).then_some(())
        });
    };
    let hidden = || eventually("no window", || children(program.pid()).is_empty().then_some(()));
    painted(1);
    let mut after_first = 0;
    for round in 0..20 {
        panel.click();
        hidden();
        if round == 0 {
            after_first = resident_kb(program.pid());
        }
        panel.click();
        painted(round + 2);
    }
    panel.click();
    hidden();
    let after_last = resident_kb(program.pid());
    println!("resident after the first and after the last: {after_first} kB, {after_last} kB");
    assert!(after_last * 10 <= after_first * 11, "{after_first} kB, then {after_last} kB");
}

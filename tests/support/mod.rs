//! A world for one whole-system test: the owner's host, the outside, real cgroups, real processes, and the truth.
//!
//! Two network namespaces and one cgroup, named after the test process, gone when the `World` is dropped. netglance runs
//! in a cgroup namespace of its own, so that it sees the tree from the root as on a real machine and no other test's.
#![allow(dead_code, reason = "each test file includes this module and uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is the test's")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// The outside as StB's services use it.
pub const PUBLIC4: &str = "93.184.216.34";
/// The outside over IPv6.
pub const PUBLIC6: &str = "2606:2800:220:1::1";
/// The outside as the other app uses it.
pub const OTHER4: &str = "198.41.0.4";
/// The LAN's gateway.
pub const LAN4: &str = "192.168.2.1";
/// The LAN's gateway in the on-link, globally routable prefix.
pub const LAN6: &str = "2001:4860:1::1";
/// A peer of the tailnet.
pub const TAILNET: &str = "100.100.1.1";
/// A guest behind virbr0.
pub const GUEST: &str = "192.168.122.2";
/// The host's own addresses.
pub const HOST4: &str = "192.168.2.159";
/// The host's own address in the LAN's global prefix.
pub const HOST6: &str = "2001:4860:1::2";
/// Where the peer serves.
pub const PORT: u16 = 8001;
/// The nft counters, by name.
const COUNTED: [(&str, &str); 7] = [
    ("public4", PUBLIC4),
    ("public6", PUBLIC6),
    ("other4", OTHER4),
    ("lan4", LAN4),
    ("lan6", LAN6),
    ("tailnet", TAILNET),
    ("guest", GUEST),
];

const MANAGER: &str = "user.slice/user-1000.slice/user@1000.service";
const SESSION: &str = "user.slice/user-1000.slice/session-1.scope";
/// StB's three services, below the user manager.
pub const AGENT: &str = r"app.slice/app-stb\x2dnext\x2dhost\x2dagent.slice/stb-next-host-agent@split.service";
/// See [`AGENT`].
pub const SERVER: &str = r"app.slice/app-stb\x2dnext\x2dserver.slice/stb-next-server@split.service";
/// See [`AGENT`].
pub const SHELL: &str = r"app.slice/app-stb\x2dnext\x2dshell.slice/stb-next-shell@split.service";
/// Another app of the same user.
pub const OTHER: &str = r"app.slice/app-electron\x2dgpt@autostart.service";

/// Longer than anything here takes on a slow machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `look` gives a value.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Some(value) => return value,
            None if Instant::now() > end => panic!("never came true: {what}"),
            None => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// `CLOCK_BOOTTIME` now.
pub fn boottime_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

/// A process with its output as it comes. Dropped, it is killed and waited for.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Arc<Mutex<Vec<String>>>,
    stderr: Arc<Mutex<Vec<String>>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Program {
    /// Starts it.
    pub fn spawn(mut command: Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start a program");
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let readers = vec![
            gather(child.stdout.take().unwrap(), Arc::clone(&stdout)),
            gather(child.stderr.take().unwrap(), Arc::clone(&stderr)),
        ];
        Self { stdin: child.stdin.take(), child, stdout, stderr, readers }
    }

    /// Everything it has printed so far, for a failure's message too.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().join("\n")
    }

    /// The lines printed so far.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lock().unwrap().clone()
    }

    /// The lines printed so far, each one a JSON object.
    pub fn lines(&self) -> Vec<Value> {
        let parse = |line: &String| serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}"));
        self.stdout().iter().map(parse).collect()
    }

    /// Waits for a line of JSON for which `is_it` holds.
    #[track_caller]
    pub fn line(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.wait(what, |program| program.lines().into_iter().find(|line| is_it(line)))
    }

    /// Waits for a look that began after this call.
    #[track_caller]
    pub fn look(&mut self) -> Value {
        let now = boottime_ns();
        self.line("a new look", move |line| line["boottime_ns"].as_u64().unwrap() > now)
    }

    /// Waits for a look that began after this call and has a rate: where the machine stood still for seconds, there is none.
    #[track_caller]
    pub fn measured(&mut self) -> Value {
        let now = boottime_ns();
        self.line("a new look without a gap", move |line| {
            line["boottime_ns"].as_u64().unwrap() > now && line["gap"].is_null()
        })
    }

    /// Waits for `find`, and fails with what the program said when it ends first.
    #[track_caller]
    pub fn wait<T>(&mut self, what: &str, mut find: impl FnMut(&Self) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() {
                self.readers.drain(..).for_each(|reader| reader.join().unwrap());
            }
            if let Some(value) = find(self) {
                return value;
            }
            if ended.is_some() || Instant::now() > end {
                let (stdout, stderr) = (self.stdout(), self.stderr());
                let last = stdout.last().map_or("nothing", String::as_str);
                panic!("never came: {what}\nended: {ended:?}\nlast line: {last}\nstderr: {stderr}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the word that a traffic program prints.
    #[track_caller]
    pub fn says(mut self, word: &str) -> Self {
        self.wait(word, |program| program.stdout().iter().any(|line| line == word).then_some(()));
        self
    }

    /// Writes a line to its stdin.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().expect("its stdin is open"), "{line}").expect("write to a program");
    }

    /// CPU time it has used, in milliseconds. To user programs a tick is 10 ms on every Linux.
    pub fn cpu_ms(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        ticks * 10
    }

    /// Its process id; the same after it has become another program.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, and how.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).expect("send a signal");
    }

    /// Closes its stdin and waits until it has ended by itself.
    #[track_caller]
    pub fn end(mut self) -> (ExitStatus, Vec<String>, String) {
        drop(self.stdin.take());
        self.ended()
    }

    /// Waits until it has ended by itself: status, stdout, stderr.
    #[track_caller]
    pub fn ended(mut self) -> (ExitStatus, Vec<String>, String) {
        let status = eventually("the program ends", || self.child.try_wait().unwrap());
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        (status, self.stdout(), self.stderr())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("a program that ended with {:?} has said:\n{}", self.child.try_wait(), self.stderr());
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn gather(stream: impl Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) -> thread::JoinHandle<()> {
    let read = move || BufReader::new(stream).lines().map_while(Result::ok).for_each(|l| lines.lock().unwrap().push(l));
    thread::Builder::new().name("output".into()).spawn(read).unwrap()
}

/// The bytes that the peer's addresses saw, as nft counts them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Truth {
    /// TCP payload the host downloaded from them.
    pub rx: u64,
    /// TCP payload the host uploaded to them.
    pub tx: u64,
    /// At most so much of `rx` was sent twice: all namespaces share the kernel's receive queues, and a burst anywhere on
    /// the machine loses packets here. What arrived twice is in the packets' bytes and not in the sockets' books.
    pub rx_again: u64,
    /// At most so much of `tx` was sent twice.
    pub tx_again: u64,
}

impl Truth {
    /// Of both addresses; what was sent again is counted by namespace and is in both.
    pub fn plus(self, other: Self) -> Self {
        Self { rx: self.rx + other.rx, tx: self.tx + other.tx, ..self }
    }

    /// Since an earlier moment.
    pub fn since(self, before: Self) -> Self {
        Self { rx: self.rx - before.rx, tx: self.tx - before.tx, ..self }
    }

    /// Fails unless netglance's figures are within one per cent.
    #[track_caller]
    pub fn agrees(self, seen: &Value) {
        for (field, truth, again) in [("rx_bytes", self.rx, self.rx_again), ("tx_bytes", self.tx, self.tx_again)] {
            let seen = seen[field].as_u64().unwrap_or_else(|| panic!("no {field} in {seen}"));
            let fits = seen * 100 <= truth * 101 && (seen + again) * 100 >= truth * 99;
            assert!(fits, "{field}: netglance says {seen}, the peer's counters say {truth}, {again} sent again");
        }
    }
}

/// The owner's host and its outside. Field order is drop order: programs end before their world does.
pub struct World {
    programs: Vec<Program>,
    name: String,
    mount: PathBuf,
    /// The test's own cgroup: what netglance sees as the root.
    root: PathBuf,
    home: tempfile::TempDir,
    turn: Turn,
}

/// All network namespaces share the kernel's receive queues (`net.core.netdev_max_backlog`): a burst in one world makes
/// another lose packets, and what is sent again is not what netglance counts. So some worlds stand alone.
static TURNS: RwLock<()> = RwLock::new(());

enum Turn {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

impl World {
    /// Builds it, with StB's three units and the other app's, all empty, and the peer serving.
    pub fn new() -> Self {
        Self::build(Turn::Shared(TURNS.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The same, while no other world of this test program stands: for what keeps the whole machine busy.
    pub fn alone() -> Self {
        Self::build(Turn::Alone(TURNS.write().unwrap_or_else(PoisonError::into_inner)))
    }

    fn build(turn: Turn) -> Self {
        assert!(rustix::process::geteuid().is_root(), "needs root: run the tests with sudo (tests/all does)");
        for (tool, package) in
            [("nft", "nftables"), ("ip", "iproute2"), ("nsenter", "util-linux"), ("unshare", "util-linux")]
        {
            let found = Command::new(tool).arg("-V").output().is_ok();
            assert!(found, "{tool} is not installed: apt-get install {package}");
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ngtest-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
        let mount = PathBuf::from(mount.expect("no cgroup2 file system is mounted: mount -t cgroup2 none DIRECTORY"));
        let root = mount.join(&name);
        let mut world = Self {
            turn,
            programs: Vec::new(),
            name,
            root,
            mount,
            home: tempfile::tempdir().expect("a temporary directory"),
        };
        fs::create_dir_all(world.root.join(SESSION)).expect("make a cgroup");
        fs::create_dir_all(world.root.join("system.slice/peer.service")).unwrap();
        [AGENT, SERVER, SHELL, OTHER].iter().for_each(|unit| drop(world.unit(unit)));
        world.wire();
        world.count();
        let addresses = COUNTED.map(|(_, address)| at(address));
        world.serve(&addresses.each_ref().map(String::as_str));
        world
    }

    fn wire(&self) {
        let (host, peer) = (self.namespace("host"), self.namespace("peer"));
        run("ip", &["netns", "add", &host], "");
        run("ip", &["netns", "add", &peer], "");
        for (inside, outside) in [("enp0s31f6", "wire"), ("tailscale0", "ts"), ("virbr0", "vb")] {
            let link = ["link", "add", inside, "netns", &host, "type", "veth", "peer", "name", outside, "netns", &peer];
            run("ip", &link, "");
        }
        let host_lines = format!(
            "link set lo up\nlink set enp0s31f6 up\nlink set tailscale0 up\nlink set virbr0 up\n\
             addr add {HOST4}/24 dev enp0s31f6\naddr add {HOST6}/64 dev enp0s31f6 nodad\n\
             addr add 100.74.95.80/32 dev tailscale0\naddr add 192.168.122.1/24 dev virbr0\n\
             route add 100.64.0.0/10 dev tailscale0\n\
             route add default via {LAN4}\n-6 route add default via {LAN6}\n"
        );
        let peer_lines = format!(
            "link set lo up\nlink set wire up\nlink set ts up\nlink set vb up\n\
             addr add {LAN4}/24 dev wire\naddr add {LAN6}/64 dev wire nodad\n\
             addr add {TAILNET}/32 dev ts\nroute add 100.74.95.80/32 dev ts\naddr add {GUEST}/24 dev vb\n\
             addr add {PUBLIC4}/32 dev lo\naddr add {OTHER4}/32 dev lo\naddr add {PUBLIC6}/128 dev lo nodad\n"
        );
        for (namespace, lines) in [(host, host_lines), (peer, peer_lines)] {
            for line in lines.lines() {
                run("ip", &[&["-n", &namespace][..], &line.split(' ').collect::<Vec<_>>()].concat(), "");
            }
        }
    }

    fn count(&self) {
        let (mut counters, mut input, mut output) = (String::new(), String::new(), String::new());
        for (name, address) in COUNTED {
            let family = if address.contains(':') { "ip6" } else { "ip" };
            counters += &format!("counter {name}_in {{ }}\ncounter {name}_out {{ }}\n");
            input += &format!("meta l4proto tcp {family} daddr {address} counter name {name}_in\n");
            output += &format!("meta l4proto tcp {family} saddr {address} counter name {name}_out\n");
        }
        let rules = format!(
            "table inet truth {{\n{counters}\
             chain i {{ type filter hook input priority 0;\n{input}}}\n\
             chain o {{ type filter hook output priority 0;\n{output}}}\n}}\n"
        );
        run("nsenter", &[&self.enter("peer"), "nft", "-f", "-"], &rules);
    }

    /// What the peer saw at one of its addresses: packets' bytes less one set of headers each (IP, and TCP with time
    /// stamps). A GSO aggregate is one packet there and here.
    pub fn truth(&self, address: &str) -> Truth {
        let (name, _) = COUNTED.iter().find(|(_, counted)| *counted == address).expect("an address of the peer");
        let list = run("nsenter", &[&self.enter("peer"), "nft", "-j", "list", "counters"], "");
        let list: Value = serde_json::from_slice(&list.stdout).expect("nft's JSON");
        let headers = 32 + if address.contains(':') { 40 } else { 20 };
        let payload = |name: String| {
            let counter = list["nftables"].as_array().unwrap().iter().map(|entry| &entry["counter"]);
            let counter = counter.into_iter().find(|counter| counter["name"] == name.as_str()).expect("the counter");
            counter["bytes"].as_u64().unwrap().saturating_sub(headers * counter["packets"].as_u64().unwrap())
        };
        Truth {
            rx: payload(format!("{name}_out")),
            tx: payload(format!("{name}_in")),
            rx_again: self.sent_again("peer"),
            tx_again: self.sent_again("host"),
        }
    }

    /// Payload bytes that this side has sent more than once, to whomever.
    fn sent_again(&self, side: &str) -> u64 {
        let snmp = run("nsenter", &[&self.enter(side), "cat", "/proc/net/snmp"], "");
        let snmp = String::from_utf8(snmp.stdout).unwrap();
        let mut tcp = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: ")).map(|line| line.split(' '));
        let (names, values) = (tcp.next().unwrap(), tcp.next().unwrap());
        let segments = names.zip(values).find(|(name, _)| *name == "RetransSegs").unwrap().1;
        segments.parse::<u64>().unwrap() * 1448
    }

    /// Loads rules into the host's firewall.
    pub fn firewall(&self, rules: &str) {
        run("nsenter", &[&self.enter("host"), "nft", "-f", "-"], rules);
    }

    /// Runs `ip` on the host.
    pub fn ip(&self, arguments: &str) {
        run("ip", &[&["-n", &self.namespace("host")][..], &arguments.split(' ').collect::<Vec<_>>()].concat(), "");
    }

    /// Makes a unit's cgroup, given below the user manager.
    pub fn unit(&self, unit: &str) -> PathBuf {
        let path = self.root.join(MANAGER).join(unit);
        fs::create_dir_all(&path).expect("make a cgroup");
        path
    }

    /// A cgroup's directory as netglance and what it starts see it.
    pub fn inner(&self, cgroup: &str) -> String {
        self.mount.join(cgroup).to_str().unwrap().to_owned()
    }

    /// Removes a unit's cgroup, as systemd does when the last process is gone.
    pub fn remove(&self, unit: &str) {
        let path = self.root.join(MANAGER).join(unit);
        eventually("the unit's cgroup is removed", || fs::remove_dir(&path).ok());
    }

    /// Runs the traffic program in a unit, in the host's network.
    pub fn traffic(&self, unit: &str, arguments: &[&str]) -> Program {
        self.start("host", &self.unit(unit), traffic().to_str().unwrap(), arguments)
    }

    /// Moves bytes on a connection to each address, waits until they are there and keeps the connections open.
    #[track_caller]
    pub fn moved(&self, unit: &str, down: u64, up: u64, addresses: &[&str]) -> Program {
        let numbers = [down.to_string(), up.to_string()];
        let addresses: Vec<String> = addresses.iter().map(|address| at(address)).collect();
        let mut arguments = vec!["move", &numbers[0], &numbers[1], "0"];
        arguments.extend(addresses.iter().map(String::as_str));
        self.traffic(unit, &arguments).says("done")
    }

    fn serve(&mut self, addresses: &[&str]) {
        self.peer(&[&["serve"], addresses].concat());
    }

    /// Runs the traffic program at the peer for as long as the world stands.
    pub fn peer(&mut self, arguments: &[&str]) {
        let cgroup = self.root.join("system.slice/peer.service");
        let program = self.start("peer", &cgroup, traffic().to_str().unwrap(), arguments).says("ready");
        self.programs.push(program);
    }

    /// A process is in its cgroup before it has a socket: a socket stays in the cgroup that it was made in.
    pub fn start(&self, side: &str, cgroup: &Path, program: &str, arguments: &[&str]) -> Program {
        let mut command = Command::new("sh");
        command.args(["-c", r#"ulimit -n 16384; echo $$ > "$0/cgroup.procs" && exec "$@""#]).arg(cgroup);
        command.args(["nsenter", &self.enter(side), program]).args(arguments);
        Program::spawn(command)
    }

    /// Starts netglance on the host, in a session of the user, with no bus to reach and its own configuration.
    pub fn netglance(&self, arguments: &[&str]) -> Program {
        self.netglance_by(&[env!("CARGO_BIN_EXE_netglance")], arguments)
    }

    /// Starts netglance with a window on an X display.
    pub fn netglance_on(&self, display: &str) -> Program {
        self.netglance_by(&["env", &format!("DISPLAY={display}"), env!("CARGO_BIN_EXE_netglance")], &[])
    }

    /// Starts the program behind tray and window with these environment variables.
    pub fn netglance_with(&self, environment: &[String], program: &Path, arguments: &[&str]) -> Program {
        let environment: Vec<&str> = environment.iter().map(String::as_str).collect();
        self.netglance_by(&[&["env"][..], &environment, &[program.to_str().unwrap()]].concat(), arguments)
    }

    /// The home directory of netglance's user, and its configuration directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Starts a copy of netglance with no privilege at all.
    pub fn netglance_as_user(&self, arguments: &[&str]) -> Program {
        let copy = self.home.path().join("netglance");
        if !copy.exists() {
            fs::copy(env!("CARGO_BIN_EXE_netglance"), &copy).expect("copy netglance");
            fs::set_permissions(self.home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--inh-caps=-all"];
        self.netglance_by(&[&user[..], &[copy.to_str().unwrap()]].concat(), arguments)
    }

    fn netglance_by(&self, program: &[&str], arguments: &[&str]) -> Program {
        let mut command = Command::new("sh");
        let view = r#"umount -l "$0"; mount -t cgroup2 cgroup2 "$0" && echo $$ > "$1" && shift && exec "$@""#;
        let outer = r#"echo $$ > "$0/cgroup.procs" && exec unshare --mount --cgroup "$@""#;
        command.args(["-c", outer]).arg(&self.root).args(["sh", "-c", view]).arg(&self.mount);
        command.arg(self.mount.join(SESSION).join("cgroup.procs")).args(["nsenter", &self.enter("host")]);
        command.args(program).args(arguments);
        command.env("XDG_CONFIG_HOME", self.home.path()).env("HOME", self.home.path());
        command.env("XDG_STATE_HOME", self.home.path().join("state"));
        command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent");
        for variable in ["DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "DISPLAY", "WAYLAND_DISPLAY"] {
            command.env_remove(variable);
        }
        // What the desktop of whoever runs the tests looks like, and the language there.
        for variable in ["GTK_THEME", "XDG_CURRENT_DESKTOP", "XDG_DATA_HOME", "LC_ALL", "LC_MESSAGES", "LANG"] {
            command.env_remove(variable);
        }
        Program::spawn(command)
    }

    /// `netglance watch --json` with a short beat, after its first look.
    #[track_caller]
    pub fn watch(&self, arguments: &[&str]) -> Program {
        let mut program = self.netglance(&[&["watch", "--json", "--interval", "0.2"], arguments].concat());
        program.look();
        program
    }

    /// Writes netglance's configuration.
    pub fn configure(&self, text: &str) -> PathBuf {
        let path = self.home.path().join("netglance/config.toml");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // As a whole: a look must not meet half of it.
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &path).unwrap();
        path
    }

    fn namespace(&self, side: &str) -> String {
        format!("{}-{side}", self.name)
    }

    fn enter(&self, side: &str) -> String {
        format!("--net=/run/netns/{}", self.namespace(side))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.programs.clear();
        for side in ["host", "peer"] {
            drop(Command::new("ip").args(["netns", "del", &self.namespace(side)]).output());
        }
        // The kernel lets go of a cgroup a moment after its last process has ended.
        let gone = (0..500).any(|_| remove_cgroup(&self.root).is_ok() || !pause());
        if !gone && !thread::panicking() {
            panic!("{} is still in use", self.root.display());
        }
    }
}

fn pause() -> bool {
    thread::sleep(Duration::from_millis(10));
    true
}

fn remove_cgroup(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

/// An address with the port that the peer serves on; one that has a port stays as it is.
pub fn at(address: &str) -> String {
    match address {
        address if address.starts_with('[') || address.matches(':').count() == 1 => address.to_owned(),
        address if address.contains(':') => format!("[{address}]:{PORT}"),
        address => format!("{address}:{PORT}"),
    }
}

/// Where cargo has built the traffic program.
pub fn traffic() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    path.push("traffic");
    assert!(path.exists(), "{} is not built: cargo build --package netglance --example traffic", path.display());
    path
}

fn run(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{program}: {e}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

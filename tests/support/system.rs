//! A system of its own for one test: a real dbus-daemon with the helper's real bus policy, the real helper as a process,
//! a real polkitd or one that the test switches, and a stand-in for systemd's store of file descriptors.
#![allow(dead_code, reason = "each test file includes this module and uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is the test's")]

use std::{
    collections::HashSet,
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::OwnedFd,
        unix::{
            fs::PermissionsExt as _,
            net::{UnixDatagram, UnixStream},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use netglance_dbus::helper1::{BUS_NAME, Helper1Proxy};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use zbus::{Connection, connection::Builder, fdo::DBusProxy, message::Header};

use crate::lab::Lab;

/// Longer than anything here takes on a slow machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A private system bus, ruled as Debian's is.
pub struct Bus {
    daemon: Child,
    directory: tempfile::TempDir,
    /// `unix:path=…`
    pub address: String,
}

impl Bus {
    /// Starts it and waits until it listens.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let daemon = Self::daemon(directory.path());
        Self { daemon, address: format!("unix:path={}/bus", directory.path().display()), directory }
    }

    fn daemon(directory: &Path) -> Child {
        let policy = repository().join("dbus/org.netglance.Helper1.conf");
        let config = format!(
            r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
              "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
            <busconfig>
              <type>system</type><auth>EXTERNAL</auth><listen>unix:path={}/bus</listen>
              <policy context="default">
                <allow user="*"/><deny own="*"/><deny send_type="method_call"/>
                <allow send_type="signal"/>
                <allow send_requested_reply="true" send_type="method_return"/>
                <allow send_requested_reply="true" send_type="error"/>
                <allow receive_type="method_call"/><allow receive_type="method_return"/>
                <allow receive_type="error"/><allow receive_type="signal"/>
                <allow send_destination="org.freedesktop.DBus"/>
                <allow send_destination="org.freedesktop.PolicyKit1"/>
                <allow send_destination="org.freedesktop.systemd1"/>
              </policy>
              <policy user="root"><allow own="org.freedesktop.PolicyKit1"/><allow own="org.freedesktop.systemd1"/></policy>
              <policy user="polkitd"><allow own="org.freedesktop.PolicyKit1"/></policy>
              <include>{}</include>
            </busconfig>"#,
            directory.display(),
            policy.display()
        );
        fs::write(directory.join("bus.conf"), config).unwrap();
        let mut command = Command::new("dbus-daemon");
        command.arg(format!("--config-file={}/bus.conf", directory.display())).args(["--nofork", "--print-address"]);
        let mut daemon =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("dbus-daemon: install dbus");
        // Of a flood it says the same a million times.
        let says = BufReader::new(daemon.stderr.take().unwrap()).split(b'\n').map_while(Result::ok);
        thread::spawn(move || {
            let mut said = HashSet::new();
            says.for_each(|line| {
                if !said.contains(&line) {
                    eprintln!("{}", String::from_utf8_lossy(&line));
                    said.insert(line);
                }
            });
        });
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("unix:"), "dbus-daemon did not start");
        daemon
    }

    /// Kills it and starts another one at the same address.
    pub fn restart(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
        fs::remove_file(self.directory.path().join("bus")).unwrap();
        self.daemon = Self::daemon(self.directory.path());
    }

    /// A connection of a user, as the bus will vouch for it.
    pub async fn connect(&self, uid: u32) -> Connection {
        let path = self.address.strip_prefix("unix:path=").unwrap().to_owned();
        let stream = thread::spawn(move || {
            // This thread's alone: the kernel notes who connects.
            let user = rustix::process::Uid::from_raw(uid);
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
            UnixStream::connect(path).unwrap()
        });
        Builder::unix_stream(stream.join().unwrap()).user_id(uid).build().await.unwrap()
    }

    /// The helper as that connection sees it.
    pub async fn helper(connection: &Connection) -> Helper1Proxy<'static> {
        let proxy = Helper1Proxy::builder(connection).cache_properties(zbus::proxy::CacheProperties::No);
        proxy.build().await.unwrap()
    }

    /// The helper as a user sees it.
    pub async fn helper_of(&self, uid: u32) -> Helper1Proxy<'static> {
        Self::helper(&self.connect(uid).await).await
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = (self.daemon.kill(), self.daemon.wait());
    }
}

/// What the switchable polkit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Authorized.
    Yes,
    /// Not authorized, and no password would help.
    No,
    /// A password would help.
    Challenge,
    /// The person closed the dialog.
    Dismissed,
    /// Nothing, until the question is taken back.
    Silence,
}

/// What the switchable polkit was asked.
#[derive(Debug, Default)]
pub struct Asked {
    /// Action, subject's kind, caller, flags.
    pub questions: Vec<(String, String, String, u32)>,
    /// Questions taken back.
    pub cancelled: usize,
}

/// A polkit with a switch.
pub struct Polkit {
    /// How it answers from now on.
    pub answer: Arc<Mutex<Answer>>,
    /// What it was asked.
    pub asked: Arc<Mutex<Asked>>,
    _connection: Connection,
}

struct PolkitObject {
    answer: Arc<Mutex<Answer>>,
    asked: Arc<Mutex<Asked>>,
    cancelled: tokio::sync::Notify,
}

type Subject = (String, std::collections::HashMap<String, zbus::OwnedVariant>);
type Details = std::collections::HashMap<String, String>;

#[zbus::interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl PolkitObject {
    async fn check_authorization(
        &self,
        subject: Subject,
        action: String,
        _details: Details,
        flags: u32,
        _cancellation: String,
    ) -> zbus::fdo::Result<(bool, bool, Details)> {
        let caller =
            subject.1.get("name").map(|name| name.to_string().trim_matches('"').to_owned()).unwrap_or_default();
        self.asked.lock().unwrap().questions.push((action, subject.0, caller, flags));
        let answer = *self.answer.lock().unwrap();
        let dismissed = Details::from([("polkit.dismissed".into(), "true".into())]);
        match answer {
            Answer::Yes => Ok((true, false, Details::new())),
            Answer::No => Ok((false, false, Details::new())),
            Answer::Challenge => Ok((false, true, Details::new())),
            Answer::Dismissed => Ok((false, false, dismissed)),
            Answer::Silence => {
                self.cancelled.notified().await;
                Err(zbus::fdo::Error::Failed("taken back".into()))
            }
        }
    }

    async fn cancel_check_authorization(&self, _cancellation: String, #[zbus(header)] _call: Header<'_>) {
        self.asked.lock().unwrap().cancelled += 1;
        self.cancelled.notify_one();
    }
}

impl Polkit {
    /// Puts it on the bus.
    pub async fn new(bus: &Bus, answer: Answer) -> Self {
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::default());
        let connection = bus.connect(0).await;
        let object =
            PolkitObject { answer: Arc::clone(&answer), asked: Arc::clone(&asked), cancelled: Default::default() };
        connection.object_server().at("/org/freedesktop/PolicyKit1/Authority", object).await.unwrap();
        connection.request_name("org.freedesktop.PolicyKit1").await.unwrap();
        Self { answer, asked, _connection: connection }
    }

    /// Answers so from now on.
    pub fn say(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }
}

/// The real polkitd with our actions and rules, and one rule more: user `games` may, of others the actions decide. What other
/// programs here call `uucp` is `netglance-metrics` for it.
pub struct RealPolkit(Child);

impl RealPolkit {
    /// Starts it and waits until it is on the bus.
    pub async fn new(bus: &Bus) -> Self {
        let directory = bus.directory.path();
        let (actions, rules) = (directory.join("actions"), directory.join("rules"));
        fs::create_dir(&actions).unwrap();
        fs::create_dir(&rules).unwrap();
        fs::copy(repository().join("polkit/org.netglance.policy"), actions.join("org.netglance.policy")).unwrap();
        let rule =
            "polkit.addRule(function(action, subject) { if (subject.user == 'games') return polkit.Result.YES; });";
        fs::write(rules.join("10-test.rules"), rule).unwrap();
        let ours = directory.join("packaged");
        fs::create_dir(&ours).unwrap();
        for rules in ["org.netglance.rules", "org.netglance.metrics.rules"] {
            fs::copy(repository().join("polkit").join(rules), ours.join(rules)).unwrap();
        }
        // The user `daemon` is a member of the group docker.
        let groups = fs::read_to_string("/etc/group").unwrap();
        let others = groups.lines().filter(|line| !line.starts_with("docker:")).collect::<Vec<_>>().join("\n");
        fs::write(directory.join("group"), format!("{others}\ndocker:x:64999:daemon\n")).unwrap();
        // The bus asks for names as well, so it is one of those that are there.
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let users = users.replace("uucp:x:10:", "netglance-metrics:x:10:");
        fs::write(directory.join("passwd"), users).unwrap();
        let script = "mount --bind \"$0\" /usr/share/polkit-1/actions && mount --bind \"$1\" /etc/polkit-1/rules.d \
                      && mount --bind \"$2\" /usr/share/polkit-1/rules.d && mount --bind \"$3\" /etc/group \
                      && mount --bind \"$4\" /etc/passwd && exec /usr/lib/polkit-1/polkitd --no-debug";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(&actions).arg(&rules).arg(&ours);
        command.args(["group", "passwd"].map(|name| directory.join(name)));
        let child = command.env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address).spawn().unwrap();
        let this = Self(child);
        on_the_bus(&bus.connect(0).await, "org.freedesktop.PolicyKit1", "polkitd (install polkitd)").await;
        this
    }
}

impl Drop for RealPolkit {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

async fn on_the_bus(connection: &Connection, name: &'static str, what: &str) {
    let bus = DBusProxy::new(connection).await.unwrap();
    let end = Instant::now() + PATIENCE;
    while !bus.name_has_owner(name.try_into().unwrap()).await.unwrap() {
        assert!(Instant::now() < end, "{what} does not come to the bus");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The helper as a process in the lab's host, with directories and a store of file descriptors that outlive it.
pub struct Daemon {
    child: Option<Child>,
    stderr: Arc<Mutex<String>>,
    kept: Arc<Mutex<Option<OwnedFd>>>,
    directory: tempfile::TempDir,
    address: String,
    network: String,
    root: PathBuf,
    mount: PathBuf,
    cgroups: Cgroups,
    boot_id: Option<String>,
}

/// Which cgroup tree the helper finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// The lab's, whose top is the root of the helper's cgroup namespace.
    Own,
    /// The whole computer's, though the helper is in a cgroup namespace.
    Outside,
    /// None.
    Absent,
}

impl Daemon {
    /// Starts it and waits until it is on the bus.
    pub async fn new(lab: &Lab, bus: &Bus) -> Self {
        Self::on_a_host(lab, bus, Cgroups::Own, None).await
    }

    /// As [`Self::new`], with another cgroup tree.
    pub async fn with_cgroups(lab: &Lab, bus: &Bus, cgroups: Cgroups) -> Self {
        Self::on_a_host(lab, bus, cgroups, None).await
    }

    /// As [`Self::new`], on a kernel that says that it is another one: `uname -r`.
    pub async fn on_kernel(lab: &Lab, bus: &Bus, release: &str) -> Self {
        Self::on_a_host(lab, bus, Cgroups::Own, Some(release)).await
    }

    async fn on_a_host(lab: &Lab, bus: &Bus, cgroups: Cgroups, kernel: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let notify = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        let kept = Arc::default();
        let keeps = Arc::clone(&kept);
        thread::Builder::new().name("keeper".into()).spawn(move || keep(&notify, &keeps)).unwrap();
        let mut this = Self {
            child: None,
            stderr: Arc::default(),
            kept,
            directory,
            address: bus.address.clone(),
            network: lab.host.name.clone(),
            root: lab.cgroup.clone(),
            mount: netglance_dbus::cgroup::Tree::open().unwrap().mount().to_owned(),
            cgroups,
            boot_id: None,
        };
        this.set_kernel(kernel);
        this.start(bus).await;
        this
    }

    /// From the next start on the kernel says that it is this one; `None`: the one that it is.
    pub fn set_kernel(&self, release: Option<&str>) {
        let directory = self.directory.path().join("kernel");
        let _ = fs::remove_dir_all(&directory);
        if let Some(release) = release {
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("osrelease"), format!("{release}\n")).unwrap();
            fs::write(directory.join("version"), "#1 SMP PREEMPT_DYNAMIC\n").unwrap();
        }
    }

    /// As after a boot that systemd calls so (`%b`): nothing is kept, and what lasts until the next boot is gone.
    /// It does not run, and has to be started.
    pub fn boot(&mut self, id: &str) {
        self.kill();
        self.drop_kept();
        let _ = fs::remove_dir_all(self.runtime());
        self.boot_id = Some(id.to_owned());
    }

    /// Starts it with what the store keeps, and waits until it is on the bus.
    pub async fn start(&mut self, bus: &Bus) {
        self.spawn();
        on_the_bus(&bus.connect(0).await, BUS_NAME, &format!("the helper ({})", self.said())).await;
    }

    /// Starts it with what the store keeps, as its unit confines it. The lab's cgroup is the root of its cgroup namespace.
    pub fn spawn(&mut self) {
        let outer = r#"echo $$ > "$0/cgroup.procs" && exec unshare --mount --cgroup "$@""#;
        let inner = r#"if [ "$CGROUPS" != Outside ]; then
                umount -l "$0"; mount -t cgroup2 cgroup2 "$0" && mkdir -p "$0/system.slice/helper.service" &&
                echo $$ > "$0/system.slice/helper.service/cgroup.procs"
            fi && export LISTEN_PID=$$ &&
            if [ "$CGROUPS" = Absent ]; then umount -l "$0"; else mount -o remount,bind,ro "$0"; fi &&
            exec "$@" 3<&0 </dev/null"#;
        let mut command = Command::new("sh");
        command.args(["-c", outer]).arg(&self.root).args(["sh", "-c", inner]).arg(&self.mount);
        command.arg("nsenter").arg(format!("--net=/run/netns/{}", self.network));
        command
            .args(confined(Path::new(env!("CARGO_BIN_EXE_netglance-helper")), &self.directory.path().join("program")));
        let path = |name: &str| self.directory.path().join(name);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &self.address).env("NOTIFY_SOCKET", path("notify"));
        command.env("STATE_DIRECTORY", path("state")).env("RUNTIME_DIRECTORY", path("run"));
        command.env("CGROUPS", format!("{:?}", self.cgroups)).env("KERNEL", path("kernel"));
        command.envs(self.boot_id.iter().map(|id| ("BOOT_ID", id)));
        if let Some(kept) = &*self.kept.lock().unwrap() {
            command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "nft").stdin(kept.try_clone().unwrap());
        } else {
            command.stdin(Stdio::null());
        }
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let (stream, stderr) = (child.stderr.take().unwrap(), Arc::clone(&self.stderr));
        let gather = move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                *stderr.lock().unwrap() += &format!("{line}\n");
            }
        };
        thread::Builder::new().name("stderr".into()).spawn(gather).unwrap();
        self.child = Some(child);
    }

    /// kill -9. What the store keeps stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let child = self.child.as_ref().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
    }

    /// Has the store forget what it keeps, as `systemctl stop` does.
    pub fn drop_kept(&self) {
        *self.kept.lock().unwrap() = None;
    }

    /// Whether the store keeps a socket.
    pub fn is_kept(&self) -> bool {
        self.kept.lock().unwrap().is_some()
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the helper does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it has said on stderr, all processes together.
    pub fn said(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// What lasts over boots.
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// What lasts until the next boot.
    pub fn runtime(&self) -> PathBuf {
        self.directory.path().join("run")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            println!("the helper said: {}", self.said());
        }
    }
}

/// What the helper's unit says about a setting that it has once.
pub fn unit(setting: &str) -> String {
    let text = fs::read_to_string(repository().join("helper/netglance-helper.service")).unwrap();
    let values: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(setting)?.strip_prefix('=')).collect();
    let [value] = values[..] else { panic!("{setting} stands {} times in the unit", values.len()) };
    value.to_owned()
}

/// The unit's `MemoryMax`.
pub fn memory_max_bytes() -> u64 {
    unit("MemoryMax").strip_suffix('M').unwrap().parse::<u64>().unwrap() << 20
}

/// A command that runs a program as root in the helper's unit: with the unit's capabilities, limits and umask, and its view of
/// /proc. The command must run in a mount namespace of its own, with cgroupfs mounted read-only already. The program is
/// mounted at another path, because root without CAP_DAC_OVERRIDE may not look into the home directory it was built in.
///
/// Two things are less than the unit's. `MemoryMax` bounds the process's own data, not what the kernel holds for it, because
/// not every host has a memory controller for cgroup v2. And system calls are not filtered (`SystemCallFilter`,
/// `RestrictAddressFamilies`, `MemoryDenyWriteExecute` and others), because the filters are systemd's own. tests/desktop.rs
/// runs the unit itself.
fn confined(program: &Path, path: &Path) -> Vec<OsString> {
    assert_eq!(unit("NoNewPrivileges"), "yes");
    assert_eq!(unit("ProtectControlGroups"), "yes");
    let capabilities = unit("CapabilityBoundingSet").replace("CAP_", "+").replace(' ', ",").to_ascii_lowercase();
    let script = r#"umask "$0" && : > "$2" && mount --bind "$1" "$2" && mount -t proc -o "$3" proc /proc && shift 3 &&
        for file in osrelease version; do
            [ ! -e "$KERNEL/$file" ] || mount --bind "$KERNEL/$file" "/proc/sys/kernel/$file" || exit
        done && exec "$@""#;
    let mut command: Vec<OsString> = ["sh", "-c", script].map(Into::into).into();
    command.extend([unit("UMask").into(), program.into(), path.into()]);
    command.push(format!("hidepid={}", unit("ProtectProc")).into());
    command.push("prlimit".into());
    command.push(format!("--nofile={}", unit("LimitNOFILE")).into());
    command.push(format!("--core={}", unit("LimitCORE")).into());
    command.push(format!("--data={}", memory_max_bytes()).into());
    command.extend(["setpriv", "--no-new-privs"].map(Into::into));
    command.push(format!("--bounding-set=-all,{capabilities}").into());
    command.push(format!("--inh-caps=-all,{capabilities}").into());
    command.push(path.into());
    command
}

/// What systemd does with `FDSTORE=1` and `FDSTOREREMOVE=1` (sd_notify(3)).
fn keep(socket: &UnixDatagram, kept: &Mutex<Option<OwnedFd>>) {
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let Ok(received) = recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) else { return };
        let mut fds = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let fd = fds.next().and_then(|mut fds| fds.next());
        let text = String::from_utf8_lossy(&bytes[..received.bytes]);
        assert!(text.contains("FDNAME=nft\n"), "{text}");
        if text.contains("FDSTORE=1\n") {
            assert!(text.contains("FDPOLL=0\n"), "{text}");
            *kept.lock().unwrap() = Some(fd.expect("a descriptor"));
        } else {
            assert!(text.contains("FDSTOREREMOVE=1\n"), "{text}");
            *kept.lock().unwrap() = None;
        }
    }
}

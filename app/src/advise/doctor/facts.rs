//! What was found on a host, before it is judged. Plain data; `None` means unknown everywhere.

use netglance_dbus::kernel::Kernel;

use crate::look::{engines::Told, rate::Rate};

/// A host, as one of its users sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// `PRETTY_NAME` of os-release(5).
    pub distribution: Option<String>,
    /// Whether this is a container, as seen from inside.
    pub container: bool,
    /// What it says of itself.
    pub kernel: Kernel,
    /// Whether doctor runs as root.
    pub root: bool,
    /// The cgroup tree.
    pub cgroup: Cgroups,
    /// What the exact counters need of the kernel.
    pub nft: Nft,
    /// The version of the program `nft`, such as "1.0.6"; `None`: it isn't there, or doesn't say.
    pub nft_program: Option<String>,
    /// Why the estimate doesn't work; `None`: it works.
    pub estimate_fails: Option<String>,
    /// systemd's own version, where it is PID 1 and answers on the system bus.
    pub systemd: Option<String>,
    /// Whether the user's systemd answers on the session bus.
    pub user_manager: bool,
    /// Whether the system bus answers.
    pub system_bus: bool,
    /// What the report is about.
    pub app: App,
    /// How many programs of the menu the desktop has started in the user's login session, which is one cgroup.
    pub session_programs: usize,
    /// The user's other apps; `None`: the cgroup tree can't be read.
    pub others: Option<Others>,
    /// Programs that affect the network here, each once.
    pub neighbours: Vec<Neighbour>,
    /// Containers and virtual machines.
    pub containers: Containers,
    /// Where names are looked up.
    pub dns: Dns,
    /// Whether polkit is on the system bus (or would be started).
    pub polkit: bool,
    /// The process name of a polkit agent of this user that is known to be one.
    pub polkit_agent: Option<String>,
    /// The user's session at a screen.
    pub session: Option<Session>,
    /// Who would show a tray icon.
    pub tray: Tray,
    /// The helper.
    pub helper: Helper,
    /// Sockets of the root cgroup with an external peer.
    pub root_sockets: Option<usize>,
    /// Files of firewall rules that are loaded at boot: those with netglance's table in them, and those that can't be read.
    pub saved: Vec<SavedRules>,
    /// node_exporter's folder of text files.
    pub text_files: TextFiles,
    /// Who runs doctor.
    pub uid: u32,
    /// Whether the user's systemd has a unit for netglance's metrics, and the system's has none.
    pub metrics_unit: bool,
    /// How netglance itself came here.
    pub netglance: Came,
    /// netglance as it was called, fit to be typed again.
    pub program: String,
    /// Whether there is apt.
    pub apt: bool,
    /// Whether there is pkexec.
    pub pkexec: bool,
    /// Whether there is sudo, and the user is in a group that usually may use it.
    pub sudo: bool,
}

/// Which cgroup hierarchies are mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cgroups {
    /// None.
    #[default]
    Absent,
    /// v1 alone.
    V1,
    /// v2 beside v1.
    Hybrid {
        /// Where v2 is mounted.
        mount: String,
    },
    /// v2 alone.
    Unified {
        /// Where it is mounted.
        mount: String,
    },
}

/// What is known of nf_tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nft {
    /// The needed parts, and whether the kernel has them.
    pub parts: Vec<(Part, Option<bool>)>,
    /// The files that say so.
    pub source: Vec<String>,
}

/// A part of the kernel that exact counting needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// nf_tables itself.
    Tables,
    /// Its family for IPv4 and IPv6 in one.
    Inet,
    /// `socket cgroupv2`.
    Socket,
    /// `jhash`.
    Hash,
    /// The cgroup in every socket.
    Cgroup,
}

/// The app, or all applications, that the report is about, as they are now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct App {
    /// What a person reads.
    pub name: String,
    /// Whether none was named, so that it is all applications of the user (of the host for root).
    pub all: bool,
    /// Its unit patterns, cgroups or id.
    pub pattern: String,
    /// The arguments that name it to `netglance watch`, as typed; empty where `watch` chooses it by itself.
    pub arguments: String,
    /// Its units that run.
    pub units: Vec<AppUnit>,
    /// Names similar to the wanted ones, where none is running.
    pub near: Vec<String>,
    /// Its external rate, by the estimate.
    pub rate: Option<Rate>,
    /// How many UDP sockets it has that can reach the outside.
    pub udp_sockets: Option<usize>,
    /// Socket units with a network address that start it.
    pub socket_units: Vec<String>,
    /// How many of its sockets with an external peer were opened in another cgroup. `None`: its processes can't be looked at.
    pub handed_over: Option<usize>,
    /// How many of its processes are in another network namespace.
    pub elsewhere: Option<usize>,
    /// The proxy that its environment names.
    pub proxy: Option<Proxy>,
    /// Units on this host to which its connections to external addresses are redirected now.
    pub redirected_to: Vec<String>,
    /// Units that filter its packets by address or interface: its own, and those above them in the tree.
    pub filters: Vec<String>,
    /// UDP ports that it shares with others.
    pub shared_ports: Vec<SharedPort>,
    /// How many packet sockets its processes hold.
    pub packet_sockets: usize,
    /// How many more they may hold, where not all processes can be looked into.
    pub packet_sockets_unseen: usize,
}

/// A UDP port with sockets of several cgroups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedPort {
    /// The port.
    pub port: u16,
    /// The others' units.
    pub with: Vec<String>,
}

/// A file of firewall rules that are loaded at boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedRules {
    /// Its path.
    pub file: String,
    /// What was found in it.
    pub saved: Saved,
}

/// The suffix of the copy of a file before it was changed.
pub const KEPT: &str = ".before-netglance";

/// Whether a file holds netglance's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// As `nft list ruleset` prints it, from a line of its own to a line that begins with a brace. And no file includes what is
    /// called like this one with [`KEPT`].
    Listed,
    /// In another way.
    Otherwise,
    /// It can't be read.
    Unreadable,
}

/// A unit of the app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppUnit {
    /// The unit's name.
    pub unit: String,
    /// As in /proc/PID/cgroup.
    pub cgroup: String,
    /// Whether the cgroup is the caller's own.
    pub own: bool,
    /// How many are in it and below it.
    pub processes: Option<usize>,
}

/// The other apps of the same user.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Others {
    /// How many.
    pub count: usize,
    /// Their external rate together, by the estimate.
    pub rate: Option<Rate>,
}

/// A program (or a device) that filters, forwards or carries traffic here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Neighbour {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// libvirt.
    Libvirt,
    /// firewalld.
    Firewalld,
    /// ufw.
    Ufw,
    /// Debian's nftables.service, which loads /etc/nftables.conf.
    Nftables,
    /// Tailscale.
    Tailscale,
    /// A WireGuard device of the kernel.
    Wireguard,
    /// OpenVPN, or another VPN in a process of its own.
    Vpn,
    /// Proxies that run here, by their processes' names.
    Proxy(String),
    /// Prometheus' node_exporter.
    NodeExporter,
}

/// Containers and virtual machines of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Containers {
    /// What came of asking each engine for their names.
    pub engines: Vec<Told>,
    /// Programs that carry the traffic of rootless containers, each once.
    pub rootless: Vec<String>,
    /// Whether an app runs in bubblewrap.
    pub sandboxed: bool,
    /// Bridges and other devices that join containers or virtual machines to the network itself.
    pub joined: Vec<String>,
}

/// Where a proxy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// At an internal address.
    Internal,
    /// Outside.
    External,
    /// At a name.
    Named,
}

/// Who is asked for names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dns {
    /// Not found out.
    #[default]
    Unknown,
    /// systemd-resolved, on this host.
    Resolved,
    /// Another program on this host.
    Local,
    /// A server at an internal address.
    Internal,
    /// A server outside.
    External,
}

/// A login at a screen, as logind knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// x11, wayland, tty.
    pub kind: String,
    /// Whether it is in front now.
    pub active: bool,
    /// Whether it came over the network.
    pub remote: bool,
}

/// Who shows tray icons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tray {
    /// No session bus to ask.
    #[default]
    NoBus,
    /// Nobody.
    Nobody,
    /// A watcher without a host.
    NoHost,
    /// A host.
    Host,
}

/// The helper's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Helper {
    /// None of its files.
    #[default]
    Absent,
    /// Its files are here, but the system bus does not know it.
    Unannounced,
    /// The bus knows it, but it can't be reached: why.
    Unreachable(String),
    /// It answers, and exact counting is not turned on.
    Idle {
        /// Its version.
        version: String,
    },
    /// It counts only after an administrator has agreed to what that does on this kernel.
    Unconfirmed {
        /// Its version.
        version: String,
        /// Its own sentence.
        why: String,
    },
    /// It should count and can't.
    Failing {
        /// Its version.
        version: String,
        /// Its own sentence.
        error: String,
        /// Whether the kernel lacks something.
        unsupported: bool,
    },
    /// It counts.
    Counting {
        /// Its warning; empty if there is none.
        warning: String,
        /// Its version.
        version: String,
        /// For how many cgroups of this user it has counters.
        rows: usize,
    },
}

/// Where Debian's node_exporter reads text files. It is root's.
pub const TEXT_FILES: &str = "/var/lib/prometheus/node-exporter";

/// What is known of [`TEXT_FILES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextFiles {
    /// It is not there.
    #[default]
    Absent,
    /// Nothing of this user's gets in.
    Closed,
    /// Root has made a link in it to a folder of this user's.
    Open,
}

/// How netglance was installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Came {
    /// In a package: it is in /usr/bin.
    #[default]
    Packaged,
    /// Built here or unpacked, with the helper's program beside it: the path to that, as it is typed.
    Beside(String),
    /// Built here or unpacked, without the helper.
    Alone,
}

//! Looks at the host: files in /proc, /sys and /etc, one beat of the estimate, and the two buses. It judges nothing and
//! changes nothing. What can't be seen stays unknown.

mod bus;
mod containers;
mod kernel;
mod process;
mod saved;
mod sockets;

use std::{
    env, fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use netglance_dbus::{
    error::chain,
    onlink::Onlink,
    place,
    scope::{Prefixes, Scope},
};

use self::process::Process;
use super::facts::{
    App, AppUnit, Came, Cgroups, Dns, Facts, Helper, Neighbour, Others, Part, Proxy, TEXT_FILES, TextFiles,
};
use crate::{
    base::settings::SettingsFile,
    look::{
        live,
        monitor::{self, Monitor},
        programs::Chosen,
        rate::{Gap, Rate},
        sampler,
        target::Target,
    },
};

/// Looks at the host, which takes a beat. `monitor` is one that estimates. `arguments` named the target on the command line;
/// they are empty if nothing did.
pub async fn gather(monitor: Result<Monitor, monitor::Error>, target: Target, arguments: &str) -> Facts {
    let processes = process::all();
    let uid = rustix::process::getuid();
    let kernel = netglance_dbus::kernel::running();
    let settings = SettingsFile::open().settings;
    let host = Onlink::open().and_then(|mut onlink| onlink.changed()).ok().flatten().unwrap_or_default();
    let prefixes = Prefixes::new(&host, &settings.internal, &settings.external);
    let mut facts = Facts {
        distribution: distribution(),
        container: ["/run/systemd/container", "/.dockerenv", "/run/.containerenv"]
            .iter()
            .any(|f| Path::new(f).exists()),
        nft: kernel::nft(kernel.release()),
        nft_program: kernel::nft_program(),
        kernel,
        root: uid.is_root(),
        cgroup: cgroups(&text("/proc/self/mountinfo")),
        neighbours: neighbours(&processes),
        containers: containers::gather(&processes).await,
        dns: dns(&text("/etc/resolv.conf"), &prefixes),
        polkit_agent: processes
            .iter()
            .find(|p| p.uid == uid.as_raw() && is_polkit_agent(&p.name))
            .map(|p| p.name.clone()),
        saved: saved::saved(Path::new("/")),
        text_files: text_files(Path::new(TEXT_FILES), uid.as_raw()),
        uid: uid.as_raw(),
        // Where the system's service has the port, it is not the user's.
        metrics_unit: Path::new("/usr/lib/systemd/user/netglance-metrics.service").exists()
            && !Path::new("/usr/lib/systemd/system/netglance-metrics.service").exists(),
        netglance: came(),
        program: program(),
        apt: Path::new("/usr/bin/apt").exists(),
        pkexec: Path::new("/usr/bin/pkexec").exists(),
        sudo: Path::new("/usr/bin/sudo").exists() && is_administrator(&text("/etc/group")),
        ..Facts::default()
    };
    let all = arguments.is_empty() && target.is_everything();
    let are_own = all && !facts.root && target.describe() != "/";
    facts.app = App {
        name: if are_own { "your applications".to_owned() } else { target.name.clone() },
        all,
        pattern: target.describe(),
        arguments: arguments.to_owned(),
        ..App::default()
    };
    match monitor {
        Err(error) => facts.estimate_fails = Some(chain(&error)),
        Ok(mut monitor) => {
            monitor.watch(target.clone());
            tokio::time::sleep(settings.beat).await;
            estimate(&mut facts, &mut monitor, &target).await;
            look_at_app(&mut facts, &monitor, &target, &prefixes);
        }
    }
    bus::ask(&mut facts, &target, uid.as_raw()).await;
    if facts.helper == Helper::Absent && helper_is_here() {
        facts.helper = Helper::Unannounced;
    }
    facts
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn distribution() -> Option<String> {
    let name = |file: &str| {
        let text = text(file);
        let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
        Some(name.trim_matches(['"', '\'']).to_owned())
    };
    name("/etc/os-release").or_else(|| name("/usr/lib/os-release"))
}

/// `mountinfo`: see proc_pid_mountinfo(5).
fn cgroups(mountinfo: &str) -> Cgroups {
    let mounts = |kind: &str| {
        let kind = format!(" - {kind} ");
        mountinfo
            .lines()
            .filter(|line| line.contains(&kind))
            .filter_map(|line| line.split(' ').nth(4))
            .map(str::to_owned)
            .next()
    };
    match (mounts("cgroup2"), mounts("cgroup")) {
        (Some(mount), None) => Cgroups::Unified { mount },
        (Some(mount), Some(_)) => Cgroups::Hybrid { mount },
        (None, Some(_)) => Cgroups::V1,
        (None, None) => Cgroups::Absent,
    }
}

/// What the estimate says after one beat.
async fn estimate(facts: &mut Facts, monitor: &mut Monitor, target: &Target) {
    let beat = monitor.settings().settings.beat;
    if let Some(reading) = monitor.look(beat).await.pop() {
        if let Err(Gap::Failed(error)) = &reading.rate {
            facts.estimate_fails = Some(error.clone());
        }
        facts.app.rate = reading.rate.ok();
        facts.app.udp_sockets = reading.unmeasured_udp_sockets.and_then(|n| n.try_into().ok());
    }
    if monitor.look_at_programs(&Chosen::default()).is_ok() {
        let programs = monitor.by_program();
        let in_sessions = programs.iter().filter(|by| by.is_open).flat_map(|by| &by.programs);
        facts.session_programs = in_sessions.filter(|program| program.in_menu).count();
        monitor.forget_programs();
    }
    let apps = monitor.apps();
    let is_asked = |cgroup: &String| target.unit_of(cgroup).is_some();
    let others = apps.iter().filter(|app| facts.app.all || !app.cgroups.iter().any(is_asked));
    let mut sum = Others { count: 0, rate: Some(Rate::default()) };
    for app in others {
        sum.count += 1;
        sum.rate = sum.rate.zip(app.rate).map(|(sum, rate)| Rate { rx: sum.rx + rate.rx, tx: sum.tx + rate.tx });
    }
    facts.others = Some(sum);
}

/// The app's units and processes, and what is special about its sockets.
fn look_at_app(facts: &mut Facts, monitor: &Monitor, target: &Target, prefixes: &Prefixes) {
    let tree = monitor.tree();
    let app = &mut facts.app;
    let mut pids = Vec::new();
    let mut paths: Vec<_> = tree.paths().collect();
    paths.sort_unstable();
    for path in &paths {
        let Some(unit) = target.unit_of(path) else { continue };
        let procs = fs::read_to_string(tree.directory(path).join("cgroup.procs")).ok();
        let here: Option<Vec<u32>> = procs.map(|procs| procs.lines().filter_map(|line| line.parse().ok()).collect());
        let count = here.as_ref().map(Vec::len);
        pids.extend(here.unwrap_or_default());
        match app.units.iter_mut().find(|known| known.cgroup == unit.cgroup) {
            Some(known) => known.processes = known.processes.zip(count).map(|(a, b)| a + b),
            None => {
                let own = facts.root || monitor.is_own_cgroup(unit.cgroup);
                let (unit, cgroup) = (unit.unit.to_owned(), unit.cgroup.to_owned());
                app.units.push(AppUnit { unit, cgroup, own, processes: count });
            }
        }
    }
    if app.units.is_empty() {
        app.near = target.near(paths.iter().map(String::as_str)).into_iter().map(str::to_owned).collect();
    }
    let inside = process::look_into(&pids);
    app.elsewhere = inside.elsewhere;
    app.proxy = inside.proxy.map(|url| proxy(&url, prefixes));
    let held = |inode| inside.sockets.as_ref().is_some_and(|held| held.contains(&inode));
    let packet_sockets = sockets::packet_sockets(&text("/proc/self/net/packet"));
    app.packet_sockets = packet_sockets.iter().filter(|(_, inode)| held(*inode)).count();
    let may_hold = |(uid, inode): &&(u32, u32)| !held(*inode) && inside.closed.contains(uid);
    app.packet_sockets_unseen = packet_sockets.iter().filter(may_hold).count();
    app.shared_ports = sockets::shared(&sockets::bound(), |id| match tree.path(id) {
        None => Some("a control group that can't be seen".to_owned()),
        Some(path) if target.unit_of(&path).is_some() => None,
        Some(path) => Some(path.rsplit('/').next().unwrap_or_default().to_owned()),
    });
    let Ok(sockets) = sampler::open_sockets() else { return };
    let external = |address: IpAddr| prefixes.judge(address).scope == Scope::External;
    let external = sockets.iter().filter(|socket| external(socket.remote.ip()));
    let path = |id: Option<u64>| id.and_then(|id| tree.path(id));
    for socket in live::sockets(&sockets, |id| tree.path(id), prefixes, None, target) {
        app.redirected_to.extend(socket.proxy.filter(|proxy| !app.redirected_to.contains(proxy)));
    }
    facts.root_sockets = Some(external.clone().filter(|socket| path(socket.cgroup_id).as_deref() == Some("/")).count());
    app.handed_over = inside.sockets.map(|held| {
        let foreign = |id| path(id).is_none_or(|path| target.unit_of(&path).is_none());
        external.filter(|socket| held.contains(&socket.inode) && foreign(socket.cgroup_id)).count()
    });
}

/// Where a proxy's URL points.
fn proxy(url: &str, prefixes: &Prefixes) -> Proxy {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    if bare == "localhost" {
        return Proxy::Internal;
    }
    match bare.parse().map(|address| prefixes.judge(address).scope) {
        Ok(Scope::Internal) => Proxy::Internal,
        Ok(Scope::External) => Proxy::External,
        Err(_) => Proxy::Named,
    }
}

/// From resolv.conf(5): only the first server counts, as it is asked first.
fn dns(resolv_conf: &str, prefixes: &Prefixes) -> Dns {
    let servers = resolv_conf.lines().filter_map(|line| line.trim_start().strip_prefix("nameserver"));
    let first = servers.filter_map(|rest| rest.split('%').next()?.trim().parse::<IpAddr>().ok()).next();
    let Some(server) = first else { return Dns::Unknown };
    match server.to_string().as_str() {
        "127.0.0.53" | "127.0.0.54" => Dns::Resolved,
        // tailscaled answers there, on this host.
        "100.100.100.100" | "fd7a:115c:a1e0::53" => Dns::Local,
        _ if server.is_loopback() => Dns::Local,
        _ if prefixes.judge(server).scope == Scope::Internal => Dns::Internal,
        _ => Dns::External,
    }
}

/// Names of processes, cut to 15 characters by the kernel.
const BY_PROCESS: [(&str, Neighbour); 13] = [
    ("dockerd", Neighbour::Docker),
    ("conmon", Neighbour::Podman),
    ("libvirtd", Neighbour::Libvirt),
    ("virtqemud", Neighbour::Libvirt),
    ("virtnetworkd", Neighbour::Libvirt),
    ("firewalld", Neighbour::Firewalld),
    ("tailscaled", Neighbour::Tailscale),
    ("openvpn", Neighbour::Vpn),
    ("openconnect", Neighbour::Vpn),
    ("mullvad-daemon", Neighbour::Vpn),
    ("wireguard-go", Neighbour::Vpn),
    ("node_exporter", Neighbour::NodeExporter),
    ("prometheus-node", Neighbour::NodeExporter),
];

const PROXIES: [&str; 12] = [
    "privoxy",
    "squid",
    "tor",
    "tinyproxy",
    "mitmproxy",
    "mitmdump",
    "sing-box",
    "xray",
    "v2ray",
    "ss-local",
    "clash",
    "mihomo",
];

/// Those found by process, device and file; the bus adds what only systemd knows.
fn neighbours(processes: &[Process]) -> Vec<Neighbour> {
    let runs = |name: &str| processes.iter().any(|process| process.name == name);
    let mut found: Vec<_> =
        BY_PROCESS.into_iter().filter(|(name, _)| runs(name)).map(|(_, neighbour)| neighbour).collect();
    let proxies: Vec<_> = PROXIES.into_iter().filter(|name| runs(name)).collect();
    if !proxies.is_empty() {
        found.push(Neighbour::Proxy(proxies.join(", ")));
    }
    if text("/etc/ufw/ufw.conf").lines().any(|line| line.trim().eq_ignore_ascii_case("enabled=yes")) {
        found.push(Neighbour::Ufw);
    }
    for device in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        let name = device.file_name();
        match name.to_string_lossy().as_ref() {
            "docker0" => found.push(Neighbour::Docker),
            "virbr0" => found.push(Neighbour::Libvirt),
            "tailscale0" => found.push(Neighbour::Tailscale),
            _ if text(device.path().join("uevent")).contains("DEVTYPE=wireguard") => found.push(Neighbour::Wireguard),
            _ => {}
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Whether it is one that desktops start. polkit doesn't tell which agents have registered.
fn is_polkit_agent(name: &str) -> bool {
    let known = [
        "gnome-shell",
        "cinnamon",
        "budgie-polkit-d",
        "lxpolkit",
        "lxqt-policykit-",
        "xfce-polkit",
        "pantheon-agent-",
        "ukui-polkit",
        "hyprpolkitagent",
        "soteria",
        "cosmic-osd",
        "phosh",
    ];
    known.contains(&name) || name.starts_with("polkit-")
}

/// Whether this process is in a group that may use sudo on most distributions.
fn is_administrator(groups: &str) -> bool {
    let own = rustix::process::getgroups().unwrap_or_default();
    groups.lines().any(|line| {
        let mut fields = line.split(':');
        let named = fields.next().is_some_and(|name| ["sudo", "wheel", "admin"].contains(&name));
        named && fields.nth(1).is_some_and(|gid| own.iter().any(|own| own.to_string() == gid))
    })
}

/// Whether systemd has a unit file of the target's, for the system or for users (systemd.unit(5), "Unit File Load Path").
pub fn is_installed(target: &Target) -> bool {
    let shared = ["/etc", "/run", "/usr/local/lib", "/usr/lib"].map(|base| Path::new(base).join("systemd"));
    let shared = shared.iter().flat_map(|folder| [folder.join("user"), folder.join("system")]);
    let home = |variable: &str, default: &str| {
        let base = env::var_os(variable).map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(default)));
        base.map(|base| base.join("systemd/user"))
    };
    let own = [home("XDG_CONFIG_HOME", ".config"), home("XDG_DATA_HOME", ".local/share")];
    shared.chain(own.into_iter().flatten()).any(|folder| has_unit_file(&folder, target))
}

fn has_unit_file(folder: &Path, target: &Target) -> bool {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter_map(|file| file.file_name().into_string().ok())
        .any(|name| target.unit_of(&format!("/{name}")).is_some())
}

/// From a package, or from `netglance-helper set-up`.
fn helper_is_here() -> bool {
    [place::HELPER, place::OWN_HELPER].iter().any(|file| Path::new(file).exists())
}

/// What the step of [`super::advice`] makes of the folder.
fn text_files(folder: &Path, uid: u32) -> TextFiles {
    let link = folder.join(format!("netglance-{uid}.prom"));
    match (folder.is_dir(), link.is_symlink()) {
        (false, _) => TextFiles::Absent,
        (true, false) => TextFiles::Closed,
        (true, true) => TextFiles::Open,
    }
}

/// netglance as it was called; just its name if it is a package's, which is in everybody's PATH.
fn program() -> String {
    let called = env::args().next().filter(|called| called != "/usr/bin/netglance");
    called.map_or_else(|| "netglance".to_owned(), |called| quoted(&called))
}

fn came() -> Came {
    let Ok(program) = env::current_exe() else { return Came::Packaged };
    if program.starts_with("/usr/bin") {
        return Came::Packaged;
    }
    let helper = program.with_file_name("netglance-helper");
    if helper.exists() { Came::Beside(typed(&helper)) } else { Came::Alone }
}

/// A path as it is typed, without the name of anybody's home directory.
fn typed(path: &Path) -> String {
    let within = |variable: &str, folder: Option<PathBuf>| {
        let below = path.strip_prefix(folder?).ok()?;
        Some(format!("\"${variable}/{}\"", below.display()))
    };
    within("PWD", env::current_dir().ok())
        .or_else(|| within("HOME", env::home_dir()))
        .unwrap_or_else(|| quoted(&path.to_string_lossy()))
}

/// A word, quoted for a shell where it has to be.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./+-@:,=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::settings::Settings, look::apps::Apps};

    #[test]
    fn mounts_say_which_cgroups_there_are() {
        let line = |mount: &str, kind: &str| format!("41 31 0:38 / {mount} rw,relatime shared:9 - {kind} {kind} rw\n");
        let (v1, v2) = (line("/sys/fs/cgroup/pids", "cgroup"), line("/sys/fs/cgroup/unified", "cgroup2"));
        let mount = || "/sys/fs/cgroup/unified".to_owned();
        assert_eq!(cgroups(&line("/sys/fs/cgroup", "tmpfs")), Cgroups::Absent);
        assert_eq!(cgroups(&v1), Cgroups::V1);
        assert_eq!(cgroups(&v2), Cgroups::Unified { mount: mount() });
        assert_eq!(cgroups(&(v1 + &v2)), Cgroups::Hybrid { mount: mount() });
    }

    #[test]
    fn a_template_on_disk_is_installed_whether_it_runs_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let stb = Apps::new(&Settings::default()).target("StB", "StB");
        let check = |expected| assert_eq!(has_unit_file(folder.path(), &stb), expected);
        assert!(!has_unit_file(&folder.path().join("absent"), &stb));
        check(false);
        fs::write(folder.path().join("stb-next-other@.service"), "").unwrap();
        check(false);
        fs::write(folder.path().join("stb-next-server@.service"), "").unwrap();
        check(true);
    }

    #[test]
    fn the_first_name_server_is_judged() {
        let prefixes = Prefixes::new(&["203.0.113.0/24".parse().unwrap()], &[], &[]);
        let check = |resolv_conf: &str, expected| assert_eq!(dns(resolv_conf, &prefixes), expected, "{resolv_conf}");
        check("", Dns::Unknown);
        check("# nameserver 8.8.8.8\nsearch x\n", Dns::Unknown);
        check("nameserver 127.0.0.53\noptions edns0\n", Dns::Resolved);
        check("nameserver 127.0.0.1\nnameserver 8.8.8.8\n", Dns::Local);
        check("nameserver 100.100.100.100\n", Dns::Local);
        check("nameserver fe80::1%eth0\n", Dns::Internal);
        check("nameserver 192.168.2.1\n", Dns::Internal);
        check("nameserver 203.0.113.9\n", Dns::Internal);
        check("nameserver 8.8.8.8\n", Dns::External);
    }

    #[test]
    fn a_proxy_is_inside_outside_or_a_name() {
        let check = |url: &str, expected| assert_eq!(proxy(url, &Prefixes::default()), expected, "{url}");
        check("http://127.0.0.1:3128/", Proxy::Internal);
        check("localhost:8080", Proxy::Internal);
        check("socks5h://[::1]:9050", Proxy::Internal);
        check("http://user:secret@192.168.2.1:3128", Proxy::Internal);
        check("http://8.8.8.8:3128", Proxy::External);
        check("http://proxy.example:3128", Proxy::Named);
    }

    #[test]
    fn a_link_lets_a_users_file_in() {
        let folder = tempfile::tempdir().unwrap();
        let check = |expected| assert_eq!(text_files(folder.path(), 1000), expected);
        assert_eq!(text_files(&folder.path().join("absent"), 1000), TextFiles::Absent);
        check(TextFiles::Closed);
        std::os::unix::fs::symlink("netglance-1001/netglance.prom", folder.path().join("netglance-1001.prom")).unwrap();
        check(TextFiles::Closed);
        // It points nowhere until netglance has written the file.
        std::os::unix::fs::symlink("netglance-1000/netglance.prom", folder.path().join("netglance-1000.prom")).unwrap();
        check(TextFiles::Open);
    }

    #[test]
    fn words_are_typed_as_a_shell_takes_them() {
        assert_eq!(quoted("./target/release/netglance"), "./target/release/netglance");
        assert_eq!(quoted("stb-next-*.service"), "'stb-next-*.service'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
        let here = env::current_dir().unwrap().join("target/netglance-helper");
        assert_eq!(typed(&here), r#""$PWD/target/netglance-helper""#);
        assert_eq!(typed(Path::new("/opt/a b")), "'/opt/a b'");
    }
}

//! `netglance doctor`: what it makes of hosts that are written down here, and of the one that it runs on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Output},
};

use netglance::{
    advise::doctor::{
        Design, Report, Status, Who, diagnose,
        facts::{
            App, AppUnit, Came, Cgroups, Containers, Dns, Facts, Helper, Neighbour, Nft, Others, Part, Proxy, Saved,
            SavedRules, Session, SharedPort, TEXT_FILES, TextFiles, Tray,
        },
        report,
    },
    look::{
        engines::{Engine, State, Told},
        rate::Rate,
    },
};
use netglance_dbus::kernel::Kernel;
use serde_json::Value;
use support::{AGENT, OTHER, SERVER, SHELL, World};

const USER: &str = "/user.slice/user-1000.slice/user@1000.service/app.slice";

/// The owner's: Debian 12 with everything, the helper not installed yet.
fn owners() -> Facts {
    let unit = |name: &str, processes| {
        let unit = format!("stb-next-{name}@split.service");
        let slice = format!(r"app-stb\x2dnext\x2d{}.slice", name.replace('-', r"\x2d"));
        AppUnit { cgroup: format!("{USER}/{slice}/{unit}"), unit, own: true, processes: Some(processes) }
    };
    Facts {
        distribution: Some("Debian GNU/Linux 12 (bookworm)".into()),
        kernel: debian("6.1.0-31-amd64", "6.1.128-1"),
        cgroup: Cgroups::Unified { mount: "/sys/fs/cgroup".into() },
        nft: Nft { parts: parts(Some(true)), source: vec!["its configuration".into(), "its modules".into()] },
        systemd: Some("252 (252.36-1~deb12u1)".into()),
        user_manager: true,
        system_bus: true,
        app: App {
            name: "StB".into(),
            pattern: "stb-next-host-agent@*.service, stb-next-server@*.service, stb-next-shell@*.service".into(),
            units: vec![unit("host-agent", 1), unit("server", 1), unit("shell", 16)],
            rate: Some(Rate { rx: 600_000.0, tx: 12_000.0 }),
            udp_sockets: Some(3),
            handed_over: Some(0),
            elsewhere: Some(2),
            ..App::default()
        },
        others: Some(Others { count: 11, rate: Some(Rate { rx: 2_050_000.0, tx: 80_000.0 }) }),
        neighbours: vec![Neighbour::Libvirt, Neighbour::Nftables, Neighbour::Tailscale, Neighbour::NodeExporter],
        dns: Dns::Local,
        polkit: true,
        polkit_agent: Some("polkit-gnome-au".into()),
        session: Some(Session { kind: "x11".into(), active: true, remote: false }),
        tray: Tray::Host,
        root_sockets: Some(0),
        program: "netglance".into(),
        text_files: TextFiles::Closed,
        uid: 1000,
        metrics_unit: true,
        apt: true,
        pkexec: true,
        ..Facts::default()
    }
}

fn debian(release: &str, package: &str) -> Kernel {
    Kernel::new(release, &format!("#1 SMP PREEMPT_DYNAMIC Debian {package} (2025-02-07)"), "")
}

fn parts(has: Option<bool>) -> Vec<(Part, Option<bool>)> {
    [Part::Tables, Part::Inet, Part::Socket, Part::Hash, Part::Cgroup].map(|part| (part, has)).into()
}

/// A container without systemd and buses, v2 beside v1.
fn container() -> Facts {
    Facts {
        distribution: Some("Debian GNU/Linux 12 (bookworm)".into()),
        container: true,
        kernel: Kernel::new("6.18.44", "", ""),
        root: true,
        cgroup: Cgroups::Hybrid { mount: "/sys/fs/cgroup/unified".into() },
        nft: Nft { parts: parts(None), source: Vec::new() },
        others: Some(Others { count: 0, rate: Some(Rate::default()) }),
        app: App { name: "StB".into(), pattern: "stb-next-*".into(), ..App::default() },
        netglance: Came::Alone,
        program: "target/release/netglance".into(),
        ..Facts::default()
    }
}

/// A host that was booted with cgroup v1.
fn without_v2() -> Facts {
    let estimate_fails = Some("no cgroup v2 hierarchy is mounted here".into());
    Facts {
        cgroup: Cgroups::V1,
        others: None,
        estimate_fails,
        app: App { units: Vec::new(), ..owners().app },
        ..owners()
    }
}

/// Whatever can be met, the helper at work.
fn with_everything() -> Facts {
    let owners = owners();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Facts {
        helper: Helper::Counting { version, rows: 14, warning: String::new() },
        neighbours: vec![
            Neighbour::Docker,
            Neighbour::Podman,
            Neighbour::Libvirt,
            Neighbour::Firewalld,
            Neighbour::Ufw,
            Neighbour::Nftables,
            Neighbour::Tailscale,
            Neighbour::Wireguard,
            Neighbour::Vpn,
            Neighbour::Proxy("privoxy".into()),
            Neighbour::NodeExporter,
        ],
        containers: Containers {
            engines: vec![Told { engine: Engine::Docker, place: "/run/docker.sock".into(), state: State::Denied }],
            rootless: vec!["pasta".into()],
            sandboxed: true,
            joined: vec!["br0".into()],
        },
        dns: Dns::Resolved,
        root_sockets: Some(2),
        app: App {
            socket_units: vec!["stb-next-server@split.socket".into()],
            handed_over: Some(1),
            proxy: Some(Proxy::Internal),
            redirected_to: vec!["squid.service".into()],
            filters: vec!["user-1000.slice".into()],
            shared_ports: vec![SharedPort { port: 443, with: vec!["other.service".into()] }],
            packet_sockets: 1,
            ..owners.app
        },
        ..owners
    }
}

fn saved_as(saved: &[Saved]) -> Vec<SavedRules> {
    saved.iter().map(|saved| SavedRules { file: "/etc/nftables.conf".into(), saved: *saved }).collect()
}

fn statuses(report: &Report) -> BTreeMap<&str, Status> {
    report.findings.iter().map(|finding| (finding.id, finding.status)).collect()
}

fn status(facts: Facts, id: &str) -> Status {
    *statuses(&diagnose(&facts)).get(id).unwrap_or_else(|| panic!("no finding {id}"))
}

#[test]
fn each_host_gets_the_findings_that_are_its_own() {
    use Status::{Note, Ok, Problem, Unknown, Warning};
    let check = |host: &str, facts: Facts, expected: &[(&str, Status)]| {
        let report = diagnose(&facts);
        assert_eq!(statuses(&report), expected.iter().copied().collect(), "{host}");
        let problem = expected.iter().any(|(_, status)| *status == Problem);
        assert_eq!(report.has_problem(), problem, "{host}");
        let ids: BTreeSet<_> = report.findings.iter().map(|finding| finding.id).collect();
        assert_eq!(ids.len(), report.findings.len(), "{host}: an id twice");
    };
    let base = [("distribution", Ok), ("kernel", Ok), ("cgroup", Ok), ("nft", Ok), ("inet-diag", Ok), ("systemd", Ok)];
    let owners_own = [("app", Ok), ("sockets", Ok), ("other-apps", Note), ("libvirt", Note), ("nftables-service", Ok)];
    let desktop = [("polkit", Ok), ("polkit-agent", Ok), ("tray", Ok)];
    let more = [("tailscale", Note), ("node-exporter", Note), ("dns", Note), ("helper", Note)];
    check("the owner's", owners(), &[&base[..], &owners_own, &desktop, &more].concat());
    let container_findings = [
        ("distribution", Note),
        ("kernel", Ok),
        ("cgroup", Ok),
        ("nft", Unknown),
        ("inet-diag", Ok),
        ("systemd", Warning),
        ("app", Note),
        ("sockets", Unknown),
        ("other-apps", Ok),
        ("dns", Unknown),
        ("polkit", Warning),
        ("polkit-agent", Unknown),
        ("tray", Unknown),
        ("helper", Note),
    ];
    check("a bare container", container(), &container_findings);
    let broken = [("cgroup", Problem), ("inet-diag", Problem), ("app", Note), ("other-apps", Unknown)];
    check("without v2", without_v2(), &[&base[..], &owners_own, &desktop, &more, &broken].concat());
    let everything = [
        ("sockets", Note),
        ("docker", Note),
        ("podman", Note),
        ("firewalld", Ok),
        ("ufw", Ok),
        ("wireguard", Note),
        ("vpn", Note),
        ("proxy", Note),
        ("docker-names", Note),
        ("rootless", Note),
        ("sandboxes", Ok),
        ("ip-filter", Note),
        ("shared-ports", Note),
        ("packet-sockets", Note),
        ("helper", Ok),
    ];
    check("everything", with_everything(), &[&base[..], &owners_own, &desktop, &more, &everything].concat());
}

#[test]
fn a_finding_follows_its_fact() {
    use Status::{Note, Ok, Problem, Unknown, Warning};
    let kernel = |release: &str| Facts { kernel: Kernel::new(release, "", ""), ..owners() };
    for (release, expected) in [
        ("6.12.0", Ok),
        ("5.15.168", Note),
        ("6.1.110", Warning),
        ("6.0", Warning),
        ("5.13.1", Problem),
        ("5.14.0-427.13.1.el9_4.x86_64", Warning),
        ("6.4.0-150600.23.22-default", Unknown),
        ("5.10.0-8-amd64", Warning),
        ("x", Unknown),
    ] {
        assert_eq!(status(kernel(release), "kernel"), expected, "{release}");
    }
    let hybrid = |release: &str| Facts { cgroup: container().cgroup, ..kernel(release) };
    assert_eq!(status(hybrid("5.14.0"), "cgroup"), Warning);
    assert_eq!(status(hybrid("5.15.0"), "cgroup"), Ok);
    assert_eq!(status(Facts { cgroup: Cgroups::Absent, ..owners() }, "cgroup"), Problem);
    let nft = |has| Facts { nft: Nft { parts: parts(has), source: Vec::new() }, ..owners() };
    assert_eq!(status(nft(Some(false)), "nft"), Warning);
    assert_eq!(status(nft(None), "nft"), Unknown);
    assert_eq!(status(Facts { nft: Nft::default(), ..owners() }, "nft"), Unknown);
    let version = || "0.0.9".to_owned();
    let failing = |unsupported| Helper::Failing { version: version(), error: "no".into(), unsupported };
    for (helper, expected) in [
        (Helper::Unannounced, Warning),
        (Helper::Unreachable("it hangs".into()), Problem),
        (Helper::Idle { version: version() }, Note),
        (failing(false), Problem),
        (Helper::Counting { version: version(), rows: 0, warning: String::new() }, Warning),
        (Helper::Counting { version: env!("CARGO_PKG_VERSION").into(), rows: 1, warning: "full".into() }, Warning),
    ] {
        assert_eq!(status(Facts { helper: helper.clone(), ..owners() }, "helper"), expected, "{helper:?}");
    }
    assert_eq!(status(Facts { helper: failing(true), ..owners() }, "nft"), Problem);
    // The helper's word goes before what the files say.
    let counting = Helper::Counting { version: version(), rows: 1, warning: String::new() };
    assert_eq!(status(Facts { helper: counting, ..nft(Some(false)) }, "nft"), Ok);
    for (tray, expected) in [(Tray::Host, Ok), (Tray::NoHost, Warning), (Tray::Nobody, Warning), (Tray::NoBus, Unknown)]
    {
        assert_eq!(status(Facts { tray, ..owners() }, "tray"), expected, "{tray:?}");
    }
    assert_eq!(status(Facts { systemd: Some("247 (247.3-7)".into()), ..owners() }, "systemd"), Note);
    assert_eq!(status(Facts { polkit_agent: None, ..owners() }, "polkit-agent"), Unknown);
    let unseen = App { packet_sockets_unseen: 1, ..owners().app };
    assert_eq!(status(Facts { app: unseen, ..owners() }, "packet-sockets"), Unknown);
    for (version, is_told) in [("0.9.8", true), ("0.9.9", false), ("1.0.6", false), ("1.1.3", false), ("odd", false)] {
        let facts = Facts { nft_program: Some(version.into()), ..owners() };
        let told = diagnose(&facts).findings.iter().any(|finding| finding.id == "nft-program");
        assert_eq!(told, is_told, "{version}");
    }
    for (saved, expected) in [
        (vec![Saved::Listed], Warning),
        (vec![Saved::Unreadable, Saved::Otherwise], Warning),
        (vec![Saved::Unreadable], Unknown),
    ] {
        assert_eq!(status(Facts { saved: saved_as(&saved), ..owners() }, "saved-rules"), expected, "{saved:?}");
    }
    let mut foreign = owners();
    foreign.app.units[0].own = false;
    assert_eq!(status(foreign, "app"), Note);
}

#[test]
fn the_design_follows_from_what_the_host_has() {
    let check = |facts: Facts, expected: Option<Design>, because: &str| {
        let report = diagnose(&facts);
        assert_eq!(report.design, expected, "{}", report.why);
        assert!(report.why.contains(because), "{because:?} is not in {:?}", report.why);
    };
    check(owners(), Some(Design::Exact), "11 other apps");
    check(with_everything(), Some(Design::Exact), "every packet");
    check(container(), Some(Design::Estimate), "no systemd");
    let on = |release: &str| Facts { kernel: Kernel::new(release, "", ""), ..owners() };
    check(on("5.10.0"), Some(Design::Estimate), "older than 5.13");
    check(on("5.15.30"), Some(Design::Estimate), "the computer can crash");
    check(on("6.1.100"), Some(Design::Exact), "every packet");
    let parts = vec![(Part::Socket, Some(false))];
    check(Facts { nft: Nft { parts, source: Vec::new() }, ..owners() }, Some(Design::Estimate), "CONFIG_NFT_SOCKET");
    check(without_v2(), None, "cgroup v2");
    check(Facts { estimate_fails: Some("no tcp_diag".into()), ..container() }, None, "does not work either");
    // Without polkit root can still switch it on.
    check(Facts { polkit: false, ..owners() }, Some(Design::Exact), "every packet");
}

#[test]
fn a_kernel_that_cannot_be_trusted_is_to_be_updated() {
    let steps = |facts: Facts| diagnose(&facts).steps;
    let on = |release: &str| Facts { kernel: Kernel::new(release, "", ""), ..owners() };
    let crashes = &steps(on("5.15.30"))[0];
    assert!(crashes.text.contains("Update the kernel to Linux 5.15.38 or 5.18"), "{}", crashes.text);
    let leaky = Facts { helper: Helper::Idle { version: String::new() }, ..on("6.1.100") };
    let leaks = steps(leaky.clone());
    assert!(leaks[0].text.contains("Update the kernel to Linux 6.1.111 or 6.11"), "{}", leaks[0].text);
    assert!(leaks[1].text.contains("Asks first"), "{}", leaks[1].text);
    let command = |facts: Facts| steps(facts)[1].command.clone().unwrap();
    assert!(command(Facts { polkit: false, ..leaky.clone() }).contains(" InstallAnyway"));
    let beside = Facts { helper: Helper::Absent, netglance: Came::Beside("./helper".into()), ..leaky.clone() };
    assert!(command(beside).ends_with("./helper set-up --accept-kernel-bug"));
    let why = "Linux 6.1.100 has a bug".to_owned();
    let unconfirmed = Facts { helper: Helper::Unconfirmed { version: "1".into(), why }, ..leaky };
    assert_eq!(status(unconfirmed.clone(), "helper"), Status::Warning);
    assert!(command(unconfirmed).ends_with(" install"));
    assert!(steps(on("6.1.111")).iter().all(|step| !step.text.contains("Update the kernel")));
}

#[test]
fn blind_spots_are_those_of_this_host() {
    let check = |facts: Facts, expected: &[&str]| {
        let report = diagnose(&facts);
        assert_eq!(report.blind_spots.iter().map(|spot| spot.id).collect::<Vec<_>>(), expected);
    };
    check(container(), &[]);
    check(owners(), &["namespaces", "vpn", "dns"]);
    let all = [
        "joined",
        "namespaces",
        "redirected",
        "proxy",
        "vpn",
        "dns",
        "socket-activation",
        "handed-over",
        "packet-sockets",
        "root-cgroup",
    ];
    check(with_everything(), &all);
}

#[test]
fn steps_are_typed_as_they_are_printed() {
    let mute = |facts| Facts { metrics_unit: false, text_files: TextFiles::Absent, ..facts };
    let (owners, with_everything) = (|| mute(owners()), || mute(with_everything()));
    let check = |facts: Facts, expected: &[(Who, &str, &str)]| {
        let steps = diagnose(&facts).steps;
        let steps = steps.iter().map(|step| (step.who, step.command.as_deref().unwrap_or("-"), step.undo.as_str()));
        assert_eq!(steps.collect::<Vec<_>>(), expected);
    };
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let package = format!("netglance-helper_{}*_{architecture}.deb", env!("CARGO_PKG_VERSION"));
    let none = "not needed";
    let install = (Who::User, "netglance install", "netglance uninstall");
    let last = [(Who::User, "netglance verify", none), (Who::User, "netglance watch --source exact", none)];
    let with = |first: &[(Who, &'static str, &'static str)]| [first, &last].concat();

    let apt = format!("pkexec apt install \"$PWD\"/{package}");
    check(owners(), &[(Who::Root, apt.as_str(), "pkexec apt purge netglance-helper"), install, last[0], last[1]]);
    let su = format!("su - -c \"apt install '$PWD'/{package}\"");
    let undo = "su - -c \"apt purge netglance-helper\"";
    check(Facts { pkexec: false, ..owners() }, &[(Who::Root, su.as_str(), undo), install, last[0], last[1]]);
    // A terminal without an agent.
    let agentless = || Facts { polkit_agent: None, ..owners() };
    check(agentless(), &[(Who::Root, su.as_str(), undo), install, last[0], last[1]]);
    let sudo = format!("sudo apt install \"$PWD\"/{package}");
    let undo = "sudo apt purge netglance-helper";
    check(Facts { sudo: true, ..agentless() }, &[(Who::Root, sudo.as_str(), undo), install, last[0], last[1]]);
    let as_root = format!("apt install \"$PWD\"/{package}");
    let root = Facts { root: true, ..owners() };
    check(root, &[(Who::Root, as_root.as_str(), "apt purge netglance-helper"), install, last[0], last[1]]);

    let helper = "\"$PWD/target/release/netglance-helper\"";
    let (set_up, take_out) = (format!("pkexec {helper} set-up"), format!("pkexec {helper} take-out"));
    let built = Facts { netglance: Came::Beside(helper.into()), ..owners() };
    check(built, &[(Who::Root, set_up.as_str(), take_out.as_str()), last[0], last[1]]);
    let build = "cargo build --release --package netglance-helper";
    let clean = "cargo clean --package netglance-helper";
    let alone = Facts { netglance: Came::Alone, ..owners() };
    let steps = [(Who::User, build, clean), (Who::Root, set_up.as_str(), take_out.as_str()), last[0], last[1]];
    check(alone, &steps);

    check(Facts { helper: Helper::Idle { version: "1".into() }, ..owners() }, &with(&[install]));
    check(with_everything(), &last);
    let call = "sudo busctl call org.netglance.Helper1 /org/netglance/Helper1 org.netglance.Helper1";
    let (start, stop) = (format!("{call} Install"), format!("{call} Uninstall"));
    let idle = Facts { polkit: false, sudo: true, helper: Helper::Idle { version: "1".into() }, ..owners() };
    check(idle, &[(Who::Root, start.as_str(), stop.as_str()), last[0], last[1]]);

    check(container(), &[(Who::User, "target/release/netglance watch", none)]);
    let firefox = App { arguments: "--app firefox".into(), ..container().app };
    check(Facts { app: firefox, ..container() }, &[(Who::User, "target/release/netglance watch --app firefox", none)]);

    let mend = r"sed -i.before-netglance '/^table inet netglance *{ *\(#.*\)*$/,/^}/d' /etc/nftables.conf";
    let undo = "mv /etc/nftables.conf.before-netglance /etc/nftables.conf";
    let (pkexec, pkexec_undo) = (format!("pkexec {mend}"), format!("pkexec {undo}"));
    let (su, su_undo) = (format!("su - -c \"{mend}\""), format!("su - -c \"{undo}\""));
    let saved = || saved_as(&[Saved::Listed, Saved::Unreadable]);
    let counting = Facts { saved: saved(), ..with_everything() };
    check(counting.clone(), &[(Who::Root, pkexec.as_str(), pkexec_undo.as_str()), last[0], last[1]]);
    let by_su = [(Who::Root, su.as_str(), su_undo.as_str()), last[0], last[1]];
    check(Facts { pkexec: false, ..counting }, &by_su);
    let by_hand = Facts { saved: saved_as(&[Saved::Otherwise]), ..with_everything() };
    check(by_hand, &with(&[(Who::Root, "-", "put it back")]));

    check(without_v2(), &[(Who::Root, "-", "remove it again, run update-grub, reboot")]);
}

/// What the step does to a file that a real `nft list ruleset` has made, and its undo.
#[test]
fn netglances_table_is_taken_out_of_saved_rules_and_nothing_else() {
    let list = |rules: &str| {
        let script = format!("nft -f - <<'END' && nft list ruleset\n{rules}\nEND");
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &script]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let mine = |name: &str| {
        format!(
            "table inet {name} {{
                comment \"table inet netglance {{\"
                set s {{ type ipv4_addr; elements = {{ 192.0.2.1, 192.0.2.2 }}; }}
                chain c {{ type filter hook input priority 0; tcp dport {{ 22, 80 }} counter accept; }}
            }}"
        )
    };
    let (before, after) = (mine("a"), mine("netglance2"));
    let all = list(&[&before, &mine("netglance"), &after].map(String::as_str).join("\n"));
    let without = list(&[before, after].join("\n"));
    assert_ne!(all, without);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nftables.conf");
    fs::write(&file, &all).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let saved = vec![SavedRules { file: file.to_str().unwrap().into(), saved: Saved::Listed }];
    let step = diagnose(&Facts { saved, root: true, ..owners() }).steps.remove(0);
    let run = |line: &str| assert!(Command::new("sh").args(["-c", line]).status().unwrap().success(), "{line}");
    run(step.command.as_deref().unwrap());
    assert_eq!(fs::read_to_string(&file).unwrap(), without);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    run(&step.undo);
    assert_eq!(fs::read_to_string(&file).unwrap(), all);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the copy has become the file");
}

#[test]
fn the_figures_get_to_prometheus_where_node_exporter_runs() {
    let check = |facts: Facts, expected: &[(Who, &str, &str)]| {
        let steps = diagnose(&facts).steps;
        let steps = steps.iter().map(|step| (step.who, step.command.as_deref().unwrap(), step.undo.as_str()));
        let steps: Vec<_> = steps.collect();
        let after = steps.iter().position(|(_, command, _)| command.contains(" watch ")).unwrap() + 1;
        assert_eq!(steps[after..], *expected);
    };
    let port = (
        Who::User,
        "systemctl --user enable --now netglance-metrics",
        "systemctl --user disable --now netglance-metrics",
    );
    let link = "sh -c 'cd /var/lib/prometheus/node-exporter && install -d -o 1000 netglance-1000 && ln -s netglance-1000/netglance.prom netglance-1000.prom'";
    let undo =
        "rm -r /var/lib/prometheus/node-exporter/netglance-1000 /var/lib/prometheus/node-exporter/netglance-1000.prom";
    let pkexec = [link, undo].map(|command| format!("pkexec {command}"));
    let su = [link, undo].map(|command| format!("su - -c \"{command}\""));
    let write = (
        Who::User,
        "netglance metrics --textfile /var/lib/prometheus/node-exporter/netglance-1000/netglance.prom --interval 15",
        "not needed",
    );
    check(owners(), &[port, (Who::Root, &pkexec[0], &pkexec[1]), write]);
    check(Facts { pkexec: false, ..owners() }, &[port, (Who::Root, &su[0], &su[1]), write]);
    check(Facts { metrics_unit: false, ..owners() }, &[(Who::Root, &pkexec[0], &pkexec[1]), write]);
    check(Facts { text_files: TextFiles::Open, ..owners() }, &[port, write]);
    check(Facts { text_files: TextFiles::Absent, ..owners() }, &[port]);
    check(Facts { root: true, ..owners() }, &[]);
    check(Facts { neighbours: Vec::new(), ..owners() }, &[]);
}

/// The step, in a folder of the test's, and Debian's node_exporter reads it.
#[test]
fn node_exporter_reads_a_users_file_after_the_step_and_nothing_else_is_open_to_them() {
    const NOBODY: u32 = 65534;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let texts = folder.path().join("texts");
    fs::create_dir(&texts).unwrap();
    fs::write(texts.join("other.prom"), "other_metric 7\n").unwrap();
    let program = folder.path().join("netglance");
    fs::copy(env!("CARGO_BIN_EXE_netglance"), &program).unwrap();
    let here = |line: &str| line.replace(TEXT_FILES, texts.to_str().unwrap());
    let run = |line: &str| Command::new("sh").args(["-c", line]).output().unwrap();
    let as_nobody = |line: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", line]);
        command.env_remove("DBUS_SESSION_BUS_ADDRESS").env("HOME", "/nonexistent").output().unwrap()
    };

    let su = Facts { pkexec: false, uid: NOBODY, ..owners() };
    let steps = diagnose(&su).steps;
    let [.., root, user] = steps.as_slice() else { panic!("{steps:?}") };
    let by_root = |line: &str| here(line.strip_prefix("su - -c \"").unwrap().strip_suffix('"').unwrap());
    let output = run(&by_root(root.command.as_deref().unwrap()));
    assert!(output.status.success(), "{output:?}");
    let write = here(user.command.as_deref().unwrap()).replace(" --interval 15", "");
    let write = write.replacen("netglance", program.to_str().unwrap(), 1);
    for _ in 0..2 {
        let output = as_nobody(&write);
        assert!(output.status.success(), "{output:?}");
    }

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut exporter = Command::new("prometheus-node-exporter");
    exporter.args(["--collector.disable-defaults", "--collector.textfile", "--log.level=error"]);
    exporter.arg(format!("--collector.textfile.directory={}", texts.display()));
    exporter.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let mut exporter = Ended(exporter.spawn().expect("prometheus-node-exporter: tests/all installs it"));
    let text = support::eventually("node_exporter answers", || {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    });
    for line in ["netglance_build_info{", "other_metric 7", "node_textfile_scrape_error 0"] {
        assert!(text.lines().any(|known| known.starts_with(line)), "no {line}: {text}");
    }
    assert!(exporter.0.try_wait().unwrap().is_none());

    for harm in ["rm -f other.prom", "echo 1 > other.prom", "touch new.prom", "rm -f *.prom", "mv netglance-65534 x"] {
        let output = as_nobody(&format!("cd {} && {harm}", texts.display()));
        assert!(!output.status.success(), "{harm}: {output:?}");
    }
    let output = run(&by_root(&root.undo));
    assert!(output.status.success(), "{output:?}");
    let left: Vec<_> = fs::read_dir(&texts).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["other.prom"]);
}

/// A program that goes with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

/// Real sockets, and what doctor says of the one unit and of the other.
#[test]
fn shared_ports_and_packet_sockets_are_found() {
    let world = World::new();
    let _shared: Vec<_> =
        [AGENT, OTHER].map(|unit| world.traffic(unit, &["share", "0.0.0.0:7010"]).says("ready")).into();
    let _apart = world.traffic(AGENT, &["share", "127.0.0.1:7011"]).says("ready");
    let _inside = world.traffic(OTHER, &["share", "127.0.0.1:7011"]).says("ready");
    let _packets = world.traffic(AGENT, &["packet"]).says("ready");
    let findings = |unit: &str| {
        let (_, stdout, stderr) = world.netglance(&["doctor", "--json", "--unit", unit]).end();
        let report: Value = serde_json::from_str(&stdout.join("\n")).unwrap_or_else(|e| panic!("{e}: {stderr}"));
        let found = report["findings"].as_array().unwrap().iter().map(|finding| {
            (finding["id"].as_str().unwrap().to_owned(), finding["detail"].as_str().unwrap().to_owned())
        });
        found.collect::<BTreeMap<_, _>>()
    };
    let (agent, other) = (findings("stb-next-host-agent@*"), findings("app-electron*"));
    let port = |with: &str| format!("Port 7010 is shared with {}.\nIf", with.rsplit('/').next().unwrap());
    assert!(agent["shared-ports"].starts_with(&port(OTHER)), "{agent:#?}");
    assert!(other["shared-ports"].starts_with(&port(AGENT)), "{other:#?}");
    assert!(agent.contains_key("packet-sockets"), "{agent:#?}");
    assert!(!other.contains_key("packet-sockets"), "{other:#?}");
    let neither = findings("stb-next-server@*");
    assert!(!neither.contains_key("shared-ports") && !neither.contains_key("packet-sockets"), "{neither:#?}");
}

/// StB is no word of somebody's who has never had it.
#[test]
fn stb_is_named_only_where_it_is() {
    let world = World::new();
    let texts = || {
        let (_, stdout, stderr) = world.netglance_as_user(&["doctor"]).end();
        assert!(stderr.is_empty(), "{stderr}");
        stdout.join("\n")
    };
    let running = texts();
    assert!(running.contains("StB: 3 units") && running.contains("of StB."), "{running}");

    [AGENT, SERVER, SHELL].iter().for_each(|unit| world.remove(unit));
    let absent = texts();
    assert!(absent.contains("your applications: ") && absent.contains("traffic of your applications"), "{absent}");
    assert!(!absent.contains("StB"), "{absent}");
    let (_, named, _) = world.netglance_as_user(&["doctor", "--app", "stb"]).end();
    assert!(named.join("\n").contains("is not running"), "{named:#?}");

    let units = world.home().join("systemd/user");
    fs::create_dir_all(&units).unwrap();
    fs::write(units.join("stb-next-server@.service"), "[Service]\n").unwrap();
    let installed = texts();
    assert!(installed.contains("StB is not running"), "{installed}");
}

#[test]
fn all_applications_are_one_line_and_told_apart() {
    let all = || App { name: "your applications".into(), all: true, ..owners().app };
    let text = report::text(&diagnose(&Facts { app: all(), ..owners() }), false);
    assert!(text.contains("your applications: 3 units, 18 processes") && !text.contains("stb-next"), "{text}");
    assert!(text.contains("11 apps of the same user") && !text.contains("other app"), "{text}");
    assert_eq!(status(Facts { app: all(), ..owners() }, "other-apps"), Status::Note);
    let one = Some(Others { count: 1, rate: None });
    assert_eq!(status(Facts { app: all(), others: one, ..owners() }, "other-apps"), Status::Ok);
    let unseen = App { units: Vec::new(), ..all() };
    assert_eq!(status(Facts { app: unseen, ..without_v2() }, "app"), Status::Unknown);
}

/// Hidden versions, so that a release changes no picture.
fn versionless(page: &str) -> String {
    page.replace(env!("CARGO_PKG_VERSION"), "VERSION").replace("_arm64", "_amd64")
}

#[test]
fn the_owners_report_reads_well() {
    let report = diagnose(&owners());
    let text = report::text(&report, false);
    let is_command = |line: &&str| ["[root] ", "[user] ", " undo: "].iter().any(|before| line.contains(before));
    for line in text.lines().filter(|line| !is_command(line)) {
        // A path or a pattern is one word, however long.
        let fits = line.chars().count() <= 80 || line.trim().split(' ').any(|word| word.chars().count() > 70);
        assert!(fits, "too long for 80 columns: {line}");
    }
    insta::assert_snapshot!("text", versionless(&text));
    insta::assert_snapshot!("markdown", versionless(&report::markdown(&report)));
    insta::assert_snapshot!("json", versionless(&serde_json::to_string_pretty(&report).unwrap()));
    let coloured = report::text(&diagnose(&without_v2()), true);
    assert!(coloured.contains("\u{1b}["), "no colours: {coloured}");
}

fn doctor(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netglance"));
    command.arg("doctor").args(arguments).output().expect("start netglance")
}

#[test]
fn this_host_is_read_as_it_is() {
    let output = doctor(&["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = report["findings"].as_array().unwrap();
    let problem = findings.iter().any(|finding| finding["status"] == "problem");
    assert_eq!(output.status.code(), Some(problem.into()), "{report:#}");
    let find = |id: &str| findings.iter().find(|finding| finding["id"] == id).unwrap_or_else(|| panic!("no {id}"));

    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let mounted = |kind: &str| {
        mounts.lines().find(|line| line.split(' ').nth(2) == Some(kind)).map(|line| line.split(' ').nth(1).unwrap())
    };
    let expected = match (mounted("cgroup2"), mounted("cgroup")) {
        (Some(mount), Some(_)) => format!("hybrid: cgroup v2 at {mount}, beside v1"),
        (Some(mount), None) => format!("cgroup v2 at {mount}"),
        _ => panic!("this host has no cgroup v2: mount -t cgroup2 none /sys/fs/cgroup/unified"),
    };
    assert_eq!(find("cgroup")["title"], expected.as_str());
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(find("kernel")["title"], format!("Linux {}", release.trim()).as_str());
    assert_eq!(find("inet-diag")["status"], "ok", "{report:#}");
    let name = fs::read_to_string("/etc/os-release").unwrap();
    let name = name.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap().trim_matches('"');
    assert!(find("distribution")["title"].as_str().unwrap().starts_with(name));

    let text = doctor(&[]);
    assert_eq!(text.status.code(), output.status.code());
    assert!(!text.stdout.contains(&0x1b), "colours that are no terminal's");
    let markdown = doctor(&["--markdown", "--unit", "no-such-*.service"]);
    let markdown = String::from_utf8(markdown.stdout).unwrap();
    assert!(
        markdown.starts_with("## netglance doctor") && markdown.contains(r"no-such-\*.service is not running"),
        "{markdown}"
    );
}

#[test]
fn nothing_private_is_told() {
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let text = [doctor(&[]).stdout, doctor(&["--json"]).stdout, doctor(&["--markdown"]).stdout].concat();
    // The path to this very build may hold any word.
    let build = std::path::Path::new(env!("CARGO_BIN_EXE_netglance")).parent().unwrap().to_str().unwrap();
    let text = String::from_utf8(text).unwrap().replace(build, "");
    let words: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && !".:-_".contains(c)).collect();
    assert!(!words.contains(hostname.trim()), "the host's name: {text}");
    let addresses = fs::read_to_string("/proc/net/fib_trie").unwrap();
    let local = addresses
        .split_whitespace()
        .filter(|word| word.parse::<std::net::Ipv4Addr>().is_ok_and(|a| !a.is_loopback() && !a.is_unspecified()));
    for address in local {
        assert!(!words.contains(address), "{address}: {text}");
    }
}

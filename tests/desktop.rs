//! The owner's desktop from end to end: a real session, real units, polkit's real dialog, and bytes held against what the
//! outside has counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/desktop.rs"]
mod desktop;
mod support;

use std::collections::HashMap;

use desktop::{APP_SLICE, Answer, CONTAINER, Desktop, Found, OTHER, PASSWORD, RATE, SERVICES, dropped, packages};
use serde_json::Value;
use support::eventually;

const CALL: &str = "--dest org.netglance.Helper1 --object-path /org/netglance/Helper1 --method org.netglance.Helper1";

/// The line that has gdbus call the helper, dialogs allowed.
fn call(method: &str) -> String {
    format!("gdbus call --system --interactive --timeout 120 {CALL}.{method}")
}

#[track_caller]
fn refused(answer: &Answer, name: &str, words: &str) {
    let said = &answer.stderr;
    assert!(!answer.status.success(), "{answer:?}");
    assert!(said.contains(&format!("org.netglance.Helper1.Error.{name}: ")) && said.contains(words), "{said}");
}

/// What `Read` says to cad: the epoch, and for each cgroup external rx, tx, internal rx, tx.
fn read(desktop: &Desktop) -> (u64, HashMap<String, [u64; 4]>) {
    let line =
        "busctl --system --json=short call org.netglance.Helper1 /org/netglance/Helper1 org.netglance.Helper1 Read";
    let answer: Value = serde_json::from_str(&desktop.cad(line).ok()).unwrap();
    let rows = answer["data"][2]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row[0].as_str().unwrap().to_owned(), [1, 2, 3, 4].map(|column| row[column].as_u64().unwrap())));
    (answer["data"][0].as_u64().unwrap(), rows.collect())
}

fn installed(desktop: &Desktop) -> bool {
    let line =
        "busctl --system get-property org.netglance.Helper1 /org/netglance/Helper1 org.netglance.Helper1 Installed";
    desktop.cad(line).ok().trim() == "b true"
}

fn property(desktop: &Desktop, name: &str) -> String {
    desktop.root(&format!("systemctl show --value --property {name} netglance-helper")).ok().trim().to_owned()
}

/// Waits until the helper has left, as nobody has called for a while.
#[track_caller]
fn left(desktop: &Desktop) {
    eventually("the helper leaves when nobody calls", || {
        (property(desktop, "ActiveState") == "inactive").then_some(())
    });
    assert_eq!(property(desktop, "Result"), "success");
}

/// Fails if the helper, or systemd about it, had anything to complain of in this boot.
#[track_caller]
fn no_complaints(desktop: &Desktop) {
    let complaints = desktop.root("journalctl --boot --quiet --unit netglance-helper --priority warning").ok();
    assert_eq!(complaints, "");
}

/// Everything of the helper's that Uninstall must take away and a refused Install must not make.
#[track_caller]
fn nothing_is_counted(desktop: &Desktop) {
    assert_eq!(desktop.root("nft list tables").ok(), "");
    assert_eq!(
        desktop.root("ls -A /var/lib/netglance /run/netglance").ok(),
        "/run/netglance:\n\n/var/lib/netglance:\n"
    );
    assert_eq!(property(desktop, "NFileDescriptorStore"), "0");
    assert!(!installed(desktop));
}

/// An app's name and cgroup, and what the outside has counted for it.
type Told = (&'static str, &'static str, (u64, u64));

/// What the outside had counted for each app when netglance's counting began.
struct Began {
    truth: Vec<Told>,
    dropped: u64,
}

impl Began {
    /// Call while the outside is paused: waits until nothing is on its way any more.
    fn now(desktop: &Desktop) -> Self {
        let look = || SERVICES.into_iter().chain([OTHER]).map(|(name, unit)| (name, unit, desktop.truth(name)));
        let mut before: Vec<_> = look().collect();
        let mut same = 0;
        let truth = eventually("nothing is on its way any more", || {
            let now: Vec<_> = look().collect();
            same = if now == before { same + 1 } else { 0 };
            before.clone_from(&now);
            (same == 3).then_some(now)
        });
        Self { truth, dropped: dropped() }
    }

    /// Each app's own row has exactly what the outside has counted since. Where the kernel has dropped packets between the
    /// two, which is beside the question, they may differ by those.
    #[track_caller]
    fn agrees(&self, desktop: &Desktop) {
        let now = Self::now(desktop);
        let (_, rows) = read(desktop);
        let lost = (now.dropped - self.dropped) * 65_536;
        for ((name, unit, before), (_, _, after)) in self.truth.iter().zip(&now.truth) {
            let row = rows[&format!("{APP_SLICE}{unit}")];
            for (seen, truth) in [(row[0], after.0 - before.0), (row[1], after.1 - before.1)] {
                assert!(seen.abs_diff(truth) <= lost, "{name}: netglance has {seen}, the outside {truth}, {lost} lost");
            }
            assert!(row[0] > RATE, "{name} has got nothing: {row:?}");
            // Three times as much from the LAN and again over loopback, where it starts and is stopped with the rest.
            assert!(row[2] > 4 * row[0], "{name}: what stays inside is missing: {row:?}");
        }
    }
}

#[test]
fn an_ordinary_user_sees_the_estimate() {
    let desktop = Desktop::boot();
    desktop.install();
    desktop.replica();
    let processes = r"cat '/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/app-stb\x2dnext\x2dshell.slice/stb-next-shell@split.service/cgroup.procs'";
    eventually("the shell has 15 descendants", || (desktop.root(processes).ok().lines().count() == 16).then_some(()));

    // The other app may begin later than StB.
    eventually("the other app moves more than twice as much", || {
        let apps: Value = serde_json::from_str(&desktop.cad("netglance apps --json").ok()).unwrap();
        let app = |id: &str| apps.as_array().unwrap().iter().find(|app| app["id"] == id).cloned();
        let (stb, other) = (app("StB").expect("StB"), app("electron-gpt").expect("the other app"));
        assert_eq!(stb["cgroups"].as_array().unwrap().len(), 3, "{apps}");
        assert_eq!(other["cgroups"].as_array().unwrap().len(), 1, "{apps}");
        (other["rx_rate"].as_f64()? > stb["rx_rate"].as_f64()? * 2.0).then_some(())
    });

    let mut watch = desktop.start("watch", "netglance watch --json --app StB");
    watch.look();
    desktop.pause();
    let began = Began::now(&desktop);
    let before = watch.look();
    desktop.resume();
    watch.wait("twenty looks more", |watch| (watch.lines().len() > 25).then_some(()));
    let line = watch.look();
    assert_eq!(line["source"], "estimate");
    assert_eq!(line["units"].as_array().unwrap().len(), 3, "{line}");
    let _window = desktop.start("window", "netglance");
    desktop.shows("", "stb-next-shell@split.service");
    desktop.shows("", "Estimate");
    desktop.screenshot("estimate");
    desktop.stop("window");
    desktop.pause();
    let now = Began::now(&desktop);
    let after = watch.look();
    let bytes = |line: &Value| line["rx_bytes"].as_u64().unwrap();
    let seen = bytes(&after) - bytes(&before);
    // Of the packets that the outside has counted, headers are less than a hundredth.
    let truth: u64 = began.truth.iter().zip(&now.truth).take(3).map(|(a, b)| b.2.0 - a.2.0).sum();
    let lost = (now.dropped - began.dropped) * 65_536;
    assert!(
        seen <= truth && (seen + lost) * 100 >= truth * 99,
        "netglance says {seen}, the outside {truth}, {lost} lost"
    );
    // While it flowed, at the known rate.
    let rates: Vec<f64> = watch.lines().iter().filter_map(|line| line["rx_rate"].as_f64()).collect();
    let known = 3.0 * RATE as f64;
    assert!(rates.iter().any(|rate| (rate / known - 1.0).abs() < 0.1), "{rates:?} is nowhere near {known}");
}

#[test]
fn the_helper_comes_when_called_and_leaves_again() {
    let desktop = Desktop::boot();
    desktop.install();
    // The package starts it, and so does every boot, for it may be wanted, and leaves where it is not.
    desktop.reboot();
    assert_ne!(property(&desktop, "ActiveEnterTimestampMonotonic"), "0", "it was started");
    left(&desktop);
    refused(&desktop.cad(&call("Read")), "NotInstalled", "Count Exactly");
    assert_eq!(property(&desktop, "ActiveState"), "active");
    nothing_is_counted(&desktop);

    // guest has no session, so no agent is asked: not even cad's.
    refused(&desktop.guest(&call("Install")), "NotAuthorized", "no polkit agent runs in this session");
    assert!(desktop.find("password text", "").is_empty());
    // A call that allows no dialog gets none.
    let silent = format!("gdbus call --system {CALL}.Install");
    refused(&desktop.cad(&silent), "NotAuthorized", "this call does not allow asking");
    // cad without an agent.
    desktop.root("pkill -KILL -u cad -f polkit-gnome").ok();
    refused(&desktop.cad(&call("Install")), "NotAuthorized", "no polkit agent runs in this session");
    nothing_is_counted(&desktop);

    left(&desktop);
    no_complaints(&desktop);
}

#[test]
fn a_password_once_and_every_byte_is_counted() {
    let desktop = Desktop::boot();
    desktop.install();
    desktop.replica();

    let mut install = desktop.start("install", &call("Install"));
    desktop.dialog();
    desktop.screenshot("authorize");
    desktop.press("Escape");
    refused(&ended(install), "NotAuthorized", "the password dialog was closed");
    nothing_is_counted(&desktop);

    install = desktop.start("install", &call("Install"));
    desktop.authorize("not the password");
    desktop.shows("label", "Authentication Failure");
    desktop.screenshot("wrong-password");
    desktop.dismiss();
    refused(&ended(install), "NotAuthorized", "");
    desktop.no_dialog();
    nothing_is_counted(&desktop);

    desktop.pause();
    let began = Began::now(&desktop);
    install = desktop.start("install", &call("Install"));
    desktop.authorize(PASSWORD);
    assert!(ended(install).status.success());
    desktop.resume();
    assert!(installed(&desktop));
    assert!(desktop.root("nft list ruleset").ok().contains("socket cgroupv2 level"));
    a_known_amount(&desktop);
    let exact = desktop.cad("netglance watch --json --app StB --source exact --count 1").ok();
    assert_eq!(serde_json::from_str::<Value>(&exact).unwrap()["source"], "exact");
    let _window = desktop.start("window", "netglance");
    desktop.shows("", "Exact");
    desktop.shows("", "stb-next-shell@split.service");
    desktop.screenshot("exact");
    desktop.stop("window");
    let (epoch, _) = read(&desktop);

    desktop.download(packages::later_helper());
    for harm in [
        "DEBIAN_FRONTEND=noninteractive apt-get -y install /home/cad/Downloads/later-helper.deb",
        "systemctl restart netglance-helper",
        "systemctl kill --signal KILL netglance-helper",
        "nft flush ruleset",
        "systemctl restart dbus",
    ] {
        let before = read(&desktop).1;
        desktop.root(harm).ok();
        eventually("the helper answers again", || desktop.cad(&call("Read")).status.success().then_some(()));
        let (now, rows) = read(&desktop);
        assert_eq!(now, epoch, "counting started again after {harm}");
        assert!(before.iter().all(|(path, row)| rows[path][0] >= row[0]), "less than before after {harm}");
        desktop.pause();
        began.agrees(&desktop);
        desktop.resume();
    }
}

/// What goes outside is external, what goes to the LAN and over loopback is not, to the byte.
fn a_known_amount(desktop: &Desktop) {
    let moved = |unit: &str, addresses: &str| {
        desktop.start(unit, &format!("exec traffic move 1000000 500000 0 {addresses}")).says("done")
    };
    let _outside = moved("outside", "93.184.216.34:8005 [2606:2800:220:1::1]:8005 192.168.2.1:8005 127.0.0.1:8005");
    let lan = "192.168.2.159:8005 [2001:4860:1::1]:8005 100.100.1.1:8005 192.168.122.2:8005 [::1]:8005";
    let _inside = moved("inside", lan);
    let row = |unit: &str| read(desktop).1[&format!("{APP_SLICE}{unit}.service")];
    let lost = dropped();
    eventually("what netglance has and what the outside has counted agree", || {
        let ([rx, tx, internal_rx, internal_tx], truth) = (row("outside"), desktop.truth("known"));
        assert!(internal_rx > 2_000_000 && internal_tx > 1_000_000, "{internal_rx} {internal_tx}");
        let known = truth.0 > 2_000_000 && truth.0 < 2_100_000 && truth.1 > 1_000_000 && truth.1 < 1_100_000;
        assert!(known, "the outside has counted {truth:?}");
        ((rx, tx) == truth || dropped() > lost).then_some(())
    });
    let [rx, tx, internal_rx, internal_tx] = row("inside");
    assert_eq!((rx, tx), (0, 0));
    assert!(internal_rx > 5_000_000 && internal_tx > 2_500_000, "{internal_rx} {internal_tx}");
}

#[test]
fn it_is_remembered_until_it_is_taken_away() {
    let desktop = Desktop::boot();
    desktop.install();
    desktop.replica();
    desktop.docker();
    desktop.root(&call("Install")).ok();
    let (epoch, _) = read(&desktop);

    desktop.reboot();
    let since = |unit: &str, property: &str| -> u64 {
        let time = desktop.root(&format!("systemctl show --value --property {property}TimestampMonotonic {unit}"));
        time.ok().trim().parse().unwrap()
    };
    let counts = since("netglance-helper.service", "ActiveEnter");
    let user = since("user@1000.service", "InactiveExit");
    assert!(0 < counts && counts < user, "counts since {counts}, cad's services start at {user}");
    assert!(installed(&desktop));
    assert!(desktop.find("password text", "").is_empty());
    let (new, _) = read(&desktop);
    assert!(new > epoch, "{new} after {epoch}");
    // The outside counts from the boot on: not a packet of the services was earlier than netglance.
    eventually("every app has got a second's worth", || {
        let (_, rows) = read(&desktop);
        let row = |(_, unit)| rows.get(&format!("{APP_SLICE}{unit}")).is_some_and(|row| row[0] > RATE);
        SERVICES.into_iter().chain([OTHER]).all(row).then_some(())
    });
    desktop.pause();
    Began {
        truth: SERVICES.into_iter().chain([OTHER]).map(|(name, unit)| (name, unit, (0, 0))).collect(),
        dropped: dropped(),
    }
    .agrees(&desktop);
    three_services_and_a_container_are_one_app(&desktop);
    no_complaints(&desktop);

    let uninstall = desktop.start("uninstall", &call("Uninstall"));
    desktop.authorize(PASSWORD);
    assert!(ended(uninstall).status.success());
    nothing_is_counted(&desktop);
    refused(&desktop.cad(&call("Read")), "NotInstalled", "Count Exactly");
    left(&desktop);
    no_complaints(&desktop);
}

/// What the outside has counted for StB: its services and its container.
fn stb(desktop: &Desktop) -> [u64; 2] {
    Began::now(desktop);
    let truth = SERVICES.map(|(name, _)| name).into_iter().chain([CONTAINER.0]).map(|name| desktop.truth(name));
    truth.fold([0, 0], |[rx, tx], (more_rx, more_tx)| [rx + more_rx, tx + more_tx])
}

/// What the history says of StB.
fn remembered(desktop: &Desktop) -> [u64; 2] {
    let lines = desktop.cad("netglance history --json --since 1d --by app --app StB").stdout;
    let lines: Vec<Value> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(lines.iter().all(|line| line["estimate_bytes"].as_u64().unwrap_or(0) == 0), "{lines:?}");
    ["rx_bytes", "tx_bytes"].map(|field| lines.iter().filter_map(|line| line[field].as_u64()).sum())
}

const CONFIG: &str = r#"[apps.StB]\nunits = ["stb-next-*.service"]\ncontainers = ["stb-*"]\n"#;

/// In terminal, history and window, to the byte, after a password that nobody was asked for. Begins while the outside is paused and
/// ends while it is not.
fn three_services_and_a_container_are_one_app(desktop: &Desktop) {
    desktop.cad(&format!("mkdir -p ~/.config/netglance && printf '{CONFIG}' > ~/.config/netglance/config.toml")).ok();
    let hidden = || desktop.start("hidden", "exec netglance --hidden");
    let first = "until test -s ~/.local/share/netglance/history.db-wal; do sleep 0.1; done";
    let _hidden = hidden();
    desktop.cad(first).ok();
    let mut watch = desktop.start("watch", "netglance watch --json --app StB");
    watch.line("the container too", |line| line["units"].as_array().is_some_and(|units| units.len() == 4));
    let (truth, of_container, lost) = (stb(desktop), desktop.truth(CONTAINER.0).0, dropped());
    let before = watch.look();
    desktop.stop("hidden");
    let history = remembered(desktop);
    let _hidden = hidden();

    desktop.resume();
    eventually("a while of it", || (desktop.truth(CONTAINER.0).0 > of_container + 5 * RATE).then_some(()));
    desktop.cad("netglance").ok();
    desktop.shows("label", CONTAINER.1);
    desktop.shows("push button", "Exact");
    let named = desktop.find("", CONTAINER.1);
    let is_row = |found: &Found| found.name.starts_with(&format!("{}, ", CONTAINER.1));
    assert!(!named.iter().any(is_row), "a part of StB, and no row of its own: {named:?}");
    desktop.screenshot("own-app");
    another_one_by_clicking(desktop);

    desktop.pause();
    let now = stb(desktop);
    let after = watch.look();
    desktop.stop("watch");
    desktop.stop("hidden");
    desktop.resume();
    let moved = [now[0] - truth[0], now[1] - truth[1]];
    let lost = (dropped() - lost) * 65_536;
    let bytes = |line: &Value| ["rx_bytes", "tx_bytes"].map(|field| line[field].as_u64().unwrap());
    let later = remembered(desktop);
    for (who, before, after) in [("watch", bytes(&before), bytes(&after)), ("history", history, later)] {
        let seen = [after[0] - before[0], after[1] - before[1]];
        println!("{who}: {seen:?}, the outside {moved:?}, {lost} lost");
        let agrees = (0..2).all(|at| seen[at].abs_diff(moved[at]) <= lost);
        assert!(agrees && seen[0] > 4 * RATE, "{who} says {seen:?}, the outside {moved:?}, {lost} lost");
    }
    assert_eq!((&after["source"], &after["lacks_containers"]), (&"exact".into(), &false.into()));
    desktop.root("systemctl stop replica-container.service replica-docker.service").ok();
}

/// By somebody who never saw the config file.
fn another_one_by_clicking(desktop: &Desktop) {
    desktop.click("push button", "New App…");
    desktop.shows("push button", "Save");
    desktop.types("Work");
    desktop.click("check box", "Another app");
    desktop.shows("", "This app will include");
    desktop.screenshot("own-app-new");
    desktop.click("push button", "Save");
    let name = |app: &Value| (app["id"].as_str() == Some("Work")).then(|| app["kind"].clone());
    let kind = eventually("the new app is there", || {
        let apps: Value = serde_json::from_str(&desktop.cad("netglance apps --json").ok()).unwrap();
        apps.as_array().unwrap().iter().find_map(name)
    });
    assert_eq!(kind, "own");
    desktop.shows("", "Work, ");
    desktop.screenshot("own-app-made");
}

/// Where netglance-metrics listens: the system's service, and cad's own.
const METRICS: [u16; 2] = [10199, 10198];

/// What is scraped there, by whoever asks.
fn scraped(desktop: &Desktop, port: u16) -> Answer {
    desktop.guest(&format!("curl --silent --show-error --fail http://127.0.0.1:{port}/metrics"))
}

/// The exact external bytes of one of StB's services.
fn counters(text: &str, cgroup: &str) -> Option<[u64; 2]> {
    let unit = cgroup.rsplit('/').next().unwrap();
    let value = |direction: &str| {
        let name = format!("netglance_external_{direction}_bytes_total");
        let series = format!("{name}{{app=\"StB\",unit=\"{unit}\",user=\"cad\",source=\"exact\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
    };
    Some([value("receive")?, value("transmit")?])
}

#[test]
fn prometheus_is_given_what_the_outside_has_counted() {
    let desktop = Desktop::boot();
    desktop.install();
    desktop.replica();
    desktop.pause();
    let began = Began::now(&desktop);
    desktop.root(&call("Install")).ok();
    let [.., metrics] = packages::packages();
    desktop.apt_install(&[metrics]);
    desktop.resume();

    // The package has enabled and started it, with the user that polkit knows.
    let show = |property: &str| {
        let line = format!("systemctl show --value --property {property} netglance-metrics");
        desktop.root(&line).ok().trim().to_owned()
    };
    assert_eq!((show("ActiveState"), show("UnitFileState")), ("active".to_owned(), "enabled".to_owned()));
    let user = desktop.root(&format!("stat --format %U /proc/{}", show("MainPID"))).ok();
    assert_eq!(user.trim(), "netglance-metrics");
    let folder = "~/.config/systemd/user/netglance-metrics.service.d";
    let [_, port] = METRICS;
    let enable = format!(
        "mkdir -p {folder} && printf '[Service]\\nEnvironment=LISTEN=127.0.0.1:{port}\\n' > {folder}/listen.conf \
         && systemctl --user daemon-reload && systemctl --user enable --now netglance-metrics"
    );
    desktop.cad(&enable).ok();
    // Both find the helper again on another bus.
    desktop.root("systemctl restart dbus").ok();
    for port in METRICS {
        eventually(&format!("port {port} gives a second's worth of each service"), || {
            let text = scraped(&desktop, port).stdout;
            let got = |cgroup| counters(&text, cgroup).is_some_and(|[rx, _]| rx > RATE);
            SERVICES.iter().all(|(_, cgroup)| got(cgroup)).then_some(())
        });
    }

    desktop.pause();
    let now = Began::now(&desktop);
    let lost = (now.dropped - began.dropped) * 65_536;
    for port in METRICS {
        eventually(&format!("what port {port} gives and what the outside has counted agree"), || {
            let text = scraped(&desktop, port).ok();
            let mut services = began.truth.iter().zip(&now.truth).take(SERVICES.len());
            let agrees = |((_, cgroup, before), (.., after)): (&Told, &Told)| {
                let (seen, truth) = (counters(&text, cgroup).unwrap(), [after.0 - before.0, after.1 - before.1]);
                println!("{port}: {cgroup} {seen:?}, the outside {truth:?}, {lost} lost");
                (0..2).all(|at| seen[at].abs_diff(truth[at]) <= lost)
            };
            services.all(agrees).then_some(())
        });
    }
    let [all, own] = METRICS.map(|port| scraped(&desktop, port).ok());
    assert!(all.contains(r#"user="system""#), "{all}");
    assert!(!own.contains(r#"user="system""#), "{own}");
    let complaints = "journalctl --boot --quiet --unit netglance-metrics --priority warning; \
                      journalctl --boot --quiet --user-unit netglance-metrics --priority warning";
    assert_eq!(desktop.root(complaints).ok(), "");

    desktop.root("DEBIAN_FRONTEND=noninteractive apt-get -y purge netglance-metrics").ok();
    let [all, own] = METRICS.map(|port| scraped(&desktop, port).status.success());
    assert!(!all && own, "cad's alone goes on");
    assert!(!desktop.root("systemctl is-enabled netglance-metrics").status.success());
}

/// The rules here: the others', and netglance's table. Counters and what is in netglance's sets are not in it.
fn rules(desktop: &Desktop) -> (String, String) {
    let (mut theirs, mut ours, mut within) = (String::new(), String::new(), false);
    for (options, keep_ours) in [("-s", false), ("-st", true)] {
        for line in desktop.root(&format!("nft {options} list ruleset")).ok().lines() {
            within |= line.starts_with("table inet netglance ");
            match (within, keep_ours) {
                (false, false) => theirs += &format!("{line}\n"),
                (true, true) => ours += &format!("{line}\n"),
                _ => {}
            }
            within &= line != "}";
        }
    }
    (theirs, ours)
}

#[test]
fn firewalld_and_ufw_change_nothing_here_and_nothing_of_theirs_is_changed() {
    let desktop = Desktop::boot();
    desktop.install();
    desktop.replica();
    for (name, start, reload, stop) in [
        (
            "firewalld",
            "systemctl start firewalld && firewall-cmd --quiet --permanent --add-port=8080/tcp && firewall-cmd --quiet --reload",
            "firewall-cmd --quiet --reload",
            "systemctl stop firewalld",
        ),
        ("ufw", "ufw allow 8080/tcp && ufw --force enable", "ufw reload", "ufw --force disable"),
    ] {
        // First, so that it is the first of the list before the firewall's reload and after it.
        desktop.root(&format!("nft '{WITNESS}'")).ok();
        desktop.root(start).ok();
        let (before, none) = rules(&desktop);
        assert!(before.contains("8080") && none.is_empty(), "{name}: {before}{none}");
        desktop.root(&call("Install")).ok();
        let beside = rules(&desktop);
        assert_eq!(beside.0, before, "{name}");
        desktop.root(reload).ok();
        assert_eq!(rules(&desktop), beside, "{name} after its reload");
        // Connections that it has seen begin: of others it may drop a packet, which is sent again.
        desktop.cad("systemctl --user restart 'stb-next-*' 'app-electron*'").ok();
        let got = |since: &[[u64; 4]]| {
            let (_, rows) = read(&desktop);
            let more = |(i, (_, unit)): (usize, (&str, &str))| {
                let row = rows.get(&format!("{APP_SLICE}{unit}"));
                row.is_some_and(|row| row[0] > since.get(i).map_or(0, |since| since[0]) + RATE)
            };
            SERVICES.into_iter().chain([OTHER]).enumerate().all(more).then_some(())
        };
        eventually("every app has got a second's worth", || got(&[]));
        let look = || {
            desktop.pause();
            let now = Began::now(&desktop);
            let (_, rows) = read(&desktop);
            let booked = now.truth.iter().map(|(_, unit, _)| rows[&format!("{APP_SLICE}{unit}")]).collect::<Vec<_>>();
            let dropped = counted(&desktop, "before") - counted(&desktop, "behind");
            desktop.resume();
            (now, booked, dropped)
        };
        let (began, first, dropped_before) = look();
        eventually("every app has got more", || got(&first));
        let (now, last, dropped) = look();
        // What comes twice the firewall may take for invalid; it says itself how much that was.
        let lost = (now.dropped - began.dropped) * 65_536 + dropped - dropped_before;
        println!("{name} has dropped {} bytes", dropped - dropped_before);
        for (i, (name, ..)) in now.truth.iter().enumerate() {
            let truth = [now.truth[i].2.0 - began.truth[i].2.0, now.truth[i].2.1 - began.truth[i].2.1];
            let booked = [last[i][0] - first[i][0], last[i][1] - first[i][1]];
            let differs = (0..2).any(|at| truth[at].abs_diff(booked[at]) > lost);
            assert!(!differs && truth[0] > RATE, "{name}: {booked:?} booked, the outside has {truth:?}, {lost} lost");
        }
        candid(&desktop, &before);
        desktop.root(&call("Uninstall")).ok();
        assert_eq!(rules(&desktop), (before, String::new()), "{name} when the table is gone");
        desktop.root(&format!("{stop} && nft delete table inet witness")).ok();
    }
}

/// Counts what comes in from outside, before the firewall and behind it.
const WITNESS: &str = "table inet witness {
    counter before { }
    counter behind { }
    chain before { type filter hook prerouting priority -400; tcp sport 8001-8004 iifname != lo counter name before; }
    chain behind { type filter hook input priority 199; tcp sport 8001-8004 iifname != lo counter name behind; }
}";

fn counted(desktop: &Desktop, name: &str) -> u64 {
    let text = desktop.root(&format!("nft list counter inet witness {name}")).ok();
    let bytes = text.split_whitespace().skip_while(|word| *word != "bytes").nth(1);
    bytes.unwrap().parse().unwrap()
}

/// What doctor finds of a host whose owner saves the rules and has systemd filter, and that its step mends the first.
fn candid(desktop: &Desktop, theirs: &str) {
    desktop.root("nft -s list ruleset > /etc/nftables.conf").ok();
    desktop.root("systemctl set-property --runtime user-1000.slice IPAddressDeny=203.0.113.0/24").ok();
    let report = || -> Value { serde_json::from_str(&desktop.cad("netglance doctor --json --app StB").ok()).unwrap() };
    let found = |report: &Value, id: &str| {
        report["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == id).cloned()
    };
    let before = report();
    let filter = found(&before, "ip-filter").unwrap_or_else(|| panic!("{before:#}"));
    assert!(filter["title"].as_str().unwrap().starts_with("user-1000.slice filters"), "{filter}");
    let saved = found(&before, "saved-rules").unwrap_or_else(|| panic!("{before:#}"));
    assert!(saved["detail"].as_str().unwrap().contains("/etc/nftables.conf"), "{saved}");
    let step = &before["steps"][0];
    let command =
        step["command"].as_str().and_then(|command| command.strip_prefix("pkexec ")).expect("a step for root");
    desktop.root(command).ok();
    assert_eq!(desktop.root("cat /etc/nftables.conf").ok(), theirs);
    desktop.root("systemctl set-property --runtime user-1000.slice IPAddressDeny=").ok();
    let after = report();
    assert!(found(&after, "ip-filter").is_none() && found(&after, "saved-rules").is_none(), "{after:#}");
}

/// Waits for a program and gives its answer.
fn ended(program: support::Program) -> Answer {
    let (status, stdout, stderr) = program.ended();
    Answer { status, stdout: stdout.join("\n"), stderr }
}

//! Which way of counting fits, what it can't see here, and what to do. Pure.

use netglance_dbus::{
    helper1::{BUS_NAME, OBJECT_PATH},
    kernel::Judgement,
};

use super::{
    BlindSpot, Design, Step, Who, containers,
    facts::{Came, Cgroups, Dns, Facts, Helper, KEPT, Neighbour, Proxy, Saved, SavedRules, TEXT_FILES, TextFiles},
    gather::quoted,
    kernel::lacks,
    many,
};
use crate::base::HAS_WINDOW;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const NOTHING: &str = "not needed";
/// What a click does too.
const BUTTON: &str = if HAS_WINDOW { " The button \"Count Exactly…\" in the window does the same." } else { "" };

/// The way of counting that fits, and why.
pub fn design(facts: &Facts) -> (Option<Design>, String) {
    if !has_v2(facts) {
        return (None, "Neither way of counting works without cgroup v2.".to_owned());
    }
    let mut missing = lacks(facts);
    if facts.systemd.is_none() {
        missing.push("no systemd that could start the helper".to_owned());
    }
    if missing.is_empty() {
        let others = facts.others.filter(|_| !facts.app.all).map_or(0, |others| others.count);
        let mut why = "This host has what exact counting needs: every packet is counted for the cgroup of its socket, including UDP and QUIC.".to_owned();
        if others > 0 {
            why.push_str(&format!(" {} of the same user {} kept apart.", many(others, "other app"), are(others)));
        }
        if let Some(sockets @ 1..) = facts.app.udp_sockets {
            why.push_str(&format!(
                " The estimate leaves out {} of {} now.",
                many(sockets, "UDP socket"),
                facts.app.name
            ));
        }
        return (Some(Design::Exact), why);
    }
    let missing = missing.join("; ");
    if facts.estimate_fails.is_some() {
        return (None, format!("Exact counting is not possible here: {missing}. The estimate does not work either."));
    }
    let why = format!(
        "Exact counting is not possible here: {missing}. The estimate works; it counts TCP payload, but no UDP."
    );
    (Some(Design::Estimate), why)
}

fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

fn has_v2(facts: &Facts) -> bool {
    matches!(facts.cgroup, Cgroups::Hybrid { .. } | Cgroups::Unified { .. })
}

/// What neither way of counting sees here.
pub fn blind_spots(facts: &Facts) -> Vec<BlindSpot> {
    let mut spots: Vec<_> = containers::blind_spot(facts).into_iter().collect();
    let mut spot = |id, text: String| spots.push(BlindSpot { id, text });
    let has = |wanted: &[Neighbour]| facts.neighbours.iter().any(|neighbour| wanted.contains(neighbour));
    let app = &facts.app;
    if let Some(n @ 1..) = app.elsewhere {
        spot(
            "namespaces",
            format!(
                "{} of {} {} in another network namespace, where nothing is counted. (Browsers use one as a sandbox, without traffic.)",
                many(n, "process"),
                app.name,
                are(n)
            ),
        );
    }
    let proxies =
        facts.neighbours.iter().find_map(|n| if let Neighbour::Proxy(names) = n { Some(names) } else { None });
    if !app.redirected_to.is_empty() {
        spot(
            "redirected",
            format!(
                "Connections of {} to external addresses are redirected to a proxy on this host ({}). They count as internal; the external traffic belongs to the proxy.",
                app.name,
                app.redirected_to.join(", ")
            ),
        );
    }
    if app.proxy == Some(Proxy::Internal) {
        spot(
            "proxy",
            format!(
                "The environment of {} names a proxy at an internal address. Traffic to it is left out; the external traffic belongs to the proxy.",
                app.name
            ),
        );
    } else if let Some(proxies) = proxies {
        spot(
            "proxy",
            format!(
                "Traffic of {} to a proxy on this host ({}) is loopback traffic and left out; the external traffic belongs to the proxy.",
                app.name, proxies
            ),
        );
    }
    if has(&[Neighbour::Vpn, Neighbour::Tailscale]) {
        spot(
            "vpn",
            "What a VPN program adds to the app's traffic (headers, handshakes, keep-alives) belongs to that program."
                .into(),
        );
    }
    if matches!(facts.dns, Dns::Resolved | Dns::Local) {
        let who = if facts.dns == Dns::Resolved { "systemd-resolved" } else { "a program on this host" };
        spot(
            "dns",
            format!("DNS traffic: {who} looks up names, in its own cgroup. That is a few hundred bytes for each name."),
        );
    }
    if !app.socket_units.is_empty() {
        spot(
            "socket-activation",
            format!(
                "systemd opened the listening sockets of {}. Connections that are accepted on them stay in systemd's cgroup.",
                app.socket_units.join(", ")
            ),
        );
    }
    if let Some(n @ 1..) = app.handed_over {
        let (opened, stays) = if n == 1 { ("was opened", "It stays") } else { ("were opened", "They stay") };
        let sockets = many(n, "socket");
        let text =
            format!("{sockets} of {} with an external peer {opened} in another cgroup. {stays} there.", app.name);
        spot("handed-over", text);
    }
    if let n @ 1.. = app.packet_sockets {
        let sockets = many(n, "packet socket");
        spot(
            "packet-sockets",
            format!("What goes through {sockets} of {}, because packet sockets bypass nftables.", app.name),
        );
    }
    if let Some(n @ 1..) = facts.root_sockets {
        spot(
            "root-cgroup",
            format!(
                "{} with an external peer {} in the root cgroup, opened by the kernel or by a program outside any unit. No app's figures include them.",
                many(n, "socket"),
                are(n)
            ),
        );
    }
    spots
}

/// What to do, in order.
pub fn steps(facts: &Facts, design: Option<Design>) -> Vec<Step> {
    let mut steps: Vec<_> = facts.saved.iter().filter_map(|rules| mend(facts, rules)).collect();
    steps.extend(update_kernel(facts));
    match design {
        None => steps.extend(missing_basics(facts)),
        Some(Design::Estimate) => steps.push(watch(facts, None)),
        Some(Design::Exact) => {
            steps.extend(helper_steps(facts));
            steps.push(user(
                facts,
                "verify",
                "Proves on this host that internal traffic is left out and external traffic is counted.",
                NOTHING,
            ));
            steps.push(watch(facts, Some("exact")));
        }
    }
    if design.is_some() && facts.neighbours.contains(&Neighbour::NodeExporter) {
        steps.extend(metrics(facts));
    }
    steps
}

/// How the figures get to the Prometheus that reads node_exporter here: by a port, or by node_exporter.
fn metrics(facts: &Facts) -> Vec<Step> {
    if facts.root {
        return Vec::new();
    }
    let mut steps = Vec::new();
    if facts.metrics_unit {
        let text = "Gives your figures to Prometheus at http://127.0.0.1:10199/metrics, now and whenever you log in. Prometheus needs this address in its scrape_configs.";
        let command = "systemctl --user enable --now netglance-metrics";
        let undo = "systemctl --user disable --now netglance-metrics".to_owned();
        steps.push(Step { who: Who::User, command: Some(command.to_owned()), text: text.to_owned(), undo });
    }
    if facts.text_files == TextFiles::Absent {
        return steps;
    }
    let name = format!("netglance-{}", facts.uid);
    let instead = if facts.metrics_unit { "Instead of that port: lets" } else { "Lets" };
    if facts.text_files == TextFiles::Closed {
        // A new file takes the place of the old one, for which one must be able to write to the folder. With a folder of the user's own
        // for that, and a link to the one file, they can't change what others write. But node_exporter reads whatever is there.
        let command = format!(
            "sh -c 'cd {TEXT_FILES} && install -d -o {} {name} && ln -s {name}/netglance.prom {name}.prom'",
            facts.uid
        );
        let undo = format!("rm -r {TEXT_FILES}/{name} {TEXT_FILES}/{name}.prom");
        let text = format!(
            "{instead} node_exporter read your figures from a file that the next command writes. node_exporter opens whatever you put there, so this is only for users who may also stop it."
        );
        steps.push(root(facts, &command, &text, Some(&undo)));
    }
    let arguments = format!("metrics --textfile {TEXT_FILES}/{name}/netglance.prom --interval 15");
    let text = "Writes your figures for node_exporter every 15 seconds, until you press Ctrl+C.";
    steps.push(user(facts, &arguments, text, NOTHING));
    steps
}

/// What mends a kernel that can't be trusted to count.
fn update_kernel(facts: &Facts) -> Option<Step> {
    let (Judgement::Crashes(flaw) | Judgement::Leaks(flaw)) = facts.kernel.judge() else { return None };
    let (fixed, names) = (facts.kernel.fixed_in(flaw), flaw.names());
    let text =
        format!("Update the kernel to {fixed} or newer and restart the computer: this kernel lacks the fix ({names}).");
    Some(Step { who: Who::Root, command: None, text, undo: "boot the older kernel".to_owned() })
}

/// Whether an administrator has to agree to a bug of the kernel first.
fn needs_agreement(facts: &Facts) -> bool {
    facts.kernel.judge().to_be_accepted().is_some()
}

/// Takes netglance's table out of saved rules, and keeps the file as it was.
fn mend(facts: &Facts, rules: &SavedRules) -> Option<Step> {
    let file = &rules.file;
    match rules.saved {
        Saved::Unreadable => None,
        Saved::Listed if quoted(file) == *file => {
            let command = format!("sed -i{KEPT} '/^table inet netglance *{{ *\\(#.*\\)*$/,/^}}/d' {file}");
            let undo = format!("mv {file}{KEPT} {file}");
            let text = "Removes netglance's table from the saved firewall rules, and nothing else. The original file is kept beside it.";
            Some(root(facts, &command, text, Some(&undo)))
        }
        Saved::Listed | Saved::Otherwise => {
            let text = format!("Edit {file}: remove whatever creates `table inet netglance`, and nothing else.");
            Some(Step { who: Who::Root, command: None, text, undo: "put it back".to_owned() })
        }
    }
}

fn user(facts: &Facts, arguments: &str, text: &str, undo: &str) -> Step {
    let command = format!("{} {arguments}", facts.program);
    Step { who: Who::User, command: Some(command), text: text.to_owned(), undo: undo.to_owned() }
}

fn root(facts: &Facts, command: &str, text: &str, undo: Option<&str>) -> Step {
    let undo = undo.map_or(NOTHING.to_owned(), |undo| as_root(facts, undo));
    Step { who: Who::Root, command: Some(as_root(facts, command)), text: text.to_owned(), undo }
}

/// A command as it is typed to run as root. Its only double quotation marks may be those of "$PWD". pkexec needs an agent: on a
/// terminal without one, polkit 122 (Debian 12) refuses even the right password.
fn as_root(facts: &Facts, command: &str) -> String {
    if facts.root {
        command.to_owned()
    } else if facts.pkexec && facts.polkit && facts.polkit_agent.is_some() {
        format!("pkexec {command}")
    } else if facts.sudo {
        format!("sudo {command}")
    } else {
        format!("su - -c \"{}\"", command.replace('"', "'"))
    }
}

/// The steps that are left until the helper counts.
fn helper_steps(facts: &Facts) -> Vec<Step> {
    let mut steps = match &facts.helper {
        Helper::Counting { .. } => return Vec::new(),
        Helper::Failing { .. } | Helper::Unreachable(_) => {
            let log = "journalctl --unit netglance-helper.service --boot --no-pager";
            let restart = "systemctl restart netglance-helper.service";
            return vec![
                root(facts, log, "Shows why the helper can't count.", None),
                root(facts, restart, "Restarts it. The kernel keeps its counters meanwhile.", None),
            ];
        }
        Helper::Idle { .. } | Helper::Unconfirmed { .. } => Vec::new(),
        Helper::Unannounced => vec![
            root(facts, "systemctl daemon-reload", "Makes systemd read the helper's unit.", None),
            root(
                facts,
                "systemctl reload dbus.service",
                "Makes the system bus read the helper's name and policy.",
                None,
            ),
        ],
        Helper::Absent => match &facts.netglance {
            Came::Packaged => vec![package(facts)],
            Came::Beside(helper) => return vec![set_up(facts, helper)],
            Came::Alone => {
                let text = "Builds the helper. Run it as yourself, in the folder with netglance's source.";
                let command = "cargo build --release --package netglance-helper".to_owned();
                let build = Step {
                    who: Who::User,
                    command: Some(command),
                    text: text.to_owned(),
                    undo: "cargo clean --package netglance-helper".to_owned(),
                };
                return vec![build, set_up(facts, r#""$PWD/target/release/netglance-helper""#)];
            }
        },
    };
    if facts.polkit || facts.root {
        let mut text = "Starts exact counting, now and after every boot. Asks for a password once, in a dialog or here in the terminal.".to_owned();
        text.push_str(BUTTON);
        if needs_agreement(facts) {
            text.push_str(" Asks first, because of the kernel's bug.");
        }
        steps.push(user(facts, "install", &text, &format!("{} uninstall", facts.program)));
    } else {
        let text = "Starts exact counting, now and after every boot.";
        let (method, text) = if needs_agreement(facts) {
            ("InstallAnyway", format!("{text} Accepts the kernel's bug."))
        } else {
            ("Install", text.to_owned())
        };
        steps.push(root(facts, &call(method), &text, Some(&call("Uninstall"))));
    }
    steps
}

fn call(method: &str) -> String {
    format!("busctl call {BUS_NAME} {OBJECT_PATH} {BUS_NAME} {method}")
}

/// The helper from its package.
fn package(facts: &Facts) -> Step {
    if !facts.apt {
        let text = "Install the package netglance-helper in the same way as netglance itself.";
        return Step { who: Who::Root, command: None, text: text.to_owned(), undo: "remove the package".to_owned() };
    }
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let command = format!(r#"apt install "$PWD"/netglance-helper_{VERSION}*_{architecture}.deb"#);
    let text = "Installs the helper, which does not count yet. Run it in the folder that contains the packages.";
    root(facts, &command, text, Some("apt purge netglance-helper"))
}

/// The helper from a build or an archive.
fn set_up(facts: &Facts, helper: &str) -> Step {
    let mut text =
        "Installs the helper and starts exact counting, now and after every boot. Asks for a password once.".to_owned();
    text.push_str(BUTTON);
    let mut command = format!("{helper} set-up");
    if needs_agreement(facts) {
        text.push_str(" Accepts the kernel's bug.");
        command.push_str(" --accept-kernel-bug");
    }
    root(facts, &command, &text, Some(&format!("{helper} take-out")))
}

fn watch(facts: &Facts, source: Option<&str>) -> Step {
    let mut arguments = "watch".to_owned();
    if !facts.app.arguments.is_empty() {
        arguments.push_str(&format!(" {}", facts.app.arguments));
    }
    if let Some(source) = source {
        arguments.push_str(&format!(" --source {source}"));
    }
    let mut text = format!("Shows the traffic of {}.", facts.app.name);
    if HAS_WINDOW {
        text.push_str(&format!(" `{}` alone opens the window.", facts.program));
    }
    user(facts, &arguments, &text, NOTHING)
}

/// Neither way works: what the host lacks.
fn missing_basics(facts: &Facts) -> Vec<Step> {
    if has_v2(facts) {
        let text = "The estimate needs Linux 5.7 or newer with CONFIG_INET_DIAG and CONFIG_SOCK_CGROUP_DATA. If only the module is missing, this loads it.";
        return vec![root(facts, "modprobe tcp_diag", text, Some("modprobe --remove tcp_diag"))];
    }
    let text = "Boot with systemd.unified_cgroup_hierarchy=1 on the kernel's command line, then run netglance doctor again. On Debian and Ubuntu, add it to GRUB_CMDLINE_LINUX_DEFAULT in /etc/default/grub, run update-grub and reboot.";
    let undo = "remove it again, run update-grub, reboot".to_owned();
    vec![Step { who: Who::Root, command: None, text: text.to_owned(), undo }]
}

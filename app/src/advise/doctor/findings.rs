//! From facts to findings, one function each. Pure.

use netglance_dbus::kernel::{Judgement, OLDEST, Version};

use super::{
    Finding, Status, caveats, containers,
    facts::{AppUnit, Cgroups, Facts, Helper, Session, Tray},
    kernel::{lacks, name},
    many, neighbours,
};
use crate::{
    base::{HAS_WINDOW, format, settings::Unit},
    look::rate::Rate,
};

/// The oldest kernel on which the counters were tested to the byte: Debian 12's.
const OLDEST_TESTED: Version = Version(6, 1, 0);
/// Since then cgroup v1's net_cls and net_prio leave the v2 cgroup of a socket alone (commit 8520e224f547).
const HYBRID_SAFE: Version = Version(5, 15, 0);
/// Debian 12's.
const OLDEST_SYSTEMD: u32 = 252;

/// Everything worth saying about a host, in the order to be read.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut all = vec![distribution(facts), kernel(facts), cgroup(facts), nft(facts), inet_diag(facts), systemd(facts)];
    all.extend([app(facts), sockets(facts), other_apps(facts)]);
    all.extend(session(facts));
    all.extend(caveats::findings(facts));
    all.extend(neighbours::findings(facts));
    all.extend(containers::findings(facts));
    all.extend([polkit(facts), polkit_agent(facts)]);
    all.extend(HAS_WINDOW.then(|| tray(facts)));
    all.push(helper(facts));
    all
}

fn distribution(facts: &Facts) -> Finding {
    let title = facts.distribution.clone().unwrap_or_else(|| "an unnamed distribution".to_owned());
    if facts.container {
        let detail =
            "This is a container. What follows is true inside it; the host's applications are counted on the host.";
        return Finding::new("distribution", Status::Note, format!("{title}, in a container"), detail);
    }
    match facts.distribution {
        Some(_) => Finding::new("distribution", Status::Ok, title, ""),
        None => Finding::new("distribution", Status::Unknown, title, "/etc/os-release can't be read."),
    }
}

fn kernel(facts: &Facts) -> Finding {
    let kernel = &facts.kernel;
    let find = |status, detail: String| Finding::new("kernel", status, kernel.to_string(), detail);
    let Some(base) = kernel.base() else {
        return find(Status::Unknown, "The version of this kernel can't be determined.".to_owned());
    };
    if base < OLDEST {
        let detail = format!("Too old for exact counting, which needs {OLDEST}. The estimate needs 5.7.");
        return find(Status::Warning, detail);
    }
    let judgement = kernel.judge();
    let agreed = "The helper counts on it only after an administrator has agreed.";
    match &judgement {
        Judgement::Crashes(flaw) => {
            find(Status::Problem, format!("{}. The helper does not count on it.", kernel.sentence(flaw)))
        }
        Judgement::Leaks(flaw) => find(Status::Warning, format!("{}. {agreed}", kernel.sentence(flaw))),
        Judgement::Unknown(flaws) if judgement.to_be_accepted().is_some() => {
            find(Status::Warning, format!("{}. {agreed}", format::sentence(&kernel.doubt(flaws)).trim_end_matches('.')))
        }
        Judgement::Unknown(flaws) => find(Status::Unknown, format::sentence(&kernel.doubt(flaws))),
        Judgement::Sound | Judgement::TooOld if base < OLDEST_TESTED => {
            find(Status::Note, "Has what exact counting needs; tested from 6.1 on.".to_owned())
        }
        Judgement::Sound | Judgement::TooOld => {
            let detail = format!(
                "Has what exact counting needs ({OLDEST}), and none of the bugs that it triggers; tested from 6.1 on."
            );
            find(Status::Ok, detail)
        }
    }
}

fn cgroup(facts: &Facts) -> Finding {
    let absent = "netglance tells applications apart by their cgroup v2, but no cgroup v2 tree is mounted.";
    match &facts.cgroup {
        Cgroups::Absent => {
            Finding::new("cgroup", Status::Problem, "no cgroup v2", format!("{absent} No v1 tree is either."))
        }
        Cgroups::V1 => Finding::new(
            "cgroup",
            Status::Problem,
            "cgroup v1 only",
            format!("{absent} The last step below changes that."),
        ),
        Cgroups::Unified { mount } => Finding::new(
            "cgroup",
            Status::Ok,
            format!("cgroup v2 at {mount}"),
            "A socket always belongs to the cgroup that opened it.",
        ),
        Cgroups::Hybrid { mount } => {
            let title = format!("hybrid: cgroup v2 at {mount}, beside v1");
            if facts.kernel.base().is_some_and(|version| version < HYBRID_SAFE) {
                let detail = "Before Linux 5.15, using v1's net_cls or net_prio makes the kernel forget which v2 cgroup a socket belongs to.";
                return Finding::new("cgroup", Status::Warning, title, detail);
            }
            Finding::new("cgroup", Status::Ok, title, "netglance uses the v2 tree, and v1 does not get in its way.")
        }
    }
}

fn nft(facts: &Facts) -> Finding {
    let find = |status, title: &str, detail: String| Finding::new("nft", status, title, detail);
    match &facts.helper {
        Helper::Counting { .. } => {
            return find(
                Status::Ok,
                "nftables counts per cgroup",
                "The helper is doing it: its table is in the kernel.".into(),
            );
        }
        Helper::Failing { error, unsupported: true, .. } => {
            return find(
                Status::Problem,
                "nftables can't count per cgroup",
                format!("The helper's dry run failed: {error}"),
            );
        }
        _ => {}
    }
    let source = match facts.nft.source.as_slice() {
        [] => "the kernel's version alone, as neither its configuration nor its modules can be read".to_owned(),
        [file] => format!("the kernel's version and {file}"),
        files => format!("the kernel's version, {}", files.join(" and ")),
    };
    let judged = format!("Judged by {source}. The helper makes a dry run before it counts.");
    let lacks = lacks(facts);
    let unknown: Vec<_> =
        facts.nft.parts.iter().filter(|(_, has)| has.is_none()).map(|(part, _)| name(*part)).collect();
    match (lacks.is_empty(), unknown.is_empty() && !facts.nft.parts.is_empty()) {
        (false, _) => {
            find(Status::Warning, "nftables can't count per cgroup", format!("{}. {judged}", lacks.join("; ")))
        }
        (true, true) => find(Status::Ok, "nftables can count per cgroup", judged),
        (true, false) if unknown.is_empty() => find(Status::Unknown, "nftables: probably", judged),
        (true, false) => {
            find(Status::Unknown, "nftables: probably", format!("Unknown: {}. {judged}", unknown.join(", ")))
        }
    }
}

fn inet_diag(facts: &Facts) -> Finding {
    match &facts.estimate_fails {
        None => Finding::new(
            "inet-diag",
            Status::Ok,
            "the estimate works",
            "It counts the TCP payload of each cgroup, as the kernel reports it for each socket, and needs no privileges. Tried just now.",
        ),
        Some(error) => Finding::new("inet-diag", Status::Problem, "the estimate does not work", format!("{error}.")),
    }
}

fn systemd(facts: &Facts) -> Finding {
    let Some(version) = &facts.systemd else {
        let detail = if facts.system_bus {
            "systemd does not answer on the system bus. It starts the helper, and it gives each service and app a cgroup of its own."
        } else {
            "There is no system bus. netglance talks to the helper over it, and systemd starts the helper."
        };
        return Finding::new("systemd", Status::Warning, "no systemd", detail);
    };
    let title = format!("systemd {version}");
    let number = version.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse::<u32>().ok());
    match number {
        None => Finding::new("systemd", Status::Unknown, title, "Its version number can't be read."),
        Some(n) if n < OLDEST_SYSTEMD => Finding::new(
            "systemd",
            Status::Note,
            title,
            "Older than 252, the oldest version that the helper was tested with.",
        ),
        Some(_) => {
            let manager = if facts.user_manager {
                "Your own systemd (--user) answers too."
            } else {
                "Your own systemd (--user) can't be reached from here."
            };
            let detail =
                format!("It keeps the counters while the helper restarts or is upgraded (descriptor store). {manager}");
            Finding::new("systemd", Status::Ok, title, detail)
        }
    }
}

fn app(facts: &Facts) -> Finding {
    let app = &facts.app;
    if app.units.is_empty() && app.all {
        let detail = "They can't be told apart without the cgroup tree.";
        return Finding::new("app", Status::Unknown, format!("{}: unknown", app.name), detail);
    }
    if app.units.is_empty() {
        let near =
            if app.near.is_empty() { String::new() } else { format!(" Similar names: {}.", app.near.join(", ")) };
        let detail = format!(
            "Nothing matches {} now.{near} `netglance apps` lists what is running. Name an app with --app or --unit.",
            app.pattern
        );
        return Finding::new("app", Status::Note, format!("{} is not running", app.name), detail);
    }
    let processes: usize = app.units.iter().filter_map(|unit| unit.processes).sum();
    let title = format!("{}: {}, {}", app.name, many(app.units.len(), "unit"), many(processes, "process"));
    let line = |unit: &AppUnit| {
        let processes = unit.processes.map_or("processes unknown".to_owned(), |n| many(n, "process"));
        format!("{} ({processes}) at {}", unit.unit, unit.cgroup)
    };
    let mut detail = if app.all {
        "`netglance apps` lists them. Name one with --app or --unit to learn more about it.".to_owned()
    } else {
        app.units.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    if app.units.iter().any(|unit| !unit.own) {
        let button = if HAS_WINDOW { " and \"Show System Services…\" in the window" } else { "" };
        detail.push_str(&format!(
            "\nNot all of this is yours: until an administrator's password is given, which `netglance watch --unit` asks for in a \
             terminal{button}, the figures of system services and other users are an estimate."
        ));
        return Finding::new("app", Status::Note, title, detail);
    }
    Finding::new("app", Status::Ok, title, detail)
}

fn sockets(facts: &Facts) -> Finding {
    let app = &facts.app;
    let handed_over = match app.handed_over {
        None => {
            return Finding::new(
                "sockets",
                Status::Unknown,
                "sockets: not checked",
                "The app is not running, or its processes are not yours.",
            );
        }
        Some(n) => n,
    };
    if handed_over == 0 && app.socket_units.is_empty() {
        return Finding::new(
            "sockets",
            Status::Ok,
            format!("sockets: all opened by {}", app.name),
            "None was handed over by another program.",
        );
    }
    let title = format!("{} from another cgroup", many(handed_over, "socket"));
    let units = if app.socket_units.is_empty() {
        String::new()
    } else {
        format!(" systemd opens those of {}.", app.socket_units.join(", "))
    };
    Finding::new("sockets", Status::Note, title, format!("A socket is counted for the cgroup that opened it.{units}"))
}

fn other_apps(facts: &Facts) -> Finding {
    let Some(others) = facts.others else {
        return Finding::new(
            "other-apps",
            Status::Unknown,
            "other apps: unknown",
            "They can't be told apart without the cgroup tree.",
        );
    };
    if others.count <= usize::from(facts.app.all) {
        return Finding::new("other-apps", Status::Ok, "no other app of the same user", "");
    }
    let rates = |rate: Option<Rate>| {
        rate.map_or("an unknown rate".to_owned(), |r| {
            format!("{} down and {} up", format::rate(r.rx, Unit::Bytes), format::rate(r.tx, Unit::Bytes))
        })
    };
    if facts.app.all {
        let detail = format!(
            "A tool that counts by user (uid) can't tell them apart; netglance can. The estimate is {} for all of them now.",
            rates(others.rate)
        );
        return Finding::new(
            "other-apps",
            Status::Note,
            format!("{} of the same user", many(others.count, "app")),
            detail,
        );
    }
    let detail = format!(
        "A tool that counts by user (uid) would mix them up with {name}. The estimate is {} for them now, and {} for {name}.",
        rates(others.rate),
        rates(facts.app.rate),
        name = facts.app.name,
    );
    Finding::new("other-apps", Status::Note, format!("{} of the same user", many(others.count, "other app")), detail)
}

fn session(facts: &Facts) -> Option<Finding> {
    let title = match facts.session_programs {
        0 => return None,
        1 => "1 program is in your login session's cgroup".to_owned(),
        count => format!("{count} programs share your login session's cgroup"),
    };
    let menu = if HAS_WINDOW {
        "click it in the window and choose \"Always Start So That It Can Be Counted\", or "
    } else {
        ""
    };
    let detail = format!(
        "Your desktop gives programs no cgroup of their own, so only their sum can be counted exactly, and what each of them moves is an estimate, by program. To have one counted on its own, {menu}start it with `{} run -- CMD`.",
        facts.program
    );
    Some(Finding::new("session", Status::Note, title, detail))
}

fn polkit(facts: &Facts) -> Finding {
    if facts.polkit {
        return Finding::new(
            "polkit",
            Status::Ok,
            "polkit is available",
            "It asks for the password when exact counting is turned on.",
        );
    }
    Finding::new("polkit", Status::Warning, "no polkit", "Only root can turn exact counting on here.")
}

fn polkit_agent(facts: &Facts) -> Finding {
    if !facts.polkit {
        return Finding::new(
            "polkit-agent",
            Status::Unknown,
            "password dialog: none without polkit",
            "Without polkit, nothing asks for a password.",
        );
    }
    let session = match &facts.session {
        Some(Session { remote: true, .. }) => {
            " You are logged in over the network. polkit asks there too if an agent is running."
        }
        Some(Session { active: false, .. }) => " Your session is not the one on the screen now.",
        Some(_) => "",
        None => " logind knows of no session of yours with a screen.",
    };
    match &facts.polkit_agent {
        Some(agent) => Finding::new(
            "polkit-agent",
            Status::Ok,
            format!("password dialog: {agent}"),
            format!("This polkit agent is running.{session}"),
        ),
        None => {
            let detail = format!(
                "No polkit agent that netglance knows is running (polkit doesn't say which are). If there is none, netglance asks in the terminal.{session}"
            );
            Finding::new("polkit-agent", Status::Unknown, "password dialog: unknown", detail)
        }
    }
}

fn tray(facts: &Facts) -> Finding {
    let (status, title, detail) = match facts.tray {
        Tray::Host => (Status::Ok, "there is a tray", "It shows netglance's icon."),
        Tray::NoHost => (
            Status::Warning,
            "no tray shows icons",
            "StatusNotifierWatcher is running, but no panel has registered with it. Closing the window quits netglance.",
        ),
        Tray::Nobody => (
            Status::Warning,
            "no tray",
            "Nothing on the session bus shows StatusNotifier icons, so closing the window quits netglance. Xfce and KDE have a tray; GNOME needs its AppIndicator extension.",
        ),
        Tray::NoBus => (Status::Unknown, "tray: unknown", "The session bus can't be reached from here."),
    };
    Finding::new("tray", status, title, detail)
}

fn helper(facts: &Facts) -> Finding {
    let find = |status, title: String, detail: String| Finding::new("helper", status, title, detail);
    match &facts.helper {
        Helper::Absent => {
            find(Status::Note, "the helper is not installed".into(), "All figures are estimates until it is.".into())
        }
        Helper::Unannounced => {
            let detail = "Its files are installed, but the system bus has not read them yet. Reloading the bus or restarting the computer does that.";
            find(Status::Warning, "the helper is not on the bus".into(), detail.into())
        }
        Helper::Unreachable(error) => find(Status::Problem, "the helper does not answer".into(), format!("{error}.")),
        Helper::Idle { version } => find(
            Status::Note,
            format!("the helper {version} is not counting yet"),
            "It is installed, but exact counting is not turned on.".into(),
        ),
        Helper::Unconfirmed { version, why } => {
            find(Status::Warning, format!("the helper {version} waits for your decision"), format::sentence(why))
        }
        Helper::Failing { version, error, .. } => {
            find(Status::Problem, format!("the helper {version} can't count"), format!("{error}."))
        }
        Helper::Counting { version, warning, .. } if !warning.is_empty() => {
            let title = format!("the helper {version} is counting, with a warning");
            find(Status::Warning, title, format::sentence(warning))
        }
        Helper::Counting { version, rows, .. } => {
            let other = env!("CARGO_PKG_VERSION");
            if version != other {
                let detail = format!("This netglance is {other}. Install the same version of both.");
                return find(Status::Warning, format!("the helper {version} is counting"), detail);
            }
            find(
                Status::Ok,
                format!("the helper {version} is counting"),
                format!("It has {} of yours. `{} uninstall` stops it.", many(*rows, "cgroup"), facts.program),
            )
        }
    }
}

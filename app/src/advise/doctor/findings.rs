//! From facts to findings, one function each. Pure.

use netglance_dbus::kernel::{Judgement, OLDEST, Version};

use super::{
    Finding, Status, caveats,
    facts::{AppUnit, Cgroups, Facts, Helper, Session, Tray},
    kernel::{lacks, name},
    many, neighbours,
};
use crate::{
    base::{format, settings::Unit},
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
    all.extend(caveats::findings(facts));
    all.extend(neighbours::findings(facts));
    all.extend([polkit(facts), polkit_agent(facts), tray(facts), helper(facts)]);
    all
}

fn distribution(facts: &Facts) -> Finding {
    let title = facts.distribution.clone().unwrap_or_else(|| "an unnamed distribution".to_owned());
    if facts.container {
        let detail =
            "This is a container: what is said here holds inside it. The host's applications are counted on the host.";
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
        return find(Status::Unknown, "This release has no version that can be read.".to_owned());
    };
    if base < OLDEST {
        let detail = format!("Too old for exact counting, which needs {OLDEST}. The estimate needs 5.7.");
        return find(Status::Warning, detail);
    }
    match kernel.judge() {
        Judgement::Crashes(flaw) => {
            find(Status::Problem, format!("{}. The helper does not count on it.", kernel.sentence(flaw)))
        }
        Judgement::Leaks(flaw) => find(
            Status::Warning,
            format!("{}. The helper counts on it only after an administrator has agreed.", kernel.sentence(flaw)),
        ),
        Judgement::Unknown(flaws) => find(Status::Unknown, format::sentence(&kernel.doubt(&flaws))),
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
    let absent = "netglance tells applications apart by their cgroup v2, and none is mounted.";
    match &facts.cgroup {
        Cgroups::Absent => Finding::new("cgroup", Status::Problem, "no cgroup v2", format!("{absent} Neither is v1.")),
        Cgroups::V1 => {
            Finding::new("cgroup", Status::Problem, "cgroup v1 alone", format!("{absent} The last step changes that."))
        }
        Cgroups::Unified { mount } => Finding::new(
            "cgroup",
            Status::Ok,
            format!("cgroup v2 at {mount}"),
            "A socket belongs for life to the cgroup that made it.",
        ),
        Cgroups::Hybrid { mount } => {
            let title = format!("hybrid: cgroup v2 at {mount}, beside v1");
            if facts.kernel.base().is_some_and(|version| version < HYBRID_SAFE) {
                let detail = "Before Linux 5.15 a use of v1's net_cls or net_prio makes the kernel forget the v2 cgroup of sockets.";
                return Finding::new("cgroup", Status::Warning, title, detail);
            }
            Finding::new("cgroup", Status::Ok, title, "The v2 tree is what counts; v1 does not get in its way.")
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
                "Known from the helper, whose table is in the kernel.".into(),
            );
        }
        Helper::Failing { error, unsupported: true, .. } => {
            return find(
                Status::Problem,
                "nftables can't count per cgroup",
                format!("The helper's dry run says: {error}"),
            );
        }
        _ => {}
    }
    let source = match facts.nft.source.as_slice() {
        [] => "the kernel's version alone: neither its configuration nor its modules can be read".to_owned(),
        files => format!("the kernel's version, {}", files.join(", ")),
    };
    let judged = format!("Judged by {source}; the helper makes a dry run before it counts.");
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
            find(Status::Unknown, "nftables: probably", format!("Not known: {}. {judged}", unknown.join(", ")))
        }
    }
}

fn inet_diag(facts: &Facts) -> Finding {
    match &facts.estimate_fails {
        None => Finding::new(
            "inet-diag",
            Status::Ok,
            "the estimate works",
            "TCP payload per cgroup, as the sockets' own books have it; no privilege. Tried just now.",
        ),
        Some(error) => Finding::new("inet-diag", Status::Problem, "the estimate does not work", format!("{error}.")),
    }
}

fn systemd(facts: &Facts) -> Finding {
    let Some(version) = &facts.systemd else {
        let detail = if facts.system_bus {
            "systemd does not answer on the system bus. It starts the helper and gives each service and app a cgroup of its own."
        } else {
            "There is no system bus. The helper is reached over it, and started by systemd."
        };
        return Finding::new("systemd", Status::Warning, "no systemd", detail);
    };
    let title = format!("systemd {version}");
    let number = version.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse::<u32>().ok());
    match number {
        None => Finding::new("systemd", Status::Unknown, title, "This version has no number that can be read."),
        Some(n) if n < OLDEST_SYSTEMD => {
            Finding::new("systemd", Status::Note, title, "Older than 252, the oldest on which the helper was tried.")
        }
        Some(_) => {
            let manager = if facts.user_manager {
                "The user's systemd answers as well."
            } else {
                "The user's systemd is not reached from here."
            };
            let detail =
                format!("Its descriptor store keeps the counters over restarts and upgrades of the helper. {manager}");
            Finding::new("systemd", Status::Ok, title, detail)
        }
    }
}

fn app(facts: &Facts) -> Finding {
    let app = &facts.app;
    if app.units.is_empty() {
        let near = if app.near.is_empty() { String::new() } else { format!(" Near names: {}.", app.near.join(", ")) };
        let detail = format!(
            "Nothing matches {} now.{near} `netglance apps` lists what runs; name it with --app or --unit.",
            app.pattern
        );
        return Finding::new("app", Status::Note, format!("{} does not run", app.name), detail);
    }
    let processes: usize = app.units.iter().filter_map(|unit| unit.processes).sum();
    let title = format!("{}: {}, {}", app.name, many(app.units.len(), "unit"), many(processes, "process"));
    let line = |unit: &AppUnit| {
        let processes = unit.processes.map_or("processes unknown".to_owned(), |n| many(n, "process"));
        format!("{} ({processes}) at {}", unit.unit, unit.cgroup)
    };
    let mut detail = app.units.iter().map(line).collect::<Vec<_>>().join("\n");
    if app.units.iter().any(|unit| !unit.own) {
        detail.push_str("\nNot all of this is yours: the helper shows others' counters to an administrator alone.");
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
                "sockets: not looked at",
                "The app's processes don't run or aren't yours.",
            );
        }
        Some(n) => n,
    };
    if handed_over == 0 && app.socket_units.is_empty() {
        return Finding::new(
            "sockets",
            Status::Ok,
            format!("sockets: all of {}'s own making", app.name),
            "None was made in another cgroup.",
        );
    }
    let title = format!("{} from another cgroup", many(handed_over, "socket"));
    let units = if app.socket_units.is_empty() {
        String::new()
    } else {
        format!(" {} starts it.", app.socket_units.join(", "))
    };
    Finding::new("sockets", Status::Note, title, format!("A socket is booked where it was made.{units}"))
}

fn other_apps(facts: &Facts) -> Finding {
    let Some(others) = facts.others else {
        return Finding::new(
            "other-apps",
            Status::Unknown,
            "other apps of the user",
            "Without the cgroup tree they can't be told apart.",
        );
    };
    if others.count == 0 {
        return Finding::new("other-apps", Status::Ok, "no other app of the same user", "");
    }
    let rates = |rate: Option<Rate>| {
        rate.map_or("unknown".to_owned(), |r| {
            format!("{} down, {} up", format::rate(r.rx, Unit::Bytes), format::rate(r.tx, Unit::Bytes))
        })
    };
    let detail = format!(
        "A tool that goes by uid would mix them in. Now, by the estimate: they {}; {} {}.",
        rates(others.rate),
        facts.app.name,
        rates(facts.app.rate)
    );
    Finding::new("other-apps", Status::Note, format!("{} of the same user", many(others.count, "other app")), detail)
}

fn polkit(facts: &Facts) -> Finding {
    if facts.polkit {
        return Finding::new("polkit", Status::Ok, "polkit is there", "It asks for the one password.");
    }
    Finding::new("polkit", Status::Warning, "no polkit", "Nobody but root can switch exact counting on here.")
}

fn polkit_agent(facts: &Facts) -> Finding {
    if !facts.polkit {
        return Finding::new(
            "polkit-agent",
            Status::Unknown,
            "a password dialog: nobody to show one for",
            "Without polkit no password is asked for.",
        );
    }
    let session = match &facts.session {
        Some(Session { remote: true, .. }) => {
            " This session came over the network: polkit asks there too, where an agent runs."
        }
        Some(Session { active: false, .. }) => " The session is not in front now.",
        Some(_) => "",
        None => " logind knows of no session of this user in front of a screen.",
    };
    match &facts.polkit_agent {
        Some(agent) => Finding::new(
            "polkit-agent",
            Status::Ok,
            format!("a password dialog: {agent}"),
            format!("The agent that shows it runs.{session}"),
        ),
        None => {
            let detail = format!(
                "No process that is known to be one (polkit doesn't say which are). netglance asks in the terminal then.{session}"
            );
            Finding::new("polkit-agent", Status::Unknown, "a password dialog: unknown", detail)
        }
    }
}

fn tray(facts: &Facts) -> Finding {
    let (status, title, detail) = match facts.tray {
        Tray::Host => (Status::Ok, "a tray is there", "The icon shows in it."),
        Tray::NoHost => (
            Status::Warning,
            "no tray shows icons",
            "StatusNotifierWatcher runs, and no host has registered. Closing the window quits.",
        ),
        Tray::Nobody => (
            Status::Warning,
            "no tray",
            "Nobody on the session bus shows StatusNotifier icons: closing the window quits. Xfce and KDE have one; GNOME needs its AppIndicator extension.",
        ),
        Tray::NoBus => (Status::Unknown, "a tray: unknown", "No session bus is reached from here."),
    };
    Finding::new("tray", status, title, detail)
}

fn helper(facts: &Facts) -> Finding {
    let find = |status, title: String, detail: String| Finding::new("helper", status, title, detail);
    match &facts.helper {
        Helper::Absent => {
            find(Status::Note, "the helper is not installed".into(), "So everything shown is an estimate.".into())
        }
        Helper::Unannounced => {
            let detail =
                "Its files are here, but the system bus has not taken them up; a reload or a reboot does that.";
            find(Status::Warning, "the helper is not on the bus".into(), detail.into())
        }
        Helper::Unreachable(error) => find(Status::Problem, "the helper does not answer".into(), format!("{error}.")),
        Helper::Idle { version } => {
            find(Status::Note, format!("the helper {version} counts nothing yet"), "Its files are installed.".into())
        }
        Helper::Unconfirmed { version, why } => {
            find(Status::Warning, format!("the helper {version} waits for your word"), format::sentence(why))
        }
        Helper::Failing { version, error, .. } => {
            find(Status::Problem, format!("the helper {version} can't count"), format!("{error}."))
        }
        Helper::Counting { version, warning, .. } if !warning.is_empty() => {
            let title = format!("the helper {version} counts, with a warning");
            find(Status::Warning, title, format::sentence(warning))
        }
        Helper::Counting { version, rows, .. } => {
            let other = env!("CARGO_PKG_VERSION");
            if version != other {
                let detail = format!("This netglance is {other}: install both of one version.");
                return find(Status::Warning, format!("the helper {version} counts"), detail);
            }
            find(
                Status::Ok,
                format!("the helper {version} counts"),
                format!("{} of yours. `{} uninstall` ends it.", many(*rows, "cgroup"), facts.program),
            )
        }
    }
}

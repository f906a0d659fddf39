//! Whether a case passed, and what it means for a person if it did not. Pure.

use std::net::IpAddr;

use netglance_dbus::{
    scope::Scope,
    verify::{Figures, Payload, Stray},
};

use super::cases::{Actor, Case};

/// Received and sent of one scope.
type Ways = [u64; 2];

fn external(figures: &Figures) -> Ways {
    [figures.rx_bytes, figures.tx_bytes]
}

fn internal(figures: &Figures) -> Ways {
    [figures.internal_rx_bytes, figures.internal_tx_bytes]
}

fn sum(figures: &Figures) -> Ways {
    let ([a, b], [c, d]) = (external(figures), internal(figures));
    [a.saturating_add(c), b.saturating_add(d)]
}

/// `None`: it passed. Else what the failure means, and where to look.
///
/// `cgroup` is the actor's path, in which `strays` are told from their neighbours.
pub fn of_failure(
    case: &Case,
    cgroup: &str,
    expected: &Figures,
    counted: &Figures,
    strays: &[Stray],
) -> Option<String> {
    if counted == expected && strays.is_empty() {
        return None;
    }
    let text = swapped(expected, counted)
        .or_else(|| elsewhere(case, cgroup, expected, counted, strays))
        .or_else(|| as_estimate(case, counted))
        .or_else(|| through_tunnel(case, expected, counted))
        .or_else(|| redirected(case, expected, counted))
        .or_else(|| wrong_scope(case, expected, counted))
        .or_else(|| (sum(counted) == [0, 0]).then(|| if case.is_reset { RESET } else { NOTHING }.to_owned()))
        .or_else(|| half(expected, counted))
        .unwrap_or_else(|| wrong_amount(expected, counted));
    let who = if case.actor == Actor::App { String::new() } else { format!(", {}", case.actor.name()) };
    Some(format!("{}{who}: {text}", case.name))
}

/// As [`of_failure`], of what a container has moved: `figures` are those expected, and those counted.
pub fn of_forwarded(scope: Scope, remote: IpAddr, figures: [&Figures; 2], strays: &[Stray]) -> Option<String> {
    let [expected, counted] = figures;
    let is_same = counted == expected;
    if let (true, Some(first)) = (is_same, strays.first()) {
        return Some(format!("bytes were also counted for {}, so they are counted twice.", first.cgroup));
    }
    if is_same {
        return None;
    }
    let ([rx, tx], [counted_rx, counted_tx]) = (sum(expected), sum(counted));
    let missing = |what: &str, chain: &str| {
        format!(
            "{what} was counted, so what containers and virtual machines move is too low by all of it. The rule of the chain forward that \
             leads to {chain} is missing (nft list ruleset), or no internal prefix covers the container's own address."
        )
    };
    let set = if remote.is_ipv4() { "internal4" } else { "internal6" };
    Some(match (counted_rx, counted_tx) {
        (0, 0) => missing("none of it", "forwarded_rx and forwarded_tx"),
        (0, _) if counted_tx == tx => missing("none of what was received", "forwarded_rx"),
        (_, 0) if counted_rx == rx => missing("none of what was sent", "forwarded_tx"),
        _ if [counted_rx, counted_tx] == [rx, tx] => match scope {
            Scope::Internal => format!(
                "it was counted as external, so the figures are too high by all traffic of this kind, which never leaves your own networks. \
                 No prefix in the set {set} covers {remote}, or the rules that look it up are missing."
            ),
            Scope::External => format!(
                "it was counted as internal and left out, so the figures are too low by all traffic of this kind. A prefix in the set \
                 {set} covers {remote}, which is not internal, or a rule is wrong."
            ),
        },
        _ => swapped(expected, counted).unwrap_or_else(|| wrong_amount(expected, counted)),
    })
}

/// What [`super::cgroups::CHILD`] adds to its parent's path.
const CHILD_OF_APP: &str = "/child";
const NOTHING: &str = "none of it was counted, so the figures are too low by all of it. The table's chains do not see these packets: \
     check that all their rules are there (nft list ruleset).";

const RESET: &str = "what was counted after another program had reset the counters to zero is missing, so the figures are too low \
     whenever somebody does that (nft reset, accounting scripts).";

fn swapped(expected: &Figures, counted: &Figures) -> Option<String> {
    let turn = |[rx, tx]: Ways| [tx, rx];
    let is_so = external(counted) == turn(external(expected))
        && internal(counted) == turn(internal(expected))
        && counted != expected;
    is_so.then(|| {
        "download and upload are swapped: what the app receives is shown as sent, and the other way round. The input and \
         output chains, or their sets, are mixed up."
            .to_owned()
    })
}

fn elsewhere(case: &Case, cgroup: &str, expected: &Figures, counted: &Figures, strays: &[Stray]) -> Option<String> {
    let first = strays.first()?;
    if counted == expected {
        return Some(format!(
            "the same bytes were also counted for {}, so they are counted twice. A rule lacks its `accept`.",
            first.cgroup
        ));
    }
    if case.actor == Actor::Child && cgroup.strip_prefix(&first.cgroup).is_some_and(|rest| rest == CHILD_OF_APP) {
        return Some(format!(
            "it was counted for the app's own cgroup above, {}. The app's total is right, but this part of it can't be seen \
             separately. The rules for level {} of the cgroup tree are missing.",
            first.cgroup,
            cgroup.matches('/').count()
        ));
    }
    let is_ancestor = |stray: &Stray| cgroup.strip_prefix(&stray.cgroup).is_some_and(|rest| rest.starts_with('/'));
    Some(match strays.iter().find(|stray| is_ancestor(stray)) {
        Some(ancestor) => format!(
            "it was counted for the cgroup above, {}, so it is missing from the app's own figures and is in another row. The rules \
             for level {} of the cgroup tree are missing.",
            ancestor.cgroup,
            cgroup.matches('/').count()
        ),
        None => format!(
            "it was counted for {}, which is not this app. The figures of applications are mixed up and can't be trusted.",
            first.cgroup
        ),
    })
}

fn as_estimate(case: &Case, counted: &Figures) -> Option<String> {
    let Payload { rx_bytes, tx_bytes } = case.sent();
    if case.is_tcp() && sum(counted) == [rx_bytes, tx_bytes] {
        return Some(
            "the figure is only the payload, without any packet's header. That is what the estimate has, which sees no UDP \
             and no QUIC. It must not be called exact."
                .to_owned(),
        );
    }
    (!case.is_tcp() && sum(counted) == [0, 0]).then(|| {
        "none of these datagrams were counted, so the figures are too low by all UDP (QUIC, calls, DNS). The estimate can't \
         see them, but exact counting must. If the figures come from the table, it lacks rules (nft list ruleset)."
            .to_owned()
    })
}

fn through_tunnel(case: &Case, expected: &Figures, counted: &Figures) -> Option<String> {
    let more = |a: Ways, b: Ways| a[0] > b[0] || a[1] > b[1];
    (case.is_tunnelled() && more(sum(counted), sum(expected))).then(|| {
        "the tunnel's own packets were counted as well as those that they carry, so with a VPN the figures are about twice as \
         high as they should be. The rule that leaves out outer packets (@ll,0,8 >= 0x0 accept) is missing in the output chain."
            .to_owned()
    })
}

fn redirected(case: &Case, expected: &Figures, counted: &Figures) -> Option<String> {
    let one_way = external(counted) != [0, 0] && internal(counted) != [0, 0];
    (case.redirected.is_some() && one_way && sum(counted) == sum(expected)).then(|| {
        "what was sent was counted on one side and what was received on the other, because the answers of a redirected \
         connection carry the address that the app knows. The rules that ask connection tracking (nft list ruleset, chain translated) are \
         missing."
            .to_owned()
    })
}

fn wrong_scope(case: &Case, expected: &Figures, counted: &Figures) -> Option<String> {
    let (right, wrong) = match case.scope {
        Scope::Internal => (internal(expected), external(counted)),
        Scope::External => (external(expected), internal(counted)),
    };
    if wrong == [0, 0] || sum(counted) != sum(expected) {
        return None;
    }
    let way = match wrong {
        [0, _] => "what was sent",
        [_, 0] => "what was received",
        _ => "it",
    };
    let one_way = wrong != right;
    let family = if case.remote().is_ipv4() { ("IPv4", "internal4") } else { ("IPv6", "internal6") };
    let look = match (case.scope, one_way) {
        (Scope::Internal, _) if case.is_own() => {
            "The rule that leaves out the loopback interface (iiftype, oiftype loopback) or the host's own addresses are missing."
                .to_owned()
        }
        (Scope::Internal, true) => {
            format!("The {} rule that looks up @{} is missing for one direction.", family.0, family.1)
        }
        (Scope::Internal, false) => {
            format!("No prefix in the set {} covers {}, or the rules that look it up are missing.", family.1, case.on_wire())
        }
        (Scope::External, _) => {
            format!("A prefix in the set {} covers {}, which is not internal, or a rule is wrong.", family.1, case.on_wire())
        }
    };
    Some(match case.scope {
        Scope::Internal => format!(
            "{way} was counted as external, so the figures are too high by all traffic of this kind, which never leaves your \
             own networks. {look}"
        ),
        Scope::External => format!(
            "{way} was counted as internal and left out, so the figures are too low by all traffic of this kind. {look}"
        ),
    })
}

/// All of one direction is missing and the other one is right.
fn half(expected: &Figures, counted: &Figures) -> Option<String> {
    let ([rx, tx], [counted_rx, counted_tx]) = (sum(expected), sum(counted));
    let text = |way: &str, shown: &str, chain: &str| {
        format!(
            "none of what was {way} was counted, so the {shown} is too low by all of it. A rule of the chain {chain} is missing, \
             most likely its last one (goto). Check with nft list ruleset."
        )
    };
    match (counted_rx, counted_tx) {
        (0, _) if rx > 0 && counted_tx == tx => Some(text("received", "download", "input")),
        (_, 0) if tx > 0 && counted_rx == rx => Some(text("sent", "upload", "output")),
        _ => None,
    }
}

fn wrong_amount(expected: &Figures, counted: &Figures) -> String {
    let [expected, counted] = [sum(expected), sum(counted)];
    let way = |name, expected: u64, counted: u64| match counted.cmp(&expected) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Less => Some(format!("{} bytes of what was {name} are missing", expected - counted)),
        std::cmp::Ordering::Greater => Some(format!("{} bytes too many were counted as {name}", counted - expected)),
    };
    let ways = [way("received", expected[0], counted[0]), way("sent", expected[1], counted[1])];
    format!(
        "{}. The figures of this app are wrong by that much.",
        ways.into_iter().flatten().collect::<Vec<_>>().join(", ")
    )
}

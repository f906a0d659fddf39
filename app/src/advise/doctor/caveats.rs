//! Findings about bytes that are counted although nobody got them, or not counted although somebody did; and about firewall
//! rules that were saved with netglance's table in them, or can't be listed. Pure. A finding is there only where it applies.

use super::{
    Finding, Status,
    facts::{Facts, Saved, SharedPort},
    many,
};

/// Those of this host.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    [filters(facts), shared_ports(facts), packet_sockets(facts), saved_rules(facts), old_program(facts)]
        .into_iter()
        .flatten()
        .collect()
}

fn filters(facts: &Facts) -> Option<Finding> {
    let units = &facts.app.filters;
    let title = format!(
        "{} by address or interface",
        match units.as_slice() {
            [] => return None,
            [unit] => format!("{unit} filters"),
            units => format!("{} filter", units.join(", ")),
        }
    );
    let detail = "systemd applies IPAddressDeny= and similar settings after nftables. Packets that they drop are still counted as sent or received.";
    Some(Finding::new("ip-filter", Status::Note, title, detail))
}

fn shared_ports(facts: &Facts) -> Option<Finding> {
    let ports = &facts.app.shared_ports;
    if ports.is_empty() {
        return None;
    }
    let title = format!("{} shared with another control group", many(ports.len(), "UDP port"));
    let line = |shared: &SharedPort| format!("Port {} is shared with {}.\n", shared.port, shared.with.join(", "));
    let detail = ports.iter().map(line).collect::<String>()
        + "If a BPF program chooses who gets each datagram (SO_REUSEPORT), part of what one receives is counted for the other. What is sent is counted correctly.";
    Some(Finding::new("shared-ports", Status::Note, title, detail))
}

fn packet_sockets(facts: &Facts) -> Option<Finding> {
    let app = &facts.app;
    if app.packet_sockets > 0 {
        let title = format!("{} of {}", many(app.packet_sockets, "packet socket"), app.name);
        let detail = "Packet sockets bypass nftables. Nothing that goes through them is counted, in either direction.";
        return Some(Finding::new("packet-sockets", Status::Note, title, detail));
    }
    if app.packet_sockets_unseen == 0 {
        return None;
    }
    let detail = format!(
        "The same user has {} that may belong to {}. Only root can inspect all of its processes. Nothing that goes through a packet socket is counted.",
        many(app.packet_sockets_unseen, "packet socket"),
        app.name
    );
    Some(Finding::new("packet-sockets", Status::Unknown, "packet sockets: unknown", detail))
}

/// The first version of the program that knows `socket cgroupv2`. Those before it crash when they list such a rule.
const OLDEST_PROGRAM: [u32; 3] = [0, 9, 9];

fn old_program(facts: &Facts) -> Option<Finding> {
    let version = facts.nft_program.as_deref()?;
    let numbers: Vec<u32> = version.split('.').map_while(|number| number.parse().ok()).collect();
    if numbers.is_empty() || numbers >= OLDEST_PROGRAM.to_vec() {
        return None;
    }
    let detail = "While exact counting is on, `nft list ruleset` crashes and shows no rules at all, so a file saved with it would be empty. Upgrade nftables to 0.9.9 or newer before you turn exact counting on.";
    Some(Finding::new("nft-program", Status::Warning, format!("nft {version} can't list netglance's table"), detail))
}

fn saved_rules(facts: &Facts) -> Option<Finding> {
    let of = |unreadable: bool| {
        let files = facts.saved.iter().filter(|rules| (rules.saved == Saved::Unreadable) == unreadable);
        files.map(|rules| rules.file.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (holding, unreadable) = (of(false), of(true));
    if !holding.is_empty() {
        let detail = format!(
            "It is in {holding}, and was saved with `nft list ruleset`. It is not needed there: the helper creates the table itself. If an earlier version of netglance created it, nft may refuse to load any rule of that file."
        );
        return Some(Finding::new(
            "saved-rules",
            Status::Warning,
            "the saved firewall rules contain netglance's table",
            detail,
        ));
    }
    if unreadable.is_empty() {
        return None;
    }
    let detail = format!(
        "{unreadable} can't be read. If it was saved with `nft list ruleset`, it may contain netglance's table (`table inet netglance`). It is not needed there: the helper creates the table itself."
    );
    Some(Finding::new("saved-rules", Status::Unknown, "saved firewall rules: unknown", detail))
}

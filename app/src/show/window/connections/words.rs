//! What is known of a remote, in words. Pure.

use std::net::{IpAddr, SocketAddr};

use crate::look::{
    live::Side,
    remotes::{Name, NamedBy, Remote, Whois},
};

/// What stands there for sockets that have no other side.
pub const NO_PEER: &str = "No fixed remote";

/// Its name, or else its address.
pub fn name(remote: &Remote) -> String {
    remote.whois.name.as_ref().map_or_else(|| address(remote.address), |name| name.name.clone())
}

/// An address, or what stands there instead.
pub fn address(address: Option<IpAddr>) -> String {
    address.map_or_else(|| NO_PEER.to_owned(), |address| address.to_string())
}

/// The address with its port, as it is written: `[2001:db8::1]:443`.
pub fn endpoint(remote: &Remote) -> String {
    match (remote.address, remote.port) {
        (Some(address), 0) => address.to_string(),
        (Some(address), port) => SocketAddr::new(address, port).to_string(),
        (None, _) => NO_PEER.to_owned(),
    }
}

/// The port and what it is for: `443 https`; a dash where there is none.
pub fn port(port: u16, service: Option<&str>) -> String {
    match (port, service) {
        (0, _) => "–".to_owned(),
        (port, Some(service)) => format!("{port} {service}"),
        (port, None) => port.to_string(),
    }
}

/// A protocol as people call it.
pub fn protocol(number: u8) -> String {
    let name = match number {
        1 => "ICMP",
        2 => "IGMP",
        6 => "TCP",
        17 => "UDP",
        33 => "DCCP",
        47 => "GRE",
        50 => "ESP",
        58 => "ICMPv6",
        132 => "SCTP",
        number => return format!("IP {number}"),
    };
    name.to_owned()
}

/// The network and the country: `Example Ltd (US)`; empty where neither is known.
pub fn network(whois: &Whois) -> String {
    let operator = whois.network.as_ref().map(|(number, name)| operator(*number, name));
    match (operator, &whois.country) {
        (Some(operator), Some(country)) => format!("{operator} ({country})"),
        (Some(operator), None) => operator,
        (None, Some(country)) => country.clone(),
        (None, None) => String::new(),
    }
}

/// Who runs an autonomous system, or at least its number.
pub fn operator(number: u32, name: &str) -> String {
    if name.is_empty() { format!("AS{number}") } else { name.to_owned() }
}

/// How its bytes are counted.
pub fn scope(scope: Option<Side>) -> &'static str {
    match scope {
        Some(Side::External) => "External",
        Some(Side::Internal) => "Internal",
        None => "Varies",
    }
}

/// What decided about it: the prefix and the reason.
pub fn why(remote: &Remote) -> String {
    let prefix = remote.prefix.as_deref().map(|prefix| format!("{prefix}: ")).unwrap_or_default();
    let proxy = remote.proxy.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("{prefix}{}{proxy}", remote.reason)
}

/// When it was last seen, by how many nanoseconds ago that was.
pub fn ago(ns: u64) -> String {
    match ns / 1_000_000_000 {
        0..=1 => "now".to_owned(),
        secs @ 2..=59 => format!("{secs} s ago"),
        secs @ 60..=3599 => format!("{} min ago", secs / 60),
        secs => format!("{} h ago", secs / 3600),
    }
}

/// All that can be searched for, in small letters.
pub fn searched(remote: &Remote, owner: &str) -> String {
    let Whois { name, service, country, network } = &remote.whois;
    let number = network.as_ref().map(|(number, _)| format!("AS{number}"));
    let (address, port) = (address(remote.address), remote.port.to_string());
    let parts = [
        address.as_str(),
        name.as_ref().map_or("", |name| name.name.as_str()),
        if remote.port == 0 { "" } else { &port },
        &endpoint(remote),
        service.as_deref().unwrap_or_default(),
        &protocol(remote.protocol),
        owner,
        &remote.unit,
        country.as_deref().unwrap_or_default(),
        number.as_deref().unwrap_or_default(),
        network.as_ref().map_or("", |(_, name)| name.as_str()),
        scope(remote.scope),
        &why(remote),
    ];
    // No word is found across two of them.
    parts.join("\n").to_lowercase()
}

/// Everything that is known of it, a line each.
pub fn all(remote: &Remote, owner: &str) -> String {
    let Whois { name, service, country, network } = &remote.whois;
    let mut lines = Vec::new();
    if let Some(Name { name, by }) = name {
        let by = match by {
            NamedBy::ReverseDns => "reverse DNS",
            NamedBy::Query => "looked up by this computer",
        };
        lines.push(format!("{name} ({by})"));
    }
    let service = service.as_deref().map(|service| format!(", {service}")).unwrap_or_default();
    lines.push(format!("{}, {}{service}", endpoint(remote), protocol(remote.protocol)));
    if let Some((number, name)) = network {
        lines.push(if name.is_empty() { format!("AS{number}") } else { format!("{name} (AS{number})") });
    }
    lines.extend(country.as_ref().map(|country| format!("Country: {country}")));
    if owner != remote.unit {
        lines.push(owner.to_owned());
    }
    lines.push(remote.unit.clone());
    lines.push(counts(remote));
    lines.join("\n")
}

/// How it counts, and why.
pub fn counts(remote: &Remote) -> String {
    let counted = match remote.counters {
        Some(side) if Some(side) != remote.scope => {
            format!("\nThe exact counters treat it as {}.", scope(Some(side)).to_lowercase())
        }
        _ => String::new(),
    };
    format!("{}: {}{counted}", scope(remote.scope), why(remote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_said_and_nothing_else() {
        assert_eq!(
            (port(443, Some("https")), port(0, None), port(9, None)),
            ("443 https".into(), "–".into(), "9".into())
        );
        assert_eq!([6, 17, 99].map(protocol), ["TCP", "UDP", "IP 99"]);
        let whois = |country: Option<&str>, network: Option<(u32, &str)>| Whois {
            country: country.map(Into::into),
            network: network.map(|(number, name)| (number, name.into())),
            ..Whois::default()
        };
        assert_eq!(network(&whois(Some("US"), Some((15133, "Edgecast")))), "Edgecast (US)");
        assert_eq!(network(&whois(None, Some((15133, "")))), "AS15133");
        assert_eq!(network(&whois(Some("DE"), None)), "DE");
        assert_eq!(network(&whois(None, None)), "");
        let ago = |secs: u64| ago(secs * 1_000_000_000);
        assert_eq!([1, 59, 60, 7300].map(ago), ["now", "59 s ago", "1 min ago", "2 h ago"]);
    }
}

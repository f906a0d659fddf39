//! Rows as the lines of a table: those of one remote, network or port together, busiest first. Pure.

use std::{cmp::Reverse, collections::HashMap, net::IpAddr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::{By, Row};
use crate::look::{live::Side, rate::Rate};

/// What the rows of a line have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum What<'a> {
    /// An address, port and IP protocol.
    Remote(Option<IpAddr>, u16, u8),
    /// An autonomous system: its number and who runs it.
    System(u32, &'a str),
    /// The beginning of an address; `None`: no address.
    Prefix(Option<ipnet::IpNet>),
    /// A port and IP protocol.
    Port(u16, u8),
}

/// A line of the table.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// The app's name.
    pub app: &'a str,
    /// What its rows have in common.
    pub what: What<'a>,
    /// Its first row, for what is known of the remote.
    pub first: Row<'a>,
    /// `None`: unknown, or not the same for all.
    pub scope: Option<Side>,
    /// `None`: nothing of it is measured.
    pub bytes: Option<[u64; 2]>,
    /// `None`: nothing of it is measured, or a gap.
    pub rate: Option<Rate>,
    /// How many remotes.
    pub remotes: u32,
    /// How many open sockets.
    pub sockets: u32,
}

/// The lines of these rows.
pub fn of<'a>(rows: &[Row<'a>], by: By) -> Vec<Line<'a>> {
    let mut lines: HashMap<(&str, What<'a>), Line<'a>> = HashMap::new();
    for row in rows {
        let what = what(*row, by);
        let line = lines.entry((row.app, what.clone())).or_insert_with(|| Line {
            app: row.app,
            what,
            first: *row,
            scope: row.remote.scope,
            bytes: None,
            rate: None,
            remotes: 0,
            sockets: 0,
        });
        line.add(row);
    }
    let mut lines: Vec<_> = lines.into_values().collect();
    let busy = |line: &Line<'_>| line.rate.map_or(0.0, |rate| rate.rx + rate.tx);
    let moved = |line: &Line<'_>| line.bytes.map(|[rx, tx]| rx.saturating_add(tx));
    lines.sort_by(|a, b| {
        let order = busy(b).total_cmp(&busy(a)).then_with(|| Reverse(moved(a)).cmp(&Reverse(moved(b))));
        order.then_with(|| (a.app, a.first.remote.id).cmp(&(b.app, b.first.remote.id)))
    });
    lines
}

impl Line<'_> {
    fn add(&mut self, row: &Row<'_>) {
        self.scope = self.scope.filter(|_| self.scope == row.remote.scope);
        if let Some([rx, tx]) = row.figures.bytes {
            let [all_rx, all_tx] = self.bytes.unwrap_or_default();
            self.bytes = Some([all_rx.saturating_add(rx), all_tx.saturating_add(tx)]);
        }
        if let Some(rate) = row.figures.rate {
            let all = self.rate.unwrap_or_default();
            self.rate = Some(Rate { rx: all.rx + rate.rx, tx: all.tx + rate.tx });
        }
        self.remotes = self.remotes.saturating_add(1);
        self.sockets = self.sockets.saturating_add(row.figures.sockets);
    }
}

fn what<'a>(Row { remote, .. }: Row<'a>, by: By) -> What<'a> {
    match (by, &remote.whois.network) {
        (By::Remote, _) => What::Remote(remote.address, remote.port, remote.protocol),
        (By::Port, _) => What::Port(remote.port, remote.protocol),
        (By::Network, Some((number, name))) => What::System(*number, name),
        (By::Network, None) => What::Prefix(remote.address.and_then(prefix)),
    }
}

/// A network of the size that is usually given to one owner.
fn prefix(address: IpAddr) -> Option<ipnet::IpNet> {
    Some(match address {
        IpAddr::V4(address) => Ipv4Net::new(address, 24).ok()?.trunc().into(),
        IpAddr::V6(address) => Ipv6Net::new(address, 48).ok()?.trunc().into(),
    })
}

/// What an IP protocol is called, in small letters; its number for one without a well-known name.
pub fn protocol(number: u8) -> String {
    // https://www.iana.org/assignments/protocol-numbers
    let name = match number {
        1 => "icmp",
        2 => "igmp",
        4 => "ipip",
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        41 => "ipv6",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        58 => "icmpv6",
        89 => "ospf",
        112 => "vrrp",
        132 => "sctp",
        136 => "udplite",
        _ => return number.to_string(),
    };
    name.to_owned()
}

/// In which words a scope is shown.
pub fn scope(scope: Option<Side>) -> &'static str {
    match scope {
        Some(Side::External) => "external",
        Some(Side::Internal) => "internal",
        None => "-",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::remotes::{Figures, Remote, Whois};

    #[test]
    fn rows_are_put_together_and_sorted() {
        let remote = |id: u32, address: &str, port: u16, protocol: u8, network: Option<u32>| Remote {
            id,
            app: String::new(),
            unit: String::new(),
            cgroup: format!("/{id}"),
            address: address.parse().ok(),
            port,
            protocol,
            scope: Some(if address.starts_with("10.") { Side::Internal } else { Side::External }),
            prefix: None,
            reason: String::new(),
            counters: None,
            proxy: None,
            whois: Whois { network: network.map(|number| (number, "Example".to_owned())), ..Whois::default() },
        };
        let remotes = [
            remote(1, "8.8.8.8", 443, 6, None),
            remote(2, "8.8.8.8", 443, 6, None),
            remote(3, "8.8.8.9", 443, 17, None),
            remote(4, "2001:db8:1:2::1", 443, 6, Some(7)),
            remote(5, "1.1.1.1", 443, 6, Some(7)),
            remote(6, "10.1.1.1", 443, 6, None),
            remote(7, "", 0, 17, None),
        ];
        let figures: Vec<_> = (1..=7_u32)
            .map(|id| Figures {
                id,
                bytes: (id < 7).then_some([u64::from(id), 10]),
                rate: (id == 2 || id == 5).then_some(Rate { rx: f64::from(id), tx: 1.0 }),
                seen_ns: 0,
                sockets: 1,
            })
            .collect();
        let rows: Vec<_> =
            remotes.iter().zip(&figures).map(|(remote, figures)| Row { app: "a", remote, figures }).collect();
        let check = |by, expected: &[(&str, Option<[u64; 2]>, u32, &str)]| {
            let lines = of(&rows, by);
            let found: Vec<_> = lines
                .iter()
                .map(|line| {
                    let what = match &line.what {
                        What::Remote(address, port, number) => format!("{address:?} {port} {}", protocol(*number)),
                        What::System(number, name) => format!("AS{number} {name}"),
                        What::Prefix(prefix) => prefix.map(|prefix| prefix.to_string()).unwrap_or_default(),
                        What::Port(port, number) => format!("{port} {}", protocol(*number)),
                    };
                    (what, line.bytes, line.remotes, scope(line.scope))
                })
                .collect();
            let found: Vec<_> =
                found.iter().map(|(what, bytes, n, scope)| (what.as_str(), *bytes, *n, *scope)).collect();
            assert_eq!(found, expected);
        };
        check(
            By::Remote,
            &[
                ("Some(1.1.1.1) 443 tcp", Some([5, 10]), 1, "external"),
                ("Some(8.8.8.8) 443 tcp", Some([3, 20]), 2, "external"),
                ("Some(10.1.1.1) 443 tcp", Some([6, 10]), 1, "internal"),
                ("Some(2001:db8:1:2::1) 443 tcp", Some([4, 10]), 1, "external"),
                ("Some(8.8.8.9) 443 udp", Some([3, 10]), 1, "external"),
                ("None 0 udp", None, 1, "external"),
            ],
        );
        check(
            By::Network,
            &[
                ("AS7 Example", Some([9, 20]), 2, "external"),
                ("8.8.8.0/24", Some([6, 30]), 3, "external"),
                ("10.1.1.0/24", Some([6, 10]), 1, "internal"),
                ("", None, 1, "external"),
            ],
        );
        check(
            By::Port,
            &[
                ("443 tcp", Some([18, 50]), 5, "-"),
                ("443 udp", Some([3, 10]), 1, "external"),
                ("0 udp", None, 1, "external"),
            ],
        );
    }
}

//! Which marked packets the routing policy leads back to this host: `ip rule … fwmark` to a table with a `local` route, the
//! usual recipe for a transparent proxy of the host's own traffic. Pure.
//!
//! Only a mark matters here: it is what a firewall changes after the packet got its first route, and the route that it has
//! then is not seen at the output hook. By everything else that a rule may ask for the packet had its route before.

use std::collections::BTreeSet;

use ipnet::IpNet;
use netglance_dbus::{netlink::Error, onlink::PolicyRoute};
use netlink_packet_core::NlasIterator;

use crate::nft::ruleset::Marked;

/// Rules in the table, each of which every packet that is sent has to pass.
pub const MOST_MARKED: usize = 16;
/// `struct fib_rule_hdr` of linux/fib_rules.h.
const HEADER_BYTES: usize = 12;
/// `AF_INET` and `AF_INET6`.
const INET: u8 = 2;
const INET6: u8 = 10;

/// A rule of the routing policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    is_v4: bool,
    priority: u32,
    /// Where it leads; `None`: to no table.
    table: Option<u32>,
    /// It lets nothing past it that it applies to, as it drops or refuses.
    ends: bool,
    mark: u32,
    mask: u32,
    inverted: bool,
    /// It asks for more than a mark, or takes not every route of its table.
    particular: bool,
}

impl Rule {
    /// Whether it applies to a packet of this mark, whatever else that is.
    fn applies(&self, mark: u32) -> bool {
        !self.particular && ((mark & self.mask == self.mark & self.mask) != self.inverted)
    }
}

/// Reads `RTM_NEWRULE`. `None`: not of IPv4 or IPv6.
pub fn rule(payload: &[u8]) -> Result<Option<Rule>, Error> {
    const TO_TABLE: u8 = 1;
    /// `FR_ACT_BLACKHOLE`, `FR_ACT_UNREACHABLE`, `FR_ACT_PROHIBIT`.
    const ENDS: [u8; 3] = [6, 7, 8];
    const INVERT: u32 = 2;
    /// `FRA_*`; FLOW is a realm, which the route gets, and PROTOCOL says who made the rule.
    const IIFNAME: u16 = 3;
    const PRIORITY: u16 = 6;
    const FWMARK: u16 = 10;
    const FLOW: u16 = 11;
    const SUPPRESS_PREFIXLEN: u16 = 14;
    const TABLE: u16 = 15;
    const FWMASK: u16 = 16;
    const PAD: u16 = 18;
    const PROTOCOL: u16 = 21;
    let header: &[u8; HEADER_BYTES] =
        payload.first_chunk().ok_or_else(|| Error::malformed("header of a policy rule", payload))?;
    let [family, to, from, tos, table, _, _, action, flags @ ..] = *header;
    if family != INET && family != INET6 {
        return Ok(None);
    }
    let mut table = u32::from(table);
    let (mut priority, mut mark, mut mask) = (0, 0, None);
    let mut particular = to != 0 || from != 0 || tos != 0;
    for attribute in NlasIterator::new(payload.get(HEADER_BYTES..).unwrap_or_default()) {
        let attribute = attribute.map_err(|_| Error::malformed("attribute of a policy rule", payload))?;
        let number = || {
            let number = attribute.value().try_into().ok().map(u32::from_ne_bytes);
            number.ok_or_else(|| Error::malformed("number of a policy rule", payload))
        };
        match attribute.kind() {
            PRIORITY => priority = number()?,
            FWMARK => mark = number()?,
            FWMASK => mask = Some(number()?),
            TABLE => table = number()?,
            SUPPRESS_PREFIXLEN => particular |= number()? != u32::MAX,
            // What this host sends comes from the loopback interface, to the policy.
            IIFNAME => particular |= attribute.value() != b"lo\0",
            FLOW | PAD | PROTOCOL => {}
            _ => particular = true,
        }
    }
    Ok(Some(Rule {
        is_v4: family == INET,
        priority,
        table: (action == TO_TABLE).then_some(table),
        ends: ENDS.contains(&action),
        mark,
        mask: mask.unwrap_or(if mark == 0 { 0 } else { u32::MAX }),
        inverted: u32::from_ne_bytes(flags) & INVERT != 0,
        particular,
    }))
}

/// The marks that lead back to this host, and how many there are besides, beyond [`MOST_MARKED`]. `rules` as the kernel lists
/// them.
///
/// A rule that asks for more than a mark is passed over, whichever way it leads: what it is for is judged as if it were not
/// there.
pub fn marked(rules: &[Rule], routes: &BTreeSet<PolicyRoute>) -> (Vec<Marked>, usize) {
    let mut marked = Vec::new();
    let mut order: Vec<&Rule> = rules.iter().collect();
    order.sort_by_key(|rule| rule.priority); // stable: of the same priority, the kernel's order
    let in_table = |rule: &Rule| {
        let (table, is_v4) = (rule.table, rule.is_v4);
        routes.iter().filter(move |route| Some(route.table) == table && route.net.addr().is_ipv4() == is_v4)
    };
    let back: BTreeSet<_> = routes
        .iter()
        .filter(|route| route.local)
        .map(|route| (Some(route.table), route.net.addr().is_ipv4()))
        .collect();
    for (at, rule) in order.iter().enumerate() {
        let asks_for_a_mark = !rule.particular && !rule.inverted && rule.mark & rule.mask != 0;
        if !asks_for_a_mark || !back.contains(&(rule.table, rule.is_v4)) {
            continue;
        }
        // A default route of an earlier table, or an end, and the packet never gets here.
        let takes_all = |earlier: &&&Rule| {
            let leads_away = || in_table(earlier).any(|route| route.net.prefix_len() == 0);
            earlier.is_v4 == rule.is_v4 && earlier.applies(rule.mark) && (earlier.ends || leads_away())
        };
        if order.iter().take(at).any(|earlier| takes_all(&earlier)) {
            continue;
        }
        // Of two routes to the same destination the one with the lower priority is taken, and the set is in that order.
        let mut last: Option<IpNet> = None;
        for route in in_table(rule) {
            let first = last.replace(route.net) != Some(route.net);
            let new = Marked { mark: rule.mark & rule.mask, mask: rule.mask, to: route.net };
            if first && route.local && !marked.contains(&new) {
                marked.push(new);
            }
        }
    }
    let left_out = marked.len().saturating_sub(MOST_MARKED);
    marked.truncate(MOST_MARKED);
    (marked, left_out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const ANY: Rule = Rule {
        is_v4: true,
        priority: 0,
        table: Some(255),
        ends: false,
        mark: 0,
        mask: 0,
        inverted: false,
        particular: false,
    };

    fn route(table: u32, net: &str, local: bool) -> PolicyRoute {
        PolicyRoute { table, net: net.parse().unwrap(), priority: 0, local }
    }

    fn by_mark(priority: u32, mark: u32, mask: u32, table: u32) -> Rule {
        Rule { priority, table: Some(table), mark, mask, ..ANY }
    }

    #[test]
    fn what_a_rule_says() {
        let bytes = |header: [u8; 12], attributes: &[(u16, &[u8])]| {
            let mut bytes = header.to_vec();
            for (kind, value) in attributes {
                bytes.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
                bytes.extend(kind.to_ne_bytes());
                bytes.extend(*value);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            bytes
        };
        let header = [INET, 0, 0, 0, 100, 0, 0, 1, 0, 0, 0, 0];
        let n = |number: u32| number.to_ne_bytes();
        let usual: [(u16, &[u8]); 5] = [(15, &n(100)), (14, &n(u32::MAX)), (6, &n(32765)), (10, &n(1)), (16, &n(0xff))];
        let read = |header, attributes: &[(u16, &[u8])]| rule(&bytes(header, attributes)).unwrap();
        assert_eq!(read(header, &usual), Some(by_mark(32765, 1, 0xff, 100)));
        let with = |more| read(header, &[&usual[..], &[more]].concat()).unwrap().particular;
        assert!(!with((3, b"lo\0".as_slice())) && with((3, b"eth0\0")) && with((17, b"eth0\0")) && with((20, &[0; 8])));
        let mut inverted = header;
        inverted[8..].copy_from_slice(&n(2));
        assert!(read(inverted, &usual).unwrap().inverted);
        let mut from = header;
        from[2] = 24;
        assert!(read(from, &usual).unwrap().particular);
        let mut other = header;
        other[0] = 128;
        assert_eq!(read(other, &usual), None);
        let whole = bytes(header, &usual);
        for i in 0..whole.len() {
            assert!(rule(&whole[..i]).is_err() || i >= 12);
            for value in [0, 1, 3, 4, 0x7f, 0xff] {
                let mut mutated = whole.clone();
                mutated[i] = value;
                let _ = rule(&mutated);
            }
        }
    }

    #[test]
    fn a_mark_leads_back_only_where_no_earlier_rule_leads_it_away() {
        let routes = BTreeSet::from([
            route(100, "0.0.0.0/0", true),
            route(254, "0.0.0.0/0", false),
            route(101, "198.51.100.0/24", true),
            route(52, "100.64.0.0/10", false),
            route(51820, "0.0.0.0/0", false),
            route(100, "::/0", true),
        ]);
        let to = |rules: &[Rule]| -> Vec<(u32, u32, String)> {
            marked(rules, &routes).0.iter().map(|m| (m.mark, m.mask, m.to.to_string())).collect()
        };
        let main = Rule { priority: 32766, table: Some(254), ..ANY };
        let tproxy = by_mark(32765, 1, u32::MAX, 100);
        let all = "0.0.0.0/0".to_owned();
        let found = vec![(1, u32::MAX, all)];
        assert_eq!(to(&[ANY, tproxy, main]), found);
        assert_eq!(to(&[ANY, main]), []);
        assert_eq!(to(&[ANY, main, Rule { priority: 40_000, ..tproxy }]), [], "behind a default route");
        assert_eq!(to(&[by_mark(1, 0x200, 0xf00, 101)]), [(0x200, 0xf00, "198.51.100.0/24".to_owned())]);
        // Tailscale's table without an exit node, then WireGuard's rule for all that it has not marked itself.
        let tailscale = Rule { priority: 5270, table: Some(52), ..ANY };
        assert_eq!(to(&[tailscale, tproxy, main]), found);
        let wireguard = Rule { inverted: true, ..by_mark(5000, 0xca6c, u32::MAX, 51820) };
        assert_eq!(to(&[wireguard, tproxy, main]), []);
        assert_eq!(to(&[Rule { priority: 40_000, ..wireguard }, tproxy]), found);
        assert_eq!(to(&[Rule { priority: 1, table: None, ends: true, ..by_mark(1, 1, 1, 0) }, tproxy]), []);
        assert_eq!(to(&[Rule { particular: true, ..main }, tproxy]), found);
        assert_eq!(to(&[Rule { particular: true, ..tproxy }]), []);
        let v6 = Rule { is_v4: false, ..tproxy };
        assert_eq!(to(&[main, v6]), [(1, u32::MAX, "::/0".to_owned())], "the families have rules of their own");
        let many: Vec<_> = (1..100).map(|mark| by_mark(mark, mark, u32::MAX, 100)).collect();
        assert_eq!((marked(&many, &routes).0.len(), marked(&many, &routes).1), (MOST_MARKED, 99 - MOST_MARKED));
    }
}

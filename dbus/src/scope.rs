//! External or internal: the only place that decides. Pure: it knows addresses and prefixes, but no interfaces or sockets.
//!
//! The longest matching prefix decides. If several are equally long, the user's wins over the host's own, and that over the
//! built-in table. An address without a matching prefix is external.

use std::{
    cmp::Reverse,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Whether an address is inside the host's own networks or outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Stays inside: this host, its links, private networks, the tailnet. Left out of every rate.
    Internal,
    /// The outside world.
    External,
}
use Scope::{External, Internal};

/// Where a prefix in the table comes from. Of prefixes with the same length, a later variant wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The built-in table; holds the registry's name of the block and its RFC.
    Builtin(&'static str, &'static str),
    /// The routing table: an address of this host, or a prefix reachable without a router.
    Host,
    /// The user's settings.
    User,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The addresses meant; host bits are zero.
    pub net: IpNet,
    /// Whether they are internal or external.
    pub scope: Scope,
    /// Where it comes from.
    pub origin: Origin,
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            Origin::Builtin(name, rfc) => write!(f, "{} {name}, {rfc}", self.net),
            Origin::Host => write!(f, "{} of this host or on its links", self.net),
            Origin::User => write!(f, "{} from the settings", self.net),
        }
    }
}

/// The verdict about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Internal or external.
    pub scope: Scope,
    /// The prefix that decided; `None`: no prefix matches, hence external.
    pub prefix: Option<Prefix>,
}

const fn v4(a: [u8; 4], len: u8, scope: Scope, name: &'static str, rfc: &'static str) -> Prefix {
    Prefix {
        net: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a[0], a[1], a[2], a[3]), len)),
        scope,
        origin: Origin::Builtin(name, rfc),
    }
}

const fn v6(s: [u16; 8], len: u8, scope: Scope, name: &'static str, rfc: &'static str) -> Prefix {
    let a = Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]);
    Prefix { net: IpNet::V6(Ipv6Net::new_assert(a, len)), scope, origin: Origin::Builtin(name, rfc) }
}

/// The IANA IPv4 and IPv6 Special-Purpose Address Registries and the multicast blocks. An entry whose addresses the
/// registry calls globally reachable is external. Not here, because judged by the IPv4 address inside: 64:ff9b::/96
/// (RFC 6052), 2002::/16 (RFC 3056) and ::ffff:0:0/96 (RFC 4291).
#[rustfmt::skip]
pub const BUILTIN: &[Prefix] = &[
    v4([0, 0, 0, 0], 8, Internal, "\"This network\"", "RFC 791, section 3.2"),
    v4([0, 0, 0, 0], 32, Internal, "\"This host on this network\"", "RFC 1122, section 3.2.1.3"),
    v4([10, 0, 0, 0], 8, Internal, "Private-Use", "RFC 1918"),
    v4([100, 64, 0, 0], 10, Internal, "Shared Address Space (CGNAT, the tailnet)", "RFC 6598"),
    v4([127, 0, 0, 0], 8, Internal, "Loopback", "RFC 1122, section 3.2.1.3"),
    v4([169, 254, 0, 0], 16, Internal, "Link Local", "RFC 3927"),
    v4([172, 16, 0, 0], 12, Internal, "Private-Use", "RFC 1918"),
    v4([192, 0, 0, 0], 24, Internal, "IETF Protocol Assignments", "RFC 6890, section 2.1"),
    v4([192, 0, 0, 0], 29, Internal, "IPv4 Service Continuity Prefix", "RFC 7335"),
    v4([192, 0, 0, 8], 32, Internal, "IPv4 dummy address", "RFC 7600"),
    v4([192, 0, 0, 9], 32, External, "Port Control Protocol Anycast", "RFC 7723"),
    v4([192, 0, 0, 10], 32, External, "Traversal Using Relays around NAT Anycast", "RFC 8155"),
    v4([192, 0, 0, 170], 32, Internal, "NAT64/DNS64 Discovery", "RFC 8880, RFC 7050, section 2.2"),
    v4([192, 0, 0, 171], 32, Internal, "NAT64/DNS64 Discovery", "RFC 8880, RFC 7050, section 2.2"),
    v4([192, 0, 2, 0], 24, Internal, "Documentation (TEST-NET-1)", "RFC 5737"),
    v4([192, 31, 196, 0], 24, External, "AS112-v4", "RFC 7535"),
    v4([192, 52, 193, 0], 24, External, "AMT", "RFC 7450"),
    v4([192, 88, 99, 0], 24, External, "Deprecated (6to4 Relay Anycast)", "RFC 7526"),
    v4([192, 88, 99, 2], 32, Internal, "6a44-relay anycast address", "RFC 6751"),
    v4([192, 168, 0, 0], 16, Internal, "Private-Use", "RFC 1918"),
    v4([192, 175, 48, 0], 24, External, "Direct Delegation AS112 Service", "RFC 7534"),
    v4([198, 18, 0, 0], 15, Internal, "Benchmarking", "RFC 2544"),
    v4([198, 51, 100, 0], 24, Internal, "Documentation (TEST-NET-2)", "RFC 5737"),
    v4([203, 0, 113, 0], 24, Internal, "Documentation (TEST-NET-3)", "RFC 5737"),
    v4([224, 0, 0, 0], 4, Internal, "Multicast", "RFC 5771"),
    v4([240, 0, 0, 0], 4, Internal, "Reserved", "RFC 1112, section 4"),
    v4([255, 255, 255, 255], 32, Internal, "Limited Broadcast", "RFC 8190, RFC 919, section 7"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, Internal, "Loopback Address", "RFC 4291"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, Internal, "Unspecified Address", "RFC 4291"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, Internal, "IPv4-IPv6 Translat. (local use)", "RFC 8215"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, Internal, "Discard-Only Address Block", "RFC 6666"),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, Internal, "Dummy IPv6 Prefix", "RFC 9780"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Internal, "IETF Protocol Assignments", "RFC 2928"),
    // The registry leaves Teredo's reachability open; its packets leave the host for a relay outside.
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, External, "TEREDO", "RFC 4380, RFC 8190"),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 1], 128, External, "Port Control Protocol Anycast", "RFC 7723"),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 2], 128, External, "Traversal Using Relays around NAT Anycast", "RFC 8155"),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 3], 128, External, "DNS-SD Service Registration Protocol Anycast", "RFC 9665"),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Internal, "Benchmarking", "RFC 5180"),
    v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, External, "AMT", "RFC 7450"),
    v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, External, "AS112-v6", "RFC 7535"),
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, Internal, "Deprecated (previously ORCHID)", "RFC 4843"),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, External, "ORCHIDv2", "RFC 7343"),
    v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, External, "Drone Remote ID Protocol Entity Tags (DETs)", "RFC 9374"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Internal, "Documentation", "RFC 3849"),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, External, "Direct Delegation AS112 Service", "RFC 7534"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Internal, "Documentation", "RFC 9637"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, Internal, "Segment Routing (SRv6) SIDs", "RFC 9602"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Internal, "Unique-Local (the tailnet's fd7a:115c:a1e0::/48)", "RFC 4193, RFC 8190"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, Internal, "Link-Local Unicast", "RFC 4291"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Internal, "Multicast", "RFC 4291, section 2.7"),
];

/// IPv6 blocks that carry an IPv4 address: the block, its length, and how many bits follow the IPv4 address.
/// IPv4-mapped (RFC 4291), NAT64's well-known prefix (RFC 6052), 6to4 (RFC 3056).
const CARRIERS: [(u128, u8, u32); 3] = [(0xffff << 32, 96, 0), (0x0064_ff9b << 96, 96, 0), (0x2002 << 112, 16, 80)];

/// The IPv4 address that an IPv6 address carries.
fn carried_v4(a: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = u128::from(a);
    let (_, _, after) = CARRIERS.iter().find(|(net, len, _)| (bits ^ net) >> (128 - u32::from(*len)) == 0)?;
    #[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are the address")]
    Some(Ipv4Addr::from((bits >> after) as u32))
}

/// The whole table in force: built-in, the host's and the user's prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefixes {
    v4: Family,
    v6: Family,
}

impl Default for Prefixes {
    fn default() -> Self {
        Self::new(&[], &[], &[])
    }
}

impl Prefixes {
    /// `host`: the host's own addresses and on-link prefixes. `internal`, `external`: the user's additions and
    /// exceptions. Host bits are ignored.
    pub fn new(host: &[IpNet], internal: &[IpNet], external: &[IpNet]) -> Self {
        let with = |nets: &[IpNet], scope, origin| {
            nets.iter().map(move |net| Prefix { net: net.trunc(), scope, origin }).collect::<Vec<_>>()
        };
        let mut all = BUILTIN.to_vec();
        all.extend(with(host, Internal, Origin::Host));
        all.extend(with(internal, Internal, Origin::User));
        all.extend(with(external, External, Origin::User));
        let (v4, v6) = all.into_iter().partition(|p| matches!(p.net, IpNet::V4(_)));
        Self { v4: Family::new(v4), v6: Family::new(v6) }
    }

    /// Every prefix in force, IPv4 first; of one family the longest first, and of equally long ones the weightiest.
    pub fn entries(&self) -> impl Iterator<Item = &Prefix> {
        self.v4.prefixes.iter().chain(&self.v6.prefixes)
    }

    /// Internal or external, and why.
    pub fn judge(&self, addr: IpAddr) -> Verdict {
        let v4 = |a: Ipv4Addr| self.v4.lookup(u32::from(a).into());
        let prefix = match addr {
            IpAddr::V4(a) => v4(a),
            // A prefix the user or the host has for the IPv6 address itself goes before the IPv4 address inside.
            IpAddr::V6(a) => self.v6.lookup(a.into()).or_else(|| carried_v4(a).and_then(v4)),
        };
        Verdict { scope: prefix.map_or(External, |p| p.scope), prefix: prefix.copied() }
    }

    /// The internal IPv4 addresses as sorted, disjoint, non-adjacent ranges, both ends included.
    pub fn internal_v4(&self) -> Vec<(u32, u32)> {
        let narrow = |x: u128| u32::try_from(x).unwrap_or(u32::MAX);
        let internal = self.v4.stretches(u32::MAX.into()).filter(|(.., p)| is_internal(*p));
        merged(internal.map(|(a, b, _)| (a, b))).into_iter().map(|(a, b)| (narrow(a), narrow(b))).collect()
    }

    /// The internal IPv6 addresses as sorted, disjoint, non-adjacent ranges, both ends included; what carries an
    /// internal IPv4 address is among them.
    pub fn internal_v6(&self) -> Vec<(u128, u128)> {
        let v4 = self.internal_v4();
        let mut all = Vec::new();
        for (first, last, prefix) in self.v6.stretches(u128::MAX) {
            if is_internal(prefix) {
                all.push((first, last));
            } else if prefix.is_none() {
                // As in `judge`: the IPv4 address inside decides where no prefix is about the IPv6 address itself.
                for (carrier, len, after) in CARRIERS {
                    let (from, to) = (first.max(carrier), last.min(carrier | u128::MAX >> len));
                    if from <= to {
                        all.extend(carried(&v4, carrier, after, from, to));
                    }
                }
            }
        }
        all.sort_unstable();
        merged(all)
    }
}

fn is_internal(prefix: Option<&Prefix>) -> bool {
    prefix.is_some_and(|p| p.scope == Internal)
}

/// The parts of the block `carrier` between `from` and `to` that carry one of the sorted ranges `v4`.
fn carried(
    v4: &[(u32, u32)],
    carrier: u128,
    after: u32,
    from: u128,
    to: u128,
) -> impl Iterator<Item = (u128, u128)> + '_ {
    let first = move |a: u32| carrier | u128::from(a) << after;
    let last = move |b: u32| first(b) | ((1 << after) - 1);
    let skipped = v4.partition_point(|(_, b)| last(*b) < from);
    let rest = v4.iter().skip(skipped).take_while(move |(a, _)| first(*a) <= to);
    rest.map(move |(a, b)| (first(*a).max(from), last(*b).min(to)))
}

/// Sorted ranges without overlaps; those that touch are merged.
fn merged(ranges: impl IntoIterator<Item = (u128, u128)>) -> Vec<(u128, u128)> {
    let mut out: Vec<(u128, u128)> = Vec::new();
    for (first, last) in ranges {
        match out.last_mut() {
            Some((_, b)) if b.checked_add(1) == Some(first) => *b = last,
            _ => out.push((first, last)),
        }
    }
    out
}

/// The prefixes of one address family, and which of them decides where. IPv4 addresses are the numbers below 2^32.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Family {
    /// Longest first; of one length the weightiest origin first.
    prefixes: Vec<Prefix>,
    /// Sorted: from this address on, up to the next one's, the prefix at this place decides; `None`: no prefix does.
    edges: Vec<(u128, Option<usize>)>,
}

impl Family {
    /// Prefixes nest or are disjoint, so one pass over them in the order of their first addresses, with those that are
    /// open on a stack, finds every edge.
    fn new(mut prefixes: Vec<Prefix>) -> Self {
        prefixes.sort_by_key(|p| Reverse((p.net.prefix_len(), p.origin)));
        let mut order: Vec<_> = prefixes.iter().enumerate().map(|(place, p)| (ends(p), place)).collect();
        // Of those that begin together the shortest and lightest first: the last one of them decides.
        order.sort_unstable_by_key(|((first, _), place)| (*first, Reverse(*place)));
        let mut edges = vec![(0, None)];
        let mut open: Vec<(u128, usize)> = Vec::new();
        for ((first, last), place) in order {
            close(&mut open, &mut edges, Some(first));
            edge(&mut edges, first, Some(place));
            open.push((last, place));
        }
        close(&mut open, &mut edges, None);
        edges.shrink_to_fit();
        Self { prefixes, edges }
    }

    fn lookup(&self, addr: u128) -> Option<&Prefix> {
        let behind = self.edges.partition_point(|(first, _)| *first <= addr);
        let (_, place) = self.edges.get(behind.checked_sub(1)?)?;
        self.prefixes.get((*place)?)
    }

    /// All addresses up to `end`, in order: the first and the last of a stretch, and the one prefix that decides there.
    fn stretches(&self, end: u128) -> impl Iterator<Item = (u128, u128, Option<&Prefix>)> {
        let nexts = self.edges.iter().skip(1).map(|(first, _)| *first);
        let lasts = nexts.filter_map(|next| next.checked_sub(1)).chain([end]);
        let whole = self.edges.iter().zip(lasts).filter(move |((first, _), _)| *first <= end);
        whole.map(|((first, place), last)| (*first, last, place.and_then(|place| self.prefixes.get(place))))
    }
}

/// The first and the last address.
fn ends(p: &Prefix) -> (u128, u128) {
    match p.net {
        IpNet::V4(n) => (u32::from(n.network()).into(), u32::from(n.broadcast()).into()),
        IpNet::V6(n) => (n.network().into(), n.broadcast().into()),
    }
}

/// Closes the open prefixes that end before `next`, or all: behind each of them the one that it is in decides again.
fn close(open: &mut Vec<(u128, usize)>, edges: &mut Vec<(u128, Option<usize>)>, next: Option<u128>) {
    while let Some((last, _)) = open.pop_if(|(last, _)| next.is_none_or(|next| *last < next)) {
        if let Some(behind) = last.checked_add(1) {
            edge(edges, behind, open.last().map(|(_, place)| *place));
        }
    }
}

/// From `first` on `place` decides; the latest word about an address counts.
fn edge(edges: &mut Vec<(u128, Option<usize>)>, first: u128, place: Option<usize>) {
    match edges.last_mut() {
        Some(last) if last.0 == first => last.1 = place,
        _ => edges.push((first, place)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(s: &[&str]) -> Vec<IpNet> {
        s.iter().map(|n| n.parse().unwrap()).collect()
    }

    #[track_caller]
    fn check(p: &Prefixes, addr: &str, scope: Scope) {
        assert_eq!(p.judge(addr.parse().unwrap()).scope, scope, "{addr}");
    }

    #[test]
    fn every_registry_entry_is_judged_as_it_says_at_both_ends() {
        let p = Prefixes::default();
        for e in BUILTIN {
            // Both ends, unless a longer entry takes them.
            for a in [e.net.network(), e.net.broadcast()] {
                let longest = BUILTIN.iter().filter(|o| o.net.contains(&a)).max_by_key(|o| o.net.prefix_len()).unwrap();
                check(&p, &a.to_string(), longest.scope);
            }
        }
    }

    #[test]
    fn well_known_addresses() {
        let p = Prefixes::default();
        for a in "10.1.2.3 127.0.0.1 192.168.2.159 172.31.255.255 169.254.1.1 100.74.95.80 198.51.100.7 224.0.0.251 \
                  239.255.255.250 255.255.255.255 0.0.0.0 192.0.0.8 ::1 fe80::1 fd7a:115c:a1e0::1 ff02::fb ff0e::1 \
                  2001:db8::1 ::ffff:10.0.0.1 64:ff9b::a00:1 2002:c0a8:201::1 64:ff9b:1::808:808 2001:10::1"
            .split_whitespace()
        {
            check(&p, a, Internal);
        }
        for a in "93.184.216.34 8.8.8.8 172.32.0.1 100.128.0.1 192.0.0.9 192.0.0.10 192.31.196.1 2606:2800:220:1::1 \
                  ::ffff:93.184.216.34 64:ff9b::5db8:d822 2002:5db8:d822::1 2001:4860:4860::8888 2001:20::1 2001::1 \
                  2620:4f:8000::1 2001:1::1"
            .split_whitespace()
        {
            check(&p, a, External);
        }
    }

    #[test]
    fn the_longest_prefix_wins_and_of_equal_ones_the_users() {
        let p = Prefixes::new(
            &nets(&["2001:4860:1::2/64", "203.0.113.9/32", "93.184.216.0/24"]),
            &nets(&["93.184.0.0/16", "64:ff9b::5db8:0/112"]),
            &nets(&["10.0.0.0/8", "192.168.7.0/24", "93.184.216.0/24"]),
        );
        for (addr, scope) in [
            ("2001:4860:1::99", Internal),
            ("2001:4860:2::99", External),
            ("10.9.9.9", External),
            ("192.168.7.7", External),
            ("192.168.8.8", Internal),
            ("93.184.1.1", Internal),
            ("93.184.216.34", External),
            ("::ffff:10.9.9.9", External),
            ("64:ff9b::5db8:1", Internal),
        ] {
            check(&p, addr, scope);
        }
    }

    #[test]
    fn a_verdict_names_the_prefix_and_its_rfc() {
        let why = |a: &str| Prefixes::default().judge(a.parse().unwrap()).prefix.map(|p| p.to_string());
        assert_eq!(why("100.74.95.80").unwrap(), "100.64.0.0/10 Shared Address Space (CGNAT, the tailnet), RFC 6598");
        assert_eq!(why("::ffff:10.0.0.1").unwrap(), "10.0.0.0/8 Private-Use, RFC 1918");
        assert_eq!(why("8.8.8.8"), None);
    }

    #[test]
    fn the_ranges_say_what_judge_says() {
        let p = Prefixes::new(
            &nets(&["2001:4860:1::/64", "93.184.216.34/32"]),
            &nets(&["2002:808::/32", "8.8.4.0/24"]),
            &nets(&["10.1.0.0/16", "fd00::/8", "0.0.0.0/1"]),
        );
        let v4 = p.internal_v4();
        let v6 = p.internal_v6();
        assert!(v4.windows(2).all(|w| w[0].1 + 1 < w[1].0), "{v4:?}");
        assert!(v6.windows(2).all(|w| w[0].1 + 1 < w[1].0));
        let edges4 = v4.iter().flat_map(|(a, b)| [a.wrapping_sub(1), *a, *b, b.wrapping_add(1)]);
        for a in edges4.chain([0, u32::MAX, 0x0a01_0000, 0x0808_0400, 0x5db8_d822]) {
            let inside = v4.iter().any(|(s, e)| (*s..=*e).contains(&a));
            assert_eq!(inside, p.judge(Ipv4Addr::from(a).into()).scope == Internal, "{}", Ipv4Addr::from(a));
        }
        let edges6 = v6.iter().flat_map(|(a, b)| [a.wrapping_sub(1), *a, *b, b.wrapping_add(1)]);
        for a in edges6 {
            let inside = v6.iter().any(|(s, e)| (*s..=*e).contains(&a));
            assert_eq!(inside, p.judge(Ipv6Addr::from(a).into()).scope == Internal, "{}", Ipv6Addr::from(a));
        }
    }

    /// xorshift64*: numbers that are the same in every run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
        }

        fn bits(&mut self) -> u128 {
            (0..4).fold(0, |bits, _| bits << 32 | u128::from(self.below(1 << 31)) << 1)
        }

        /// Prefixes that nest, touch and repeat, many of them in what carries IPv4 addresses.
        fn net(&mut self) -> IpNet {
            let few = u32::try_from(self.below(6) << 29 | self.below(4) << self.below(24)).unwrap_or(u32::MAX);
            let v4 = Ipv4Net::new(few.into(), u8::try_from(self.below(33)).unwrap()).unwrap();
            if self.below(2) == 0 {
                return v4.trunc().into();
            }
            let (carrier, len, after) = CARRIERS[usize::try_from(self.below(3)).unwrap()];
            let (addr, len) = match self.below(3) {
                0 => (self.bits() >> self.below(128), u8::try_from(self.below(129)).unwrap()),
                1 => (carrier, u8::try_from(self.below(129)).unwrap()),
                _ => (carrier | u128::from(few) << after, len + v4.prefix_len()),
            };
            Ipv6Net::new(addr.into(), len).unwrap().trunc().into()
        }
    }

    /// As the module's documentation says it, prefix by prefix.
    fn naive(all: &[Prefix], addr: IpAddr) -> Verdict {
        let lookup = |addr: IpAddr| {
            let matching = all.iter().rev().filter(|p| p.net.contains(&addr));
            matching.max_by_key(|p| (p.net.prefix_len(), p.origin)).copied()
        };
        let inside = |addr| match addr {
            IpAddr::V6(a) => carried_v4(a).and_then(|a| lookup(a.into())),
            IpAddr::V4(_) => None,
        };
        let prefix = lookup(addr).or_else(|| inside(addr));
        Verdict { scope: prefix.map_or(External, |p| p.scope), prefix }
    }

    #[test]
    fn any_prefixes_are_judged_and_put_into_ranges_as_one_by_one() {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        for round in 0..100 {
            let mut some = |most| (0..numbers.below(most)).map(|_| numbers.net()).collect::<Vec<_>>();
            let (host, internal, external) = (some(40), some(8), some(8));
            let p = Prefixes::new(&host, &internal, &external);
            // Of the very same weight the user's additions come first, as they were given.
            let mut all: Vec<Prefix> = p.entries().copied().collect();
            assert_eq!(all.len(), BUILTIN.len() + host.len() + internal.len() + external.len());
            all.sort_by_key(|p| p.scope == External);
            let (v4, v6) = (p.internal_v4(), p.internal_v6());
            assert!(v4.windows(2).all(|w| w[0].1 < u32::MAX && w[0].1 + 1 < w[1].0), "round {round}: {v4:?}");
            assert!(v6.windows(2).all(|w| w[0].1 < u128::MAX && w[0].1 + 1 < w[1].0), "round {round}: {v6:?}");
            let around = |first: u128, last: u128| [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            let mut addrs: Vec<u128> = all.iter().map(ends).flat_map(|(a, b)| around(a, b)).collect();
            addrs.extend(v6.iter().flat_map(|(a, b)| around(*a, *b)));
            addrs.extend((0..20).map(|_| numbers.bits()));
            for bits in addrs {
                #[expect(clippy::cast_possible_truncation, reason = "any address will do")]
                let (a4, a6) = (bits as u32, Ipv6Addr::from(bits));
                for addr in [IpAddr::from(Ipv4Addr::from(a4)), a6.into()] {
                    assert_eq!(p.judge(addr), naive(&all, addr), "round {round}: {addr}");
                }
                let inside = v4.iter().any(|(first, last)| (*first..=*last).contains(&a4));
                assert_eq!(inside, p.judge(Ipv4Addr::from(a4).into()).scope == Internal, "round {round}: {a4:x}");
                let inside = v6.iter().any(|(first, last)| (*first..=*last).contains(&bits));
                assert_eq!(inside, p.judge(a6.into()).scope == Internal, "round {round}: {a6}");
            }
        }
    }

    /// What is quadratic here would take minutes.
    #[test]
    fn a_hundred_thousand_neighbours_are_ranges_of_their_own() {
        let host: Vec<IpNet> =
            (0..100_000).map(|i| Ipv4Net::new_assert((0x1400_0001 + 2 * i).into(), 32).into()).collect();
        let p = Prefixes::new(&host, &[], &[]);
        assert_eq!(p.internal_v4().len(), Prefixes::default().internal_v4().len() + host.len());
        assert_eq!(p.internal_v6().len(), Prefixes::default().internal_v6().len() + 3 * host.len());
        assert!(host.iter().all(|net| p.judge(net.addr()).scope == Internal));
    }
}

//! Why is this external? An app's open sockets, and what decided about each. Pure; it counts nothing.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use netglance_dbus::scope::{Origin, Prefixes, Scope, Verdict};
use serde::{Deserialize, Serialize};

use super::{
    sampler::{
        OpenSocket, Protocol,
        ends::{Ends, Sides},
    },
    target::{Target, units},
};

/// One side or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Counted.
    External,
    /// Left out.
    Internal,
}

impl From<Scope> for Side {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::External => Self::External,
            Scope::Internal => Self::Internal,
        }
    }
}

/// A socket and what decided about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct SocketVerdict {
    /// The unit's name, as `watch` shows it.
    pub unit: String,
    /// The cgroup's path.
    pub cgroup: String,
    /// External first. `None`: not connected, so each of its datagrams is judged by its own address.
    pub scope: Option<Side>,
    /// What it speaks.
    pub protocol: Protocol,
    /// The other side's address; `None`: not connected.
    pub remote: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
    /// The prefix that decided; `None`: none matches.
    pub prefix: Option<String>,
    /// Why, with the RFC where it is one's.
    pub reason: String,
    /// On which side the helper's counters have it; `None`: exact counting does not run.
    pub counters: Option<Side>,
    /// The unit, or else the cgroup, that has the other end, where that is a proxy on this computer.
    pub proxy: Option<String>,
}

impl SocketVerdict {
    /// Whether the running counters judge it as it is judged here, as far as there are any.
    pub fn agrees(&self) -> bool {
        self.counters.is_none() || self.counters == self.scope
    }
}

/// The target's sockets, by unit, external ones first. `path_of` tells a cgroup's path from its id; `counters` are the prefixes
/// that are internal to the helper's counters, if those run.
pub fn sockets(
    open: &[OpenSocket],
    path_of: impl Fn(u64) -> Option<String>,
    prefixes: &Prefixes,
    counters: Option<&[IpNet]>,
    target: &Target,
) -> Vec<SocketVerdict> {
    let proxies = Proxies::of(open, prefixes);
    let own: BTreeSet<_> = open.iter().map(|socket| socket.local.ip().to_canonical()).collect();
    let mut verdicts: Vec<_> = open
        .iter()
        .filter_map(|socket| {
            let cgroup = path_of(socket.cgroup_id?)?;
            let unit = target.unit_of(&cgroup)?.unit.to_owned();
            let remote = Some(socket.remote).filter(|remote| !remote.ip().is_unspecified());
            let proxy = proxies.other_end(socket).map(|end| proxy_name(end.cgroup_id.and_then(&path_of)));
            let Judged { scope, prefix, reason, counters } = match proxy {
                Some(_) => Judged::at_proxy(counters.is_some()),
                None => {
                    Judged::of(remote.map(|remote| remote.ip()), prefixes, counters, |address| own.contains(&address))
                }
            };
            Some(SocketVerdict {
                unit,
                cgroup,
                scope,
                protocol: socket.protocol,
                remote: remote.map(|remote| remote.ip()),
                port: remote.map(|remote| remote.port()),
                prefix,
                reason,
                counters,
                proxy,
            })
        })
        .collect();
    verdicts.sort();
    verdicts
}

/// How the bytes to and from an address are counted, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// `None`: not connected, so each datagram is judged by its own address.
    pub scope: Option<Side>,
    /// The prefix that decided; `None`: none matches.
    pub prefix: Option<String>,
    /// Why, with the RFC where it is one's.
    pub reason: String,
    /// On which side the helper's counters have it; `None`: exact counting does not run.
    pub counters: Option<Side>,
}

impl Judged {
    /// By its address; `None`: there is none. `counters`: the prefixes that are internal to the helper's counters, if those run.
    /// `is_own`: whether a socket of this host has the address, in the form of IPv4 if it is one of IPv4, at its own end.
    pub fn of(
        remote: Option<IpAddr>,
        prefixes: &Prefixes,
        counters: Option<&[IpNet]>,
        is_own: impl FnOnce(IpAddr) -> bool,
    ) -> Self {
        let verdict = remote.map(|remote| prefixes.judge(remote));
        Self {
            scope: verdict.map(|verdict| verdict.scope.into()),
            prefix: verdict.and_then(|verdict| verdict.prefix).map(|prefix| prefix.net.to_string()),
            reason: remote.zip(verdict).map_or_else(
                || "not connected: each datagram counts by its own address".to_owned(),
                |(remote, verdict)| reason(remote, &verdict, is_own(remote.to_canonical())),
            ),
            counters: counters.zip(remote).map(|(internal, remote)| side(internal, remote)),
        }
    }

    /// What ends at a proxy on this computer. `is_counted`: the helper's counters run.
    pub fn at_proxy(is_counted: bool) -> Self {
        Self {
            scope: Some(Side::Internal),
            prefix: None,
            reason: "ends at a proxy on this computer".to_owned(),
            counters: is_counted.then_some(Side::Internal),
        }
    }
}

/// What a proxy is called: its unit, or else its cgroup. `None`: its cgroup is not known.
pub fn proxy_name(cgroup: Option<String>) -> String {
    let unit = cgroup.map(|path| units(&path).last().map_or(path.clone(), |unit| unit.unit.to_owned()));
    unit.unwrap_or_else(|| "unknown".to_owned())
}

/// Which outside connections end at a proxy on this host.
#[derive(Debug)]
pub struct Proxies<'a> {
    open: &'a [OpenSocket],
    prefixes: &'a Prefixes,
    ends: Ends,
}

impl<'a> Proxies<'a> {
    /// Of a list of all open sockets.
    pub fn of(open: &'a [OpenSocket], prefixes: &'a Prefixes) -> Self {
        let mut ends = Ends::default();
        let tcp = open.iter().zip(0..).filter(|(socket, _)| socket.protocol == Protocol::Tcp);
        tcp.for_each(|(socket, at)| ends.add(Sides::new(socket.local, socket.remote), at, socket.answered));
        let outside = open.iter().filter(|socket| is_outside(socket, prefixes));
        ends.index(outside.map(|socket| Sides::new(socket.local, socket.remote).local.ip()));
        Self { open, prefixes, ends }
    }

    /// The proxy's socket at the other end of one of them.
    pub fn other_end(&self, socket: &OpenSocket) -> Option<&'a OpenSocket> {
        let outside = Some(socket).filter(|socket| is_outside(socket, self.prefixes))?;
        let at = self.ends.other_end(Sides::new(outside.local, outside.remote), |_| true)?;
        self.open.get(usize::try_from(at).ok()?)
    }
}

fn is_outside(socket: &OpenSocket, prefixes: &Prefixes) -> bool {
    let remote = socket.remote.ip();
    socket.protocol == Protocol::Tcp && !remote.is_unspecified() && prefixes.judge(remote).scope == Scope::External
}

/// As the table does it: an address of IPv4 is one on the wire, in whatever form a socket has it.
fn side(internal: &[IpNet], remote: IpAddr) -> Side {
    let address = remote.to_canonical();
    if internal.iter().any(|net| net.contains(&address)) { Side::Internal } else { Side::External }
}

/// `own`: a socket of this host has the address at its own end.
fn reason(remote: IpAddr, verdict: &Verdict, own: bool) -> String {
    let Some(prefix) = verdict.prefix else {
        return "a public address that no internal prefix contains".to_owned();
    };
    let why = match prefix.origin {
        Origin::Builtin(name, rfc) => format!("{name}, {rfc}"),
        Origin::Host if own => "this computer's own address".to_owned(),
        Origin::Host => "on a network of this computer, reached without a router".to_owned(),
        Origin::User => "from your settings".to_owned(),
    };
    if remote.is_ipv6() && matches!(prefix.net, IpNet::V4(_)) {
        format!("{why} (by the IPv4 address inside)")
    } else {
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_socket(protocol: Protocol, local: &str, remote: &str, cgroup_id: Option<u64>) -> OpenSocket {
        let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
        OpenSocket { protocol, inode: 1, local, answered: true, remote, cgroup_id }
    }

    #[test]
    fn a_connection_that_ends_at_a_proxy_here_names_it() {
        let target = Target::selection(&["a.service".to_owned()], &[], "").unwrap();
        let tcp = |local, remote, cgroup| open_socket(Protocol::Tcp, local, remote, Some(cgroup));
        let path_of = |id| {
            ["/a.service", "/system.slice/squid.service/x", "/strange"]
                .get(usize::try_from(id).unwrap())
                .map(|path| (*path).to_owned())
        };
        let prefixes = Prefixes::default();
        let app = tcp("192.168.2.2:4000", "93.184.216.34:443", 0);
        for (cgroup, name) in [(1, "squid.service"), (2, "/strange")] {
            let open = [app, tcp("127.0.0.1:3128", "192.168.2.2:4000", cgroup)];
            let found = sockets(&open, path_of, &prefixes, Some(&[]), &target).pop().unwrap();
            assert_eq!((found.scope, found.proxy.as_deref()), (Some(Side::Internal), Some(name)));
            assert!(found.agrees() && found.reason.contains("proxy on this computer"), "{found:?}");
        }
        let found = sockets(&[app], path_of, &prefixes, None, &target).pop().unwrap();
        assert_eq!((found.scope, found.proxy), (Some(Side::External), None));
    }

    #[test]
    fn each_socket_says_what_decided() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let host = ["2001:4860:1::/64", "127.0.0.1/32", "127.0.0.0/8", "::1/128", "192.168.9.9/32"].map(net);
        let prefixes = Prefixes::new(&host, &[net("203.0.114.0/24")], &[net("10.8.0.0/16")]);
        let helper = [net("2001:4860:1::/64"), net("10.0.0.0/8"), net("192.168.0.0/16"), net("100.64.0.0/10")];
        let unit = "/user.slice/user-1000.slice/user@1000.service/app.slice/a.service";
        let target = Target::selection(&["a.service".to_owned()], &[], "").unwrap();
        let check = |remote: &str, scope: Option<Side>, prefix: Option<&str>, reason: &str, agrees: bool| {
            let socket = open_socket(Protocol::Udp, "0.0.0.0:1", remote, Some(1));
            let other = open_socket(Protocol::Tcp, "192.168.9.9:22", "10.0.0.1:1", None);
            let found =
                sockets(&[socket, other], |id| (id == 1).then(|| unit.to_owned()), &prefixes, Some(&helper), &target);
            let [found] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!((found.scope, found.prefix.as_deref()), (scope, prefix), "{found:?}");
            assert!(found.reason.contains(reason), "no {reason:?} in {found:?}");
            assert_eq!((found.unit.as_str(), found.agrees()), ("a.service", agrees), "{found:?}");
        };
        let (external, internal) = (Some(Side::External), Some(Side::Internal));
        check("93.184.216.34:443", external, None, "no internal prefix", true);
        check("[2606:2800:220:1::1]:443", external, None, "a public address", true);
        check("192.168.2.1:53", internal, Some("192.168.0.0/16"), "Private-Use, RFC 1918", true);
        check("[::ffff:192.168.2.1]:53", internal, Some("192.168.0.0/16"), "by the IPv4 address inside", true);
        check("[::ffff:93.184.216.34]:53", external, None, "a public address", true);
        check("100.74.95.80:53", internal, Some("100.64.0.0/10"), "the tailnet), RFC 6598", true);
        check("[2001:4860:1::99]:53", internal, Some("2001:4860:1::/64"), "a network of this computer", true);
        check("203.0.114.9:53", internal, Some("203.0.114.0/24"), "from your settings", false);
        check("10.8.1.1:53", external, Some("10.8.0.0/16"), "from your settings", false);
        check("127.0.0.1:53", internal, Some("127.0.0.0/8"), "Loopback, RFC 1122", false);
        check("[::1]:53", internal, Some("::1/128"), "Loopback Address, RFC 4291", false);
        check("192.168.9.9:53", internal, Some("192.168.9.9/32"), "this computer's own address", true);
        check("0.0.0.0:0", None, None, "not connected", true);
        check("[::]:0", None, None, "not connected", true);
    }

    #[test]
    fn only_the_targets_are_shown_external_ones_first() {
        let target = Target::selection(&["*.service".to_owned()], &[], "").unwrap();
        let socket = |remote: &str, cgroup_id| open_socket(Protocol::Tcp, "192.168.2.2:1", remote, cgroup_id);
        let open = [
            socket("10.0.0.1:1", Some(1)),
            socket("8.8.8.8:1", Some(1)),
            socket("8.8.8.8:2", Some(2)),
            socket("8.8.8.8:3", Some(3)),
            socket("8.8.8.8:4", None),
        ];
        let path_of = |id| {
            [(1, "/b.service"), (2, "/a.service/x"), (3, "/c.scope")]
                .into_iter()
                .find(|p| p.0 == id)
                .map(|p| p.1.to_owned())
        };
        let found = sockets(&open, path_of, &Prefixes::default(), None, &target);
        let shown: Vec<_> =
            found.iter().map(|s| (s.unit.as_str(), s.remote.unwrap().to_string(), s.agrees())).collect();
        assert_eq!(
            shown,
            [
                ("a.service", "8.8.8.8".to_owned(), true),
                ("b.service", "8.8.8.8".to_owned(), true),
                ("b.service", "10.0.0.1".to_owned(), true)
            ]
        );
    }
}

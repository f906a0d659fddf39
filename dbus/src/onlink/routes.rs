//! The routes that make something internal, and the interfaces that they go through. Pure: it gets what the kernel said.
//!
//! Next to nothing of a full routing table is kept here, because routes to a router make nothing internal.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use ipnet::IpNet;

use super::message::{Link, PolicyRoute, Route, Said};

/// So many routes are kept, and as many more to networks and to this host's own addresses, so that no number of neighbours with
/// a route of their own can displace these. Those beyond [`MOST_PREFIXES`] are reported when others go.
const MOST_ROUTES: usize = 50_000;
/// So many prefixes are reported: as many as the kernel takes in one transaction, with room for the user's.
pub const MOST_PREFIXES: usize = 20_000;

/// Routes that decide where policy rules lead; nobody has more than a few.
const MOST_POLICY_ROUTES: usize = 1024;

/// Whether a message fits what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is taken in, or doesn't matter.
    Fits,
    /// What is known may be wrong now. Only the whole table can tell.
    Unclear,
}

/// Routes by what they make internal.
#[derive(Debug)]
pub(super) struct Routes {
    by_net: BTreeMap<IpNet, Vec<Route>>,
    links: HashMap<u32, Link>,
    pub(super) policy: BTreeSet<PolicyRoute>,
    count: usize,
    /// See [`MOST_ROUTES`].
    most: usize,
    /// Whether some were not kept.
    pub(super) overflowed: bool,
    /// Whether the prefixes may have changed since this was last set to false.
    pub(super) changed: bool,
}

impl Default for Routes {
    fn default() -> Self {
        Self::with_room_for(MOST_ROUTES)
    }
}

impl Routes {
    fn with_room_for(most: usize) -> Self {
        let (by_net, links, policy) = (BTreeMap::new(), HashMap::new(), BTreeSet::new());
        Self { by_net, links, policy, count: 0, most, overflowed: false, changed: false }
    }

    /// A route exists. `replaces`: it may have replaced another one without a message about that.
    pub(super) fn exists(&mut self, said: &Said, replaces: bool) -> Fit {
        let new = said.internal(|link| self.has_neighbours(link));
        let mut fit = Fit::Fits;
        if let Some(routes) = self.by_net.get_mut(&said.net) {
            let before = routes.len();
            let rivals = |route: &Route| route.place == said.place && !new.is_some_and(|new| new.is(route));
            // Of several in one place it replaces one. And a multipath route of IPv6 replaces another one unsaid.
            if (replaces || said.direct.is_none()) && routes.iter().any(rivals) {
                fit = Fit::Unclear;
            }
            if replaces {
                routes.retain(|route| !rivals(route));
            }
            self.count = self.count.saturating_sub(before.saturating_sub(routes.len()));
            if routes.is_empty() {
                self.by_net.remove(&said.net);
                self.changed = true;
            }
        }
        if let Some(new) = new {
            self.keep(said.net, new);
        }
        fit
    }

    /// A route that decides where policy rules lead exists. It may have replaced another one.
    pub(super) fn policy_exists(&mut self, new: PolicyRoute) {
        self.policy.remove(&PolicyRoute { local: !new.local, ..new });
        if self.policy.len() < MOST_POLICY_ROUTES {
            self.policy.insert(new);
        }
    }

    /// A route was deleted.
    pub(super) fn is_gone(&mut self, said: &Said) -> Fit {
        let Some(gone) = said.internal(|link| self.has_neighbours(link)) else { return Fit::Fits };
        let Some(routes) = self.by_net.get_mut(&said.net) else { return Fit::Fits };
        let Some(at) = routes.iter().position(|route| gone.is(route)) else { return Fit::Unclear };
        routes.swap_remove(at);
        if routes.is_empty() {
            self.by_net.remove(&said.net);
            self.changed = true;
        }
        self.count = self.count.saturating_sub(1);
        // There is room again for what was not kept.
        if self.overflowed && self.count < self.most / 10 * 9 { Fit::Unclear } else { Fit::Fits }
    }

    /// An interface exists, and what it is like.
    pub(super) fn link_is(&mut self, index: u32, link: Link) -> Fit {
        let Some(before) = self.links.insert(index, link) else {
            // Its routes may have been reported before it was.
            let judged = !link.has_neighbours && self.any(|route| !route.own && route.link == index);
            return if judged { Fit::Unclear } else { Fit::Fits };
        };
        // When it goes down, its IPv4 routes go without a message.
        let went_down = before.up && !link.up && self.any(|route| route.link == index);
        if went_down || before.has_neighbours != link.has_neighbours { Fit::Unclear } else { Fit::Fits }
    }

    /// An interface was deleted.
    pub(super) fn link_is_gone(&mut self, index: u32) -> Fit {
        self.links.remove(&index);
        if self.any(|route| route.link == index) { Fit::Unclear } else { Fit::Fits }
    }

    /// A nexthop object was deleted. Its IPv4 routes go without a message.
    pub(super) fn nexthop_is_gone(&self, id: u32) -> Fit {
        if self.any(|route| route.nexthop == id) { Fit::Unclear } else { Fit::Fits }
    }

    /// The prefixes, sorted, and how many more there are beyond [`MOST_PREFIXES`]: those with the fewest addresses.
    pub(super) fn prefixes(&self) -> (Vec<IpNet>, usize) {
        self.most_of(MOST_PREFIXES)
    }

    fn most_of(&self, most: usize) -> (Vec<IpNet>, usize) {
        let left_out = self.by_net.len().saturating_sub(most);
        if left_out == 0 {
            return (self.by_net.keys().copied().collect(), 0);
        }
        let mut order: Vec<_> = self.by_net.iter().collect();
        order.sort_by_key(|(net, routes)| {
            let host_bits = net.max_prefix_len().saturating_sub(net.prefix_len());
            (Reverse(host_bits), !routes.iter().any(|route| route.own))
        });
        let mut kept: Vec<_> = order.into_iter().take(most).map(|(net, _)| *net).collect();
        kept.sort_unstable();
        (kept, left_out)
    }

    fn keep(&mut self, net: IpNet, new: Route) {
        let is_one_neighbour = net.prefix_len() == net.max_prefix_len() && !new.own;
        let room = self.count < if is_one_neighbour { self.most } else { self.most.saturating_mul(2) };
        if let Some(routes) = self.by_net.get_mut(&net) {
            if let Some(known) = routes.iter_mut().find(|route| new.is(route)) {
                *known = new;
                return;
            }
            if room {
                routes.push(new);
            }
        } else if room {
            self.by_net.insert(net, vec![new]);
            self.changed = true;
        }
        if room {
            self.count += 1;
        } else {
            self.overflowed = true;
        }
    }

    /// Nothing is known of an interface that was made only just: it has what an ordinary one has.
    fn has_neighbours(&self, link: u32) -> bool {
        self.links.get(&link).is_none_or(|link| link.has_neighbours)
    }

    fn any(&self, matches: impl Fn(&Route) -> bool) -> bool {
        self.by_net.values().flatten().any(matches)
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::{RouteAttribute, RouteType};

    use super::{
        super::message::{
            self,
            tests::{bytes, gateway},
        },
        *,
    };

    const UP: Link = Link { up: true, has_neighbours: true };

    fn said(net: &str, attributes: Vec<RouteAttribute>) -> Said {
        message::route(&bytes(RouteType::Unicast, net, attributes)).unwrap().unwrap()
    }

    fn direct(net: &str, link: u32, priority: u32) -> Said {
        said(net, vec![RouteAttribute::Oif(link), RouteAttribute::Priority(priority)])
    }

    fn routed(net: &str, priority: u32) -> Said {
        said(net, vec![RouteAttribute::Oif(2), RouteAttribute::Priority(priority), gateway()])
    }

    #[track_caller]
    fn has(routes: &Routes, nets: &[&str]) {
        let has: Vec<_> = routes.prefixes().0.iter().map(ToString::to_string).collect();
        assert_eq!(has, nets);
    }

    #[test]
    fn a_prefix_is_there_as_long_as_one_of_its_routes() {
        let mut routes = Routes::default();
        for (link, priority) in [(2, 0), (2, 5), (3, 5)] {
            assert_eq!(routes.exists(&direct("8.0.0.0/8", link, priority), false), Fit::Fits);
            // Heard twice, as when a read has seen it already.
            assert_eq!(routes.exists(&direct("8.0.0.0/8", link, priority), false), Fit::Fits);
        }
        assert_eq!(routes.exists(&routed("9.0.0.0/8", 0), false), Fit::Fits);
        for (link, priority) in [(3, 5), (2, 0), (2, 5)] {
            has(&routes, &["8.0.0.0/8"]);
            assert_eq!(routes.is_gone(&direct("8.0.0.0/8", link, priority)), Fit::Fits);
        }
        has(&routes, &[]);
        assert_eq!((routes.count, routes.is_gone(&routed("9.0.0.0/8", 0))), (0, Fit::Fits));
    }

    #[test]
    fn a_route_in_anothers_place_is_judged_and_checked() {
        let mut routes = Routes::default();
        routes.exists(&direct("8.0.0.0/8", 2, 0), false);
        // Not in its place.
        assert_eq!(routes.exists(&routed("8.0.0.0/8", 1), true), Fit::Fits);
        has(&routes, &["8.0.0.0/8"]);
        // Appended, or a multipath route of IPv6 that replaces it unsaid.
        assert_eq!(routes.exists(&routed("8.0.0.0/8", 0), false), Fit::Unclear);
        has(&routes, &["8.0.0.0/8"]);
        assert_eq!(routes.exists(&routed("8.0.0.0/8", 0), true), Fit::Unclear);
        has(&routes, &[]);
        routes.exists(&direct("8.0.0.0/8", 2, 0), true);
        has(&routes, &["8.0.0.0/8"]);
        assert_eq!(routes.exists(&direct("8.0.0.0/8", 3, 0), true), Fit::Unclear);
        assert_eq!(routes.count, 1);
        // Never heard of.
        assert_eq!(routes.is_gone(&direct("8.0.0.0/8", 7, 0)), Fit::Unclear);
    }

    #[test]
    fn links_that_matter_are_told_from_others() {
        let mut routes = Routes::default();
        let (down, tunnel) = (Link { up: false, ..UP }, Link { has_neighbours: false, ..UP });
        for index in [2, 3] {
            assert_eq!(routes.link_is(index, UP), Fit::Fits);
        }
        routes.exists(&direct("8.0.0.0/8", 2, 0), false);
        for (index, link, fit) in [
            (2, UP, Fit::Fits),
            (3, down, Fit::Fits),
            (3, tunnel, Fit::Unclear),
            (2, down, Fit::Unclear),
            (4, tunnel, Fit::Fits),
            (2, UP, Fit::Fits),
        ] {
            assert_eq!(routes.link_is(index, link), fit, "{index} {link:?}");
        }
        // What goes through a link without neighbours is none of ours, and its end no surprise.
        assert_eq!(routes.exists(&direct("8.0.0.0/8", 4, 0), false), Fit::Fits);
        assert_eq!(routes.is_gone(&direct("8.0.0.0/8", 4, 0)), Fit::Fits);
        has(&routes, &["8.0.0.0/8"]);
        routes.exists(&direct("9.0.0.0/8", 5, 0), false);
        assert_eq!(routes.link_is(5, tunnel), Fit::Unclear, "its route was heard of first");
        assert_eq!((routes.link_is_gone(3), routes.link_is_gone(2)), (Fit::Fits, Fit::Unclear));
    }

    #[test]
    fn beyond_the_limits_the_smallest_prefixes_are_left_out_and_come_back() {
        let mut routes = Routes::with_room_for(20);
        let neighbours: Vec<_> = (0..30).map(|i| format!("9.0.{i}.0/32")).collect();
        for net in &neighbours {
            routes.exists(&direct(net, 2, 0), false);
        }
        assert_eq!((routes.count, routes.overflowed), (20, true));
        // There is room for these all the same, though not for any number.
        let own = message::route(&bytes(RouteType::Local, "9.0.29.0/32", Vec::new())).unwrap().unwrap();
        routes.exists(&own, false);
        routes.exists(&said("2001:db8::/64", vec![RouteAttribute::Oif(2)]), false);
        for i in 0..30 {
            routes.exists(&direct(&format!("8.0.{i}.0/24"), 2, 0), false);
        }
        assert_eq!((routes.count, routes.prefixes().1), (40, 0));
        let (kept, left_out) = routes.most_of(21);
        let kept: Vec<_> = kept.iter().map(ToString::to_string).collect();
        let mut expected: Vec<_> = (0..18).map(|i| format!("8.0.{i}.0/24")).collect();
        expected.extend(["9.0.0.0/32".to_owned(), "9.0.29.0/32".to_owned(), "2001:db8::/64".to_owned()]);
        assert_eq!((kept, left_out), (expected, 19));
        for i in 0..18 {
            assert_eq!(routes.is_gone(&direct(&format!("8.0.{i}.0/24"), 2, 0)), Fit::Fits);
        }
        let gone: Vec<_> = neighbours[..6].iter().map(|net| routes.is_gone(&direct(net, 2, 0))).collect();
        let (fits, unclear) = (Fit::Fits, Fit::Unclear);
        assert_eq!(gone, [fits, fits, fits, fits, unclear, unclear], "there is room for what was not kept");
    }
}

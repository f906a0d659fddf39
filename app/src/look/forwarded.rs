//! What containers and virtual machines move, which is forwarded and belongs to no cgroup of this host: how their rows are called.
//! Pure.
//!
//! A row stands under a path that is no cgroup: `/forwarded/ENGINE/NAME/ADDRESS`, or `/forwarded/ENGINE/PROJECT/NAME/ADDRESS` where the
//! container belongs to a compose project. Of an address that nothing names, ENGINE is `bridge` and NAME the network interface.

use std::net::IpAddr;

/// Above all of them. No cgroup is called this: systemd makes slices, scopes and services alone at the top.
pub const TOP: &str = "/forwarded";

/// The engine of an address that nothing names.
const BRIDGE: &str = "bridge";

/// All there are.
const ENGINES: [&str; 5] = ["docker", "podman", "libvirt", "nspawn", BRIDGE];

/// A container or virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded<'a> {
    /// What runs it: `docker`, `podman`, `libvirt`, `nspawn`; `bridge`: unknown.
    pub engine: &'a str,
    /// The compose project that it belongs to; the network interface where the engine is unknown.
    pub project: Option<&'a str>,
    /// Its name; its address where nothing names it.
    pub name: &'a str,
    /// The path down to it.
    pub cgroup: &'a str,
}

/// Whether this is the path of a container or virtual machine.
pub fn is_in(path: &str) -> bool {
    path.strip_prefix(TOP).is_some_and(|rest| rest.starts_with('/'))
}

/// What the helper's counter of this address is called among the rows.
pub fn counter(address: IpAddr) -> String {
    format!("{TOP}/{address}")
}

/// Whether this is the name of a counter, and not the path of a container or virtual machine.
pub fn is_counter(path: &str) -> bool {
    path.strip_prefix(TOP).and_then(|rest| rest.strip_prefix('/')).is_some_and(|rest| !rest.contains('/'))
}

/// The address of a counter, or of a path with an address at its end.
pub fn address(path: &str) -> Option<IpAddr> {
    path.rsplit('/').next().filter(|_| is_in(path))?.parse().ok()
}

/// What the counter of a path is called: of a container or virtual machine that of its address, of a cgroup its path.
pub fn counter_of(path: &str) -> String {
    let address = path.rsplit('/').next().filter(|_| is_in(path));
    address.map_or_else(|| path.to_owned(), |address| format!("{TOP}/{address}"))
}

/// The path of a container or virtual machine with an address.
pub fn path(engine: &str, project: Option<&str>, name: &str, address: IpAddr) -> String {
    // Engines allow no slash in names, but not everything here comes from an engine.
    let part = |text: &str| text.replace(['/', '\0'], "_");
    match project {
        Some(project) => format!("{TOP}/{}/{}/{}/{address}", part(engine), part(project), part(name)),
        None => format!("{TOP}/{}/{}/{address}", part(engine), part(name)),
    }
}

/// The path of an address that nothing names, behind a network interface.
pub fn unnamed(interface: &str, address: IpAddr) -> String {
    path(BRIDGE, None, interface, address)
}

/// The name in an app's id, if that is a container's or virtual machine's.
pub fn name_in(id: &str) -> Option<&str> {
    let (engine, name) = id.split_once(':')?;
    ENGINES.contains(&engine).then_some(name)
}

impl<'a> Forwarded<'a> {
    /// The one to which a path belongs, with an address at its end or without.
    pub fn of(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix(TOP)?.strip_prefix('/')?;
        let mut parts: Vec<&str> = rest.split('/').collect();
        let has_address = parts.last().is_some_and(|last| last.parse::<IpAddr>().is_ok());
        let mut cgroup = path;
        if parts.first() != Some(&BRIDGE) && has_address {
            cgroup = path.rsplit_once('/')?.0;
            parts.pop();
        }
        let (engine, project, name) = match parts.as_slice() {
            [engine, name] => (*engine, None, *name),
            [engine, project, name] => (*engine, Some(*project), *name),
            _ => return None,
        };
        Some(Self { engine, project, name, cgroup })
    }

    /// Whether nothing names it: its name is its address.
    pub fn is_unnamed(&self) -> bool {
        self.engine == BRIDGE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_it_is() {
        let address: IpAddr = "172.17.0.2".parse().unwrap();
        let check = |path: &str, engine: &str, project: Option<&str>, name: &str, cgroup: &str| {
            assert_eq!(Forwarded::of(path), Some(Forwarded { engine, project, name, cgroup }), "{path}");
        };
        check(&path("docker", None, "db", address), "docker", None, "db", "/forwarded/docker/db");
        check("/forwarded/docker/db", "docker", None, "db", "/forwarded/docker/db");
        let compose = path("podman", Some("shop"), "shop_db_1", "fd00::2".parse().unwrap());
        assert_eq!(compose, "/forwarded/podman/shop/shop_db_1/fd00::2");
        check(&compose, "podman", Some("shop"), "shop_db_1", "/forwarded/podman/shop/shop_db_1");
        let bridge = unnamed("virbr0", address);
        check(&bridge, "bridge", Some("virbr0"), "172.17.0.2", "/forwarded/bridge/virbr0/172.17.0.2");
        assert_eq!(path("libvirt", None, "a/b", address), "/forwarded/libvirt/a_b/172.17.0.2");
        for other in ["/", "/forwarded", "/forwarded/172.17.0.2", "/forwardedx/docker/db", "/forwarded/a/b/c/d/e"] {
            assert_eq!(Forwarded::of(other), None, "{other}");
        }
        assert_eq!(counter_of(&compose), "/forwarded/fd00::2");
        assert_eq!(counter_of(&bridge), counter(address));
        assert_eq!(counter_of("/a/b.service"), "/a/b.service");
    }
}

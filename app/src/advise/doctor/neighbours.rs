//! Findings about what else filters, forwards or carries traffic on a host. Pure.

use super::{
    Finding, Status,
    facts::{Dns, Facts, Neighbour},
    kernel::lacks,
};

/// One for each neighbour, and who looks up names.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    facts.neighbours.iter().map(|known| neighbour(known, facts)).chain([dns(facts)]).collect()
}

fn neighbour(neighbour: &Neighbour, facts: &Facts) -> Finding {
    let cleared = "When it reloads its rules, netglance's table and counts stay: the table has an owner, so others can't clear it. Packets that it drops are not counted.";
    let (id, title, detail) = match neighbour {
        Neighbour::Docker => (
            "docker",
            "Docker is running",
            "The helper counts a container with a network of its own by its address; the estimate can't. One that uses the host's network has a cgroup of its own.",
        ),
        Neighbour::Podman => (
            "podman",
            "Podman is running",
            "If root runs it, the helper counts a container by its address; the estimate can't. If a user runs it, the traffic is counted for its network program (pasta, slirp4netns).",
        ),
        Neighbour::Libvirt => (
            "libvirt",
            "libvirt is running",
            "The helper counts virtual machines behind virbr0 by their address; the estimate can't. Traffic between the host itself and virbr0 is internal.",
        ),
        Neighbour::Firewalld => ("firewalld", "firewalld is running", cleared),
        Neighbour::Ufw => ("ufw", "ufw is active", cleared),
        Neighbour::Nftables => ("nftables-service", "nftables.service loads a ruleset", cleared),
        Neighbour::Tailscale => (
            "tailscale",
            "Tailscale is running",
            "The tailnet is internal and left out. With an exit node, the app's own packets are counted as they enter the tunnel; the outer ones belong to tailscaled.",
        ),
        Neighbour::Wireguard => (
            "wireguard",
            "a WireGuard device is up",
            "The kernel sends each packet of the app inside an outer one. The inner one is counted, the outer one is not.",
        ),
        Neighbour::Vpn => (
            "vpn",
            "a VPN program is running",
            "The app's own packets are counted as they enter the tunnel. The outer ones belong to the VPN program.",
        ),
        Neighbour::Proxy(name) => {
            let detail = "What the app sends through it goes to loopback and is left out. The external traffic is counted for the proxy.";
            return Finding::new("proxy", Status::Note, format!("a local proxy is running ({name})"), detail);
        }
        Neighbour::NodeExporter => (
            "node-exporter",
            "node_exporter is running",
            "It knows the totals of network interfaces, including LAN traffic, but not those of apps. `netglance metrics` gives Prometheus those of apps, at a port of its own or in a file that node_exporter reads.",
        ),
    };
    let quiet =
        matches!(neighbour, Neighbour::Firewalld | Neighbour::Ufw | Neighbour::Nftables) && lacks(facts).is_empty();
    Finding::new(id, if quiet { Status::Ok } else { Status::Note }, title, detail)
}

fn dns(facts: &Facts) -> Finding {
    let note = |title: &str, detail: &str| Finding::new("dns", Status::Note, title, detail);
    match facts.dns {
        Dns::Unknown => Finding::new("dns", Status::Unknown, "DNS: unknown", "/etc/resolv.conf names no server."),
        Dns::Resolved => {
            note("systemd-resolved looks up names", "Its DNS traffic is counted for systemd-resolved, not for the app.")
        }
        Dns::Local => note(
            "a program on this host looks up names",
            "Its DNS traffic is counted for that program, not for the app.",
        ),
        Dns::Internal => Finding::new(
            "dns",
            Status::Ok,
            "the DNS server is internal",
            "The app asks it directly. That traffic is left out.",
        ),
        Dns::External => Finding::new(
            "dns",
            Status::Ok,
            "the DNS server is external",
            "The app asks it directly. Exact counting includes that traffic; the estimate does not (UDP).",
        ),
    }
}

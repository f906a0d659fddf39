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
    let cleared = "Its reload clears other tables, not netglance's: that one is owned, and a flush leaves it and its counts alone. What it drops is not counted.";
    let (id, title, detail) = match neighbour {
        Neighbour::Docker => (
            "docker",
            "Docker runs",
            "A container with a network of its own is forwarded, not counted. One with the host's network has a cgroup of its own.",
        ),
        Neighbour::Podman => (
            "podman",
            "Podman runs",
            "As root: forwarded, not counted. As a user: its network program (pasta, slirp4netns) is counted, in that program's cgroup.",
        ),
        Neighbour::Libvirt => (
            "libvirt",
            "libvirt runs",
            "Machines behind virbr0 are forwarded, not counted. What the host itself says to virbr0 is internal.",
        ),
        Neighbour::Firewalld => ("firewalld", "firewalld runs", cleared),
        Neighbour::Ufw => ("ufw", "ufw filters", cleared),
        Neighbour::Nftables => ("nftables-service", "nftables.service loads a ruleset", cleared),
        Neighbour::Tailscale => (
            "tailscale",
            "Tailscale runs",
            "The tailnet is internal and left out. Through an exit node the app's own packets are counted on their way in; tailscaled's outer ones belong to tailscaled.",
        ),
        Neighbour::Wireguard => (
            "wireguard",
            "a WireGuard device is up",
            "The kernel sends the app's packet twice; the inner one is counted, the outer one is not.",
        ),
        Neighbour::Vpn => (
            "vpn",
            "a VPN in a process of its own",
            "The app's own packets are counted on their way into it. The outer ones belong to the VPN's cgroup.",
        ),
        Neighbour::Proxy(name) => {
            let detail = "What the app sends through it goes to loopback and is left out; the proxy's own cgroup has the external traffic.";
            return Finding::new("proxy", Status::Note, format!("a local proxy runs ({name})"), detail);
        }
        Neighbour::NodeExporter => (
            "node-exporter",
            "node_exporter runs",
            "It has the totals of interfaces (LAN included), not of apps: good for the sum, no more.",
        ),
    };
    let quiet =
        matches!(neighbour, Neighbour::Firewalld | Neighbour::Ufw | Neighbour::Nftables) && lacks(facts).is_empty();
    Finding::new(id, if quiet { Status::Ok } else { Status::Note }, title, detail)
}

fn dns(facts: &Facts) -> Finding {
    let note = |title: &str, detail: &str| Finding::new("dns", Status::Note, title, detail);
    match facts.dns {
        Dns::Unknown => Finding::new("dns", Status::Unknown, "names: unknown", "/etc/resolv.conf names no server."),
        Dns::Resolved => note(
            "systemd-resolved looks up names",
            "Its questions and answers belong to systemd-resolved, not to the app.",
        ),
        Dns::Local => note(
            "a program on this host looks up names",
            "Its questions and answers belong to that program, not to the app.",
        ),
        Dns::Internal => Finding::new(
            "dns",
            Status::Ok,
            "names are looked up inside",
            "The app asks a server at an internal address: left out.",
        ),
        Dns::External => Finding::new(
            "dns",
            Status::Ok,
            "names are looked up outside",
            "The app asks itself. Exact counting has it; the estimate doesn't (UDP).",
        ),
    }
}

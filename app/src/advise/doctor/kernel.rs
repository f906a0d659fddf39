//! Whether a host's kernel can count exactly. Pure.

use super::facts::{Facts, Helper, Part};

/// The oldest kernel with everything that exact counting needs: `socket cgroupv2` and sets of cgroups came with 5.13.
pub const OLDEST_KERNEL: (u32, u32) = (5, 13);

/// "6.1.0-31-amd64" is (6, 1).
pub fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What the kernel lacks for exact counting, in words. Empty: nothing that is known of.
pub fn lacks(facts: &Facts) -> Vec<String> {
    if let Helper::Counting { .. } = facts.helper {
        return Vec::new();
    }
    if let Helper::Failing { error, unsupported: true, .. } = &facts.helper {
        return vec![error.clone()];
    }
    let mut lacks = Vec::new();
    if kernel_version(&facts.kernel).is_some_and(|version| version < OLDEST_KERNEL) {
        lacks.push(format!("Linux {} is older than 5.13", facts.kernel));
    }
    lacks.extend(
        facts.nft.parts.iter().filter(|(_, has)| *has == Some(false)).map(|(part, _)| format!("no {}", name(*part))),
    );
    lacks
}

/// What a person knows it by.
pub fn name(part: Part) -> &'static str {
    match part {
        Part::Tables => "nf_tables (CONFIG_NF_TABLES)",
        Part::Inet => "inet tables (CONFIG_NF_TABLES_INET)",
        Part::Socket => "socket match (CONFIG_NFT_SOCKET)",
        Part::Hash => "hashes (CONFIG_NFT_HASH)",
        Part::Cgroup => "cgroup of sockets (CONFIG_SOCK_CGROUP_DATA)",
    }
}

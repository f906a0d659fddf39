//! Whether a host's kernel can count exactly. Pure.

use netglance_dbus::kernel::{Judgement, OLDEST};

use super::facts::{Facts, Helper, Part};

/// What the kernel lacks for exact counting, in words. Empty: nothing that is known of.
pub fn lacks(facts: &Facts) -> Vec<String> {
    if let Helper::Counting { .. } = facts.helper {
        return Vec::new();
    }
    if let Helper::Failing { error, unsupported: true, .. } = &facts.helper {
        return vec![error.clone()];
    }
    let mut lacks = Vec::new();
    if facts.kernel.base().is_some_and(|version| version < OLDEST) {
        lacks.push(format!("{} is older than {OLDEST}", facts.kernel));
    } else if let Judgement::Crashes(flaw) = facts.kernel.judge() {
        lacks.push(facts.kernel.sentence(flaw));
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

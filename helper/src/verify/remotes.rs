//! What a case has moved, by remote: while rules stand that somebody would put there who looks at the app's remotes.
//!
//! The rules are the helper's own. They stand for one case, and the table is compared with what it was before.

use std::collections::BTreeMap;

use super::{
    Error,
    cases::{Actor, Case},
    traffic::PORT,
};
use crate::{
    nft::{
        Nft,
        key::Key,
        ruleset::{Owner, Set, Standing},
    },
    remotes::Booked,
};

/// A user to whom nothing on this host belongs but these cgroups.
const USER: Owner = Some(1000);

/// Bytes received and sent by cgroup and remote.
type Table = BTreeMap<Booked, [u64; 2]>;

/// The rules that stand for a case.
#[derive(Debug)]
pub struct Asked {
    before: Standing,
}

impl Asked {
    /// Counts these cgroups with their levels by remote. `None`: this kernel can't.
    pub fn begin(nft: &mut Nft, cgroups: BTreeMap<Key, u8>, translated: bool) -> Result<Option<Self>, Error> {
        let before = nft.standing()?;
        match nft.count_by_remote(&BTreeMap::from([(USER, cgroups)]), translated) {
            Err(error) if error.is_unsupported() => Ok(None),
            other => Ok(other.map(|()| Some(Self { before }))?),
        }
    }

    /// Takes the rules away. What is wrong with what the table is then, for a person.
    pub fn end(self, nft: &mut Nft, stay: bool) -> Result<Option<String>, Error> {
        if !stay {
            nft.count_by_remote(&BTreeMap::new(), false)?;
        }
        let is_same = nft.standing()? == self.before;
        nft.count_by_remote(&BTreeMap::new(), false)?;
        Ok((!is_same).then(|| {
            "the figures are right, but the table has other rules now than before somebody asked for remotes. They stay and cost \
             every packet a look."
                .to_owned()
        }))
    }
}

/// What is wrong with what was booked by remote, for a person. `moved`: what the case's counter has booked, received and sent.
pub fn difference(nft: &mut Nft, case: &Case, key: Key, moved: [u64; 2]) -> Result<Option<String>, Error> {
    let mut booked = Table::new();
    for set in Set::all(USER) {
        nft.read_remotes(set, |element, bytes| {
            if let Some(remote) = Booked::read(set, element) {
                let way = usize::from(set.is_sent);
                if let Some(sum) = booked.entry(remote).or_default().get_mut(way) {
                    *sum = sum.saturating_add(bytes);
                }
            }
        })?;
    }
    let protocol = if case.is_tcp() { 6 } else { 17 };
    let remote = Booked { cgroup: key, address: case.on_wire(), port: PORT, protocol };
    let expected = if case.actor == Actor::Bystander { Table::new() } else { Table::from([(remote, moved)]) };
    if booked == expected {
        return Ok(None);
    }
    let who = case.actor_name();
    let name = |remote: &Booked| format!("{} port {} (protocol {})", remote.address, remote.port, remote.protocol);
    let list: Vec<_> =
        booked.iter().map(|(remote, [rx, tx])| format!("{rx} and {tx} bytes with {}", name(remote))).collect();
    Ok(Some(if booked.is_empty() {
        format!(
            "{}, {who}: the counter is right, but none of it was booked to a remote, so connections are missing in netglance. The \
             rules that count by remote (nft list ruleset, chains remotes_) are missing or stand in the wrong place.",
            case.name
        )
    } else if expected.is_empty() {
        format!(
            "{}, {who}: nobody asks for its remotes, and they were booked all the same: {}.",
            case.name,
            list.join(", ")
        )
    } else {
        format!(
            "{}, {who}: the counter has {} and {} bytes, all of it with {}, but by remote {} were booked, so the connections that \
             netglance shows are wrong.",
            case.name,
            moved[0],
            moved[1],
            name(&remote),
            list.join(", ")
        )
    }))
}

//! Whose the cgroups are, decided by [`crate::owner`]. Pure.

use std::collections::HashMap;

use super::{ACCOUNT_LEVEL, Nodes};
use crate::owner;

/// So many removed cgroups that root had given to a user are remembered, because their rows remain. Only root makes such ones.
const REMEMBERED_GIVEN: usize = 256;

/// A new cgroup is root's until root gives it away. After so many looks, the first of which is when it is found, it is assumed
/// to stay root's.
const LOOKS: u8 = 3;

/// The owners by id that were found so far, during one question about many cgroups.
pub type Known = HashMap<u64, Option<u32>>;

impl Nodes {
    /// Who owns a cgroup's directory. Whether that is another than before.
    pub fn set_directory_owner(&mut self, id: u64, uid: u32) -> bool {
        let Some(node) = self.by_id.get_mut(&id) else { return false };
        node.owner_looks = node.owner_looks.saturating_add(1);
        std::mem::replace(&mut node.directory_owner, uid) != uid
    }

    /// Whose a cgroup is that exists or existed a while ago; `None`: root's.
    pub fn owner(&self, id: u64, known: &mut Known) -> Option<u32> {
        // Everything in an account has the owner of its top.
        if let Some(Some(owner)) = self.by_id.get(&id).and_then(|node| known.get(&node.account)) {
            return Some(*owner);
        }
        let mut chain = Vec::new();
        let (mut at, mut owner) = (id, owner::of_slice(&self.root_path));
        while let Some(node) = self.by_id.get(&at).filter(|_| at != self.root) {
            if let Some(found) = known.get(&at) {
                owner = *found;
                break;
            }
            chain.push((at, node));
            at = node.parent;
        }
        for (id, node) in chain.into_iter().rev() {
            let slice = || self.path(id).and_then(|path| owner::of_slice(&path));
            let own = if node.level == ACCOUNT_LEVEL { slice() } else { None };
            owner = own.or(owner).or_else(|| owner::given(node.directory_owner));
            known.insert(id, owner);
        }
        owner
    }

    /// Whose a path is: that of the cgroup that has it now, or had it last.
    pub fn owner_of_path(&self, path: &str) -> Option<u32> {
        owner::of(path, |above| {
            let live = self.at(above).and_then(|id| self.by_id.get(&id));
            let sure = live.filter(|node| node.owner_looks >= LOOKS || owner::given(node.directory_owner).is_some());
            let before = || self.given.iter().rev().find(|(given, _)| given == above).map(|(_, uid)| *uid);
            sure.map(|node| node.directory_owner).or_else(before)
        })
    }

    /// The live cgroups whose owners have to be read again, because the owners of their directories decide: those that are in
    /// nobody's slice and below nothing that root has given away. Root has made them all.
    pub fn deciding(&self) -> Vec<u64> {
        let mut known = Known::new();
        let live = self.by_id.iter().filter(|(id, node)| node.is_live && **id != self.root);
        let deciding = live.filter(|(id, node)| {
            self.owner(node.parent, &mut known).is_none()
                && !(node.level == ACCOUNT_LEVEL
                    && self.path(**id).is_some_and(|path| owner::of_slice(&path).is_some()))
        });
        deciding.map(|(id, _)| *id).collect()
    }

    /// To be called before a cgroup is buried.
    pub(super) fn remember_owner(&mut self, id: u64) {
        let Some(node) = self.by_id.get(&id).filter(|node| node.is_live) else { return };
        let Some(uid) = owner::given(node.directory_owner) else { return };
        if self.owner(node.parent, &mut Known::new()).is_some() {
            return;
        }
        if let Some(path) = self.path(id) {
            self.given.retain(|(given, _)| *given != path);
            self.given.push_back((path, uid));
        }
        if self.given.len() > REMEMBERED_GIVEN {
            self.given.pop_front();
        }
    }

    /// The live cgroup of a path.
    pub fn at(&self, path: &str) -> Option<u64> {
        let mut names = path.strip_prefix(self.root_path.as_str())?.split('/').filter(|name| !name.is_empty());
        names.try_fold(self.root, |above, name| self.child(above, name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{super::Met, *};

    /// The root is 1; each other cgroup is one more than the one before.
    fn nodes(cgroups: &[(u64, &str)]) -> Nodes {
        let mut nodes = Nodes::new(1, "");
        for (id, (parent, name)) in (2..).zip(cgroups) {
            nodes.add(*parent, name.as_bytes(), id, Met::Scanned, Instant::now());
        }
        nodes
    }

    fn check(nodes: &Nodes, id: u64, expected: Option<u32>) {
        let path = nodes.path(id).unwrap();
        let found = (nodes.owner(id, &mut Known::new()), nodes.owner_of_path(&path));
        assert_eq!(found, (expected, expected), "{path}");
    }

    #[test]
    fn what_is_given_away_is_given_with_all_below_it_and_what_has_gone_stays_whose_it_was() {
        let mut nodes = nodes(&[
            (1, "user.slice"),      // 2
            (2, "user-7.slice"),    // 3
            (3, "session-1.scope"), // 4
            (1, "system.slice"),    // 5
            (5, "a.service"),       // 6
            (6, "payload"),         // 7
            (7, "user-7.slice"),    // 8
            (8, "user@7.service"),  // 9
            (9, "app.service"),     // 10
        ]);
        for id in [4, 9, 10] {
            check(&nodes, id, (id == 4).then_some(7));
        }
        let mut deciding = nodes.deciding();
        deciding.sort_unstable();
        assert_eq!(deciding, [2, 5, 6, 7, 8, 9, 10]);

        nodes.set_directory_owner(9, 7);
        nodes.set_directory_owner(10, 8);
        nodes.set_directory_owner(4, 9);
        for (id, owner) in [(2, None), (3, Some(7)), (4, Some(7)), (5, None), (8, None), (9, Some(7)), (10, Some(7))] {
            check(&nodes, id, owner);
        }
        let mut known = Known::new();
        assert_eq!([10, 4, 8, 9].map(|id| nodes.owner(id, &mut known)), [Some(7), Some(7), None, Some(7)]);
        assert!(!nodes.deciding().contains(&10), "what is below is not asked");

        nodes.remove(9);
        for id in [9, 10] {
            check(&nodes, id, Some(7));
        }
        // Another has the path now, and its totals with it: counters belong to a path.
        nodes.add(8, b"user@7.service", 20, Met::Told, Instant::now());
        let below = "/system.slice/a.service/payload/user-7.slice/user@7.service/x";
        for look in 1..=LOOKS {
            nodes.set_directory_owner(20, 0);
            let expected = if look < LOOKS { Some(7) } else { None };
            assert_eq!((nodes.owner(20, &mut Known::new()), nodes.owner_of_path(below)), (None, expected));
        }
        nodes.set_directory_owner(20, 8);
        check(&nodes, 20, Some(8));
        assert_eq!(nodes.owner_of_path(below), Some(8));
        for _ in 0..2 * REMEMBERED_GIVEN {
            nodes.next_given();
        }
        assert_eq!(nodes.given.len(), REMEMBERED_GIVEN);
    }

    impl Nodes {
        /// One more is given away, and ends.
        fn next_given(&mut self) {
            let id = 100 + self.deaths();
            self.add(5, format!("{id}").as_bytes(), id, Met::Scanned, Instant::now());
            self.set_directory_owner(id, 3);
            self.remove(id);
        }
    }
}

use super::{accounts::*, *};

/// A tree in which every id is told by the caller: 1 the root, 2 user.slice, 3 and up the users' slices.
struct Host {
    nodes: Nodes,
    now: Instant,
    next: u64,
}

impl Host {
    fn new(users: u64) -> Self {
        let mut host = Self { nodes: Nodes::new(1, ""), now: Instant::now(), next: 3 + users };
        host.nodes.add(1, b"user.slice", 2, Met::Scanned, host.now);
        for user in 3..3 + users {
            host.nodes.add(2, format!("user-{user}.slice").as_bytes(), user, Met::Scanned, host.now);
        }
        host
    }

    fn make(&mut self, parent: u64, met: Met) -> Option<u64> {
        let id = self.next;
        self.next += 1;
        let found = self.nodes.add(parent, format!("c{id}").as_bytes(), id, met, self.now);
        (found == Found::New).then_some(id)
    }

    /// How many could be made until its account was crowded.
    fn fill(&mut self, parent: u64, met: Met) -> usize {
        (0..100_000).take_while(|_| self.make(parent, met).is_some()).count()
    }

    fn live_below(&self, top: u64) -> usize {
        self.nodes.accounts.get(&top).map_or(0, |account| account.live)
    }

    fn warnings(&self) -> String {
        self.nodes.warnings().join("\n")
    }
}

#[test]
fn who_has_too_many_is_booked_as_a_whole_and_nobody_else() {
    let mut host = Host::new(2);
    let other = host.make(4, Met::Scanned).unwrap();
    assert_eq!(host.fill(3, Met::Scanned), LIVE_AN_ACCOUNT - 1);
    assert_eq!((host.live_below(3), host.live_below(4)), (1, 2));
    assert_eq!(host.nodes.opaque(), &BTreeSet::from([(2, 3)]));
    assert_eq!(host.nodes.ended, [3]);
    assert!(
        host.warnings().starts_with("/user.slice/user-3.slice has more than 16384 control groups"),
        "{}",
        host.warnings()
    );
    assert!(host.make(3, Met::Told).is_none() && host.nodes.is_live(other));
    // An id that nobody can know is theirs.
    assert_eq!(host.nodes.nearest(host.next + 7), "/user.slice/user-3.slice");
    // After a while it is followed again.
    assert!(host.nodes.crowded(host.now).is_empty());
    host.now += CROWDED_FOR;
    assert_eq!(host.nodes.crowded(host.now), [3]);
    host.nodes.uncrowd(3);
    assert!(host.make(3, Met::Scanned).is_some() && host.nodes.opaque().is_empty());
    assert_eq!(host.warnings(), "");
}

#[test]
fn what_all_have_together_is_bounded_and_the_largest_pays() {
    let mut host = Host::new(9);
    for user in 3..12 {
        for _ in 0..if user == 7 { 6000 } else { 3000 } {
            host.make(user, Met::Scanned);
        }
    }
    assert!(host.nodes.live <= LIVE_IN_ALL);
    assert_eq!(host.nodes.opaque(), &BTreeSet::from([(2, 7)]));
}

#[test]
fn who_makes_them_too_fast_is_not_followed_and_who_makes_as_many_slowly_is() {
    let mut host = Host::new(2);
    for _ in 0..5 * MADE_AT_ONCE {
        host.now += MADE_EVERY;
        let id = host.make(4, Met::Told).unwrap();
        host.nodes.remove(id);
        if host.nodes.deaths().is_multiple_of(256) {
            host.nodes.forget(|_| false);
        }
    }
    assert_eq!(host.warnings(), "");
    assert!(host.nodes.count_all() < 1024, "{}", host.nodes.count_all());
    let mut made = 0;
    while let Some(id) = host.make(3, Met::Told) {
        host.nodes.remove(id);
        made += 1;
    }
    assert_eq!(made, MADE_AT_ONCE);
    assert!(host.warnings().contains("makes more than 500 control groups a second"), "{}", host.warnings());
    host.nodes.overrun(4, host.now);
    assert_eq!(host.nodes.opaque().len(), 2);
}

#[test]
fn long_paths_and_depth_are_bounded() {
    let mut host = Host::new(1);
    let mut parent = 3;
    while let Found::New = host.nodes.add(parent, &[1; 250], host.next, Met::Told, host.now) {
        parent = host.next;
        host.next += 1;
    }
    assert!(!host.nodes.is_live(parent), "the paths are longer than what one account may have");
    host.nodes.forget(|_| false);
    host.now += CROWDED_FOR;
    host.nodes.uncrowd(3);
    let mut parent = 3;
    while let Some(id) = host.make(parent, Met::Told) {
        parent = id;
    }
    assert_eq!((host.nodes.level(parent), host.nodes.deepest()), (Some(DEEPEST), DEEPEST));
    assert_eq!(host.warnings(), "");
    // As JSON a control character takes six bytes.
    assert_eq!(cost(b"a\x1b\\"), 9);
    assert_eq!(cost(b"\xff\xff"), 6);
}

#[test]
fn unreadable_ones_are_booked_to_themselves_at_a_few_levels() {
    let mut host = Host::new(9);
    let mut parents = Vec::new();
    for user in 3..12 {
        let mut parent = user;
        let levels: Vec<_> = (0..6)
            .map(|_| {
                parent = host.make(parent, Met::Told).unwrap();
                parent
            })
            .collect();
        parents.push(levels);
    }
    let closed = parents[0][2];
    host.nodes.close(closed, host.now);
    host.nodes.close(closed, host.now);
    assert_eq!(host.nodes.opaque(), &BTreeSet::from([(5, closed)]));
    assert_eq!(host.nodes.closed(), [closed]);
    host.nodes.open(closed);
    assert!(host.nodes.opaque().is_empty());
    // Two levels are one account's, four all accounts'.
    for parent in &parents[0][..3] {
        let id = host.make(*parent, Met::Told).unwrap();
        host.nodes.close(id, host.now);
    }
    assert_eq!(host.nodes.opaque(), &BTreeSet::from([(2, 3)]));
    for (user, level) in [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)] {
        let id = host.make(parents[user][level], Met::Told).unwrap();
        host.nodes.close(id, host.now);
    }
    let levels: BTreeSet<_> = host.nodes.opaque().iter().map(|(level, _)| *level).filter(|level| *level > 2).collect();
    assert_eq!(levels.len(), CLOSED_LEVELS[1]);
    // However many.
    for _ in 0..=CLOSED_AN_ACCOUNT {
        if let Some(id) = host.make(parents[8][0], Met::Told) {
            host.nodes.close(id, host.now);
        }
    }
    assert!(host.nodes.opaque().contains(&(2, 11)));
}

#[test]
fn what_is_needed_of_the_dead_is_kept_with_its_path_and_no_more() {
    let mut host = Host::new(1);
    let top = host.make(3, Met::Told).unwrap();
    let below = host.make(top, Met::Told).unwrap();
    for id in [below, top] {
        host.nodes.remove(id);
    }
    for _ in 0..1000 {
        let id = host.make(3, Met::Told).unwrap();
        host.nodes.remove(id);
    }
    host.nodes.forget(|id| id == below);
    assert_eq!(host.nodes.path(below).unwrap(), format!("/user.slice/user-3.slice/c{top}/c{below}"));
    assert_eq!(host.nodes.count_all(), 3 + 2 + REMEMBERED_DEAD);
    host.nodes.forget(|_| false);
    assert_eq!(host.nodes.path(below), None);
    host.nodes.recall(below, 3, b"again");
    assert_eq!(host.nodes.path(below).unwrap(), "/user.slice/user-3.slice/again");
    assert!(host.nodes.is_dead(below));
    // With its slice all of it goes, once many other slices have gone.
    host.nodes.remove(3);
    for _ in 0..2 * REMEMBERED_ACCOUNTS {
        let id = host.make(2, Met::Told).unwrap();
        host.nodes.remove(id);
    }
    host.nodes.forget(|_| false);
    host.nodes.forget(|_| false);
    assert!(host.nodes.count_all() <= 3 + 2 * REMEMBERED_ACCOUNTS, "{}", host.nodes.count_all());
    assert!(!host.nodes.accounts.contains_key(&3));
}

#[test]
fn paths_have_in_common_what_they_have() {
    for (paths, shared) in [
        (&["/a/b", "/a/c"][..], "/a"),
        (&["/a/b", "/a/b/c"], "/a/b"),
        (&["/a", "/b"], ""),
        (&["/aa/x", "/ab/x"], ""),
        (&["/a/b"], "/a/b"),
        (&[], ""),
    ] {
        assert_eq!(common(paths.iter().map(|path| (*path).to_owned())), shared, "{paths:?}");
    }
}

#[test]
fn what_was_gone_or_cannot_be_read_costs_as_much_as_what_is_made() {
    let mut host = Host::new(2);
    let closed = host.make(3, Met::Told).unwrap();
    for user in [3, 4] {
        let mut missed = 0;
        while host.nodes.is_followed(user) {
            if user == 3 {
                host.nodes.close(closed, host.now);
            } else {
                host.nodes.miss(4, b"gone", None, host.now);
            }
            missed += 1;
        }
        assert!(missed <= MADE_AT_ONCE + 1, "{missed}");
    }
    assert_eq!(host.warnings().matches("makes more than").count(), 2);
    // The root's own are never too many, and two who take turns leave nothing.
    for _ in 0..3 * MADE_AT_ONCE {
        host.nodes.miss(2, b"gone", None, host.now);
    }
    assert!(host.nodes.is_followed(2) && host.nodes.unnamed.len() <= 3);
}

#[test]
fn what_an_account_made_and_is_forgotten_is_nobody_elses() {
    let mut host = Host::new(2);
    host.nodes.miss(4, b"honest", None, host.now);
    let below = host.make(3, Met::Told).unwrap();
    // Told twice: what was missed before gets its name all the same.
    host.nodes.miss(3, b"early", None, host.now);
    host.nodes.miss(3, b"told twice", Some(below), host.now);
    let theirs = host.next + 1;
    host.next += 1000;
    let later = host.make(3, Met::Told).unwrap();
    assert_eq!(host.nodes.nearest(theirs), "/user.slice/user-3.slice/early");
    assert_eq!(host.nodes.nearest(later + 1), "/");
    for _ in 0..=REMEMBERED_NAMELESS {
        host.nodes.miss(3, b"gone", None, host.now);
    }
    assert_eq!(host.nodes.nearest(theirs), "/user.slice/user-3.slice");
    let mut host = Host::new(2);
    host.nodes.miss(3, b"gone", None, host.now);
    let theirs = host.next;
    host.next += 1;
    host.nodes.overrun(3, host.now);
    host.make(4, Met::Told);
    host.nodes.miss(4, b"honest", None, host.now);
    assert_eq!(host.nodes.nearest(theirs), "/user.slice/user-3.slice");
}

#[test]
fn who_has_unreadable_ones_at_most_levels_pays_and_not_who_has_most_at_one() {
    let mut host = Host::new(3);
    let chains: Vec<Vec<_>> = (3..6)
        .map(|user| {
            let mut parent = user;
            let mut deeper = || {
                parent = host.make(parent, Met::Told).unwrap();
                parent
            };
            (0..6).map(|_| deeper()).collect()
        })
        .collect();
    for _ in 0..5 {
        let id = host.make(chains[0][0], Met::Told).unwrap();
        host.nodes.close(id, host.now);
    }
    for id in [chains[1][2], chains[1][3], chains[2][4], chains[2][5]] {
        host.nodes.close(id, host.now);
    }
    assert!(host.nodes.is_followed(3) && host.nodes.is_followed(4) != host.nodes.is_followed(5));
}

#[test]
fn where_watches_are_few_who_has_the_most_has_none() {
    let mut host = Host::new(2);
    for _ in 0..WATCHED_AN_ACCOUNT {
        host.make(3, Met::Scanned);
    }
    host.make(4, Met::Scanned);
    assert!(host.nodes.spare_watches(host.now) && !host.nodes.spare_watches(host.now));
    assert_eq!((host.nodes.is_followed(3), host.nodes.is_followed(4)), (false, true));
    // Its top may be unreadable as well, and readable again: it stays crowded.
    host.nodes.close(3, host.now);
    host.nodes.open(3);
    assert_eq!(host.nodes.opaque(), &BTreeSet::from([(2, 3)]));
    host.nodes.remove(3);
    assert!(host.nodes.opaque().is_empty());
    assert_eq!(host.nodes.ended, [3, 3]);
}

#[test]
fn services_alone_crowd_nobody() {
    let mut host = Host::new(1);
    for _ in 0..LIVE_IN_ALL + 10 {
        host.make(2, Met::Scanned);
    }
    assert!(host.nodes.opaque().is_empty());
}

use netglance_dbus::cgroup::nodes::Met;

use super::*;

const SLICE: &str = "/user.slice/user-7.slice";

/// The root is 1; each other cgroup is one more than the one before.
fn nodes(cgroups: &[(u64, &str)]) -> Nodes {
    let mut nodes = Nodes::new(1, "");
    for (id, (parent, name)) in (2..).zip(cgroups) {
        nodes.add(*parent, name.as_bytes(), id, Met::Scanned, Instant::now());
    }
    nodes
}

/// `/user.slice/user-7.slice/{a,b}/child`, and another user's `a`.
fn users() -> Nodes {
    nodes(&[
        (1, "user.slice"),   // 2
        (2, "user-7.slice"), // 3
        (3, "a"),            // 4
        (3, "b"),            // 5
        (4, "child"),        // 6
        (2, "user-8.slice"), // 7
        (7, "a"),            // 8
        (3, "ab"),           // 9
    ])
}

fn change(remotes: &mut Remotes, nodes: &Nodes, now: Instant) -> Asked {
    match remotes.plan(nodes, 8, 1, now) {
        Plan::Change(asked) => {
            remotes.planned(asked.clone());
            asked
        }
        other => panic!("{other:?}"),
    }
}

fn asked(of: &[(Owner, &[(u64, u8)])]) -> Asked {
    of.iter().map(|(owner, ids)| (*owner, ids.iter().map(|(id, level)| (Key::of(*id), *level)).collect())).collect()
}

fn set(owner: Owner, is_sent: bool) -> Set {
    Set { owner, is_sent, is_v4: true, has_ports: true }
}

/// An element's key in a set for IPv4 with ports.
fn element(id: u64, address: [u8; 4], port: u16) -> Vec<u8> {
    let port = port.to_be_bytes();
    [Key::of(id).bytes().as_slice(), &address, &[17, 0, 0, 0], &port, &[0, 0]].concat()
}

#[test]
fn what_is_asked_for_is_at_or_below_a_path_and_booked_to_its_owner() {
    let (nodes, now) = (users(), Instant::now());
    let check = |paths: &[(&str, Owner)], expected: &[(Owner, &[(u64, u8)])]| {
        let mut remotes = Remotes::default();
        paths.iter().for_each(|(path, owner)| remotes.ask(path, *owner, true, now).unwrap());
        assert_eq!(change(&mut remotes, &nodes, now), asked(expected), "{paths:?}");
    };
    check(&[(&format!("{SLICE}/a"), Some(7))], &[(Some(7), &[(4, 3), (6, 4)])]);
    check(&[(&format!("{SLICE}/a/child"), Some(7)), (&format!("{SLICE}/b"), Some(7))], &[(Some(7), &[(5, 3), (6, 4)])]);
    check(&[(SLICE, Some(7))], &[(Some(7), &[(3, 2), (4, 3), (5, 3), (6, 4), (9, 3)])]);
    let all: [(Owner, &[(u64, u8)]); 3] =
        [(None, &[(2, 1)]), (Some(7), &[(3, 2), (4, 3), (5, 3), (6, 4), (9, 3)]), (Some(8), &[(7, 2), (8, 3)])];
    check(&[("/", None)], &all);
    check(&[("/user.slice", None)], &all);
}

#[test]
fn a_lease_begins_with_a_cgroup_ends_after_ten_seconds_and_goes_on_when_it_is_renewed() {
    let (mut nodes, start) = (users(), Instant::now());
    let mut remotes = Remotes::default();
    remotes.ask("/nothing", Some(7), false, start).unwrap();
    assert_eq!((remotes.plan(&nodes, 8, 1, start), remotes.due()), (Plan::Nothing, None));
    remotes.ask(&format!("{SLICE}/b"), Some(7), true, start).unwrap();
    change(&mut remotes, &nodes, start);
    assert_eq!(remotes.due(), Some(start + LASTS));
    let later = start + LASTS / 2;
    // The cgroup ends, and has another one's id when it comes back.
    nodes.remove(5);
    remotes.ask(&format!("{SLICE}/b"), Some(7), false, later).unwrap();
    nodes.add(3, b"b", 20, Met::Told, Instant::now());
    remotes.tree_changed();
    assert_eq!(change(&mut remotes, &nodes, later), asked(&[(Some(7), &[(20, 3)])]));
    assert_eq!(remotes.plan(&nodes, 8, 1, start + LASTS), Plan::Nothing);
    assert_eq!(change(&mut remotes, &nodes, later + LASTS), Asked::new());
    assert_eq!((remotes.due(), remotes.saved()), (None, Saved::default()));
}

#[test]
fn rules_are_not_changed_too_often() {
    let (mut nodes, now) = (users(), Instant::now());
    let mut remotes = Remotes::default();
    remotes.ask(SLICE, Some(7), true, now).unwrap();
    change(&mut remotes, &nodes, now);
    remotes.rest(Duration::from_millis(50), Duration::from_millis(10), now);
    nodes.add(3, b"new", 20, Met::Told, Instant::now());
    remotes.tree_changed();
    let due = now + Duration::from_millis(90);
    assert_eq!(remotes.plan(&nodes, 8, 1, now), Plan::Later(due));
    assert_eq!(remotes.due(), Some(due));
    assert!(change(&mut remotes, &nodes, due).values().any(|of| of.contains_key(&Key::of(20))));
    // What happens elsewhere is no reason to change anything; rules that were written anew are.
    nodes.add(7, b"new", 21, Met::Told, Instant::now());
    remotes.tree_changed();
    assert_eq!(remotes.plan(&nodes, 8, 1, due), Plan::Same);
    remotes.table_changed();
    change(&mut remotes, &nodes, due);
    remotes.table_changed();
    let Plan::Change(_) = remotes.plan(&nodes, 8, 1, due) else { panic!() };
    for (took, cpu, rest) in
        [(0, 0, REST), (50, 1, Duration::from_millis(50)), (60_000, 1, MOST_REST), (1, 60_000, MOST_REST)]
    {
        remotes.rest(Duration::from_millis(took), Duration::from_millis(cpu), due);
        assert_eq!(remotes.plan(&nodes, 8, 1, due), Plan::Later(due + rest));
    }
    remotes.refused(due);
    assert_eq!(remotes.plan(&nodes, 8, 1, due), Plan::Later(due + AFTER_REFUSAL));
    change(&mut remotes, &nodes, due + AFTER_REFUSAL);
}

#[test]
fn a_cgroup_that_is_somebody_elses_now_is_not_counted_twice() {
    let (mut nodes, now) = (nodes(&[(1, "system.slice"), (2, "a")]), Instant::now());
    let mut remotes = Remotes::default();
    let owner = |nodes: &mut Nodes, uid, remotes: &mut Remotes, at| {
        nodes.set_directory_owner(3, uid);
        remotes.tree_changed();
        remotes.ask("/system.slice/a", nodes.owner_of_path("/system.slice/a"), true, at).unwrap();
        change(remotes, nodes, at)
    };
    assert_eq!(owner(&mut nodes, 7, &mut remotes, now), asked(&[(Some(7), &[(3, 2)])]));
    assert_eq!(remotes.take_in(set(Some(7), true), &element(3, [1, 1, 1, 1], 1), 100), None);
    // The one who had it still asks for something else.
    let mut expected = asked(&[(Some(8), &[(3, 2)])]);
    assert_eq!(owner(&mut nodes, 8, &mut remotes, now).remove(&Some(8)), expected.remove(&Some(8)));
    assert!(remotes.rows(Some(7), &["/system.slice/a"], 0).rows.is_empty());
}

#[test]
fn rows_that_are_too_many_are_those_that_have_moved_the_least() {
    let mut rows: Vec<_> = (0..100_u64).collect();
    assert!(!leave_out_smallest(&mut rows, |_| MOST_BYTES / 100, |row| *row));
    assert!(leave_out_smallest(&mut rows, |_| MOST_BYTES / 50, |row| *row));
    assert_eq!(rows, (50..100).rev().collect::<Vec<_>>());
}

#[test]
fn one_user_has_so_many_leases_and_the_table_so_many_owners() {
    let cgroups: Vec<_> = (10..40).map(|uid| (2, format!("user-{uid}.slice"))).collect();
    let cgroups: Vec<_> =
        [(1, "user.slice")].into_iter().chain(cgroups.iter().map(|(p, n)| (*p, n.as_str()))).collect();
    let (nodes, now) = (nodes(&cgroups), Instant::now());
    let mut remotes = Remotes::default();
    for i in 0..LEASES {
        remotes.ask(&format!("{SLICE}/{i}"), Some(7), true, now).unwrap();
    }
    assert!(remotes.ask(SLICE, Some(7), true, now).is_err());
    remotes.ask(&format!("{SLICE}/1"), Some(7), true, now).unwrap();
    remotes.ask("/user.slice/user-8.slice", Some(8), true, now).unwrap();

    // Those who ask themselves come first.
    let mut remotes = Remotes::default();
    remotes.ask("/user.slice", None, true, now).unwrap();
    assert!(!change(&mut remotes, &nodes, now).contains_key(&Some(39)));
    remotes.ask("/user.slice/user-39.slice", Some(39), true, now).unwrap();
    let counted = change(&mut remotes, &nodes, now);
    assert_eq!(counted.len(), OWNERS);
    assert!(counted.contains_key(&Some(39)) && counted.contains_key(&None));
    let is_complete = |user, path: &str| remotes.rows(user, &[path], 0).is_complete;
    assert!(is_complete(Some(39), "/user.slice/user-39.slice"));
    assert!(!is_complete(Some(38), "/user.slice/user-38.slice") && !is_complete(None, "/user.slice"));
}

#[test]
fn the_deepest_of_too_many_levels_are_left_out() {
    let mut cgroups = vec![(1, "user.slice"), (2, "user-7.slice")];
    cgroups.extend((3..40).map(|above| (above, "d")));
    let (nodes, now) = (nodes(&cgroups), Instant::now());
    let mut remotes = Remotes::default();
    remotes.ask(SLICE, Some(7), true, now).unwrap();
    let Plan::Change(asked) = remotes.plan(&nodes, 128, 1, now) else { panic!() };
    let levels: Vec<_> = asked[&Some(7)].values().copied().collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(levels, (2..34).collect::<Vec<_>>());
    assert!(!remotes.rows(Some(7), &[SLICE], 0).is_complete);
}

#[test]
fn rows_are_by_path_and_a_counter_that_was_set_back_goes_on() {
    let (mut nodes, now) = (users(), Instant::now());
    let mut remotes = Remotes::default();
    remotes.ask(&format!("{SLICE}/a"), Some(7), true, now).unwrap();
    change(&mut remotes, &nodes, now);
    let there = [93, 184, 216, 34];
    assert_eq!(remotes.take_in(set(Some(7), true), &element(4, there, 443), 100), None);
    remotes.take_in(set(Some(7), false), &element(4, there, 443), 10);
    remotes.take_in(set(Some(7), true), &element(6, there, 443), 7);
    nodes.remove(6);
    nodes.remove(4);
    nodes.add(3, b"a", 20, Met::Told, Instant::now());
    remotes.tree_changed();
    let counted = change(&mut remotes, &nodes, now);
    assert_eq!(counted, asked(&[(Some(7), &[(4, 3), (6, 4), (20, 3)])]), "what has gone keeps what it has counted");
    remotes.take_in(set(Some(7), true), &element(20, there, 443), 1000);
    remotes.take_in(set(Some(7), true), &element(20, there, 443), 5); // set back
    let mut rows = remotes.rows(Some(7), &[SLICE], 5).rows;
    rows.sort_by(|a, b| a.cgroup.cmp(&b.cgroup));
    let row = |path: &str, rx_bytes, tx_bytes| Remote {
        cgroup: format!("{SLICE}/{path}"),
        address: there.into(),
        port: 443,
        protocol: 17,
        rx_bytes,
        tx_bytes,
    };
    assert_eq!(rows, [row("a", 10, 1105), row("a/child", 0, 7)]);
    for (user, path) in [(Some(8), SLICE), (Some(7), "/user.slice/user-7.slice/b"), (Some(7), "/user.slice/user-7")] {
        assert_eq!(remotes.rows(user, &[path], 5).rows, [], "{user:?} {path}");
    }
    assert_eq!(remotes.rows(None, &["/"], 5).rows.len(), 2);

    // A lapsed one of several loses what it has counted; the others keep theirs.
    remotes.ask(&format!("{SLICE}/b"), Some(7), true, now + LASTS / 2).unwrap();
    remotes.take_in(set(Some(7), true), &element(5, there, 443), 3);
    change(&mut remotes, &nodes, now + LASTS);
    let ended = remotes.ended();
    assert_eq!(ended, BTreeMap::from([(Some(7), [4, 6, 20].map(Key::of).into())]));
    remotes.forget(Some(7), &ended[&Some(7)]);
    assert_eq!(remotes.rows(Some(7), &[SLICE], 5).rows, [row("b", 0, 3)]);
    assert!(remotes.ended().is_empty());
}

#[test]
fn elements_are_read_whatever_they_are() {
    let key = Key::of(4);
    let v6 = [vec![0x26, 6], vec![0; 13], vec![1]].concat();
    let with = |address: &[u8], rest: &[u8]| [key.bytes().as_slice(), address, rest].concat();
    let read = |is_v4, has_ports, bytes: &[u8]| {
        let set = Set { owner: None, is_sent: true, is_v4, has_ports };
        Booked::read(set, bytes).map(|booked| (booked.address.to_string(), booked.protocol, booked.port))
    };
    let is = |address: &str, protocol, port| Some((address.to_owned(), protocol, port));
    assert_eq!(read(true, true, &with(&[1, 2, 3, 4], &[6, 0, 0, 0, 1, 187, 0, 0])), is("1.2.3.4", 6, 443));
    assert_eq!(read(true, false, &with(&[1, 2, 3, 4], &[1, 0, 0, 0])), is("1.2.3.4", 1, 0));
    assert_eq!(read(false, true, &with(&v6, &[17, 0, 0, 0, 0, 53, 0, 0])), is("2606::1", 17, 53));
    assert_eq!(read(false, false, &with(&v6, &[58, 0, 0, 0])), is("2606::1", 58, 0));
    for length in 0..20 {
        let bytes = with(&[1, 2, 3, 4], &[6, 0, 0, 0, 1, 187, 0, 0]);
        assert_eq!(read(false, true, &bytes[..length]), None, "{length}");
    }
}

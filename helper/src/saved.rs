//! What is saved of a boot for the next one: each cgroup's totals, and whose it was. Pure.
//!
//! Once the computer has started again, most of these cgroups are gone, and nobody could say any more whose they were. So that
//! is written down with each. It touches no file: `last.rs` does.

use std::{collections::HashMap, fmt};

use netglance_dbus::{
    owner,
    sample::{Last, Row},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, SeqAccess, Visitor},
};

use crate::books::{Totals, account_of, plus, row};

/// Bytes of all totals in the file, as [`Total::cost`] has them …
const MOST_BYTES: usize = 8 << 20;
/// … and of one account: see [`account_of`].
const BYTES_AN_ACCOUNT: usize = 2 << 20;
/// What a total takes in the file besides its path, at most: an owner, four counters, brackets and commas.
const NUMBERS: usize = 104;
/// Sees everything.
const ROOT: u32 = 0;

/// One cgroup's: whose it was (`None`: root's), its path, its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Total(Option<u32>, String, Totals);

impl Total {
    /// Bytes that it takes in the file, or somewhat less.
    fn cost(&self) -> usize {
        let escaped = self.1.bytes().map(|byte| match byte {
            b'"' | b'\\' => 2,
            0..0x20 => 6,
            _ => 1,
        });
        escaped.sum::<usize>().saturating_add(NUMBERS)
    }

    fn bytes(&self) -> u64 {
        self.2.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// Whether it can be one of ours.
    fn makes_sense(&self) -> bool {
        self.1.starts_with('/') && !self.1.contains('\0')
    }
}

/// One boot's totals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Which boot.
    #[serde(deserialize_with = "id")]
    pub boot_id: String,
    /// `CLOCK_BOOTTIME` of the look.
    boottime_ns: u64,
    #[serde(deserialize_with = "bounded")]
    totals: Vec<Total>,
}

impl Saved {
    /// Of the boot `boot_id`, by owner and path, and how many there was no room for. Those of an account that has too much are
    /// left out, the smallest first, and nobody else's.
    pub fn new(boot_id: &str, boottime_ns: u64, totals: HashMap<(Option<u32>, String), Totals>) -> (Self, usize) {
        let whose = |owner: Option<u32>| owner.filter(|uid| owner::lasts(*uid));
        let totals = totals.into_iter().map(|((owner, path), totals)| Total(whose(owner), path, totals)).collect();
        let (totals, left_out) = fit(totals);
        (Self { boot_id: boot_id.to_owned(), boottime_ns, totals }, left_out)
    }

    /// What a user may see of it.
    pub fn seen_by(&self, user: u32) -> Last {
        let seen = self.totals.iter().filter(|Total(owner, ..)| user == ROOT || *owner == Some(user));
        // A path that two have had, one after the other, has two totals.
        let mut by_path: HashMap<&str, Totals> = HashMap::new();
        for Total(_, path, totals) in seen {
            let sum = by_path.entry(path).or_default();
            *sum = plus(*sum, *totals);
        }
        let rows: Vec<Row> = by_path.into_iter().map(|(path, totals)| row(path.to_owned(), totals)).collect();
        Last { boot_id: self.boot_id.clone(), boottime_ns: self.boottime_ns, rows }
    }
}

/// As many as there is room for, and how many there is none for.
fn fit(mut totals: Vec<Total>) -> (Vec<Total>, usize) {
    let mut costs: HashMap<&str, usize> = HashMap::new();
    for total in &totals {
        let cost = costs.entry(account_of(&total.1)).or_default();
        *cost = cost.saturating_add(total.cost());
    }
    let all = costs.values().fold(0_usize, |sum, cost| sum.saturating_add(*cost));
    if all <= MOST_BYTES && costs.values().all(|cost| *cost <= BYTES_AN_ACCOUNT) {
        return (totals, 0);
    }
    let most = share(costs.into_values().map(|cost| cost.min(BYTES_AN_ACCOUNT)).collect());
    let before = totals.len();
    totals.sort_unstable_by_key(|total| std::cmp::Reverse(total.bytes()));
    let mut used: HashMap<String, usize> = HashMap::new();
    totals.retain(|total| {
        let account = account_of(&total.1);
        let bytes = used.get(account).copied().unwrap_or_default().saturating_add(total.cost());
        let fits = bytes <= most;
        if fits {
            used.insert(account.to_owned(), bytes);
        }
        fits
    });
    let left_out = before.saturating_sub(totals.len());
    (totals, left_out)
}

/// What each account may have, so that all together have room and those who need least get all that they need.
fn share(mut costs: Vec<usize>) -> usize {
    costs.sort_unstable();
    let (mut room, mut left) = (MOST_BYTES, costs.len());
    for cost in costs {
        let fair = room.checked_div(left).unwrap_or(room);
        if cost > fair {
            return fair;
        }
        (room, left) = (room.saturating_sub(cost), left.saturating_sub(1));
    }
    BYTES_AN_ACCOUNT
}

/// What a boot is called, as far as it can be one.
fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let id = String::deserialize(deserializer)?;
    let is_one = (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    if is_one { Ok(id) } else { Err(D::Error::custom("this is no boot's id")) }
}

/// No more than this file ever has, whatever it is.
fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Total>, D::Error> {
    struct Bounded;
    impl<'de> Visitor<'de> for Bounded {
        type Value = Vec<Total>;

        fn expecting(&self, text: &mut fmt::Formatter) -> fmt::Result {
            text.write_str("the totals of control groups")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Total>, A::Error> {
            let (mut totals, mut room) = (Vec::new(), MOST_BYTES);
            while let Some(total) = items.next_element::<Total>()? {
                let left = room.checked_sub(total.cost()).filter(|_| total.makes_sense());
                room = left.ok_or_else(|| A::Error::custom("these are no totals of control groups, or too many"))?;
                totals.push(total);
            }
            totals.shrink_to_fit();
            Ok(totals)
        }
    }
    deserializer.deserialize_seq(Bounded)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const BOOT: &str = "9a3c1f0e-0000-4000-8000-000000000001";

    fn saved(totals: impl IntoIterator<Item = (Option<u32>, String, u64)>) -> (Saved, usize) {
        let totals = totals.into_iter().map(|(owner, path, bytes)| ((owner, path), [0, bytes, 0, 0]));
        Saved::new(BOOT, 7, totals.collect())
    }

    fn seen(saved: &Saved, user: u32) -> Vec<(String, u64)> {
        let last = saved.seen_by(user);
        assert_eq!((last.boot_id.as_str(), last.boottime_ns), (BOOT, 7));
        let mut rows: Vec<_> = last.rows.into_iter().map(|row| (row.cgroup, row.tx_bytes)).collect();
        rows.sort();
        rows
    }

    #[test]
    fn everybody_sees_what_was_theirs_and_root_sees_all() {
        let dynamic = 61_999;
        let (saved, left_out) = saved(
            [
                (Some(1000), "/a", 1),
                (Some(1001), "/a", 20),
                (Some(1001), "/b", 3),
                (None, "/c", 4),
                (Some(dynamic), "/d", 5),
            ]
            .map(|(owner, path, bytes)| (owner, path.to_owned(), bytes)),
        );
        let of =
            |rows: &[(&str, u64)]| rows.iter().map(|(path, bytes)| ((*path).to_owned(), *bytes)).collect::<Vec<_>>();
        assert_eq!(left_out, 0);
        assert_eq!(seen(&saved, 1000), of(&[("/a", 1)]));
        assert_eq!(seen(&saved, 1001), of(&[("/a", 20), ("/b", 3)]));
        assert_eq!(seen(&saved, 1002), of(&[]));
        // Somebody else's in the next boot.
        assert_eq!(seen(&saved, dynamic), of(&[]));
        assert_eq!(seen(&saved, 0), of(&[("/a", 21), ("/b", 3), ("/c", 4), ("/d", 5)]));
    }

    /// Whoever makes cgroups without number or with names that grow in the file loses the smallest of their own.
    #[test]
    fn whoever_has_too_much_loses_by_it_alone() {
        let of = |uid: u32, count: u64, name: &'static str| {
            (0..count).map(move |i| (Some(uid), format!("/user.slice/user-{uid}.slice/{name}{i}"), i + 1))
        };
        let honest: Vec<_> = of(9, 3000, "honest").collect();
        let hostile = (1..9).flat_map(|uid| of(uid, 3000, "\u{1}".repeat(200).leak()));
        let (saved, left_out) = saved(hostile.chain(honest.clone()));
        assert!(left_out > 0);
        let mut honest: Vec<_> = honest.into_iter().map(|(_, path, bytes)| (path, bytes)).collect();
        honest.sort();
        assert_eq!(seen(&saved, 9), honest);
        let left: Vec<_> = (1..9).map(|uid| seen(&saved, uid).len()).collect();
        assert!(left.iter().all(|count| *count == left[0] && (100..3000).contains(count)), "{left:?}");
        assert!(seen(&saved, 1).iter().all(|(_, bytes)| *bytes > 3000 - left[0] as u64), "the largest stay");
        let bytes = serde_json::to_vec(&saved).unwrap();
        assert!(bytes.len() <= MOST_BYTES + 1000, "{}", bytes.len());
        assert_eq!(serde_json::from_slice::<Saved>(&bytes).unwrap(), saved);
        // One alone.
        let (saved, left_out) = super::tests::saved(of(1, 30_000, "many"));
        assert!(left_out > 10_000);
        assert!(serde_json::to_vec(&saved).unwrap().len() <= BYTES_AN_ACCOUNT + 1000);
    }

    #[test]
    fn a_total_costs_what_it_may_take() {
        for path in ["/", "/a\\x2db.service", "/\u{1}\"\n\t\u{1f}", "/ä€🦀\u{7f}"] {
            let total = Total(Some(u32::MAX), path.to_owned(), [u64::MAX; 4]);
            let taken = serde_json::to_vec(&total).unwrap().len();
            assert!((taken + 1..taken + 20).contains(&total.cost()), "{path:?}: {taken}, {}", total.cost());
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let with = |id: &str, totals: &str| format!(r#"{{"boot_id":"{id}","boottime_ns":1,"totals":[{totals}]}}"#);
        let read = |text: String| serde_json::from_str::<Saved>(&text);
        assert_eq!(read(with("x", r#"[5,"/a",[1,2,3,4]]"#)).unwrap().seen_by(5).rows.len(), 1);
        for (id, totals) in [
            ("", ""),
            ("a\\u0000", ""),
            ("a b", ""),
            ("x", r#"[5,"a",[1,2,3,4]]"#),
            ("x", r#"[5,"/\u0000",[1,2,3,4]]"#),
            ("x", r#"[5,"/a",[1,2,3]]"#),
            ("x", r#"[-5,"/a",[1,2,3,4]]"#),
        ] {
            read(with(id, totals)).unwrap_err();
        }
        read(with(&"x".repeat(65), "")).unwrap_err();
        let many = vec![r#"[5,"/a",[1,2,3,4]]"#; MOST_BYTES / NUMBERS].join(",");
        assert!(read(with("x", &many)).unwrap_err().to_string().contains("too many"));
    }
}

//! A lab with a table and one application.
#![allow(dead_code, reason = "each test file includes this module and uses its own part of it")]
#![allow(clippy::unwrap_used, reason = "test support: a failure is the test's")]

use std::collections::HashMap;

use netglance_dbus::scope::Prefixes;
use netglance_helper::nft::{
    Nft,
    key::Key,
    ruleset::{Counter, Internal, SET_SIZE},
};

use super::lab::{Application, Lab, eventually};

/// A lab with a table and one application.
pub struct Scene {
    /// The table's.
    pub nft: Nft,
    /// The one that is counted.
    pub application: Application,
    /// Its world.
    pub lab: Lab,
}

impl Scene {
    /// In a lab as it is.
    pub fn new() -> Self {
        Self::with(Lab::default())
    }

    /// In a lab that has been changed.
    pub fn with(lab: Lab) -> Self {
        let mut nft = lab.host.inside(Nft::open).unwrap();
        let prefixes = Prefixes::new(&[], &[], &[]);
        let (v4, v6) = (prefixes.internal_v4(), prefixes.internal_v6());
        nft.create(lab.level("app"), SET_SIZE, Internal { v4: &v4, v6: &v6 }).unwrap();
        let application = lab.application("app");
        Self { nft, application, lab }
    }

    /// What is booked to each of the lab's cgroups: received and sent outside, received and sent inside.
    pub fn rows(&mut self) -> HashMap<Key, [u64; 4]> {
        let mut rows: HashMap<Key, [u64; 4]> = HashMap::new();
        for (i, counter) in Counter::ALL.into_iter().enumerate() {
            let mut elements = Vec::new();
            self.nft.read(counter, &mut elements).unwrap();
            for element in elements {
                rows.entry(element.key).or_default()[i] = element.bytes;
            }
        }
        let labs = self.lab.keys();
        rows.retain(|key, _| labs.contains(key));
        rows
    }

    /// What is booked to the application; to nobody else is anything.
    pub fn booked(&mut self) -> [u64; 4] {
        let mut rows = self.rows();
        let own = rows.remove(&self.application.key).unwrap_or_default();
        assert!(rows.is_empty(), "booked to others: {rows:?}");
        own
    }

    /// Runs each task, and waits until as much is booked as the peer has counted, but for `missing`.
    #[track_caller]
    pub fn check_but(&mut self, tasks: &[&str], missing: [u64; 4]) -> [u64; 4] {
        for task in tasks {
            self.application.run(task);
        }
        eventually(&format!("what is booked is what the peer counted, but for {missing:?}, after {tasks:?}"), || {
            let (booked, truth) = (self.booked(), self.lab.truth());
            let expected = std::array::from_fn(|i| truth[i].wrapping_sub(missing[i]));
            if booked == expected { Ok(truth) } else { Err(format!("booked {booked:?}, the peer counted {truth:?}")) }
        })
    }

    /// The same, with nothing missing.
    #[track_caller]
    pub fn check(&mut self, tasks: &[&str]) -> [u64; 4] {
        self.check_but(tasks, [0; 4])
    }
}

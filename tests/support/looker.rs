//! A process in a [`World`] that looks when it is told to, with a real monitor, and says what it has seen. It is the test program
//! itself, which a test called `looker` has serve.
#![allow(clippy::unwrap_used, reason = "test support: a failure is the test's")]

use std::{io::stdin, marker::PhantomData};

use netglance::look::monitor::Monitor;
use serde::{Serialize, de::DeserializeOwned};

use crate::support::{Program, World};

/// Set for the process that looks and is no test.
const LOOKER: &str = "NETGLANCE_LOOKER";

/// Says what `look` makes of each line, which is to be a list; returns at once in a process that is a test.
pub fn serve<T: Serialize>(mut look: impl AsyncFnMut(&mut Monitor, &str) -> T) {
    if std::env::var_os(LOOKER).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut monitor = Monitor::open(None).await.unwrap();
        for line in stdin().lines().map_while(Result::ok) {
            let seen = look(&mut monitor, &line).await;
            // In a line of its own: the test's harness leaves its line open.
            println!("\n{}", serde_json::to_string(&seen).unwrap());
        }
    });
}

/// Of what it says: lists of these.
pub struct Looker<T>(Program, usize, PhantomData<T>);

impl<T: DeserializeOwned> Looker<T> {
    pub fn new(world: &World) -> Self {
        let program = std::env::current_exe().unwrap();
        let arguments = ["looker", "--exact", "--nocapture"];
        Self(world.netglance_with(&[format!("{LOOKER}=1")], &program, &arguments), 0, PhantomData)
    }

    /// What it sees by this line.
    pub fn sees(&mut self, line: &str) -> Vec<T> {
        self.0.tell(line);
        self.1 += 1;
        let count = self.1;
        self.0.wait("what it sees", |program| {
            let lines: Vec<_> = program.stdout().into_iter().filter(|line| line.starts_with('[')).collect();
            lines.get(count - 1).map(|line| serde_json::from_str(line).unwrap())
        })
    }
}

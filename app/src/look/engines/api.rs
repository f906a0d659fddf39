//! The API of docker, which podman has too, on a unix socket.
use std::path::PathBuf;

use super::{Engine, State, Teller};

/// A socket with that API.
#[derive(Clone, Debug)]
pub struct Socket {
    pub path: PathBuf,
    pub engine: Engine,
    pub owner: u32,
    pub before: Vec<PathBuf>,
}

impl Socket {
    pub async fn follow(self, mut teller: Teller) {
        loop {
            teller.begin();
            teller.tell(State::Absent);
            teller.asked().await;
        }
    }
}

//! To come.
use super::{State, Teller};

pub const NAME: &str = "org.freedesktop.machine1";

pub async fn follow(mut teller: Teller) {
    loop {
        teller.begin();
        teller.tell(State::Absent);
        teller.asked().await;
    }
}

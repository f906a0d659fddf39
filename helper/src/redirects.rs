//! What makes this host's packets go elsewhere than their header says, and when that changes: rules that translate, and the
//! routing policy's rules for marks. No polling: the kernel's notifications say that something has changed, and then it is
//! looked at anew.
//!
//! A busy firewall changes its rules all the time. So what was heard is taken in at most every 200 ms, and a look is
//! followed by a rest of twenty times as long as it took.

use std::{
    collections::BTreeSet,
    os::fd::{AsFd as _, BorrowedFd},
    time::{Duration, Instant},
};

use netglance_dbus::{
    netlink::{Error, Heard, Socket, Waiting},
    onlink::PolicyRoute,
};

use crate::nft::{ruleset::Redirected, translation};

mod policy;

pub use policy::MOST_MARKED;

/// What is heard is taken in so often at most.
pub const REST: Duration = Duration::from_millis(200);
/// So long at a time, and no longer than a twentieth of the time since the last one.
const STEP: Duration = Duration::from_millis(10);
/// A look is followed by so many times what it took: a twentieth of a core at most.
const LOOK_REST: u32 = 20;
/// After the kernel would not answer.
const REFUSED_REST: Duration = Duration::from_secs(5);
/// Looks in a row that others may disturb.
const DISTURBED_LOOKS: u8 = 4;
/// Policy rules that are looked at, the first ones.
const MOST_RULES: usize = 4096;
/// rustix writes protocol 0 as `None`.
const NETLINK_ROUTE: Option<rustix::net::Protocol> = None;
/// Of linux/rtnetlink.h.
const RTM_NEWRULE: u16 = 32;
const RTM_GETRULE: u16 = 34;
/// `RTNLGRP_IPV4_RULE` and `RTNLGRP_IPV6_RULE` as bits.
const RULE_GROUPS: u32 = 1 << 7 | 1 << 18;
/// `NFNLGRP_NFTABLES`.
const NFT_GROUP: u32 = 1 << 6;

/// Follows both.
#[derive(Debug)]
pub struct Redirects {
    translations: Source,
    policy: Source,
    rules: Vec<policy::Rule>,
    /// By what the marks were judged last; `None`: by other rules.
    routes: Option<BTreeSet<PolicyRoute>>,
    redirected: Redirected,
    /// Marks beyond [`MOST_MARKED`].
    left_out: usize,
}

/// Something that is looked at anew whenever its notifications say so.
#[derive(Debug)]
struct Source {
    changes: Socket,
    stale: bool,
    /// Notifications may be waiting for which there was no time.
    backlog: bool,
    taken_in: Instant,
    rested: Instant,
}

impl Redirects {
    /// Starts to listen. The first [`Self::follow`] looks.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            translations: Source::of(Socket::open(Some(rustix::net::netlink::NETFILTER), NFT_GROUP)?),
            policy: Source::of(Socket::open(NETLINK_ROUTE, RULE_GROUPS)?),
            rules: Vec::new(),
            routes: None,
            redirected: Redirected::default(),
            left_out: 0,
        })
    }

    /// What to wait for. One who waits should rest for [`REST`] after each time.
    pub fn events(&self) -> [BorrowedFd<'_>; 2] {
        [self.translations.changes.as_fd(), self.policy.changes.as_fd()]
    }

    /// When to call [`Self::follow`] even though nothing is heard; `None`: no need.
    pub fn due(&self, wanted: bool) -> Option<Instant> {
        [&self.translations, &self.policy].into_iter().filter_map(|source| source.due(wanted)).min()
    }

    /// Takes in what has happened, and looks if anybody wants to know. An error: what was known before holds on, and it is
    /// tried again.
    pub fn follow(&mut self, wanted: bool) -> Result<(), Error> {
        let known = self.redirected.translated;
        let translated = self.translations.follow(wanted, translation::is_of_interest, || look_well(known));
        let rules = self.policy.follow(wanted, |_| true, list_rules);
        if let Some(translated) = translated.as_ref().ok().copied().flatten() {
            self.redirected.translated = translated;
        }
        if let Ok(Some(rules)) = rules {
            (self.rules, self.routes) = (rules, None);
            return translated.map(drop);
        }
        translated?;
        rules.map(drop)
    }

    /// What is redirected, by what is known.
    pub fn now(&mut self, routes: &BTreeSet<PolicyRoute>) -> &Redirected {
        if self.routes.as_ref() != Some(routes) {
            (self.redirected.marked, self.left_out) = policy::marked(&self.rules, routes);
            self.routes = Some(routes.clone());
        }
        &self.redirected
    }

    /// What is wrong, for a person.
    pub fn warning(&self) -> Option<String> {
        (self.left_out > 0).then(|| {
            format!(
                "the routing policy leads more than {MOST_MARKED} marks back to this computer, so traffic with the other \
                 {} may be counted as external",
                self.left_out
            )
        })
    }
}

/// What is redirected on this host now, for one who looks once.
pub fn look(routes: &BTreeSet<PolicyRoute>) -> Result<Redirected, Error> {
    let (translated, _) = look_well(false)?;
    let (marked, _) = policy::marked(&list_rules()?.0, routes);
    Ok(Redirected { translated, marked })
}

/// A list that was disturbed may lack the one rule that matters. What it shows is there.
fn look_well(known: bool) -> Result<(bool, Heard), Error> {
    for _ in 0..DISTURBED_LOOKS {
        let (translated, heard) = translation::look()?;
        if translated || heard == Heard::All {
            return Ok((translated, Heard::All));
        }
    }
    Ok((known, Heard::NotAll))
}

fn list_rules() -> Result<(Vec<policy::Rule>, Heard), Error> {
    let mut rules = Vec::new();
    let mut socket = Socket::open(NETLINK_ROUTE, 0)?;
    let heard = socket.dump(RTM_GETRULE, &[0; 12], |kind, payload| {
        if kind == RTM_NEWRULE && rules.len() < MOST_RULES {
            rules.extend(policy::rule(payload)?);
        }
        Ok(())
    });
    match heard {
        // A kernel without a routing policy.
        Err(Error::Refused(error)) if error.raw_os_error() == Some(EOPNOTSUPP) => Ok((rules, Heard::All)),
        other => other.map(|heard| (rules, heard)),
    }
}

const EOPNOTSUPP: i32 = rustix::io::Errno::OPNOTSUPP.raw_os_error();

impl Source {
    fn of(changes: Socket) -> Self {
        let now = Instant::now();
        Self { changes, stale: true, backlog: false, taken_in: now, rested: now }
    }

    fn due(&self, wanted: bool) -> Option<Instant> {
        let more = self.backlog.then(|| self.taken_in + REST);
        [more, (wanted && self.stale).then_some(self.rested)].into_iter().flatten().min()
    }

    /// Takes in what was heard, a datagram at least and for some 10 ms at most, and looks if there is need to. What was found, if it looked.
    fn follow<T>(
        &mut self,
        wanted: bool,
        is_of_interest: impl Fn(u16) -> bool,
        look: impl FnOnce() -> Result<(T, Heard), Error>,
    ) -> Result<Option<T>, Error> {
        let now = Instant::now();
        self.take_in(now + STEP.min(now.saturating_duration_since(self.taken_in) / LOOK_REST), is_of_interest);
        if !wanted || !self.stale || now < self.rested {
            return Ok(None);
        }
        let begun = Instant::now();
        let found = look();
        let took = begun.elapsed();
        match found {
            Ok((found, heard)) => {
                // What was disturbed is looked at again.
                self.stale = heard == Heard::NotAll;
                self.rested = Instant::now() + REST.max(took * LOOK_REST);
                Ok(Some(found))
            }
            Err(error) => {
                self.rested = Instant::now() + REFUSED_REST;
                Err(error)
            }
        }
    }

    fn take_in(&mut self, end: Instant, is_of_interest: impl Fn(u16) -> bool) {
        self.backlog = false;
        loop {
            let stale = &mut self.stale;
            let taken = self.changes.take(|message| {
                *stale |= is_of_interest(message.kind);
                Ok(())
            });
            match taken {
                Ok(Waiting::Taken) => {}
                Ok(Waiting::Nothing) => break,
                // Whatever it was that could not be heard, a look tells.
                Ok(Waiting::Lost) | Err(Error::Malformed { .. }) => self.stale = true,
                Err(_) => {
                    self.stale = true;
                    break;
                }
            }
            if Instant::now() >= end {
                self.backlog = true;
                break;
            }
        }
        self.taken_in = Instant::now();
    }
}

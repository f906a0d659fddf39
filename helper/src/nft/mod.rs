//! The kernel's side of counting: the table is made, read, changed and removed here and nowhere else.
//!
//! The table belongs to the socket (its port, not the process): it lives until the last descriptor of it is closed, so a
//! socket that systemd keeps for us keeps the counters over a restart. Nothing here waits: the kernel has answered when a
//! request's `send` returns, and what isn't there then never comes. It knows keys of cgroups, not their ids or paths.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use netglance_dbus::netlink::{self, Message, messages};
use netlink_packet_core::{NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR};
use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, netlink as nl, netlink::SocketAddrNetlink, sockopt},
};

use self::{
    key::Key,
    message::{Batch, Element, Kind, Request, Table},
    ruleset::{Counter, ForwardedSet, Internal, LEFTOVER, Owner, Redirected, Set, Standing, TABLE},
};

mod expression;
pub mod key;
pub mod message;
pub mod ruleset;
pub mod translation;

/// Elements that [`Nft::delete`] takes at once: their final counters must fit the socket's buffer, or they are lost.
pub const DELETED_AT_ONCE: usize = 256;
/// The kernel fills at most 32 KiB a dump datagram (netlink_dump in net/netlink/af_netlink.c).
const DATAGRAM_BYTES: usize = 1 << 16;
/// A transaction is one datagram and must fit the buffer; 4 MiB hold some 50,000 prefixes.
const BUFFER_BYTES: usize = 4 << 20;
/// The table of [`Nft::probe`], which never outlives its transaction.
const PROBE_TABLE: &str = "netglance-probe";

/// What goes wrong between us and nf_tables.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on the socket failed.
    #[error("cannot {doing} the nf_tables socket")]
    Socket {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The kernel can't do what the table needs.
    #[error("this kernel does not support {what}{}", in_brackets(sentence))]
    Unsupported {
        /// The part of the table that it refused.
        what: &'static str,
        /// The kernel's own words, where it has some.
        sentence: Option<String>,
        /// The error number.
        source: io::Error,
    },
    /// The kernel refused a request.
    #[error("the kernel refused {what}{}", in_brackets(sentence))]
    Refused {
        /// The request.
        what: &'static str,
        /// The kernel's own words, where it has some.
        sentence: Option<String>,
        /// The error number.
        source: io::Error,
    },
    /// A reply that makes no sense.
    #[error("cannot understand the kernel's answer about {what}")]
    Malformed {
        /// The request.
        what: &'static str,
        /// What it said.
        source: netlink::Error,
    },
    /// The kernel said nothing, or stopped in the middle.
    #[error("the kernel gave no answer about {what}")]
    NoAnswer {
        /// The request.
        what: &'static str,
    },
    /// Counters were deleted and not all of their last values came back.
    #[error("{deleted} counters were deleted, but only {} last values came", last.len())]
    Lost {
        /// How many were deleted.
        deleted: usize,
        /// Those that came.
        last: Vec<(Counter, Element)>,
    },
    /// An attribute longer than 64 KiB.
    #[error("a request is too long for netlink")]
    TooLong,
    /// A descriptor that was handed over is something else.
    #[error("the socket handed over is not an nf_tables socket")]
    NotOurs,
}

fn in_brackets(sentence: &Option<String>) -> String {
    sentence.as_ref().map(|s| format!(" ({s})")).unwrap_or_default()
}

impl Error {
    fn socket(doing: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self::Socket { doing, source: errno.into() }
    }

    fn malformed(what: &'static str) -> impl Fn(netlink::Error) -> Self {
        move |source| Self::Malformed { what, source }
    }

    /// What was asked for does not exist.
    pub fn is_absent(&self) -> bool {
        self.has_errno(Errno::NOENT)
    }

    /// A set has no room for what should be added.
    pub fn is_full(&self) -> bool {
        self.has_errno(Errno::NFILE)
    }

    /// This kernel can't do it here.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Unsupported { .. }) || self.has_errno(Errno::OPNOTSUPP)
    }

    /// What should be made exists already.
    pub fn is_occupied(&self) -> bool {
        self.has_errno(Errno::EXIST) || self.has_errno(Errno::PERM)
    }

    fn has_errno(&self, wanted: Errno) -> bool {
        match self {
            Self::Refused { source, .. } | Self::Socket { source, .. } => {
                source.raw_os_error() == Some(wanted.raw_os_error())
            }
            _ => false,
        }
    }

    /// In a dry run everything but want of rights, memory or space says what the kernel does not know.
    fn in_probe(self) -> Self {
        let environment = [Errno::PERM, Errno::NOMEM, Errno::NOBUFS, Errno::MSGSIZE, Errno::EXIST];
        match self {
            Self::Refused { what, sentence, source }
                if !environment.iter().any(|e| source.raw_os_error() == Some(e.raw_os_error())) =>
            {
                Self::Unsupported { what, sentence, source }
            }
            other => other,
        }
    }
}

/// The socket that owns the table, or will.
#[derive(Debug)]
pub struct Nft {
    fd: OwnedFd,
    port: u32,
    seq: u32,
    buffer: Vec<u8>,
}

impl AsFd for Nft {
    /// What to hand to the keeper of descriptors: the table lives as long as a copy of it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Nft {
    /// Opens a socket that owns nothing yet, in the network namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        let failed = |doing| move |source| Error::Socket { doing, source };
        let mut socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_NETFILTER).map_err(failed("open"))?;
        socket.bind_auto().map_err(failed("bind"))?;
        // These last as long as the socket, in whatever process it is used.
        socket.set_cap_ack(true).map_err(failed("set up"))?;
        socket.set_ext_ack(true).map_err(failed("set up"))?;
        let fd = socket.as_fd().try_clone_to_owned().map_err(failed("duplicate"))?;
        let nft = Self::on(fd)?;
        // Above the host's limits where we may; in a user namespace we may not, and the limits have to do.
        if sockopt::set_socket_send_buffer_size_force(&nft.fd, BUFFER_BYTES).is_err() {
            sockopt::set_socket_send_buffer_size(&nft.fd, BUFFER_BYTES).map_err(Error::socket("set up"))?;
        }
        if sockopt::set_socket_recv_buffer_size_force(&nft.fd, BUFFER_BYTES).is_err() {
            sockopt::set_socket_recv_buffer_size(&nft.fd, BUFFER_BYTES).map_err(Error::socket("set up"))?;
        }
        Ok(nft)
    }

    /// Goes on with a socket that an earlier process has opened.
    pub fn adopt(fd: OwnedFd) -> Result<Self, Error> {
        if sockopt::socket_protocol(&fd).map_err(|_| Error::NotOurs)? != Some(nl::NETFILTER) {
            return Err(Error::NotOurs);
        }
        let mut nft = Self::on(fd)?;
        // Answers to the earlier process that nobody has read.
        while nft.receive("leftovers")?.is_some() {}
        Ok(nft)
    }

    fn on(fd: OwnedFd) -> Result<Self, Error> {
        let address = rustix::net::getsockname(&fd).map_err(Error::socket("name"))?;
        let port = SocketAddrNetlink::try_from(address).map_err(|_| Error::NotOurs)?.pid();
        Ok(Self { fd, port, seq: 0, buffer: vec![0; DATAGRAM_BYTES] })
    }

    /// Asks the kernel whether it could make the table, which is there for nobody at any time.
    pub fn probe(&mut self) -> Result<(), Error> {
        self.commit(&ruleset::probe(PROBE_TABLE, 1)).map_err(Error::in_probe).map(drop)
    }

    /// Whether levels of cgroups count from a root below the real one, that of the caller's cgroup namespace. The kernel adds how
    /// deep that root is to a rule's level, and takes no sum above 255 (7f3287db6543; before, all counted from the real root).
    pub fn counts_from_below(&mut self) -> Result<bool, Error> {
        match self.commit(&ruleset::probe_level(PROBE_TABLE, u8::MAX)) {
            Err(error) if error.is_unsupported() => Ok(true),
            other => other.map(|_| false),
        }
    }

    /// Makes the table. Fails where one of its name exists, of whatever owner.
    pub fn create(&mut self, levels: u8, set_size: u32, internal: Internal) -> Result<(), Error> {
        self.commit(&ruleset::create(TABLE, levels, set_size, internal)).map(drop)
    }

    /// What is said of a table; `None` where there is no such table.
    fn table(&mut self, name: &str) -> Result<Option<Table>, Error> {
        let mut table = None;
        let found = self.ask(&ruleset::get_table(name), |message| {
            if message.kind == Kind::NewTable.on_wire() {
                table = Some(message::table(message.payload)?);
            }
            Ok(())
        });
        match found {
            Err(error) if error.is_absent() => Ok(None),
            other => other.map(|_| table),
        }
    }

    /// Deletes what a saved ruleset has brought back of such a table, or an earlier version has left to this socket. Whether
    /// there was anything.
    pub fn clear_leftover(&mut self) -> Result<bool, Error> {
        let Some(table) = self.table(LEFTOVER)? else { return Ok(false) };
        let is_ours = table.comment.as_deref() == Some(ruleset::TABLE_COMMENT) && table.owner.is_none();
        if !is_ours && table.owner != Some(self.port) {
            return Ok(false);
        }
        self.commit(&ruleset::delete_table(LEFTOVER))?;
        Ok(true)
    }

    /// The levels of the table that this socket owns; `None` where it owns none.
    pub fn levels(&mut self) -> Result<Option<u8>, Error> {
        if self.table(TABLE)?.and_then(|table| table.owner) != Some(self.port) {
            return Ok(None);
        }
        let mut rules = 0;
        self.dump(&ruleset::dump_rules(TABLE), |message| {
            if message.kind == Kind::NewRule.on_wire() {
                let rule = message::rule(message.payload)?;
                rules += usize::from(ruleset::is_level_rule(Counter::TxExternal, &rule));
            }
            Ok(())
        })?;
        Ok(Some(ruleset::levels_of(rules)))
    }

    /// Adds rules for the levels above `from` up to `to`.
    pub fn grow(&mut self, from: u8, to: u8) -> Result<(), Error> {
        if to > from { self.commit(&ruleset::grow(TABLE, from, to)).map(drop) } else { Ok(()) }
    }

    /// Books what is below these cgroups (level and id) to them, and all else to its own cgroup again. The table has so many
    /// levels.
    pub fn set_opaque(&mut self, levels: u8, opaque: &BTreeSet<(u8, u64)>) -> Result<(), Error> {
        let rules = self.rules()?;
        self.commit(&ruleset::entry(TABLE, &rules, levels, opaque)).map(drop)
    }

    /// Puts other internal prefixes in place, all at once; counters stay.
    pub fn replace_internal(&mut self, internal: Internal) -> Result<(), Error> {
        self.commit(&ruleset::replace_internal(TABLE, internal)).map(drop)
    }

    /// Writes the rules for what is redirected on this host in the place of those that are there.
    pub fn redirect(&mut self, redirected: &Redirected) -> Result<(), Error> {
        self.commit(&ruleset::redirect(TABLE, redirected)).map(drop)
    }

    /// Reads one set into `elements`, in the place of what was there. Whether nobody changed the ruleset meanwhile: another
    /// program's transaction can't touch our table, but the kernel promises nothing about a dump into which one fell.
    ///
    /// Packets that make new elements meanwhile don't show in that, and may cost the dump an element, or repeat one.
    pub fn read(&mut self, counter: Counter, elements: &mut Vec<Element>) -> Result<bool, Error> {
        elements.clear();
        let mut steady = Steady::default();
        self.dump(&ruleset::dump_counters(TABLE, counter), |message| {
            steady.see(message);
            if message.kind == Kind::NewSetElem.on_wire() {
                elements.extend(message::elements(message.payload)?.elements);
            }
            Ok(())
        })?;
        Ok(!steady.disturbed)
    }

    /// What stands in the table that is about counting by remote, and what that leads from.
    pub fn standing(&mut self) -> Result<Standing, Error> {
        let (mut chains, mut sets) = (Vec::new(), Vec::new());
        self.dump(&ruleset::dump_chains(), |message| {
            if message.kind == Kind::NewChain.on_wire() && message::is_in_table(message.payload, TABLE)? {
                chains.push(message::name(message.payload, Kind::NewChain)?);
            }
            Ok(())
        })?;
        self.dump(&ruleset::dump_sets(TABLE), |message| {
            if message.kind == Kind::NewSet.on_wire() {
                sets.push(message::name(message.payload, Kind::NewSet)?);
            }
            Ok(())
        })?;
        Ok(Standing { rules: self.rules()?, chains, sets })
    }

    /// Counts these cgroups by remote, by owner and with their levels, and nothing else by remote. What rules look into is made
    /// before; then all rules change in one transaction. `translated`: see [`Redirected::translated`].
    pub fn count_by_remote(
        &mut self,
        asked: &BTreeMap<Owner, BTreeMap<Key, u8>>,
        translated: bool,
    ) -> Result<(), Error> {
        let standing = self.standing()?;
        for batch in [
            ruleset::prepare_remotes(TABLE, &standing, asked),
            ruleset::count_by_remote(TABLE, &standing, asked, translated),
        ] {
            if !batch.requests.is_empty() {
                self.commit(&batch)?;
            }
        }
        Ok(())
    }

    /// Reads a set of remotes: gives each element's key and bytes. See [`Self::read`] for what may be missing.
    pub fn read_remotes(&mut self, set: Set, each: impl FnMut(&[u8], u64)) -> Result<bool, Error> {
        self.read_set(&set.name(), each)
    }

    fn read_set(&mut self, name: &str, mut each: impl FnMut(&[u8], u64)) -> Result<bool, Error> {
        let mut steady = Steady::default();
        self.dump(&ruleset::dump_set(TABLE, name), |message| {
            steady.see(message);
            if message.kind == Kind::NewSetElem.on_wire() {
                message::each_element(message.payload, |key, _, bytes| {
                    each(key, bytes);
                    Ok(())
                })?;
            }
            Ok(())
        })?;
        Ok(!steady.disturbed)
    }

    /// Counts what is forwarded, if the table doesn't yet. Not a part of what makes the table: a kernel that lacks something for this
    /// counts all else.
    pub fn count_forwarded(&mut self) -> Result<(), Error> {
        let is_there = self.standing()?.chains.iter().any(|chain| chain == ruleset::FORWARD);
        if is_there {
            return Ok(());
        }
        match self.count_forwarded_as(true) {
            Err(error) if error.is_unsupported() || error.has_errno(Errno::NOENT) => self.count_forwarded_as(false),
            other => other,
        }
    }

    /// As [`Self::count_forwarded`] in a table that doesn't yet. `asks_routes`: see [`ruleset::count_forwarded`].
    pub fn count_forwarded_as(&mut self, asks_routes: bool) -> Result<(), Error> {
        self.commit(&ruleset::count_forwarded(TABLE, asks_routes)).map(drop)
    }

    /// Reads what was forwarded: gives each element's address and bytes. See [`Self::read`] for what may be missing.
    pub fn read_forwarded(&mut self, set: ForwardedSet, each: impl FnMut(&[u8], u64)) -> Result<bool, Error> {
        self.read_set(&set.name(), each)
    }

    /// Deletes elements of a set of remotes, which must exist.
    pub fn delete_remotes(&mut self, set: Set, keys: &[Vec<u8>]) -> Result<(), Error> {
        if keys.is_empty() { Ok(()) } else { self.commit(&ruleset::delete_remotes(TABLE, set, keys)).map(drop) }
    }

    /// Does what `nft reset` does, which whoever may read the counters may do as well. `false`: this kernel can't.
    pub fn reset_counters(&mut self) -> Result<bool, Error> {
        for counter in Counter::ALL {
            if !self.reset_set(counter.name())? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// As [`Self::reset_counters`], of any set.
    pub fn reset_set(&mut self, set: &str) -> Result<bool, Error> {
        match self.dump(&ruleset::reset_set(TABLE, set), |_| Ok(())) {
            Err(error) if error.is_unsupported() || error.has_errno(Errno::INVAL) => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Adds elements for these cgroups to all four sets, where there are none.
    pub fn add(&mut self, keys: &[Key]) -> Result<(), Error> {
        if keys.is_empty() { Ok(()) } else { self.commit(&ruleset::add_elements(TABLE, keys)).map(drop) }
    }

    /// Deletes elements, at most [`DELETED_AT_ONCE`] of them, and returns what each had counted in the end. All must exist:
    /// the kernel deletes all or none. Should a packet come to one of them afterwards, it begins anew at zero.
    pub fn delete(&mut self, doomed: &[(Counter, Key)]) -> Result<Vec<(Counter, Element)>, Error> {
        let doomed = doomed.get(..DELETED_AT_ONCE).unwrap_or(doomed);
        if doomed.is_empty() {
            return Ok(Vec::new());
        }
        let last = self.commit(&ruleset::delete_elements(TABLE, doomed))?;
        if last.len() == doomed.len() { Ok(last) } else { Err(Error::Lost { deleted: doomed.len(), last }) }
    }

    /// Deletes the table and all its counters.
    pub fn delete_table(&mut self) -> Result<(), Error> {
        self.commit(&ruleset::delete_table(TABLE)).map(drop)
    }

    /// The rules of the table of our name, whoever owns it, chain by chain; none where there is no such table.
    pub fn rules(&mut self) -> Result<Vec<message::Rule>, Error> {
        let mut rules = Vec::new();
        self.dump(&ruleset::dump_rules(TABLE), |message| {
            if message.kind == Kind::NewRule.on_wire() {
                rules.push(message::rule(message.payload)?);
            }
            Ok(())
        })?;
        Ok(rules)
    }

    /// What is in a set of the table of our name, whoever owns it, as the kernel tells it and sorted: to compare.
    pub fn keys(&mut self, set: &str) -> Result<Vec<Vec<u8>>, Error> {
        let mut keys = Vec::new();
        self.dump(&ruleset::dump_set(TABLE, set), |message| {
            if message.kind == Kind::NewSetElem.on_wire() {
                keys.extend(message::raw_elements(message.payload)?);
            }
            Ok(())
        })?;
        keys.sort();
        Ok(keys)
    }

    /// Carries out a transaction. Returns the elements that the kernel echoed.
    pub(crate) fn commit(&mut self, batch: &Batch) -> Result<Vec<(Counter, Element)>, Error> {
        let what = "the transaction as a whole";
        let first = self.seq.wrapping_add(1);
        let (bytes, last) = batch.encode(first).ok_or(Error::TooLong)?;
        self.seq = last.wrapping_add(1);
        let (mut echoed, mut acknowledged) = (Vec::new(), false);
        self.exchange(what, &bytes, |message| {
            let about = batch.what(first, message.seq);
            // An echo's number is 0 in newer kernels (6.18 is one). Anything else of another number was left behind earlier.
            if message.seq.wrapping_sub(first) > last.wrapping_sub(first) && message.seq != 0 {
                return Ok(());
            }
            if message.kind == NLMSG_ERROR {
                refused(message, about)?;
                acknowledged |= message.seq == last;
            } else if message.kind == Kind::DelSetElem.on_wire() {
                let list = message::elements(message.payload).map_err(Error::malformed(about))?;
                if let Some(counter) = Counter::ALL.into_iter().find(|c| c.name() == list.set) {
                    echoed.extend(list.elements.into_iter().map(|element| (counter, element)));
                }
            }
            Ok(())
        })?;
        if acknowledged { Ok(echoed) } else { Err(Error::NoAnswer { what }) }
    }

    /// Sends one request outside a transaction and gives what comes back to `each`. Whether the end of a list came.
    fn ask(
        &mut self,
        request: &Request,
        mut each: impl FnMut(&Message) -> Result<(), netlink::Error>,
    ) -> Result<bool, Error> {
        let what = request.what();
        self.seq = self.seq.wrapping_add(1);
        let seq = self.seq;
        let bytes = request.encode(seq).ok_or(Error::TooLong)?;
        let mut done = false;
        self.exchange(what, &bytes, |message| {
            match message.kind {
                _ if message.seq != seq => {} // left behind by an earlier request
                NLMSG_ERROR => refused(message, what)?,
                kind => {
                    done |= kind == NLMSG_DONE;
                    each(message).map_err(Error::malformed(what))?;
                }
            }
            Ok(())
        })?;
        Ok(done)
    }

    /// As [`Self::ask`], for a list that has an end.
    fn dump(
        &mut self,
        request: &Request,
        each: impl FnMut(&Message) -> Result<(), netlink::Error>,
    ) -> Result<(), Error> {
        if self.ask(request, each)? { Ok(()) } else { Err(Error::NoAnswer { what: request.what() }) }
    }

    /// Sends `bytes` and reads all that comes back, even after an error: a dump that is not read to its end would block the
    /// next one. The first error is returned.
    fn exchange(
        &mut self,
        what: &'static str,
        bytes: &[u8],
        mut each: impl FnMut(&Message) -> Result<(), Error>,
    ) -> Result<(), Error> {
        rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, bytes, SendFlags::empty()))
            .map_err(Error::socket("write to"))?;
        let mut outcome = Ok(());
        loop {
            match self.receive(what) {
                Ok(None) => return outcome,
                Ok(Some(datagram)) => {
                    for message in messages(datagram) {
                        outcome =
                            outcome.and(message.map_err(Error::malformed(what)).and_then(|message| each(&message)));
                    }
                }
                Err(error) if matches!(error, Error::Malformed { .. }) || error.has_errno(Errno::NOBUFS) => {
                    outcome = outcome.and(Err(error));
                }
                Err(error) => return outcome.and(Err(error)),
            }
        }
    }

    /// The next datagram, `None` when there is none.
    fn receive(&mut self, what: &'static str) -> Result<Option<&[u8]>, Error> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let length = match rustix::io::retry_on_intr(|| rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), flags))
        {
            Ok((_, length)) => length,
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(Error::socket("read from")(errno)),
        };
        match self.buffer.get(..length) {
            Some(datagram) => Ok(Some(datagram)),
            None => Err(Error::malformed(what)(netlink::Error::malformed("datagram longer than the buffer", &[]))),
        }
    }
}

/// Whether one and the same ruleset stands behind all messages of a dump.
#[derive(Debug, Default)]
struct Steady {
    generation: Option<u16>,
    disturbed: bool,
}

impl Steady {
    fn see(&mut self, message: &Message) {
        self.disturbed |= message.flags & NLM_F_DUMP_INTR != 0;
        if message.kind != NLMSG_DONE
            && let Some(now) = message::generation(message.payload)
        {
            self.disturbed |= *self.generation.get_or_insert(now) != now;
        }
    }
}

/// The error that an `NLMSG_ERROR` carries, unless it acknowledges.
fn refused(message: &Message, what: &'static str) -> Result<(), Error> {
    let answer = message::answer(message.payload, message.flags).map_err(Error::malformed(what))?;
    let source = io::Error::from_raw_os_error(answer.errno);
    if answer.errno == 0 { Ok(()) } else { Err(Error::Refused { what, sentence: answer.sentence, source }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_under_which_the_ruleset_changed_is_told() {
        let check = |messages: &[(u16, [u8; 4])], disturbed| {
            let mut steady = Steady::default();
            for (flags, payload) in messages {
                steady.see(&Message { kind: Kind::NewSetElem.on_wire(), flags: *flags, seq: 1, payload });
            }
            assert_eq!(steady.disturbed, disturbed, "{messages:?}");
        };
        check(&[], false);
        check(&[(2, [1, 0, 0, 7]), (2, [1, 0, 0, 7])], false);
        check(&[(2, [1, 0, 0, 7]), (2, [1, 0, 0, 8])], true);
        check(&[(2, [1, 0, 0, 7]), (2, [1, 0, 1, 7]), (2, [1, 0, 0, 7])], true);
        check(&[(2 | NLM_F_DUMP_INTR, [1, 0, 0, 7])], true);
        check(&[(2, [1, 0, 0, 7]), (2 | NLM_F_DUMP_INTR, [1, 0, 0, 7])], true);
        // The end of a list carries an error code in that place.
        let end = |flags| Message { kind: NLMSG_DONE, flags, seq: 1, payload: &[0; 4] };
        for (flags, disturbed) in [(2, false), (2 | NLM_F_DUMP_INTR, true)] {
            let mut steady = Steady { generation: Some(7), disturbed: false };
            steady.see(&end(flags));
            assert_eq!(steady.disturbed, disturbed);
        }
    }
}

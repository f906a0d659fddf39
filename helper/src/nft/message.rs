//! nf_tables netlink messages as bytes: attributes and batches written, set elements and refusals read. Pure.
//!
//! It knows the format (linux/netfilter/nf_tables.h and nfnetlink.h), not what our table looks like.

use netglance_dbus::netlink::Error;
use netlink_packet_core::{
    Emitable, ErrorBuffer, NLA_F_NESTED, NLA_HEADER_SIZE, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_REQUEST,
    NLMSG_ALIGNTO, NetlinkHeader, NlaBuffer, NlasIterator,
};

use super::key::Key;

/// `NFPROTO_INET`: IPv4 and IPv6 in one table.
const FAMILY: u8 = 1;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NLMSG_HEADER: usize = 16;
/// `struct nfgenmsg`: family, version, res_id.
const NFGEN_HEADER: usize = 4;
/// `NLMSGERR_ATTR_MSG`: the kernel's sentence about an error.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// What a message asks for: `enum nf_tables_msg_types`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum Kind {
    NewTable = 0,
    GetTable = 1,
    DelTable = 2,
    NewChain = 3,
    GetChain = 4,
    DelChain = 5,
    NewRule = 6,
    GetRule = 7,
    DelRule = 8,
    NewSet = 9,
    GetSet = 10,
    DelSet = 11,
    NewSetElem = 12,
    GetSetElem = 13,
    DelSetElem = 14,
    GetSetElemReset = 33,
}

impl Kind {
    /// `nlmsg_type`.
    pub const fn on_wire(self) -> u16 {
        NFNL_SUBSYS_NFTABLES << 8 | self as u16
    }
}

/// A list of attributes being written. All numbers of nf_tables are big-endian.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    bytes: Vec<u8>,
    /// An attribute was longer than `nla_len` can say; such a message is never sent.
    too_long: bool,
}

impl Attributes {
    /// Appends an attribute of raw bytes.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let Ok(length) = u16::try_from(value.len() + NLA_HEADER_SIZE) else {
            self.too_long = true;
            return self;
        };
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// What is written so far.
    #[cfg(test)]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends a big-endian number.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Appends a big-endian number of 64 bits.
    pub fn u64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Appends a string with its terminating zero.
    pub fn string(&mut self, kind: u16, value: &str) -> &mut Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Appends an attribute made of attributes.
    pub fn nest(&mut self, kind: u16, write: impl FnOnce(&mut Attributes)) -> &mut Self {
        let mut inner = Attributes::default();
        write(&mut inner);
        self.too_long |= inner.too_long;
        self.bytes(kind | NLA_F_NESTED, &inner.bytes)
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    kind: u16,
    flags: u16,
    resource: u16,
    attributes: Attributes,
    what: &'static str,
}

impl Request {
    /// A request with `NLM_F_*` flags. `what` names it in an error: "the set of internal prefixes".
    pub fn new(kind: Kind, flags: u16, what: &'static str, write: impl FnOnce(&mut Attributes)) -> Self {
        let mut attributes = Attributes::default();
        write(&mut attributes);
        Self { kind: kind.on_wire(), flags, resource: 0, attributes, what }
    }

    fn frame(kind: u16) -> Self {
        let what = "the transaction as a whole";
        Self { kind, flags: 0, resource: NFNL_SUBSYS_NFTABLES, attributes: Attributes::default(), what }
    }

    /// What the request is about.
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// The bytes to send. `None`: an attribute is too long for the format.
    pub fn encode(&self, seq: u32) -> Option<Vec<u8>> {
        self.encode_with(seq, 0)
    }

    fn encode_with(&self, seq: u32, more_flags: u16) -> Option<Vec<u8>> {
        if self.attributes.too_long {
            return None;
        }
        let length = NLMSG_HEADER + NFGEN_HEADER + self.attributes.bytes.len();
        let mut header = NetlinkHeader::default();
        header.length = u32::try_from(length).ok()?;
        header.message_type = self.kind;
        header.flags = self.flags | more_flags | NLM_F_REQUEST;
        header.sequence_number = seq;
        let mut bytes = vec![0; NLMSG_HEADER];
        header.emit(&mut bytes);
        // The frame of a batch belongs to no family.
        bytes.extend([if self.resource == 0 { FAMILY } else { 0 }, 0]);
        bytes.extend(self.resource.to_be_bytes());
        bytes.extend(&self.attributes.bytes);
        Some(bytes)
    }
}

/// Requests that the kernel carries out all together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In the order in which they are carried out.
    pub requests: Vec<Request>,
}

impl Batch {
    /// The bytes of the transaction, which must go out in one datagram; its numbers go from `first_seq` to the returned
    /// one, which is acknowledged. Only that one is: on an error the kernel reports each bad request by itself.
    pub fn encode(&self, first_seq: u32) -> Option<(Vec<u8>, u32)> {
        let mut seq = first_seq;
        let mut bytes = Request::frame(NFNL_MSG_BATCH_BEGIN).encode(seq)?;
        for (i, request) in self.requests.iter().enumerate() {
            seq = seq.wrapping_add(1);
            let flags = if i + 1 == self.requests.len() { NLM_F_ACK } else { 0 };
            bytes.extend(request.encode_with(seq, flags)?);
        }
        bytes.extend(Request::frame(NFNL_MSG_BATCH_END).encode(seq.wrapping_add(1))?);
        Some((bytes, seq))
    }

    /// What the request with the number `seq` of a transaction encoded from `first_seq` is about.
    pub fn what(&self, first_seq: u32, seq: u32) -> &'static str {
        let index = usize::try_from(seq.wrapping_sub(first_seq)).ok().and_then(|at| at.checked_sub(1));
        index.and_then(|at| self.requests.get(at)).map_or("the transaction as a whole", Request::what)
    }
}

/// What the kernel booked to one cgroup in one set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Whose it is.
    pub key: Key,
    /// IP packets, or aggregates of them.
    pub packets: u64,
    /// Bytes of IP packets, headers included.
    pub bytes: u64,
}

/// Some elements of one set, out of a dump or an echo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elements {
    /// The set's name.
    pub set: String,
    /// In no order that means anything.
    pub elements: Vec<Element>,
}

/// Reads a `NEWSETELEM` or `DELSETELEM` payload of a set keyed by cgroup with counters.
pub fn elements(payload: &[u8]) -> Result<Elements, Error> {
    let mut elements = Vec::new();
    let set = each_element(payload, |key, packets, bytes| {
        let key = key.try_into().map_err(|_| Error::malformed("key of a cgroup", key))?;
        elements.push(Element { key: Key::from_bytes(key), packets, bytes });
        Ok(())
    })?;
    Ok(Elements { set, elements })
}

/// Reads such a payload of any set with counters: gives each element's key, packets and bytes, and returns the set's name.
pub fn each_element(
    payload: &[u8],
    mut each: impl FnMut(&[u8], u64, u64) -> Result<(), Error>,
) -> Result<String, Error> {
    let mut set = String::new();
    for attribute in attributes(payload.get(NFGEN_HEADER..).ok_or_else(|| Error::malformed("nfgenmsg", payload))?) {
        let attribute = attribute?;
        match attribute.kind() {
            // NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_ELEMENTS
            2 => set = string(attribute.value()),
            3 => {
                for item in attributes(attribute.value()) {
                    element(item?.value(), &mut each)?;
                }
            }
            _ => {}
        }
    }
    Ok(set)
}

fn element(bytes: &[u8], each: &mut impl FnMut(&[u8], u64, u64) -> Result<(), Error>) -> Result<(), Error> {
    // No set here has a longer key.
    let mut room = [0; 32];
    let (mut key, mut counter) = (None, None);
    for attribute in attributes(bytes) {
        let attribute = attribute?;
        match attribute.kind() {
            // NFTA_SET_ELEM_KEY { NFTA_DATA_VALUE }
            1 => {
                if let Some(value) = find(attribute.value(), 1)?
                    && let Some(place) = room.get_mut(..value.value().len())
                {
                    place.copy_from_slice(value.value());
                    key = Some(value.value().len());
                }
            }
            // NFTA_SET_ELEM_EXPR { NFTA_EXPR_DATA { NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS } }
            7 => {
                if let Some(data) = find(attribute.value(), 2)? {
                    let number = |kind| -> Result<_, Error> {
                        Ok(find(data.value(), kind)?.and_then(|v| v.value().try_into().ok()).map(u64::from_be_bytes))
                    };
                    counter = number(1)?.zip(number(2)?);
                }
            }
            _ => {}
        }
    }
    let (Some(key), Some((bytes, packets))) = (key, counter) else {
        return Err(Error::malformed("set element without key or counter", bytes));
    };
    each(room.get(..key).unwrap_or_default(), packets, bytes)
}

/// A rule as the kernel keeps it: of two that do the same in tables alike, all of it is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The chain's name.
    pub chain: String,
    /// Its list of expressions.
    pub expressions: Vec<u8>,
    /// Whether it has a comment, or any other of nft's notes.
    pub is_noted: bool,
    /// The number by which it is known in its table.
    pub handle: u64,
}

impl Rule {
    /// Whether it looks at a set, or leads to a chain, whose name begins so.
    pub fn mentions(&self, name: &str) -> bool {
        self.expressions.windows(name.len()).any(|part| part == name.as_bytes())
    }
}

/// Reads a `NEWRULE` payload.
pub fn rule(payload: &[u8]) -> Result<Rule, Error> {
    const NFTA_RULE_CHAIN: u16 = 2;
    const NFTA_RULE_HANDLE: u16 = 3;
    const NFTA_RULE_EXPRESSIONS: u16 = 4;
    const NFTA_RULE_USERDATA: u16 = 7;
    let list = payload.get(NFGEN_HEADER..).ok_or_else(|| Error::malformed("nfgenmsg", payload))?;
    let (Some(chain), Some(expressions)) = (find(list, NFTA_RULE_CHAIN)?, find(list, NFTA_RULE_EXPRESSIONS)?) else {
        return Err(Error::malformed("rule without chain or expressions", payload));
    };
    let is_noted = find(list, NFTA_RULE_USERDATA)?.is_some();
    let handle = find(list, NFTA_RULE_HANDLE)?.and_then(|handle| handle.value().try_into().ok());
    let handle = handle.map(u64::from_be_bytes).unwrap_or_default();
    Ok(Rule { chain: string(chain.value()), expressions: expressions.value().to_vec(), is_noted, handle })
}

/// Whether an object of such a payload is in the table of this name.
pub fn is_in_table(payload: &[u8], table: &str) -> Result<bool, Error> {
    let list = payload.get(NFGEN_HEADER..).ok_or_else(|| Error::malformed("nfgenmsg", payload))?;
    Ok(find(list, 1)?.is_some_and(|name| string(name.value()) == table))
}

/// The name of a set or chain out of a `NEWSET` or `NEWCHAIN` payload.
pub fn name(payload: &[u8], kind: Kind) -> Result<String, Error> {
    // NFTA_CHAIN_NAME, NFTA_SET_NAME
    let attribute = if kind == Kind::NewChain { 3 } else { 2 };
    let list = payload.get(NFGEN_HEADER..).ok_or_else(|| Error::malformed("nfgenmsg", payload))?;
    let name = find(list, attribute)?.ok_or_else(|| Error::malformed("set or chain without a name", payload))?;
    Ok(string(name.value()))
}

/// The elements of a set out of a `NEWSETELEM` payload, whatever the set holds.
pub fn raw_elements(payload: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
    let list = payload.get(NFGEN_HEADER..).ok_or_else(|| Error::malformed("nfgenmsg", payload))?;
    let Some(elements) = find(list, NFTA_SET_ELEM_LIST_ELEMENTS)? else { return Ok(Vec::new()) };
    attributes(elements.value()).map(|element| Ok(element?.value().to_vec())).collect()
}

/// The low 16 bits of the ruleset's generation: changes with every transaction of anybody.
pub fn generation(payload: &[u8]) -> Option<u16> {
    payload.get(2..NFGEN_HEADER)?.try_into().ok().map(u16::from_be_bytes)
}

/// What is said of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The port of the socket that owns it. `None`: nobody does.
    pub owner: Option<u32>,
    /// nft's note, if it is the first one.
    pub comment: Option<String>,
}

/// Reads a `NEWTABLE` payload.
pub fn table(payload: &[u8]) -> Result<Table, Error> {
    const NFTA_TABLE_USERDATA: u16 = 6;
    const NFTA_TABLE_OWNER: u16 = 7;
    let list = payload.get(NFGEN_HEADER..).ok_or_else(|| Error::malformed("nfgenmsg", payload))?;
    let owner = match find(list, NFTA_TABLE_OWNER)? {
        None => None,
        Some(owner) => {
            let port = owner.value().try_into();
            Some(u32::from_be_bytes(port.map_err(|_| Error::malformed("owner of a table", owner.value()))?))
        }
    };
    // One note: its kind (0, a comment), its length, its bytes.
    let comment = find(list, NFTA_TABLE_USERDATA)?.and_then(|notes| {
        let (header, text) = notes.value().split_first_chunk::<2>()?;
        let [kind, length] = *header;
        (kind == 0).then(|| string(text.get(..length.into()).unwrap_or(text)))
    });
    Ok(Table { owner, comment })
}

/// The kernel's answer to one request, `NLMSG_ERROR`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The error number, positive; 0 acknowledges.
    pub errno: i32,
    /// The kernel's own sentence about it, where it has one.
    pub sentence: Option<String>,
}

/// Reads an `NLMSG_ERROR` payload. `flags` are those of its header.
pub fn answer(payload: &[u8], flags: u16) -> Result<Answer, Error> {
    let buffer = ErrorBuffer::new_checked(payload).map_err(|_| Error::malformed("error code", payload))?;
    let errno = buffer.code().map_or(0, |code| code.get().checked_neg().unwrap_or(i32::MAX));
    let mut sentence = None;
    if flags & NLM_F_ACK_TLVS != 0 {
        let request = buffer.payload();
        let length = if flags & NLM_F_CAPPED != 0 {
            NLMSG_HEADER
        } else {
            let length = request.first_chunk().map(|c| u32::from_ne_bytes(*c)).unwrap_or_default();
            usize::try_from(length).unwrap_or(usize::MAX).checked_next_multiple_of(NLMSG_ALIGNTO.into()).unwrap_or(0)
        };
        let list = request.get(length..).ok_or_else(|| Error::malformed("error attributes", payload))?;
        sentence = find(list, NLMSGERR_ATTR_MSG)?.map(|text| string(text.value()));
    }
    Ok(Answer { errno, sentence })
}

fn string(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<NlaBuffer<&[u8]>, Error>> {
    NlasIterator::new(bytes).map(move |a| a.map_err(|_| Error::malformed("attribute length", bytes)))
}

fn find(bytes: &[u8], kind: u16) -> Result<Option<NlaBuffer<&[u8]>>, Error> {
    let mut found = None;
    for attribute in attributes(bytes) {
        let attribute = attribute?;
        if attribute.kind() == kind {
            found = Some(attribute);
        }
    }
    Ok(found)
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;

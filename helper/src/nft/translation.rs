//! Whether this host translates what it sends itself to other addresses (network address translation at the output hook):
//! read from everybody's nf_tables rules, of which nothing is changed.
//!
//! Whoever has a rule that translates has connection tracking on; a chain of the type nat alone does not switch it on. So
//! only a rule counts. Rules for what is bound for this host itself, as Docker has one, change no scope and don't count: such
//! a host's packets go the plain way.
//!
//! Tables of the old iptables (iptables-legacy) are not nf_tables', tell nobody of a change, and are not read.

use netglance_dbus::netlink::{Error, Heard, Socket};
use netlink_packet_core::{NLA_HEADER_SIZE, NlasIterator};

use super::message::Kind;

/// Chains that are looked at; nobody has more than a few.
const MOST_CHAINS: usize = 64;
/// `struct nfgenmsg`: family, version, res_id.
const NFGEN_HEADER: usize = 4;
/// `NF_INET_LOCAL_OUT`.
const OUTPUT_HOOK: u32 = 3;
/// Expressions that translate, and so have connection tracking on.
const TRANSLATE: [&[u8]; 3] = [b"nat", b"redir", b"masq"];
/// The same of iptables-nft, as far as it doesn't use the ones above.
const TARGETS: [&[u8]; 5] = [b"DNAT", b"REDIRECT", b"SNAT", b"MASQUERADE", b"NETMAP"];

/// What has changed for [`look`] when the kernel has said so: chains, rules and tables, but no set and no element, which come
/// and go by the thousand.
pub fn is_of_interest(kind: u16) -> bool {
    const NEW_TABLE: u16 = Kind::NewTable.on_wire();
    const DEL_RULE: u16 = Kind::DelRule.on_wire();
    (NEW_TABLE..=DEL_RULE).contains(&kind)
}

/// Whether what this host sends may be translated; with whether the ruleset stood still meanwhile.
pub fn look() -> Result<(bool, Heard), Error> {
    let mut heard = Heard::All;
    let mut chains = Vec::new();
    let mut socket = open()?;
    heard = worse(
        heard,
        socket.dump(Kind::GetChain.on_wire(), &[0; NFGEN_HEADER], |kind, payload| {
            if kind == Kind::NewChain.on_wire()
                && chains.len() < MOST_CHAINS
                && let Some(chain) = chain(payload)?
            {
                chains.push(chain);
            }
            Ok(())
        })?,
    );
    for chain in &chains {
        let mut effect = Effect::Nothing;
        let request = request(chain.family, &chain.table, Some(&chain.name));
        let whole = socket.dump(Kind::GetRule.on_wire(), &request, |kind, payload| {
            if kind == Kind::NewRule.on_wire() {
                effect = effect.max(effect_of(payload)?);
            }
            Ok(())
        })?;
        heard = worse(heard, whole);
        if effect == Effect::Translates || (effect == Effect::Leads && translates_anywhere(chain)?) {
            return Ok((true, heard));
        }
    }
    Ok((false, heard))
}

fn open() -> Result<Socket, Error> {
    Socket::open(Some(rustix::net::netlink::NETFILTER), 0)
}

fn worse(a: Heard, b: Heard) -> Heard {
    if a == Heard::All { b } else { a }
}

/// Whether any rule of the chain's table translates. A table may be large: the first such rule ends the reading, and what is
/// left of the dump goes with the socket.
fn translates_anywhere(chain: &Chain) -> Result<bool, Error> {
    let mut socket = open()?;
    let mut found = false;
    socket.begin_dump(Kind::GetRule.on_wire(), &request(chain.family, &chain.table, None))?;
    while !found {
        let whole = socket.go_on(|kind, payload| {
            found |= kind == Kind::NewRule.on_wire() && effect_of_any(payload)? == Effect::Translates;
            Ok(())
        })?;
        if whole.is_some() {
            break;
        }
    }
    Ok(found)
}

fn request(family: u8, table: &[u8], chain: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = vec![family, 0, 0, 0];
    for (kind, name) in [(1u16, Some(table)), (2, chain)] {
        let Some(name) = name else { continue };
        let length = u16::try_from(name.len() + 5).unwrap_or(u16::MAX);
        bytes.extend(length.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(name);
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// A base chain.
#[derive(Debug, PartialEq, Eq)]
struct Chain {
    family: u8,
    table: Vec<u8>,
    name: Vec<u8>,
}

/// Reads `NEWCHAIN`: a chain of the type nat at the output hook, else `None`.
fn chain(payload: &[u8]) -> Result<Option<Chain>, Error> {
    let (family, list) = split(payload)?;
    let (mut table, mut name, mut is_nat, mut hook) = (None, None, false, None);
    for attribute in attributes(list) {
        let (kind, value) = attribute?;
        match kind {
            // NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK { NFTA_HOOK_HOOKNUM }, NFTA_CHAIN_TYPE
            1 => table = Some(text(value).to_vec()),
            3 => name = Some(text(value).to_vec()),
            4 => hook = number(value, 1)?,
            7 => is_nat = text(value) == b"nat",
            _ => {}
        }
    }
    let is_one = is_nat && hook == Some(OUTPUT_HOOK);
    Ok(table.zip(name).filter(|_| is_one).map(|(table, name)| Chain { family, table, name }))
}

/// What a rule does to a packet of the host's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    /// None that could change a scope.
    #[default]
    Nothing,
    /// Other chains decide.
    Leads,
    /// It translates its destination.
    Translates,
}

/// Of a rule of a base chain. One for packets to this host's own addresses has none, nor has one that leads to a proxy on it:
/// what stays on this host stays there.
fn effect_of(payload: &[u8]) -> Result<Effect, Error> {
    let effect = effect_of_any(payload)?;
    Ok(if is_for_this_host(payload)? { Effect::Nothing } else { effect })
}

fn effect_of_any(payload: &[u8]) -> Result<Effect, Error> {
    let mut effect = Effect::Nothing;
    for expression in expressions(payload)? {
        let (name, data) = expression?;
        effect = effect.max(match name {
            _ if TRANSLATE.contains(&name) => Effect::Translates,
            b"target" if find(data, 1)?.is_some_and(|target| TARGETS.contains(&text(target))) => Effect::Translates,
            // A verdict: NFTA_IMMEDIATE_DATA { NFTA_DATA_VERDICT { NFTA_VERDICT_CHAIN } }.
            b"immediate" => match inner(data, &[2, 2, 2])? {
                Some(_) => Effect::Leads,
                None => Effect::Nothing,
            },
            // A map of verdicts: NFTA_LOOKUP_DREG.
            b"lookup" if find(data, 3)?.is_some() => Effect::Leads,
            _ => Effect::Nothing,
        });
    }
    Ok(effect)
}

/// Whether a rule is for packets to an address of this host alone: nft's `fib daddr type local`, iptables' `-m addrtype
/// --dst-type LOCAL`; or redirects to this host.
fn is_for_this_host(payload: &[u8]) -> Result<bool, Error> {
    const RTN_LOCAL: u32 = 2;
    const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
    const NFTA_FIB_F_DADDR: u32 = 2;
    let mut type_is_loaded = false;
    for expression in expressions(payload)? {
        let (name, data) = expression?;
        let is_so = match name {
            // NFTA_CMP_OP is NFT_CMP_EQ, NFTA_CMP_DATA { NFTA_DATA_VALUE }
            b"cmp" if type_is_loaded => {
                number(data, 2)? == Some(0)
                    && inner(data, &[3, 1])?.is_some_and(|value| value == RTN_LOCAL.to_ne_bytes())
            }
            b"match" if find(data, 1)?.is_some_and(|name| text(name) == b"addrtype") => {
                // struct xt_addrtype_info_v1: source and destination types, flags; XT_ADDRTYPE_INVERT_DEST is 2
                find(data, 3)?.is_some_and(|info| match info.first_chunk::<8>() {
                    Some([_, _, a, b, c, d, e, f]) => {
                        let destination = u16::from_ne_bytes([*a, *b]);
                        destination == 1 << RTN_LOCAL && u32::from_ne_bytes([*c, *d, *e, *f]) & 2 == 0
                    }
                    None => false,
                })
            }
            b"redir" => true,
            b"target" => find(data, 1)?.is_some_and(|target| text(target) == b"REDIRECT"),
            _ => false,
        };
        if is_so {
            return Ok(true);
        }
        type_is_loaded = name == b"fib"
            && number(data, 2)? == Some(NFT_FIB_RESULT_ADDRTYPE)
            && number(data, 3)?.is_some_and(|flags| flags & NFTA_FIB_F_DADDR != 0);
    }
    Ok(false)
}

/// Name and data of each expression of a `NEWRULE` payload.
fn expressions(payload: &[u8]) -> Result<impl Iterator<Item = Result<(&[u8], &[u8]), Error>>, Error> {
    const NFTA_RULE_EXPRESSIONS: u16 = 4;
    let list = find(split(payload)?.1, NFTA_RULE_EXPRESSIONS)?.unwrap_or_default();
    Ok(attributes(list).map(|item| {
        let (_, item) = item?;
        Ok((find(item, 1)?.map(text).unwrap_or_default(), find(item, 2)?.unwrap_or_default()))
    }))
}

fn split(payload: &[u8]) -> Result<(u8, &[u8]), Error> {
    let malformed = || Error::malformed("nfgenmsg", payload);
    let family = payload.first().copied().ok_or_else(malformed)?;
    Ok((family, payload.get(NFGEN_HEADER..).ok_or_else(malformed)?))
}

/// Kinds and values.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Error>> {
    NlasIterator::new(bytes).map(move |attribute| {
        let attribute = attribute.map_err(|_| Error::malformed("attribute length", bytes))?;
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        Ok((kind, attribute.into_inner().get(NLA_HEADER_SIZE..length).unwrap_or_default()))
    })
}

fn find(bytes: &[u8], kind: u16) -> Result<Option<&[u8]>, Error> {
    for attribute in attributes(bytes) {
        let (found, value) = attribute?;
        if found == kind {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// An attribute in an attribute.
fn inner<'a>(bytes: &'a [u8], path: &[u16]) -> Result<Option<&'a [u8]>, Error> {
    let mut found = Some(bytes);
    for kind in path {
        let Some(bytes) = found else { break };
        found = find(bytes, *kind)?;
    }
    Ok(found)
}

fn number(bytes: &[u8], kind: u16) -> Result<Option<u32>, Error> {
    Ok(find(bytes, kind)?.and_then(|number| number.try_into().ok()).map(u32::from_be_bytes))
}

/// A string without its terminating zero.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

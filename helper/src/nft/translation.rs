//! Whether this host translates what it sends and receives itself (network address translation at the hooks of the output,
//! and of the input where that is given another source): read from everybody's nf_tables rules, of which nothing is changed.
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
/// `NF_INET_LOCAL_IN`, `NF_INET_LOCAL_OUT`.
const INPUT_HOOK: u32 = 1;
/// See [`INPUT_HOOK`].
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
                effect = effect.max(effect_of(payload, chain.hook)?);
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
    hook: u32,
    table: Vec<u8>,
    name: Vec<u8>,
}

/// Reads `NEWCHAIN`: a chain of the type nat at one of the two hooks, else `None`.
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
    let hook = hook.filter(|hook| is_nat && [INPUT_HOOK, OUTPUT_HOOK].contains(hook));
    Ok(hook.zip(table.zip(name)).map(|(hook, (table, name))| Chain { family, hook, table, name }))
}

/// What a rule does to a packet of the host's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    /// None that could change a scope.
    #[default]
    Nothing,
    /// Other chains decide.
    Leads,
    /// It translates an address.
    Translates,
}

/// Of a rule of a base chain. One for packets that are sent to this host's own addresses has none, nor has one that leads to a
/// proxy on it: what stays on this host stays there.
fn effect_of(payload: &[u8], hook: u32) -> Result<Effect, Error> {
    let effect = effect_of_any(payload)?;
    Ok(if hook == OUTPUT_HOOK && is_for_this_host(payload)? { Effect::Nothing } else { effect })
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

/// The name of an expression and what belongs to it.
type Expression<'a> = (&'a [u8], &'a [u8]);

/// Each expression of a `NEWRULE` payload.
fn expressions(payload: &[u8]) -> Result<impl Iterator<Item = Result<Expression<'_>, Error>>, Error> {
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{super::message::Attributes, *};

    fn payload(write: impl FnOnce(&mut Attributes)) -> Vec<u8> {
        let mut list = Attributes::default();
        list.nest(99, write);
        [&[2, 0, 0, 0], attributes(list.as_bytes()).next().unwrap().unwrap().1].concat()
    }

    fn rule(write: &[&dyn Fn(&mut Attributes)]) -> Vec<u8> {
        payload(|a| {
            a.string(1, "nat").string(2, "output").nest(4, |a| {
                for expression in write {
                    a.nest(1, |a| expression(a));
                }
            });
        })
    }

    #[test]
    fn what_a_rule_does_to_packets_of_this_host() {
        let named = |name: &'static str, write: fn(&mut Attributes)| {
            move |a: &mut Attributes| {
                a.string(1, name).nest(2, write);
            }
        };
        let nat = named("nat", |a| _ = a.u32(1, 1));
        let redir = named("redir", |_| {});
        let counter = named("counter", |_| {});
        let fib = named("fib", |a| _ = a.u32(1, 1).u32(2, 3).u32(3, 2));
        let local = named("cmp", |a| _ = a.u32(1, 1).u32(2, 0).nest(3, |a| _ = a.bytes(1, &2u32.to_ne_bytes())));
        let not_local = named("cmp", |a| _ = a.u32(1, 1).u32(2, 1).nest(3, |a| _ = a.bytes(1, &2u32.to_ne_bytes())));
        let jump = named("immediate", |a| {
            a.u32(1, 0).nest(2, |a| _ = a.nest(2, |a| _ = a.u32(1, 0).string(2, "docker")));
        });
        let accept = named("immediate", |a| _ = a.u32(1, 0).nest(2, |a| _ = a.nest(2, |a| _ = a.u32(1, 1))));
        let map = named("lookup", |a| _ = a.string(1, "m").u32(2, 1).u32(3, 0));
        let set = named("lookup", |a| _ = a.string(1, "s").u32(2, 1));
        let target = |name: &'static str| {
            move |a: &mut Attributes| {
                a.string(1, "target").nest(2, |a| _ = a.string(1, name).u32(2, 0));
            }
        };
        // -m addrtype --dst-type LOCAL, and ! --dst-type LOCAL
        let addrtype = |flags: u32| {
            move |a: &mut Attributes| {
                let info = [&0u16.to_ne_bytes()[..], &4u16.to_ne_bytes(), &flags.to_ne_bytes()].concat();
                a.string(1, "match").nest(2, |a| _ = a.string(1, "addrtype").u32(2, 1).bytes(3, &info));
            }
        };
        let check = |expressions: &[&dyn Fn(&mut Attributes)], sent: Effect, received: Effect| {
            let rule = rule(expressions);
            assert_eq!(
                (effect_of(&rule, OUTPUT_HOOK).unwrap(), effect_of(&rule, INPUT_HOOK).unwrap()),
                (sent, received)
            );
            for at in 0..rule.len() {
                let _ = (effect_of(&rule[..at], OUTPUT_HOOK), chain(&rule[..at]));
                for value in [0, 1, 3, 4, 0x7f, 0xff] {
                    let mut mutated = rule.clone();
                    mutated[at] = value;
                    let _ = (effect_of(&mutated, OUTPUT_HOOK), chain(&mutated));
                }
            }
        };
        use Effect::{Leads, Nothing, Translates};
        check(&[], Nothing, Nothing);
        check(&[&counter, &accept], Nothing, Nothing);
        check(&[&set, &nat], Translates, Translates);
        check(&[&redir], Nothing, Translates);
        check(&[&jump], Leads, Leads);
        check(&[&map], Leads, Leads);
        check(&[&set, &accept], Nothing, Nothing);
        check(&[&fib, &local, &jump], Nothing, Leads);
        check(&[&fib, &not_local, &jump], Leads, Leads);
        check(&[&local, &nat], Translates, Translates);
        check(&[&target("DNAT")], Translates, Translates);
        check(&[&target("REDIRECT")], Nothing, Translates);
        check(&[&target("LOG")], Nothing, Nothing);
        check(&[&addrtype(0), &jump], Nothing, Leads);
        check(&[&addrtype(2), &target("DNAT")], Translates, Translates);
    }

    #[test]
    fn which_chains_are_looked_at() {
        let read = |kind: &str, hook: u32| {
            let bytes = payload(|a| {
                a.string(1, "t").string(3, "c").nest(4, |a| _ = a.u32(1, hook).u32(2, 0)).string(7, kind);
            });
            chain(&bytes).unwrap().map(|chain| (chain.family, chain.hook, chain.table, chain.name))
        };
        assert_eq!(read("nat", 3), Some((2, 3, b"t".to_vec(), b"c".to_vec())));
        assert_eq!(read("nat", 1), Some((2, 1, b"t".to_vec(), b"c".to_vec())));
        assert_eq!((read("nat", 0), read("nat", 4), read("filter", 3)), (None, None, None));
        assert_eq!(chain(&payload(|a| _ = a.string(1, "t").string(3, "c"))).unwrap(), None, "no base chain");
        assert!(is_of_interest(Kind::NewChain.on_wire()) && is_of_interest(Kind::DelRule.on_wire()));
        assert!(!is_of_interest(Kind::NewSetElem.on_wire()) && !is_of_interest(Kind::NewSet.on_wire()));
    }
}

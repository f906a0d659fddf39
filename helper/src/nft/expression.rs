//! The parts of a rule, and nft's notes about an object, as attributes. Pure; it knows no set or chain of ours.
//!
//! The numbers are attributes of linux/netfilter/nf_tables.h.

use super::{key, message::Attributes};

/// `NFT_REG_1`, the 16 bytes that every expression here loads and reads.
const REGISTER: u32 = 1;
/// The same register's second four bytes, and its last eight.
const SECOND_WORD: u32 = 9;
const LAST_WORDS: u32 = 10;

const NFT_META_L4PROTO: u32 = 16;
const NFT_CT_SRC_IP: u32 = 19;
const NFT_CT_SRC_IP6: u32 = 21;

/// The expressions of one rule.
pub struct Expressions<'a>(&'a mut Attributes);

impl<'a> Expressions<'a> {
    /// Appends to the list of a rule's expressions.
    pub fn new(list: &'a mut Attributes) -> Self {
        Self(list)
    }

    fn expression(&mut self, name: &str, write: impl FnOnce(&mut Attributes)) -> &mut Self {
        self.0.nest(1, |a| {
            a.string(1, name).nest(2, write);
        });
        self
    }

    /// Loads a fact about the packet: `NFT_META_*`.
    pub fn meta(&mut self, key: u32) -> &mut Self {
        self.meta_into(REGISTER, key)
    }

    fn meta_into(&mut self, register: u32, key: u32) -> &mut Self {
        self.expression("meta", |a| {
            a.u32(1, register).u32(2, key);
        })
    }

    /// Loads the packet's protocol above IP: `IPPROTO_*`, one byte.
    pub fn l4proto(&mut self) -> &mut Self {
        self.meta(NFT_META_L4PROTO)
    }

    /// Loads the packet's family: `NFPROTO_*`, one byte.
    pub fn nfproto(&mut self) -> &mut Self {
        const NFT_META_NFPROTO: u32 = 15;
        self.meta(NFT_META_NFPROTO)
    }

    /// Loads the packet's mark, in host byte order.
    pub fn mark(&mut self) -> &mut Self {
        const NFT_META_MARK: u32 = 3;
        self.meta(NFT_META_MARK)
    }

    /// A fact about the packet's connection: `NFT_CT_*`. The rule ends where there is none. Whoever has such a rule has
    /// connection tracking switched on by the kernel.
    fn connection(&mut self, key: u32, direction: Option<u8>) -> &mut Self {
        self.connection_into(REGISTER, key, direction)
    }

    fn connection_into(&mut self, register: u32, key: u32, direction: Option<u8>) -> &mut Self {
        self.expression("ct", |a| {
            a.u32(1, register).u32(2, key);
            if let Some(direction) = direction {
                a.bytes(3, &[direction]);
            }
        })
    }

    /// Loads the state of the packet's connection, `IPS_*`, in host byte order.
    pub fn ct_status(&mut self) -> &mut Self {
        const NFT_CT_STATUS: u32 = 2;
        self.connection(NFT_CT_STATUS, None)
    }

    /// Loads the direction of the packet in its connection: 0 as the first packet, 1 the answers.
    pub fn ct_direction(&mut self) -> &mut Self {
        const NFT_CT_DIRECTION: u32 = 1;
        self.connection(NFT_CT_DIRECTION, None)
    }

    /// Loads the address from which the connection's packets of that direction come, before any translation.
    pub fn ct_source(&mut self, direction: u8, is_v4: bool) -> &mut Self {
        self.connection(if is_v4 { NFT_CT_SRC_IP } else { NFT_CT_SRC_IP6 }, Some(direction))
    }

    /// Keeps of what is loaded the bits of `mask`.
    pub fn masked(&mut self, mask: &[u8]) -> &mut Self {
        let length = u32::try_from(mask.len()).unwrap_or_default();
        self.expression("bitwise", |a| {
            a.u32(1, REGISTER).u32(2, REGISTER).u32(3, length);
            for (kind, value) in [(4, mask), (5, vec![0; mask.len()].as_slice())] {
                a.nest(kind, |a| {
                    a.bytes(1, value);
                });
            }
        })
    }

    /// Goes on if what is loaded has any of these bits, in host byte order.
    pub fn any_bit(&mut self, bits: u32) -> &mut Self {
        self.masked(&bits.to_ne_bytes()).differs(&[0; 4])
    }

    fn compare(&mut self, operation: u32, value: &[u8]) -> &mut Self {
        self.expression("cmp", |a| {
            a.u32(1, REGISTER).u32(2, operation).nest(3, |a| {
                a.bytes(1, value);
            });
        })
    }

    /// Goes on if what is loaded is `value`.
    pub fn equal(&mut self, value: &[u8]) -> &mut Self {
        self.compare(0, value)
    }

    /// Goes on if what is loaded is not `value`.
    pub fn differs(&mut self, value: &[u8]) -> &mut Self {
        self.compare(1, value)
    }

    /// Goes on if what is loaded is `value` or more.
    pub fn at_least(&mut self, value: &[u8]) -> &mut Self {
        self.compare(5, value)
    }

    fn payload(&mut self, register: u32, base: u32, offset: u32, length: u32) -> &mut Self {
        self.expression("payload", |a| {
            a.u32(1, register).u32(2, base).u32(3, offset).u32(4, length);
        })
    }

    /// Goes on if the host would not send to the packet's source through the interface that it came in by. For IPv4 and IPv6.
    pub fn source_is_elsewhere(&mut self) -> &mut Self {
        const NFT_FIB_RESULT_OIF: u32 = 1;
        // NFTA_FIB_F_SADDR, NFTA_FIB_F_IIF and NFTA_FIB_F_PRESENT: a byte that says whether there is such a route, and three zeros.
        const FLAGS: u32 = 1 | 1 << 3 | 1 << 5;
        self.expression("fib", |a| {
            a.u32(1, REGISTER).u32(2, NFT_FIB_RESULT_OIF).u32(3, FLAGS);
        });
        self.equal(&[0; 4])
    }

    /// Loads the first byte of the link-layer header; ends the rule where there is none.
    pub fn link_header(&mut self) -> &mut Self {
        self.payload(REGISTER, 0, 0, 1)
    }

    /// Loads bytes of the IP header.
    pub fn network_header(&mut self, offset: u32, length: u32) -> &mut Self {
        self.payload(REGISTER, 1, offset, length)
    }

    /// Loads the port to which the packet goes, in network byte order.
    pub fn destination_port(&mut self) -> &mut Self {
        self.payload(REGISTER, 2, 2, 2)
    }

    /// Loads behind the key of [`Self::cgroup`] an address of so many bytes in the IP header, the protocol above IP and, if it has
    /// ports, the one at that offset of its header. The rule ends where there is no such header.
    pub fn remote(&mut self, address: u32, length: u32, port: Option<u32>) -> &mut Self {
        let protocol = LAST_WORDS.saturating_add(length / 4);
        self.payload(LAST_WORDS, 1, address, length).meta_into(protocol, NFT_META_L4PROTO);
        if let Some(port) = port {
            self.payload(protocol.saturating_add(1), 2, port, 2);
        }
        self
    }

    /// As [`Self::remote`], the address and port from which the connection's packets of that direction come, before any translation.
    pub fn ct_remote(&mut self, direction: u8, is_v4: bool) -> &mut Self {
        const NFT_CT_PROTO_SRC: u32 = 11;
        let (key, words) = if is_v4 { (NFT_CT_SRC_IP, 1) } else { (NFT_CT_SRC_IP6, 4) };
        let protocol = LAST_WORDS.saturating_add(words);
        self.connection_into(LAST_WORDS, key, Some(direction)).meta_into(protocol, NFT_META_L4PROTO);
        self.connection_into(protocol.saturating_add(1), NFT_CT_PROTO_SRC, Some(direction))
    }

    /// Goes on if what is loaded is in the set.
    pub fn lookup(&mut self, set: &str) -> &mut Self {
        self.expression("lookup", |a| {
            a.string(1, set).u32(2, REGISTER);
        })
    }

    /// Goes on if what is loaded is not in the set.
    pub fn absent(&mut self, set: &str) -> &mut Self {
        const NFT_LOOKUP_F_INV: u32 = 1;
        self.expression("lookup", |a| {
            a.string(1, set).u32(2, REGISTER).u32(5, NFT_LOOKUP_F_INV);
        })
    }

    /// Loads the key of the socket's cgroup, or of its ancestor at `level`, counted from the root. See [`key::Key`].
    pub fn cgroup(&mut self, level: u8) -> &mut Self {
        let [first, second] = key::SEEDS;
        self.cgroup_id(level).hash(REGISTER, key::MODULUS, first).hash(SECOND_WORD, key::MODULUS, second)
    }

    fn cgroup_id(&mut self, level: u8) -> &mut Self {
        const NFT_SOCKET_CGROUPV2: u32 = 3;
        self.expression("socket", |a| {
            a.u32(1, NFT_SOCKET_CGROUPV2).u32(2, LAST_WORDS).u32(3, level.into());
        })
    }

    /// Hashes the cgroup id that is loaded.
    fn hash(&mut self, into: u32, modulus: u32, seed: u32) -> &mut Self {
        const NFT_HASH_JENKINS: u32 = 0;
        self.expression("hash", |a| {
            a.u32(1, LAST_WORDS).u32(2, into).u32(3, 8).u32(4, modulus).u32(5, seed);
            a.u32(6, 0).u32(7, NFT_HASH_JENKINS);
        })
    }

    /// Goes on in another chain where there is a cgroup at that level. What follows is always true: a rule has to look at
    /// something for nft to show it, and an id would be shown as a path.
    pub fn leads(&mut self, level: u8, chain: &str) {
        self.cgroup_id(level).hash(REGISTER, 1, key::SEEDS[0]).equal(&[0; 4]).goto(chain);
    }

    /// Goes on if what is loaded is in the set, to which nothing can be added because it is full.
    pub fn in_full(&mut self, set: &str) -> &mut Self {
        const NFT_DYNSET_OP_ADD: u32 = 0;
        self.dynset(set, NFT_DYNSET_OP_ADD)
    }

    /// Adds the packet to the element of what is loaded. The set's own counter is copied into an element that it makes.
    pub fn update(&mut self, set: &str) -> &mut Self {
        const NFT_DYNSET_OP_UPDATE: u32 = 1;
        self.dynset(set, NFT_DYNSET_OP_UPDATE)
    }

    fn dynset(&mut self, set: &str, operation: u32) -> &mut Self {
        self.expression("dynset", |a| {
            a.string(1, set).u32(3, operation).u32(4, REGISTER);
        })
    }

    /// Gives the packet this destination, of the family `nfproto`.
    pub fn translate(&mut self, nfproto: u8, address: &[u8]) {
        const NFT_NAT_DNAT: u32 = 1;
        self.expression("immediate", |a| {
            a.u32(1, REGISTER).nest(2, |a| {
                a.bytes(1, address);
            });
        });
        self.expression("nat", |a| {
            a.u32(1, NFT_NAT_DNAT).u32(2, nfproto.into()).u32(3, REGISTER);
        });
    }

    /// Gives the packet the source of the interface that it goes out by.
    pub fn masquerade(&mut self) {
        self.expression("masq", |_| {});
    }

    /// Ends the chain and the packet's way through our table.
    pub fn accept(&mut self) {
        self.verdict(1, None);
    }

    /// Goes on in another chain and doesn't come back.
    pub fn goto(&mut self, chain: &str) {
        const NFT_GOTO: i32 = -4;
        self.verdict(NFT_GOTO, Some(chain));
    }

    /// Goes on in another chain, and afterwards behind this rule.
    pub fn jump(&mut self, chain: &str) {
        const NFT_JUMP: i32 = -3;
        self.verdict(NFT_JUMP, Some(chain));
    }

    /// Ends the chain.
    pub fn leave(&mut self) {
        const NFT_RETURN: i32 = -5;
        self.verdict(NFT_RETURN, None);
    }

    fn verdict(&mut self, code: i32, chain: Option<&str>) {
        self.expression("immediate", |a| {
            a.u32(1, 0).nest(2, |a| {
                a.nest(2, |a| {
                    a.bytes(1, &code.to_be_bytes());
                    if let Some(chain) = chain {
                        a.string(2, chain);
                    }
                });
            });
        });
    }
}

/// A comment for `nft list`, one of nft's own notes (libnftnl's udata.h: type, length, value), which the kernel keeps as
/// they are. `kind` is the number of the comment: 0 for tables, chains and rules, 7 for sets.
pub fn comment(kind: u8, text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap_or_default();
    [&[kind, length], text.as_bytes(), &[0]].concat()
}

/// nft's note of a key's byte order, 1 host and 2 big-endian.
pub fn byte_order(order: u32) -> Vec<u8> {
    [&[0, 4], order.to_ne_bytes().as_slice()].concat()
}

/// nft's note that a key of one byte is like a field of an IP header (TTL, hop limit): a plain number. A type of that kind has
/// no name that `nft -f` would read.
pub fn like_field(field: Field) -> Vec<u8> {
    const PAYLOAD: u32 = 7;
    const BITS: u32 = 8;
    let (header, number) = match field {
        Field::TimeToLive => (12_u32, 8_u32),
        Field::HopLimit => (13, 7),
    };
    let note = |kind: u8, value: u32| [&[kind, 4], value.to_ne_bytes().as_slice()].concat();
    let data = [note(0, header), note(1, number), note(4, BITS)].concat();
    let expression = [note(0, PAYLOAD), vec![1, 18], data].concat();
    [byte_order(2), vec![3, 26], expression].concat()
}

/// A field of an IP header, one byte long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// IPv4.
    TimeToLive,
    /// IPv6.
    HopLimit,
}

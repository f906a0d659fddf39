//! What was forwarded, by address. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use netglance_dbus::forwarded;

use crate::nft::ruleset::{ForwardedSet, MOST_FORWARDED};

/// What was read so far. A dump may lack an element while packets make others, so what was seen stays; sets hold a limited number.
#[derive(Debug, Default)]
pub struct Forwarded {
    bytes: BTreeMap<IpAddr, Bytes>,
    is_full: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bytes {
    rx: u64,
    tx: u64,
    internal_rx: u64,
    internal_tx: u64,
}

impl Forwarded {
    /// An element of a set: an address in network byte order, and what was counted for it.
    pub fn take_in(&mut self, set: ForwardedSet, address: &[u8], bytes: u64) {
        let v4 = <[u8; 4]>::try_from(address).map(IpAddr::from);
        let Ok(address) = v4.or_else(|_| <[u8; 16]>::try_from(address).map(IpAddr::from)) else { return };
        let all = self.bytes.entry(address).or_default();
        let counter = match (set.is_sent, set.is_internal) {
            (false, false) => &mut all.rx,
            (true, false) => &mut all.tx,
            (false, true) => &mut all.internal_rx,
            (true, true) => &mut all.internal_tx,
        };
        // Whoever may read counters may set them back: a row never goes backwards.
        *counter = bytes.max(*counter);
    }

    /// A set was read to its end, and had so many elements.
    pub fn has_read(&mut self, _set: ForwardedSet, elements: usize) {
        self.is_full |= elements >= MOST_FORWARDED as usize;
    }

    /// What is wrong, for a person.
    pub fn warning(&self) -> Option<String> {
        self.is_full.then(|| {
            format!(
                "more than {MOST_FORWARDED} addresses of containers and virtual machines have had traffic since counting began; \
                 further ones are not counted"
            )
        })
    }

    /// A row for each address.
    pub fn rows(&self) -> Vec<forwarded::Forwarded> {
        let row = |(address, bytes): (&IpAddr, &Bytes)| forwarded::Forwarded {
            address: *address,
            rx_bytes: bytes.rx,
            tx_bytes: bytes.tx,
            internal_rx_bytes: bytes.internal_rx,
            internal_tx_bytes: bytes.internal_tx,
        };
        self.bytes.iter().map(row).collect()
    }
}

//! What was forwarded, by address. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use netglance_dbus::{forwarded, remote::address_from_wire};

use crate::nft::ruleset::{ForwardedSet, MOST_FORWARDED};

/// What was read so far. A dump may lack an element while packets make others, so what was seen stays; sets hold a limited number.
#[derive(Debug, Default)]
pub struct Forwarded {
    bytes: BTreeMap<IpAddr, Bytes>,
    is_full: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bytes {
    rx: Total,
    tx: Total,
    internal_rx: Total,
    internal_tx: Total,
}

/// What was counted until a counter was last set back, and since.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    before: u64,
    since: u64,
}

impl Total {
    /// Whoever may read counters may set them back; a row goes on from what was last read.
    const fn take_in(&mut self, bytes: u64) {
        if bytes < self.since {
            self.before = self.before.saturating_add(self.since);
        }
        self.since = bytes;
    }

    const fn bytes(self) -> u64 {
        self.before.saturating_add(self.since)
    }
}

impl Forwarded {
    /// An element of a set: an address in network byte order, and what was counted for it.
    pub fn take_in(&mut self, set: ForwardedSet, address: &[u8], bytes: u64) {
        let Some(address) = address_from_wire(address) else { return };
        let all = self.bytes.entry(address).or_default();
        let counter = match (set.is_sent, set.is_internal) {
            (false, false) => &mut all.rx,
            (true, false) => &mut all.tx,
            (false, true) => &mut all.internal_rx,
            (true, true) => &mut all.internal_tx,
        };
        counter.take_in(bytes);
    }

    /// A set was read to its end, and had so many elements.
    pub fn has_read(&mut self, elements: usize) {
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
            rx_bytes: bytes.rx.bytes(),
            tx_bytes: bytes.tx.bytes(),
            internal_rx_bytes: bytes.internal_rx.bytes(),
            internal_tx_bytes: bytes.internal_tx.bytes(),
        };
        self.bytes.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_goes_on_when_a_counter_is_set_back_or_left_out() {
        let set = |is_sent, is_internal| ForwardedSet { is_sent, is_v4: true, is_internal };
        let mut forwarded = Forwarded::default();
        // As it was read, look after look; and what the row says.
        for (bytes, total) in [(100, 100), (100, 100), (250, 250), (30, 280), (40, 290), (0, 290), (5, 295)] {
            forwarded.take_in(set(true, false), &[172, 17, 0, 2], bytes);
            assert_eq!(forwarded.rows()[0].tx_bytes, total, "{bytes}");
        }
        forwarded.take_in(set(false, true), &[172, 17, 0, 2], 7);
        forwarded.take_in(set(false, true), &[1, 2, 3], 7);
        forwarded.has_read(0);
        let rows = forwarded.rows();
        let row = [rows[0].rx_bytes, rows[0].tx_bytes, rows[0].internal_rx_bytes, rows[0].internal_tx_bytes];
        assert_eq!((rows.len(), row), (1, [0, 295, 7, 0]));
        assert_eq!(forwarded.warning(), None);
        forwarded.has_read(MOST_FORWARDED as usize);
        assert!(forwarded.warning().is_some());
    }
}

//! The figures of an hour or a day in few bytes: what moved nothing takes none. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::look::rate::Bytes;

/// The parts that moved anything: the part's place in seconds since the whole began, and its bytes.
pub type Parts = BTreeMap<u32, Bytes>;

/// The figures of a part, and how many parts it is after the one before. Numbers take a byte for each 7 bits.
#[derive(Deserialize, Serialize)]
struct Part(u32, u64, u64, u64, u64);

/// Packs parts that lie at multiples of `secs`.
pub fn pack(parts: &Parts, secs: u32) -> Result<Vec<u8>, postcard::Error> {
    let mut before = 0;
    let parts = parts.iter().map(|(at, bytes)| {
        let place = at / secs;
        let after = place - std::mem::replace(&mut before, place);
        Part(after, bytes.rx, bytes.tx, bytes.internal_rx, bytes.internal_tx)
    });
    postcard::to_allocvec(&parts.collect::<Vec<_>>())
}

/// The parts in their order, see [`pack`].
pub fn parts(packed: &[u8], secs: u32) -> Result<impl Iterator<Item = (u32, Bytes)> + use<>, postcard::Error> {
    let mut place: u32 = 0;
    let parts: Vec<Part> = postcard::from_bytes(packed)?;
    Ok(parts.into_iter().map(move |Part(after, rx, tx, internal_rx, internal_tx)| {
        place = place.saturating_add(after);
        (place.saturating_mul(secs), Bytes { rx, tx, internal_rx, internal_tx })
    }))
}

/// The same, to be changed.
pub fn unpack(packed: &[u8], secs: u32) -> Result<Parts, postcard::Error> {
    parts(packed, secs).map(Iterator::collect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back_in_few_bytes() {
        let bytes = |rx, internal_tx| Bytes { rx, tx: 700, internal_rx: 0, internal_tx };
        let parts: Parts = [(0, bytes(9, 0)), (60, bytes(u64::MAX, 1)), (3540, bytes(100_000, 0))].into();
        let packed = pack(&parts, 60).unwrap();
        assert_eq!(unpack(&packed, 60).unwrap(), parts);
        let busy: Parts = (0..60).map(|minute| (minute * 60, bytes(1_500_000, 20_000))).collect();
        let packed = pack(&busy, 60).unwrap();
        assert!(packed.len() <= 60 * 11 + 2, "{}", packed.len());
        assert_eq!(unpack(&pack(&Parts::new(), 10).unwrap(), 10).unwrap(), Parts::new());
        assert!(unpack(&packed[..50], 60).is_err());
        assert!(unpack(b"\xff\xff\xff\xff\xff\xff", 60).is_err());
    }
}

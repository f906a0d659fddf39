//! What a cgroup is called in the table. Pure.
//!
//! nft shows a cgroup's id as a path and reads a path as an id, so a saved ruleset with ids in it would load only where those
//! cgroups exist: at boot, nowhere. A number has no such trouble. The only way from an id to a number that every nft since
//! 1.0.2 shows and reads is the kernel's own hash (`jhash`). Two of them with different seeds make 64 bits: among 100,000
//! cgroups the odds that any two share a key are one in four billion.

use serde::{Deserialize, Serialize};

/// The seeds of the two hashes.
pub const SEEDS: [u32; 2] = [1, 2];
/// What the hashes are scaled to: the largest number that there is.
pub const MODULUS: u32 = u32::MAX;

/// A cgroup's key in the table's sets. The id can't be found from it, so whoever wants it keeps both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key(u64);

impl Key {
    /// The key of no cgroup.
    pub const NOBODY: Self = Self(0);

    /// The key of the cgroup with this id.
    pub fn of(cgroup_id: u64) -> Self {
        let [first, second] = SEEDS.map(|seed| scaled(jhash(cgroup_id.to_ne_bytes(), seed)).to_ne_bytes());
        let mut bytes = [0; 8];
        let (front, back) = bytes.split_at_mut(4);
        front.copy_from_slice(&first);
        back.copy_from_slice(&second);
        Self::from_bytes(bytes)
    }

    /// A key as it stands in a message.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_ne_bytes(bytes))
    }

    /// As it stands in a message.
    pub const fn bytes(self) -> [u8; 8] {
        self.0.to_ne_bytes()
    }
}

/// `reciprocal_scale` in linux/math.h: to 0 … [`MODULUS`] - 1.
fn scaled(hash: u32) -> u32 {
    let scaled = (u64::from(hash) * u64::from(MODULUS)) >> 32;
    u32::try_from(scaled).unwrap_or_default()
}

/// `jhash` in linux/jhash.h, of eight bytes.
fn jhash(bytes: [u8; 8], seed: u32) -> u32 {
    const JHASH_INITVAL: u32 = 0xdead_beef;
    const LENGTH: u32 = 8;
    let start = JHASH_INITVAL.wrapping_add(LENGTH).wrapping_add(seed);
    let [low, high] = [bytes.first_chunk::<4>(), bytes.last_chunk::<4>()];
    let word = |half: Option<&[u8; 4]>| half.map_or(0, |half| u32::from_le_bytes(*half));
    let (mut a, mut b, mut c) = (start.wrapping_add(word(low)), start.wrapping_add(word(high)), start);
    let mix = |to: &mut u32, with: u32, bits: u32| *to = (*to ^ with).wrapping_sub(with.rotate_left(bits));
    mix(&mut c, b, 14);
    mix(&mut a, c, 11);
    mix(&mut b, a, 25);
    mix(&mut c, b, 16);
    mix(&mut a, c, 4);
    mix(&mut b, a, 14);
    mix(&mut c, b, 24);
    c
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_that_are_alike_have_keys_of_their_own() {
        let ids = (1..200_000).chain((1..100_000).map(|id| id << 32)).chain((1..64).map(|bit| u64::MAX >> bit));
        let ids: HashSet<u64> = ids.collect();
        let keys: HashSet<_> = ids.iter().map(|id| Key::of(*id)).collect();
        assert_eq!(keys.len(), ids.len());
        assert!(!keys.contains(&Key::NOBODY));
        assert_eq!(Key::from_bytes(Key::of(7).bytes()), Key::of(7));
    }
}

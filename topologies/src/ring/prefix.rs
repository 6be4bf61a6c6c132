//! Positions as strings of digits, for the overlays that correct one digit with each hop.

use core::ops::Range;

use polymorph_core::overlay::Place;
use polymorph_core::topology::model::Census;
use polymorph_core::{Guid, Key};

/// The first 64 bits of a key. More are never needed to tell peers apart: among four billion peers one pair shares
/// that many.
pub(super) fn head(key: &Key) -> u64 {
    key.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The shorter way round the ring.
pub(super) fn around(a: u64, b: u64) -> u64 {
    let clockwise = b.wrapping_sub(a);
    clockwise.min(clockwise.wrapping_neg())
}

/// A peer, and the head of its position.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Peer {
    pub(super) at: u64,
    pub(super) guid: Guid,
}

impl Peer {
    pub(super) fn new(place: &Place, guid: Guid) -> Self {
        Self { at: head(&place.position(guid)), guid }
    }

    /// The order in which peers come into question for a key: the numerically nearest first; the same everywhere.
    pub(super) fn rank(&self, key: u64) -> (u64, u64) {
        (around(self.at, key), key.wrapping_sub(self.at))
    }
}

/// Whether nearness counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Proximity {
    /// Peers with a shorter measured round trip are preferred.
    #[default]
    Measured,
    /// The first who comes stays: less traffic, longer ways.
    None,
}

/// The same, as users write it.
pub(super) const PROXIMITIES: [(&str, Proximity); 2] = [("measured", Proximity::Measured), ("none", Proximity::None)];

/// How a position is read: digits of so many bits, the most significant first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Digits(u32);

impl Digits {
    /// `bits` is 1, 2, 4 or 8.
    pub(super) fn new(bits: u32) -> Self {
        Self(bits)
    }

    /// How many values a digit has.
    pub(super) fn base(self) -> u16 {
        1 << self.0
    }

    /// How many digits there are.
    pub(super) fn count(self) -> u8 {
        (64 / self.0) as u8
    }

    /// How many leading digits two positions share.
    pub(super) fn shared(self, a: u64, b: u64) -> u8 {
        ((a ^ b).leading_zeros() / self.0) as u8
    }

    /// Digit `index` of a position.
    pub(super) fn digit(self, at: u64, index: u8) -> u8 {
        (at >> (64 - self.0 * (u32::from(index) + 1)) & (u64::from(self.base()) - 1)) as u8
    }

    /// Every digit of `at` less that of `key`, without borrowing: the order in which peers come into question for a key
    /// where the next higher digit stands in for one that nobody has.
    pub(super) fn offset(self, key: u64, at: u64) -> u64 {
        let high = (u64::MAX / (u64::from(self.base()) - 1)) << (self.0 - 1);
        ((at | high) - (key & !high)) ^ ((at ^ !key) & high)
    }

    /// Shows every slot of a table that somebody could fill, row by row: the row, the column, and who could, as a
    /// range of the ring.
    pub(super) fn slots(self, all: &Census, mine: u64, mut visit: impl FnMut(u8, u8, Range<usize>)) {
        let mut range = 0..all.ring.len();
        for row in 0..self.count() {
            if range.len() <= 1 {
                return;
            }
            let (own, mut start, mut next) = (self.digit(mine, row), range.start, 0..0);
            for column in (0..self.base()).map(|column| column as u8) {
                let upto = |(key, _): &(Key, Guid)| self.digit(head(key), row) <= column;
                let end = start + all.ring[start..range.end].partition_point(upto);
                match column == own {
                    true => next = start..end,
                    false if end > start => visit(row, column, start..end),
                    false => {}
                }
                start = end;
            }
            range = next;
        }
    }
}

/// The next number of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014), whose states are mixed, not counted.
pub(super) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Up to `n` of a range: all of a short one, beginning anywhere, otherwise drawn evenly, now and then one twice.
pub(super) fn sample(range: Range<usize>, n: usize, mut seed: u64) -> impl Iterator<Item = usize> {
    let (start, len, mut first) = (range.start, range.len(), 0);
    (0..n.min(len)).map(move |at| {
        seed = mix(seed);
        let draw = if at == 0 || len > n { ((u128::from(seed) * len as u128) >> 64) as usize } else { first + at };
        first = if at == 0 { draw } else { first };
        start + draw % len
    })
}

/// How many bits a digit may have, of the settings of a topology.
pub(super) const BITS: [(&str, u32); 4] = [("4", 4), ("1", 1), ("2", 2), ("8", 8)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_key() {
        let at: u64 = 0x0123_4567_89ab_cdef;
        let key = Key(core::array::from_fn(|index| if index < 8 { at.to_be_bytes()[index] } else { 0 }));
        for bits in [1, 2, 4, 8] {
            let digits = Digits::new(bits);
            for index in 0..digits.count() {
                assert_eq!(u32::from(digits.digit(head(&key), index)), key.digit(index.into(), bits));
            }
            assert_eq!(digits.shared(at, at), digits.count());
            assert_eq!(digits.shared(at, at ^ 1), digits.count() - 1);
        }
        assert_eq!(Digits::new(4).shared(at, at ^ 0x0000_0f00_0000_0000), 5);
    }

    #[test]
    fn an_offset_is_taken_digit_by_digit() {
        for bits in [1, 2, 4, 8] {
            let digits = Digits::new(bits);
            for seed in 0..200 {
                let (key, at) = (mix(seed), mix(!seed));
                let offset = digits.offset(key, at);
                for index in 0..digits.count() {
                    let of = |word| u32::from(digits.digit(word, index));
                    assert_eq!(of(offset), (of(at) + u32::from(digits.base()) - of(key)) % u32::from(digits.base()));
                }
            }
        }
    }

    #[test]
    fn the_shorter_way_round_crosses_zero() {
        assert_eq!(around(u64::MAX, 1), 2);
        assert_eq!(around(1, u64::MAX), 2);
        assert_eq!(around(5, 5), 0);
    }
}

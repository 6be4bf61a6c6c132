//! A point of the 256-bit space, and the two ways to measure between points.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bytes32;
use crate::guid::{Guid, NotHex, parse_hex};

/// A point of the 256-bit space, big-endian. A [`Guid`] is one; a content hash or a topic name maps to one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(pub [u8; 32]);

/// How far something is from a target, in a topology's own measure; smaller is nearer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Distance(pub [u8; 32]);

impl Distance {
    /// Nothing is nearer.
    pub const ZERO: Self = Self([0; 32]);
    /// Nothing is farther.
    pub const MAX: Self = Self([0xff; 32]);

    /// A distance that is a plain number, such as a count of hops.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[24..].copy_from_slice(&number.to_be_bytes());
        Self(bytes)
    }

    /// The position of the highest set bit plus one: 256 for the farthest half of the space, 0 for zero.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.0.iter().position(|&b| b != 0).map_or(0, |at| 256 - 8 * at as u32 - self.0[at].leading_zeros())
    }
}

impl Key {
    /// The key of a name, a topic for instance.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        Self(blake3::derive_key("polymorph 2026-11 key of a name", name))
    }

    /// Bit `index` counted from the most significant (0) to the least (255).
    #[must_use]
    pub fn bit(&self, index: u32) -> bool {
        self.0[(index / 8) as usize] >> (7 - index % 8) & 1 == 1
    }

    /// Digit `index` in base `2^bits`, most significant first. `bits` is 1, 2, 4 or 8.
    #[must_use]
    pub fn digit(&self, index: u32, bits: u32) -> u32 {
        let at = index * bits;
        u32::from(self.0[(at / 8) as usize]) >> (8 - bits - at % 8) & ((1 << bits) - 1)
    }

    /// How many leading bits two keys share, 256 when they are equal.
    #[must_use]
    pub fn common_bits(&self, other: &Self) -> u32 {
        256 - self.xor(other).bits()
    }

    /// Kademlia's measure (Maymounkov & Mazières 2002, §2.1).
    #[must_use]
    pub fn xor(&self, other: &Self) -> Distance {
        let mut out = self.0;
        out.iter_mut().zip(other.0).for_each(|(a, b)| *a ^= b);
        Distance(out)
    }

    /// How far one walks clockwise on the ring from here to `to`: `to - self` modulo 2^256.
    #[must_use]
    pub fn clockwise(&self, to: &Self) -> Distance {
        let ((high, low), (mine_high, mine_low)) = (to.halves(), self.halves());
        let (low, borrow) = low.overflowing_sub(mine_low);
        let high = high.wrapping_sub(mine_high).wrapping_sub(borrow.into());
        let mut out = [0; 32];
        out[..16].copy_from_slice(&high.to_be_bytes());
        out[16..].copy_from_slice(&low.to_be_bytes());
        Distance(out)
    }

    fn halves(&self) -> (u128, u128) {
        let number = |half: Option<&[u8; 16]>| half.map_or(0, |half| u128::from_be_bytes(*half));
        (number(self.0.first_chunk()), number(self.0.last_chunk()))
    }

    /// The shorter way round the ring.
    #[must_use]
    pub fn around(&self, other: &Self) -> Distance {
        self.clockwise(other).min(other.clockwise(self))
    }

    /// The point `2^exponent` clockwise from here.
    #[must_use]
    pub fn plus_power(&self, exponent: u32) -> Self {
        let mut out = self.0;
        let mut at = 31 - (exponent / 8) as usize;
        let (sum, mut carry) = out[at].overflowing_add(1 << (exponent % 8));
        out[at] = sum;
        while carry && at > 0 {
            at -= 1;
            (out[at], carry) = out[at].overflowing_add(1);
        }
        Self(out)
    }

    /// Whether this lies in the ring interval `(after, upto]`; the whole ring when the ends are equal.
    #[must_use]
    pub fn within(&self, after: &Self, upto: &Self) -> bool {
        if after == upto {
            return true;
        }
        let here = after.clockwise(self);
        here > Distance::ZERO && here <= after.clockwise(upto)
    }

    /// Whether this lies strictly inside the ring interval `(after, before)`.
    #[must_use]
    pub fn between(&self, after: &Self, before: &Self) -> bool {
        self != before && self.within(after, before) && self != after
    }
}

impl From<Guid> for Key {
    fn from(guid: Guid) -> Self {
        Self(guid.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

impl FromStr for Key {
    type Err = NotHex;
    fn from_str(text: &str) -> Result<Self, NotHex> {
        parse_hex(text).map(Self)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        bytes32::serialize("Key", &self.0, to)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        bytes32::deserialize("Key", from).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = Key> {
        any::<[u8; 32]>().prop_map(Key)
    }

    proptest! {
        #[test]
        fn walking_both_ways_closes_the_ring(a in key(), b in key()) {
            prop_assert_eq!(Key(a.clockwise(&b).0), { let zero = Key::default(); Key(b.clockwise(&a).0).negated(&zero) });
            prop_assert_eq!(a.around(&b), b.around(&a));
        }

        #[test]
        fn a_power_is_where_its_distance_says(a in key(), exponent in 0u32..256) {
            prop_assert_eq!(a.clockwise(&a.plus_power(exponent)).bits(), exponent + 1);
        }

        #[test]
        fn a_point_is_on_exactly_one_side(a in key(), b in key(), x in key()) {
            prop_assume!(a != b);
            prop_assert!(x.within(&a, &b) != x.within(&b, &a));
        }

        #[test]
        fn digits_spell_the_key(a in key(), index in 0u32..64) {
            let byte = a.0[(index / 2) as usize];
            let nibble = if index % 2 == 0 { byte >> 4 } else { byte & 15 };
            prop_assert_eq!(a.digit(index, 4), u32::from(nibble));
        }
    }

    impl Key {
        fn negated(&self, zero: &Self) -> Self {
            Self(self.clockwise(zero).0)
        }
    }
}

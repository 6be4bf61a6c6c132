//! Hashes for tables: a keyed one where a remote peer may choose the keys, and one that costs nothing where this node
//! counts them up itself. The key comes in through the engine's constructor, so that runs can be repeated.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::{FixedState, FoldHasher};

/// foldhash under a seed: a few multiplications for a Guid, where SipHash took a fifth of the engine's time. It is no
/// cryptographic hash; every table with it is bounded, so that whoever found keys that meet would win little.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seeded(pub(crate) u64);

impl BuildHasher for Seeded {
    type Hasher = FoldHasher<'static>;
    fn build_hasher(&self) -> Self::Hasher {
        FixedState::with_seed(self.0).build_hasher()
    }
}

/// For numbers this node gave out itself: nobody else can make them meet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Own;

/// The number, its bits spread over the whole word.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Number(u64);

impl BuildHasher for Own {
    type Hasher = Number;
    fn build_hasher(&self) -> Number {
        Number::default()
    }
}

impl Hasher for Number {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }
    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }
    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing (Knuth, The Art of Computer Programming, vol. 3, §6.4).
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

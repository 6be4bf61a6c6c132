//! A keyed hash for tables whose keys a remote peer may choose. The key comes in through the engine's
//! constructor, so that runs can be repeated.

use std::hash::{BuildHasher, DefaultHasher, Hasher};

/// SipHash under a seed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seeded(pub(crate) u64);

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;
    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

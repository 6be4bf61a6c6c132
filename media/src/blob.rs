//! Content-addressed bytes: the BLAKE3 hash, and the tree under it that lets any range be checked on its own.
//!
//! A blob is cut into *groups* of [`GROUP_BYTES`]; the tree over them is BLAKE3's own (the paper, §2.1, and the bao
//! format with chunk groups of 16 KiB). Its inner nodes, 64 bytes each in pre-order, are the *outboard*: computed
//! once when a blob is imported, kept beside it, and read, not hashed, when it is served.

use core::fmt;
use core::str::FromStr;

use polymorph_core::Key;
use serde::{Deserialize, Serialize};

pub mod ranges;
pub mod tree;

pub use ranges::Ranges;

/// How many bytes are verified at a time. BLAKE3's widest SIMD takes 16 KiB at once, and 64 bytes of tree per group
/// are 0.4 % of the data.
pub const GROUP_BYTES: u64 = 16 * 1024;

/// How many groups make a chunk: the unit that is asked for, verified and written in one go (1 MiB). Large enough
/// that a system call or a hand-over between threads per chunk does not show, small enough to share out.
pub const CHUNK_GROUPS: u64 = 64;

/// The BLAKE3 hash of a blob: what it is called, and what proves it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hash(pub [u8; 32]);

/// The text was not a hash.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected the 64 hexadecimal digits of a content hash, got {0:?}")]
pub struct NotAHash(pub String);

impl Hash {
    /// The hash of bytes at hand.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The first bytes in hexadecimal, for log lines.
    #[must_use]
    pub fn short(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0[..4])
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({})", self.short())
    }
}

impl FromStr for Hash {
    type Err = NotAHash;
    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        bytes.and_then(|b| <[u8; 32]>::try_from(b).ok()).map(Self).ok_or_else(|| NotAHash(text.into()))
    }
}

/// Where the provider records of a blob are kept in a key-routed overlay.
impl From<Hash> for Key {
    fn from(hash: Hash) -> Self {
        Self(hash.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_back_from_its_text() {
        let hash = Hash::of(b"x");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string().to_uppercase().parse(), Ok(hash));
        assert!("abc".parse::<Hash>().is_err());
        assert!(hash.to_string().replace('a', "g").parse::<Hash>().is_err() || !hash.to_string().contains('a'));
    }
}

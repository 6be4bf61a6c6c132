//! Bytes that serde moves in one piece: a length and one copy, not a call for each of them.

use core::fmt;
use core::ops::Deref;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

/// The most bytes that an IP address and a port take: so many need no list on the heap.
const SOCKET: usize = 18;

/// Bytes on their way in or out; those of the wire are only borrowed.
pub(crate) enum Raw<'a> {
    Borrowed(&'a [u8]),
    Owned(SmallVec<[u8; SOCKET]>),
}

impl Raw<'_> {
    /// Exactly so many.
    pub(crate) fn array<'de, D: Deserializer<'de>, const N: usize>(from: D) -> Result<[u8; N], D::Error> {
        let raw = Raw::deserialize(from)?;
        let wrong = |_| D::Error::custom(format_args!("{} bytes where {N} belong", raw.len()));
        <[u8; N]>::try_from(&*raw).map_err(wrong)
    }
}

impl Deref for Raw<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Raw<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Raw<'de>, E> {
                Ok(Raw::Borrowed(bytes))
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Raw<'de>, E> {
                Ok(Raw::Owned(bytes.into()))
            }
        }
        from.deserialize_bytes(Bytes)
    }
}

//! What [`Guid`](crate::Guid) and [`Key`](crate::Key) share: 32 bytes that serde moves in one piece.

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

/// Borrowed bytes that serialize as bytes: one length byte and one copy, not 32 calls.
struct Raw<'a>(&'a [u8]);

impl serde::Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0)
    }
}

/// Serializes as a named newtype, so that a serializer that looks for peers can see them pass.
pub(crate) fn serialize<S: Serializer>(name: &'static str, bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_newtype_struct(name, &Raw(bytes))
}

/// The counterpart of [`serialize`].
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(name: &'static str, from: D) -> Result<[u8; 32], D::Error> {
    struct Newtype;
    impl<'de> Visitor<'de> for Newtype {
        type Value = [u8; 32];
        fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            f.write_str("32 bytes")
        }
        fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<[u8; 32], D::Error> {
            from.deserialize_bytes(self)
        }
        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<[u8; 32], E> {
            <[u8; 32]>::try_from(bytes).map_err(|_| E::invalid_length(bytes.len(), &"32 bytes"))
        }
    }
    from.deserialize_newtype_struct(name, Newtype)
}

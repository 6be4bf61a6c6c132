//! What [`Guid`](crate::Guid) and [`Key`](crate::Key) share: 32 bytes that serde moves in one piece.

use serde::de::Visitor;
use serde::{Deserializer, Serializer};

use crate::raw::Raw;

/// Serializes as a named newtype, so that a serializer that looks for peers can see them pass.
pub(crate) fn serialize<S: Serializer>(name: &'static str, bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_newtype_struct(name, &Raw::Borrowed(bytes))
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
            Raw::array(from)
        }
    }
    from.deserialize_newtype_struct(name, Newtype)
}

//! Who a node *is*: 32 bytes derived from its public key.

use core::fmt;
use core::str::FromStr;
use std::sync::LazyLock;

use blake3::hazmat::{ContextKey, HasherExt as _, hash_derive_key_context};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bytes32;
use crate::identity::PublicKey;

/// The identity of a node: BLAKE3 derive-key of its ed25519 public key. Never changes; where a node
/// *stands* in an overlay is an address instead, see `Topology::Address`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub [u8; 32]);

/// The name under which serde sees a [`Guid`]; see the survey in `wire`.
pub(crate) const GUID: &str = "Guid";

/// What sets a Guid apart from all else that is derived from a public key.
static CONTEXT: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("polymorph 2026-11 guid of an ed25519 public key"));

impl Guid {
    /// The Guid that belongs to a public key.
    #[must_use]
    pub fn of(key: &PublicKey) -> Self {
        // Every contact that is read asks for one: what the context comes to is reckoned once.
        let mut hasher = blake3::Hasher::new_from_context_key(&CONTEXT);
        Self(*hasher.update(&key.0).finalize().as_bytes())
    }

    /// The first bytes in hexadecimal, for log lines.
    #[must_use]
    pub fn short(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0[..4])
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({})", self.short())
    }
}

/// The text was not 64 hexadecimal digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected 64 hexadecimal digits, got {0:?}")]
pub struct NotHex(pub String);

pub(crate) fn parse_hex(text: &str) -> Result<[u8; 32], NotHex> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| NotHex(text.into()))?;
    <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| NotHex(text.into()))
}

impl FromStr for Guid {
    type Err = NotHex;
    fn from_str(text: &str) -> Result<Self, NotHex> {
        parse_hex(text).map(Self)
    }
}

impl Serialize for Guid {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        bytes32::serialize(GUID, &self.0, to)
    }
}

impl<'de> Deserialize<'de> for Guid {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        bytes32::deserialize(GUID, from).map(Self)
    }
}

//! Keys and signatures. The engine signs and verifies through [`Signer`] and [`Verifier`], so that a large
//! simulation may lend it a cheap stand-in of the same sizes.

use core::fmt;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Guid;
use crate::raw::Raw;

/// An ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublicKey(pub [u8; 32]);

/// An ed25519 signature, or in a large simulation a stand-in of the same size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// What a signature is for. It is put before the signed bytes, so that a signature given for one purpose is
/// worth nothing for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Domain {
    /// A [`Contact`](crate::Contact).
    Contact,
    /// A `Membership`.
    Membership,
    /// A `Grant` by an overlay's authority.
    Grant,
    /// The origin of a broadcast.
    Broadcast,
    /// A record stored in an overlay.
    Record,
    /// An application's own purpose.
    Application,
}

impl Domain {
    fn message(self, bytes: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(32 + bytes.len());
        message.extend_from_slice(match self {
            Self::Contact => b"polymorph 2026-11 contact\0".as_slice(),
            Self::Membership => b"polymorph 2026-11 membership\0",
            Self::Grant => b"polymorph 2026-11 grant\0",
            Self::Broadcast => b"polymorph 2026-11 broadcast\0",
            Self::Record => b"polymorph 2026-11 record\0",
            Self::Application => b"polymorph 2026-11 application\0",
        });
        message.extend_from_slice(bytes);
        message
    }
}

/// Signs in the name of one node.
pub trait Signer: Send + Sync + fmt::Debug {
    /// The key that verifies what this signs.
    fn public_key(&self) -> PublicKey;
    /// Signs `bytes` for one purpose.
    fn sign(&self, domain: Domain, bytes: &[u8]) -> Signature;
    /// Who signs: whoever has it at hand need not derive it again.
    fn guid(&self) -> Guid {
        Guid::of(&self.public_key())
    }
}

/// Checks signatures. Costs about 33 µs with ed25519: check lazily and once.
pub trait Verifier: Send + Sync + fmt::Debug {
    /// Whether `key` signed `bytes` for this purpose.
    fn verify(&self, key: &PublicKey, domain: Domain, bytes: &[u8], signature: &Signature) -> bool;
}

/// A node's own key pair. Its [`Guid`] follows from it.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
}

impl Identity {
    /// The identity of a 32-byte secret seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(seed) }
    }

    /// A new identity from the operating system's entropy.
    ///
    /// # Panics
    /// If the operating system has no entropy to give, in which case nothing can be secret.
    #[cfg(feature = "runtime")]
    #[must_use]
    pub fn generate() -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("the operating system gives entropy");
        Self::from_seed(&seed)
    }

    /// The secret seed, to be stored with care.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// Who this is.
    #[must_use]
    pub fn guid(&self) -> Guid {
        Guid::of(&self.public_key())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.guid().short())
    }
}

impl Signer for Identity {
    fn public_key(&self) -> PublicKey {
        PublicKey(self.key.verifying_key().to_bytes())
    }

    fn sign(&self, domain: Domain, bytes: &[u8]) -> Signature {
        Signature(self.key.sign(&domain.message(bytes)).to_bytes())
    }
}

/// Strict ed25519: weak keys and malleable signatures are refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ed25519;

impl Verifier for Ed25519 {
    fn verify(&self, key: &PublicKey, domain: Domain, bytes: &[u8], signature: &Signature) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&key.0) else { return false };
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(&domain.message(bytes), &signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Raw::Borrowed(&self.0).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Raw::array(from).map(Signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_worth_nothing_for_another_purpose() {
        let identity = Identity::from_seed(&[7; 32]);
        let signature = identity.sign(Domain::Contact, b"x");
        assert!(Ed25519.verify(&identity.public_key(), Domain::Contact, b"x", &signature));
        assert!(!Ed25519.verify(&identity.public_key(), Domain::Grant, b"x", &signature));
        assert!(!Ed25519.verify(&identity.public_key(), Domain::Contact, b"y", &signature));
    }
}

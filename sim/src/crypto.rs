//! Who the peers of a world are, and how they sign.
//!
//! A check of an ed25519 signature costs about 33 µs, as much as dozens of simulated events. Large worlds therefore
//! sign with a stand-in of the same sizes: the public key, the purpose and the bytes, mixed with the world's seed. It
//! notices whatever was altered on the way; it does not stop somebody inside the world from forging, because whoever
//! can verify can sign. No peer of a world does: peers run the engine, which has no such code.

use core::fmt;
use std::sync::Arc;

use polymorph_core::{Domain, Ed25519, Guid, Identity, PublicKey, Signature, Signer, Verifier};

use crate::mix::{bytes32, chain, mix};

/// How the peers of a world sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Crypto {
    /// A mixture of the same size.
    #[default]
    StandIn,
    /// Ed25519, as on sockets.
    Real,
}

/// Keeps the seeds of identities apart from other draws.
const IDENTITIES: u64 = 0x6964_656e_7469_7479;
/// Keeps signatures apart from other draws.
const SIGNATURES: u64 = 0x7369_676e_6174_7572;

impl Crypto {
    /// The secret seed of a peer's identity in a world of this seed: the seed of an [`Identity`], too, so that the
    /// same peer can be started on sockets.
    #[must_use]
    pub fn secret(seed: u64, peer: u32) -> [u8; 32] {
        bytes32(seed ^ IDENTITIES, u64::from(peer))
    }

    pub(crate) fn signer(self, seed: u64, peer: u32) -> Arc<dyn Signer> {
        let secret = Self::secret(seed, peer);
        match self {
            Self::StandIn => Arc::new(StandIn::new(seed, &secret)),
            Self::Real => Arc::new(Identity::from_seed(&secret)),
        }
    }

    pub(crate) fn verifier(self, seed: u64) -> Arc<dyn Verifier> {
        match self {
            Self::StandIn => Arc::new(Check { seed }),
            Self::Real => Arc::new(Ed25519),
        }
    }
}

fn tag(seed: u64, key: &PublicKey, domain: Domain, bytes: &[u8]) -> Signature {
    let purpose = match domain {
        Domain::Contact => 1,
        Domain::Membership => 2,
        Domain::Grant => 3,
        Domain::Broadcast => 4,
        Domain::Record => 5,
        Domain::Application => 6,
    };
    let words = key.0.chunks(8).chain(bytes.chunks(8)).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    // The length, too: the last word may be filled up with zeros.
    let state = words.fold(mix(mix(seed, SIGNATURES), purpose), chain);
    let state = mix(state, bytes.len() as u64);
    let mut out = [0; 64];
    out[..32].copy_from_slice(&bytes32(state, 0));
    out[32..].copy_from_slice(&bytes32(state, 1));
    Signature(out)
}

/// Signs by mixing.
pub(crate) struct StandIn {
    pub(crate) seed: u64,
    pub(crate) public: PublicKey,
    pub(crate) guid: Guid,
}

impl StandIn {
    fn new(seed: u64, secret: &[u8; 32]) -> Self {
        let public = PublicKey(*blake3::hash(secret).as_bytes());
        Self { seed, public, guid: Guid::of(&public) }
    }
}

impl Signer for StandIn {
    fn public_key(&self) -> PublicKey {
        self.public
    }

    fn sign(&self, domain: Domain, bytes: &[u8]) -> Signature {
        tag(self.seed, &self.public, domain, bytes)
    }

    fn guid(&self) -> Guid {
        self.guid
    }
}

impl fmt::Debug for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StandIn({:?})", self.public)
    }
}

/// Checks what [`StandIn`] signs.
struct Check {
    seed: u64,
}

impl Verifier for Check {
    fn verify(&self, key: &PublicKey, domain: Domain, bytes: &[u8], signature: &Signature) -> bool {
        tag(self.seed, key, domain, bytes) == *signature
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Check")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_its_key_purpose_bytes_and_world_only() {
        for crypto in [Crypto::StandIn, Crypto::Real] {
            let (one, two) = (crypto.signer(1, 0), crypto.signer(1, 1));
            let signature = one.sign(Domain::Record, b"x");
            let good = |seed, key: &PublicKey, domain, bytes: &[u8]| {
                crypto.verifier(seed).verify(key, domain, bytes, &signature)
            };
            assert!(good(1, &one.public_key(), Domain::Record, b"x"));
            assert!(!good(1, &two.public_key(), Domain::Record, b"x"));
            assert!(!good(1, &one.public_key(), Domain::Grant, b"x"));
            assert!(!good(1, &one.public_key(), Domain::Record, b"y"));
            assert!(!good(1, &one.public_key(), Domain::Record, b"x\0"));
            assert_eq!(good(2, &one.public_key(), Domain::Record, b"x"), crypto == Crypto::Real);
        }
    }

    #[test]
    fn a_real_peer_has_the_identity_of_its_published_secret() {
        let signer = Crypto::Real.signer(9, 4);
        assert_eq!(signer.public_key(), Identity::from_seed(&Crypto::secret(9, 4)).public_key());
        assert_ne!(Crypto::secret(9, 4), Crypto::secret(9, 5));
        assert_ne!(Crypto::secret(9, 4), Crypto::secret(8, 4));
    }
}

//! A signature beside a package: who vouches for a content root. The package itself names nobody.

use polymorph_core::{Domain, Guid, PublicKey, Signature, Signer, Verifier};
use serde::{Deserialize, Serialize};

use crate::blob::Hash;

/// Before the signed root, so that a seal is no other application's signature.
const PURPOSE: &[u8] = b"package seal\0";

/// A detached signature over a content root. Decoding checks its form only; call [`Seal::verify`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Which package.
    pub root: Hash,
    /// Who vouches for it.
    pub key: PublicKey,
    signature: Signature,
}

impl Seal {
    /// Vouches for the package `root`.
    #[must_use]
    pub fn sign(signer: &dyn Signer, root: Hash) -> Self {
        let signature = signer.sign(Domain::Application, &message(&root));
        Self { root, key: signer.public_key(), signature }
    }

    /// Who signed it, if the signature is good.
    #[must_use]
    pub fn verify(&self, verifier: &dyn Verifier) -> Option<Guid> {
        let good = verifier.verify(&self.key, Domain::Application, &message(&self.root), &self.signature);
        good.then(|| Guid::of(&self.key))
    }
}

fn message(root: &Hash) -> Vec<u8> {
    [PURPOSE, &root.0].concat()
}

#[cfg(test)]
mod tests {
    use polymorph_core::{Ed25519, Identity};

    use super::*;

    #[test]
    fn a_seal_holds_for_its_package_and_signer_only() {
        let identity = Identity::from_seed(&[3; 32]);
        let seal = Seal::sign(&identity, Hash::of(b"package"));
        let back: Seal = postcard::from_bytes(&postcard::to_stdvec(&seal).unwrap()).unwrap();
        assert_eq!(back.verify(&Ed25519), Some(identity.guid()));
        assert_eq!(Seal { root: Hash::of(b"other"), ..seal }.verify(&Ed25519), None);
        assert_eq!(Seal { key: Identity::from_seed(&[4; 32]).public_key(), ..seal }.verify(&Ed25519), None);
    }
}

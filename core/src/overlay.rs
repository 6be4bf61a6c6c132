//! Overlays: their names, who may join, and what a member says of itself.

use core::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::identity::{Domain, PublicKey, Signature, Signer, Verifier};
use crate::{Guid, Key, Time};

/// How many bytes an overlay's name may have.
pub const MAX_NAME_BYTES: usize = 64;
/// How many bytes of addresses a membership may carry.
pub const MAX_MEMBERSHIP_BYTES: usize = 512;

/// The name of an overlay on the network: derived from its printable name and whoever may join it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OverlayId(pub [u8; 32]);

impl OverlayId {
    /// Where `guid` stands on this overlay's key space: its `index`-th virtual node. Everybody computes it, so
    /// nobody can claim another place.
    #[must_use]
    pub fn position(&self, guid: Guid, index: u32) -> Key {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&guid.0).update(&index.to_le_bytes());
        Key(*hasher.finalize().as_bytes())
    }
}

impl fmt::Debug for OverlayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OverlayId({})", data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

/// One node in one overlay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The overlay.
    pub overlay: OverlayId,
    /// This node.
    pub me: Guid,
}

impl Place {
    /// Where `guid` stands on the key space (its first virtual node).
    #[must_use]
    pub fn position(&self, guid: Guid) -> Key {
        self.overlay.position(guid, 0)
    }

    /// Where this node stands.
    #[must_use]
    pub fn mine(&self) -> Key {
        self.position(self.me)
    }
}

/// Who may join an overlay.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Admission {
    /// Whoever knows its name.
    #[default]
    Open,
    /// Whoever knows this secret.
    Secret([u8; 32]),
    /// Holders of a [`Grant`] by this key.
    Authority(PublicKey),
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Secret(_) => f.write_str("secret"),
            Self::Authority(key) => write!(f, "authority {key:?}"),
        }
    }
}

/// Why a text is no overlay name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an overlay name has 1 to {MAX_NAME_BYTES} letters, digits, '-', '_', '.' or '/'; {0:?} does not")]
pub struct BadName(pub String);

/// An overlay's printable name and its door. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct OverlayName(Arc<Named>);

#[derive(PartialEq, Eq)]
struct Named {
    name: String,
    admission: Admission,
    id: OverlayId,
    proof_key: [u8; 32],
}

/// Says nothing of the key, which is a secret where the admission is one.
impl fmt::Debug for OverlayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlayName").field("name", &self.0.name).field("admission", &self.0.admission).finish()
    }
}

impl OverlayName {
    /// Names an overlay.
    ///
    /// # Errors
    /// [`BadName`].
    pub fn new(name: &str, admission: Admission) -> Result<Self, BadName> {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(good) {
            return Err(BadName(name.into()));
        }
        let derive = |context| derive(context, name, &admission);
        let (id, proof_key) = (OverlayId(derive(ID)), derive(PROOF_KEY));
        Ok(Self(Arc::new(Named { name: name.into(), admission, id, proof_key })))
    }

    /// The printable name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Who may join.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.0.admission
    }

    /// The overlay's name on the network.
    #[must_use]
    pub fn id(&self) -> OverlayId {
        self.0.id
    }

    /// What proves membership between two nodes: the key of the MACs they show each other.
    #[must_use]
    pub(crate) fn proof_key(&self) -> &[u8; 32] {
        &self.0.proof_key
    }
}

/// What is derived from a name and its door, and for what.
const ID: &str = "polymorph 2026-11 overlay id";
const PROOF_KEY: &str = "polymorph 2026-11 overlay membership proof";

fn derive(context: &'static str, name: &str, admission: &Admission) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    match admission {
        Admission::Open => hasher.update(b"open"),
        Admission::Secret(secret) => hasher.update(b"secret").update(secret),
        Admission::Authority(key) => hasher.update(b"authority").update(&key.0),
    };
    *hasher.update(name.as_bytes()).finalize().as_bytes()
}

/// What a node is in an overlay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Standing {
    /// Carries its part for others.
    #[default]
    Member,
    /// Asks, publishes and fetches; carries nothing for others and stands in nobody's tables.
    Client,
}

/// An authority's word that a node may take part in an overlay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// Which overlay.
    pub overlay: OverlayId,
    /// Who may.
    pub subject: Guid,
    /// The most it may be.
    pub standing: Standing,
    /// Until when, in seconds of [`Time`].
    pub expires: u64,
    signature: Signature,
}

impl Grant {
    fn message(overlay: &OverlayId, subject: &Guid, standing: Standing, expires: u64) -> Vec<u8> {
        postcard::to_stdvec(&(overlay, subject, standing, expires)).unwrap_or_default()
    }

    /// Grants, in the authority's name.
    #[must_use]
    pub fn sign(authority: &dyn Signer, overlay: OverlayId, subject: Guid, standing: Standing, until: Time) -> Self {
        let expires = until.as_secs();
        let signature = authority.sign(Domain::Grant, &Self::message(&overlay, &subject, standing, expires));
        Self { overlay, subject, standing, expires, signature }
    }

    /// Whether `authority` lets `subject` be `standing` in `overlay` at `now`.
    #[must_use]
    pub fn allows(
        &self,
        authority: &PublicKey,
        verifier: &dyn Verifier,
        overlay: &OverlayId,
        subject: &Guid,
        standing: Standing,
        now: Time,
    ) -> bool {
        let enough = self.standing == Standing::Member || standing == Standing::Client;
        enough
            && self.overlay == *overlay
            && self.subject == *subject
            && Time::from_secs(self.expires) > now
            && verifier.verify(
                authority,
                Domain::Grant,
                &Self::message(overlay, subject, self.standing, self.expires),
                &self.signature,
            )
    }
}

/// What a node says of itself in one overlay, signed; sent only inside that overlay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Membership {
    key: PublicKey,
    signed: Bytes,
    signature: Signature,
}

/// The signed part of a [`Membership`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// Which overlay.
    pub overlay: OverlayId,
    /// What the node is in it.
    pub standing: Standing,
    /// Its addresses there, encoded in the topology's own type.
    pub addresses: Bytes,
    /// What proves the addresses, such as an assigner's signature.
    pub proof: Bytes,
    /// Of two memberships the higher sequence is the newer.
    pub sequence: u64,
    /// Until when, in seconds of [`Time`].
    pub expires: u64,
    /// The authority's grant, where the overlay has one.
    pub grant: Option<Grant>,
}

/// Why a membership is not accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MembershipError {
    /// Cut short or too long.
    #[error("the membership is damaged")]
    Malformed,
    /// Signed for another overlay.
    #[error("the membership is for another overlay")]
    OtherOverlay,
    /// Signed by somebody else.
    #[error("the membership's signature is wrong")]
    BadSignature,
    /// Its time is over.
    #[error("the membership expired")]
    Expired,
    /// The overlay has an authority, and it did not grant this.
    #[error("the overlay's authority did not grant this membership")]
    NotGranted,
}

impl Membership {
    /// How many bytes it takes on the wire.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        self.signed.len() + 2 + size_of::<PublicKey>() + 65
    }

    /// Signs what a node says of itself.
    #[must_use]
    pub fn sign(signer: &dyn Signer, claim: &Claim) -> Self {
        let signed = Bytes::from(postcard::to_stdvec(claim).unwrap_or_default());
        let signature = signer.sign(Domain::Membership, &signed);
        Self { key: signer.public_key(), signed, signature }
    }

    /// What it says, once everything about it was checked.
    ///
    /// # Errors
    /// Every variant of [`MembershipError`].
    pub fn verify(
        &self,
        overlay: &OverlayName,
        guid: Guid,
        verifier: &dyn Verifier,
        now: Time,
    ) -> Result<Claim, MembershipError> {
        if self.signed.len() > MAX_MEMBERSHIP_BYTES {
            return Err(MembershipError::Malformed);
        }
        let Ok((claim, [])) = postcard::take_from_bytes::<Claim>(&self.signed) else {
            return Err(MembershipError::Malformed);
        };
        if claim.overlay != overlay.id() {
            return Err(MembershipError::OtherOverlay);
        }
        if Time::from_secs(claim.expires) <= now {
            return Err(MembershipError::Expired);
        }
        let signed = Guid::of(&self.key) == guid
            && verifier.verify(&self.key, Domain::Membership, &self.signed, &self.signature);
        if !signed {
            return Err(MembershipError::BadSignature);
        }
        if let Admission::Authority(authority) = overlay.admission() {
            let granted = claim
                .grant
                .as_ref()
                .is_some_and(|g| g.allows(authority, verifier, &claim.overlay, &guid, claim.standing, now));
            if !granted {
                return Err(MembershipError::NotGranted);
            }
        }
        Ok(claim)
    }
}

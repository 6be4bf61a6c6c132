//! Small signed records, stored at the replica set of their key: who provides a content, or a value.

use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::identity::{Domain, PublicKey, Signature, Signer, Verifier};
use crate::{Guid, Key, Time};

/// How many bytes a record's value may have.
pub const MAX_VALUE_BYTES: usize = 1024;
/// How long a record may live at most: two days, as libp2p's provider records do.
pub const MAX_LIFETIME_SECS: u64 = 48 * 3600;

/// How much the clocks of two nodes may differ, so that a record of the longest life is not refused.
const CLOCK_SKEW_SECS: u64 = 600;
/// What a record takes on the wire beside its value: five fields of fixed or small size.
const FIXED_BYTES: usize = 33 + 33 + 32 + 10 + 10 + 2 + 65;

/// A small signed record. Provider records have an empty value: the publisher itself is what they name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Where it is stored.
    pub key: Key,
    /// Who published it, as Guid: its contact travels with the record.
    pub publisher: Guid,
    /// The publisher's key.
    pub public_key: PublicKey,
    /// Of one publisher's records under one key the higher sequence is the newer.
    pub sequence: u64,
    /// Until when, in seconds of [`Time`].
    pub expires: u64,
    /// The value.
    pub value: Bytes,
    signature: Signature,
}

/// What a replica says of a record it was asked to keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Receipt {
    /// It is kept.
    Kept,
    /// A newer one of the same publisher is kept there.
    Older,
    /// There is no room: in all, under the key, or in the share of its publisher or of who brought it.
    Full,
    /// It is forged, too large or not in time; or that node keeps nothing for others.
    Refused,
}

/// How many of a key's replicas must have done something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Quorum {
    /// More than half: what was written so is seen by whoever reads so.
    #[default]
    Majority,
    /// Every one.
    All,
    /// So many, or every one where there are fewer.
    Of(usize),
}

impl Quorum {
    /// How many of so many replicas that is; at least one.
    #[must_use]
    pub fn of(self, replicas: usize) -> usize {
        let wanted = match self {
            Self::Majority => replicas / 2 + 1,
            Self::All => replicas,
            Self::Of(n) => n.min(replicas),
        };
        wanted.max(1)
    }
}

/// How a record is published.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PutOptions {
    /// How long each signed copy lives; it is signed and stored anew before that, until it is withdrawn. One that
    /// replaces another lives no shorter than that one: else the older would be shown again after it.
    pub lifetime: Duration,
    /// How many replicas must keep it.
    pub quorum: Quorum,
    /// Its place among the publisher's records under this key: the higher replaces the lower. `None` takes the clock,
    /// so that each put is newer than the one before.
    pub sequence: Option<u64>,
}

impl Default for PutOptions {
    fn default() -> Self {
        Self { lifetime: Duration::from_secs(24 * 3600), quorum: Quorum::Majority, sequence: None }
    }
}

/// How records are fetched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GetOptions {
    /// How many replicas must have answered.
    pub quorum: Quorum,
    /// Whether somebody on the way may answer in their stead.
    pub caches: Caches,
}

/// Whether copies will do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Caches {
    /// No: replicas are asked.
    #[default]
    Bypass,
    /// Yes: whoever on the way to the owner knows the records answers, with what may be half an hour old. The replicas
    /// are asked if nobody does.
    Allow,
}

/// Who showed records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Source {
    /// So many replicas.
    Replicas(usize),
    /// Somebody on the way to the owner, or the owner itself: what it shows may be half an hour old.
    Way,
}

/// Why a record is not kept.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum RecordError {
    /// The value has more than [`MAX_VALUE_BYTES`].
    #[error("the value is larger than {MAX_VALUE_BYTES} bytes")]
    TooLarge,
    /// Its time is over, or ends later than [`MAX_LIFETIME_SECS`] from now.
    #[error("the record's expiry has passed or is too far ahead")]
    Expiry,
    /// The signature is not the publisher's.
    #[error("the record's signature is wrong")]
    BadSignature,
}

/// The last second at which a record may expire that is brought now.
pub(crate) fn latest_expiry(now: Time) -> u64 {
    now.as_secs().saturating_add(MAX_LIFETIME_SECS + CLOCK_SKEW_SECS)
}

impl Record {
    fn message(key: &Key, sequence: u64, expires: u64, value: &[u8]) -> Vec<u8> {
        postcard::to_stdvec(&(key, sequence, expires, value)).unwrap_or_default()
    }

    /// Signs a record that is valid until `expires`.
    #[must_use]
    pub fn sign(signer: &dyn Signer, key: Key, value: Bytes, sequence: u64, expires: Time) -> Self {
        let public_key = signer.public_key();
        let expires = expires.as_secs();
        let signature = signer.sign(Domain::Record, &Self::message(&key, sequence, expires, &value));
        Self { key, publisher: Guid::of(&public_key), public_key, sequence, expires, value, signature }
    }

    /// Whether it replaces another one of the same publisher under the same key. Of equal sequence it is the one that
    /// lives longer, as one that is stored anew does; the order is total, so that all replicas end with the same one.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        (self.sequence, self.expires, &self.value) > (other.sequence, other.expires, &other.value)
    }

    /// A number for this very record: a part of its signature. Those of several add up to one for all of them.
    pub(crate) fn mark(&self) -> u64 {
        self.signature.0.iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte))
    }

    /// How many bytes it takes on the wire at most.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        FIXED_BYTES + self.value.len()
    }

    /// Checks size, expiry and signature.
    ///
    /// # Errors
    /// Every variant of [`RecordError`].
    pub fn verify(&self, verifier: &dyn Verifier, now: Time) -> Result<(), RecordError> {
        if self.value.len() > MAX_VALUE_BYTES {
            return Err(RecordError::TooLarge);
        }
        if self.expires <= now.as_secs() || self.expires > latest_expiry(now) {
            return Err(RecordError::Expiry);
        }
        let message = Self::message(&self.key, self.sequence, self.expires, &self.value);
        let signed = Guid::of(&self.public_key) == self.publisher
            && verifier.verify(&self.public_key, Domain::Record, &message, &self.signature);
        if signed { Ok(()) } else { Err(RecordError::BadSignature) }
    }
}

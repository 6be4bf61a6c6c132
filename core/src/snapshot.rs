//! What a node should still know of one overlay when it starts again: whom it was linked with, the records it kept for
//! others, and those it publishes.
//!
//! As bytes a snapshot begins with what it is and which overlay it is of, and has a hash of all that follows: one that
//! was torn or is of something else is refused as a whole. What is inside is not believed for that: contacts are proven
//! when they are dialed, and records checked as if a peer had brought them.

use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::record::Record;
use crate::{Contact, Guid, Key, OverlayId, Time};

/// How a snapshot's bytes begin.
const MAGIC: &[u8; 18] = b"polymorph snapshot";
/// The form of what follows. Another is not read.
const VERSION: u8 = 2;
/// Magic, version, the overlay, and the hash of the rest.
const HEADER_BYTES: usize = MAGIC.len() + 1 + 32 + 32;
/// How many bytes a snapshot may have: the records of an overlay with the usual bounds, and its own ones.
pub const MAX_SNAPSHOT_BYTES: usize = 128 << 20;
/// How many contacts are kept: as many as a table has in a large overlay (Kademlia among 10^6: 20 in each of 16 buckets).
pub const MAX_SNAPSHOT_CONTACTS: usize = 512;

/// What a node knows of one overlay.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// How to reach peers of this overlay: those with the longest sessions first, then others its topology names.
    pub contacts: Vec<Contact>,
    /// What is kept for others.
    pub kept: Vec<KeptRecord>,
    /// What this node publishes.
    pub own: Vec<OwnRecord>,
}

/// A record, and in whose share it counts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeptRecord {
    /// Who brought it first.
    pub from: Guid,
    /// The record.
    pub record: Record,
    /// Until which second it stays, though it may have expired: an older one of its publisher lives so long.
    pub stays: u64,
}

/// A record of this node itself, signed anew each time it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OwnRecord {
    /// Where it is stored.
    pub key: Key,
    /// What.
    pub value: Bytes,
    /// How long each signed copy lives.
    pub lifetime: Duration,
    /// The sequence number it was put with, if it was with one.
    pub sequence: Option<u64>,
    /// The sequence number it was signed with last.
    pub last: u64,
    /// Until when the copy lives that was signed last.
    pub expires: Time,
}

/// Why bytes are no snapshot.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum SnapshotError {
    /// They begin otherwise.
    #[error("it is no snapshot of an overlay")]
    Foreign,
    /// They are in another form.
    #[error("it is in form {0}, and this program reads form {VERSION}")]
    Version(u8),
    /// They are of another overlay.
    #[error("it is of another overlay")]
    OtherOverlay,
    /// They are more than [`MAX_SNAPSHOT_BYTES`].
    #[error("it has more than {MAX_SNAPSHOT_BYTES} bytes")]
    TooLarge,
    /// Their hash is wrong, or they were cut.
    #[error("it is damaged")]
    Damaged,
}

impl Snapshot {
    /// As bytes. Of records for which there is no room those kept for others are left out first: other peers have them.
    #[must_use]
    pub fn encode(&self, overlay: OverlayId) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &[VERSION], &overlay.0, &[0; 32]].concat();
        let contacts = part(&self.contacts[..self.contacts.len().min(MAX_SNAPSHOT_CONTACTS)], MAX_SNAPSHOT_BYTES);
        let room = MAX_SNAPSHOT_BYTES - HEADER_BYTES - contacts.len();
        let own = part(&self.own, room);
        let kept = part(&self.kept, room - own.len());
        bytes.extend(contacts);
        bytes.extend(kept);
        bytes.extend(own);
        let hash = blake3::hash(&bytes[HEADER_BYTES..]);
        bytes[HEADER_BYTES - 32..HEADER_BYTES].copy_from_slice(hash.as_bytes());
        bytes
    }

    /// What bytes say. Nothing in it is verified.
    ///
    /// # Errors
    /// Every variant of [`SnapshotError`].
    pub fn decode(bytes: &[u8], overlay: OverlayId) -> Result<Self, SnapshotError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(SnapshotError::Foreign)?;
        let (&version, rest) = rest.split_first().ok_or(SnapshotError::Damaged)?;
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        if bytes.len() > MAX_SNAPSHOT_BYTES {
            return Err(SnapshotError::TooLarge);
        }
        let (of, rest) = rest.split_first_chunk::<32>().ok_or(SnapshotError::Damaged)?;
        let (hash, rest) = rest.split_first_chunk::<32>().ok_or(SnapshotError::Damaged)?;
        if *of != overlay.0 {
            return Err(SnapshotError::OtherOverlay);
        }
        if blake3::hash(rest) != *hash {
            return Err(SnapshotError::Damaged);
        }
        match postcard::take_from_bytes::<Self>(rest) {
            Ok((snapshot, [])) => Ok(snapshot),
            _ => Err(SnapshotError::Damaged),
        }
    }
}

/// As many of a list as there is room for, as bytes.
fn part<V: Serialize>(all: &[V], room: usize) -> Vec<u8> {
    // The count goes before them.
    let room = room.saturating_sub(10);
    let (mut bytes, mut count) = (Vec::new(), 0usize);
    for one in all {
        let before = bytes.len();
        bytes = postcard::to_extend(one, bytes).unwrap_or_default();
        if bytes.len() > room || bytes.len() < before {
            bytes.truncate(before);
            break;
        }
        count += 1;
    }
    let mut whole = postcard::to_stdvec(&count).unwrap_or_default();
    whole.extend(bytes);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    const OVERLAY: OverlayId = OverlayId([7; 32]);

    fn snapshot() -> Snapshot {
        let ann = Identity::from_seed(&[1; 32]);
        let until = Time::from_secs(9000);
        let record = |byte: u8| Record::sign(&ann, Key([byte; 32]), Bytes::from(vec![byte; 9]), 3, until);
        Snapshot {
            contacts: vec![Contact::sign(&ann, &["mem:ann".parse().unwrap()], 3, until)],
            kept: (0..5).map(|byte| KeptRecord { from: Guid([byte; 32]), record: record(byte), stays: 9000 }).collect(),
            own: vec![OwnRecord {
                key: Key([1; 32]),
                value: Bytes::from_static(b"own"),
                lifetime: Duration::from_secs(60),
                sequence: None,
                last: 77,
                expires: until,
            }],
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        for snapshot in [snapshot(), Snapshot::default()] {
            assert_eq!(Snapshot::decode(&snapshot.encode(OVERLAY), OVERLAY), Ok(snapshot));
        }
    }

    #[test]
    fn one_that_is_cut_or_changed_anywhere_is_refused() {
        let whole = snapshot().encode(OVERLAY);
        for at in 0..whole.len() {
            assert!(Snapshot::decode(&whole[..at], OVERLAY).is_err(), "cut at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 0x20;
            assert!(Snapshot::decode(&changed, OVERLAY).is_err(), "changed at {at}");
        }
        assert_eq!(Snapshot::decode(&[whole, vec![0]].concat(), OVERLAY), Err(SnapshotError::Damaged));
    }

    #[test]
    fn what_else_it_may_be_is_said() {
        let mut whole = snapshot().encode(OVERLAY);
        assert_eq!(Snapshot::decode(&whole, OverlayId([8; 32])), Err(SnapshotError::OtherOverlay));
        assert_eq!(Snapshot::decode(b"hello", OVERLAY), Err(SnapshotError::Foreign));
        whole[MAGIC.len()] = 3;
        assert_eq!(Snapshot::decode(&whole, OVERLAY), Err(SnapshotError::Version(3)));
        whole[MAGIC.len()] = VERSION;
        whole.resize(MAX_SNAPSHOT_BYTES + 1, 0);
        assert_eq!(Snapshot::decode(&whole, OVERLAY), Err(SnapshotError::TooLarge));
    }

    #[test]
    fn a_list_is_cut_where_the_room_ends() {
        let all = snapshot().kept;
        let whole = part(&all, usize::MAX);
        let two = part(&all, 10 + postcard::to_stdvec(&all[..2]).unwrap().len() + 3);
        assert_eq!(postcard::from_bytes::<Vec<KeptRecord>>(&whole).unwrap(), all);
        assert_eq!(postcard::from_bytes::<Vec<KeptRecord>>(&two).unwrap(), all[..2]);
        assert_eq!(postcard::from_bytes::<Vec<KeptRecord>>(&part(&all, 0)).unwrap(), []);
    }
}

//! What members can compute, written down a second time: a hostile member can prove itself and broadcast, too.

use polymorph_core::topology::question::CopyId;
use polymorph_core::wire::frame::Proof;
use polymorph_core::{Guid, Key, OverlayName};

/// What the sender shows the receiver over one connection for an open overlay.
pub(crate) fn prove(
    name: &OverlayName,
    epoch: u8,
    exporter: &[u8; 32],
    ends: (Guid, Guid),
    sender_dialed: u8,
    nonce: u64,
) -> Proof {
    let mut key = blake3::Hasher::new_derive_key("polymorph 2026-11 overlay membership proof");
    key.update(b"open").update(name.name().as_bytes());
    let mut hasher = blake3::Hasher::new_keyed(key.finalize().as_bytes());
    hasher.update(exporter).update(&ends.0.0).update(&ends.1.0);
    hasher.update(&[sender_dialed]).update(&nonce.to_le_bytes());
    hasher.update(&name.id().0).update(&[epoch]);
    let mut proof = Proof::default();
    proof.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    proof
}

/// The name of a broadcast.
pub(crate) fn copy_id(origin: &Guid, sequence: u64, topic: Option<&Key>, payload: &[u8]) -> CopyId {
    let mut hasher = blake3::Hasher::new_derive_key("polymorph 2026-11 broadcast id");
    hasher.update(&origin.0).update(&sequence.to_le_bytes());
    hasher.update(&[u8::from(topic.is_some())]).update(topic.map_or(&[0; 32], |topic| &topic.0)).update(payload);
    let mut id = CopyId::default();
    id.0.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    id
}

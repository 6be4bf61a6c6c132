//! Route state of the last hop: "the key is yours; I know of these, and they do not answer".
//!
//! The sender may know peers between the key and the receiver that do not answer. The receiver may know some that
//! the sender has not heard of. So the sender names those it passed over: if the receiver's predecessor is among
//! them it is dead and the key is the receiver's, if not it is new and the key is the predecessor's. Those named
//! as the receiver's alternatives are in the list too: an alternative is asked only when those before it failed.

use bytes::Bytes;
use polymorph_core::Guid;

/// How many bytes of a Guid are enough to tell a few neighbors apart. A mistake costs one wrong owner.
const PREFIX: usize = 4;

/// What the previous hop said.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastHop<'a>(&'a [u8]);

impl<'a> LastHop<'a> {
    /// `None` if this is not the last hop.
    pub(super) fn read(state: &'a [u8]) -> Option<Self> {
        (!state.is_empty()).then_some(Self(state))
    }

    /// Whether a peer was passed over.
    pub(super) fn names(&self, peer: &Guid) -> bool {
        self.0.chunks_exact(PREFIX).any(|prefix| peer.0.starts_with(prefix))
    }

    /// The state for a hop that passes over these.
    pub(super) fn write(peers: impl Iterator<Item = Guid>) -> Bytes {
        peers.flat_map(|peer| peer.0.into_iter().take(PREFIX)).collect()
    }
}

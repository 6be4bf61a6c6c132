//! Route state of the last hop: "the key is yours; I know of these, and they do not answer".
//!
//! The sender may know peers between the key and the receiver that do not answer. The receiver may know some that
//! the sender has not heard of. So the sender names those it passed over: if the receiver's predecessor is among
//! them it is dead and the key is the receiver's, if not it is new and the key is the predecessor's. Those named
//! as the receiver's alternatives are in the list too: an alternative is asked only when those before it failed.

use bytes::Bytes;

use super::name::Name;

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

    /// Whether a virtual node was passed over.
    pub(super) fn names(&self, name: &Name) -> bool {
        self.0.chunks_exact(PREFIX).any(|prefix| *prefix == short(name))
    }
}

/// What to say at a last hop: who is passed over.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed(Vec<u8>);

impl Passed {
    pub(super) fn push(&mut self, name: &Name) {
        self.0.extend(short(name));
    }

    pub(super) fn finish(self) -> Bytes {
        self.0.into()
    }
}

/// A few bytes for a name: those of the Guid, the index mixed into the last one.
fn short(name: &Name) -> [u8; PREFIX] {
    let [a, b, c, d, ..] = name.guid.0;
    [a, b, c, d ^ name.index]
}

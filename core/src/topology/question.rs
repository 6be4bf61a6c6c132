//! What a topology is asked, and the forms of its answers.

use core::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Topology;
use crate::{Guid, Key};

/// What the engine may count on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Powers {
    /// It answers [`route`](Topology::route): the overlay is key-routed.
    pub routes: bool,
    /// It answers [`spread`](Topology::spread): broadcasts reach everybody or all of a topic.
    pub spreads: bool,
    /// It sees its own routed messages in [`transit`](Topology::transit).
    pub intercepts: bool,
    /// It is told of every authenticated frame and of every lookup that begins here (Kademlia's buckets).
    pub hears: bool,
    /// Its addresses are assigned, not computed: peers are told of them, with proof.
    pub assigned: bool,
    /// How many required links it may ask for; an engine whose connection budget is smaller refuses it.
    pub degree: usize,
}

/// Which part of a layered topology asks. Only [`Layer`](super::layer::Layer) and the engine look inside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Lane(pub(crate) u8);

/// The lanes of a layered topology, from those of its parts.
pub(crate) fn lanes(upper: u32, base: u32) -> u32 {
    (0..u32::from(Lane::LIMIT) / 2).fold(0, |all, at| {
        all | (upper >> at & 1) << Lane(at as u8).upper().0 | (base >> at & 1) << Lane(at as u8).base().0
    })
}

impl Lane {
    /// The application, which stands on the topmost part.
    pub(crate) const TOP: Self = Self(0xff);
    /// Lanes below this number can hold links; so a stack has at most five parts.
    pub(crate) const LIMIT: u8 = 32;

    pub(crate) fn upper(self) -> Self {
        Self(self.0 << 1 | 1)
    }

    pub(crate) fn base(self) -> Self {
        Self(self.0 << 1)
    }

    pub(crate) fn split(self) -> (Part, Self) {
        let part = if self.0 & 1 == 1 { Part::Upper } else { Part::Base };
        (part, if self == Self::TOP { self } else { Self(self.0 >> 1) })
    }

    pub(crate) fn bit(self) -> u32 {
        1 << (self.0 % Self::LIMIT)
    }
}

/// The two parts of a layered topology.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Upper,
    Base,
}

/// What a message is routed to: a key, or an address of this very topology.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Target<T: Topology> {
    /// Whoever owns this key.
    Key(Key),
    /// Whoever stands there.
    Address(T::Address),
}

impl<T: Topology> Clone for Target<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Key(key) => Self::Key(*key),
            Self::Address(address) => Self::Address(address.clone()),
        }
    }
}

impl<T: Topology> PartialEq for Target<T> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Key(a), Self::Key(b)) => a == b,
            (Self::Address(a), Self::Address(b)) => a == b,
            _ => false,
        }
    }
}

impl<T: Topology> fmt::Debug for Target<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// What [`Topology::route`] is asked.
pub struct Query<'a, T: Topology> {
    /// Where to.
    pub to: &'a Target<T>,
    /// How many ranked next hops are of use (Kademlia's k for a lookup, 1 for a plain forward).
    pub n: usize,
    /// Peers that did not answer; they must not be named, not even at the last hop.
    pub without: &'a [Guid],
    /// What the previous hop's route left for this one; empty at the first.
    pub state: &'a [u8],
    /// The previous hop; `None` at the origin.
    pub from: Option<Guid>,
    /// Another number each time the engine asks: who leaves a choice to chance draws it from this and a secret, so that
    /// a message which is sent again may take another way.
    pub draw: u32,
    pub(crate) lane: Lane,
}

impl<T: Topology> fmt::Debug for Query<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query").field("to", self.to).field("n", &self.n).finish_non_exhaustive()
    }
}

impl<'a, T: Topology> Query<'a, T> {
    /// A question of somebody who stands on the topmost part, as an application does.
    #[must_use]
    pub fn new(to: &'a Target<T>, n: usize) -> Self {
        Self { to, n, without: &[], state: &[], from: None, draw: 0, lane: Lane::TOP }
    }

    /// Whether a peer may be named.
    #[must_use]
    pub fn allows(&self, peer: &Guid) -> bool {
        !self.without.contains(peer)
    }
}

/// What is to become of a routed message here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Verdict {
    /// Nowhere to go: not joined yet, or no such place.
    #[default]
    Unreachable,
    /// On to one of [`Route::peers`], the best first.
    Forward,
    /// It is for this node, the owner (rank 0) or a lower member of the replica set. `peers` holds the rest of
    /// the replica set in order.
    Deliver {
        /// This node's place in the replica set.
        rank: u8,
    },
}

/// The answer of [`Topology::route`], a buffer the engine lends.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Route {
    /// What is to become of the message.
    pub verdict: Verdict,
    /// The ranked next hops, or on delivery the rest of the replica set. At most `n` are used.
    pub peers: Vec<Guid>,
    /// Route state for the next hop (Koorde's imaginary key, Chord's "you own it").
    pub state: Bytes,
}

impl Route {
    /// Empties the buffer for the next question.
    pub fn clear(&mut self) {
        self.verdict = Verdict::Unreachable;
        self.peers.clear();
        self.state = Bytes::new();
    }
}

/// The name of one broadcast: a hash of its origin, sequence number and payload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct CopyId(pub [u8; 16]);

/// What [`Topology::spread`] is asked: where one broadcast copy goes from here.
#[derive(Clone, Debug)]
pub struct Spread {
    /// The broadcast.
    pub id: CopyId,
    /// The topic, `None` for a broadcast to the whole overlay.
    pub topic: Option<Key>,
    /// Who sent it first.
    pub origin: Guid,
    /// From whom it came; `None` where this node is the origin.
    pub from: Option<Guid>,
    /// How many links it has crossed.
    pub hops: u8,
    pub(crate) lane: Lane,
}

/// Whether a message in transit goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pass {
    /// On to the next hop.
    On,
    /// It ends here.
    Absorb,
}

/// A routed message that passes through.
pub struct Transit<'a, T: Topology> {
    /// Where it goes.
    pub to: &'a Target<T>,
    /// Who sent it first; claimed, not proven.
    pub origin: Guid,
    /// The previous hop; `None` at the origin itself.
    pub from: Option<Guid>,
    /// The message, open to change.
    pub message: &'a mut T::Message,
    /// What travels with it, open to change.
    pub payload: &'a mut Bytes,
}

impl<T: Topology> fmt::Debug for Transit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transit").field("to", self.to).field("message", self.message).finish_non_exhaustive()
    }
}

/// How much an overlay needs a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Hold {
    /// Of use when it is there; costs no session until something is sent, and may be closed for the budget.
    Cached,
    /// Kept open as long as it is wanted.
    Required,
}

/// What a neighbor is to this node, in the papers' words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Role {
    Predecessor,
    Successor,
    Finger,
    Leaf,
    Bucket,
    Parent,
    Child,
    Sibling,
    Active,
    Passive,
    Eager,
    Lazy,
    Peer,
}

/// A peer an overlay keeps a link to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Neighbor {
    /// Who.
    pub peer: Guid,
    /// What it is to this node.
    pub role: Role,
    /// How much the link is needed.
    pub hold: Hold,
}

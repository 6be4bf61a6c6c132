//! What happens to a topology.

use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Topology;
use super::question::{CopyId, Target};
use crate::{Guid, Key};

/// Names an answer that is still to come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// Names a call that waits for this node's reply.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct CallId {
    pub(crate) peer: Guid,
    pub(crate) id: u32,
}

/// How a message came.
pub enum Via<T: Topology> {
    /// Straight from the sender.
    Direct,
    /// Straight from the sender, who waits for [`Context::reply`](super::context::Context::reply).
    Call(CallId),
    /// Along a route, to this node as the owner of `to`.
    Route {
        /// Who sent it first; claimed, not proven.
        origin: Guid,
        /// Where it was sent.
        to: Target<T>,
        /// How many links it crossed.
        hops: u8,
    },
}

/// Why a peer is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Down {
    /// It said so and left the overlay.
    Left,
    /// The wire broke, or it stopped answering.
    Lost,
    /// Neither side wanted the link any longer.
    Unwanted,
}

/// What changed in an overlay; what stands on it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Change {
    /// A neighbor more.
    NeighborUp(Guid),
    /// A neighbor less.
    NeighborDown(Guid),
    /// This node now owns another part of the key space, or joined.
    Range,
    /// This node stands elsewhere.
    Addresses,
}

/// Whether a peer can be dialed by others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Reachability {
    /// Not found out yet.
    #[default]
    Unknown,
    /// Anybody can dial it.
    Public,
    /// Behind a NAT or firewall.
    Private,
}

/// What the engine measured of a peer.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Facts {
    /// Smoothed round-trip time (RFC 6298), once measured.
    pub rtt: Option<Duration>,
    /// Bytes per second lately drained towards it, once measured.
    pub rate: Option<u64>,
    /// Whether others can dial it.
    pub reachability: Reachability,
    /// Which of this topology's [`protocols`](Topology::protocols) was agreed on with it.
    pub protocol: usize,
}

/// Something that happened. Authors match what concerns them and end with `_ => {}`.
pub enum Event<T: Topology> {
    /// Enter the overlay through these peers; none for the first node.
    Join {
        /// Peers said to be in the overlay.
        seeds: Vec<Guid>,
    },
    /// This node has its place again after a restart, and these it knew before: candidates for its tables. They need not be
    /// there any longer.
    Known {
        /// Peers that were in the overlay; as many as a [snapshot](crate::snapshot) holds.
        peers: Vec<Guid>,
    },
    /// Leave in good order, now; the engine tells the linked peers afterwards.
    Leave,
    /// A link that this node or the peer wants is up.
    PeerUp {
        /// Who.
        peer: Guid,
    },
    /// A peer that was up or wanted is gone. The engine no longer wants it; ask again to try again.
    PeerDown {
        /// Who.
        peer: Guid,
        /// Why.
        why: Down,
    },
    /// A wanted peer, or one for which something had to be sent, could not be reached at all. Distinct from `PeerDown`,
    /// which had been reached.
    DialFailed {
        /// Who.
        peer: Guid,
    },
    /// A message of this topology arrived.
    Message {
        /// The neighbor that handed it over, authenticated.
        from: Guid,
        /// What it says.
        message: T::Message,
        /// Raw bytes that travel with it.
        payload: Bytes,
        /// How it came.
        via: Via<T>,
    },
    /// The answer to a [`call`](super::context::Context::call).
    Reply {
        /// Which call.
        ticket: Ticket,
        /// Who answered.
        from: Guid,
        /// What it says.
        message: T::Message,
        /// Raw bytes that travel with it.
        payload: Bytes,
    },
    /// A call will not be answered: time-out (from the measured RTO), a lost link or a failed dial.
    Failed {
        /// Which call.
        ticket: Ticket,
        /// Who was called.
        peer: Guid,
    },
    /// A [`lookup`](super::context::Context::lookup) ended.
    Found {
        /// Which lookup.
        ticket: Ticket,
        /// The owner; `None` when nobody answered for it.
        owner: Option<Guid>,
        /// The replica set, nearest first, the owner included.
        peers: Vec<Guid>,
    },
    /// A timer fired.
    Timer(T::Timer),
    /// A broadcast copy arrived, or began here. Told before [`spread`](Topology::spread) is asked.
    Copy {
        /// The broadcast.
        id: CopyId,
        /// Its topic.
        topic: Option<Key>,
        /// The neighbor it came from; `None` for this node's own.
        from: Option<Guid>,
        /// Whether it is the first copy seen here.
        first: bool,
        /// How many links it crossed.
        hops: u8,
    },
    /// An authenticated frame came from this member of the overlay. With
    /// [`Powers::hears`](super::question::Powers::hears); never for clients.
    Heard {
        /// Who.
        peer: Guid,
    },
    /// This node began a lookup: the application's, of a record, or this topology's own. With
    /// [`Powers::hears`](super::question::Powers::hears).
    Sought {
        /// Of what.
        to: Target<T>,
    },
    /// The application subscribed to a topic.
    Subscribe {
        /// Which.
        topic: Key,
    },
    /// The application no longer subscribes.
    Unsubscribe {
        /// Which.
        topic: Key,
    },
    /// The application's own question to this topology; answer with
    /// [`Context::answer`](super::context::Context::answer).
    Command {
        /// To be named in the answer.
        ticket: Ticket,
        /// What is asked.
        command: Bytes,
    },
    /// A peer that answered [`Busy`](super::context::Busy) takes messages again.
    Writable {
        /// Who.
        peer: Guid,
    },
    /// The engine measured a peer anew.
    Facts {
        /// Who.
        peer: Guid,
        /// What is known of it.
        facts: Facts,
    },
    /// A peer said where it stands; each address passed [`admits`](Topology::admits).
    Addresses {
        /// Who.
        peer: Guid,
        /// Where.
        addresses: Vec<T::Address>,
    },
    /// Something changed in the overlay this one stands on.
    Below(Change),
}

impl<T: Topology> Event<T> {
    /// The name of what happened.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Join { .. } => "join",
            Self::Known { .. } => "known",
            Self::Leave => "leave",
            Self::PeerUp { .. } => "peer up",
            Self::PeerDown { .. } => "peer down",
            Self::DialFailed { .. } => "dial failed",
            Self::Message { .. } => "message",
            Self::Reply { .. } => "reply",
            Self::Failed { .. } => "failed",
            Self::Found { .. } => "found",
            Self::Timer(_) => "timer",
            Self::Copy { .. } => "copy",
            Self::Heard { .. } => "heard",
            Self::Sought { .. } => "sought",
            Self::Subscribe { .. } => "subscribe",
            Self::Unsubscribe { .. } => "unsubscribe",
            Self::Command { .. } => "command",
            Self::Writable { .. } => "writable",
            Self::Facts { .. } => "facts",
            Self::Addresses { .. } => "addresses",
            Self::Below(_) => "below",
        }
    }
}

impl<T: Topology> fmt::Debug for Event<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { from, message, .. } => write!(f, "message {message:?} from {from:?}"),
            Self::Timer(timer) => write!(f, "timer {timer:?}"),
            Self::PeerUp { peer } | Self::PeerDown { peer, .. } | Self::DialFailed { peer } => {
                write!(f, "{} {peer:?}", self.name())
            }
            _ => f.write_str(self.name()),
        }
    }
}

impl<T: Topology> fmt::Debug for Via<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("direct"),
            Self::Call(_) => f.write_str("call"),
            Self::Route { origin, to, hops } => write!(f, "route from {origin:?} to {to:?} in {hops} hops"),
        }
    }
}

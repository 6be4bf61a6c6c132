//! The plugin boundary: one verb, a few pure questions.
//!
//! **A topology holds state only.** Everything that happens reaches it as an [`Event`]; everything it wants it
//! asks of the [`Context`] it is lent. It owns no queue, waker, clock, random generator, socket or lock, so the
//! same value runs on sockets and at a million simulated peers.
//!
//! Where to look: [`event`] what happens · [`context`] what a topology may do · [`question`] what it is asked ·
//! [`layer`] one topology on another · [`erased`] topologies chosen by name · [`model`] what the simulator and
//! the laws need besides.

pub mod context;
pub mod erased;
pub mod event;
pub mod layer;
mod lift;
pub mod model;
pub mod question;
mod random;

use core::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Distance, Guid, Key};
use context::Context;
use event::Event;
use question::{Neighbor, Pass, Powers, Query, Route, Spread, Target, Transit};

/// Where a node stands in one overlay: a [`Key`] on a ring, a path in a polyring. May change; a Guid does not.
pub trait Address: Serialize + DeserializeOwned + Clone + Ord + Debug + Send + 'static {}

impl<A: Serialize + DeserializeOwned + Clone + Ord + Debug + Send + 'static> Address for A {}

/// A rule for who is whose neighbor and how messages find their way. One value is one node's part of one overlay.
///
/// Only [`handle`](Self::handle) must be written. Questions take `&self` and are pure: the engine asks them at
/// any time between two events.
pub trait Topology: Send + Sized + 'static {
    /// Where a node stands. [`Key`] on key-routed overlays, `()` where there are no places.
    type Address: Address;
    /// What peers of this overlay tell each other. Guids inside it are found by the engine, which sees to it
    /// that the receiver can reach them.
    type Message: Serialize + DeserializeOwned + Clone + Debug + Send + 'static;
    /// The timers this topology sets. Setting an equal timer again moves it.
    type Timer: Serialize + DeserializeOwned + Clone + Ord + Debug + Send + 'static;

    /// Something happened.
    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>);

    /// What the engine may count on; asked once, when the overlay is attached.
    fn powers(&self) -> Powers {
        Powers::default()
    }

    /// A routed message of this topology passes through on its way to somebody else. Called only with
    /// [`Powers::intercepts`]. It may be changed, or absorbed (Scribe's joins, Tapestry's pointers).
    fn transit(&mut self, transit: &mut Transit<'_, Self>, cx: &mut Context<'_, Self>) -> Pass {
        let _ = (transit, cx);
        Pass::On
    }

    /// The peers this overlay keeps links to, each with its role.
    fn neighbors(&self) -> Vec<Neighbor> {
        Vec::new()
    }

    /// Where this node stands now; several with virtual nodes, none before it joined.
    fn addresses(&self) -> Vec<Self::Address> {
        Vec::new()
    }

    /// Whether `guid` may stand at `address`, by the proof it showed. Key positions need no proof: every
    /// receiver computes them itself.
    fn admits(&self, guid: Guid, address: &Self::Address, proof: &[u8]) -> bool {
        let _ = (guid, address, proof);
        true
    }

    /// Where a message for `query.to` goes next: fills `route`. A node that has not joined leaves it
    /// [`Unreachable`](question::Verdict::Unreachable). With [`Powers::routes`].
    fn route(&self, query: &Query<'_, Self>, route: &mut Route) {
        let _ = (query, route);
    }

    /// Whom a broadcast copy goes to next: fills `to`. With [`Powers::spreads`].
    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>) {
        let _ = (spread, to);
    }

    /// How many of the nearest peers an iterative lookup must hear from before it ends (Kademlia's k). With 1
    /// the lookup follows the replier's order.
    fn breadth(&self) -> usize {
        1
    }

    /// How far `peer` stands from a target: the order in which an iterative lookup merges answers.
    fn distance(&self, to: &Target<Self>, peer: Guid) -> Distance {
        let _ = (to, peer);
        Distance::MAX
    }

    /// Whether this timer comes round by itself to keep the overlay in order, as most do, as opposed to one that waits
    /// for something that was begun, such as an answer. Simulations hold periodic timers to see what use alone
    /// repairs; nothing else depends on it.
    fn periodic(&self, timer: &Self::Timer) -> bool {
        let _ = timer;
        true
    }

    /// The versions of its messages it speaks, the newest first. Two nodes agree on the first of the dialer's list
    /// that the other speaks too, see [`Facts::protocol`](event::Facts::protocol); without one in common they do not
    /// share the overlay.
    fn protocols(&self) -> Vec<String> {
        vec!["1".into()]
    }

    /// What proves the addresses to [`admits`](Self::admits) at the peers, such as an assigner's signature.
    fn proof(&self) -> bytes::Bytes {
        bytes::Bytes::new()
    }

    /// The lanes of all parts. Not for authors to change.
    #[doc(hidden)]
    fn lanes(&self) -> u32 {
        1
    }

    /// The lane of the part whose message this is. Not for authors to change.
    #[doc(hidden)]
    fn lane_of(message: &Self::Message) -> question::Lane {
        let _ = message;
        question::Lane::default()
    }

    /// How many bytes a message takes on the wire. Not for authors to change.
    #[doc(hidden)]
    fn weight(message: &Self::Message) -> usize {
        crate::wire::survey::encoded_len(message)
    }

    /// A message of this topology came to be passed on: an erased one finds out what a decoded message mentions. Not
    /// for authors to change.
    #[doc(hidden)]
    fn complete(&self, message: &mut Self::Message) {
        let _ = message;
    }

    /// The Guids inside a message, found by serde. Not for authors to change.
    #[doc(hidden)]
    fn mentions(message: &Self::Message, found: &mut Vec<Guid>) {
        crate::wire::survey::mentions(message, found);
    }
}

/// What `Layer` offers the part that stands on another: the overlay below.
pub trait Below {
    /// The peers the overlay below keeps links to.
    fn neighbors(&self) -> Vec<Neighbor>;
    /// The ranked next hops towards `key` below, and the verdict.
    fn route(&self, key: Key, n: usize) -> Route;
}

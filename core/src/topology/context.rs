//! What a topology may do: everything it wants it asks of the [`Context`] it is lent.
//!
//! `send`, `call`, `want` and timers take effect at once. `route`, `lookup` and `broadcast` take effect when the
//! handler returns, in the order they were asked, because the engine asks the topology itself for the way.

use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use super::event::{CallId, Change, Facts, Ticket};
use super::question::{CopyId, Hold, Lane, Target};
pub use super::random::Rng;
use super::{Below, Topology};
use crate::overlay::Place;
use crate::{Guid, Time};

/// The queue towards a peer, or the credit it gave, is used up. Told again with
/// [`Event::Writable`](super::event::Event::Writable).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the peer takes no more for now")]
pub struct Busy;

/// One thing a topology wants.
#[allow(missing_docs)]
pub enum Action<T: Topology> {
    /// A message to a peer.
    Send { to: Guid, message: T::Message, payload: Bytes },
    /// A message to a peer that answers.
    Call { ticket: Ticket, to: Guid, message: T::Message, payload: Bytes },
    /// The answer to a call.
    Reply { to: CallId, message: T::Message, payload: Bytes },
    /// Hold a link.
    Want { peer: Guid, hold: Hold },
    /// Hold it no longer.
    Unwant { peer: Guid },
    /// Set or move a timer.
    Set { timer: T::Timer, after: Duration },
    /// Forget a timer.
    Cancel { timer: T::Timer },
    /// A message to whoever owns a target.
    Route { to: Target<T>, message: T::Message, payload: Bytes },
    /// Who owns a target?
    Lookup { ticket: Ticket, to: Target<T>, n: usize, via: Option<Guid> },
    /// A payload to everybody, or to all of a topic.
    Broadcast { topic: Option<crate::Key>, payload: Bytes },
    /// A kept copy to one more peer.
    Resend { id: CopyId, to: Guid },
    /// A payload to this node's application.
    Deliver { from: Guid, payload: Bytes },
    /// The answer to an application's command.
    Answer { ticket: Ticket, answer: Bytes },
    /// Something changed here.
    Change(Change),
    /// A line for whoever watches this overlay.
    Notice(String),
    /// A peer broke the rules.
    Blame { peer: Guid, why: &'static str },
    /// Something that was said is not believed.
    Doubt { why: &'static str },
}

impl<T: Topology> fmt::Debug for Action<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { to, message, .. } => write!(f, "send {message:?} to {to:?}"),
            Self::Call { to, message, .. } => write!(f, "call {to:?} with {message:?}"),
            Self::Route { to, message, .. } => write!(f, "route {message:?} to {to:?}"),
            Self::Want { peer, hold } => write!(f, "want {peer:?} {hold:?}"),
            Self::Unwant { peer } => write!(f, "unwant {peer:?}"),
            Self::Set { timer, after } => write!(f, "set {timer:?} in {after:?}"),
            Self::Lookup { to, .. } => write!(f, "lookup {to:?}"),
            _ => f.write_str("action"),
        }
    }
}

/// Who carries out what a topology wants: the engine, or a layer that passes it on.
pub trait Host<T: Topology> {
    /// Who this node is and in which overlay.
    fn place(&self) -> Place;
    /// The present moment.
    fn now(&self) -> Time;
    /// This overlay's generator.
    fn rng(&mut self) -> &mut Rng;
    /// A new ticket.
    fn ticket(&mut self) -> Ticket;
    /// Carries out an action for a part of the topology.
    ///
    /// # Errors
    /// [`Busy`], for sends and calls only.
    fn act(&mut self, lane: Lane, action: Action<T>) -> Result<(), Busy>;
    /// Whether messages to a peer go out at once.
    fn linked(&self, peer: &Guid) -> bool;
    /// What is known of a peer.
    fn facts(&self, peer: &Guid) -> Facts;
    /// The overlay below.
    fn below(&self) -> Option<&dyn Below>;
}

/// Lent to a topology while it handles an event.
pub struct Context<'a, T: Topology> {
    host: &'a mut dyn Host<T>,
    lane: Lane,
}

impl<'a, T: Topology> Context<'a, T> {
    /// A context over a host, for the part of the topology that `lane` names.
    pub fn new(host: &'a mut dyn Host<T>, lane: Lane) -> Self {
        Self { host, lane }
    }

    pub(crate) fn lane(&self) -> Lane {
        self.lane
    }

    /// Who carries out what this topology wants: for one that has another one inside, which speaks through it.
    pub fn host(&mut self) -> &mut dyn Host<T> {
        self.host
    }

    fn act(&mut self, action: Action<T>) {
        // Only sends and calls can be refused, and they do not come this way.
        let _ = self.host.act(Lane::default(), action);
    }

    /// This node.
    #[must_use]
    pub fn me(&self) -> Guid {
        self.host.place().me
    }

    /// This node and its overlay: computes positions.
    #[must_use]
    pub fn place(&self) -> Place {
        self.host.place()
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Time {
        self.host.now()
    }

    /// This overlay's generator. Nothing else may be random.
    pub fn rng(&mut self) -> &mut Rng {
        self.host.rng()
    }

    /// A number below `bound`; zero if `bound` is zero.
    pub fn pick(&mut self, bound: usize) -> usize {
        use rand_core::Rng as _;
        if bound == 0 { 0 } else { (self.rng().next_u64() % bound as u64) as usize }
    }

    /// `base` lengthened or shortened by up to `share` of itself, so that timers of many nodes do not beat in
    /// step.
    pub fn jitter(&mut self, base: Duration, share: f64) -> Duration {
        let unit = self.pick(1 << 20) as f64 / f64::from(1 << 20);
        base.mul_f64(1.0 + share * (2.0 * unit - 1.0))
    }

    /// The overlay this one stands on; `None` at the bottom.
    #[must_use]
    pub fn below(&self) -> Option<&dyn Below> {
        self.host.below()
    }

    /// Whether a session with this peer carries this overlay now.
    #[must_use]
    pub fn linked(&self, peer: &Guid) -> bool {
        self.host.linked(peer)
    }

    /// What the engine measured of a peer.
    #[must_use]
    pub fn facts(&self, peer: &Guid) -> Facts {
        self.host.facts(peer)
    }

    /// Sends a message; dials if need be.
    ///
    /// # Errors
    /// [`Busy`] when the queue towards the peer is full: nothing was queued.
    pub fn send(&mut self, to: Guid, message: T::Message) -> Result<(), Busy> {
        self.send_with(to, message, Bytes::new())
    }

    /// Sends a message with raw bytes beside it, which are never copied or re-encoded.
    ///
    /// # Errors
    /// [`Busy`] when the queue towards the peer is full: nothing was queued.
    pub fn send_with(&mut self, to: Guid, message: T::Message, payload: Bytes) -> Result<(), Busy> {
        self.host.act(Lane::default(), Action::Send { to, message, payload })
    }

    /// Sends a message that is answered: [`Event::Reply`](super::event::Event::Reply) or `Failed` follows, also
    /// when the queue is full.
    pub fn call(&mut self, to: Guid, message: T::Message) -> Ticket {
        self.call_with(to, message, Bytes::new())
    }

    /// Calls with raw bytes beside the message.
    pub fn call_with(&mut self, to: Guid, message: T::Message, payload: Bytes) -> Ticket {
        let ticket = self.host.ticket();
        self.act(Action::Call { ticket, to, message, payload });
        ticket
    }

    /// Answers a call.
    pub fn reply(&mut self, to: CallId, message: T::Message) {
        self.reply_with(to, message, Bytes::new());
    }

    /// Answers a call with raw bytes beside the message.
    pub fn reply_with(&mut self, to: CallId, message: T::Message, payload: Bytes) {
        self.act(Action::Reply { to, message, payload });
    }

    /// Holds a link. Asked again it changes how firmly it is held.
    pub fn want(&mut self, peer: Guid, hold: Hold) {
        self.act(Action::Want { peer, hold });
    }

    /// Holds a link no longer.
    pub fn unwant(&mut self, peer: Guid) {
        self.act(Action::Unwant { peer });
    }

    /// Sets a timer, or moves the one that is equal to it.
    pub fn set(&mut self, timer: T::Timer, after: Duration) {
        self.act(Action::Set { timer, after });
    }

    /// Forgets a timer.
    pub fn cancel(&mut self, timer: T::Timer) {
        self.act(Action::Cancel { timer });
    }

    /// Sends a message to whoever owns a target, hop by hop.
    pub fn route(&mut self, to: Target<T>, message: T::Message) {
        self.act(Action::Route { to, message, payload: Bytes::new() });
    }

    /// Asks for the owner and replica set (`n` in all) of a target:
    /// [`Event::Found`](super::event::Event::Found) follows.
    pub fn lookup(&mut self, to: Target<T>, n: usize) -> Ticket {
        let ticket = self.host.ticket();
        self.act(Action::Lookup { ticket, to, n, via: None });
        ticket
    }

    /// Like [`lookup`](Self::lookup), but starts at a given peer: how one joins.
    pub fn lookup_via(&mut self, via: Guid, to: Target<T>, n: usize) -> Ticket {
        let ticket = self.host.ticket();
        self.act(Action::Lookup { ticket, to, n, via: Some(via) });
        ticket
    }

    /// Sends a payload to everybody, or to all of a topic.
    pub fn broadcast(&mut self, topic: Option<crate::Key>, payload: Bytes) {
        self.act(Action::Broadcast { topic, payload });
    }

    /// Sends a broadcast the engine still keeps to one more peer; nothing happens if it is no longer kept.
    pub fn resend(&mut self, id: CopyId, to: Guid) {
        self.act(Action::Resend { id, to });
    }

    /// Hands a payload to this node's application.
    pub fn deliver(&mut self, from: Guid, payload: Bytes) {
        self.act(Action::Deliver { from, payload });
    }

    /// Answers an application's command.
    pub fn answer(&mut self, ticket: Ticket, answer: Bytes) {
        self.act(Action::Answer { ticket, answer });
    }

    /// Says that something changed here: whoever stands on this overlay is told, addresses are announced.
    pub fn change(&mut self, change: Change) {
        self.act(Action::Change(change));
    }

    /// A line for whoever watches this overlay.
    pub fn notice(&mut self, line: impl Into<String>) {
        self.act(Action::Notice(line.into()));
    }

    /// Counts a broken rule against a peer; after several it is dropped.
    pub fn blame(&mut self, peer: Guid, why: &'static str) {
        self.act(Action::Blame { peer, why });
    }

    /// Counts something that was said and is refused because this node knows better, where whoever passed it on need
    /// not be the one who lied.
    pub fn doubt(&mut self, why: &'static str) {
        self.act(Action::Doubt { why });
    }
}

impl<T: Topology> fmt::Debug for Context<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({:?})", self.host.place())
    }
}

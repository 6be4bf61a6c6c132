//! One adapter for layering and for erasure: how an inner topology speaks through an outer one.

use bytes::Bytes;

use super::context::{Action, Busy, Host, Rng};
use super::event::{Change, Event, Facts, Ticket, Via};
use super::question::{Lane, Target};
use super::{Below, Topology};
use crate::overlay::Place;
use crate::{Guid, Time};

/// Outer words for inner ones, and back. Back may fail: another part's word, or bytes that do not decode.
pub(crate) trait Lift<I: Topology, O: Topology> {
    fn message(inner: I::Message) -> O::Message;
    fn address(inner: I::Address) -> O::Address;
    fn timer(inner: I::Timer) -> O::Timer;
    fn lane(inner: Lane) -> Lane;
    fn inner_message(outer: O::Message) -> Option<I::Message>;
    fn inner_address(outer: O::Address) -> Option<I::Address>;
    fn inner_timer(outer: O::Timer) -> Option<I::Timer>;

    fn target(inner: Target<I>) -> Target<O> {
        match inner {
            Target::Key(key) => Target::Key(key),
            Target::Address(address) => Target::Address(Self::address(address)),
        }
    }

    fn inner_target(outer: &Target<O>) -> Option<Target<I>> {
        Some(match outer {
            Target::Key(key) => Target::Key(*key),
            Target::Address(address) => Target::Address(Self::inner_address(address.clone())?),
        })
    }

    /// The inner form of an event; `None` when a word in it is not this part's.
    fn inner_event(outer: Event<O>) -> Option<Event<I>> {
        Some(match outer {
            Event::Message { from, message, payload, via } => Event::Message {
                from,
                message: Self::inner_message(message)?,
                payload,
                via: match via {
                    Via::Direct => Via::Direct,
                    Via::Call(call) => Via::Call(call),
                    Via::Route { origin, to, hops } => Via::Route { origin, to: Self::inner_target(&to)?, hops },
                },
            },
            Event::Reply { ticket, from, message, payload } => {
                Event::Reply { ticket, from, message: Self::inner_message(message)?, payload }
            }
            Event::Timer(timer) => Event::Timer(Self::inner_timer(timer)?),
            Event::Addresses { peer, addresses } => {
                Event::Addresses { peer, addresses: addresses.into_iter().filter_map(Self::inner_address).collect() }
            }
            Event::Join { seeds } => Event::Join { seeds },
            Event::Known { peers } => Event::Known { peers },
            Event::Leave => Event::Leave,
            Event::PeerUp { peer } => Event::PeerUp { peer },
            Event::PeerDown { peer, why } => Event::PeerDown { peer, why },
            Event::DialFailed { peer } => Event::DialFailed { peer },
            Event::Failed { ticket, peer } => Event::Failed { ticket, peer },
            Event::Found { ticket, owner, peers } => Event::Found { ticket, owner, peers },
            Event::Copy { id, topic, from, first, hops } => Event::Copy { id, topic, from, first, hops },
            Event::Heard { peer } => Event::Heard { peer },
            Event::Sought { to } => Event::Sought { to: Self::inner_target(&to)? },
            Event::Subscribe { topic } => Event::Subscribe { topic },
            Event::Unsubscribe { topic } => Event::Unsubscribe { topic },
            Event::Command { ticket, command } => Event::Command { ticket, command },
            Event::Writable { peer } => Event::Writable { peer },
            Event::Facts { peer, facts } => Event::Facts { peer, facts },
            Event::Below(change) => Event::Below(change),
        })
    }

    fn action(inner: Action<I>) -> Action<O> {
        match inner {
            Action::Send { to, message, payload } => Action::Send { to, message: Self::message(message), payload },
            Action::Call { ticket, to, message, payload } => {
                Action::Call { ticket, to, message: Self::message(message), payload }
            }
            Action::Reply { to, message, payload } => Action::Reply { to, message: Self::message(message), payload },
            Action::Want { peer, hold } => Action::Want { peer, hold },
            Action::Unwant { peer } => Action::Unwant { peer },
            Action::Set { timer, after } => Action::Set { timer: Self::timer(timer), after },
            Action::Cancel { timer } => Action::Cancel { timer: Self::timer(timer) },
            Action::Route { to, message, payload } => {
                Action::Route { to: Self::target(to), message: Self::message(message), payload }
            }
            Action::Lookup { ticket, to, n, via } => Action::Lookup { ticket, to: Self::target(to), n, via },
            Action::Broadcast { topic, payload } => Action::Broadcast { topic, payload },
            Action::Resend { id, to } => Action::Resend { id, to },
            Action::Deliver { from, payload } => Action::Deliver { from, payload },
            Action::Answer { ticket, answer } => Action::Answer { ticket, answer },
            Action::Change(change) => Action::Change(change),
            Action::Notice(line) => Action::Notice(line),
            Action::Blame { peer, why } => Action::Blame { peer, why },
            Action::Doubt { why } => Action::Doubt { why },
        }
    }
}

/// An outer host as an inner topology sees it.
pub(crate) struct Lifted<'a, I: Topology, O: Topology, L: Lift<I, O>> {
    pub(crate) outer: &'a mut dyn Host<O>,
    /// What the inner one stands on, if that is not what the outer one stands on.
    pub(crate) below: Option<&'a dyn Below>,
    /// Where changes are also noted down for whoever stands on the inner one.
    pub(crate) changes: Option<&'a mut Vec<Change>>,
    pub(crate) lift: core::marker::PhantomData<(I, L)>,
}

impl<'a, I: Topology, O: Topology, L: Lift<I, O>> Lifted<'a, I, O, L> {
    pub(crate) fn new(outer: &'a mut dyn Host<O>) -> Self {
        Self { outer, below: None, changes: None, lift: core::marker::PhantomData }
    }
}

impl<I: Topology, O: Topology, L: Lift<I, O>> Host<I> for Lifted<'_, I, O, L> {
    fn place(&self) -> Place {
        self.outer.place()
    }
    fn now(&self) -> Time {
        self.outer.now()
    }
    fn rng(&mut self) -> &mut Rng {
        self.outer.rng()
    }
    fn ticket(&mut self) -> Ticket {
        self.outer.ticket()
    }
    fn act(&mut self, lane: Lane, action: Action<I>) -> Result<(), Busy> {
        if let (Action::Change(change), Some(changes)) = (&action, self.changes.as_deref_mut()) {
            changes.push(*change);
        }
        self.outer.act(L::lane(lane), L::action(action))
    }
    fn linked(&self, peer: &Guid) -> bool {
        self.outer.linked(peer)
    }
    fn facts(&self, peer: &Guid) -> Facts {
        self.outer.facts(peer)
    }
    fn below(&self) -> Option<&dyn Below> {
        match self.below {
            Some(below) => Some(below),
            None => self.outer.below(),
        }
    }
}

/// Bytes a topology is spoken to in when it was chosen by name.
pub(crate) fn encode<V: serde::Serialize>(value: &V) -> Bytes {
    postcard::to_stdvec(value).map(Bytes::from).unwrap_or_default()
}

/// The value of bytes that hold it and nothing more.
pub(crate) fn decode<V: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<V> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

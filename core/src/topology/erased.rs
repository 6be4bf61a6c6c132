//! Topologies chosen by name at run time: the shadow of [`Topology`] that speaks bytes only.

use core::fmt;
use core::marker::PhantomData;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Topology;
use super::context::{Action, Context};
use super::event::Event;
use super::lift::{Lift, Lifted, decode, encode};
use super::question::{Lane, Neighbor, Pass, Powers, Query, Route, Spread, Target, Transit};
use crate::{Distance, Guid};

/// An encoded message, beside the Guids inside it that its receiver may have to reach.
#[derive(Clone)]
pub struct Parcel {
    bytes: Bytes,
    mentions: Vec<Guid>,
    lane: Lane,
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parcel({} bytes)", self.bytes.len())
    }
}

impl Serialize for Parcel {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.bytes)
    }
}

impl<'de> Deserialize<'de> for Parcel {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self { bytes: Bytes::deserialize(from)?, mentions: Vec::new(), lane: Lane::default() })
    }
}

/// Any topology behind one type. A node's overlays are all of this type; the simulator may run them typed.
pub struct Boxed(Box<dyn Erased>);

impl Boxed {
    /// Erases a topology's type.
    pub fn new<T: Topology>(topology: T) -> Self {
        Self(Box::new(Shadow(topology)))
    }
}

impl fmt::Debug for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Boxed")
    }
}

/// The object-safe form of [`Topology`].
trait Erased: Send {
    fn handle(&mut self, event: Event<Boxed>, cx: &mut Context<'_, Boxed>);
    fn powers(&self) -> Powers;
    fn transit(&mut self, transit: &mut Transit<'_, Boxed>, cx: &mut Context<'_, Boxed>) -> Pass;
    fn neighbors(&self) -> Vec<Neighbor>;
    fn addresses(&self) -> Vec<Bytes>;
    fn admits(&self, guid: Guid, address: &Bytes, proof: &[u8]) -> bool;
    fn route(&self, query: &Query<'_, Boxed>, route: &mut Route);
    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>);
    fn protocols(&self) -> Vec<String>;
    fn proof(&self) -> Bytes;
    fn complete(&self, message: &mut Parcel);
    fn lanes(&self) -> u32;
    fn breadth(&self) -> usize;
    fn periodic(&self, timer: &Bytes) -> bool;
    fn distance(&self, to: &Target<Boxed>, peer: Guid) -> Distance;
}

struct Shadow<T>(T);

struct ToBytes<T>(PhantomData<T>);

impl<T: Topology> Lift<T, Boxed> for ToBytes<T> {
    fn message(inner: T::Message) -> Parcel {
        let mut mentions = Vec::new();
        T::mentions(&inner, &mut mentions);
        Parcel { bytes: encode(&inner), mentions, lane: T::lane_of(&inner) }
    }
    fn address(inner: T::Address) -> Bytes {
        encode(&inner)
    }
    fn timer(inner: T::Timer) -> Bytes {
        encode(&inner)
    }
    fn lane(inner: Lane) -> Lane {
        inner
    }
    fn inner_message(outer: Parcel) -> Option<T::Message> {
        decode(&outer.bytes)
    }
    fn inner_address(outer: Bytes) -> Option<T::Address> {
        decode(&outer)
    }
    fn inner_timer(outer: Bytes) -> Option<T::Timer> {
        decode(&outer)
    }
}

/// Who sent what is being handled, so that bytes that do not decode are blamed on the right peer.
fn sender(event: &Event<Boxed>) -> Option<Guid> {
    match event {
        Event::Message { from, .. } | Event::Reply { from, .. } => Some(*from),
        _ => None,
    }
}

impl<T: Topology> Erased for Shadow<T> {
    fn handle(&mut self, event: Event<Boxed>, cx: &mut Context<'_, Boxed>) {
        let lane = cx.lane();
        let from = sender(&event);
        let failed = if let Event::Reply { ticket, from, .. } = &event { Some((*ticket, *from)) } else { None };
        let mut host = Lifted::<T, Boxed, ToBytes<T>>::new(cx.host());
        if let Some(event) = ToBytes::<T>::inner_event(event) {
            return self.0.handle(event, &mut Context::new(&mut host, lane));
        }
        if let Some((ticket, peer)) = failed {
            // Whoever waits for a reply is told, even if what came was rubbish.
            self.0.handle(Event::Failed { ticket, peer }, &mut Context::new(&mut host, lane));
        }
        if let Some(peer) = from {
            let _ = cx.host().act(lane, Action::Blame { peer, why: "a message that does not decode" });
        }
    }

    fn powers(&self) -> Powers {
        self.0.powers()
    }

    fn transit(&mut self, transit: &mut Transit<'_, Boxed>, cx: &mut Context<'_, Boxed>) -> Pass {
        let lane = cx.lane();
        let (Some(to), Some(mut message)) =
            (ToBytes::<T>::inner_target(transit.to), decode::<T::Message>(&transit.message.bytes))
        else {
            return Pass::Absorb;
        };
        let mut host = Lifted::<T, Boxed, ToBytes<T>>::new(cx.host());
        let mut inner = Transit {
            to: &to,
            origin: transit.origin,
            from: transit.from,
            message: &mut message,
            payload: transit.payload,
        };
        let pass = self.0.transit(&mut inner, &mut Context::new(&mut host, lane));
        if pass == Pass::On {
            *transit.message = ToBytes::<T>::message(message);
        }
        pass
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        self.0.neighbors()
    }

    fn addresses(&self) -> Vec<Bytes> {
        self.0.addresses().iter().map(encode).collect()
    }

    fn admits(&self, guid: Guid, address: &Bytes, proof: &[u8]) -> bool {
        decode(address).is_some_and(|address| self.0.admits(guid, &address, proof))
    }

    fn route(&self, query: &Query<'_, Boxed>, route: &mut Route) {
        let &Query { n, without, state, from, draw, lane, .. } = query;
        if let Some(to) = ToBytes::<T>::inner_target(query.to) {
            self.0.route(&Query { to: &to, n, without, state, from, draw, lane }, route);
        }
    }

    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>) {
        self.0.spread(spread, to);
    }

    fn protocols(&self) -> Vec<String> {
        self.0.protocols()
    }

    fn proof(&self) -> Bytes {
        self.0.proof()
    }

    fn complete(&self, message: &mut Parcel) {
        if let Some(inner) = decode::<T::Message>(&message.bytes) {
            message.mentions.clear();
            T::mentions(&inner, &mut message.mentions);
            message.lane = T::lane_of(&inner);
        }
    }

    fn lanes(&self) -> u32 {
        self.0.lanes()
    }

    fn breadth(&self) -> usize {
        self.0.breadth()
    }

    fn periodic(&self, timer: &Bytes) -> bool {
        decode(timer).is_some_and(|timer| self.0.periodic(&timer))
    }

    fn distance(&self, to: &Target<Boxed>, peer: Guid) -> Distance {
        ToBytes::<T>::inner_target(to).map_or(Distance::MAX, |to| self.0.distance(&to, peer))
    }
}

impl Topology for Boxed {
    type Address = Bytes;
    type Message = Parcel;
    type Timer = Bytes;

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        self.0.handle(event, cx);
    }
    fn powers(&self) -> Powers {
        self.0.powers()
    }
    fn transit(&mut self, transit: &mut Transit<'_, Self>, cx: &mut Context<'_, Self>) -> Pass {
        self.0.transit(transit, cx)
    }
    fn neighbors(&self) -> Vec<Neighbor> {
        self.0.neighbors()
    }
    fn addresses(&self) -> Vec<Bytes> {
        self.0.addresses()
    }
    fn admits(&self, guid: Guid, address: &Bytes, proof: &[u8]) -> bool {
        self.0.admits(guid, address, proof)
    }
    fn route(&self, query: &Query<'_, Self>, route: &mut Route) {
        self.0.route(query, route);
    }
    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>) {
        self.0.spread(spread, to);
    }
    fn proof(&self) -> Bytes {
        self.0.proof()
    }

    fn lanes(&self) -> u32 {
        self.0.lanes()
    }

    fn protocols(&self) -> Vec<String> {
        self.0.protocols()
    }
    fn breadth(&self) -> usize {
        self.0.breadth()
    }
    fn distance(&self, to: &Target<Self>, peer: Guid) -> Distance {
        self.0.distance(to, peer)
    }
    fn periodic(&self, timer: &Bytes) -> bool {
        self.0.periodic(timer)
    }
    fn complete(&self, message: &mut Parcel) {
        self.0.complete(message);
    }
    fn lane_of(message: &Parcel) -> Lane {
        message.lane
    }
    fn weight(message: &Parcel) -> usize {
        message.bytes.len()
    }
    fn mentions(message: &Parcel, found: &mut Vec<Guid>) {
        found.extend_from_slice(&message.mentions);
    }
}

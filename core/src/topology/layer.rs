//! One topology on another: `Layer<Scribe, Chord>`, `Layer<Plumtree, HyParView>`, to any depth the lanes allow.
//!
//! The upper part asks the lower one through [`Context::below`](super::context::Context::below), routes over its
//! routes, and is told of its changes. Neither knows the other's type.

use core::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::event::{Change, Event};
use super::lift::{Lift, Lifted};
use super::question::{Lane, Neighbor, Part, Pass, Powers, Query, Route, Spread, Target, Transit};
use super::{Address, Below, Topology};
use crate::{Distance, Guid, Key};

/// `U` standing on `B`.
#[derive(Debug)]
pub struct Layer<U, B> {
    /// The part that stands on the other.
    pub upper: U,
    /// What it stands on.
    pub base: B,
}

impl<U, B> Layer<U, B> {
    /// Puts `upper` on `base`.
    pub fn new(upper: U, base: B) -> Self {
        Self { upper, base }
    }
}

/// A word of one of the two parts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Either<U, B> {
    /// The upper part's.
    Upper(U),
    /// The lower part's.
    Base(B),
}

impl<U: Address, B: Address> Either<U, B> {
    fn upper(self) -> Option<U> {
        if let Self::Upper(word) = self { Some(word) } else { None }
    }
    fn base(self) -> Option<B> {
        if let Self::Base(word) = self { Some(word) } else { None }
    }
}

struct ToUpper<U, B>(PhantomData<(U, B)>);
struct ToBase<U, B>(PhantomData<(U, B)>);

impl<U: Topology, B: Topology> Lift<U, Layer<U, B>> for ToUpper<U, B> {
    fn message(inner: U::Message) -> Either<U::Message, B::Message> {
        Either::Upper(inner)
    }
    fn address(inner: U::Address) -> Either<U::Address, B::Address> {
        Either::Upper(inner)
    }
    fn timer(inner: U::Timer) -> Either<U::Timer, B::Timer> {
        Either::Upper(inner)
    }
    fn lane(inner: Lane) -> Lane {
        inner.upper()
    }
    fn inner_message(outer: Either<U::Message, B::Message>) -> Option<U::Message> {
        if let Either::Upper(word) = outer { Some(word) } else { None }
    }
    fn inner_address(outer: Either<U::Address, B::Address>) -> Option<U::Address> {
        outer.upper()
    }
    fn inner_timer(outer: Either<U::Timer, B::Timer>) -> Option<U::Timer> {
        outer.upper()
    }
}

impl<U: Topology, B: Topology> Lift<B, Layer<U, B>> for ToBase<U, B> {
    fn message(inner: B::Message) -> Either<U::Message, B::Message> {
        Either::Base(inner)
    }
    fn address(inner: B::Address) -> Either<U::Address, B::Address> {
        Either::Base(inner)
    }
    fn timer(inner: B::Timer) -> Either<U::Timer, B::Timer> {
        Either::Base(inner)
    }
    fn lane(inner: Lane) -> Lane {
        inner.base()
    }
    fn inner_message(outer: Either<U::Message, B::Message>) -> Option<B::Message> {
        if let Either::Base(word) = outer { Some(word) } else { None }
    }
    fn inner_address(outer: Either<U::Address, B::Address>) -> Option<B::Address> {
        outer.base()
    }
    fn inner_timer(outer: Either<U::Timer, B::Timer>) -> Option<B::Timer> {
        outer.base()
    }
}

/// A topology seen from above.
struct Ground<'a, B>(&'a B);

impl<B: Topology> Below for Ground<'_, B> {
    fn neighbors(&self) -> Vec<Neighbor> {
        self.0.neighbors()
    }
    fn route(&self, key: Key, n: usize) -> Route {
        let mut route = Route::default();
        self.0.route(&Query::new(&Target::Key(key), n), &mut route);
        route
    }
}

impl<U: Topology, B: Topology> Layer<U, B> {
    fn tell_upper(&mut self, lane: Lane, event: Event<U>, cx: &mut Context<'_, Self>) {
        let ground = Ground(&self.base);
        let mut host = Lifted::<U, Self, ToUpper<U, B>>::new(cx.host());
        host.below = Some(&ground);
        self.upper.handle(event, &mut Context::new(&mut host, lane));
    }

    /// Tells the lower part, then the upper one of what thereby changed below it.
    fn tell_base(&mut self, lane: Lane, event: Event<B>, cx: &mut Context<'_, Self>) {
        let mut changes = Vec::new();
        let mut host = Lifted::<B, Self, ToBase<U, B>>::new(cx.host());
        host.changes = Some(&mut changes);
        self.base.handle(event, &mut Context::new(&mut host, lane));
        self.tell_changes(lane, changes, cx);
    }

    fn tell_changes(&mut self, lane: Lane, changes: Vec<Change>, cx: &mut Context<'_, Self>) {
        for change in changes {
            self.tell_upper(lane, Event::Below(change), cx);
        }
    }

    fn tell(&mut self, part: Part, lane: Lane, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match part {
            Part::Upper => {
                if let Some(event) = ToUpper::<U, B>::inner_event(event) {
                    self.tell_upper(lane, event, cx);
                }
            }
            Part::Base => {
                if let Some(event) = ToBase::<U, B>::inner_event(event) {
                    self.tell_base(lane, event, cx);
                }
            }
        }
    }

    fn part_of_routes(&self, lane: Lane) -> (Part, Lane) {
        match lane.split() {
            (Part::Upper, _) if !self.upper.powers().routes => (Part::Base, Lane::TOP),
            split => split,
        }
    }
}

impl<U: Topology, B: Topology> Topology for Layer<U, B> {
    type Address = Either<U::Address, B::Address>;
    type Message = Either<U::Message, B::Message>;
    type Timer = Either<U::Timer, B::Timer>;

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        let (part, lane) = cx.lane().split();
        match event {
            Event::Join { seeds } => {
                self.tell_base(lane, Event::Join { seeds: seeds.clone() }, cx);
                self.tell_upper(lane, Event::Join { seeds }, cx);
            }
            Event::Known { peers } => {
                self.tell_base(lane, Event::Known { peers: peers.clone() }, cx);
                self.tell_upper(lane, Event::Known { peers }, cx);
            }
            Event::Leave => {
                self.tell_upper(lane, Event::Leave, cx);
                self.tell_base(lane, Event::Leave, cx);
            }
            Event::Message { ref message, .. } => {
                let part = if matches!(message, Either::Upper(_)) { Part::Upper } else { Part::Base };
                self.tell(part, Lane::default(), event, cx);
            }
            Event::Timer(ref timer) => {
                let part = if matches!(timer, Either::Upper(_)) { Part::Upper } else { Part::Base };
                self.tell(part, Lane::default(), event, cx);
            }
            Event::Heard { peer } => {
                if self.base.powers().hears {
                    self.tell_base(lane, Event::Heard { peer }, cx);
                }
                if self.upper.powers().hears {
                    self.tell_upper(lane, Event::Heard { peer }, cx);
                }
            }
            Event::Addresses { peer, addresses } => {
                let (mut upper, mut base) = (Vec::new(), Vec::new());
                for address in addresses {
                    match address {
                        Either::Upper(address) => upper.push(address),
                        Either::Base(address) => base.push(address),
                    }
                }
                self.tell_base(lane, Event::Addresses { peer, addresses: base }, cx);
                self.tell_upper(lane, Event::Addresses { peer, addresses: upper }, cx);
            }
            Event::Sought { .. } => {
                // What is asked of the one that routes.
                let (part, lane) = self.part_of_routes(cx.lane());
                self.tell(part, lane, event, cx);
            }
            Event::Subscribe { .. } | Event::Unsubscribe { .. } if !self.upper.powers().spreads => {
                self.tell(Part::Base, lane, event, cx);
            }
            Event::Below(_) => self.tell(Part::Base, lane, event, cx),
            event => self.tell(part, lane, event, cx),
        }
    }

    fn powers(&self) -> Powers {
        let (upper, base) = (self.upper.powers(), self.base.powers());
        Powers {
            routes: upper.routes || base.routes,
            spreads: upper.spreads || base.spreads,
            intercepts: upper.intercepts || base.intercepts,
            hears: upper.hears || base.hears,
            assigned: upper.assigned || base.assigned,
            degree: upper.degree + base.degree,
        }
    }

    fn transit(&mut self, transit: &mut Transit<'_, Self>, cx: &mut Context<'_, Self>) -> Pass {
        let &mut Transit { to, origin, from, .. } = transit;
        match transit.message {
            Either::Upper(message) => {
                let Some(to) = ToUpper::<U, B>::inner_target(to) else { return Pass::On };
                let ground = Ground(&self.base);
                let mut host = Lifted::<U, Self, ToUpper<U, B>>::new(cx.host());
                host.below = Some(&ground);
                let mut inner = Transit { to: &to, origin, from, message, payload: transit.payload };
                self.upper.transit(&mut inner, &mut Context::new(&mut host, Lane::default()))
            }
            Either::Base(message) => {
                let Some(to) = ToBase::<U, B>::inner_target(to) else { return Pass::On };
                let mut changes = Vec::new();
                let mut host = Lifted::<B, Self, ToBase<U, B>>::new(cx.host());
                host.changes = Some(&mut changes);
                let mut inner = Transit { to: &to, origin, from, message, payload: transit.payload };
                let pass = self.base.transit(&mut inner, &mut Context::new(&mut host, Lane::default()));
                self.tell_changes(Lane::default(), changes, cx);
                pass
            }
        }
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        let mut all = self.base.neighbors();
        all.extend(self.upper.neighbors());
        all
    }

    fn addresses(&self) -> Vec<Self::Address> {
        let base = self.base.addresses().into_iter().map(Either::Base);
        base.chain(self.upper.addresses().into_iter().map(Either::Upper)).collect()
    }

    fn admits(&self, guid: Guid, address: &Self::Address, proof: &[u8]) -> bool {
        match address {
            Either::Upper(address) => self.upper.admits(guid, address, proof),
            Either::Base(address) => self.base.admits(guid, address, proof),
        }
    }

    fn route(&self, query: &Query<'_, Self>, route: &mut Route) {
        let (part, lane) = self.part_of_routes(query.lane);
        let &Query { n, without, state, from, draw, .. } = query;
        match part {
            Part::Upper => {
                if let Some(to) = ToUpper::<U, B>::inner_target(query.to) {
                    self.upper.route(&Query { to: &to, n, without, state, from, draw, lane }, route);
                }
            }
            Part::Base => {
                if let Some(to) = ToBase::<U, B>::inner_target(query.to) {
                    self.base.route(&Query { to: &to, n, without, state, from, draw, lane }, route);
                }
            }
        }
    }

    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>) {
        let (part, lane) = match spread.lane.split() {
            (Part::Upper, _) if !self.upper.powers().spreads => (Part::Base, Lane::TOP),
            split => split,
        };
        let spread = Spread { lane, ..spread.clone() };
        match part {
            Part::Upper => self.upper.spread(&spread, to),
            Part::Base => self.base.spread(&spread, to),
        }
    }

    /// One version of a pair for each pair of versions.
    fn protocols(&self) -> Vec<String> {
        let base = self.base.protocols();
        let pair = |upper: String| base.iter().map(move |base| format!("{upper}/{base}")).collect::<Vec<_>>();
        self.upper.protocols().into_iter().flat_map(pair).collect()
    }

    fn periodic(&self, timer: &Self::Timer) -> bool {
        match timer {
            Either::Upper(timer) => self.upper.periodic(timer),
            Either::Base(timer) => self.base.periodic(timer),
        }
    }

    fn proof(&self) -> bytes::Bytes {
        if self.upper.powers().assigned { self.upper.proof() } else { self.base.proof() }
    }

    fn lanes(&self) -> u32 {
        super::question::lanes(self.upper.lanes(), self.base.lanes())
    }

    fn lane_of(message: &Self::Message) -> Lane {
        match message {
            Either::Upper(message) => U::lane_of(message).upper(),
            Either::Base(message) => B::lane_of(message).base(),
        }
    }

    fn breadth(&self) -> usize {
        if self.upper.powers().routes { self.upper.breadth() } else { self.base.breadth() }
    }

    fn distance(&self, to: &Target<Self>, peer: Guid) -> Distance {
        if self.upper.powers().routes {
            ToUpper::<U, B>::inner_target(to).map_or(Distance::MAX, |to| self.upper.distance(&to, peer))
        } else {
            ToBase::<U, B>::inner_target(to).map_or(Distance::MAX, |to| self.base.distance(&to, peer))
        }
    }
}

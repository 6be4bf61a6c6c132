//! Messages that go hop by hop, and what comes back to them.

use core::time::Duration;

use bytes::Bytes;

use super::calls::{Kind, Waits};
use super::desk::{Desk, MAX_PAYLOAD};
use super::io::{Failure, Outcome, Output, Responder, To};
use super::settings::Lookup as Mode;
use crate::Guid;
use crate::topology::Topology;
use crate::topology::context::Context;
use crate::topology::event::{Event, Ticket, Via};
use crate::topology::question::{Lane, Pass, Query, Route, Target, Transit, Verdict};
use crate::wire::Urgency;
use crate::wire::frame::{Answer, Body, Return, Routed, Status, What};

/// How many ranked next hops a plain forward looks at: the best, and some to try when its queue is full.
const ALTERNATIVES: usize = 3;
/// How many next hops are found dead before a message is given up: more than the spare entries of most tables.
const MAX_REROUTES: usize = 8;
/// How long a hop remembers the way back of an answer.
const WAY_BACK: Duration = Duration::from_secs(15);
/// One peer's questions may take this share of what waits for answers, so that it cannot keep others from asking.
const WAYS_SHARE: usize = 16;

impl<T: Topology> Desk<'_, T> {
    /// Asks the topology for the way, into the workspace's buffer.
    pub(super) fn ask_route(&mut self, topology: &T, query: &Query<'_, T>) -> Route {
        let mut route = core::mem::take(&mut self.ws.route);
        route.clear();
        topology.route(query, &mut route);
        let me = self.node.me;
        route.peers.retain(|peer| *peer != me && query.allows(peer));
        route.peers.truncate(query.n.max(1));
        route
    }

    pub(super) fn keep_route(&mut self, route: Route) {
        self.ws.route = route;
    }

    /// Sends an own message of the topology along a route.
    pub(super) fn route_own(
        &mut self,
        topology: &mut T,
        lane: Lane,
        to: Target<T>,
        message: T::Message,
        payload: Bytes,
    ) {
        let routed = self.new_routed(0, Return::None, lane, to, What::Message(message));
        self.forward(topology, routed, payload, None, &[]);
    }

    pub(super) fn new_routed(&self, id: u32, back: Return, lane: Lane, to: Target<T>, what: What<T>) -> Box<Routed<T>> {
        let origin = self.node.me;
        let (state, before, tried) = Default::default();
        Box::new(Routed { id, back, lane, hops: 0, to, origin, state, before, tried, what })
    }

    /// A routed message came from a peer.
    pub(super) fn routed(&mut self, topology: &mut T, mut routed: Box<Routed<T>>, payload: Bytes, from: Guid) {
        if self.state.is_client() {
            return self.no_way(&routed, Some(from));
        }
        routed.before = core::mem::take(&mut routed.state);
        // Whom the hop before could not reach is not on the wire; a driver that does not encode brings it along.
        routed.tried.clear();
        // It crossed this link at least.
        routed.hops = routed.hops.max(1);
        if let What::Message(message) = &mut routed.what {
            topology.complete(message);
        }
        if let (What::Fetch, Target::Key(key)) = (&routed.what, &routed.to)
            && self.known(key).is_some()
        {
            let back = self.way_back(&routed, Some(from));
            return self.found_on_the_way(&routed.to, back);
        }
        self.forward(topology, routed, payload, Some(from), &[]);
    }

    /// Answers a fetch that comes by, with nothing if this is the owner and it has nothing.
    fn found_on_the_way(&mut self, to: &Target<T>, back: Option<Responder>) {
        let known = if let Target::Key(key) = to { self.known(key) } else { None };
        let (records, far) = known.unwrap_or_default();
        if let Some(back) = back {
            self.answer_to(back, Answer::Records { records, far }, Bytes::new());
        }
    }

    /// Delivers a routed message here, or passes it on. `routed.before` holds the state it came with.
    pub(super) fn forward(
        &mut self,
        topology: &mut T,
        mut routed: Box<Routed<T>>,
        mut payload: Bytes,
        from: Option<Guid>,
        without: &[Guid],
    ) {
        if self.state.is_client() && from.is_none() {
            return self.through_gateway(routed, payload, without);
        }
        let Routed { lane, .. } = *routed;
        let draw = self.state.draw();
        let query = Query { to: &routed.to, n: ALTERNATIVES, without, state: &routed.before, from, draw, lane };
        let route = self.ask_route(topology, &query);
        if matches!(route.verdict, Verdict::Deliver { .. }) {
            self.keep_route(route);
            return self.deliver(topology, routed, payload, from);
        }
        let over = routed.hops >= self.state.settings.hop_limit || routed.tried.len() > MAX_REROUTES;
        if route.verdict == Verdict::Unreachable || route.peers.is_empty() || over {
            self.keep_route(route);
            return self.no_way(&routed, from);
        }
        if self.state.powers.intercepts
            && let What::Message(message) = &mut routed.what
        {
            let Routed { origin, ref to, .. } = *routed;
            let mut transit = Transit { to, origin, from, message, payload: &mut payload };
            let pass = topology.transit(&mut transit, &mut Context::new(self, lane));
            if pass == Pass::Absorb {
                return self.keep_route(route);
            }
        }
        routed.state.clone_from(&route.state);
        self.pass_on(routed, payload, from, &route);
        self.keep_route(route);
    }

    /// Sends to the first of the ranked next hops whose queue has room.
    fn pass_on(&mut self, mut routed: Box<Routed<T>>, payload: Bytes, from: Option<Guid>, route: &Route) {
        routed.hops += 1;
        if let Some(previous) = from {
            self.state.metrics.forwards += 1;
            if routed.back == Return::Path {
                if !self.way_begins(&previous, routed.hops) {
                    return self.no_way(&routed, from);
                }
                let id = self.state.next_id();
                if !self.wait(id, Waits::Hop { peer: previous, id: routed.id }, None, WAY_BACK) {
                    return;
                }
                routed.id = id;
            }
        }
        let (id, back) = (routed.id, routed.back);
        let mut body = Body::Routed(routed);
        for (rank, &next) in route.peers.iter().enumerate() {
            if let (Return::Path, Some(pending)) = (back, self.state.questions.get_mut(id)) {
                pending.peer = Some(next);
            }
            // The last alternative takes the message itself, those before it a copy only if there is another.
            let this =
                if rank + 1 < route.peers.len() { body.clone() } else { core::mem::replace(&mut body, Body::Leaving) };
            if self.send(next, this, payload.clone()).is_ok() {
                return;
            }
        }
        self.state.metrics.dropped += 1;
        if back == Return::Path {
            self.unanswered(id, Failure::TooMany);
        }
    }

    /// Remembers one way back more for a peer, if that is not more than its share. The last quarter of it is for the
    /// peer's own questions, so that nobody behind it can use all of it up.
    fn way_begins(&mut self, previous: &Guid, hops: u8) -> bool {
        let (slot, share) = (self.slot(), self.state.settings.pending / WAYS_SHARE);
        let share = if hops <= 2 { share } else { share * 3 / 4 };
        let Some(overlay) = self.node.peers.get_mut(previous).and_then(|p| p.overlay_mut(slot)) else { return true };
        let room = overlay.ways < share as u32;
        overlay.ways += u32::from(room);
        room
    }

    /// A way back is no longer remembered.
    pub(super) fn way_ended(&mut self, previous: &Guid) {
        let slot = self.slot();
        if let Some(overlay) = self.node.peers.get_mut(previous).and_then(|p| p.overlay_mut(slot)) {
            overlay.ways = overlay.ways.saturating_sub(1);
        }
    }

    /// A client's messages all go through somebody it knows.
    fn through_gateway(&mut self, routed: Box<Routed<T>>, payload: Bytes, without: &[Guid]) {
        let mut gateways = self.gateways();
        gateways.retain(|g| !without.contains(g));
        if gateways.is_empty() {
            return self.no_way(&routed, None);
        }
        let route = Route { verdict: Verdict::Forward, peers: gateways, state: Bytes::new() };
        self.pass_on(routed, payload, None, &route);
    }

    /// A client's gateways, those with a session first.
    pub(super) fn gateways(&self) -> Vec<Guid> {
        let slot = self.slot();
        let carried = |g: &Guid| self.node.peers.get(g).is_some_and(|p| p.carries(slot));
        let (mut up, down): (Vec<Guid>, Vec<Guid>) = self.state.gateways.iter().copied().partition(carried);
        up.extend(down);
        up
    }

    /// The way ended; whoever waits for an answer is told.
    fn no_way(&mut self, routed: &Routed<T>, from: Option<Guid>) {
        self.state.metrics.dropped += 1;
        let back = self.way_back(routed, from);
        if let Some(back) = back {
            self.answer_to(back, Answer::Unreachable, Bytes::new());
        }
    }

    fn way_back(&self, routed: &Routed<T>, from: Option<Guid>) -> Option<Responder> {
        let &Routed { id, hops, origin, back, .. } = routed;
        match (back, from) {
            (Return::None, _) => None,
            // The origin itself, or a hop that looked for another way: the question waits under this number here.
            (Return::Path, None) => Some(Responder::Path { peer: self.node.me, id, hops }),
            (Return::Direct, None) if origin == self.node.me => Some(Responder::Path { peer: origin, id, hops }),
            (Return::Path, Some(peer)) => Some(Responder::Path { peer, id, hops }),
            (Return::Direct, _) => Some(Responder::Origin { peer: origin, id, hops }),
        }
    }

    fn deliver(&mut self, topology: &mut T, routed: Box<Routed<T>>, payload: Bytes, from: Option<Guid>) {
        let back = self.way_back(&routed, from);
        let Routed { lane, hops, to, origin, what, before, .. } = *routed;
        match what {
            What::Message(message) => {
                let via = Via::Route { origin, to, hops };
                let event = Event::Message { from: from.unwrap_or(origin), message, payload, via };
                topology.handle(event, &mut Context::new(self, Lane::default()));
            }
            What::Lookup { n } => {
                let draw = self.state.draw();
                let query = Query { to: &to, n: n.into(), without: &[], state: &before, from, draw, lane };
                let route = self.ask_route(topology, &query);
                let mut peers = vec![self.node.me];
                peers.extend(route.peers.iter().take(usize::from(n).saturating_sub(1)));
                self.keep_route(route);
                if let Some(back) = back {
                    self.answer_to(back, Answer::Found { peers }, Bytes::new());
                }
            }
            What::Fetch => self.found_on_the_way(&to, back),
            What::Request { service } => {
                let charge = from.unwrap_or(self.node.me);
                self.arrived(service, origin, charge, back, payload);
            }
            What::Notice { service } => {
                let charge = from.unwrap_or(self.node.me);
                self.arrived(service, origin, charge, None, payload);
            }
        }
    }

    fn answer_to(&mut self, to: Responder, answer: Answer, payload: Bytes) {
        let (peer, id, hops) = match to {
            Responder::Path { peer, id, hops } | Responder::Origin { peer, id, hops } => (peer, id, hops),
            Responder::Direct { .. } => return,
        };
        if peer == self.node.me {
            self.answer(peer, id, hops, answer, payload);
        } else {
            self.send_or_drop(peer, Body::Answer { id, hops, answer }, payload);
        }
    }

    /// An answer to a routed question: for this node, or one hop further back.
    pub(super) fn answer(&mut self, from: Guid, id: u32, hops: u8, answer: Answer, payload: Bytes) {
        let Some(waits) = self.answered(id, &from, Kind::Way) else { return };
        match waits {
            Waits::Hop { peer, id } => {
                let answer = match answer {
                    Answer::Records { records, far } => {
                        let records = self.pass_by(from, records, far);
                        Answer::Records { records, far: far.saturating_add(1) }
                    }
                    answer => answer,
                };
                self.send_or_drop(peer, Body::Answer { id, hops, answer }, payload);
            }
            Waits::Seek { operation } => self.sought_on_the_way(operation, from, Some(answer)),
            Waits::Way { lookup } => {
                let slot = self.slot();
                let answer = Some(Body::Answer { id, hops, answer });
                self.ws.todo.push_back(super::turn::Todo::Step { slot, lookup, answer, from: Some(from) });
            }
            Waits::Request { ticket } => {
                let outcome = match answer {
                    Answer::Response { from, status } => Outcome::Response { from, status, payload },
                    _ => Outcome::Failed(Failure::Unreachable),
                };
                self.done(ticket, outcome);
            }
            _ => {}
        }
    }

    /// A message for a service of this node.
    pub(super) fn arrived(
        &mut self,
        service: u32,
        from: Guid,
        charge: Guid,
        respond: Option<Responder>,
        payload: Bytes,
    ) {
        let slot = self.slot();
        // What the frame took of its sender's credit goes along; the application gives it back.
        let (class, bytes) = (self.state.class, core::mem::take(&mut self.state.charge));
        self.ws.out.push(Output::Arrived { slot, service, from, charge, class, bytes, respond, payload });
    }

    /// The application answers a request.
    pub(super) fn respond(&mut self, to: Responder, mut status: Status, mut payload: Bytes) {
        if payload.len() > MAX_PAYLOAD {
            (status, payload) = (Status::Failed, Bytes::from_static(b"the response is larger than a frame"));
        }
        match to {
            Responder::Direct { peer, id } if peer == self.node.me => {
                if let Some(Waits::Request { ticket }) = self.answered(id, &peer, Kind::Response) {
                    self.done(ticket, Outcome::Response { from: peer, status, payload });
                }
            }
            Responder::Direct { peer, id } => self.send_or_drop(peer, Body::Response { id, status }, payload),
            back => self.answer_to(back, Answer::Response { from: self.node.me, status }, payload),
        }
    }

    /// An application's request to a service.
    pub(super) fn request(
        &mut self,
        topology: &mut T,
        ticket: Ticket,
        to: To<T>,
        (service, payload): (u32, Bytes),
        timeout: Duration,
    ) {
        if payload.len() > MAX_PAYLOAD {
            return self.done(ticket, Outcome::Failed(Failure::TooLarge));
        }
        let peer = match to {
            To::Target(to) => return self.request_routed(topology, ticket, to, (service, payload), timeout),
            To::Peer(peer) => peer,
        };
        let (id, me) = (self.state.next_id(), self.node.me);
        if !self.wait(id, Waits::Request { ticket }, Some(peer), timeout) {
            return;
        }
        if peer == me {
            self.arrived(service, me, me, Some(Responder::Direct { peer, id }), payload);
        } else if self.send(peer, Body::Request { id, service }, payload).is_err() {
            self.forget(id);
            self.done(ticket, Outcome::Busy);
        }
    }

    /// A request to whoever owns a target. Over an iterative overlay the owner is looked up first.
    fn request_routed(
        &mut self,
        topology: &mut T,
        ticket: Ticket,
        to: Target<T>,
        (service, payload): (u32, Bytes),
        timeout: Duration,
    ) {
        if !self.state.powers.routes {
            return self.done(ticket, Outcome::Failed(Failure::NotSupported));
        }
        let back = match self.state.settings.lookup {
            Mode::Recursive => Return::Path,
            Mode::Iterative | Mode::Semi => Return::Direct,
        };
        if self.state.settings.lookup == Mode::Iterative {
            let asker = super::lookup::Asker::Request { ticket, service, payload, timeout };
            return self.begin_lookup(topology, asker, Lane::TOP, to, 1, None);
        }
        let id = self.unguessable_id();
        if self.wait(id, Waits::Request { ticket }, None, timeout) {
            let routed = self.new_routed(id, back, Lane::TOP, to, What::Request { service });
            self.forward(topology, routed, payload, None, &[]);
        }
    }

    /// Answers that come straight may come from anybody: only who saw the question knows its number.
    pub(super) fn unguessable_id(&mut self) -> u32 {
        use rand_core::Rng as _;
        self.state.ids = self.state.rng.next_u32();
        self.state.next_id()
    }

    /// A message to a service, for which nothing comes back.
    pub(super) fn notice(
        &mut self,
        topology: &mut T,
        ticket: Ticket,
        to: To<T>,
        (service, urgency): (u32, Urgency),
        payload: Bytes,
    ) {
        let me = self.node.me;
        let outcome = match to {
            _ if payload.len() > MAX_PAYLOAD => Outcome::Failed(Failure::TooLarge),
            To::Peer(peer) if peer == me => {
                self.arrived(service, me, me, None, payload);
                Outcome::Sent
            }
            To::Peer(peer) => match self.send(peer, Body::Notice { service, urgency }, payload) {
                Ok(()) => Outcome::Sent,
                Err(_) => Outcome::Busy,
            },
            To::Target(_) if !self.state.powers.routes => Outcome::Failed(Failure::NotSupported),
            To::Target(to) => {
                let routed = self.new_routed(0, Return::None, Lane::TOP, to, What::Notice { service });
                self.forward(topology, routed, payload, None, &[]);
                Outcome::Sent
            }
        };
        self.done(ticket, outcome);
    }
}

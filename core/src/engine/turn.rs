//! One turn: an input taken apart, and everything that follows from it.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::calls::{Kind, Waits};
use super::desk::Desk;
use super::io::{Class, Command, ConnId, Failure, Input, Origin, Outcome, Responder, Watch};
use super::lookup::Asker;
use super::peers::{APPLICATION, Link};
use super::records::Answered;
use super::state::{NodeState, Overlay, OverlayTimer};
use super::{Slot, Workspace};
use crate::topology::Topology;
use crate::topology::context::Context;
use crate::topology::event::{CallId, Change, Event, Via};
use crate::topology::question::{Hold, Lane, Target};
use crate::wire::Frame;
use crate::wire::Urgency;
use crate::wire::frame::{Body, Copied, Return, Routed};
use crate::{Guid, Time};

/// How much one input may set in motion. A topology that sends to itself without end is stopped here.
const MAX_STEPS: usize = 100_000;

/// Something that follows from an input, in order.
pub(super) enum Todo<T: Topology> {
    /// Tell the topology.
    Event { slot: Slot, lane: Lane, event: Event<T> },
    /// Send an own message along a route.
    Route { slot: Slot, lane: Lane, to: Target<T>, message: T::Message, payload: Bytes },
    /// A routed message needs a next hop, without these.
    Reroute { slot: Slot, routed: Box<Routed<T>>, payload: Bytes, from: Option<Guid>, without: Vec<Guid> },
    /// Begin a lookup.
    Lookup { slot: Slot, asker: Asker, lane: Lane, to: Target<T>, n: usize, via: Option<Guid> },
    /// Go on with one: an answer came, or none will.
    Step { slot: Slot, lookup: u32, answer: Option<Body<T>>, from: Option<Guid> },
    /// Begin a broadcast.
    Broadcast { slot: Slot, lane: Lane, topic: Option<crate::Key>, payload: Bytes },
    /// Pass a broadcast on, now that the topology was told of it.
    Spread { slot: Slot, copied: Arc<Copied>, payload: Bytes, from: Option<Guid>, proven: Option<Origin> },
    /// A frame found no session.
    Undelivered { slot: Slot, peer: Guid, frame: Frame<T> },
    /// The topology changed something.
    Changed { slot: Slot, change: Change },
    /// A peer broke a rule.
    Fault { peer: Guid },
    /// A peer takes nothing, not even what the session itself must say.
    Choked { peer: Guid },
    /// What the application asked goes on.
    Command { slot: Slot, command: Command<T> },
}

/// An engine and what it was lent, for one turn.
pub(super) struct Turn<'a, T: Topology> {
    pub(super) now: Time,
    pub(super) node: &'a mut NodeState<T>,
    pub(super) overlays: &'a mut [Option<Box<Overlay<T>>>],
    pub(super) ws: &'a mut Workspace<T>,
}

impl<T: Topology> Turn<'_, T> {
    /// Handles an input and all that follows from it.
    pub(super) fn run(&mut self, input: Input<T>) {
        self.begin(input);
        self.work();
    }

    pub(super) fn work(&mut self) {
        for _ in 0..MAX_STEPS {
            let Some(todo) = self.ws.todo.pop_front() else { return };
            self.step(todo);
        }
        self.ws.todo.clear();
    }

    /// An overlay opened up: its topology, and everything else beside it.
    pub(super) fn open(&mut self, slot: Slot) -> Option<(&mut T, Desk<'_, T>)> {
        let Overlay { topology, state } = self.overlays.get_mut(usize::from(slot.0))?.as_deref_mut()?;
        Some((topology, Desk { now: self.now, node: self.node, state, ws: self.ws }))
    }

    pub(super) fn slots(&self) -> SmallVec<[Slot; 4]> {
        self.overlays.iter().flatten().map(|o| o.state.slot).collect()
    }

    fn begin(&mut self, input: Input<T>) {
        match input {
            Input::Connected { peer, conn, dialer, exporter } => self.connected(peer, conn, dialer, exporter),
            Input::DialFailed { peer } => self.dial_failed(peer),
            Input::Lost { peer, conn } => self.lost(peer, conn),
            Input::Frame { peer, conn, frame } => self.frame(peer, conn, frame),
            Input::Undelivered { peer, frame } => {
                // A broken wire is no proof of death, and around a living owner there is only a wrong one: a question
                // is put again by whoever asked it. What nobody waits for takes another way from here.
                let awaited = matches!(&frame.body, Body::Routed(routed) if routed.back != Return::None);
                if let Some(slot) = self.slot_of(frame.tag).filter(|_| !awaited) {
                    self.ws.todo.push_back(Todo::Undelivered { slot, peer, frame });
                }
            }
            Input::Malformed { peer, conn } => self.malformed(peer, conn),
            Input::Drained { peer, conn, bytes } => self.drained(peer, conn, bytes),
            Input::Wake => self.wake(),
            Input::Command(slot, command) => self.command(slot, command),
            Input::Reachable(how) => self.node.reachability = how,
        }
    }

    /// The overlay of one of this node's own tags.
    fn slot_of(&self, tag: u32) -> Option<Slot> {
        let slot = Slot((tag >> 8).checked_sub(1)? as u16);
        let overlay = self.overlays.get(usize::from(slot.0))?.as_deref()?;
        (overlay.state.tag() == tag).then_some(slot)
    }

    fn step(&mut self, todo: Todo<T>) {
        match todo {
            Todo::Event { slot, lane, event } => {
                if let Some((topology, mut desk)) = self.open(slot) {
                    topology.handle(event, &mut Context::new(&mut desk, lane));
                }
            }
            Todo::Route { slot, lane, to, message, payload } => {
                if let Some((topology, mut desk)) = self.open(slot) {
                    desk.route_own(topology, lane, to, message, payload);
                }
            }
            Todo::Reroute { slot, routed, payload, from, without } => {
                if let Some((topology, mut desk)) = self.open(slot) {
                    desk.forward(topology, routed, payload, from, &without);
                }
            }
            Todo::Lookup { slot, asker, lane, to, n, via } => {
                if let Some((topology, mut desk)) = self.open(slot) {
                    desk.begin_lookup(topology, asker, lane, to, n, via);
                }
            }
            Todo::Step { slot, lookup, answer, from } => {
                if let Some((topology, mut desk)) = self.open(slot) {
                    desk.step_lookup(topology, lookup, answer, from);
                }
            }
            Todo::Broadcast { slot, lane, topic, payload } => {
                if let Some((_, mut desk)) = self.open(slot) {
                    desk.broadcast(lane, topic, payload, Origin::Claimed, Urgency::Usual);
                }
            }
            Todo::Spread { slot, copied, payload, from, proven } => {
                if let Some((topology, mut desk)) = self.open(slot) {
                    desk.spread(topology, copied, payload, from, proven);
                }
            }
            Todo::Undelivered { slot, peer, frame } => self.undelivered(slot, peer, frame),
            Todo::Changed { slot, change } => self.changed(slot, change),
            Todo::Fault { peer } => self.fault(peer),
            Todo::Choked { peer } => self.drop_peer(peer, "it takes nothing in"),
            Todo::Command { slot, command } => self.command(slot, command),
        }
    }

    /// A frame that did not reach its peer: routed ones take another way, questions count as unanswered.
    fn undelivered(&mut self, slot: Slot, peer: Guid, frame: Frame<T>) {
        let Some((_, mut desk)) = self.open(slot) else { return };
        match frame.body {
            Body::Routed(routed) if routed.back == Return::Path && !desk.state.questions.contains(routed.id) => {
                // Whoever asked was told already that there is no answer.
                desk.state.metrics.dropped += 1;
            }
            Body::Routed(mut routed) => {
                // `before` still holds the state with which this hop asks for another way.
                routed.hops = routed.hops.saturating_sub(1);
                routed.tried.push(peer);
                let without = routed.tried.clone();
                desk.ws.todo.push_back(Todo::Reroute { slot, routed, payload: frame.payload, from: None, without });
            }
            Body::Call { id, .. } | Body::Find { id, .. } | Body::Request { id, .. } => {
                desk.unanswered(id, Failure::PeerGone);
            }
            Body::Store { id: id @ 1.., .. } | Body::Fetch { id, .. } | Body::Holds { id, .. } | Body::Ping { id } => {
                desk.unanswered(id, Failure::PeerGone);
            }
            Body::Send(message) => {
                desk.state.metrics.dropped += 1;
                desk.tell(T::lane_of(&message), Event::DialFailed { peer });
            }
            _ => desk.state.metrics.dropped += 1,
        }
    }

    /// Announces new addresses to everybody the overlay is linked with.
    fn changed(&mut self, slot: Slot, change: Change) {
        if change != Change::Addresses {
            if let Some((_, mut desk)) = self.open(slot) {
                desk.moved(change);
                if change == Change::Range && !desk.state.known.is_empty() {
                    let peers = core::mem::take(&mut desk.state.known).into();
                    desk.tell(Lane::TOP, Event::Known { peers });
                }
            }
            return;
        }
        let guids: Vec<Guid> = self.node.peers.iter().filter(|p| p.carries(slot)).map(|p| p.guid).collect();
        let now = self.now;
        let Some((topology, mut desk)) = self.open(slot) else { return };
        let Some(membership) = desk.state.membership(topology, desk.node, now) else { return };
        for guid in guids {
            desk.send_or_drop(guid, Body::Moved(membership.clone()), Bytes::new());
        }
    }

    fn wake(&mut self) {
        let now = self.now;
        let mark = self.node.timers.mark();
        while let Some((handle, at)) = self.node.timers.pop(now, mark) {
            if let Some(peer) = self.node.peers.guid(at) {
                self.peer_due(peer, handle);
            }
            self.work();
        }
        for slot in self.slots() {
            self.give_up(slot);
            let Some((_, desk)) = self.open(slot) else { continue };
            let mark = desk.state.timers.mark();
            // What follows from one timer comes before the next.
            while self.fire(slot, mark) {
                self.work();
            }
        }
    }

    /// Waits no longer for answers whose time is over.
    fn give_up(&mut self, slot: Slot) {
        let now = self.now;
        let late = self.open(slot).map(|(_, desk)| desk.state.questions.due(now)).unwrap_or_default();
        for id in late {
            let Some((_, mut desk)) = self.open(slot) else { return };
            desk.unanswered(id, Failure::Timeout);
            self.work();
        }
    }

    /// Lets the next timer of an overlay fire, if one is due.
    fn fire(&mut self, slot: Slot, mark: u64) -> bool {
        let now = self.now;
        let Some((topology, mut desk)) = self.open(slot) else { return false };
        let Some((handle, timer)) = desk.state.timers.pop(now, mark) else { return false };
        if desk.state.holds(topology, &timer) {
            desk.state.park(handle, timer);
            return true;
        }
        match timer {
            OverlayTimer::Topology(timer) => {
                desk.state.set.fired(&timer, handle);
                topology.handle(Event::Timer(timer), &mut Context::new(&mut desk, Lane::default()));
            }
            OverlayTimer::Lookup(id) => desk.lookup_overdue(id),
            OverlayTimer::Republish(key) => desk.republish(*key),
            OverlayTimer::Expire => desk.expire(),
            OverlayTimer::Settle => desk.settle(topology),
        }
        true
    }

    fn command(&mut self, slot: Slot, command: Command<T>) {
        if let Command::Join { seeds } = command {
            return self.join(slot, seeds);
        }
        let Some((topology, mut desk)) = self.open(slot) else {
            return self.detached(slot, &command);
        };
        match command {
            Command::Join { .. } => {}
            Command::Lookup { ticket, to, n } => {
                desk.begin_lookup(topology, Asker::Application { ticket }, Lane::TOP, to, n, None);
            }
            Command::Request { ticket, to, service, payload, timeout } => {
                desk.request(topology, ticket, to, (service, payload), timeout);
            }
            Command::Notice { ticket, to, service, urgency, payload } => {
                desk.notice(topology, ticket, to, (service, urgency), payload);
            }
            Command::Respond { to, status, payload } => desk.respond(to, status, payload),
            Command::Publish { ticket, topic, payload, origin, urgency } => {
                let outcome = desk.publish(topic, payload, origin, urgency);
                desk.done(ticket, outcome);
            }
            Command::Subscribe { topic } => {
                if desk.state.casts().subscribe(topic) {
                    desk.tell(Lane::TOP, Event::Subscribe { topic });
                }
            }
            Command::Unsubscribe { topic } => {
                if desk.state.casts().unsubscribe(&topic) {
                    desk.tell(Lane::TOP, Event::Unsubscribe { topic });
                }
            }
            Command::Put { ticket, key, value, options } => desk.put(ticket, key, value, &options),
            Command::Withdraw { key } => desk.withdraw(&key),
            Command::Get { ticket, key, options } => desk.get(topology, ticket, key, &options),
            Command::Ask { ticket, command } => desk.ask_topology(ticket, command),
            Command::Consumed { peer, class, bytes } => desk.consumed(peer, class, bytes),
            Command::Hold { peer, hold } => desk.hold(peer, APPLICATION, hold),
            Command::Ping { ticket, peer } if peer == desk.node.me => {
                desk.done(ticket, Outcome::Pong(core::time::Duration::ZERO));
            }
            Command::Ping { ticket, peer } => {
                desk.ask(peer, Waits::Ping { ticket }, None, Bytes::new(), |id| Body::Ping { id });
            }
            Command::Restore { contacts, kept, own } => desk.restore(contacts, kept, own),
        }
    }

    /// Whoever waits on an overlay that is gone is told so.
    fn detached(&mut self, slot: Slot, command: &Command<T>) {
        let (Command::Lookup { ticket, .. }
        | Command::Request { ticket, .. }
        | Command::Notice { ticket, .. }
        | Command::Publish { ticket, .. }
        | Command::Put { ticket, .. }
        | Command::Get { ticket, .. }
        | Command::Ask { ticket, .. }
        | Command::Ping { ticket, .. }) = command
        else {
            return;
        };
        let outcome = Outcome::Failed(Failure::Detached);
        self.ws.out.push(super::Output::Done { slot, ticket: *ticket, outcome });
    }

    fn join(&mut self, slot: Slot, seeds: Vec<crate::Contact>) {
        let now = self.now;
        let me = self.node.me;
        let mut guids: Vec<Guid> = Vec::with_capacity(seeds.len());
        for contact in seeds {
            if contact.guid() != me && !guids.contains(&contact.guid()) {
                guids.push(contact.guid());
                // A seed of the application's own: it is dialed whatever the book thinks of it.
                let _ = self.ws.book.learn(contact, now);
            }
        }
        let Some((_, mut desk)) = self.open(slot) else { return };
        if desk.state.is_client() {
            // A client enters nobody's tables: it keeps a link to those it asks, and that is all.
            desk.state.gateways.clone_from(&guids);
            guids.into_iter().for_each(|peer| desk.hold(peer, APPLICATION, Some(Hold::Required)));
        } else {
            desk.tell(Lane::TOP, Event::Join { seeds: guids });
        }
    }

    /// Leaves an overlay: the topology first, then everybody it is linked with.
    pub(super) fn detach(&mut self, slot: Slot) {
        if let Some((topology, mut desk)) = self.open(slot)
            && !desk.state.is_client()
        {
            desk.part_with_records(topology);
            topology.handle(Event::Leave, &mut Context::new(&mut desk, Lane::TOP));
        }
        self.work();
        if let Some((_, mut desk)) = self.open(slot) {
            desk.end_everything(Failure::Detached);
        }
        self.work();
        // The topology may have answered with new questions: nobody hears what becomes of them.
        for peer in self.node.peers.guids() {
            self.leave_with(slot, peer);
        }
        self.node.peers.forget(slot);
    }

    /// A broken rule is counted; after several the peer is dropped.
    fn fault(&mut self, peer: Guid) {
        let limit = self.node.settings.faults;
        let Some(entry) = self.node.peers.get_mut(&peer) else { return };
        entry.faults += 1;
        if entry.faults >= limit {
            self.drop_accused(peer);
        }
    }

    /// A frame of an overlay that both sides agreed on.
    pub(super) fn overlay_frame(&mut self, slot: Slot, peer: Guid, frame: Frame<T>) {
        let now = self.now;
        let Some((topology, mut desk)) = self.open(slot) else { return };
        desk.state.metrics.frames_in += 1;
        desk.state.metrics.payload_bytes_in += frame.payload.len() as u64;
        if desk.state.powers.hears && desk.node.peers.get(&peer).and_then(|p| p.overlay(slot)).is_some_and(|o| o.member)
        {
            topology.handle(Event::Heard { peer }, &mut Context::new(&mut desk, Lane::TOP));
        }
        let class = frame.class();
        desk.state.charge = if class == Class::Control { 0 } else { frame.charge() };
        desk.state.class = class;
        let Frame { body, payload, contacts, .. } = frame;
        for contact in contacts {
            if desk.ws.book.learn(contact, now).is_err() {
                desk.blame(peer, "a forged contact");
            }
        }
        desk.frame(topology, peer, body, payload);
        // What did not go to an application is taken in now.
        let charge = core::mem::take(&mut desk.state.charge);
        if charge > 0 {
            desk.consumed(peer, class, charge);
        }
    }

    /// A queue grew shorter: whoever was told "busy" may try again.
    fn drained(&mut self, peer: Guid, conn: ConnId, bytes: u32) {
        let (now, limit) = (self.now, self.node.settings.queue_bytes);
        let Some(entry) = self.node.peers.get_mut(&peer) else { return };
        if !matches!(entry.link, Link::Open(wire) if wire.conn == conn) {
            return;
        }
        entry.queued = entry.queued.saturating_sub(bytes);
        entry.flow.drained(now, bytes);
        if entry.queue_with(0) <= limit / 4 && entry.overlays.iter().any(|o| o.has_refused()) {
            let slots: Vec<Slot> = entry.overlays.iter().filter(|o| o.has_refused()).map(|o| o.slot).collect();
            slots.into_iter().for_each(|slot| self.writable(slot, peer));
        }
    }

    /// Tells everybody on an overlay that a peer takes messages again, if it does.
    pub(super) fn writable(&mut self, slot: Slot, peer: Guid) {
        let Some(overlay) = self.node.peers.get_mut(&peer).and_then(|p| p.overlay_mut(slot)) else { return };
        if !overlay.relents() {
            return;
        }
        let lanes = (overlay.required | overlay.cached | overlay.theirs) & !APPLICATION;
        if let Some((_, mut desk)) = self.open(slot) {
            super::peers::lanes(lanes).for_each(|lane| desk.tell(lane, Event::Writable { peer }));
            desk.watch(Watch::Writable(peer));
        }
    }

    pub(super) fn is_open(&self, peer: &Guid) -> bool {
        self.node.peers.get(peer).is_some_and(|p| matches!(p.link, Link::Open(_)))
    }
}

impl<T: Topology> Desk<'_, T> {
    /// What one frame of the overlay says.
    fn frame(&mut self, topology: &mut T, peer: Guid, body: Body<T>, payload: Bytes) {
        let slot = self.slot();
        match body {
            Body::Send(message) => {
                let event = Event::Message { from: peer, message, payload, via: Via::Direct };
                topology.handle(event, &mut Context::new(self, Lane::default()));
            }
            Body::Call { id, message } => {
                let via = Via::Call(CallId { peer, id });
                let event = Event::Message { from: peer, message, payload, via };
                topology.handle(event, &mut Context::new(self, Lane::default()));
            }
            Body::Reply { id, message } => {
                if let Some(Waits::Call { ticket, lane }) = self.answered(id, &peer, Kind::Reply) {
                    let event = Event::Reply { ticket, from: peer, message, payload };
                    topology.handle(event, &mut Context::new(self, lane));
                }
            }
            Body::Routed(routed) => self.routed(topology, routed, payload, peer),
            Body::Answer { id, hops, answer } => self.answer(peer, id, hops, answer, payload),
            Body::Find { id, lane, n, to, state, known } => {
                self.find(topology, peer, id, (lane, n), &to, (&state, &known));
            }
            Body::Next { id, .. } => {
                if let Some(Waits::Find { lookup }) = self.answered(id, &peer, Kind::Next) {
                    let answer = Some(body);
                    self.ws.todo.push_back(Todo::Step { slot, lookup, answer, from: Some(peer) });
                }
            }
            Body::Copy(copied) => self.copy(copied, payload, peer),
            Body::Request { id, service } => {
                self.arrived(service, peer, peer, Some(Responder::Direct { peer, id }), payload);
            }
            Body::Response { id, status } => {
                if let Some(Waits::Request { ticket }) = self.answered(id, &peer, Kind::Response) {
                    self.done(ticket, Outcome::Response { from: peer, status, payload });
                }
            }
            Body::Notice { service, .. } => self.arrived(service, peer, peer, None, payload),
            Body::Store { id, record } => self.store(topology, peer, id, *record),
            Body::Stored { id, receipt } => match self.answered(id, &peer, Kind::Record) {
                Some(Waits::Record { operation }) => self.record_step(operation, peer, Answered::Receipt(receipt)),
                Some(Waits::Handed { key }) => self.handed(peer, key, Some(receipt)),
                _ => {}
            },
            Body::Fetch { id, key } => self.fetch(peer, id, key),
            Body::Fetched { id, records } => {
                if let Some(Waits::Record { operation }) = self.answered(id, &peer, Kind::Record) {
                    self.record_step(operation, peer, Answered::Records(records));
                }
            }
            Body::Holds { id, calling, kept } => self.holds(topology, peer, id, calling, &kept),
            Body::Holding { id, answers } => {
                if let Some(Waits::Offer { offer }) = self.answered(id, &peer, Kind::Holding) {
                    self.holding(peer, offer, &answers);
                }
            }
            Body::Ping { id } => self.send_or_drop(peer, Body::Pong { id }, Bytes::new()),
            Body::Pong { id } => drop(self.answered(id, &peer, Kind::Pong)),
            Body::Interest { .. } | Body::Leaving | Body::Credit { .. } | Body::Moved(_) => {}
            Body::Offer(_) | Body::Accept { .. } | Body::Confirm { .. } | Body::Goodbye(_) => {
                self.blame(peer, "a session frame inside an overlay");
            }
        }
    }
}

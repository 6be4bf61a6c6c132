//! The loop of a world: an event off the wheel, an input into an engine, its outputs onto the wheel.

use core::time::Duration;

use polymorph_core::engine::Slot;
use polymorph_core::engine::io::{Command, ConnId, Dialer, Input, Output, Watch};
use polymorph_core::wire::{self, Frame};
use polymorph_core::{Guid, Time, Topology};

use super::{Peer, World};
use crate::mix::{below, bytes32, happens};
use crate::options::Codec;
use crate::trace::What;
use crate::traffic::kind;
use crate::wires::{End, WireId};
use crate::witness::{Arrival, Blamed, Delivery, Ended};

/// Something that will happen. Small, because millions wait on the wheel.
#[derive(Clone, Copy, Default, Debug)]
pub(super) enum Happening {
    #[default]
    Nothing,
    /// An engine wanted to be woken.
    Wake(u32),
    /// A flight arrives.
    Arrive(u32),
    /// A flight comes back to where it started.
    Return(u32),
    /// A dial is answered, or refused.
    Dialed { from: u32, to: u32 },
    /// A dial nobody answered is given up.
    Unanswered { from: u32, to: u32 },
    /// A dial to somebody who is not in this world is given up.
    Stranger(u32),
    /// One end of a wire learns that it broke.
    Lost(WireId, End),
    /// One end of a wire has heard nothing for too long, if that is still so.
    Silence(WireId, End),
    /// A wire breaks.
    Snap(WireId),
    /// Somebody's time is over.
    Depart(u32),
    /// The crowd is counted.
    Count,
}

impl Happening {
    /// Whether something is on its way, as opposed to a timer that runs.
    fn moves(self) -> bool {
        !matches!(self, Self::Nothing | Self::Wake(_) | Self::Snap(_) | Self::Depart(_) | Self::Count)
    }
}

/// A frame on its way.
#[derive(Debug)]
pub(super) struct Flight<T: Topology> {
    from: u32,
    to: u32,
    wire: WireId,
    /// The sender's end of it.
    end: End,
    frame: Frame<T>,
    /// Its bytes decode no longer.
    spoiled: bool,
}

/// Keeps what the two ends of a wire share apart from other draws.
const EXPORTERS: u64 = 0x6578_706f_7274;

impl<T: Topology> World<T> {
    /// Lets the next event happen, if it does before `end`.
    pub(super) fn step(&mut self, end: Time) -> bool {
        let Some((at, happening)) = self.wheel.pop_until(end) else { return false };
        self.now = self.now.max(at);
        self.moving -= usize::from(happening.moves());
        match happening {
            Happening::Nothing => {}
            Happening::Wake(peer) => self.wake(peer, at),
            Happening::Arrive(flight) => self.arrive(flight),
            Happening::Return(flight) => self.come_back(flight),
            Happening::Dialed { from, to } => self.dialed(from, to),
            Happening::Unanswered { from, to } => self.dial_failed(from, self.nodes[to as usize].guid, to),
            Happening::Stranger(at) => {
                if let Some((from, guid)) = self.strangers.take(at) {
                    self.dial_failed(from, guid, u32::MAX);
                }
            }
            Happening::Lost(wire, end) => self.lose(wire, end),
            Happening::Silence(wire, end) => self.hear_nothing(wire, end),
            Happening::Snap(wire) => self.snap(wire),
            Happening::Depart(peer) => self.depart(peer, at),
            Happening::Count => self.count_crowd(),
        }
        true
    }

    pub(super) fn plan(&mut self, at: Time, happening: Happening) {
        self.moving += usize::from(happening.moves());
        self.wheel.push(at, happening);
    }

    // ---- In.

    /// Hands an input to an engine, and does what it wants. Nothing happens if the peer is gone.
    pub(super) fn feed(&mut self, peer: u32, input: Input<T>) {
        let Some(engine) = self.nodes[peer as usize].engine.as_mut() else { return };
        self.events += 1;
        self.latest = peer;
        engine.handle(self.now, input, &mut self.ws);
        self.settle(peer);
    }

    /// Does what an engine wants, until it wants nothing more.
    pub(super) fn settle(&mut self, peer: u32) {
        loop {
            core::mem::swap(&mut self.out, &mut self.ws.out);
            let mut out = core::mem::take(&mut self.out);
            for output in out.drain(..) {
                self.carry_out(peer, output);
            }
            self.out = out;
            let Some(engine) = self.nodes[peer as usize].engine.as_mut() else { break };
            for (to, conn, bytes) in self.drained.drain(..) {
                engine.handle(self.now, Input::Drained { peer: to, conn, bytes }, &mut self.ws);
            }
            for (slot, command) in self.commands.drain(..) {
                engine.handle(self.now, Input::Command(slot, command), &mut self.ws);
            }
            if self.ws.out.is_empty() {
                break;
            }
        }
        self.plan_wake(peer);
    }

    /// Sees to it that the wheel wakes an engine when it wants to be. An event that is early does no harm, so the
    /// two next ones are remembered and a third is not needed.
    fn plan_wake(&mut self, peer: u32) {
        let node = &mut self.nodes[peer as usize];
        let Some(at) = node.engine.as_ref().and_then(|engine| engine.next_wake()) else { return };
        let at = at.max(self.now);
        if at < node.wakes[0] {
            node.wakes = [at, node.wakes[0]];
            self.plan(at, Happening::Wake(peer));
        }
    }

    fn wake(&mut self, peer: u32, at: Time) {
        let node = &mut self.nodes[peer as usize];
        if node.wakes[0] != at {
            return;
        }
        node.wakes = [node.wakes[1], Time::MAX];
        let Some(engine) = node.engine.as_ref() else { return };
        if engine.next_wake().is_some_and(|wanted| wanted <= self.now) {
            self.trace.note(self.now, peer, What::Wake, peer, 0, 0);
            self.feed(peer, Input::Wake);
        } else {
            self.plan_wake(peer);
        }
    }

    // ---- Out.

    fn carry_out(&mut self, from: u32, output: Output<T>) {
        let (peer, at) = (Peer(from), self.now);
        match output {
            Output::Send { peer: to, conn, frame, .. } => self.send(from, to, conn, frame),
            Output::Dial { peer: to } => self.dial(from, to),
            Output::Close { conn, .. } => {
                let (wire, end) = WireId::of(conn);
                self.hang_up(wire, end);
            }
            Output::Done { ticket, outcome, .. } => {
                self.witness.end(Ended { peer, at, outcome }, ticket);
            }
            Output::Arrived { slot, service, from, charge, bytes, respond, payload } => {
                // Applications of a world take everything in at once.
                self.commands.push((slot, Command::Consumed { peer: charge, bytes }));
                self.served(slot, Arrival { peer, at, service: Some(service), from, respond, payload });
            }
            Output::Published { slot, id, topic, from, origin, hops, payload } => {
                let sent_here = from == self.nodes[peer.index()].guid;
                let delivery = Delivery { peer, slot, at, id, topic, from, origin, hops, payload };
                self.witness.published(self.options.keep, sent_here, delivery);
            }
            Output::Delivered { from, payload, .. } => {
                self.witness.arrivals.push(Arrival { peer, at, service: None, from, respond: None, payload });
            }
            Output::Watch(_, Watch::Blamed { peer: whom, why }) => {
                self.witness.blame(Blamed { by: peer, peer: whom, why });
            }
            Output::Watch(..) => {}
        }
    }

    fn served(&mut self, slot: Slot, mut arrival: Arrival) {
        let answer = self.service.as_mut().and_then(|service| service(&arrival));
        match (answer, arrival.respond.take()) {
            (Some((status, payload)), Some(to)) => {
                self.commands.push((slot, Command::Respond { to, status, payload }));
            }
            (_, respond) => self.witness.arrivals.push(Arrival { respond, ..arrival }),
        }
    }

    // ---- Frames.

    fn send(&mut self, from: u32, to: Guid, conn: ConnId, frame: Frame<T>) {
        self.drained.push((to, conn, frame.charge()));
        if self.attackers.is_empty() {
            return self.put(from, to, conn, frame, false);
        }
        self.say(from, to, conn, frame);
    }

    /// Puts a frame on a wire.
    pub(super) fn put(&mut self, from: u32, to: Guid, conn: ConnId, frame: Frame<T>, spoiled: bool) {
        let (id, end) = WireId::of(conn);
        let bytes = frame.wire_len();
        self.traffic.count(kind(&frame.body), bytes);
        let now = self.now;
        let wire = self.wires.get_mut(id).filter(|wire| wire.open[end.index()]);
        let Some(wire) = wire else {
            // The engine has not heard yet that the wire is gone.
            let to = self.directory.open().number(&to).unwrap_or(u32::MAX);
            let flight = self.flights.insert(Flight { from, to, wire: id, end, frame, spoiled });
            self.plan(now, Happening::Return(flight));
            return;
        };
        let (to, at) = (wire.ends[end.other().index()], wire.arrival(now, end));
        let flight = self.flights.insert(Flight { from, to, wire: id, end, frame, spoiled });
        self.plan(at, Happening::Arrive(flight));
    }

    fn arrive(&mut self, at: u32) {
        let Some(flight) = self.flights.take(at) else { return };
        let (from, to) = (flight.from, flight.to);
        let end = flight.end.other();
        if !self.wires.is_open(flight.wire, end) || self.faults.separated(from, to) {
            let back = self.now + self.latency(Peer(to), Peer(from));
            let flight = self.flights.insert(flight);
            return self.plan(back, Happening::Return(flight));
        }
        if self.faults.swallows(to, &flight.frame) {
            return;
        }
        let (peer, conn) = (self.nodes[from as usize].guid, flight.wire.conn(end));
        if flight.spoiled {
            return self.feed(to, Input::Malformed { peer, conn });
        }
        let frame = match self.options.codec {
            Codec::Typed => flight.frame,
            Codec::Encoded => recode(&flight.frame),
        };
        let kind = kind(&frame.body) as u64;
        let size = (frame.contacts.len() as u64) << 32 | frame.payload.len() as u64;
        self.trace.note(self.now, to, What::Frame, from, kind, size);
        self.nodes[to as usize].received += 1;
        let heard = if self.attackers.is_empty() { Some(frame) } else { self.hear(to, peer, conn, frame) };
        if let Some(frame) = heard {
            self.feed(to, Input::Frame { peer, conn, frame });
        }
    }

    /// A frame could not be delivered: its sender gets it back, and learns that the wire is of no use.
    fn come_back(&mut self, at: u32) {
        let Some(Flight { from, to, wire, end, frame, .. }) = self.flights.take(at) else { return };
        let Some(peer) = self.nodes.get(to as usize).map(|node| node.guid) else { return };
        self.trace.note(self.now, from, What::Undelivered, to, kind(&frame.body) as u64, frame.payload.len() as u64);
        self.feed(from, Input::Undelivered { peer, frame });
        self.lose(wire, end);
    }

    // ---- Wires.

    fn dial(&mut self, from: u32, guid: Guid) {
        let number = self.directory.open().number(&guid);
        let Some(to) = number else {
            // Nobody is there, or no longer: as far away as anybody else.
            let [a, b, c, d, ..] = guid.0;
            let away = self.latency(Peer(from), Peer(u32::from_le_bytes([a, b, c, d])));
            let stranger = self.strangers.insert((from, guid));
            return self.plan(self.now + 2 * away, Happening::Stranger(stranger));
        };
        let round_trip = 2 * self.latency(Peer(from), Peer(to));
        self.plan(self.now + round_trip, Happening::Dialed { from, to });
    }

    fn dialed(&mut self, from: u32, to: u32) {
        let (lost_dials, draw) = (self.options.lost_dials, self.draw());
        let unheard = self.faults.separated(from, to) || self.faults.is_shut(to) || happens(draw, lost_dials);
        let round_trip = 2 * self.latency(Peer(from), Peer(to));
        if unheard && self.options.unanswered > round_trip {
            let rest = self.options.unanswered - round_trip;
            self.plan(self.now + rest, Happening::Unanswered { from, to });
        } else if unheard || self.nodes[to as usize].engine.is_none() {
            self.dial_failed(from, self.nodes[to as usize].guid, to);
        } else if self.nodes[from as usize].engine.is_some() {
            self.connect(from, to);
        }
    }

    fn dial_failed(&mut self, from: u32, peer: Guid, to: u32) {
        self.trace.note(self.now, from, What::DialFailed, to, 0, 0);
        self.feed(from, Input::DialFailed { peer });
    }

    fn connect(&mut self, from: u32, to: u32) {
        let latency = self.options.latency.nanos(self.options.seed, from, to);
        let id = self.wires.connect(from, to, latency);
        self.nodes[from as usize].wires.push(id);
        self.nodes[to as usize].wires.push(id);
        if let Some(life) = self.options.wire_life {
            let twice = u64::try_from(life.as_nanos()).unwrap_or(u64::MAX).saturating_mul(2);
            let after = Duration::from_nanos(below(self.draw(), twice));
            self.plan(self.now + after, Happening::Snap(id));
        }
        let exporter = bytes32(self.options.seed ^ EXPORTERS, id.conn(End::Dialing).0);
        for (end, me, other, dialer) in [(End::Dialing, from, to, Dialer::Me), (End::Dialed, to, from, Dialer::Peer)] {
            let peer = self.nodes[other as usize].guid;
            self.trace.note(self.now, me, What::Connected, other, end.index() as u64, 0);
            self.feed(me, Input::Connected { peer, conn: id.conn(end), dialer, exporter });
        }
    }

    /// An engine closes its end: the other learns of it after all that was sent before.
    fn hang_up(&mut self, id: WireId, end: End) {
        let now = self.now;
        let Some(wire) = self.wires.get_mut(id) else { return };
        let at = wire.arrival(now, end);
        if self.shut_end(id, end) && self.wires.is_open(id, end.other()) {
            self.plan(at, Happening::Lost(id, end.other()));
        }
    }

    /// One end learns that its wire is gone.
    fn lose(&mut self, id: WireId, end: End) {
        let Some(wire) = self.wires.get(id) else { return };
        let (me, other) = (wire.ends[end.index()], wire.ends[end.other().index()]);
        if self.shut_end(id, end) {
            self.trace.note(self.now, me, What::Lost, other, 0, 0);
            let peer = self.nodes[other as usize].guid;
            self.feed(me, Input::Lost { peer, conn: id.conn(end) });
        }
    }

    /// Closes one end of a wire; `false` if it was.
    fn shut_end(&mut self, id: WireId, end: End) -> bool {
        let Some(me) = self.wires.get(id).map(|wire| wire.ends[end.index()]) else { return false };
        let shut = self.wires.close(id, end);
        let wires = &mut self.nodes[me as usize].wires;
        if let Some(at) = wires.iter().position(|&wire| wire == id) {
            wires.swap_remove(at);
        }
        shut
    }

    /// A wire breaks, and both ends notice.
    pub(super) fn snap(&mut self, id: WireId) {
        self.lose(id, End::Dialing);
        self.lose(id, End::Dialed);
    }

    /// A peer is gone. The other ends of its wires learn of it after `notice`, and after all it had sent; `None` for
    /// never.
    pub(super) fn vanish(&mut self, peer: u32, notice: Option<Duration>) {
        let node = &mut self.nodes[peer as usize];
        if node.engine.take().is_none() {
            return;
        }
        (self.alive, self.changes) = (self.alive - 1, self.changes + 1);
        // What is left of them are wires whose other end is open.
        let mut wires = core::mem::take(&mut node.wires);
        wires.retain(|&id| {
            let Some(wire) = self.wires.get_mut(id) else { return false };
            let end = if wire.ends[0] == peer { End::Dialing } else { End::Dialed };
            let at = wire.arrival(self.now, end);
            self.wires.close(id, end);
            let open = self.wires.is_open(id, end.other());
            if let Some(notice) = notice.filter(|_| open) {
                self.plan(at + notice, Happening::Lost(id, end.other()));
            }
            open
        });
        self.nodes[peer as usize].wires = wires;
        self.lie_fallow(peer);
    }

    /// A peer was set apart: both ends of each of its wires across the border notice after `silence`.
    pub(super) fn part(&mut self, peer: u32, silence: Duration) {
        for id in self.nodes[peer as usize].wires.clone() {
            let Some(wire) = self.wires.get(id) else { continue };
            let [a, b] = wire.ends;
            if self.faults.separated(a, b) {
                self.plan(self.now + silence, Happening::Silence(id, End::Dialing));
                self.plan(self.now + silence, Happening::Silence(id, End::Dialed));
            }
        }
    }

    /// After so much silence a peer notices which of its wires lead to nobody.
    pub(super) fn listen(&mut self, peer: u32, silence: Duration) {
        for id in self.nodes[peer as usize].wires.clone() {
            let Some(wire) = self.wires.get(id) else { continue };
            let end = if wire.ends[0] == peer { End::Dialing } else { End::Dialed };
            if !wire.open[end.other().index()] {
                self.plan(self.now + silence, Happening::Silence(id, end));
            }
        }
    }

    fn hear_nothing(&mut self, id: WireId, end: End) {
        let Some(wire) = self.wires.get(id) else { return };
        let [a, b] = wire.ends;
        if self.faults.separated(a, b) || !wire.open[end.other().index()] {
            self.lose(id, end);
        }
    }
}

/// A frame as its receiver reads it. What an engine encodes, it must be able to decode, and the size by which frames
/// are counted must be the size they have.
fn recode<T: Topology>(frame: &Frame<T>) -> Frame<T> {
    let bytes = wire::encode(frame);
    // Contacts of less than 128 bytes are counted with a byte too many.
    let counted = frame.wire_len();
    assert!((counted - frame.contacts.len()..=counted).contains(&bytes.len()), "{frame:?} is counted at its size");
    let mut stream = bytes::BytesMut::from(bytes);
    let whole = wire::cut(&mut stream).ok().flatten().expect("a whole frame was encoded");
    wire::decode(whole).expect("an encoded frame decodes")
}

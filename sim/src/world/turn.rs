//! The loop of a world: an event off the wheel, an input into an engine, its outputs onto the wheel.

use core::time::Duration;

use polymorph_core::engine::Slot;
use polymorph_core::engine::io::{Command, Dialer, Input, Output, Watch};
use polymorph_core::{Guid, Time, Topology};

use super::{Peer, World};
use crate::mix::{below, bytes32, happens};
use crate::trace::What;
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
    /// A piece of a frame is through a peer's access line upwards.
    Sent(u32),
    /// A piece reaches the receiver's access line.
    Land(u32),
    /// A piece is through a peer's access line downwards.
    Received(u32),
}

impl Happening {
    /// Whether something is on its way, as opposed to a timer that runs.
    fn moves(self) -> bool {
        !matches!(self, Self::Nothing | Self::Wake(_) | Self::Snap(_) | Self::Depart(_) | Self::Count)
    }
}

/// What a handshake takes: two packets.
const HELLO_BYTES: usize = 2000;
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
            Happening::Lost(wire, end) => self.hear_the_last(wire, end),
            Happening::Silence(wire, end) => self.hear_nothing(wire, end),
            Happening::Snap(wire) => self.snap(wire),
            Happening::Depart(peer) => self.depart(peer, at),
            Happening::Count => self.count_crowd(),
            Happening::Sent(peer) => self.sent(peer),
            Happening::Land(piece) => self.land(piece),
            Happening::Received(peer) => self.received_piece(peer),
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
            Output::Arrived { slot, service, from, charge, class, bytes, respond, payload } => {
                // Applications of a world take everything in at once.
                self.commands.push((slot, Command::Consumed { peer: charge, class, bytes }));
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
        let round_trip = 2 * self.latency(Peer(from), Peer(to)) + self.misfortune(from, to, HELLO_BYTES);
        self.plan(self.now + round_trip, Happening::Dialed { from, to });
    }

    fn dialed(&mut self, from: u32, to: u32) {
        let (lost_dials, draw) = (self.options.lost_dials, self.draw());
        let separated = self.faults.separated(from, to) || self.faults.separated(to, from);
        let unheard = separated || self.faults.is_shut(to) || happens(draw, lost_dials);
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
        let latency = self.nanos(from, to);
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
    pub(super) fn hang_up(&mut self, id: WireId, end: End) {
        let now = self.now;
        let Some(wire) = self.wires.get_mut(id) else { return };
        if self.pipes.close_after(wire.ends[end.index()], id, end) {
            return;
        }
        let at = wire.arrival(now, end);
        if self.shut_end(id, end) && self.wires.is_open(id, end.other()) {
            self.plan(at, Happening::Lost(id, end.other()));
        }
    }

    /// One end learns that its wire is gone.
    pub(super) fn lose(&mut self, id: WireId, end: End) {
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
        for flight in self.pipes.abandon(me, id, end) {
            self.plan(self.now, Happening::Return(flight));
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
        self.silence_pipes(peer);
        self.lie_fallow(peer);
    }

    /// A peer was set apart: both ends of each of its wires across the border notice after `silence`.
    pub(super) fn part(&mut self, peer: u32, silence: Duration) {
        for id in self.nodes[peer as usize].wires.clone() {
            let Some(wire) = self.wires.get(id) else { continue };
            let [a, b] = wire.ends;
            if self.faults.separated(a, b) || self.faults.separated(b, a) {
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
        let (me, other) = (wire.ends[end.index()], wire.ends[end.other().index()]);
        if self.faults.separated(other, me) || !wire.open[end.other().index()] {
            self.lose(id, end);
        }
    }
}

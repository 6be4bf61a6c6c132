//! What a topology asks for, carried out; and sending, which everything else here rests on.

use core::time::Duration;

use bytes::Bytes;

use super::calls::{Kind, Waits};
use super::io::{Class, Dialer, Output, Watch};
use super::lookup::Asker;
use super::peers::{APPLICATION, Link};
use super::rtt::Rtt;
use super::state::{NodeState, OverlayTimer, State};
use super::turn::Todo;
use super::{Slot, Workspace};
use crate::contact::MAX_CONTACT_BYTES;
use crate::overlay::Place;
use crate::topology::context::{Action, Busy, Host, Rng};
use crate::topology::event::{CallId, Down, Event, Facts, Reachability, Ticket, Via};
use crate::topology::question::{Hold, Lane};
use crate::topology::{Below, Topology};
use crate::wire::frame::{Answer, Body, Frame, What};
use crate::wire::{MAX_FRAME_BYTES, MAX_FRAME_CONTACTS};
use crate::{Guid, Time};

/// How many bytes of a frame are left to its contacts and small fields, so that all of it stays below the limit.
const HEADER_ROOM: usize = 64 * 1024;
/// How large a payload may be.
pub(super) const MAX_PAYLOAD: usize = MAX_FRAME_BYTES - 2 * HEADER_ROOM;
/// How many bytes of contacts may ride on one frame: those of a hundred peers with a few addresses each.
const CONTACT_ROOM: usize = HEADER_ROOM / 2;

/// One overlay during a turn, everything but its topology.
pub(super) struct Desk<'a, T: Topology> {
    pub(super) now: Time,
    pub(super) node: &'a mut NodeState<T>,
    pub(super) state: &'a mut State<T>,
    pub(super) ws: &'a mut Workspace<T>,
}

impl<T: Topology> Desk<'_, T> {
    pub(super) fn slot(&self) -> Slot {
        self.state.slot
    }

    /// Queues a frame for a peer; dials if there is no session.
    pub(super) fn send(&mut self, to: Guid, body: Body<T>, payload: Bytes) -> Result<(), Busy> {
        let frame = Frame { tag: self.state.tag(), contacts: Vec::new(), body, payload };
        let charge = frame.charge();
        if charge as usize > MAX_FRAME_BYTES - HEADER_ROOM {
            self.state.metrics.dropped += 1;
            return Err(Busy);
        }
        let slot = self.slot();
        if to == self.node.me {
            // Nobody dials itself; what is for this node was seen to before.
            self.fail(to, frame);
            return Ok(());
        }
        let settings = &self.node.settings;
        let Some(peer) = self.node.peers.entry(to, settings.peers) else { return Err(Busy) };
        let class = frame.class();
        // Control frames are exempt from credit, but no queue is without a bound.
        if peer.queue_with(charge) > class.queue_limit(settings.queue_bytes) {
            if class != Class::Control {
                peer.overlay_entry(slot).refuse(class);
            } else if frame.body.is_vital() {
                self.ws.todo.push_back(Todo::Choked { peer: to });
            }
            return Err(Busy);
        }
        match peer.link {
            Link::Open(wire) if peer.carries(slot) => {
                peer.used = self.now;
                let overlay = peer.overlay_entry(slot);
                let sent = overlay.sent(class);
                if sent > 0 && sent.saturating_add(charge) > overlay.credit {
                    overlay.refuse(class);
                    return Err(Busy);
                }
                self.emit(to, wire.conn, frame);
            }
            // The other overlays are agreed, this one is not shared and no offer is on the way.
            Link::Open(wire) if wire.agreed && !peer.settling() => self.fail(to, frame),
            Link::Open(_) | Link::Dialing => peer.waiting.push(slot, frame),
            Link::None => {
                peer.waiting.push(slot, frame);
                self.dial(to);
            }
        }
        Ok(())
    }

    /// A frame that finds no session is treated as one that came back.
    fn fail(&mut self, to: Guid, frame: Frame<T>) {
        let slot = self.slot();
        self.ws.todo.push_back(Todo::Undelivered { slot, peer: to, frame });
    }

    fn dial(&mut self, to: Guid) {
        dial(self.node, self.ws, self.now, to);
    }

    /// Puts beside a frame the contacts it mentions and the receiver was not told of, counts it, and hands it out.
    pub(super) fn emit(&mut self, to: Guid, conn: super::io::ConnId, mut frame: Frame<T>) {
        let slot = self.slot();
        let mut guids = core::mem::take(&mut self.ws.guids);
        mentioned(&frame.body, &mut guids);
        let mut room = CONTACT_ROOM;
        for guid in guids.drain(..) {
            if guid == to || frame.contacts.len() >= MAX_FRAME_CONTACTS || room < MAX_CONTACT_BYTES {
                continue;
            }
            let sequence = self.ws.book.sequence(&guid);
            let Some(peer) = self.node.peers.get_mut(&to) else { break };
            if peer.told.note(&guid, sequence)
                && let Some(contact) = self.ws.book.to_tell(&guid, self.now)
            {
                room = room.saturating_sub(contact.wire_len());
                frame.contacts.push(contact);
            }
        }
        self.ws.guids = guids;
        let (class, charge) = (frame.class(), frame.charge());
        if let Some(peer) = self.node.peers.get_mut(&to) {
            peer.queued = peer.queued.saturating_add(charge);
            if let Some(account) = peer.overlay_entry(slot).account(class) {
                account.sent = account.sent.saturating_add(charge);
            }
        }
        self.state.metrics.frames_out += 1;
        self.state.metrics.payload_bytes_out += frame.payload.len() as u64;
        self.ws.out.push(Output::Send { peer: to, conn, class, frame });
    }

    /// Sends, and counts what could not be sent: for frames nobody waits to send again.
    pub(super) fn send_or_drop(&mut self, to: Guid, body: Body<T>, payload: Bytes) {
        if self.send(to, body, payload).is_err() {
            self.state.metrics.dropped += 1;
        }
    }

    /// Tells the topology something, after what is being handled now.
    pub(super) fn tell(&mut self, lane: Lane, event: Event<T>) {
        let slot = self.slot();
        self.ws.todo.push_back(Todo::Event { slot, lane, event });
    }

    pub(super) fn watch(&mut self, watch: Watch) {
        let slot = self.slot();
        self.ws.out.push(Output::Watch(slot, watch));
    }

    /// Changes how firmly a lane holds a link, and does what follows.
    pub(super) fn hold(&mut self, peer: Guid, bit: u32, hold: Option<Hold>) {
        let slot = self.slot();
        if peer == self.node.me {
            return;
        }
        let limit = self.node.settings.peers;
        if hold.is_none() && !self.node.peers.knows(&peer) {
            return;
        }
        let Some(entry) = self.node.peers.entry(peer, limit) else {
            if bit != APPLICATION {
                self.tell(Lane(bit.trailing_zeros() as u8), Event::DialFailed { peer });
            }
            return;
        };
        let overlay = entry.overlay_entry(slot);
        overlay.hold(bit, hold);
        let released = hold.is_none() && !overlay.agreed && overlay.up & bit != 0;
        if released {
            overlay.up &= !bit;
        }
        let (required, agreed) = (overlay.required, overlay.agreed);
        let missing = required != 0 && !agreed;
        match entry.link {
            Link::None if missing => self.dial(peer),
            // There is a session, and it does not carry this overlay.
            Link::Open(wire) if missing && wire.agreed && !entry.settling() => {
                let lanes = core::mem::take(&mut entry.overlay_entry(slot).required);
                super::peers::lanes(lanes).for_each(|lane| self.tell(lane, Event::DialFailed { peer }));
            }
            Link::Open(_) if agreed => self.say_interest(peer),
            _ => {}
        }
        if released && bit != APPLICATION {
            let why = Down::Unwanted;
            self.tell(Lane(bit.trailing_zeros() as u8), Event::PeerDown { peer, why });
        }
        self.settle_lanes(peer);
        self.watch_idle(peer);
        self.node.peers.tidy(&peer);
    }

    /// Tells the peer on which lanes this node holds the link, if it was told otherwise.
    pub(super) fn say_interest(&mut self, peer: Guid) {
        let slot = self.slot();
        let Some(overlay) = self.node.peers.get_mut(&peer).and_then(|p| p.overlay_mut(slot)) else { return };
        if overlay.agreed && overlay.said != overlay.required {
            overlay.said = overlay.required;
            let body = Body::Interest { lanes: overlay.required };
            self.send_or_drop(peer, body, Bytes::new());
        }
    }

    /// The peer says on which lanes it holds the link; lanes this topology does not have are nobody's.
    pub(super) fn hear_interest(&mut self, peer: Guid, lanes: u32) {
        let slot = self.slot();
        let known = self.state.lanes | APPLICATION;
        if let Some(overlay) = self.node.peers.get_mut(&peer).and_then(|p| p.overlay_mut(slot)) {
            overlay.theirs = lanes & known;
        }
        self.settle_lanes(peer);
    }

    /// Tells lanes that a peer is up or no longer wanted, whatever changed.
    pub(super) fn settle_lanes(&mut self, peer: Guid) {
        let slot = self.slot();
        let Some(overlay) = self.node.peers.get_mut(&peer).and_then(|p| p.overlay_mut(slot)) else { return };
        if !overlay.agreed {
            // Between two wires everything stays as it was told.
            return;
        }
        let now = overlay.required | overlay.theirs;
        let (new, gone) = (now & !overlay.up, overlay.up & !now);
        overlay.up = now;
        for lane in super::peers::lanes(new) {
            self.tell(lane, Event::PeerUp { peer });
        }
        for lane in super::peers::lanes(gone) {
            self.tell(lane, Event::PeerDown { peer, why: Down::Unwanted });
        }
    }

    /// Looks at a session again when it may have become idle.
    fn watch_idle(&mut self, peer: Guid) {
        let Some(entry) = self.node.peers.get_mut(&peer) else { return };
        if matches!(entry.link, Link::Open(_)) && !entry.required() {
            entry.used = self.now;
        }
        self.node.arm(&peer);
    }

    pub(super) fn blame(&mut self, peer: Guid, why: &'static str) {
        self.state.metrics.faults += 1;
        self.watch(Watch::Blamed { peer, why });
        self.ws.todo.push_back(Todo::Fault { peer });
    }

    fn set_timer(&mut self, timer: T::Timer, at: Time) {
        let handle = self.state.timers.push(at, OverlayTimer::Topology(timer.clone()));
        if let Some(old) = self.state.set.insert(timer, handle) {
            self.state.timers.remove(old);
        }
    }
}

/// Asks the driver to dial, and watches that it ends.
pub(super) fn dial<T: Topology>(node: &mut NodeState<T>, ws: &mut Workspace<T>, now: Time, to: Guid) {
    let Some(peer) = node.peers.get_mut(&to) else { return };
    if !matches!(peer.link, Link::None) {
        return;
    }
    peer.link = Link::Dialing;
    peer.used = now;
    peer.dials = peer.dials.saturating_add(1);
    peer.awaits = now + node.settings.dial_timeout;
    node.arm(&to);
    ws.out.push(Output::Dial { peer: to });
}

/// The Guids a receiver may have to reach because of this body.
fn mentioned<T: Topology>(body: &Body<T>, found: &mut Vec<Guid>) {
    match body {
        Body::Send(message) | Body::Call { message, .. } | Body::Reply { message, .. } => T::mentions(message, found),
        Body::Routed(routed) => {
            if let What::Message(message) = &routed.what {
                T::mentions(message, found);
            }
            if routed.back == crate::wire::frame::Return::Direct {
                found.push(routed.origin);
            }
        }
        Body::Answer { answer: Answer::Found { peers }, .. } | Body::Next { peers, .. } => found.extend(peers),
        Body::Fetched { records, .. } | Body::Answer { answer: Answer::Records { records, .. }, .. } => {
            found.extend(records.iter().map(|r| r.publisher))
        }
        Body::Store { record, .. } => found.push(record.publisher),
        _ => {}
    }
}

impl<T: Topology> Host<T> for Desk<'_, T> {
    fn place(&self) -> Place {
        self.state.place
    }

    fn now(&self) -> Time {
        self.now
    }

    fn rng(&mut self) -> &mut Rng {
        &mut self.state.rng
    }

    fn ticket(&mut self) -> Ticket {
        self.node.tickets += 1;
        Ticket(self.node.tickets)
    }

    fn act(&mut self, lane: Lane, action: Action<T>) -> Result<(), Busy> {
        let slot = self.slot();
        match action {
            Action::Send { to, message, payload } if to == self.node.me => self.tell_self(message, payload),
            Action::Send { to, message, payload } => {
                let sent = self.send(to, Body::Send(message), payload);
                if sent.is_err()
                    && let Some(overlay) = self.node.peers.get_mut(&to).map(|p| p.overlay_entry(slot))
                {
                    overlay.refuse(Class::Control);
                }
                return sent;
            }
            Action::Call { ticket, to, message, payload } if to == self.node.me => {
                self.call_self(Waits::Call { ticket, lane }, message, payload);
            }
            Action::Call { ticket, to, message, payload } => {
                let body = |id| Body::Call { id, message };
                self.ask(to, Waits::Call { ticket, lane }, None, payload, body);
            }
            Action::Reply { to, message, payload } if to.peer == self.node.me => {
                self.reply_self(to.id, message, payload);
            }
            Action::Reply { to, message, payload } => {
                self.send_or_drop(to.peer, Body::Reply { id: to.id, message }, payload)
            }
            Action::Want { peer, hold } => self.hold(peer, lane.bit(), Some(hold)),
            Action::Unwant { peer } => self.hold(peer, lane.bit(), None),
            // Never at once: a topology that sets a timer whenever it fires must let time go on.
            Action::Set { timer, after } => self.set_timer(timer, self.now + after.max(Duration::from_nanos(1))),
            Action::Cancel { timer } => {
                if let Some(handle) = self.state.set.remove(&timer) {
                    self.state.timers.remove(handle);
                }
            }
            Action::Route { to, message, payload } => {
                self.ws.todo.push_back(Todo::Route { slot, lane, to, message, payload });
            }
            Action::Lookup { ticket, to, n, via } => {
                let asker = Asker::Topology { ticket, lane };
                self.ws.todo.push_back(Todo::Lookup { slot, asker, lane, to, n, via });
            }
            Action::Broadcast { topic, payload } => {
                self.ws.todo.push_back(Todo::Broadcast { slot, lane, topic, payload });
            }
            Action::Resend { id, to } => self.resend(id, to),
            Action::Deliver { from, payload } => self.ws.out.push(Output::Delivered { slot, from, payload }),
            Action::Answer { ticket, answer } => self.topology_answers(ticket, answer),
            Action::Change(change) => {
                self.watch(Watch::Changed(change));
                self.ws.todo.push_back(Todo::Changed { slot, change });
            }
            Action::Notice(line) => self.watch(Watch::Notice(line)),
            Action::Blame { peer, why } => self.blame(peer, why),
            Action::Doubt { why } => {
                self.state.metrics.doubts += 1;
                self.watch(Watch::Notice(why.into()));
            }
        }
        Ok(())
    }

    fn linked(&self, peer: &Guid) -> bool {
        self.node.peers.get(peer).is_some_and(|p| p.carries(self.state.slot))
    }

    fn facts(&self, peer: &Guid) -> Facts {
        let known = self.node.peers.get(peer);
        let reachability = match known.map(|p| p.link) {
            _ if *peer == self.node.me => self.node.reachability,
            // Whom this node dialed, others can dial too.
            Some(Link::Open(wire)) if wire.dialer == Dialer::Me => Reachability::Public,
            _ => Reachability::Unknown,
        };
        Facts {
            rtt: self.node.peers.rtt(peer).and_then(Rtt::smoothed),
            rate: known.and_then(|p| p.flow.rate()),
            reachability,
            protocol: known.and_then(|p| p.overlay(self.state.slot)).map_or(0, |o| o.protocol.into()),
        }
    }

    fn below(&self) -> Option<&dyn Below> {
        None
    }
}

impl<T: Topology> Desk<'_, T> {
    /// A topology may call whoever it finds in its tables, itself included.
    fn call_self(&mut self, waits: Waits, message: T::Message, payload: Bytes) {
        let (id, from) = (self.state.next_id(), self.node.me);
        if self.wait(id, waits, Some(from), super::rtt::INITIAL_RTO) {
            let via = Via::Call(CallId { peer: from, id });
            self.tell(Lane::default(), Event::Message { from, message, payload, via });
        }
    }

    fn reply_self(&mut self, id: u32, message: T::Message, payload: Bytes) {
        let from = self.node.me;
        if let Some(Waits::Call { ticket, lane }) = self.answered(id, &from, Kind::Reply) {
            self.tell(lane, Event::Reply { ticket, from, message, payload });
        }
    }

    fn tell_self(&mut self, message: T::Message, payload: Bytes) {
        let from = self.node.me;
        self.tell(Lane::default(), Event::Message { from, message, payload, via: Via::Direct });
    }
}

//! Sessions: one wire for each pair of nodes, and who holds the link. What the two share is found out in
//! [`handshake`].
//!
//! Two dials at once: the wire that the lower Guid dialed stays, across kinds of wire too. The lower one keeps the
//! other's wire aside until its own dial has ended, so that a dial that fails (behind a NAT) costs nothing.

mod handshake;

use bytes::Bytes;

use super::desk::{Desk, dial};
use super::io::{ConnId, Dialer, Output};
use super::peers::{Link, PeerOverlay, Standby, Wire};
use super::turn::{Todo, Turn};
use super::{Slot, Workspace};
use crate::Guid;
use crate::topology::Topology;
use crate::topology::event::{Down, Event};
use crate::wire::Frame;
use crate::wire::frame::{Body, Goodbye};

/// How long a peer may take for the handshake; one that says nothing is dropped then.
const HANDSHAKE: core::time::Duration = core::time::Duration::from_secs(10);
/// How many frames are kept of a wire that is set aside.
const MAX_ASIDE: usize = 4;

impl<T: Topology> Turn<'_, T> {
    pub(super) fn connected(&mut self, guid: Guid, conn: ConnId, dialer: Dialer, exporter: [u8; 32]) {
        let wire = Wire { conn, dialer, exporter, agreed: false, since: self.now };
        let me = self.node.me;
        let full = self.node.peers.open >= 2 * self.node.settings.connections;
        let limit = self.node.settings.peers;
        let Some(peer) = self.node.peers.entry(guid, limit).filter(|_| guid != me) else {
            return self.close(guid, conn, Goodbye::Budget);
        };
        let preferred = if me < guid { Dialer::Me } else { Dialer::Peer };
        match peer.link {
            Link::None if full && dialer == Dialer::Peer => {
                self.close(guid, conn, Goodbye::Budget);
                self.node.peers.tidy(&guid);
            }
            Link::None => self.open_wire(guid, wire),
            // The dial in progress has the better right: what came is set aside until it has ended.
            Link::Dialing if dialer == Dialer::Peer && preferred == Dialer::Me => self.set_aside(guid, wire),
            Link::Dialing => {
                if let Some(standby) = peer.standby.take() {
                    let other = standby.wire.conn;
                    self.close(guid, other, Goodbye::Duplicate);
                }
                self.open_wire(guid, wire);
            }
            Link::Open(old) if old.dialer == dialer || dialer == preferred => {
                self.close(guid, old.conn, Goodbye::Duplicate);
                self.end_wire(guid);
                self.open_wire(guid, wire);
            }
            Link::Open(_) if dialer == Dialer::Me => self.close(guid, conn, Goodbye::Duplicate),
            Link::Open(_) => self.set_aside(guid, wire),
        }
    }

    fn set_aside(&mut self, guid: Guid, wire: Wire) {
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        if let Some(old) = peer.standby.replace(Box::new(Standby { wire, frames: Vec::new() })) {
            self.close(guid, old.wire.conn, Goodbye::Duplicate);
        }
    }

    fn close(&mut self, peer: Guid, conn: ConnId, why: Goodbye) {
        self.ws.out.push(Output::Close { peer, conn, why });
    }

    fn open_wire(&mut self, guid: Guid, wire: Wire) {
        let now = self.now;
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        peer.link = Link::Open(wire);
        peer.used = now;
        self.node.peers.open += 1;
        self.node.watch_session(guid, now + HANDSHAKE);
        if wire.dialer == Dialer::Me {
            self.offer(guid);
        }
        self.make_room();
    }

    /// What a wire carried is over; what this node wants of the peer stays.
    fn end_wire(&mut self, guid: Guid) {
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        if matches!(peer.link, Link::Open(_)) {
            self.node.peers.open -= 1;
        }
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        peer.link = Link::None;
        peer.overlays.iter_mut().for_each(PeerOverlay::reset);
        peer.queued = peer.waiting.iter().map(|(_, frame)| frame.charge() as usize).sum();
        (peer.offer, peer.accepted, peer.offers) = (None, None, 0);
        peer.forget_told();
    }

    /// Sends a frame of the session itself.
    fn say(&mut self, guid: Guid, body: Body<T>) {
        let me = self.node.me;
        let now = self.now;
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        let Link::Open(wire) = peer.link else { return };
        // Each side introduces itself, so that it can be told of to others.
        let introduces = matches!(body, Body::Offer(_) | Body::Accept { .. });
        let contacts = if introduces { self.ws.book.to_tell(&me, now).into_iter().collect() } else { Vec::new() };
        let frame = Frame { tag: 0, contacts, body, payload: Bytes::new() };
        peer.queued += frame.charge() as usize;
        let class = frame.class();
        self.ws.out.push(Output::Send { peer: guid, conn: wire.conn, class, frame });
    }

    /// A frame came over a wire.
    pub(super) fn frame(&mut self, guid: Guid, conn: ConnId, frame: Frame<T>) {
        let now = self.now;
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        if let Some(standby) = peer.standby.as_mut().filter(|s| s.wire.conn == conn) {
            if standby.frames.len() < MAX_ASIDE {
                standby.frames.push(frame);
            }
            return;
        }
        let Link::Open(wire) = peer.link else { return };
        if wire.conn != conn {
            return;
        }
        if frame.tag == 0 {
            return self.session_frame(guid, frame);
        }
        let Some(overlay) = peer.overlays.iter_mut().find(|o| o.agreed && o.their_tag == frame.tag) else {
            // It may have been sent before our `Leaving` arrived.
            return;
        };
        peer.used = now;
        let slot = overlay.slot;
        if frame.class() == super::io::Class::Message {
            overlay.received = overlay.received.saturating_add(frame.charge());
            // One frame may go over, since a sender with nothing on the way may send one of any size.
            if overlay.received > self.node.settings.credit_bytes + crate::wire::MAX_FRAME_BYTES as u32 {
                self.ws.todo.push_back(Todo::Fault { peer: guid });
                return self.drop_peer(guid);
            }
        }
        match frame.body {
            Body::Interest { lanes } => {
                overlay.theirs = lanes;
                if let Some((_, mut desk)) = self.open(slot) {
                    desk.settle_lanes(guid);
                }
                self.rest(guid);
            }
            Body::Leaving => self.left(slot, guid),
            Body::Credit { bytes } => {
                overlay.sent = overlay.sent.saturating_sub(bytes);
                self.writable(slot, guid);
            }
            Body::Moved(ref membership) => {
                let membership = membership.clone();
                self.moved(slot, guid, &membership);
            }
            _ => self.overlay_frame(slot, guid, frame),
        }
    }

    fn session_frame(&mut self, guid: Guid, frame: Frame<T>) {
        let now = self.now;
        for contact in frame.contacts {
            // Over this session a peer introduces nobody but itself.
            if contact.guid() == guid {
                self.ws.book.learn(contact, now);
            }
        }
        match frame.body {
            Body::Offer(offer) => self.accept(guid, &offer),
            Body::Accept { nonce, shared } => self.confirm(guid, nonce, shared),
            Body::Confirm { nonce, shared } => self.confirmed(guid, nonce, shared),
            Body::Goodbye(why) => self.goodbye(guid, why),
            Body::Ping { id } => self.say(guid, Body::Pong { id }),
            Body::Pong { .. } => {}
            _ => self.ws.todo.push_back(Todo::Fault { peer: guid }),
        }
    }

    /// This node leaves an overlay: the peer is told, and the session stays for the others.
    pub(super) fn leave_with(&mut self, slot: Slot, guid: Guid) {
        let Some((_, mut desk)) = self.open(slot) else { return };
        if desk.node.peers.get(&guid).is_some_and(|p| p.carries(slot)) {
            desk.send_or_drop(guid, Body::Leaving, Bytes::new());
        }
        if let Some(peer) = self.node.peers.get_mut(&guid) {
            peer.overlays.retain(|o| o.slot != slot);
            peer.waiting.retain(|(s, _)| *s != slot);
        }
        self.rest(guid);
        self.node.peers.tidy(&guid);
    }

    /// A peer left an overlay.
    fn left(&mut self, slot: Slot, guid: Guid) {
        self.gone(slot, guid, Down::Left);
        self.rest(guid);
    }

    /// Ends everything one overlay has with a peer, and tells whoever cared.
    fn gone(&mut self, slot: Slot, guid: Guid, why: Down) {
        let Some(overlay) = self.node.peers.get_mut(&guid).and_then(|p| p.overlay_mut(slot)) else { return };
        let lanes = overlay.required | overlay.cached | overlay.up;
        *overlay = PeerOverlay { required: 0, cached: 0, up: 0, ..*overlay };
        overlay.reset();
        if let Some((_, mut desk)) = self.open(slot) {
            desk.unanswered_by(&guid);
            super::peers::lanes(lanes).for_each(|lane| desk.tell(lane, Event::PeerDown { peer: guid, why }));
        }
    }

    /// The peer closes the session.
    fn goodbye(&mut self, guid: Guid, why: Goodbye) {
        let Some(Link::Open(wire)) = self.node.peers.get(&guid).map(|p| p.link) else { return };
        match why {
            Goodbye::Duplicate => {}
            Goodbye::Idle | Goodbye::Budget => {
                self.hang_up(guid, wire.conn, why);
                self.redial(guid);
            }
            Goodbye::NothingShared => {
                self.give_up_unshared(guid);
                self.hang_up(guid, wire.conn, why);
            }
            Goodbye::Leaving => self.end_session(guid, Down::Left),
            Goodbye::Misbehaved => self.end_session(guid, Down::Lost),
        }
    }

    /// Whoever still requires a peer that hung up dials it again; nobody is told it was down.
    fn redial(&mut self, guid: Guid) {
        if self.node.peers.get(&guid).is_some_and(|p| p.overlays.iter().any(|o| o.required != 0)) {
            dial(self.node, self.ws, self.now, guid);
        }
    }

    /// Closes a wire from this side. Nobody is told that the peer is down: it can be dialed again.
    fn hang_up(&mut self, guid: Guid, conn: ConnId, why: Goodbye) {
        self.say(guid, Body::Goodbye(why));
        self.close(guid, conn, why);
        self.end_wire(guid);
        for slot in self.slots() {
            if let Some((_, mut desk)) = self.open(slot) {
                desk.settle_after_close(guid);
            }
        }
        self.promote(guid);
        self.node.peers.tidy(&guid);
    }

    /// The wire broke.
    pub(super) fn lost(&mut self, guid: Guid, conn: ConnId) {
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        if peer.standby.as_ref().is_some_and(|s| s.wire.conn == conn) {
            peer.standby = None;
            return self.node.peers.tidy(&guid);
        }
        if matches!(peer.link, Link::Open(wire) if wire.conn == conn) {
            if peer.standby.is_some() {
                // The pair has another wire: it takes over and nobody is down.
                self.end_wire(guid);
                return self.promote(guid);
            }
            self.end_session(guid, Down::Lost);
        }
    }

    fn promote(&mut self, guid: Guid) {
        let Some(standby) = self.node.peers.get_mut(&guid).and_then(|p| p.standby.take()) else { return };
        let Standby { wire, frames } = *standby;
        self.open_wire(guid, wire);
        frames.into_iter().for_each(|frame| self.frame(guid, wire.conn, frame));
    }

    /// A session is over and the peer is gone for all overlays.
    fn end_session(&mut self, guid: Guid, why: Down) {
        if let Some(Link::Open(wire)) = self.node.peers.get(&guid).map(|p| p.link)
            && why == Down::Left
        {
            self.close(guid, wire.conn, Goodbye::Leaving);
        }
        self.reroute_waiting(guid);
        let slots = self.slots();
        slots.into_iter().for_each(|slot| self.gone(slot, guid, why));
        self.end_wire(guid);
        self.fail_waiting(guid);
        self.promote(guid);
        self.node.peers.tidy(&guid);
    }

    fn fail_waiting(&mut self, guid: Guid) {
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        peer.queued = 0;
        for (slot, frame) in core::mem::take(&mut peer.waiting) {
            self.ws.todo.push_back(Todo::Undelivered { slot, peer: guid, frame });
        }
    }

    pub(super) fn dial_failed(&mut self, guid: Guid) {
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        if !matches!(peer.link, Link::Dialing) {
            return;
        }
        peer.link = Link::None;
        if peer.standby.is_some() {
            return self.promote(guid);
        }
        self.reroute_waiting(guid);
        for slot in self.slots() {
            let Some(overlay) = self.node.peers.get_mut(&guid).and_then(|p| p.overlay_mut(slot)) else { continue };
            let lanes = overlay.required | overlay.cached;
            (overlay.required, overlay.cached) = (0, 0);
            if let Some((_, mut desk)) = self.open(slot) {
                desk.unanswered_by(&guid);
                super::peers::lanes(lanes).for_each(|lane| desk.tell(lane, Event::DialFailed { peer: guid }));
            }
        }
        self.fail_waiting(guid);
        self.node.peers.tidy(&guid);
    }

    /// What waits for a peer and will take another way is no longer that peer's to answer.
    fn reroute_waiting(&mut self, guid: Guid) {
        let Some(peer) = self.node.peers.get(&guid) else { return };
        let routed: Vec<(Slot, u32)> = (peer.waiting.iter())
            .filter_map(|(slot, frame)| match &frame.body {
                Body::Routed(routed) => Some((*slot, routed.id)),
                _ => None,
            })
            .collect();
        for (slot, id) in routed {
            if let Some((_, desk)) = self.open(slot)
                && let Some(pending) = desk.state.pending.get_mut(&id)
            {
                pending.peer = None;
            }
        }
    }

    pub(super) fn dial_overdue(&mut self, guid: Guid) {
        let limit = self.node.settings.dial_timeout;
        let due = |p: &super::peers::Peer<T>| matches!(p.link, Link::Dialing) && self.now.since(p.used) >= limit;
        if self.node.peers.get(&guid).is_some_and(due) {
            self.dial_failed(guid);
        }
    }

    /// A handshake should have ended, or a session may be idle.
    pub(super) fn session_due(&mut self, guid: Guid) {
        let (now, idle) = (self.now, self.node.settings.idle);
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        peer.watched = false;
        let Link::Open(wire) = peer.link else { return };
        if !wire.agreed {
            if now.since(wire.since) >= HANDSHAKE {
                self.drop_peer(guid);
            } else {
                self.node.watch_session(guid, wire.since + HANDSHAKE);
            }
            return;
        }
        if peer.required() {
            return;
        }
        let used = peer.used;
        if now.since(used) >= idle {
            self.hang_up(guid, wire.conn, Goodbye::Idle);
        } else {
            self.node.watch_session(guid, used + idle);
        }
    }

    /// Watches a session that nobody holds any longer.
    fn rest(&mut self, guid: Guid) {
        let (now, idle) = (self.now, self.node.settings.idle);
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        if matches!(peer.link, Link::Open(_)) && !peer.required() {
            peer.used = now;
            self.node.watch_session(guid, now + idle);
        }
    }

    /// Over the budget, the session that was idle longest and that nobody requires is closed.
    fn make_room(&mut self) {
        while self.node.peers.open > self.node.settings.connections {
            let evictable = |p: &&super::peers::Peer<T>| matches!(p.link, Link::Open(w) if w.agreed) && !p.required();
            let oldest = self.node.peers.iter().filter(evictable).min_by_key(|p| p.used);
            let Some((guid, Link::Open(wire))) = oldest.map(|p| (p.guid, p.link)) else { return };
            self.hang_up(guid, wire.conn, Goodbye::Budget);
        }
    }

    /// A peer that broke the rules is dropped.
    pub(super) fn drop_peer(&mut self, guid: Guid) {
        if let Some(Link::Open(wire)) = self.node.peers.get(&guid).map(|p| p.link) {
            self.say(guid, Body::Goodbye(Goodbye::Misbehaved));
            self.close(guid, wire.conn, Goodbye::Misbehaved);
            self.end_session(guid, Down::Lost);
        }
    }

    /// The node shuts down.
    pub(super) fn close_all(&mut self) {
        for guid in self.node.peers.guids() {
            if self.is_open(&guid) {
                self.say(guid, Body::Goodbye(Goodbye::Leaving));
                self.end_session(guid, Down::Left);
            }
        }
        self.work();
    }
}

impl<T: Topology> Desk<'_, T> {
    /// After a wire was closed on purpose: questions on the way are lost, lanes are told nothing.
    fn settle_after_close(&mut self, guid: Guid) {
        let slot = self.slot();
        self.unanswered_by(&guid);
        let Some(overlay) = self.node.peers.get_mut(&guid).and_then(|p| p.overlay_mut(slot)) else { return };
        // Lanes that only the peer held are down now; those this node holds dial again in silence.
        let gone = overlay.up & !overlay.required;
        overlay.up = 0;
        for lane in super::peers::lanes(gone & !overlay.cached) {
            self.tell(lane, Event::PeerDown { peer: guid, why: Down::Unwanted });
        }
    }

    /// Bytes of a peer were taken in: from time to time it is told, and may send as many more.
    pub(super) fn consumed(&mut self, guid: Guid, bytes: u32) {
        let slot = self.slot();
        let limit = self.node.settings.credit_bytes;
        let Some(overlay) = self.node.peers.get_mut(&guid).and_then(|p| p.overlay_mut(slot)) else { return };
        let bytes = bytes.min(overlay.received);
        overlay.received -= bytes;
        overlay.owed += bytes;
        if overlay.owed >= limit / 4 && overlay.agreed {
            let bytes = core::mem::take(&mut overlay.owed);
            self.send_or_drop(guid, Body::Credit { bytes }, Bytes::new());
        }
    }
}

impl<T: Topology> Workspace<T> {
    /// Whether nothing is left to do or to hand out.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.out.is_empty() && self.todo.is_empty()
    }
}

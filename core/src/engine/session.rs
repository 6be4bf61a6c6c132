//! Sessions: what is said on the one wire of each pair of nodes, who holds the link, and how it ends. Which wire that
//! is stands in [`wires`], what the two share is found out in [`handshake`], what is due when in [`watch`].

mod handshake;
mod watch;
mod wires;

use bytes::Bytes;

use super::Slot;
use super::Workspace;
use super::desk::{Desk, dial};
use super::io::{Class, ConnId, Output, Watch};
use super::peers::{Link, lanes};
use super::turn::{Todo, Turn};
use crate::Guid;
use crate::topology::Topology;
use crate::topology::event::{Down, Event};
use crate::wire::Frame;
use crate::wire::frame::{Body, Goodbye};
pub(super) use watch::due;

/// How often a peer that hangs up on a session this node requires is dialed again at once. An honest one hangs up
/// because it does not know yet that it is required; the second time it does.
const MAX_REDIALS: u8 = 3;

impl<T: Topology> Turn<'_, T> {
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
        let charge = frame.charge();
        if peer.queue_with(charge) > 2 * self.node.settings.queue_bytes && !matches!(frame.body, Body::Goodbye(_)) {
            return self.ws.todo.push_back(Todo::Choked { peer: guid });
        }
        peer.queued = peer.queued.saturating_add(charge);
        let class = frame.class();
        self.ws.out.push(Output::Send { peer: guid, conn: wire.conn, class, frame });
    }

    /// A frame came over a wire.
    pub(super) fn frame(&mut self, guid: Guid, conn: ConnId, frame: Frame<T>) {
        let now = self.now;
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        if peer.standby.as_ref().is_some_and(|s| s.wire.conn == conn) {
            return self.frame_aside(guid, frame);
        }
        let Link::Open(wire) = peer.link else { return };
        if wire.conn != conn {
            return;
        }
        peer.heard = now;
        if frame.tag == 0 {
            return self.session_frame(guid, frame);
        }
        let Some(overlay) = peer.overlays.iter_mut().find(|o| o.agreed && o.their_tag == frame.tag) else {
            // It may have been sent before our `Leaving` arrived.
            return;
        };
        peer.used = now;
        let slot = overlay.slot;
        if let Some(account) = overlay.account(frame.class()) {
            account.received = account.received.saturating_add(frame.charge());
            // One frame may go over, since a sender with nothing on the way may send one of any size.
            if account.received > self.node.settings.credit_bytes.saturating_add(crate::wire::MAX_FRAME_BYTES as u32) {
                return self.drop_peer(guid, "more than its credit");
            }
        }
        match frame.body {
            Body::Interest { lanes } => {
                if let Some((_, mut desk)) = self.open(slot) {
                    desk.hear_interest(guid, lanes);
                }
                self.rest(guid);
            }
            Body::Leaving => self.left(slot, guid),
            Body::Credit { class, bytes } => {
                if let Some(account) = overlay.account(class) {
                    account.sent = account.sent.saturating_sub(bytes);
                }
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
            if contact.guid() != guid {
                continue;
            }
            if self.ws.book.learn(contact, now).is_err() {
                self.accuse(guid, "a forged contact of its own");
            }
            self.ws.book.keep(&guid);
        }
        match frame.body {
            Body::Offer(offer) => self.accept(guid, &offer),
            Body::Accept { nonce, shared } => self.confirm(guid, nonce, shared),
            Body::Confirm { nonce, shared } => self.confirmed(guid, nonce, shared),
            Body::Goodbye(why) => self.goodbye(guid, why),
            Body::Ping { id } => self.say(guid, Body::Pong { id }),
            Body::Pong { .. } => {}
            _ => self.accuse(guid, "a frame that no session has"),
        }
    }

    /// This node leaves an overlay: the peer is told, and the session stays for the others.
    pub(super) fn leave_with(&mut self, slot: Slot, guid: Guid) {
        let Some((_, mut desk)) = self.open(slot) else { return };
        // A peer that was told of the overlay a moment ago may believe that it is shared now.
        let told = |p: &super::peers::Peer<T>| p.accepted.as_ref().is_some_and(|accepted| accepted.names(slot));
        let peer = desk.node.peers.get(&guid).filter(|p| p.carries(slot) || told(p));
        if let Some(Link::Open(wire)) = peer.map(|p| p.link) {
            let frame =
                Frame { tag: desk.state.tag(), contacts: Vec::new(), body: Body::Leaving, payload: Bytes::new() };
            desk.emit(guid, wire.conn, frame);
        }
        if let Some(peer) = self.node.peers.get_mut(&guid) {
            peer.overlays.retain(|o| o.slot != slot);
            drop(peer.waiting.take(|s| s == slot));
        }
        self.rest(guid);
        self.node.peers.tidy(&guid);
    }

    /// A peer left an overlay.
    fn left(&mut self, slot: Slot, guid: Guid) {
        self.gone(slot, guid, Down::Left);
        self.rest(guid);
    }

    /// Ends everything one overlay has with a peer, and tells whoever cared: those it was up for or who had it
    /// cached that it is down, those who only wanted it that it was not reached.
    /// Says which lanes those are.
    fn gone(&mut self, slot: Slot, guid: Guid, why: Down) -> u32 {
        let Some(overlay) = self.node.peers.get_mut(&guid).and_then(|p| p.overlay_mut(slot)) else { return 0 };
        let wanted = overlay.required | overlay.cached;
        let down = if overlay.agreed { wanted | overlay.up } else { overlay.up };
        (overlay.required, overlay.cached, overlay.up) = (0, 0, 0);
        overlay.reset();
        if let Some((_, mut desk)) = self.open(slot) {
            desk.unanswered_by(&guid);
            lanes(down).for_each(|lane| desk.tell(lane, Event::PeerDown { peer: guid, why }));
            lanes(wanted & !down).for_each(|lane| desk.tell(lane, Event::DialFailed { peer: guid }));
        }
        wanted | down
    }

    /// The peer closes the session.
    fn goodbye(&mut self, guid: Guid, why: Goodbye) {
        let Some(Link::Open(wire)) = self.node.peers.get(&guid).map(|p| p.link) else { return };
        match why {
            Goodbye::Duplicate => self.superseded(guid, wire),
            Goodbye::Idle | Goodbye::Budget if wire.agreed && self.may_redial(guid) => {
                self.hang_up(guid, wire.conn, why);
                self.redial(guid);
            }
            Goodbye::Leaving => self.end_session(guid, Down::Left),
            Goodbye::NothingShared | Goodbye::Idle | Goodbye::Budget | Goodbye::Misbehaved => {
                self.end_session(guid, Down::Lost);
            }
        }
    }

    /// Whether the peer has not hung up again and again.
    fn may_redial(&mut self, guid: Guid) -> bool {
        let idle = self.node.settings.idle;
        let Some(peer) = self.node.peers.get_mut(&guid) else { return false };
        peer.redials = if self.now.since(peer.since()) >= idle { 0 } else { peer.redials + 1 };
        peer.redials <= MAX_REDIALS
    }

    /// Whoever still requires a peer that hung up, or has something to tell it, dials it again; nobody is told it was
    /// down.
    fn redial(&mut self, guid: Guid) {
        let needed = |p: &super::peers::Peer<T>| !p.waiting.is_empty() || p.overlays.iter().any(|o| o.required != 0);
        if self.node.peers.get(&guid).is_some_and(needed) {
            dial(self.node, self.ws, self.now, guid);
        }
    }

    /// Closes a wire from this side. Nobody who holds the link is told that the peer is down: it can be dialed again.
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

    /// A session is over and the peer is gone for all overlays.
    fn end_session(&mut self, guid: Guid, why: Down) {
        if let Some(Link::Open(wire)) = self.node.peers.get(&guid).map(|p| p.link) {
            self.close(guid, wire.conn, Goodbye::Leaving);
        }
        self.end_closed(guid, why);
    }

    /// The same, once its wire is closed.
    fn end_closed(&mut self, guid: Guid, why: Down) {
        let slots = self.slots();
        for slot in slots {
            self.gone(slot, guid, why);
        }
        self.end_wire(guid);
        self.fail_waiting(guid);
        self.promote(guid);
        self.node.peers.tidy(&guid);
    }

    fn fail_waiting(&mut self, guid: Guid) {
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        for (slot, frame) in peer.waiting.take(|_| true) {
            self.ws.todo.push_back(Todo::Undelivered { slot, peer: guid, frame });
        }
    }

    /// No wire came, in time or at all.
    fn unreachable(&mut self, guid: Guid) {
        if let Some(peer) = self.node.peers.get_mut(&guid) {
            peer.link = Link::None;
        }
        // If the contact was forged, it makes room for another.
        self.ws.book.check(&guid, self.now);
        self.reroute_waiting(guid);
        for slot in self.slots() {
            let told = self.gone(slot, guid, Down::Lost);
            let waited = self.node.peers.get(&guid).is_some_and(|p| p.waiting.iter().any(|(of, _)| *of == slot));
            // A table may name it whose topology keeps no link: what was found out by chance is told too.
            if let Some((_, mut desk)) = self.open(slot).filter(|_| waited) {
                let others = desk.state.lanes & !told;
                lanes(others).for_each(|lane| desk.tell(lane, Event::DialFailed { peer: guid }));
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
                && let Some(pending) = desk.state.questions.get_mut(id)
            {
                pending.peer = None;
            }
        }
    }

    /// A peer that broke a rule for which there is no second chance is dropped; every overlay the two share is told.
    pub(super) fn drop_peer(&mut self, guid: Guid, why: &'static str) {
        self.tell_watchers(guid, why);
        self.drop_accused(guid);
    }

    /// A peer whose faults were told already is dropped, and every wire to it.
    pub(super) fn drop_accused(&mut self, guid: Guid) {
        self.drop_standby(guid, Goodbye::Misbehaved);
        if let Some(Link::Open(wire)) = self.node.peers.get(&guid).map(|p| p.link) {
            self.node.dropped += 1;
            self.say(guid, Body::Goodbye(Goodbye::Misbehaved));
            self.close(guid, wire.conn, Goodbye::Misbehaved);
            self.end_closed(guid, Down::Lost);
        }
    }

    /// A peer broke a rule of the session itself: that counts against it, and every overlay the two share is told.
    fn accuse(&mut self, guid: Guid, why: &'static str) {
        self.tell_watchers(guid, why);
        self.ws.todo.push_back(Todo::Fault { peer: guid });
    }

    fn tell_watchers(&mut self, guid: Guid, why: &'static str) {
        for slot in self.slots() {
            let Some((_, mut desk)) = self.open(slot) else { continue };
            if desk.node.peers.get(&guid).is_some_and(|p| p.carries(slot)) {
                desk.state.metrics.faults += 1;
                desk.watch(Watch::Blamed { peer: guid, why });
            }
        }
    }

    /// Bytes came that are no frame.
    pub(super) fn malformed(&mut self, guid: Guid, conn: ConnId) {
        let Some(peer) = self.node.peers.get(&guid) else { return };
        let aside = peer.standby.as_ref().is_some_and(|s| s.wire.conn == conn);
        if aside || matches!(peer.link, Link::Open(wire) if wire.conn == conn) {
            self.drop_peer(guid, "bytes that are no frame");
        }
    }

    /// The node shuts down.
    pub(super) fn close_all(&mut self) {
        for guid in self.node.peers.guids() {
            self.drop_standby(guid, Goodbye::Leaving);
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
        self.unheard_by(&guid);
        let Some(overlay) = self.node.peers.get_mut(&guid).and_then(|p| p.overlay_mut(slot)) else { return };
        // Lanes that only the peer held are down now; those this node holds stay up and dial again in silence.
        let gone = overlay.up & !overlay.required;
        overlay.up &= overlay.required;
        for lane in lanes(gone) {
            self.tell(lane, Event::PeerDown { peer: guid, why: Down::Unwanted });
        }
    }

    /// Bytes of a peer were taken in: from time to time it is told, and may send as many more.
    pub(super) fn consumed(&mut self, guid: Guid, class: Class, bytes: u32) {
        let slot = self.slot();
        let limit = self.node.settings.credit_bytes;
        let Some(overlay) = self.node.peers.get_mut(&guid).and_then(|p| p.overlay_mut(slot)) else { return };
        let agreed = overlay.agreed;
        let Some(account) = overlay.account(class) else { return };
        let bytes = bytes.min(account.received);
        account.received -= bytes;
        account.owed += bytes;
        if account.owed >= limit / 4 && agreed {
            let bytes = core::mem::take(&mut account.owed);
            self.send_or_drop(guid, Body::Credit { class, bytes }, Bytes::new());
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

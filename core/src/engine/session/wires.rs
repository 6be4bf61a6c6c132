//! Which wire a pair of nodes keeps.
//!
//! Both may dial at once, over wires of differing kinds, and each end learns of each wire at its own moment. **The
//! lower Guid decides, by saying `Goodbye::Duplicate` on the wire that goes; the higher follows**: it keeps a second
//! wire aside until it is told, and if its only wire is the one that goes it waits for the other without telling
//! anybody that the peer is down.
//!
//! The lower one prefers its own dial, but only for a moment: a dial that will fail (behind a NAT) keeps nobody
//! waiting. A wire that comes while a session is agreed on means that the peer lost its end or is late: the session
//! is asked for a sign of life, and the new wire takes over if there is none.

use core::time::Duration;

use bytes::Bytes;

use crate::Guid;
use crate::engine::io::{ConnId, Dialer, Output};
use crate::engine::peers::{Link, PeerOverlay, Standby, Wire};
use crate::engine::turn::Turn;
use crate::topology::Topology;
use crate::wire::Frame;
use crate::wire::frame::{Body, Goodbye};

/// How long a second wire is kept aside: two wide-area round trips, for a sign of life on the first.
pub(super) const ASIDE: Duration = Duration::from_secs(1);
/// How many frames are kept of a wire that is set aside. An honest peer sends an offer and perhaps a ping.
const MAX_ASIDE: usize = 4;
/// How much such a frame may count: a full offer with the peer's own contact.
const MAX_ASIDE_CHARGE: u32 = 8 * 1024;

impl<T: Topology> Turn<'_, T> {
    pub(in crate::engine) fn connected(&mut self, guid: Guid, conn: ConnId, dialer: Dialer, exporter: [u8; 32]) {
        let wire = Wire { conn, dialer, exporter, agreed: false, since: self.now };
        let full = self.node.peers.open() >= 2 * self.node.settings.connections;
        let limit = self.node.settings.peers;
        if guid == self.node.me {
            return self.refuse(guid, conn, Goodbye::Duplicate);
        }
        let decides = self.node.me < guid;
        let Some(peer) = self.node.peers.entry(guid, limit) else { return self.refuse(guid, conn, Goodbye::Budget) };
        peer.dials = peer.dials.saturating_sub(u8::from(dialer == Dialer::Me));
        match peer.link {
            Link::None if full && dialer == Dialer::Peer => {
                self.refuse(guid, conn, Goodbye::Budget);
                self.node.peers.tidy(&guid);
            }
            Link::None => self.open_wire(guid, wire),
            Link::Dialing if peer.dials > 0 && decides => self.set_aside(guid, wire),
            Link::Dialing => {
                self.drop_standby(guid, Goodbye::Duplicate);
                self.open_wire(guid, wire);
            }
            Link::Open(old) => self.second_wire(guid, old, wire, decides),
        }
    }

    fn second_wire(&mut self, guid: Guid, old: Wire, wire: Wire, decides: bool) {
        let young = !old.agreed || self.now.since(old.since) < ASIDE;
        match wire.dialer {
            // An own dial that came late: there is a session already.
            Dialer::Me if old.agreed => self.refuse(guid, wire.conn, Goodbye::Duplicate),
            Dialer::Me if decides => self.replace(guid, old, wire),
            // Both dialed at once, and the own wire was there first.
            Dialer::Peer if decides && young && old.dialer == Dialer::Me => {
                self.refuse(guid, wire.conn, Goodbye::Duplicate);
            }
            // The peer dialed twice, because it gave the first up.
            Dialer::Peer if decides && !old.agreed => self.replace(guid, old, wire),
            _ => {
                self.set_aside(guid, wire);
                self.say(guid, Body::Ping { id: 0 });
            }
        }
    }

    /// A wire takes another's place; nobody is told anything.
    fn replace(&mut self, guid: Guid, old: Wire, wire: Wire) {
        self.refuse(guid, old.conn, Goodbye::Duplicate);
        self.end_wire(guid);
        self.open_wire(guid, wire);
    }

    fn set_aside(&mut self, guid: Guid, wire: Wire) {
        self.drop_standby(guid, Goodbye::Duplicate);
        if let Some(peer) = self.node.peers.get_mut(&guid) {
            peer.standby = Some(Box::new(Standby { wire, frames: Vec::new() }));
            self.arm(guid);
        }
    }

    /// A frame came over a wire that stands aside.
    pub(super) fn frame_aside(&mut self, guid: Guid, frame: Frame<T>) {
        let Some(standby) = self.node.peers.get_mut(&guid).and_then(|p| p.standby.as_mut()) else { return };
        if matches!(frame.body, Body::Goodbye(_)) {
            return self.drop_standby(guid, Goodbye::Duplicate);
        }
        let early = frame.tag == 0 && frame.charge() <= MAX_ASIDE_CHARGE && frame.payload.is_empty();
        if early && standby.frames.len() < MAX_ASIDE {
            standby.frames.push(frame);
        }
    }

    pub(super) fn drop_standby(&mut self, guid: Guid, why: Goodbye) {
        if let Some(standby) = self.node.peers.get_mut(&guid).and_then(|p| p.standby.take()) {
            self.refuse(guid, standby.wire.conn, why);
        }
    }

    /// Says goodbye on a wire that is not the session's, or not any longer, and closes it.
    pub(super) fn refuse(&mut self, peer: Guid, conn: ConnId, why: Goodbye) {
        let frame = Frame { tag: 0, contacts: Vec::new(), body: Body::Goodbye(why), payload: Bytes::new() };
        let class = frame.class();
        self.ws.out.push(Output::Send { peer, conn, class, frame });
        self.close(peer, conn, why);
    }

    pub(super) fn close(&mut self, peer: Guid, conn: ConnId, why: Goodbye) {
        self.ws.out.push(Output::Close { peer, conn, why });
    }

    pub(super) fn open_wire(&mut self, guid: Guid, wire: Wire) {
        let now = self.now;
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        peer.link = Link::Open(wire);
        (peer.used, peer.heard) = (now, now);
        self.node.peers.opened(&guid, now);
        self.arm(guid);
        if wire.dialer == Dialer::Me {
            self.offer(guid);
        }
        self.make_room();
    }

    /// What a wire carried is over; what this node wants of the peer stays.
    pub(super) fn end_wire(&mut self, guid: Guid) {
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        let was_open = matches!(peer.link, Link::Open(_));
        peer.link = Link::None;
        peer.overlays.iter_mut().for_each(PeerOverlay::reset);
        peer.queued = 0;
        (peer.offer, peer.accepted, peer.offers, peer.owes_offer) = (None, None, 0, false);
        peer.told = Default::default();
        if was_open {
            self.node.peers.closed(&guid);
        }
    }

    /// A wire broke.
    pub(in crate::engine) fn lost(&mut self, guid: Guid, conn: ConnId) {
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        if peer.standby.as_ref().is_some_and(|s| s.wire.conn == conn) {
            peer.standby = None;
            return self.node.peers.tidy(&guid);
        }
        let Link::Open(wire) = peer.link else { return };
        if wire.conn != conn {
            return;
        }
        if peer.standby.is_some() {
            // The pair has another wire: it takes over and nobody is down.
            self.end_wire(guid);
            self.promote(guid);
        } else if peer.dials > 0 && !wire.agreed {
            self.end_wire(guid);
            self.await_wire(guid);
        } else {
            self.end_session(guid, crate::topology::event::Down::Lost);
        }
    }

    /// The peer says that the pair has another wire.
    pub(super) fn superseded(&mut self, guid: Guid, wire: Wire) {
        self.close(guid, wire.conn, Goodbye::Duplicate);
        self.end_wire(guid);
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        if peer.standby.is_some() {
            self.promote(guid);
        } else if peer.dials > 0 || peer.cared_for() {
            if peer.dials == 0 {
                peer.awaits = self.now + self.node.settings.dial_timeout;
            }
            self.await_wire(guid);
        } else {
            self.node.peers.tidy(&guid);
        }
    }

    /// No wire now, but one is on its way: as if dialing.
    fn await_wire(&mut self, guid: Guid) {
        if let Some(peer) = self.node.peers.get_mut(&guid) {
            peer.link = Link::Dialing;
            self.arm(guid);
        }
    }

    /// The wire that stood aside takes over.
    pub(super) fn promote(&mut self, guid: Guid) {
        let Some(standby) = self.node.peers.get_mut(&guid).and_then(|p| p.standby.take()) else { return };
        let Standby { wire, frames } = *standby;
        self.open_wire(guid, wire);
        frames.into_iter().for_each(|frame| self.frame(guid, wire.conn, frame));
    }

    /// A wire stood aside for long enough: it takes over, unless there is life on the other.
    pub(super) fn aside_due(&mut self, guid: Guid) {
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        let Some(since) = peer.standby.as_ref().map(|s| s.wire.since) else { return };
        match peer.link {
            Link::Open(_) if peer.heard > since => self.drop_standby(guid, Goodbye::Duplicate),
            Link::Open(old) => {
                self.refuse(guid, old.conn, Goodbye::Duplicate);
                self.end_wire(guid);
                self.promote(guid);
            }
            Link::Dialing | Link::None => self.promote(guid),
        }
    }

    /// A dial failed, says the driver.
    pub(in crate::engine) fn dial_failed(&mut self, guid: Guid) {
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        peer.dials = peer.dials.saturating_sub(1);
        // One that was given up long ago ends now: the next is still under way.
        if !matches!(peer.link, Link::Dialing) || peer.dials > 0 {
            return;
        }
        if peer.standby.is_some() {
            self.promote(guid);
        } else {
            self.unreachable(guid);
        }
    }
}

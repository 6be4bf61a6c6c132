//! What is due with a peer, and when: one timer for each, armed at the earliest moment that matters.

use core::time::Duration;

use bytes::Bytes;

use super::wires::ASIDE;
use crate::engine::Slot;
use crate::engine::peers::{Link, Peer};
use crate::engine::settings;
use crate::engine::state::{Overlay, State};
use crate::engine::timers::Handle;
use crate::engine::turn::Turn;
use crate::topology::Topology;
use crate::wire::frame::{Body, Goodbye};
use crate::{Guid, Time};

/// How long a peer may take for a handshake, the first or a later one; one that says nothing is dropped then. Longer
/// than a wire stands aside.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// The next moment at which something is due with a peer; `None` while it may stay as it is for ever.
pub(in crate::engine) fn due<T: Topology>(peer: &Peer<T>, settings: &settings::Node) -> Option<Time> {
    let aside = peer.standby.as_ref().map(|s| s.wire.since + ASIDE);
    let link = match peer.link {
        Link::None => None,
        Link::Dialing => Some(peer.awaits),
        Link::Open(wire) if !wire.agreed => Some(wire.since + HANDSHAKE),
        Link::Open(_) if peer.settling() => Some(peer.offered + HANDSHAKE),
        Link::Open(_) if peer.required() => None,
        Link::Open(_) => Some(peer.used + settings.idle),
    };
    let grants = peer.overlays.iter().filter(|o| o.agreed && o.until < Time::MAX).map(|o| o.until);
    aside.into_iter().chain(link).chain(grants).min()
}

impl<T: Topology> Turn<'_, T> {
    /// Sees to it that what is due with a peer is looked at in time.
    pub(super) fn arm(&mut self, guid: Guid) {
        self.node.arm(&guid);
    }

    /// Something may be due with a peer.
    pub(in crate::engine) fn peer_due(&mut self, guid: Guid, handle: Handle) {
        let now = self.now;
        let Some(peer) = self.node.peers.get_mut(&guid).filter(|p| p.timer == Some(handle)) else { return };
        peer.timer = None;
        if due(peer, &self.node.settings).is_some_and(|at| at <= now) {
            self.overdue(guid);
        }
        self.arm(guid);
    }

    fn overdue(&mut self, guid: Guid) {
        let Some(peer) = self.node.peers.get(&guid) else { return };
        if peer.standby.as_ref().is_some_and(|s| self.now.since(s.wire.since) >= ASIDE) {
            return self.aside_due(guid);
        }
        if let Some(over) = peer.overlays.iter().find(|o| o.agreed && o.until <= self.now) {
            let slot = over.slot;
            return self.part_with(slot, guid);
        }
        match peer.link {
            Link::None => {}
            Link::Dialing if peer.standby.is_some() => self.promote(guid),
            Link::Dialing => self.unreachable(guid),
            Link::Open(wire) if !wire.agreed || peer.settling() => self.drop_peer(guid, "no handshake in time"),
            Link::Open(_) if is_busy(self.overlays, peer) => {
                if let Some(peer) = self.node.peers.get_mut(&guid) {
                    peer.used = self.now;
                }
            }
            Link::Open(wire) => self.hang_up(guid, wire.conn, Goodbye::Idle),
        }
    }

    /// A peer may no longer take part in an overlay: for both it is as if the other had left.
    fn part_with(&mut self, slot: Slot, guid: Guid) {
        if let Some((_, mut desk)) = self.open(slot) {
            desk.send_or_drop(guid, Body::Leaving, Bytes::new());
        }
        self.left(slot, guid);
    }

    /// Nobody holds a session any longer, perhaps: it is idle from now on.
    pub(super) fn rest(&mut self, guid: Guid) {
        let now = self.now;
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        if matches!(peer.link, Link::Open(_)) && !peer.required() {
            peer.used = now;
        }
        self.arm(guid);
    }

    /// Over the budget, the session that was idle longest and that nobody requires is closed; one that somebody waits
    /// on only if there is no other.
    pub(super) fn make_room(&mut self) {
        while self.node.peers.open() > self.node.settings.connections {
            let (peers, overlays) = (&mut self.node.peers, &*self.overlays);
            let Some((guid, wire)) = peers.least_recently_used(self.now, |peer| is_busy(overlays, peer)) else {
                return;
            };
            self.hang_up(guid, wire.conn, Goodbye::Budget);
            // What waited for an overlay to be agreed on takes another way, unless a second wire took over.
            if !self.is_open(&guid) {
                self.fail_waiting(guid);
                self.node.peers.tidy(&guid);
            }
        }
    }
}

/// Whether somebody waits for an answer of the peer, or it for one from here.
fn is_busy<T: Topology>(overlays: &[Option<Box<Overlay<T>>>], peer: &Peer<T>) -> bool {
    let asked = |o: &State<T>| o.questions.iter().any(|(_, p)| p.peer == Some(peer.guid));
    // A message not taken in, or a question of the peer's that went on from here and may come back answered.
    let served = peer.overlays.iter().any(|o| o.ways > 0 || o.keeps_waiting());
    served || overlays.iter().flatten().any(|o| asked(&o.state))
}

//! How a table stays right: beacons find the dead, fill what is empty and keep backups up; a slot that lost somebody is
//! mended by whoever is left of it, and one that became empty from peers of the same row.

use polymorph_core::Guid;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::Change;
use polymorph_core::topology::question::{Hold, Neighbor, Role};

use super::super::links::Holds;
use super::joining::{AGAIN, RETRY};
use super::mesh::Micros;
use super::{Message, Proximity, Purpose, Set, Stage, Tapestry, Timer};

impl Tapestry {
    /// Asks two peers of the table whether they are there: one after the other of all, and in turn one of those whose slots
    /// have room for more, or of the last row, because these decide who a key's root is. Both say whom they know for
    /// empty slots, and for their own.
    pub(super) fn beacon(&mut self, cx: &mut Context<'_, Self>) {
        let wait = cx.jitter(self.config.beacon, 0.2);
        cx.set(Timer::Beacon, wait);
        self.turn = self.turn.wrapping_add(1);
        let count = self.mesh.len();
        if count == 0 {
            return self.try_seed(cx);
        }
        let of_last = self.mesh.row(self.mesh.last_row().unwrap_or_default()).count();
        let (half, at) = (self.turn / 2, |index| self.mesh.get(index).map(|peer| peer.guid));
        let scarce = if self.turn.is_multiple_of(2) { self.mesh.scarce() } else { Vec::new() };
        let scarce = half.checked_rem(scarce.len()).map(|index| scarce[index]);
        let (one, other) = (at(self.turn % count), scarce.or_else(|| at(count - 1 - half % of_last.max(1))));
        one.into_iter().chain(other).for_each(|peer| self.ask_for_more(peer, cx));
    }

    /// Asks somebody of the table for who fills empty slots, and for others like it if there is room for them.
    fn ask_for_more(&mut self, to: Guid, cx: &mut Context<'_, Self>) {
        let wanted = self.mesh.wanted_of(self.peer(to));
        self.call(to, Message::Holes(wanted), Purpose::Beacon(to), cx);
    }

    /// Peers were named who may fill slots: as many as there is room for are asked whether they are there.
    pub(super) fn meet_all(&mut self, peers: &[Guid], cx: &mut Context<'_, Self>) {
        let (me, mut asked_of) = (cx.me(), Vec::new());
        for &peer in peers.iter().take(super::MAX_NAMED).filter(|peer| **peer != me) {
            let Some((row, column)) = self.mesh.slot_of(self.peer(peer).at) else { continue };
            let settled = self.mesh.slot(row, column).iter().any(|entry| !entry.pinned);
            let asked = asked_of.iter().filter(|slot| **slot == (row, column)).count();
            // Whoever was lost just now is not worth a dial while there are others.
            let worth = self.mesh.room(row, column) > asked && !(settled && self.lost.contains(&peer));
            if worth
                && !self.mesh.contains(&peer)
                && self.call(peer, Message::Met, Purpose::Measure { peer, again: false }, cx)
            {
                asked_of.push((row, column));
            }
        }
    }

    pub(super) fn measure(&mut self, peer: Guid, again: bool, cx: &mut Context<'_, Self>) -> bool {
        self.call(peer, Message::Met, Purpose::Measure { peer, again }, cx)
    }

    /// A round trip, if it was measured.
    pub(super) fn rtt(&self, peer: &Guid, cx: &Context<'_, Self>) -> Option<Micros> {
        let rtt = cx.facts(peer).rtt?;
        (self.config.proximity == Proximity::Measured).then(|| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX - 1))
    }

    /// Somebody answered. The first answer over a new session says nothing of the round trip: it is asked again.
    pub(super) fn measured(&mut self, peer: Guid, again: bool, cx: &mut Context<'_, Self>) {
        let rtt = self.rtt(&peer, cx);
        if rtt.is_none() && self.config.proximity == Proximity::Measured && !again && self.measure(peer, true, cx) {
            return;
        }
        self.met(peer, cx);
        self.search_measured(peer, rtt, cx);
    }

    /// Somebody spoke to this node: it fills a slot, or not.
    pub(super) fn met(&mut self, guid: Guid, cx: &mut Context<'_, Self>) {
        let (peer, rtt) = (self.peer(guid), self.rtt(&guid, cx));
        self.lost.retain(|lost| *lost != guid);
        if self.mesh.contains(&guid) && (rtt.is_none() || self.mesh.is_measured(&guid)) {
            return;
        }
        let fresh = !self.mesh.contains(&guid);
        if self.edit(cx, |node| node.mesh.offer(peer, rtt)) && fresh {
            self.hand_over(peer, cx);
        }
    }

    /// Somebody has this node in its table: perhaps it is nearer than those here, if that is not known yet.
    pub(super) fn weigh(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if self.config.proximity == Proximity::Measured && self.rtt(&peer, cx).is_none() {
            self.call(peer, Message::Ping, Purpose::Measure { peer, again: true }, cx);
        }
    }

    /// Somebody may be dead, or something sent to it was lost with a wire: it is asked.
    pub(super) fn suspect(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        self.casts_again(peer, cx);
        if self.stage == Stage::In && self.mesh.contains(&peer) {
            cx.want(peer, Hold::Cached);
            self.call(peer, Message::Ping, Purpose::Suspect(peer), cx);
        } else {
            self.gone(peer, cx);
        }
    }

    /// Somebody does not answer, or left.
    pub(super) fn gone(&mut self, guid: Guid, cx: &mut Context<'_, Self>) {
        self.backs.remove(&guid);
        self.casts_lost(guid, cx);
        if self.coming.as_ref().is_some_and(|coming| coming.root == guid) {
            // It tells nobody any longer.
            let wait = cx.jitter(AGAIN, 0.5);
            cx.set(Timer::Join, wait);
        }
        if self.stage != Stage::In || !self.mesh.contains(&guid) {
            return;
        }
        let homeless = self.led_by(guid);
        let slot = self.mesh.slot_of(self.peer(guid).at);
        self.edit(cx, |node| node.mesh.remove(&guid));
        if self.lost.len() == MAX_LOST {
            self.lost.remove(0);
        }
        self.lost.push(guid);
        self.place_again(&homeless, cx);
        if let Some((row, column)) = slot {
            // Whoever is left knows the others who belong there.
            match self.mesh.slot(row, column).iter().find(|entry| !entry.pinned).map(|entry| entry.peer.guid) {
                Some(left) => self.ask_for_more(left, cx),
                None => self.mend_slot(row, column, 0, cx),
            }
        }
        if self.mesh.len() == 0 {
            self.tries = 0;
            cx.set(Timer::Join, RETRY);
        }
    }

    /// A slot is empty: peers who share as many digits are asked for theirs, one after the other.
    fn mend_slot(&mut self, row: u8, column: u8, asked: u8, cx: &mut Context<'_, Self>) {
        if asked >= MAX_ASKED || !self.mesh.slot(row, column).is_empty() {
            return;
        }
        let who = self.mesh.slots_from(row).map(|(_, slot)| slot[0].peer.guid).nth(asked.into());
        if let Some(who) = who {
            let purpose = Purpose::Slot { row, column, asked: asked + 1 };
            self.call(who, Message::Ask(Set::Slot { row, column }), purpose, cx);
        }
    }

    pub(super) fn slot_answered(&mut self, row: u8, column: u8, asked: u8, peers: &[Guid], cx: &mut Context<'_, Self>) {
        let me = cx.me();
        let fits = |peer: &&Guid| {
            **peer != me && !self.lost.contains(peer) && self.mesh.slot_of(self.peer(**peer).at) == Some((row, column))
        };
        let fit: Vec<Guid> = peers.iter().filter(fits).copied().collect();
        if fit.is_empty() {
            return self.mend_slot(row, column, asked, cx);
        }
        self.meet_all(&fit, cx);
    }

    /// No answer, or one that is none. A question may be lost with its wire: whoever is in the table is asked once
    /// more before its slot becomes empty.
    pub(super) fn unanswered(&mut self, purpose: Purpose, peer: Guid, cx: &mut Context<'_, Self>) {
        if purpose == Purpose::Suspect(peer) {
            self.gone(peer, cx);
        } else {
            self.suspect(peer, cx);
        }
        match purpose {
            // The other seeds are tried at once, then again after a while.
            Purpose::First(_) if (self.tries as usize) < self.seeds.len() => self.try_seed(cx),
            Purpose::First(_) => {}
            Purpose::Measure { .. } => self.search_measured(peer, None, cx),
            Purpose::Nearer(..) => self.search_on(cx),
            Purpose::Slot { row, column, asked } => self.mend_slot(row, column, asked, cx),
            Purpose::Have { id, server, .. } => self.has_not(id, server, cx),
            Purpose::Root | Purpose::Beacon(_) | Purpose::Suspect(_) => {}
        }
    }

    /// Tells everybody who has this node in its table, each with who may take its place, and hands its pointers on.
    pub(super) fn leave(&mut self, cx: &mut Context<'_, Self>) {
        let digits = self.digits();
        for back in self.backs.iter().take(MAX_TOLD).copied().collect::<Vec<_>>() {
            let row = digits.shared(self.mine, self.peer(back).at);
            // Whoever shares more digits with this node than the other does belongs into the same slot.
            let instead = self.mesh.slots_from(row + 1).map(|(_, slot)| slot[0].peer.guid).take(REPLACEMENTS);
            // Whoever cannot be told now finds out by itself.
            let _ = cx.send(back, Message::Leaving(instead.collect()));
        }
        self.hand_over_all(cx);
        self.stage = Stage::Out;
        self.calls.clear();
        (self.coming, self.search) = (None, None);
        let casts: Vec<u64> = self.casts.keys().copied().collect();
        casts.into_iter().for_each(|id| cx.cancel(Timer::Cast(id)));
        self.casts.clear();
        self.backs.clear();
        self.edit(cx, |node| node.mesh.clear());
        [Timer::Beacon, Timer::Republish, Timer::Join].into_iter().for_each(|timer| cx.cancel(timer));
    }

    /// Changes the table, then the links, and says what changed. Mostly nothing does: somebody was weighed who is
    /// farther away than those who are here.
    pub(super) fn edit<R>(&mut self, cx: &mut Context<'_, Self>, change: impl FnOnce(&mut Self) -> R) -> R {
        let (before, row) = (self.mesh.guids(), self.mesh.last_row());
        let result = change(self);
        let after = self.mesh.guids();
        if before == after {
            return result;
        }
        Holds::of(&links(&before)).become_of(&links(&after), cx);
        // Who stands in the last row bounds what this node is the root of.
        if row != self.mesh.last_row() || before.len() != after.len() {
            cx.change(Change::Range);
        }
        result
    }
}

/// Links to everybody in a table: kept while they are there, and made when they are needed.
pub(super) fn links(peers: &[Guid]) -> Vec<Neighbor> {
    peers.iter().map(|&peer| Neighbor { peer, role: Role::Finger, hold: Hold::Cached }).collect()
}

/// How many are asked for an empty slot before it is taken for one that nobody can fill.
const MAX_ASKED: u8 = 6;
/// How many lost peers are remembered as ways back.
pub(super) const MAX_LOST: usize = 16;
/// How many are told of a leave.
const MAX_TOLD: usize = 256;
/// How many replacements a leaving node names to each.
const REPLACEMENTS: usize = 3;

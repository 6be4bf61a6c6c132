//! How a node's sets stay right: leaf sets are exchanged and mended from their live ends, slots from peers of the same
//! row, and nearer peers are looked for (§2.4 and §2.5).

use polymorph_core::Guid;
use polymorph_core::topology::Topology as _;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::Change;

use super::super::links::Holds;
use super::joining::RETRY;
use super::lost::Hope;
use super::table::Offer;
use super::{Message, Pastry, Proximity, Purpose, Set, Stage, Timer};

impl Pastry {
    // The leaf set.

    /// Exchanges leaf sets with the next peer; and with the previous one, if that has not done so for a while. One of the
    /// neighborhood set is asked whether it is still there (§2.4).
    pub(super) fn keepalive(&mut self, cx: &mut Context<'_, Self>) {
        let wait = cx.jitter(self.config.keepalive, 0.2);
        cx.set(Timer::Keepalive, wait);
        let silent = cx.now().since(self.heard) > 2 * self.config.keepalive;
        let previous = self.leafs.previous().filter(|_| silent);
        for peer in self.leafs.next().into_iter().chain(previous) {
            self.say_here(peer.guid, cx);
        }
        if let Some((row, column)) = self.holes.pop_front() {
            self.mend_slot(row, column, 0, cx);
        }
        let near = self.near.stalest(cx.now(), 2 * self.config.keepalive);
        if let Some(peer) = near.filter(|_| self.config.proximity == Proximity::Measured) {
            self.measure(peer, cx);
        }
        if let Some(lost) = self.lost.again(cx.now()) {
            self.say_here(lost, cx);
        }
    }

    pub(super) fn say_here(&mut self, peer: Guid, cx: &mut Context<'_, Self>) -> bool {
        self.call(peer, Message::Here(self.leafs.guids()), Purpose::Here(peer), cx)
    }

    /// Somebody is there and says who stands around it.
    pub(super) fn here(&mut self, from: Guid, leafs: &[Guid], cx: &mut Context<'_, Self>) {
        self.insert_leaf(from, cx);
        self.learn_leafs(leafs, cx);
        self.met(from, cx);
    }

    /// Somebody spoke to this node: it belongs into the leaf set, or not.
    pub(super) fn insert_leaf(&mut self, from: Guid, cx: &mut Context<'_, Self>) {
        let peer = self.peer(from);
        self.lost.forget(&from);
        if self.leafs.lacks(&peer) {
            self.edit(cx, |node| node.leafs.insert(peer));
            if self.leafs.is_beside(&from) {
                // Between the two nobody is known: perhaps the other knows somebody.
                self.say_here(from, cx);
            }
        }
    }

    /// Whoever belongs into the leaf set by what another one says is asked first, unless it was silent just now.
    pub(super) fn learn_leafs(&mut self, leafs: &[Guid], cx: &mut Context<'_, Self>) {
        let (me, now, long) = (cx.me(), cx.now(), 2 * self.config.keepalive);
        for &guid in leafs.iter().take(super::MAX_LEAF).filter(|guid| **guid != me) {
            let silent = self.lost.is_fresh(&guid, now, long);
            if !silent && self.leafs.lacks(&self.peer(guid)) {
                self.call(guid, Message::Met, Purpose::Leaf(guid), cx);
            }
        }
    }

    /// Somebody does not answer, or left. If it stood beside this node, the others around it are told.
    pub(super) fn gone(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        let (leaf, beside) = (self.leafs.contains(&peer), self.leafs.is_beside(&peer));
        if self.near.remove(&peer) && self.stage == Stage::In {
            self.ask_near(cx);
        }
        if self.stage != Stage::In || !leaf && !self.table.contains(&peer) {
            return;
        }
        let slot = self.edit(cx, |node| {
            node.leafs.remove(&peer);
            node.table.remove(&peer)
        });
        self.note_lost(peer, Hope::Some, cx);
        if beside {
            for leaf in self.leafs.guids() {
                let _ = cx.send(leaf, Message::Silent(peer));
            }
        }
        if leaf {
            self.mend_leafs(cx);
        }
        if let Some((row, column)) = slot {
            self.mend_slot(row, column, 0, cx);
        }
    }

    /// Asks the live end of a side that has room, and if a side is empty the nearest of all others.
    fn mend_leafs(&mut self, cx: &mut Context<'_, Self>) {
        if self.leafs.next().is_none() {
            let mine = self.mine;
            let Some(nearest) = self.table.peers().min_by_key(|peer| peer.rank(mine)) else {
                self.tries = 0;
                return cx.set(Timer::Join, RETRY);
            };
            self.call(nearest.guid, Message::Met, Purpose::Leaf(nearest.guid), cx);
            self.call(nearest.guid, Message::Ask(Set::Leafs), Purpose::Leafs(nearest.guid), cx);
        }
        let ends = self.leafs.extremes().into_iter().flatten();
        for end in ends.filter(|_| self.leafs.has_room()).collect::<Vec<_>>() {
            self.call(end.guid, Message::Ask(Set::Leafs), Purpose::Leafs(end.guid), cx);
        }
    }

    fn note_lost(&mut self, peer: Guid, hope: Hope, cx: &Context<'_, Self>) {
        self.lost.note(peer, hope, cx.now(), 2 * self.config.keepalive);
    }

    /// Somebody may be dead, by what another one says or because something sent to it was lost with a wire: it is
    /// asked.
    pub(super) fn suspect(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if self.stage == Stage::In && (self.leafs.contains(&peer) || self.table.contains(&peer)) {
            self.call(peer, Message::Ping, Purpose::Suspect(peer), cx);
        } else {
            cx.unwant(peer);
            self.gone(peer, cx);
        }
    }

    /// A peer leaves and says who stood around it.
    pub(super) fn left(&mut self, from: Guid, leafs: &[Guid], cx: &mut Context<'_, Self>) {
        self.gone(from, cx);
        self.note_lost(from, Hope::None, cx);
        self.learn_leafs(leafs, cx);
    }

    pub(super) fn leave(&mut self, cx: &mut Context<'_, Self>) {
        let beside = [self.leafs.next(), self.leafs.previous()].into_iter().flatten().map(|peer| peer.guid);
        let mut told: Vec<Guid> = beside.collect();
        told.dedup();
        for peer in told {
            // Whoever cannot be told now finds out by itself.
            let _ = cx.send(peer, Message::Leaving(self.leafs.guids()));
        }
        self.stage = Stage::Out;
        self.calls.clear();
        self.approach = None;
        self.member = None;
        self.near.clear();
        self.lost.clear();
        self.holes.clear();
        self.edit(cx, |node| {
            node.leafs.clear();
            node.table.clear();
        });
        [Timer::Keepalive, Timer::Maintain, Timer::Join].into_iter().for_each(|timer| cx.cancel(timer));
    }

    // The table.

    /// A slot is empty: somebody of the same row is asked for theirs, then others, then the row after (§2.4).
    fn mend_slot(&mut self, row: u8, column: u8, asked: u8, cx: &mut Context<'_, Self>) {
        if self.table.get(row, column).is_some() {
            return;
        }
        let same = self.table.row(row).map(|entry| entry.peer.guid);
        let after = self.table.row(row.saturating_add(1)).map(|entry| entry.peer.guid);
        let who = same.chain(after).nth(asked.into()).filter(|_| asked < MAX_ASKED);
        let purpose = Purpose::Slot { row, column, asked: asked + 1 };
        let asks = who.is_some_and(|who| self.call(who, Message::Ask(Set::Slot { row, column }), purpose, cx));
        if !asks && self.holes.len() < MAX_HOLES {
            self.holes.push_back((row, column));
        }
    }

    pub(super) fn slot_answered(&mut self, row: u8, column: u8, asked: u8, peers: &[Guid], cx: &mut Context<'_, Self>) {
        match peers.first().filter(|peer| self.table.slot(self.peer(**peer).at) == Some((row, column))) {
            Some(&peer) if peer != cx.me() && !self.lost.contains(&peer) => {
                self.consider(peer, cx);
            }
            _ => self.mend_slot(row, column, asked, cx),
        }
    }

    /// Asks one of each row for that row, and somebody near for whom it finds near: whoever is nearer than those
    /// here takes their place (Castro et al. 2002, §4).
    pub(super) fn maintain(&mut self, cx: &mut Context<'_, Self>) {
        let wait = cx.jitter(self.config.maintain, 0.2);
        cx.set(Timer::Maintain, wait);
        for row in 0..=self.table.last_row() {
            let count = self.table.row(row).count();
            let pick = cx.pick(count);
            let peer = self.table.row(row).nth(pick).map(|entry| entry.peer.guid);
            if let Some(peer) = peer {
                self.call(peer, Message::Ask(Set::Row(row)), Purpose::Nearer(peer, Set::Row(row)), cx);
            }
        }
        self.ask_near(cx);
    }

    // The neighborhood set.

    /// Asks somebody near for whom it finds near: now and then, and when one of them is gone (§2.4).
    fn ask_near(&mut self, cx: &mut Context<'_, Self>) {
        let near = self.near.guids();
        if let Some(&peer) = near.get(cx.pick(near.len())) {
            self.call(peer, Message::Ask(Set::Near), Purpose::Nearer(peer, Set::Near), cx);
        }
    }

    /// Somebody near named these: as many as there is room for are measured, and a few more who may be nearer than those
    /// here, other ones each time.
    pub(super) fn learn_near(&mut self, peers: &[Guid], cx: &mut Context<'_, Self>) {
        let me = cx.me();
        let mut fresh: Vec<Guid> = peers.iter().copied().take(super::MAX_NEIGHBORHOOD).collect();
        fresh.retain(|peer| *peer != me && !self.near.contains(peer) && !self.lost.contains(peer));
        let start = cx.pick(fresh.len());
        fresh.rotate_left(start);
        for peer in fresh.into_iter().take(self.near.room() + MORE) {
            self.measure(peer, cx);
        }
    }

    fn measure(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        self.call(peer, Message::Ping, Purpose::Measure { peer, again: false }, cx);
    }

    pub(super) fn consider_all(&mut self, peers: &[Guid], cx: &mut Context<'_, Self>) {
        let me = cx.me();
        for &peer in peers.iter().take(MAX_CONSIDERED).filter(|peer| **peer != me) {
            self.consider(peer, cx);
        }
    }

    /// Somebody was named: it is measured if its slot is empty, or if nearness counts.
    pub(super) fn consider(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        let known = self.table.contains(&peer) || self.near.contains(&peer);
        let Some((row, column)) = self.table.slot(self.peer(peer).at).filter(|_| !known) else { return };
        let empty = self.table.get(row, column).is_none();
        if empty || self.config.proximity == Proximity::Measured {
            let message = if empty { Message::Met } else { Message::Ping };
            self.call(peer, message, Purpose::Measure { peer, again: false }, cx);
        }
    }

    /// Somebody answered a ping. The first answer over a new session says nothing of the round trip: it is asked
    /// again.
    pub(super) fn measured(&mut self, peer: Guid, again: bool, cx: &mut Context<'_, Self>) {
        let rtt = self.rtt(&peer, cx);
        let counts = self.config.proximity == Proximity::Measured;
        if rtt.is_none() && counts && !again {
            self.call(peer, Message::Ping, Purpose::Measure { peer, again: true }, cx);
        } else if self.approach.is_some() {
            self.approach_measured(peer, rtt, cx);
        } else if self.stage == Stage::In {
            self.met(peer, cx);
        }
    }

    /// Somebody answered: it may be of use in the table, and near.
    fn met(&mut self, guid: Guid, cx: &mut Context<'_, Self>) {
        let (peer, rtt) = (self.peer(guid), self.rtt(&guid, cx));
        if let Some(rtt) = rtt {
            self.near.offer(guid, rtt, cx.now());
        }
        let offer = if self.table.contains(&guid) {
            self.table.offer(peer, rtt)
        } else {
            self.edit(cx, |node| node.table.offer(peer, rtt))
        };
        if let Offer::Undecided(other) = offer
            && self.config.proximity == Proximity::Measured
        {
            for peer in [guid, other] {
                self.call(peer, Message::Ping, Purpose::Measure { peer, again: true }, cx);
            }
        }
    }

    /// No answer, or one that is none. A question may be lost with its wire: everybody is asked once more before it is
    /// passed over, which for a leaf would make another the owner.
    pub(super) fn unanswered(&mut self, purpose: Purpose, peer: Guid, cx: &mut Context<'_, Self>) {
        if purpose == Purpose::Suspect(peer) {
            self.gone(peer, cx);
        } else {
            self.suspect(peer, cx);
        }
        match purpose {
            Purpose::Approach(_) => {
                self.approach = None;
                // The other seeds are tried at once.
                if (self.tries as usize) < self.seeds.len() {
                    self.try_seed(cx);
                } else {
                    self.try_again(cx);
                }
            }
            Purpose::Measure { .. } => self.approach_measured(peer, None, cx),
            Purpose::Slot { row, column, asked } => self.mend_slot(row, column, asked, cx),
            Purpose::Leaf(peer) if !self.leafs.contains(&peer) => self.note_lost(peer, Hope::Some, cx),
            Purpose::Leaf(_) => {}
            Purpose::Here(_) | Purpose::Leafs(_) | Purpose::Nearer(..) | Purpose::Suspect(_) => {}
        }
    }

    /// Changes the sets, then the links, and says what changed.
    fn edit<R>(&mut self, cx: &mut Context<'_, Self>, change: impl FnOnce(&mut Self) -> R) -> R {
        let beside = |node: &Self| [node.leafs.next(), node.leafs.previous()];
        let (before, sides) = (Holds::of(&self.neighbors()), beside(self));
        let result = change(self);
        before.become_of(&self.neighbors(), cx);
        if sides != beside(self) {
            cx.change(Change::Range);
        }
        result
    }
}

/// How many are asked for an empty slot before it is put off.
pub(super) const MAX_ASKED: u8 = 4;
/// How many slots that nobody could fill are tried again, one with each exchange of leaf sets.
pub(super) const MAX_HOLES: usize = 32;
/// How many are measured beside those for whom the neighborhood set has room: a search that goes on as long as the node
/// does need not be broad. Ours to choose.
const MORE: usize = 4;
/// How many of those one peer names are considered.
const MAX_CONSIDERED: usize = 256;

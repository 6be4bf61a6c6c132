//! How a node comes onto the ring, keeps its place in it, and goes.

use polymorph_core::Guid;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Change, Ticket};
use polymorph_core::topology::question::Target;

use super::name::{Letter, Name};
use super::table::{Choice, Peer, Table};
use super::virtual_node::{Back, Purpose, Question, Stage, VirtualNode};
use super::{Beat, Chord, MAX_PROXIMITY, Message, Timer};

impl VirtualNode {
    // Coming.

    /// Begins to look for a way in: through seeds, or following the others of this peer.
    pub(super) fn begin(&mut self, stage: Stage, cx: &mut Context<'_, Chord>) {
        self.stage = stage;
        self.try_to_join(cx);
    }

    /// Looks for a way in, again and again until there is one, ever more slowly.
    pub(super) fn try_to_join(&mut self, cx: &mut Context<'_, Chord>) {
        let alone = self.table.head().is_none();
        let through_seed = self.stage != Stage::Following;
        if self.stage == Stage::Out || !alone || through_seed && self.seeds.is_empty() {
            return;
        }
        let place = Target::Key(self.table.mine());
        let ticket = if through_seed {
            let seed = self.seeds[self.tries as usize % self.seeds.len()];
            cx.lookup_via(seed, place, 1)
        } else {
            cx.lookup(place, 1)
        };
        self.tries += 1;
        self.expect(ticket, Purpose::Entry);
        let wait = cx.jitter(RETRY * 2u32.pow(self.tries.min(MAX_DOUBLINGS)), 0.3);
        self.set(Beat::Join, wait, cx);
    }

    /// This node is on the ring.
    pub(super) fn enter(&mut self, cx: &mut Context<'_, Chord>) {
        self.stage = Stage::In;
        cx.change(Change::Range);
        // Nodes that came at the same moment do not work at the same moment.
        let (stabilize, fix) = (cx.jitter(self.config.stabilize / 2, 1.0), cx.jitter(self.config.fix_fingers / 2, 1.0));
        self.set(Beat::Stabilize, stabilize, cx);
        self.set(Beat::FixFingers, fix, cx);
    }

    fn set(&self, beat: Beat, after: core::time::Duration, cx: &mut Context<'_, Chord>) {
        cx.set(Timer { index: self.index, beat }, after);
    }

    /// Somebody of this peer's lost everybody, and so will come in again from the start.
    pub(super) fn try_again_soon(&mut self, cx: &mut Context<'_, Chord>) {
        self.tries = 0;
        self.set(Beat::Join, RETRY, cx);
    }

    // Going.

    /// Leaves its neighbors to each other. `predecessor` is the first one before it who stays.
    pub(super) fn leave(&mut self, predecessor: Option<Name>, cx: &mut Context<'_, Chord>) {
        let me = cx.me();
        let before = self.table.predecessor().map(|peer| peer.name);
        let head = self.table.head().map(|peer| peer.name);
        let sides = before.into_iter().chain(head.filter(|head| Some(*head) != before));
        for side in sides.filter(|side| side.guid != me) {
            let successors = self.table.successors().iter().map(|peer| peer.name).filter(|name| name.guid != me);
            let successors = successors.collect();
            self.say(side, Message::Leaving { predecessor, successors }, cx);
        }
        self.stop(cx);
    }

    /// Forgets everything and does nothing more.
    pub(super) fn stop(&mut self, cx: &mut Context<'_, Chord>) {
        self.stage = Stage::Out;
        self.open.clear();
        self.edit(cx, Table::clear);
        for beat in [Beat::Stabilize, Beat::FixFingers, Beat::Join] {
            cx.cancel(Timer { index: self.index, beat });
        }
    }

    /// A neighbor leaves and says who its neighbors were: they are this node's now.
    fn left(&mut self, from: Name, predecessor: Option<Name>, successors: &[Name], cx: &mut Context<'_, Chord>) {
        let (head, before) = (self.table.head(), self.table.predecessor());
        let me = self.name();
        if !self.is_in_order(from, successors) {
            return cx.blame(from.guid, "successors that are not in order");
        }
        self.dropped(from, cx);
        if let Some(before) = before.filter(|before| before.name == from)
            && let Some(peer) = predecessor.filter(|peer| *peer != me && *peer != from)
        {
            let peer = self.table.peer(peer);
            if peer.at < before.at && self.table.is_later(&peer) {
                self.heard = cx.now();
                self.edit(cx, |table| table.set_predecessor(Some(peer)));
            }
        }
        if let Some(head) = head.filter(|head| head.name == from)
            && let Some((&next, rest)) = successors.split_first().filter(|(next, _)| **next != me)
        {
            let next = self.table.peer(next);
            if next.at > head.at && self.table.head().is_none_or(|present| next.at <= present.at) {
                self.adopt(next.name, rest, cx);
                self.ask_head(cx);
            }
        }
    }

    // Keeping one's place.

    /// Zave's StabilizeFromSuccessor begins, and the predecessor is checked if it has been silent.
    pub(super) fn stabilize(&mut self, cx: &mut Context<'_, Chord>) {
        let wait = cx.jitter(self.config.stabilize, 0.2);
        self.set(Beat::Stabilize, wait, cx);
        self.ask_head(cx);
        let silent = cx.now().since(self.heard) > 2 * self.config.stabilize;
        if let Some(predecessor) = self.table.predecessor().filter(|_| silent) {
            self.ask(predecessor.name, Message::Ping, Purpose::Predecessor(None), cx);
        }
    }

    pub(super) fn ask_head(&mut self, cx: &mut Context<'_, Chord>) {
        if let Some(head) = self.table.head().filter(|_| self.stage == Stage::In) {
            self.ask(head.name, Message::Ask, Purpose::Head, cx);
        }
    }

    fn ask_closer(&mut self, peer: Name, cx: &mut Context<'_, Chord>) {
        self.ask(peer, Message::Ask, Purpose::Closer, cx);
    }

    /// The first successor, or somebody who stands before it, answered: its list is taken over as a whole, with
    /// itself before it. If it knows somebody nearer to this node, that one is asked next.
    fn settle(&mut self, from: Name, predecessor: Option<Name>, successors: &[Name], cx: &mut Context<'_, Chord>) {
        let (me, head) = (self.name(), self.table.peer(from));
        if !self.is_in_order(from, successors) {
            return cx.blame(from.guid, "successors that are not in order");
        }
        if !self.table.is_closer(&head) && self.table.head() != Some(head) {
            return;
        }
        self.adopt(from, successors, cx);
        let before = predecessor.filter(|peer| *peer != me).map(|peer| self.table.peer(peer));
        let nearer = before.filter(|before| self.table.is_closer(before));
        if !self.is_in() {
            // Whoever stood alone is on both sides of a newcomer.
            let before = if successors.is_empty() { Some(head) } else { before.filter(|_| nearer.is_none()) };
            self.edit(cx, |table| table.set_predecessor(before));
            self.heard = cx.now();
            self.enter(cx);
            self.fix_fingers(cx);
        }
        match nearer {
            Some(nearer) => self.ask_closer(nearer.name, cx),
            None if predecessor != Some(me) => self.say(from, Message::Notify, cx),
            None => {}
        }
    }

    fn adopt(&mut self, head: Name, rest: &[Name], cx: &mut Context<'_, Chord>) {
        if !self.table.is_list(head, rest) {
            let list = self.table.list(self.table.peer(head), rest);
            let list = self.without_gaps(list, cx);
            if self.table.successors() != list {
                self.edit(cx, |table| table.adopt(list));
            }
        }
    }

    /// Zave's Rectify: whoever notifies becomes the predecessor if it stands nearer than the old one, or if the old
    /// one does not answer.
    fn rectify(&mut self, from: Name, cx: &mut Context<'_, Chord>) {
        let peer = self.table.peer(from);
        let old = self.table.predecessor().filter(|old| old.name != from);
        if self.table.is_later(&peer) {
            self.heard = cx.now();
            self.edit(cx, |table| table.set_predecessor(Some(peer)));
            if let Some(old) = old {
                self.say(old.name, Message::Between, cx);
            }
        } else if let Some(old) = old {
            self.ask(old.name, Message::Ping, Purpose::Predecessor(Some(from)), cx);
        }
        if self.table.head().is_none() {
            self.ask_closer(from, cx);
        }
    }

    /// A peer does not answer, or left.
    pub(super) fn gone(&mut self, peer: Guid, cx: &mut Context<'_, Chord>) {
        self.forget(|other| other.guid() == peer, cx);
    }

    /// A virtual node is no longer where it was; its peer may well be.
    fn dropped(&mut self, name: Name, cx: &mut Context<'_, Chord>) {
        self.forget(|other| other.name == name, cx);
    }

    fn forget(&mut self, who: impl Fn(&Peer) -> bool, cx: &mut Context<'_, Chord>) {
        if self.stage == Stage::Out || !self.table.knows(&who) {
            return;
        }
        let head = self.table.head();
        self.edit(cx, |table| table.remove(who));
        match self.table.head() {
            None => self.try_again_soon(cx),
            new if new != head => self.ask_head(cx),
            _ => {}
        }
    }

    // Fingers.

    /// Takes whom it knew before a restart for fingers, and asks each whether it still is one.
    pub(super) fn recall(&mut self, known: &[Guid], cx: &mut Context<'_, Chord>) {
        let known = known.iter().map(|guid| self.table.peer(Name { guid: *guid, index: 0 })).collect();
        self.edit(cx, |table| table.recall(known));
        self.fix_fingers(cx);
    }

    /// Looks all fingers up, one after the other.
    pub(super) fn fix_fingers(&mut self, cx: &mut Context<'_, Chord>) {
        self.rounds = self.rounds.wrapping_add(1);
        let wait = cx.jitter(self.config.fix_fingers, 0.2);
        self.set(Beat::FixFingers, wait, cx);
        self.fix_finger(0, cx);
    }

    /// Whether this round's questions go to the fingers there are. One that is right owns what is asked for and says so
    /// itself, where a lookup takes half of log2 N hops; one that is not passes the question on. Not in every round, so
    /// that nobody stays a finger on its own word only; and never where fingers are chosen among several, of whom the finger
    /// knows nothing.
    fn asks_fingers(&self) -> bool {
        self.config.choice() == Choice::First && !self.rounds.is_multiple_of(LOOKED_UP)
    }

    pub(super) fn fix_finger(&mut self, from: u32, cx: &mut Context<'_, Chord>) {
        if let Some(exponent) = self.table.exponent_from(from).filter(|_| self.stage == Stage::In) {
            let (start, n) = (Target::Key(self.table.mine().plus_power(exponent)), self.config.proximity.max(1));
            let present = self.table.finger_from(exponent).map(|finger| finger.guid());
            let ticket = match present.filter(|guid| self.asks_fingers() && *guid != cx.me()) {
                Some(finger) => cx.lookup_via(finger, start, n),
                None => cx.lookup(start, n),
            };
            self.expect(ticket, Purpose::Finger(exponent));
        }
    }

    /// Of those who could be a finger the nearest is (Dabek et al., NSDI 2004, §4.3). Whoever was chosen so stays for as
    /// long as it answers; who was never measured is, one question each. Where there is no room for all of these questions
    /// none is asked and the finger stays the first one, so that the next round asks.
    fn measure(&mut self, first: Peer, those: &[Name], cx: &mut Context<'_, Chord>) {
        let (me, bits) = (cx.me(), first.at.bits());
        let those = those.iter().take(self.config.proximity.min(MAX_MEASURED)).copied();
        let those = those.filter(|name| name.guid != me && self.table.peer(*name).at.bits() == bits);
        let (known, unknown): (Vec<_>, Vec<_>) = those.partition(|name| cx.facts(&name.guid).rtt.is_some());
        let asked = self.open.iter().filter(|(_, purpose)| matches!(purpose, Purpose::Near(..))).count();
        if self.table.finger(bits) != Some(first) || asked + unknown.len() > MAX_MEASURED {
            return;
        }
        for name in unknown {
            self.ask(name, Message::Ping, Purpose::Near(name, Question::First), cx);
        }
        for name in known {
            self.measured(name, cx);
        }
    }

    /// It is known how far somebody is: nearer than the finger in the same power of two?
    fn measured(&mut self, name: Name, cx: &mut Context<'_, Chord>) {
        let peer = self.table.peer(name);
        let Some(finger) = self.table.finger(peer.at.bits()).filter(|finger| *finger != peer) else { return };
        let Some(rtt) = cx.facts(&name.guid).rtt else { return };
        if cx.facts(&finger.guid()).rtt.is_none_or(|other| rtt < other) {
            self.edit(cx, |table| table.replace_finger(peer));
        }
    }

    // What comes in.

    pub(super) fn message(&mut self, from: Name, message: Message<Name>, back: Back, cx: &mut Context<'_, Chord>) {
        match (message, back) {
            // A peer of one virtual node is there even if it is on no ring; of several, each speaks for itself.
            (Message::Ping, back) if self.is_in() || self.config.virtual_nodes == 1 => {
                self.answer(from, back, Message::Pong, cx);
            }
            (Message::Ask, back) if self.is_in() => self.answer(from, back, self.state(), cx),
            (Message::Ask | Message::Ping, back) => self.answer(from, back, Message::Absent, cx),
            _ if !self.is_in() || from == self.name() => {}
            (Message::Notify, _) => self.rectify(from, cx),
            (Message::Between, _) if self.table.head().is_some_and(|head| head.name == from) => self.ask_head(cx),
            (Message::Leaving { predecessor, successors }, _) => self.left(from, predecessor, &successors, cx),
            _ => {}
        }
    }

    fn state(&self) -> Message<Name> {
        Message::State {
            predecessor: self.table.predecessor().map(|peer| peer.name),
            successors: self.table.successors().iter().map(|peer| peer.name).collect(),
        }
    }

    /// An answer of a peer, or of a virtual node of this one.
    pub(super) fn reply(&mut self, ticket: Ticket, from: Guid, letter: Letter, cx: &mut Context<'_, Chord>) {
        let Some(purpose) = self.take(ticket) else { return };
        let from = Name { guid: from, index: letter.from };
        // Whom another of the same peer stands in for is not there.
        let head = self.table.head().filter(|head| purpose == Purpose::Head && head.name != from);
        if let Some(head) = head.filter(|head| head.guid() == from.guid) {
            return self.dropped(head.name, cx);
        }
        match (purpose, letter.message) {
            (Purpose::Head | Purpose::Closer, Message::State { predecessor, successors }) => {
                self.settle(from, predecessor, &successors, cx);
            }
            (Purpose::Predecessor(_), Message::Pong) => self.heard = cx.now(),
            (Purpose::Near(name, Question::First), Message::Pong) if cx.facts(&name.guid).rtt.is_none() => {
                self.ask(name, Message::Ping, Purpose::Near(name, Question::Second), cx);
            }
            (Purpose::Near(name, _), Message::Pong) => self.measured(name, cx),
            (Purpose::Passed(_) | Purpose::Owner { .. }, Message::Pong) => self.passed_is_there(purpose, cx),
            (purpose, _) => {
                self.dropped(from, cx);
                self.silent(purpose, cx);
            }
        }
    }

    /// No answer will come.
    pub(super) fn failed(&mut self, ticket: Ticket, peer: Guid, cx: &mut Context<'_, Chord>) {
        if let Some(purpose) = self.take(ticket) {
            self.gone(peer, cx);
            self.silent(purpose, cx);
        }
    }

    /// There was no answer, or one that is none, of somebody who is forgotten now.
    fn silent(&mut self, purpose: Purpose, cx: &mut Context<'_, Chord>) {
        match purpose {
            Purpose::Predecessor(Some(other)) => self.rectify(other, cx),
            // The successor believes in a predecessor that does not answer: it is told to look.
            Purpose::Closer if self.is_in() => {
                if let Some(head) = self.table.head() {
                    self.say(head.name, Message::Notify, cx);
                }
            }
            Purpose::Owner { exponent, said, .. } => self.take_finger(exponent, self.table.peer(said), cx),
            _ => {}
        }
    }

    /// A lookup ended, with the owner and those after it.
    pub(super) fn found(&mut self, ticket: Ticket, set: &[Name], cx: &mut Context<'_, Chord>) {
        match (self.take(ticket), set.first().copied()) {
            (Some(Purpose::Entry), Some(owner)) if owner != self.name() => self.ask_closer(owner, cx),
            // The other seeds are tried at once, then again after a while.
            (Some(Purpose::Entry), None) if self.more_seeds() => self.try_to_join(cx),
            (Some(Purpose::Finger(exponent)), Some(owner)) => {
                let owner = self.table.peer(owner);
                self.take_finger(exponent, owner, cx);
                if self.config.choice() == Choice::Near {
                    self.measure(owner, set, cx);
                }
            }
            (Some(Purpose::Finger(exponent)), None) => self.fix_finger(exponent + 1, cx),
            _ => {}
        }
    }

    fn more_seeds(&self) -> bool {
        self.stage != Stage::Following && !(self.tries as usize).is_multiple_of(self.seeds.len())
    }
}

/// How many seeds are remembered: more would not make a failed join likelier to succeed.
pub(super) const MAX_SEEDS: usize = 16;
/// One round in so many looks the fingers up by way of others. Our choice: with a round every two minutes nobody stays a
/// finger on its own word for more than ten.
pub(super) const LOOKED_UP: u32 = 4;
/// How many who could be a finger are measured at the same time: those of one finger.
pub(super) const MAX_MEASURED: usize = MAX_PROXIMITY;
/// How many whom a list passed over are asked at the same time: as many as a list of the usual length has.
pub(super) const MAX_PASSED: usize = 16;
/// How long the first wait for a seed is; our choice, about a dial that fails.
const RETRY: core::time::Duration = core::time::Duration::from_secs(3);
/// How often the wait doubles: up to about a minute and a half.
const MAX_DOUBLINGS: u32 = 5;

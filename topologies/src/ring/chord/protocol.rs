//! How a node comes onto the ring, keeps its place in it, and goes.

use polymorph_core::Guid;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Change, Ticket, Via};
use polymorph_core::topology::question::Target;

use super::super::links::Holds;
use super::table::Table;
use super::{Awaited, Chord, Message, Stage, Timer};

impl Chord {
    // Coming.

    /// The first node is its own ring. Everybody else looks its place up through a seed. A node that already has
    /// its place only takes up the work.
    pub(super) fn join(&mut self, seeds: Vec<Guid>, cx: &mut Context<'_, Self>) {
        self.seeds = seeds.into_iter().filter(|seed| *seed != cx.me()).take(MAX_SEEDS).collect();
        if self.stage == Stage::Out && !self.seeds.is_empty() {
            self.stage = Stage::Joining;
            return self.try_seed(cx);
        }
        Holds::of(&self.table.neighbors()).want(cx);
        self.enter(cx);
    }

    /// Looks for a way in, again and again until there is one, ever more slowly.
    pub(super) fn try_seed(&mut self, cx: &mut Context<'_, Self>) {
        let alone = self.table.head().is_none();
        if self.stage == Stage::Out || !alone || self.seeds.is_empty() {
            return;
        }
        let seed = self.seeds[self.tries as usize % self.seeds.len()];
        self.tries += 1;
        let ticket = cx.lookup_via(seed, Target::Key(self.table.mine()), 1);
        self.expect(ticket, Awaited::Entry);
        let wait = cx.jitter(RETRY * 2u32.pow(self.tries.min(MAX_DOUBLINGS)), 0.3);
        cx.set(Timer::Join, wait);
    }

    /// This node is on the ring.
    fn enter(&mut self, cx: &mut Context<'_, Self>) {
        self.stage = Stage::In;
        cx.change(Change::Range);
        // Nodes that came at the same moment do not work at the same moment.
        let (stabilize, fix) = (cx.jitter(self.config.stabilize / 2, 1.0), cx.jitter(self.config.fix_fingers / 2, 1.0));
        cx.set(Timer::Stabilize, stabilize);
        cx.set(Timer::FixFingers, fix);
    }

    // Going.

    pub(super) fn leave(&mut self, cx: &mut Context<'_, Self>) {
        let predecessor = self.table.predecessor().map(|peer| peer.guid);
        let head = self.table.head().map(|peer| peer.guid);
        for side in predecessor.into_iter().chain(head.filter(|head| Some(*head) != predecessor)) {
            let successors = self.table.successors().iter().map(|peer| peer.guid).collect();
            // Whoever cannot be told now finds out by itself.
            let _ = cx.send(side, Message::Leaving { predecessor, successors });
        }
        self.stage = Stage::Out;
        self.awaited.clear();
        self.edit(cx, Table::clear);
        [Timer::Stabilize, Timer::FixFingers, Timer::Join].into_iter().for_each(|timer| cx.cancel(timer));
    }

    /// A neighbor leaves and says who its neighbors were: they are this node's now.
    fn left(&mut self, from: Guid, predecessor: Option<Guid>, successors: &[Guid], cx: &mut Context<'_, Self>) {
        let (head, before) = (self.table.head(), self.table.predecessor());
        let me = cx.me();
        self.gone(from, cx);
        if let Some(before) = before.filter(|before| before.guid == from)
            && let Some(peer) = predecessor.filter(|peer| *peer != me && *peer != from)
        {
            let peer = self.table.peer(peer);
            if peer.at < before.at && self.table.is_later(&peer) {
                self.heard = cx.now();
                self.edit(cx, |table| table.set_predecessor(Some(peer)));
            }
        }
        if let Some(head) = head.filter(|head| head.guid == from)
            && let Some((&next, rest)) = successors.split_first().filter(|(next, _)| **next != me)
        {
            let next = self.table.peer(next);
            if next.at > head.at && self.table.head().is_none_or(|present| next.at <= present.at) {
                self.adopt(next.guid, rest, cx);
                self.ask_head(cx);
            }
        }
    }

    // Keeping one's place.

    /// Zave's StabilizeFromSuccessor begins, and the predecessor is checked if it has been silent.
    pub(super) fn stabilize(&mut self, cx: &mut Context<'_, Self>) {
        let wait = cx.jitter(self.config.stabilize, 0.2);
        cx.set(Timer::Stabilize, wait);
        self.ask_head(cx);
        let silent = cx.now().since(self.heard) > 2 * self.config.stabilize;
        if let Some(predecessor) = self.table.predecessor().filter(|_| silent) {
            let ticket = cx.call(predecessor.guid, Message::Ping);
            self.expect(ticket, Awaited::Predecessor(None));
        }
    }

    pub(super) fn ask_head(&mut self, cx: &mut Context<'_, Self>) {
        if let Some(head) = self.table.head().filter(|_| self.stage == Stage::In) {
            let ticket = cx.call(head.guid, Message::Ask);
            self.expect(ticket, Awaited::Head);
        }
    }

    fn ask_closer(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        let ticket = cx.call(peer, Message::Ask);
        self.expect(ticket, Awaited::Closer);
    }

    /// The first successor, or somebody who stands before it, answered: its list is taken over as a whole, with
    /// itself before it. If it knows somebody nearer to this node, that one is asked next.
    fn settle(&mut self, from: Guid, predecessor: Option<Guid>, successors: &[Guid], cx: &mut Context<'_, Self>) {
        let (me, head) = (cx.me(), self.table.peer(from));
        if !self.table.is_closer(&head) && self.table.head() != Some(head) {
            return;
        }
        self.adopt(from, successors, cx);
        let before = predecessor.filter(|peer| *peer != me).map(|peer| self.table.peer(peer));
        let nearer = before.filter(|before| self.table.is_closer(before));
        if self.stage == Stage::Joining {
            // Whoever stood alone is on both sides of a newcomer.
            let before = if successors.is_empty() { Some(head) } else { before.filter(|_| nearer.is_none()) };
            self.edit(cx, |table| table.set_predecessor(before));
            self.heard = cx.now();
            self.enter(cx);
            self.fix_fingers(cx);
        }
        match nearer {
            Some(nearer) => self.ask_closer(nearer.guid, cx),
            None if predecessor != Some(me) => drop(cx.send(from, Message::Notify)),
            None => {}
        }
    }

    fn adopt(&mut self, head: Guid, rest: &[Guid], cx: &mut Context<'_, Self>) {
        let list = self.table.list(self.table.peer(head), rest);
        if list != self.table.successors() {
            self.edit(cx, |table| table.adopt(list));
        }
    }

    /// Zave's Rectify: whoever notifies becomes the predecessor if it stands nearer than the old one, or if the old
    /// one does not answer.
    fn rectify(&mut self, from: Guid, cx: &mut Context<'_, Self>) {
        let peer = self.table.peer(from);
        let old = self.table.predecessor().filter(|old| old.guid != from);
        if self.table.is_later(&peer) {
            self.heard = cx.now();
            self.edit(cx, |table| table.set_predecessor(Some(peer)));
            if let Some(old) = old {
                let _ = cx.send(old.guid, Message::Between);
            }
        } else if let Some(old) = old {
            let ticket = cx.call(old.guid, Message::Ping);
            self.expect(ticket, Awaited::Predecessor(Some(from)));
        }
        if self.table.head().is_none() {
            self.ask_closer(from, cx);
        }
    }

    /// Somebody does not answer, or left.
    pub(super) fn gone(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if self.stage == Stage::Out || !self.table.knows(&peer) {
            return;
        }
        let head = self.table.head();
        self.edit(cx, |table| table.remove(&peer));
        match self.table.head() {
            None => {
                self.tries = 0;
                cx.set(Timer::Join, RETRY);
            }
            new if new != head => self.ask_head(cx),
            _ => {}
        }
    }

    // Fingers.

    /// Looks all fingers up, one after the other.
    pub(super) fn fix_fingers(&mut self, cx: &mut Context<'_, Self>) {
        let wait = cx.jitter(self.config.fix_fingers, 0.2);
        cx.set(Timer::FixFingers, wait);
        self.fix_finger(0, cx);
    }

    fn fix_finger(&mut self, from: u32, cx: &mut Context<'_, Self>) {
        if let Some(exponent) = self.table.exponent_from(from).filter(|_| self.stage == Stage::In) {
            let ticket = cx.lookup(Target::Key(self.table.mine().plus_power(exponent)), 1);
            self.expect(ticket, Awaited::Finger(exponent));
        }
    }

    // What comes in.

    pub(super) fn message(&mut self, from: Guid, message: Message, via: &Via<Self>, cx: &mut Context<'_, Self>) {
        if self.table.predecessor().is_some_and(|predecessor| predecessor.guid == from) {
            self.heard = cx.now();
        }
        match (message, via) {
            (Message::Ping, Via::Call(call)) => cx.reply(*call, Message::Pong),
            (Message::Ask, Via::Call(call)) if self.stage == Stage::In => cx.reply(*call, self.state()),
            (Message::Ask, Via::Call(call)) => cx.reply(*call, Message::Absent),
            _ if self.stage != Stage::In || from == cx.me() => {}
            (Message::Notify, _) => self.rectify(from, cx),
            (Message::Between, _) if self.table.head().is_some_and(|head| head.guid == from) => self.ask_head(cx),
            (Message::Leaving { predecessor, successors }, _) => self.left(from, predecessor, &successors, cx),
            _ => {}
        }
    }

    fn state(&self) -> Message {
        Message::State {
            predecessor: self.table.predecessor().map(|peer| peer.guid),
            successors: self.table.successors().iter().map(|peer| peer.guid).collect(),
        }
    }

    pub(super) fn reply(&mut self, ticket: Ticket, from: Guid, message: Message, cx: &mut Context<'_, Self>) {
        let Some(awaited) = self.take(ticket) else { return };
        match (awaited, message) {
            (Awaited::Head | Awaited::Closer, Message::State { predecessor, successors }) => {
                self.settle(from, predecessor, &successors, cx);
            }
            (Awaited::Predecessor(_), Message::Pong) => self.heard = cx.now(),
            (awaited, _) => self.silent(awaited, from, cx),
        }
    }

    pub(super) fn failed(&mut self, ticket: Ticket, peer: Guid, cx: &mut Context<'_, Self>) {
        if let Some(awaited) = self.take(ticket) {
            self.silent(awaited, peer, cx);
        }
    }

    /// No answer, or one that is none.
    fn silent(&mut self, awaited: Awaited, peer: Guid, cx: &mut Context<'_, Self>) {
        self.gone(peer, cx);
        match awaited {
            Awaited::Predecessor(Some(other)) => self.rectify(other, cx),
            // The successor believes in a predecessor that does not answer: it is told to look.
            Awaited::Closer if self.stage == Stage::In => {
                if let Some(head) = self.table.head() {
                    let _ = cx.send(head.guid, Message::Notify);
                }
            }
            _ => {}
        }
    }

    pub(super) fn found(&mut self, ticket: Ticket, owner: Option<Guid>, cx: &mut Context<'_, Self>) {
        match (self.take(ticket), owner) {
            (Some(Awaited::Entry), Some(owner)) if owner != cx.me() => self.ask_closer(owner, cx),
            // The other seeds are tried at once, then again after a while.
            (Some(Awaited::Entry), None) if !(self.tries as usize).is_multiple_of(self.seeds.len()) => {
                self.try_seed(cx)
            }
            (Some(Awaited::Finger(exponent)), Some(owner)) => {
                let owner = self.table.peer(owner);
                let next = self.edit(cx, |table| table.set_finger(exponent, owner));
                self.fix_finger(next, cx);
            }
            (Some(Awaited::Finger(exponent)), None) => self.fix_finger(exponent + 1, cx),
            _ => {}
        }
    }

    // Bookkeeping.

    /// An answer will come. Of each kind only the last one counts.
    fn expect(&mut self, ticket: Ticket, awaited: Awaited) {
        let kind = core::mem::discriminant(&awaited);
        self.awaited.retain(|(_, other)| core::mem::discriminant(other) != kind);
        self.awaited.push((ticket, awaited));
    }

    fn take(&mut self, ticket: Ticket) -> Option<Awaited> {
        let index = self.awaited.iter().position(|(awaited, _)| *awaited == ticket)?;
        Some(self.awaited.swap_remove(index).1)
    }

    /// Changes the table, then the links, and says what changed.
    fn edit<R>(&mut self, cx: &mut Context<'_, Self>, change: impl FnOnce(&mut Table) -> R) -> R {
        let (before, predecessor) = (Holds::of(&self.table.neighbors()), self.table.predecessor());
        let result = change(&mut self.table);
        before.become_of(&self.table.neighbors(), cx);
        if predecessor != self.table.predecessor() {
            cx.change(Change::Range);
        }
        result
    }
}

/// How many seeds are remembered: more would not make a failed join likelier to succeed.
pub(super) const MAX_SEEDS: usize = 16;
/// How long the first wait for a seed is; our choice, about a dial that fails.
const RETRY: core::time::Duration = core::time::Duration::from_secs(3);
/// How often the wait doubles: up to about a minute and a half.
const MAX_DOUBLINGS: u32 = 5;

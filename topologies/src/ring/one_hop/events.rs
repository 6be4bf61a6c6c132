//! How everybody hears of every coming and going once (EDRA; D1HT 2006, §4), and how a node comes and goes.

use core::time::Duration;

use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::Change;
use polymorph_core::{Guid, Time};

use super::super::prefix::Peer;
use super::doubt::is_newer;
use super::members::{PAGE, half};
use super::tell::MAX_LEFT;
use super::{Events, Message, OneHop, Purpose, Stage, Timer};

/// What was heard in this interval: of which life, and how far ahead this node tells it on.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) joined: Vec<(Peer, u8, u64)>,
    pub(super) left: Vec<(u64, u8, u64)>,
}

impl Heard {
    /// How many events there are.
    pub(super) fn len(&self) -> usize {
        self.joined.len() + self.left.len()
    }

    /// Somebody came: that is the last word on it.
    fn came(&mut self, peer: Peer, life: u8, reach: u64) {
        self.left.retain(|(at, ..)| *at != peer.at);
        match self.joined.iter_mut().find(|(other, ..)| other.at == peer.at) {
            Some((_, last, far)) => (*last, *far) = (life, reach.max(*far)),
            None => self.joined.push((peer, life, reach)),
        }
    }

    /// Somebody went: that is the last word on it.
    fn went(&mut self, at: u64, life: u8, reach: u64) {
        self.joined.retain(|(peer, ..)| peer.at != at);
        match self.left.iter_mut().find(|(other, ..)| *other == at) {
            Some((_, last, far)) => (*last, *far) = (life, reach.max(*far)),
            None => self.left.push((at, life, reach)),
        }
    }
}

impl OneHop {
    // Coming and going.

    /// The first node is in at once. A node that is already in only takes up the work.
    pub(super) fn join(&mut self, seeds: Vec<Guid>, cx: &mut Context<'_, Self>) {
        self.seeds = seeds.into_iter().filter(|seed| *seed != cx.me()).take(MAX_SEEDS).collect();
        if self.stage == Stage::Out && !self.seeds.is_empty() {
            self.stage = Stage::Joining;
            return self.try_seed(cx);
        }
        let me = self.peer(cx.me());
        self.members.insert(me);
        self.enter(cx);
    }

    pub(super) fn try_seed(&mut self, cx: &mut Context<'_, Self>) {
        let alone = self.stage == Stage::Joining || self.members.len() <= 1;
        if self.stage == Stage::Out || !alone || self.seeds.is_empty() {
            return;
        }
        let seed = self.seeds[self.tries as usize % self.seeds.len()];
        self.tries += 1;
        self.calls.clear();
        self.calls.ask(seed, Message::First(self.mine), Purpose::Place, cx);
        let wait = cx.jitter(RETRY * 2u32.pow(self.tries.min(MAX_DOUBLINGS)), 0.3);
        cx.set(Timer::Join, wait);
    }

    fn enter(&mut self, cx: &mut Context<'_, Self>) {
        self.stage = Stage::In;
        self.tries = 0;
        self.sign = cx.now();
        self.hold(cx);
        cx.change(Change::Range);
        let wait = cx.jitter(self.interval(cx.now()), 0.9);
        cx.set(Timer::Interval, wait);
    }

    pub(super) fn leave(&mut self, cx: &mut Context<'_, Self>) {
        if let Some(next) = self.members.after(self.mine).filter(|_| self.stage == Stage::In) {
            // Whoever cannot be told now finds out by itself.
            let _ = cx.send(next.guid, Message::Leaving);
        }
        core::mem::take(&mut self.held).into_iter().for_each(|held| cx.unwant(held));
        self.links.clear();
        self.stage = Stage::Out;
        self.members.clear();
        self.calls.clear();
        self.heard = Heard::default();
        self.past.clear();
        [Timer::Interval, Timer::Join].into_iter().for_each(|timer| cx.cancel(timer));
    }

    /// A page of a newcomer's table: those who stand after a point. After the last one it is in.
    fn page(&mut self, mut last: u64, peers: &[Guid], cx: &mut Context<'_, Self>) {
        let me = self.peer(cx.me());
        self.members.insert(me);
        let mut wrapped = peers.is_empty();
        for &guid in peers.iter().take(PAGE) {
            let peer = self.peer(guid);
            // Clockwise of this node everybody stands farther than whoever was named before.
            wrapped |= self.far(peer.at) <= self.far(last);
            last = peer.at;
            self.members.insert(peer);
        }
        let more = !wrapped && peers.len() + 1 >= PAGE;
        if !more || !self.ask_for_page(last, cx) {
            self.enter(cx);
        }
    }

    fn ask_for_page(&mut self, last: u64, cx: &mut Context<'_, Self>) -> bool {
        let source = self.members.after(self.mine);
        source.is_some_and(|source| self.calls.ask(source.guid, Message::Ask(last), Purpose::Page(last), cx))
    }

    // What is heard.

    /// Somebody is there whom this node does not know: a newcomer, or one that was thought gone. If it stands right
    /// before this node it is this node's to tell of.
    pub(super) fn met(&mut self, from: Guid, cx: &mut Context<'_, Self>) {
        let peer = self.peer(from);
        if self.members.get(peer.at).is_none() {
            let between = self.members.before(self.mine).filter(|before| self.far(before.at) > self.far(peer.at));
            if between.is_none() { self.came(from, cx) } else { self.found(peer, cx) }
        }
    }

    /// Somebody tells events on: the table changes, and what is new is told on.
    pub(super) fn hear(&mut self, from: Guid, events: &Events, cx: &mut Context<'_, Self>) {
        if events.joined.len() > PAGE || events.left.len() > MAX_LEFT {
            return cx.blame(from, "more events than a message holds");
        }
        let sender = self.peer(from).at;
        for joined in &events.joined {
            let Some(reach) = self.reach(joined.until, sender) else { return self.oversteps(from, cx) };
            self.hear_coming(self.peer(joined.peer), joined.life, reach, cx);
        }
        for left in &events.left {
            let Some(reach) = self.reach(left.until, sender) else { return self.oversteps(from, cx) };
            self.hear_going(left.at, left.life, reach, cx);
        }
    }

    /// How far ahead this node tells an event on. Whoever told it has no more to give than the ring up to itself.
    fn reach(&self, until: u32, sender: u64) -> Option<u64> {
        let reach = if until == half(self.mine) { 0 } else { self.far(u64::from(until) << 32) };
        (reach <= self.far(sender)).then_some(reach)
    }

    fn oversteps(&mut self, from: Guid, cx: &mut Context<'_, Self>) {
        cx.blame(from, "events for more than the ring");
    }

    fn hear_coming(&mut self, peer: Peer, life: u8, reach: u64, cx: &mut Context<'_, Self>) {
        if peer.at == self.mine {
            // It was on its way when this node was told all.
        } else if self.members.get(peer.at).is_some() {
            // Known already, unless it was found by chance or refutes that it went.
            let refutes = is_newer(life, self.past.life(peer.at));
            if refutes {
                self.past.came(peer.at, life, false);
            }
            if refutes || self.past.told(peer.at) {
                self.tell_on_coming(peer, life, reach, cx.now());
            }
        } else if self.past.is_over(peer.at, life, cx.now()) {
            cx.doubt(OVER);
        } else if self.add(peer, cx) {
            // Who was told out of turn is told again, and then tells on.
            self.past.came(peer.at, life, reach == 0);
            self.tell_on_coming(peer, life, reach, cx.now());
            if self.is_beside(peer.at) {
                // Of whoever stands beside it a node knows first: it asks.
                self.suspect(peer.guid, cx);
            }
        }
    }

    fn hear_going(&mut self, at: u64, life: u8, reach: u64, cx: &mut Context<'_, Self>) {
        if at == self.mine {
            // Somebody thinks that this node is gone: it says that it is not.
            if !is_newer(self.life, life) {
                self.life = life.wrapping_add(1);
                let me = self.peer(cx.me());
                self.tell_on_coming(me, self.life, u64::MAX, cx.now());
            }
        } else if let Some(peer) = self.members.get(at) {
            if is_newer(self.past.life(at), life) {
                cx.doubt(OVER);
            } else if self.is_beside(at) {
                self.ask_the_dead(peer, life, cx);
            } else {
                self.take_out(at, cx);
                self.past.went(at, life, cx.now(), reach == 0);
                self.tell_on_going(at, life, reach, cx.now());
            }
        } else if self.past.told(at) {
            self.tell_on_going(at, life, reach, cx.now());
        } else if !self.past.is_over(at, life, cx.now()) {
            // A position nobody has, as far as this node heard: it goes no further.
            cx.doubt("the going of somebody who never was there");
        }
    }

    fn is_beside(&self, at: u64) -> bool {
        let beside = [self.members.after(self.mine), self.members.before(self.mine)];
        beside.into_iter().flatten().any(|peer| peer.at == at)
    }

    fn tell_on_coming(&mut self, peer: Peer, life: u8, reach: u64, now: Time) {
        self.news = now;
        self.heard.came(peer, life, reach);
    }

    fn tell_on_going(&mut self, at: u64, life: u8, reach: u64, now: Time) {
        self.news = now;
        self.heard.went(at, life, reach);
    }

    /// Somebody came, and this node is the first to know: it stands right after it. All up to the newcomer are told.
    pub(super) fn came(&mut self, guid: Guid, cx: &mut Context<'_, Self>) {
        let peer = self.peer(guid);
        if self.add(peer, cx) {
            let life = self.past.next_life(peer.at);
            self.past.came(peer.at, life, false);
            self.tell_on_coming(peer, life, self.far(peer.at), cx.now());
            self.fresh = Some((peer.at, cx.now()));
            self.bound(cx);
        }
    }

    /// Somebody was found to be there by chance: whoever stands after it tells all.
    fn found(&mut self, peer: Peer, cx: &mut Context<'_, Self>) {
        if self.add(peer, cx) {
            let life = self.past.next_life(peer.at);
            self.past.came(peer.at, life, true);
        }
    }

    /// Somebody went. Whoever stands right after it tells all up to where it stood; others wait to be told.
    pub(super) fn went(&mut self, at: u64, cx: &mut Context<'_, Self>) {
        let mine = self.members.before(self.mine).is_some_and(|previous| previous.at == at);
        if self.take_out(at, cx).is_some() {
            let life = self.past.life(at);
            self.past.went(at, life, cx.now(), !mine);
            if mine {
                self.sign = cx.now();
                self.tell_on_going(at, life, self.far(at), cx.now());
                self.take_over(cx);
                self.bound(cx);
            }
        }
    }

    /// Whoever went between the peer before this one and this one is this node's to tell of, though it found that out
    /// by chance.
    fn take_over(&mut self, cx: &mut Context<'_, Self>) {
        let mine = self.mine;
        let reach = self.members.before(mine).map_or(u64::MAX, |before| mine.wrapping_sub(before.at));
        for (at, life) in self.past.untold(|at| mine.wrapping_sub(at) < reach) {
            self.tell_on_going(at, life, self.far(at), cx.now());
        }
    }

    /// More events than an interval may hold are told at once.
    pub(super) fn bound(&mut self, cx: &mut Context<'_, Self>) {
        if self.heard.len() > MAX_HEARD {
            self.tell_all(cx);
        }
    }

    fn add(&mut self, peer: Peer, cx: &mut Context<'_, Self>) -> bool {
        self.edit(cx, |node| node.members.insert(peer).then_some((peer.guid, Change::NeighborUp(peer.guid)))).is_some()
    }

    fn take_out(&mut self, at: u64, cx: &mut Context<'_, Self>) -> Option<Guid> {
        let out = |node: &mut Self| node.members.remove(at).map(|peer| (peer.guid, Change::NeighborDown(peer.guid)));
        self.edit(cx, out)
    }

    /// Changes the table, then the two required links, and says what changed.
    fn edit(
        &mut self,
        cx: &mut Context<'_, Self>,
        change: impl FnOnce(&mut Self) -> Option<(Guid, Change)>,
    ) -> Option<Guid> {
        let before = self.members.before(self.mine);
        let (guid, changed) = change(self)?;
        cx.change(changed);
        // Each coming and going counts once, however often it is told.
        if self.rate.len() == MAX_RATE {
            self.rate.pop_front();
        }
        self.rate.push_back(cx.now());
        self.hold(cx);
        if self.members.before(self.mine) != before {
            cx.change(Change::Range);
        }
        Some(guid)
    }

    // Answers.

    pub(super) fn answered(&mut self, purpose: Purpose, from: Guid, message: Message, cx: &mut Context<'_, Self>) {
        match (purpose, message) {
            (_, Message::Absent) => self.unanswered(purpose, from, cx),
            (Purpose::Place, Message::Page(peers)) => {
                // Of the seed and those it names, whoever stands first after this node's place.
                let me = cx.me();
                let named = peers.iter().take(PAGE).chain([&from]).filter(|peer| **peer != me);
                let next = named.min_by_key(|peer| self.peer(**peer).at.wrapping_sub(self.mine));
                if let Some(&next) = next {
                    self.calls.ask(next, Message::Enter, Purpose::Enter, cx);
                }
            }
            (Purpose::Enter | Purpose::Page(_), Message::Page(peers)) => {
                let source = self.peer(from);
                self.members.insert(source);
                let after = if let Purpose::Page(after) = purpose { after } else { self.mine };
                // Whoever is in already was alone, and is no longer.
                if self.stage == Stage::Joining || purpose == Purpose::Enter {
                    self.page(after, &peers, cx);
                }
            }
            (Purpose::Compare(at), Message::Heads(heads)) => self.compared(from, at, &heads, cx),
            (Purpose::Who, Message::Page(peers)) => self.named(peers, cx),
            (Purpose::Suspect(_), Message::Pong) => {
                let peer = self.peer(from);
                self.found(peer, cx);
            }
            _ => {}
        }
    }

    /// No answer, or one that is none. Events that did not arrive go to the next peer after.
    pub(super) fn unanswered(&mut self, purpose: Purpose, peer: Guid, cx: &mut Context<'_, Self>) {
        match purpose {
            Purpose::Place | Purpose::Enter if (self.tries as usize) < self.seeds.len() => self.try_seed(cx),
            Purpose::Page(after) => {
                // The rest is read from whoever stands after.
                let gone = self.peer(peer).at;
                self.members.remove(gone);
                self.ask_for_page(after, cx);
            }
            Purpose::Suspect(_) => self.went(self.peer(peer).at, cx),
            Purpose::Place | Purpose::Enter | Purpose::Compare(_) | Purpose::Who => {}
        }
    }
}

/// Why what late peers tell is refused.
const OVER: &str = "an event of a life that is over";
/// How many events an interval may hold: a twentieth of ten thousand peers coming and going at once.
pub(super) const MAX_HEARD: usize = 512;
/// How many events the rate is reckoned from.
pub(super) const MAX_RATE: usize = 64;
/// How many seeds are remembered: more would not make a failed join likelier to succeed.
pub(super) const MAX_SEEDS: usize = 16;
/// How long the first wait for a seed is.
const RETRY: Duration = Duration::from_secs(5);
/// How often the wait doubles: up to about three minutes.
const MAX_DOUBLINGS: u32 = 5;

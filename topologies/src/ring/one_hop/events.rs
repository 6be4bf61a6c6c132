//! How everybody hears of every coming and going once (EDRA; D1HT 2006, §4), and how a node comes and goes.

use core::time::Duration;
use std::collections::VecDeque;

use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Change, Ticket};
use polymorph_core::topology::question::Hold;
use polymorph_core::{Guid, Time};

use super::super::prefix::Peer;
use super::members::{HEADS, PAGE, half};
use super::{Events, Message, OneHop, Purpose, Stage, Timer};

/// What was heard in this interval, with the numbers that say whom it is told on to.
#[derive(Debug, Default)]
pub(super) struct Heard {
    joined: Vec<(Peer, u8)>,
    left: Vec<(u64, u8)>,
}

impl Heard {
    /// How many events there are.
    pub(super) fn len(&self) -> usize {
        self.joined.len() + self.left.len()
    }

    /// Somebody came: that is the last word on it.
    fn came(&mut self, peer: Peer, ttl: u8) {
        self.left.retain(|(at, _)| *at != peer.at);
        match self.joined.iter_mut().find(|(other, _)| other.at == peer.at) {
            Some((_, told)) => *told = ttl.max(*told),
            None => self.joined.push((peer, ttl)),
        }
    }

    /// Somebody went: that is the last word on it.
    fn went(&mut self, at: u64, ttl: u8) {
        self.joined.retain(|(peer, _)| peer.at != at);
        match self.left.iter_mut().find(|(other, _)| *other == at) {
            Some((_, told)) => *told = ttl.max(*told),
            None => self.left.push((at, ttl)),
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
        for beside in [self.members.after(self.mine), self.members.before(self.mine)].into_iter().flatten() {
            cx.want(beside.guid, Hold::Required);
        }
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
        self.calls.ask(seed, Message::Ask(self.mine), Purpose::Place, cx);
        let wait = cx.jitter(RETRY * 2u32.pow(self.tries.min(MAX_DOUBLINGS)), 0.3);
        cx.set(Timer::Join, wait);
    }

    fn enter(&mut self, cx: &mut Context<'_, Self>) {
        self.stage = Stage::In;
        self.tries = 0;
        self.sign = cx.now();
        cx.change(Change::Range);
        let wait = cx.jitter(self.interval(cx.now()), 0.9);
        cx.set(Timer::Interval, wait);
    }

    pub(super) fn leave(&mut self, cx: &mut Context<'_, Self>) {
        if let Some(next) = self.members.after(self.mine).filter(|_| self.stage == Stage::In) {
            // Whoever cannot be told now finds out by itself.
            let _ = cx.send(next.guid, Message::Leaving);
            cx.unwant(next.guid);
        }
        if let Some(previous) = self.members.before(self.mine) {
            cx.unwant(previous.guid);
        }
        self.stage = Stage::Out;
        self.members.clear();
        self.calls.clear();
        self.heard = Heard::default();
        self.went.clear();
        [Timer::Interval, Timer::Join].into_iter().for_each(|timer| cx.cancel(timer));
    }

    /// The next page of a newcomer's table; after the last one it is in.
    fn page(&mut self, from: Guid, peers: &[Guid], cx: &mut Context<'_, Self>) {
        let me = self.peer(cx.me());
        let mut last = self.peer(from).at;
        self.members.insert(me);
        let mut wrapped = peers.is_empty();
        for &guid in peers.iter().take(PAGE) {
            let peer = self.peer(guid);
            // Clockwise of this node everybody stands farther than whoever was named before.
            wrapped |= peer.at.wrapping_sub(self.mine) < last.wrapping_sub(self.mine);
            last = peer.at;
            self.members.insert(peer);
        }
        let source = self.members.after(self.mine).filter(|_| !wrapped && peers.len() + 1 >= PAGE);
        if source.is_none_or(|source| !self.calls.ask(source.guid, Message::Ask(last), Purpose::Page, cx)) {
            for beside in [self.members.after(self.mine), self.members.before(self.mine)].into_iter().flatten() {
                cx.want(beside.guid, Hold::Required);
            }
            self.enter(cx);
        }
    }

    // The interval.

    /// How often events may be told on: ρ.
    fn rho(&self) -> u8 {
        self.members.len().max(2).next_power_of_two().ilog2() as u8
    }

    /// How long events are kept: so long that the wanted share of entries is stale, at the rate at which peers came and
    /// went lately (FGCS 2015, equation 4: Θ = 4 f S / (16 + 3 ρ), where S is how long peers stay).
    fn interval(&self, now: Time) -> Duration {
        let mut lately = self.rate.iter().filter(|at| now.since(**at) < LATELY).peekable();
        let span = lately.peek().map_or(0.0, |first| now.since(**first).as_secs_f64());
        let count = lately.count();
        if count < 4 || span <= 0.0 {
            return self.config.interval;
        }
        let events_per_s = count as f64 / span;
        let stay = 2.0 * self.members.len() as f64 / events_per_s;
        let theta = 4.0 * self.config.stale * stay / (16.0 + 3.0 * f64::from(self.rho()));
        Duration::from_secs_f64(theta.clamp(SHORTEST.as_secs_f64(), self.config.interval.as_secs_f64()))
    }

    pub(super) fn interval_over(&mut self, cx: &mut Context<'_, Self>) {
        let interval = self.interval(cx.now());
        let wait = cx.jitter(interval, 0.1);
        cx.set(Timer::Interval, wait);
        if self.members.len() <= 1 {
            return self.try_seed(cx);
        }
        self.tell_all(cx);
        // Nothing came from the peer before: it is asked, since this node is the one to tell of its going.
        let silent = cx.now().since(self.sign) > 2 * self.config.interval.min(2 * interval) + SHORTEST;
        if let Some(previous) = self.members.before(self.mine).filter(|_| silent) {
            self.suspect(previous.guid, cx);
        }
    }

    /// Tells the peers 1, 2, 4 … places ahead what each is to know; the next one also when there is nothing.
    fn tell_all(&mut self, cx: &mut Context<'_, Self>) {
        let heard = core::mem::take(&mut self.heard);
        let digest = self.members.digest();
        for ttl in 0..self.rho() {
            let Some(target) = self.members.ahead(self.mine, 1 << ttl) else { continue };
            // Whoever stands between this node and the target is where the event's round began (rule 8).
            let reach = target.at.wrapping_sub(self.mine);
            let beyond = |at: u64| at.wrapping_sub(self.mine) > reach;
            let joined = heard.joined.iter().filter(|(peer, acked)| *acked > ttl && beyond(peer.at));
            let left = heard.left.iter().filter(|(at, acked)| *acked > ttl && beyond(*at));
            let joined: Vec<Guid> = joined.map(|(peer, _)| peer.guid).collect();
            let left: Vec<u64> = left.map(|(at, _)| *at).collect();
            if ttl > 0 && joined.is_empty() && left.is_empty() {
                continue;
            }
            let pages = joined.chunks(PAGE).len().max(left.len().div_ceil(MAX_LEFT)).max(1);
            for page in 0..pages {
                let of = |len: usize, size: usize| (page * size).min(len)..((page + 1) * size).min(len);
                let joined = joined[of(joined.len(), PAGE)].to_vec();
                let left = left[of(left.len(), MAX_LEFT)].to_vec();
                let events = Events { ttl, joined, left, digest };
                self.tell(target.guid, events, cx);
            }
        }
    }

    fn tell(&mut self, to: Guid, events: Events, cx: &mut Context<'_, Self>) {
        let ticket = cx.call(to, Message::Events(events.clone()));
        if self.telling.len() == MAX_TELLING {
            self.telling.pop_front();
        }
        self.telling.push_back((ticket, events));
    }

    /// What was told with this question.
    pub(super) fn told(&mut self, ticket: Ticket) -> Option<Events> {
        let index = self.telling.iter().position(|(told, _)| *told == ticket)?;
        self.telling.remove(index).map(|(_, events)| events)
    }

    /// What somebody did not hear goes to the next peer after, who tells it on to the same.
    pub(super) fn tell_next(&mut self, after: Guid, events: Events, cx: &mut Context<'_, Self>) {
        let at = self.peer(after).at;
        let next = self.members.from(at.wrapping_add(1)).next();
        let further = next.filter(|next| next.at.wrapping_sub(self.mine) > at.wrapping_sub(self.mine));
        if let Some(next) = further.filter(|_| self.stage == Stage::In) {
            self.tell(next.guid, events, cx);
        }
    }

    // What is heard.

    /// Somebody tells events on.
    pub(super) fn events(&mut self, from: Guid, events: &Events, cx: &mut Context<'_, Self>) {
        let sender = self.peer(from);
        if self.members.get(sender.at).is_none() {
            // A newcomer nobody has told of, or one that was thought gone.
            self.came(from, cx);
        }
        self.hear(events, cx);
        self.bound(cx);
        if events.ttl == 0 {
            self.compare(from, events.digest, cx);
        }
    }

    /// Changes the table; what is new is told on.
    pub(super) fn hear(&mut self, events: &Events, cx: &mut Context<'_, Self>) {
        let ttl = events.ttl.min(MAX_TTL);
        for &guid in events.joined.iter().take(PAGE) {
            let peer = self.peer(guid);
            if self.add(peer, cx) {
                self.heard.came(peer, ttl);
            }
        }
        for &at in events.left.iter().take(MAX_LEFT) {
            if at == self.mine {
                // Somebody thinks that this node is gone: it says that it is not.
                let me = self.peer(cx.me());
                self.heard.came(me, self.rho());
            } else if let Some(previous) = self.members.before(self.mine).filter(|previous| previous.at == at) {
                // Somebody else found it out first. This node is the one who tells all, and tells what it saw itself.
                self.suspect(previous.guid, cx);
            } else if self.take_out(at, cx).is_some() || self.told_fewer(at, ttl) {
                self.heard.went(at, ttl);
                self.remember(at, ttl);
            }
        }
    }

    /// Somebody came, and this node is the first to know: it stands right after it.
    pub(super) fn came(&mut self, guid: Guid, cx: &mut Context<'_, Self>) {
        let peer = self.peer(guid);
        if self.add(peer, cx) {
            self.heard.came(peer, self.rho());
            self.bound(cx);
        }
    }

    /// Somebody went. Whoever stands right after it is the one who tells all; others tell a few.
    pub(super) fn went(&mut self, at: u64, cx: &mut Context<'_, Self>) {
        let mine = self.members.before(self.mine).is_some_and(|previous| previous.at == at);
        if self.take_out(at, cx).is_some() {
            self.heard.went(at, if mine { self.rho() } else { NEARBY });
            if mine {
                self.sign = cx.now();
                self.take_over();
            } else {
                self.remember(at, NEARBY);
            }
            self.bound(cx);
        }
    }

    /// What was found out by chance was told to a few; what comes later from whoever tells all goes to more.
    fn told_fewer(&self, at: u64, ttl: u8) -> bool {
        self.went.iter().any(|(known, told)| *known == at && *told < ttl)
    }

    fn remember(&mut self, at: u64, ttl: u8) {
        self.went.retain(|(known, _)| *known != at);
        if self.went.len() == MAX_WENT {
            self.went.pop_front();
        }
        self.went.push_back((at, ttl));
    }

    /// Whoever went between the peer before this one and this one is this node's to tell of, though it found that out
    /// by chance.
    fn take_over(&mut self) {
        let (mine, rho) = (self.mine, self.rho());
        let reach = self.members.before(mine).map_or(u64::MAX, |before| mine.wrapping_sub(before.at));
        let between = |(at, ttl): &(u64, u8)| *ttl < rho && mine.wrapping_sub(*at) < reach;
        let (told, kept): (VecDeque<_>, _) = self.went.iter().partition(|went| between(went));
        self.went = kept;
        told.into_iter().for_each(|(at, _)| self.heard.went(at, rho));
    }

    /// More events than an interval may hold are told at once.
    fn bound(&mut self, cx: &mut Context<'_, Self>) {
        if self.heard.len() > MAX_HEARD {
            self.tell_all(cx);
        }
    }

    fn add(&mut self, peer: Peer, cx: &mut Context<'_, Self>) -> bool {
        self.went.retain(|(at, _)| *at != peer.at);
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
        let beside = |node: &Self| [node.members.after(node.mine), node.members.before(node.mine)];
        let before = beside(self);
        let (guid, changed) = change(self)?;
        cx.change(changed);
        // Each coming and going counts once, however often it is told.
        if self.rate.len() == MAX_RATE {
            self.rate.pop_front();
        }
        self.rate.push_back(cx.now());
        let after = beside(self);
        for old in before.into_iter().flatten().filter(|old| !after.contains(&Some(*old))) {
            cx.unwant(old.guid);
        }
        for new in after.into_iter().flatten().filter(|new| !before.contains(&Some(*new))) {
            cx.want(new.guid, Hold::Required);
        }
        if before[1] != after[1] {
            cx.change(Change::Range);
        }
        Some(guid)
    }

    // Doubt.

    /// Somebody may be gone: it is asked.
    pub(super) fn suspect(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if self.stage == Stage::In && self.members.get(self.peer(peer).at).is_some() {
            self.calls.ask(peer, Message::Ping, Purpose::Suspect(peer), cx);
        }
    }

    /// Tables that keep differing are compared, a page at a time: an event was lost.
    fn compare(&mut self, from: Guid, digest: u64, cx: &mut Context<'_, Self>) {
        self.differs = if digest == self.members.digest() { 0 } else { self.differs + 1 };
        if self.differs >= PATIENCE {
            self.differs = 0;
            let at = rand_core::Rng::next_u64(cx.rng());
            self.calls.ask(from, Message::Check(at), Purpose::Compare(at), cx);
        }
    }

    /// Whom another one knows after a point: those unknown there are asked whether they are there, those unknown here
    /// it is asked for.
    fn compared(&mut self, from: Guid, at: u64, theirs: &[u32], cx: &mut Context<'_, Self>) {
        let Some(last) = theirs.last() else { return };
        let span = last.wrapping_sub(half(at));
        let near = self.members.from(at).take(2 * HEADS);
        let mine: Vec<Peer> = near.take_while(|peer| half(peer.at).wrapping_sub(half(at)) <= span).collect();
        let unknown_there = mine.iter().filter(|peer| !theirs.contains(&half(peer.at)) && peer.at != self.mine);
        for peer in unknown_there.take(MAX_DOUBTS).map(|peer| peer.guid).collect::<Vec<_>>() {
            self.calls.ask_in_turn(peer, Message::Ping, Purpose::Suspect(peer), cx);
        }
        let unknown_here = theirs.iter().filter(|head| !mine.iter().any(|peer| half(peer.at) == **head));
        let unknown_here: Vec<u32> = unknown_here.take(MAX_DOUBTS).copied().collect();
        if !unknown_here.is_empty() {
            self.calls.ask(from, Message::Who(unknown_here), Purpose::Who, cx);
        }
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
            (Purpose::Enter | Purpose::Page, Message::Page(peers)) => {
                let source = self.peer(from);
                self.members.insert(source);
                // Whoever is in already was alone, and is no longer.
                if self.stage == Stage::Joining || purpose == Purpose::Enter {
                    self.page(from, &peers, cx);
                }
            }
            (Purpose::Compare(at), Message::Heads(heads)) => self.compared(from, at, &heads, cx),
            (Purpose::Who, Message::Page(peers)) => {
                for peer in peers.into_iter().take(MAX_DOUBTS) {
                    self.calls.ask_in_turn(peer, Message::Ping, Purpose::Suspect(peer), cx);
                }
            }
            (Purpose::Suspect(_), Message::Pong) => {
                // An event was lost; those close by probably did not hear it either.
                let peer = self.peer(from);
                if self.add(peer, cx) {
                    self.heard.came(peer, NEARBY);
                }
            }
            _ => {}
        }
    }

    /// No answer, or one that is none. Events that did not arrive go to the next peer after.
    pub(super) fn unanswered(&mut self, purpose: Purpose, peer: Guid, cx: &mut Context<'_, Self>) {
        match purpose {
            Purpose::Place | Purpose::Enter if (self.tries as usize) < self.seeds.len() => self.try_seed(cx),
            Purpose::Page => {
                // The rest is read from whoever stands after.
                let gone = self.peer(peer).at;
                self.members.remove(gone);
                let last = self.members.before(self.mine).map_or(self.mine, |last| last.at);
                if let Some(next) = self.members.after(self.mine) {
                    self.calls.ask(next.guid, Message::Ask(last), Purpose::Page, cx);
                }
            }
            Purpose::Suspect(_) => self.went(self.peer(peer).at, cx),
            Purpose::Place | Purpose::Enter | Purpose::Compare(_) | Purpose::Who => {}
        }
    }
}

/// How many events an interval may hold: a twentieth of ten thousand peers coming and going at once.
pub(super) const MAX_HEARD: usize = 512;
/// How many goings one message tells: as many bytes as a page of comings.
const MAX_LEFT: usize = 256;
/// How much that was told may be unconfirmed: two intervals' worth.
pub(super) const MAX_TELLING: usize = 64;
/// How often anything may be told on: more would be an overlay of more peers than there are addresses.
const MAX_TTL: u8 = 32;
/// How often what was found out by chance is told on: to the seven next.
const NEARBY: u8 = 3;
/// How many goings are remembered, with how far they were told: of ten thousand peers who stay for an hour 2.8 go each
/// second, and all have heard of one after three intervals until it is noticed and fourteen on the way, 85 seconds.
/// What is forgotten too soon is not told on, and comes out when tables are compared.
pub(super) const MAX_WENT: usize = 256;
/// How many differences of one comparison are looked into.
const MAX_DOUBTS: usize = 16;
/// How many events the rate is reckoned from.
pub(super) const MAX_RATE: usize = 64;
/// What is longer ago says nothing of the rate at which peers come and go now.
const LATELY: Duration = Duration::from_secs(300);
/// The shortest interval: less would be no batch.
const SHORTEST: Duration = Duration::from_secs(1);
/// How many intervals in a row tables may differ; events on their way make them differ for log2 n intervals.
pub(super) const PATIENCE: u32 = 16;
/// How many seeds are remembered: more would not make a failed join likelier to succeed.
pub(super) const MAX_SEEDS: usize = 16;
/// How long the first wait for a seed is.
const RETRY: Duration = Duration::from_secs(5);
/// How often the wait doubles: up to about three minutes.
const MAX_DOUBLINGS: u32 = 5;

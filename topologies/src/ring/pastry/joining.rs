//! How a node comes in: first it looks for a near member, then that one leads it in.

use polymorph_core::Guid;
use polymorph_core::topology::Topology as _;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::Change;
use polymorph_core::topology::question::Target;

use super::super::links::Holds;
use super::table::{Micros, micros};
use super::{MAX_LEAF, MAX_PATH, Message, Pastry, Proximity, Purpose, Set, Stage, Timer};

/// How a newcomer looks for a near member (Castro et al. 2002, fig. 2): through the leaf set of a seed to the nearest of
/// it, then through its table, from the last row to the first, and through first rows until nobody is nearer.
#[derive(Debug)]
pub(super) struct Approach {
    best: Guid,
    rtt: Option<Micros>,
    /// What is asked for next.
    set: Set,
    /// Who is being measured.
    measuring: Vec<Guid>,
    /// Whether the last step led to somebody nearer.
    nearer: bool,
    /// Whether it was over a first row: there is nothing above it.
    last: bool,
    steps: u32,
}

impl Pastry {
    /// The first node is in at once. A node that is already in only takes up the work.
    pub(super) fn join(&mut self, seeds: Vec<Guid>, cx: &mut Context<'_, Self>) {
        self.seeds = seeds.into_iter().filter(|seed| *seed != cx.me()).take(MAX_SEEDS).collect();
        if self.stage == Stage::Out && !self.seeds.is_empty() {
            self.stage = Stage::Joining;
            return self.try_seed(cx);
        }
        Holds::of(&self.neighbors()).want(cx);
        self.enter(cx);
    }

    /// Looks for a way in, or back in, ever more slowly: through the seeds, then through whoever was lost last.
    pub(super) fn try_seed(&mut self, cx: &mut Context<'_, Self>) {
        let alone = self.stage == Stage::Joining || self.leafs.next().is_none();
        let ways = self.seeds.len() + self.lost.len();
        if self.stage == Stage::Out || !alone || ways == 0 {
            return;
        }
        if let Some((member, left)) = self.member.take().filter(|_| self.stage == Stage::Joining) {
            // What was sent may have been lost with its wire.
            return self.ask_in(member, left, cx);
        }
        let way = self.tries as usize % ways;
        self.tries += 1;
        let seed = self.seeds.iter().chain(self.lost.latest()).nth(way).copied();
        if let Some(seed) = seed {
            self.pass = rand_core::Rng::next_u64(cx.rng());
            self.approach = None;
            match self.config.proximity {
                // Where nearness does not count anybody will do.
                Proximity::None => return self.ask_in(seed, MAX_ASKS, cx),
                Proximity::Measured => self.approach_from(seed, cx),
            }
        }
        let wait = cx.jitter(RETRY * 2u32.pow(self.tries.min(MAX_DOUBLINGS)), 0.3);
        cx.set(Timer::Join, wait);
    }

    /// Nobody let this node in, perhaps because they are coming in themselves: the ways in are tried again soon.
    pub(super) fn try_again(&mut self, cx: &mut Context<'_, Self>) {
        let wait = cx.jitter(SOON * 2u32.pow(self.tries.min(MAX_DOUBLINGS)), 0.3);
        cx.set(Timer::Join, wait);
    }

    /// Asks a near member to lead this node in, and looks after a while whether it is.
    fn ask_in(&mut self, member: Guid, left: u32, cx: &mut Context<'_, Self>) {
        let _ = cx.send(member, Message::Enter(self.pass));
        self.member = left.checked_sub(1).map(|left| (member, left));
        let wait = cx.jitter(ASK_AGAIN, 0.3);
        cx.set(Timer::Join, wait);
    }

    fn approach_from(&mut self, seed: Guid, cx: &mut Context<'_, Self>) {
        self.calls.clear();
        let (set, nearer) = (Set::Leafs, true);
        self.approach =
            Some(Approach { best: seed, rtt: None, set, measuring: vec![seed], nearer, last: false, steps: 0 });
        self.call(seed, Message::Ask(set), Purpose::Approach(set), cx);
        self.call(seed, Message::Ping, Purpose::Measure { peer: seed, again: false }, cx);
    }

    /// The nearest so far named others: all of them are measured.
    pub(super) fn approach_answered(&mut self, set: Set, peers: &[Guid], cx: &mut Context<'_, Self>) {
        let me = cx.me();
        let Some(approach) = self.approach.as_mut().filter(|approach| approach.set == set) else { return };
        let at = |guid: &Guid| self.place.position(*guid);
        let row = peers.first().map_or(0, |peer| at(&approach.best).common_bits(&at(peer)) / self.config.base_bits);
        approach.set = if set == Set::Leafs { Set::Row(LAST_ROW) } else { Set::Row(row.saturating_sub(1) as u8) };
        approach.last = set != Set::Leafs && row == 0;
        approach.nearer = false;
        approach.steps += 1;
        let fresh: Vec<Guid> = peers.iter().copied().filter(|peer| *peer != me).take(MAX_NAMED).collect();
        approach.measuring.extend(&fresh);
        for peer in fresh {
            if !self.call(peer, Message::Ping, Purpose::Measure { peer, again: false }, cx) {
                self.approach_measured(peer, None, cx);
            }
        }
        self.approach_on(cx);
    }

    /// Somebody was measured, or does not answer.
    pub(super) fn approach_measured(&mut self, peer: Guid, rtt: Option<Micros>, cx: &mut Context<'_, Self>) {
        let Some(approach) = &mut self.approach else { return };
        approach.measuring.retain(|other| *other != peer);
        if let Some(rtt) = rtt
            && approach.rtt.is_none_or(|best| rtt < best)
        {
            approach.nearer |= approach.best != peer;
            (approach.best, approach.rtt) = (peer, Some(rtt));
        }
        self.approach_on(cx);
    }

    /// The next step, once all of the last one are measured.
    fn approach_on(&mut self, cx: &mut Context<'_, Self>) {
        let waits = self.calls.any(|purpose| matches!(purpose, Purpose::Approach(_)));
        let Some(approach) = self.approach.as_ref().filter(|approach| approach.measuring.is_empty() && !waits) else {
            return;
        };
        let (best, set) = (approach.best, approach.set);
        let over = approach.steps >= MAX_STEPS || approach.last && !approach.nearer;
        if over || !self.call(best, Message::Ask(set), Purpose::Approach(set), cx) {
            self.approach = None;
            self.ask_in(best, MAX_ASKS, cx);
            self.call(best, Message::Ask(Set::Near), Purpose::Nearer(best, Set::Near), cx);
        }
    }

    /// A newcomer wants to be led in: its way to its place begins here.
    pub(super) fn lead_in(&mut self, guid: Guid, pass: u64, cx: &mut Context<'_, Self>) {
        let to = Target::Key(self.place.position(guid));
        cx.route(to, Message::Newcomer { guid, pass, path: Vec::new() });
    }

    /// This node is the nearest to a newcomer: its leaf set is the newcomer's.
    pub(super) fn receive(&mut self, guid: Guid, pass: u64, mut path: Vec<Guid>, cx: &mut Context<'_, Self>) {
        if guid != cx.me() && path.len() < MAX_PATH {
            path.push(cx.me());
            let leafs = self.leafs.guids().into_iter().filter(|peer| *peer != guid).collect();
            // Whoever cannot be told now asks again.
            let _ = cx.send(guid, Message::Welcome { pass, path, leafs });
        }
    }

    /// This newcomer's leaf set is here. It is in from now on, and says so to everybody in it; whoever does not answer
    /// is put out again. Then it asks each hop of the way for the rows it can use: those of the digits they share,
    /// from the first hop the first rows, since that one is near (§2.4).
    pub(super) fn welcome(&mut self, from: Guid, pass: u64, path: &[Guid], leafs: &[Guid], cx: &mut Context<'_, Self>) {
        let waits = self.stage == Stage::Joining || self.stage == Stage::In && self.leafs.next().is_none();
        if !waits || pass != self.pass {
            return;
        }
        let me = cx.me();
        let before = Holds::of(&self.neighbors());
        for &guid in leafs.iter().take(MAX_LEAF).chain([&from]).filter(|guid| **guid != me) {
            self.leafs.insert(self.peer(guid));
        }
        before.become_of(&self.neighbors(), cx);
        self.pass = 0;
        self.member = None;
        self.tries = 0;
        self.enter(cx);
        for leaf in self.leafs.guids() {
            // Those beside it say who came at the same moment.
            if self.leafs.is_beside(&leaf) {
                self.say_here(leaf, cx);
            } else {
                self.call(leaf, Message::Met, Purpose::Leaf(leaf), cx);
            }
        }
        let mut row = 0;
        for &hop in path.iter().take(MAX_PATH).filter(|hop| **hop != me) {
            let shared = self.digits().shared(self.mine, self.peer(hop).at);
            self.consider(hop, cx);
            for set in (row..=shared).map(Set::Row) {
                self.call(hop, Message::Ask(set), Purpose::Nearer(hop, set), cx);
            }
            row = row.max(shared + 1);
        }
    }

    /// This node is in.
    fn enter(&mut self, cx: &mut Context<'_, Self>) {
        self.stage = Stage::In;
        self.heard = cx.now();
        self.salt = rand_core::Rng::next_u64(cx.rng());
        cx.change(Change::Range);
        // Nodes that came at the same moment do not work at the same moment.
        let (keepalive, maintain) = (cx.jitter(self.config.keepalive / 2, 1.0), cx.jitter(self.config.maintain, 0.5));
        cx.set(Timer::Keepalive, keepalive);
        if self.config.proximity == Proximity::Measured {
            cx.set(Timer::Maintain, maintain);
        }
    }

    /// A round trip, if it was measured.
    pub(super) fn rtt(&self, peer: &Guid, cx: &Context<'_, Self>) -> Option<Micros> {
        cx.facts(peer).rtt.map(micros)
    }
}

/// Asks for the last row there is.
const LAST_ROW: u8 = u8::MAX;
/// How many steps a search for a near member takes at most; in a million peers it has five rows to go through.
const MAX_STEPS: u32 = 12;
/// How many of those one peer names are looked at: a row of the largest digit but one.
const MAX_NAMED: usize = 64;
/// How many seeds are remembered: more would not make a failed join likelier to succeed.
pub(super) const MAX_SEEDS: usize = 16;
/// How long the first wait for a way in is. A search for a near member takes that long at a few hundred milliseconds
/// of round trip.
pub(super) const RETRY: core::time::Duration = core::time::Duration::from_secs(10);
/// How long it is when all ways in answered that they are none.
const SOON: core::time::Duration = core::time::Duration::from_secs(2);
/// How long a newcomer waits until it asks the same member again: a dial, and the way of its message.
const ASK_AGAIN: core::time::Duration = core::time::Duration::from_secs(4);
/// How often it does so.
const MAX_ASKS: u32 = 2;
/// How often the wait doubles: up to about five minutes.
const MAX_DOUBLINGS: u32 = 5;

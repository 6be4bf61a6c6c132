//! A topology small enough to reason about: everybody knows everybody, but messages go round the circle in steps of
//! at most two. It calls, sets timers, draws random numbers and tells of peers, so that all of these are in a trace.

use core::time::Duration;
use std::collections::BTreeMap;

use polymorph_core::overlay::Place;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Down, Event, Via};
use polymorph_core::topology::model::{Census, Claims, Model};
use polymorph_core::topology::question::{Hold, Neighbor, Powers, Query, Role, Route, Spread, Target, Verdict};
use polymorph_core::{Guid, Key, Topology};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    WhoIsThere,
    These(Vec<Guid>),
    Newcomer(Guid),
    /// What is skipped shows whether a frame was encoded on its way.
    Hello {
        count: u32,
        #[serde(skip)]
        by_hand: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) enum Clock {
    Ask,
    Greet,
}

/// How far one step goes, at most.
const STEP: usize = 2;

#[derive(Debug)]
pub(crate) struct Circle {
    pub(crate) place: Place,
    /// Everybody but this node.
    pub(crate) others: BTreeMap<Key, Guid>,
    pub(crate) joined: bool,
    pub(crate) seeds: Vec<Guid>,
    pub(crate) greeted: u32,
    /// Whether a greeting came that was never encoded.
    pub(crate) by_hand: bool,
    /// Counts of the last greeting of each, to see that nothing is overtaken.
    pub(crate) heard: BTreeMap<Guid, Vec<u32>>,
}

impl Circle {
    pub(crate) fn of(place: Place) -> Self {
        let (others, heard) = (BTreeMap::new(), BTreeMap::new());
        Self { place, others, joined: false, seeds: Vec::new(), greeted: 0, by_hand: false, heard }
    }

    pub(crate) fn knows(&self, guid: Guid) -> bool {
        self.others.values().any(|other| *other == guid)
    }

    fn clockwise(&self, from: Key) -> impl Iterator<Item = Guid> + '_ {
        let mine = self.place.mine();
        let all = self.others.range(from..).chain(self.others.range(..from));
        all.filter(move |(at, _)| **at != mine).map(|(_, peer)| *peer)
    }

    fn meet(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if peer != self.place.me && self.others.insert(self.place.position(peer), peer).is_none() {
            self.wants(cx);
        }
    }

    /// The next two firmly, all others loosely: of whomever it knows it is told when they are gone.
    fn wants(&self, cx: &mut Context<'_, Self>) {
        for (at, peer) in self.clockwise(self.place.mine()).enumerate() {
            cx.want(peer, if at < STEP { Hold::Required } else { Hold::Cached });
        }
    }

    fn lose(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        self.others.remove(&self.place.position(peer));
        self.wants(cx);
    }

    fn greet(&mut self, cx: &mut Context<'_, Self>) {
        self.greeted += 1;
        let others: Vec<Guid> = self.others.values().copied().collect();
        if let Some(&peer) = others.get(cx.pick(others.len())) {
            // Two at once, to see them arrive in order.
            for part in 0..2 {
                cx.send(peer, Word::Hello { count: 2 * self.greeted + part, by_hand: true }).expect("there is room");
            }
        }
        let next = cx.jitter(Duration::from_secs(5), 0.5);
        cx.set(Clock::Greet, next);
    }

    fn ask(&mut self, cx: &mut Context<'_, Self>) {
        if let Some(&seed) = self.seeds.get(cx.pick(self.seeds.len())) {
            cx.call(seed, Word::WhoIsThere);
        }
    }
}

impl Topology for Circle {
    type Address = Key;
    type Message = Word;
    type Timer = Clock;

    fn powers(&self) -> Powers {
        Powers { routes: true, spreads: true, degree: STEP, ..Powers::default() }
    }

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Join { seeds } => {
                self.seeds = seeds;
                self.joined = self.seeds.is_empty();
                self.ask(cx);
                self.wants(cx);
                let first = cx.jitter(Duration::from_secs(3), 0.5);
                cx.set(Clock::Greet, first);
            }
            Event::Leave => self.joined = false,
            Event::Timer(Clock::Ask) => self.ask(cx),
            Event::Timer(Clock::Greet) => self.greet(cx),
            Event::Message { from, message: Word::WhoIsThere, via: Via::Call(call), .. } => {
                let there = self.others.values().copied().collect();
                cx.reply(call, Word::These(there));
                let others: Vec<Guid> = self.others.values().copied().filter(|other| *other != from).collect();
                others.into_iter().for_each(|other| cx.send(other, Word::Newcomer(from)).expect("there is room"));
                self.meet(from, cx);
            }
            Event::Reply { from, message: Word::These(peers), .. } => {
                self.joined = true;
                peers.into_iter().chain([from]).for_each(|peer| self.meet(peer, cx));
            }
            Event::Message { message: Word::Newcomer(peer), .. } => self.meet(peer, cx),
            Event::Message { from, message: Word::Hello { count, by_hand }, .. } => {
                self.by_hand |= by_hand;
                self.heard.entry(from).or_default().push(count);
                self.meet(from, cx);
            }
            Event::Failed { .. } if !self.joined => {
                cx.set(Clock::Ask, Duration::from_secs(1));
            }
            Event::PeerDown { why: Down::Unwanted, .. } => {}
            Event::PeerDown { peer, .. } | Event::DialFailed { peer } | Event::Failed { peer, .. } => {
                self.lose(peer, cx);
            }
            _ => {}
        }
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        let all = self.others.values();
        all.map(|&peer| Neighbor { peer, role: Role::Peer, hold: Hold::Cached }).collect()
    }

    /// The owner is the first at or after the key; one step goes to the next or the one after.
    fn route(&self, query: &Query<'_, Self>, route: &mut Route) {
        if !self.joined {
            return;
        }
        let &(Target::Key(key) | Target::Address(key)) = query.to;
        let mine = self.place.mine();
        let owner = self.clockwise(key).find(|peer| query.allows(peer));
        let to_me = key.clockwise(&mine);
        let ahead = owner.is_none_or(|owner| to_me <= key.clockwise(&self.place.position(owner)));
        if ahead {
            route.verdict = Verdict::Deliver { rank: 0 };
            return;
        }
        route.verdict = Verdict::Forward;
        let span = mine.clockwise(&self.place.position(owner.unwrap_or(self.place.me)));
        let inside = |peer: &Guid| mine.clockwise(&self.place.position(*peer)) <= span && query.allows(peer);
        let mut steps: Vec<Guid> = self.clockwise(mine).take(STEP).filter(inside).collect();
        steps.reverse();
        let further = self.clockwise(mine).skip(STEP).filter(inside);
        route.peers.extend(steps.into_iter().chain(further).take(query.n));
    }

    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>) {
        if spread.from.is_none() {
            to.extend(self.others.values());
        }
    }
}

impl Model for Circle {
    type Config = ();

    fn new((): &(), place: Place) -> Self {
        Self::of(place)
    }

    fn claims((): &(), peers: usize) -> Claims {
        Claims { agreement: true, hops: Some(peers / STEP + 1), coverage: true, ..Claims::default() }
    }

    fn owner((): &(), all: &Census, to: &Target<Self>) -> Option<Guid> {
        let &(Target::Key(key) | Target::Address(key)) = to;
        all.ring.get(all.successor(&key)).map(|(_, peer)| *peer)
    }

    fn ideal(&mut self, (): &(), all: &Census) -> bool {
        self.others = all.ring.iter().copied().filter(|(_, peer)| *peer != self.place.me).collect();
        true
    }
}

//! A topology that keeps every law, and eleven ways to write it a little wrong, each of which breaks one law only.
//!
//! Everybody is on everybody's roll. Whoever joins asks a seed for the roll and wants a link to all on it; now and then
//! everybody asks somebody for theirs, and somebody it lost, so that what was torn comes together. Messages go
//! clockwise around the roll in steps that are powers of two; broadcasts go straight to all.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use polymorph_core::overlay::Place;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Change, Down, Event, Ticket, Via};
use polymorph_core::topology::model::{Census, Claims, Model};
use polymorph_core::topology::question::{Hold, Neighbor, Powers, Query, Role, Route, Spread, Target, Verdict};
use polymorph_core::{Distance, Guid, Key, Topology};
use polymorph_sim::laws::Law;
use serde::{Deserialize, Serialize};

/// How a roll is written: rightly, or with a flaw, named by the law that it breaks:
///
/// - Determinism: whom it asks depends on the order of a hash map.
/// - Agreement: for a fourth of the keys it takes itself for the owner.
/// - Progress: half of what begins here goes the wrong way first.
/// - Coverage: some peers are left out of broadcasts.
/// - Symmetry: some peers are not said to be neighbors, though they are.
/// - Healing: who vanished stays on the roll.
/// - CleanLeave: who left stays on the roll until it is asked something.
/// - Quiet: everybody asks somebody four times a second.
/// - BoundedState: everybody who was ever lost is remembered.
/// - Isolation: a node's overlays share one roll.
/// - Hostility: it believes that answers come to questions only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Config(pub(crate) Option<Law>);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    Ask,
    Roll(Vec<Guid>),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct AskAgain;

thread_local! {
    /// What all overlays of a node know, for the roll that is not isolated.
    static SHARED: RefCell<BTreeMap<Guid, BTreeSet<Guid>>> = const { RefCell::new(BTreeMap::new()) };
}

const PERIOD: Duration = Duration::from_secs(20);
const MAX_MEMBERS: usize = 64;
const MAX_LOST: usize = 8;
const MAX_SEEDS: usize = 4;

pub(crate) struct Roll {
    flaw: Option<Law>,
    place: Place,
    seeds: Vec<Guid>,
    /// Everybody by position, this node included once it has joined.
    members: BTreeMap<Key, Guid>,
    lost: VecDeque<Guid>,
    /// Questions on the way.
    asked: Vec<(Ticket, Guid)>,
}

impl Roll {
    fn is(&self, flaw: Law) -> bool {
        self.flaw == Some(flaw)
    }

    fn joined(&self) -> bool {
        self.members.contains_key(&self.place.mine())
    }

    fn others(&self) -> impl Iterator<Item = Guid> + '_ {
        self.members.values().copied().filter(|peer| *peer != self.place.me)
    }

    fn ask(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        let ticket = cx.call(peer, Word::Ask);
        if self.asked.len() < MAX_MEMBERS {
            self.asked.push((ticket, peer));
        }
    }

    fn answered(&mut self, ticket: Ticket) -> Option<Guid> {
        let at = self.asked.iter().position(|(asked, _)| *asked == ticket)?;
        Some(self.asked.swap_remove(at).1)
    }

    fn join(&mut self, seeds: Vec<Guid>, cx: &mut Context<'_, Self>) {
        self.seeds = seeds.into_iter().take(MAX_SEEDS).collect();
        if self.seeds.is_empty() {
            self.members.insert(self.place.mine(), self.place.me);
            cx.change(Change::Range);
        }
        for seed in self.seeds.clone() {
            self.ask(seed, cx);
        }
        cx.set(AskAgain, PERIOD);
    }

    fn ask_somebody(&mut self, cx: &mut Context<'_, Self>) {
        let mut known: Vec<Guid> = self.others().collect();
        if self.is(Law::Determinism) {
            known = known.into_iter().collect::<HashSet<_>>().into_iter().collect();
        }
        if known.is_empty() {
            known.clone_from(&self.seeds);
        }
        if let Some(peer) = known.get(cx.pick(known.len())) {
            self.ask(*peer, cx);
        }
        // Whoever was lost to a partition is still there.
        if let Some(peer) = self.lost.pop_front() {
            self.ask(peer, cx);
            self.forget(peer);
        }
        if self.is(Law::Isolation) {
            let known = SHARED.with_borrow(|shared| shared.get(&self.place.me).cloned().unwrap_or_default());
            self.members.extend(known.into_iter().map(|peer| (self.place.position(peer), peer)));
        }
        let wait = cx.jitter(if self.is(Law::Quiet) { PERIOD / 80 } else { PERIOD }, 0.5);
        cx.set(AskAgain, wait);
    }

    fn meet(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if !self.members.contains_key(&self.place.position(peer)) && self.members.len() < MAX_MEMBERS {
            cx.want(peer, Hold::Required);
        }
    }

    fn add(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if peer == self.place.me || self.members.len() >= MAX_MEMBERS {
            return;
        }
        self.lost.retain(|lost| *lost != peer);
        if self.members.insert(self.place.position(peer), peer).is_none() {
            cx.want(peer, Hold::Required);
            cx.change(Change::NeighborUp(peer));
        }
        if self.is(Law::Isolation) {
            SHARED.with_borrow_mut(|shared| shared.entry(self.place.me).or_default().insert(peer));
        }
    }

    fn remove(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if peer != self.place.me && self.members.remove(&self.place.position(peer)).is_some() {
            cx.unwant(peer);
            cx.change(Change::NeighborDown(peer));
            self.forget(peer);
            SHARED.with_borrow_mut(|shared| shared.get_mut(&self.place.me).map(|known| known.remove(&peer)));
        }
    }

    fn forget(&mut self, peer: Guid) {
        if self.lost.len() >= MAX_LOST && !self.is(Law::BoundedState) {
            self.lost.pop_front();
        }
        self.lost.push_back(peer);
    }

    /// Clockwise from this node to the owner, and who is that far on.
    fn step(&self, key: &Key, allowed: impl Fn(&Guid) -> bool) -> Option<(usize, Vec<Guid>)> {
        let mine = self.place.mine();
        let all = self.members.range(mine..).chain(self.members.range(..mine));
        let around: Vec<(Key, Guid)> =
            all.map(|(at, peer)| (*at, *peer)).filter(|(_, peer)| *peer == self.place.me || allowed(peer)).collect();
        let owner = around.iter().enumerate().min_by_key(|(_, (at, _))| key.clockwise(at))?.0;
        Some((owner, around.into_iter().map(|(_, peer)| peer).collect()))
    }
}

impl Topology for Roll {
    type Address = Key;
    type Message = Word;
    type Timer = AskAgain;

    fn powers(&self) -> Powers {
        Powers { routes: true, spreads: true, ..Powers::default() }
    }

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Join { seeds } => self.join(seeds, cx),
            Event::Leave => self.members.clear(),
            Event::Timer(AskAgain) => self.ask_somebody(cx),
            Event::Message { from, message: Word::Ask, via: Via::Call(call), .. } if self.joined() => {
                cx.reply(call, Word::Roll(self.others().filter(|peer| *peer != from).collect()));
            }
            Event::Reply { ticket, from, message: Word::Roll(peers), .. } => {
                let asked = self.answered(ticket);
                if self.is(Law::Hostility) {
                    assert_eq!(asked.expect("it was asked"), from);
                }
                if asked.is_some() {
                    self.members.insert(self.place.mine(), self.place.me);
                    peers.into_iter().chain([from]).for_each(|peer| self.meet(peer, cx));
                }
            }
            Event::Failed { ticket, peer } => {
                let asked = self.answered(ticket);
                if asked.is_some() && !self.is(Law::Healing) {
                    self.remove(peer, cx);
                }
            }
            Event::PeerUp { peer } => self.add(peer, cx),
            Event::PeerDown { why: Down::Left, .. } if self.is(Law::CleanLeave) => {}
            Event::PeerDown { peer, why: Down::Left } => self.remove(peer, cx),
            Event::PeerDown { .. } | Event::DialFailed { .. } if self.is(Law::Healing) => {}
            Event::PeerDown { peer, .. } | Event::DialFailed { peer } => self.remove(peer, cx),
            _ => {}
        }
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        let said = |peer: &Guid| !self.is(Law::Symmetry) || peer.0[0] % 4 != self.place.me.0[0] % 3;
        let all = self.others().filter(said);
        all.map(|peer| Neighbor { peer, role: Role::Peer, hold: Hold::Required }).collect()
    }

    fn route(&self, query: &Query<'_, Self>, route: &mut Route) {
        let &(Target::Key(key) | Target::Address(key)) = query.to;
        let Some((away, around)) = self.step(&key, |peer| query.allows(peer)).filter(|_| self.joined()) else { return };
        let mistaken = self.is(Law::Agreement) && key.0[0] % 4 == self.place.me.0[0] % 4;
        if away == 0 || mistaken {
            route.verdict = Verdict::Deliver { rank: 0 };
            return;
        }
        route.verdict = Verdict::Forward;
        let astray = self.is(Law::Progress) && query.from.is_none() && key.0[0] < 128;
        // The owner itself would be no detour.
        let detour = around.last().filter(|_| astray && away + 1 < around.len());
        let jump = if away.is_power_of_two() { away } else { away.next_power_of_two() / 2 };
        route.peers.extend(detour.or(around.get(jump)));
    }

    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>) {
        if spread.from.is_none() {
            to.extend(self.others().filter(|peer| !self.is(Law::Coverage) || peer.0[0] < 0xc0));
        }
    }

    fn distance(&self, to: &Target<Self>, peer: Guid) -> Distance {
        let &(Target::Key(key) | Target::Address(key)) = to;
        self.place.position(peer).clockwise(&key)
    }
}

impl Model for Roll {
    type Config = Config;

    fn new(Config(flaw): &Config, place: Place) -> Self {
        SHARED.with_borrow_mut(|shared| shared.remove(&place.me));
        let (members, lost, asked) = (BTreeMap::new(), VecDeque::new(), Vec::new());
        Self { flaw: *flaw, place, seeds: Vec::new(), members, lost, asked }
    }

    fn claims(_: &Config, peers: usize) -> Claims {
        Claims {
            agreement: true,
            hops: Some((usize::BITS - peers.leading_zeros()) as usize + 1),
            closer: true,
            coverage: true,
            redundancy: Some(0.0),
            symmetry: true,
            degree: Some(peers.saturating_sub(1)),
            entries: Some(MAX_ENTRIES),
            // A question to a member, one to somebody lost, their answers, and a dial now and then.
            idle: Some(18.0),
            heals: true,
            merges: Some(600),
            leaves: true,
            // As many periods as it remembers lost ones, and some for the news to go round.
            quiet: (PERIOD * (MAX_LOST as u32 + 8)).as_secs(),
        }
    }

    fn owner(_: &Config, all: &Census, to: &Target<Self>) -> Option<Guid> {
        let &(Target::Key(key) | Target::Address(key)) = to;
        all.ring.get(all.successor(&key)).map(|(_, peer)| *peer)
    }

    fn entries(&self) -> usize {
        self.members.len() + self.lost.len() + self.asked.len() + self.seeds.len()
    }
}

/// Far less than all bounds together: the worlds of the laws are small.
const MAX_ENTRIES: usize = 48;

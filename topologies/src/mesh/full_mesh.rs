//! The full mesh: everybody is everybody's neighbor. A whole topology, and the one to read first.
//!
//! A topology is a state and a [`Topology`] implementation. It never sends by itself: the engine tells it what
//! happened ([`Event`]), and it says what it wants through the [`Context`] it is lent. What it keeps here is one
//! table, everybody by position, and that table answers every question there is:
//!
//! - *joining* is asking a seed who is there, and wanting a link to each of them;
//! - a key's *owner* is the first member clockwise of it, as in consistent hashing (Karger et al. 1997), so a
//!   route is at most one hop;
//! - a *broadcast* goes from its origin to everybody, and no further.
//!
//! Two who join at once through different seeds do not hear of each other from them. So everybody asks a member
//! picked at random, now and then, who is there; that also mends what a broken wire tore.
//!
//! A mesh's degree is its size, which nobody knows beforehand: it declares none, and the node's budget of
//! connections is what bounds a mesh in practice. Take HyParView where that is too few.

use core::time::Duration;
use std::collections::BTreeMap;

use polymorph_core::overlay::Place;
use polymorph_core::topology::Topology;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Change, Event, Via};
use polymorph_core::topology::model::{Census, Claims, Model};
use polymorph_core::topology::question::{Hold, Neighbor, Powers, Query, Role, Route, Spread, Target, Verdict};
use polymorph_core::{Distance, Guid, Key};
use serde::{Deserialize, Serialize};

use crate::setting::{Configure, Knob};

/// What members tell each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// Who is there?
    Ask,
    /// These are.
    Members(Vec<Guid>),
}

/// Time to ask somebody who is there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct AskAgain;

/// There is nothing to set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Config;

/// One node's part of a full mesh.
#[derive(Debug)]
pub struct FullMesh {
    place: Place,
    /// How to come in, and back in.
    seeds: Vec<Guid>,
    /// Everybody by position, this node included once it has joined.
    members: BTreeMap<Key, Guid>,
}

impl Topology for FullMesh {
    type Address = Key;
    type Message = Message;
    type Timer = AskAgain;

    fn powers(&self) -> Powers {
        Powers { routes: true, spreads: true, ..Powers::default() }
    }

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Join { seeds } => self.join(seeds, cx),
            Event::Leave => self.leave(cx),
            Event::Timer(AskAgain) => self.ask_somebody(cx),
            Event::Message { from, message: Message::Ask, via: Via::Call(call), .. } if self.joined() => {
                cx.reply(call, Message::Members(self.others().filter(|peer| *peer != from).collect()));
            }
            Event::Reply { from, message: Message::Members(peers), .. } => {
                self.enter(cx);
                peers.into_iter().chain([from]).for_each(|peer| self.meet(peer, cx));
            }
            Event::PeerUp { peer } => self.add(peer, cx),
            Event::PeerDown { peer, .. } | Event::DialFailed { peer } => self.remove(peer, cx),
            _ => {}
        }
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        self.others().map(|peer| Neighbor { peer, role: Role::Peer, hold: Hold::Required }).collect()
    }

    fn addresses(&self) -> Vec<Key> {
        self.joined().then(|| self.place.mine()).into_iter().collect()
    }

    fn route(&self, query: &Query<'_, Self>, route: &mut Route) {
        let &(Target::Key(key) | Target::Address(key)) = query.to;
        let clockwise = self.members.range(key..).chain(self.members.range(..key)).map(|(_, peer)| *peer);
        let mut owners = clockwise.filter(|peer| query.allows(peer)).take(query.n.max(1)).peekable();
        route.verdict = match owners.peek() {
            None => return,
            Some(_) if !self.joined() => return,
            Some(owner) if *owner == self.place.me => Verdict::Deliver { rank: 0 },
            Some(_) => Verdict::Forward,
        };
        route.peers.extend(owners.filter(|peer| *peer != self.place.me));
    }

    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>) {
        if spread.from.is_none() {
            to.extend(self.others());
        }
    }

    fn distance(&self, to: &Target<Self>, peer: Guid) -> Distance {
        let &(Target::Key(key) | Target::Address(key)) = to;
        key.clockwise(&self.place.position(peer))
    }
}

impl FullMesh {
    fn joined(&self) -> bool {
        self.members.contains_key(&self.place.mine())
    }

    fn others(&self) -> impl Iterator<Item = Guid> + '_ {
        self.members.values().copied().filter(|peer| *peer != self.place.me)
    }

    fn knows(&self, peer: &Guid) -> bool {
        self.members.contains_key(&self.place.position(*peer))
    }

    /// The first node is in at once; everybody else when a member answered.
    fn join(&mut self, seeds: Vec<Guid>, cx: &mut Context<'_, Self>) {
        self.seeds = seeds.into_iter().take(MAX_SEEDS).collect();
        if self.seeds.is_empty() {
            self.enter(cx);
        }
        self.others().for_each(|peer| cx.want(peer, Hold::Required));
        for seed in &self.seeds {
            cx.call(*seed, Message::Ask);
        }
        cx.set(AskAgain, PERIOD);
    }

    fn enter(&mut self, cx: &mut Context<'_, Self>) {
        if self.members.insert(self.place.mine(), self.place.me).is_none() {
            cx.change(Change::Range);
        }
    }

    fn leave(&mut self, cx: &mut Context<'_, Self>) {
        self.others().for_each(|peer| cx.unwant(peer));
        self.members.clear();
        cx.cancel(AskAgain);
    }

    /// Asks a member picked at random who is there; a seed, as long as there is no member.
    fn ask_somebody(&mut self, cx: &mut Context<'_, Self>) {
        let mut known: Vec<Guid> = self.others().collect();
        if known.is_empty() {
            known.clone_from(&self.seeds);
        }
        if let Some(peer) = known.get(cx.pick(known.len())) {
            cx.call(*peer, Message::Ask);
        }
        let wait = cx.jitter(PERIOD, 0.5);
        cx.set(AskAgain, wait);
    }

    /// Hearsay: whether the peer is there shows when the link is up.
    fn meet(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if !self.knows(&peer) && self.members.len() < MAX_MEMBERS {
            cx.want(peer, Hold::Required);
        }
    }

    fn add(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if self.members.len() < MAX_MEMBERS && self.members.insert(self.place.position(peer), peer).is_none() {
            // The other side asked for this link: hold it from here too, so that both know when it is lost.
            cx.want(peer, Hold::Required);
            cx.change(Change::NeighborUp(peer));
            cx.change(Change::Range);
        }
    }

    fn remove(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if self.members.remove(&self.place.position(peer)).is_some() {
            cx.change(Change::NeighborDown(peer));
            cx.change(Change::Range);
        }
    }
}

impl Model for FullMesh {
    type Config = Config;

    fn new(Config: &Config, place: Place) -> Self {
        Self { place, seeds: Vec::new(), members: BTreeMap::new() }
    }

    fn claims(Config: &Config, peers: usize) -> Claims {
        Claims {
            agreement: true,
            hops: Some(1),
            closer: true,
            coverage: true,
            redundancy: Some(0.0),
            symmetry: true,
            degree: Some(peers.saturating_sub(1)),
            entries: Some(MAX_MEMBERS + MAX_SEEDS),
            // A question and its answer in a period that jitter may halve.
            idle: Some(120.0 / PERIOD.as_secs_f64() * 1.5),
            heals: true,
            // Whoever knows nobody asks its seeds; two crowds each know enough.
            merges: Some(10),
            leaves: true,
            quiet: 4 * PERIOD.as_secs(),
        }
    }

    fn owner(Config: &Config, all: &Census, to: &Target<Self>) -> Option<Guid> {
        let &(Target::Key(key) | Target::Address(key)) = to;
        all.ring.get(all.successor(&key)).map(|(_, peer)| *peer)
    }

    fn entries(&self) -> usize {
        self.members.len() + self.seeds.len()
    }

    fn ideal(&mut self, Config: &Config, all: &Census) -> bool {
        self.members = all.ring.iter().copied().collect();
        true
    }
}

impl Configure for Config {
    fn table() -> Vec<Knob<Self>> {
        Vec::new()
    }
}

/// How often a member asks another who is there. Two who missed each other are together after about that long; our
/// choice.
const PERIOD: Duration = Duration::from_secs(30);
/// How many seeds are remembered: more would not make a failed join likelier to succeed.
const MAX_SEEDS: usize = 16;
/// How many members a node lists: as many peers as a node remembers by default.
const MAX_MEMBERS: usize = 4096;

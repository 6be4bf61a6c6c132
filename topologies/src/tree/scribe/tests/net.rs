//! A network in a table: Scribe on routes by longer and longer prefixes, where every node has its own, perhaps
//! stale, idea of who is there.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand_core::{Rng as _, SeedableRng};

use polymorph_core::overlay::{OverlayId, Place};
use polymorph_core::topology::context::{Action, Busy, Context, Host, Rng};
use polymorph_core::topology::event::{Change, Down, Event, Facts, Ticket, Via};
use polymorph_core::topology::question::{CopyId, Lane, Neighbor, Pass, Route, Target, Transit, Verdict};
use polymorph_core::topology::{Below, Topology};
use polymorph_core::{Guid, Key, Time};

use super::super::{Config, Join, Message, Scribe, Timer};

/// Whether messages between two nodes keep their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    AsSent,
    AnyHow,
}

enum Item {
    Message {
        from: usize,
        to: usize,
        message: Message,
    },
    Routed {
        at: usize,
        from: Option<usize>,
        origin: usize,
        to: Key,
        message: Message,
    },
    Timer {
        at: usize,
        timer: Timer,
    },
    Down {
        at: usize,
        peer: Guid,
    },
    DialFailed {
        at: usize,
        peer: Guid,
    },
    Found {
        at: usize,
        ticket: Ticket,
        owner: Option<Guid>,
    },
    /// A node learns that another is there, or is not.
    Learn {
        at: usize,
        peer: usize,
    },
}

/// What a node knows of who is there, and the routes that follow from it.
struct View {
    me: Guid,
    known: BTreeSet<Guid>,
}

fn key(guid: &Guid) -> Key {
    Key(guid.0)
}

impl View {
    fn next(&self, to: &Key) -> Option<Guid> {
        let mine = key(&self.me).common_bits(to);
        let longer = self.known.iter().filter(|peer| key(peer).common_bits(to) > mine);
        // One more bit at a time, each node over a contact of its own.
        let step = longer.min_by_key(|peer| (key(peer).common_bits(to), key(&self.me).xor(&key(peer)))).copied();
        let nearer = || self.known.iter().copied().min_by_key(|peer| key(peer).xor(to));
        step.or_else(|| nearer().filter(|peer| key(peer).xor(to) < key(&self.me).xor(to)))
    }
}

impl Below for View {
    fn neighbors(&self) -> Vec<Neighbor> {
        Vec::new()
    }
    fn route(&self, key: Key, _n: usize) -> Route {
        match self.next(&key) {
            Some(peer) => Route { verdict: Verdict::Forward, peers: vec![peer], state: Bytes::new() },
            None => Route { verdict: Verdict::Deliver { rank: 0 }, ..Route::default() },
        }
    }
}

struct Node {
    guid: Guid,
    scribe: Scribe,
    view: View,
    wanted: BTreeSet<Guid>,
    subscribed: BTreeSet<Key>,
    alive: bool,
}

/// Collects what a node does.
struct Fake<'a> {
    place: Place,
    now: Time,
    rng: &'a mut Rng,
    view: &'a View,
    wanted: &'a mut BTreeSet<Guid>,
    tickets: &'a mut u64,
    done: Vec<Action<Scribe>>,
}

impl Host<Scribe> for Fake<'_> {
    fn place(&self) -> Place {
        self.place
    }
    fn now(&self) -> Time {
        self.now
    }
    fn rng(&mut self) -> &mut Rng {
        self.rng
    }
    fn ticket(&mut self) -> Ticket {
        *self.tickets += 1;
        Ticket(*self.tickets)
    }
    fn act(&mut self, _lane: Lane, action: Action<Scribe>) -> Result<(), Busy> {
        match action {
            Action::Want { peer, .. } => drop(self.wanted.insert(peer)),
            Action::Unwant { peer } => drop(self.wanted.remove(&peer)),
            other => self.done.push(other),
        }
        Ok(())
    }
    fn linked(&self, _peer: &Guid) -> bool {
        true
    }
    fn facts(&self, _peer: &Guid) -> Facts {
        Facts::default()
    }
    fn below(&self) -> Option<&dyn Below> {
        Some(self.view)
    }
}

pub(super) struct Net {
    config: Config,
    order: Order,
    now: Time,
    count: u64,
    rng: Rng,
    nodes: Vec<Node>,
    index: BTreeMap<Guid, usize>,
    queue: BTreeMap<(Time, u64), Item>,
    timers: BTreeMap<(usize, Timer), (Time, u64)>,
    /// When the last message between two nodes arrives.
    last: BTreeMap<(usize, usize), Time>,
    copies: u64,
    tickets: u64,
    /// Copies that went out once more: which, from whom, to whom.
    resent: Vec<(CopyId, usize, usize)>,
}

impl Net {
    pub(super) fn new(seed: u64, nodes: usize, config: Config, order: Order) -> Self {
        let rng = Rng::seed_from_u64(seed);
        let now = Time::ZERO;
        let mut net = Self {
            config,
            order,
            now,
            count: 0,
            rng,
            nodes: Vec::new(),
            index: BTreeMap::new(),
            queue: BTreeMap::new(),
            timers: BTreeMap::new(),
            last: BTreeMap::new(),
            copies: 0,
            tickets: 0,
            resent: Vec::new(),
        };
        (0..nodes).for_each(|_| _ = net.create());
        let all: BTreeSet<Guid> = net.nodes.iter().map(|node| node.guid).collect();
        for node in &mut net.nodes {
            node.view.known.clone_from(&all);
            node.view.known.remove(&node.guid);
        }
        net
    }

    fn create(&mut self) -> usize {
        let mut guid = Guid([0; 32]);
        self.rng.fill_bytes(&mut guid.0);
        let place = Place { overlay: OverlayId([1; 32]), me: guid };
        let view = View { me: guid, known: BTreeSet::new() };
        let scribe = Scribe::new(self.config.clone(), place);
        self.index.insert(guid, self.nodes.len());
        let (wanted, subscribed) = (BTreeSet::new(), BTreeSet::new());
        self.nodes.push(Node { guid, scribe, view, wanted, subscribed, alive: true });
        self.nodes.len() - 1
    }

    pub(super) fn number(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    pub(super) fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&at| self.nodes[at].alive).collect()
    }

    pub(super) fn members(&self, topic: Key) -> Vec<usize> {
        self.alive().into_iter().filter(|&at| self.nodes[at].subscribed.contains(&topic)).collect()
    }

    pub(super) fn pick(&mut self) -> usize {
        let alive = self.alive();
        alive[self.number(alive.len() as u64) as usize]
    }

    pub(super) fn guid(&self, at: usize) -> Guid {
        self.nodes[at].guid
    }

    pub(super) fn index(&self, guid: &Guid) -> usize {
        self.index[guid]
    }

    pub(super) fn node(&self, at: usize) -> &Scribe {
        &self.nodes[at].scribe
    }

    pub(super) fn neighbors(&self, at: usize) -> Vec<Neighbor> {
        self.nodes[at].scribe.neighbors()
    }

    pub(super) fn wanted(&self, at: usize) -> Vec<Guid> {
        self.nodes[at].wanted.iter().copied().collect()
    }

    pub(super) fn subscribe(&mut self, at: usize, topic: Key) {
        self.nodes[at].subscribed.insert(topic);
        self.tell(at, Event::Subscribe { topic });
    }

    pub(super) fn unsubscribe(&mut self, at: usize, topic: Key) {
        self.nodes[at].subscribed.remove(&topic);
        self.tell(at, Event::Unsubscribe { topic });
    }

    pub(super) fn join(&mut self, at: usize) {
        self.tell(at, Event::Join { seeds: Vec::new() });
    }

    /// A message arrives at once.
    pub(super) fn hand(&mut self, from: usize, to: usize, message: Message) {
        let from = self.nodes[from].guid;
        self.tell(to, Event::Message { from, message, payload: Bytes::new(), via: Via::Direct });
    }

    /// A join comes past a node at once.
    pub(super) fn pass(&mut self, at: usize, from: usize, join: Join) -> Pass {
        let to = join.topic;
        self.pass_to(at, from, join, to)
    }

    pub(super) fn pass_to(&mut self, at: usize, from: usize, join: Join, to: Key) -> Pass {
        let (from, target, mut pass) = (self.nodes[from].guid, Target::Key(to), Pass::Absorb);
        let (mut message, mut payload) = (Message::Join(Box::new(join)), Bytes::new());
        self.act(at, |scribe, cx| {
            let (message, payload) = (&mut message, &mut payload);
            pass = scribe.transit(&mut Transit { to: &target, origin: from, from: Some(from), message, payload }, cx);
        });
        pass
    }

    /// A node no longer routes over another.
    pub(super) fn forget(&mut self, at: usize, peer: usize) {
        let guid = self.nodes[peer].guid;
        self.nodes[at].view.known.remove(&guid);
    }

    /// A node is told at once that a peer is gone.
    pub(super) fn down(&mut self, at: usize, peer: usize) {
        let peer = self.nodes[peer].guid;
        self.step(0, Item::Down { at, peer });
    }

    /// A new node; the others learn of it one by one, it learns of them likewise.
    pub(super) fn add(&mut self) -> usize {
        let new = self.create();
        for other in self.alive() {
            if other != new {
                let late = Duration::from_millis(self.number(5000));
                self.push(late, Item::Learn { at: other, peer: new });
                let late = Duration::from_millis(self.number(5000));
                self.push(late, Item::Learn { at: new, peer: other });
            }
        }
        new
    }

    /// A node crashes. Half of those that hold a link to it are told; the others must find out.
    pub(super) fn kill(&mut self, victim: usize) {
        self.nodes[victim].alive = false;
        let dead = self.nodes[victim].guid;
        for other in self.alive() {
            let late = Duration::from_millis(self.number(20_000));
            self.push(late, Item::Learn { at: other, peer: victim });
            if self.nodes[other].wanted.contains(&dead) && self.number(2) == 0 {
                self.push(late / 10, Item::Down { at: other, peer: dead });
            }
        }
    }

    /// The node that owns a topic, as one who knows everybody sees it.
    pub(super) fn root(&self, topic: Key) -> Option<usize> {
        self.alive().into_iter().min_by_key(|&at| key(&self.nodes[at].guid).xor(&topic))
    }

    /// The links of a route, lower end first.
    pub(super) fn way(&self, from: usize, topic: Key) -> Vec<(Guid, Guid)> {
        let mut links = Vec::new();
        let mut at = from;
        while let Some(next) = self.nodes[at].view.next(&topic) {
            links.push((self.nodes[at].guid, next));
            at = self.index[&next];
        }
        links
    }

    /// The links of a tree, the child first.
    pub(super) fn parents(&self, topic: Key) -> Vec<(Guid, Guid)> {
        let link = |at: usize| self.nodes[at].scribe.parent(Some(topic)).map(|parent| (self.nodes[at].guid, parent));
        self.alive().into_iter().filter_map(link).collect()
    }

    /// What went out once more, from whom to whom.
    pub(super) fn resent(&self) -> Vec<(usize, usize)> {
        self.resent.iter().map(|&(_, from, to)| (from, to)).collect()
    }

    /// Publishes and lets the copies run: how many each node got.
    pub(super) fn publish(&mut self, from: usize, topic: Option<Key>) -> Vec<u32> {
        self.copies += 1;
        let mut id = CopyId::default();
        id.0[..8].copy_from_slice(&self.copies.to_be_bytes());
        let mut got = vec![0; self.nodes.len()];
        let mut waiting = vec![(None, from)];
        while let Some((from, at)) = waiting.pop() {
            got[at] += u32::from(from.is_some());
            let first = from.is_none() || got[at] == 1;
            self.tell(at, Event::Copy { id, topic, from, first, hops: 0 });
            if first && self.nodes[at].alive {
                let me = self.nodes[at].guid;
                let next: Vec<Guid> = self.nodes[at].scribe.onward(id, topic, from).collect();
                waiting.extend(next.iter().map(|peer| (Some(me), self.index[peer])));
            }
        }
        got
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, count), item) = entry.remove_entry();
            self.now = at;
            self.step(count, item);
        }
        self.now = end;
    }

    fn step(&mut self, count: u64, item: Item) {
        match item {
            Item::Message { from, to, .. } if !self.nodes[to].alive => {
                let late = Duration::from_millis(self.number(3000));
                let peer = self.nodes[to].guid;
                self.push(late, Item::DialFailed { at: from, peer });
            }
            Item::Message { from, to, message } => {
                let from = self.nodes[from].guid;
                self.tell(to, Event::Message { from, message, payload: Bytes::new(), via: Via::Direct });
            }
            Item::Routed { at, from, origin, to, message } => self.routed(at, from, origin, to, message),
            Item::Timer { at, timer } => {
                if self.timers.get(&(at, timer.clone())).is_some_and(|(_, set)| *set == count) {
                    self.timers.remove(&(at, timer.clone()));
                    self.tell(at, Event::Timer(timer));
                }
            }
            Item::Down { at, peer } => {
                self.nodes[at].wanted.remove(&peer);
                self.tell(at, Event::PeerDown { peer, why: Down::Lost });
            }
            Item::DialFailed { at, peer } => {
                self.nodes[at].wanted.remove(&peer);
                self.tell(at, Event::DialFailed { peer });
            }
            Item::Found { at, ticket, owner } => {
                let peers = owner.into_iter().collect();
                self.tell(at, Event::Found { ticket, owner, peers });
            }
            Item::Learn { at, peer } => {
                let (guid, alive) = (self.nodes[peer].guid, self.nodes[peer].alive);
                let known = &mut self.nodes[at].view.known;
                if if alive { known.insert(guid) } else { known.remove(&guid) } {
                    self.tell(at, Event::Below(Change::Range));
                }
            }
        }
    }

    fn routed(&mut self, at: usize, from: Option<usize>, origin: usize, to: Key, mut message: Message) {
        if !self.nodes[at].alive {
            return;
        }
        let (previous, first) = (from.map(|from| self.nodes[from].guid), self.nodes[origin].guid);
        let Some(next) = self.nodes[at].view.next(&to) else {
            let via = Via::Route { origin: first, to: Target::Key(to), hops: 0 };
            let from = previous.unwrap_or(first);
            return self.tell(at, Event::Message { from, message, payload: Bytes::new(), via });
        };
        let target = Target::Key(to);
        let mut pass = Pass::Absorb;
        self.act(at, |scribe, cx| {
            let (message, payload) = (&mut message, &mut Bytes::new());
            let mut transit = Transit { to: &target, origin: first, from: previous, message, payload };
            pass = scribe.transit(&mut transit, cx);
        });
        if pass == Pass::Absorb {
            return;
        }
        let hop = self.index[&next];
        if self.nodes[hop].alive {
            let late = self.delay();
            self.push(late, Item::Routed { at: hop, from: Some(at), origin, to, message });
        } else {
            // As the engine does: the hop that does not answer is left out.
            self.nodes[at].view.known.remove(&next);
            self.push(Duration::ZERO, Item::Routed { at, from: None, origin, to, message });
        }
    }

    fn delay(&mut self) -> Duration {
        Duration::from_micros(5000 + self.number(300_000))
    }

    fn push(&mut self, late: Duration, item: Item) -> (Time, u64) {
        self.count += 1;
        let place = (self.now + late, self.count);
        self.queue.insert(place, item);
        place
    }

    fn tell(&mut self, at: usize, event: Event<Scribe>) {
        if self.nodes[at].alive {
            self.act(at, |scribe, cx| scribe.handle(event, cx));
        }
    }

    fn act(&mut self, at: usize, act: impl FnOnce(&mut Scribe, &mut Context<'_, Scribe>)) {
        let Node { guid, scribe, view, wanted, .. } = &mut self.nodes[at];
        let place = Place { overlay: OverlayId([1; 32]), me: *guid };
        let (rng, tickets) = (&mut self.rng, &mut self.tickets);
        let mut host = Fake { place, now: self.now, rng, view, wanted, tickets, done: Vec::new() };
        act(scribe, &mut Context::new(&mut host, Lane::default()));
        for action in host.done {
            self.carry_out(at, action);
        }
        self.assert_no_ring(at);
    }

    fn carry_out(&mut self, at: usize, action: Action<Scribe>) {
        match action {
            Action::Send { to, message, .. } => {
                let to = self.index[&to];
                let mut late = self.delay();
                if self.order == Order::AsSent {
                    let last = self.last.entry((at, to)).or_default();
                    *last = (*last).max(self.now + late);
                    late = last.since(self.now);
                }
                self.push(late, Item::Message { from: at, to, message });
            }
            Action::Set { timer, after } => {
                let place = self.push(after, Item::Timer { at, timer: timer.clone() });
                if let Some(old) = self.timers.insert((at, timer), place) {
                    self.queue.remove(&old);
                }
            }
            Action::Route { to: Target::Key(to), message, .. } => {
                self.push(Duration::ZERO, Item::Routed { at, from: None, origin: at, to, message });
            }
            // Whoever asks around hears of everybody.
            Action::Lookup { ticket, to: Target::Key(to), .. } => {
                let owner = self.root(to).map(|root| self.nodes[root].guid);
                self.push(Duration::from_secs(1), Item::Found { at, ticket, owner });
            }
            Action::Resend { id, to } => self.resent.push((id, at, self.index[&to])),
            other => panic!("Scribe asked for {other:?}"),
        }
    }

    /// Only the node that just acted can have closed a ring: its parents end at a root or at somebody dead.
    fn assert_no_ring(&self, start: usize) {
        for topic in self.nodes[start].scribe.trees.keys() {
            let mut at = start;
            for steps in 0.. {
                let Some(parent) = self.nodes[at].scribe.parent(Some(*topic)) else { break };
                at = self.index[&parent];
                assert!(
                    at != start && steps < self.nodes.len(),
                    "a ring in {topic:?} through {start} at {:?}",
                    self.now
                );
                if !self.nodes[at].alive {
                    break;
                }
            }
        }
    }
}

//! Scribe on Chord and on Kademlia, as the engine runs it: whole worlds in virtual time.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use polymorph_core::engine::io::Command;
use polymorph_core::engine::settings::{self, Lookup};
use polymorph_core::topology::erased::Boxed;
use polymorph_core::topology::layer::{Either, Layer};
use polymorph_core::topology::model::Model;
use polymorph_core::topology::question::{Query, Route, Target, Verdict};
use polymorph_core::wire::frame::{Body, What};
use polymorph_core::{Key, Standing};
use polymorph_sim::{Codec, Options, Peer, Terms, World};
use polymorph_topologies::ring::chord::Chord;
use polymorph_topologies::ring::kademlia::Kademlia;
use polymorph_topologies::tree::scribe::{Config, Message, Scribe, ScribeOn};

const MINUTE: Duration = Duration::from_secs(60);

/// No tree of everybody, which would be in the way of counting.
fn config() -> Config {
    Config { everyone: false, ..Config::default() }
}

fn topic(number: u64) -> Key {
    Key::of(&number.to_le_bytes())
}

/// What Scribe stands on. Its joins go hop by hop over either, however the base's own lookups go.
trait Base: Model {
    const LOOKUP: Lookup;

    fn terms() -> Terms {
        let settings = settings::Overlay { lookup: Self::LOOKUP, ..settings::Overlay::default() };
        Terms { settings: settings.into(), ..Terms::default() }
    }
}

impl Base for Chord {
    const LOOKUP: Lookup = Lookup::Recursive;
}

impl Base for Kademlia {
    const LOOKUP: Lookup = Lookup::Iterative;
}

/// A world of Scribe on some base.
struct Grove<B: Base> {
    world: World<ScribeOn<B>>,
    config: (Config, B::Config),
    members: BTreeMap<Key, BTreeSet<Peer>>,
    draws: u64,
    published: u64,
}

impl<B: Base> Grove<B> {
    /// Everybody is there and knows whom to know; nobody is in a tree.
    fn ideal(seed: u64, peers: usize, config: Config) -> Self {
        Self::ideal_in(Options::seeded(seed), peers, config)
    }

    fn ideal_in(options: Options, peers: usize, config: Config) -> Self {
        let seed = options.seed;
        println!("seed {seed}");
        let config = (config, B::Config::default());
        let mut world = World::new(options);
        let over = Duration::from_secs(20);
        world.ideal_as(&B::terms(), &config, peers, over, |model: ScribeOn<B>| model).expect("ideal tables");
        world.run_for(Duration::from_secs(10));
        Self { world, config, members: BTreeMap::new(), draws: seed, published: 0 }
    }

    fn draw(&mut self, bound: usize) -> usize {
        // SplitMix64.
        self.draws = self.draws.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.draws;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn pick(&mut self) -> Peer {
        let peers: Vec<Peer> = self.world.peers().collect();
        peers[self.draw(peers.len())]
    }

    fn subscribe(&mut self, peer: Peer, topic: Key) {
        self.members.entry(topic).or_default().insert(peer);
        self.world.command(peer, Command::Subscribe { topic });
    }

    fn unsubscribe(&mut self, peer: Peer, topic: Key) {
        self.members.entry(topic).or_default().remove(&peer);
        self.world.command(peer, Command::Unsubscribe { topic });
    }

    /// All of every `step`-th peer.
    fn subscribe_every(&mut self, step: usize, topic: Key) {
        let peers: Vec<Peer> = self.world.peers().step_by(step).collect();
        peers.into_iter().for_each(|peer| self.subscribe(peer, topic));
    }

    fn alive_members(&self, topic: Key) -> Vec<Peer> {
        self.members[&topic].iter().copied().filter(|peer| self.world.is_alive(*peer)).collect()
    }

    fn scribe(&self, peer: Peer) -> &Scribe {
        &self.world.topology(peer).expect("alive").upper
    }

    fn root(&self, topic: Key) -> Peer {
        let census = self.world.census(&B::terms().name);
        let owner = B::owner(&self.config.1, &census, &Target::Key(topic)).expect("an owner");
        self.world.peer(&owner).expect("known")
    }

    /// The links of a topic's tree, the child first.
    fn links(&self, topic: Key) -> BTreeSet<(Peer, Peer)> {
        let parent = |peer| Some((peer, self.world.peer(&self.scribe(peer).parent(Some(topic))?)?));
        self.world.peers().filter_map(parent).collect()
    }

    /// The links of the route of a message to a topic's key.
    fn way(&self, from: Peer, topic: Key) -> Vec<(Peer, Peer)> {
        let (mut at, mut state, mut links) = (from, Bytes::new(), Vec::new());
        loop {
            let (to, mut route) = (Target::Key(topic), Route::default());
            let mut query = Query::new(&to, 3);
            query.state = &state;
            self.world.topology(at).expect("alive").base.route(&query, &mut route);
            match route.verdict {
                Verdict::Deliver { .. } => return links,
                verdict => assert_eq!(verdict, Verdict::Forward),
            }
            let next = self.world.peer(&route.peers[0]).expect("known");
            links.push((at, next));
            assert!(links.len() < 64, "a route without end");
            (at, state) = (next, route.state);
        }
    }

    /// Lets somebody publish: every member gets it once, and no link carries it in vain. Says how many copies went.
    fn assert_exactly_once(&mut self, from: Peer, topic: Option<Key>) -> u64 {
        self.published += 1;
        let mark = self.published.to_le_bytes();
        let before = *self.world.traffic();
        self.world.publish(from, topic, mark.to_vec());
        self.world.run_for(Duration::from_secs(8));
        let copies = self.world.traffic().since(&before).frames("copy");
        let members: Vec<Peer> = match topic {
            Some(topic) => self.alive_members(topic),
            None => self.world.peers().collect(),
        };
        let receivers = members.iter().filter(|peer| **peer != from).count();
        let tally = self.world.tallies().iter().find(|tally| tally.mark == mark);
        let missed: Vec<Peer> =
            members.into_iter().filter(|&peer| peer != from && tally.is_none_or(|tally| !tally.has(peer))).collect();
        assert_eq!(missed, [], "of {receivers} members of {topic:?}");
        if let Some(tally) = tally {
            assert_eq!((tally.reached, tally.repeated), (receivers as u64, 0));
        }
        let duplicates: u64 = self.duplicates();
        assert_eq!(duplicates, 0, "copies that came to somebody who had them");
        copies
    }

    fn duplicates(&self) -> u64 {
        let of = |peer| self.world.engine(peer)?.metrics(self.world.slot(peer)).map(|metrics| metrics.duplicates);
        self.world.peers().filter_map(of).sum()
    }

    /// Everybody's parents end at a root, or at somebody who is gone.
    fn assert_no_ring(&self) {
        for topic in self.members.keys() {
            let above: BTreeMap<Peer, Peer> = self.links(*topic).into_iter().collect();
            for start in above.keys() {
                let (mut at, mut steps) = (start, 0);
                while let Some(parent) = above.get(at) {
                    (at, steps) = (parent, steps + 1);
                    assert!(steps <= above.len(), "a ring through {start:?} at {:?}", self.world.now());
                }
            }
        }
    }

    /// Lets time pass, and looks for rings four times a second. (After every single event: the tests within the crate.)
    fn run_watched(&mut self, span: Duration) {
        let end = self.world.now() + span;
        while self.world.now() < end {
            self.world.run_for(Duration::from_millis(250));
            self.assert_no_ring();
        }
    }
}

fn every_member_receives_exactly_once<B: Base>(seed: u64) {
    let mut grove = Grove::<B>::ideal(seed, 300, config());
    grove.subscribe_every(3, topic(1));
    grove.world.run_for(MINUTE);
    for _ in 0..10 {
        let publisher = grove.pick();
        let copies = grove.assert_exactly_once(publisher, Some(topic(1)));
        let links = grove.links(topic(1)).len() as u64;
        let inside = grove.scribe(publisher).label(Some(topic(1))).is_some();
        if inside {
            assert_eq!(copies, links, "one copy over each link of the tree");
        } else {
            assert!(copies > links && copies < links + 10, "and some on the way into it");
        }
    }
}

#[test]
fn on_chord_every_member_receives_exactly_once_whoever_publishes() {
    every_member_receives_exactly_once::<Chord>(1);
}

#[test]
fn on_kademlia_every_member_receives_exactly_once_whoever_publishes() {
    every_member_receives_exactly_once::<Kademlia>(2);
}

fn the_tree_is_the_union_of_the_routes<B: Base>(seed: u64) {
    let mut grove = Grove::<B>::ideal(seed, 400, Config { children: 400, ..config() });
    grove.subscribe_every(4, topic(1));
    let members = grove.alive_members(topic(1));
    let routes: BTreeSet<_> = members.iter().flat_map(|&member| grove.way(member, topic(1))).collect();
    grove.world.run_for(Duration::from_secs(30));
    assert_eq!(grove.links(topic(1)), routes);
    let root = grove.root(topic(1));
    assert_eq!(grove.scribe(root).label(Some(topic(1))).map(|label| label.depth), Some(0));
}

#[test]
fn on_chord_the_tree_is_the_union_of_the_routes_and_its_root_owns_the_key() {
    the_tree_is_the_union_of_the_routes::<Chord>(3);
}

#[test]
fn on_kademlia_the_tree_is_the_union_of_the_routes_and_its_root_owns_the_key() {
    the_tree_is_the_union_of_the_routes::<Kademlia>(4);
}

#[test]
fn on_kademlia_the_root_receives_fewer_than_half_of_the_joins() {
    // Without bounds as in the paper, and with those of a home router.
    for (seed, children, connections) in [(5, 1200, 1200), (6, Config::default().children, 50)] {
        let node = settings::Node { connections, ..settings::Node::default() };
        let options = Options { node, ..Options::seeded(seed) };
        let mut grove = Grove::<Kademlia>::ideal_in(options, 1200, Config { children, ..config() });
        let root = grove.root(topic(1));
        let joins = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&joins);
        grove.world.swallow(root, move |frame| {
            if let Body::Routed(routed) = &frame.body
                && let What::Message(Either::Upper(Message::Join(_))) = &routed.what
            {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            false
        });
        grove.subscribe_every(1, topic(1));
        grove.world.run_for(MINUTE);
        let joins = joins.load(Ordering::Relaxed);
        println!(
            "{joins} of 1200 joins came to the root, {} children",
            grove.scribe(root).children(Some(topic(1))).len()
        );
        assert!(joins > 0 && joins < 600);
        // Refused by a home router, some take it for dead, and somebody else for the owner; that is found out.
        grove.world.run_for(quiet());
        assert!(grove.scribe(root).children(Some(topic(1))).len() <= children);
        assert_eq!(grove.assert_exactly_once(root, Some(topic(1))), 1199);
    }
}

/// Crashes somebody in the middle of a tree again and again; it is whole again each time, and never was a ring.
fn a_crash_is_repaired<B: Base>(seed: u64, victim: impl Fn(&Grove<B>) -> Peer) {
    let mut grove = Grove::<B>::ideal(seed, 250, config());
    grove.subscribe_every(2, topic(1));
    grove.world.run_for(MINUTE);
    for _ in 0..3 {
        let victim = victim(&grove);
        grove.world.crash(victim);
        grove.run_watched(quiet());
        let root = grove.root(topic(1));
        assert_eq!(grove.scribe(root).label(Some(topic(1))).map(|label| label.depth), Some(0), "the owner is the root");
        let publisher = grove.pick();
        grove.assert_exactly_once(publisher, Some(topic(1)));
        grove.assert_exactly_once(root, Some(topic(1)));
    }
}

/// What Scribe claims for itself. A base may take longer for its farthest links, but not for its owners.
fn quiet() -> Duration {
    Duration::from_secs(Scribe::claims(&config(), 0).quiet)
}

/// Who passes copies on to most.
fn busiest<B: Base>(grove: &Grove<B>) -> Peer {
    let inner = grove.world.peers().filter(|&peer| grove.scribe(peer).parent(Some(topic(1))).is_some());
    inner.max_by_key(|&peer| grove.scribe(peer).children(Some(topic(1))).len()).expect("an inner node")
}

#[test]
fn on_chord_the_crash_of_an_inner_node_is_repaired() {
    a_crash_is_repaired::<Chord>(7, busiest);
}

#[test]
fn on_kademlia_the_crash_of_an_inner_node_is_repaired() {
    a_crash_is_repaired::<Kademlia>(8, busiest);
}

#[test]
fn on_chord_the_crash_of_the_root_is_repaired() {
    a_crash_is_repaired::<Chord>(9, |grove| grove.root(topic(1)));
}

#[test]
fn on_kademlia_the_crash_of_the_root_is_repaired() {
    a_crash_is_repaired::<Kademlia>(10, |grove| grove.root(topic(1)));
}

#[test]
fn when_members_leave_a_topic_their_branches_go_and_in_the_end_the_tree() {
    let mut grove = Grove::<Kademlia>::ideal(11, 200, config());
    grove.subscribe_every(4, topic(1));
    grove.world.run_for(MINUTE);
    let members = grove.alive_members(topic(1));
    let (last, others) = members.split_last().expect("members");
    others.iter().for_each(|&peer| grove.unsubscribe(peer, topic(1)));
    grove.world.run_for(MINUTE);
    let mut left = *last;
    let mut links = grove.links(topic(1));
    while let Some(link) = links.iter().copied().find(|(child, _)| *child == left) {
        links.remove(&link);
        left = link.1;
    }
    assert!(links.is_empty(), "only the way from the last member to the root is left, but {links:?}");
    assert_eq!(left, grove.root(topic(1)));
    grove.unsubscribe(*last, topic(1));
    grove.world.run_for(MINUTE);
    assert!(grove.links(topic(1)).is_empty());
}

#[test]
fn many_topics_keep_out_of_each_other_s_way() {
    let mut grove = Grove::<Chord>::ideal(12, 200, config());
    for number in 0..40 {
        for _ in 0..20 {
            let peer = grove.pick();
            grove.subscribe(peer, topic(number));
        }
    }
    grove.world.run_for(MINUTE);
    for number in 0..40 {
        let publisher = grove.pick();
        grove.assert_exactly_once(publisher, Some(topic(number)));
    }
}

/// Peers crash, leave, come and change their minds for ten minutes.
fn churn<B: Base>(seed: u64) {
    let mut grove = Grove::<B>::ideal(seed, 120, config());
    grove.subscribe_every(1, topic(1));
    grove.subscribe_every(3, topic(2));
    grove.world.run_for(MINUTE);
    for _ in 0..150 {
        let peer = grove.pick();
        match grove.draw(5) {
            0 => grove.world.crash(peer),
            1 => grove.world.leave(peer),
            2 => grove.unsubscribe(peer, topic(2)),
            _ => {
                let config = grove.config.clone();
                let new = grove.world.add(&B::terms(), |place| <ScribeOn<B> as Model>::new(&config, place));
                let new = new.expect("within the budget");
                grove.world.join(new, &[peer]);
                grove.subscribe(new, topic(1));
                grove.subscribe(new, topic(2));
            }
        }
        grove.run_watched(Duration::from_secs(4));
    }
    grove.run_watched(quiet());
    println!("{} are left", grove.world.alive());
    for topic in [topic(1), topic(2)] {
        let publisher = grove.pick();
        grove.assert_exactly_once(publisher, Some(topic));
    }
}

#[test]
fn on_chord_churn_makes_no_ring_and_when_it_ends_everybody_receives_once() {
    churn::<Chord>(13);
}

#[test]
fn on_kademlia_churn_makes_no_ring_and_when_it_ends_everybody_receives_once() {
    churn::<Kademlia>(14);
}

#[test]
fn while_an_overlay_grows_its_tree_of_everybody_grows_along_and_moves_to_each_new_root() {
    println!("seed 15");
    let config = (Config::default(), <Chord as Model>::Config::default());
    let mut world = World::new(Options::seeded(15));
    let mut peers: Vec<Peer> = Vec::new();
    for _ in 0..100 {
        let peer = world.add(&Chord::terms(), |place| <ScribeOn<Chord> as Model>::new(&config, place)).expect("room");
        world.join(peer, &peers[..peers.len().min(1)]);
        peers.push(peer);
        world.run_for(Duration::from_secs(2));
    }
    world.run_for(2 * MINUTE);
    let mut grove = Grove { world, config, members: BTreeMap::new(), draws: 15, published: 0 };
    assert_eq!(grove.assert_exactly_once(peers[57], None), 99);
}

#[test]
fn a_client_publishes_through_the_peer_it_knows() {
    let mut grove = Grove::<Chord>::ideal(16, 60, config());
    grove.subscribe_every(2, topic(1));
    grove.world.run_for(MINUTE);
    let terms = Terms { standing: Standing::Client, ..Chord::terms() };
    let config = grove.config.clone();
    let gateway = grove.pick();
    let client = grove.world.add(&terms, |place| <ScribeOn<Chord> as Model>::new(&config, place)).expect("room");
    grove.world.join(client, &[gateway]);
    grove.world.run_for(Duration::from_secs(5));
    grove.assert_exactly_once(client, Some(topic(1)));
}

#[test]
fn composed_by_name_it_does_the_same() {
    println!("seed 17");
    let config = (Config::default(), <Kademlia as Model>::Config::default());
    let mut world: World<Boxed> = World::new(Options { codec: Codec::Encoded, ..Options::seeded(17) });
    let erase = |model: ScribeOn<Kademlia>| Boxed::new(Layer::new(model.upper, Boxed::new(model.base)));
    let peers = world.ideal_as(&Kademlia::terms(), &config, 150, MINUTE, erase).expect("ideal tables");
    world.run_for(MINUTE);
    let before = *world.traffic();
    world.publish(peers[3], None, "eight bytes of it");
    world.run_for(Duration::from_secs(8));
    let [tally] = world.tallies() else { panic!("one broadcast") };
    assert_eq!((tally.reached, tally.repeated), (149, 0));
    assert_eq!(world.traffic().since(&before).frames("copy"), 149);
    assert_eq!(world.blamed(), []);
}

//! Polyrings that grow, are routed over, broadcast in, left and broken, in virtual time.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use polymorph_core::engine::io::{Command, Outcome};
use polymorph_core::engine::settings;
use polymorph_core::topology::model::{Claims, Model};
use polymorph_core::topology::question::Target;
use polymorph_core::{Guid, Key, Topology};
use polymorph_sim::{Options, Peer, Terms, World};
use polymorph_topologies::hybrid::polyring::{Config, Path, Polyring};

const MOMENT: Duration = Duration::from_secs(1);

/// A small generator: what a test draws follows from its seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ x >> 31) % bound as u64) as usize
    }
}

/// A polyring in a world of its own.
struct Net {
    world: World<Polyring>,
    terms: Terms,
    config: Config,
}

impl Net {
    fn new(width: usize, depth: usize, seed: u64) -> Self {
        Self::with(width, depth, Options::seeded(seed))
    }

    fn with(width: usize, depth: usize, options: Options) -> Self {
        println!("seed {}, width {width}, depth {depth}", options.seed);
        let node = settings::Node { connections: 2 * width + 50, ..settings::Node::default() };
        let config = Config { width, depth, cluster: 1 };
        Self { world: World::new(Options { node, ..options }), terms: Terms::default(), config }
    }

    /// Somebody who is not in yet.
    fn spawn(&mut self) -> Peer {
        self.world.add(&self.terms, |place| <Polyring as Model>::new(&self.config, place)).expect("the engine takes it")
    }

    fn is_in(world: &World<Polyring>, peer: Peer) -> bool {
        world.topology(peer).is_some_and(|node| node.path().is_some())
    }

    fn enter(&mut self, peer: Peer, seeds: &[Peer]) {
        self.world.join(peer, seeds);
        assert!(self.world.run_until(300 * MOMENT, |world| Self::is_in(world, peer)), "a newcomer found no place");
        self.world.run_for(MOMENT);
    }

    /// Lets peers join one after the other.
    fn grow(&mut self, peers: usize) {
        for _ in 0..peers {
            let seeds: Vec<Peer> = self.world.peers().take(3).collect();
            let peer = self.spawn();
            self.enter(peer, &seeds);
        }
    }

    fn node(&self, peer: Peer) -> &Polyring {
        self.world.topology(peer).expect("the peer is there")
    }

    fn at(&self, path: &str) -> Peer {
        let path: Path = path.parse().expect("a path");
        let found = self.world.peers().find(|&peer| self.node(peer).path() == Some(&path));
        found.unwrap_or_else(|| panic!("nobody stands at {path}"))
    }

    /// Where everybody stands.
    fn places(&self) -> BTreeMap<Path, Guid> {
        let place = |peer| Some((self.node(peer).path()?.clone(), self.world.guid(peer)));
        self.world.peers().filter_map(place).collect()
    }

    /// What is wrong: every table must be what follows from where everybody stands.
    fn wrong(&self) -> Vec<String> {
        let places = self.places();
        let mut wrong = Vec::new();
        if places.len() != self.world.alive() {
            wrong.push(format!("{} places for {} peers", places.len(), self.world.alive()));
        }
        for peer in self.world.peers() {
            let node = self.node(peer);
            let Some(path) = node.path() else { continue };
            let around = |around: Option<&Path>| -> Vec<(u32, Guid)> {
                let inside = places.iter().filter(|(place, _)| place.parent().as_ref() == around);
                inside.map(|(place, guid)| (place.last(), *guid)).collect()
            };
            let parent = path.parent().map(|parent| places.get(&parent).copied());
            if parent.is_some_and(|parent| parent.is_none() || parent != node.parent()) {
                wrong.push(format!("{path} has the parent {:?}, not {parent:?}", node.parent()));
            }
            for (what, has, should) in [
                ("ring", node.ring().collect::<Vec<_>>(), around(path.parent().as_ref())),
                ("children", node.children().collect(), around(Some(path))),
            ] {
                if has != should {
                    wrong.push(format!("{path} has the {what} {has:?}, not {should:?}"));
                }
            }
        }
        wrong
    }

    /// Lets time pass, after which everything must be right.
    fn heal(&mut self, within: Duration) {
        self.world.run_for(within);
        assert_eq!(self.wrong(), Vec::<String>::new(), "after {within:?}");
    }

    /// How many links apart two peers are, and over how many shortest ways.
    fn distances(&self, from: Peer) -> BTreeMap<Peer, (usize, usize)> {
        let mut found = BTreeMap::from([(from, (0, 1))]);
        let mut queue = std::collections::VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            let (hops, ways) = found[&at];
            for neighbor in self.node(at).neighbors() {
                let next = self.world.peer(&neighbor.peer).expect("a peer of this world");
                let entry = found.entry(next).or_insert_with(|| {
                    queue.push_back(next);
                    (hops + 1, 0)
                });
                if entry.0 == hops + 1 {
                    entry.1 += ways;
                }
            }
        }
        found
    }

    /// Who owns a target, and over how many links, by the engines themselves.
    fn lookup(&mut self, from: Peer, to: Target<Polyring>) -> Option<(Guid, usize)> {
        let ticket = self.world.ticket();
        self.world.command(from, Command::Lookup { ticket, to, n: 1 });
        self.world.run_until(30 * MOMENT, |world| world.ended(from, ticket).is_some());
        match self.world.take_ended(from, ticket)?.outcome {
            Outcome::Found { owner, hops, .. } => Some((owner?, hops as usize)),
            _ => None,
        }
    }

    /// A broadcast: how many copies were sent, how many peers had it, over how many links the last.
    fn broadcast(&mut self, from: Peer) -> (u64, usize, u8) {
        let before = *self.world.traffic();
        let seen = self.world.deliveries().len();
        self.world.publish(from, None, "news");
        self.world.run_for(10 * MOMENT);
        let deliveries = &self.world.deliveries()[seen..];
        let receivers: BTreeSet<Peer> = deliveries.iter().map(|delivery| delivery.peer).collect();
        assert_eq!(receivers.len(), deliveries.len(), "somebody was told twice");
        let last = deliveries.iter().map(|delivery| delivery.hops).max().unwrap_or_default();
        (self.world.traffic().since(&before).frames("copy"), receivers.len(), last)
    }
}

fn paths(places: &BTreeMap<Path, Guid>) -> Vec<String> {
    places.keys().map(Path::to_string).collect()
}

/// Three levels; the rings around [0] and [1] have different widths, and so have those further out.
fn unequal() -> Net {
    let mut net = Net::new(4, 3, 11);
    net.grow(34);
    for leaf in ["[1.3]", "[1.2]", "[2.0]", "[3.1]", "[3.2]", "[0.0.3]", "[0.1.1]", "[0.1.2]", "[0.1.3]", "[0.2.0]"] {
        let peer = net.at(leaf);
        net.world.leave(peer);
        net.world.run_for(30 * MOMENT);
    }
    net.heal(60 * MOMENT);
    let widths: BTreeSet<usize> = net.world.peers().map(|peer| net.node(peer).children().count()).collect();
    assert!(widths.len() >= 4, "{widths:?}");
    assert_eq!(net.places().keys().map(Path::level).max(), Some(3));
    net
}

#[test]
fn who_joins_one_after_the_other_makes_the_ideal_shape() {
    let mut net = Net::new(3, 3, 5);
    let mut peers: Vec<Peer> = (0..31).map(|_| net.spawn()).collect();
    // The ideal shape is that of peers who come in the order of their Guids.
    peers.sort_by_key(|&peer| net.world.guid(peer));
    for at in 0..peers.len() {
        let seeds = if at == 0 { vec![] } else { vec![peers[at / 2], peers[0]] };
        net.enter(peers[at], &seeds);
    }
    let census = net.world.census(&net.terms.name);
    for &peer in &peers {
        let place = polymorph_core::Place { overlay: census.overlay, me: net.world.guid(peer) };
        let mut ideal = <Polyring as Model>::new(&net.config, place);
        assert!(ideal.ideal(&net.config, &census));
        let node = net.node(peer);
        assert_eq!((node.path(), node.parent()), (ideal.path(), ideal.parent()));
        assert!(node.ring().eq(ideal.ring()) && node.children().eq(ideal.children()), "{:?}", node.path());
        let address = Target::Address(node.path().expect("a place").clone());
        assert_eq!(Polyring::owner(&net.config, &census, &address), Some(place.me));
    }
    assert!(net.world.blamed().is_empty(), "{:?}", net.world.blamed());
}

#[test]
fn in_unequal_rings_every_route_is_the_one_shortest_way() {
    let mut net = unequal();
    let peers: Vec<Peer> = net.world.peers().collect();
    for &from in &peers {
        let distances = net.distances(from);
        for &to in &peers {
            let (a, b) = (net.node(from).path().expect("a place"), net.node(to).path().expect("a place"));
            assert_eq!(distances[&to], (a.hops(b), 1), "{a} to {b}");
        }
    }
    for (at, &from) in peers.iter().enumerate() {
        let to = peers[(at * 7 + 3) % peers.len()];
        let (a, b) = (net.node(from).path().expect("a place").clone(), net.node(to).path().expect("a place").clone());
        let found = net.lookup(from, Target::Address(b.clone()));
        assert_eq!(found, Some((net.world.guid(to), a.hops(&b))), "{a} to {b}");
    }
    let from = peers[0];
    assert_eq!(net.lookup(from, Target::Address("[9.9]".parse().expect("a path"))), None);
}

#[test]
fn a_broadcast_is_n_minus_one_copies() {
    let mut net = unequal();
    let Claims { hops, .. } = Polyring::claims(&net.config, 64);
    let peers: Vec<Peer> = net.world.peers().collect();
    for &from in &peers {
        let (copies, receivers, last) = net.broadcast(from);
        assert_eq!(
            (copies as usize, receivers),
            (peers.len() - 1, peers.len() - 1),
            "from {:?}",
            net.node(from).path()
        );
        assert!(usize::from(last) <= hops.expect("a bound"), "{last} links");
    }
}

#[test]
fn keys_have_one_owner_wherever_one_asks() {
    let mut net = unequal();
    let peers: Vec<Peer> = net.world.peers().collect();
    let keys: Vec<Key> = (0..12_u8).map(|n| Key::of(&[n])).collect();
    let mut owners = Vec::new();
    for &key in &keys {
        let found: BTreeSet<Guid> =
            peers.iter().map(|&from| net.lookup(from, Target::Key(key)).expect("an owner").0).collect();
        assert_eq!(found.len(), 1, "{key}");
        let owner = net.world.peer(found.first().expect("one")).expect("a peer");
        assert_eq!(net.node(owner).children().count(), 0);
        owners.push(owner);
    }
    // Only the keys of who leaves go elsewhere, if it was not alone in its ring.
    let leaver = *owners.iter().find(|&&owner| net.node(owner).ring().count() > 1).expect("an owner with ring mates");
    net.world.leave(leaver);
    net.world.run_for(60 * MOMENT);
    let from = net.at("[0]");
    for (key, owner) in keys.iter().zip(owners) {
        let (now, _) = net.lookup(from, Target::Key(*key)).expect("an owner");
        assert_eq!(now == net.world.guid(owner), owner != leaver, "{key}");
    }
}

#[test]
fn a_departure_moves_one_peer_of_each_level_below_and_nobody_else() {
    let mut net = Net::new(3, 3, 7);
    net.grow(39);
    let before = net.places();
    let leaver = net.at("[1]");
    net.world.leave(leaver);
    net.world.run_for(20 * MOMENT);
    assert_eq!(net.wrong(), Vec::<String>::new());
    let after = net.places();
    let heirs = [("[1]", "[1.0]"), ("[1.0]", "[1.0.0]")].map(|(to, from)| {
        let place = |text: &str| text.parse::<Path>().expect("a path");
        (place(to), before[&place(from)])
    });
    for (place, guid) in &after {
        let heir = heirs.iter().find(|(to, _)| to == place).map(|(_, guid)| guid);
        assert_eq!(guid, heir.unwrap_or_else(|| &before[place]), "{place}");
    }
    assert_eq!(after.len(), 38);
    assert!(!paths(&after).contains(&"[1.0.0]".to_owned()), "the last heir's place stays empty");
    // Who comes next gets it, once it has rested for heirs.
    net.grow(1);
    assert_eq!(paths(&net.places()), paths(&before));
    assert!(net.world.blamed().is_empty(), "{:?}", net.world.blamed());
}

#[test]
fn who_finds_no_room_waits_for_it() {
    let mut net = Net::new(2, 2, 3);
    net.grow(6);
    let seed = net.at("[0]");
    let late = net.spawn();
    net.world.join(late, &[seed]);
    net.world.run_for(60 * MOMENT);
    assert!(!Net::is_in(&net.world, late));
    let leaver = net.at("[1.1]");
    net.world.leave(leaver);
    assert!(net.world.run_until(60 * MOMENT, |world| Net::is_in(world, late)));
    assert_eq!(net.node(late).path().map(Path::to_string).as_deref(), Some("[1.1]"));
}

#[test]
fn who_was_alone_in_the_center_is_replaced_too() {
    let mut net = Net::new(1, 3, 2);
    net.grow(3);
    assert_eq!(paths(&net.places()), ["[0]", "[0.0]", "[0.0.0]"]);
    let first = net.at("[0]");
    net.world.crash(first);
    net.heal(90 * MOMENT);
    assert_eq!(paths(&net.places()), ["[0]", "[0.0]"]);
}

#[test]
fn when_parent_and_grandparent_crash_at_once_their_descendants_find_back() {
    let mut net = Net::new(3, 3, 8);
    net.grow(39);
    for path in ["[2]", "[2.0]"] {
        let peer = net.at(path);
        net.world.crash(peer);
    }
    net.heal(180 * MOMENT);
    assert_eq!(net.places().len(), 37);
    assert!(net.world.blamed().is_empty(), "{:?}", net.world.blamed());
}

/// Peers come, leave and crash, some at once, some minutes apart, but never the whole center at once.
fn storm(mut net: Net, draw: &mut Draw) {
    let (width, depth) = (net.config.width, net.config.depth);
    let places: usize = (1..=depth).map(|level| width.pow(level as u32)).sum();
    net.grow((1 + draw.below(40)).min(places));
    for _ in 0..1 + draw.below(12) {
        let alive: Vec<Peer> = net.world.peers().collect();
        let peer = alive[draw.below(alive.len())];
        let in_center = |peer: &Peer| net.node(*peer).path().is_some_and(|path| path.level() == 1);
        let (central, others) = (in_center(&peer), alive.iter().filter(|peer| in_center(peer)).count() > 1);
        match draw.below(3) {
            0 if others || !central => net.world.leave(peer),
            1 if others || !central => net.world.crash(peer),
            _ if alive.len() < places => {
                let newcomer = net.spawn();
                net.world.join(newcomer, &alive[..alive.len().min(3)]);
            }
            _ => {}
        }
        let pause = [0, 20, 100, 1_000, 10_000, 60_000][draw.below(6)];
        net.world.run_for(Duration::from_millis(if central { 60_000 } else { pause }));
    }
    // What is wrong is looked for every few seconds: under breaking wires nothing stays right for ever.
    let healed = (0..60).any(|_| {
        net.world.run_for(5 * MOMENT);
        net.wrong().is_empty() || net.places().is_empty()
    });
    assert!(healed, "{:#?}", net.wrong());
    assert!(net.world.blamed().is_empty(), "{:?}", net.world.blamed());
}

#[test]
fn after_any_storm_everybody_has_a_place_and_all_tables_are_right() {
    for seed in 0..60 {
        let mut draw = Draw(seed);
        let (width, depth) = (2 + draw.below(4), 2 + draw.below(3));
        storm(Net::new(width, depth, seed), &mut draw);
    }
}

#[test]
fn wires_that_break_all_the_time_do_not_break_the_polyring() {
    for seed in 1000..1030 {
        let mut draw = Draw(seed);
        let (width, depth) = (2 + draw.below(4), 2 + draw.below(3));
        let options = Options { wire_life: Some(60 * MOMENT), ..Options::seeded(seed) };
        storm(Net::with(width, depth, options), &mut draw);
    }
}

#[test]
fn the_same_seed_goes_the_same_way() {
    let run = || {
        let mut net = Net::new(3, 3, 99);
        net.grow(20);
        let peer = net.at("[0]");
        net.world.crash(peer);
        net.world.run_for(60 * MOMENT);
        net.world.trace_hash().to_string()
    };
    assert_eq!(run(), run());
}

#[test]
fn ideal_tables_are_left_and_healed_like_grown_ones() {
    let mut net = Net::new(4, 3, 21);
    net.world.ideal(&net.terms, &net.config, 70).expect("it fits");
    assert_eq!(net.wrong(), Vec::<String>::new());
    let from = net.at("[3.3]");
    assert_eq!(net.broadcast(from).0, 69);
    net.world.run_for(60 * MOMENT);
    for path in ["[0]", "[1.1]", "[0.0.2]"] {
        let peer = net.at(path);
        net.world.crash(peer);
    }
    net.heal(180 * MOMENT);
    assert_eq!(net.broadcast(from).0, 66);
}

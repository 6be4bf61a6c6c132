//! Worlds that grow, and what is asked of them: what the tests of all ring topologies share.

use std::time::Duration;

use polymorph_core::topology::Topology;
use polymorph_core::topology::model::{Census, Model};
use polymorph_core::topology::question::Role;
use polymorph_core::{Guid, Key};
use polymorph_sim::latency::Plane;
use polymorph_sim::trace::TraceHash;
use polymorph_sim::workload::{self, Lookups};
use polymorph_sim::{Latency, Options, Peer, Terms, World, report};

/// A world in which all are equally far from each other.
pub(crate) fn world<T: Topology>(seed: u64) -> World<T> {
    println!("seed {seed}");
    World::new(Options::seeded(seed))
}

/// A world in which some are nearer than others.
pub(crate) fn on_a_plane<T: Topology>(seed: u64) -> World<T> {
    println!("seed {seed}");
    World::new(Options { latency: Latency::Coordinates(Plane::default()), ..Options::seeded(seed) })
}

/// A world of nodes that have their places already.
pub(crate) fn settled<M: Model>(seed: u64, config: &M::Config, peers: usize) -> (World<M>, Vec<Peer>) {
    let mut world = world(seed);
    let peers = world.ideal(&Terms::default(), config, peers).expect("it knows its ideal tables");
    (world, peers)
}

/// Somebody who is not in yet.
pub(crate) fn add<M: Model>(world: &mut World<M>, config: &M::Config) -> Peer {
    add_on(world, &Terms::default(), config)
}

/// The same with other settings of the overlay.
pub(crate) fn add_on<M: Model>(world: &mut World<M>, terms: &Terms, config: &M::Config) -> Peer {
    world.add(terms, |place| M::new(config, place)).expect("the engine takes it")
}

/// Lets the peer of this number join, through the one of half of it.
pub(crate) fn join_next<M: Model>(world: &mut World<M>, config: &M::Config, number: u32) -> Peer {
    let peer = add(world, config);
    let seeds: Vec<Peer> = (number > 0).then_some(Peer(number / 2)).into_iter().collect();
    world.join(peer, &seeds);
    peer
}

/// Lets peers join one after the other, each through somebody drawn from those before.
pub(crate) fn grow<M: Model>(world: &mut World<M>, config: &M::Config, peers: usize, every: Duration) {
    grow_on(world, &Terms::default(), config, peers, every);
}

/// The same with other settings of the overlay.
pub(crate) fn grow_on<M: Model>(
    world: &mut World<M>,
    terms: &Terms,
    config: &M::Config,
    peers: usize,
    every: Duration,
) {
    for number in 0..peers {
        let peer = add_on(world, terms, config);
        let seeds: Vec<Peer> = (number > 0).then(|| Peer((number * 7919 % number.max(1)) as u32)).into_iter().collect();
        world.join(peer, &seeds);
        world.run_for(every);
    }
}

/// Lets a crowd join at the same moment through one seed.
pub(crate) fn crowd<M: Model>(world: &mut World<M>, terms: &Terms, config: &M::Config, peers: usize, seed: Peer) {
    for _ in 0..peers {
        let peer = add_on(world, terms, config);
        world.join(peer, &[seed]);
    }
}

/// Somebody crashes and somebody else joins in its stead, through three of those who are there.
pub(crate) fn replace<M: Model>(world: &mut World<M>, config: &M::Config, alive: &mut Vec<Peer>, round: usize) {
    let newcomer = add(world, config);
    world.join(newcomer, &[1, 2, 3].map(|step| alive[(round * 13 + step) % alive.len()]));
    world.crash(alive.swap_remove(round * 7919 % alive.len()));
    alive.push(newcomer);
}

/// Every fifth crashes.
pub(crate) fn crash_a_fifth<T: Topology>(world: &mut World<T>, peers: &[Peer]) {
    peers.iter().step_by(5).for_each(|peer| world.crash(*peer));
}

/// Every fifth leaves in good order, one after the other.
pub(crate) fn leave_a_fifth<T: Topology>(world: &mut World<T>, peers: &[Peer], every: Duration) {
    for &peer in peers.iter().step_by(5) {
        world.leave(peer);
        world.run_for(every);
    }
}

/// Whether somebody has its place.
pub(crate) fn is_member<T: Topology>(world: &World<T>, peer: Peer) -> bool {
    world.topology(peer).is_some_and(|node| !node.addresses().is_empty())
}

/// Everybody who has its place; those who are still looking for one are not.
pub(crate) fn members<T: Topology>(world: &World<T>) -> Census {
    let members = world.peers().filter(|&peer| is_member(world, peer)).map(|peer| world.guid(peer)).collect();
    Census::new(Terms::default().name.id(), members)
}

/// One of these who has its place.
pub(crate) fn a_member<T: Topology>(world: &World<T>, peers: &[Peer], at: usize) -> Peer {
    *peers.iter().cycle().skip(at).take(peers.len()).find(|peer| is_member(world, **peer)).expect("a member")
}

/// A node's neighbors of a kind.
pub(crate) fn with_role<T: Topology>(world: &World<T>, peer: Peer, role: Role) -> Vec<Guid> {
    let neighbors = world.topology(peer).map(Topology::neighbors).unwrap_or_default();
    neighbors.into_iter().filter(|neighbor| neighbor.role == role).map(|neighbor| neighbor.peer).collect()
}

/// How often a peer refused what it was told.
pub(crate) fn doubts<T: Topology>(world: &World<T>, peer: Peer) -> u64 {
    world.engine(peer).and_then(|engine| engine.metrics(world.slot(peer))).map_or(0, |metrics| metrics.doubts)
}

/// The owner that the model names of a key.
pub(crate) fn owner<M: Model>(config: &M::Config, census: &Census, key: Key) -> Option<Guid> {
    workload::owner_of::<M>(config)(census, &key)
}

/// Asks who owns keys, from everywhere.
pub(crate) fn look_up<M: Model>(world: &mut World<M>, config: &M::Config, count: usize) -> report::Lookups {
    let plan = Lookups { count, every: Duration::from_millis(5), ..Lookups::default() };
    let lookups = workload::lookups(world, &Terms::default().name, &plan, workload::owner_of::<M>(config));
    println!("{lookups:?}");
    lookups
}

/// All answers are there, and right.
pub(crate) fn assert_all_right<M: Model>(world: &mut World<M>, config: &M::Config, count: usize) -> report::Lookups {
    let lookups = look_up(world, config, count);
    assert_eq!((lookups.ok, lookups.consistent), (count, Some(count)));
    lookups
}

/// Some join, one crashes, time passes; twice, and both times the same happens.
pub(crate) fn assert_goes_the_same_way<M: Model>(make: impl Fn() -> World<M>, config: &M::Config) {
    let run = || -> TraceHash {
        let mut world = make();
        grow(&mut world, config, 40, Duration::from_millis(500));
        world.crash(Peer(7));
        world.run_for(Duration::from_secs(100));
        world.trace_hash()
    };
    assert_eq!(run(), run());
}

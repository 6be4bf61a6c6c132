//! HyParView, and Plumtree on it, in virtual time: the properties their papers claim.

use core::time::Duration;
use std::collections::BTreeSet;

use polymorph_core::Topology;
use polymorph_core::topology::model::Model;
use polymorph_core::topology::question::Role;
use polymorph_sim::report::Window;
use polymorph_sim::witness::Keep;
use polymorph_sim::workload::{Broadcasts, Failure, Sources, broadcasts, windows};
use polymorph_sim::{Options, Peer, Terms, World};
use polymorph_topologies::mesh::HyParViewPlumtree;
use polymorph_topologies::mesh::hyparview::HyParView;

type Net = World<HyParViewPlumtree>;
type Config = <HyParViewPlumtree as Model>::Config;

const SECOND: Duration = Duration::from_secs(1);

/// A world into which peers came `together` at a time, all through the first one, and in which `cycles` passed.
fn grown<M: Model>(config: &M::Config, options: Options, peers: usize, together: usize, cycles: u32) -> World<M> {
    println!("seed {}", options.seed);
    let mut world = World::<M>::new(options);
    let mut first = None;
    for number in 0..peers {
        let peer = world.add(&Terms::default(), |place| M::new(config, place)).expect("the engine takes it");
        let seeds: Vec<Peer> = first.into_iter().collect();
        world.join(peer, &seeds);
        first.get_or_insert(peer);
        if number % together == 0 {
            world.run_for(SECOND);
        }
    }
    world.run_for(cycles * 30 * SECOND);
    world
}

fn net(seed: u64, peers: usize) -> Net {
    grown(&Config::default(), Options::seeded(seed), peers, 1, 3)
}

/// Whoever has somebody in its active view is in that one's too.
fn assert_symmetric(world: &Net) {
    for peer in world.peers() {
        for other in world.topology(peer).expect("there").base.active() {
            let back = world.peer(other).filter(|&back| world.is_alive(back)).expect("a dead neighbor");
            let theirs = world.topology(back).expect("there").base.active();
            assert!(theirs.contains(&world.guid(peer)), "{peer:?} is no neighbor of {back:?}");
        }
    }
}

fn degrees<T: Topology>(world: &World<T>) -> Vec<usize> {
    let active = |peer| {
        let neighbors = world.topology(peer).expect("there").neighbors();
        neighbors.iter().filter(|neighbor| neighbor.role == Role::Active).count()
    };
    world.peers().map(active).collect()
}

/// How many copies a broadcast took, how many peers had it, and over how many links the last.
fn publish<T: Topology>(world: &mut World<T>, from: Peer) -> (u64, usize, u8) {
    let (before, seen) = (*world.traffic(), world.deliveries().len());
    world.publish(from, None, "news");
    world.run_for(5 * SECOND);
    let deliveries = &world.deliveries()[seen..];
    let receivers: BTreeSet<Peer> = deliveries.iter().map(|delivery| delivery.peer).collect();
    assert_eq!(receivers.len(), deliveries.len(), "somebody was told twice");
    let last = deliveries.iter().map(|delivery| delivery.hops).max().unwrap_or_default();
    (world.traffic().since(&before).frames("copy"), receivers.len(), last)
}

#[test]
fn active_views_are_symmetric_and_nearly_all_full() {
    let world = net(1, 120);
    assert_symmetric(&world);
    let degrees = degrees(&world);
    assert!(degrees.iter().all(|&degree| degree <= 5));
    assert!(degrees.iter().filter(|&&degree| degree == 5).count() >= 112, "{degrees:?}");
    for peer in world.peers() {
        let views = &world.topology(peer).expect("there").base;
        let all: BTreeSet<_> = views.active().iter().chain(views.passive()).collect();
        assert_eq!(all.len(), views.active().len() + views.passive().len(), "somebody is in a view twice");
        assert!(!all.contains(&world.guid(peer)) && views.passive().len() <= 30 && views.passive().len() >= 15);
    }
    assert!(world.blamed().is_empty(), "{:?}", world.blamed());
}

#[test]
fn a_crowd_at_one_contact_becomes_as_good_a_mesh_as_peers_that_come_one_by_one() {
    for together in [1, 20, 160] {
        let mut world = grown::<HyParViewPlumtree>(&Config::default(), Options::seeded(2), 160, together, 5);
        assert_symmetric(&world);
        let first = world.peers().next().expect("a peer");
        let (_, receivers, last) = publish(&mut world, first);
        assert_eq!(receivers, 159, "{together} at a time");
        // A random 5-regular graph of 160 has a diameter of 5 or 6.
        assert!(last <= 7, "{together} at a time: {last} links");
    }
}

#[test]
fn a_tree_stands_after_the_first_broadcast_and_nothing_is_sent_twice_from_then_on() {
    // Long enough for the last few with a neighbor too few to have found one.
    let mut world: Net = grown(&Config::default(), Options::seeded(3), 120, 1, 8);
    let from = world.peers().nth(60).expect("a peer");
    let (flood, receivers, _) = publish(&mut world, from);
    let links: usize = degrees(&world).iter().sum();
    // A flood crosses every link in both directions, but those over which first copies came.
    assert_eq!((flood as usize, receivers), (links - 119, 119));
    for _ in 0..5 {
        let (copies, receivers, _) = publish(&mut world, from);
        assert_eq!((copies, receivers), (119, 119));
    }
    for peer in world.peers() {
        let tree = &world.topology(peer).expect("there").upper;
        let all: BTreeSet<_> = tree.eager().iter().chain(tree.lazy()).copied().collect();
        let below = world.topology(peer).expect("there").base.active().iter().copied().collect();
        assert_eq!(
            (all, tree.eager().len() + tree.lazy().len()),
            (below, world.topology(peer).unwrap().base.active().len())
        );
    }
}

/// The tree is one for all: with every threshold, changing senders cause no copy too many.
#[test]
fn senders_that_take_turns_share_the_tree() {
    for (threshold, seed) in [(1, 4), (3, 5), (7, 6)] {
        let mut config = Config::default();
        config.0.threshold = threshold;
        let mut world = grown::<HyParViewPlumtree>(&config, Options::seeded(seed), 120, 1, 3);
        let plan = Broadcasts { count: 30, sources: Sources::Random, ..Broadcasts::default() };
        let measured = broadcasts(&mut world, &Terms::default().name, &plan);
        assert_eq!(measured.reliability, 1.0, "threshold {threshold}");
        let redundancy = measured.redundancy.expect("somebody received");
        assert!(redundancy < 0.01, "threshold {threshold}: {redundancy}");
    }
}

#[test]
fn a_low_threshold_makes_the_tree_flatter() {
    let last_hop = |threshold| {
        let mut config = Config::default();
        config.0.threshold = threshold;
        let mut world = grown::<HyParViewPlumtree>(&config, Options::seeded(9), 150, 1, 3);
        // One sender makes the tree, then the one farthest from it sends: its ways are longer than they need be.
        let from = world.peers().next().expect("a peer");
        publish(&mut world, from);
        let farthest = world.deliveries().iter().max_by_key(|delivery| delivery.hops).expect("a delivery").peer;
        (0..8).map(|_| publish(&mut world, farthest).2).last().expect("the last")
    };
    let (bent, left) = (last_hop(1), last_hop(u8::MAX));
    assert!(bent < left, "{bent} links, not fewer than {left}");
}

#[test]
fn an_inner_node_of_the_tree_that_crashes_costs_nobody_the_news() {
    let mut world = net(10, 120);
    let from = world.peers().next().expect("a peer");
    publish(&mut world, from);
    let eager = |peer: &Peer| world.topology(*peer).expect("there").upper.eager().len();
    let inner = world.peers().filter(|&peer| peer != from).max_by_key(eager).expect("a peer");
    assert!(eager(&inner) >= 3);
    world.crash(inner);
    // Before anybody has noticed: the copies for it are lost, and those behind it ask who announced them.
    assert_eq!(publish(&mut world, from).1, 118);
    world.run_for(60 * SECOND);
    assert_symmetric(&world);
    publish(&mut world, from);
    let (copies, receivers, _) = publish(&mut world, from);
    assert_eq!((copies, receivers), (118, 118));
}

#[test]
fn half_of_all_crash_at_once_and_the_rest_hears_everything_again() {
    let mut world = net(11, 160);
    let peers: Vec<Peer> = world.peers().collect();
    peers.iter().skip(1).step_by(2).for_each(|&peer| world.crash(peer));
    world.run_for(3 * 30 * SECOND);
    assert_symmetric(&world);
    assert_eq!(publish(&mut world, peers[0]).1, 79);
    assert_eq!(publish(&mut world, peers[158]).1, 79);
    let dead = |guid: &polymorph_core::Guid| world.peer(guid).is_none_or(|peer| !world.is_alive(peer));
    for peer in world.peers() {
        assert!(!world.topology(peer).expect("there").base.active().iter().any(dead));
    }
    assert!(world.blamed().is_empty(), "{:?}", world.blamed());
}

/// Four of five fail at once: use alone brings nearly all survivors together again, and repair the rest.
#[test]
fn four_of_five_fail_and_the_survivors_find_each_other_by_what_they_send() {
    let mut world = Net::new(Options { keep: Keep::Tallies, ..Options::seeded(19) });
    let peers = world.ideal(&Terms::default(), &Config::default(), 1000).expect("it can");
    world.run_for(2 * SECOND);
    broadcasts(&mut world, &Terms::default().name, &Broadcasts { count: 3, ..Broadcasts::default() });
    let failure = Failure { share: 0.8, quiet: 90 * SECOND };
    let measured = windows(&mut world, &failure, |world| {
        let plan = Broadcasts { count: 40, warmup: 0, ..Broadcasts::default() };
        Window { lookups: None, broadcast: Some(broadcasts(world, &Terms::default().name, &plan)) }
    });
    assert_eq!(world.alive(), peers.len() / 5);
    let [before, after] =
        [measured.before_repair, measured.after_repair].map(|window| window.unwrap().broadcast.unwrap());
    assert!(before.reliability_first < 0.5, "{before:?}");
    assert!(before.reliability > 0.8, "{before:?}");
    assert!(after.reliability >= 0.998, "{after:?}");
    assert!(world.blamed().is_empty(), "{:?}", world.blamed());
}

#[test]
fn who_loses_all_neighbors_comes_back_by_itself() {
    let mut world = net(12, 60);
    let lonely = world.peers().nth(30).expect("a peer");
    let neighbors = world.topology(lonely).expect("there").base.active().to_vec();
    for neighbor in neighbors {
        let peer = world.peer(&neighbor).expect("a peer");
        world.crash(peer);
    }
    // A crash is noticed within 30 s; then one neighbor is found at once, and with too few one insists after a while.
    world.run_for(60 * SECOND);
    assert!(!world.topology(lonely).expect("there").base.active().is_empty());
    world.run_for(180 * SECOND);
    assert!(world.topology(lonely).expect("there").base.active().len() >= 4);
    let from = world.peers().next().expect("a peer");
    assert_eq!(publish(&mut world, from).1, world.alive() - 1);
}

#[test]
fn with_nobody_left_in_any_view_the_seeds_are_asked() {
    let config = Config::default();
    let mut world = Net::new(Options::seeded(13));
    let peers: Vec<Peer> = (0..3)
        .map(|_| world.add(&Terms::default(), |place| <HyParViewPlumtree as Model>::new(&config, place)).unwrap())
        .collect();
    world.join(peers[0], &[]);
    // The only seed is not in the overlay yet; whoever asks is answered all the same, once it is there.
    world.crash(peers[2]);
    world.join(peers[1], &[peers[2], peers[0]]);
    world.run_for(30 * SECOND);
    assert_eq!(world.topology(peers[1]).expect("there").base.active(), [world.guid(peers[0])]);
    assert_symmetric(&world);
}

#[test]
fn who_leaves_is_in_no_view_any_longer() {
    let mut world = net(14, 40);
    let leaver = world.peers().nth(20).expect("a peer");
    let gone = world.guid(leaver);
    world.leave(leaver);
    world.run_for(30 * SECOND);
    assert_symmetric(&world);
    assert!(world.peers().all(|peer| !world.topology(peer).expect("there").base.active().contains(&gone)));
    let from = world.peers().next().expect("a peer");
    assert_eq!(publish(&mut world, from).1, 38);
}

#[test]
fn by_itself_the_mesh_floods() {
    let mut world = grown::<HyParView>(&Default::default(), Options::seeded(15), 80, 1, 3);
    let from = world.peers().nth(40).expect("a peer");
    for _ in 0..3 {
        let (copies, receivers, _) = publish(&mut world, from);
        assert_eq!((copies as usize, receivers), (degrees(&world).iter().sum::<usize>() - 79, 79));
    }
}

#[test]
fn wires_that_break_all_the_time_lose_no_peer() {
    let options = Options { wire_life: Some(120 * SECOND), ..Options::seeded(16) };
    let mut world = grown::<HyParViewPlumtree>(&Config::default(), options, 80, 4, 10);
    let plan = Broadcasts { count: 30, sources: Sources::Random, ..Broadcasts::default() };
    let measured = broadcasts(&mut world, &Terms::default().name, &plan);
    assert!(measured.reliability > 0.99, "{measured:?}");
    assert!(world.blamed().is_empty(), "{:?}", world.blamed());
}

#[test]
fn ideal_views_carry_broadcasts_and_heal() {
    let mut world = Net::new(Options::seeded(17));
    let peers = world.ideal(&Terms::default(), &Config::default(), 200).expect("it can");
    assert_symmetric(&world);
    // The links come up, and the few with a neighbor too few look for one.
    world.run_for(90 * SECOND);
    let links: usize = degrees(&world).iter().sum();
    assert_eq!(publish(&mut world, peers[0]).0 as usize, links - 199);
    assert_eq!(publish(&mut world, peers[0]).0, 199);
    peers.iter().skip(150).for_each(|&peer| world.crash(peer));
    world.run_for(90 * SECOND);
    assert_symmetric(&world);
    assert_eq!(publish(&mut world, peers[0]).1, 149);
}

#[test]
fn the_same_seed_goes_the_same_way() {
    let run = || {
        let mut world = net(18, 40);
        let from = world.peers().next().expect("a peer");
        publish(&mut world, from);
        world.trace_hash().to_string()
    };
    assert_eq!(run(), run());
}

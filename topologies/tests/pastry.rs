//! Pastry in virtual time, on the real engine: joining, crashing, leaving, and nearness.

use std::time::Duration;

use polymorph_core::topology::Topology;
use polymorph_core::topology::model::Model;
use polymorph_core::topology::question::{Query, Role, Route, Target, Verdict};
use polymorph_core::{Guid, Key};
use polymorph_sim::latency::Plane;
use polymorph_sim::workload::{self, Lookups};
use polymorph_sim::{Latency, Options, Peer, Terms, World, report};
use polymorph_topologies::ring::pastry::{Config, Pastry, Proximity};

fn world(seed: u64) -> World<Pastry> {
    println!("seed {seed}");
    World::new(Options::seeded(seed))
}

fn on_a_plane(seed: u64) -> World<Pastry> {
    println!("seed {seed}");
    World::new(Options { latency: Latency::Coordinates(Plane::default()), ..Options::seeded(seed) })
}

fn add(world: &mut World<Pastry>, config: &Config) -> Peer {
    world.add(&Terms::default(), |place| Pastry::new(config, place)).expect("it is taken")
}

/// Lets peers join one after the other, each through somebody drawn from those before.
fn grow(world: &mut World<Pastry>, config: &Config, peers: usize, every: Duration) {
    for number in 0..peers {
        let peer = add(world, config);
        let seeds: Vec<Peer> = (number > 0).then(|| Peer((number * 7919 % number.max(1)) as u32)).into_iter().collect();
        world.join(peer, &seeds);
        world.run_for(every);
    }
}

fn is_member(world: &World<Pastry>, peer: Peer) -> bool {
    world.topology(peer).is_some_and(|node| !node.addresses().is_empty())
}

fn with_role(world: &World<Pastry>, peer: Peer, role: Role) -> Vec<Guid> {
    let neighbors = world.topology(peer).map(Topology::neighbors).unwrap_or_default();
    neighbors.into_iter().filter(|neighbor| neighbor.role == role).map(|neighbor| neighbor.peer).collect()
}

/// How many leaf sets are not what they should be.
fn count_wrong(world: &World<Pastry>, config: &Config) -> usize {
    let census = world.census(&Terms::default().name);
    let count = census.ring.len();
    let is_wrong = |peer: &Peer| {
        let at = census.ring.iter().position(|(_, guid)| *guid == world.guid(*peer)).expect("a member");
        let half = (config.leaf / 2).min(count - 1);
        let around = (1..=half).flat_map(|step| [at + step, at + count - step]);
        let mut right: Vec<Guid> = around.map(|index| census.ring[index % count].1).collect();
        right.sort_unstable();
        right.dedup();
        let mut leafs = with_role(world, *peer, Role::Leaf);
        leafs.sort_unstable();
        leafs != right
    };
    world.peers().filter(is_wrong).count()
}

fn look_up(world: &mut World<Pastry>, config: &Config, count: usize) -> report::Lookups {
    let plan = Lookups { count, every: Duration::from_millis(5), ..Lookups::default() };
    let lookups = workload::lookups(world, &Terms::default().name, &plan, workload::owner_of::<Pastry>(config));
    println!("{lookups:?}");
    lookups
}

fn assert_all_right(world: &mut World<Pastry>, config: &Config, count: usize) -> report::Lookups {
    let lookups = look_up(world, config, count);
    assert_eq!((lookups.ok, lookups.consistent), (count, Some(count)));
    lookups
}

#[test]
fn two_nodes_are_each_others_leaf_set() {
    let (config, mut world) = (Config::default(), world(1));
    grow(&mut world, &config, 2, Duration::from_secs(10));
    assert_eq!(count_wrong(&world, &config), 0);
    assert_all_right(&mut world, &config, 50);
}

#[test]
fn a_hundred_join_one_by_one_with_right_leaf_sets_after_each() {
    let (config, mut world) = (Config::default(), world(2));
    for number in 0..100 {
        let peer = add(&mut world, &config);
        let seeds: Vec<Peer> = (number > 0).then_some(Peer(number / 2)).into_iter().collect();
        world.join(peer, &seeds);
        world.run_for(Duration::from_secs(20));
        assert!(is_member(&world, peer), "{peer:?} has not joined: {:?}", world.topology(peer));
        assert_eq!(count_wrong(&world, &config), 0, "after {number}");
    }
    assert_all_right(&mut world, &config, 300);
}

#[test]
fn a_crowd_that_joins_at_once_through_one_seed_finds_its_places() {
    let (config, mut world) = (Config::default(), world(3));
    grow(&mut world, &config, 1, Duration::from_secs(1));
    for _ in 0..200 {
        let peer = add(&mut world, &config);
        world.join(peer, &[Peer(0)]);
    }
    world.run_for(Duration::from_secs(180));
    assert!(world.peers().all(|peer| is_member(&world, peer)));
    assert_eq!(count_wrong(&world, &config), 0);
    assert_all_right(&mut world, &config, 500);
}

#[test]
fn tables_that_grew_are_near_and_routes_hardly_longer_than_the_straight_way() {
    let (config, mut world) = (Config::default(), on_a_plane(4));
    grow(&mut world, &config, 300, Duration::from_secs(4));
    world.run_for(Duration::from_secs(Pastry::claims(&config, 300).quiet));
    assert_eq!(count_wrong(&world, &config), 0);
    assert_all_right(&mut world, &config, 500);
    let mut far = on_a_plane(4);
    let without = Config { proximity: Proximity::None, ..config };
    grow(&mut far, &without, 300, Duration::from_secs(1));
    let (near, far) = (stretch(&world), stretch(&far));
    println!("stretch {near:.3} with nearness, {far:.3} without");
    assert!(near < 1.45 && near < 0.8 * far);
}

/// How much longer ways are than the straight ones, all taken together.
fn stretch(world: &World<Pastry>) -> f64 {
    let peers: Vec<Peer> = world.peers().collect();
    let (mut way, mut straight) = (0.0, 0.0);
    for number in 0..2000_usize {
        let from = peers[number * 31 % peers.len()];
        let to = Target::Key(Key::of(&number.to_le_bytes()));
        let mut at = from;
        loop {
            let mut route = Route::default();
            world.topology(at).expect("alive").route(&Query::new(&to, 1), &mut route);
            let Verdict::Forward = route.verdict else { break };
            let next = world.peer(&route.peers[0]).expect("somebody");
            way += world.latency(at, next).as_secs_f64();
            at = next;
        }
        if at != from {
            straight += world.latency(from, at).as_secs_f64();
        }
    }
    way / straight
}

#[test]
fn a_fifth_crashes_at_once_and_leaf_sets_and_tables_heal() {
    let (config, mut world) = (Config::default(), world(5));
    let peers = world.ideal(&Terms::default(), &config, 500).expect("Pastry knows its ideal tables");
    world.run_for(Duration::from_secs(30));
    for &peer in peers.iter().step_by(5) {
        world.crash(peer);
    }
    world.run_for(Duration::from_secs(Pastry::claims(&config, 500).quiet));
    assert_eq!(count_wrong(&world, &config), 0);
    assert_all_right(&mut world, &config, 1000);
}

#[test]
fn a_fifth_leaves_in_good_order_and_keys_are_found_all_the_while() {
    let (config, mut world) = (Config::default(), world(6));
    let peers = world.ideal(&Terms::default(), &config, 200).expect("Pastry knows its ideal tables");
    world.run_for(Duration::from_secs(60));
    for &peer in peers.iter().step_by(5) {
        world.leave(peer);
        world.run_for(Duration::from_secs(2));
    }
    assert_all_right(&mut world, &config, 1000);
    world.run_for(Duration::from_secs(Pastry::claims(&config, 200).quiet));
    assert_eq!(count_wrong(&world, &config), 0);
}

#[test]
fn a_node_whose_line_was_cut_finds_back() {
    let (config, mut world) = (Config::default(), world(7));
    grow(&mut world, &config, 30, Duration::from_secs(10));
    world.partition(&[Peer(3)]);
    world.run_for(Duration::from_secs(300));
    world.heal();
    world.run_for(Duration::from_secs(900));
    assert_eq!(count_wrong(&world, &config), 0);
    assert_all_right(&mut world, &config, 200);
}

#[test]
fn keys_are_found_while_peers_come_and_crash_all_the_time() {
    let (config, mut world) = (Config::default(), world(8));
    let mut alive = world.ideal(&Terms::default(), &config, 300).expect("Pastry knows its ideal tables");
    let (mut asked, mut right) = (0, 0);
    // A peer lives for ten minutes on average.
    for round in 0..300_usize {
        let newcomer = add(&mut world, &config);
        world.join(newcomer, &[1, 2, 3].map(|step| alive[(round * 13 + step) % alive.len()]));
        world.crash(alive.swap_remove(round * 7919 % alive.len()));
        alive.push(newcomer);
        world.run_for(Duration::from_secs(2));
        let asker = *alive.iter().cycle().skip(round * 31).find(|&&peer| is_member(&world, peer)).expect("a member");
        let key = Key::of(&(round as u64).to_le_bytes());
        let ticket = world.lookup(asker, key, 1);
        let members = world.peers().filter(|&peer| is_member(&world, peer)).map(|peer| world.guid(peer)).collect();
        world.run_until(Duration::from_secs(30), |world| world.ended(asker, ticket).is_some());
        asked += 1;
        let census = polymorph_core::topology::model::Census::new(Terms::default().name.id(), members);
        let owner = Pastry::owner(&config, &census, &Target::Key(key));
        if let Some(polymorph_core::engine::Outcome::Found { owner: found, .. }) =
            world.take_ended(asker, ticket).map(|ended| ended.outcome)
        {
            right += usize::from(found == owner);
        }
    }
    println!("{right} of {asked} right");
    assert!(right * 100 >= asked * 98);
    world.run_for(Duration::from_secs(240));
    assert!(world.peers().all(|peer| is_member(&world, peer)));
    assert_all_right(&mut world, &config, 500);
}

#[test]
fn random_hops_take_other_ways_and_end_at_the_same_owner() {
    let hops = |random: f64| {
        let (config, mut world) = (Config { random, ..Config::default() }, world(9));
        world.ideal(&Terms::default(), &config, 1000).expect("Pastry knows its ideal tables");
        assert_all_right(&mut world, &config, 1000).hops.expect("some ended").mean
    };
    let (plain, random) = (hops(0.0), hops(0.5));
    println!("{plain:.3} hops, {random:.3} with random ones");
    assert!(random > plain + 0.1 && random < plain + 2.0);
}

#[test]
fn the_same_seed_goes_the_same_way() {
    let run = || {
        let (config, mut world) = (Config::default(), on_a_plane(10));
        grow(&mut world, &config, 40, Duration::from_millis(700));
        world.crash(Peer(7));
        world.run_for(Duration::from_secs(90));
        world.trace_hash()
    };
    assert_eq!(run(), run());
}

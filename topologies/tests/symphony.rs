//! Symphony in virtual time, on the real engine.

use std::time::Duration;

use polymorph_core::topology::Topology;
use polymorph_core::topology::model::Model;
use polymorph_core::topology::question::Role;
use polymorph_sim::workload::{self, Lookups};
use polymorph_sim::{Options, Peer, Terms, World, report};
use polymorph_topologies::ring::symphony::{Config, Symphony};

fn world(seed: u64) -> World<Symphony> {
    println!("seed {seed}");
    World::new(Options::seeded(seed))
}

fn grow(world: &mut World<Symphony>, config: &Config, peers: usize, every: Duration) {
    for number in 0..peers {
        let peer = world.add(&Terms::default(), |place| Symphony::new(config, place)).expect("it is taken");
        let seeds: Vec<Peer> = (number > 0).then(|| Peer((number * 7919 % number.max(1)) as u32)).into_iter().collect();
        world.join(peer, &seeds);
        world.run_for(every);
    }
}

fn look_up(world: &mut World<Symphony>, config: &Config, count: usize) -> report::Lookups {
    let plan = Lookups { count, every: Duration::from_millis(5), ..Lookups::default() };
    let lookups = workload::lookups(world, &Terms::default().name, &plan, workload::owner_of::<Symphony>(config));
    println!("{lookups:?}");
    lookups
}

fn assert_all_right(world: &mut World<Symphony>, config: &Config, count: usize) -> f64 {
    let lookups = look_up(world, config, count);
    assert_eq!((lookups.ok, lookups.consistent), (count, Some(count)));
    lookups.hops.expect("some ended").mean
}

fn long_links(world: &World<Symphony>, peer: Peer) -> usize {
    let neighbors = world.topology(peer).map(Topology::neighbors).unwrap_or_default();
    neighbors.iter().filter(|neighbor| neighbor.role == Role::Finger).count()
}

#[test]
fn those_who_joined_draw_links_and_nobody_takes_more_than_it_should() {
    let (config, mut world) = (Config::default(), world(1));
    grow(&mut world, &config, 300, Duration::from_millis(500));
    world.run_for(Duration::from_secs(Symphony::claims(&config, 300).quiet));
    let links: Vec<usize> = world.peers().map(|peer| long_links(&world, peer)).collect();
    let mean = links.iter().sum::<usize>() as f64 / 300.0;
    println!("{mean:.2} long links, at most {:?}", links.iter().max());
    assert!(mean > 7.0 && links.iter().all(|links| *links <= 3 * config.links));
    let grown = assert_all_right(&mut world, &config, 1000);
    let mut ideal = self::world(2);
    ideal.ideal(&Terms::default(), &config, 300).expect("Symphony knows its ideal tables");
    let ideal = assert_all_right(&mut ideal, &config, 1000);
    println!("{grown:.2} hops, {ideal:.2} with ideal tables");
    assert!((grown - ideal).abs() < 0.6);
}

#[test]
fn a_look_ahead_saves_hops() {
    let hops = |lookahead| {
        let (config, mut world) = (Config { lookahead, ..Config::default() }, world(3));
        world.ideal(&Terms::default(), &config, 1000).expect("Symphony knows its ideal tables");
        assert_all_right(&mut world, &config, 1000)
    };
    let (without, with) = (hops(0), hops(1));
    println!("{without:.2} hops without a look ahead, {with:.2} with one");
    assert!(with < 0.7 * without);
}

#[test]
fn a_fifth_crashes_at_once_and_the_ring_and_its_links_heal() {
    let (config, mut world) = (Config::default(), world(4));
    let peers = world.ideal(&Terms::default(), &config, 400).expect("Symphony knows its ideal tables");
    world.run_for(Duration::from_secs(30));
    for &peer in peers.iter().step_by(5) {
        world.crash(peer);
    }
    world.run_for(Duration::from_secs(2 * Symphony::claims(&config, 400).quiet));
    assert_all_right(&mut world, &config, 1000);
    let mean = world.peers().map(|peer| long_links(&world, peer)).sum::<usize>() as f64 / 320.0;
    println!("{mean:.2} long links");
    assert!(mean > 7.0);
}

#[test]
fn the_same_seed_goes_the_same_way() {
    let run = || {
        let (config, mut world) = (Config::default(), world(5));
        grow(&mut world, &config, 40, Duration::from_millis(300));
        world.crash(Peer(7));
        world.run_for(Duration::from_secs(200));
        world.trace_hash()
    };
    assert_eq!(run(), run());
}

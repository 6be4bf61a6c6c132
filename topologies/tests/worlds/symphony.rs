//! Symphony in virtual time, on the real engine.

use std::time::Duration;

use polymorph_core::topology::Topology;
use polymorph_core::topology::model::Model;
use polymorph_core::topology::question::Role;
use polymorph_sim::{Peer, Terms, World};
use polymorph_topologies::ring::symphony::{Config, Symphony};

use crate::support::*;

fn mean_hops(world: &mut World<Symphony>, config: &Config, count: usize) -> f64 {
    assert_all_right(world, config, count).hops.expect("some ended").mean
}

fn long_links(world: &World<Symphony>, peer: Peer) -> usize {
    let neighbors = world.topology(peer).map(Topology::neighbors).unwrap_or_default();
    neighbors.iter().filter(|neighbor| neighbor.role == Role::Finger).count()
}

#[test]
fn those_who_joined_draw_links_and_nobody_takes_more_than_it_should() {
    let (config, mut world) = (Config::default(), world::<Symphony>(1));
    grow(&mut world, &config, 300, Duration::from_millis(500));
    world.run_for(Duration::from_secs(Symphony::claims(&config, 300).quiet));
    let links: Vec<usize> = world.peers().map(|peer| long_links(&world, peer)).collect();
    let mean = links.iter().sum::<usize>() as f64 / 300.0;
    println!("{mean:.2} long links, at most {:?}", links.iter().max());
    assert!(mean > 7.0 && links.iter().all(|links| *links <= 3 * config.links));
    let grown = mean_hops(&mut world, &config, 1000);
    let mut ideal = crate::support::world::<Symphony>(2);
    ideal.ideal(&Terms::default(), &config, 300).expect("it knows its ideal tables");
    let ideal = mean_hops(&mut ideal, &config, 1000);
    println!("{grown:.2} hops, {ideal:.2} with ideal tables");
    assert!((grown - ideal).abs() < 0.6);
}

#[test]
fn a_look_ahead_saves_hops() {
    let hops = |lookahead| {
        let (config, mut world) = (Config { lookahead, ..Config::default() }, world::<Symphony>(3));
        world.ideal(&Terms::default(), &config, 1000).expect("it knows its ideal tables");
        mean_hops(&mut world, &config, 1000)
    };
    let (without, with) = (hops(0), hops(1));
    println!("{without:.2} hops without a look ahead, {with:.2} with one");
    assert!(with < 0.7 * without);
}

#[test]
fn a_fifth_crashes_at_once_and_the_ring_and_its_links_heal() {
    let config = Config::default();
    let (mut world, peers) = settled::<Symphony>(4, &config, 400);
    world.run_for(Duration::from_secs(30));
    crash_a_fifth(&mut world, &peers);
    world.run_for(Duration::from_secs(2 * Symphony::claims(&config, 400).quiet));
    assert_all_right(&mut world, &config, 1000);
    let mean = world.peers().map(|peer| long_links(&world, peer)).sum::<usize>() as f64 / 320.0;
    println!("{mean:.2} long links");
    assert!(mean > 7.0);
}

#[test]
fn the_same_seed_goes_the_same_way() {
    assert_goes_the_same_way(|| world::<Symphony>(5), &Config::default());
}

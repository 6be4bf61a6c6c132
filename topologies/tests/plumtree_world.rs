//! HyParView and Plumtree in virtual time, built by joining.

#![cfg(feature = "hyparview-plumtree")]
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use core::time::Duration;

use polymorph_core::Guid;
use polymorph_core::topology::model::Model;
use polymorph_core::topology::question::{Hold, Neighbor, Role};
use polymorph_sim::workload::{Broadcasts, broadcasts};
use polymorph_sim::{Options, Peer, Terms, World};
use polymorph_topologies::mesh::HyParViewPlumtree;

type Net = World<HyParViewPlumtree>;

/// Peers that joined one after the other, each through an earlier one.
fn grown(peers: usize, seed: u64) -> Net {
    println!("seed {seed}");
    let mut world = Net::new(Options::seeded(seed));
    let mut inside: Vec<Peer> = Vec::new();
    for number in 0..peers {
        let peer = world.add(&Terms::default(), |place| Model::new(&Default::default(), place)).unwrap();
        let seeds = inside.get(number / 2).map_or(vec![], |&seed| vec![seed]);
        world.join(peer, &seeds);
        world.run_for(Duration::from_millis(300));
        inside.push(peer);
    }
    world.run_for(Duration::from_secs(60));
    world
}

fn active(world: &Net, peer: Peer) -> Vec<Guid> {
    let engine = world.engine(peer).unwrap();
    let linked = |n: &Neighbor| n.hold == Hold::Required && n.role != Role::Passive;
    let mut peers: Vec<Guid> = engine.neighbors(world.slot(peer)).into_iter().filter(linked).map(|n| n.peer).collect();
    peers.sort_unstable();
    peers.dedup();
    peers
}

fn measure(world: &mut Net, warmup: usize, count: usize) -> polymorph_sim::report::Broadcast {
    let plan = Broadcasts { count, warmup, ..Broadcasts::default() };
    broadcasts(world, &Terms::default().name, &plan)
}

#[test]
fn active_views_are_symmetric_and_no_larger_than_five() {
    let world = grown(200, 3);
    for peer in world.peers() {
        let mine = active(&world, peer);
        assert!((1..=5).contains(&mine.len()), "{} active", mine.len());
        for other in &mine {
            let theirs = active(&world, world.peer(other).unwrap());
            assert!(theirs.contains(&world.guid(peer)), "a link of one side only");
        }
    }
}

#[test]
fn every_broadcast_reaches_everybody_and_after_a_few_nobody_twice() {
    let mut world = grown(200, 4);
    let first = measure(&mut world, 0, 1);
    assert_eq!(first.reliability, 1.0, "the first floods: {first:?}");
    let later = measure(&mut world, 3, 20);
    assert_eq!(later.reliability, 1.0, "{later:?}");
    assert!(later.redundancy.unwrap() <= 0.02, "a tree has no copies to spare: {later:?}");
}

#[test]
fn a_third_may_crash_at_once_and_the_rest_hears_everything_again() {
    let mut world = grown(200, 5);
    measure(&mut world, 0, 3);
    let victims: Vec<Peer> = world.peers().filter(|peer| peer.0 % 3 == 1).collect();
    victims.into_iter().for_each(|peer| world.crash(peer));
    world.run_for(Duration::from_secs(90));
    let healed = measure(&mut world, 5, 10);
    assert_eq!(healed.reliability, 1.0, "{healed:?}");
}

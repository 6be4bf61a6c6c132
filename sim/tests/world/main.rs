//! Worlds of a small topology: that they go the same way twice, and that what they model is as they say.

mod access;
mod circle;
mod coming;
mod determinism;
mod links;
mod measures;
mod repair;

use core::time::Duration;

use circle::Circle;
use polymorph_core::Topology;
use polymorph_core::overlay::Place;
use polymorph_sim::{Options, Peer, Terms, World};

/// A world in which `count` peers joined one after the other through the first.
fn joined<T: Topology>(options: Options, count: usize, make: impl Fn(Place) -> T) -> (World<T>, Vec<Peer>) {
    let mut world = World::new(options);
    let mut peers: Vec<Peer> = Vec::new();
    for _ in 0..count {
        let peer = world.add(&Terms::default(), &make).expect("the engine takes it");
        world.join(peer, &peers[..peers.len().min(1)]);
        peers.push(peer);
        world.run_for(Duration::from_millis(500));
    }
    world.run_for(Duration::from_secs(10));
    (world, peers)
}

fn circle(options: Options, count: usize) -> (World<Circle>, Vec<Peer>) {
    let (world, peers) = joined(options, count, Circle::of);
    for &peer in &peers {
        let known = world.topology(peer).expect("it is there").others.len();
        assert_eq!(known, count - 1, "{peer:?} knows everybody in {world:?}");
    }
    (world, peers)
}

//! The full mesh in virtual time, and the promise that it is short enough to read first.

use std::time::Duration;

use polymorph_core::topology::Topology;
use polymorph_core::topology::model::Model;
use polymorph_core::{Guid, Key};
use polymorph_sim::workload::{self, Broadcasts, Lookups};
use polymorph_sim::{Options, Peer, Terms, World};
use polymorph_topologies::mesh::full_mesh::{Config, FullMesh};

fn world(seed: u64) -> World<FullMesh> {
    println!("seed {seed}");
    World::new(Options::seeded(seed))
}

fn add(world: &mut World<FullMesh>, seeds: &[Peer]) -> Peer {
    let peer = world.add(&Terms::default(), |place| FullMesh::new(&Config, place)).expect("it is taken");
    world.join(peer, seeds);
    peer
}

fn grow(world: &mut World<FullMesh>, peers: u32) {
    for number in 0..peers {
        let seeds: Vec<Peer> = (number > 0).then_some(Peer(number / 3)).into_iter().collect();
        add(world, &seeds);
        world.run_for(Duration::from_secs(1));
    }
}

/// Whether everybody who is there has everybody else as neighbor, and nobody besides.
fn is_full(world: &World<FullMesh>) -> bool {
    let all = world.census(&Terms::default().name).guids;
    world.peers().all(|peer| {
        let me = world.guid(peer);
        let mut known: Vec<Guid> = world.topology(peer).expect("alive").neighbors().iter().map(|n| n.peer).collect();
        known.sort_unstable();
        known == all.iter().copied().filter(|guid| *guid != me).collect::<Vec<_>>()
    })
}

fn assert_lookups(world: &mut World<FullMesh>) {
    let name = Terms::default().name;
    let lookups = workload::lookups(world, &name, &Lookups::default(), workload::owner_of::<FullMesh>(&Config));
    println!("{lookups:?}");
    assert_eq!((lookups.ok, lookups.consistent), (lookups.count, Some(lookups.count)));
    assert!(lookups.hops.expect("some ended").max <= 1.0);
}

#[test]
fn whoever_joins_knows_everybody_and_everybody_knows_it() {
    let mut world = world(1);
    grow(&mut world, 30);
    assert!(is_full(&world));
    assert_lookups(&mut world);
}

#[test]
fn a_broadcast_reaches_everybody_once_and_in_one_hop() {
    let mut world = world(2);
    grow(&mut world, 30);
    let plan = Broadcasts { count: 20, ..Broadcasts::default() };
    let broadcast = workload::broadcasts(&mut world, &Terms::default().name, &plan);
    println!("{broadcast:?}");
    assert_eq!((broadcast.reliability, broadcast.redundancy), (1.0, Some(0.0)));
    assert_eq!(broadcast.last_hop.expect("some arrived").max, 1.0);
}

#[test]
fn two_who_join_at_once_through_different_seeds_find_each_other() {
    let mut world = world(3);
    grow(&mut world, 6);
    for seed in 0..6 {
        add(&mut world, &[Peer(seed)]);
    }
    world.run_for(Duration::from_secs(FullMesh::claims(&Config, 12).quiet));
    assert!(is_full(&world));
}

#[test]
fn a_seed_that_is_dead_does_not_keep_anybody_out() {
    let mut world = world(4);
    grow(&mut world, 3);
    world.crash(Peer(0));
    let late = add(&mut world, &[Peer(0), Peer(1)]);
    world.run_for(Duration::from_secs(5));
    assert!(!world.topology(late).expect("alive").addresses().is_empty());
}

#[test]
fn the_crashed_and_those_who_left_are_forgotten_and_their_keys_pass_on() {
    let mut world = world(5);
    grow(&mut world, 20);
    [2, 9, 14].into_iter().for_each(|number| world.crash(Peer(number)));
    [3, 11].into_iter().for_each(|number| world.leave(Peer(number)));
    world.run_for(Duration::from_secs(60));
    assert!(is_full(&world));
    assert_lookups(&mut world);
}

#[test]
fn a_broken_wire_is_mended() {
    let mut world = world(6);
    grow(&mut world, 10);
    world.sever(Peer(1), Peer(2));
    world.run_for(Duration::from_millis(1));
    assert!(!is_full(&world));
    world.run_for(Duration::from_secs(FullMesh::claims(&Config, 10).quiet));
    assert!(is_full(&world));
}

#[test]
fn keys_are_owned_by_whoever_stands_next_clockwise() {
    let mut world = world(7);
    grow(&mut world, 5);
    let census = world.census(&Terms::default().name);
    for (position, guid) in &census.ring {
        let owner = FullMesh::owner(&Config, &census, &polymorph_core::topology::question::Target::Key(*position));
        assert_eq!(owner, Some(*guid), "a position belongs to whoever stands there");
    }
    let beyond = FullMesh::owner(&Config, &census, &polymorph_core::topology::question::Target::Key(Key([0xff; 32])));
    assert_eq!(beyond, Some(census.ring[0].1), "the ring closes");
}

#[test]
fn the_topology_fits_in_sixty_lines() {
    let source = include_str!("../../src/mesh/full_mesh.rs");
    let lines = source.lines().skip_while(|line| !line.starts_with("impl Topology")).take_while(|line| *line != "}");
    let lines = lines.count() + 1;
    assert!((20..=60).contains(&lines), "{lines} lines");
}

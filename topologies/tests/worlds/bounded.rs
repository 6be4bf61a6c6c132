//! Consistent hashing with bounded loads, on the real engine: no peer keeps more than its bound, and everything that was
//! put is found although its owner may have been full.

use std::time::Duration;

use polymorph_core::engine::settings;
use polymorph_core::record::Quorum;
use polymorph_sim::workload::{self, Records};
use polymorph_sim::{Peer, Terms, World};
use polymorph_topologies::ring::chord::{Chord, Config};

use crate::support::world;

/// Peers, values of one replica each, and how many of them one peer takes: a quarter above the mean.
const PEERS: usize = 40;
const VALUES: usize = 400;
const BOUND: usize = 13;

fn bounded(spill: usize) -> World<Chord> {
    let mut world = world::<Chord>(21);
    let settings = settings::Overlay { replicas: 1, records: BOUND, spill, ..settings::Overlay::default() };
    let config = Config { successors: PEERS - 1, ..Config::default() };
    world
        .ideal(&Terms { settings: settings.into(), ..Terms::default() }, &config, PEERS)
        .expect("it knows its ideal tables");
    world.run_for(Duration::from_secs(30));
    world
}

/// How many values each keeps, and how many it had no room for.
fn shelves(world: &World<Chord>) -> (Vec<u64>, u64) {
    let of = |peer: Peer| world.engine(peer)?.metrics(world.slot(peer));
    let all: Vec<_> = world.peers().filter_map(of).collect();
    (all.iter().map(|of| of.records).collect(), all.iter().map(|of| of.refused.full).sum())
}

fn plan() -> Records {
    Records { count: VALUES, bytes: 64, quorum: Quorum::Of(1), ..Records::default() }
}

#[test]
fn who_is_full_leaves_a_value_to_the_next_and_readers_look_there_too() {
    let mut world = bounded(PEERS - 1);
    let lying = workload::put(&mut world, &Terms::default().name, &plan());
    let (kept, full) = shelves(&world);
    println!("kept {kept:?}; {:.2} asked for each", (VALUES as u64 + full) as f64 / VALUES as f64);
    assert_eq!(kept.iter().sum::<u64>(), VALUES as u64);
    assert_eq!(kept.iter().max(), Some(&(BOUND as u64)), "somebody is full, and nobody more than that");
    assert!((1..3 * VALUES as u64).contains(&full));
    // Owners are told of what others keep for them, and have no room: it stays where it is.
    world.run_for(Duration::from_secs(1800));
    assert!(shelves(&world).0.into_iter().all(|kept| kept <= BOUND as u64));
    let records = lying.fetch(&mut world);
    assert_eq!((records.stored, records.found), (VALUES, VALUES));
}

#[test]
fn without_a_spill_what_a_full_owner_refuses_is_not_stored() {
    let mut world = bounded(0);
    let lying = workload::put(&mut world, &Terms::default().name, &plan());
    let (kept, full) = shelves(&world);
    let stored = kept.iter().sum::<u64>();
    assert!(stored < VALUES as u64 && stored + full == VALUES as u64, "{stored} kept, {full} refused");
    let records = lying.fetch(&mut world);
    assert_eq!((records.stored, records.found), (stored as usize, stored as usize));
}

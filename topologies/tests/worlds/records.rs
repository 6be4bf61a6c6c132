//! Records on every ring while peers come and go: what a quorum confirmed, a quorum gives back hours later, although
//! nobody stores it anew and half of all departures are crashes that take a store along.

use std::time::Duration;

use polymorph_core::topology::model::Model;
use polymorph_sim::report;
use polymorph_sim::workload::{self, Records};
use polymorph_sim::{Terms, seed_or};
use polymorph_topologies::ring::chord::{self, Chord};
use polymorph_topologies::ring::kademlia::{self, Kademlia};
use polymorph_topologies::ring::one_hop::{self, OneHop};
use polymorph_topologies::ring::pastry::{self, Pastry};
use polymorph_topologies::ring::symphony::{self, Symphony};
use polymorph_topologies::ring::tapestry::{self, Tapestry};

use crate::churn::come_and_go;
use crate::support::settled;

/// Puts values into a quiet world, lets peers come and go for so long, and fetches them.
fn lie<M: Model>(config: &M::Config, peers: usize, count: usize, hours: u64) -> report::Records {
    let seed = seed_or(1);
    let (mut world, _) = settled::<M>(seed, config, peers);
    world.run_for(Duration::from_secs(60));
    let lying = workload::put(&mut world, &Terms::default().name, &Records { count, ..Records::default() });
    come_and_go(&mut world, &Terms::default(), config);
    world.run_for(Duration::from_secs(3600 * hours));
    let records = lying.fetch(&mut world);
    println!("{records:?}");
    records
}

fn all_are_there(records: &report::Records) {
    assert_eq!(records.stored, records.count, "the world was quiet when they were put");
    assert_eq!(records.found, records.stored);
    // What must be sent: a departure costs a copy of each record that was there, and half of them cost a second one.
    let rate = records.bytes_per_peer_s.expect("time passed");
    assert!(rate < 200.0, "{rate} B/s of each peer");
}

#[test]
fn only_those_are_asked_for_values_who_have_found_their_places() {
    let config = chord::Config::default();
    let (mut world, _) = settled::<Chord>(seed_or(1), &config, 20);
    // As many again whom nobody told to join.
    for _ in 0..20 {
        world.add(&Terms::default(), |place| Chord::new(&config, place)).expect("the engine takes it");
    }
    let lying = workload::put(&mut world, &Terms::default().name, &Records { count: 60, ..Records::default() });
    let records = lying.fetch(&mut world);
    assert_eq!((records.stored, records.found_at_once), (60, 60));
}

#[test]
fn chord_keeps_all_values_while_peers_come_and_go() {
    all_are_there(&lie::<Chord>(&chord::Config::default(), 100, 250, 3));
}

#[test]
fn kademlia_keeps_all_values_while_peers_come_and_go() {
    all_are_there(&lie::<Kademlia>(&kademlia::Config::default(), 100, 250, 3));
}

#[test]
fn pastry_keeps_all_values_while_peers_come_and_go() {
    all_are_there(&lie::<Pastry>(&pastry::Config::default(), 100, 250, 3));
}

#[test]
fn tapestry_keeps_all_values_while_peers_come_and_go() {
    all_are_there(&lie::<Tapestry>(&tapestry::Config::default(), 100, 250, 3));
}

#[test]
fn symphony_keeps_all_values_while_peers_come_and_go() {
    all_are_there(&lie::<Symphony>(&symphony::Config::default(), 100, 250, 3));
}

#[test]
fn one_hop_keeps_all_values_while_peers_come_and_go() {
    all_are_there(&lie::<OneHop>(&one_hop::Config::default(), 100, 250, 3));
}

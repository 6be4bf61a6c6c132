//! Every ring while peers come and go: who is asked for is named, and what that costs stays small.

use std::time::Duration;

use polymorph_core::engine::settings::{Lookup, Overlay};
use polymorph_core::topology::model::Model;
use polymorph_sim::churn::{Churn, Lifetimes};
use polymorph_sim::workload::{self, Lookups, Meter};
use polymorph_sim::{Terms, World, seed_or};
use polymorph_topologies::ring::chord::{self, Chord};
use polymorph_topologies::ring::kademlia::{self, Kademlia};
use polymorph_topologies::ring::pastry::{self, Pastry};
use polymorph_topologies::ring::tapestry::{self, Tapestry};

use crate::support::on_a_plane;

/// Weibull sessions with a mean of an hour: 2340 s Γ(1 + 1/0.59). The shape is FlatOut's (Stutzbach & Rejaie, IMC 2006).
const SESSIONS: Lifetimes = Lifetimes::Weibull { shape: 0.59, scale: Duration::from_secs(2340) };

/// Lets peers come and go from now on; half of those who go crash.
pub(crate) fn come_and_go<M: Model>(world: &mut World<M>, terms: &Terms, config: &M::Config) {
    let newcomers = config.clone();
    world.newcomers(terms, move |place| M::new(&newcomers, place));
    world.churn(Some(Churn::new(SESSIONS)));
}

const PEERS: usize = 250;
const LOOKUPS: usize = 1000;
/// How many of them may be answered wrongly or not at all: one in a thousand.
const WRONG: usize = 1;

fn owners_are_named<M: Model>(config: &M::Config, lookup: Lookup) {
    let terms = Terms { settings: Overlay { lookup, ..Overlay::default() }.into(), ..Terms::default() };
    let mut world = on_a_plane::<M>(seed_or(1));
    world.ideal(&terms, config, PEERS).expect("it knows its ideal tables");
    come_and_go(&mut world, &terms, config);
    let meter = Meter::start(&world);
    world.run_for(Duration::from_secs(900));
    let plan = Lookups { count: LOOKUPS, every: Duration::from_secs(2), retries: 1, ..Lookups::default() };
    let lookups = workload::lookups(&mut world, &terms.name, &plan, workload::owner_of::<M>(config));
    let traffic = meter.report(&world, "").traffic.expect("time passed");
    println!("{lookups:?} {traffic:?}");
    // Who asked and was gone before is not counted.
    assert!(lookups.count > LOOKUPS * 99 / 100);
    assert!(lookups.consistent.expect("keys have owners") + WRONG >= lookups.count);
    assert!(traffic.maintenance_bytes_per_peer_s < 200.0);
}

#[test]
fn chord_names_owners_while_peers_come_and_go() {
    owners_are_named::<Chord>(&chord::Config::default(), Lookup::Recursive);
}

#[test]
fn kademlia_names_owners_while_peers_come_and_go() {
    owners_are_named::<Kademlia>(&kademlia::Config::default(), Lookup::Iterative);
}

#[test]
fn pastry_names_owners_while_peers_come_and_go() {
    owners_are_named::<Pastry>(&pastry::Config::default(), Lookup::Recursive);
}

#[test]
fn tapestry_names_owners_while_peers_come_and_go() {
    owners_are_named::<Tapestry>(&tapestry::Config::default(), Lookup::Recursive);
}

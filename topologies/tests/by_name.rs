//! Topologies chosen by name at run time, on the real engine: they do what they do when they are chosen by type.

use std::time::Duration;

use polymorph_core::topology::erased::Boxed;
use polymorph_core::topology::model::Model;
use polymorph_core::topology::question::Target;
use polymorph_sim::workload::{self, Lookups};
use polymorph_sim::{Options, Peer, Terms, World};
use polymorph_topologies::catalog::Catalog;
use polymorph_topologies::ring::{
    chord::Chord, kademlia::Kademlia, one_hop::OneHop, pastry::Pastry, symphony::Symphony, tapestry::Tapestry,
};

/// Lets forty join, and looks up keys.
fn lookups<M: Model>(name: &str, settings: &[(&str, &str)]) -> polymorph_sim::report::Lookups {
    let catalog = Catalog::standard();
    let mut world: World<Boxed> = World::new(Options::seeded(1));
    println!("{name} {settings:?}, seed 1");
    for number in 0..40_u32 {
        let peer = world.spawn();
        let overlay = Terms::default().name.id();
        let place = polymorph_core::Place { overlay, me: world.guid(peer) };
        let built = catalog.build(name, settings, place).expect("it is in the catalog");
        let terms = Terms { settings: built.settings.into(), ..Terms::default() };
        world.attach(peer, &terms, |_| built.topology).expect("it is taken");
        let seeds: Vec<Peer> = (number > 0).then_some(Peer(number / 2)).into_iter().collect();
        world.join(peer, &seeds);
        world.run_for(Duration::from_secs(3));
    }
    // By then the sessions that joining opened are closed again, and none closes in the face of a question.
    world.run_for(Duration::from_secs(60));
    let plan = Lookups { count: 300, ..Lookups::default() };
    let config = M::Config::default();
    workload::lookups(&mut world, &Terms::default().name, &plan, |all, key| M::owner(&config, all, &Target::Key(*key)))
}

fn assert_right(lookups: &polymorph_sim::report::Lookups) {
    println!("{lookups:?}");
    assert_eq!((lookups.ok, lookups.consistent), (300, Some(300)));
}

#[test]
fn chord_finds_its_keys_whichever_way_it_is_asked() {
    assert_right(&lookups::<Chord>("chord", &[]));
    assert_right(&lookups::<Chord>("chord", &[("successors", "4"), ("shortcut", "successors")]));
    assert_right(&lookups::<Chord>("chord", &[("lookup", "iterative")]));
    assert_right(&lookups::<Chord>("chord", &[("lookup", "semi")]));
}

#[test]
fn kademlia_finds_its_keys_whichever_way_it_is_asked() {
    assert_right(&lookups::<Kademlia>("kademlia", &[]));
    assert_right(&lookups::<Kademlia>("kademlia", &[("k", "8"), ("disjoint", "3")]));
    assert_right(&lookups::<Kademlia>("kademlia", &[("lookup", "recursive")]));
}

#[test]
fn pastry_finds_its_keys_whichever_way_it_is_asked() {
    assert_right(&lookups::<Pastry>("pastry", &[]));
    assert_right(&lookups::<Pastry>("pastry", &[("leaf", "8"), ("base_bits", "2"), ("proximity", "none")]));
    assert_right(&lookups::<Pastry>("pastry", &[("lookup", "iterative")]));
    assert_right(&lookups::<Pastry>("pastry", &[("random", "0.5"), ("lookup", "semi")]));
}

#[test]
fn tapestry_finds_its_keys_whichever_way_it_is_asked() {
    assert_right(&lookups::<Tapestry>("tapestry", &[]));
    assert_right(&lookups::<Tapestry>("tapestry", &[("backups", "0"), ("proximity", "none")]));
    assert_right(&lookups::<Tapestry>("tapestry", &[("lookup", "iterative")]));
}

#[test]
fn symphony_finds_its_keys_whichever_way_it_is_asked() {
    assert_right(&lookups::<Symphony>("symphony", &[]));
    assert_right(&lookups::<Symphony>("symphony", &[("links", "2"), ("lookahead", "0"), ("lookup", "iterative")]));
}

#[test]
fn one_hop_finds_its_keys_whichever_way_it_is_asked() {
    assert_right(&lookups::<OneHop>("one-hop", &[]));
    assert_right(&lookups::<OneHop>("one-hop", &[("lookup", "iterative")]));
}

#[test]
fn scribe_leaves_the_keys_to_whatever_it_stands_on() {
    assert_right(&lookups::<Chord>("scribe", &[]));
    assert_right(&lookups::<Kademlia>("scribe", &[("base", "kademlia")]));
    assert_right(&lookups::<Pastry>("scribe", &[("base", "pastry")]));
    assert_right(&lookups::<Tapestry>("scribe", &[("base", "tapestry")]));
}

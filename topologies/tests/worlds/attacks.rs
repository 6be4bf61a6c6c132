//! What attackers do to topologies that were written without a thought of them.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use polymorph_core::engine::settings::{Lookup, Overlay};
use polymorph_core::topology::Topology;
use polymorph_core::topology::model::Model;
use polymorph_core::wire::{Body, Frame};
use polymorph_core::{Guid, Key, OverlayId};
use polymorph_sim::attack::damage::{Damage, Plan, measure};
use polymorph_sim::attack::{Attack, Attacker, Fate, Kind, Scene};
use polymorph_sim::workload::{self, Lookups};
use polymorph_sim::{Codec, Options, Peer, Terms, World};
use polymorph_topologies::catalog::Catalog;
use polymorph_topologies::catalog::typed::{Visitor, visit};
use polymorph_topologies::mesh::HyParViewPlumtree;
use polymorph_topologies::ring::chord::{self, Chord};
use polymorph_topologies::ring::kademlia::{self, Kademlia};

use crate::every_topology::options;
use crate::support::{doubts, grow_on};

const PEERS: usize = 60;
const LOOKUPS: usize = 100;

fn damage<M: Model>(attack: &str, lookup: Lookup) -> Damage {
    let terms = Terms { settings: Overlay { lookup, ..Overlay::default() }.into(), ..Terms::default() };
    let mut world = World::<M>::new(Options { codec: Codec::Encoded, ..Options::seeded(1) });
    let config = M::Config::default();
    world.ideal(&terms, &config, PEERS).expect("an ideal world");
    world.run_for(Duration::from_secs(60));
    let plan = Plan { lookups: LOOKUPS, broadcasts: 20, lasts: Duration::from_secs(300) };
    let damage = measure(&mut world, &terms, &config, attack.parse().expect("an attack"), plan);
    println!("{damage:#?}");
    damage
}

fn of_chord(attack: &str) -> Damage {
    let damage = damage::<Chord>(attack, Lookup::Recursive);
    assert_eq!(
        (damage.without.ok, damage.without.consistent),
        (LOOKUPS, Some(LOOKUPS)),
        "all is well without attackers"
    );
    damage
}

#[test]
fn those_who_drop_cost_answers_and_those_who_misroute_give_wrong_ones() {
    let (dropped, misrouted) = (of_chord("drop:0.2"), of_chord("misroute:0.2"));
    assert_eq!((dropped.attackers, dropped.honest), (12, 48));
    assert!(dropped.with.ok < LOOKUPS, "some ways end at attackers");
    // A lookup that passes over whoever is silent may pass over the owner, too.
    assert!(dropped.with.consistent >= Some(dropped.with.ok * 9 / 10), "what is answered is mostly right");
    assert!(misrouted.with.ok > dropped.with.ok, "they answer readily");
    assert!(misrouted.with.honest < Some(misrouted.with.ok / 2 + LOOKUPS / 4), "and wrongly");
}

#[test]
fn who_chooses_identities_owns_the_key_it_wants() {
    let eclipse = of_chord("eclipse-key:0.1");
    assert_eq!(eclipse.with.honest, Some(0), "nobody finds the honest owner");
    let sybil = of_chord("sybil:0.1");
    assert!(sybil.with.honest > eclipse.with.honest, "other identities do not aim at it");
}

#[test]
fn who_lists_only_whom_it_heard_is_not_poisoned_by_hearsay() {
    let damage = damage::<Kademlia>("poison:0.1", Lookup::Iterative);
    assert_eq!(damage.without.tables, 0.0);
    // A tenth of all peers is a tenth of the tables, and owns a tenth of the keys.
    assert!((0.05..0.15).contains(&damage.with.tables));
    assert!(damage.with.honest >= Some(LOOKUPS * 3 / 4));
}

/// Answers who follows it with others like it, in good order.
struct Smooth {
    gang: Arc<[Guid]>,
    overlay: OverlayId,
}

impl Attacker<Chord> for Smooth {
    fn says(&mut self, mut frame: Frame<Chord>, scene: &mut Scene<Chord>) -> Fate<Chord> {
        if let Body::Reply { message: chord::Message::State { successors, .. }, .. } = &mut frame.body {
            let me = self.overlay.position(scene.me, 0);
            let mut others: Vec<Guid> = self.gang.iter().copied().filter(|other| *other != scene.me).collect();
            others.sort_by_key(|other| me.clockwise(&self.overlay.position(*other, 0)));
            *successors = others;
        }
        Fate::Pass(frame)
    }
}

#[test]
fn a_ring_keeps_its_tables_whatever_successors_liars_name() {
    let clumsy = of_chord("poison:0.1");
    assert!(clumsy.with.consistent >= Some(LOOKUPS / 2), "whoever asks over a liar is lied to");
    assert!((0.05..0.15).contains(&clumsy.with.tables));
    assert!(clumsy.blamed > 0 && clumsy.wronged == 0, "lists out of order are their speaker's own");

    let (terms, config) = (Terms::default(), chord::Config::default());
    let mut world = World::<Chord>::new(Options::seeded(2));
    let peers = world.ideal(&terms, &config, PEERS).expect("an ideal world");
    let (liars, honest) = peers.split_at(PEERS / 10);
    let gang: Arc<[Guid]> = liars.iter().map(|peer| world.guid(*peer)).collect();
    let overlay = terms.name.id();
    liars.iter().for_each(|peer| world.corrupt(*peer, Smooth { gang: gang.clone(), overlay }));
    let tables = |world: &World<Chord>| -> Vec<_> {
        honest.iter().map(|peer| world.topology(*peer).expect("it is in").neighbors()).collect()
    };
    let before = tables(&world);
    world.run_for(Duration::from_secs(1800));
    assert_eq!(tables(&world), before);
    assert!(honest.iter().any(|peer| doubts(&world, *peer) > 0));
    assert!(world.blamed().is_empty(), "whoever passes a lie on is no liar");
}

/// How many are there before a third of them turn coat, or half as many come.
const FEW: usize = 24;

struct Attacked(Kind);

impl Visitor for Attacked {
    type Output = Damage;

    fn visit<T: Model>(self, config: T::Config, overlay: Overlay) -> Damage {
        let terms = Terms { settings: overlay.into(), ..Terms::default() };
        let mut world = World::<T>::new(Options { codec: Codec::Encoded, ..options::<T>(&config, 3) });
        grow_on(&mut world, &terms, &config, FEW, Duration::from_secs(1));
        world.run_for(Duration::from_secs(60));
        let plan = Plan { lookups: 20, broadcasts: 3, lasts: Duration::from_secs(60) };
        let attack = Attack { kind: self.0, share: 1.0 / 3.0 };
        measure(&mut world, &terms, &config, attack, plan)
    }
}

#[test]
fn every_topology_lives_through_every_attack_and_nobody_honest_is_blamed() {
    for entry in Catalog::standard().entries() {
        for kind in Kind::ALL {
            let damage = visit::<&str, &str, _>(entry.name, &[], Attacked(kind)).expect("it is in the catalog");
            println!("{} {}: {damage:?}", entry.name, kind.name());
            let Damage { attackers, honest, without, with, wronged, .. } = damage;
            let expected = if kind.comes() { (FEW / 2, FEW) } else { (FEW / 3, FEW - FEW / 3) };
            assert_eq!((attackers, honest), expected);
            assert_eq!((without.lookups, without.broadcasts), (with.lookups, with.broadcasts), "the same is asked");
            assert_eq!(without.ok, without.lookups, "all is well without attackers");
            assert_eq!(wronged, 0);
        }
    }
}

/// Kademlia's lookups along disjoint paths while every fifth peer lies: which share names the owner, and how deep they
/// go while nobody lies.
fn along(peers: usize, k: usize, settings: Overlay) -> (f64, f64) {
    const COUNT: usize = 500;
    let config = kademlia::Config { k, ..kademlia::Config::default() };
    let terms = Terms { settings: Overlay { lookup: Lookup::Iterative, ..settings }.into(), ..Terms::default() };
    let mut world = World::<Kademlia>::new(Options::seeded(42));
    world.ideal(&terms, &config, peers).expect("an ideal world");
    let plan = Lookups { count: COUNT, every: Duration::from_millis(20), ..Lookups::default() };
    let calm = workload::lookups(&mut world, &terms.name, &plan, workload::owner_of::<Kademlia>(&config));
    assert_eq!(calm.consistent, Some(COUNT), "all is well without attackers");
    let plan = Plan { lookups: COUNT, broadcasts: 0, lasts: Duration::ZERO };
    let damage = measure(&mut world, &terms, &config, "misroute:0.2".parse().expect("an attack"), plan);
    let right = damage.with.consistent.expect("keys have owners") as f64 / damage.with.lookups as f64;
    (right, calm.hops.expect("some ended").mean)
}

/// S/Kademlia, §5: a path of h peers is good if none of them is bad, and one good path of d is enough. Ours are such chains
/// with `settle = 1, alpha = 1`; by default a path goes on beside a liar, and does better.
#[test]
fn disjoint_paths_evade_liars_as_often_as_the_formula_says() {
    let mut depth = None;
    for disjoint in [1, 2, 4, 8] {
        let chain = Overlay { disjoint, settle: 1, alpha: 1, ..Overlay::default() };
        let (right, deep) = along(1000, 4, chain);
        let h = *depth.get_or_insert(deep);
        let formula = 1.0 - (1.0 - 0.8_f64.powf(h)).powi(disjoint as i32);
        println!("{disjoint} paths: {right:.3} right, {formula:.3} by the formula with h = {h:.2}");
        assert!((right - formula).abs() < 0.05);
    }
    let (right, _) = along(1000, 4, Overlay::default());
    println!("as lookups go by default: {right:.3}");
    assert!(right > 0.95);
}

/// Counts the questions a peer hears.
struct Hearing(Arc<Mutex<BTreeMap<Guid, u32>>>);

impl<T: Topology> Attacker<T> for Hearing {
    fn hears(&mut self, frame: Frame<T>, scene: &mut Scene<T>) -> Fate<T> {
        if let Body::Find { .. } = frame.body {
            *self.0.lock().expect("one thread").entry(scene.me).or_default() += 1;
        }
        Fate::Pass(frame)
    }
}

#[test]
fn no_peer_is_on_two_paths_of_a_lookup() {
    let mut questions = Vec::new();
    for disjoint in [1, 4] {
        let settings = Overlay { lookup: Lookup::Iterative, disjoint, ..Overlay::default() };
        let terms = Terms { settings: settings.into(), ..Terms::default() };
        let mut world = World::<Kademlia>::new(Options::seeded(5));
        world.ideal(&terms, &kademlia::Config::default(), 300).expect("an ideal world");
        let heard = Arc::new(Mutex::new(BTreeMap::new()));
        for peer in world.peers().collect::<Vec<_>>() {
            world.corrupt(peer, Hearing(heard.clone()));
        }
        world.lookup(Peer(7), Key::of(b"wanted"), 1);
        world.run_for(Duration::from_secs(20));
        let heard = heard.lock().expect("one thread");
        assert!(heard.values().all(|times| *times == 1), "somebody was asked twice");
        questions.push(heard.len());
    }
    assert!(questions[1] > 2 * questions[0], "{questions:?}: each path asks on its own");
}

#[test]
fn a_flood_keeps_nobody_from_answers() {
    let damage = of_chord("flood:0.1");
    assert!(damage.with.frames_per_peer_s > 2.0 * damage.without.frames_per_peer_s);
    assert!(damage.with.ok > LOOKUPS * 9 / 10);
    assert_eq!(damage.wronged, 0, "no honest peer is blamed");
}

#[test]
fn a_mesh_carries_broadcasts_past_those_who_carry_none() {
    for attack in ["drop:0.2", "free-ride:0.2"] {
        let damage = damage::<HyParViewPlumtree>(attack, Lookup::Recursive);
        assert_eq!(damage.without.reliability, Some(1.0));
        assert!(damage.with.reliability > Some(0.9), "{attack}");
    }
}

#[test]
fn the_same_attack_does_the_same_damage() {
    assert_eq!(of_chord("sybil:0.2"), of_chord("sybil:0.2"));
}

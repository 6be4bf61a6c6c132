//! What attackers do to topologies that were written without a thought of them.

use core::time::Duration;

use polymorph_core::engine::settings::{Lookup, Overlay};
use polymorph_core::topology::model::Model;
use polymorph_sim::attack::damage::{Damage, Plan, measure};
use polymorph_sim::{Codec, Options, Terms, World};
use polymorph_topologies::mesh::HyParViewPlumtree;
use polymorph_topologies::ring::chord::Chord;
use polymorph_topologies::ring::kademlia::Kademlia;

const PEERS: usize = 60;
const LOOKUPS: usize = 100;

fn damage<M: Model>(attack: &str, lookup: Lookup) -> Damage {
    let terms = Terms { settings: Overlay { lookup, ..Overlay::default() }, ..Terms::default() };
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

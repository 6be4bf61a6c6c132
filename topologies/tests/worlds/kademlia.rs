//! Kademlia in virtual time, on the real engine and its iterative lookups.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use polymorph_core::engine::Outcome;
use polymorph_core::engine::io::Command;
use polymorph_core::engine::settings::{Lookup, Overlay};
use polymorph_core::overlay::{Place, Standing};
use polymorph_core::record::PutOptions;
use polymorph_core::topology::Topology;
use polymorph_core::topology::model::Model;
use polymorph_core::topology::question::{Role, Target};
use polymorph_core::wire::frame::Body;
use polymorph_core::{Guid, Key};
use polymorph_sim::{Peer, Terms, World};
use polymorph_topologies::ring::kademlia::{Config, Kademlia};

use crate::support::*;

fn terms(lookup: Lookup) -> Terms {
    Terms { settings: Overlay { lookup, ..Overlay::default() }.into(), ..Terms::default() }
}

/// Where somebody stands.
fn position(guid: Guid) -> Key {
    Place { overlay: Terms::default().name.id(), me: guid }.mine()
}

/// Asks for the k nearest to random keys; they must be the k nearest there are.
fn assert_exact_sets(world: &mut World<Kademlia>, config: &Config, count: usize) {
    let keys: Vec<Key> = (0..count as u64).map(|number| Key::of(&number.to_le_bytes())).collect();
    assert_exact_sets_of(world, config, &keys);
}

fn assert_exact_sets_of(world: &mut World<Kademlia>, config: &Config, keys: &[Key]) {
    let overlay = Terms::default().name;
    let census = world.census(&overlay);
    let peers: Vec<Peer> = world.peers().collect();
    for (number, &key) in keys.iter().enumerate() {
        let peer = peers[number * 31 % peers.len()];
        let ticket = world.lookup(peer, key, config.k);
        world.run_for(Duration::from_secs(20));
        let ended = world.take_ended(peer, ticket).expect("it ended");
        let Outcome::Found { peers: found, .. } = ended.outcome else { panic!("{:?}", ended.outcome) };
        let mut nearest = census.ring.clone();
        nearest.sort_by_key(|(position, _)| position.xor(&key));
        let nearest: Vec<Guid> = nearest.into_iter().take(config.k).map(|(_, guid)| guid).collect();
        assert_eq!(found, nearest, "lookup {number} by {peer:?}");
    }
}

#[test]
fn ideal_tables_find_the_nearest_with_about_one_question_for_each() {
    let (config, mut world) = (Config::default(), world::<Kademlia>(1));
    world.ideal(&terms(Lookup::Iterative), &config, 1000).expect("Kademlia knows its ideal tables");
    let before = *world.traffic();
    let count = 500;
    assert_all_right(&mut world, &config, count);
    let questions = world.traffic().since(&before).frames("find") as f64 / count as f64;
    println!("{questions:.1} questions for each lookup");
    // With k = 20 and α = 3 an idealized computation needs 21.5 at a thousand peers.
    assert!((questions - 21.5).abs() < 2.0);
    let spent = world.traffic().since(&before);
    let [asked, answered] = ["find", "next"].map(|kind| spent.bytes(kind) as f64 / spent.frames(kind) as f64);
    println!("{asked:.0} B of a question, {answered:.0} B of an answer");
    // Twenty peers with their contacts would be three kibibytes; most were named before.
    assert!(asked < 150.0 && answered < 700.0);
    assert_exact_sets(&mut world, &config, 50);
}

#[test]
fn two_hundred_join_one_by_one_and_find_exactly_the_nearest() {
    let (config, mut world) = (Config::default(), world::<Kademlia>(2));
    grow_on(&mut world, &terms(Lookup::Iterative), &config, 200, Duration::from_secs(2));
    world.run_for(Duration::from_secs(30));
    assert_all_right(&mut world, &config, 500);
    assert_exact_sets(&mut world, &config, 50);
}

#[test]
fn a_crowd_that_joins_at_once_through_one_seed_finds_its_way() {
    let (config, mut world) = (Config::default(), world::<Kademlia>(3));
    grow_on(&mut world, &terms(Lookup::Iterative), &config, 1, Duration::ZERO);
    crowd(&mut world, &terms(Lookup::Iterative), &config, 150, Peer(0));
    world.run_for(Duration::from_secs(300));
    assert!(world.peers().all(|peer| is_member(&world, peer)));
    assert_all_right(&mut world, &config, 300);
}

#[test]
fn lookups_go_round_a_fifth_that_crashed_and_the_dead_are_forgotten() {
    let config = Config { refresh: Duration::from_secs(600), ..Config::default() };
    let mut world = world::<Kademlia>(4);
    let peers = world.ideal(&terms(Lookup::Iterative), &config, 400).expect("Kademlia knows its ideal tables");
    crash_a_fifth(&mut world, &peers);
    assert_all_right(&mut world, &config, 300);
    // Twice, because a bucket in which something was just looked up is not refreshed.
    world.run_for(2 * Duration::from_secs(Kademlia::claims(&config, 400).quiet));
    let entries = |peer: &Peer| world.topology(*peer).map(Topology::neighbors).unwrap_or_default();
    let all: Vec<Guid> = peers.iter().flat_map(entries).map(|neighbor| neighbor.peer).collect();
    let dead = all.iter().filter(|guid| world.peer(guid).is_none_or(|peer| !world.is_alive(peer))).count();
    println!("{dead} of {} entries are dead", all.len());
    assert!(dead * 20 < all.len(), "more than one in twenty");
}

#[test]
fn a_recursive_lookup_comes_nearer_with_every_hop() {
    let (config, mut world) = (Config::default(), world::<Kademlia>(5));
    world.ideal(&terms(Lookup::Recursive), &config, 1000).expect("Kademlia knows its ideal tables");
    let hops = assert_all_right(&mut world, &config, 1000).hops.expect("some ended").mean;
    assert!(hops < 3.0, "{hops} hops");
}

#[test]
fn a_node_whose_line_was_cut_finds_back_through_those_it_lost() {
    let (config, mut world) = (Config::default(), world::<Kademlia>(6));
    let peers = world.ideal(&terms(Lookup::Iterative), &config, 30).expect("Kademlia knows its ideal tables");
    world.partition(&[peers[0]]);
    // It tries everybody in vain, and forgets them one by one.
    for number in 0..60_u64 {
        world.lookup(peers[0], Key::of(&number.to_le_bytes()), 20);
        world.run_for(Duration::from_secs(10));
    }
    assert!(world.topology(peers[0]).expect("alive").neighbors().is_empty());
    world.heal();
    world.run_for(Duration::from_secs(600));
    assert_exact_sets(&mut world, &config, 30);
}

#[test]
fn a_wire_that_breaks_does_not_cost_a_peer_its_place() {
    let (config, mut world) = (Config::default(), world::<Kademlia>(8));
    grow_on(&mut world, &terms(Lookup::Iterative), &config, 20, Duration::from_secs(2));
    let known = |world: &World<Kademlia>, peer| world.topology(peer).expect("alive").neighbors().len();
    let before = known(&world, Peer(3));
    let linked: Vec<Peer> = world.peers().filter(|&peer| peer != Peer(3)).collect();
    linked.into_iter().for_each(|peer| world.sever(Peer(3), peer));
    world.run_for(Duration::from_secs(5));
    assert_eq!(known(&world, Peer(3)), before);
}

#[test]
fn a_client_that_looks_up_and_puts_is_in_nobodys_bucket_and_nobodys_answer() {
    let (config, mut world) = (Config::default(), world::<Kademlia>(9));
    let terms = terms(Lookup::Iterative);
    grow_on(&mut world, &terms, &config, 40, Duration::from_secs(2));
    let members: Vec<Peer> = world.peers().collect();
    let as_client = Terms { standing: Standing::Client, ..terms.clone() };
    let client = add_on(&mut world, &as_client, &config);
    let guid = world.guid(client);
    world.join(client, &members[..2]);
    world.run_for(Duration::from_secs(5));
    // Its own position among others: nobody stands nearer to that than the client does.
    let own = position(guid);
    let keys: Vec<Key> = (0..60_u64).map(|number| Key::of(&number.to_le_bytes())).chain([own]).collect();
    let end = |world: &mut World<Kademlia>, peer, ticket| {
        world.run_for(Duration::from_secs(10));
        world.take_ended(peer, ticket).expect("it ended").outcome
    };
    for &key in &keys {
        let ticket = world.lookup(client, key, config.k);
        assert!(matches!(end(&mut world, client, ticket), Outcome::Found { owner: Some(_), .. }));
        let ticket = world.ticket();
        let (value, options) = ("what a client has to say".into(), PutOptions::default());
        world.command(client, Command::Put { ticket, key, value, options });
        assert!(matches!(end(&mut world, client, ticket), Outcome::Stored { .. }));
    }
    for (at, &key) in keys.iter().enumerate() {
        let asker = members[at % members.len()];
        let ticket = world.lookup(asker, key, config.k);
        let Outcome::Found { peers, .. } = end(&mut world, asker, ticket) else { panic!("{asker:?} finds nobody") };
        assert!(peers.len() == config.k && !peers.contains(&guid), "{asker:?} is told of the client");
    }
    for &member in &members {
        let known = with_role(&world, member, Role::Bucket);
        assert!(known.len() > config.k && !known.contains(&guid), "the client is in the table of {member:?}");
    }
}

/// The keys that one peer looks up by itself within three hours when it refreshes its buckets every ten minutes, by the
/// bits they share with it; and how many its nearest neighbor shares. Perhaps it looks up others in its farthest bucket.
fn refreshes_of_one(lookups: Option<Duration>) -> (u32, Vec<u32>) {
    let (terms, mut world) = (terms(Lookup::Iterative), world::<Kademlia>(10));
    let idle = Config { refresh: Duration::from_secs(1_000_000), ..Config::default() };
    grow_on(&mut world, &terms, &idle, 60, Duration::from_secs(2));
    let one = add_on(&mut world, &terms, &Config { refresh: Duration::from_secs(600), ..idle });
    world.join(one, &[Peer(0)]);
    world.run_for(Duration::from_secs(120));
    let asked = Arc::new(Mutex::new(BTreeSet::new()));
    for peer in world.peers().collect::<Vec<_>>() {
        let asked = Arc::clone(&asked);
        world.swallow(peer, move |frame| {
            if let Body::Find { to, .. } = &frame.body
                && let Target::Key(key) = **to
            {
                asked.lock().expect("nobody panicked").insert(key);
            }
            false
        });
    }
    let (mine, mut own, mut numbers) = (position(world.guid(one)), BTreeSet::new(), 0_u64..);
    let every = lookups.unwrap_or(Duration::from_secs(300));
    for _ in 0..3 * 3600 / every.as_secs() {
        if lookups.is_some() {
            let mut keys = numbers.by_ref().map(|number| Key::of(&number.to_le_bytes()));
            let far = keys.find(|key| key.common_bits(&mine) == 0).expect("every second");
            own.insert(far);
            world.lookup(one, far, 20);
        }
        world.run_for(every);
    }
    let shared = |guid: &Guid| position(*guid).common_bits(&mine);
    let nearest = with_role(&world, one, Role::Bucket).iter().map(shared).max().expect("it knows somebody");
    let asked = asked.lock().expect("nobody panicked");
    (nearest, asked.difference(&own).map(|key| key.common_bits(&mine)).collect())
}

#[test]
fn a_bucket_is_refreshed_only_when_nothing_was_looked_up_in_it() {
    let (nearest, quiet) = refreshes_of_one(None);
    let (_, busy) = refreshes_of_one(Some(Duration::from_secs(300)));
    let count = |keys: &[u32], depth| keys.iter().filter(|bits| **bits == depth).count();
    println!("{} keys looked up without traffic, {} with traffic in the farthest bucket", quiet.len(), busy.len());
    // Once in ten to thirteen minutes.
    assert!((0..=nearest).all(|depth| count(&quiet, depth) >= 13), "{quiet:?}");
    assert!((1..=nearest).all(|depth| count(&busy, depth) >= 13), "{busy:?}");
    assert_eq!(count(&busy, 0), 0, "the farthest was refreshed although it was looked up in");
    assert!(busy.len() < quiet.len());
}

#[test]
fn in_a_very_uneven_tree_the_nearest_are_found_exactly() {
    let config = Config { k: 2, ..Config::default() };
    let (terms, mut world) = (terms(Lookup::Iterative), world::<Kademlia>(11));
    // First some who begin with 1 and with 01, then many with 001, at last a single one with 000. It owns every key there,
    // and each of the many may be the next nearest to one of these: so all of them have to know it.
    let mut peers: Vec<Peer> = Vec::new();
    for (begins, bits, count) in [(0x80, 1, 12), (0x40, 2, 12), (0x20, 3, 28), (0x00, 3, 1)] {
        let mut found = 0;
        while found < count {
            let peer = world.spawn();
            if position(world.guid(peer)).0[0] >> (8 - bits) != begins >> (8 - bits) {
                world.crash(peer);
                continue;
            }
            world.attach(peer, &terms, |place| Kademlia::new(&config, place)).expect("the engine takes it");
            let seeds: Vec<Peer> = peers.get(found * 7 % peers.len().max(1)).copied().into_iter().collect();
            world.join(peer, &seeds);
            world.run_for(Duration::from_secs(10));
            peers.push(peer);
            found += 1;
        }
    }
    world.run_for(Duration::from_secs(60));
    let begin = |at: u64, byte: u8| {
        let mut key = Key::of(&at.to_le_bytes());
        key.0[0] = key.0[0] & 0x1f | byte;
        key
    };
    let keys: Vec<Key> = (0..90).map(|at| begin(at, if at % 3 == 0 { 0x20 } else { 0x00 })).collect();
    assert_exact_sets_of(&mut world, &config, &keys);
}

#[test]
fn the_same_seed_goes_the_same_way() {
    assert_goes_the_same_way(|| world::<Kademlia>(7), &Config::default());
}

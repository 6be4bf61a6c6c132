//! Chord in virtual time, on the real engine: joining, crashing, leaving, and Zave's invariants all the while.

use std::collections::BTreeSet;
use std::time::Duration;

use polymorph_core::engine::Outcome;
use polymorph_core::topology::Topology;
use polymorph_core::topology::model::{Census, Model};
use polymorph_core::topology::question::{Role, Target};
use polymorph_core::{Guid, Key};
use polymorph_sim::workload::{self, Lookups};
use polymorph_sim::{Options, Peer, Terms, World};
use polymorph_topologies::ring::chord::{Chord, Config};

fn world(seed: u64) -> World<Chord> {
    println!("seed {seed}");
    World::new(Options::seeded(seed))
}

fn add(world: &mut World<Chord>, config: &Config) -> Peer {
    world.add(&Terms::default(), |place| Chord::new(config, place)).expect("it is taken")
}

/// Lets peers join one after the other, each through somebody drawn from those before.
fn grow(world: &mut World<Chord>, config: &Config, peers: usize, every: Duration) {
    for number in 0..peers {
        let peer = add(world, config);
        let seeds: Vec<Peer> = (number > 0).then(|| Peer((number * 7919 % number.max(1)) as u32)).into_iter().collect();
        world.join(peer, &seeds);
        world.run_for(every);
    }
}

fn with_role(world: &World<Chord>, peer: Peer, role: Role) -> Vec<Guid> {
    let neighbors = world.topology(peer).map(Topology::neighbors).unwrap_or_default();
    neighbors.into_iter().filter(|neighbor| neighbor.role == role).map(|neighbor| neighbor.peer).collect()
}

/// Everybody on the ring; those who are still looking for their place are not.
fn members(world: &World<Chord>) -> Census {
    let members = world.peers().filter(|&peer| is_member(world, peer)).map(|peer| world.guid(peer)).collect();
    Census::new(Terms::default().name.id(), members)
}

fn is_member(world: &World<Chord>, peer: Peer) -> bool {
    world.topology(peer).is_some_and(|chord| !chord.addresses().is_empty())
}

/// Zave's invariants (2017, §4): from every member, following first live successors, one comes to one and the same
/// ring, and that ring is in the order of positions.
fn check_invariants(world: &World<Chord>) {
    let members: Vec<Peer> = world.peers().filter(|&peer| is_member(world, peer)).collect();
    let best = |&peer: &Peer| {
        let list = with_role(world, peer, Role::Successor);
        list.iter().filter_map(|guid| members.binary_search(&world.peer(guid)?).ok()).next()
    };
    let next: Vec<usize> = members.iter().enumerate().map(|(at, peer)| best(peer).unwrap_or(at)).collect();
    let mut rings = BTreeSet::new();
    for start in 0..members.len() {
        // After as many steps as there are members one is on a ring: ConnectedAppendages.
        let on_ring = (0..members.len()).fold(start, |at, _| next[at]);
        let mut ring = vec![on_ring];
        while next[ring[ring.len() - 1]] != on_ring {
            ring.push(next[ring[ring.len() - 1]]);
        }
        let least = (0..ring.len()).min_by_key(|&at| ring[at]).unwrap_or_default();
        ring.rotate_left(least);
        rings.insert(ring);
    }
    assert_eq!(rings.len(), 1, "AtLeastOneRing and AtMostOneRing: {} rings among {}", rings.len(), members.len());
    let position = |at: usize| Terms::default().name.id().position(world.guid(members[at]), 0);
    for ring in rings {
        let turns = (0..ring.len()).filter(|&at| position(ring[at]) > position(ring[(at + 1) % ring.len()])).count();
        assert!(turns <= 1, "OrderedRing: the ring of {} goes round {turns} times", ring.len());
    }
}

/// The ring as it should be: everybody's successors, and its predecessor.
fn count_wrong(world: &World<Chord>, config: &Config) -> usize {
    let census = world.census(&Terms::default().name);
    world.peers().filter(|&peer| !is_right(world, &census, peer, config.successors)).count()
}

fn is_right(world: &World<Chord>, census: &Census, peer: Peer, successors: usize) -> bool {
    let me = world.guid(peer);
    let Some(at) = census.ring.iter().position(|(_, guid)| *guid == me) else { return false };
    let around: Vec<Guid> = census.ring[at..].iter().chain(&census.ring[..at]).map(|(_, guid)| *guid).skip(1).collect();
    let list: Vec<Guid> = around.iter().copied().take(successors).collect();
    with_role(world, peer, Role::Successor) == list
        && with_role(world, peer, Role::Predecessor) == around.last().copied().into_iter().collect::<Vec<_>>()
}

fn look_up(world: &mut World<Chord>, config: &Config, count: usize) -> polymorph_sim::report::Lookups {
    let plan = Lookups { count, every: Duration::from_millis(5), ..Lookups::default() };
    let lookups = workload::lookups(world, &Terms::default().name, &plan, workload::owner_of::<Chord>(config));
    println!("{lookups:?}");
    lookups
}

fn assert_all_right(world: &mut World<Chord>, config: &Config, count: usize) {
    let lookups = look_up(world, config, count);
    assert_eq!((lookups.ok, lookups.consistent), (count, Some(count)));
}

#[test]
fn two_nodes_are_each_others_successor_and_predecessor() {
    let (config, mut world) = (Config::default(), world(1));
    grow(&mut world, &config, 2, Duration::from_secs(2));
    assert_eq!(count_wrong(&world, &config), 0);
    assert_all_right(&mut world, &config, 50);
}

#[test]
fn sixty_four_join_one_by_one_and_stand_in_a_ring_after_each() {
    let (config, mut world) = (Config::default(), world(2));
    for number in 0..64 {
        let peer = add(&mut world, &config);
        let seeds: Vec<Peer> = (number > 0).then_some(Peer(number / 2)).into_iter().collect();
        world.join(peer, &seeds);
        world.run_for(Duration::from_secs(3));
        assert!(is_member(&world, peer), "{peer:?} has not joined");
        check_invariants(&world);
    }
    assert_all_right(&mut world, &config, 300);
    world.run_for(Duration::from_secs(20 * 16));
    assert_eq!(count_wrong(&world, &config), 0);
}

#[test]
fn zaves_invariants_hold_after_every_event() {
    // Her proof asks for a base of r + 1 members who stay; here r is 3, and everybody else comes, crashes and leaves.
    let config = Config { successors: 3, stabilize: Duration::from_secs(5), ..Config::default() };
    let mut world = world(12);
    let base = world.ideal(&Terms::default(), &config, 4).expect("Chord knows its ideal tables");
    let mut others: Vec<Peer> = Vec::new();
    let mut events = 0;
    for round in 0..120_usize {
        if others.len() < 12 && round % 3 != 2 {
            let newcomer = add(&mut world, &config);
            world.join(newcomer, &[base[round % 4]]);
            others.push(newcomer);
        } else {
            let gone = others.swap_remove(round * 7 % others.len());
            if round % 2 == 0 { world.crash(gone) } else { world.leave(gone) }
        }
        world.run_until(Duration::from_secs(6), |world| {
            check_invariants(world);
            events += 1;
            false
        });
    }
    println!("after each of {events} events");
    assert!(events > 10_000);
}

#[test]
fn a_thousand_join_one_by_one_and_find_every_key_with_half_of_log_n_hops() {
    let (config, mut world) = (Config::default(), world(3));
    grow(&mut world, &config, 1024, Duration::from_millis(200));
    world.run_for(Duration::from_secs(Chord::claims(&config, 1024).quiet));
    check_invariants(&world);
    assert_eq!(count_wrong(&world, &config), 0);
    let lookups = look_up(&mut world, &config, 3000);
    assert_eq!((lookups.ok, lookups.consistent), (3000, Some(3000)));
    let hops = lookups.hops.expect("some ended").mean;
    assert!((hops - 5.86).abs() < 0.15, "{hops} hops");
}

#[test]
fn a_crowd_that_joins_at_once_through_one_seed_becomes_one_ring() {
    let (config, mut world) = (Config::default(), world(4));
    let first = add(&mut world, &config);
    world.join(first, &[]);
    for _ in 0..200 {
        let peer = add(&mut world, &config);
        world.join(peer, &[first]);
    }
    world.run_for(Duration::from_secs(120));
    check_invariants(&world);
    world.run_for(Duration::from_secs(300));
    assert_eq!(count_wrong(&world, &config), 0);
    assert_all_right(&mut world, &config, 1000);
}

#[test]
fn a_fifth_crashes_at_once_and_the_ring_heals() {
    let (config, mut world) = (Config::default(), world(5));
    let peers = world.ideal(&Terms::default(), &config, 500).expect("Chord knows its ideal tables");
    world.run_for(Duration::from_secs(30));
    for &peer in peers.iter().step_by(5) {
        world.crash(peer);
    }
    world.run_for(Duration::from_secs(Chord::claims(&config, 500).quiet));
    check_invariants(&world);
    assert_all_right(&mut world, &config, 1000);
    world.run_for(Duration::from_secs(300));
    assert_eq!(count_wrong(&world, &config), 0);
}

#[test]
fn a_fifth_leaves_in_good_order_and_the_ring_is_whole_at_once() {
    let (config, mut world) = (Config::default(), world(6));
    let peers = world.ideal(&Terms::default(), &config, 200).expect("Chord knows its ideal tables");
    world.run_for(Duration::from_secs(60));
    for &peer in peers.iter().step_by(5) {
        world.leave(peer);
        world.run_for(Duration::from_secs(1));
        check_invariants(&world);
    }
    assert_all_right(&mut world, &config, 1000);
}

#[test]
fn a_node_whose_whole_list_died_comes_back_over_its_fingers() {
    let config = Config { successors: 2, ..Config::default() };
    let mut world = world(7);
    let peers = world.ideal(&Terms::default(), &config, 100).expect("Chord knows its ideal tables");
    world.run_for(Duration::from_secs(60));
    let victims: Vec<Peer> =
        with_role(&world, peers[0], Role::Successor).iter().filter_map(|guid| world.peer(guid)).collect();
    assert_eq!(victims.len(), 2);
    victims.into_iter().for_each(|victim| world.crash(victim));
    world.run_for(Duration::from_secs(200));
    check_invariants(&world);
    assert_eq!(count_wrong(&world, &config), 0);
}

#[test]
fn a_node_that_lost_everybody_owns_everything_until_a_seed_is_back() {
    let (config, mut world) = (Config::default(), world(8));
    grow(&mut world, &config, 2, Duration::from_secs(5));
    let (first, second) = (Peer(0), Peer(1));
    world.partition(&[first]);
    world.run_for(Duration::from_secs(60));
    assert!(is_member(&world, first) && is_member(&world, second));
    assert_eq!(with_role(&world, second, Role::Successor), []);
    world.heal();
    world.run_for(Duration::from_secs(200));
    assert_eq!(count_wrong(&world, &config), 0);
}

#[test]
fn keys_are_found_while_peers_come_and_crash_all_the_time() {
    let (config, mut world) = (Config::default(), world(10));
    let mut alive = world.ideal(&Terms::default(), &config, 300).expect("Chord knows its ideal tables");
    let (mut asked, mut answered, mut right) = (0, 0, 0);
    // A peer lives for five minutes on average: eight times the churn of the harshest row of ToN 2003, table III.
    for round in 0..300_usize {
        let seed = alive[round * 13 % alive.len()];
        let newcomer = add(&mut world, &config);
        world.join(newcomer, &[seed]);
        let victim = alive.swap_remove(round * 7919 % alive.len());
        world.crash(victim);
        alive.push(newcomer);
        let asker = *alive.iter().cycle().skip(round * 31).find(|&&peer| is_member(&world, peer)).expect("a member");
        let key = Key::of(&(round as u64).to_le_bytes());
        let before = members(&world);
        let ticket = world.lookup(asker, key, 1);
        asked += 1;
        world.run_for(Duration::from_secs(1));
        world.run_until(Duration::from_secs(30), |world| world.ended(asker, ticket).is_some());
        if let Some(Outcome::Found { owner, .. }) = world.take_ended(asker, ticket).map(|ended| ended.outcome) {
            answered += 1;
            let owner_among = |census| Chord::owner(&config, census, &Target::Key(key));
            right += usize::from([owner_among(&before), owner_among(&members(&world))].contains(&owner));
        }
    }
    println!("{asked} asked, {answered} answered, {right} right");
    check_invariants(&world);
    assert!(answered * 100 >= asked * 95 && right * 100 >= answered * 99);
}

#[test]
fn wires_that_break_now_and_then_hurt_nobody() {
    let config = Config::default();
    println!("seed 11");
    let options = Options { wire_life: Some(Duration::from_secs(60)), ..Options::seeded(11) };
    let mut world: World<Chord> = World::new(options);
    world.ideal(&Terms::default(), &config, 100).expect("Chord knows its ideal tables");
    world.run_for(Duration::from_secs(300));
    check_invariants(&world);
    assert_all_right(&mut world, &config, 500);
}

#[test]
fn the_same_seed_goes_the_same_way() {
    let run = || {
        let (config, mut world) = (Config::default(), world(9));
        grow(&mut world, &config, 50, Duration::from_millis(300));
        world.crash(Peer(7));
        world.run_for(Duration::from_secs(60));
        world.trace_hash()
    };
    assert_eq!(run(), run());
}

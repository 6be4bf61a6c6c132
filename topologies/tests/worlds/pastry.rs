//! Pastry in virtual time, on the real engine: joining, crashing, leaving, and nearness.

use std::time::Duration;

use polymorph_core::engine::Outcome;
use polymorph_core::engine::settings::Overlay;
use polymorph_core::topology::Topology;
use polymorph_core::topology::model::Model;
use polymorph_core::topology::question::{Query, Role, Route, Target, Verdict};
use polymorph_core::wire::frame::Body;
use polymorph_core::{Guid, Key};
use polymorph_sim::{Peer, Terms, World};
use polymorph_topologies::ring::pastry::{Config, Pastry, Proximity};

use crate::support::*;

/// How many leaf sets are not what they should be.
fn count_wrong(world: &World<Pastry>, config: &Config) -> usize {
    let census = world.census(&Terms::default().name);
    let count = census.ring.len();
    let is_wrong = |peer: &Peer| {
        let at = census.ring.iter().position(|(_, guid)| *guid == world.guid(*peer)).expect("a member");
        let half = (config.leaf / 2).min(count - 1);
        let around = (1..=half).flat_map(|step| [at + step, at + count - step]);
        let mut right: Vec<Guid> = around.map(|index| census.ring[index % count].1).collect();
        right.sort_unstable();
        right.dedup();
        let mut leafs = with_role(world, *peer, Role::Leaf);
        leafs.sort_unstable();
        leafs != right
    };
    world.peers().filter(is_wrong).count()
}

#[test]
fn two_nodes_are_each_others_leaf_set() {
    let (config, mut world) = (Config::default(), world::<Pastry>(1));
    grow(&mut world, &config, 2, Duration::from_secs(10));
    assert_eq!(count_wrong(&world, &config), 0);
    assert_all_right(&mut world, &config, 50);
}

#[test]
fn a_hundred_join_one_by_one_with_right_leaf_sets_after_each() {
    let (config, mut world) = (Config::default(), world::<Pastry>(2));
    for number in 0..100 {
        let peer = join_next(&mut world, &config, number);
        world.run_for(Duration::from_secs(20));
        assert!(is_member(&world, peer), "{peer:?} has not joined: {:?}", world.topology(peer));
        assert_eq!(count_wrong(&world, &config), 0, "after {number}");
    }
    assert_all_right(&mut world, &config, 300);
}

#[test]
fn a_crowd_that_joins_at_once_through_one_seed_finds_its_places() {
    let (config, mut world) = (Config::default(), world::<Pastry>(3));
    grow(&mut world, &config, 1, Duration::from_secs(1));
    crowd(&mut world, &Terms::default(), &config, 200, Peer(0));
    world.run_for(Duration::from_secs(Pastry::claims(&config, 200).quiet));
    assert!(world.peers().all(|peer| is_member(&world, peer)));
    assert_eq!(count_wrong(&world, &config), 0);
    assert_all_right(&mut world, &config, 500);
}

#[test]
fn tables_that_grew_are_near_and_routes_hardly_longer_than_the_straight_way() {
    let (config, mut world) = (Config::default(), on_a_plane::<Pastry>(4));
    grow(&mut world, &config, 300, Duration::from_secs(4));
    world.run_for(Duration::from_secs(Pastry::claims(&config, 300).quiet));
    assert_eq!(count_wrong(&world, &config), 0);
    assert_all_right(&mut world, &config, 500);
    let mut far = on_a_plane::<Pastry>(4);
    let without = Config { proximity: Proximity::None, ..config };
    grow(&mut far, &without, 300, Duration::from_secs(1));
    let (near, far) = (stretch(&world), stretch(&far));
    println!("stretch {near:.3} with nearness, {far:.3} without");
    assert!(near < 1.45 && near < 0.8 * far);
}

/// How much longer ways are than the straight ones, all taken together.
fn stretch(world: &World<Pastry>) -> f64 {
    let peers: Vec<Peer> = world.peers().collect();
    let (mut way, mut straight) = (0.0, 0.0);
    for number in 0..2000_usize {
        let from = peers[number * 31 % peers.len()];
        let to = Target::Key(Key::of(&number.to_le_bytes()));
        let mut at = from;
        loop {
            let mut route = Route::default();
            world.topology(at).expect("alive").route(&Query::new(&to, 1), &mut route);
            let Verdict::Forward = route.verdict else { break };
            let next = world.peer(&route.peers[0]).expect("somebody");
            way += world.latency(at, next).as_secs_f64();
            at = next;
        }
        if at != from {
            straight += world.latency(from, at).as_secs_f64();
        }
    }
    way / straight
}

#[test]
fn a_fifth_crashes_at_once_and_leaf_sets_and_tables_heal() {
    let config = Config::default();
    let (mut world, peers) = settled::<Pastry>(5, &config, 500);
    world.run_for(Duration::from_secs(30));
    crash_a_fifth(&mut world, &peers);
    world.run_for(Duration::from_secs(Pastry::claims(&config, 500).quiet));
    assert_eq!(count_wrong(&world, &config), 0);
    assert_all_right(&mut world, &config, 1000);
}

#[test]
fn a_fifth_leaves_in_good_order_and_keys_are_found_all_the_while() {
    let config = Config::default();
    let (mut world, peers) = settled::<Pastry>(6, &config, 200);
    world.run_for(Duration::from_secs(60));
    leave_a_fifth(&mut world, &peers, Duration::from_secs(2));
    assert_all_right(&mut world, &config, 1000);
    world.run_for(Duration::from_secs(Pastry::claims(&config, 200).quiet));
    assert_eq!(count_wrong(&world, &config), 0);
}

#[test]
fn a_node_whose_line_was_cut_finds_back() {
    let (config, mut world) = (Config::default(), world::<Pastry>(7));
    grow(&mut world, &config, 30, Duration::from_secs(10));
    world.partition(&[Peer(3)]);
    world.run_for(Duration::from_secs(300));
    world.heal();
    world.run_for(Duration::from_secs(900));
    assert_eq!(count_wrong(&world, &config), 0);
    assert_all_right(&mut world, &config, 200);
}

#[test]
fn keys_are_found_while_peers_come_and_crash_all_the_time() {
    let config = Config::default();
    let (mut world, mut alive) = settled::<Pastry>(8, &config, 300);
    let (mut asked, mut right) = (0, 0);
    // A peer lives for ten minutes on average.
    for round in 0..300_usize {
        replace(&mut world, &config, &mut alive, round);
        world.run_for(Duration::from_secs(2));
        let asker = a_member(&world, &alive, round * 31);
        let key = Key::of(&(round as u64).to_le_bytes());
        let ticket = world.lookup(asker, key, 1);
        let census = members(&world);
        world.run_until(Duration::from_secs(30), |world| world.ended(asker, ticket).is_some());
        asked += 1;
        let owner = owner::<Pastry>(&config, &census, key);
        if let Some(Outcome::Found { owner: found, .. }) = world.take_ended(asker, ticket).map(|ended| ended.outcome) {
            right += usize::from(found == owner);
        }
    }
    println!("{right} of {asked} right");
    assert!(right * 100 >= asked * 98);
    world.run_for(Duration::from_secs(240));
    assert!(world.peers().all(|peer| is_member(&world, peer)));
    assert_all_right(&mut world, &config, 500);
}

#[test]
fn random_hops_take_other_ways_and_end_at_the_same_owner() {
    let hops = |random: f64| {
        let (config, mut world) = (Config { random, ..Config::default() }, world::<Pastry>(9));
        world.ideal(&Terms::default(), &config, 1000).expect("it knows its ideal tables");
        assert_all_right(&mut world, &config, 1000).hops.expect("some ended").mean
    };
    let (plain, random) = (hops(0.0), hops(0.5));
    println!("{plain:.3} hops, {random:.3} with random ones");
    assert!(random > plain + 0.1 && random < plain + 2.0);
}

#[test]
fn who_is_asked_for_again_and_again_is_found_past_peers_that_swallow_messages() {
    let config = Config { random: 0.5, ..Config::default() };
    // No tries over other first hops: the way is left to chance.
    let settings = Overlay { retries: 0, ..Overlay::default() };
    let terms = Terms { settings: settings.into(), ..Terms::default() };
    let mut world = world::<Pastry>(11);
    let peers = world.ideal(&terms, &config, 500).expect("it knows its ideal tables");
    let (bad, good): (Vec<Peer>, Vec<Peer>) = peers.into_iter().partition(|peer| peer.0 % 10 == 3);
    bad.iter().for_each(|peer| world.swallow(*peer, |frame| matches!(frame.body, Body::Routed(_))));
    let census = members(&world);
    let asked: Vec<(Peer, Key, Guid)> = (0..400_usize)
        .map(|number| (good[number * 31 % good.len()], Key::of(&number.to_le_bytes())))
        .map(|(asker, key)| (asker, key, owner::<Pastry>(&config, &census, key).expect("somebody")))
        .filter(|(_, _, owner)| world.peer(owner).is_some_and(|owner| good.contains(&owner)))
        .collect();
    let (mut swallowed, mut found) = (0, 0);
    for some in asked.chunks(40) {
        // All tries at the same moment: nothing has changed between two of them.
        let tries: Vec<Vec<_>> =
            some.iter().map(|(asker, key, _)| (0..12).map(|_| world.lookup(*asker, *key, 1)).collect()).collect();
        world.run_for(Duration::from_secs(15));
        for ((asker, _, owner), tickets) in some.iter().zip(tries) {
            let ended = tickets.into_iter().map(|ticket| world.take_ended(*asker, ticket).expect("it ended").outcome);
            let is_right = |end| matches!(end, Outcome::Found { owner: found, .. } if found == Some(*owner));
            let right: Vec<bool> = ended.map(is_right).collect();
            swallowed += usize::from(!right[0]);
            found += usize::from(!right[0] && right.contains(&true));
        }
    }
    println!("of {swallowed} whose first try was swallowed a later one found {found}");
    assert!(swallowed > 20 && found * 20 >= swallowed * 19);
}

#[test]
fn neighborhood_sets_stay_alive_and_near_while_peers_come_and_go() {
    let (config, mut world) = (Config { neighborhood: 16, ..Config::default() }, on_a_plane::<Pastry>(12));
    let mut alive = world.ideal(&Terms::default(), &config, 100).expect("it knows its ideal tables");
    // A peer lives for an hour on average, and this takes an hour and a half.
    for round in 0..150_usize {
        replace(&mut world, &config, &mut alive, round);
        world.run_for(Duration::from_secs(36));
    }
    let (mut there, mut named, mut full) = (0, 0, 0);
    let [mut theirs, mut nearest, mut anybody] = [0.0; 3];
    let mean = |latencies: &[f64]| latencies.iter().sum::<f64>() / latencies.len() as f64;
    let mut count = 0;
    for &peer in &alive {
        let set = world.topology(peer).expect("alive").neighborhood();
        let known: Vec<Peer> = set.iter().filter_map(|guid| world.peer(guid)).filter(|p| world.is_alive(*p)).collect();
        (there, named, full) = (there + known.len(), named + set.len(), full + config.neighborhood);
        let latencies =
            |peers: &[Peer]| peers.iter().map(|to| world.latency(peer, *to).as_secs_f64()).collect::<Vec<_>>();
        let others: Vec<Peer> = alive.iter().copied().filter(|other| *other != peer).collect();
        let mut all = latencies(&others);
        all.sort_by(f64::total_cmp);
        if !known.is_empty() {
            theirs += mean(&latencies(&known));
            nearest += mean(&all[..known.len()]);
            anybody += mean(&all);
            count += 1;
        }
    }
    println!("{there} of {named} members are alive, of {full} places");
    let (near, far) = (theirs / nearest, anybody / nearest);
    println!("{count} sets: {near:.2} times as far as the nearest there are; everybody is {far:.2} times as far");
    assert!(there * 10 >= named * 9 && named * 10 >= full * 9);
    assert!(near < 1.25 && far > 2.0);
}

#[test]
fn the_same_seed_goes_the_same_way() {
    assert_goes_the_same_way(|| on_a_plane::<Pastry>(10), &Config::default());
}

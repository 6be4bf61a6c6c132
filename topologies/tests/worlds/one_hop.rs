//! One hop in virtual time, on the real engine: everybody hears of everybody, at about the bytes that cannot be saved.

use std::time::Duration;

use polymorph_core::Key;
use polymorph_core::topology::Topology;
use polymorph_core::topology::model::Model;
use polymorph_sim::workload::{self};
use polymorph_sim::{Peer, Terms, World};
use polymorph_topologies::ring::one_hop::{Config, OneHop};

use crate::support::*;

/// How many entries are missing or of somebody who is gone, in all tables together.
fn count_wrong(world: &World<OneHop>) -> usize {
    let all: std::collections::BTreeSet<_> = world.peers().map(|peer| world.guid(peer)).collect();
    let wrong = |peer: Peer| {
        let table = world.topology(peer).map(Topology::neighbors).unwrap_or_default();
        let table: std::collections::BTreeSet<_> =
            table.into_iter().map(|neighbor| neighbor.peer).chain([world.guid(peer)]).collect();
        table.symmetric_difference(&all).count()
    };
    world.peers().map(wrong).sum()
}

fn assert_one_hop_to_all(world: &mut World<OneHop>, config: &Config, count: usize) {
    let lookups = assert_all_right(world, config, count);
    assert!(lookups.hops.is_some_and(|hops| hops.max <= 1.0), "more than one hop");
}

#[test]
fn two_hundred_join_one_by_one_and_everybody_knows_everybody() {
    let (config, mut world) = (Config::default(), world::<OneHop>(1));
    grow(&mut world, &config, 200, Duration::from_secs(1));
    world.run_for(Duration::from_secs(OneHop::claims(&config, 200).quiet));
    assert_eq!(count_wrong(&world), 0);
    assert_one_hop_to_all(&mut world, &config, 500);
}

#[test]
fn a_crowd_that_joins_at_once_through_one_seed_is_known_to_all() {
    let (config, mut world) = (Config::default(), world::<OneHop>(2));
    grow(&mut world, &config, 1, Duration::from_secs(1));
    crowd(&mut world, &Terms::default(), &config, 100, Peer(0));
    world.run_for(Duration::from_secs(120));
    println!("{} wrong entries at first", count_wrong(&world));
    world.run_for(Duration::from_secs(OneHop::claims(&config, 100).quiet));
    assert_eq!(count_wrong(&world), 0);
    assert_one_hop_to_all(&mut world, &config, 300);
}

#[test]
fn a_tenth_crashes_at_once_and_all_hear_of_it() {
    let config = Config::default();
    let (mut world, peers) = settled::<OneHop>(3, &config, 300);
    world.run_for(Duration::from_secs(30));
    for &peer in peers.iter().step_by(10) {
        world.crash(peer);
    }
    let lookups = look_up(&mut world, &config, 500);
    assert_eq!((lookups.ok, lookups.consistent), (500, Some(500)), "another way is taken around the dead");
    world.run_for(Duration::from_secs(OneHop::claims(&config, 300).quiet));
    assert_eq!(count_wrong(&world), 0);
}

/// Asks one of these for a key that stands where another does, so that it finds out by chance whether that one is gone.
fn asks_for(world: &mut World<OneHop>, asker: Peer, owner: Peer) {
    let key = Terms::default().name.id().position(world.guid(owner), 0);
    world.lookup(asker, key, 1);
}

/// The peers in the order of their positions.
fn in_order(world: &World<OneHop>, peers: &[Peer]) -> Vec<Peer> {
    let mut order = peers.to_vec();
    let overlay = Terms::default().name.id();
    order.sort_by_key(|peer| overlay.position(world.guid(*peer), 0));
    order
}

/// How long it takes until all have heard of a going, and no longer than until tables are compared: it is noticed within
/// four intervals, and told on in as many as there are powers of two.
fn until_all_heard(config: &Config, peers: usize) -> Duration {
    config.interval * (4 + peers.next_power_of_two().ilog2())
}

#[test]
fn a_going_that_many_found_out_by_chance_is_told_to_all_nevertheless() {
    let config = Config::default();
    let (mut world, peers) = settled::<OneHop>(6, &config, 256);
    let order = in_order(&world, &peers);
    world.run_for(Duration::from_secs(30));
    world.crash(order[100]);
    // Everywhere but close behind it, where it is noticed by its silence.
    order.iter().step_by(16).for_each(|&asker| asks_for(&mut world, asker, order[100]));
    world.run_for(until_all_heard(&config, 256));
    assert_eq!(count_wrong(&world), 0);
}

#[test]
fn whoever_lost_both_peers_before_it_tells_all_of_both() {
    let config = Config::default();
    let (mut world, peers) = settled::<OneHop>(7, &config, 256);
    let order = in_order(&world, &peers);
    world.run_for(Duration::from_secs(30));
    [100, 101].into_iter().for_each(|at| world.crash(order[at]));
    // It finds out by chance that the farther one is gone, and only then that it is the one to tell.
    asks_for(&mut world, order[102], order[100]);
    world.run_for(until_all_heard(&config, 256));
    assert_eq!(count_wrong(&world), 0);
}

#[test]
fn what_is_sent_under_churn_is_near_what_cannot_be_saved() {
    // 512 peers, each there for an hour on average: 1024 events an hour, and everybody must hear each.
    let config = Config::default();
    let (mut world, mut alive) = settled::<OneHop>(4, &config, 512);
    let every = Duration::from_millis(3_600_000 / 512);
    let (mut before, mut right, mut asked) = (*world.traffic(), 0, 0);
    let rounds = 400_usize;
    for round in 0..rounds {
        if round == rounds / 4 {
            before = *world.traffic();
        }
        let newcomer = add(&mut world, &config);
        world.join(newcomer, &[1, 2, 3].map(|step| alive[(round * 13 + step) % alive.len()]));
        let gone = alive.swap_remove(round * 7919 % alive.len());
        if round % 2 == 0 {
            world.crash(gone)
        } else {
            world.leave(gone)
        }
        alive.push(newcomer);
        world.run_for(every);
        let (asker, key) = (alive[round * 31 % (alive.len() - 1)], Key::of(&round.to_le_bytes()));
        let ticket = world.lookup(asker, key, 1);
        let owner = workload::owner_of::<OneHop>(&config)(&world.census(&Terms::default().name), &key);
        world.run_until(Duration::from_secs(3), |world| world.ended(asker, ticket).is_some());
        asked += 1;
        let found = world.take_ended(asker, ticket).map(|ended| ended.outcome);
        let is_right = matches!(found, Some(polymorph_core::engine::Outcome::Found { owner: o, .. }) if o == owner);
        right += usize::from(is_right);
    }
    let traffic = world.traffic().since(&before);
    let seconds = every.as_secs_f64() * (rounds - rounds / 4) as f64;
    let (frames, bytes) = traffic.kinds().fold((0, 0), |(f, b), (_, frames, bytes)| (f + frames, b + bytes));
    let rate = bytes as f64 / (512.0 * seconds);
    // An event: a Guid and a signed contact when somebody comes, eight bytes of its position when it goes.
    let event = (33.0 + 150.0 + 9.0) / 2.0;
    let bound = 2.0 * 512.0 / 3600.0 * event;
    println!("{rate:.1} B/s a peer, {frames} frames; 2N/S·v is {bound:.1} B/s; {right} of {asked} right");
    println!("{:?}", traffic.kinds().filter(|(_, frames, _)| *frames > 0).collect::<Vec<_>>());
    assert!(rate < 8.0 * bound && right * 100 >= asked * 97);
    let wrong = count_wrong(&world) as f64 / (512.0 * 512.0);
    println!("{:.3} % of all entries are stale", 100.0 * wrong);
    assert!(wrong < 2.0 * config.stale);
}

#[test]
fn the_same_seed_goes_the_same_way() {
    assert_goes_the_same_way(|| world::<OneHop>(5), &Config::default());
}

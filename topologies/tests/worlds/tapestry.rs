//! Tapestry in virtual time, on the real engine: Property 1 through joins and crashes, and objects that are found.

use std::collections::BTreeMap;
use std::time::Duration;

use polymorph_core::engine::Outcome;
use polymorph_core::engine::io::Command as Wish;
use polymorph_core::topology::Topology;
use polymorph_core::topology::model::Model;
use polymorph_core::topology::question::{Query, Route, Target, Verdict};
use polymorph_core::{Guid, Key};
use polymorph_sim::{Peer, Terms, World};
use polymorph_topologies::ring::tapestry::{Answer, Command, Config, Tapestry};

use crate::support::*;

/// Property 1: how many slots are empty that some member could fill.
fn count_holes(world: &World<Tapestry>) -> usize {
    let census = members(world);
    let slot = |mine: &Key, other: &Key| {
        let shared = mine.common_bits(other) / 4;
        (shared, other.digit(shared, 4))
    };
    let mut holes = 0;
    for (mine, guid) in &census.ring {
        let node = world.topology(world.peer(guid).expect("a member")).expect("alive");
        let neighbors = node.neighbors();
        let filled: std::collections::BTreeSet<_> =
            neighbors.iter().map(|n| slot(mine, &census.overlay.position(n.peer, 0))).collect();
        let could: std::collections::BTreeSet<_> =
            census.ring.iter().filter(|(_, other)| other != guid).map(|(other, _)| slot(mine, other)).collect();
        holes += could.difference(&filled).count();
        for (row, digit) in could.difference(&filled) {
            let fits = |(other, _): &&(Key, Guid)| other != mine && slot(mine, other) == (*row, *digit);
            let fit: Vec<_> = census.ring.iter().filter(fits).map(|(at, guid)| (at, world.peer(guid))).collect();
            println!("{mine:?} {:?} lacks {fit:?}", world.peer(guid));
        }
    }
    holes
}

/// Where a way from somebody ends.
fn way_ends(world: &World<Tapestry>, from: Guid, to: &Target<Tapestry>) -> Guid {
    let mut at = from;
    for _ in 0..20 {
        let mut route = Route::default();
        world.topology(world.peer(&at).expect("known")).expect("alive").route(&Query::new(to, 1), &mut route);
        match route.verdict {
            Verdict::Forward => at = route.peers[0],
            Verdict::Deliver { .. } => return at,
            Verdict::Unreachable => panic!("a member that routes nothing"),
        }
    }
    panic!("a way without end");
}

/// Follows a key from everywhere: all ways must end at the one root that the model names.
fn assert_unique_roots(world: &World<Tapestry>, config: &Config, keys: u64) {
    let census = members(world);
    for number in 0..keys {
        let to = Target::Key(Key::of(&number.to_le_bytes()));
        let owner = Tapestry::owner(config, &census, &to);
        for (_, from) in &census.ring {
            let at = way_ends(world, *from, &to);
            assert_eq!(Some(at), owner, "key {number} from {from:?}");
        }
    }
}

fn ask(world: &mut World<Tapestry>, peer: Peer, command: Command) -> Option<Answer> {
    let ticket = world.ticket();
    world.command(peer, Wish::Ask { ticket, command: command.encode() });
    world.run_until(Duration::from_secs(40), |world| world.ended(peer, ticket).is_some());
    match world.take_ended(peer, ticket)?.outcome {
        Outcome::Answer(answer) => Answer::decode(&answer),
        _ => None,
    }
}

#[test]
fn a_hundred_join_one_by_one_and_no_slot_is_empty_that_somebody_could_fill() {
    let (config, mut world) = (Config::default(), world::<Tapestry>(1));
    for number in 0..100 {
        let peer = join_next(&mut world, &config, number);
        world.run_for(Duration::from_secs(5));
        assert!(is_member(&world, peer), "{peer:?} has not joined");
        assert_eq!(count_holes(&world), 0, "after {number}");
    }
    assert_unique_roots(&world, &config, 20);
    assert_all_right(&mut world, &config, 300);
}

#[test]
fn a_twentieth_joins_at_the_same_moment_and_property_1_holds_again_at_once() {
    let config = Config::default();
    let (mut world, peers) = settled::<Tapestry>(2, &config, 600);
    world.run_for(Duration::from_secs(5));
    assert_eq!(count_holes(&world), 0);
    for number in 0..30 {
        let peer = add(&mut world, &config);
        world.join(peer, &[peers[number * 17]]);
    }
    // Whoever met somebody nearer on the way tries again a little later.
    for _ in 0..20 {
        if members(&world).ring.len() < 630 {
            world.run_for(Duration::from_secs(3));
        }
    }
    assert_eq!(members(&world).ring.len(), 630);
    assert_eq!(count_holes(&world), 0);
    assert_unique_roots(&world, &config, 10);
    assert_all_right(&mut world, &config, 500);
}

#[test]
fn a_crowd_that_joins_at_once_through_one_seed_finds_its_places() {
    let (config, mut world) = (Config::default(), world::<Tapestry>(3));
    grow(&mut world, &config, 10, Duration::from_secs(5));
    crowd(&mut world, &Terms::default(), &config, 90, Peer(0));
    world.run_for(Duration::from_secs(60));
    assert_eq!(members(&world).ring.len(), 100);
    let early = count_holes(&world);
    world.run_for(Duration::from_secs(Tapestry::claims(&config, 100).quiet));
    println!("{early} holes at first, {} later", count_holes(&world));
    assert_eq!(count_holes(&world), 0);
    assert_unique_roots(&world, &config, 10);
}

#[test]
fn tables_that_grew_are_near() {
    let (config, mut world) = (Config::default(), on_a_plane::<Tapestry>(4));
    grow(&mut world, &config, 250, Duration::from_secs(5));
    world.run_for(Duration::from_secs(30));
    assert_eq!(count_holes(&world), 0);
    let census = members(&world);
    let (mut near, mut any, mut count) = (0.0, 0.0, 0.0);
    for peer in world.peers() {
        // The first row: everybody comes into question.
        let mine = census.overlay.position(world.guid(peer), 0);
        for digit in (0..16).filter(|digit| *digit != mine.digit(0, 4)) {
            let latency = |guid: &Guid| world.latency(peer, world.peer(guid).expect("known")).as_secs_f64();
            let fits = |guid: &Guid| census.overlay.position(*guid, 0).digit(0, 4) == digit;
            let table = world.topology(peer).expect("alive").neighbors().into_iter().map(|n| n.peer).filter(fits);
            let chosen = table.map(|guid| latency(&guid)).fold(f64::MAX, f64::min);
            let all: Vec<f64> = census.guids.iter().filter(|guid| fits(guid)).map(latency).collect();
            near += chosen / all.iter().copied().fold(f64::MAX, f64::min);
            any += all.iter().sum::<f64>() / all.len() as f64 / chosen;
            count += 1.0;
        }
    }
    println!("the first is {:.2} times as far as the nearest, any other {:.2} times as far", near / count, any / count);
    assert!(near / count < 1.9 && any / count > 2.0);
}

/// How many slots name fewer who are there than they could, of how many: as many as a slot has room for, if there are.
fn count_scarce(world: &World<Tapestry>, size: usize) -> (usize, usize) {
    let census = members(world);
    let slot = |mine: &Key, other: &Key| {
        let shared = mine.common_bits(other) / 4;
        (shared, other.digit(shared, 4))
    };
    let (mut scarce, mut all) = (0, 0);
    for (mine, guid) in &census.ring {
        let mut slots: BTreeMap<_, (usize, usize)> = BTreeMap::new();
        for (other, _) in census.ring.iter().filter(|(_, other)| other != guid) {
            slots.entry(slot(mine, other)).or_default().0 += 1;
        }
        let node = world.topology(world.peer(guid).expect("a member")).expect("alive");
        for neighbor in node.neighbors().iter().filter(|neighbor| census.guids.contains(&neighbor.peer)) {
            let at = census.overlay.position(neighbor.peer, 0);
            slots.entry(slot(mine, &at)).or_default().1 += 1;
        }
        all += slots.len();
        scarce += slots.values().filter(|(could, there)| *there < (*could).min(size)).count();
    }
    (scarce, all)
}

#[test]
fn slots_keep_their_backups_while_peers_come_and_go() {
    let config = Config::default();
    let (mut world, mut alive) = settled::<Tapestry>(11, &config, 300);
    for round in 0..300 {
        replace(&mut world, &config, &mut alive, round);
        world.run_for(Duration::from_secs(4));
    }
    world.run_for(Duration::from_secs(Tapestry::claims(&config, 300).quiet));
    let (full, (scarce, all)) = (count_scarce(&world, 1 + config.backups).0, count_scarce(&world, 2));
    println!("{scarce} of {all} slots have no backup who is there, {full} are not full");
    assert!(scarce * 50 < all);
}

#[test]
fn a_newcomer_takes_its_place_when_all_who_need_to_know_of_it_do() {
    let config = Config::default();
    let (mut world, peers) = settled::<Tapestry>(12, &config, 300);
    world.run_for(Duration::from_secs(5));
    for number in 0..10 {
        let newcomer = add(&mut world, &config);
        world.join(newcomer, &[peers[number * 29]]);
        world.run_until(Duration::from_secs(20), |world| is_member(world, newcomer));
        assert!(is_member(&world, newcomer));
        let at = members(&world).overlay.position(world.guid(newcomer), 0);
        for (_, from) in &members(&world).ring {
            assert_eq!(way_ends(&world, *from, &Target::Key(at)), world.guid(newcomer), "from {from:?}");
        }
    }
}

#[test]
fn a_fifth_crashes_at_once_and_the_mesh_heals() {
    let config = Config::default();
    let (mut world, peers) = settled::<Tapestry>(5, &config, 400);
    world.run_for(Duration::from_secs(30));
    crash_a_fifth(&mut world, &peers);
    let lookups = look_up(&mut world, &config, 1000);
    assert!(lookups.consistent.expect("modelled") >= 990, "before anybody has looked for the dead");
    world.run_for(Duration::from_secs(Tapestry::claims(&config, 400).quiet));
    assert_all_right(&mut world, &config, 1000);
}

#[test]
fn a_fifth_leaves_in_good_order_and_keys_are_found_all_the_while() {
    let config = Config::default();
    let (mut world, peers) = settled::<Tapestry>(6, &config, 200);
    world.run_for(Duration::from_secs(60));
    leave_a_fifth(&mut world, &peers, Duration::from_secs(2));
    let lookups = look_up(&mut world, &config, 1000);
    assert!(lookups.consistent.expect("modelled") >= 990, "at once");
    world.run_for(Duration::from_secs(Tapestry::claims(&config, 200).quiet));
    assert_all_right(&mut world, &config, 1000);
}

#[test]
fn a_published_object_is_found_from_everywhere_and_a_withdrawn_one_nowhere() {
    let (config, mut world) = (Config::default(), world::<Tapestry>(7));
    world.ideal(&Terms::default(), &config, 200).expect("it knows its ideal tables");
    let (object, server) = (Key::of(b"object"), Peer(17));
    assert_eq!(ask(&mut world, server, Command::Publish(object)), Some(Answer::Done));
    world.run_for(Duration::from_secs(5));
    for peer in (0..200).map(Peer) {
        let found = ask(&mut world, peer, Command::Find { object, most: 1 });
        assert_eq!(found, Some(Answer::Found(vec![world.guid(server)])), "{peer:?}");
    }
    let nothing = ask(&mut world, Peer(3), Command::Find { object: Key::of(b"another"), most: 1 });
    assert_eq!(nothing, Some(Answer::Found(vec![])));
    assert_eq!(ask(&mut world, server, Command::Withdraw(object)), Some(Answer::Done));
    let withdrawn = ask(&mut world, Peer(99), Command::Find { object, most: 1 });
    assert_eq!(withdrawn, Some(Answer::Found(vec![])), "a pointer is left, but the server says no");
}

#[test]
fn the_nearest_of_four_replicas_is_found() {
    let (config, mut world) = (Config::default(), on_a_plane::<Tapestry>(8));
    world.ideal(&Terms::default(), &config, 400).expect("it knows its ideal tables");
    let (mut right, mut first, mut asked) = (0, 0, 0);
    for number in 0..40_u32 {
        let object = Key::of(&number.to_le_bytes());
        let servers = [1, 2, 3, 4].map(|step| Peer((number * 37 + step * 97) % 400));
        for server in servers {
            assert_eq!(ask(&mut world, server, Command::Publish(object)), Some(Answer::Done));
        }
        world.run_for(Duration::from_secs(5));
        for asker in [5, 11].map(|step| Peer((number * 53 + step * 31) % 400)) {
            let nearest = servers.into_iter().min_by_key(|server| world.latency(asker, *server)).expect("four");
            let found = |world: &mut World<Tapestry>, most| match ask(world, asker, Command::Find { object, most }) {
                Some(Answer::Found(servers)) => servers,
                other => panic!("{other:?}"),
            };
            let all = found(&mut world, 4);
            assert_eq!(all.len(), 4);
            asked += 1;
            right += usize::from(all[0] == world.guid(nearest));
            first += usize::from(found(&mut world, 1)[0] == world.guid(nearest));
        }
    }
    println!("asked for all, the first of {right} of {asked} is the nearest; of {first} the first pointer met");
    assert_eq!(right, asked);
    assert!(first * 3 > asked, "not better than chance");
}

#[test]
fn objects_are_found_while_their_roots_come_and_go() {
    let (config, mut world) =
        (Config { republish: Duration::from_secs(300), ..Config::default() }, world::<Tapestry>(9));
    let mut alive = world.ideal(&Terms::default(), &config, 200).expect("it knows its ideal tables");
    let servers: Vec<Peer> = alive.drain(..20).collect();
    for (number, &server) in servers.iter().enumerate() {
        assert_eq!(ask(&mut world, server, Command::Publish(Key::of(&number.to_le_bytes()))), Some(Answer::Done));
    }
    let (mut asked, mut found) = (0, 0);
    for round in 0..100_usize {
        let newcomer = add(&mut world, &config);
        world.join(newcomer, &[servers[round % 20], servers[(round + 7) % 20]]);
        world.crash(alive.swap_remove(round * 7919 % alive.len()));
        alive.push(newcomer);
        world.run_for(Duration::from_secs(5));
        let (asker, number) = (servers[round * 13 % 20], round * 3 % 20);
        let answer = ask(&mut world, asker, Command::Find { object: Key::of(&number.to_le_bytes()), most: 1 });
        asked += 1;
        found += usize::from(answer == Some(Answer::Found(vec![world.guid(servers[number])])));
    }
    println!("{found} of {asked} found");
    assert!(found * 100 >= asked * 98);
}

#[test]
fn the_same_seed_goes_the_same_way() {
    assert_goes_the_same_way(|| on_a_plane::<Tapestry>(10), &Config::default());
}

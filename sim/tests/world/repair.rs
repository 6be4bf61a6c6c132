use core::time::Duration;

use polymorph_core::topology::model::Model;
use polymorph_sim::report::Window;
use polymorph_sim::workload::{Failure, Lookups, lookups, owner_of, windows};
use polymorph_sim::{Options, Peer, Terms, World};

use crate::circle;
use crate::circle::Circle;

fn greetings(world: &World<Circle>) -> u32 {
    world.peers().map(|peer| world.topology(peer).expect("it is there").greeted).sum()
}

#[test]
fn held_timers_stand_still_and_go_on_from_where_they_stood() {
    let (mut world, _) = circle(Options::seeded(21), 10);
    let before = greetings(&world);
    world.hold();
    world.run_for(Duration::from_secs(1000));
    assert_eq!(greetings(&world), before);
    world.release();
    // Each greets every 2.5 to 7.5 s, and they do not all begin at once.
    world.run_for(Duration::from_millis(100));
    assert!(greetings(&world) < before + 4);
    world.run_for(Duration::from_secs(10));
    assert!(greetings(&world) >= before + 10);
}

#[test]
fn letting_go_what_was_never_held_changes_nothing() {
    let hash = |release: fn(&mut World<Circle>)| {
        let (mut world, _) = circle(Options::seeded(22), 6);
        release(&mut world);
        world.run_for(Duration::from_secs(20));
        world.trace_hash()
    };
    assert_eq!(hash(World::release), hash(|_| ()));
}

#[test]
fn while_repair_is_held_a_death_is_learned_by_whoever_sends_and_nobody_else() {
    let (mut world, peers) = circle(Options::seeded(23), 8);
    let knowing = |world: &World<Circle>, gone: Peer| {
        let guid = world.guid(gone);
        world.peers().filter(|&peer| world.topology(peer).expect("it is there").knows(guid)).count()
    };
    world.hold();
    world.crash(peers[3]);
    world.run_for(Duration::from_secs(100));
    assert_eq!(knowing(&world, peers[3]), 7, "nobody sent it anything");
    world.publish(peers[0], None, "news");
    world.run_for(Duration::from_secs(1));
    assert_eq!(knowing(&world, peers[3]), 6, "its sender was told that nobody takes it");
    world.release();
    world.run_for(Duration::from_secs(90));
    assert_eq!(knowing(&world, peers[3]), 0);
}

#[test]
fn a_share_that_fails_is_drawn_from_those_who_are_there_and_leaves_one() {
    let (mut world, peers) = circle(Options::seeded(24), 20);
    let gone = world.fail(0.25);
    assert_eq!((gone.len(), world.alive()), (5, 15));
    assert!(gone.iter().all(|&peer| !world.is_alive(peer)) && gone.is_sorted());
    assert_ne!(gone, peers[..5], "drawn, not the first");
    world.fail(1.0);
    assert_eq!(world.alive(), 1);
}

#[test]
fn both_windows_count_the_survivors_only() {
    let terms = Terms::default();
    let mut world = World::<Circle>::new(Options::seeded(25));
    world.ideal(&terms, &(), 40).expect("it can");
    world.run_for(Duration::from_secs(30));
    let quiet = Circle::claims(&(), 40).quiet.max(60);
    let failure = Failure { share: 0.5, quiet: Duration::from_secs(quiet) };
    let measured = windows(&mut world, &failure, |world| {
        let plan = Lookups { count: 100, ..Lookups::default() };
        Window { lookups: Some(lookups(world, &terms.name, &plan, owner_of::<Circle>(&()))), broadcast: None }
    });
    let [before, after] =
        [measured.before_repair, measured.after_repair].map(|window| window.unwrap().lookups.unwrap());
    assert!(before.timeouts_mean.unwrap_or(1.0) > 0.0 || before.ok < 100, "{before:?}");
    // The circle forgets whomever it lost a wire to, so that some ways still end early; but at survivors only.
    assert_eq!((after.timeouts_mean, after.consistent), (Some(0.0), Some(after.ok)), "{after:?}");
    assert!(after.ok > 50, "{after:?}");
}

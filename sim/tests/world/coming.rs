use core::time::Duration;

use polymorph_core::topology::erased::Boxed;
use polymorph_core::topology::model::Model;
use polymorph_sim::churn::{Churn, Lifetimes, Tide};
use polymorph_sim::witness::Keep;
use polymorph_sim::workload::{Lookups, lookups, owner_of};
use polymorph_sim::{Options, Peer, Terms, World};

use crate::circle::Circle;

const HOUR: Duration = Duration::from_secs(3600);

fn churning(seed: u64, peers: usize, churn: Churn) -> World<Circle> {
    let terms = Terms::default();
    let mut world = World::<Circle>::new(Options { keep: Keep::Tallies, ..Options::seeded(seed) });
    world.ideal(&terms, &(), peers).expect("it can");
    world.newcomers(&terms, Circle::of);
    world.churn(Some(churn));
    world
}

fn minutes(mean: u64) -> Churn {
    Churn::new(Lifetimes::Exponential { mean: Duration::from_secs(60 * mean) })
}

#[test]
fn whoever_goes_is_replaced_by_somebody_nobody_ever_was() {
    let mut world = churning(31, 40, minutes(10));
    let before: Vec<_> = world.peers().map(|peer| world.guid(peer)).collect();
    world.run_for(Duration::from_secs(600));
    assert_eq!(world.alive(), 40);
    let stayed = world.peers().filter(|&peer| before.contains(&world.guid(peer))).count();
    // e⁻¹ of forty is 14.7, with a deviation of 3.
    assert!((5..=25).contains(&stayed), "{stayed} of 40 stayed");
    let known = world.peers().filter(|&peer| !world.topology(peer).expect("there").others.is_empty()).count();
    assert!(known >= 38, "only {known} of 40 found anybody");
}

#[test]
fn all_may_be_told_to_stay() {
    let mut world = churning(32, 12, minutes(5));
    world.run_for(Duration::from_secs(300));
    world.churn(None);
    let all: Vec<Peer> = world.peers().collect();
    world.run_for(HOUR);
    assert_eq!(world.peers().collect::<Vec<_>>(), all);
}

#[test]
fn ten_hours_of_coming_and_going_take_no_more_memory_than_one() {
    let mut world = churning(33, 16, minutes(15));
    world.run_for(HOUR);
    let early = world.footprint();
    world.run_for(9 * HOUR);
    let late = world.footprint();
    assert!(late.world() <= early.world() + early.world() / 10, "{early:?}, then {late:?}");
    assert!(late.engines <= 2 * early.engines, "{early:?}, then {late:?}");
    assert!(world.peer(&world.guid(world.peers().last().expect("somebody"))).is_some());
}

#[test]
fn a_flash_crowd_joins_through_those_who_are_there() {
    let terms = Terms::default();
    let mut world = World::<Circle>::new(Options::seeded(34));
    world.ideal(&terms, &(), 20).expect("it can");
    assert_eq!(world.flash_crowd(5).expect("nobody comes"), [], "it was not said what newcomers run");
    world.newcomers(&terms, Circle::of);
    let crowd = world.flash_crowd(30).expect("the engine takes them");
    assert_eq!((crowd.len(), world.alive()), (30, 50));
    world.run_for(Duration::from_secs(60));
    assert!(crowd.iter().all(|&peer| world.topology(peer).expect("there").joined));
}

#[test]
fn there_are_more_by_day_than_by_night() {
    let tide = Some(Tide { period: 24 * HOUR, swing: 0.5 });
    let mut world = churning(35, 10, Churn { tide, ..minutes(24 * 60) });
    world.run_for(6 * HOUR + HOUR / 2);
    assert_eq!(world.alive(), 15);
    world.run_for(12 * HOUR);
    assert_eq!(world.alive(), 5);
}

#[test]
fn lookups_under_churn_are_judged_by_who_is_there_when_the_answer_comes() {
    let mut world = churning(36, 30, minutes(20));
    world.run_for(Duration::from_secs(60));
    let plan = Lookups { count: 300, every: Duration::from_secs(2), ..Lookups::default() };
    let found = lookups(&mut world, &Terms::default().name, &plan, owner_of::<Circle>(&()));
    assert!(found.count <= 300 && found.count > 280 && found.ok <= found.count, "{found:?}");
    let consistent = found.consistent.expect("the circle has owners");
    assert!(consistent <= found.ok && consistent > found.ok / 2, "{found:?}");
}

#[test]
fn churn_goes_the_same_way_behind_a_box() {
    let terms = Terms::default();
    let mut plain = churning(37, 10, minutes(10));
    plain.run_for(HOUR);
    let options = Options { keep: Keep::Tallies, ..Options::seeded(37) };
    let mut boxed = World::<Boxed>::new(options);
    boxed.ideal_as(&terms, &(), 10, Duration::ZERO, |model: Circle| Boxed::new(model)).expect("it can");
    boxed.newcomers(&terms, |place| Boxed::new(<Circle as Model>::new(&(), place)));
    boxed.churn(Some(minutes(10)));
    boxed.run_for(HOUR);
    assert_eq!(plain.trace_hash(), boxed.trace_hash());
    assert_ne!(plain.alive(), 0);
}

use core::time::Duration;

use polymorph_core::Topology;
use polymorph_core::overlay::Place;
use polymorph_core::topology::erased::Boxed;
use polymorph_sim::latency::Plane;
use polymorph_sim::trace::TraceHash;
use polymorph_sim::workload::{Broadcasts, Lookups, Sources, broadcasts, lookups, owner_of};
use polymorph_sim::{Codec, Crypto, Latency, Options, Terms, World};

use crate::circle::Circle;
use crate::joined;

fn options(seed: u64) -> Options {
    Options {
        latency: Latency::Coordinates(Plane::default()),
        wire_life: Some(Duration::from_secs(60)),
        lost_dials: 0.05,
        ..Options::seeded(seed)
    }
}

/// A life with everything in it: joins, lookups, broadcasts, crashes, a leave, a partition, a NAT, broken wires.
fn life<T: Topology>(options: Options, make: impl Fn(Place) -> T) -> (TraceHash, u64, World<T>) {
    let name = Terms::default().name;
    let (mut world, peers) = joined(options, 24, &make);
    let plan = Lookups { count: 100, ..Lookups::default() };
    let found = lookups(&mut world, &name, &plan, owner_of::<Circle>(&()));
    // The circle forgets whomever it loses a wire to, so that some ways end early.
    assert!(found.ok > 50, "{found:?}");
    world.crash(peers[3]);
    world.leave(peers[5]);
    world.shut(peers[7]);
    world.partition(&peers[12..18]);
    let spread = Broadcasts { count: 5, warmup: 1, sources: Sources::Random, ..Broadcasts::default() };
    broadcasts(&mut world, &name, &spread);
    world.heal();
    let late = world.add(&Terms::default(), &make).expect("the engine takes it");
    world.join(late, &peers[..2]);
    world.run_for(Duration::from_secs(60));
    lookups(&mut world, &name, &plan, owner_of::<Circle>(&()));
    assert_eq!(world.blamed(), []);
    (world.trace_hash(), world.events(), world)
}

#[test]
fn the_same_seed_goes_the_same_way_and_another_goes_another() {
    let (once, events, _) = life(options(1), Circle::of);
    let (again, as_many, _) = life(options(1), Circle::of);
    let (other, ..) = life(options(2), Circle::of);
    assert!(events > 5_000, "only {events} events");
    assert_eq!((once, events), (again, as_many));
    assert_ne!(once, other);
}

#[test]
fn a_topology_behind_a_box_goes_the_same_way_as_the_plain_one() {
    let (plain, ..) = life(options(3), Circle::of);
    let (boxed, ..) = life(options(3), |place| Boxed::new(Circle::of(place)));
    assert_eq!(plain, boxed);
}

#[test]
fn frames_that_are_encoded_and_decoded_go_the_same_way_as_those_that_are_not() {
    let encoded = Options { codec: Codec::Encoded, ..options(4) };
    let (typed, _, one) = life(options(4), Circle::of);
    let (wired, _, two) = life(encoded.clone(), Circle::of);
    let (boxed, ..) = life(encoded, |place| Boxed::new(Circle::of(place)));
    assert_eq!((typed, one.traffic()), (wired, two.traffic()));
    assert_eq!(typed, boxed);
}

#[test]
fn peers_that_sign_for_real_live_the_same_life() {
    let options = Options { codec: Codec::Encoded, crypto: Crypto::Real, ..options(5) };
    let (once, ..) = life(options.clone(), Circle::of);
    let (again, ..) = life(options, Circle::of);
    assert_eq!(once, again);
}

#[test]
fn the_latency_of_links_is_part_of_the_way() {
    let hash = |latency| life(Options { latency, ..options(6) }, Circle::of).0;
    let low = Duration::from_millis(20);
    assert_ne!(hash(Latency::Constant(low)), hash(Latency::Uniform { low, high: 3 * low }));
}

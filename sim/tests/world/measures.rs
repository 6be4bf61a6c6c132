use core::time::Duration;

use polymorph_core::topology::erased::Boxed;
use polymorph_sim::witness::Keep;
use polymorph_sim::workload::{self, Broadcasts, Lookups, Meter, Sources, broadcasts, lookups, owner_of};
use polymorph_sim::{Options, Terms, World};

use crate::circle;
use crate::circle::Circle;

#[test]
fn ideal_tables_find_every_owner_in_as_many_hops_as_the_circle_is_long() {
    let (terms, count) = (Terms::default(), 40);
    let mut world = World::<Circle>::new(Options::seeded(1));
    world.ideal(&terms, &(), count).unwrap();
    // Nobody is "joined" in the circle's own sense until it was told so; the first node is at once.
    world.run_for(Duration::from_secs(2));
    let plan = Lookups { count: 400, ..Lookups::default() };
    let found = lookups(&mut world, &terms.name, &plan, owner_of::<Circle>(&()));
    assert_eq!((found.count, found.ok, found.consistent), (400, 400, Some(400)));
    let hops = found.hops.unwrap();
    // Half the circle on average, two at a time.
    assert!((hops.mean - 10.0).abs() < 1.0, "{hops:?}");
    assert!(hops.max <= 20.0);
    assert_eq!(found.timeouts_mean, Some(0.0));
    // Each hop is 50 ms there and 50 ms back.
    assert!((found.latency_ms.unwrap().p50 - 100.0 * hops.p50).abs() < 100.0);
}

#[test]
fn a_boxed_world_starts_from_ideal_tables_too() {
    let terms = Terms::default();
    let hash = |over: Duration| {
        let mut plain = World::<Circle>::new(Options::seeded(2));
        plain.ideal_as(&terms, &(), 20, over, |model: Circle| model).unwrap();
        plain.run_for(Duration::from_secs(20));
        let mut boxed = World::<Boxed>::new(Options::seeded(2));
        boxed.ideal_as(&terms, &(), 20, over, |model: Circle| Boxed::new(model)).unwrap();
        boxed.run_for(Duration::from_secs(20));
        assert_eq!(plain.trace_hash(), boxed.trace_hash());
        assert_eq!(plain.events(), boxed.events());
        plain.trace_hash()
    };
    assert_ne!(hash(Duration::ZERO), hash(Duration::from_secs(1)));
}

#[test]
fn a_broadcast_reaches_everybody_once() {
    let (mut world, peers) = circle(Options::seeded(3), 12);
    let plan = Broadcasts { count: 6, warmup: 2, sources: Sources::Random, ..Broadcasts::default() };
    let cast = broadcasts(&mut world, &Terms::default().name, &plan);
    assert_eq!((cast.count, cast.reliability, cast.reliability_first), (6, 1.0, 1.0));
    assert_eq!(cast.redundancy, Some(0.0));
    assert_eq!(cast.last_hop.unwrap().max, 1.0);
    assert_eq!(cast.payload_messages, 6 * 11);
    assert_eq!(world.tallies().len(), 8);
    assert!(world.tallies().iter().all(|tally| tally.reached == 11 && tally.repeated == 0));
    assert_eq!(world.deliveries().len(), 8 * 11);
    let one = world.delivered_to(peers[4]).count();
    let sent = world.tallies().iter().filter(|tally| tally.from == world.guid(peers[4])).count();
    assert_eq!(one + sent, 8);
}

#[test]
fn a_world_that_only_counts_keeps_no_payload() {
    let (mut world, peers) = circle(Options { keep: Keep::Tallies, ..Options::seeded(4) }, 5);
    world.publish(peers[1], None, &b"12345678 and more"[..]);
    assert!(world.run_until(Duration::from_secs(5), |world| world.tallies().iter().any(|tally| tally.reached == 4)));
    assert_eq!(world.tallies()[0].mark, *b"12345678");
    assert!(world.tallies()[0].has(peers[2]) && !world.tallies()[0].has(peers[1]));
    assert_eq!(world.deliveries(), []);
    world.forget();
    assert!(world.tallies().is_empty());
}

#[test]
fn those_a_partition_cuts_off_are_missed_in_the_count() {
    let (mut world, peers) = circle(Options::seeded(5), 10);
    world.partition(&peers[6..]);
    let payload = &b"into half the world"[..];
    world.publish(peers[0], None, payload);
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.tallies()[0].reached, 5);
}

#[test]
fn a_report_has_every_field_scripts_depend_on_and_counts_only_the_run() {
    let (mut world, _) = circle(Options::seeded(6), 8);
    let (name, before) = (Terms::default().name, world.events());
    let meter = Meter::start(&world);
    let plan = Lookups { count: 50, ..Lookups::default() };
    let found = lookups(&mut world, &name, &plan, owner_of::<Circle>(&()));
    let mut report = meter.report(&world, "circle");
    report.lookups = Some(found);
    assert_eq!(report.events, world.events() - before);
    assert_eq!(report.peers, 8);
    assert_eq!(report.state.as_ref().unwrap().entries_mean, 7.0);
    assert!(report.links.unwrap().max >= 4.0 && report.load.unwrap().max_over_mean >= 1.0);
    assert!(report.traffic.unwrap().maintenance_bytes_per_peer_s > 0.0);
    let json = serde_json::to_value(&report).unwrap();
    let fields = [
        "topology",
        "peers",
        "seed",
        "sim_seconds",
        "events",
        "events_per_s",
        "baseline_events_per_s",
        "wall_s",
        "peak_rss_bytes",
        "trace_hash",
        "lookups",
        "broadcast",
        "records",
        "state",
        "links",
        "traffic",
        "load",
        "windows",
        "attack",
    ];
    assert_eq!(json.as_object().unwrap().len(), fields.len());
    assert!(fields.iter().all(|field| json.get(field).is_some()), "{json}");
    for path in ["/lookups/hops/p99", "/lookups/latency_ms/p50", "/lookups/stretch_mean", "/lookups/consistent"] {
        assert!(json.pointer(path).is_some_and(serde_json::Value::is_number), "{path} in {json}");
    }
    assert!(json["broadcast"].is_null() && json["windows"].is_null());
    assert_eq!(json["trace_hash"].as_str().unwrap().len(), 32);
}

#[test]
fn values_that_were_put_are_counted_and_found_again() {
    let (mut world, peers) = circle(Options::seeded(7), 12);
    let plan = workload::Records { count: 30, bytes: 100, ..workload::Records::default() };
    let lying = workload::put(&mut world, &Terms::default().name, &plan);
    world.run_for(Duration::from_secs(600));
    let records = lying.fetch(&mut world);
    assert_eq!((records.count, records.value_bytes, records.stored), (30, 100, 30));
    assert_eq!((records.found, records.found_at_once), (30, 30));
    // What all replicas of a key lost cannot be found: the report says so.
    let lying = workload::put(&mut world, &Terms::default().name, &plan);
    peers[1..].iter().for_each(|&peer| world.crash(peer));
    world.run_for(Duration::from_secs(60));
    assert!(lying.fetch(&mut world).found < 30);
}

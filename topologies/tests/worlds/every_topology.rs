//! What holds of every topology in the catalog, whichever it is.

use core::time::Duration;

use polymorph_core::engine::settings::{self, Overlay};
use polymorph_core::overlay::Place;
use polymorph_core::topology::Topology;
use polymorph_core::topology::erased::Boxed;
use polymorph_core::topology::model::Model;
use polymorph_core::{Guid, OverlayId};
use polymorph_sim::latency::Plane;
use polymorph_sim::workload::{self, Broadcasts, Lookups};
use polymorph_sim::{Codec, Crypto, Latency, Options, Peer, Terms, World, seed_or};
use polymorph_topologies::catalog::Catalog;
use polymorph_topologies::catalog::typed::{Visitor, visit};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn options<M: Model>(config: &M::Config, seed: u64) -> Options {
    let nowhere = Place { overlay: OverlayId([0; 32]), me: Guid([0; 32]) };
    let degree = M::new(config, nowhere).powers().degree;
    let node = settings::Node::default();
    let node = settings::Node { connections: node.connections.max(degree), ..node };
    Options { node, latency: Latency::Coordinates(Plane::default()), ..Options::seeded(seed) }
}

/// A life with joins, lookups, broadcasts, a crash, a leave and wires that break; its trace.
fn life<T: Topology>(options: Options, overlay: &Overlay, make: impl Fn(Place) -> T) -> String {
    let mut world = World::new(Options { wire_life: Some(200 * SECOND), loss: 0.01, ..options });
    let terms = Terms { settings: overlay.clone().into(), ..Terms::default() };
    let mut peers: Vec<Peer> = Vec::new();
    for number in 0..16_usize {
        let peer = world.add(&terms, &make).expect("the engine takes it");
        let seeds: Vec<Peer> = peers.get(number / 2).copied().into_iter().collect();
        world.join(peer, &seeds);
        peers.push(peer);
        world.run_for(SECOND);
    }
    world.run_for(20 * SECOND);
    let powers = world.topology(peers[0]).expect("it is there").powers();
    world.crash(peers[3]);
    world.leave(peers[5]);
    if powers.routes {
        let found =
            workload::lookups(&mut world, &terms.name, &Lookups { count: 40, ..Lookups::default() }, |_, _| None);
        assert!(found.ok > 20, "{found:?}");
    }
    if powers.spreads {
        let plan = Broadcasts { count: 4, warmup: 1, ..Broadcasts::default() };
        let cast = workload::broadcasts(&mut world, &terms.name, &plan);
        assert!(cast.reliability > 0.5, "{cast:?}");
    }
    world.run_for(60 * SECOND);
    world.trace_hash().to_string()
}

/// The traces of these lives with seed 1, written down once so that every other machine is held to them: a topology's name
/// and its hash in each line.
const TRACES: &str = include_str!("traces.txt");

struct SameTrace {
    seed: u64,
}

impl Visitor for SameTrace {
    type Output = String;

    fn visit<T: Model>(self, config: T::Config, overlay: Overlay) -> String {
        let plain = |options| life(options, &overlay, |place| T::new(&config, place));
        let boxed = |options| life(options, &overlay, |place| Boxed::new(T::new(&config, place)));
        let options = options::<T>(&config, self.seed);
        let typed = plain(options.clone());
        assert_eq!(typed, plain(options.clone()), "twice");
        assert_eq!(typed, boxed(options.clone()), "erased");
        assert_eq!(typed, plain(Options { codec: Codec::Encoded, ..options.clone() }), "encoded");
        assert_ne!(typed, plain(Options { seed: self.seed + 1, ..options }), "another seed");
        typed
    }
}

#[test]
fn every_topology_goes_the_same_way_twice_erased_and_encoded_and_another_way_with_another_seed() {
    let (seed, mut traces) = (seed_or(1), String::new());
    println!("POLYMORPH_SEED={seed}");
    for entry in Catalog::standard().entries() {
        let trace = visit::<&str, &str, _>(entry.name, &[], SameTrace { seed }).expect("it is in the catalog");
        println!("{} {trace}", entry.name);
        traces += &format!("{} {trace}\n", entry.name);
    }
    assert!(seed != 1 || traces == TRACES, "not as written down; if that is meant, write these in traces.txt");
}

/// A thousand peers that sign with ed25519 and whose every frame is encoded and decoded.
#[cfg(feature = "chord")]
#[test]
fn a_thousand_peers_that_sign_and_encode_for_real_find_every_key() {
    use polymorph_topologies::ring::chord::Chord;

    let seed = seed_or(2);
    println!("POLYMORPH_SEED={seed}");
    let (terms, config) = (Terms::default(), <Chord as Model>::Config::default());
    let options = Options { crypto: Crypto::Real, codec: Codec::Encoded, ..options::<Chord>(&config, seed) };
    let mut world = World::<Chord>::new(options);
    world.ideal(&terms, &config, 1000).expect("it can");
    // Every link is opened, and everybody stabilizes and looks its fingers up.
    world.run_for(60 * SECOND);
    assert!(world.events() > 50_000, "{} events", world.events());
    let plan = Lookups { count: 500, ..Lookups::default() };
    let found = workload::lookups(&mut world, &terms.name, &plan, workload::owner_of::<Chord>(&config));
    assert_eq!((found.ok, found.consistent), (500, Some(500)), "{found:?}");
    assert!(world.blamed().is_empty(), "{:?}", world.blamed());
}

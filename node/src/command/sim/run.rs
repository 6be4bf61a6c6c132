//! One run in virtual time: build the world, let it settle, measure.

use std::time::Duration;

use polymorph::Guid;
use polymorph::core::engine::settings::{self, Overlay};
use polymorph::core::topology::model::Model;
use polymorph::core::{OverlayId, Place};
use polymorph::sim::attack::damage;
use polymorph::sim::report::Report;
use polymorph::sim::workload::{self, Broadcasts, Lookups, Meter};
use polymorph::sim::{Codec, Crypto, Latency, Options, Terms, World, baseline};
use polymorph::topologies::catalog::typed::Visitor;

use super::Arguments;

/// How many events the yardstick takes: a fraction of a second.
const BASELINE_EVENTS: u32 = 500_000;
/// How many peers the yardstick has at most: 4 KiB each.
const BASELINE_PEERS: u32 = 1_000_000;
/// How long between two who join.
const JOIN_EVERY: Duration = Duration::from_millis(200);

/// Runs whichever topology the name turned out to be.
pub(super) struct Run<'a> {
    pub(super) name: &'a str,
    pub(super) arguments: &'a Arguments,
    pub(super) latency: Latency,
}

impl Visitor for Run<'_> {
    type Output = anyhow::Result<Report>;

    fn visit<T: Model>(self, config: T::Config, overlay: Overlay) -> anyhow::Result<Report> {
        let Self { name, arguments, latency } = self;
        let nowhere = Place { overlay: OverlayId([0; 32]), me: Guid([0; 32]) };
        let powers = T::new(&config, nowhere).powers();
        // Peers of a simulation are given the links their topology asks for.
        let node = settings::Node::default();
        let node = settings::Node { connections: node.connections.max(powers.degree), ..node };
        let options = Options {
            node,
            seed: arguments.seed,
            latency,
            crypto: if arguments.real_crypto { Crypto::Real } else { Crypto::default() },
            codec: if arguments.wire { Codec::Encoded } else { Codec::Typed },
            ..Options::default()
        };
        let terms = Terms { settings: overlay, ..Terms::default() };
        let mut world = World::<T>::new(options);
        if arguments.ideal {
            world.ideal(&terms, &config, arguments.peers)?;
        } else {
            join_all(&mut world, &terms, &config, arguments.peers)?;
        }
        let quiet = T::claims(&config, arguments.peers).quiet;
        world.run_for(Duration::from_secs(if arguments.ideal { 0 } else { quiet }));
        let meter = Meter::start(&world);
        world.run_for(Duration::from_secs_f64(arguments.time));
        let lookups = (arguments.lookups > 0 && powers.routes).then(|| {
            let plan = Lookups { count: arguments.lookups, ..Lookups::default() };
            workload::lookups(&mut world, &terms.name, &plan, workload::owner_of::<T>(&config))
        });
        let broadcast = (arguments.broadcasts > 0 && powers.spreads).then(|| {
            let (count, warmup) = (arguments.broadcasts, arguments.warmup_broadcasts);
            let plan = Broadcasts { count, warmup, sources: arguments.sources.into(), ..Broadcasts::default() };
            workload::broadcasts(&mut world, &terms.name, &plan)
        });
        let attack = arguments.attack.map(|attack| {
            // Long enough for tables to fill with what attackers say.
            let lasts = Duration::from_secs(quiet);
            let plan = damage::Plan { lookups: arguments.lookups, broadcasts: arguments.broadcasts, lasts };
            damage::measure(&mut world, &terms, &config, attack, plan)
        });
        let report = meter.report(&world, name);
        let peers = (arguments.peers as u32).clamp(1, BASELINE_PEERS);
        let baseline_events_per_s = Some(baseline::events_per_s(peers, BASELINE_EVENTS));
        Ok(Report { lookups, broadcast, attack, baseline_events_per_s, ..report })
    }
}

/// One after the other, each through somebody who is in already.
fn join_all<T: Model>(world: &mut World<T>, terms: &Terms, config: &T::Config, peers: usize) -> anyhow::Result<()> {
    let mut inside = Vec::with_capacity(peers);
    for number in 0..peers {
        let peer = world.add(terms, |place| T::new(config, place))?;
        // A seed from the middle of those before: neither always the first nor always the last.
        let seeds = if number == 0 { vec![] } else { vec![inside[number / 2]] };
        world.join(peer, &seeds);
        world.run_for(JOIN_EVERY);
        inside.push(peer);
    }
    Ok(())
}

//! One run in virtual time: build the world, let it settle, measure.

use std::time::Duration;

use polymorph::Guid;
use polymorph::core::engine::settings::{self, Overlay};
use polymorph::core::topology::model::Model;
use polymorph::core::topology::question::Powers;
use polymorph::core::{OverlayId, Place};
use polymorph::sim::attack::damage;
use polymorph::sim::report::{Report, Window};
use polymorph::sim::witness::Keep;
use polymorph::sim::workload::{self, Broadcasts, Failure, Lookups, Meter};
use polymorph::sim::{Codec, Crypto, Options, Terms, World, baseline};
use polymorph::topologies::catalog::typed::Visitor;

use super::Arguments;

/// How many events the yardstick takes: a fraction of a second.
const BASELINE_EVENTS: u32 = 500_000;
/// How many peers the yardstick has at most: 4 KiB each.
const BASELINE_PEERS: u32 = 1_000_000;
/// How many of a world with ideal tables open their links in a second.
const STARTING_PER_SECOND: u64 = 20_000;
/// How long between two who join.
const JOIN_EVERY: Duration = Duration::from_millis(200);

/// Runs whichever topology the name turned out to be.
pub(super) struct Run<'a> {
    pub(super) name: &'a str,
    pub(super) arguments: &'a Arguments,
    pub(super) seed: u64,
}

impl Visitor for Run<'_> {
    type Output = anyhow::Result<Report>;

    fn visit<T: Model>(self, config: T::Config, overlay: Overlay) -> anyhow::Result<Report> {
        let Self { name, arguments, seed } = self;
        let nowhere = Place { overlay: OverlayId([0; 32]), me: Guid([0; 32]) };
        let powers = T::new(&config, nowhere).powers();
        tell_what_is_left_out(name, arguments, powers);
        // Peers of a simulation are given the links their topology asks for.
        let node = settings::Node::default();
        let connections = node.connections.max(powers.degree);
        let idle = arguments.idle.map_or(node.idle, Duration::from_secs_f64);
        let node = settings::Node { connections, idle, ..node };
        let options = Options {
            node,
            seed,
            latency: arguments.latency,
            loss: arguments.loss,
            keep: Keep::Tallies,
            // On sockets everybody signs for real, and who one is follows from that.
            crypto: if arguments.real_crypto || arguments.sockets.is_some() { Crypto::Real } else { Crypto::default() },
            codec: if arguments.wire { Codec::Encoded } else { Codec::Typed },
            ..Options::default()
        };
        let terms = Terms { settings: overlay.into(), ..Terms::default() };
        let mut world = World::<T>::new(options);
        if arguments.ideal {
            // Not everybody dials in the same instant: what is on the way at once takes memory for the whole run.
            let over = Duration::from_secs(arguments.peers as u64 / STARTING_PER_SECOND);
            world.ideal_as(&terms, &config, arguments.peers, over, |model: T| model)?;
        } else {
            join_all(&mut world, &terms, &config, arguments.peers)?;
        }
        let quiet = T::claims(&config, arguments.peers).quiet;
        world.run_for(Duration::from_secs(if arguments.ideal { 0 } else { quiet }));
        let lying = (arguments.records > 0 && powers.routes).then(|| {
            let plan = workload::Records::among(arguments.records, arguments.peers);
            workload::put(&mut world, &terms.name, &plan)
        });
        if arguments.churn.0.is_some() {
            let config = config.clone();
            world.newcomers(&terms, move |place| T::new(&config, place));
            world.churn(arguments.churn.0);
        }
        let meter = Meter::start(&world);
        world.run_for(Duration::from_secs_f64(arguments.time));
        let records = lying.map(|lying| lying.fetch(&mut world));
        let measure = |world: &mut World<T>, warmup: usize| Window {
            lookups: (arguments.lookups > 0 && powers.routes).then(|| {
                let every = Duration::from_millis(arguments.every);
                let (count, retries) = (arguments.lookups, arguments.retries);
                let plan = Lookups { count, every, retries, ..Lookups::default() };
                workload::lookups(world, &terms.name, &plan, workload::owner_of::<T>(&config))
            }),
            broadcast: (arguments.broadcasts > 0 && powers.spreads).then(|| {
                let (count, sources) = (arguments.broadcasts, arguments.sources.into());
                let plan = Broadcasts { count, warmup, sources, ..Broadcasts::default() };
                workload::broadcasts(world, &terms.name, &plan)
            }),
        };
        let Window { lookups, broadcast } = measure(&mut world, arguments.warmup_broadcasts);
        // What is said of all peers is said of them before some fail; what was spent counts to the end.
        let Report { peers: all, state, links, traffic, load, .. } = meter.report(&world, name);
        let windows = arguments.fail.map(|share| {
            let failure = Failure { share, quiet: Duration::from_secs(quiet) };
            workload::windows(&mut world, &failure, |world| measure(world, 0))
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
        let steady = Report { peers: all, state, links, traffic, load, ..report };
        Ok(Report { lookups, broadcast, records, windows, attack, baseline_events_per_s, ..steady })
    }
}

/// What this topology cannot do is asked of it in vain.
fn tell_what_is_left_out(name: &str, arguments: &Arguments, powers: Powers) {
    let wishes = [
        (arguments.lookups, powers.routes, "routes nothing, so --lookups"),
        (arguments.records, powers.routes, "routes nothing, so --records"),
        (arguments.broadcasts, powers.spreads, "spreads nothing, so --broadcasts"),
    ];
    for (_, _, what) in wishes.into_iter().filter(|(asked, can, _)| *asked > 0 && !can) {
        eprintln!("polymorph: {name} {what} is left out");
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

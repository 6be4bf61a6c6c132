//! Chord while peers come and crash, in the simulator and on the real engine. The papers' figures are remembered or read off
//! plots, and the protocol is not quite theirs: all is shown, and nothing held against it. Above all a lookup is recursive here:
//! a hop whose next one is gone takes another at once, and only what the asker itself waited for in vain is a timeout.

use core::time::Duration;

use polymorph_core::topology::model::Model;
use polymorph_sim::churn::{Churn, Lifetimes};
use polymorph_sim::witness::Keep;
use polymorph_sim::workload::{self, Lookups};
use polymorph_sim::{Options, Terms, World, report};
use polymorph_topologies::ring::chord::{Chord, Config, Shortcut};

use crate::SEED;
use crate::table::{Gate, Paper, Table};

/// ToN 2003, table III as remembered: how many join and how many go in a second; hops, timeouts, and failures of 10^4
/// lookups.
const TABLE_III: [(f64, f64, f64, f64); 8] = [
    (0.05, 3.90, 0.05, 0.0),
    (0.10, 3.83, 0.11, 0.0),
    (0.15, 3.84, 0.16, 2.0),
    (0.20, 3.81, 0.23, 5.0),
    (0.25, 3.83, 0.30, 6.0),
    (0.30, 3.91, 0.34, 8.0),
    (0.35, 3.94, 0.42, 16.0),
    (0.40, 4.06, 0.46, 15.0),
];
/// SIGCOMM 2001, figure 12: the same rate, and the share of lookups that fail.
const FIGURE_12: [(f64, f64); 4] = [(0.01, 0.003), (0.02, 0.010), (0.05, 0.025), (0.10, 0.064)];
/// As in table III and in the figure: how often the successor is asked, and here the fingers too.
const STABILIZE: Duration = Duration::from_secs(30);
const LOOKUPS: usize = 10_000;
/// Each peer asks but once in minutes; what it learns of that keeps few tables right.
const EVERY: Duration = Duration::from_millis(200);
/// How long peers come and go before anybody asks.
const BEFORE: Duration = Duration::from_secs(600);

pub(crate) fn rows(table: &mut Table, largest: usize) {
    let count = LOOKUPS.min(largest / 10);
    // Table III counts with table II's list and short cuts.
    let config = Config { successors: 20, shortcut: Shortcut::Successors, ..Config::default() };
    for (rate, hops, timeouts, failures) in TABLE_III {
        let lookups = lookups(&config, 1000, rate, Lookups { count, every: EVERY, retries: 1, ..Lookups::default() });
        let what = format!("chord, 1000 peers, {rate} come and crash a second");
        let mean = lookups.hops.map_or(f64::NAN, |hops| hops.mean);
        table.row(&format!("{what}: hops"), Paper::Remembered(hops), Gate::Open, mean);
        let late = lookups.timeouts_mean.unwrap_or(f64::NAN);
        table.row(&format!("{what}: timeouts of the asker"), Paper::Remembered(timeouts), Gate::Open, late);
        let failed = 1e4 * failed(&lookups);
        table.row(&format!("{what}: failures of 10000"), Paper::Remembered(failures), Gate::Open, failed);
    }
    for (rate, share) in FIGURE_12 {
        let plan = Lookups { count, every: EVERY, ..Lookups::default() };
        let failed = failed(&lookups(&Config::default(), 500, rate, plan));
        let what = format!("chord, 500 peers, {rate} come and crash a second: share that fails");
        table.row(&what, Paper::Plotted(share), Gate::Open, failed);
    }
}

/// The share that was not answered, or not with the owner.
fn failed(lookups: &report::Lookups) -> f64 {
    1.0 - lookups.consistent.unwrap_or_default() as f64 / lookups.count.max(1) as f64
}

/// As many come as crash: lives without memory that last `peers / rate` seconds on average.
fn lookups(config: &Config, peers: usize, rate: f64, plan: Lookups) -> report::Lookups {
    let config = Config { stabilize: STABILIZE, fix_fingers: STABILIZE, ..*config };
    let terms = Terms::default();
    let mut world = World::<Chord>::new(Options { keep: Keep::Tallies, ..Options::seeded(SEED) });
    world.ideal(&terms, &config, peers).expect("it knows its ideal tables");
    world.newcomers(&terms, move |place| Chord::new(&config, place));
    let lifetimes = Lifetimes::Exponential { mean: Duration::from_secs_f64(peers as f64 / rate) };
    world.churn(Some(Churn { graceful: 0.0, ..Churn::new(lifetimes) }));
    world.run_for(BEFORE);
    workload::lookups(&mut world, &terms.name, &plan, workload::owner_of::<Chord>(&config))
}

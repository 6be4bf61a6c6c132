//! Chord's rows: hops, failures, stretch, and how evenly keys lie. Its paper counts hops to the owner's predecessor;
//! what is printed of it includes the last hop.

use polymorph_topologies::ring::chord::{Chord, Config, Shortcut};

use crate::load::Law;
use crate::published::{BOUNDS, FAILURES, HOPS, LOADS};
use crate::ring::{Ring, Walks};
use crate::table::{Gate, Paper, Table};
use crate::{LOOKUPS, SEED};

/// SIGCOMM 2001, figure 10: the mean, p1 and p99 at 2^10, 2^12 and 2^14 peers.
const FIGURE_10: [(f64, f64, f64); 3] = [(5.9, 3.0, 9.0), (6.85, 3.0, 11.0), (7.85, 4.0, 12.0)];
/// ToN 2003, table II as remembered: hops and timeouts at the shares of [`FAILURES`].
const TABLE_II: [(f64, f64); 6] = [(3.84, 0.0), (4.03, 0.60), (4.22, 1.17), (4.44, 2.02), (4.69, 3.23), (5.09, 5.10)];
/// SIGCOMM 2001, figure 9: p1 and p99 of the load against the mean with one virtual node, and with twenty.
const FIGURE_9: [(u8, f64, f64); 2] = [(1, 0.0, 4.8), (20, 0.5, 1.6)];
/// How many rings a row of failures is averaged over, and one of bounded loads.
const RINGS: u64 = 20;
const BOUNDED_RINGS: u64 = 30;

pub(crate) fn hops(table: &mut Table, largest: usize) {
    for (at, (peers, mean, p1, p99)) in HOPS.into_iter().enumerate().filter(|(_, (peers, ..))| *peers <= largest) {
        let walks = Ring::<Chord>::new(&Config::default(), peers, SEED).walks(LOOKUPS);
        let plotted = FIGURE_10.get(at).map(|&(mean, p1, p99)| [mean, p1, p99].map(Paper::Plotted));
        let papers = plotted.unwrap_or([mean, p1, p99].map(Paper::Recomputed));
        let ours = [walks.hops(), walks.quantile(0.01), walks.quantile(0.99)];
        for ((word, by), ((paper, expected), ours)) in [("", 0.1), (", p1", 1.0), (", p99", 1.0)]
            .into_iter()
            .zip(papers.into_iter().zip([mean, p1, p99]).zip(ours))
        {
            table.row(&format!("chord, {peers} peers: hops{word}"), paper, Gate::Near(expected, by), ours);
        }
    }
    failures(table);
    stretch(table, largest);
}

/// Peers die, and nobody has noticed. Every lookup ends at the right owner, or the walk panics.
fn failures(table: &mut Table) {
    let config = Config { successors: 20, shortcut: Shortcut::Successors, ..Config::default() };
    for ((share, hops, timeouts), (paper_hops, paper_timeouts)) in FAILURES.into_iter().zip(TABLE_II) {
        // Which peers die matters more than which keys are looked up.
        let runs: Vec<Walks> = (0..RINGS)
            .map(|run| {
                let mut ring = Ring::<Chord>::new(&config, 1000, SEED + run);
                ring.kill(share);
                ring.walks(LOOKUPS / RINGS as usize)
            })
            .collect();
        let mean = |of: fn(&Walks) -> f64| runs.iter().map(of).sum::<f64>() / RINGS as f64;
        let what = format!("chord, 1000 peers, {share} dead, list as short cut");
        let paper = Paper::Remembered(paper_hops);
        table.row(&format!("{what}: hops"), paper, Gate::Near(hops, 0.15), mean(Walks::hops));
        let paper = Paper::Remembered(paper_timeouts);
        table.row(&format!("{what}: timeouts"), paper, Gate::share(timeouts, 0.15), mean(Walks::timeouts));
    }
}

/// Ways against straight ways on a plane, with fingers that are the first or the nearest of sixteen.
fn stretch(table: &mut Table, largest: usize) {
    for peers in [1000, 10_000, 100_000].into_iter().filter(|peers| *peers <= largest) {
        for (proximity, shortcut, word) in [
            (0, Shortcut::None, "first of each power"),
            (16, Shortcut::None, "nearest of 16"),
            (16, Shortcut::Successors, "nearest of 16, and 16 successors"),
        ] {
            let config = Config { proximity, shortcut, ..Config::default() };
            let walks = Ring::<Chord>::on_a_plane(&config, peers, SEED).walks(LOOKUPS);
            let what = format!("chord, {peers} peers on a plane, {word}");
            let paper = match shortcut {
                // Each hop is as long as any way.
                _ if proximity == 0 => Paper::Recomputed(walks.hops()),
                Shortcut::Successors if peers == 100_000 => Paper::Recomputed(2.45),
                _ => Paper::Silent,
            };
            table.row(&format!("{what}: stretch"), paper, Gate::Open, walks.stretch());
            table.row(&format!("{what}: hops"), Paper::Silent, Gate::Open, walks.hops());
        }
    }
}

/// Keys of each peer against the mean.
pub(crate) fn load(table: &mut Table, _: usize) {
    const PEERS: usize = 10_000;
    let loads = Ring::<Chord>::new(&Config::default(), PEERS, SEED).loads(500_000);
    let law = Law::new(1, PEERS, 50.0);
    let what = format!("chord, {PEERS} peers, 500000 keys");
    table.row(&format!("{what}: p99 of load / mean"), Paper::Read(4.6), Gate::share(4.6, 0.1), loads[PEERS * 99 / 100]);
    let most = Gate::In(law.most(), law.most_range());
    table.row(&format!("{what}: most of load / mean"), Paper::Read(9.1), most, loads[PEERS - 1]);
    for (nodes, p99, most, p1) in LOADS {
        let config = Config { virtual_nodes: nodes, ..Config::default() };
        let mut ring = Ring::<Chord>::new(&config, PEERS, SEED);
        let (loads, law) = (ring.loads(1_000_000), Law::new(nodes, PEERS, 100.0));
        let read = FIGURE_9.into_iter().find(|(of, ..)| *of == nodes);
        let paper = read.map_or([p1, p99].map(Paper::Recomputed), |(_, p1, p99)| [p1, p99].map(Paper::Read));
        let what = format!("chord, {PEERS} peers, {nodes} virtual nodes");
        let gate = Gate::In(law.quantile(0.01), law.range(0.01));
        table.row(&format!("{what}: p1 of load / mean"), paper[0], gate, loads[PEERS / 100]);
        let gate = Gate::share(p99, 0.1);
        table.row(&format!("{what}: p99 of load / mean"), paper[1], gate, loads[PEERS * 99 / 100]);
        let gate = Gate::In(law.most(), law.most_range());
        table.row(&format!("{what}: most of load / mean"), Paper::Recomputed(most), gate, loads[PEERS - 1]);
        table.row(&format!("{what}: hops"), Paper::Silent, Gate::Open, ring.walks(LOOKUPS).hops());
    }
    bounds(table);
}

/// Ten thousand peers and a million values under a bound. Recomputed was one ring; expected is the mean of many, since
/// rings differ.
fn bounds(table: &mut Table) {
    let (mut asked, mut off) = ([0.0; BOUNDS.len()], [0; BOUNDS.len()]);
    for run in 0..BOUNDED_RINGS {
        let mut ring = Ring::<Chord>::new(&Config::default(), 10_000, SEED + run);
        for (at, (percent, ..)) in BOUNDS.into_iter().enumerate() {
            let shelves = ring.bounded(1_000_000, percent);
            asked[at] += shelves.asked / BOUNDED_RINGS as f64;
            off[at] += shelves.fullest.abs_diff(shelves.bound);
        }
    }
    for (((percent, one, expected), asked), off) in BOUNDS.into_iter().zip(asked).zip(off) {
        let what = format!("chord, 10000 peers, at most {percent} % above the mean");
        table.row(&format!("{what}: asked for room"), Paper::Recomputed(one), Gate::share(expected, 0.05), asked);
        table.row(&format!("{what}: most, off the bound"), Paper::Recomputed(0.0), Gate::Near(0.0, 0.0), off as f64);
    }
}

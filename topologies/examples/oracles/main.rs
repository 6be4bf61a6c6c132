//! Prints what the papers measured, what these topologies measure, and the difference, at full size:
//!
//! ```text
//! cargo run --release -p polymorph-topologies --example oracles            # seven minutes, 2.1 GiB
//! cargo run --release -p polymorph-topologies --example oracles -- small   # up to 10^4 peers, seconds
//! cargo run --release -p polymorph-topologies --example oracles -- pastry symphony
//! ```
//!
//! Ideal tables, no loss; the expected figures were recomputed by an independent simulation of such tables, and agree
//! with the papers where these can be read off. The same rows at small sizes are tests (`tests/oracles.rs`).

mod published;
mod ring;

use polymorph_topologies::ring::{chord, kademlia, pastry, symphony, tapestry};
use published::{BOUNDS, FAILURES, KADEMLIA, LOADS, SHARES};
use ring::{Ring, Walks};

/// Prints a topology's rows, up to so many peers.
type Rows = fn(usize);

/// How many lookups make a row.
const LOOKUPS: usize = 20_000;
const SEED: u64 = 42;
/// How many worlds a row of failures is averaged over.
const RINGS: u64 = 20;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let largest = if wanted.iter().any(|word| word == "small") { 10_000 } else { 1_000_000 };
    let named = wanted.iter().any(|word| word != "small");
    println!("{:<58} {:>9} {:>9} {:>9}", "", "expected", "here", "apart");
    let all: [(&str, Rows); 5] = [
        ("chord", chord_rows),
        ("kademlia", kademlia_rows),
        ("pastry", pastry_rows),
        ("tapestry", tapestry_rows),
        ("symphony", symphony_rows),
    ];
    for (name, rows) in all {
        if !named || wanted.iter().any(|word| word == name) {
            rows(largest);
        }
    }
}

fn row(what: &str, expected: f64, here: f64) {
    println!("{what:<58} {expected:>9.3} {here:>9.3} {:>+9.3}", here - expected);
}

/// A row without anything to compare it with.
fn alone(what: &str, here: f64) {
    println!("{what:<58} {:>9} {here:>9.3}", "");
}

fn chord_rows(largest: usize) {
    let config = chord::Config::default();
    let sizes = [(1 << 10, 5.86), (1 << 12, 6.88), (1 << 14, 7.87), (100_000, 9.16), (1_000_000, 10.82)];
    for (peers, expected) in sizes.into_iter().filter(|(peers, _)| *peers <= largest) {
        let walks = Ring::<chord::Chord>::new(&config, peers, SEED).walks(LOOKUPS);
        row(&format!("chord, {peers} peers: hops, the last one included"), expected, walks.hops());
    }
    let config = chord::Config { successors: 20, shortcut: chord::Shortcut::Successors, ..config };
    for (share, hops, timeouts) in FAILURES {
        // Which peers die matters more than which keys are looked up.
        let runs: Vec<Walks> = (0..RINGS)
            .map(|run| {
                let mut ring = Ring::<chord::Chord>::new(&config, 1000, SEED + run);
                ring.kill(share);
                ring.walks(LOOKUPS / RINGS as usize)
            })
            .collect();
        let mean = |of: fn(&Walks) -> f64| runs.iter().map(of).sum::<f64>() / RINGS as f64;
        row(&format!("chord, 1000 peers, {share} dead, list as short cut: hops"), hops, mean(Walks::hops));
        row(&format!("chord, 1000 peers, {share} dead: timeouts (none fails)"), timeouts, mean(Walks::timeouts));
    }
    chord_stretch(largest);
    chord_bounds();
    for (nodes, p99, max, p1) in LOADS {
        let config = chord::Config { virtual_nodes: nodes, ..chord::Config::default() };
        let mut ring = Ring::<chord::Chord>::new(&config, 10_000, SEED);
        let loads = ring.loads(1_000_000);
        let hops = ring.walks(LOOKUPS).hops();
        alone(&format!("chord, 10000 peers, {nodes} virtual nodes: hops"), hops);
        row(&format!("chord, 10000 peers, {nodes} virtual nodes: p99 of load / mean"), p99, loads[9900]);
        row(&format!("chord, 10000 peers, {nodes} virtual nodes: max of load / mean"), max, loads[9999]);
        row(&format!("chord, 10000 peers, {nodes} virtual nodes: p1 of load / mean"), p1, loads[100]);
    }
}

/// Ten thousand peers and a million values under a bound.
fn chord_bounds() {
    let config = chord::Config { successors: 64, ..chord::Config::default() };
    for (epsilon, expected) in BOUNDS {
        let asked = Ring::<chord::Chord>::new(&config, 10_000, SEED).bounded(1_000_000, epsilon);
        row(&format!("chord, 10000 peers, {epsilon} above the mean: asked for room"), expected, asked);
    }
}

/// Ways against straight ways on a plane, with fingers that are the first or the nearest of sixteen.
fn chord_stretch(largest: usize) {
    for peers in [1000, 10_000, 100_000].into_iter().filter(|peers| *peers <= largest) {
        for (proximity, shortcut, word) in [
            (0, chord::Shortcut::None, "first of each power"),
            (16, chord::Shortcut::None, "nearest of 16"),
            (16, chord::Shortcut::Successors, "nearest of 16, and 16 successors"),
        ] {
            let config = chord::Config { proximity, shortcut, ..chord::Config::default() };
            let walks = Ring::<chord::Chord>::on_a_plane(&config, peers, SEED).walks(LOOKUPS);
            let what = format!("chord, {peers} peers on a plane, {word}");
            match shortcut {
                // Each hop is as long as any way.
                _ if proximity == 0 => row(&format!("{what}: stretch"), walks.hops(), walks.stretch()),
                chord::Shortcut::Successors if peers == 100_000 => {
                    row(&format!("{what}: stretch"), 2.45, walks.stretch());
                }
                _ => alone(&format!("{what}: stretch"), walks.stretch()),
            }
            alone(&format!("{what}: hops"), walks.hops());
        }
    }
}

fn kademlia_rows(largest: usize) {
    for (k, peers, depth, questions) in KADEMLIA.into_iter().filter(|(_, peers, ..)| *peers <= largest) {
        let config = kademlia::Config { k, ..kademlia::Config::default() };
        let mut ring = Ring::<kademlia::Kademlia>::new(&config, peers, SEED);
        let lookups: Vec<_> = (0..LOOKUPS / 10).map(|_| ring.iterative(k, 3)).collect();
        let mean = |of: fn(&ring::Lookup) -> u32| {
            lookups.iter().map(|lookup| f64::from(of(lookup))).sum::<f64>() / lookups.len() as f64
        };
        let right = lookups.iter().filter(|lookup| lookup.right).count() as f64 / lookups.len() as f64;
        row(&format!("kademlia, k = {k}, {peers} peers: rounds to the nearest"), depth, mean(|lookup| lookup.depth));
        row(&format!("kademlia, k = {k}, {peers} peers: questions"), questions, mean(|lookup| lookup.questions));
        row(&format!("kademlia, k = {k}, {peers} peers: the nearest is found"), 1.0, right);
    }
}

fn pastry_rows(largest: usize) {
    let config = pastry::Config::default();
    let sizes = [(1000, 2.48), (5000, 2.95), (10_000, 3.23), (1_000_000, 4.74)];
    for (peers, expected) in sizes.into_iter().filter(|(peers, _)| *peers <= largest) {
        let walks = Ring::<pastry::Pastry>::new(&config, peers, SEED).walks(LOOKUPS);
        row(&format!("pastry, {peers} peers: hops"), expected, walks.hops());
    }
    if largest >= 100_000 {
        // As many as in the paper.
        let mut ring = Ring::<pastry::Pastry>::new(&config, 100_000, SEED);
        row("pastry, 100000 peers: hops to random keys", 3.97, ring.walks(200_000).hops());
        let walks = ring.walks_to_nodes(200_000);
        row("pastry, 100000 peers: hops from node to node", 3.97, walks.hops());
        for (hops, (paper, expected)) in SHARES.into_iter().enumerate() {
            let here = walks.shares().get(hops + 1).copied().unwrap_or_default();
            row(&format!("pastry, 100000 peers: share of {} hops ({paper} in the paper)", hops + 1), expected, here);
        }
    }
    for (peers, expected) in [(1000, 1.13), (10_000, 1.18), (100_000, 1.23)] {
        if peers <= largest {
            let walks: Walks = Ring::<pastry::Pastry>::on_a_plane(&config, peers, SEED).walks(LOOKUPS);
            row(&format!("pastry, {peers} peers on a plane: stretch (1.15 to 1.45)"), expected, walks.stretch());
        }
    }
}

fn tapestry_rows(largest: usize) {
    let config = tapestry::Config::default();
    for (peers, expected) in [(1000, 2.57), (10_000, 3.31), (100_000, 4.07), (1_000_000, 4.87)] {
        if peers <= largest {
            let walks = Ring::<tapestry::Tapestry>::new(&config, peers, SEED).walks(LOOKUPS);
            row(&format!("tapestry, {peers} peers: hops to the one root"), expected, walks.hops());
        }
    }
}

fn symphony_rows(largest: usize) {
    let sizes = [
        (1 << 15, 4, 1, 7.47),
        (1 << 15, 4, 0, 12.5),
        (1 << 15, 7, 1, 5.7),
        (100_000, 4, 1, 8.8),
        (1_000_000, 4, 1, 11.6),
    ];
    for (peers, links, lookahead, expected) in sizes.into_iter().filter(|(peers, ..)| *peers <= largest) {
        let config = symphony::Config { links, lookahead, ..symphony::Config::default() };
        let walks = Ring::<symphony::Symphony>::new(&config, peers, SEED).walks(LOOKUPS);
        row(&format!("symphony, {peers} peers, {links} links, look ahead {lookahead}: hops"), expected, walks.hops());
    }
}

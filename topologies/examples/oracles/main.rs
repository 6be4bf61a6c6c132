//! Prints what the papers measured, what is expected of these topologies, what they measure, and the difference, at full size:
//!
//! ```text
//! cargo run --release -p polymorph-topologies --example oracles            # a quarter of an hour, 2.1 GiB
//! cargo run --release -p polymorph-topologies --example oracles -- small   # up to 10^4 peers
//! cargo run --release -p polymorph-topologies --example oracles -- pastry symphony
//! ```
//!
//! It fails when a row that is gated is out of tolerance. Expected is what an independent simulation of ideal tables without
//! loss came to; it agrees with the papers where these can be read off. Only `churn` runs worlds. The same rows at small
//! sizes are tests (`tests/oracles.rs`).

mod chord;
mod churn;
mod load;
mod published;
mod ring;
mod table;

use std::process::ExitCode;

use polymorph_topologies::ring::{kademlia, pastry, symphony, tapestry};
use published::{KADEMLIA, SHARES};
use ring::Ring;
use table::{Gate, Paper, Table};

/// Prints a part of the table, up to so many peers.
type Rows = fn(&mut Table, usize);

const PARTS: [(&str, Rows); 7] = [
    ("chord", chord::hops),
    ("load", chord::load),
    ("churn", churn::rows),
    ("kademlia", kademlia_rows),
    ("pastry", pastry_rows),
    ("tapestry", tapestry_rows),
    ("symphony", symphony_rows),
];
/// How many lookups make a row.
const LOOKUPS: usize = 20_000;
const SEED: u64 = 42;

fn main() -> ExitCode {
    let (sizes, wanted): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|word| word == "small");
    let largest = if sizes.is_empty() { 1_000_000 } else { 10_000 };
    if let Some(word) = wanted.iter().find(|word| PARTS.iter().all(|(name, _)| word != name)) {
        eprintln!("no part is called {word}; there are small and {}", PARTS.map(|(name, _)| name).join(", "));
        return ExitCode::from(2);
    }
    let mut table = Table::begin();
    for (name, rows) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            rows(&mut table, largest);
        }
    }
    println!("{} of {} gated rows are out of tolerance", table.missed, table.gated);
    if table.missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn kademlia_rows(table: &mut Table, largest: usize) {
    for (k, peers, depth, questions) in KADEMLIA.into_iter().filter(|(_, peers, ..)| *peers <= largest) {
        let config = kademlia::Config { k, ..kademlia::Config::default() };
        let mut ring = Ring::<kademlia::Kademlia>::new(&config, peers, SEED);
        let lookups: Vec<_> = (0..LOOKUPS / 10).map(|_| ring.iterative(k, 3)).collect();
        let mean = |of: fn(&ring::Lookup) -> u32| {
            lookups.iter().map(|lookup| f64::from(of(lookup))).sum::<f64>() / lookups.len() as f64
        };
        let right = lookups.iter().filter(|lookup| lookup.right).count() as f64 / lookups.len() as f64;
        let mut row = |what: &str, figure, gate, ours| {
            table.row(&format!("kademlia, k = {k}, {peers} peers: {what}"), Paper::Recomputed(figure), gate, ours);
        };
        row("rounds to the nearest", depth, Gate::Near(depth, 0.1), mean(|lookup| lookup.depth));
        row("questions", questions, Gate::share(questions, 0.1), mean(|lookup| lookup.questions));
        row("the nearest is found", 1.0, Gate::Near(1.0, 0.0), right);
    }
}

fn pastry_rows(table: &mut Table, largest: usize) {
    let config = pastry::Config::default();
    let sizes = [(1000, 2.48), (5000, 2.95), (10_000, 3.23), (100_000, 3.97), (1_000_000, 4.74)];
    for (peers, expected) in sizes.into_iter().filter(|(peers, _)| *peers <= largest) {
        let mut ring = Ring::<pastry::Pastry>::new(&config, peers, SEED);
        let (what, gate) = (format!("pastry, {peers} peers: hops"), || Gate::Near(expected, 0.05));
        table.row(&format!("{what} to random keys"), Paper::Recomputed(expected), gate(), ring.walks(LOOKUPS).hops());
        if peers == 100_000 {
            // As many as in the paper, and from node to node as there.
            let walks = ring.walks_to_nodes(200_000);
            table.row(&format!("{what} from node to node"), Paper::Read(3.98), gate(), walks.hops());
            for (hops, (paper, expected)) in SHARES.into_iter().enumerate() {
                let ours = walks.shares().get(hops + 1).copied().unwrap_or_default();
                let what = format!("pastry, {peers} peers: share of {} hops", hops + 1);
                table.row(&what, Paper::Read(paper), Gate::Near(expected, 0.01), ours);
            }
        }
    }
    for peers in [1000, 10_000, 100_000].into_iter().filter(|peers| *peers <= largest) {
        // "30 to 40 % longer" at each of these sizes.
        let stretch = Ring::<pastry::Pastry>::on_a_plane(&config, peers, SEED).walks(LOOKUPS).stretch();
        let gate = Gate::In(1.35, 1.15..=1.45);
        table.row(&format!("pastry, {peers} peers on a plane: stretch"), Paper::Read(1.35), gate, stretch);
    }
}

fn tapestry_rows(table: &mut Table, largest: usize) {
    let config = tapestry::Config::default();
    let sizes = [(1000, 2.57), (10_000, 3.31), (100_000, 4.07), (1_000_000, 4.87)];
    for (peers, expected) in sizes.into_iter().filter(|(peers, _)| *peers <= largest) {
        let hops = Ring::<tapestry::Tapestry>::new(&config, peers, SEED).walks(LOOKUPS).hops();
        let what = format!("tapestry, {peers} peers: hops to the one root");
        table.row(&what, Paper::Recomputed(expected), Gate::Near(expected, 0.07), hops);
    }
}

fn symphony_rows(table: &mut Table, largest: usize) {
    let sizes = [
        // What the paper is known for.
        (1 << 15, 4, 1, Paper::Remembered(7.5), 7.47),
        (1 << 15, 4, 0, Paper::Recomputed(12.5), 12.5),
        (1 << 15, 7, 1, Paper::Recomputed(5.7), 5.7),
        (100_000, 4, 1, Paper::Recomputed(8.8), 8.8),
        (1_000_000, 4, 1, Paper::Recomputed(11.6), 11.6),
    ];
    for (peers, links, lookahead, paper, expected) in sizes.into_iter().filter(|(peers, ..)| *peers <= largest) {
        let config = symphony::Config { links, lookahead, ..symphony::Config::default() };
        let hops = Ring::<symphony::Symphony>::new(&config, peers, SEED).walks(LOOKUPS).hops();
        let what = format!("symphony, {peers} peers, {links} links, look ahead {lookahead}: hops");
        table.row(&what, paper, Gate::Near(expected, 0.25), hops);
    }
}

//! A verified fetch, file to file between two processes, beside its floor: two processes that do nothing but read →
//! TLS → BLAKE3 → write, pipelined, in blocks of the same size, with one fsync at the end.
//!
//! The parent starts both ends of each round and takes turns between floor and fetch. `POLYMORPH_BENCH_MIB` sets the
//! size of the file; the temporary directory is the disk that is measured.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

#[path = "support/board.rs"]
mod board;
#[path = "support/fetching.rs"]
mod fetching;
#[path = "support/floor.rs"]
mod floor;
#[path = "support/keys.rs"]
mod keys;
#[path = "support/star.rs"]
mod star;

use board::{Target, median, row};

/// Says which end of which kind a process is; the arguments follow, separated by spaces.
const TASK: &str = "POLYMORPH_BENCH_TASK";
/// How large the file is, in MiB.
const MIB: &str = "POLYMORPH_BENCH_MIB";
/// What is read, hashed and written at once: a chunk of `polymorph_media`.
const BLOCK: usize = (polymorph::media::blob::CHUNK_GROUPS * polymorph::media::blob::GROUP_BYTES) as usize;

fn main() {
    if let Ok(task) = std::env::var(TASK) {
        return child(&task);
    }
    let (default, rounds) = if board::in_earnest() { (1024, 5) } else { (4, 1) };
    let mib = std::env::var(MIB).ok().map_or(default, |mib| mib.parse().expect("a number of MiB"));
    let dir = tempfile::tempdir().expect("a place for files");
    let source = dir.path().join("source");
    let hash = floor::make(&source, mib);
    for (wire, bounds) in [("tcp", [Target::AtLeast(0.6), Target::AtMost(2.0)]), ("quic", [Target::Open; 2])] {
        board::heading(&format!("bulk over {wire}: {mib} MiB file to file between two processes, beside the floor"));
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        // The first round touches fresh memory and is not counted.
        for round in 0..=rounds {
            let counts = usize::from(round > 0);
            bare.extend(Some(floor_round(dir.path(), &source, &hash)).into_iter().take(counts));
            ours.extend(Some(fetch_round(dir.path(), &source, &hash, wire)).into_iter().take(counts));
        }
        let speed = |seconds: f64| format!("{:.0} MB/s", mib as f64 * 1.048_576 / seconds);
        let ratio = median(ours.iter().zip(&bare).map(|(ours, bare)| bare.wall / ours.wall));
        let [our, other] = [&ours, &bare].map(|costs| median(costs.iter().map(|cost| cost.wall)));
        row("verified fetch", &speed(our), &speed(other), ratio, bounds[0]);
        let ratio = median(ours.iter().zip(&bare).map(|(ours, bare)| ours.busy / bare.busy));
        let [our, other] = [&ours, &bare].map(|costs| median(costs.iter().map(|cost| cost.busy)) * 1024.0 / mib as f64);
        row("  processor seconds a GiB, both ends", &format!("{our:.2} s"), &format!("{other:.2} s"), ratio, bounds[1]);
    }
}

fn child(task: &str) {
    let words: Vec<&str> = task.split(' ').collect();
    match words.as_slice() {
        ["floor-give", source] => floor::give(Path::new(source)),
        ["floor-take", from, target] => floor::take(from, Path::new(target)),
        ["give", wire, source, store] => fetching::give(wire, Path::new(source), Path::new(store)),
        ["take", wire, contact, hash, store] => fetching::take(wire, contact, hash, Path::new(store)),
        _ => panic!("no such task: {task}"),
    }
}

/// Seconds that one fetch took.
struct Cost {
    wall: f64,
    busy: f64,
}

/// A process at work: what it prints, line by line.
struct Worker {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Worker {
    fn start(task: &str) -> Self {
        let this = std::env::current_exe().expect("a program has a path");
        let mut command = Command::new(this);
        command.env(TASK, task).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, lines }
    }

    fn line(&mut self) -> Vec<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("text");
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// Tells it that its work is over, and takes its last word: the processor time it needed.
    fn end(mut self) -> f64 {
        drop(self.child.stdin.take());
        let busy = seconds(&self.line(), 0);
        assert!(self.child.wait().expect("it ends").success());
        busy
    }
}

fn seconds(line: &[String], at: usize) -> f64 {
    line.get(at).and_then(|word| word.parse().ok()).expect("a number of seconds")
}

fn floor_round(dir: &Path, source: &Path, hash: &str) -> Cost {
    let target = dir.join("floor");
    let mut giver = Worker::start(&format!("floor-give {}", source.display()));
    let port = giver.line().remove(0);
    let mut taker = Worker::start(&format!("floor-take 127.0.0.1:{port} {}", target.display()));
    let line = taker.line();
    assert_eq!(line[0], hash, "the floor's hash");
    let cost = Cost { wall: seconds(&line, 1), busy: taker.end() + giver.end() };
    std::fs::remove_file(target).expect("it is there");
    cost
}

fn fetch_round(dir: &Path, source: &Path, hash: &str, wire: &str) -> Cost {
    let [provider, fetcher] = ["provider", "fetcher"].map(|name| dir.join(name));
    let mut giver = Worker::start(&format!("give {wire} {} {}", source.display(), provider.display()));
    let shared = giver.line();
    assert_eq!(shared[0], hash, "the provider's hash");
    let mut taker = Worker::start(&format!("take {wire} {} {hash} {}", shared[1], fetcher.display()));
    let wall = seconds(&taker.line(), 0);
    let cost = Cost { wall, busy: taker.end() + giver.end() };
    for store in [provider, fetcher] {
        std::fs::remove_dir_all(store).expect("it is there");
    }
    cost
}

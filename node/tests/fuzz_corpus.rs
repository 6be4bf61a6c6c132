//! The corpus of the fuzz targets, replayed with any toolchain: every file as it stands, and changed a little in ways
//! that follow from a seed.
//!
//! The golden vectors of today are replayed too, whether they stand in the corpus already or not; `POLYMORPH_GOLDEN=write`
//! puts them there. Files that stand there besides, such as what a fuzzer found, are kept.

#[path = "../../core/fuzz/src/decoders.rs"]
mod decoders;
#[path = "../../core/fuzz/src/engine/run.rs"]
mod engine;
#[path = "fuzz_corpus/seeds.rs"]
mod seeds;

use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;

/// How many changed forms of each file are tried.
const CHANGES: u64 = 48;
/// The same for stories, each of which is long.
const CHANGED_STORIES: u64 = 12;
/// A corpus in a repository stays small.
const MAX_CORPUS_BYTES: usize = 300 << 10;

/// The seed of a run: fixed, so that one that passes passes again; `POLYMORPH_SEED` tries another.
fn seed() -> u64 {
    let given = std::env::var("POLYMORPH_SEED").ok();
    given.map_or(1, |seed| seed.parse().expect("POLYMORPH_SEED is a number"))
}

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../core/fuzz/corpus")
}

/// A small generator (splitmix64), so that a failure names its seed.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }

    /// Changes a file in one to three ways: bits flipped, cut, a part twice, a part of another file, an odd number.
    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let to = at + self.below(bytes.len() - at);
            match self.below(6) {
                _ if bytes.is_empty() => bytes.push(self.next() as u8),
                0 | 1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes.truncate(at),
                3 => {
                    let part = bytes[at..to].to_vec();
                    bytes.splice(at..at, part);
                }
                4 => {
                    let from = self.below(other.len());
                    bytes.splice(at..to, other[from..].iter().copied());
                }
                _ => {
                    let odd: &[u8] =
                        [&[0xff; 10][..], &[0; 5], &[0x80; 5], &[0xff, 0xff, 0xff, 0xff, 0x0f]][self.below(4)];
                    bytes.splice(at..at, odd.iter().copied());
                }
            }
        }
    }
}

fn files(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = corpus().join(target);
    let listed = fs::read_dir(&folder).unwrap_or_else(|why| panic!("{target} has no corpus: {why}"));
    let mut files: Vec<(String, Vec<u8>)> = listed
        .map(|entry| {
            let path = entry.expect("a file").path();
            (path.display().to_string(), fs::read(&path).expect("it can be read"))
        })
        .collect();
    let seeds = seeds::all().into_iter().filter(|(of, ..)| *of == target);
    files.extend(seeds.map(|(_, name, bytes)| (format!("golden vector {name}"), bytes)));
    files.sort();
    files.dedup_by(|a, b| a.1 == b.1);
    files
}

fn replay(target: &str, changes: u64, body: impl Fn(&[u8]) + Copy + std::panic::RefUnwindSafe) {
    let files = files(target);
    assert!(!files.is_empty(), "{target} has an empty corpus");
    for (name, bytes) in &files {
        body(bytes);
        for round in 0..changes {
            let mut noise = Noise(seed() ^ blake3_of(name) ^ round << 32);
            let (mut changed, other) = (bytes.clone(), &files[noise.below(files.len())].1);
            noise.change(&mut changed, other);
            let hex = data_encoding::HEXLOWER.encode(&changed);
            assert!(catch_unwind(|| body(&changed)).is_ok(), "{target}, seed {}, {name}, round {round}: {hex}", seed());
        }
    }
}

fn blake3_of(name: &str) -> u64 {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    u64::from_le_bytes(*blake3::hash(file.as_bytes()).as_bytes().first_chunk().expect("32 bytes"))
}

#[test]
fn no_decoder_minds_its_corpus_or_what_is_like_it() {
    for (target, body) in decoders::DECODERS {
        replay(target, CHANGES, body);
    }
}

#[test]
fn the_engine_stands_its_corpus_and_what_is_like_it() {
    replay("engine", CHANGED_STORIES, |bytes| {
        if let Err(why) = engine::story(bytes) {
            panic!("{why}");
        }
    });
}

#[test]
fn every_target_has_a_corpus_and_all_of_it_stays_small() {
    let targets: Vec<&str> = decoders::DECODERS.iter().map(|(name, _)| *name).chain(["engine"]).collect();
    let writes = std::env::var("POLYMORPH_GOLDEN").is_ok_and(|value| value == "write");
    for (target, name, bytes) in seeds::all() {
        assert!(targets.contains(&target), "{name} is for {target}, which is no target");
        if writes {
            fs::create_dir_all(corpus().join(target)).expect("a folder");
            fs::write(corpus().join(target).join(&name), bytes).expect("it can be written");
        }
    }
    let sizes = targets.iter().flat_map(|target| files(target)).map(|(_, bytes)| bytes.len());
    let total: usize = sizes.sum();
    assert!(total <= MAX_CORPUS_BYTES, "the corpus has {total} bytes");
}

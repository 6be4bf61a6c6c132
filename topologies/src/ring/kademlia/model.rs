//! Kademlia as the simulator sees it from above.

use polymorph_core::overlay::Place;
use polymorph_core::topology::model::{Census, Claims, Model};
use polymorph_core::topology::question::Target;
use polymorph_core::{Guid, Key};

use super::bucket::{Bucket, Entry, head};
use super::table::{MAX_BUCKETS, SPLIT, Table};
use super::{Config, Kademlia, MAX_LOST, MAX_SEEDS, Stage};

impl Model for Kademlia {
    type Config = Config;

    fn new(config: &Config, place: Place) -> Self {
        Self {
            config: *config,
            table: Table::new(place, config.k),
            stage: Stage::Out,
            seeds: Vec::new(),
            lost: Vec::new(),
            tries: 0,
            open: None,
        }
    }

    fn claims(config: &Config, peers: usize) -> Claims {
        let bits = (usize::BITS - peers.leading_zeros()) as usize;
        Claims {
            agreement: true,
            // Each hop shares one bit more with the key than the one before (§2.3), at worst.
            hops: Some(bits + 1),
            closer: true,
            degree: Some(0),
            // All buckets, any of which may once have been split, and their replacement caches.
            entries: Some((SPLIT + 1) * MAX_BUCKETS * config.k + MAX_SEEDS + MAX_LOST),
            // Each refresh looks up a key in each bucket that there is, and in the halves of one: k and a few more are asked
            // and answer, most of them over wires that must be made.
            idle: Some(60.0 / config.refresh.as_secs_f64() * (bits + 3) as f64 * (config.k + 3) as f64 * 6.0),
            heals: true,
            merges: Some(600),
            leaves: true,
            // Dead entries stay until somebody needs them, at the latest until the next refresh.
            quiet: config.refresh.mul_f64(1.3).as_secs() + 300,
            ..Claims::default()
        }
    }

    /// The nearest by XOR. It shares as many leading bits with the key as anybody, and those who do stand side by
    /// side on the ring.
    fn owner(_: &Config, all: &Census, to: &Target<Self>) -> Option<Guid> {
        let (Target::Key(key) | Target::Address(key)) = to;
        let mut range = &all.ring[..];
        for bit in 0..256 {
            if range.len() <= 1 {
                break;
            }
            let (zeros, ones) = split(range, bit);
            range = match (zeros, ones, key.bit(bit)) {
                (half, [], _) | ([], half, _) | (half, _, false) | (_, half, true) => half,
            };
        }
        range.first().map(|(_, peer)| *peer)
    }

    fn entries(&self) -> usize {
        self.table.size() + self.seeds.len() + self.lost.len()
    }

    /// Every bucket filled to k with peers drawn from all that belong there, by a hash of this node's position.
    fn ideal(&mut self, _: &Config, all: &Census) -> bool {
        let mine = self.table.place().mine();
        self.table.clear();
        let mut range = &all.ring[..];
        for depth in 0..64 {
            if range.len() <= 1 {
                break;
            }
            let (zeros, ones) = split(range, depth);
            let (near, far) = if mine.bit(depth) { (ones, zeros) } else { (zeros, ones) };
            if !far.is_empty() {
                let entries = sample(far, self.config.k, head(&mine) ^ u64::from(depth));
                self.table.push(Bucket::new(depth, entries));
            }
            range = near;
        }
        self.stage = Stage::In;
        all.ring.binary_search_by_key(&mine, |(key, _)| *key).is_ok()
    }
}

/// Peers side by side on the ring.
type Half<'a> = &'a [(Key, Guid)];

/// Those with the bit clear and those with it set, of peers that share all bits before it.
fn split(range: Half<'_>, bit: u32) -> (Half<'_>, Half<'_>) {
    range.split_at(range.partition_point(|(key, _)| !key.bit(bit)))
}

/// Up to `n` of these, each as likely as any other (Floyd's sampling; Bentley & Floyd, CACM 30(9), 1987).
fn sample(from: Half<'_>, n: usize, mut seed: u64) -> Vec<Entry> {
    let n = n.min(from.len());
    let mut chosen: Vec<usize> = Vec::with_capacity(n);
    for last in from.len() - n..from.len() {
        seed = mix(seed);
        let pick = ((u128::from(seed) * (last as u128 + 1)) >> 64) as usize;
        chosen.push(if chosen.contains(&pick) { last } else { pick });
    }
    chosen.into_iter().map(|index| Entry::new(from[index].1, &from[index].0)).collect()
}

/// The next number of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014), whose states are mixed, not counted.
pub(super) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

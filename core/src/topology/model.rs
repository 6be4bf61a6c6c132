//! The second, optional trait: what the simulator and the laws ask of a topology besides running it.

use core::any::Any;
use core::fmt;
use core::time::Duration;
use std::sync::{Arc, OnceLock};

use super::Topology;
use super::layer::Layer;
use super::question::Target;
use crate::overlay::{OverlayId, Place};
use crate::{Guid, Key};

/// Everybody in an overlay, as a world that sees all knows them: sorted by Guid, and by position.
#[derive(Clone, Debug)]
pub struct Census {
    /// The overlay.
    pub overlay: OverlayId,
    /// Every peer, sorted.
    pub guids: Vec<Guid>,
    /// Every peer with its (first) position, sorted by position.
    pub ring: Vec<(Key, Guid)>,
    /// The first 64 bits of each position in the ring: a search stays among these, eight to a cache line.
    heads: Vec<u64>,
    /// How far apart peers are, where the world knows and it is not the same for all.
    pub proximity: Option<Proximity>,
    plan: Plan,
}

/// What a model works out once for all peers of a census.
#[derive(Clone, Default)]
struct Plan(Arc<OnceLock<Arc<dyn Any + Send + Sync>>>);

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "Plan" } else { "no plan" })
    }
}

/// How long a round trip takes between two peers, named by their places in a census' ring: what nodes that had
/// measured everybody would know.
#[derive(Clone)]
pub struct Proximity(Arc<dyn Fn(usize, usize) -> Duration + Send + Sync>);

impl Proximity {
    /// Proximity as a function says it.
    #[must_use]
    pub fn new(round_trip: impl Fn(usize, usize) -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(round_trip))
    }

    /// A round trip between two peers of the ring.
    #[must_use]
    pub fn round_trip(&self, a: usize, b: usize) -> Duration {
        (self.0)(a, b)
    }
}

impl fmt::Debug for Proximity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proximity")
    }
}

impl Census {
    /// Counts these peers.
    #[must_use]
    pub fn new(overlay: OverlayId, mut guids: Vec<Guid>) -> Self {
        guids.sort_unstable();
        guids.dedup();
        let mut ring: Vec<_> = guids.iter().map(|&guid| (overlay.position(guid, 0), guid)).collect();
        ring.sort_unstable();
        let heads = ring.iter().map(|(position, _)| head(position)).collect();
        Self { overlay, guids, ring, heads, proximity: None, plan: Plan::default() }
    }

    /// The same peers, and how far apart they are.
    #[must_use]
    pub fn with_proximity(mut self, proximity: Option<Proximity>) -> Self {
        self.proximity = proximity;
        self
    }

    /// What has to be worked out for all peers together, such as links that both ends must know of: done for the first
    /// who asks, the same for all after. One model has one plan; `None` if another one's is there.
    pub fn plan<P: Any + Send + Sync>(&self, work_out: impl FnOnce(&Self) -> P) -> Option<Arc<P>> {
        let plan = self.plan.0.get_or_init(|| Arc::new(work_out(self)));
        Arc::clone(plan).downcast().ok()
    }

    /// The index in [`ring`](Self::ring) of the first peer at or clockwise after `key`; 0 past the end.
    #[must_use]
    pub fn successor(&self, key: &Key) -> usize {
        let head = head(key);
        // Positions are hashes, evenly spread: the place is near where it would be if they were quite even.
        let guess = ((u128::from(head) * self.heads.len() as u128) >> 64) as usize;
        let mut reach = 1;
        while guess >= reach && self.heads[guess - reach] >= head {
            reach *= 2;
        }
        let from = guess.saturating_sub(reach);
        while self.heads.get(guess + reach).is_some_and(|&other| other < head) {
            reach *= 2;
        }
        let to = (guess + reach).min(self.heads.len());
        let mut at = from + self.heads[from..to].partition_point(|&other| other < head);
        while self.ring.get(at).is_some_and(|(position, _)| position < key) {
            at += 1;
        }
        if at == self.ring.len() { 0 } else { at }
    }
}

fn head(key: &Key) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = key.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// What a topology promises at a size; each law checks one of them. What is not claimed is not checked, and named in
/// the report. Determinism, isolation and standing up to hostile peers are asked of everybody.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Claims {
    /// Every node routes a key to the same owner when quiet.
    pub agreement: bool,
    /// A bound on hops of any route.
    pub hops: Option<usize>,
    /// Every hop but the one to the owner goes strictly closer to the key, by [`Topology::distance`].
    pub closer: bool,
    /// A broadcast reaches everybody.
    pub coverage: bool,
    /// A bound on payload messages per receiver beyond one.
    pub redundancy: Option<f64>,
    /// If one side has the other as neighbor, so has the other.
    pub symmetry: bool,
    /// A bound on required links of one node when quiet.
    pub degree: Option<usize>,
    /// A bound on [`Model::entries`] of one node, always.
    pub entries: Option<usize>,
    /// A bound on the frames a node sends in a minute in which nothing happens, on average.
    pub idle: Option<f64>,
    /// All of the above holds again once it is quiet after crashes, broken wires and a crowd of newcomers.
    pub heals: bool,
    /// The same after a partition that lasted no longer than so many seconds. Some seconds cost dials and frames; after
    /// a minute each side has given the other up.
    pub merges: Option<u64>,
    /// A node that leaves in good order disturbs nobody: routes and broadcasts are right within seconds.
    pub leaves: bool,
    /// How long after the last disturbance all of it holds, in seconds.
    pub quiet: u64,
}

/// A topology the simulator can build by itself.
pub trait Model: Topology {
    /// Its settings, with the papers' defaults.
    type Config: Clone + Default + Send + Sync + core::fmt::Debug + 'static;

    /// One node's part.
    fn new(config: &Self::Config, place: Place) -> Self;

    /// What it promises among `peers` peers.
    fn claims(config: &Self::Config, peers: usize) -> Claims;

    /// Who owns a target among these peers; `None` where the topology has no owners.
    fn owner(config: &Self::Config, all: &Census, to: &Target<Self>) -> Option<Guid> {
        let _ = (config, all, to);
        None
    }

    /// How many entries all its tables have together: peers, broadcasts it remembers, questions on the way, whatever
    /// could grow. Held against [`Claims::entries`].
    fn entries(&self) -> usize {
        self.neighbors().len()
    }

    /// Fills the tables as they would be after everybody joined and all is quiet; `false` where it cannot.
    fn ideal(&mut self, config: &Self::Config, all: &Census) -> bool {
        let _ = (config, all);
        false
    }
}

impl<U: Model, B: Model> Model for Layer<U, B> {
    type Config = (U::Config, B::Config);

    fn new(config: &Self::Config, place: Place) -> Self {
        Self { upper: U::new(&config.0, place), base: B::new(&config.1, place) }
    }

    fn claims(config: &Self::Config, peers: usize) -> Claims {
        let (upper, base) = (U::claims(&config.0, peers), B::claims(&config.1, peers));
        Claims {
            agreement: upper.agreement || base.agreement,
            hops: upper.hops.or(base.hops),
            closer: if upper.agreement { upper.closer } else { base.closer },
            coverage: upper.coverage || base.coverage,
            redundancy: upper.redundancy.or(base.redundancy),
            symmetry: base.symmetry,
            degree: upper.degree.zip(base.degree).map(|(u, b)| u + b).or(base.degree),
            entries: upper.entries.zip(base.entries).map(|(u, b)| u + b),
            idle: upper.idle.zip(base.idle).map(|(u, b)| u + b),
            heals: upper.heals && base.heals,
            merges: upper.merges.min(base.merges),
            leaves: upper.leaves && base.leaves,
            quiet: upper.quiet.max(base.quiet),
        }
    }

    fn owner(config: &Self::Config, all: &Census, to: &Target<Self>) -> Option<Guid> {
        match to {
            Target::Key(key) => {
                let upper = U::owner(&config.0, all, &Target::Key(*key));
                upper.or_else(|| B::owner(&config.1, all, &Target::Key(*key)))
            }
            Target::Address(super::layer::Either::Upper(a)) => U::owner(&config.0, all, &Target::Address(a.clone())),
            Target::Address(super::layer::Either::Base(a)) => B::owner(&config.1, all, &Target::Address(a.clone())),
        }
    }

    fn entries(&self) -> usize {
        self.upper.entries() + self.base.entries()
    }

    /// The base's ideal tables are enough where the upper part builds itself from what is below.
    fn ideal(&mut self, config: &Self::Config, all: &Census) -> bool {
        let base = self.base.ideal(&config.1, all);
        self.upper.ideal(&config.0, all) || base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_successor_is_found_wherever_a_key_falls() {
        for count in [0, 1, 2, 3, 10, 1000] {
            let guids = (0..count).map(|number: u32| Guid::of(&crate::PublicKey([number as u8; 32]))).collect();
            let mut census = Census::new(OverlayId([7; 32]), guids);
            // Keys that share their first 64 bits, too.
            if count == 10 {
                let twins = census
                    .ring
                    .iter()
                    .map(|&(key, guid)| (Key([&key.0[..31], &[0xff]].concat().try_into().unwrap()), guid));
                census.ring.extend(twins.collect::<Vec<_>>());
                census.ring.sort_unstable();
                census.heads = census.ring.iter().map(|(position, _)| head(position)).collect();
            }
            let edges = [Key([0; 32]), Key([0xff; 32])].into_iter();
            let named = (0..500u32).map(|number| Key::of(&number.to_le_bytes()));
            let there = census.ring.clone().into_iter().flat_map(|(key, _)| [key, key.plus_power(0)]);
            for key in edges.chain(named).chain(there) {
                let at = census.ring.partition_point(|(position, _)| *position < key);
                let wanted = if at == census.ring.len() { 0 } else { at };
                assert_eq!(census.successor(&key), wanted, "{key:?} among {count}");
            }
        }
    }
}

//! The second, optional trait: what the simulator and the laws ask of a topology besides running it.

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
}

impl Census {
    /// Counts these peers.
    #[must_use]
    pub fn new(overlay: OverlayId, mut guids: Vec<Guid>) -> Self {
        guids.sort_unstable();
        guids.dedup();
        let mut ring: Vec<_> = guids.iter().map(|&guid| (overlay.position(guid, 0), guid)).collect();
        ring.sort_unstable();
        Self { overlay, guids, ring }
    }

    /// The index in [`ring`](Self::ring) of the first peer at or clockwise after `key`; 0 past the end.
    #[must_use]
    pub fn successor(&self, key: &Key) -> usize {
        let at = self.ring.partition_point(|(position, _)| position < key);
        if at == self.ring.len() { 0 } else { at }
    }
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

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
        Self { overlay, guids, ring, proximity: None, plan: Plan::default() }
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
        let at = self.ring.partition_point(|(position, _)| position < key);
        if at == self.ring.len() { 0 } else { at }
    }
}

/// What a topology promises at a size; each law checks one of them.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Claims {
    /// Every node routes a key to the same owner when quiet.
    pub agreement: bool,
    /// A bound on hops of any route.
    pub hops: Option<usize>,
    /// A broadcast reaches everybody.
    pub coverage: bool,
    /// A bound on payload messages per receiver beyond one.
    pub redundancy: Option<f64>,
    /// If one side has the other as neighbor, so has the other.
    pub symmetry: bool,
    /// A bound on required links of one node.
    pub degree: Option<usize>,
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
            coverage: upper.coverage || base.coverage,
            redundancy: upper.redundancy.or(base.redundancy),
            symmetry: base.symmetry,
            degree: upper.degree.zip(base.degree).map(|(u, b)| u + b).or(base.degree),
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

    /// The base's ideal tables are enough where the upper part builds itself from what is below.
    fn ideal(&mut self, config: &Self::Config, all: &Census) -> bool {
        let base = self.base.ideal(&config.1, all);
        self.upper.ideal(&config.0, all) || base
    }
}

//! What goes wrong in a world on purpose.

use core::fmt;

use hashbrown::{HashMap, HashSet};
use polymorph_core::wire::Frame;
use polymorph_core::{Time, Topology};

/// Says which frames a peer swallows.
pub(crate) type Swallow<T> = Box<dyn FnMut(&Frame<T>) -> bool + Send>;

/// What is wrong with whom. Most worlds have little of it: only what is wrong takes memory.
pub(crate) struct Faults<T: Topology> {
    /// Which side of a partition; 0 for all who are not named.
    sides: HashMap<u32, u32>,
    /// Peers that cannot be dialed.
    shut: HashMap<u32, ()>,
    swallow: HashMap<u32, Swallow<T>>,
    /// From whom to whom nothing passes.
    cuts: Vec<[HashSet<u32>; 2]>,
    /// Until when nothing arrives, from one peer to another.
    clogs: HashMap<(u32, u32), Time>,
    /// By what factor a peer's links are slower.
    slow: HashMap<u32, u32>,
}

impl<T: Topology> Faults<T> {
    pub(crate) fn new() -> Self {
        Self {
            sides: HashMap::new(),
            shut: HashMap::new(),
            swallow: HashMap::new(),
            cuts: Vec::new(),
            clogs: HashMap::new(),
            slow: HashMap::new(),
        }
    }

    /// Puts a peer on a side of the partition.
    pub(crate) fn put(&mut self, peer: u32, side: u32) {
        self.sides.insert(peer, side);
    }

    pub(crate) fn heal(&mut self) {
        self.sides.clear();
        self.cuts.clear();
    }

    pub(crate) fn cut(&mut self, from: impl Iterator<Item = u32>, to: impl Iterator<Item = u32>) {
        self.cuts.push([from.collect(), to.collect()]);
    }

    /// Whether nothing passes from one peer to another.
    pub(crate) fn separated(&self, from: u32, to: u32) -> bool {
        let side = |peer| self.sides.get(&peer).copied().unwrap_or_default();
        !self.sides.is_empty() && side(from) != side(to)
            || self.cuts.iter().any(|[here, there]| here.contains(&from) && there.contains(&to))
    }

    pub(crate) fn clog(&mut self, from: u32, to: u32, until: Time) {
        self.clogs.insert((from, to), until);
    }

    /// Until when nothing arrives.
    pub(crate) fn clogged(&self, from: u32, to: u32) -> Time {
        if self.clogs.is_empty() { Time::ZERO } else { self.clogs.get(&(from, to)).copied().unwrap_or(Time::ZERO) }
    }

    pub(crate) fn slow(&mut self, peer: u32, factor: u32) {
        self.slow.insert(peer, factor.max(1));
    }

    /// By what factor the link between two peers is slower.
    pub(crate) fn slowness(&self, a: u32, b: u32) -> u64 {
        let of = |peer| self.slow.get(&peer).copied().unwrap_or(1);
        if self.slow.is_empty() { 1 } else { of(a).max(of(b)).into() }
    }

    pub(crate) fn shut(&mut self, peer: u32) {
        self.shut.insert(peer, ());
    }

    pub(crate) fn is_shut(&self, peer: u32) -> bool {
        !self.shut.is_empty() && self.shut.contains_key(&peer)
    }

    /// Somebody else takes a peer's place.
    pub(crate) fn forget(&mut self, peer: u32) {
        self.sides.remove(&peer);
        self.shut.remove(&peer);
        self.swallow.remove(&peer);
        self.slow.remove(&peer);
        self.clogs.retain(|(from, to), _| *from != peer && *to != peer);
        for [here, there] in &mut self.cuts {
            here.remove(&peer);
            there.remove(&peer);
        }
    }

    pub(crate) fn set_swallow(&mut self, peer: u32, swallow: Option<Swallow<T>>) {
        match swallow {
            Some(swallow) => drop(self.swallow.insert(peer, swallow)),
            None => drop(self.swallow.remove(&peer)),
        }
    }

    /// Whether a frame that arrives at a peer is seen by nobody.
    pub(crate) fn swallows(&mut self, peer: u32, frame: &Frame<T>) -> bool {
        !self.swallow.is_empty() && self.swallow.get_mut(&peer).is_some_and(|swallow| swallow(frame))
    }
}

impl<T: Topology> fmt::Debug for Faults<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sides, shut, swallow) = (self.sides.len(), self.shut.len(), self.swallow.len());
        write!(f, "Faults({sides} set apart, {shut} shut, {swallow} swallow)")
    }
}

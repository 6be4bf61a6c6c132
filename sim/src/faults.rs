//! What goes wrong in a world on purpose.

use core::fmt;

use hashbrown::HashMap;
use polymorph_core::Topology;
use polymorph_core::wire::Frame;

/// Says which frames a peer swallows.
pub(crate) type Swallow<T> = Box<dyn FnMut(&Frame<T>) -> bool + Send>;

/// What is wrong with whom. Most worlds have little of it: only what is wrong takes memory.
pub(crate) struct Faults<T: Topology> {
    /// Which side of a partition; 0 for all who are not named.
    sides: HashMap<u32, u32>,
    /// Peers that cannot be dialed.
    shut: HashMap<u32, ()>,
    swallow: HashMap<u32, Swallow<T>>,
}

impl<T: Topology> Faults<T> {
    pub(crate) fn new() -> Self {
        Self { sides: HashMap::new(), shut: HashMap::new(), swallow: HashMap::new() }
    }

    /// Puts a peer on a side of the partition.
    pub(crate) fn put(&mut self, peer: u32, side: u32) {
        self.sides.insert(peer, side);
    }

    pub(crate) fn heal(&mut self) {
        self.sides.clear();
    }

    /// Whether nothing passes between two peers.
    pub(crate) fn separated(&self, a: u32, b: u32) -> bool {
        let side = |peer| self.sides.get(&peer).copied().unwrap_or_default();
        !self.sides.is_empty() && side(a) != side(b)
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

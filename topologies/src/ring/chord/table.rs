//! Whom a node knows on the ring, measured from where it stands itself. Everything is kept as the distance one
//! walks clockwise to it, so that "between" is "smaller".

use polymorph_core::overlay::Place;
use polymorph_core::topology::question::{Hold, Neighbor, Role};
use polymorph_core::{Distance, Guid, Key};

use super::Shortcut;

/// A peer, and how far clockwise of this node it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    pub(super) at: Distance,
    pub(super) guid: Guid,
}

/// Predecessor, successor list and fingers.
#[derive(Debug)]
pub(super) struct Table {
    place: Place,
    mine: Key,
    /// How many successors are kept: the paper's r.
    capacity: usize,
    /// The lowest exponent a finger is kept for.
    lowest: u32,
    predecessor: Option<Peer>,
    /// The peers that follow, nearest first. Empty only when nobody is known.
    successors: Vec<Peer>,
    /// The fingers beyond the successor list, nearest first. A finger of exponent `e` is the first peer at or
    /// after `2^e`. Many exponents share one, so what is kept is the distinct ones: at most one peer in each
    /// `[2^e, 2^(e+1))`. Those nearer than that are in the successor list anyway.
    fingers: Vec<Peer>,
}

impl Table {
    pub(super) fn new(place: Place, capacity: usize, fingers: u32) -> Self {
        let lowest = 256 - fingers.min(256);
        let (successors, fingers) = (Vec::new(), Vec::new());
        Self { place, mine: place.mine(), capacity, lowest, predecessor: None, successors, fingers }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn mine(&self) -> Key {
        self.mine
    }

    /// How far clockwise of this node a key is.
    pub(super) fn to(&self, key: &Key) -> Distance {
        self.mine.clockwise(key)
    }

    /// A peer where it stands. Those in the table need not be computed again.
    pub(super) fn peer(&self, guid: Guid) -> Peer {
        let known = self.all().find(|peer| peer.guid == guid);
        known.unwrap_or_else(|| Peer { at: self.to(&self.place.position(guid)), guid })
    }

    fn all(&self) -> impl Iterator<Item = Peer> + '_ {
        self.successors.iter().chain(&self.fingers).copied().chain(self.predecessor)
    }

    pub(super) fn knows(&self, guid: &Guid) -> bool {
        self.all().any(|peer| peer.guid == *guid)
    }

    pub(super) fn predecessor(&self) -> Option<Peer> {
        self.predecessor
    }

    pub(super) fn successors(&self) -> &[Peer] {
        &self.successors
    }

    pub(super) fn head(&self) -> Option<Peer> {
        self.successors.first().copied()
    }

    /// Whether a peer would be a better successor than the present one.
    pub(super) fn is_closer(&self, peer: &Peer) -> bool {
        peer.at > Distance::ZERO && self.head().is_none_or(|head| peer.at < head.at)
    }

    /// Whether a peer would be a better predecessor than the present one.
    pub(super) fn is_later(&self, peer: &Peer) -> bool {
        peer.at > Distance::ZERO && self.predecessor.is_none_or(|old| peer.at > old.at)
    }

    pub(super) fn set_predecessor(&mut self, peer: Option<Peer>) {
        self.predecessor = peer;
    }

    /// The list of a node whose first successor is `head`, and whose successor's list is `rest`: as much of it
    /// as goes clockwise without passing this node.
    pub(super) fn list(&self, head: Peer, rest: &[Guid]) -> Vec<Peer> {
        let mut list = Vec::with_capacity(self.capacity.min(1 + rest.len()));
        list.push(head);
        for &guid in rest.iter().take(self.capacity - 1) {
            let peer = self.peer(guid);
            if guid == self.place.me || list.last().is_some_and(|last| peer.at <= last.at) {
                break;
            }
            list.push(peer);
        }
        list
    }

    /// Takes over a whole list at once (Zave 2017: never entry by entry).
    pub(super) fn adopt(&mut self, list: Vec<Peer>) {
        self.successors = list;
        if let Some(last) = self.successors.last() {
            self.fingers.retain(|finger| finger.at > last.at);
        }
    }

    /// Forgets a peer. When the whole list is gone, the nearest of all others takes its place: stabilizing walks
    /// back from there, predecessor by predecessor.
    pub(super) fn remove(&mut self, guid: &Guid) {
        self.successors.retain(|peer| peer.guid != *guid);
        self.fingers.retain(|peer| peer.guid != *guid);
        self.predecessor = self.predecessor.filter(|peer| peer.guid != *guid);
        if self.successors.is_empty() {
            let next = if self.fingers.is_empty() { self.predecessor } else { Some(self.fingers.remove(0)) };
            self.successors.extend(next);
        }
    }

    pub(super) fn clear(&mut self) {
        self.predecessor = None;
        self.successors.clear();
        self.fingers.clear();
    }

    /// The next finger to look up, counted from exponent `from`. None are needed while the list spans the ring.
    pub(super) fn exponent_from(&self, from: u32) -> Option<u32> {
        let last = self.successors.last().filter(|_| self.successors.len() >= self.capacity)?;
        let exponent = from.max(last.at.bits()).max(self.lowest);
        (exponent < 256).then_some(exponent)
    }

    /// Who owns `2^exponent` is known; gives the next exponent that may have another owner.
    pub(super) fn set_finger(&mut self, exponent: u32, owner: Peer) -> u32 {
        let bits = owner.at.bits();
        if bits <= exponent {
            // The owner stands before the finger's start, once round the ring: nobody stands between.
            self.fingers.retain(|finger| finger.at.bits() <= exponent);
            return 256;
        }
        // Nobody stands between the start and its owner either, and one in each power of two is enough.
        self.fingers.retain(|f| f.at.bits() <= exponent || f.at > owner.at && f.at.bits() != bits);
        if self.successors.last().is_none_or(|last| owner.at > last.at) {
            let place = self.fingers.partition_point(|finger| finger.at < owner.at);
            self.fingers.insert(place, owner);
        }
        bits
    }

    /// Everybody this node keeps a link to, the predecessor first.
    pub(super) fn neighbors(&self) -> Vec<Neighbor> {
        let as_role = |role, hold| move |peer: &Peer| Neighbor { peer: peer.guid, role, hold };
        let mut all = Vec::with_capacity(1 + self.successors.len() + self.fingers.len());
        all.extend(self.predecessor.iter().map(as_role(Role::Predecessor, Hold::Required)));
        all.extend(self.successors.iter().take(1).map(as_role(Role::Successor, Hold::Required)));
        all.extend(self.successors.iter().skip(1).map(as_role(Role::Successor, Hold::Cached)));
        all.extend(self.fingers.iter().map(as_role(Role::Finger, Hold::Cached)));
        all
    }

    /// The first peer clockwise of this node that may be named: to the best of its knowledge its successor.
    pub(super) fn first(&self, allowed: impl Fn(&Guid) -> bool) -> Option<Peer> {
        self.all().find(|peer| allowed(&peer.guid))
    }

    /// The successors at or after a point, in order.
    pub(super) fn successors_from(&self, point: Distance) -> impl Iterator<Item = Peer> + '_ {
        let start = self.successors.partition_point(|peer| peer.at < point);
        self.successors[start..].iter().copied()
    }

    /// Fingers before a point, the farthest first. Successors count as fingers where they are the first peer in
    /// their power of two; all of them do once a nearer finger may not be named, or with `shortcut`.
    pub(super) fn preceding<'a>(
        &'a self,
        point: Distance,
        allowed: &'a impl Fn(&Guid) -> bool,
        shortcut: Shortcut,
    ) -> impl Iterator<Item = Peer> + 'a {
        let fingers = &self.fingers[..self.fingers.partition_point(|finger| finger.at < point)];
        let successors = &self.successors[..self.successors.partition_point(|peer| peer.at < point)];
        let mut every = shortcut == Shortcut::Successors;
        let near = (0..successors.len()).rev().map(|index| (index, &successors[index]));
        let far = fingers.iter().rev().map(|finger| (usize::MAX, finger));
        far.chain(near).filter_map(move |(index, peer)| {
            let may = allowed(&peer.guid);
            every |= !may;
            let is_finger = || {
                let mut nearer = successors[..index].iter().rev().filter(|peer| allowed(&peer.guid));
                let bits = peer.at.bits();
                nearer.next().is_none_or(|nearer| nearer.at.bits() < bits && bits > self.lowest)
            };
            (may && (every || index == usize::MAX || is_finger())).then_some(*peer)
        })
    }
}

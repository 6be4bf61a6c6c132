//! The leaf set: the nearest peers on both sides of the ring.

use polymorph_core::Guid;

use super::super::prefix::Peer;

/// The nearest on both sides. In a small overlay a peer may be on both.
#[derive(Debug)]
pub(super) struct Leafs {
    mine: u64,
    /// How many there may be on each side: |L|/2.
    half: usize,
    /// Clockwise of this node, the nearest first.
    larger: Vec<Peer>,
    /// The other way.
    smaller: Vec<Peer>,
}

impl Leafs {
    pub(super) fn new(mine: u64, size: usize) -> Self {
        Self { mine, half: size.div_ceil(2), larger: Vec::new(), smaller: Vec::new() }
    }

    fn clockwise(&self, at: u64) -> u64 {
        at.wrapping_sub(self.mine)
    }

    fn places(&self, peer: &Peer) -> (usize, usize) {
        let far = self.clockwise(peer.at);
        let larger = self.larger.partition_point(|other| self.clockwise(other.at) < far);
        let smaller = self.smaller.partition_point(|other| self.clockwise(other.at) > far);
        (larger, smaller)
    }

    /// Whether a peer is missing here.
    pub(super) fn lacks(&self, peer: &Peer) -> bool {
        let (larger, smaller) = self.places(peer);
        peer.at != self.mine
            && (larger < self.half && self.larger.get(larger).is_none_or(|other| other.at != peer.at)
                || smaller < self.half && self.smaller.get(smaller).is_none_or(|other| other.at != peer.at))
    }

    /// Puts a peer where it belongs, if it belongs here.
    pub(super) fn insert(&mut self, peer: Peer) {
        let (larger, smaller) = self.places(&peer);
        if peer.at == self.mine {
            return;
        }
        for (side, place) in [(&mut self.larger, larger), (&mut self.smaller, smaller)] {
            if place < self.half && side.get(place).is_none_or(|other| other.at != peer.at) {
                side.insert(place, peer);
                side.truncate(self.half);
            }
        }
    }

    pub(super) fn remove(&mut self, guid: &Guid) {
        self.larger.retain(|peer| peer.guid != *guid);
        self.smaller.retain(|peer| peer.guid != *guid);
    }

    pub(super) fn clear(&mut self) {
        self.larger.clear();
        self.smaller.clear();
    }

    pub(super) fn contains(&self, guid: &Guid) -> bool {
        self.larger.iter().chain(&self.smaller).any(|peer| peer.guid == *guid)
    }

    /// Everybody once, those clockwise first.
    pub(super) fn all(&self) -> impl Iterator<Item = Peer> + '_ {
        let other = self.smaller.iter().filter(|peer| !self.larger.iter().any(|known| known.at == peer.at));
        self.larger.iter().chain(other).copied()
    }

    pub(super) fn guids(&self) -> Vec<Guid> {
        self.all().map(|peer| peer.guid).collect()
    }

    /// The next peer clockwise.
    pub(super) fn next(&self) -> Option<Peer> {
        self.larger.first().copied()
    }

    /// The next peer the other way.
    pub(super) fn previous(&self) -> Option<Peer> {
        self.smaller.first().copied()
    }

    /// The two ends: who is asked when a side has room (§2.4).
    pub(super) fn extremes(&self) -> [Option<Peer>; 2] {
        [self.larger.last().copied(), self.smaller.last().copied()]
    }

    /// Whether a peer is next to this node.
    pub(super) fn is_beside(&self, guid: &Guid) -> bool {
        self.next().into_iter().chain(self.previous()).any(|peer| peer.guid == *guid)
    }

    /// Whether there is room on a side.
    pub(super) fn has_room(&self) -> bool {
        self.larger.len() < self.half || self.smaller.len() < self.half
    }

    /// Whether a key lies among these, so that its owner is known here. Whoever has room has seen the whole ring.
    pub(super) fn covers(&self, key: u64) -> bool {
        let [Some(larger), Some(smaller)] = self.extremes() else { return true };
        let far = self.clockwise(key);
        self.has_room() || far <= self.clockwise(larger.at) || far >= self.clockwise(smaller.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(at: u64) -> Peer {
        Peer { at, guid: Guid([(at >> 56) as u8; 32]) }
    }

    /// Peers at these of 256 places, seen from place 0x80.
    fn leafs(places: &[u64]) -> Leafs {
        let mut leafs = Leafs::new(0x80 << 56, 4);
        places.iter().for_each(|place| leafs.insert(peer(place << 56)));
        leafs
    }

    fn sides(leafs: &Leafs) -> (Vec<u64>, Vec<u64>) {
        let places = |side: &[Peer]| side.iter().map(|peer| peer.at >> 56).collect();
        (places(&leafs.larger), places(&leafs.smaller))
    }

    #[test]
    fn both_sides_hold_the_nearest_in_order() {
        let all = leafs(&[0x10, 0x90, 0xf0, 0x70, 0x88, 0x60, 0x88, 0x80]);
        assert_eq!(sides(&all), (vec![0x88, 0x90], vec![0x70, 0x60]));
        assert!(all.lacks(&peer(0x89 << 56)) && !all.lacks(&peer(0x91 << 56)) && !all.lacks(&peer(0x88 << 56)));
        for (key, covered) in [(0x85, true), (0x90, true), (0x91, false), (0x60, true), (0x5f, false), (0x80, true)] {
            assert_eq!(all.covers(key << 56), covered, "{key:x}");
        }
    }

    #[test]
    fn few_peers_are_on_both_sides_and_cover_everything() {
        let few = leafs(&[0x10, 0x90]);
        assert_eq!(sides(&few), (vec![0x90, 0x10], vec![0x10, 0x90]));
        assert!(few.covers(0) && few.all().count() == 2 && !few.has_room());
        let mut one = leafs(&[0x10]);
        assert!(one.has_room() && one.is_beside(&peer(0x10 << 56).guid));
        one.remove(&peer(0x10 << 56).guid);
        assert!(one.covers(u64::MAX) && one.all().next().is_none());
    }
}

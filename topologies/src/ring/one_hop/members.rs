//! The table: everybody by position. It is shared between peers of a simulated world until it changes.

use std::sync::Arc;

use polymorph_core::Guid;

use super::super::prefix::{Peer, mix};

/// Everybody, this node included, in the order of positions.
#[derive(Debug, Default)]
pub(super) struct Members(Arc<Vec<Peer>>);

impl Members {
    pub(super) fn shared(all: Arc<Vec<Peer>>) -> Self {
        Self(all)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Peer> + '_ {
        self.0.iter().copied()
    }

    fn place(&self, at: u64) -> usize {
        self.0.partition_point(|peer| peer.at < at)
    }

    pub(super) fn get(&self, at: u64) -> Option<Peer> {
        self.0.get(self.place(at)).copied().filter(|peer| peer.at == at)
    }

    /// Puts a peer in; `false` if it was there.
    pub(super) fn insert(&mut self, peer: Peer) -> bool {
        let place = self.place(peer.at);
        let new = self.get(peer.at).is_none() && self.0.len() < MAX;
        if new {
            Arc::make_mut(&mut self.0).insert(place, peer);
        }
        new
    }

    /// Takes out whoever stands at a position.
    pub(super) fn remove(&mut self, at: u64) -> Option<Peer> {
        let place = self.place(at);
        self.get(at).map(|_| Arc::make_mut(&mut self.0).remove(place))
    }

    pub(super) fn clear(&mut self) {
        self.0 = Arc::default();
    }

    /// Everybody, beginning at or after a point.
    pub(super) fn from(&self, at: u64) -> impl Iterator<Item = Peer> + '_ {
        let place = self.place(at);
        self.0[place..].iter().chain(&self.0[..place]).copied()
    }

    /// The peer so many places after the one at a position.
    pub(super) fn ahead(&self, at: u64, places: usize) -> Option<Peer> {
        let count = self.0.len();
        (places < count).then(|| self.0[(self.place(at) + places) % count])
    }

    /// How many places one peer stands after another; `None` if nobody stands there.
    pub(super) fn places(&self, from: u64, to: u64) -> Option<usize> {
        let (count, from) = (self.0.len(), self.place(from));
        self.get(to).map(|_| (self.place(to) + count - from) % count)
    }

    /// The peer after the one at a position; `None` if there is no other.
    pub(super) fn after(&self, at: u64) -> Option<Peer> {
        self.ahead(at, 1)
    }

    /// The peer before the one at a position; `None` if there is no other.
    pub(super) fn before(&self, at: u64) -> Option<Peer> {
        self.ahead(at, self.0.len().checked_sub(1).filter(|places| *places > 0)?)
    }

    /// So many of those after a point, without whoever asks.
    pub(super) fn page(&self, at: u64, asker: Guid, most: usize) -> Vec<Guid> {
        let after = self.from(at.wrapping_add(1)).take(most).map(|peer| peer.guid);
        after.filter(|peer| *peer != asker).collect()
    }

    /// Where those stand who come at or after a point: half a position each.
    pub(super) fn heads(&self, at: u64) -> Vec<u32> {
        self.from(at).take(HEADS).map(|peer| half(peer.at)).collect()
    }

    /// Who stands there.
    pub(super) fn who(&self, heads: &[u32]) -> Vec<Guid> {
        let who = |head: &u32| self.from(u64::from(*head) << 32).next().filter(|peer| half(peer.at) == *head);
        heads.iter().take(PAGE).filter_map(who).map(|peer| peer.guid).collect()
    }

    /// All positions, mixed: tables with the same peers have the same.
    pub(super) fn digest(&self) -> u64 {
        self.0.iter().fold(0, |digest, peer| digest ^ mix(peer.at))
    }
}

/// The first half of a position, which is enough to tell apart whom two tables do not share.
pub(super) fn half(at: u64) -> u32 {
    (at >> 32) as u32
}

/// How many positions are compared at a time: half a kilobyte.
pub(super) const HEADS: usize = 128;
/// How many peers a page names: as many contacts go with a frame.
pub(super) const PAGE: usize = 64;
/// How many peers a seed names to whoever looks for its place: a few, should the first be gone.
pub(super) const FIRST: usize = 4;
/// How many peers a table holds. It is 40 bytes for each; a million are what the papers reckon with.
const MAX: usize = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn members(places: &[u64]) -> Members {
        let mut members = Members::default();
        for at in places {
            assert!(members.insert(Peer { at: *at, guid: Guid([*at as u8; 32]) }));
        }
        members
    }

    #[test]
    fn places_are_counted_round_the_ring() {
        let members = members(&[30, 10, 20]);
        let at = |peer: Option<Peer>| peer.map(|peer| peer.at);
        assert_eq!(
            [at(members.after(30)), at(members.before(10)), at(members.ahead(10, 2))],
            [Some(10), Some(30), Some(30)]
        );
        assert_eq!(at(members.ahead(10, 3)), None);
        assert_eq!([members.places(30, 20), members.places(10, 10), members.places(10, 11)], [Some(2), Some(0), None]);
        assert_eq!(members.from(15).map(|peer| peer.at).collect::<Vec<_>>(), [20, 30, 10]);
        assert_eq!(members.page(20, Guid([30; 32]), PAGE), [Guid([10; 32]), Guid([20; 32])]);
        let alone = self::members(&[5]);
        assert_eq!((alone.after(5), alone.before(5)), (None, None));
    }

    #[test]
    fn equal_tables_have_equal_digests_whatever_happened_before() {
        let (mut a, b) = (members(&[1, 2, 3]), members(&[3, 1]));
        assert_ne!(a.digest(), b.digest());
        assert!(a.remove(2).is_some() && a.remove(2).is_none());
        assert_eq!(a.digest(), b.digest());
    }
}

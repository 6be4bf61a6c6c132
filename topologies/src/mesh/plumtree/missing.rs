//! Copies that were announced and did not come yet.

use std::collections::BTreeMap;

use polymorph_core::Guid;
use polymorph_core::topology::question::CopyId;

/// How many copies may be missing at once.
pub(super) const MAX_MISSING: usize = 1024;
/// How many of them one peer may have announced first: so one liar leaves room for the others.
pub(super) const MAX_MISSING_PER_PEER: usize = 128;
/// How many announcers of one copy are remembered: the neighbors that may be asked one after the other.
pub(super) const MAX_ANNOUNCERS: usize = 8;

/// The announcements of one copy.
#[derive(Debug, Default)]
struct Announced {
    /// Who, in order, with the links the copy would have crossed.
    by: Vec<(Guid, u8)>,
    /// How many of them were asked for it.
    asked: usize,
}

/// The announcements of each missing copy.
#[derive(Debug, Default)]
pub(super) struct Missing(BTreeMap<CopyId, Announced>);

impl Missing {
    /// Notes an announcement; whether it is the first of this copy.
    pub(super) fn note(&mut self, id: CopyId, from: Guid, round: u8) -> bool {
        if let Some(Announced { by, .. }) = self.0.get_mut(&id) {
            if by.len() < MAX_ANNOUNCERS && by.iter().all(|(peer, _)| *peer != from) {
                by.push((from, round));
            }
            return false;
        }
        let full = self.0.len() >= MAX_MISSING
            || self.0.len() >= MAX_MISSING_PER_PEER && self.announced_first_by(from) >= MAX_MISSING_PER_PEER;
        if !full {
            self.0.insert(id, Announced { by: vec![(from, round)], asked: 0 });
        }
        !full
    }

    /// How many copies and announcements of them are remembered.
    pub(super) fn size(&self) -> usize {
        self.0.values().map(|copy| 1 + copy.by.len()).sum()
    }

    fn announced_first_by(&self, peer: Guid) -> usize {
        self.0.values().filter(|copy| copy.by.first().is_some_and(|(first, _)| *first == peer)).count()
    }

    /// The copy came: who had announced it.
    pub(super) fn take(&mut self, id: &CopyId) -> Option<Vec<(Guid, u8)>> {
        let copy = self.0.remove(id);
        if self.0.is_empty() {
            // An emptied map keeps room for eleven copies, half a KiB; nearly always nothing is missing.
            self.0 = BTreeMap::new();
        }
        copy.map(|copy| copy.by)
    }

    /// Whom to ask now; nobody is asked twice. A copy without announcers left is given up.
    pub(super) fn next(&mut self, id: &CopyId) -> Option<Guid> {
        let copy = self.0.get_mut(id)?;
        let next = copy.by.get(copy.asked).map(|(peer, _)| *peer);
        copy.asked += 1;
        if next.is_none() {
            self.take(id);
        }
        next
    }

    /// A neighbor is gone: nothing can be had from it.
    pub(super) fn forget(&mut self, peer: Guid) {
        for Announced { by, asked } in self.0.values_mut() {
            if let Some(at) = by.iter().position(|(other, _)| *other == peer) {
                by.remove(at);
                *asked -= usize::from(at < *asked);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(n: usize) -> CopyId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_le_bytes());
        CopyId(id)
    }

    #[test]
    fn announcers_are_asked_in_order_and_once() {
        let mut missing = Missing::default();
        let (a, b, c) = (Guid([1; 32]), Guid([2; 32]), Guid([3; 32]));
        assert!(missing.note(copy(0), a, 4));
        assert!(!missing.note(copy(0), b, 3) && !missing.note(copy(0), a, 1) && !missing.note(copy(0), c, 2));
        missing.forget(b);
        assert_eq!(missing.next(&copy(0)), Some(a));
        assert_eq!(missing.next(&copy(0)), Some(c));
        assert_eq!(missing.next(&copy(0)), None);
        assert_eq!(missing.take(&copy(0)), None, "a copy nobody is left for was not given up");
    }

    #[test]
    fn a_liar_fills_its_own_share_and_no_more() {
        let mut missing = Missing::default();
        let (liar, honest) = (Guid([1; 32]), Guid([2; 32]));
        let taken = (0..10_000).filter(|&n| missing.note(copy(n), liar, 1)).count();
        assert_eq!(taken, MAX_MISSING_PER_PEER);
        assert!(missing.note(copy(10_000), honest, 1));
    }
}

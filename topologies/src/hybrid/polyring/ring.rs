//! The members of one ring, by coordinate.

use polymorph_core::Guid;

use super::routing::{fold, mix};

/// A ring: who stands at which coordinate, sorted. Coordinates need not be dense, so a hostile one costs no memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Ring(Vec<(u32, Guid)>);

impl Ring {
    /// A ring of one.
    pub(super) fn of(coordinate: u32, member: Guid) -> Self {
        Self(vec![(coordinate, member)])
    }

    /// Members in the order of their coordinates.
    pub(super) fn from_sorted(members: Vec<(u32, Guid)>) -> Self {
        debug_assert!(members.windows(2).all(|pair| pair[0].0 < pair[1].0));
        Self(members)
    }

    fn find(&self, coordinate: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&coordinate, |(at, _)| *at)
    }

    /// Who stands at a coordinate.
    pub(super) fn get(&self, coordinate: u32) -> Option<Guid> {
        self.find(coordinate).ok().map(|at| self.0[at].1)
    }

    /// Where somebody stands.
    pub(super) fn coordinate_of(&self, member: &Guid) -> Option<u32> {
        self.0.iter().find(|(_, other)| other == member).map(|(at, _)| *at)
    }

    pub(super) fn contains(&self, member: &Guid) -> bool {
        self.coordinate_of(member).is_some()
    }

    /// Puts somebody at a coordinate and nowhere else; who stood there before.
    pub(super) fn insert(&mut self, coordinate: u32, member: Guid) -> Option<Guid> {
        self.0.retain(|(at, other)| *other != member || *at == coordinate);
        match self.find(coordinate) {
            Ok(at) => Some(core::mem::replace(&mut self.0[at].1, member)).filter(|old| *old != member),
            Err(at) => {
                self.0.insert(at, (coordinate, member));
                None
            }
        }
    }

    /// Removes somebody; where it stood.
    pub(super) fn remove(&mut self, member: &Guid) -> Option<u32> {
        let at = self.0.iter().position(|(_, other)| other == member)?;
        Some(self.0.remove(at).0)
    }

    /// Keeps those who stand at one of these coordinates; the others are returned.
    pub(super) fn keep_only(&mut self, coordinates: &[u32]) -> Vec<Guid> {
        let gone = |(at, _): &(u32, Guid)| !coordinates.contains(at);
        let removed = self.0.iter().filter(|member| gone(member)).map(|(_, member)| *member).collect();
        self.0.retain(|member| !gone(member));
        removed
    }

    /// The member with the lowest coordinate: who assigns in the center, and who inherits elsewhere.
    pub(super) fn lowest(&self) -> Option<Guid> {
        self.0.first().map(|(_, member)| *member)
    }

    /// The lowest coordinate nobody stands at and that `is_open`.
    pub(super) fn vacancy(&self, is_open: impl Fn(u32) -> bool) -> u32 {
        let mut coordinate = 0;
        for (at, _) in &self.0 {
            while coordinate < *at {
                if is_open(coordinate) {
                    return coordinate;
                }
                coordinate += 1;
            }
            coordinate = at.saturating_add(1);
        }
        while !is_open(coordinate) && coordinate < u32::MAX {
            coordinate += 1;
        }
        coordinate
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Guid)> {
        self.0.iter().copied()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = Guid> {
        self.0.iter().map(|(_, member)| *member)
    }

    pub(super) fn others(&self, me: Guid) -> impl Iterator<Item = Guid> {
        self.members().filter(move |member| *member != me)
    }

    pub(super) fn coordinates(&self) -> Vec<u32> {
        self.0.iter().map(|(at, _)| *at).collect()
    }

    /// The members in lists that fit beside their contacts into one message.
    pub(super) fn pages(&self, size: usize) -> impl Iterator<Item = Vec<(u32, Guid)>> {
        self.0.chunks(size).map(<[_]>::to_vec)
    }

    /// A number by which two tables of the same ring are found to differ, or two lists of elders.
    pub(super) fn digest(&self, elders: &[Guid]) -> u64 {
        let members = self.0.iter().fold(0, |sum, (at, member)| mix(sum ^ fold(&member.0) ^ u64::from(*at)));
        elders.iter().fold(members, |sum, elder| mix(sum ^ fold(&elder.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guid(n: u8) -> Guid {
        Guid([n; 32])
    }

    #[test]
    fn a_member_stands_at_one_place_and_a_place_has_one_member() {
        let mut ring = Ring::of(3, guid(1));
        assert_eq!(ring.insert(0, guid(2)), None);
        assert_eq!(ring.insert(0, guid(3)), Some(guid(2)));
        assert_eq!(ring.insert(7, guid(1)), None);
        assert_eq!(ring.coordinates(), [0, 7]);
        assert_eq!((ring.get(3), ring.get(7)), (None, Some(guid(1))));
        assert_eq!(ring.keep_only(&[7, 9]), [guid(3)]);
        assert_eq!(ring.remove(&guid(1)), Some(7));
        assert!(ring.is_empty());
    }

    #[test]
    fn the_lowest_open_place_is_given_first() {
        let mut ring = Ring::default();
        assert_eq!(ring.vacancy(|_| true), 0);
        for coordinate in [0, 1, 4] {
            ring.insert(coordinate, guid(coordinate as u8));
        }
        assert_eq!(ring.vacancy(|_| true), 2);
        assert_eq!(ring.vacancy(|at| at != 2), 3);
        assert_eq!(ring.vacancy(|at| at > 5), 6);
        ring.insert(u32::MAX, guid(9));
        assert_eq!(ring.vacancy(|at| at > 3), 5);
    }

    #[test]
    fn tables_that_differ_have_different_digests() {
        let a = Ring::from_sorted(vec![(0, guid(1)), (1, guid(2))]);
        let b = Ring::from_sorted(vec![(0, guid(2)), (1, guid(1))]);
        let c = Ring::from_sorted(vec![(0, guid(1)), (2, guid(2))]);
        assert!(a.digest(&[]) != b.digest(&[]) && a.digest(&[]) != c.digest(&[]));
        assert!(a.digest(&[]) != a.digest(&[guid(1)]) && a.digest(&[]) == a.clone().digest(&[]));
    }
}

//! The routing table and the neighborhood set: whom one knows for each digit, and whom for being near.

use core::time::Duration;

use polymorph_core::{Guid, Time};

use super::super::prefix::{Digits, Peer};

/// A measured round trip, in microseconds to be small.
pub(super) type Micros = u32;

/// A round trip as it is kept.
pub(super) fn micros(rtt: Duration) -> Micros {
    u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX)
}

/// One slot of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) peer: Peer,
    /// How far away it is, once measured.
    pub(super) rtt: Option<Micros>,
    row: u8,
    column: u8,
}

/// What becomes of somebody who is offered to a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Offer {
    /// It is in, perhaps in another one's place.
    Taken,
    /// Another one is there, and it is not known who is nearer.
    Undecided(Guid),
    /// It is no better than who is there, or is there itself.
    Declined,
}

/// Row `r` holds peers that share exactly `r` digits with this node, one for each digit after.
#[derive(Debug)]
pub(super) struct Table {
    digits: Digits,
    mine: u64,
    /// In the order of row and column; most slots of a table are empty.
    entries: Vec<Entry>,
}

impl Table {
    pub(super) fn new(digits: Digits, mine: u64) -> Self {
        Self { digits, mine, entries: Vec::new() }
    }

    /// Which slot a position belongs to; `None` for this node's own.
    pub(super) fn slot(&self, at: u64) -> Option<(u8, u8)> {
        let row = self.digits.shared(self.mine, at);
        (row < self.digits.count()).then(|| (row, self.digits.digit(at, row)))
    }

    fn find(&self, row: u8, column: u8) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&(row, column), |entry| (entry.row, entry.column))
    }

    pub(super) fn get(&self, row: u8, column: u8) -> Option<&Entry> {
        self.find(row, column).ok().map(|index| &self.entries[index])
    }

    /// Offers a peer that answered. Of two the nearer one stays, if both were measured; a tenth is no difference.
    pub(super) fn offer(&mut self, peer: Peer, rtt: Option<Micros>) -> Offer {
        let Some((row, column)) = self.slot(peer.at) else { return Offer::Declined };
        let entry = Entry { peer, rtt, row, column };
        let index = match self.find(row, column) {
            Ok(index) => index,
            Err(index) => {
                self.entries.insert(index, entry);
                return Offer::Taken;
            }
        };
        let old = &mut self.entries[index];
        if old.peer.guid == peer.guid {
            old.rtt = rtt.or(old.rtt);
            return Offer::Declined;
        }
        match (old.rtt, rtt) {
            (Some(there), Some(here)) if here < there - there / 10 => {
                *old = entry;
                Offer::Taken
            }
            (Some(_), Some(_)) => Offer::Declined,
            _ => Offer::Undecided(old.peer.guid),
        }
    }

    /// Takes a peer out, and says which slot is empty now.
    pub(super) fn remove(&mut self, guid: &Guid) -> Option<(u8, u8)> {
        let index = self.entries.iter().position(|entry| entry.peer.guid == *guid)?;
        let entry = self.entries.remove(index);
        Some((entry.row, entry.column))
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = Peer> + '_ {
        self.entries.iter().map(|entry| entry.peer)
    }

    pub(super) fn contains(&self, guid: &Guid) -> bool {
        self.entries.iter().any(|entry| entry.peer.guid == *guid)
    }

    /// One row, in the order of digits.
    pub(super) fn row(&self, row: u8) -> impl Iterator<Item = &Entry> {
        let start = self.entries.partition_point(|entry| entry.row < row);
        self.entries[start..].iter().take_while(move |entry| entry.row == row)
    }

    /// The number of the last row that holds anybody.
    pub(super) fn last_row(&self) -> u8 {
        self.entries.last().map_or(0, |entry| entry.row)
    }
}

/// A member of the neighborhood set.
#[derive(Debug)]
struct Neighbor {
    rtt: Micros,
    guid: Guid,
    /// When it last gave a sign of life.
    heard: Time,
}

/// The neighborhood set: the nearest in the network of all that were measured, the nearest first.
#[derive(Debug)]
pub(super) struct Near {
    size: usize,
    peers: Vec<Neighbor>,
}

impl Near {
    pub(super) fn new(size: usize) -> Self {
        Self { size, peers: Vec::new() }
    }

    /// Somebody answered and was measured.
    pub(super) fn offer(&mut self, guid: Guid, rtt: Micros, now: Time) {
        self.remove(&guid);
        let place = self.peers.partition_point(|other| other.rtt <= rtt);
        if place < self.size {
            self.peers.insert(place, Neighbor { rtt, guid, heard: now });
            self.peers.truncate(self.size);
        }
    }

    /// Takes a peer out, and says whether it was there.
    pub(super) fn remove(&mut self, guid: &Guid) -> bool {
        let before = self.peers.len();
        self.peers.retain(|peer| peer.guid != *guid);
        self.peers.len() < before
    }

    pub(super) fn clear(&mut self) {
        self.peers.clear();
    }

    pub(super) fn guids(&self) -> Vec<Guid> {
        self.peers.iter().map(|peer| peer.guid).collect()
    }

    pub(super) fn contains(&self, guid: &Guid) -> bool {
        self.peers.iter().any(|peer| peer.guid == *guid)
    }

    /// How many more it takes.
    pub(super) fn room(&self) -> usize {
        self.size - self.peers.len()
    }

    /// Whoever was not heard of for longest, if that is at least so long.
    pub(super) fn stalest(&self, now: Time, long: Duration) -> Option<Guid> {
        let stalest = self.peers.iter().min_by_key(|peer| peer.heard);
        stalest.filter(|peer| now.since(peer.heard) >= long).map(|peer| peer.guid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(at: u64) -> Peer {
        Peer { at, guid: Guid([(at >> 48) as u8; 32]) }
    }

    #[test]
    fn of_two_for_one_slot_the_nearer_one_stays_and_only_measured_ones_are_compared() {
        let mut table = Table::new(Digits::new(4), 0x1234 << 48);
        let (far, near) = (peer(0x1311 << 48), peer(0x13ff << 48));
        assert_eq!(table.offer(far, None), Offer::Taken);
        assert_eq!(table.offer(near, Some(10)), Offer::Undecided(far.guid));
        assert_eq!(table.offer(far, Some(100)), Offer::Declined);
        assert_eq!(table.offer(near, Some(95)), Offer::Declined, "a tenth is no difference");
        assert_eq!(table.offer(near, Some(10)), Offer::Taken);
        assert_eq!(table.get(1, 3).map(|entry| (entry.peer, entry.rtt)), Some((near, Some(10))));
        assert_eq!(table.remove(&near.guid), Some((1, 3)));
        assert_eq!((table.get(1, 3), table.slot(0x1234 << 48)), (None, None));
    }

    #[test]
    fn rows_are_by_shared_digits() {
        let mut table = Table::new(Digits::new(4), 0x1234 << 48);
        for at in [0x2000, 0x0fff, 0x1134, 0x1239, 0x1200] {
            table.offer(peer(at << 48), None);
        }
        let row = |row| table.row(row).map(|entry| entry.peer.at >> 48).collect::<Vec<_>>();
        assert_eq!([row(0), row(1), row(2), row(3)], [vec![0x0fff, 0x2000], vec![0x1134], vec![0x1200], vec![0x1239]]);
        assert_eq!(table.last_row(), 3);
    }

    #[test]
    fn the_neighborhood_keeps_the_nearest_with_their_last_measure() {
        let mut near = Near::new(2);
        let guid = |number| Guid([number; 32]);
        for (number, rtt) in [(1, 30), (2, 10), (3, 20), (2, 25)] {
            near.offer(guid(number), rtt, Time::from_secs(u64::from(number)));
        }
        assert_eq!(near.guids(), [guid(3), guid(2)]);
        near.offer(guid(9), 90, Time::from_secs(9));
        assert_eq!(near.guids(), [guid(3), guid(2)]);
        let stalest = |near: &Near, now| near.stalest(Time::from_secs(now), Duration::from_secs(60));
        assert_eq!((stalest(&near, 61), stalest(&near, 62)), (None, Some(guid(2))));
        near.offer(guid(2), 25, Time::from_secs(62));
        assert_eq!((stalest(&near, 63), near.room()), (Some(guid(3)), 0));
        assert!(near.remove(&guid(3)) && !near.remove(&guid(3)) && near.room() == 1);
    }
}

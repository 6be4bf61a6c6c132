//! The table: for every digit that could follow those shared with others, the nearest peers who have it.

use polymorph_core::Guid;
use serde::{Deserialize, Serialize};

use super::super::prefix::{Digits, Peer};

/// A measured round trip, in microseconds to be small; the greatest number if it was not measured.
pub(super) type Micros = u32;
/// Not measured yet.
pub(super) const UNMEASURED: Micros = Micros::MAX;

/// One peer in a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) peer: Peer,
    pub(super) rtt: Micros,
    row: u8,
    column: u8,
    /// It is coming, and not all who need to know of it do.
    pub(super) pinned: bool,
}

/// Some slots of the first rows of a table, a bit each.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Slots(Vec<u8>);

impl Slots {
    fn place(digits: Digits, row: u8, column: u8) -> (usize, u8) {
        let bit = usize::from(row) * usize::from(digits.base()) + usize::from(column);
        (bit / 8, 1 << (bit % 8))
    }

    pub(super) fn set(&mut self, digits: Digits, row: u8, column: u8) {
        let (byte, bit) = Self::place(digits, row, column);
        self.0.resize(self.0.len().max(byte + 1), 0);
        self.0[byte] |= bit;
    }

    pub(super) fn clear(&mut self, digits: Digits, row: u8, column: u8) {
        let (byte, bit) = Self::place(digits, row, column);
        if let Some(byte) = self.0.get_mut(byte) {
            *byte &= !bit;
        }
    }

    pub(super) fn has(&self, digits: Digits, row: u8, column: u8) -> bool {
        let (byte, bit) = Self::place(digits, row, column);
        self.0.get(byte).is_some_and(|byte| byte & bit != 0)
    }
}

/// Row `r` holds peers that share exactly `r` digits with this node, in a slot for each digit after.
#[derive(Debug)]
pub(super) struct Mesh {
    digits: Digits,
    mine: u64,
    /// How many peers a slot holds; those who are pinned come on top.
    size: usize,
    /// In the order of row, column and nearness; most slots are empty.
    entries: Vec<Entry>,
}

impl Mesh {
    pub(super) fn new(digits: Digits, mine: u64, size: usize) -> Self {
        Self { digits, mine, size, entries: Vec::new() }
    }

    /// Which slot a position belongs to; `None` for this node's own.
    pub(super) fn slot_of(&self, at: u64) -> Option<(u8, u8)> {
        let row = self.digits.shared(self.mine, at);
        (row < self.digits.count()).then(|| (row, self.digits.digit(at, row)))
    }

    pub(super) fn slot(&self, row: u8, column: u8) -> &[Entry] {
        let start = self.entries.partition_point(|entry| (entry.row, entry.column) < (row, column));
        let len = self.entries[start..].partition_point(|entry| (entry.row, entry.column) == (row, column));
        &self.entries[start..start + len]
    }

    pub(super) fn row(&self, row: u8) -> impl Iterator<Item = &Entry> {
        let start = self.entries.partition_point(|entry| entry.row < row);
        self.entries[start..].iter().take_while(move |entry| entry.row == row)
    }

    /// The slots of a row that hold somebody, and of all rows after it: for each its row and who is in it.
    pub(super) fn slots_from(&self, row: u8) -> impl Iterator<Item = (u8, &[Entry])> {
        let start = self.entries.partition_point(|entry| entry.row < row);
        let same = |a: &Entry, b: &Entry| (a.row, a.column) == (b.row, b.column);
        self.entries[start..].chunk_by(same).map(|slot| (slot[0].row, slot))
    }

    /// How many more peers a slot has room for; those who are pinned do not count.
    pub(super) fn room(&self, row: u8, column: u8) -> usize {
        let settled = self.slot(row, column).iter().filter(|entry| !entry.pinned).count();
        self.size.saturating_sub(settled)
    }

    /// Everybody in a slot that has room for more.
    pub(super) fn scarce(&self) -> Vec<Guid> {
        let scarce = self.slots_from(0).filter(|(_, slot)| slot.len() < self.size);
        scarce.flat_map(|(_, slot)| slot.iter().map(|entry| entry.peer.guid)).collect()
    }

    /// The most digits, `level` at most, that so many share with this node as fill a slot, itself counted.
    pub(super) fn crowded(&self, level: u8) -> u8 {
        let settled = |row: u8| self.slots_from(row).flat_map(|(_, slot)| slot).filter(|entry| !entry.pinned).count();
        (0..=level).rev().find(|row| settled(*row) + 1 >= self.size).unwrap_or_default()
    }

    /// Puts a peer into its slot, or measures it anew. Of those for whom there is no room the farthest stay out;
    /// whoever is pinned stays.
    pub(super) fn offer(&mut self, peer: Peer, rtt: Option<Micros>) -> bool {
        let Some((row, column)) = self.slot_of(peer.at) else { return false };
        let known = self.entries.iter().position(|entry| entry.peer.guid == peer.guid);
        let old = known.map(|index| self.entries.remove(index));
        let rtt = rtt.or(old.map(|old| old.rtt)).unwrap_or(UNMEASURED);
        let entry = Entry { peer, rtt, row, column, pinned: old.is_some_and(|old| old.pinned) };
        let place = self.entries.partition_point(|other| (other.row, other.column, other.rtt) <= (row, column, rtt));
        self.entries.insert(place, entry);
        self.trim(row, column);
        self.contains(&peer.guid)
    }

    /// Puts out the farthest of a slot until it has its size.
    fn trim(&mut self, row: u8, column: u8) {
        let start = self.entries.partition_point(|entry| (entry.row, entry.column) < (row, column));
        let slot = self.slot(row, column);
        let settled = slot.iter().filter(|entry| !entry.pinned).count();
        if let Some(last) = slot.iter().rposition(|entry| !entry.pinned).filter(|_| settled > self.size) {
            self.entries.remove(start + last);
        }
    }

    /// Puts a peer into its slot to stay there until it is unpinned.
    pub(super) fn pin(&mut self, peer: Peer) {
        let Some((row, column)) = self.slot_of(peer.at) else { return };
        if self.slot(row, column).iter().filter(|entry| entry.pinned).count() < MAX_PINNED
            && !self.entries.iter().any(|entry| entry.peer.guid == peer.guid && entry.pinned)
        {
            self.entries.retain(|entry| entry.peer.guid != peer.guid);
            let place = self.entries.partition_point(|other| (other.row, other.column) <= (row, column));
            self.entries.insert(place, Entry { peer, rtt: UNMEASURED, row, column, pinned: true });
        }
    }

    pub(super) fn unpin(&mut self, peer: Peer) {
        let pinned = self.entries.iter_mut().find(|entry| entry.peer.guid == peer.guid && entry.pinned);
        if let Some(entry) = pinned {
            entry.pinned = false;
            let (row, column) = (entry.row, entry.column);
            self.trim(row, column);
        }
    }

    pub(super) fn remove(&mut self, guid: &Guid) {
        self.entries.retain(|entry| entry.peer.guid != *guid);
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = Peer> + '_ {
        self.entries.iter().map(|entry| entry.peer)
    }

    pub(super) fn guids(&self) -> Vec<Guid> {
        self.entries.iter().map(|entry| entry.peer.guid).collect()
    }

    pub(super) fn contains(&self, guid: &Guid) -> bool {
        self.entries.iter().any(|entry| entry.peer.guid == *guid)
    }

    pub(super) fn is_measured(&self, guid: &Guid) -> bool {
        self.entries.iter().any(|entry| entry.peer.guid == *guid && entry.rtt != UNMEASURED)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<Peer> {
        self.entries.get(index).map(|entry| entry.peer)
    }

    /// The number of the last row that holds anybody.
    pub(super) fn last_row(&self) -> Option<u8> {
        self.entries.last().map(|entry| entry.row)
    }

    /// The slots in which there is nobody, of all rows that somebody may fill; a node's own digits are no slots.
    pub(super) fn holes(&self) -> Slots {
        let mut holes = Slots::default();
        let rows = self.last_row().map_or(0, |row| row + 2);
        for row in 0..=rows.min(self.digits.count() - 1) {
            let own = self.digits.digit(self.mine, row);
            for column in (0..self.digits.base()).map(|column| column as u8) {
                if column != own {
                    holes.set(self.digits, row, column);
                }
            }
        }
        self.entries.iter().for_each(|entry| holes.clear(self.digits, entry.row, entry.column));
        holes
    }

    /// What a peer is asked for: the empty slots, and its own if that has room for others like it.
    pub(super) fn wanted_of(&self, peer: Peer) -> Slots {
        let mut slots = self.holes();
        if let Some((row, column)) = self.slot_of(peer.at).filter(|(row, column)| self.room(*row, *column) > 0) {
            slots.set(self.digits, row, column);
        }
        slots
    }

    /// Whom this node knows for somebody else's slots: one for each, and for the one it belongs into itself as many as
    /// that holds besides. Those are other ones at each `turn`, since the asker may know some.
    pub(super) fn fill(&self, other: Peer, holes: &mut Slots, n: usize, turn: usize) -> Vec<Guid> {
        let mut fit = Vec::new();
        let row = self.digits.shared(other.at, self.mine);
        let column = self.digits.digit(self.mine, row.min(self.digits.count() - 1));
        if row < self.digits.count() && holes.has(self.digits, row, column) {
            holes.clear(self.digits, row, column);
            let like = &self.entries[self.entries.partition_point(|entry| entry.row <= row)..];
            let from = turn.checked_rem(like.len()).unwrap_or_default();
            let like = like.iter().cycle().skip(from).take(like.len()).map(|entry| entry.peer.guid);
            fit.extend(like.filter(|guid| *guid != other.guid).take(self.size.max(2) - 1));
        }
        for peer in self.peers().filter(|peer| peer.guid != other.guid) {
            let row = self.digits.shared(other.at, peer.at);
            if row < self.digits.count() && fit.len() < n {
                let column = self.digits.digit(peer.at, row);
                if holes.has(self.digits, row, column) {
                    holes.clear(self.digits, row, column);
                    fit.push(peer.guid);
                }
            }
        }
        fit
    }

    /// Surrogate routing: digit after digit, the right one or the next higher that somebody has. The slot of the next
    /// hop, or `None` if this node is the root.
    pub(super) fn next(&self, key: u64, allowed: impl Fn(&Entry) -> bool) -> Option<&[Entry]> {
        for row in 0..=self.last_row()? {
            let (want, own) = (self.digits.digit(key, row), self.digits.digit(self.mine, row));
            let columns = (0..self.digits.base()).map(|step| ((u16::from(want) + step) % self.digits.base()) as u8);
            for column in columns.take_while(|column| *column != own) {
                let slot = self.slot(row, column);
                if slot.iter().any(&allowed) {
                    return Some(slot);
                }
            }
        }
        None
    }

    /// The `n` who would be a key's roots after each other, if this node were not there.
    pub(super) fn nearest(&self, key: u64, n: usize, allowed: impl Fn(&Guid) -> bool, peers: &mut Vec<Guid>) {
        let offset = |entry: &Entry| (self.digits.offset(key, entry.peer.at), entry.peer.guid);
        let mut all: Vec<_> = self.entries.iter().map(offset).filter(|(_, peer)| allowed(peer)).collect();
        all.sort_unstable();
        peers.extend(all.into_iter().take(n).map(|(_, peer)| peer));
    }
}

/// How many newcomers may be pinned in a slot; more at once would be somebody's game.
const MAX_PINNED: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(at: u64) -> Peer {
        let mut guid = [0; 32];
        guid[..8].copy_from_slice(&at.to_be_bytes());
        Peer { at: at << 48, guid: Guid(guid) }
    }

    fn mesh() -> Mesh {
        Mesh::new(Digits::new(4), 0x1234 << 48, 2)
    }

    fn places(slot: &[Entry]) -> Vec<u64> {
        slot.iter().map(|entry| entry.peer.at >> 48).collect()
    }

    #[test]
    fn a_slot_keeps_the_nearest_and_whoever_is_pinned() {
        let mut mesh = mesh();
        assert!(
            mesh.offer(peer(0x1301), None) && mesh.offer(peer(0x1302), Some(50)) && mesh.offer(peer(0x1303), Some(20))
        );
        assert_eq!(places(mesh.slot(1, 3)), [0x1303, 0x1302]);
        assert!(!mesh.offer(peer(0x1304), Some(60)));
        mesh.pin(peer(0x1305));
        assert!(mesh.contains(&peer(0x1305).guid) && mesh.slot(1, 3).len() == 3);
        assert!(mesh.offer(peer(0x1306), Some(10)));
        assert_eq!(places(mesh.slot(1, 3)), [0x1306, 0x1303, 0x1305]);
        mesh.unpin(peer(0x1305));
        assert_eq!(places(mesh.slot(1, 3)), [0x1306, 0x1303]);
        mesh.remove(&peer(0x1306).guid);
        assert_eq!(places(mesh.slot(1, 3)), [0x1303]);
    }

    #[test]
    fn the_next_higher_digit_stands_in_for_one_that_nobody_has() {
        let mut mesh = mesh();
        for at in [0x5000, 0xa000, 0x1500, 0x1239] {
            mesh.offer(peer(at), None);
        }
        let next = |key: u64| mesh.next(key << 48, |_| true).map(places);
        assert_eq!(next(0x4fff), Some(vec![0x5000]));
        assert_eq!(next(0x6000), Some(vec![0xa000]));
        assert_eq!(next(0xb300), Some(vec![0x1500]), "past the highest digit it wraps round to this node's own");
        assert_eq!(next(0xb000), None, "and there this node's own digit comes before");
        assert_eq!(next(0x1234), None);
        assert_eq!(next(0x1300), Some(vec![0x1500]));
        let without = mesh.next(0x4fff << 48, |entry| entry.peer != peer(0x5000)).map(places);
        assert_eq!(without, Some(vec![0xa000]));
    }

    #[test]
    fn whoever_is_in_a_slot_with_room_names_others_who_belong_there() {
        let (mut asker, mut asked) = (mesh(), Mesh::new(Digits::new(4), 0x1301 << 48, 2));
        let (me, there) = (peer(0x1234), peer(0x1301));
        asker.offer(there, None);
        assert_eq!((asker.room(1, 3), asker.scarce()), (1, vec![there.guid]));
        for at in [0x1234, 0x1305, 0x1350, 0x2000] {
            asked.offer(peer(at), None);
        }
        let mut named: Vec<Guid> =
            (0..2).flat_map(|turn| asked.fill(me, &mut asker.wanted_of(there), 8, turn)).collect();
        named.sort_unstable();
        named.dedup();
        assert_eq!(named, [0x1305, 0x1350, 0x2000].map(|at| peer(at).guid), "one at a time, and who fills a hole");
        asker.offer(peer(0x1305), None);
        assert_eq!((asker.room(1, 3), asker.scarce()), (0, vec![]));
        assert_eq!(asked.fill(me, &mut asker.wanted_of(there), 8, 0), [peer(0x2000).guid], "no room, no names");
    }

    #[test]
    fn a_crowd_is_as_many_as_fill_a_slot() {
        let mut mesh = Mesh::new(Digits::new(4), 0x1234 << 48, 3);
        mesh.offer(peer(0x1239), None);
        assert_eq!(mesh.crowded(3), 0, "two of three");
        mesh.pin(peer(0x1235));
        assert_eq!(mesh.crowded(3), 0, "a newcomer does not count");
        mesh.offer(peer(0x1500), None);
        assert_eq!((mesh.crowded(3), mesh.crowded(0)), (1, 0));
        mesh.unpin(peer(0x1235));
        assert_eq!(mesh.crowded(3), 3);
    }

    #[test]
    fn holes_are_slots_without_anybody() {
        let mut mesh = mesh();
        mesh.offer(peer(0x1500), None);
        let (digits, holes) = (Digits::new(4), mesh.holes());
        assert!(holes.has(digits, 0, 0) && !holes.has(digits, 0, 1) && holes.has(digits, 1, 6));
        assert!(!holes.has(digits, 1, 5) && !holes.has(digits, 1, 2) && holes.has(digits, 2, 7));
    }
}

//! One k-bucket: the least recently seen peer is questioned, never the newest believed (Kademlia §2.2, §4.1).

use polymorph_core::{Guid, Key, Time};

/// A peer, and the first 64 bits of where it stands. More are never needed to tell peers apart: among four billion
/// peers one pair shares that many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) head: u64,
    pub(super) guid: Guid,
}

impl Entry {
    pub(super) fn new(guid: Guid, position: &Key) -> Self {
        Self { head: head(position), guid }
    }
}

/// The first 64 bits of a key.
pub(super) fn head(key: &Key) -> u64 {
    key.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Peers at a like distance.
#[derive(Debug)]
pub(super) struct Bucket {
    /// How many leading bits of their positions are this node's.
    pub(super) depth: u32,
    /// Those that are used, the least recently seen first.
    pub(super) entries: Vec<Entry>,
    /// The replacement cache: seen while the bucket was full, the most recently seen last.
    spare: Vec<Entry>,
    /// When the least recently seen entry was last questioned.
    checked: Option<Time>,
}

/// What follows from a sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// Nothing: the peer is known, or waits in the replacement cache.
    Noted,
    /// The peer is in the bucket from now on.
    Added,
    /// The bucket is full: its least recently seen entry must show that it lives.
    Doubt(Guid),
}

/// What follows from a peer's silence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lost {
    /// Nothing.
    Unknown,
    /// It is out, and perhaps another one is in.
    Replaced(Option<Guid>),
}

impl Bucket {
    /// How many peers it remembers.
    pub(super) fn size(&self) -> usize {
        self.entries.len() + self.spare.len()
    }

    pub(super) fn new(depth: u32, entries: Vec<Entry>) -> Self {
        Self { depth, entries, spare: Vec::new(), checked: None }
    }

    /// A peer gave a sign of life. `room` bounds the bucket, `k` its replacement cache.
    pub(super) fn hear(&mut self, entry: Entry, room: usize, k: usize, now: Time) -> Heard {
        if let Some(index) = self.entries.iter().position(|known| known.guid == entry.guid) {
            self.entries[index..].rotate_left(1);
            return Heard::Noted;
        }
        if self.entries.len() < room {
            self.entries.push(entry);
            self.spare.retain(|known| known.guid != entry.guid);
            return Heard::Added;
        }
        self.spare.retain(|known| known.guid != entry.guid);
        if self.spare.len() == k {
            self.spare.remove(0);
        }
        self.spare.push(entry);
        if self.checked.is_some_and(|checked| now.since(checked) < CHECK) {
            return Heard::Noted;
        }
        self.checked = Some(now);
        self.entries.first().map_or(Heard::Noted, |oldest| Heard::Doubt(oldest.guid))
    }

    /// A peer does not answer, or left. The most recently seen of the replacement cache takes its place.
    pub(super) fn lose(&mut self, guid: &Guid) -> Lost {
        self.spare.retain(|known| known.guid != *guid);
        let Some(index) = self.entries.iter().position(|known| known.guid == *guid) else { return Lost::Unknown };
        self.entries.remove(index);
        let next = self.spare.pop();
        self.entries.extend(next);
        Lost::Replaced(next.map(|entry| entry.guid))
    }
}

/// How long a full bucket waits between two questions to its least recently seen entry: the farthest buckets hear of
/// new peers with every message. The paper (§4.1) asks to wait for a useful message instead; ours to choose.
const CHECK: core::time::Duration = core::time::Duration::from_secs(60);

#[cfg(test)]
mod survival;

#[cfg(test)]
mod tests {
    use super::*;

    const K: usize = 3;

    fn entry(number: u8) -> Entry {
        Entry { head: u64::from(number), guid: Guid([number; 32]) }
    }

    fn full() -> Bucket {
        let mut bucket = Bucket::new(0, Vec::new());
        for number in 1..=3 {
            assert_eq!(bucket.hear(entry(number), K, K, Time::ZERO), Heard::Added);
        }
        bucket
    }

    fn order(bucket: &Bucket) -> Vec<u8> {
        bucket.entries.iter().map(|entry| entry.guid.0[0]).collect()
    }

    #[test]
    fn whoever_is_heard_becomes_the_most_recently_seen() {
        let mut bucket = full();
        assert_eq!(bucket.hear(entry(1), K, K, Time::ZERO), Heard::Noted);
        assert_eq!(order(&bucket), [2, 3, 1]);
        assert_eq!(bucket.hear(entry(3), K, K, Time::ZERO), Heard::Noted);
        assert_eq!(order(&bucket), [2, 1, 3]);
    }

    #[test]
    fn a_full_bucket_doubts_its_least_recently_seen_and_keeps_it_if_it_answers() {
        let mut bucket = full();
        assert_eq!(bucket.hear(entry(4), K, K, Time::ZERO), Heard::Doubt(entry(1).guid));
        assert_eq!(order(&bucket), [1, 2, 3], "the newcomer is not believed before the old one is silent");
        // It answers.
        assert_eq!(bucket.hear(entry(1), K, K, Time::ZERO), Heard::Noted);
        assert_eq!(order(&bucket), [2, 3, 1]);
        assert_eq!(bucket.hear(entry(4), K, K, Time::from_secs(61)), Heard::Doubt(entry(2).guid));
    }

    #[test]
    fn a_silent_peer_makes_room_for_the_most_recently_seen_replacement() {
        let mut bucket = full();
        for number in [4, 5, 6, 4] {
            bucket.hear(entry(number), K, K, Time::ZERO);
        }
        assert_eq!(bucket.lose(&entry(1).guid), Lost::Replaced(Some(entry(4).guid)));
        assert_eq!(order(&bucket), [2, 3, 4]);
        assert_eq!(bucket.lose(&entry(1).guid), Lost::Unknown);
        assert_eq!(bucket.lose(&entry(6).guid), Lost::Unknown, "a replacement that is silent is forgotten");
        assert_eq!(bucket.lose(&entry(2).guid), Lost::Replaced(Some(entry(5).guid)));
        assert_eq!(bucket.lose(&entry(3).guid), Lost::Replaced(None));
    }

    #[test]
    fn a_flood_of_newcomers_neither_grows_the_bucket_nor_asks_more_than_once_a_minute() {
        let mut bucket = full();
        let doubts = (4..=255).filter(|n| matches!(bucket.hear(entry(*n), K, K, Time::ZERO), Heard::Doubt(_))).count();
        assert_eq!(doubts, 1);
        assert_eq!((bucket.entries.len(), bucket.spare.len()), (K, K));
    }
}

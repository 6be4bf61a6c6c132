//! Copies of records that passed by: a few, for a short while, the shorter the farther from whoever keeps them.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::record::Record;
use crate::{Key, Time};

/// How long a copy one link from a replica lives. Each link farther halves it (Kademlia §2.3), so that however copies are
/// made of copies, none is older than twice this.
pub(super) const LIFE: Duration = Duration::from_secs(600);
/// Where a copy would live shorter than this it is not made.
const SHORTEST: Duration = Duration::from_secs(10);
/// How many keys there are copies of: small records fill a table sooner than its bytes.
const MAX_KEYS: usize = 4096;

/// What passed by under one key.
#[derive(Debug)]
struct Cached {
    records: Vec<Record>,
    /// How many links from a replica.
    far: u8,
    until: Time,
}

impl Cached {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.records.iter().map(Record::wire_len).sum::<usize>()
    }
}

/// Copies, bounded in number and bytes.
#[derive(Debug, Default)]
pub(super) struct Cache {
    copies: BTreeMap<Key, Cached>,
    /// Whose time ends first goes first.
    ends: BTreeSet<(Time, Key)>,
    bytes: usize,
}

impl Cache {
    pub(super) fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.ends.len() * size_of::<(Time, Key)>()
    }

    /// What is known of a key, and how far from a replica; never what has expired.
    pub(super) fn get(&self, key: &Key, now: Time) -> Option<(Vec<Record>, u8)> {
        let copy = self.copies.get(key).filter(|copy| copy.until > now)?;
        let fresh = copy.records.iter().filter(|record| record.expires > now.as_secs());
        let records: Vec<Record> = fresh.cloned().collect();
        (!records.is_empty()).then_some((records, copy.far))
    }

    /// Keeps copies of checked records that are so many links from a replica, in so many bytes for all keys.
    pub(super) fn put(&mut self, key: Key, mut records: Vec<Record>, far: u8, now: Time, room: usize) {
        let life = LIFE / 1u32.checked_shl(far.saturating_sub(1).into()).unwrap_or(u32::MAX);
        if life < SHORTEST || records.is_empty() {
            return;
        }
        let known = self.copies.get(&key).into_iter().flat_map(|copy| &copy.records);
        for known in known.filter(|known| known.expires > now.as_secs()) {
            // What passes by now may be older than what passed before.
            if let Some(same) = records.iter_mut().find(|record| record.publisher == known.publisher)
                && known.supersedes(same)
            {
                *same = known.clone();
            }
        }
        self.remove(&key);
        let copy = Cached { records, far, until: now + life };
        if copy.bytes() > room {
            return;
        }
        while self.bytes + copy.bytes() > room || self.copies.len() >= MAX_KEYS {
            let Some(&(_, first)) = self.ends.first() else { return };
            self.remove(&first);
        }
        self.bytes += copy.bytes();
        self.ends.insert((copy.until, key));
        self.copies.insert(key, copy);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(copy) = self.copies.remove(key) {
            self.bytes -= copy.bytes();
            self.ends.remove(&(copy.until, *key));
        }
    }

    pub(super) fn expire(&mut self, now: Time) {
        while let Some(&(_, key)) = self.ends.first().filter(|(until, _)| *until <= now) {
            self.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Identity;

    const NOW: Time = Time::from_secs(1000);
    const ROOM: usize = 20_000;

    fn record(key: u8, sequence: u64, seconds: u64) -> Record {
        let value = Bytes::from(vec![0; 1000]);
        Record::sign(
            &Identity::from_seed(&[1; 32]),
            Key([key; 32]),
            value,
            sequence,
            NOW + Duration::from_secs(seconds),
        )
    }

    fn after(seconds: u64) -> Time {
        NOW + Duration::from_secs(seconds)
    }

    fn put(cache: &mut Cache, record: Record, far: u8) {
        cache.put(record.key, vec![record], far, NOW, ROOM);
    }

    #[test]
    fn a_copy_lives_the_shorter_the_farther_it_is() {
        for (far, life) in [(1, 600), (2, 300), (3, 150), (6, 18)] {
            let mut cache = Cache::default();
            put(&mut cache, record(1, 1, 3600), far);
            assert!(cache.get(&Key([1; 32]), after(life - 1)).is_some(), "{far}");
            assert!(cache.get(&Key([1; 32]), after(life + 1)).is_none(), "{far}");
        }
        let mut cache = Cache::default();
        put(&mut cache, record(1, 1, 3600), 7);
        put(&mut cache, record(2, 1, 3600), 255);
        assert!(cache.is_empty());
    }

    #[test]
    fn nothing_is_shown_after_its_record_expired() {
        let mut cache = Cache::default();
        put(&mut cache, record(1, 1, 60), 1);
        assert!(cache.get(&Key([1; 32]), after(59)).is_some());
        assert!(cache.get(&Key([1; 32]), after(60)).is_none());
    }

    #[test]
    fn copies_are_bounded_and_those_that_end_first_go_first() {
        let mut cache = Cache::default();
        for key in 0..100 {
            put(&mut cache, record(key, 1, 3600), if key % 2 == 0 { 1 } else { 2 });
            assert!(cache.bytes <= ROOM);
        }
        assert!(cache.copies.len() > 10);
        assert!(cache.copies.keys().filter(|key| key.0[0] % 2 == 1).count() <= 1, "the latest, if anything");
        cache.expire(after(601));
        assert!(cache.is_empty() && cache.bytes == 0 && cache.ends.is_empty());
    }

    #[test]
    fn an_older_record_does_not_replace_a_newer_one() {
        let mut cache = Cache::default();
        put(&mut cache, record(1, 2, 3600), 1);
        put(&mut cache, record(1, 1, 3600), 1);
        assert_eq!(cache.get(&Key([1; 32]), NOW).unwrap().0[0].sequence, 2);
    }
}

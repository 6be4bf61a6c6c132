//! The broadcasts seen lately, and the copies kept of the latest of them.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashTable;

use crate::engine::hash::Seeded;
use crate::engine::settings;
use crate::topology::question::CopyId;
use crate::wire::frame::Copied;
use crate::{Key, Time};

/// What a broadcast is remembered by. The topic is part of it: what was passed on unchecked under another topic is
/// another copy.
#[derive(PartialEq, Eq, Debug)]
struct Seen {
    id: CopyId,
    topic: Option<Key>,
}

/// A copy kept for peers that ask for it again.
#[derive(Debug)]
pub(super) struct Kept {
    until: Time,
    pub(super) copied: Arc<Copied>,
    pub(super) payload: Bytes,
}

impl Kept {
    fn bytes(&self) -> usize {
        let signed = self.copied.signed.as_deref().map_or(0, size_of_val);
        size_of::<Self>() + size_of::<Copied>() + signed + self.payload.len()
    }
}

/// The broadcasts seen lately, oldest first. Copies are kept of the last of them, so that one order and one index do
/// for both.
#[derive(Debug)]
pub(super) struct Recent {
    hasher: Seeded,
    /// The number of each: how many were seen before it, as far as 32 bits go.
    index: HashTable<u32>,
    /// The number of the oldest.
    oldest: u32,
    seen: VecDeque<Seen>,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
}

impl Recent {
    pub(super) fn new(hasher: Seeded) -> Self {
        let (seen, kept) = (VecDeque::new(), VecDeque::new());
        Self { hasher, index: HashTable::new(), oldest: 0, seen, kept, kept_bytes: 0 }
    }

    pub(super) fn has(&self, copied: &Copied) -> bool {
        self.find(&copied.id, |at| self.seen[at].topic == copied.topic).is_some()
    }

    /// A copy that is still kept.
    pub(super) fn kept(&self, id: &CopyId) -> Option<&Kept> {
        let first = self.seen.len() - self.kept.len();
        let at = self.find(id, |at| at >= first)?;
        self.kept.get(at - first)
    }

    fn find(&self, id: &CopyId, good: impl Fn(usize) -> bool) -> Option<usize> {
        let at = |number: &u32| number.wrapping_sub(self.oldest) as usize;
        let found = self.index.find(self.hasher.hash_one(id), |n| self.seen[at(n)].id == *id && good(at(n)));
        found.map(at)
    }

    /// Remembers one that is new, and keeps its copy.
    pub(super) fn note(&mut self, copied: Arc<Copied>, payload: Bytes, now: Time, most: &settings::Overlay) {
        let number = self.oldest.wrapping_add(self.seen.len() as u32);
        self.seen.push_back(Seen { id: copied.id, topic: copied.topic });
        let Self { hasher, index, oldest, seen, .. } = self;
        let hash = |number: &u32| hasher.hash_one(seen[number.wrapping_sub(*oldest) as usize].id);
        index.insert_unique(hash(&number), number, hash);
        let kept = Kept { until: now + most.kept, copied, payload };
        self.kept_bytes += kept.bytes();
        self.kept.push_back(kept);
        while self.seen.len() > most.seen {
            self.forget();
        }
        while self.kept.front().is_some_and(|kept| kept.until <= now || self.kept_bytes > most.kept_bytes) {
            self.drop_kept();
        }
    }

    fn forget(&mut self) {
        if self.kept.len() == self.seen.len() {
            self.drop_kept();
        }
        if let Some(seen) = self.seen.pop_front() {
            let hash = self.hasher.hash_one(seen.id);
            if let Ok(entry) = self.index.find_entry(hash, |&number| number == self.oldest) {
                entry.remove();
            }
            self.oldest = self.oldest.wrapping_add(1);
        }
    }

    fn drop_kept(&mut self) {
        if let Some(kept) = self.kept.pop_front() {
            self.kept_bytes -= kept.bytes();
        }
    }

    /// Checks the bounds and the count of bytes.
    pub(super) fn audit(&self, most: &settings::Overlay) -> Result<(), String> {
        let kept: usize = self.kept.iter().map(Kept::bytes).sum();
        let good = kept == self.kept_bytes
            && kept <= most.kept_bytes
            && self.kept.len() <= self.seen.len()
            && self.index.len() == self.seen.len()
            && self.seen.len() <= most.seen;
        if good { Ok(()) } else { Err(format!("{kept} bytes of broadcasts are kept, {} counted", self.kept_bytes)) }
    }

    pub(super) fn bytes(&self) -> usize {
        let spare = (self.kept.capacity() - self.kept.len()) * size_of::<Kept>();
        self.index.capacity() * 5 + self.seen.capacity() * size_of::<Seen>() + self.kept_bytes + spare
    }
}

//! Whom a node knows, by how many leading bits of the position they share with it. A bucket comes into being with
//! its first peer.

use polymorph_core::overlay::Place;
use polymorph_core::{Guid, Key, Time};

use super::bucket::{Bucket, Entry, Heard, Lost, head};
use super::refresh::Subtree;

/// All buckets, the farthest (no bit in common) first.
#[derive(Debug)]
pub(super) struct Table {
    place: Place,
    mine: u64,
    k: usize,
    buckets: Vec<Bucket>,
    /// When the bucket of each depth is to be refreshed, whether anybody is in it or not; at once where nothing is noted.
    due: Vec<Time>,
}

impl Table {
    pub(super) fn new(place: Place, k: usize) -> Self {
        Self { place, mine: head(&place.mine()), k, buckets: Vec::new(), due: Vec::new() }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    fn entry(&self, guid: Guid) -> Entry {
        Entry::new(guid, &self.place.position(guid))
    }

    /// Which bucket a position belongs to.
    fn depth(&self, head: u64) -> u32 {
        (self.mine ^ head).leading_zeros()
    }

    /// A peer gave a sign of life.
    pub(super) fn hear(&mut self, guid: Guid, now: Time) -> Heard {
        let entry = self.entry(guid);
        let depth = self.depth(entry.head);
        match self.buckets.binary_search_by_key(&depth, |bucket| bucket.depth) {
            Ok(index) => {
                let room = self.room(depth);
                self.buckets[index].hear(entry, room, self.k, now)
            }
            Err(index) => {
                self.buckets.insert(index, Bucket::new(depth, vec![entry]));
                Heard::Added
            }
        }
    }

    /// How many peers are nearer than everybody in the bucket of this depth.
    fn nearer_than(&self, depth: u32) -> usize {
        self.buckets.iter().rev().take_while(|bucket| bucket.depth > depth).map(|bucket| bucket.entries.len()).sum()
    }

    /// How many a bucket takes in. Where the k nearest end it is split, although this node does not stand in it, and so
    /// are its parts (§2.4): everybody in the smallest subtree that holds k peers besides this node is to be known. A
    /// bucket that is no longer there keeps those it has.
    fn room(&self, depth: u32) -> usize {
        if self.nearer_than(depth) < self.k { SPLIT * self.k } else { self.k }
    }

    /// Whether a part of the bucket of this depth is split: it has k peers, and there is room for them.
    pub(super) fn splits(&self, part: &Subtree, depth: u32) -> bool {
        let Some(bucket) = self.buckets.iter().find(|bucket| bucket.depth == depth) else { return false };
        let known = bucket.entries.iter().filter(|entry| part.contains(entry.head)).count();
        part.bits < 64 && known >= self.k && self.room(depth) > self.k
    }

    fn bucket_of(&self, guid: Guid) -> Option<&Bucket> {
        let depth = self.depth(self.entry(guid).head);
        self.buckets.iter().find(|bucket| bucket.depth == depth)
    }

    /// Whether a peer is in its bucket.
    pub(super) fn knows(&self, guid: Guid) -> bool {
        self.bucket_of(guid).is_some_and(|bucket| bucket.entries.iter().any(|entry| entry.guid == guid))
    }

    /// Whether a peer is unknown and its bucket is not full.
    pub(super) fn has_room_for(&self, guid: Guid) -> bool {
        let room = |bucket: &Bucket| bucket.entries.len() < self.room(bucket.depth);
        !self.knows(guid) && self.bucket_of(guid).is_none_or(room)
    }

    /// A peer does not answer, or left.
    pub(super) fn lose(&mut self, guid: &Guid) -> Lost {
        let depth = self.depth(self.entry(*guid).head);
        let Ok(index) = self.buckets.binary_search_by_key(&depth, |bucket| bucket.depth) else { return Lost::Unknown };
        let lost = self.buckets[index].lose(guid);
        if self.buckets[index].entries.is_empty() {
            self.buckets.remove(index);
        }
        lost
    }

    pub(super) fn clear(&mut self) {
        self.buckets.clear();
        self.due.clear();
    }

    /// A key was looked up: its bucket is not due before then. Nearer than the nearest peer there is none.
    pub(super) fn sought(&mut self, key: &Key, due: Time) {
        let depth = self.depth(head(key));
        if self.deepest().is_some_and(|deepest| depth <= deepest) {
            let index = depth as usize;
            self.due.resize(self.due.len().max(index + 1), Time::ZERO);
            self.due[index] = due;
        }
    }

    /// All buckets there are now are due then.
    pub(super) fn all_due(&mut self, due: Time) {
        self.due.clear();
        self.due.resize(self.deepest().map_or(0, |deepest| deepest as usize + 1), due);
    }

    /// The way in is found: all buckets are due now but the nearest, which it led through (§2.3), unless there may be more
    /// in that than the way showed.
    pub(super) fn entered(&mut self, now: Time, due: Time) {
        self.all_due(now);
        let whole = self.buckets.last().is_some_and(|bucket| bucket.entries.len() < self.k);
        if let Some(nearest) = self.due.last_mut().filter(|_| whole) {
            *nearest = due;
        }
    }

    /// When each bucket is due, the nearest first.
    fn dues(&self) -> impl Iterator<Item = (u32, Time)> + '_ {
        let depths = self.deepest().into_iter().flat_map(|deepest| (0..=deepest).rev());
        depths.map(|depth| (depth, self.due.get(depth as usize).copied().unwrap_or(Time::ZERO)))
    }

    /// The nearest bucket that is due by now.
    pub(super) fn due(&self, now: Time) -> Option<u32> {
        self.dues().find(|(_, due)| *due <= now).map(|(depth, _)| depth)
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.dues().map(|(_, due)| due).min()
    }

    /// Puts a whole bucket in its place; the deeper ones come later.
    pub(super) fn push(&mut self, bucket: Bucket) {
        self.buckets.push(bucket);
    }

    /// Everybody in a bucket, the farthest first.
    pub(super) fn peers(&self) -> impl Iterator<Item = Guid> + '_ {
        self.buckets.iter().flat_map(|bucket| bucket.entries.iter().map(|entry| entry.guid))
    }

    /// How many entries there are, those of the replacement caches included.
    pub(super) fn size(&self) -> usize {
        self.buckets.iter().map(Bucket::size).sum()
    }

    /// How many bits the nearest peer shares with this node; `None` if nobody is known.
    pub(super) fn deepest(&self) -> Option<u32> {
        self.buckets.last().map(|bucket| bucket.depth)
    }

    /// Whether a peer is among the k nearest to this node.
    pub(super) fn is_near(&self, guid: Guid) -> bool {
        let far = self.mine ^ self.entry(guid).head;
        let bucket = self.bucket_of(guid).into_iter().flat_map(|bucket| &bucket.entries);
        let nearer = bucket.filter(|entry| self.mine ^ entry.head < far).count();
        self.nearer_than(far.leading_zeros()) + nearer < self.k
    }

    /// The `n` nearest to a key among those `allowed`, the nearest first, and how many of them are nearer to it than
    /// this node.
    ///
    /// Whoever shares `depth` bits with this node and no more differs from it in the next one. If the key differs
    /// there too, the whole bucket is nearer to the key than this node is, and the shallower the bucket the nearer;
    /// if not, the whole bucket is farther, and the deeper the nearer. So only the buckets that are needed are
    /// looked at.
    pub(super) fn nearest(&self, key: &Key, n: usize, allowed: impl Fn(&Guid) -> bool, peers: &mut Vec<Guid>) -> usize {
        let key = head(key);
        let differs = |bucket: &&Bucket| bucket.depth < 64 && (self.mine ^ key) >> (63 - bucket.depth) & 1 == 1;
        let mut found: Vec<(u64, Guid)> = Vec::with_capacity(n.min(self.k) + self.k);
        let mut take = |bucket: &Bucket| {
            let start = found.len();
            let allowed = bucket.entries.iter().filter(|entry| allowed(&entry.guid));
            found.extend(allowed.map(|entry| (entry.head ^ key, entry.guid)));
            found[start..].sort_unstable();
            found.len()
        };
        let mut nearer = 0;
        for bucket in self.buckets.iter().filter(differs) {
            if nearer < n {
                nearer = take(bucket);
            }
        }
        let mut all = nearer;
        for bucket in self.buckets.iter().rev().filter(|bucket| !differs(bucket)) {
            if all < n {
                all = take(bucket);
            }
        }
        peers.extend(found.iter().take(n).map(|(_, guid)| *guid));
        nearer.min(n)
    }
}

/// Into how many buckets one that is split falls at most, if all were full. The paper names no bound; where more stand
/// in a subtree in which few stand beside them, some of those will not know of the few.
pub(super) const SPLIT: usize = 16;
/// How many buckets there are at most: one for each of the 64 bits that are looked at, and one beyond.
pub(super) const MAX_BUCKETS: usize = 65;

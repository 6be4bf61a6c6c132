//! Whom a node knows, by how many leading bits of the position they share with it. A bucket comes into being with
//! its first peer.

use polymorph_core::overlay::Place;
use polymorph_core::{Guid, Key, Time};

use super::bucket::{Bucket, Entry, Heard, Lost, head};

/// All buckets, the farthest (no bit in common) first.
#[derive(Debug)]
pub(super) struct Table {
    place: Place,
    mine: u64,
    k: usize,
    buckets: Vec<Bucket>,
}

impl Table {
    pub(super) fn new(place: Place, k: usize) -> Self {
        Self { place, mine: head(&place.mine()), k, buckets: Vec::new() }
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
            Ok(index) => self.buckets[index].hear(entry, self.k, now),
            Err(index) => {
                self.buckets.insert(index, Bucket::new(depth, vec![entry]));
                Heard::Added
            }
        }
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
        !self.knows(guid) && self.bucket_of(guid).is_none_or(|bucket| bucket.entries.len() < self.k)
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
        let depth = self.depth(self.entry(guid).head);
        self.buckets.iter().rev().take_while(|bucket| bucket.depth >= depth).map(|b| b.entries.len()).sum::<usize>()
            <= self.k
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

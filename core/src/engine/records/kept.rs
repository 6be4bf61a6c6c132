//! What a node keeps for others: newest wins whatever the order, and every table has a bound.

use core::ops::Bound;
use core::time::Duration;
use std::collections::BTreeMap;

use crate::engine::settings;
use crate::record::{Receipt, Record};
use crate::snapshot::KeptRecord;
use crate::{Guid, Key, Time};

/// A record, and who handed it over first: that peer's quota it counts against.
#[derive(Debug)]
struct Item {
    record: Record,
    from: Guid,
    /// Until which second it stays, though it is shown no longer than it lives: until all have expired that it is known
    /// to replace. Else the older one could be brought again once the newer is forgotten.
    stays: u64,
}

/// All that is kept under one key, and what is known of its other replicas.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    items: Vec<Item>,
    /// Whether this node owned the key when it last looked.
    pub(super) led: bool,
    /// Where this node owns the key, the other replicas that are known to keep the same; else the owner, once it was
    /// heard of.
    pub(super) told: Vec<Guid>,
    /// When somebody last saw to it that the replicas have it: a publisher, the owner, or this node.
    pub(super) settled: Time,
}

impl Shelf {
    /// A replica has the same now.
    pub(super) fn tell(&mut self, peer: Guid) {
        if !self.told.contains(&peer) {
            self.told.push(peer);
        }
    }

    /// Another node owns the key, and knows what is kept here.
    pub(super) fn follow(&mut self, owner: Guid, now: Time) {
        (self.led, self.settled) = (false, now);
        self.told.clear();
        self.told.push(owner);
    }

    fn fresh(&self, now: Time) -> impl Iterator<Item = &Record> {
        let now = now.as_secs();
        self.items.iter().map(|item| &item.record).filter(move |record| record.expires > now)
    }
}

/// In which part a peer's share is counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Part {
    Publisher,
    Storer,
}

/// How much of one kind there is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Share {
    records: usize,
    bytes: usize,
}

impl Share {
    /// With so much more, where so many bytes become free.
    fn and(self, more: Self, freed: usize) -> Self {
        Self { records: self.records + more.records, bytes: self.bytes + more.bytes - freed }
    }

    fn of(record: &Record) -> Self {
        Self { records: 1, bytes: record.wire_len() }
    }

    fn exceeds(self, records: usize, bytes: usize) -> bool {
        self.records > records || self.bytes > bytes
    }
}

/// Everything kept in one overlay.
#[derive(Debug, Default)]
pub(super) struct Kept {
    shelves: BTreeMap<Key, Shelf>,
    all: Share,
    /// What each peer published, and what each handed over.
    shares: BTreeMap<(Part, Guid), Share>,
    /// Before this second everything stays.
    soonest: Option<u64>,
}

/// Why a record was not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// A newer one of its publisher is here.
    Older,
    /// The overlay or the key holds no more.
    Full,
    /// Its publisher, or who brought it, has used its share up.
    Quota,
}

impl Refusal {
    pub(super) fn receipt(self) -> Receipt {
        match self {
            Self::Older => Receipt::Older,
            Self::Full | Self::Quota => Receipt::Full,
        }
    }
}

impl Kept {
    pub(super) fn count(&self) -> usize {
        self.all.records
    }

    /// What takes memory, about.
    pub(super) fn bytes(&self) -> usize {
        let each = size_of::<Item>() + size_of::<(Key, Shelf)>();
        let told: usize = self.shelves.values().map(|shelf| shelf.told.capacity() * size_of::<Guid>()).sum();
        told + self.all.bytes + self.all.records * each + self.shares.len() * size_of::<(Part, Guid, Share)>()
    }

    /// What is kept under a key and has not expired.
    pub(super) fn under(&self, key: &Key, now: Time) -> impl Iterator<Item = &Record> {
        self.shelves.get(key).into_iter().flat_map(move |shelf| shelf.fresh(now))
    }

    /// The same, if somebody saw to it lately that all replicas have it: a former replica shows nothing old.
    pub(super) fn lately(&self, key: &Key, now: Time, within: Duration) -> impl Iterator<Item = &Record> {
        let shelf = self.shelves.get(key).filter(|shelf| shelf.led || now.since(shelf.settled) <= within);
        shelf.into_iter().flat_map(move |shelf| shelf.fresh(now))
    }

    /// All that stays, in the order of keys.
    pub(super) fn all(&self, now: Time) -> impl Iterator<Item = KeptRecord> {
        let items = self.shelves.values().flat_map(|shelf| &shelf.items).filter(move |item| item.stays > now.as_secs());
        items.map(|item| KeptRecord { from: item.from, record: item.record.clone(), stays: item.stays })
    }

    /// A number that is the same at all who keep the same under a key; `None` if nothing is kept.
    pub(super) fn mark(&self, key: &Key, now: Time) -> Option<u64> {
        self.under(key, now).map(Record::mark).reduce(u64::wrapping_add)
    }

    pub(super) fn shelf(&mut self, key: &Key) -> Option<&mut Shelf> {
        self.shelves.get_mut(key)
    }

    /// A peer is gone: nobody sees to what it owned.
    pub(super) fn owner_gone(&mut self, owner: &Guid) {
        let left = self.shelves.values_mut().filter(|shelf| !shelf.led && shelf.told.first() == Some(owner));
        left.for_each(|shelf| shelf.settled = Time::ZERO);
    }

    /// The next keys from here on, in order.
    pub(super) fn keys(&self, from: Bound<Key>, n: usize) -> Vec<Key> {
        self.shelves.range((from, Bound::Unbounded)).map(|(key, _)| *key).take(n).collect()
    }

    /// Keeps nothing under a key any longer.
    pub(super) fn drop_shelf(&mut self, key: &Key) {
        let Some(shelf) = self.shelves.remove(key) else { return };
        shelf.items.iter().for_each(|item| give_back(&mut self.all, &mut self.shares, item));
    }

    /// One that replaced another stays as long as that one lives.
    pub(super) fn stay(&mut self, key: &Key, publisher: &Guid, until: u64) {
        let items = self.shelves.get_mut(key).map(|shelf| &mut shelf.items).into_iter().flatten();
        items.filter(|item| item.record.publisher == *publisher).for_each(|item| item.stays = item.stays.max(until));
    }

    /// Keeps a checked record that `from` brought, if it is the newest and there is room. What this node itself
    /// publishes or brings is under no quota. Says whether that changed anything.
    pub(super) fn keep(
        &mut self,
        record: Record,
        from: Guid,
        me: Guid,
        bounds: &settings::Overlay,
        now: Time,
    ) -> Result<bool, Refusal> {
        let shelf = self.shelves.get(&record.key).map_or(&[][..], |shelf| &shelf.items);
        let old = shelf.iter().position(|item| item.record.publisher == record.publisher);
        if old.is_some_and(|at| shelf[at].record.supersedes(&record)) {
            self.stay(&record.key, &record.publisher, record.expires);
            return Err(Refusal::Older);
        }
        // A renewed one takes the old one's place, and stays in the account of whoever brought that.
        let from = old.map_or(from, |at| shelf[at].from);
        let stays = old.map_or(record.expires, |at| record.expires.max(shelf[at].stays));
        let change = Share { records: usize::from(old.is_none()), bytes: record.wire_len() };
        let freed = old.map_or(0, |at| shelf[at].record.wire_len());
        let grows = change.records > 0 || change.bytes > freed;
        let parts = [(Part::Publisher, record.publisher), (Part::Storer, from)];
        let full = self.all.and(change, freed).exceeds(bounds.records, bounds.record_bytes);
        if grows && full || old.is_none() && shelf.len() >= bounds.records_per_key {
            return Err(Refusal::Full);
        }
        let over = |part: &(Part, Guid)| {
            let share = self.shares.get(part).copied().unwrap_or_default().and(change, freed);
            part.1 != me && share.exceeds(bounds.records_per_peer, bounds.record_bytes_per_peer)
        };
        if grows && parts.iter().any(over) {
            return Err(Refusal::Quota);
        }
        for part in parts {
            let share = self.shares.entry(part).or_default();
            *share = share.and(change, freed);
        }
        self.all = self.all.and(change, freed);
        self.soonest = Some(self.soonest.map_or(stays, |soonest| soonest.min(stays)));
        let shelf = self.shelves.entry(record.key).or_default();
        let item = Item { record, from, stays };
        let changed = old.is_none_or(|at| shelf.items[at].record != item.record);
        match old {
            Some(at) => shelf.items[at] = item,
            None => shelf.items.push(item),
        }
        // Whoever stored it here stored it at the other replicas too, or will (Kademlia §2.5).
        shelf.settled = now;
        if changed {
            shelf.told.clear();
        }
        Ok(changed)
    }

    /// Drops what need not stay.
    pub(super) fn expire(&mut self, now: Time) {
        let now = now.as_secs();
        if self.soonest.is_none_or(|soonest| soonest > now) {
            return;
        }
        let Self { shelves, all, shares, soonest } = self;
        shelves.retain(|_, shelf| {
            for item in shelf.items.extract_if(.., |item| item.stays <= now) {
                give_back(all, shares, &item);
            }
            !shelf.items.is_empty()
        });
        *soonest = shelves.values().flat_map(|shelf| &shelf.items).map(|item| item.stays).min();
    }

    /// Checks the books.
    pub(super) fn audit(&self) -> Result<(), String> {
        let (mut all, mut shares) = (Share::default(), BTreeMap::<(Part, Guid), Share>::new());
        for Item { record, from, .. } in self.shelves.values().flat_map(|shelf| &shelf.items) {
            all = all.and(Share::of(record), 0);
            for part in [(Part::Publisher, record.publisher), (Part::Storer, *from)] {
                let share = shares.entry(part).or_default();
                *share = share.and(Share::of(record), 0);
            }
        }
        if all != self.all || shares != self.shares {
            return Err(format!(
                "{:?} of records are counted, {all:?} are kept; or somebody's share is wrong",
                self.all
            ));
        }
        Ok(())
    }
}

fn give_back(all: &mut Share, shares: &mut BTreeMap<(Part, Guid), Share>, item: &Item) {
    let bytes = item.record.wire_len();
    all.records -= 1;
    all.bytes -= bytes;
    for part in [(Part::Publisher, item.record.publisher), (Part::Storer, item.from)] {
        let Some(share) = shares.get_mut(&part) else { continue };
        share.records -= 1;
        share.bytes -= bytes;
        if share.records == 0 {
            shares.remove(&part);
        }
    }
}

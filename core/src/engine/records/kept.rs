//! What a node keeps for others: newest wins whatever the order, and every table has a bound.

use std::collections::BTreeMap;

use crate::engine::settings;
use crate::record::{Receipt, Record};
use crate::{Guid, Key, Time};

/// A record, and who handed it over first: that peer's quota it counts against.
#[derive(Debug)]
struct Item {
    record: Record,
    from: Guid,
}

/// All that is kept under one key.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    items: Vec<Item>,
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
        let each = size_of::<Item>() + size_of::<Shelf>();
        self.all.bytes + self.all.records * each + self.shares.len() * size_of::<(Part, Guid, Share)>()
    }

    /// What is kept under a key and has not expired.
    pub(super) fn under(&self, key: &Key, now: Time) -> impl Iterator<Item = &Record> {
        let now = now.as_secs();
        let items = self.shelves.get(key).into_iter().flat_map(|shelf| &shelf.items);
        items.map(|item| &item.record).filter(move |record| record.expires > now)
    }

    /// Keeps a checked record that `from` brought, if it is the newest and there is room. What this node itself
    /// publishes or brings is under no quota.
    pub(super) fn keep(
        &mut self,
        record: Record,
        from: Guid,
        me: Guid,
        bounds: &settings::Overlay,
    ) -> Result<(), Refusal> {
        let shelf = self.shelves.get(&record.key).map_or(&[][..], |shelf| &shelf.items);
        let old = shelf.iter().position(|item| item.record.publisher == record.publisher);
        if old.is_some_and(|at| shelf[at].record.supersedes(&record)) {
            return Err(Refusal::Older);
        }
        // A renewed one takes the old one's place, and stays in the account of whoever brought that.
        let from = old.map_or(from, |at| shelf[at].from);
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
        let items = &mut self.shelves.entry(record.key).or_default().items;
        let item = Item { record, from };
        match old {
            Some(at) => items[at] = item,
            None => items.push(item),
        }
        Ok(())
    }

    /// Drops what has expired.
    pub(super) fn expire(&mut self, now: Time) {
        let now = now.as_secs();
        let Self { shelves, all, shares } = self;
        shelves.retain(|_, shelf| {
            for item in shelf.items.extract_if(.., |item| item.record.expires <= now) {
                give_back(all, shares, &item);
            }
            !shelf.items.is_empty()
        });
    }

    /// Checks the books.
    pub(super) fn audit(&self) -> Result<(), String> {
        let (mut all, mut shares) = (Share::default(), BTreeMap::<(Part, Guid), Share>::new());
        for Item { record, from } in self.shelves.values().flat_map(|shelf| &shelf.items) {
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

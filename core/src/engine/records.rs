//! Records at the replica set of their key, on any key-routed overlay.
//!
//! `kept` what this node keeps for others · `own` what it publishes and keeps alive · `operation` storing at and
//! fetching from a replica set, with quorums and read repair · `hand_over` who is to keep what when ranges move, and
//! `offers` how peers agree on it · `cache` copies of what passes by, and `on_the_way` how they are found · `restored` what
//! outlives a restart.

mod cache;
mod hand_over;
mod kept;
mod offers;
mod on_the_way;
mod operation;
mod own;
mod restored;

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::desk::{Desk, MAX_PAYLOAD};
use super::io::Failure;
use super::state::OverlayTimer;
use crate::record::{Receipt, Record, RecordError};
use crate::topology::Topology;
use crate::wire::frame::Body;
use crate::{Guid, Key, Time};
use cache::Cache;
use hand_over::HandOver;
use kept::{Kept, Refusal};
pub(super) use operation::Answered;
use operation::Operation;
use own::Own;

/// How often expired records are dropped.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// What one overlay keeps of records. Most overlays have none: it is boxed, and gone when it is empty.
#[derive(Debug, Default)]
pub(super) struct Records {
    kept: Kept,
    cache: Cache,
    own: BTreeMap<Key, Own>,
    operations: BTreeMap<u32, Operation>,
    hand_over: HandOver,
    /// Whether the timer for it is set.
    expiring: bool,
}

impl Records {
    pub(super) fn knows(&self, operation: u32) -> bool {
        self.operations.contains_key(&operation)
    }

    pub(super) fn offers(&self, offer: u32) -> bool {
        self.hand_over.offers.contains_key(&offer)
    }

    /// The operations under way, each with how many replicas have not answered.
    pub(super) fn open(&self) -> impl Iterator<Item = (u32, usize)> {
        self.operations.iter().map(|(id, operation)| (*id, operation.open()))
    }

    /// Checks the books.
    pub(super) fn audit(&self) -> Result<(), String> {
        self.kept.audit()
    }

    pub(super) fn bytes(&self) -> usize {
        let own = self.own.len() * (size_of::<Key>() + size_of::<Own>());
        size_of::<Self>()
            + self.kept.bytes()
            + self.cache.bytes()
            + own
            + self.operations.len() * size_of::<Operation>()
    }

    fn is_empty(&self) -> bool {
        !self.expiring && self.own.is_empty() && self.operations.is_empty() && self.hand_over.offers.is_empty()
    }
}

impl<T: Topology> Desk<'_, T> {
    fn records(&mut self) -> &mut Records {
        self.state.records.get_or_insert_default()
    }

    /// A peer asks this node to keep a record.
    pub(super) fn store(&mut self, topology: &T, peer: Guid, id: u32, record: Record) {
        let key = record.key;
        let receipt = if self.state.is_client() { Receipt::Refused } else { self.take_in(peer, record) };
        if receipt == Receipt::Kept {
            // Who owns it may be another one by the next walk, and this node must know then that it did.
            if self.replica_set(topology, key, 0).is_some_and(|(owned, _)| owned) {
                self.leads(&key);
            }
        }
        if id != 0 {
            self.send_or_drop(peer, Body::Stored { id, receipt }, Bytes::new());
        }
    }

    /// Checks what a peer brought, and keeps it. A forged record is a broken rule: whoever passes records on has
    /// checked them. An old or late one is none.
    fn take_in(&mut self, peer: Guid, record: Record) -> Receipt {
        if !self.is_valid(peer, &record) {
            return Receipt::Refused;
        }
        self.keep(peer, record)
    }

    /// Whether a record that came from a peer is signed, in time and not too large; counts it if not.
    fn is_valid(&mut self, peer: Guid, record: &Record) -> bool {
        let checked = self.check_record(record, self.now);
        if matches!(checked, Err(RecordError::TooLarge | RecordError::BadSignature)) {
            self.blame(peer, "a record that is forged or too large");
        }
        checked.is_ok()
    }

    /// Checks a record as of a moment, and counts it if it is refused.
    fn check_record(&mut self, record: &Record, as_of: Time) -> Result<(), RecordError> {
        let checked = record.verify(&*self.node.verifier, as_of);
        let refused = &mut self.state.metrics.refused;
        match checked {
            Ok(()) => {}
            Err(RecordError::Expiry) => refused.expired += 1,
            Err(RecordError::TooLarge) => refused.too_large += 1,
            Err(RecordError::BadSignature) => refused.forged += 1,
        }
        checked
    }

    /// Keeps a checked record if it is the newest and there is room.
    fn keep(&mut self, from: Guid, record: Record) -> Receipt {
        let me = self.node.me;
        let records = self.state.records.get_or_insert_default();
        let kept = records.kept.keep(record, from, me, &self.state.settings, self.now);
        let metrics = &mut self.state.metrics;
        metrics.records = records.kept.count() as u64;
        match kept {
            Ok(changed) => {
                self.see_to_expiry();
                if changed {
                    self.unsettled();
                }
                Receipt::Kept
            }
            Err(refusal) => {
                *match refusal {
                    Refusal::Older => &mut metrics.refused.older,
                    Refusal::Full => &mut metrics.refused.full,
                    Refusal::Quota => &mut metrics.refused.over_quota,
                } += 1;
                refusal.receipt()
            }
        }
    }

    /// Sets the timer that drops what has expired, if there is anything to expire.
    fn see_to_expiry(&mut self) {
        let Some(records) = &mut self.state.records else { return };
        let anything = records.kept.count() > 0 || !records.cache.is_empty();
        if anything && !core::mem::replace(&mut records.expiring, anything) {
            self.state.timers.push(self.now + EXPIRE_EVERY, OverlayTimer::Expire);
        }
    }

    /// This node owns a key, as far as it knows.
    fn leads(&mut self, key: &Key) {
        if let Some(shelf) = self.state.records.as_mut().and_then(|records| records.kept.shelf(key)) {
            shelf.led = true;
        }
    }

    /// A peer asks what is kept under a key.
    pub(super) fn fetch(&mut self, peer: Guid, id: u32, key: Key) {
        // As many as fit a frame.
        let mut room = MAX_PAYLOAD;
        let fits = move |record: &Record| {
            let bytes = record.wire_len();
            let fits = bytes <= room;
            room -= bytes.min(room);
            fits
        };
        let records = self.kept(&key).into_iter().take_while(fits).collect();
        self.send_or_drop(peer, Body::Fetched { id, records }, Bytes::new());
    }

    fn kept(&self, key: &Key) -> Vec<Record> {
        let records = self.state.records.as_ref();
        records.map(|records| records.kept.under(key, self.now).cloned().collect()).unwrap_or_default()
    }

    /// Drops what has expired.
    pub(super) fn expire(&mut self) {
        let Some(records) = &mut self.state.records else { return };
        records.kept.expire(self.now);
        records.cache.expire(self.now);
        records.expiring = false;
        self.state.metrics.records = records.kept.count() as u64;
        self.see_to_expiry();
        self.settle_in_time();
        self.tidy_records();
    }

    /// Forgets the box when nothing is in it.
    fn tidy_records(&mut self) {
        if self.state.records.as_ref().is_some_and(|records| records.is_empty()) {
            self.state.records = None;
        }
    }

    /// The overlay is detached: whoever waits is told.
    pub(super) fn end_everything(&mut self, why: Failure) {
        if let Some(records) = &mut self.state.records {
            records.hand_over = HandOver::default();
            let operations: Vec<u32> = records.operations.keys().copied().collect();
            operations.into_iter().for_each(|id| self.end_operation(id, Some(why)));
        }
        self.state.questions.all().into_iter().for_each(|id| self.unanswered(id, why));
        let lookups: Vec<u32> = self.state.lookups.keys().copied().collect();
        lookups.into_iter().for_each(|id| self.abandon_lookup(id, why));
    }
}

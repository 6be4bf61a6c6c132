//! A fetch that goes hop by hop towards the owner, and that whoever keeps or copied the records answers.

use core::time::Duration;

use bytes::Bytes;

use super::Records;
use super::cache::LIFE;
use super::operation::Operation;
use crate::engine::calls::Waits;
use crate::engine::desk::Desk;
use crate::record::{Record, RecordError};
use crate::topology::Topology;
use crate::topology::question::{Lane, Target};
use crate::wire::frame::{Answer, Return, What};
use crate::{Guid, Key};

/// How long an answer is waited for before the replicas are asked: as long as one try of a recursive lookup.
const TRY: Duration = Duration::from_secs(5);
/// How many records one answer brings: each hop checks them. Keys with more publishers are for quorums to read.
const MAX_PASSING: usize = 8;

impl<T: Topology> Desk<'_, T> {
    /// Fetches from whoever on the way knows the records; from the replicas if nobody does.
    pub(super) fn fetch_on_the_way(&mut self, topology: &mut T, operation: Operation) {
        let key = operation.key();
        if let Some((records, _)) = self.known(&key) {
            return self.tell_found_on_the_way(&operation, records);
        }
        if self.records().operations.len() >= self.state.settings.pending {
            return self.operate(operation);
        }
        let seek = self.state.next_id();
        self.records().operations.insert(seek, operation.seeking());
        let id = self.unguessable_id();
        if self.wait(id, Waits::Seek { operation: seek }, None, TRY) {
            let routed = self.new_routed(id, Return::Path, Lane::TOP, Target::Key(key), What::Fetch);
            self.forward(topology, routed, Bytes::new(), None, &[]);
        }
    }

    /// An answer came to this node, or none will.
    pub(in crate::engine) fn sought_on_the_way(&mut self, id: u32, from: Guid, answer: Option<Answer>) {
        let operation = self.state.records.as_mut().and_then(|records| records.operations.remove(&id));
        let Some(operation) = operation else { return };
        let mut found = match answer {
            Some(Answer::Records { records, far }) => self.pass_by(from, records, far),
            _ => Vec::new(),
        };
        found.retain(|record| record.key == operation.key());
        if found.is_empty() {
            self.operate(operation.anew());
        } else {
            self.tell_found_on_the_way(&operation, found);
        }
    }

    /// What this node knows of a key, and how many links from a replica that is.
    pub(in crate::engine) fn known(&self, key: &Key) -> Option<(Vec<Record>, u8)> {
        let Records { kept, cache, .. } = self.state.records.as_deref()?;
        let own: Vec<Record> = kept.lately(key, self.now, LIFE).take(MAX_PASSING).cloned().collect();
        if own.is_empty() { cache.get(key, self.now) } else { Some((own, 0)) }
    }

    /// Checks records that pass by and makes copies of them; gives back what may be passed on.
    pub(in crate::engine) fn pass_by(&mut self, from: Guid, mut records: Vec<Record>, far: u8) -> Vec<Record> {
        records.truncate(MAX_PASSING);
        let Some(key) = records.first().map(|record| record.key) else { return records };
        let mut lied = false;
        records.retain(|record| {
            let checked = record.verify(&*self.node.verifier, self.now);
            lied |= record.key != key || !matches!(checked, Ok(()) | Err(RecordError::Expiry));
            record.key == key && checked.is_ok()
        });
        if lied {
            self.state.metrics.refused.forged += 1;
            self.blame(from, "records that nobody signed");
            return Vec::new();
        }
        let (now, room) = (self.now, self.state.settings.cached_bytes);
        if !records.is_empty() && room > 0 && !self.state.is_client() {
            self.records().cache.put(key, records.clone(), far.saturating_add(1), now, room);
            self.see_to_expiry();
        }
        records
    }
}

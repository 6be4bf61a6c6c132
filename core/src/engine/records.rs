//! Records at the replica set of their key, on any key-routed overlay: stored, fetched, kept alive, expired.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::calls::Waits;
use super::desk::{Desk, MAX_PAYLOAD};
use super::io::{Failure, Outcome};
use super::lookup::Asker;
use super::state::OverlayTimer;
use super::timers::Handle;
use super::turn::Todo;
use crate::record::{MAX_LIFETIME_SECS, MAX_VALUE_BYTES, Record};
use crate::topology::Topology;
use crate::topology::event::Ticket;
use crate::topology::question::{Lane, Target};
use crate::wire::frame::Body;
use crate::{Guid, Key};

/// A record is signed and stored anew after this share of its lifetime, so that two rounds may fail.
const REPUBLISH_SHARE: u32 = 3;
/// A shorter life is lengthened to this: a record is stored anew every second then.
const MIN_LIFETIME: Duration = Duration::from_secs(3);
/// How often expired records are dropped.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// How many replicas must have answered a fetch that found something.
const READ_QUORUM: usize = 3;
/// How many own records a node keeps alive in one overlay.
const MAX_OWN: usize = 16_384;

/// An own record, kept alive.
#[derive(Debug)]
struct Own {
    value: Bytes,
    lifetime: Duration,
    /// When it is stored anew.
    timer: Handle,
}

/// A record being stored or fetched.
#[derive(Debug)]
struct Operation {
    ticket: Option<Ticket>,
    key: Key,
    /// `Some` while storing.
    record: Option<Record>,
    open: usize,
    good: usize,
    records: Vec<Record>,
}

/// What one overlay keeps of records.
#[derive(Debug, Default)]
pub(super) struct Records {
    kept: BTreeMap<Key, Vec<Record>>,
    count: usize,
    own: BTreeMap<Key, Own>,
    operations: BTreeMap<u32, Operation>,
    expiring: bool,
}

impl Records {
    pub(super) fn knows(&self, operation: u32) -> bool {
        self.operations.contains_key(&operation)
    }

    /// The operations under way, each with how many replicas have not answered.
    pub(super) fn open(&self) -> impl Iterator<Item = (u32, usize)> {
        self.operations.iter().map(|(id, operation)| (*id, operation.open))
    }

    /// Checks the count.
    pub(super) fn audit(&self) -> Result<(), String> {
        let kept = self.kept.values().map(Vec::len).sum::<usize>();
        if kept == self.count { Ok(()) } else { Err(format!("{} records are counted, {kept} are kept", self.count)) }
    }

    pub(super) fn bytes(&self) -> usize {
        let values: usize = self.kept.values().flatten().map(|r| size_of::<Record>() + r.value.len()).sum();
        values + self.own.len() * 96 + self.operations.len() * size_of::<Operation>()
    }
}

impl<T: Topology> Desk<'_, T> {
    /// Publishes a record, and keeps it alive from now on.
    pub(super) fn put(&mut self, ticket: Ticket, key: Key, value: Bytes, lifetime: Duration) {
        let failure = if !self.state.powers.routes {
            Some(Failure::NotSupported)
        } else if value.len() > MAX_VALUE_BYTES || lifetime > Duration::from_secs(MAX_LIFETIME_SECS) {
            Some(Failure::TooLarge)
        } else if self.state.records.own.len() >= MAX_OWN && !self.state.records.own.contains_key(&key) {
            Some(Failure::TooMany)
        } else {
            None
        };
        if let Some(failure) = failure {
            return self.done(ticket, Outcome::Failed(failure));
        }
        let lifetime = lifetime.max(MIN_LIFETIME);
        let timer = self.state.timers.push(self.now + lifetime / REPUBLISH_SHARE, OverlayTimer::Republish(key));
        self.withdraw(&key);
        self.state.records.own.insert(key, Own { value, lifetime, timer });
        self.store_own(key, Some(ticket));
    }

    pub(super) fn withdraw(&mut self, key: &Key) {
        if let Some(own) = self.state.records.own.remove(key) {
            self.state.timers.remove(own.timer);
        }
    }

    /// Signs an own record anew and stores it.
    pub(super) fn republish(&mut self, key: Key) {
        let Some(own) = self.state.records.own.get_mut(&key) else { return };
        own.timer = self.state.timers.push(self.now + own.lifetime / REPUBLISH_SHARE, OverlayTimer::Republish(key));
        self.store_own(key, None);
    }

    fn store_own(&mut self, key: Key, ticket: Option<Ticket>) {
        let Some(own) = self.state.records.own.get(&key) else { return };
        let expires = self.now + own.lifetime;
        let record = Record::sign(&*self.node.signer, key, own.value.clone(), self.now.0, expires);
        self.operate(Operation { ticket, key, record: Some(record), open: 0, good: 0, records: Vec::new() });
    }

    /// Fetches the records under a key.
    pub(super) fn get(&mut self, ticket: Ticket, key: Key) {
        if !self.state.powers.routes {
            return self.done(ticket, Outcome::Failed(Failure::NotSupported));
        }
        self.operate(Operation { ticket: Some(ticket), key, record: None, open: 0, good: 0, records: Vec::new() });
    }

    fn operate(&mut self, operation: Operation) {
        if self.state.records.operations.len() >= self.state.settings.pending {
            if let Some(ticket) = operation.ticket {
                self.done(ticket, Outcome::Failed(Failure::TooMany));
            }
            return;
        }
        let slot = self.slot();
        let to = Target::Key(operation.key);
        let n = self.state.settings.replicas;
        let id = self.state.next_id();
        self.state.records.operations.insert(id, operation);
        let asker = Asker::Record { operation: id };
        self.ws.todo.push_back(Todo::Lookup { slot, asker, lane: Lane::TOP, to, n, via: None });
    }

    /// The replica set of an operation's key is known.
    pub(super) fn record_found(&mut self, id: u32, peers: &[Guid]) {
        let me = self.node.me;
        let replicas = self.state.settings.replicas;
        let Some(operation) = self.state.records.operations.get_mut(&id) else { return };
        operation.open = peers.len().min(replicas);
        let (key, record) = (operation.key, operation.record.clone());
        if peers.is_empty() {
            return self.record_done(id, Some(Failure::Unreachable));
        }
        for &peer in peers.iter().take(replicas) {
            match &record {
                Some(record) if peer == me => {
                    let kept = self.keep(record.clone());
                    self.record_step(id, Vec::new(), kept);
                }
                None if peer == me => {
                    let records = self.kept(&key);
                    self.record_step(id, records, true);
                }
                Some(record) => {
                    let record = Box::new(record.clone());
                    let body = |question| Body::Store { id: question, record };
                    self.ask(peer, Waits::Record { operation: id }, None, Bytes::new(), body);
                }
                None => {
                    let body = |question| Body::Fetch { id: question, key };
                    self.ask(peer, Waits::Record { operation: id }, None, Bytes::new(), body);
                }
            }
        }
    }

    /// One replica answered, or will not.
    pub(super) fn record_step(&mut self, id: u32, records: Vec<Record>, good: bool) {
        let Some(operation) = self.state.records.operations.get_mut(&id) else { return };
        operation.open = operation.open.saturating_sub(1);
        operation.good += usize::from(good);
        // Each costs a signature check: a replica holds no more than this under one key.
        for record in records.into_iter().take(self.state.settings.records_per_key) {
            let valid = record.key == operation.key && record.verify(&*self.node.verifier, self.now).is_ok();
            let known = operation.records.iter().position(|r| r.publisher == record.publisher);
            match known {
                _ if !valid => {}
                Some(at) if operation.records[at].sequence < record.sequence => operation.records[at] = record,
                Some(_) => {}
                None if operation.records.len() < 4 * self.state.settings.records_per_key => {
                    operation.records.push(record);
                }
                None => {}
            }
        }
        let enough = operation.record.is_none() && !operation.records.is_empty() && operation.good >= READ_QUORUM;
        if operation.open == 0 || enough {
            self.record_done(id, None);
        }
    }

    fn record_done(&mut self, id: u32, failure: Option<Failure>) {
        let Some(operation) = self.state.records.operations.remove(&id) else { return };
        let Some(ticket) = operation.ticket else { return };
        let outcome = match (failure, operation.record) {
            (Some(failure), _) => Outcome::Failed(failure),
            (None, _) if operation.good == 0 => Outcome::Failed(Failure::Timeout),
            (None, Some(_)) => Outcome::Stored { replicas: operation.good },
            (None, None) => Outcome::Records(operation.records),
        };
        self.done(ticket, outcome);
    }

    /// A peer asks this node to keep a record.
    pub(super) fn store(&mut self, peer: Guid, id: u32, record: Record) {
        let kept =
            !self.state.is_client() && record.verify(&*self.node.verifier, self.now).is_ok() && self.keep(record);
        self.send_or_drop(peer, Body::Stored { id, kept }, Bytes::new());
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
        let now = self.now.as_secs();
        let kept = self.state.records.kept.get(key);
        kept.map(|all| all.iter().filter(|r| r.expires > now).cloned().collect()).unwrap_or_default()
    }

    /// Keeps a checked record if it is newer and there is room.
    fn keep(&mut self, record: Record) -> bool {
        let settings = &self.state.settings;
        let records = &mut self.state.records;
        let full = records.count >= settings.records;
        let kept = match records.kept.get_mut(&record.key) {
            None if full => false,
            None => {
                records.kept.insert(record.key, vec![record]);
                records.count += 1;
                true
            }
            Some(all) => match all.iter().position(|r| r.publisher == record.publisher) {
                Some(at) if all[at].sequence > record.sequence => false,
                Some(at) => {
                    all[at] = record;
                    true
                }
                None if full || all.len() >= settings.records_per_key => false,
                None => {
                    all.push(record);
                    records.count += 1;
                    true
                }
            },
        };
        if !records.expiring && records.count > 0 {
            records.expiring = true;
            self.state.timers.push(self.now + EXPIRE_EVERY, OverlayTimer::Expire);
        }
        self.state.metrics.records = self.state.records.count as u64;
        kept
    }

    /// Drops what has expired.
    pub(super) fn expire(&mut self) {
        let now = self.now.as_secs();
        let records = &mut self.state.records;
        records.kept.retain(|_, all| {
            all.retain(|record| record.expires > now);
            !all.is_empty()
        });
        records.count = records.kept.values().map(Vec::len).sum();
        records.expiring = records.count > 0;
        if records.expiring {
            self.state.timers.push(self.now + EXPIRE_EVERY, OverlayTimer::Expire);
        }
        self.state.metrics.records = self.state.records.count as u64;
    }

    /// The overlay is detached: whoever waits is told.
    pub(super) fn end_everything(&mut self, why: Failure) {
        let operations: Vec<u32> = self.state.records.operations.keys().copied().collect();
        operations.into_iter().for_each(|id| self.record_done(id, Some(why)));
        self.state.questions.all().into_iter().for_each(|id| self.unanswered(id, why));
        let lookups: Vec<u32> = self.state.lookups.keys().copied().collect();
        lookups.into_iter().for_each(|id| self.abandon_lookup(id, why));
    }
}

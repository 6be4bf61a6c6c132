//! What peers tell each other of what they keep: the owner its replicas, and whoever holds a stray its owner.

use bytes::Bytes;

use super::hand_over::{KEYS, Offer};
use crate::engine::calls::Waits;
use crate::engine::desk::Desk;
use crate::record::{Receipt, Record};
use crate::topology::Topology;
use crate::wire::frame::{Body, Calling, Holding};
use crate::{Guid, Key, Time};

/// How many bytes of records follow one answer; what is left over waits for the next walk.
const HAND_BYTES: usize = 256 << 10;
/// How many bytes of records a node that leaves gives away: what a peer's queue takes beside other things.
const PARTING_BYTES: usize = 1 << 20;

impl<T: Topology> Desk<'_, T> {
    /// A peer says what it holds.
    pub(in crate::engine) fn holds(
        &mut self,
        topology: &T,
        peer: Guid,
        id: u32,
        calling: Calling,
        kept: &[(Key, u64)],
    ) {
        let mut back = Vec::new();
        let mut answers = Vec::new();
        for &(key, mark) in kept.iter().take(KEYS) {
            let answer = match calling {
                _ if self.state.is_client() => Holding::Elsewhere,
                Calling::Keep => self.told_to_keep(peer, key, mark),
                Calling::Lead => self.asked_to_lead(topology, peer, key, mark),
            };
            if answer == Holding::Differs {
                back.push(key);
            }
            answers.push(answer);
        }
        self.send_or_drop(peer, Body::Holding { id, answers }, Bytes::new());
        // What this node holds besides goes back, so that both have all of it.
        let mut room = HAND_BYTES;
        for key in back {
            for record in self.kept_within(&key, &mut room) {
                let body = Body::Store { id: 0, record: Box::new(record) };
                self.send_or_drop(peer, body, Bytes::new());
            }
        }
    }

    /// The owner says what a replica should hold.
    fn told_to_keep(&mut self, owner: Guid, key: Key, mark: u64) -> Holding {
        let now = self.now;
        let Some(records) = &mut self.state.records else { return Holding::Differs };
        if records.kept.mark(&key, now) != Some(mark) {
            return Holding::Differs;
        }
        if let Some(shelf) = records.kept.shelf(&key) {
            shelf.follow(owner, now);
        }
        Holding::Same
    }

    /// Somebody holds what this node may own.
    fn asked_to_lead(&mut self, topology: &T, peer: Guid, key: Key, mark: u64) -> Holding {
        let now = self.now;
        let others = self.state.settings.replicas.saturating_sub(1);
        let Some((true, set)) = self.replica_set(topology, key, others) else { return Holding::Elsewhere };
        let Some(records) = &mut self.state.records else { return Holding::Differs };
        if records.kept.mark(&key, now) != Some(mark) {
            return Holding::Differs;
        }
        let Some(shelf) = records.kept.shelf(&key) else { return Holding::Differs };
        let everywhere = shelf.led && set.iter().all(|replica| shelf.told.contains(replica));
        if everywhere && !set.contains(&peer) { Holding::Released } else { Holding::Same }
    }

    /// A peer says how it stands with what it was told of.
    pub(in crate::engine) fn holding(&mut self, peer: Guid, offer: u32, answers: &[Holding]) {
        let now = self.now;
        let Some(records) = &mut self.state.records else { return };
        let Some(Offer { calling, keys }) = records.hand_over.offers.remove(&offer) else { return };
        let mut room = HAND_BYTES;
        for (key, &answer) in keys.into_iter().zip(answers) {
            let Some(records) = &mut self.state.records else { return };
            let Some(shelf) = records.kept.shelf(&key) else { continue };
            match (calling, answer) {
                (Calling::Keep, Holding::Same) => shelf.tell(peer),
                (Calling::Keep, Holding::Differs) => self.hand(peer, key, &mut room),
                (Calling::Lead, Holding::Same) => shelf.follow(peer, now),
                (Calling::Lead, Holding::Differs) => {
                    // Until it is confirmed nobody has seen to it.
                    (shelf.led, shelf.settled) = (false, Time::ZERO);
                    self.hand(peer, key, &mut room);
                }
                (Calling::Lead, Holding::Released) => {
                    records.kept.drop_shelf(&key);
                    self.state.metrics.records = records.kept.count() as u64;
                }
                (Calling::Keep, _) | (_, Holding::Elsewhere) => continue,
            }
            self.no_stray(&key);
        }
        if calling == Calling::Lead {
            self.sought();
        }
        self.tidy_records();
    }

    /// Sends what is kept under a key to a peer that holds something else.
    fn hand(&mut self, peer: Guid, key: Key, room: &mut usize) {
        let records = self.kept_within(&key, room);
        if records.is_empty() {
            return self.unsettled();
        }
        self.state.metrics.handed_over += records.len() as u64;
        for record in records {
            let body = |id| Body::Store { id, record: Box::new(record) };
            self.ask(peer, Waits::Handed { key }, None, Bytes::new(), body);
        }
    }

    /// A peer took a record that was handed over, or will not.
    pub(in crate::engine) fn handed(&mut self, peer: Guid, key: Key, receipt: Option<Receipt>) {
        let now = self.now;
        let Some(shelf) = self.state.records.as_mut().and_then(|records| records.kept.shelf(&key)) else { return };
        match receipt {
            // One that has no room, or knows better, was asked all the same.
            Some(_) if shelf.led => shelf.tell(peer),
            Some(_) => shelf.follow(peer, now),
            None => {
                shelf.told.retain(|told| *told != peer);
                self.unsettled();
            }
        }
    }

    /// All that is kept under a key, if there is room for it.
    fn kept_within(&self, key: &Key, room: &mut usize) -> Vec<Record> {
        let records = self.kept(key);
        let bytes: usize = records.iter().map(Record::wire_len).sum();
        if bytes > *room {
            return Vec::new();
        }
        *room -= bytes;
        records
    }

    /// This node leaves: what it owns goes to those of the replica set without it that may not have it.
    pub(in crate::engine) fn part_with_records(&mut self, topology: &T) {
        let keys =
            self.state.records.as_ref().map(|records| records.kept.keys(core::ops::Bound::Unbounded, usize::MAX));
        let mut room = PARTING_BYTES;
        for key in keys.unwrap_or_default() {
            let replicas = self.state.settings.replicas;
            let Some((true, set)) = self.replica_set(topology, key, replicas) else { continue };
            let told = self.state.records.as_mut().and_then(|records| Some(records.kept.shelf(&key)?.told.clone()));
            let told = told.unwrap_or_default();
            for peer in set.into_iter().filter(|peer| !told.contains(peer)) {
                for record in self.kept_within(&key, &mut room) {
                    self.state.metrics.handed_over += 1;
                    let body = Body::Store { id: 0, record: Box::new(record) };
                    self.send_or_drop(peer, body, Bytes::new());
                }
            }
        }
    }
}

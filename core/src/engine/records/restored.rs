//! What outlives a restart: the records of a [`Snapshot`](crate::snapshot::Snapshot), taken out and put in again.

use core::time::Duration;

use super::Records;
use super::own::{MAX_OWN, MIN_LIFETIME, Own};
use crate::engine::desk::Desk;
use crate::engine::state::OverlayTimer;
use crate::record::{self, MAX_LIFETIME_SECS, MAX_VALUE_BYTES};
use crate::snapshot::{KeptRecord, MAX_SNAPSHOT_CONTACTS, OwnRecord};
use crate::topology::Topology;
use crate::{Contact, Guid, Time};

/// Own records are stored anew one after the other, beginning soon: their copies may have expired meanwhile.
const REPUBLISH_SOON: Duration = Duration::from_secs(1);
/// How long after one of them the next is: each is a lookup and as many messages as there are replicas.
const REPUBLISH_EVERY: Duration = Duration::from_millis(100);

impl Records {
    /// What is kept for others, in the order of keys.
    pub(in crate::engine) fn all_kept(&self, now: Time) -> impl Iterator<Item = KeptRecord> {
        self.kept.all(now)
    }

    pub(in crate::engine) fn all_own(&self) -> impl Iterator<Item = OwnRecord> {
        self.own.iter().map(|(key, own)| own.remembered(*key))
    }
}

impl<T: Topology> Desk<'_, T> {
    /// Keeps what a snapshot says was kept, if it is in order still and nothing newer came meanwhile; goes on
    /// publishing what was published; and knows again how peers can be reached, which is proven when they are dialed. The
    /// topology is told of them when it has its place.
    pub(in crate::engine) fn restore(&mut self, contacts: Vec<Contact>, kept: Vec<KeptRecord>, own: Vec<OwnRecord>) {
        let known: Vec<Guid> = contacts.iter().map(Contact::guid).take(MAX_SNAPSHOT_CONTACTS).collect();
        if !known.is_empty() && !self.state.is_client() {
            self.state.known = known.into();
        }
        for contact in contacts {
            let _ = self.ws.book.learn(contact, self.now);
        }
        for KeptRecord { from, record, stays } in kept {
            let (key, publisher) = (record.key, record.publisher);
            let stays = stays.min(record::latest_expiry(self.now));
            // One that only keeps older ones away is checked as of its last second.
            let past = stays > self.now.as_secs() && record.expires <= self.now.as_secs();
            let as_of = if past { Time::from_secs(record.expires.saturating_sub(1)) } else { self.now };
            if self.state.is_client() || self.check_record(&record, as_of).is_err() {
                continue;
            }
            let known = self.kept(&key).len();
            self.keep(from, record);
            self.records().kept.stay(&key, &publisher, stays);
            // Nobody has seen to it lately: it is offered to whoever owns it by now.
            if let Some(shelf) = self.state.records.as_mut().and_then(|records| records.kept.shelf(&key))
                && known == 0
            {
                shelf.settled = Time::ZERO;
            }
        }
        own.into_iter().for_each(|own| self.restore_own(own));
        self.tidy_records();
    }

    fn restore_own(&mut self, own: OwnRecord) {
        let OwnRecord { key, value, lifetime, sequence, last, expires } = own;
        let in_bounds = value.len() <= MAX_VALUE_BYTES && lifetime <= Duration::from_secs(MAX_LIFETIME_SECS);
        let routes = self.state.powers.routes;
        let latest = self.now + Duration::from_secs(MAX_LIFETIME_SECS);
        let known = &self.records().own;
        // What was put since the start is newer.
        if !in_bounds || !routes || known.len() >= MAX_OWN || known.contains_key(&key) {
            return;
        }
        let turn = u32::try_from(known.len()).unwrap_or(u32::MAX);
        let at = self.now + REPUBLISH_SOON + REPUBLISH_EVERY.saturating_mul(turn);
        let timer = self.state.timers.push(at, OverlayTimer::Republish(Box::new(key)));
        let lifetime = lifetime.max(MIN_LIFETIME);
        let own = Own { value, lifetime, sequence, last, expires: expires.min(latest), timer };
        self.records().own.insert(key, own);
    }
}

impl Own {
    fn remembered(&self, key: crate::Key) -> OwnRecord {
        let &Self { ref value, lifetime, sequence, last, expires, .. } = self;
        OwnRecord { key, value: value.clone(), lifetime, sequence, last, expires }
    }
}

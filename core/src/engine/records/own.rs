//! What this node publishes, signed and stored anew as long as it is not withdrawn.

use core::time::Duration;

use bytes::Bytes;

use super::operation::{Operation, Wish};
use crate::engine::desk::Desk;
use crate::engine::io::{Failure, Outcome};
use crate::engine::state::OverlayTimer;
use crate::engine::timers::Handle;
use crate::record::{MAX_LIFETIME_SECS, MAX_VALUE_BYTES, PutOptions, Quorum, Record};
use crate::topology::Topology;
use crate::topology::event::Ticket;
use crate::{Key, Time};

/// A record is signed and stored anew after this share of its lifetime, so that two rounds may fail.
const REPUBLISH_SHARE: u32 = 3;
/// A shorter life is lengthened to this: a record is stored anew every second then.
pub(super) const MIN_LIFETIME: Duration = Duration::from_secs(3);
/// One that no replica took is stored anew after this time, if its turn is not before.
const RETRY: Duration = Duration::from_secs(60);
/// How many own records a node keeps alive in one overlay.
pub(super) const MAX_OWN: usize = 16_384;

/// An own record, kept alive.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) value: Bytes,
    pub(super) lifetime: Duration,
    pub(super) sequence: Option<u64>,
    /// What it was signed with last: the next is higher, whatever the clock does.
    pub(super) last: u64,
    /// Until when the last copy lives: no later one lives shorter, else this one would be shown again after it.
    pub(super) expires: Time,
    /// When it is stored anew.
    pub(super) timer: Handle,
}

impl<T: Topology> Desk<'_, T> {
    /// Publishes a record, and keeps it alive from now on.
    pub(in crate::engine) fn put(&mut self, ticket: Ticket, key: Key, value: Bytes, options: &PutOptions) {
        let own = self.state.records.as_ref().map(|records| &records.own);
        let full = own.is_some_and(|own| own.len() >= MAX_OWN && !own.contains_key(&key));
        let failure = if !self.state.powers.routes {
            Some(Failure::NotSupported)
        } else if value.len() > MAX_VALUE_BYTES || options.lifetime > Duration::from_secs(MAX_LIFETIME_SECS) {
            Some(Failure::TooLarge)
        } else if full {
            Some(Failure::TooMany)
        } else {
            None
        };
        if let Some(failure) = failure {
            return self.done(ticket, Outcome::Failed(failure));
        }
        let (lifetime, sequence) = (options.lifetime.max(MIN_LIFETIME), options.sequence);
        let timer =
            self.state.timers.push(self.now + lifetime / REPUBLISH_SHARE, OverlayTimer::Republish(Box::new(key)));
        let own = Own { value, lifetime, sequence, last: 0, expires: Time::ZERO, timer };
        if let Some(old) = self.records().own.insert(key, own) {
            self.state.timers.remove(old.timer);
            self.records().own.entry(key).and_modify(|own| (own.last, own.expires) = (old.last, old.expires));
        }
        self.store_own(key, Some(ticket), options.quorum);
    }

    pub(in crate::engine) fn withdraw(&mut self, key: &Key) {
        let own = self.state.records.as_mut().and_then(|records| records.own.remove(key));
        if let Some(own) = own {
            self.state.timers.remove(own.timer);
            self.tidy_records();
        }
    }

    /// Signs an own record anew and stores it.
    pub(in crate::engine) fn republish(&mut self, key: Key) {
        let own = self.state.records.as_mut().and_then(|records| records.own.get_mut(&key));
        if let Some(own) = own {
            let at = self.now + own.lifetime / REPUBLISH_SHARE;
            own.timer = self.state.timers.push(at, OverlayTimer::Republish(Box::new(key)));
            self.store_own(key, None, Quorum::Of(1));
        }
    }

    /// No replica took an own record: perhaps this node has not joined yet, or is cut off.
    pub(super) fn try_own_again(&mut self, key: Key) {
        let own = self.state.records.as_mut().and_then(|records| records.own.get_mut(&key));
        let at = self.now + RETRY;
        if let Some(own) = own.filter(|own| own.timer.0 > at) {
            self.state.timers.remove(own.timer);
            own.timer = self.state.timers.push(at, OverlayTimer::Republish(Box::new(key)));
        }
    }

    fn store_own(&mut self, key: Key, ticket: Option<Ticket>, quorum: Quorum) {
        let own = self.state.records.as_mut().and_then(|records| records.own.get_mut(&key));
        let Some(own) = own else { return };
        own.last = own.sequence.unwrap_or_else(|| self.now.0.max(own.last.saturating_add(1)));
        own.expires = own.expires.max(self.now + own.lifetime);
        let record = Record::sign(&*self.node.signer, key, own.value.clone(), own.last, own.expires);
        self.operate(Operation::new(ticket, key, quorum, Wish::Store(Box::new(record))));
    }
}

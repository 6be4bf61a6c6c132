//! Records follow the keys when ranges move.
//!
//! **The owner of a key answers for its replicas, and whoever keeps something answers to the owner.** Both are found
//! out with [`route`](Topology::route) alone: an owner is told the rest of the replica set by it, everybody else looks
//! the owner up. So it works on every key-routed topology.
//!
//! Now and then, and soon after neighbors or ranges changed, a node *walks* through what it keeps, some keys at a time.
//! Of a key it owns it tells those replicas which are not known to have it what it holds, as a number for each key;
//! records are sent to those that answer that theirs differs. A key it owned before, or of which it has heard from no
//! owner for a while, is a *stray*: it is looked up, and offered to the owner. What the owner and all replicas hold
//! without this node is dropped here.
//!
//! At rest that costs an owner one small frame for each replica and period, and the others nothing (the optimisation of
//! Kademlia §2.5): a replica that hears from the owner asks nobody.

use core::ops::Bound;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand_core::Rng as _;

use crate::engine::calls::Waits;
use crate::engine::desk::Desk;
use crate::engine::lookup::Asker;
use crate::engine::state::OverlayTimer;
use crate::engine::turn::Todo;
use crate::topology::Topology;
use crate::topology::event::Change;
use crate::topology::question::{Lane, Query, Target, Verdict};
use crate::wire::frame::{Body, Calling};
use crate::{Guid, Key, Time};

/// How long after a change a walk begins: changes come in groups.
const SETTLE_AFTER: Duration = Duration::from_secs(5);
/// How long a node rests between two walks.
const REST: Duration = Duration::from_secs(30);
/// How often an owner tells all its replicas what it holds, more or less by a quarter.
const PERIOD: Duration = Duration::from_secs(600);
/// How long a replica waits to hear from the owner before it looks itself.
const STRAYED: Duration = PERIOD.saturating_mul(2);
/// How long it waits to hear of a record for the first time: an owner walks sooner after it was stored there.
const UNHEARD: Duration = Duration::from_secs(120);
/// How many keys one step of a walk looks at, and one frame names: 10 KiB.
pub(super) const KEYS: usize = 256;
/// How long after one step the next one comes: so at most 256 records a second go to each replica.
const STEP: Duration = Duration::from_secs(1);
/// How many strays are remembered; those left over are found on the next walk.
const MAX_STRAYS: usize = 4096;
/// How many replicas are remembered as silent, so that others take their place.
const MAX_ABSENT: usize = 16;

/// Keys that a peer was told of.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) calling: Calling,
    pub(super) keys: Vec<Key>,
}

/// Where handing over stands.
#[derive(Debug, Default)]
pub(super) struct HandOver {
    /// Whether the timer of the next walk is set.
    waiting: bool,
    /// Whether a walk is under way, the last key it has looked at, and whether something changed meanwhile.
    walking: bool,
    at: Option<Key>,
    again: bool,
    /// When the last walk ended, and when the next one is due that tells all replicas.
    rested: Time,
    period: Time,
    /// Whether this is such a walk.
    all: bool,
    pub(super) offers: BTreeMap<u32, Offer>,
    strays: BTreeSet<Key>,
    /// The stray whose owner is being looked up or asked.
    pub(super) seeking: Option<Key>,
    /// Who did not answer.
    absent: Vec<Guid>,
}

impl<T: Topology> Desk<'_, T> {
    /// The topology changed something: who keeps what may be other than it was.
    pub(in crate::engine) fn moved(&mut self, change: Change) {
        if let (Change::NeighborDown(peer), Some(records)) = (change, &mut self.state.records) {
            records.kept.owner_gone(&peer);
        }
        self.unsettled();
    }

    /// There is something to see to.
    pub(super) fn unsettled(&mut self) {
        let Some(records) = &mut self.state.records else { return };
        let hand_over = &mut records.hand_over;
        hand_over.again |= hand_over.walking;
        if !hand_over.walking && !hand_over.waiting && records.kept.count() > 0 {
            hand_over.waiting = true;
            let at = (self.now + SETTLE_AFTER).max(hand_over.rested + REST);
            self.state.timers.push(at, OverlayTimer::Settle);
        }
    }

    /// Whether it is time to tell all replicas again.
    pub(super) fn settle_in_time(&mut self) {
        let Some(records) = &mut self.state.records else { return };
        if records.kept.count() > 0 && self.now >= records.hand_over.period {
            let first = records.hand_over.period == Time::ZERO;
            let draw = self.state.rng.next_u64() % (PERIOD.as_millis() as u64 / 2);
            records.hand_over.period = self.now + PERIOD * 3 / 4 + Duration::from_millis(draw);
            if !first {
                records.hand_over.all = true;
                records.hand_over.absent.clear();
                self.unsettled();
            }
        }
    }

    /// One step of a walk.
    pub(in crate::engine) fn settle(&mut self, topology: &mut T) {
        let Some(records) = &mut self.state.records else { return };
        (records.hand_over.waiting, records.hand_over.walking) = (false, true);
        let from = records.hand_over.at.map_or(Bound::Unbounded, Bound::Excluded);
        let keys = records.kept.keys(from, KEYS);
        let mut telling: BTreeMap<Guid, Vec<Key>> = BTreeMap::new();
        for &key in &keys {
            self.settle_key(topology, key, &mut telling);
        }
        for (peer, keys) in telling {
            self.offer(peer, Calling::Keep, keys);
        }
        let Some(records) = &mut self.state.records else { return };
        let hand_over = &mut records.hand_over;
        if keys.len() == KEYS {
            hand_over.at = keys.last().copied();
            self.state.timers.push(self.now + STEP, OverlayTimer::Settle);
        } else {
            (hand_over.walking, hand_over.at, hand_over.all, hand_over.rested) = (false, None, false, self.now);
            if core::mem::take(&mut hand_over.again) {
                self.unsettled();
            }
        }
        self.seek();
    }

    /// Whom this node must tell of a key, if it owns it; or whether it must look for whoever does.
    fn settle_key(&mut self, topology: &T, key: Key, telling: &mut BTreeMap<Guid, Vec<Key>>) {
        let others = self.state.settings.replicas.saturating_sub(1);
        let Some((owned, set)) = self.replica_set(topology, key, others) else { return };
        let now = self.now;
        let Some(records) = &mut self.state.records else { return };
        let hand_over = &mut records.hand_over;
        let Some(shelf) = records.kept.shelf(&key) else { return };
        if owned {
            (shelf.led, shelf.settled) = (true, now);
            shelf.told.retain(|peer| !hand_over.all && set.contains(peer));
            for peer in set.into_iter().filter(|peer| !shelf.told.contains(peer)) {
                telling.entry(peer).or_default().push(key);
            }
        } else {
            // What no owner has spoken of yet is looked at again soon.
            let unheard = shelf.told.is_empty();
            let patience = if unheard { UNHEARD } else { STRAYED };
            hand_over.again |= unheard;
            if (shelf.led || now.since(shelf.settled) > patience) && hand_over.strays.len() < MAX_STRAYS {
                hand_over.strays.insert(key);
            }
        }
    }

    /// Whether this node owns a key, and so many others of the replica set if so; `None` before it joined.
    pub(super) fn replica_set(&mut self, topology: &T, key: Key, others: usize) -> Option<(bool, Vec<Guid>)> {
        let absent = self.state.records.as_mut().map(|records| core::mem::take(&mut records.hand_over.absent));
        let absent = absent.unwrap_or_default();
        let to = Target::Key(key);
        let draw = self.state.draw();
        let query = Query { to: &to, n: others + 1, without: &absent, state: &[], from: None, draw, lane: Lane::TOP };
        let route = self.ask_route(topology, &query);
        let verdict = route.verdict;
        let set = route.peers.iter().copied().take(others).collect();
        self.keep_route(route);
        if let Some(records) = &mut self.state.records {
            records.hand_over.absent = absent;
        }
        match verdict {
            Verdict::Deliver { rank: 0 } => Some((true, set)),
            Verdict::Deliver { .. } | Verdict::Forward => Some((false, Vec::new())),
            Verdict::Unreachable => None,
        }
    }

    /// Tells a peer what is kept here under some keys.
    fn offer(&mut self, peer: Guid, calling: Calling, keys: Vec<Key>) {
        let now = self.now;
        let offer = self.state.next_id();
        let Some(records) = &mut self.state.records else { return };
        let kept: Vec<(Key, u64)> =
            keys.into_iter().filter_map(|key| Some((key, records.kept.mark(&key, now)?))).collect();
        let keys = kept.iter().map(|(key, _)| *key).collect();
        records.hand_over.offers.insert(offer, Offer { calling, keys });
        let body = |id| Body::Holds { id, calling, kept };
        self.ask(peer, Waits::Offer { offer }, None, Bytes::new(), body);
    }

    /// Looks for the owner of the next stray, one at a time.
    pub(super) fn seek(&mut self) {
        let (slot, n) = (self.slot(), 1);
        let Some(records) = &mut self.state.records else { return };
        let hand_over = &mut records.hand_over;
        if hand_over.seeking.is_some() {
            return;
        }
        if let Some(&key) = hand_over.strays.first() {
            hand_over.seeking = Some(key);
            let asker = Asker::Stray { key };
            let to = Target::Key(key);
            self.ws.todo.push_back(Todo::Lookup { slot, asker, lane: Lane::TOP, to, n, via: None });
        }
    }

    /// The owner of a stray is known, or not: it is offered that one, and all others it may own too.
    pub(in crate::engine) fn stray_found(&mut self, key: Key, owner: Option<Guid>) {
        let me = self.node.me;
        let Some(records) = &mut self.state.records else { return };
        let strays = &mut records.hand_over.strays;
        strays.remove(&key);
        match owner.filter(|owner| *owner != me) {
            Some(owner) => {
                // Those near the key first: they are likeliest to have the same owner.
                let after = strays.range(key..).chain(strays.range(..key));
                let keys = core::iter::once(key).chain(after.copied()).take(KEYS).collect();
                self.offer(owner, Calling::Lead, keys);
            }
            None => self.sought(),
        }
    }

    /// What was to be found out of a stray is.
    pub(super) fn sought(&mut self) {
        if let Some(records) = &mut self.state.records {
            records.hand_over.seeking = None;
        }
        self.seek();
    }

    pub(super) fn no_stray(&mut self, key: &Key) {
        if let Some(records) = &mut self.state.records {
            records.hand_over.strays.remove(key);
        }
    }

    /// A peer that was told something does not answer: others take its place until the next round.
    pub(in crate::engine) fn offer_failed(&mut self, offer: u32, peer: Option<Guid>) {
        let Some(records) = &mut self.state.records else { return };
        let hand_over = &mut records.hand_over;
        let Some(Offer { calling, .. }) = hand_over.offers.remove(&offer) else { return };
        if let Some(peer) = peer.filter(|peer| !hand_over.absent.contains(peer))
            && hand_over.absent.len() < MAX_ABSENT
        {
            hand_over.absent.push(peer);
        }
        if calling == Calling::Lead {
            self.sought();
        }
        self.unsettled();
    }
}

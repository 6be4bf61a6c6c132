//! Broadcasts: names, what was seen, what is kept for those who ask again, and delivery to subscribers. Whom a
//! copy goes to is the topology's choice.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};

use super::desk::Desk;
use super::hash::Seeded;
use super::io::{Failure, Origin, Outcome, Output};
use super::settings;
use super::turn::Todo;
use crate::identity::{PublicKey, Signature};
use crate::overlay::OverlayId;
use crate::topology::Topology;
use crate::topology::event::Event;
use crate::topology::question::{CopyId, Lane, Spread};
use crate::wire::frame::{Body, Copied};
use crate::wire::{MAX_FRAME_BYTES, frame};
use crate::{Domain, Guid, Key, Time};

/// How many topics one node may subscribe to in one overlay.
const MAX_TOPICS: usize = 4096;

/// A copy kept for peers that ask for it again.
#[derive(Debug)]
struct Kept {
    copied: Copied,
    payload: Bytes,
}

/// What one overlay remembers of broadcasts.
#[derive(Debug)]
pub(super) struct Casts {
    sequence: u64,
    seen: HashSet<CopyId, Seeded>,
    seen_order: VecDeque<CopyId>,
    kept: HashMap<CopyId, Kept, Seeded>,
    kept_order: VecDeque<(Time, CopyId)>,
    kept_bytes: usize,
    topics: BTreeSet<Key>,
}

impl Casts {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            sequence: 0,
            seen: HashSet::with_hasher(Seeded(seed)),
            seen_order: VecDeque::new(),
            kept: HashMap::with_hasher(Seeded(seed)),
            kept_order: VecDeque::new(),
            kept_bytes: 0,
            topics: BTreeSet::new(),
        }
    }

    /// Whether the topic is new here; `false` also when there are too many.
    pub(super) fn subscribe(&mut self, topic: Key) -> bool {
        self.topics.len() < MAX_TOPICS && self.topics.insert(topic)
    }

    pub(super) fn unsubscribe(&mut self, topic: &Key) -> bool {
        self.topics.remove(topic)
    }

    fn hears(&self, topic: Option<&Key>) -> bool {
        topic.is_none_or(|topic| self.topics.contains(topic))
    }

    /// Notes a broadcast as seen; `false` if it was before.
    fn see(&mut self, id: CopyId, limit: usize) -> bool {
        if !self.seen.insert(id) {
            return false;
        }
        self.seen_order.push_back(id);
        while self.seen_order.len() > limit {
            if let Some(oldest) = self.seen_order.pop_front() {
                self.seen.remove(&oldest);
            }
        }
        true
    }

    fn keep(&mut self, copied: &Copied, payload: &Bytes, now: Time, settings: &settings::Overlay) {
        self.kept_bytes += payload.len() + size_of::<Kept>();
        self.kept_order.push_back((now + settings.kept, copied.id));
        self.kept.insert(copied.id, Kept { copied: copied.clone(), payload: payload.clone() });
        while let Some(&(until, id)) = self.kept_order.front() {
            if until > now && self.kept_bytes <= settings.kept_bytes {
                return;
            }
            self.kept_order.pop_front();
            if let Some(old) = self.kept.remove(&id) {
                self.kept_bytes -= old.payload.len() + size_of::<Kept>();
            }
        }
    }

    /// Checks the bounds and the count of bytes.
    pub(super) fn audit(&self, settings: &settings::Overlay) -> Result<(), String> {
        let kept: usize = self.kept.values().map(|kept| kept.payload.len() + size_of::<Kept>()).sum();
        let good = kept == self.kept_bytes
            && kept <= settings.kept_bytes
            && self.seen.len() == self.seen_order.len()
            && self.seen.len() <= settings.seen;
        if good { Ok(()) } else { Err(format!("{kept} bytes of broadcasts are kept, {} counted", self.kept_bytes)) }
    }

    pub(super) fn bytes(&self) -> usize {
        self.seen.capacity() * 17 + self.seen_order.capacity() * 16 + self.kept_bytes + self.topics.len() * 32
    }
}

fn name(origin: &Guid, sequence: u64, payload: &[u8]) -> CopyId {
    let mut hasher = blake3::Hasher::new_derive_key("polymorph 2026-11 broadcast id");
    hasher.update(&origin.0).update(&sequence.to_le_bytes()).update(payload);
    let mut id = CopyId::default();
    id.0.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    id
}

fn signed_bytes(overlay: &OverlayId, topic: Option<&Key>, id: &CopyId) -> Vec<u8> {
    [overlay.0.as_slice(), topic.map_or(&[0; 32], |t| &t.0), &id.0].concat()
}

impl<T: Topology> Desk<'_, T> {
    /// The application publishes.
    pub(super) fn publish(&mut self, topic: Option<Key>, payload: Bytes, origin: Origin) -> Outcome {
        if payload.len() > MAX_FRAME_BYTES / 2 {
            return Outcome::Failed(Failure::TooLarge);
        }
        if !self.state.powers.spreads {
            return Outcome::Failed(Failure::NotSupported);
        }
        self.broadcast(Lane::TOP, topic, payload, origin);
        Outcome::Sent
    }

    pub(super) fn broadcast(&mut self, lane: Lane, topic: Option<Key>, payload: Bytes, origin: Origin) {
        let me = self.node.me;
        // The first sequence number is the moment of the first broadcast: it never repeats after a restart.
        self.state.casts.sequence = self.state.casts.sequence.max(self.now.0) + 1;
        let sequence = self.state.casts.sequence;
        let id = name(&me, sequence, &payload);
        let signed: Option<(PublicKey, Signature)> = (origin == Origin::Signed).then(|| {
            let bytes = signed_bytes(&self.state.id, topic.as_ref(), &id);
            (self.node.signer.public_key(), self.node.signer.sign(Domain::Broadcast, &bytes))
        });
        let copied = Box::new(Copied { id, origin: me, sequence, topic, hops: 0, lane, signed });
        self.state.casts.see(id, self.state.settings.seen);
        self.take(copied, payload, None);
    }

    /// A copy came from a peer.
    pub(super) fn copy(&mut self, copied: Box<Copied>, payload: Bytes, peer: Guid) {
        self.state.metrics.copies += 1;
        let Copied { id, topic, lane, .. } = *copied;
        let hops = copied.hops;
        let first = self.state.casts.see(id, self.state.settings.seen);
        if !first {
            self.state.metrics.duplicates += 1;
            return self.tell(lane, Event::Copy { id, topic, from: Some(peer), first, hops });
        }
        if hops > self.state.settings.hop_limit {
            self.state.metrics.dropped += 1;
            return;
        }
        self.take(copied, payload, Some(peer));
    }

    /// The first copy: kept, told to the topology, passed on, then delivered.
    fn take(&mut self, copied: Box<Copied>, payload: Bytes, from: Option<Guid>) {
        let slot = self.slot();
        let Copied { id, topic, hops, lane, .. } = *copied;
        self.state.casts.keep(&copied, &payload, self.now, &self.state.settings);
        // What a client publishes begins here, as far as the topology can see.
        let client =
            from.is_some_and(|p| self.node.peers.get(&p).and_then(|p| p.overlay(slot)).is_some_and(|o| !o.member));
        let from = from.filter(|_| !client);
        self.tell(lane, Event::Copy { id, topic, from, first: true, hops });
        self.ws.todo.push_back(Todo::Spread { slot, copied, payload, from });
    }

    /// Passes a copy on, then delivers it here.
    pub(super) fn spread(&mut self, topology: &T, copied: Box<Copied>, payload: Bytes, from: Option<Guid>) {
        let Copied { id, topic, origin, hops, lane, .. } = *copied;
        let mut to = Vec::new();
        if self.state.is_client() {
            if from.is_none() && origin == self.node.me {
                to.extend(self.gateways().first());
            }
        } else {
            topology.spread(&Spread { id, topic, origin, from, hops, lane }, &mut to);
        }
        for peer in to {
            if peer != self.node.me {
                self.send_copy(&copied, payload.clone(), peer);
            }
        }
        self.deliver_copy(*copied, payload);
    }

    fn send_copy(&mut self, copied: &Copied, payload: Bytes, to: Guid) {
        let copied = Copied { hops: copied.hops.saturating_add(1), ..copied.clone() };
        self.send_or_drop(to, Body::Copy(Box::new(copied)), payload);
    }

    /// The topology asks that a kept copy go to one more peer.
    pub(super) fn resend(&mut self, id: CopyId, to: Guid) {
        if let Some(Kept { copied, payload }) = self.state.casts.kept.get(&id) {
            let (copied, payload) = (copied.clone(), payload.clone());
            self.send_copy(&copied, payload, to);
        }
    }

    /// Hands a broadcast to the application, once its name and signature prove true.
    fn deliver_copy(&mut self, copied: Copied, payload: Bytes) {
        let Copied { id, origin: from, sequence, topic, hops, signed, .. } = copied;
        let slot = self.slot();
        if from == self.node.me || self.state.is_client() || !self.state.casts.hears(topic.as_ref()) {
            return;
        }
        if name(&from, sequence, &payload) != id {
            self.state.metrics.faults += 1;
            return;
        }
        let origin = match signed {
            None => Origin::Claimed,
            Some((key, signature)) => {
                let bytes = signed_bytes(&self.state.id, topic.as_ref(), &id);
                let good =
                    Guid::of(&key) == from && self.node.verifier.verify(&key, Domain::Broadcast, &bytes, &signature);
                if !good {
                    self.state.metrics.faults += 1;
                    return;
                }
                Origin::Signed
            }
        };
        self.ws.out.push(Output::Published { slot, id, topic, from, origin, hops, payload });
    }
}

const _: () = assert!(MAX_FRAME_BYTES / 2 + frame::FRAME_CHARGE as usize <= MAX_FRAME_BYTES);

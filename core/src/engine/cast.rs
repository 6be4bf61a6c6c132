//! Broadcasts: names, what was seen, what is kept for those who ask again, and delivery to subscribers. Whom a
//! copy goes to is the topology's choice.

mod recent;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::desk::Desk;
use super::hash::Seeded;
use super::io::{Failure, Origin, Outcome, Output};
use super::settings;
use super::turn::Todo;
use crate::overlay::OverlayId;
use crate::topology::Topology;
use crate::topology::event::Event;
use crate::topology::question::{CopyId, Lane, Spread};
use crate::wire::Urgency;
use crate::wire::frame::{Body, Copied};
use crate::wire::{MAX_FRAME_BYTES, class};
use crate::{Domain, Guid, Key};
use recent::{Kept, Recent};

/// How many topics one node may subscribe to in one overlay.
const MAX_TOPICS: usize = 4096;

/// What one overlay remembers of broadcasts.
#[derive(Debug)]
pub(super) struct Casts {
    sequence: u64,
    recent: Recent,
    topics: BTreeSet<Key>,
}

impl Casts {
    pub(super) fn new(seed: u64) -> Self {
        Self { sequence: 0, recent: Recent::new(Seeded(seed)), topics: BTreeSet::new() }
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

    pub(super) fn audit(&self, settings: &settings::Overlay) -> Result<(), String> {
        self.recent.audit(settings)
    }

    pub(super) fn bytes(&self) -> usize {
        self.recent.bytes() + self.topics.len() * size_of::<Key>()
    }
}

/// The name of a broadcast. The topic is part of it, or a copy under another topic would stand in its way.
fn name(origin: &Guid, sequence: u64, topic: Option<&Key>, payload: &[u8]) -> CopyId {
    let mut hasher = blake3::Hasher::new_derive_key("polymorph 2026-11 broadcast id");
    hasher.update(&origin.0).update(&sequence.to_le_bytes());
    hasher.update(&[u8::from(topic.is_some())]).update(topic.map_or(&[0; 32], |t| &t.0)).update(payload);
    let mut id = CopyId::default();
    id.0.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    id
}

fn signed_bytes(overlay: &OverlayId, topic: Option<&Key>, id: &CopyId) -> Vec<u8> {
    [overlay.0.as_slice(), topic.map_or(&[0; 32], |t| &t.0), &id.0].concat()
}

impl<T: Topology> Desk<'_, T> {
    /// The application publishes.
    pub(super) fn publish(&mut self, topic: Option<Key>, payload: Bytes, origin: Origin, urgency: Urgency) -> Outcome {
        if payload.len() > MAX_FRAME_BYTES / 2 {
            return Outcome::Failed(Failure::TooLarge);
        }
        if !self.state.powers.spreads {
            return Outcome::Failed(Failure::NotSupported);
        }
        self.broadcast(Lane::TOP, topic, payload, origin, urgency);
        Outcome::Sent
    }

    pub(super) fn broadcast(
        &mut self,
        lane: Lane,
        topic: Option<Key>,
        payload: Bytes,
        origin: Origin,
        urgency: Urgency,
    ) {
        let me = self.node.me;
        // The first sequence number is the moment of the first broadcast: it never repeats after a restart.
        let casts = self.state.casts();
        casts.sequence = casts.sequence.max(self.now.0) + 1;
        let sequence = casts.sequence;
        let id = name(&me, sequence, topic.as_ref(), &payload);
        let signed = (origin == Origin::Signed).then(|| {
            let bytes = signed_bytes(&self.state.name.id(), topic.as_ref(), &id);
            Arc::new((self.node.signer.public_key(), self.node.signer.sign(Domain::Broadcast, &bytes)))
        });
        let copied = Arc::new(Copied { id, origin: me, sequence, topic, hops: 0, lane, urgency, signed });
        self.take(copied, payload, None, None);
    }

    /// A copy came from a peer. What this node delivers it checks before it passes it on or remembers it as seen, so
    /// that a forged copy cannot stand in the way of the true one.
    pub(super) fn copy(&mut self, copied: Arc<Copied>, payload: Bytes, peer: Guid) {
        self.state.metrics.copies += 1;
        let Copied { id, topic, lane, hops, .. } = *copied;
        if self.state.casts().recent.has(&copied) {
            self.state.metrics.duplicates += 1;
            return self.tell(lane, Event::Copy { id, topic, from: Some(peer), first: false, hops });
        }
        if hops == 0 || hops > self.state.settings.hop_limit || copied.origin == self.node.me {
            self.state.metrics.dropped += 1;
            return;
        }
        let mut proven = None;
        if self.delivers(topic.as_ref()) {
            proven = self.check(&copied, &payload);
            if proven.is_none() {
                // Everybody hears what has no topic and checks it, so that whoever passes it on unchecked forged it.
                return if topic.is_none() {
                    self.blame(peer, "a forged broadcast");
                } else {
                    self.state.metrics.faults += 1;
                };
            }
        }
        self.take(copied, payload, Some(peer), proven);
    }

    fn delivers(&self, topic: Option<&Key>) -> bool {
        !self.state.is_client() && self.state.casts.as_ref().map_or(topic.is_none(), |casts| casts.hears(topic))
    }

    /// Whether a broadcast's name and signature prove true, and what that proves.
    fn check(&self, copied: &Copied, payload: &[u8]) -> Option<Origin> {
        let Copied { id, origin: from, sequence, ref topic, ref signed, .. } = *copied;
        if name(&from, sequence, topic.as_ref(), payload) != id {
            return None;
        }
        let Some((key, signature)) = signed.as_deref() else { return Some(Origin::Claimed) };
        let bytes = signed_bytes(&self.state.name.id(), topic.as_ref(), &id);
        let good = Guid::of(key) == from && self.node.verifier.verify(key, Domain::Broadcast, &bytes, signature);
        good.then_some(Origin::Signed)
    }

    /// The first copy: kept, told to the topology, passed on, then delivered.
    fn take(&mut self, copied: Arc<Copied>, payload: Bytes, from: Option<Guid>, proven: Option<Origin>) {
        let slot = self.slot();
        let Copied { id, topic, hops, lane, .. } = *copied;
        let settings = Arc::clone(&self.state.settings);
        self.state.casts().recent.note(Arc::clone(&copied), payload.clone(), self.now, &settings);
        // What a client publishes begins here, as far as the topology can see.
        let client =
            from.is_some_and(|p| self.node.peers.get(&p).and_then(|p| p.overlay(slot)).is_some_and(|o| !o.member));
        let from = from.filter(|_| !client);
        self.tell(lane, Event::Copy { id, topic, from, first: true, hops });
        self.ws.todo.push_back(Todo::Spread { slot, copied, payload, from, proven });
    }

    /// Passes a copy on, then delivers it here.
    pub(super) fn spread(
        &mut self,
        topology: &T,
        copied: Arc<Copied>,
        payload: Bytes,
        from: Option<Guid>,
        proven: Option<Origin>,
    ) {
        let Copied { id, topic, origin, hops, lane, .. } = *copied;
        let mut to = Vec::new();
        if self.state.is_client() {
            if from.is_none() && origin == self.node.me {
                to.extend(self.gateways().first());
            }
        } else {
            topology.spread(&Spread { id, topic, origin, from, hops, lane }, &mut to);
        }
        to.retain(|peer| *peer != self.node.me);
        if !to.is_empty() {
            let copied = further(&copied);
            for peer in to {
                self.send_or_drop(peer, Body::Copy(Arc::clone(&copied)), payload.clone());
            }
        }
        if let Some(proven) = proven {
            let slot = self.slot();
            let from = origin;
            self.ws.out.push(Output::Published { slot, id, topic, from, origin: proven, hops, payload });
        }
    }

    /// The topology asks that a kept copy go to one more peer.
    pub(super) fn resend(&mut self, id: CopyId, to: Guid) {
        if let Some(Kept { copied, payload, .. }) = self.state.casts.as_ref().and_then(|casts| casts.recent.kept(&id)) {
            let (copied, payload) = (further(copied), payload.clone());
            self.send_or_drop(to, Body::Copy(copied), payload);
        }
    }
}

/// The same copy one link on.
fn further(copied: &Copied) -> Arc<Copied> {
    Arc::new(Copied { hops: copied.hops.saturating_add(1), ..copied.clone() })
}

const _: () = assert!(MAX_FRAME_BYTES / 2 + class::FRAME_CHARGE as usize <= MAX_FRAME_BYTES);

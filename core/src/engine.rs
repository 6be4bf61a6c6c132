//! The sans-IO node: peers, sessions, routing, lookups, broadcasts and records of any number of overlays.
//!
//! **One way in: [`Engine::handle`] takes the time, one input, and a workspace it is lent; everything that follows
//! from the input is done when it returns, and what the driver must do stands in [`Workspace::out`].** The engine
//! owns no clock, no entropy, no socket and no queue of frames; the same input gives the same output, always.
//!
//! The way of an input: `turn` takes it apart · `session` wires, handshakes and who holds which link ·
//! `desk` what a topology asks for, and sending · `routing` and `lookup` · `cast` broadcasts ·
//! `records` · `calls` questions and their time-outs · `held` a simulator's way to stop what comes round by itself ·
//! `log` what went in and came out, to do it again.

mod audit;
pub mod book;
mod calls;
mod cast;
mod desk;
pub(crate) mod hash;
mod held;
pub mod io;
pub mod log;
mod lookup;
pub mod metrics;
mod peers;
mod questions;
mod records;
mod routing;
pub mod rtt;
mod session;
pub mod settings;
mod state;
mod timers;
mod turn;
mod waiting;

use core::fmt;
use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::snapshot::{MAX_SNAPSHOT_CONTACTS, Snapshot};
use crate::topology::Topology;
use crate::topology::question::{Neighbor, Route};
use crate::wire::frame::MAX_PROOFS;
use crate::{Contact, Guid, Signer, Time, Verifier};
pub use book::{Book, Contacts};
pub use io::{Attach, AttachError, Command, Input, Outcome, Output};
use metrics::{Metrics, PeerInfo};
use state::{NodeState, Overlay};
use turn::{Todo, Turn};

/// Which of a node's overlays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Slot(pub u16);

/// What the driver lends the engine for a turn: the place for outputs, the contact book, and scratch. One
/// workspace serves any number of engines, so that a million of them carry no empty buffers.
pub struct Workspace<T: Topology> {
    /// What the driver must do, in order.
    pub out: Vec<Output<T>>,
    /// Who can be reached how.
    pub book: Box<dyn Book>,
    todo: VecDeque<Todo<T>>,
    route: Route,
    guids: Vec<Guid>,
}

impl<T: Topology> Workspace<T> {
    /// A workspace around a contact book.
    #[must_use]
    pub fn new(book: Box<dyn Book>) -> Self {
        Self { out: Vec::new(), book, todo: VecDeque::new(), route: Route::default(), guids: Vec::new() }
    }
}

impl<T: Topology> fmt::Debug for Workspace<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Workspace({} outputs)", self.out.len())
    }
}

/// One node without its wires. See the [module](self) for how it is driven.
pub struct Engine<T: Topology> {
    node: NodeState<T>,
    overlays: Vec<Option<Box<Overlay<T>>>>,
}

impl<T: Topology> fmt::Debug for Engine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({})", self.node.me.short())
    }
}

impl<T: Topology> Engine<T> {
    /// A node that signs as `signer`. All its randomness follows from `seed`: secret entropy on sockets, a number
    /// in a simulation.
    #[must_use]
    pub fn new(
        settings: Arc<settings::Node>,
        signer: Arc<dyn Signer>,
        verifier: Arc<dyn Verifier>,
        seed: [u8; 32],
    ) -> Self {
        Self { node: NodeState::new(settings, signer, verifier, seed), overlays: Vec::new() }
    }

    /// Who this is.
    #[must_use]
    pub fn me(&self) -> Guid {
        self.node.me
    }

    /// Adds an overlay; it does nothing until it is told to [`Command::Join`].
    ///
    /// # Errors
    /// [`AttachError`], with nothing changed.
    pub fn attach(&mut self, now: Time, attach: Attach<T>, ws: &mut Workspace<T>) -> Result<Slot, AttachError> {
        let slot = self.vacancy(&attach, now)?;
        let overlay = Overlay::new(attach, slot, &self.node);
        let at = usize::from(slot.0);
        if at == self.overlays.len() {
            self.overlays.push(None);
        }
        self.overlays[at] = Some(Box::new(overlay));
        self.turn(now, ws).offer_anew();
        Ok(slot)
    }

    fn vacancy(&self, attach: &Attach<T>, now: Time) -> Result<Slot, AttachError> {
        let settings = &self.node.settings;
        let name = attach.name.name().to_owned();
        if self
            .overlays
            .iter()
            .flatten()
            .any(|o| o.state.name.id() == attach.name.id() && o.state.epoch == attach.epoch)
        {
            return Err(AttachError::Twice(name));
        }
        let at = self.overlays.iter().position(Option::is_none).unwrap_or(self.overlays.len());
        let most = settings.overlays.min(MAX_PROOFS);
        if at >= most {
            return Err(AttachError::TooMany(most));
        }
        let needed = attach.topology.powers().degree;
        if needed > settings.connections {
            return Err(AttachError::Degree { needed, budget: settings.connections });
        }
        if let crate::Admission::Authority(authority) = attach.name.admission() {
            let (id, me) = (attach.name.id(), self.node.me);
            let granted = attach
                .grant
                .as_ref()
                .is_some_and(|grant| grant.allows(authority, &*self.node.verifier, &id, &me, attach.standing, now));
            if !granted {
                return Err(AttachError::NotGranted(name));
            }
        }
        Ok(Slot(at as u16))
    }

    /// Leaves an overlay in good order and forgets it. What still waits there ends with
    /// [`Failure::Detached`](io::Failure::Detached).
    pub fn detach(&mut self, now: Time, slot: Slot, ws: &mut Workspace<T>) {
        self.turn(now, ws).detach(slot);
        if let Some(place) = self.overlays.get_mut(usize::from(slot.0)) {
            *place = None;
        }
    }

    /// Says goodbye to every peer: after all overlays were detached, or instead of that.
    pub fn shutdown(&mut self, now: Time, ws: &mut Workspace<T>) {
        for at in 0..self.overlays.len() {
            self.detach(now, Slot(at as u16), ws);
        }
        self.turn(now, ws).close_all();
    }

    /// One input. What follows from it stands in `ws.out` when this returns.
    pub fn handle(&mut self, now: Time, input: Input<T>, ws: &mut Workspace<T>) {
        self.turn(now, ws).run(input);
    }

    fn turn<'a>(&'a mut self, now: Time, ws: &'a mut Workspace<T>) -> Turn<'a, T> {
        Turn { now, node: &mut self.node, overlays: &mut self.overlays, ws }
    }

    /// When the engine next wants [`Input::Wake`].
    #[must_use]
    pub fn next_wake(&self) -> Option<Time> {
        let overlays = self.overlays.iter().flatten().filter_map(|o| o.state.next_wake());
        overlays.chain(self.node.timers.next()).min()
    }

    fn overlay(&self, slot: Slot) -> Option<&Overlay<T>> {
        self.overlays.get(usize::from(slot.0))?.as_deref()
    }

    /// The topology of an overlay, to ask it questions.
    #[must_use]
    pub fn topology(&self, slot: Slot) -> Option<&T> {
        self.overlay(slot).map(|o| &o.topology)
    }

    /// The topology of an overlay, for a simulator that fills its tables before the run.
    #[must_use]
    pub fn topology_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.overlays.get_mut(usize::from(slot.0))?.as_deref_mut().map(|o| &mut o.topology)
    }

    /// The neighbors of an overlay.
    #[must_use]
    pub fn neighbors(&self, slot: Slot) -> Vec<Neighbor> {
        self.topology(slot).map(Topology::neighbors).unwrap_or_default()
    }

    /// The attached overlays.
    pub fn slots(&self) -> impl Iterator<Item = (Slot, &crate::OverlayName)> {
        self.overlays.iter().flatten().map(|o| (o.state.slot, &o.state.name))
    }

    /// What an overlay counted.
    #[must_use]
    pub fn metrics(&self, slot: Slot) -> Option<&Metrics> {
        self.overlay(slot).map(|o| &o.state.metrics)
    }

    /// The overlay that a peer means by one of its tags, if its session carries it.
    #[must_use]
    pub fn carried(&self, peer: &Guid, tag: u32) -> Option<Slot> {
        let overlays = &self.node.peers.get(peer)?.overlays;
        overlays.iter().find(|o| o.agreed && o.their_tag == tag).map(|o| o.slot)
    }

    /// What a peer proved to be in an overlay, if its session carries it.
    #[must_use]
    pub fn standing(&self, slot: Slot, peer: &Guid) -> Option<crate::Standing> {
        let overlay = self.node.peers.get(peer)?.overlay(slot).filter(|o| o.agreed)?;
        Some(if overlay.member { crate::Standing::Member } else { crate::Standing::Client })
    }

    /// The wire to a peer that carries an overlay, and this node's tag for it.
    #[must_use]
    pub fn wire(&self, slot: Slot, peer: &Guid) -> Option<(io::ConnId, u32)> {
        let peer = self.node.peers.get(peer).filter(|p| p.carries(slot))?;
        let peers::Link::Open(wire) = peer.link else { return None };
        Some((wire.conn, self.overlay(slot)?.state.tag()))
    }

    /// What this node should still know of an overlay when it starts again. Contacts are those of members of that
    /// overlay that the book has and vouches for.
    #[must_use]
    pub fn snapshot(&self, now: Time, slot: Slot, book: &mut dyn Book) -> Option<Snapshot> {
        let Overlay { topology, state } = self.overlay(slot)?;
        let mut sessions = self.node.peer_infos();
        sessions.retain(|info| self.standing(slot, &info.peer) == Some(crate::Standing::Member));
        sessions.sort_by_key(|info| (info.since, info.peer));
        let known = topology.neighbors().into_iter().map(|neighbor| neighbor.peer);
        let mut contacts: Vec<Contact> = Vec::new();
        for peer in sessions.into_iter().map(|info| info.peer).chain(known) {
            if contacts.len() >= MAX_SNAPSHOT_CONTACTS {
                break;
            }
            if !contacts.iter().any(|contact| contact.guid() == peer) {
                contacts.extend(book.to_tell(&peer, now));
            }
        }
        let records = state.records.as_deref();
        let kept = records.map(|records| records.all_kept(now).collect()).unwrap_or_default();
        let own = records.map(|records| records.all_own().collect()).unwrap_or_default();
        Some(Snapshot { contacts, kept, own })
    }

    /// The peers with a session, and what is known of them.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.node.peer_infos()
    }

    /// How many peers were dropped because they broke rules.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.node.dropped
    }

    /// About how many bytes of memory the engine keeps, topologies not counted.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let overlays: usize = self.overlays.iter().flatten().map(|o| size_of::<Overlay<T>>() + o.state.bytes()).sum();
        size_of::<Self>() + self.node.peers.bytes() + overlays
    }
}

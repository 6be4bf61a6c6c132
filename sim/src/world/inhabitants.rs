//! Who is in a world.

use std::sync::Arc;

use polymorph_core::engine::io::{Attach, AttachError};
use polymorph_core::engine::{Engine, Slot};
use polymorph_core::overlay::{OverlayId, Place};
use polymorph_core::topology::model::Census;
use polymorph_core::{Contact, Guid, OverlayName, PublicKey, Time, Topology};

use super::{Node, Peer, World};
use crate::mix::bytes32;
use crate::options::Terms;
use crate::trace::What;

/// Keep what is drawn for different purposes apart.
const ENGINES: u64 = 0x656e_6769_6e65;

impl<T: Topology> World<T> {
    /// A new peer, in no overlay yet.
    pub fn spawn(&mut self) -> Peer {
        let number = self.nodes.len() as u32;
        let birth = self.births;
        let (node, key) = self.bear(number);
        let added = self.directory.open().add(node.guid, birth, key);
        debug_assert_eq!(added, number);
        self.nodes.push(node);
        Peer(number)
    }

    /// A new peer in the place of one who is gone and forgotten.
    pub(super) fn settle_in(&mut self, number: u32) -> Peer {
        let birth = self.births;
        let (node, key) = self.bear(number);
        self.directory.open().replace(number, node.guid, birth, key);
        self.faults.forget(number);
        self.attackers.remove(&number);
        self.nodes[number as usize] = node;
        Peer(number)
    }

    fn bear(&mut self, number: u32) -> (Node<T>, PublicKey) {
        let (seed, crypto, birth) = (self.options.seed, self.options.crypto, self.births);
        let signer = crypto.signer(seed, birth);
        let key = signer.public_key();
        let (settings, verifier) = (Arc::clone(&self.settings), Arc::clone(&self.verifier));
        let engine = Engine::new(settings, signer, verifier, bytes32(seed ^ ENGINES, u64::from(birth)));
        self.alive += 1;
        self.births += 1;
        self.trace.note(self.now, number, What::Born, birth, 0, 0);
        let node = Node {
            guid: engine.me(),
            engine: Some(Box::new(engine)),
            attached: Vec::new(),
            wires: Vec::new(),
            wakes: [Time::MAX; 2],
            received: 0,
            born: self.now,
            dies: Time::MAX,
        };
        (node, key)
    }

    /// Puts a peer into an overlay; it does nothing there until it is told to join. `make` gets the peer's place.
    ///
    /// # Errors
    /// [`AttachError`], as from the engine.
    ///
    /// # Panics
    /// If the peer is gone.
    pub fn attach(&mut self, peer: Peer, terms: &Terms, make: impl FnOnce(Place) -> T) -> Result<Slot, AttachError> {
        let node = &mut self.nodes[peer.index()];
        let overlay = terms.name.id();
        let topology = make(Place { overlay, me: node.guid });
        let Terms { name, standing, grant, settings, epoch } = terms.clone();
        let attach = Attach { name, topology, standing, grant, settings, epoch };
        let engine = node.engine.as_mut().expect("the peer is there");
        let slot = engine.attach(self.now, attach, &mut self.ws)?;
        if self.held {
            engine.hold(self.now);
        }
        let known = self.overlays.iter().position(|id| *id == overlay).unwrap_or_else(|| {
            self.overlays.push(overlay);
            self.overlays.len() - 1
        });
        // Mostly there is just one.
        node.attached.reserve_exact(1);
        node.attached.push((slot, known as u16));
        self.changes += 1;
        self.settle(peer.0);
        Ok(slot)
    }

    /// A new peer in an overlay. `make` gets the peer's place.
    ///
    /// # Errors
    /// [`AttachError`], as from the engine; the peer is there all the same.
    pub fn add(&mut self, terms: &Terms, make: impl FnOnce(Place) -> T) -> Result<Peer, AttachError> {
        let peer = self.spawn();
        self.attach(peer, terms, make).map(|_| peer)
    }

    /// All who are there, in the order of coming.
    pub fn peers(&self) -> impl Iterator<Item = Peer> {
        self.nodes.iter().zip(0..).filter(|(node, _)| node.engine.is_some()).map(|(_, number)| Peer(number))
    }

    /// How many are there.
    #[must_use]
    pub fn alive(&self) -> usize {
        self.alive
    }

    /// When somebody came.
    pub(crate) fn born(&self, peer: Peer) -> Time {
        self.nodes[peer.index()].born
    }

    /// Grows whenever somebody came or went.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether a peer is there: it neither crashed nor left.
    #[must_use]
    pub fn is_alive(&self, peer: Peer) -> bool {
        self.nodes.get(peer.index()).is_some_and(|node| node.engine.is_some())
    }

    /// Who a peer is.
    ///
    /// # Panics
    /// If no such peer ever was.
    #[must_use]
    pub fn guid(&self, peer: Peer) -> Guid {
        self.nodes[peer.index()].guid
    }

    /// Which peer this is, dead or alive; `None` for those whose place was taken by others, see
    /// [`churn`](Self::churn).
    #[must_use]
    pub fn peer(&self, guid: &Guid) -> Option<Peer> {
        self.directory.open().number(guid).map(Peer)
    }

    /// How a peer is reached.
    #[must_use]
    pub fn contact(&self, peer: Peer) -> Contact {
        self.directory.open().contact(peer.0)
    }

    /// A peer's first overlay.
    ///
    /// # Panics
    /// If it is in none.
    #[must_use]
    pub fn slot(&self, peer: Peer) -> Slot {
        self.nodes[peer.index()].attached.first().expect("the peer is in an overlay").0
    }

    /// A peer's engine; `None` once it is gone.
    #[must_use]
    pub fn engine(&self, peer: Peer) -> Option<&Engine<T>> {
        self.nodes.get(peer.index())?.engine.as_deref()
    }

    /// A peer's part of its first overlay; `None` once it is gone.
    #[must_use]
    pub fn topology(&self, peer: Peer) -> Option<&T> {
        self.topology_in(peer, self.nodes.get(peer.index())?.attached.first()?.0)
    }

    /// A peer's part of its first overlay, to be changed behind its engine's back.
    pub(crate) fn topology_mut(&mut self, peer: Peer) -> Option<&mut T> {
        let node = self.nodes.get_mut(peer.index())?;
        node.engine.as_mut()?.topology_mut(node.attached.first()?.0)
    }

    /// A peer's part of one of its overlays.
    #[must_use]
    pub fn topology_in(&self, peer: Peer, slot: Slot) -> Option<&T> {
        self.engine(peer)?.topology(slot)
    }

    /// All who are in an overlay and there, as [`Model`](polymorph_core::topology::model::Model) wants to know.
    /// Clients are among them if there are any.
    #[must_use]
    pub fn census(&self, overlay: &OverlayName) -> Census {
        self.census_of(overlay.id())
    }

    pub(crate) fn census_of(&self, id: OverlayId) -> Census {
        let inside = |node: &&Node<T>| {
            let mut overlays = node.attached.iter().map(|&(_, at)| self.overlays[usize::from(at)]);
            node.engine.is_some() && overlays.any(|overlay| overlay == id)
        };
        Census::new(id, self.nodes.iter().filter(inside).map(|node| node.guid).collect())
    }

    /// Whether a peer has found its place in an overlay.
    pub(crate) fn has_place(&self, peer: Peer, id: OverlayId) -> bool {
        let attached = self.nodes.get(peer.index()).map(|node| node.attached.as_slice()).unwrap_or_default();
        let slot = attached.iter().find(|&&(_, at)| self.overlays[usize::from(at)] == id).map(|(slot, _)| *slot);
        slot.and_then(|slot| self.topology_in(peer, slot)).is_some_and(|topology| !topology.addresses().is_empty())
    }

    /// How many neighbors a peer has, in all its overlays.
    #[must_use]
    pub fn entries(&self, peer: Peer) -> usize {
        let count = |engine: &Engine<T>| engine.slots().map(|(slot, _)| engine.neighbors(slot).len()).sum();
        self.engine(peer).map_or(0, count)
    }

    /// How many wires a peer has.
    #[must_use]
    pub fn links(&self, peer: Peer) -> usize {
        self.nodes[peer.index()].wires.len()
    }

    /// How many frames a peer was handed.
    #[must_use]
    pub fn received(&self, peer: Peer) -> u32 {
        self.nodes[peer.index()].received
    }
}

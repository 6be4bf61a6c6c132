//! What the applications of a world do, and what they see.

use bytes::Bytes;
use polymorph_core::engine::Slot;
use polymorph_core::engine::io::{Command, Input, Origin, Urgency};
use polymorph_core::topology::event::Ticket;
use polymorph_core::topology::question::Target;
use polymorph_core::wire::frame::Status;
use polymorph_core::{Key, Topology};

use super::{Peer, World};
use crate::trace::What;
use crate::witness::{Arrival, Blamed, Delivery, Ended, Tally, Witness};

/// Marks the tickets of applications, which must not be those of topologies.
const APPLICATIONS: u64 = 1 << 63;

impl<T: Topology> World<T> {
    /// Tells a peer's first overlay what an application wants, now.
    pub fn command(&mut self, peer: Peer, command: Command<T>) {
        if let Some(&(slot, _)) = self.nodes[peer.index()].attached.first() {
            self.command_in(peer, slot, command);
        }
    }

    /// Tells one of a peer's overlays what an application wants, now. Nothing happens if the peer is gone.
    pub fn command_in(&mut self, peer: Peer, slot: Slot, command: Command<T>) {
        self.trace.note(self.now, peer.0, What::Command, peer.0, crate::trace::command(&command), slot.0.into());
        self.feed(peer.0, Input::Command(slot, command));
    }

    /// Lets a peer join through others; through nobody if it is the first.
    pub fn join(&mut self, peer: Peer, seeds: &[Peer]) {
        let seeds = seeds.iter().map(|&seed| self.contact(seed)).collect();
        self.command(peer, Command::Join { seeds });
    }

    /// A ticket no application of this world has.
    pub fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets | APPLICATIONS)
    }

    /// Lets a peer ask who owns a key, and the rest of the replica set, `n` in all.
    pub fn lookup(&mut self, peer: Peer, key: Key, n: usize) -> Ticket {
        let ticket = self.ticket();
        self.command(peer, Command::Lookup { ticket, to: Target::Key(key), n });
        ticket
    }

    /// Lets a peer publish to everybody, or to a topic. What it publishes is unsigned.
    pub fn publish(&mut self, peer: Peer, topic: Option<Key>, payload: impl Into<Bytes>) -> Ticket {
        let (ticket, payload) = (self.ticket(), payload.into());
        self.command(
            peer,
            Command::Publish { ticket, topic, payload, origin: Origin::Claimed, urgency: Urgency::Usual },
        );
        ticket
    }

    /// Lets all applications answer requests this way. `None` from it leaves the request to
    /// [`arrivals`](Self::arrivals).
    pub fn serve(&mut self, service: impl FnMut(&Arrival) -> Option<(Status, Bytes)> + Send + 'static) {
        self.service = Some(Box::new(service));
    }

    /// How something ended that an application wanted; `None` if it has not yet. Tickets of the world's own making
    /// mean one thing only, others are the peer's.
    #[must_use]
    pub fn ended(&self, peer: Peer, ticket: Ticket) -> Option<&Ended> {
        self.witness.ended.get(&(peer, ticket))
    }

    /// The same, and forgets it.
    pub fn take_ended(&mut self, peer: Peer, ticket: Ticket) -> Option<Ended> {
        self.witness.ended.remove(&(peer, ticket))
    }

    /// From now on keeps a list of what ended, in order.
    pub(crate) fn watch_endings(&mut self) {
        self.witness.endings = Some(Vec::new());
    }

    pub(crate) fn unwatch_endings(&mut self) {
        self.witness.endings = None;
    }

    pub(crate) fn has_endings(&self) -> bool {
        self.witness.endings.as_ref().is_some_and(|endings| !endings.is_empty())
    }

    /// What ended since this was last asked.
    pub(crate) fn take_endings(&mut self) -> Vec<(Peer, Ticket)> {
        self.witness.endings.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// How far the broadcast came whose payload begins so.
    pub(crate) fn tally(&self, mark: &[u8; 8]) -> Option<&Tally> {
        self.witness.marked(mark)
    }

    /// Every broadcast that reached an application, in order, with
    /// [`Keep::Deliveries`](crate::witness::Keep::Deliveries).
    #[must_use]
    pub fn deliveries(&self) -> &[Delivery] {
        &self.witness.deliveries
    }

    /// The broadcasts that reached one peer, in order.
    pub fn delivered_to(&self, peer: Peer) -> impl Iterator<Item = &Delivery> {
        self.witness.deliveries.iter().filter(move |delivery| delivery.peer == peer)
    }

    /// How far every broadcast came, in the order in which they first reached somebody.
    #[must_use]
    pub fn tallies(&self) -> &[Tally] {
        &self.witness.tallies
    }

    /// Messages for services that nobody answered, and what topologies delivered by themselves.
    #[must_use]
    pub fn arrivals(&self) -> &[Arrival] {
        &self.witness.arrivals
    }

    /// Who blamed whom; the first 1024.
    #[must_use]
    pub fn blamed(&self) -> &[Blamed] {
        &self.witness.blamed
    }

    /// Forgets all that applications saw, so that a long run needs no more memory than a short one.
    pub fn forget(&mut self) {
        self.witness = Witness::default();
    }
}

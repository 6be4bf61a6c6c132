//! A world: any number of engines, the wires between them, and virtual time.
//!
//! **Whatever happens is an event on one [wheel](crate::wheel); the next one is taken off, one engine (or two, for a
//! wire that comes up) is handed an input, and what it wants becomes further events.** There is no other state that
//! moves. [`turn`] is that loop; this file is what tests and workloads see.

pub mod ideal;
mod turn;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use polymorph_core::engine::io::{Attach, AttachError, Command, Input, Origin, Output};
use polymorph_core::engine::{Engine, Slot, Workspace, settings};
use polymorph_core::overlay::{OverlayId, Place};
use polymorph_core::topology::event::{Reachability, Ticket};
use polymorph_core::topology::model::Census;
use polymorph_core::topology::question::Target;
use polymorph_core::wire::frame::Status;
use polymorph_core::{Contact, Guid, Key, OverlayName, Time, Topology, Verifier};

use crate::directory::{Directory, SharedBook};
use crate::faults::{Faults, Swallow};
use crate::mix::{bytes32, mix};
use crate::options::{Options, Terms};
use crate::slab::Slab;
use crate::trace::{TraceHash, What};
use crate::traffic::Traffic;
use crate::wheel::Wheel;
use crate::wires::{WireId, Wires};
use crate::witness::{Arrival, Blamed, Delivery, Ended, Tally, Witness};
use turn::{Flight, Happening};

/// One peer of a world: its number, from 0 in the order of coming.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Peer(pub u32);

impl Peer {
    /// The number, to index tables with.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Answers requests in the name of all peers' applications.
pub type Service = Box<dyn FnMut(&Arrival) -> Option<(Status, Bytes)> + Send>;

/// A peer, or what is left of it.
struct Node<T: Topology> {
    guid: Guid,
    /// `None` once it crashed or left.
    engine: Option<Box<Engine<T>>>,
    /// Its overlays: the slot, and a number in [`World::overlays`].
    attached: Vec<(Slot, u16)>,
    /// The wires whose end here is open.
    wires: Vec<WireId>,
    /// When the wheel wakes it next, and the time after that; the far end of time if never.
    wakes: [Time; 2],
    /// How many frames it was handed.
    received: u32,
}

/// Any number of peers in virtual time. See the [module](self) for how it turns.
pub struct World<T: Topology> {
    options: Options,
    settings: Arc<settings::Node>,
    verifier: Arc<dyn Verifier>,
    now: Time,
    wheel: Wheel<Happening>,
    /// How many events on the wheel are not merely somebody's timer.
    moving: usize,
    nodes: Vec<Node<T>>,
    alive: usize,
    overlays: Vec<OverlayId>,
    wires: Wires,
    flights: Slab<Flight<T>>,
    /// Dials to somebody who is not in this world.
    strangers: Slab<(u32, Guid)>,
    directory: SharedBook,
    faults: Faults<T>,
    service: Option<Service>,
    witness: Witness,
    trace: TraceHash,
    traffic: Traffic,
    events: u64,
    tickets: u64,
    draws: u64,
    ws: Workspace<T>,
    /// Scratch, lent and given back.
    out: Vec<Output<T>>,
    drained: Vec<(Guid, u32)>,
    commands: Vec<(Slot, Command<T>)>,
}

/// Keep what is drawn for different purposes apart.
const ENGINES: u64 = 0x656e_6769_6e65;

impl<T: Topology> World<T> {
    /// A world with nobody in it, at time zero.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let directory = SharedBook::new(Directory::new(options.seed, options.crypto));
        Self {
            settings: Arc::new(options.node.clone()),
            verifier: options.crypto.verifier(options.seed),
            now: Time::ZERO,
            wheel: Wheel::new(),
            moving: 0,
            nodes: Vec::new(),
            alive: 0,
            overlays: Vec::new(),
            wires: Wires::new(),
            flights: Slab::new(),
            strangers: Slab::new(),
            faults: Faults::new(),
            service: None,
            witness: Witness::default(),
            trace: TraceHash::new(options.seed),
            traffic: Traffic::default(),
            events: 0,
            tickets: 0,
            draws: 0,
            ws: Workspace::new(Box::new(directory.clone())),
            out: Vec::new(),
            drained: Vec::new(),
            commands: Vec::new(),
            directory,
            options,
        }
    }

    // ---- Who is there.

    /// A new peer, in no overlay yet.
    pub fn spawn(&mut self) -> Peer {
        let number = self.nodes.len() as u32;
        let (seed, crypto) = (self.options.seed, self.options.crypto);
        let signer = crypto.signer(seed, number);
        let (settings, verifier) = (Arc::clone(&self.settings), Arc::clone(&self.verifier));
        let engine = Engine::new(settings, signer, verifier, bytes32(seed ^ ENGINES, u64::from(number)));
        let guid = engine.me();
        let added = self.directory.open().add(guid);
        debug_assert_eq!(added, number);
        self.alive += 1;
        self.trace.note(self.now, number, What::Born, number, 0, 0);
        self.nodes.push(Node {
            guid,
            engine: Some(Box::new(engine)),
            attached: Vec::new(),
            wires: Vec::new(),
            wakes: [Time::MAX; 2],
            received: 0,
        });
        Peer(number)
    }

    /// Puts a peer into an overlay; it does nothing there until it is told to join. `make` gets the peer's place.
    ///
    /// # Errors
    /// [`AttachError`], as from the engine.
    ///
    /// # Panics
    /// If the peer is gone.
    pub fn attach(
        &mut self,
        peer: Peer,
        terms: &Terms,
        make: impl FnOnce(Place) -> T,
    ) -> Result<Slot, AttachError> {
        let node = &mut self.nodes[peer.index()];
        let overlay = terms.name.id();
        let topology = make(Place { overlay, me: node.guid });
        let Terms { name, standing, grant, settings, epoch } = terms.clone();
        let attach = Attach { name, topology, standing, grant, settings, epoch };
        let engine = node.engine.as_mut().expect("the peer is there");
        let slot = engine.attach(self.now, attach, &mut self.ws)?;
        let known = self.overlays.iter().position(|id| *id == overlay).unwrap_or_else(|| {
            self.overlays.push(overlay);
            self.overlays.len() - 1
        });
        node.attached.push((slot, known as u16));
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

    /// Which peer this is, dead or alive.
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

    /// A peer's part of one of its overlays.
    #[must_use]
    pub fn topology_in(&self, peer: Peer, slot: Slot) -> Option<&T> {
        self.engine(peer)?.topology(slot)
    }

    /// All who are in an overlay and there, as [`Model`](polymorph_core::topology::model::Model) wants to know.
    /// Clients are among them if there are any.
    #[must_use]
    pub fn census(&self, overlay: &OverlayName) -> Census {
        let id = overlay.id();
        let inside = |node: &&Node<T>| {
            let mut overlays = node.attached.iter().map(|&(_, at)| self.overlays[usize::from(at)]);
            node.engine.is_some() && overlays.any(|overlay| overlay == id)
        };
        Census::new(id, self.nodes.iter().filter(inside).map(|node| node.guid).collect())
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

    // ---- What applications do.

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
        self.command(peer, Command::Publish { ticket, topic, payload, origin: Origin::Claimed });
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

    // ---- What goes wrong.

    /// A peer's host vanishes, silently: those at the other ends of its wires notice when they send, or when
    /// [`Options::silence`] is over.
    pub fn crash(&mut self, peer: Peer) {
        self.trace.note(self.now, peer.0, What::Crashed, peer.0, 0, 0);
        self.vanish(peer.0, self.options.silence);
    }

    /// A peer leaves all its overlays in good order and stops; its wires are closed once everything is written.
    pub fn leave(&mut self, peer: Peer) {
        let Some(engine) = self.nodes[peer.index()].engine.as_mut() else { return };
        self.trace.note(self.now, peer.0, What::Left, peer.0, 0, 0);
        engine.shutdown(self.now, &mut self.ws);
        self.settle(peer.0);
        self.vanish(peer.0, Some(Duration::ZERO));
    }

    /// Breaks the wires between two peers; both ends notice at once.
    pub fn sever(&mut self, a: Peer, b: Peer) {
        let between = self.nodes[a.index()].wires.iter().copied();
        let cut = between.filter(|&id| self.wires.get(id).is_some_and(|wire| wire.ends.contains(&b.0)));
        for id in cut.collect::<Vec<_>>() {
            self.snap(id);
        }
    }

    /// Sets these peers apart from all who are not named: nothing passes between the two sides until
    /// [`heal`](Self::heal). Wires across break like those to a crashed peer. Several calls make several sides.
    pub fn partition(&mut self, side: &[Peer]) {
        self.draws += 1;
        side.iter().for_each(|peer| self.faults.put(peer.0, self.draws as u32));
        if let Some(silence) = self.options.silence {
            side.iter().for_each(|peer| self.part(peer.0, silence));
        }
    }

    /// Ends all partitions.
    pub fn heal(&mut self) {
        self.faults.heal();
    }

    /// Puts a peer behind a NAT: it can dial, but nobody can dial it. It is told so.
    pub fn shut(&mut self, peer: Peer) {
        self.faults.shut(peer.0);
        self.trace.note(self.now, peer.0, What::Reachable, peer.0, 0, 0);
        self.feed(peer.0, Input::Reachable(Reachability::Private));
    }

    /// Lets frames vanish that arrive at a peer and of which `swallow` says so, without anybody noticing.
    pub fn swallow(&mut self, peer: Peer, swallow: impl FnMut(&polymorph_core::wire::Frame<T>) -> bool + Send + 'static) {
        let swallow: Swallow<T> = Box::new(swallow);
        self.faults.set_swallow(peer.0, Some(swallow));
    }

    /// Lets a peer see all its frames again.
    pub fn unswallow(&mut self, peer: Peer) {
        self.faults.set_swallow(peer.0, None);
    }

    // ---- Time.

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until nothing is on its way any more, no frame, no dial and no news of a lost wire, or until
    /// `limit` is over. Timers may still be set. Says whether it is quiet.
    pub fn run_until_quiet(&mut self, limit: Duration) -> bool {
        self.run_until(limit, |world| world.moving == 0)
    }

    /// Lets time pass until `done` says so, asked after each event, or until `limit` is over. Says whether it did.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            if done(self) {
                return true;
            }
            if !self.step(end) {
                self.now = end;
                return false;
            }
        }
    }

    // ---- What was measured.

    /// How the world is.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How many inputs engines were handed; word that bytes were written is not counted.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// What was sent.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The hash of the run so far.
    #[must_use]
    pub fn trace_hash(&self) -> TraceHash {
        self.trace
    }

    /// How long a frame takes from one peer to another.
    #[must_use]
    pub fn latency(&self, a: Peer, b: Peer) -> Duration {
        self.options.latency.one_way(self.options.seed, a.0, b.0)
    }

    fn draw(&mut self) -> u64 {
        self.draws += 1;
        mix(self.options.seed ^ DRAWS, self.draws)
    }
}

/// Marks the tickets of applications, which must not be those of topologies.
const APPLICATIONS: u64 = 1 << 63;
const DRAWS: u64 = 0x0064_7261_7773;

impl<T: Topology> fmt::Debug for World<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (alive, all, wires, on_wheel) = (self.alive, self.nodes.len(), self.wires.len(), self.wheel.len());
        write!(f, "World({:?}, {alive} of {all} peers, {wires} wires, {on_wheel} events to come)", self.now)
    }
}

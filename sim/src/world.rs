//! A world: any number of engines, the wires between them, and virtual time.
//!
//! **Whatever happens is an event on one [wheel](crate::wheel); the next one is taken off, one engine (or two, for a
//! wire that comes up) is handed an input, and what it wants becomes further events.** There is no other state that
//! moves. `turn` is that loop. What tests and workloads see: `inhabitants` who is there, `applications` what they do
//! and see, `mishaps` what goes wrong, [`ideal`] a world that begins in order, and here time and measures.

mod applications;
mod coming;
pub mod footprint;
pub mod ideal;
mod inhabitants;
mod links;
mod mishaps;
mod tampering;
mod turn;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use polymorph_core::engine::io::{Command, ConnId, Output};
use polymorph_core::engine::{Engine, Slot, Workspace, settings};
use polymorph_core::overlay::OverlayId;
use polymorph_core::wire::frame::Status;
use polymorph_core::{Guid, Time, Topology, Verifier};

use crate::attack::Attacker;
use crate::directory::{Directory, SharedBook};
use crate::faults::Faults;
use crate::mix::mix;
use crate::options::Options;
use crate::pipes::Pipes;
use crate::slab::Slab;
use crate::trace::TraceHash;
use crate::traffic::Traffic;
use crate::wheel::Wheel;
use crate::wires::{WireId, Wires};
use crate::witness::{Arrival, Witness};
use links::{Flight, Landing};
use turn::Happening;

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
    /// When it came, and when it goes; the far end of time if that is left open.
    born: Time,
    dies: Time,
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
    /// How often somebody came or went.
    changes: u64,
    overlays: Vec<OverlayId>,
    wires: Wires,
    flights: Slab<Flight<T>>,
    /// Pieces of frames that have not reached the receiver's access line, or wait there.
    landings: Slab<Landing>,
    pipes: Pipes,
    /// Dials to somebody who is not in this world.
    strangers: Slab<(u32, Guid)>,
    directory: SharedBook,
    faults: Faults<T>,
    attackers: HashMap<u32, Box<dyn Attacker<T>>>,
    coming: Option<coming::Coming<T>>,
    /// How many ever were there: who comes next has this number's identity.
    births: u32,
    /// Whether periodic timers are held, and silence goes unnoticed.
    held: bool,
    service: Option<Service>,
    witness: Witness,
    trace: TraceHash,
    traffic: Traffic,
    events: u64,
    /// Who was handed the last of them.
    latest: u32,
    tickets: u64,
    draws: u64,
    ws: Workspace<T>,
    /// Scratch, lent and given back.
    out: Vec<Output<T>>,
    drained: Vec<(Guid, ConnId, u32)>,
    commands: Vec<(Slot, Command<T>)>,
}

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
            changes: 0,
            overlays: Vec::new(),
            wires: Wires::new(),
            flights: Slab::new(),
            landings: Slab::new(),
            pipes: Pipes::default(),
            strangers: Slab::new(),
            faults: Faults::new(),
            attackers: HashMap::new(),
            coming: None,
            births: 0,
            held: false,
            service: None,
            witness: Witness::default(),
            trace: TraceHash::new(options.seed),
            traffic: Traffic::default(),
            events: 0,
            latest: 0,
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

    /// Who was handed the last of them.
    #[must_use]
    pub fn latest(&self) -> Peer {
        Peer(self.latest)
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
        Duration::from_nanos(self.nanos(a.0, b.0))
    }

    fn draw(&mut self) -> u64 {
        self.draws += 1;
        mix(self.options.seed ^ DRAWS, self.draws)
    }
}

/// Keeps what a world draws in passing apart from other draws.
const DRAWS: u64 = 0x0064_7261_7773;

impl<T: Topology> fmt::Debug for World<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (alive, all, wires, on_wheel) = (self.alive, self.nodes.len(), self.wires.len(), self.wheel.len());
        write!(f, "World({:?}, {alive} of {all} peers, {wires} wires, {on_wheel} events to come)", self.now)
    }
}

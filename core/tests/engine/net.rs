//! A few engines in lockstep, in virtual time: wires with latencies of their own, dials that succeed or fail as a
//! test decides, readers that stall. Whatever is random follows from the seed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use polymorph_core::engine::io::{
    Attach, Class, Command, ConnId, Dialer, Input, Origin, Outcome, Output, Responder, Watch,
};
use polymorph_core::engine::{Contacts, Engine, Slot, Workspace, settings};
use polymorph_core::identity::Identity;
use polymorph_core::record::Receipt;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::Ticket;
use polymorph_core::wire::Frame;
use polymorph_core::wire::frame::Body;
use polymorph_core::{Contact, Ed25519, Guid, OverlayName, Time};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::puppet::{Puppet, Strings};
use crate::spec::{Spec, spec};

/// A run that does not come to rest after so many happenings never will.
const MAX_HAPPENINGS: usize = 2_000_000;

/// What becomes of a dial.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dialing {
    /// A wire with these one-way latencies; each end learns of it so long after the dial.
    Connects { latency: [Duration; 2], known: [Duration; 2] },
    /// It fails after so long.
    Fails(Duration),
    /// Nothing is ever heard of it.
    Silent,
}

impl Dialing {
    pub(crate) fn after(millis: u64) -> Self {
        let once = Duration::from_millis(millis);
        Self::Connects { latency: [once; 2], known: [2 * once, once] }
    }
}

/// Something that reached an application.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Arrived {
    pub(crate) slot: Slot,
    pub(crate) from: Guid,
    pub(crate) charge: Guid,
    pub(crate) class: Class,
    pub(crate) bytes: u32,
    pub(crate) respond: Option<Responder>,
    pub(crate) payload: Bytes,
}

pub(crate) struct Node {
    pub(crate) engine: Engine<Puppet>,
    pub(crate) ws: Workspace<Puppet>,
    pub(crate) identity: Identity,
    /// Each overlay's puppet, by slot.
    pub(crate) strings: Vec<Strings>,
    pub(crate) done: Vec<(Ticket, Outcome)>,
    pub(crate) arrived: Vec<Arrived>,
    pub(crate) published: Vec<(Guid, Bytes)>,
    pub(crate) origins: Vec<Origin>,
    /// What it answered to those who asked it to keep a record.
    pub(crate) stored: Vec<Receipt>,
    pub(crate) watched: Vec<Watch>,
    pub(crate) dials: usize,
    /// Whether its applications take in what arrives, and answer it.
    pub(crate) takes: bool,
    pub(crate) answers: bool,
}

#[derive(Debug)]
enum Flight {
    Connected {
        at: usize,
        peer: usize,
        conn: ConnId,
        dialer: Dialer,
    },
    DialFailed {
        at: usize,
        peer: Guid,
    },
    /// A frame, and whether its sender was not told yet that the wire took it.
    Frame(Box<Frame<Puppet>>, bool),
    Lost,
}

struct Wire {
    ends: [usize; 2],
    latency: [Duration; 2],
    /// Whether that end's driver holds it.
    open: [bool; 2],
    /// When the last thing sent from that end arrives.
    busy: [Time; 2],
    /// What waits for a stalled reader at that end.
    held: [VecDeque<(Frame<Puppet>, bool)>; 2],
    stalled: [bool; 2],
    /// Whether that end's engine was told that it is gone.
    told: [bool; 2],
}

impl Wire {
    fn new(ends: [usize; 2], latency: [Duration; 2], busy: [Time; 2]) -> Self {
        let (held, stalled, told) = Default::default();
        Self { ends, latency, open: [true; 2], busy, held, stalled, told }
    }
}

/// Decides what becomes of a dial, from whom and to whom.
pub(crate) type Dials = Box<dyn FnMut(usize, usize, &mut ChaCha8Rng) -> Dialing>;
/// Sees a frame, from whom and to whom.
pub(crate) type Passes = Box<dyn FnMut(usize, usize, &mut Frame<Puppet>) -> bool>;
/// Which end of which wire something lands at.
type Landing = Option<(usize, usize)>;

pub(crate) struct Net {
    pub(crate) now: Time,
    pub(crate) seed: u64,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) nodes: Vec<Node>,
    pub(crate) dialing: Dials,
    /// Sees every frame before it is sent, as a node's own evil twin would; `false` loses it.
    pub(crate) passes: Passes,
    wires: Vec<Wire>,
    queue: BTreeMap<(Time, u64), (Landing, Flight)>,
    count: u64,
    tickets: u64,
}

fn conn(wire: usize, end: usize) -> ConnId {
    ConnId((wire * 2 + end) as u64)
}

impl Net {
    /// `n` nodes that share nothing yet, everybody in everybody's book.
    pub(crate) fn new(seed: u64, n: usize) -> Self {
        Self::with(seed, n, settings::Node::default())
    }

    pub(crate) fn with(seed: u64, n: usize, settings: settings::Node) -> Self {
        let mut net = Self {
            now: Time::from_secs(1_000_000),
            seed,
            rng: ChaCha8Rng::seed_from_u64(seed),
            nodes: Vec::new(),
            dialing: Box::new(|_, _, _| Dialing::after(10)),
            passes: Box::new(|_, _, _| true),
            wires: Vec::new(),
            queue: BTreeMap::new(),
            count: 0,
            tickets: 1 << 63,
        };
        (0..n).for_each(|_| net.add(settings.clone()));
        net.introduce();
        net
    }

    pub(crate) fn add(&mut self, settings: settings::Node) {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&(self.nodes.len() as u64 + 1).to_le_bytes());
        let identity = Identity::from_seed(&seed);
        let verifier = Arc::new(Ed25519);
        let book = Box::new(Contacts::new(verifier.clone(), 7));
        self.nodes.push(Node {
            engine: Engine::new(Arc::new(settings), Arc::new(identity.clone()), verifier, seed),
            ws: Workspace::new(book),
            identity,
            strings: Vec::new(),
            done: Vec::new(),
            arrived: Vec::new(),
            published: Vec::new(),
            origins: Vec::new(),
            stored: Vec::new(),
            watched: Vec::new(),
            dials: 0,
            takes: true,
            answers: true,
        });
    }

    /// Puts everybody into everybody's book.
    pub(crate) fn introduce(&mut self) {
        let contacts: Vec<Contact> = (0..self.nodes.len()).map(|at| self.contact(at)).collect();
        for (at, node) in self.nodes.iter_mut().enumerate() {
            node.ws.book.introduce(contacts[at].clone());
            for contact in &contacts {
                let _ = node.ws.book.learn(contact.clone(), self.now);
            }
        }
    }

    pub(crate) fn contact(&self, at: usize) -> Contact {
        let address = format!("mem:{at}").parse().expect("an address");
        let until = self.now + Duration::from_secs(100 * 3600);
        Contact::sign(&self.nodes[at].identity, &[address], 1, until)
    }

    pub(crate) fn guid(&self, at: usize) -> Guid {
        self.nodes[at].engine.me()
    }

    pub(crate) fn guids(&self) -> Vec<Guid> {
        (0..self.nodes.len()).map(|at| self.guid(at)).collect()
    }

    /// The numbers of two nodes, the lower Guid's first.
    pub(crate) fn low_high(&self) -> (usize, usize) {
        if self.guid(0) < self.guid(1) { (0, 1) } else { (1, 0) }
    }

    // ---- Overlays.

    /// Attaches an open overlay of this name at every node.
    pub(crate) fn attach_all(&mut self, name: &str) -> Vec<Strings> {
        (0..self.nodes.len()).map(|at| self.attach(at, spec(name))).collect()
    }

    pub(crate) fn attach(&mut self, at: usize, spec: Spec) -> Strings {
        self.try_attach(at, spec).expect("room for an overlay").1
    }

    pub(crate) fn try_attach(
        &mut self,
        at: usize,
        spec: Spec,
    ) -> Result<(Slot, Strings), polymorph_core::engine::AttachError> {
        let Spec { name, admission, standing, grant, settings, epoch, strings } = spec;
        let attach = Attach {
            name: OverlayName::new(&name, admission).expect("a good name"),
            topology: Puppet::new(&strings),
            standing,
            grant,
            settings: settings.into(),
            epoch,
        };
        let node = &mut self.nodes[at];
        let slot = node.engine.attach(self.now, attach, &mut node.ws)?;
        let index = usize::from(slot.0);
        node.strings.resize(node.strings.len().max(index + 1), Strings::default());
        node.strings[index] = strings.clone();
        self.carry_out(at);
        Ok((slot, strings))
    }

    pub(crate) fn detach(&mut self, at: usize, slot: Slot) {
        let node = &mut self.nodes[at];
        node.engine.detach(self.now, slot, &mut node.ws);
        self.carry_out(at);
    }

    // ---- What tests do.

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub(crate) fn command(&mut self, at: usize, slot: Slot, command: Command<Puppet>) {
        self.feed(at, Input::Command(slot, command));
    }

    /// Lets a puppet do something now.
    pub(crate) fn act_on(
        &mut self,
        at: usize,
        slot: Slot,
        job: impl FnOnce(&mut Context<'_, Puppet>) + Send + 'static,
    ) {
        self.nodes[at].strings[usize::from(slot.0)].later(job);
        let ticket = self.ticket();
        self.command(at, slot, Command::Ask { ticket, command: Bytes::new() });
        self.nodes[at].done.retain(|(done, _)| *done != ticket);
    }

    pub(crate) fn act(&mut self, at: usize, job: impl FnOnce(&mut Context<'_, Puppet>) + Send + 'static) {
        self.act_on(at, Slot(0), job);
    }

    /// The outcome of a ticket, which there must be.
    pub(crate) fn outcome(&mut self, at: usize, ticket: Ticket) -> Outcome {
        let all = &mut self.nodes[at].done;
        let found = all.iter().position(|(done, _)| *done == ticket);
        let found = found.unwrap_or_else(|| panic!("no outcome; seed {}", self.seed));
        all.remove(found).1
    }

    pub(crate) fn seen(&self, at: usize) -> Vec<crate::puppet::Seen> {
        self.nodes[at].strings[0].seen()
    }

    /// Stops the reader at `at` of the wire to `peer`, or lets it read on.
    pub(crate) fn stall(&mut self, at: usize, peer: usize, stalled: bool) {
        for wire in 0..self.wires.len() {
            let Some(end) = self.wires[wire].ends.iter().position(|&node| node == at) else { continue };
            if self.wires[wire].ends[1 - end] != peer || !self.wires[wire].open[end] {
                continue;
            }
            self.wires[wire].stalled[end] = stalled;
            while let Some((frame, owed)) = (!stalled).then(|| self.wires[wire].held[end].pop_front()).flatten() {
                self.take(wire, end, frame, owed);
            }
        }
    }

    /// Puts a frame on the wire between two nodes as if `from`'s engine had sent it.
    pub(crate) fn forge(&mut self, from: usize, to: usize, frame: Frame<Puppet>) {
        let conn = self.conn(to, from).expect("a session");
        let peer = self.guid(from);
        self.feed(to, Input::Frame { peer, conn, frame });
    }

    /// A body on overlay `slot` as if `from`'s engine had sent it.
    pub(crate) fn forge_body(&mut self, from: usize, to: usize, slot: Slot, body: Body<Puppet>, payload: &[u8]) {
        let (_, tag) = self.nodes[from].engine.wire(slot, &self.guid(to)).expect("carried");
        let frame = Frame { tag, contacts: Vec::new(), body, payload: Bytes::copy_from_slice(payload) };
        self.forge(from, to, frame);
    }

    /// The wire on which `at` has its session with `peer`.
    pub(crate) fn conn(&self, at: usize, peer: usize) -> Option<ConnId> {
        let peer = self.guid(peer);
        self.nodes[at].engine.peers().iter().find(|info| info.peer == peer).map(|info| info.conn)
    }

    /// Whether the driver at that end still holds a wire.
    pub(crate) fn is_open(&self, conn: ConnId) -> bool {
        self.wires[conn.0 as usize / 2].open[conn.0 as usize % 2]
    }

    /// Makes a wire of the first node to itself, under this name.
    pub(crate) fn hold_a_wire(&mut self, conn: ConnId) {
        while self.wires.len() <= conn.0 as usize / 2 {
            self.wires.push(Wire::new([0, 0], [Duration::ZERO; 2], [self.now; 2]));
        }
    }

    /// Breaks every wire between two nodes.
    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        for wire in 0..self.wires.len() {
            let ends = self.wires[wire].ends;
            if ends == [a, b] || ends == [b, a] {
                self.lose(wire, 0);
                self.lose(wire, 1);
            }
        }
    }

    /// How many bytes of frames wait for a stalled reader or are on their way to one, as they are on the wire.
    pub(crate) fn held_bytes(&self) -> usize {
        let held = self.wires.iter().flat_map(|wire| wire.held.iter().flatten()).map(|(frame, _)| frame.wire_len());
        let flying =
            |flight: &(Landing, Flight)| if let Flight::Frame(frame, _) = &flight.1 { frame.wire_len() } else { 0 };
        held.sum::<usize>() + self.queue.values().map(flying).sum::<usize>()
    }

    /// Lets everything that is sent from now on take so long.
    pub(crate) fn set_latency(&mut self, once: Duration) {
        self.wires.iter_mut().for_each(|wire| wire.latency = [once; 2]);
    }

    /// How many wires some end has not let go.
    pub(crate) fn half_open_wires(&self) -> usize {
        self.wires.iter().filter(|wire| wire.open[0] || wire.open[1]).count()
    }

    /// Both have a session, over the same wire.
    pub(crate) fn share_a_wire(&self, a: usize, b: usize) -> bool {
        match (self.conn(a, b), self.conn(b, a)) {
            (Some(one), Some(other)) => one.0 / 2 == other.0 / 2 && one != other,
            _ => false,
        }
    }

    // ---- Time.

    /// Lets everything happen that is on its way or due before `end`.
    pub(crate) fn run_until(&mut self, end: Time) {
        for _ in 0..MAX_HAPPENINGS {
            let wake =
                (self.nodes.iter().enumerate()).filter_map(|(at, node)| Some((node.engine.next_wake()?, at))).min();
            let next = self.queue.first_key_value().map(|(&(at, _), _)| at);
            let wakes = wake.filter(|&(at, _)| next.is_none_or(|next| at < next));
            match (wakes, next) {
                (Some((at, node)), _) if at <= end => {
                    self.now = self.now.max(at);
                    self.feed(node, Input::Wake);
                }
                (None, Some(at)) if at <= end => {
                    self.now = self.now.max(at);
                    let (_, (of, flight)) = self.queue.pop_first().expect("the first was seen");
                    self.land(of, flight);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("this does not come to rest; seed {}", self.seed);
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    pub(crate) fn run_secs(&mut self, seconds: u64) {
        self.run_for(Duration::from_secs(seconds));
    }

    pub(crate) fn run_millis(&mut self, millis: u64) {
        self.run_for(Duration::from_millis(millis));
    }

    // ---- In and out.

    pub(crate) fn feed(&mut self, at: usize, input: Input<Puppet>) {
        let node = &mut self.nodes[at];
        node.engine.handle(self.now, input, &mut node.ws);
        self.carry_out(at);
    }

    fn carry_out(&mut self, at: usize) {
        loop {
            let node = &mut self.nodes[at];
            let out = std::mem::take(&mut node.ws.out);
            if out.is_empty() {
                break;
            }
            out.into_iter().for_each(|output| self.output(at, output));
        }
        if let Err(broken) = self.nodes[at].engine.audit() {
            panic!("{broken}; seed {}", self.seed);
        }
    }

    fn output(&mut self, at: usize, output: Output<Puppet>) {
        let node = &mut self.nodes[at];
        match output {
            Output::Send { peer, conn, frame, .. } => self.send(at, peer, conn, frame),
            Output::Dial { peer } => self.dial(at, peer),
            Output::Close { conn, .. } => self.close(conn),
            Output::Done { ticket, outcome, .. } => node.done.push((ticket, outcome)),
            Output::Arrived { slot, from, charge, class, bytes, respond, payload, .. } => {
                let arrived =
                    Arrived { slot, from, charge, class, bytes, respond: respond.clone(), payload: payload.clone() };
                node.arrived.push(arrived);
                if let Some(to) = respond.filter(|_| node.answers) {
                    let status = polymorph_core::wire::frame::Status::Good;
                    self.command(at, slot, Command::Respond { to, status, payload });
                }
                if self.nodes[at].takes {
                    self.command(at, slot, Command::Consumed { peer: charge, class, bytes });
                }
            }
            Output::Published { from, origin, payload, .. } => {
                node.published.push((from, payload));
                node.origins.push(origin);
            }
            Output::Watch(_, watch) => node.watched.push(watch),
            Output::Delivered { .. } => {}
        }
    }

    fn plan(&mut self, at: Time, of: Landing, flight: Flight) {
        self.count += 1;
        self.queue.insert((at, self.count), (of, flight));
    }

    fn send(&mut self, at: usize, peer: Guid, conn: ConnId, mut frame: Frame<Puppet>) {
        let (wire, end) = (conn.0 as usize / 2, conn.0 as usize % 2);
        let other = self.wires[wire].ends[1 - end];
        if let Body::Stored { receipt, .. } = frame.body {
            self.nodes[at].stored.push(receipt);
        }
        let bytes = frame.charge();
        if !(self.passes)(at, other, &mut frame) {
            return self.feed(at, Input::Drained { peer, conn, bytes });
        }
        if !self.wires[wire].open[end] {
            return self.feed(at, Input::Undelivered { peer, frame });
        }
        let stalled = self.wires[wire].stalled[1 - end];
        let land = self.arrival(wire, end);
        self.plan(land, Some((wire, 1 - end)), Flight::Frame(Box::new(frame), stalled));
        if !stalled {
            self.feed(at, Input::Drained { peer, conn, bytes });
        }
    }

    fn arrival(&mut self, wire: usize, end: usize) -> Time {
        let wire = &mut self.wires[wire];
        wire.busy[end] = wire.busy[end].max(self.now + wire.latency[end]);
        wire.busy[end]
    }

    fn close(&mut self, conn: ConnId) {
        let (wire, end) = (conn.0 as usize / 2, conn.0 as usize % 2);
        if std::mem::replace(&mut self.wires[wire].open[end], false) {
            let land = self.arrival(wire, end);
            self.plan(land, Some((wire, 1 - end)), Flight::Lost);
            // A driver says so of the wires it closed itself, too.
            self.plan(self.now, Some((wire, end)), Flight::Lost);
        }
    }

    fn lose(&mut self, wire: usize, end: usize) {
        if std::mem::replace(&mut self.wires[wire].open[end], false) {
            self.tell_lost(wire, end);
        }
    }

    fn tell_lost(&mut self, wire: usize, end: usize) {
        if std::mem::replace(&mut self.wires[wire].told[end], true) {
            return;
        }
        let [a, b] = self.wires[wire].ends;
        let (at, peer) = if end == 0 { (a, b) } else { (b, a) };
        let peer = self.guid(peer);
        self.feed(at, Input::Lost { peer, conn: conn(wire, end) });
    }

    fn dial(&mut self, at: usize, peer: Guid) {
        self.nodes[at].dials += 1;
        let to = self.guids().iter().position(|guid| *guid == peer);
        let how = match to {
            Some(to) => (self.dialing)(at, to, &mut self.rng),
            None => Dialing::Fails(Duration::ZERO),
        };
        match (how, to) {
            (Dialing::Connects { latency, known }, Some(to)) => {
                let wire = self.wires.len();
                let known = known.map(|after| self.now + after);
                // Nothing reaches an end before it knows of the wire.
                self.wires.push(Wire::new([at, to], latency, [known[1], known[0]]));
                for (end, me, other, dialer) in [(0, at, to, Dialer::Me), (1, to, at, Dialer::Peer)] {
                    let flight = Flight::Connected { at: me, peer: other, conn: conn(wire, end), dialer };
                    self.plan(known[end], None, flight);
                }
            }
            (Dialing::Fails(after), _) => {
                let flight = Flight::DialFailed { at, peer };
                self.plan(self.now + after, None, flight);
            }
            _ => {}
        }
    }

    fn land(&mut self, of: Landing, flight: Flight) {
        match (flight, of) {
            (Flight::Connected { at, peer, conn, dialer }, _) => {
                let wire = conn.0 / 2;
                let exporter = *blake3_of(self.seed, wire).as_bytes();
                let peer = self.guid(peer);
                self.feed(at, Input::Connected { peer, conn, dialer, exporter });
            }
            (Flight::DialFailed { at, peer }, _) => self.feed(at, Input::DialFailed { peer }),
            (Flight::Frame(frame, owed), Some((wire, end))) => {
                if self.wires[wire].stalled[end] {
                    self.wires[wire].held[end].push_back((*frame, owed));
                } else {
                    self.take(wire, end, *frame, owed);
                }
            }
            (Flight::Lost, Some((wire, end))) => {
                self.wires[wire].open[end] = false;
                self.tell_lost(wire, end);
            }
            (Flight::Frame(..) | Flight::Lost, None) => {}
        }
    }

    fn take(&mut self, wire: usize, end: usize, frame: Frame<Puppet>, owed: bool) {
        let (at, peer) = (self.wires[wire].ends[end], self.wires[wire].ends[1 - end]);
        if owed {
            let (to, conn, bytes) = (self.guid(at), conn(wire, 1 - end), frame.charge());
            self.feed(peer, Input::Drained { peer: to, conn, bytes });
        }
        if self.wires[wire].open[end] {
            let peer = self.guid(peer);
            self.feed(at, Input::Frame { peer, conn: conn(wire, end), frame });
        }
    }

    /// A number below `bound`.
    pub(crate) fn pick(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }
}

fn blake3_of(seed: u64, wire: u64) -> blake3::Hash {
    blake3::hash(&[seed.to_le_bytes(), wire.to_le_bytes()].concat())
}

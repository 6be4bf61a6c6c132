//! One engine, its overlays, and the hostile peers around it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use polymorph_core::engine::io::{Attach, ConnId, Dialer, Input, Output};
use polymorph_core::engine::{Contacts, Engine, Slot, Workspace, settings};
use polymorph_core::overlay::Claim;
use polymorph_core::record::Receipt;
use polymorph_core::topology::event::{Reachability, Ticket};
use polymorph_core::wire::frame::{Body, Offer, Shared};
use polymorph_core::wire::{self, Frame};
use polymorph_core::{Admission, Contact, Guid, Membership, OverlayName, PublicKey, Standing, Time};

use super::Told;
use super::frames::{Cheap, Sender};
use super::proof::prove;
use super::source::Source;
use super::wild::Wild;

#[path = "wishes.rs"]
mod wishes;

/// How many hostile peers there are.
const PEERS: usize = 6;
/// How many overlays may be attached.
const OVERLAYS: usize = 3;
/// How many frames of the engine are remembered, to be sent back to it or to come back as undelivered.
const REMEMBERED: usize = 64;
/// What the engine may keep in all, with the small limits that it is given here.
const MAX_BYTES: usize = 2 << 20;
/// How often a woken engine may ask to be woken for the same moment.
const MAX_WAKES: usize = 64;
/// After so long nothing can be waiting any longer: no time-out of the engine's own or of a request here is longer.
const EVERYTHING: Duration = Duration::from_secs(3600);

/// A wire, as the hostile end of it knows it.
#[derive(Clone, Copy)]
struct Line {
    conn: ConnId,
    peer: usize,
    exporter: [u8; 32],
    dialer: Dialer,
}

pub(crate) struct World {
    engine: Engine<Wild>,
    ws: Workspace<Wild>,
    now: Time,
    everybody: Vec<Guid>,
    contacts: Vec<Contact>,
    claims: Vec<Membership>,
    lines: Vec<Line>,
    lines_so_far: u64,
    /// Frames the engine handed out: to whom, and what.
    sent: VecDeque<(Guid, Frame<Wild>)>,
    /// Nonces of the offers and answers the engine made on each wire.
    nonces: BTreeMap<ConnId, (u64, u64)>,
    attached: [Option<Slot>; OVERLAYS],
    waiting: BTreeSet<Ticket>,
    tickets: u64,
    digest: blake3::Hasher,
    reached: BTreeSet<String>,
    broken: Option<String>,
}

fn key(at: usize) -> PublicKey {
    PublicKey([at as u8 + 1; 32])
}

fn name(at: usize) -> OverlayName {
    OverlayName::new(["one", "two", "three"][at], Admission::Open).expect("a name")
}

impl World {
    pub(crate) fn new(source: &mut Source<'_>) -> Self {
        let now = Time::from_secs(1_000_000);
        let node = settings::Node {
            connections: 4,
            queue_bytes: 16 << 10,
            credit_bytes: 16 << 10,
            peers: 16,
            overlays: OVERLAYS,
            ..settings::Node::default()
        };
        let verifier = Arc::new(Cheap(key(0)));
        let book = Box::new(Contacts::new(verifier.clone(), 1));
        let engine = Engine::new(Arc::new(node), verifier.clone(), verifier, [source.byte(); 32]);
        let everybody: Vec<Guid> = (0..=PEERS).map(|at| Guid::of(&key(at))).collect();
        let address = ["mem:somewhere".parse().expect("an address")];
        let until = |at: usize| Time::from_secs(now.as_secs() + 300 * at as u64);
        let contact = |at: usize| Contact::sign(&Cheap(key(at)), &address, at as u64, until(at));
        let mut world = Self {
            engine,
            ws: Workspace::new(book),
            now,
            contacts: (0..=PEERS).map(contact).collect(),
            claims: claims(now),
            everybody,
            lines: Vec::new(),
            lines_so_far: 0,
            sent: VecDeque::new(),
            nonces: BTreeMap::new(),
            attached: [None; OVERLAYS],
            waiting: BTreeSet::new(),
            tickets: 0,
            digest: blake3::Hasher::new(),
            reached: BTreeSet::new(),
            broken: None,
        };
        world.attach(0, source);
        world.attach(1, source);
        world
    }

    fn attach(&mut self, at: usize, source: &mut Source<'_>) {
        let kind = source.byte();
        let settings = settings::Overlay {
            lookup: [settings::Lookup::Recursive, settings::Lookup::Iterative, settings::Lookup::Semi][source.pick(3)],
            disjoint: 1 + source.pick(3),
            kept_bytes: 16 << 10,
            seen: 32,
            pending: 32,
            records: 32,
            record_bytes: 16 << 10,
            records_per_key: 4,
            records_per_peer: 16,
            record_bytes_per_peer: 8 << 10,
            cached_bytes: 4 << 10,
            replicas: 3,
            ..settings::Overlay::default()
        };
        let standing = if source.once_in(6) { Standing::Client } else { Standing::Member };
        let topology = Wild::new(self.everybody.clone(), kind);
        let attach = Attach { name: name(at), topology, standing, grant: None, settings: settings.into(), epoch: 0 };
        if let Ok(slot) = self.engine.attach(self.now, attach, &mut self.ws) {
            self.attached[at] = Some(slot);
        }
        self.take_out();
    }

    fn detach(&mut self, at: usize) {
        if let Some(slot) = self.attached[at].take() {
            self.engine.detach(self.now, slot, &mut self.ws);
            self.take_out();
        }
    }

    /// The next thing that happens, and its name.
    pub(crate) fn happen(&mut self, source: &mut Source<'_>) -> String {
        match source.pick(32) {
            0..=3 => self.connect(source),
            4 => self.lose(source),
            5 => self.feed(Input::DialFailed { peer: self.everybody[source.pick(PEERS + 1)] }),
            6..=13 => self.hostile_frame(source),
            14..=17 => self.echo(source),
            18..=21 => self.shake_hands(source),
            22 => self.undelivered(source),
            23 => self.drained(source),
            24 => match self.line(source) {
                Some(line) => self.feed(Input::Malformed { peer: self.everybody[line.peer], conn: line.conn }),
                None => String::new(),
            },
            25..=26 => self.pass_time(source),
            27 => {
                let at = source.pick(OVERLAYS);
                if source.once_in(2) {
                    self.detach(at)
                } else {
                    self.attach(at, source)
                }
                format!("attached or detached {at}")
            }
            28 => {
                let how = [Reachability::Unknown, Reachability::Public, Reachability::Private][source.pick(3)];
                self.feed(Input::Reachable(how))
            }
            _ => self.wish(source),
        }
    }

    /// What must hold between any two inputs.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        self.engine.audit()?;
        let bytes = self.engine.bytes();
        if bytes > MAX_BYTES { Err(format!("the engine keeps {bytes} bytes")) } else { Ok(()) }
    }

    /// Everything is let go: nobody may be left waiting, and nothing left over.
    pub(crate) fn end(&mut self) -> Result<Told, String> {
        self.advance(EVERYTHING);
        self.check().map_err(|why| format!("{why}, when all time-outs are over"))?;
        while let Some(line) = self.lines.pop() {
            self.feed(Input::Lost { peer: self.everybody[line.peer], conn: line.conn });
            self.check().map_err(|why| format!("{why}, when wires are lost"))?;
        }
        self.advance(EVERYTHING);
        self.check().map_err(|why| format!("{why}, when all wires are lost"))?;
        (0..OVERLAYS).for_each(|at| self.detach(at));
        self.engine.shutdown(self.now, &mut self.ws);
        self.take_out();
        self.check()?;
        if let Some(ticket) = self.waiting.first() {
            return Err(format!("{ticket:?} and {} more never ended", self.waiting.len() - 1));
        }
        Ok(Told { hash: *self.digest.finalize().as_bytes(), reached: std::mem::take(&mut self.reached) })
    }

    // ---- Wires.

    fn line(&self, source: &mut Source<'_>) -> Option<Line> {
        self.lines.get(source.pick(self.lines.len())).copied()
    }

    fn connect(&mut self, source: &mut Source<'_>) -> String {
        // Nobody else can have this node's own key.
        let peer = 1 + source.pick(PEERS);
        self.lines_so_far += 1;
        let (conn, exporter) = (ConnId(self.lines_so_far), source.array());
        let dialer = if source.once_in(2) { Dialer::Me } else { Dialer::Peer };
        let line = Line { conn, peer, exporter, dialer };
        self.lines.push(line);
        let name = self.feed(Input::Connected { peer: self.everybody[peer], conn, dialer, exporter });
        if source.once_in(4) {
            return name;
        }
        // Most peers are members, and get in.
        let steps: &[usize] = if dialer == Dialer::Me { &[1] } else { &[0, 2] };
        let said: Vec<String> = steps.iter().map(|&step| self.shake(line, step, 7)).collect();
        format!("{name}, {}", said.join(", "))
    }

    fn lose(&mut self, source: &mut Source<'_>) -> String {
        let Some(line) = self.line(source) else { return String::new() };
        self.lines.retain(|other| other.conn != line.conn);
        self.feed(Input::Lost { peer: self.everybody[line.peer], conn: line.conn })
    }

    fn drained(&mut self, source: &mut Source<'_>) -> String {
        let Some(line) = self.line(source) else { return String::new() };
        let (peer, bytes) = (self.everybody[line.peer], source.number().wrapping_mul(101));
        self.feed(Input::Drained { peer, conn: line.conn, bytes })
    }

    // ---- What peers say.

    fn hostile_frame(&mut self, source: &mut Source<'_>) -> String {
        let Some(line) = self.line(source) else { return String::new() };
        let tag = match source.pick(8) {
            0 => 0,
            1 => source.number(),
            at => 100 + (at as u32 % OVERLAYS as u32),
        };
        let signer = Cheap(key(line.peer));
        let Self { everybody, contacts, claims, now, .. } = &*self;
        let frame = Sender { signer: &signer, everybody, contacts, claims, now: *now }.frame(tag, source);
        self.from(line, frame)
    }

    /// What the engine said is answered, mostly by whom it was said to; or it comes back as it was.
    fn echo(&mut self, source: &mut Source<'_>) -> String {
        let Some((to, mut frame)) = self.sent.get(source.pick(self.sent.len())).cloned() else { return String::new() };
        let right = self.lines.iter().rev().find(|line| self.everybody[line.peer] == to).copied();
        let line = if source.once_in(4) { self.line(source) } else { right };
        let Some(line) = line else { return String::new() };
        let slot = (frame.tag >> 8).checked_sub(1).map(|slot| Slot(slot as u16));
        let overlay = self.attached.iter().position(|attached| attached.is_some() && *attached == slot);
        frame.tag = match overlay {
            Some(at) if !source.once_in(8) => 100 + at as u32,
            _ => 0,
        };
        let frame = if source.once_in(4) { frame } else { answered(frame, &self.everybody) };
        self.from(line, frame)
    }

    /// One step of the handshake of a member, done right if it is the one that is due.
    fn shake_hands(&mut self, source: &mut Source<'_>) -> String {
        let Some(line) = self.line(source) else { return String::new() };
        let (step, nonce) = (source.pick(3), source.number().into());
        self.shake(line, step, nonce)
    }

    fn shake(&mut self, line: Line, step: usize, nonce: u64) -> String {
        let (offered, accepted) = self.nonces.get(&line.conn).copied().unwrap_or_default();
        let proofs = |nonce| (0..OVERLAYS).map(|at| self.proof(line, at, nonce)).collect::<Vec<_>>();
        let shared = |nonce| {
            let claims = &self.claims[line.peer * OVERLAYS..];
            (0..OVERLAYS).map(|at| self.side(line, at, nonce, &claims[at])).collect::<Vec<_>>()
        };
        let body = match step {
            0 => Body::Offer(Offer { nonce, proofs: proofs(nonce) }),
            1 => Body::Accept { nonce: offered, shared: shared(offered) },
            _ => Body::Confirm { nonce: accepted, shared: shared(accepted) },
        };
        let contacts = vec![self.contacts[line.peer].clone()];
        self.from(line, Frame { tag: 0, contacts, body, payload: bytes::Bytes::new() })
    }

    fn proof(&self, line: Line, at: usize, nonce: u64) -> [u8; 16] {
        let ends = (self.everybody[line.peer], self.everybody[0]);
        prove(&name(at), 0, &line.exporter, ends, u8::from(line.dialer == Dialer::Peer), nonce)
    }

    fn side(&self, line: Line, at: usize, nonce: u64, claim: &Membership) -> Shared {
        Shared {
            index: at as u16,
            proof: self.proof(line, at, nonce),
            tag: 100 + at as u32,
            epoch: 0,
            standing: if at == 2 { Standing::Client } else { Standing::Member },
            lanes: at as u32,
            credit: 8 << 10,
            protocols: vec!["1".into()],
            membership: (at == 1).then(|| Box::new(claim.clone())),
        }
    }

    fn from(&mut self, line: Line, frame: Frame<Wild>) -> String {
        self.feed(Input::Frame { peer: self.everybody[line.peer], conn: line.conn, frame })
    }

    fn undelivered(&mut self, source: &mut Source<'_>) -> String {
        let Some((peer, frame)) = self.sent.remove(source.pick(self.sent.len())) else { return String::new() };
        self.feed(Input::Undelivered { peer, frame })
    }

    // ---- Time.

    fn pass_time(&mut self, source: &mut Source<'_>) -> String {
        let millis = [1, 40, 700, 5_000, 60_000][source.pick(5)];
        self.advance(Duration::from_millis(millis * u64::from(source.byte())));
        format!("time passed to {:?}", self.now)
    }

    /// Wakes the engine whenever it wants to be.
    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        let (mut at_once, mut woken) = (0, 0);
        while let Some(wake) = self.engine.next_wake().filter(|&wake| wake <= end && woken < 10_000) {
            at_once = if wake > self.now { 0 } else { at_once + 1 };
            woken += 1;
            if at_once > MAX_WAKES {
                self.broken = Some(format!("woken at {:?}, it wants to be woken at {wake:?}", self.now));
                return;
            }
            self.now = self.now.max(wake);
            self.feed(Input::Wake);
            if let Err(why) = self.engine.audit() {
                self.broken.get_or_insert(format!("{why}, woken at {:?}", self.now));
            }
        }
        self.now = end;
    }

    // ---- In and out.

    fn feed(&mut self, input: Input<Wild>) -> String {
        let name = format!("{input:?}");
        self.engine.handle(self.now, input, &mut self.ws);
        self.take_out();
        name
    }

    fn take_out(&mut self) {
        for output in std::mem::take(&mut self.ws.out) {
            self.digest.update(format!("{output:?}").as_bytes());
            if let Err(why) = self.output(output) {
                self.broken.get_or_insert(why);
            }
        }
    }

    /// Notes what the engine puts out, and whether it may.
    fn output(&mut self, output: Output<Wild>) -> Result<(), String> {
        match output {
            Output::Send { peer, conn, frame, .. } => {
                let good = self.lines.iter().any(|line| line.conn == conn && self.everybody[line.peer] == peer);
                if !good {
                    return Err(format!("{frame:?} is sent to {peer:?} over a wire that is not there"));
                }
                self.reached.insert(format!("says {}", frame.body.name()));
                self.digest.update(&wire::encode(&frame));
                let (offered, accepted) = self.nonces.entry(conn).or_default();
                match &frame.body {
                    Body::Offer(offer) => *offered = offer.nonce,
                    Body::Accept { nonce, .. } => *accepted = *nonce,
                    _ => {}
                }
                if self.sent.len() == REMEMBERED {
                    self.sent.pop_front();
                }
                self.sent.push_back((peer, frame));
            }
            Output::Close { conn, .. } => self.lines.retain(|line| line.conn != conn),
            Output::Dial { peer } if peer == self.everybody[0] => return Err("it dials itself".into()),
            Output::Done { ticket, .. } if !self.waiting.remove(&ticket) => {
                return Err(format!("{ticket:?} ended, and nobody waited for it"));
            }
            Output::Done { outcome, .. } => {
                let name = format!("{outcome:?}");
                let name = name.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
                self.reached.insert(format!("ends with {name}"));
            }
            Output::Dial { .. } => drop(self.reached.insert("dials".into())),
            Output::Arrived { .. } => drop(self.reached.insert("hands a message over".into())),
            Output::Published { .. } => drop(self.reached.insert("hands a broadcast over".into())),
            Output::Delivered { .. } => drop(self.reached.insert("delivers".into())),
            Output::Watch(..) => {}
        }
        Ok(())
    }
}

/// What each peer says of itself in each overlay.
fn claims(now: Time) -> Vec<Membership> {
    let claim = |peer: usize, at: usize| {
        let addresses = postcard::to_stdvec(&vec![peer as u32]).expect("it encodes");
        let (overlay, standing, proof) = (name(at).id(), Standing::Member, bytes::Bytes::new());
        let expires = now.as_secs() + 900;
        let claim = Claim { overlay, standing, addresses: addresses.into(), proof, sequence: 1, expires, grant: None };
        Membership::sign(&Cheap(key(peer)), &claim)
    };
    (0..=PEERS).flat_map(|peer| (0..OVERLAYS).map(move |at| (peer, at))).map(|(peer, at)| claim(peer, at)).collect()
}

/// The answer to a question of the engine's, so that it is expected; anything else as it was.
fn answered(frame: Frame<Wild>, everybody: &[Guid]) -> Frame<Wild> {
    use polymorph_core::topology::question::Verdict;
    use polymorph_core::wire::frame::{Answer, Holding, Status};
    let peers = everybody.to_vec();
    let body = match frame.body {
        Body::Call { id, message } => Body::Reply { id, message },
        Body::Routed(routed) if routed.id != 0 && routed.id % 3 == 0 => {
            Body::Answer { id: routed.id, hops: routed.hops, answer: Answer::Found { peers } }
        }
        Body::Find { id, state, .. } if id % 3 != 0 => Body::Next { id, verdict: Verdict::Forward, peers, state },
        Body::Find { id, state, .. } => Body::Next { id, verdict: Verdict::Deliver { rank: 0 }, peers, state },
        Body::Request { id, .. } => Body::Response { id, status: Status::Good },
        Body::Store { id, .. } => Body::Stored { id, receipt: Receipt::Kept },
        Body::Fetch { id, .. } => Body::Fetched { id, records: Vec::new() },
        Body::Holds { id, kept, .. } => {
            let all = [Holding::Differs, Holding::Same, Holding::Released, Holding::Elsewhere];
            Body::Holding { id, answers: kept.iter().map(|(_, mark)| all[*mark as usize % 4]).collect() }
        }
        Body::Ping { id } => Body::Pong { id },
        other => other,
    };
    Frame { body, ..frame }
}

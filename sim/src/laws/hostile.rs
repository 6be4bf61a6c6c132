//! Bytes and events that never should have been.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use polymorph_core::overlay::Place;
use polymorph_core::topology::context::{Action, Busy, Context, Host, Rng};
use polymorph_core::topology::event::{Change, Down, Event, Facts, Ticket, Via};
use polymorph_core::topology::question::{CopyId, Lane, Pass, Query, Route, Target, Transit};
use polymorph_core::topology::{Below, Topology};
use polymorph_core::wire::frame::What;
use polymorph_core::wire::{Body, Frame};
use polymorph_core::{Guid, Key, Time};
use rand_core::SeedableRng;
use serde::de::DeserializeOwned;

use super::play::Play;
use super::script::Room;
use crate::attack::{Attacker, Fate, Scene};
use crate::mix::{below, bytes32, mix};
use crate::world::Peer;

/// How many messages are kept to be garbled later.
const MAX_CORPUS: usize = 256;
/// How often bytes are garbled anew until they are a message again.
const TRIES: usize = 8;
/// How many answers to its own questions a topology gets after a strike; the last ones never come.
const MAX_ANSWERS: usize = 32;

/// Messages that were really said, encoded.
#[derive(Clone, Debug, Default)]
pub(super) struct Corpus(Arc<Mutex<Vec<Vec<u8>>>>);

impl Corpus {
    fn add(&self, bytes: Vec<u8>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MAX_CORPUS {
            all.push(bytes);
        }
    }

    fn any(&self, dice: &mut Dice) -> Vec<u8> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(dice.pick(all.len())).cloned().unwrap_or_default()
    }
}

/// Numbers drawn from a number.
struct Dice(u64);

impl Dice {
    fn number(&mut self) -> u64 {
        self.0 = mix(self.0, 1);
        self.0
    }

    fn pick(&mut self, bound: usize) -> usize {
        below(self.number(), bound as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.number() as u8
    }
}

/// Changes bytes a little: a bit, a byte, the end, or one peer for another.
fn garble(bytes: &mut Vec<u8>, guids: &[Guid], dice: &mut Dice) {
    for _ in 0..=dice.pick(3) {
        let at = dice.pick(bytes.len());
        match dice.pick(8) {
            0 => bytes.truncate(at),
            1 => bytes.push(dice.byte()),
            2 | 3 => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << dice.pick(8)),
            4 | 5 => bytes.get_mut(at).into_iter().for_each(|byte| *byte = dice.byte()),
            _ => {
                let here: Vec<usize> = (0..bytes.len().saturating_sub(32)).filter(|at| bytes[*at] == 32).collect();
                let (place, guid) = (here.get(dice.pick(here.len())), guids.get(dice.pick(guids.len())));
                if let (Some(&at), Some(guid)) = (place, guid) {
                    bytes[at + 1..at + 33].copy_from_slice(&guid.0);
                }
            }
        }
    }
}

fn garbled<V: DeserializeOwned>(original: &[u8], guids: &[Guid], dice: &mut Dice) -> Option<V> {
    (0..TRIES).find_map(|_| {
        let mut bytes = original.to_vec();
        garble(&mut bytes, guids, dice);
        postcard::from_bytes(&bytes).ok()
    })
}

/// Says what its engine says, but not quite.
#[derive(Debug)]
pub(super) struct Garbler {
    corpus: Corpus,
    garbles: bool,
}

impl Garbler {
    pub(super) fn new(corpus: Corpus) -> Self {
        Self { corpus, garbles: true }
    }

    /// One that only listens.
    pub(super) fn tap(corpus: Corpus) -> Self {
        Self { corpus, garbles: false }
    }

    fn note<T: Topology>(&self, body: &Body<T>) {
        let message = match body {
            Body::Send(message) | Body::Call { message, .. } | Body::Reply { message, .. } => message,
            Body::Routed(routed) => match &routed.what {
                What::Message(message) => message,
                _ => return,
            },
            _ => return,
        };
        self.corpus.add(postcard::to_stdvec(message).unwrap_or_default());
    }
}

impl<T: Topology> Attacker<T> for Garbler {
    fn says(&mut self, mut frame: Frame<T>, scene: &mut Scene<T>) -> Fate<T> {
        self.note(&frame.body);
        if !self.garbles {
            return Fate::Pass(frame);
        }
        let mut dice = Dice(scene.pick(usize::MAX) as u64);
        // Sessions must come about, or nothing is said in them.
        let often = if frame.tag == 0 { 16 } else { 2 };
        if dice.pick(often) != 0 {
            return Fate::Pass(frame);
        }
        if dice.pick(24) == 0 {
            return Fate::Spoil(frame);
        }
        let bytes = postcard::to_stdvec(&frame.body).unwrap_or_default();
        match garbled(&bytes, &[scene.me, scene.other], &mut dice) {
            Some(body) => frame.body = body,
            None => return Fate::Drop,
        }
        Fate::Pass(frame)
    }
}

/// A host that lets a topology want what it likes, and notes only what must be answered.
struct Void {
    place: Place,
    now: Time,
    rng: Rng,
    tickets: u64,
    dice: Dice,
    /// Calls and lookups that must come to an end.
    open: Vec<(Ticket, Option<Guid>)>,
}

impl<T: Topology> Host<T> for Void {
    fn place(&self) -> Place {
        self.place
    }
    fn now(&self) -> Time {
        self.now
    }
    fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }
    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }
    fn act(&mut self, _: Lane, action: Action<T>) -> Result<(), Busy> {
        match action {
            Action::Call { ticket, to, .. } => self.open.push((ticket, Some(to))),
            Action::Lookup { ticket, .. } => self.open.push((ticket, None)),
            Action::Send { .. } if self.dice.pick(8) == 0 => return Err(Busy),
            _ => {}
        }
        Ok(())
    }
    fn linked(&self, peer: &Guid) -> bool {
        peer.0[0].is_multiple_of(2)
    }
    fn facts(&self, _: &Guid) -> Facts {
        Facts::default()
    }
    fn below(&self) -> Option<&dyn Below> {
        None
    }
}

/// Lets an event befall a topology that its engine knows nothing of.
pub(super) fn strike<T: Topology>(play: &mut Play<T>, peer: Peer, number: u64) {
    let (now, overlay) = (play.world.now(), play.name(Room::A).id());
    let mut dice = Dice(mix(play.world.options().seed, number));
    let mut guids = play.census(Room::A).guids;
    guids.extend([Guid(bytes32(number, 0)), Guid([0; 32])]);
    let place = Place { overlay, me: play.world.guid(peer) };
    let (rng, tickets) = (Rng::seed_from_u64(number), u64::from(u32::MAX));
    let corpus = play.corpus.clone();
    let Some(topology) = play.world.topology_mut(peer) else { return };
    let mut host = Void { place, now, rng, tickets, dice: Dice(number), open: Vec::new() };
    let lane = |dice: &mut Dice| postcard::from_bytes(&[dice.byte() % 8]).unwrap_or_default();
    if dice.pick(6) == 0 {
        question(topology, &mut host, &guids, &corpus, &mut dice);
    } else if let Some(event) = event::<T>(&guids, &corpus, &mut dice) {
        let lane: Lane = lane(&mut dice);
        topology.handle(event, &mut Context::new(&mut host, lane));
    }
    // Whatever a topology asks is answered in the end; here by nobody.
    for _ in 0..MAX_ANSWERS {
        let Some((ticket, called)) = host.open.pop() else { break };
        let event = match called {
            Some(peer) => Event::Failed { ticket, peer },
            None => Event::Found { ticket, owner: None, peers: Vec::new() },
        };
        topology.handle(event, &mut Context::new(&mut host, Lane::default()));
    }
}

/// Asks what the engine asks, of peers and targets that make no sense.
fn question<T: Topology>(topology: &mut T, host: &mut Void, guids: &[Guid], corpus: &Corpus, dice: &mut Dice) {
    let to = target::<T>(dice);
    let state: Vec<u8> = (0..dice.pick(40)).map(|_| dice.byte()).collect();
    let mut query = Query::new(&to, dice.pick(64));
    (query.state, query.without, query.from) = (&state, &guids[dice.pick(guids.len())..], Some(any(guids, dice)));
    topology.route(&query, &mut Route::default());
    let _ = (topology.neighbors(), topology.addresses(), topology.breadth(), topology.protocols(), topology.proof());
    let _ = topology.distance(&to, any(guids, dice));
    if let Some(address) = decoded(dice) {
        let _ = topology.admits(any(guids, dice), &address, &state);
    }
    if let Some(mut message) = message::<T>(guids, corpus, dice) {
        let (origin, from, mut payload) = (any(guids, dice), Some(any(guids, dice)), Bytes::new());
        let mut transit = Transit { to: &to, origin, from, message: &mut message, payload: &mut payload };
        let _: Pass = topology.transit(&mut transit, &mut Context::new(host, Lane::default()));
    }
}

fn any(guids: &[Guid], dice: &mut Dice) -> Guid {
    guids[dice.pick(guids.len())]
}

/// A value of random bytes, if any are one.
fn decoded<V: DeserializeOwned>(dice: &mut Dice) -> Option<V> {
    (0..TRIES).find_map(|_| {
        let mut bytes: Vec<u8> = (0..dice.pick(48)).map(|_| dice.byte()).collect();
        // Small numbers are what variants and lengths look like.
        bytes.iter_mut().take(3).for_each(|byte| *byte %= 8);
        postcard::take_from_bytes(&bytes).ok().map(|(value, _)| value)
    })
}

fn message<T: Topology>(guids: &[Guid], corpus: &Corpus, dice: &mut Dice) -> Option<T::Message> {
    let said = corpus.any(dice);
    if said.is_empty() || dice.pick(4) == 0 { decoded(dice) } else { garbled(&said, guids, dice) }
}

fn target<T: Topology>(dice: &mut Dice) -> Target<T> {
    let key = Target::Key(Key(bytes32(dice.number(), 0)));
    if dice.pick(2) == 0 { key } else { decoded(dice).map_or(key, Target::Address) }
}

fn event<T: Topology>(guids: &[Guid], corpus: &Corpus, dice: &mut Dice) -> Option<Event<T>> {
    let peer = any(guids, dice);
    let ticket = Ticket(dice.number() % 16);
    let some: Vec<Guid> = (0..dice.pick(40)).map(|_| any(guids, dice)).collect();
    let id = CopyId([dice.byte() % 4; 16]);
    let topic = (dice.pick(2) == 0).then(|| Key(bytes32(dice.number() % 4, 1)));
    Some(match dice.pick(20) {
        0 => Event::Join { seeds: some },
        1 => Event::Leave,
        2 => Event::PeerUp { peer },
        3 => Event::PeerDown { peer, why: [Down::Left, Down::Lost, Down::Unwanted][dice.pick(3)] },
        4 => Event::DialFailed { peer },
        5..=8 => {
            let via = match dice.pick(3) {
                0 => Via::Direct,
                1 => decoded(dice).map_or(Via::Direct, Via::Call),
                _ => Via::Route { origin: any(guids, dice), to: target(dice), hops: dice.byte() },
            };
            Event::Message { from: peer, message: message::<T>(guids, corpus, dice)?, payload: Bytes::new(), via }
        }
        9 => Event::Reply { ticket, from: peer, message: message::<T>(guids, corpus, dice)?, payload: Bytes::new() },
        10 => Event::Failed { ticket, peer },
        11 => Event::Found { ticket, owner: Some(peer), peers: some },
        12 | 13 => Event::Timer(decoded(dice)?),
        14 => {
            let (from, first) = ((dice.pick(4) > 0).then_some(peer), dice.pick(2) == 0);
            Event::Copy { id, topic, from, first, hops: dice.byte() }
        }
        15 => Event::Heard { peer },
        16 => Event::Command { ticket, command: Bytes::from(corpus.any(dice)) },
        17 => Event::Writable { peer },
        18 => Event::Addresses { peer, addresses: (0..dice.pick(4)).filter_map(|_| decoded(dice)).collect() },
        _ => match dice.pick(6) {
            0 => Event::Known { peers: some },
            1 => Event::Sought { to: target(dice) },
            2 => Event::Below(Change::NeighborUp(peer)),
            3 => Event::Below(Change::NeighborDown(peer)),
            4 => Event::Below(Change::Range),
            _ => Event::Below(Change::Addresses),
        },
    })
}

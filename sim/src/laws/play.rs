//! A script comes true in a world, and what came of it is kept for the laws.

use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use polymorph_core::engine::Slot;
use polymorph_core::engine::io::{Command, Origin, Outcome, Urgency};
use polymorph_core::engine::settings;
use polymorph_core::overlay::Place;
use polymorph_core::topology::event::Ticket;
use polymorph_core::topology::model::Census;
use polymorph_core::topology::question::Target;
use polymorph_core::{Admission, Guid, Key, OverlayName, Time, Topology};

use super::hostile::{Corpus, Garbler};
use super::script::{Deed, Room, Script};
use crate::mix::{bytes32, mix};
use crate::options::{Codec, Options, Terms};
use crate::world::{Peer, World};
use crate::{Latency, witness};

/// How long what was asked last may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon all is well after somebody left in good order: a few round trips, and the news goes round.
pub(super) const PROMPT: Duration = Duration::from_secs(5);
/// Keep what is drawn for different purposes apart.
const KEYS: u64 = 0x6b65_7973;
const MARKS: u64 = 0x6d61_726b;

/// What a run is like besides its script.
pub(super) struct Stage<'a, T: Topology> {
    pub(super) seed: u64,
    pub(super) codec: Codec,
    pub(super) overlay: &'a settings::Overlay,
    pub(super) make: &'a dyn Fn(Place) -> T,
    /// How long it takes to be quiet after a disturbance.
    pub(super) quiet: Duration,
    pub(super) pace: Pace,
    /// How many links a topology asks for.
    pub(super) degree: usize,
}

/// When what peers ask is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// Once it is quiet.
    WhenQuiet,
    /// The same, but leaving in good order is no disturbance: [`PROMPT`] is enough.
    Promptly,
    /// Whatever else happens.
    Anytime,
}

/// Somebody asked who owns a key.
#[derive(Debug)]
pub(super) struct Find {
    pub(super) at: Time,
    pub(super) peer: Peer,
    pub(super) room: Room,
    pub(super) number: u64,
    pub(super) key: Key,
    pub(super) ticket: Ticket,
    /// Who was there.
    pub(super) census: Rc<Census>,
}

/// Somebody published.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) at: Time,
    pub(super) peer: Peer,
    pub(super) room: Room,
    pub(super) mark: [u8; 8],
    /// Who was there.
    pub(super) census: Rc<Census>,
    /// How many copies had been sent in the world before.
    pub(super) copies: u64,
}

/// A run in progress, and after it.
pub(super) struct Play<T: Topology> {
    pub(super) world: World<T>,
    pub(super) finds: Vec<Find>,
    pub(super) casts: Vec<Cast>,
    pub(super) slots: BTreeMap<(Peer, Room), Slot>,
    pub(super) corpus: Corpus,
    /// Who left or crashed.
    pub(super) gone: Vec<Peer>,
    terms: [Terms; 2],
    /// Whether what is said is noted down, for strikes.
    tapped: bool,
    /// How long it takes to be quiet from now on.
    unrest: Duration,
}

/// The key of a number.
pub(super) fn key(number: u64) -> Key {
    Key(bytes32(KEYS, number))
}

impl<T: Topology> Play<T> {
    pub(super) fn new(stage: &Stage<'_, T>, script: &Script) -> Self {
        let node = settings::Node::default();
        let node = settings::Node { connections: node.connections.max(stage.degree), ..node };
        let (low, high) = (Duration::from_millis(20), Duration::from_millis(60));
        let latency = Latency::Uniform { low, high };
        let (seed, codec) = (stage.seed, stage.codec);
        let mut world = World::new(Options { codec, latency, node, ..Options::seeded(seed) });
        // Everybody is born before anything happens, so that a number is the same peer whoever else comes.
        for _ in 0..=script.peers().last().copied().unwrap_or_default() {
            world.spawn();
        }
        let terms = |name| {
            let name = OverlayName::new(name, Admission::Open).expect("a good name");
            Terms { name, settings: stage.overlay.clone().into(), ..Terms::default() }
        };
        Self {
            world,
            finds: Vec::new(),
            casts: Vec::new(),
            slots: BTreeMap::new(),
            corpus: Corpus::default(),
            gone: Vec::new(),
            terms: [terms("a"), terms("b")],
            tapped: script.0.iter().any(|step| matches!(step.deed, Deed::Strike { .. })),
            unrest: Duration::ZERO,
        }
    }

    pub(super) fn name(&self, room: Room) -> &OverlayName {
        &self.terms[room as usize].name
    }

    pub(super) fn census(&self, room: Room) -> Census {
        self.world.census(self.name(room))
    }

    /// Who is in an overlay, and that one's part in it.
    pub(super) fn members(&self, room: Room) -> impl Iterator<Item = (Peer, &T)> {
        let inside = self.slots.iter().filter(move |((_, place), _)| *place == room);
        inside.filter_map(|((peer, _), slot)| Some((*peer, self.world.topology_in(*peer, *slot)?)))
    }

    /// The number of a peer, for a text.
    pub(super) fn who(&self, guid: &Guid) -> String {
        self.world.peer(guid).map_or_else(|| format!("a stranger, {}", guid.short()), |peer| format!("peer {}", peer.0))
    }

    /// Waits until it is quiet. What is still apart comes together first: in two halves nothing can be right.
    pub(super) fn calm(&mut self) {
        self.world.heal();
        let unrest = core::mem::take(&mut self.unrest);
        self.world.run_for(unrest);
    }

    /// Lets what was asked come to its end.
    pub(super) fn finish(&mut self) {
        self.calm();
        self.world.run_for(PATIENCE);
    }

    fn present(&self, number: u32, room: Room) -> Option<(Peer, Slot)> {
        let peer = Peer(number);
        let slot = *self.slots.get(&(peer, room))?;
        self.world.is_alive(peer).then_some((peer, slot))
    }

    /// A disturbance, after which it takes so long to be quiet.
    fn disturb(&mut self, unrest: Duration) {
        self.unrest = self.unrest.max(unrest);
    }

    /// Lets one thing happen. What cannot, such as a lookup by somebody who is not there, does not.
    pub(super) fn act(&mut self, stage: &Stage<'_, T>, deed: &Deed) {
        match *deed {
            Deed::Join { peer, through, room } => self.enter(stage, Peer(peer), through.map(Peer), room),
            Deed::Leave(peer) if self.world.is_alive(Peer(peer)) => {
                self.world.leave(Peer(peer));
                self.gone.push(Peer(peer));
                self.disturb(if stage.pace == Pace::Promptly { PROMPT } else { stage.quiet });
            }
            Deed::Crash(peer) if self.world.is_alive(Peer(peer)) => {
                self.world.crash(Peer(peer));
                self.gone.push(Peer(peer));
                self.disturb(stage.quiet);
            }
            Deed::Sever(a, b) if self.slots.contains_key(&(Peer(a), Room::A)) && a != b => {
                self.world.sever(Peer(a), Peer(b));
                self.disturb(stage.quiet);
            }
            Deed::Part(ref side) => {
                let side: Vec<Peer> =
                    side.iter().map(|peer| Peer(*peer)).filter(|peer| self.world.is_alive(*peer)).collect();
                self.world.partition(&side);
                self.disturb(stage.quiet);
            }
            Deed::Heal => {
                self.world.heal();
                if !self.unrest.is_zero() {
                    self.disturb(stage.quiet);
                }
            }
            Deed::Find { peer, key, room } => self.find(stage, peer, key, room),
            Deed::Publish { peer, room } => self.publish(stage, peer, room),
            Deed::Garble(peer) => {
                let garbler = Garbler::new(self.corpus.clone());
                self.world.corrupt(Peer(peer), garbler);
            }
            Deed::Strike { peer, number } => super::hostile::strike(self, Peer(peer), number),
            _ => {}
        }
    }

    fn enter(&mut self, stage: &Stage<'_, T>, peer: Peer, through: Option<Peer>, room: Room) {
        if !self.world.is_alive(peer) || self.slots.contains_key(&(peer, room)) {
            return;
        }
        let inside: Vec<Peer> = self.members(room).map(|(peer, _)| peer).collect();
        let through = through.filter(|peer| inside.contains(peer)).or(inside.first().copied());
        let Ok(slot) = self.world.attach(peer, &self.terms[room as usize], stage.make) else { return };
        self.slots.insert((peer, room), slot);
        if self.tapped && !self.world.is_corrupt(peer) {
            self.world.corrupt(peer, Garbler::tap(self.corpus.clone()));
        }
        let seeds = through.iter().map(|peer| self.world.contact(*peer)).collect();
        self.world.command_in(peer, slot, Command::Join { seeds });
        self.disturb(stage.quiet);
    }

    fn find(&mut self, stage: &Stage<'_, T>, peer: u32, number: u64, room: Room) {
        let Some((peer, slot)) = self.present(peer, room) else { return };
        if stage.pace != Pace::Anytime {
            self.calm();
        }
        let (at, ticket, key) = (self.world.now(), self.world.ticket(), key(number));
        let census = Rc::new(self.census(room));
        self.world.command_in(peer, slot, Command::Lookup { ticket, to: Target::Key(key), n: 1 });
        self.finds.push(Find { at, peer, room, number, key, ticket, census });
    }

    fn publish(&mut self, stage: &Stage<'_, T>, peer: u32, room: Room) {
        let Some((peer, slot)) = self.present(peer, room) else { return };
        if stage.pace != Pace::Anytime {
            self.calm();
        }
        let (at, ticket) = (self.world.now(), self.world.ticket());
        let mark = mix(stage.seed ^ MARKS, self.casts.len() as u64).to_le_bytes();
        let (census, copies) = (Rc::new(self.census(room)), self.world.traffic().frames("copy"));
        self.casts.push(Cast { at, peer, room, mark, census, copies });
        let payload = Bytes::copy_from_slice(&mark);
        let (origin, urgency) = (Origin::Claimed, Urgency::Usual);
        let command = Command::Publish { ticket, topic: None, payload, origin, urgency };
        self.world.command_in(peer, slot, command);
    }

    /// What became of a lookup: the owner and how many hops away it is.
    pub(super) fn found(&self, find: &Find) -> Option<(Guid, u32)> {
        match self.world.ended(find.peer, find.ticket) {
            Some(witness::Ended { outcome: Outcome::Found { owner: Some(owner), hops, .. }, .. }) => {
                Some((*owner, *hops))
            }
            _ => None,
        }
    }
}

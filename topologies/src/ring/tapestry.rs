//! Tapestry: a mesh of prefixes, and objects that are found on the way to their root.
//!
//! Zhao, Huang, Stribling, Rhea, Joseph & Kubiatowicz, "Tapestry: a resilient global-scale overlay for service
//! deployment", JSAC 22(1), 2004; how nodes come and go from Hildrum, Kubiatowicz, Rao & Zhao, "Distributed object
//! location in a dynamic network", SPAA 2002.
//!
//! A node's table has a slot for every digit that could follow the digits it shares with others: in each the nearest
//! peer and its backups. A message for a key corrects digit after digit; where nobody has the right digit, the next
//! higher one that somebody has stands in for it (*surrogate routing*). So a key's root is the peer whose digits are,
//! one by one, the least above the key's, and it is the same from everywhere as long as no slot is empty that
//! somebody could fill: *Property 1*. Every hop comes nearer in that order, whatever tables look like, so no message
//! goes in circles.
//!
//! Property 1 is kept by an *acknowledged multicast*: a newcomer's root tells everybody who shares as many digits with
//! the newcomer as itself, or fewer until they are as many as fill a slot, and the newcomer counts as in when all have
//! acknowledged. Newcomers under way are pinned in the slots they will fill, so that two who come at once hear of each
//! other; nobody sends by way of them before.
//!
//! Objects stay where they are. Who has one [publishes](Command::Publish) it: every node on the way to its root keeps
//! a pointer. Who wants one sends a [search](Command::Find) the same way, which ends at the first pointer, and asks
//! those named, the nearest by measured round trip first. Pointers expire and are published anew.
//!
//! Where to look: `mesh` the table · `joining` and `multicast` how a node comes in · `repair` how it stays right ·
//! `objects` pointers.

mod joining;
mod mesh;
mod model;
mod multicast;
mod objects;
mod repair;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use polymorph_core::overlay::Place;
use polymorph_core::topology::Topology;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Down, Event, Ticket, Via};
use polymorph_core::topology::question::{Neighbor, Pass, Powers, Query, Route, Target, Transit, Verdict};
use polymorph_core::{Distance, Guid, Key};
use serde::{Deserialize, Serialize};

use super::calls::Calls;
pub use super::prefix::Proximity;
use super::prefix::{BITS, Digits, PROXIMITIES, Peer, head};
use crate::setting::{Configure, Knob};
use joining::{Coming, Search};
pub use mesh::Slots;
use mesh::{Entry, Mesh};
use multicast::Cast;
pub use multicast::News;
pub use objects::{Answer, Command};
use objects::{Finding, Pointers};

/// What peers tell each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// Whom do you know? A call.
    Ask(Set),
    /// These: the answer.
    Peers(Vec<Guid>),
    /// I am in no overlay: the other answer to every call.
    Absent,
    /// You are in my table, or will be. A call.
    Met,
    /// Are you there? A call.
    Ping,
    /// I am: the answer to the two before.
    Pong,
    /// I am there; whom do you know for these empty slots, or like you, if your own is among them? A call.
    Holes(Slots),
    /// You are my root: tell all who need to know that I come, and whom they know for these empty slots.
    Insert(Slots),
    /// Tell all who share so many digits with you that somebody comes.
    Multicast(News),
    /// All whom you asked me to tell know.
    Told(u64),
    /// I have you in my table: to a newcomer.
    Reached,
    /// These fill empty slots of yours: to a newcomer.
    Filled(Vec<Guid>),
    /// All who need to know of you know.
    Inserted,
    /// I am not your root: the other answer to a newcomer.
    NotRoot,
    /// I leave, and these may take my place.
    Leaving(Vec<Guid>),
    /// On its way to the object's root: this server has it.
    Publish {
        /// What.
        object: Key,
        /// Who has it.
        server: Guid,
        /// For how many seconds this holds.
        seconds: u32,
    },
    /// On its way to the object's root, until it meets pointers.
    Find {
        /// What.
        object: Key,
        /// Who wants to know.
        asker: Guid,
        /// Names the search.
        id: u64,
        /// How many servers are wanted.
        most: u8,
    },
    /// These have it: to the asker.
    Servers {
        /// Names the search.
        id: u64,
        /// Who has it.
        servers: Vec<Guid>,
        /// Whether nobody else will answer.
        last: bool,
    },
    /// Pointers that are yours to keep now, each with the seconds it holds.
    Place(Vec<(Key, Guid, u32)>),
    /// Do you have this object? A call.
    Have(Key),
    /// Whether I do: the answer.
    Has(HasIt),
}

/// Whether a server has an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum HasIt {
    /// It does.
    Yes,
    /// It does not, or no longer.
    No,
}

/// A part of what a node knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Set {
    /// A row of the table.
    Row(u8),
    /// Those who have this node in such a row.
    Backs(u8),
    /// One slot.
    Slot {
        /// How many digits it shares with this node.
        row: u8,
        /// The digit after.
        column: u8,
    },
}

/// What is done again and again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Timer {
    /// Ask somebody of the table whether it is there and can fill empty slots.
    Beacon,
    /// Publish own objects anew, and drop what has expired.
    Republish,
    /// Try the next seed.
    Join,
    /// A multicast took long enough.
    Cast(u64),
    /// A search took long enough.
    Find(u64),
}

/// The settings of a Tapestry overlay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// How many bits a digit has.
    pub base_bits: u32,
    /// How many peers a slot holds besides the first.
    pub backups: usize,
    /// Whether nearness counts.
    pub proximity: Proximity,
    /// How often two peers of the table are asked whether they are there.
    pub beacon: Duration,
    /// How often own objects are published anew; a pointer holds three times as long.
    pub republish: Duration,
}

/// One node's part of a Tapestry overlay.
#[derive(Debug)]
pub struct Tapestry {
    config: Config,
    place: Place,
    mine: u64,
    mesh: Mesh,
    /// Who has this node in its table, as far as known.
    backs: BTreeSet<Guid>,
    stage: Stage,
    seeds: Vec<Guid>,
    /// The last peers that fell silent: when nobody is left, perhaps it was this node's own line.
    lost: Vec<Guid>,
    tries: u32,
    /// How far a newcomer is; `None` once all who need to know of it know.
    coming: Option<Coming>,
    /// A newcomer's search for near peers.
    search: Option<Search>,
    /// Multicasts that are not acknowledged yet.
    casts: BTreeMap<u64, Cast>,
    /// Questions under way.
    calls: Calls<Message, Purpose>,
    /// Whose turn it is to be asked.
    turn: usize,
    pointers: Pointers,
    /// What this node has and publishes.
    own: BTreeSet<Key>,
    finding: BTreeMap<u64, Finding>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Out,
    Joining,
    In,
}

/// What a question that is open is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// The root of this node's own position, by lookup.
    Root,
    /// A row of the root's, for a newcomer.
    First(u8),
    /// Whether somebody is there, and how far away. The first answer over a new session says nothing of that.
    Measure { peer: Guid, again: bool },
    /// Rows and backpointers of somebody near, for a newcomer that looks for nearer ones.
    Nearer(Guid, Set),
    /// Whether somebody of the table who did not answer is there.
    Suspect(Guid),
    /// Peers for empty slots.
    Beacon(Guid),
    /// Somebody for a slot that became empty, and how many were asked before.
    Slot { row: u8, column: u8, asked: u8 },
    /// Whether a server has an object, and how far away it is.
    Have { id: u64, server: Guid, again: bool },
}

impl Topology for Tapestry {
    type Address = Key;
    type Message = Message;
    type Timer = Timer;

    fn powers(&self) -> Powers {
        Powers { routes: true, intercepts: true, ..Powers::default() }
    }

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Join { seeds } => self.join(seeds, cx),
            Event::Known { peers } => self.meet_all(&peers, cx),
            Event::Leave => self.leave(cx),
            Event::Message { from, message, via, .. } => self.message(from, message, via, cx),
            Event::Reply { ticket, from, message, .. } => self.reply(ticket, from, message, cx),
            Event::Failed { ticket, peer } => self.failed(ticket, peer, cx),
            Event::Found { ticket, peers, .. } => self.found(ticket, &peers, cx),
            Event::Timer(Timer::Beacon) => self.beacon(cx),
            Event::Timer(Timer::Join) => self.try_seed(cx),
            Event::Timer(Timer::Republish) => self.republish(cx),
            Event::Timer(Timer::Cast(id)) => self.cast_over(id, cx),
            Event::Timer(Timer::Find(id)) => self.find_overdue(id, cx),
            Event::Command { ticket, command } => self.command(ticket, &command, cx),
            Event::PeerDown { peer, why: Down::Left } => self.gone(peer, cx),
            Event::PeerDown { peer, why: Down::Lost } | Event::DialFailed { peer } => self.suspect(peer, cx),
            _ => {}
        }
    }

    fn transit(&mut self, transit: &mut Transit<'_, Self>, cx: &mut Context<'_, Self>) -> Pass {
        self.passes(transit.message, cx)
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        repair::links(&self.mesh.guids())
    }

    fn addresses(&self) -> Vec<Key> {
        let in_place = self.stage == Stage::In && self.coming.is_none();
        if in_place { vec![self.place.mine()] } else { Vec::new() }
    }

    fn route(&self, query: &Query<'_, Self>, route: &mut Route) {
        if self.stage != Stage::In {
            return;
        }
        let (Target::Key(key) | Target::Address(key)) = query.to;
        let key = head(key);
        // Not all who need to know of a newcomer do, and until then whoever was the root is.
        let settled = |entry: &Entry| !entry.pinned && query.allows(&entry.peer.guid);
        match self.mesh.next(key, settled) {
            Some(slot) => {
                route.verdict = Verdict::Forward;
                let allowed = slot.iter().filter(|entry| settled(entry)).map(|entry| entry.peer.guid);
                route.peers.extend(allowed.take(query.n.max(1)));
            }
            None => {
                route.verdict = Verdict::Deliver { rank: 0 };
                self.mesh.nearest(key, query.n.saturating_sub(1), |peer| query.allows(peer), &mut route.peers);
            }
        }
    }

    fn distance(&self, to: &Target<Self>, peer: Guid) -> Distance {
        let (Target::Key(key) | Target::Address(key)) = to;
        Distance::from_number(self.digits().offset(head(key), self.peer(peer).at))
    }
}

impl Tapestry {
    fn digits(&self) -> Digits {
        Digits::new(self.config.base_bits)
    }

    fn peer(&self, guid: Guid) -> Peer {
        Peer::new(&self.place, guid)
    }

    fn message(&mut self, from: Guid, message: Message, via: Via<Self>, cx: &mut Context<'_, Self>) {
        match (message, via) {
            (_, Via::Call(call)) if self.stage != Stage::In => cx.reply(call, Message::Absent),
            (Message::Servers { id, servers, last }, Via::Direct) => self.servers(id, &servers, last, cx),
            _ if self.stage != Stage::In => {}
            (Message::Ping, Via::Call(call)) => cx.reply(call, Message::Pong),
            (Message::Met, Via::Call(call)) => {
                cx.reply(call, Message::Pong);
                self.back(from);
                self.met(from, cx);
                self.weigh(from, cx);
            }
            (Message::Ask(set), Via::Call(call)) => cx.reply(call, Message::Peers(self.set(set))),
            (Message::Holes(holes), Via::Call(call)) => {
                let asker = self.peer(from);
                cx.reply(call, Message::Peers(self.mesh.fill(asker, &mut holes.clone(), MAX_NAMED, self.turn)));
                self.back(from);
                self.met(from, cx);
            }
            (Message::Have(object), Via::Call(call)) => {
                let has = if self.own.contains(&object) { HasIt::Yes } else { HasIt::No };
                cx.reply(call, Message::Has(has));
            }
            (Message::Insert(holes), Via::Direct) => self.insert(from, holes, cx),
            (Message::Multicast(news), Via::Direct) if news.level > 0 => self.multicast(Some(from), news, cx),
            (Message::Told(id), Via::Direct) => self.told(id, from, cx),
            (Message::Reached, Via::Direct) => self.reached(from, cx),
            (Message::Filled(peers), Via::Direct) => self.meet_all(&peers, cx),
            (Message::NotRoot, Via::Direct) => self.not_root(from, cx),
            (Message::Inserted, Via::Direct) => self.inserted(from, cx),
            (Message::Leaving(peers), Via::Direct) => {
                self.gone(from, cx);
                self.meet_all(&peers, cx);
            }
            (Message::Place(pointers), Via::Direct) => self.placed(pointers, cx),
            (mut message @ (Message::Publish { .. } | Message::Find { .. }), Via::Route { .. }) => {
                self.at_root(&mut message, cx);
            }
            _ => {}
        }
    }

    /// What somebody asks for.
    fn set(&self, set: Set) -> Vec<Guid> {
        let digits = self.digits();
        let mut peers: Vec<Guid> = match set {
            Set::Row(row) => {
                // The nearest of each slot, then their backups.
                let slots = || self.mesh.slots_from(row).take_while(|(other, _)| *other == row);
                let firsts = slots().map(|(_, slot)| slot[0].peer.guid);
                firsts.chain(slots().flat_map(|(_, slot)| slot[1..].iter().map(|entry| entry.peer.guid))).collect()
            }
            Set::Slot { row, column } => self.mesh.slot(row, column).iter().map(|entry| entry.peer.guid).collect(),
            Set::Backs(row) => {
                let shares = |peer: &&Guid| digits.shared(self.mine, self.peer(**peer).at) == row;
                self.backs.iter().filter(shares).take(joining::NAMED).copied().collect()
            }
        };
        peers.truncate(MAX_NAMED);
        peers
    }

    /// Asks somebody; what only makes tables better waits for its turn.
    fn call(&mut self, to: Guid, message: Message, purpose: Purpose, cx: &mut Context<'_, Self>) -> bool {
        if matches!(purpose, Purpose::Measure { .. } | Purpose::Nearer(..)) {
            self.calls.ask_in_turn(to, message, purpose, cx)
        } else {
            self.calls.ask(to, message, purpose, cx)
        }
    }

    fn reply(&mut self, ticket: Ticket, from: Guid, message: Message, cx: &mut Context<'_, Self>) {
        let Some(purpose) = self.calls.take(ticket, cx) else { return };
        match (purpose, message) {
            (_, Message::Absent) => self.unanswered(purpose, from, cx),
            (Purpose::First(row), Message::Peers(peers)) => self.first_row(from, row, &peers, cx),
            (Purpose::Measure { again, .. }, Message::Pong) => self.measured(from, again, cx),
            (Purpose::Nearer(..), Message::Peers(peers)) => self.search_named(&peers, cx),
            (Purpose::Beacon(_), Message::Peers(peers)) => {
                self.met(from, cx);
                self.meet_all(&peers, cx);
            }
            (Purpose::Slot { row, column, asked }, Message::Peers(peers)) => {
                self.slot_answered(row, column, asked, &peers, cx);
            }
            (Purpose::Have { id, again, .. }, Message::Has(has)) => self.has(id, from, has, again, cx),
            _ => {}
        }
    }

    fn failed(&mut self, ticket: Ticket, peer: Guid, cx: &mut Context<'_, Self>) {
        if let Some(purpose) = self.calls.take(ticket, cx) {
            self.unanswered(purpose, peer, cx);
        }
    }

    /// Somebody has this node in its table.
    fn back(&mut self, peer: Guid) {
        if self.backs.len() < MAX_BACKS {
            self.backs.insert(peer);
        }
    }
}

impl Configure for Config {
    fn table() -> Vec<Knob<Self>> {
        vec![
            Knob::one_of("base_bits", "4", "bits of a digit: 1, 2, 4 or 8", &BITS, |config| &mut config.base_bits),
            Knob::number("backups", "2", "how many peers a slot holds besides the first", 0..=MAX_BACKUPS, |config| {
                &mut config.backups
            }),
            Knob::one_of(
                "proximity",
                "measured",
                "which peers are preferred: measured (the nearest) or none",
                &PROXIMITIES,
                |config| &mut config.proximity,
            ),
            Knob::seconds(
                "beacon",
                "10",
                "seconds between two questions whether peers of the table are there",
                |config| &mut config.beacon,
            ),
            Knob::seconds("republish", "3600", "seconds between two publications of an object", |config| {
                &mut config.republish
            }),
        ]
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // JSAC 2004, §III: hexadecimal digits, and two backups in each slot.
            base_bits: 4,
            backups: 2,
            proximity: Proximity::Measured,
            // Ours to choose: the paper's beacons go to everybody in the table, which a home link does not bear.
            beacon: Duration::from_secs(10),
            republish: Duration::from_secs(3600),
        }
    }
}

/// How many backups a slot may have: more are never needed before the slot is mended.
const MAX_BACKUPS: usize = 8;
/// How many peers one answer names: as many contacts go with a frame.
const MAX_NAMED: usize = 64;
/// How many of those who have this node in their tables are remembered: several times as many as there should be.
const MAX_BACKS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_say_their_defaults() {
        crate::setting::assert_defaults_hold::<Config>();
    }
}

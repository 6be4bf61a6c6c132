//! Pastry: every hop corrects one digit, over peers that are near in the network.
//!
//! Rowstron & Druschel, "Pastry: scalable, decentralized object location and routing for large-scale peer-to-peer
//! systems", Middleware 2001. A key belongs to the peer numerically nearest to it. A node knows three sets: its
//! *leaf set*, the nearest on both sides, within which it knows the owner of every key; a *routing table* with a row
//! for each digit it shares with others; and a *neighborhood set* of those nearest in the network, from which others
//! start to look for near peers (§2.1).
//!
//! Nearness is what the engine measured, never what somebody says: a peer takes another one's place in the table only
//! after both answered this node. How newcomers find a near first contact and how tables stay near as time passes is
//! from Castro, Druschel, Hu & Rowstron, "Exploiting network proximity in peer-to-peer overlay networks", MSR-TR-2002-82.
//! That nobody enters a leaf set without having answered, and nobody leaves one without having been asked, is from
//! Castro, Costa & Rowstron, "Performance and dependability of structured peer-to-peer overlays", DSN 2004.
//!
//! Where to look: `leafs` and `table` the sets · `joining` how a node comes in · `repair` how it stays right ·
//! `lost` who fell silent · `routing` the way of a message.

mod joining;
mod leafs;
mod lost;
mod model;
mod repair;
mod routing;
mod table;

use core::time::Duration;
use std::collections::VecDeque;

use polymorph_core::overlay::Place;
use polymorph_core::topology::Topology;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Down, Event, Ticket, Via};
use polymorph_core::topology::question::{Hold, Neighbor, Pass, Powers, Query, Role, Route, Target, Transit};
use polymorph_core::{Distance, Guid, Key, Time};
use serde::{Deserialize, Serialize};

use super::calls::Calls;
pub use super::prefix::Proximity;
use super::prefix::{BITS, Digits, PROXIMITIES, Peer};
use crate::setting::{Configure, Knob};
use joining::Approach;
use leafs::Leafs;
use lost::Lost;
use table::{Near, Table};

/// What peers tell each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// Bring me in: what a newcomer says to a near member. The number marks what is meant for it.
    Enter(u64),
    /// On its way to whoever stands nearest to the newcomer; each hop adds itself.
    Newcomer {
        /// Who comes.
        guid: Guid,
        /// The newcomer's number.
        pass: u64,
        /// Who was passed: whose rows the newcomer will ask for.
        path: Vec<Guid>,
    },
    /// You are in: the answer to a newcomer.
    Welcome {
        /// The newcomer's number.
        pass: u64,
        /// Who was passed on the way, from the near member to the nearest.
        path: Vec<Guid>,
        /// The leaf set of the nearest.
        leafs: Vec<Guid>,
    },
    /// I stand near you, and this is my leaf set. A call, answered by the other's.
    Here(Vec<Guid>),
    /// Whom do you know? A call.
    Ask(Set),
    /// These: the answer to the two before.
    Peers(Vec<Guid>),
    /// I am in no overlay: the other answer to every call.
    Absent,
    /// I stand near you, or you are in my table. A call that is answered like a ping.
    Met,
    /// Are you there? A call.
    Ping,
    /// I am.
    Pong,
    /// This peer of ours does not answer me: look for yourself.
    Silent(Guid),
    /// I leave you, and these were around me.
    Leaving(Vec<Guid>),
}

/// A part of what a node knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Set {
    /// The leaf set.
    Leafs,
    /// The neighborhood set.
    Near,
    /// A row of the table; the last one there is, if the number is higher.
    Row(u8),
    /// One entry of the table.
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
    /// Exchange leaf sets with the next peer.
    Keepalive,
    /// Look for nearer peers.
    Maintain,
    /// Try the next seed.
    Join,
}

/// The settings of a Pastry overlay.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Config {
    /// How many bits a digit has: b.
    pub base_bits: u32,
    /// How many peers the leaf set holds, half of them on each side: |L|.
    pub leaf: usize,
    /// How many peers the neighborhood set holds: |M|.
    pub neighborhood: usize,
    /// Whether nearness counts.
    pub proximity: Proximity,
    /// The share of hops that go to another suitable peer than the best (§2.3, "arbitrary node failures").
    pub random: f64,
    /// How often leaf sets are exchanged.
    pub keepalive: Duration,
    /// How often nearer peers are looked for.
    pub maintain: Duration,
}

/// One node's part of a Pastry overlay.
#[derive(Debug)]
pub struct Pastry {
    config: Config,
    place: Place,
    mine: u64,
    leafs: Leafs,
    table: Table,
    near: Near,
    stage: Stage,
    seeds: Vec<Guid>,
    /// The last peers that fell silent.
    lost: Lost,
    tries: u32,
    /// How a newcomer looks for a near member.
    approach: Option<Approach>,
    /// Who was asked to lead it in, and how often it will be asked again.
    member: Option<(Guid, u32)>,
    /// What its messages are marked with.
    pass: u64,
    /// Questions under way.
    calls: Calls<Message, Purpose>,
    /// Slots that became empty and for which nobody was found.
    holes: VecDeque<(u8, u8)>,
    /// When the previous peer last gave a sign of life.
    heard: Time,
    /// What random hops are drawn from, with the number of each question.
    salt: u64,
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
    /// A set of somebody near, for a newcomer that looks for the nearest.
    Approach(Set),
    /// A leaf set, and a sign that its owner is there.
    Here(Guid),
    /// Somebody's leaf set.
    Leafs(Guid),
    /// A sign of life of somebody who belongs into the leaf set.
    Leaf(Guid),
    /// The round trip to somebody. The first answer over a new session says nothing of it.
    Measure { peer: Guid, again: bool },
    /// A row or the neighborhood of somebody, to find nearer ones.
    Nearer(Guid, Set),
    /// Somebody for a slot that became empty, and how many were asked before.
    Slot { row: u8, column: u8, asked: u8 },
    /// Somebody whom another one found silent.
    Suspect(Guid),
}

impl Topology for Pastry {
    type Address = Key;
    type Message = Message;
    type Timer = Timer;

    fn powers(&self) -> Powers {
        Powers { routes: true, intercepts: true, degree: 2, ..Powers::default() }
    }

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Join { seeds } => self.join(seeds, cx),
            Event::Known { peers } => self.consider_all(&peers, cx),
            Event::Leave => self.leave(cx),
            Event::Message { from, message, via, .. } => self.message(from, message, via, cx),
            Event::Reply { ticket, from, message, .. } => self.reply(ticket, from, message, cx),
            Event::Failed { ticket, peer } => self.failed(ticket, peer, cx),
            Event::Timer(Timer::Keepalive) => self.keepalive(cx),
            Event::Timer(Timer::Maintain) => self.maintain(cx),
            Event::Timer(Timer::Join) => self.try_seed(cx),
            Event::PeerDown { peer, why: Down::Left } => self.gone(peer, cx),
            // A broken wire is no proof of death: whoever passes a leaf over makes another the owner.
            Event::PeerDown { peer, why: Down::Lost } | Event::DialFailed { peer } => {
                cx.want(peer, self.hold(&peer));
                self.suspect(peer, cx);
            }
            _ => {}
        }
    }

    fn transit(&mut self, transit: &mut Transit<'_, Self>, _: &mut Context<'_, Self>) -> Pass {
        match transit.message {
            Message::Newcomer { path, .. } if path.len() >= MAX_PATH => return Pass::Absorb,
            Message::Newcomer { path, .. } => path.push(self.place.me),
            _ => {}
        }
        Pass::On
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        let leafs = self.leafs.all().map(|peer| {
            let hold = self.hold(&peer.guid);
            Neighbor { peer: peer.guid, role: Role::Leaf, hold }
        });
        let table = self.table.peers().filter(|peer| !self.leafs.contains(&peer.guid));
        leafs.chain(table.map(|peer| Neighbor { peer: peer.guid, role: Role::Finger, hold: Hold::Cached })).collect()
    }

    fn addresses(&self) -> Vec<Key> {
        if self.stage == Stage::In { vec![self.place.mine()] } else { Vec::new() }
    }

    fn route(&self, query: &Query<'_, Self>, route: &mut Route) {
        if self.stage == Stage::In {
            self.way(query, route);
        }
    }

    fn distance(&self, to: &Target<Self>, peer: Guid) -> Distance {
        let &(Target::Key(key) | Target::Address(key)) = to;
        self.place.position(peer).around(&key)
    }
}

impl Pastry {
    /// The neighborhood set, the nearest first.
    #[must_use]
    pub fn neighborhood(&self) -> Vec<Guid> {
        self.near.guids()
    }

    fn digits(&self) -> Digits {
        Digits::new(self.config.base_bits)
    }

    fn peer(&self, guid: Guid) -> Peer {
        Peer::new(&self.place, guid)
    }

    /// The two at its sides are a node's required links.
    fn hold(&self, peer: &Guid) -> Hold {
        if self.leafs.is_beside(peer) { Hold::Required } else { Hold::Cached }
    }

    fn message(&mut self, from: Guid, message: Message, via: Via<Self>, cx: &mut Context<'_, Self>) {
        if self.leafs.previous().is_some_and(|peer| peer.guid == from) {
            self.heard = cx.now();
        }
        match (message, via) {
            (Message::Welcome { pass, path, leafs }, Via::Direct) => self.welcome(from, pass, &path, &leafs, cx),
            (_, Via::Call(call)) if self.stage != Stage::In => cx.reply(call, Message::Absent),
            _ if self.stage != Stage::In => {}
            (Message::Ping, Via::Call(call)) => cx.reply(call, Message::Pong),
            (Message::Met, Via::Call(call)) => {
                cx.reply(call, Message::Pong);
                self.insert_leaf(from, cx);
                self.consider(from, cx);
            }
            (Message::Here(leafs), Via::Call(call)) => {
                cx.reply(call, Message::Peers(self.leafs.guids()));
                self.here(from, &leafs, cx);
            }
            (Message::Ask(set), Via::Call(call)) => cx.reply(call, Message::Peers(self.set(set))),
            (Message::Enter(pass), Via::Direct) => self.lead_in(from, pass, cx),
            (Message::Newcomer { guid, pass, path }, Via::Route { .. }) => self.receive(guid, pass, path, cx),
            (Message::Silent(peer), Via::Direct) if self.leafs.contains(&peer) => self.suspect(peer, cx),
            (Message::Leaving(leafs), Via::Direct) => self.left(from, &leafs, cx),
            _ => {}
        }
    }

    /// What somebody asks for.
    fn set(&self, set: Set) -> Vec<Guid> {
        match set {
            Set::Leafs => self.leafs.guids(),
            Set::Near => self.near.guids(),
            Set::Row(row) => {
                let row = row.min(self.table.last_row());
                self.table.row(row).map(|entry| entry.peer.guid).collect()
            }
            Set::Slot { row, column } => self.table.get(row, column).map(|e| e.peer.guid).into_iter().collect(),
        }
    }

    /// Asks somebody; what only makes tables better waits for its turn.
    fn call(&mut self, to: Guid, message: Message, purpose: Purpose, cx: &mut Context<'_, Self>) -> bool {
        if matches!(purpose, Purpose::Measure { .. } | Purpose::Nearer(..) | Purpose::Leaf(_)) {
            self.calls.ask_in_turn(to, message, purpose, cx)
        } else {
            self.calls.ask(to, message, purpose, cx)
        }
    }

    fn reply(&mut self, ticket: Ticket, from: Guid, message: Message, cx: &mut Context<'_, Self>) {
        let Some(purpose) = self.calls.take(ticket, cx) else { return };
        if self.leafs.previous().is_some_and(|peer| peer.guid == from) {
            self.heard = cx.now();
        }
        match (purpose, message) {
            (_, Message::Absent) => self.unanswered(purpose, from, cx),
            (Purpose::Approach(set), Message::Peers(peers)) => self.approach_answered(set, &peers, cx),
            (Purpose::Here(_), Message::Peers(leafs)) => self.here(from, &leafs, cx),
            (Purpose::Leafs(_), Message::Peers(leafs)) => self.learn_leafs(&leafs, cx),
            (Purpose::Leaf(_), Message::Pong) => {
                self.insert_leaf(from, cx);
                self.measured(from, false, cx);
            }
            (Purpose::Measure { again, .. }, Message::Pong) => self.measured(from, again, cx),
            (Purpose::Nearer(_, Set::Near), Message::Peers(peers)) => self.learn_near(&peers, cx),
            (Purpose::Nearer(..), Message::Peers(peers)) => self.consider_all(&peers, cx),
            (Purpose::Slot { row, column, asked }, Message::Peers(peers)) => {
                self.slot_answered(row, column, asked, &peers, cx);
            }
            _ => {}
        }
    }

    fn failed(&mut self, ticket: Ticket, peer: Guid, cx: &mut Context<'_, Self>) {
        if let Some(purpose) = self.calls.take(ticket, cx) {
            self.unanswered(purpose, peer, cx);
        }
    }
}

impl Configure for Config {
    fn table() -> Vec<Knob<Self>> {
        vec![
            Knob::one_of("base_bits", "4", "bits of a digit: 1, 2, 4 or 8", &BITS, |config| &mut config.base_bits),
            Knob::number("leaf", "16", "size of the leaf set, half of it on each side", 2..=MAX_LEAF, |config| {
                &mut config.leaf
            }),
            Knob::number("neighborhood", "32", "size of the neighborhood set", 0..=MAX_NEIGHBORHOOD, |config| {
                &mut config.neighborhood
            }),
            Knob::one_of(
                "proximity",
                "measured",
                "which peers are preferred: measured (the nearest) or none",
                &PROXIMITIES,
                |config| &mut config.proximity,
            ),
            Knob::number("random", "0", "the share of hops that do not go to the best peer", 0.0..=1.0, |config| {
                &mut config.random
            }),
            Knob::seconds("keepalive", "30", "seconds between two exchanges of leaf sets", |config| {
                &mut config.keepalive
            }),
            Knob::seconds("maintain", "1200", "seconds between two searches for nearer peers", |config| {
                &mut config.maintain
            }),
        ]
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // The three of the paper's simulations (§3).
            base_bits: 4,
            leaf: 16,
            neighborhood: 32,
            proximity: Proximity::Measured,
            random: 0.0,
            // DSN 2004, §5.1: heartbeats every 30 s, routing table maintenance every 20 minutes.
            keepalive: Duration::from_secs(30),
            maintain: Duration::from_secs(1200),
        }
    }
}

/// How large a leaf set may be: it travels with each exchange.
const MAX_LEAF: usize = 64;
/// How large a neighborhood set may be: newcomers measure each of it.
const MAX_NEIGHBORHOOD: usize = 64;
/// How many hops a newcomer's way may have: far more than any has.
const MAX_PATH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_say_their_defaults() {
        crate::setting::assert_defaults_hold::<Config>();
    }

    #[test]
    fn a_node_that_has_not_joined_answers_nobody() {
        let place = Place { overlay: polymorph_core::OverlayId([1; 32]), me: Guid([2; 32]) };
        let node = <Pastry as polymorph_core::topology::model::Model>::new(&Config::default(), place);
        let (to, mut route) = (Target::Key(Key::of(b"key")), Route::default());
        node.route(&Query::new(&to, 1), &mut route);
        assert_eq!(route, Route::default());
        assert_eq!(super::super::prefix::head(&place.mine()), node.mine);
    }
}

//! Chord: a ring on which everybody knows the peers that follow, and shortcuts at every power of two.
//!
//! Stoica, Morris, Liben-Nowell, Karger, Kaashoek, Dabek & Balakrishnan, "Chord: a scalable peer-to-peer lookup
//! protocol for Internet applications", SIGCOMM 2001 and ToN 11(1), 2003. A key belongs to the first peer at or
//! after it, clockwise; half of log2 N hops find it.
//!
//! The rules for joining and stabilizing as published there are not correct (Zave, "Using lightweight modeling to
//! understand Chord", CCR 2012). What runs here is Zave's repaired protocol ("Reasoning about identifier spaces:
//! how to make Chord correct", TSE 43(12), 2017): a node joins with a whole successor list, and lists are only
//! taken over as a whole from a peer that just answered. Her proof assumes that r + 1 members of the first ring
//! stay; with fewer nodes than that, everybody's list simply holds everybody.
//!
//! What is ours, because real messages cross each other:
//! - A node that has not joined answers nothing, and one that does not know its predecessor claims no key but
//!   those it is told are its own: the last hop carries route state (`last_hop`) that names whom the sender passed
//!   over. Without it, one route in thirty went wrong while a tenth of the peers lay dead.
//! - Whoever gets a nearer predecessor tells the old one [`Message::Between`], so that the ring closes in a few
//!   round trips and not in a period for every node of a crowd that joined at once.
//! - A node that leaves tells both sides [`Message::Leaving`].

mod last_hop;
mod model;
mod protocol;
mod table;

use core::iter;
use core::time::Duration;

use bytes::Bytes;
use polymorph_core::topology::Topology;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Down, Event, Ticket};
use polymorph_core::topology::question::{Hold, Neighbor, Powers, Query, Route, Target, Verdict};
use polymorph_core::{Distance, Guid, Key, Time};
use serde::{Deserialize, Serialize};

use crate::setting::{Configure, Knob};
use last_hop::LastHop;
use table::{Peer, Table};

/// What nodes of a ring tell each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// Who are your neighbors? A call.
    Ask,
    /// These are: the answer to [`Ask`](Self::Ask).
    State {
        /// The peer before.
        predecessor: Option<Guid>,
        /// The peers after, nearest first.
        successors: Vec<Guid>,
    },
    /// I am on no ring: the other answer to [`Ask`](Self::Ask).
    Absent,
    /// I think you follow me: I may be your predecessor.
    Notify,
    /// Somebody stands between you and me now: ask me again.
    Between,
    /// I leave you, and these were my neighbors.
    Leaving {
        /// The peer before.
        predecessor: Option<Guid>,
        /// The peers after, nearest first.
        successors: Vec<Guid>,
    },
    /// Are you there? A call.
    Ping,
    /// I am.
    Pong,
}

/// What is done again and again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Timer {
    /// Compare notes with the successor.
    Stabilize,
    /// Look the fingers up.
    FixFingers,
    /// Try the next seed.
    Join,
}

/// Which peers a message may take a short cut over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Shortcut {
    /// Fingers only, as in the paper's figures: the successor list serves the last hop and failed fingers.
    #[default]
    None,
    /// Fingers and the successor list, as in the ToN simulations: fewer hops.
    Successors,
}

/// The same, as users write it.
pub(super) const SHORTCUTS: [(&str, Shortcut); 2] = [("none", Shortcut::None), ("successors", Shortcut::Successors)];

/// The settings of a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// How many successors are kept: r. At least log2 N; the ring survives unless all of them fail at once.
    pub successors: usize,
    /// How many of the 256 fingers are kept, the longest ones.
    pub fingers: u32,
    /// Who may be a short cut.
    pub shortcut: Shortcut,
    /// How often a node stabilizes.
    pub stabilize: Duration,
    /// How often all fingers are looked up.
    pub fix_fingers: Duration,
}

/// One node's part of a ring.
#[derive(Debug)]
pub struct Chord {
    config: Config,
    table: Table,
    stage: Stage,
    seeds: Vec<Guid>,
    /// How many seeds were tried since there was last somebody.
    tries: u32,
    /// Answers that are still to come, one of each kind.
    awaited: Vec<(Ticket, Awaited)>,
    /// When the predecessor last gave a sign of life.
    heard: Time,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Out,
    Joining,
    In,
}

/// What an answer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Awaited {
    /// The owner of this node's position: its successor to be.
    Entry,
    /// The state of the first successor.
    Head,
    /// The state of somebody who stands before it.
    Closer,
    /// A sign of life of the predecessor, whose place somebody else may want.
    Predecessor(Option<Guid>),
    /// The owner of a finger's start.
    Finger(u32),
}

impl Topology for Chord {
    type Address = Key;
    type Message = Message;
    type Timer = Timer;

    fn powers(&self) -> Powers {
        Powers { routes: true, degree: 2, ..Powers::default() }
    }

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Join { seeds } => self.join(seeds, cx),
            Event::Leave => self.leave(cx),
            Event::Message { from, message, via, .. } => self.message(from, message, &via, cx),
            Event::Reply { ticket, from, message, .. } => self.reply(ticket, from, message, cx),
            Event::Failed { ticket, peer } => self.failed(ticket, peer, cx),
            Event::Found { ticket, owner, .. } => self.found(ticket, owner, cx),
            Event::Timer(Timer::Stabilize) => self.stabilize(cx),
            Event::Timer(Timer::FixFingers) => self.fix_fingers(cx),
            Event::Timer(Timer::Join) => self.try_seed(cx),
            // A broken wire is no proof of death: whoever passes its successor over makes another the owner.
            Event::PeerDown { peer, why: Down::Lost } if self.table.head().map(|head| head.guid) == Some(peer) => {
                cx.want(peer, Hold::Required);
                self.ask_head(cx);
            }
            Event::PeerDown { peer, why: Down::Left | Down::Lost } | Event::DialFailed { peer } => self.gone(peer, cx),
            _ => {}
        }
    }

    fn periodic(&self, timer: &Timer) -> bool {
        matches!(timer, Timer::Stabilize | Timer::FixFingers)
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        self.table.neighbors()
    }

    fn addresses(&self) -> Vec<Key> {
        if self.stage == Stage::In { vec![self.table.mine()] } else { Vec::new() }
    }

    fn route(&self, query: &Query<'_, Self>, route: &mut Route) {
        if self.stage != Stage::In {
            return;
        }
        let &(Target::Key(key) | Target::Address(key)) = query.to;
        let point = self.table.to(&key);
        let allowed = |peer: &Guid| query.allows(peer);
        let told = LastHop::read(query.state);
        let predecessor = self.table.predecessor();
        let before = predecessor.filter(|peer| point > Distance::ZERO && point <= peer.at);
        if let Some(told) = &told
            && let Some(before) = before.filter(|peer| allowed(&peer.guid) && !told.names(&peer.guid))
        {
            // Whoever sent this here does not know the peer before this one yet.
            route.verdict = Verdict::Forward;
            route.peers.push(before.guid);
            route.state = Bytes::copy_from_slice(query.state);
            return;
        }
        let mine = told.is_some() || point == Distance::ZERO || predecessor.is_some() && before.is_none();
        match self.table.first(allowed).filter(|_| !mine) {
            None => self.deliver(query, route),
            Some(first) => self.forward(point, first, query, route),
        }
    }

    fn distance(&self, to: &Target<Self>, peer: Guid) -> Distance {
        let &(Target::Key(key) | Target::Address(key)) = to;
        self.table.place().position(peer).clockwise(&key)
    }
}

impl Chord {
    /// Where this node is.
    #[cfg(feature = "symphony")]
    pub(super) fn place(&self) -> polymorph_core::Place {
        self.table.place()
    }

    /// The key is this node's, and its replicas are with those that follow.
    fn deliver(&self, query: &Query<'_, Self>, route: &mut Route) {
        route.verdict = Verdict::Deliver { rank: 0 };
        let others = self.table.successors().iter().map(|peer| peer.guid).filter(|peer| query.allows(peer));
        route.peers.extend(others.take(query.n.saturating_sub(1)));
    }

    /// The key is somebody else's: the owner's if this node knows it, otherwise somebody's on the way.
    fn forward(&self, point: Distance, first: Peer, query: &Query<'_, Self>, route: &mut Route) {
        route.verdict = Verdict::Forward;
        let allowed = |peer: &Guid| query.allows(peer);
        let owner = match self.config.shortcut {
            _ if point <= first.at => Some(first),
            Shortcut::Successors => self.table.successors_from(point).find(|peer| allowed(&peer.guid)),
            Shortcut::None => None,
        };
        let Some(owner) = owner else {
            let way = self.table.preceding(point, &allowed, self.config.shortcut);
            return route.peers.extend(way.take(query.n.max(1)).map(|peer| peer.guid));
        };
        let after = self.table.successors_from(owner.at).map(|peer| peer.guid);
        let after = after.filter(|peer| *peer != owner.guid && allowed(peer)).take(query.n.saturating_sub(1));
        route.peers.extend(iter::once(owner.guid).chain(after));
        let passed = self.table.successors_from(point).take_while(|peer| peer.at < owner.at).map(|peer| peer.guid);
        route.state = LastHop::write(passed.chain(route.peers.iter().copied()));
    }
}

impl Configure for Config {
    fn table() -> Vec<Knob<Self>> {
        vec![
            Knob::number("successors", "16", "length of the successor list", 1..=MAX_SUCCESSORS, |config| {
                &mut config.successors
            }),
            Knob::number("fingers", "256", "how many fingers are kept, the longest ones", 1..=256, |config| {
                &mut config.fingers
            }),
            Knob::one_of(
                "shortcut",
                "none",
                "short cuts over the successor list: none or successors",
                &SHORTCUTS,
                |config| &mut config.shortcut,
            ),
            Knob::seconds("stabilize", "20", "seconds between two rounds of stabilizing", |config| {
                &mut config.stabilize
            }),
            Knob::seconds("fix_fingers", "120", "seconds between two rounds of looking up the fingers", |config| {
                &mut config.fix_fingers
            }),
        ]
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // The SIGCOMM paper asks for Ω(log N), its simulations take 2·log2 N; 16 is that at a few hundred nodes
            // and log2 N at 65,536.
            successors: 16,
            fingers: 256,
            shortcut: Shortcut::None,
            // OverSim's defaults for Chord. SIGCOMM 2001 §6.4 takes 30 s for both.
            stabilize: Duration::from_secs(20),
            fix_fingers: Duration::from_secs(120),
        }
    }
}

/// How many successors may be asked for. Each stabilization carries the list, so more would be paid for all the
/// time; with 64 the ring survives the simultaneous loss of half of a million peers.
const MAX_SUCCESSORS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_say_their_defaults() {
        crate::setting::assert_defaults_hold::<Config>();
    }
}

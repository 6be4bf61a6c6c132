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
//!
//! A peer may stand at several places, as so many virtual nodes (SIGCOMM 2001, §6.1; the places are hashes of the
//! peer's Guid and an index, as in CFS, SOSP 2001, §5.2): it then owns several small arcs and not one that may be large
//! or small. Each virtual node keeps tables of its own and takes part in the protocol as any other. What goes through a
//! peer goes on from that of its virtual nodes which stands nearest before the key (`way`), and virtual nodes of one
//! peer speak to each other without a wire (`together`).

mod doubts;
mod last_hop;
mod model;
mod name;
mod protocol;
mod table;
mod together;
mod virtual_node;
mod way;

use core::time::Duration;

use polymorph_core::topology::Topology;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::Event;
use polymorph_core::topology::question::{Neighbor, Powers, Query, Route, Target};
use polymorph_core::{Distance, Guid, Key};
use serde::{Deserialize, Serialize};

use super::links::Holds;
use crate::setting::{Configure, Knob};
use table::Choice;
pub use together::Stand;
use virtual_node::VirtualNode;

/// What nodes of a ring tell each other. On the wire virtual nodes are named by their peers (`P` is a Guid), and the
/// rest of their names travels beside the message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message<P = Guid> {
    /// Who are your neighbors? A call.
    Ask,
    /// These are: the answer to [`Ask`](Self::Ask).
    State {
        /// The peer before.
        predecessor: Option<P>,
        /// The peers after, nearest first.
        successors: Vec<P>,
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
        predecessor: Option<P>,
        /// The peers after, nearest first.
        successors: Vec<P>,
    },
    /// Are you there? A call.
    Ping,
    /// I am.
    Pong,
}

/// When one of the virtual nodes is to do what.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Timer {
    /// Which one.
    pub index: u8,
    /// What.
    pub beat: Beat,
}

/// What is done again and again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Beat {
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
    /// Of how many peers that could be a finger the nearest by measured round trip is; 0 or 1 for the first one, whoever it is.
    pub proximity: usize,
    /// At how many places each peer stands. All peers of an overlay must have as many.
    pub virtual_nodes: u8,
    /// How often a node stabilizes.
    pub stabilize: Duration,
    /// How often all fingers are looked up.
    pub fix_fingers: Duration,
}

impl Config {
    /// At how many places a peer stands: nobody stands nowhere.
    fn places(&self) -> u8 {
        self.virtual_nodes.max(1)
    }

    /// How fingers are chosen. The nearest of one is the first.
    fn choice(&self) -> Choice {
        if self.proximity > 1 { Choice::Near } else { Choice::First }
    }
}

/// One peer's part of a ring: a virtual node or several.
#[derive(Debug)]
pub struct Chord {
    nodes: Vec<VirtualNode>,
    /// What links several virtual nodes hold together; one looks after its own.
    held: Holds,
}

impl Topology for Chord {
    type Address = Key;
    type Message = Message;
    type Timer = Timer;

    fn powers(&self) -> Powers {
        Powers { routes: true, degree: 2 * self.nodes.len(), ..Powers::default() }
    }

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        self.happened(event, cx);
        if self.nodes.len() > 1 {
            self.keep_together(cx);
            if self.nodes.iter().any(|node| node.edited) {
                self.nodes.iter_mut().for_each(|node| node.edited = false);
                self.held = self.held.become_of(&self.neighbors(), cx);
            }
        }
    }

    fn periodic(&self, timer: &Timer) -> bool {
        matches!(timer.beat, Beat::Stabilize | Beat::FixFingers)
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        let mut all: Vec<Neighbor> = self.nodes.iter().flat_map(|node| node.table.neighbors()).collect();
        if self.nodes.len() > 1 {
            all.sort_unstable();
            all.dedup();
        }
        all
    }

    fn addresses(&self) -> Vec<Key> {
        self.nodes.iter().filter(|node| node.is_in()).map(|node| node.table.mine()).collect()
    }

    fn route(&self, query: &Query<'_, Self>, route: &mut Route) {
        let &(Target::Key(key) | Target::Address(key)) = query.to;
        self.find_way(&key, query, route);
    }

    fn distance(&self, to: &Target<Self>, peer: Guid) -> Distance {
        let &(Target::Key(key) | Target::Address(key)) = to;
        let overlay = self.place().overlay;
        let far = |node: &VirtualNode| overlay.position(peer, node.index.into()).clockwise(&key);
        self.nodes.iter().map(far).min().unwrap_or(Distance::MAX)
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
            Knob::number(
                "proximity",
                "0",
                "a finger is the nearest of so many; 0 for the first, whoever it is",
                0..=MAX_PROXIMITY,
                |config| &mut config.proximity,
            ),
            Knob::number(
                "virtual_nodes",
                "1",
                "at how many places each peer stands; the same for all peers",
                1..=MAX_VIRTUAL_NODES,
                |config| &mut config.virtual_nodes,
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
            proximity: 0,
            virtual_nodes: 1,
            // OverSim's defaults for Chord. SIGCOMM 2001 §6.4 takes 30 s for both.
            stabilize: Duration::from_secs(20),
            fix_fingers: Duration::from_secs(120),
        }
    }
}

/// How many successors may be asked for. Each stabilization carries the list, so more would be paid for all the
/// time; with 64 the ring survives the simultaneous loss of half of a million peers.
const MAX_SUCCESSORS: usize = 64;

/// Of how many a finger may be the nearest: so many are measured at once, each of whom may have to be dialed, and that is half
/// of the sessions a node keeps. The first of them names the others, who are in its successor list. Beyond 16 little is
/// gained (Dabek et al., NSDI 2004, §4.3).
const MAX_PROXIMITY: usize = 24;
/// How many virtual nodes a peer may have: beyond a few times log2 N the load becomes little more even (SIGCOMM 2001,
/// figure 9), while what is kept and sent to keep it grows with each.
const MAX_VIRTUAL_NODES: u8 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_say_their_defaults() {
        crate::setting::assert_defaults_hold::<Config>();
    }
}

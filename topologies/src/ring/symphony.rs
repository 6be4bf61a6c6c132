//! Symphony: a ring with a few links at harmonic distances, and a look one hop ahead.
//!
//! Manku, Bawa & Raghavan, "Symphony: distributed hashing in a small world", USITS 2003. A node draws k long links at
//! distances x with probability 1 / (x ln n), where it estimates n from how close its successors stand (§3.2). Links
//! are used both ways, and nobody takes more than 2k of others'. Peers tell each other whom they are linked to, and a
//! message goes to the neighbor whose neighbor is nearest to the key (§3.5): a constant number of links, and half as
//! many hops.
//!
//! The ring itself is [`Chord`]'s without its fingers, inside this topology: joining, stabilizing, who owns what, and
//! the last hop are Chord's. `inside` lets the one speak through the other.

mod inside;
mod links;
mod model;

use core::time::Duration;

use polymorph_core::topology::Topology;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Event, Ticket, Via};
use polymorph_core::topology::question::{Hold, Neighbor, Powers, Query, Role, Route, Target, Verdict};
use polymorph_core::{Distance, Guid, Key};
use serde::{Deserialize, Serialize};

use super::chord::{self, Chord, Shortcut};
use super::links::Holds;
use super::prefix::{Peer, around, head};
use crate::setting::{Configure, Knob};
use links::Links;

/// What peers tell each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// The ring's.
    Ring(chord::Message),
    /// I drew you: be linked to me. A call.
    Link,
    /// I have as many links as I take: the other answer.
    Full,
    /// These are my neighbors; are we linked? A call, and the answer to it and to [`Link`](Self::Link).
    Linked(Vec<Guid>),
    /// We are not, or no longer.
    Unlinked,
}

/// What is done again and again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Timer {
    /// The ring's.
    Ring(chord::Timer),
    /// Draw the links that are missing, and exchange neighbors.
    Relink,
}

/// The settings of a Symphony overlay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// How many long links a node draws: k.
    pub links: usize,
    /// How many hops ahead a message looks: 0 or 1.
    pub lookahead: usize,
    /// How many successors are kept.
    pub successors: usize,
    /// Whether all of them are short cuts, or the first only, as in the paper.
    pub shortcut: Shortcut,
    /// How often a node stabilizes.
    pub stabilize: Duration,
    /// How often missing links are drawn and neighbors exchanged.
    pub relink: Duration,
}

/// One node's part of a Symphony overlay.
#[derive(Debug)]
pub struct Symphony {
    config: Config,
    ring: Chord,
    mine: u64,
    links: Links,
    /// Answers that are still to come.
    open: Vec<(Ticket, Purpose)>,
}

/// What a question that is open is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// Who stands at a distance that was drawn; how many more may be drawn if it is of no use.
    Drawn(u32),
    /// Whether it takes the link.
    Link(u32),
    /// Somebody's neighbors.
    Exchange,
}

impl Topology for Symphony {
    type Address = Key;
    type Message = Message;
    type Timer = Timer;

    fn powers(&self) -> Powers {
        self.ring.powers()
    }

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        let before = Holds::of(&self.neighbors());
        if let Some(inner) = inside::event(&event) {
            let was_in = self.is_in();
            inside::handle(&mut self.ring, inner, cx);
            if self.is_in() != was_in {
                self.links.clear();
                self.open.clear();
                self.set_relink(RELINK_FIRST, cx);
            }
        }
        match event {
            Event::Join { .. } if self.is_in() => self.set_relink(self.config.relink / 2, cx),
            Event::Leave => cx.cancel(Timer::Relink),
            Event::Message { from, message, via: Via::Call(call), .. } => {
                if let Some(reply) = self.answer(from, message) {
                    cx.reply(call, reply);
                }
            }
            Event::Reply { ticket, from, message, .. } => self.reply(ticket, from, message, cx),
            Event::Failed { ticket, peer } if self.take(ticket).is_some() => self.links.remove(&peer),
            Event::Found { ticket, owner, .. } => self.found(ticket, owner, cx),
            Event::Timer(Timer::Relink) => self.relink(cx),
            Event::PeerDown { peer, why } if why != polymorph_core::topology::event::Down::Unwanted => {
                self.links.remove(&peer);
            }
            Event::DialFailed { peer } => self.links.remove(&peer),
            _ => {}
        }
        before.become_of(&self.neighbors(), cx);
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        let mut all = self.ring.neighbors();
        all.extend(self.links.peers().map(|peer| Neighbor { peer, role: Role::Finger, hold: Hold::Cached }));
        all
    }

    fn addresses(&self) -> Vec<Key> {
        self.ring.addresses()
    }

    fn route(&self, query: &Query<'_, Self>, route: &mut Route) {
        let (Target::Key(key) | Target::Address(key)) = query.to;
        let to = Target::Key(*key);
        let mut on_ring = Query::new(&to, query.n);
        (on_ring.without, on_ring.state, on_ring.from) = (query.without, query.state, query.from);
        self.ring.route(&on_ring, route);
        // The owner, and the last hop to it, are the ring's.
        if route.verdict == Verdict::Forward && route.state.is_empty() {
            self.leap(head(key), query, &mut route.peers);
        }
    }

    fn distance(&self, to: &Target<Self>, peer: Guid) -> Distance {
        let &(Target::Key(key) | Target::Address(key)) = to;
        self.ring.distance(&Target::Key(key), peer)
    }
}

impl Symphony {
    fn is_in(&self) -> bool {
        !self.ring.addresses().is_empty()
    }

    /// The neighbor whose neighbor is nearest to the key, before those that are less so; nobody leads away from it.
    fn leap(&self, key: u64, query: &Query<'_, Self>, peers: &mut Vec<Guid>) {
        let here = around(self.mine, key);
        let allowed = |guid: &Guid| query.allows(guid) && query.from != Some(*guid);
        let mut ranked: Vec<(u64, u64, Guid)> = Vec::new();
        let mut rank = |peer: Peer, ahead: &[Peer]| {
            let own = around(peer.at, key);
            let ahead = ahead.iter().filter(|peer| query.allows(&peer.guid)).map(|peer| around(peer.at, key));
            ranked.push((ahead.fold(own, u64::min), own, peer.guid));
        };
        for link in self.links.all().filter(|link| allowed(&link.peer.guid)) {
            rank(link.peer, if self.config.lookahead > 0 { &link.ahead } else { &[] });
        }
        let every = self.config.shortcut == Shortcut::Successors;
        let near = self.ring.neighbors().into_iter().filter(|neighbor| every || neighbor.hold == Hold::Required);
        for peer in near.map(|neighbor| neighbor.peer).filter(allowed) {
            if !self.links.contains(&peer) {
                let ahead = if self.config.lookahead > 0 { self.links.beside(&peer) } else { &[] };
                rank(Peer::new(&self.place(), peer), ahead);
            }
        }
        ranked.retain(|(best, ..)| *best < here);
        ranked.sort_unstable();
        ranked.dedup_by_key(|(.., guid)| *guid);
        if !ranked.is_empty() {
            peers.clear();
            peers.extend(ranked.into_iter().take(query.n.max(1)).map(|(.., guid)| guid));
        }
    }
}

impl Configure for Config {
    fn table() -> Vec<Knob<Self>> {
        vec![
            Knob::number("links", "4", "how many long links a node draws", 1..=MAX_LINKS, |config| &mut config.links),
            Knob::number("lookahead", "1", "how many hops ahead a message looks: 0 or 1", 0..=1, |config| {
                &mut config.lookahead
            }),
            Knob::number("successors", "16", "length of the successor list", 1..=MAX_SUCCESSORS, |config| {
                &mut config.successors
            }),
            Knob::one_of(
                "shortcut",
                "none",
                "short cuts over the successor list: none or successors",
                &chord::SHORTCUTS,
                |config| &mut config.shortcut,
            ),
            Knob::seconds("stabilize", "20", "seconds between two rounds of stabilizing", |config| {
                &mut config.stabilize
            }),
            Knob::seconds("relink", "120", "seconds between two exchanges of neighbors", |config| &mut config.relink),
        ]
    }
}

impl Default for Config {
    fn default() -> Self {
        let ring = chord::Config::default();
        // Four links and a look ahead are the paper's choice (§4); the ring's are Chord's.
        Self {
            links: 4,
            lookahead: 1,
            successors: ring.successors,
            shortcut: ring.shortcut,
            stabilize: ring.stabilize,
            relink: Duration::from_secs(120),
        }
    }
}

/// How many links a node may draw: with 2k of others' and the ring's, all neighbors fit one message.
const MAX_LINKS: usize = 16;
/// As on Chord's ring.
const MAX_SUCCESSORS: usize = 64;
/// How long a newcomer waits until it draws: the ring settles around it first.
const RELINK_FIRST: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_say_their_defaults() {
        crate::setting::assert_defaults_hold::<Config>();
    }
}

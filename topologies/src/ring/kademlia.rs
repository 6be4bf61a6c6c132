//! Kademlia: whoever is heard is remembered, and nearness is XOR.
//!
//! Maymounkov & Mazières, "Kademlia: a peer-to-peer information system based on the XOR metric", IPTPS 2002. What
//! is here is the routing table and its care. Asking α peers at a time until the k nearest have answered is the
//! engine's iterative lookup, which follows [`Topology::breadth`] and [`Topology::distance`]; so are the d disjoint
//! paths of S/Kademlia (Baumgart & Mies 2007). All links are cached: an overlay of any size holds no session open.
//!
//! The table starts empty. A bucket holds k peers; when it is full, a newcomer waits in the replacement cache
//! (§4.1) until the least recently seen peer fails to answer a ping (§2.2), because whoever has been there for long
//! will probably stay. That also means that nobody can flush a table by showing up with new names.

mod bucket;
mod model;
mod refresh;
mod table;

use core::time::Duration;

use polymorph_core::topology::Topology;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Change, Down, Event, Ticket, Via};
use polymorph_core::topology::question::{Hold, Neighbor, Powers, Query, Role, Route, Target, Verdict};
use polymorph_core::{Distance, Guid, Key};
use serde::{Deserialize, Serialize};

use crate::setting::{Configure, Knob};
use bucket::{Heard, Lost};
use refresh::Subtree;
use table::Table;

/// What peers tell each other besides the engine's lookups.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// Are you there? A call.
    Ping,
    /// I am.
    Pong,
}

/// What is done again and again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Timer {
    /// Look up a key in every bucket in which none was looked up for long.
    Refresh,
    /// Try the next seed.
    Join,
}

/// The settings of a Kademlia overlay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// How many peers a bucket holds, and how many of the nearest a lookup settles.
    pub k: usize,
    /// How long after the last lookup in it a bucket is refreshed.
    pub refresh: Duration,
}

/// One node's part of a Kademlia overlay.
#[derive(Debug)]
pub struct Kademlia {
    config: Config,
    table: Table,
    stage: Stage,
    seeds: Vec<Guid>,
    /// The last peers that fell silent: when nobody is left, perhaps it was this node's own line.
    lost: Vec<Guid>,
    tries: u32,
    /// The lookup that is under way.
    open: Option<(Ticket, Purpose)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Out,
    Joining,
    In,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// The peers around this node's own position.
    Entry,
    /// A key in a bucket, or in a part of it.
    Refresh(Subtree),
}

impl Topology for Kademlia {
    type Address = Key;
    type Message = Message;
    type Timer = Timer;

    fn powers(&self) -> Powers {
        Powers { routes: true, hears: true, ..Powers::default() }
    }

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Join { seeds } => self.join(seeds, cx),
            Event::Leave => self.leave(cx),
            Event::Heard { peer } if self.stage != Stage::Out => self.heard(peer, cx),
            Event::Sought { to: Target::Key(key) | Target::Address(key) } if self.stage == Stage::In => {
                self.sought(&key, cx);
            }
            Event::Message { message: Message::Ping, via: Via::Call(call), .. } => cx.reply(call, Message::Pong),
            Event::Found { ticket, peers, .. } => self.found(ticket, &peers, cx),
            Event::Timer(Timer::Join) => self.try_seed(cx),
            Event::Timer(Timer::Refresh) => self.refresh(cx),
            Event::Failed { peer, .. } | Event::DialFailed { peer } => self.silent(peer, cx),
            Event::PeerDown { peer, why: Down::Left } => self.silent(peer, cx),
            Event::PeerDown { peer, why: Down::Lost } if self.table.knows(peer) => {
                // A wire that broke is no proof that its other end is dead: whoever answers on a new one stays.
                cx.want(peer, Hold::Cached);
                cx.call(peer, Message::Ping);
            }
            _ => {}
        }
    }

    fn periodic(&self, timer: &Timer) -> bool {
        *timer == Timer::Refresh
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        self.table.peers().map(|peer| Neighbor { peer, role: Role::Bucket, hold: Hold::Cached }).collect()
    }

    fn addresses(&self) -> Vec<Key> {
        if self.stage == Stage::In { vec![self.table.place().mine()] } else { Vec::new() }
    }

    fn route(&self, query: &Query<'_, Self>, route: &mut Route) {
        if self.stage != Stage::In {
            return;
        }
        let (Target::Key(key) | Target::Address(key)) = query.to;
        let n = query.n.max(1);
        // Whoever asks is not told of itself: a newcomer that looks for its own place would be sent to itself.
        let others = |peer: &Guid| query.allows(peer) && query.from != Some(*peer);
        if self.table.nearest(key, n, others, &mut route.peers) > 0 {
            route.verdict = Verdict::Forward;
        } else {
            route.verdict = Verdict::Deliver { rank: 0 };
            route.peers.clear();
            self.table.nearest(key, n - 1, |peer| query.allows(peer), &mut route.peers);
        }
    }

    fn breadth(&self) -> usize {
        self.config.k
    }

    fn distance(&self, to: &Target<Self>, peer: Guid) -> Distance {
        let (Target::Key(key) | Target::Address(key)) = to;
        key.xor(&self.table.place().position(peer))
    }
}

impl Kademlia {
    /// The first node is in at once. Everybody else looks its own position up through a seed. A node that is already
    /// in only takes up the work.
    fn join(&mut self, seeds: Vec<Guid>, cx: &mut Context<'_, Self>) {
        self.seeds = seeds.into_iter().filter(|seed| *seed != cx.me()).take(MAX_SEEDS).collect();
        if self.stage == Stage::Out && !self.seeds.is_empty() {
            self.stage = Stage::Joining;
            return self.try_seed(cx);
        }
        self.table.peers().for_each(|peer| cx.want(peer, Hold::Cached));
        self.table.all_due(cx.now() + self.config.refresh);
        self.enter(cx);
        self.rest(cx);
    }

    /// Looks for a way in, or back in, ever more slowly: through the seeds, then through whoever was lost last.
    fn try_seed(&mut self, cx: &mut Context<'_, Self>) {
        let alone = self.stage == Stage::Joining || self.table.deepest().is_none();
        let ways = self.seeds.len() + self.lost.len();
        if self.stage == Stage::Out || !alone || ways == 0 {
            return;
        }
        let way = self.tries as usize % ways;
        self.tries += 1;
        if let Some(&seed) = self.seeds.iter().chain(self.lost.iter().rev()).nth(way) {
            let ticket = cx.lookup_via(seed, Target::Key(self.table.place().mine()), self.config.k);
            self.open = Some((ticket, Purpose::Entry));
        }
        let wait = cx.jitter(RETRY * 2u32.pow(self.tries.min(MAX_DOUBLINGS)), 0.3);
        cx.set(Timer::Join, wait);
    }

    fn enter(&mut self, cx: &mut Context<'_, Self>) {
        self.stage = Stage::In;
        cx.change(Change::Range);
    }

    fn leave(&mut self, cx: &mut Context<'_, Self>) {
        self.table.peers().for_each(|peer| cx.unwant(peer));
        self.table.clear();
        self.stage = Stage::Out;
        self.open = None;
        cx.cancel(Timer::Refresh);
        cx.cancel(Timer::Join);
    }

    /// A lookup ended. After an iterative one whoever was found is in the table by now, for it was heard; after a
    /// recursive one this node has yet to meet them.
    fn found(&mut self, ticket: Ticket, peers: &[Guid], cx: &mut Context<'_, Self>) {
        let Some((_, purpose)) = self.open.take_if(|(open, _)| *open == ticket) else { return };
        let me = cx.me();
        for &peer in peers.iter().take(self.config.k).filter(|peer| **peer != me && self.table.has_room_for(**peer)) {
            cx.call(peer, Message::Ping);
        }
        match purpose {
            Purpose::Entry if peers.iter().any(|peer| *peer != me) => {
                self.tries = 0;
                self.enter(cx);
                self.table.entered(cx.now(), cx.now() + self.config.refresh);
                self.refresh(cx);
            }
            // The other ways in are tried at once, then again after a while.
            Purpose::Entry if !(self.tries as usize).is_multiple_of(self.seeds.len() + self.lost.len()) => {
                self.try_seed(cx);
            }
            Purpose::Entry => {}
            Purpose::Refresh(subtree) => self.looked_through(subtree, cx),
        }
    }

    fn heard(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        match self.table.hear(peer, cx.now()) {
            Heard::Noted => {}
            Heard::Added => self.added(peer, cx),
            Heard::Doubt(oldest) => drop(cx.call(oldest, Message::Ping)),
        }
    }

    fn added(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        cx.want(peer, Hold::Cached);
        cx.change(Change::NeighborUp(peer));
        if self.table.is_near(peer) {
            cx.change(Change::Range);
        }
    }

    fn silent(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        let was_near = self.table.is_near(peer);
        let Lost::Replaced(next) = self.table.lose(&peer) else { return };
        cx.unwant(peer);
        cx.change(Change::NeighborDown(peer));
        if was_near {
            cx.change(Change::Range);
        }
        if let Some(next) = next {
            self.added(next, cx);
        }
        if self.lost.len() == MAX_LOST {
            self.lost.remove(0);
        }
        self.lost.push(peer);
        if self.table.deepest().is_none() {
            cx.set(Timer::Join, RETRY);
        }
    }
}

impl Configure for Config {
    fn table() -> Vec<Knob<Self>> {
        vec![
            Knob::number("k", "20", "how many peers a bucket holds and a lookup settles", 1..=MAX_K, |config| {
                &mut config.k
            }),
            Knob::seconds(
                "refresh",
                "3600",
                "seconds after the last lookup in a bucket until it is refreshed",
                |config| &mut config.refresh,
            ),
        ]
    }
}

impl Default for Config {
    fn default() -> Self {
        // Both are the paper's (§2.2 and §2.3).
        Self { k: 20, refresh: Duration::from_secs(3600) }
    }
}

/// The largest k: a reply names k peers, and the engine answers with no more than 64.
const MAX_K: usize = 64;
/// How many seeds are remembered: more would not make a failed join likelier to succeed.
const MAX_SEEDS: usize = 16;
/// How many lost peers are remembered as ways back; our choice, like the seeds.
const MAX_LOST: usize = 16;
/// How long the first wait for a seed is; our choice, about a dial that fails.
const RETRY: Duration = Duration::from_secs(3);
/// How often the wait doubles: up to about a minute and a half.
const MAX_DOUBLINGS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_say_their_defaults() {
        crate::setting::assert_defaults_hold::<Config>();
    }
}

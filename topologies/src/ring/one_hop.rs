//! One hop: everybody knows everybody, and every coming and going is told to all.
//!
//! Gupta, Liskov & Rodrigues, "Efficient routing for peer-to-peer overlays", NSDI 2004, showed that full tables are
//! affordable; how events spread here is EDRA, from Monnerat & Amorim, "D1HT: a distributed one hop hash table", IPDPS
//! 2006 and "An effective single-hop distributed hash table", FGCS 2015. The peer after one that came or went says so.
//! Events are kept for an interval and go out together, to the peers about 1, 2, 4, 8 … places ahead, so that everybody
//! hears each event once, after log2 n intervals or so. The interval is as long as the wanted share of stale entries
//! allows, which is what keeps traffic near the bound: 2N/S events a second, each once.
//!
//! A key belongs to the first peer at or after it. `members` is the table, `events` what is heard, `tell` what is told,
//! `doubt` how lies and lost events come out. What is ours: each event says up to where its receiver tells it on (as in
//! El-Ansary, Alima, Brand & Haridi, "Efficient broadcast in structured P2P networks", IPTPS 2003), so that links may
//! stay as they are while others come and go; a false going is refuted as in SWIM (Das, Gupta & Motivala, DSN 2002); and
//! tables are compared now and then, since a lost event would be missing for ever.

mod doubt;
mod events;
mod members;
mod model;
mod tell;

use core::time::Duration;
use std::collections::VecDeque;

use polymorph_core::overlay::Place;
use polymorph_core::topology::Topology;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Down, Event, Ticket, Via};
use polymorph_core::topology::question::{Hold, Neighbor, Powers, Query, Role, Route, Target, Verdict};
use polymorph_core::{Distance, Guid, Key, Time};
use serde::{Deserialize, Serialize};

use super::calls::Calls;
use super::prefix::{Peer, head};
use crate::setting::{Configure, Knob};
use doubt::Past;
use events::Heard;
use members::{FIRST, Members, PAGE};

/// What peers tell each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// Who stands after this point? A call, answered by a page.
    Ask(u64),
    /// I stand before you: tell all. A call, answered like the one before.
    Enter,
    /// These, in order: the answer.
    Page(Vec<Guid>),
    /// Who came and who went. A call.
    Events(Events),
    /// Where do those stand who come after this point? A call.
    Check(u64),
    /// There: the first half of the heads of their positions.
    Heads(Vec<u32>),
    /// Who stands there? A call, answered by a page.
    Who(Vec<u32>),
    /// Are you there? A call.
    Ping,
    /// I am: the answer to the two before.
    Pong,
    /// I am in no overlay: the other answer to every call.
    Absent,
    /// I leave you, who stand after me.
    Leaving,
    /// I am there and have nothing to tell you, who stand after me. All positions of my table, mixed, if nothing is on
    /// its way.
    Beat(Option<u64>),
    /// Who stands first after this point? A call, answered by a page of few.
    First(u64),
}

/// What is told at the end of an interval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Who came.
    pub joined: Vec<Joined>,
    /// Who went.
    pub left: Vec<Left>,
}

/// Somebody came, or is there though it was said to be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// Who.
    pub peer: Guid,
    /// How often it came or was said to be gone: what is told of a newer life outweighs what is told of an older one.
    pub life: u8,
    /// Before which point the receiver tells it on: the first half of a position.
    pub until: u32,
}

/// Somebody went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The head of its position.
    pub at: u64,
    /// Which of its lives ended.
    pub life: u8,
    /// Before which point the receiver tells it on.
    pub until: u32,
}

/// What is done again and again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Timer {
    /// The interval is over.
    Interval,
    /// Try the next seed.
    Join,
}

/// The settings of a one-hop overlay.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Config {
    /// The share of entries that may be stale: f.
    pub stale: f64,
    /// How long an interval is at most.
    pub interval: Duration,
}

/// One node's part of a one-hop overlay.
#[derive(Debug)]
pub struct OneHop {
    config: Config,
    place: Place,
    mine: u64,
    members: Members,
    stage: Stage,
    seeds: Vec<Guid>,
    tries: u32,
    calls: Calls<Message, Purpose>,
    /// Events of this interval.
    heard: Heard,
    /// What is known of peers beyond their places: second lives, goings, and what was found out by chance.
    past: Past,
    /// This node's own life.
    life: u8,
    /// Where those stand, besides the next peer, whom this node tells: each about twice as far ahead as the one before.
    links: Vec<u64>,
    /// Whose sessions are kept open.
    held: Vec<Guid>,
    /// The peer before this one, while it is so new that not everybody who tells others knows of it.
    fresh: Option<(u64, Time)>,
    /// What was told and not confirmed.
    telling: VecDeque<(Ticket, Events)>,
    /// When the peer before this one last gave a sign of life.
    sign: Time,
    /// How often in a row tables differed.
    differs: u32,
    /// How many intervals ago a part of the table was last compared.
    compared: u32,
    /// When somebody last told an event.
    news: Time,
    /// When lately events came, to know how many there are.
    rate: VecDeque<Time>,
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
    /// Who stands after this node's place, by a seed.
    Place,
    /// Whether the peer after this node takes it in.
    Enter,
    /// A page of the table after a point, for a newcomer.
    Page(u64),
    /// Positions to compare with.
    Compare(u64),
    /// Who stands where this node knows nobody.
    Who,
    /// Whether somebody is there.
    Suspect(Guid),
}

impl Topology for OneHop {
    type Address = Key;
    type Message = Message;
    type Timer = Timer;

    fn powers(&self) -> Powers {
        // Those beside it, and among ten thousand peers a dozen links.
        Powers { routes: true, degree: 14, ..Powers::default() }
    }

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Join { seeds } => self.join(seeds, cx),
            Event::Leave => self.leave(cx),
            Event::Message { from, message, via, .. } => self.message(from, message, via, cx),
            Event::Reply { ticket, from, message, .. } => {
                if let Some(purpose) = self.calls.take(ticket, cx) {
                    self.answered(purpose, from, message, cx);
                } else if let Some(events) = self.told(ticket).filter(|_| matches!(message, Message::Absent)) {
                    self.tell_next(from, events, cx);
                }
            }
            Event::Failed { ticket, peer } => {
                if let Some(purpose) = self.calls.take(ticket, cx) {
                    self.unanswered(purpose, peer, cx);
                } else if let Some(events) = self.told(ticket) {
                    self.suspect(peer, cx);
                    self.tell_next(peer, events, cx);
                }
            }
            Event::Timer(Timer::Interval) => self.interval_over(cx),
            Event::Timer(Timer::Join) => self.try_seed(cx),
            Event::PeerDown { peer, why: Down::Left } if self.stage == Stage::In => self.went(self.peer(peer).at, cx),
            // A broken wire is no proof of death.
            Event::PeerDown { peer, why: Down::Lost } | Event::DialFailed { peer } => {
                self.held.retain(|held| *held != peer);
                self.suspect(peer, cx);
            }
            _ => {}
        }
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        let (next, previous) = (self.members.after(self.mine), self.members.before(self.mine));
        let role = |peer: &Peer| {
            let is = |other: Option<Peer>| other.is_some_and(|other| other.guid == peer.guid);
            match () {
                () if is(next) => (Role::Successor, Hold::Required),
                () if is(previous) => (Role::Predecessor, Hold::Required),
                () if self.links.contains(&peer.at) => (Role::Peer, Hold::Required),
                () => (Role::Peer, Hold::Cached),
            }
        };
        let others = self.members.all().filter(|peer| peer.guid != self.place.me);
        let neighbor = |peer: Peer| {
            let (role, hold) = role(&peer);
            Neighbor { peer: peer.guid, role, hold }
        };
        others.map(neighbor).collect()
    }

    fn addresses(&self) -> Vec<Key> {
        if self.stage == Stage::In { vec![self.place.mine()] } else { Vec::new() }
    }

    fn route(&self, query: &Query<'_, Self>, route: &mut Route) {
        if self.stage != Stage::In {
            return;
        }
        let (Target::Key(key) | Target::Address(key)) = query.to;
        let mut owners = self.members.from(head(key)).filter(|peer| query.allows(&peer.guid)).take(query.n.max(1));
        let Some(owner) = owners.next() else { return };
        route.verdict = if owner.guid == self.place.me { Verdict::Deliver { rank: 0 } } else { Verdict::Forward };
        let all = core::iter::once(owner).chain(owners).map(|peer| peer.guid);
        route.peers.extend(all.filter(|peer| *peer != self.place.me));
    }

    fn distance(&self, to: &Target<Self>, peer: Guid) -> Distance {
        let &(Target::Key(key) | Target::Address(key)) = to;
        key.clockwise(&self.place.position(peer))
    }
}

impl OneHop {
    fn peer(&self, guid: Guid) -> Peer {
        Peer::new(&self.place, guid)
    }

    fn message(&mut self, from: Guid, message: Message, via: Via<Self>, cx: &mut Context<'_, Self>) {
        if self.members.before(self.mine).is_some_and(|peer| peer.guid == from) {
            self.sign = cx.now();
        }
        match (message, via) {
            (Message::Events(events), Via::Call(call)) if self.stage == Stage::Joining => {
                // Told on as soon as this newcomer knows to whom.
                cx.reply(call, Message::Pong);
                self.hear(from, &events, cx);
            }
            (_, Via::Call(call)) if self.stage != Stage::In => cx.reply(call, Message::Absent),
            _ if self.stage != Stage::In => {}
            (Message::Ping, Via::Call(call)) => cx.reply(call, Message::Pong),
            (Message::Ask(at), Via::Call(call)) => cx.reply(call, Message::Page(self.members.page(at, from, PAGE))),
            (Message::First(at), Via::Call(call)) => cx.reply(call, Message::Page(self.members.page(at, from, FIRST))),
            (Message::Check(at), Via::Call(call)) => cx.reply(call, Message::Heads(self.members.heads(at))),
            (Message::Who(heads), Via::Call(call)) => cx.reply(call, Message::Page(self.members.who(&heads))),
            (Message::Enter, Via::Call(call)) => {
                cx.reply(call, Message::Page(self.members.page(self.peer(from).at, from, PAGE)));
                self.came(from, cx);
            }
            (Message::Events(events), Via::Call(call)) => {
                cx.reply(call, Message::Pong);
                self.met(from, cx);
                self.hear(from, &events, cx);
                self.bound(cx);
            }
            (Message::Beat(digest), Via::Direct) => {
                self.met(from, cx);
                self.compare(from, digest, cx);
            }
            (Message::Leaving, Via::Direct) => self.went(self.peer(from).at, cx),
            _ => {}
        }
    }
}

impl Configure for Config {
    fn table() -> Vec<Knob<Self>> {
        vec![
            Knob::number("stale", "0.01", "the share of entries that may be stale", 0.0001..=0.5, |config| {
                &mut config.stale
            }),
            Knob::seconds("interval", "5", "seconds for which events are kept, at most", |config| &mut config.interval),
        ]
    }
}

impl Default for Config {
    fn default() -> Self {
        // A hundredth is what both papers aim at. That allows five seconds where five hundred peers stay for an hour; longer
        // intervals would save little and let few peers wait long.
        Self { stale: 0.01, interval: Duration::from_secs(5) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_say_their_defaults() {
        crate::setting::assert_defaults_hold::<Config>();
    }
}

//! A random graph: everybody keeps links to a few others, found by asking those it knows. Broadcasts flood it.

use std::time::Duration;

use polymorph_core::Guid;
use polymorph_core::topology::Topology;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Change, Event, Via};
use polymorph_core::topology::question::{Hold, Neighbor, Powers, Role, Spread};
use serde::{Deserialize, Serialize};

/// How many links everybody looks for.
const DEGREE: usize = 4;
/// How many links one takes at most, its own and those others asked for.
const MOST: usize = 12;

/// What peers tell each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// Whom do you know?
    Ask,
    /// These.
    Known(Vec<Guid>),
}

/// Time to look for links.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Look;

/// One node's part.
#[derive(Debug, Default)]
pub struct Graph {
    seeds: Vec<Guid>,
    links: Vec<Guid>,
}

impl Graph {
    fn look(&mut self, cx: &mut Context<'_, Self>) {
        if self.links.len() < DEGREE {
            let known: Vec<Guid> = self.links.iter().chain(&self.seeds).copied().collect();
            if let Some(&peer) = known.get(cx.pick(known.len())) {
                cx.call(peer, Message::Ask);
            }
        }
        let again = cx.jitter(Duration::from_secs(1), 0.2);
        cx.set(Look, again);
    }
}

impl Topology for Graph {
    type Address = ();
    type Message = Message;
    type Timer = Look;

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Join { seeds } => {
                self.seeds = seeds;
                self.seeds.iter().for_each(|&seed| cx.want(seed, Hold::Required));
                self.look(cx);
            }
            Event::Timer(Look) => self.look(cx),
            Event::Message { message: Message::Ask, via: Via::Call(call), .. } => {
                cx.reply(call, Message::Known(self.links.clone()));
            }
            Event::Reply { message: Message::Known(peers), .. } => {
                let fresh: Vec<Guid> = peers.into_iter().filter(|p| *p != cx.me() && !self.links.contains(p)).collect();
                if let Some(&peer) = fresh.get(cx.pick(fresh.len())) {
                    cx.want(peer, Hold::Required);
                }
            }
            Event::PeerUp { peer } if self.links.len() < MOST => {
                self.links.push(peer);
                cx.change(Change::NeighborUp(peer));
            }
            Event::PeerDown { peer, .. } | Event::DialFailed { peer } => {
                self.links.retain(|link| *link != peer);
                cx.change(Change::NeighborDown(peer));
            }
            _ => {}
        }
    }

    fn powers(&self) -> Powers {
        Powers { spreads: true, degree: MOST, ..Powers::default() }
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        self.links.iter().map(|&peer| Neighbor { peer, role: Role::Peer, hold: Hold::Required }).collect()
    }

    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>) {
        to.extend(self.links.iter().filter(|link| Some(**link) != spread.from));
    }
}

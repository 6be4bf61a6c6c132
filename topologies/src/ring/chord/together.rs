//! The virtual nodes of one peer: who is told of what, how they speak to each other, and how they hold together.
//!
//! The first one joins through seeds as ever. The others then look their places up over it. When all of them have lost
//! everybody else, the first begins anew at the seeds and the others after it: a ring of one peer's virtual nodes would
//! never find back to the rest.

use core::iter;

use polymorph_core::overlay::Place;
use polymorph_core::topology::Topology;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Down, Event, Ticket, Via};
use polymorph_core::topology::question::Hold;
use polymorph_core::{Guid, Key};

use super::super::links::Holds;
use super::name::{Letter, Name};
use super::protocol::MAX_SEEDS;
use super::table::Table;
use super::virtual_node::{Back, Kind, Purpose, Stage, VirtualNode};
use super::{Beat, Chord, Message, Timer};

/// Where one virtual node stands, and whom it has beside it, each with the index of its virtual node: for whoever
/// judges a ring from outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stand {
    /// Which of its peer's virtual nodes it is.
    pub index: u8,
    /// Its place.
    pub at: Key,
    /// Who stands before it.
    pub predecessor: Option<(Guid, u8)>,
    /// Who stands after it, nearest first.
    pub successors: Vec<(Guid, u8)>,
}

impl Chord {
    /// Those of this peer's virtual nodes that are on the ring.
    #[must_use]
    pub fn stands(&self) -> Vec<Stand> {
        let named = |name: Name| (name.guid, name.index);
        let stand = |node: &VirtualNode| Stand {
            index: node.index,
            at: node.table.mine(),
            predecessor: node.table.predecessor().map(|peer| named(peer.name)),
            successors: node.table.successors().iter().map(|peer| named(peer.name)).collect(),
        };
        self.nodes.iter().filter(|node| node.is_in()).map(stand).collect()
    }

    /// Where this node is.
    pub(in super::super) fn place(&self) -> Place {
        self.nodes[0].table.place()
    }

    /// How many virtual nodes everybody has.
    fn count(&self) -> u8 {
        self.nodes[0].config.virtual_nodes
    }

    pub(super) fn happened(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Join { seeds } => self.join(seeds, cx),
            // The others look their tables up over the first one.
            Event::Known { peers } => self.nodes[0].recall(&peers, cx),
            Event::Leave => self.leave(cx),
            Event::Message { from, message, via, payload } => {
                let Some(letter) = Letter::open(message, &payload, self.count()) else { return refuse(from, cx) };
                let back = if let Via::Call(call) = via { Back::Peer(call) } else { Back::Nobody };
                self.message(from, letter, back, cx);
            }
            Event::Reply { ticket, from, message, payload } => {
                let Some(at) = self.waiting(ticket) else { return };
                match Letter::open(message, &payload, self.count()).filter(|letter| usize::from(letter.to) == at) {
                    Some(letter) => self.nodes[at].reply(ticket, from, letter, cx),
                    None => {
                        refuse(from, cx);
                        self.nodes[at].failed(ticket, from, cx);
                    }
                }
            }
            Event::Failed { ticket, peer } => {
                if let Some(at) = self.waiting(ticket) {
                    self.nodes[at].failed(ticket, peer, cx);
                    // Whoever does not answer one of them answers none.
                    self.nodes.iter_mut().for_each(|node| node.gone(peer, cx));
                }
            }
            Event::Found { ticket, owner, peers } => {
                if let Some(at) = self.waiting(ticket) {
                    let others = peers.into_iter().filter(|peer| owner.is_some_and(|owner| owner != *peer));
                    let name = |peer| self.owner_of(self.nodes[at].purpose_of(ticket)?, at, peer);
                    let set: Vec<Name> = owner.into_iter().chain(others).filter_map(name).collect();
                    self.nodes[at].found(ticket, &set, cx);
                }
            }
            Event::Timer(Timer { index, beat }) => self.beat(index, beat, cx),
            Event::PeerDown { peer, why } if why != Down::Unwanted => self.lost(peer, why, cx),
            Event::DialFailed { peer } => self.nodes.iter_mut().for_each(|node| node.gone(peer, cx)),
            _ => {}
        }
    }

    /// The first node is its own ring. Everybody else looks its place up through a seed. A node that already has
    /// its place only takes up the work.
    fn join(&mut self, seeds: Vec<Guid>, cx: &mut Context<'_, Self>) {
        let first = &mut self.nodes[0];
        first.seeds = seeds.into_iter().filter(|seed| *seed != cx.me()).take(MAX_SEEDS).collect();
        if first.stage == Stage::Out && !first.seeds.is_empty() {
            return first.begin(Stage::Joining, cx);
        }
        Holds::of(&self.neighbors()).want(cx);
        self.nodes[0].enter(cx);
        self.nodes[1..].iter_mut().filter(|node| node.is_in()).for_each(|node| node.enter(cx));
    }

    fn leave(&mut self, cx: &mut Context<'_, Self>) {
        let me = cx.me();
        // Who stands before a virtual node of this peer may be another one of it, that leaves too.
        let before = |node: &VirtualNode| node.table.predecessor().map(|peer| peer.name);
        let stays = |node: &VirtualNode| {
            let all = iter::successors(before(node), |name| before(self.nodes.get(usize::from(name.index))?));
            all.take(self.nodes.len()).find(|name| name.guid != me)
        };
        let before: Vec<_> = self.nodes.iter().map(stays).collect();
        for (node, before) in self.nodes.iter_mut().zip(before) {
            node.leave(before, cx);
        }
    }

    fn message(&mut self, from: Guid, letter: Letter, back: Back, cx: &mut Context<'_, Self>) {
        let Letter { from: index, to, message } = letter;
        let from = Name { guid: from, index };
        for node in &mut self.nodes {
            if node.table.predecessor().is_some_and(|predecessor| predecessor.name == from) {
                node.heard = cx.now();
            }
        }
        let mut at = usize::from(to);
        if matches!(message, Message::Ask) && self.nodes.get(at).is_some_and(|node| !node.is_in()) {
            // The next one stands in for one that is not there yet.
            let place = self.nodes[at].table.mine();
            let present = (0..self.nodes.len()).filter(|&at| self.nodes[at].is_in());
            at = present.min_by_key(|&at| place.clockwise(&self.nodes[at].table.mine())).unwrap_or(at);
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.message(from, message, back, cx);
        }
    }

    fn beat(&mut self, index: u8, beat: Beat, cx: &mut Context<'_, Self>) {
        let Some(node) = self.nodes.get_mut(usize::from(index)) else { return };
        match beat {
            Beat::Stabilize => node.stabilize(cx),
            Beat::FixFingers => node.fix_fingers(cx),
            Beat::Join => node.try_to_join(cx),
        }
    }

    fn lost(&mut self, peer: Guid, why: Down, cx: &mut Context<'_, Self>) {
        for node in &mut self.nodes {
            // A broken wire is no proof of death: whoever passes its successor over makes another the owner.
            if why == Down::Lost && node.table.head().is_some_and(|head| head.guid() == peer) {
                cx.want(peer, Hold::Required);
                node.ask_head(cx);
            } else {
                node.gone(peer, cx);
            }
        }
    }

    /// Who waits for that answer.
    fn waiting(&self, ticket: Ticket) -> Option<usize> {
        self.nodes.iter().position(|node| node.purpose_of(ticket).is_some())
    }

    /// Which of the owner's virtual nodes owns what was looked up: the first at or after it.
    fn owner_of(&self, purpose: Purpose, asker: usize, owner: Guid) -> Option<Name> {
        let (place, mine) = (self.place(), self.nodes[asker].table.mine());
        let (key, entry) = match purpose {
            Purpose::Finger(exponent) => (mine.plus_power(exponent), false),
            _ => (mine, true),
        };
        let may = |index: &u8| {
            let at = usize::from(*index);
            owner != place.me || self.nodes[at].is_in() && !(entry && at == asker)
        };
        let far = |index: &u8| key.clockwise(&place.overlay.position(owner, (*index).into()));
        let index = if self.nodes.len() == 1 { Some(0) } else { (0..self.count()).filter(may).min_by_key(far) };
        index.map(|index| Name { guid: owner, index })
    }

    /// What several virtual nodes take beyond what one does.
    pub(super) fn keep_together(&mut self, cx: &mut Context<'_, Self>) {
        self.take_round(cx);
        let me = cx.me();
        let alone = !self.nodes.iter().any(|node| node.table.knows(|peer| peer.guid() != me));
        let [first, others @ ..] = &mut self.nodes[..] else { return };
        if matches!(first.stage, Stage::Out | Stage::Joining) {
            return;
        }
        if alone {
            // Everything is this peer's; if it came through seeds, until one of them is back.
            first.stage = Stage::In;
            if !first.seeds.is_empty() {
                let mut stopped = false;
                for node in others.iter_mut().filter(|node| node.stage != Stage::Out) {
                    node.stop(cx);
                    stopped = true;
                }
                if stopped || first.table.head().is_some() {
                    first.edit(cx, Table::clear);
                    first.try_again_soon(cx);
                }
                return;
            }
        }
        let all = iter::once(&mut *first).chain(others.iter_mut());
        all.filter(|node| node.is_in() && !alone && node.table.head().is_none())
            .for_each(|node| node.stage = Stage::Following);
        if first.is_in() {
            others.iter_mut().filter(|node| node.stage == Stage::Out).for_each(|node| node.begin(Stage::Following, cx));
        }
    }

    /// Takes letters round among this peer's virtual nodes until there are no more.
    fn take_round(&mut self, cx: &mut Context<'_, Self>) {
        for _ in 0..MAX_ROUNDS {
            let letters = |node: &mut VirtualNode| core::mem::take(&mut node.inside);
            let all: Vec<(Letter, Kind)> = self.nodes.iter_mut().flat_map(letters).collect();
            if all.is_empty() {
                return;
            }
            for (letter, kind) in all {
                match kind {
                    Kind::Said => self.message(cx.me(), letter, Back::Nobody, cx),
                    Kind::Asked(ticket) => self.message(cx.me(), letter, Back::Inside(ticket), cx),
                    Kind::Answered(ticket) => {
                        if let Some(node) = self.nodes.get_mut(usize::from(letter.to)) {
                            node.reply(ticket, cx.me(), letter, cx);
                        }
                    }
                }
            }
        }
        // Letters get lost, and those who wrote them write again.
        self.nodes.iter_mut().for_each(|node| node.inside.clear());
    }
}

/// Indices that do not fit the message, or that nobody has here.
fn refuse(from: Guid, cx: &mut Context<'_, Chord>) {
    cx.blame(from, "names virtual nodes that nobody has here");
}

/// How often letters are taken round for one event: several times as often as any exchange takes turns.
const MAX_ROUNDS: usize = 64;

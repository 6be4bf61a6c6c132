//! Scribe: a multicast tree for each topic, on any key-routed overlay.
//!
//! Castro, Druschel, Kermarrec & Rowstron, "SCRIBE: a large-scale and decentralized application-level multicast
//! infrastructure", IEEE JSAC 20(8), 2002. Who wants to hear a topic routes a [`Join`] to the topic's key. The nodes
//! on the way intercept it: the first that already stands in the tree takes the one before as its child and keeps
//! the join; the others before it stand in the tree from then on. So a tree is the union of the routes of its
//! members, and its root is whoever owns the key ("membership management" there).
//!
//! Repair is by the child alone ("repairing the multicast tree"): one whose parent is gone, silent, or hears no news
//! of the root, routes a new join and brings its subtree along. [`label`] says why no ring can come of it. A root that
//! no longer owns the key joins whoever does.
//!
//! What differs from the paper, and why:
//! - A join is rewritten and goes on, rather than ending and beginning anew at each hop: the state of the route
//!   (Koorde's, say) stays whole.
//! - Whoever publishes need not go by the root: a copy spreads from where it enters the tree, over every link but
//!   the one it came by. Who stands outside passes it towards the root until a node of the tree has it.
//! - A node has at most [`Config::children`] children in one tree. Beyond that it hands the joiner on to one of
//!   them: the paper's bottleneck remover, but before the bottleneck and without measuring delays.
//! - A root looks up from time to time whether others take it for one. Routes below may be split for long, for
//!   instance when the true owner was flooded with joins, refused some, and was taken for dead.
//! - A broadcast without a topic goes over a tree of its own, which everybody joins if [`Config::everyone`] says
//!   so; otherwise it goes nowhere.
//!
//! Attacks: a join names its child, and whoever passes it on could name another; that one is sent control talk, and
//! copies only once it confirms. An inner node can keep copies to itself, as in any tree, and one that makes up waves
//! is the root of what hangs below it until that joins anew. Nobody can be bound for good by made-up labels: who
//! finds no parent that beats what it told lets its children go and starts afresh. Sign what is published.

mod detour;
pub mod label;
mod links;
mod tree;

#[cfg(test)]
mod tests;

use core::time::Duration;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use polymorph_core::topology::Topology;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Change, Down, Event, Via};
use polymorph_core::topology::layer::Layer;
use polymorph_core::topology::model::{Claims, Model};
use polymorph_core::topology::question::{CopyId, Neighbor, Pass, Powers, Role, Spread, Target, Transit};
use polymorph_core::{Guid, Key, Place};

use crate::setting::{Configure, Knob};
use detour::{Detours, MAX_DETOURS};
use label::Label;
use links::Links;
use tree::{Means, Tree};

/// Scribe on a key-routed overlay.
pub type ScribeOn<B> = Layer<Scribe, B>;

/// What the nodes of a tree tell each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// Routed to the topic's key: somebody wants a parent. Straight from a parent that is full: take it.
    Join(Box<Join>),
    /// From a parent to its children: I am your parent, and stand here. The heartbeat of the paper.
    Wave {
        /// In which tree.
        topic: Key,
        /// Where the parent stands.
        label: Label,
    },
    /// From a child, in answer to a wave: I am your child.
    Here {
        /// In which tree.
        topic: Key,
    },
    /// From a child: I am your child no longer.
    Leave {
        /// In which tree.
        topic: Key,
    },
    /// From a parent, or one that was taken for it: look for another.
    Gone {
        /// In which tree.
        topic: Key,
    },
}

/// Somebody wants a parent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Join {
    /// In which tree.
    pub topic: Key,
    /// Who; each new node on the way puts itself here once it took the one before as its child.
    pub child: Guid,
    /// What a parent's label must beat, so that nobody is taken by its own descendant.
    pub bar: Option<Label>,
    /// How many nodes on the way stand between this child and the one the bar is of.
    pub levels: u16,
    /// How often it was tried before.
    pub tries: u8,
}

/// The timers of a node: one for each tree. What it means depends on where the node stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Timer {
    /// The root's next wave; a child's patience with its parent; the next try of one without; the end of one
    /// that left.
    Turn(Key),
}

/// Settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How often a root sends a wave down its tree.
    pub beat: Duration,
    /// How many children a node has in one tree.
    pub children: usize,
    /// How many links, of all trees together, a node requires; those beyond are dialed when there is something
    /// to send.
    pub links: usize,
    /// Whether everybody joins the tree of broadcasts without a topic.
    pub everyone: bool,
}

impl Default for Config {
    /// The paper leaves the period open and measures no bound on children; ours are guesses that fit a budget of
    /// 50 connections beside a ring's own links.
    fn default() -> Self {
        Self { beat: Duration::from_secs(10), children: 16, links: 24, everyone: true }
    }
}

impl Configure for Config {
    fn table() -> Vec<Knob<Self>> {
        vec![
            Knob::seconds("beat", "10", "seconds between two heartbeats of a root", |config| &mut config.beat),
            Knob::number("children", "16", "how many children a node has in one tree", 1..=MAX_CHILDREN, |config| {
                &mut config.children
            }),
            Knob::number(
                "tree_links",
                "24",
                "how many links of all trees a node keeps open",
                1..=MAX_CHILDREN,
                |config| &mut config.links,
            ),
            Knob::one_of(
                "everyone",
                "yes",
                "whether all join the tree of broadcasts without a topic",
                &[("yes", true), ("no", false)],
                |config| &mut config.everyone,
            ),
        ]
    }
}

/// One node's part in all trees of one overlay.
#[derive(Debug)]
pub struct Scribe {
    config: Config,
    me: Guid,
    /// The topic of broadcasts that have none.
    everyone: Key,
    trees: BTreeMap<Key, Tree>,
    links: Links,
    detours: Detours,
}

impl Topology for Scribe {
    type Address = ();
    type Message = Message;
    type Timer = Timer;

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Join { .. } if self.config.everyone => self.subscribe(self.everyone, cx),
            Event::Leave => self.leave(cx),
            Event::Subscribe { topic } => self.subscribe(topic, cx),
            Event::Unsubscribe { topic } => {
                let kept = self.config.everyone && topic == self.everyone;
                self.with(topic, cx, |tree, means| {
                    if !kept {
                        tree.unsubscribe(means)
                    }
                });
            }
            Event::Message { from, message: Message::Join(join), via, .. } => self.join(from, *join, &via, cx),
            Event::Message { from, message, .. } => self.talk(from, &message, cx),
            Event::Found { ticket, owner, .. } => self.each(cx, |tree, means| tree.checked(ticket, owner, means)),
            Event::Timer(Timer::Turn(topic)) => self.turn(topic, cx),
            Event::PeerDown { peer, why: Down::Left | Down::Lost } | Event::DialFailed { peer } => self.lost(peer, cx),
            Event::Copy { id, topic, from, first: true, .. } => self.plan(id, topic, from, cx),
            Event::Below(Change::Range) => self.each(cx, |tree, means| tree.look_below(means)),
            _ => {}
        }
    }

    fn powers(&self) -> Powers {
        Powers { spreads: true, intercepts: true, degree: self.config.links, ..Powers::default() }
    }

    fn transit(&mut self, transit: &mut Transit<'_, Self>, cx: &mut Context<'_, Self>) -> Pass {
        let Message::Join(join) = &mut *transit.message else { return Pass::On };
        if *transit.to != Target::Key(join.topic) {
            return Pass::Absorb;
        }
        if join.child == self.me || !self.make_room(join.topic) {
            return Pass::On;
        }
        let tree = self.trees.entry(join.topic).or_insert_with(|| Tree::new(join.topic, self.me));
        tree.intercept(join, &mut Means { config: &self.config, links: &mut self.links, cx })
    }

    fn periodic(&self, timer: &Timer) -> bool {
        let Timer::Turn(topic) = timer;
        // A root's waves and a child's patience; who looks for a parent was told that it has none.
        self.trees.get(topic).is_some_and(|tree| tree.label().is_some())
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        let mut all: BTreeMap<(Guid, Role), Neighbor> = BTreeMap::new();
        for tree in self.trees.values() {
            let parent = tree.parent().map(|peer| (peer, Role::Parent));
            for (peer, role) in parent.into_iter().chain(tree.firm().map(|peer| (peer, Role::Child))) {
                all.insert((peer, role), Neighbor { peer, role, hold: self.links.how(&peer) });
            }
        }
        all.into_values().collect()
    }

    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>) {
        to.extend(self.onward(spread.id, spread.topic, spread.from));
    }
}

impl Scribe {
    /// A node that is in no tree yet.
    #[must_use]
    pub fn new(config: Config, place: Place) -> Self {
        let links = Links::new(config.links);
        let everyone = Key::of(EVERYONE);
        Self { config, me: place.me, everyone, trees: BTreeMap::new(), links, detours: Detours::default() }
    }

    /// The parent in a topic's tree; `None` for its root and for who is not in it.
    #[must_use]
    pub fn parent(&self, topic: Option<Key>) -> Option<Guid> {
        self.tree(topic)?.parent()
    }

    /// The children in a topic's tree.
    #[must_use]
    pub fn children(&self, topic: Option<Key>) -> Vec<Guid> {
        self.tree(topic).map(|tree| tree.firm().collect()).unwrap_or_default()
    }

    /// Where this node stands in a topic's tree; `None` if it is not in it, or looks for a parent.
    #[must_use]
    pub fn label(&self, topic: Option<Key>) -> Option<Label> {
        self.tree(topic)?.label()
    }

    fn tree(&self, topic: Option<Key>) -> Option<&Tree> {
        self.trees.get(&topic.unwrap_or(self.everyone))
    }

    /// Whom a copy goes to next.
    fn onward(&self, id: CopyId, topic: Option<Key>, from: Option<Guid>) -> impl Iterator<Item = Guid> {
        let tree = self.tree(topic).filter(|tree| !tree.resting());
        let detour = self.detours.hop(id);
        let links = tree.into_iter().flat_map(|tree| tree.parent().into_iter().chain(tree.firm()));
        let detour = detour.filter(move |hop| !tree.is_some_and(|tree| tree.firm().any(|child| child == *hop)));
        links.chain(detour).filter(move |peer| Some(*peer) != from)
    }

    /// Does something in one tree, if this node has to do with it.
    fn with(&mut self, topic: Key, cx: &mut Context<'_, Self>, act: impl FnOnce(&mut Tree, &mut Means<'_, '_>)) {
        if let Some(tree) = self.trees.get_mut(&topic) {
            act(tree, &mut Means { config: &self.config, links: &mut self.links, cx });
        }
    }

    fn each(&mut self, cx: &mut Context<'_, Self>, act: impl Fn(&mut Tree, &mut Means<'_, '_>)) {
        for tree in self.trees.values_mut() {
            act(tree, &mut Means { config: &self.config, links: &mut self.links, cx });
        }
    }

    /// Whether a tree is known, or there is room for one more: those that were left are forgotten first.
    fn make_room(&mut self, topic: Key) -> bool {
        if self.trees.contains_key(&topic) || self.trees.len() < MAX_TREES {
            return true;
        }
        let left = self.trees.iter().find(|(_, tree)| tree.resting()).map(|(topic, _)| *topic);
        left.and_then(|topic| self.trees.remove(&topic)).is_some()
    }

    fn subscribe(&mut self, topic: Key, cx: &mut Context<'_, Self>) {
        if !self.make_room(topic) {
            return cx.notice(format!("{topic:?} is not heard: this node is in {MAX_TREES} trees already"));
        }
        self.trees.entry(topic).or_insert_with(|| Tree::new(topic, self.me));
        self.with(topic, cx, Tree::subscribe);
    }

    fn leave(&mut self, cx: &mut Context<'_, Self>) {
        self.each(cx, Tree::depart);
        self.trees.clear();
        self.detours.clear(&mut self.links, cx);
    }

    /// A join reached its end: this node owns the topic, or a parent hands a joiner down.
    fn join(&mut self, from: Guid, join: Join, via: &Via<Self>, cx: &mut Context<'_, Self>) {
        let topic = join.topic;
        let astray = matches!(via, Via::Route { to, .. } if *to != Target::Key(topic));
        if astray || !self.make_room(topic) {
            return;
        }
        let mut new = false;
        self.trees.entry(topic).or_insert_with(|| {
            new = true;
            Tree::new(topic, self.me)
        });
        self.with(topic, cx, |tree, means| match via {
            Via::Route { .. } => tree.own(join, means),
            _ => tree.handed(from, join, means),
        });
        if new && self.trees.get(&topic).is_some_and(Tree::resting) {
            self.trees.remove(&topic);
        }
    }

    fn talk(&mut self, from: Guid, message: &Message, cx: &mut Context<'_, Self>) {
        match *message {
            Message::Join(_) => {}
            Message::Wave { topic, label } if self.trees.contains_key(&topic) => {
                self.with(topic, cx, |tree, means| tree.wave(from, label, means));
            }
            Message::Here { topic } if self.trees.contains_key(&topic) => {
                self.with(topic, cx, |tree, means| tree.here(from, means));
            }
            // Somebody believes in a link this node knows nothing of. If the answer does not fit into the queue,
            // the next wave or the lack of one brings it up again.
            Message::Wave { topic, .. } => drop(cx.send(from, Message::Leave { topic })),
            Message::Here { topic } => drop(cx.send(from, Message::Gone { topic })),
            Message::Leave { topic } => self.with(topic, cx, |tree, means| tree.left(from, means)),
            Message::Gone { topic } => self.with(topic, cx, |tree, means| tree.gone(from, means)),
        }
    }

    fn turn(&mut self, topic: Key, cx: &mut Context<'_, Self>) {
        if self.trees.get(&topic).is_some_and(Tree::resting) {
            self.trees.remove(&topic);
        }
        self.with(topic, cx, Tree::turn);
    }

    fn lost(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        self.links.forget(peer);
        self.each(cx, |tree, means| tree.lost(peer, means));
        self.detours.lost(peer, &mut self.links, cx);
    }

    /// A copy is about to spread: without a parent it goes towards the root.
    fn plan(&mut self, id: CopyId, topic: Option<Key>, from: Option<Guid>, cx: &mut Context<'_, Self>) {
        let known = topic.is_some() || self.config.everyone;
        if known && self.tree(topic).is_none_or(|tree| tree.label().is_none()) {
            self.detours.begin(id, topic.unwrap_or(self.everyone), from, &mut self.links, cx);
        }
    }
}

impl Model for Scribe {
    type Config = Config;

    fn new(config: &Config, place: Place) -> Self {
        Self::new(config.clone(), place)
    }

    /// What holds among subscribers of one topic; all peers are, of the tree of everybody.
    fn claims(config: &Config, _peers: usize) -> Claims {
        Claims {
            coverage: config.everyone,
            redundancy: Some(0.0),
            degree: Some(config.links),
            // In each tree a parent and children, and a link to each.
            entries: Some(MAX_TREES * 2 * (config.children + 2) + MAX_DETOURS),
            // A wave to each child and its answer: as many as there are peers in the tree that all join. And the root
            // and the lonely look around.
            idle: Some(if config.everyone { 60.0 / config.beat.as_secs_f64() * 3.0 } else { 0.0 }),
            heals: true,
            merges: Some(600),
            leaves: true,
            quiet: (config.beat * QUIET_BEATS).as_secs().max(1),
            ..Claims::default()
        }
    }

    fn entries(&self) -> usize {
        let trees: usize = self.trees.values().map(Tree::size).sum();
        trees + self.links.size() + self.detours.size()
    }
}

/// The name of the topic that broadcasts without one take.
const EVERYONE: &[u8] = b"scribe: everyone in the overlay";
/// In how many trees a node is at most: as many topics as the engine lets an application hear.
const MAX_TREES: usize = 4096;
/// The largest bound on children that may be set: beyond it a node has no sockets.
const MAX_CHILDREN: usize = 65_536;
/// After how many beats all is repaired: patience, then some tries.
const QUIET_BEATS: u32 = 10;

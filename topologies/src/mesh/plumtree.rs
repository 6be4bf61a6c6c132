//! Plumtree: a broadcast tree inside a mesh, and announcements over the mesh's other links that repair it.
//!
//! After J. Leitão, J. Pereira, L. Rodrigues, "Epidemic broadcast trees", SRDS 2007. It stands on any overlay
//! that has neighbors: `Layer<Plumtree, HyParView>`.
//!
//! A copy goes at once to the *eager* neighbors and is announced to the *lazy* ones. A duplicate makes its link
//! lazy (PRUNE, [`Message::Prune`]); an announced copy that does not come is asked for and makes the link eager
//! ([`Message::Graft`]). So the eager links become the tree of the first copies of whoever broadcasts. The engine
//! owns names, copies and the memory of what was seen; here are only the links and the announcements.
//!
//! **Attacks.** Announcements of copies that do not exist cost an entry, a timer and a question each: entries are
//! counted by announcer and capped (`MAX_MISSING_PER_PEER`), and each announcement is asked for once. Only
//! neighbors are listened to.

mod missing;

use core::time::Duration;
use std::collections::VecDeque;

use polymorph_core::overlay::Place;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Change, Event};
use polymorph_core::topology::model::{Claims, Model};
use polymorph_core::topology::question::{CopyId, Hold, Neighbor, Powers, Role, Spread};
use polymorph_core::{Guid, Topology};
use serde::{Deserialize, Serialize};

use crate::setting::{Configure, Knob};
use missing::{MAX_ANNOUNCERS, MAX_MISSING, Missing};

/// What peers tell each other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Message {
    /// "I have these", each with the links it would have crossed had it come from here (the paper's round).
    IHave(Vec<(CopyId, u8)>),
    /// "Send me this one, and from now on all"; without a name only the second.
    Graft(Option<CopyId>),
    /// "I have what you send: announce only."
    Prune,
}

/// The timers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Timer {
    /// Send the gathered announcements.
    Announce,
    /// An announced copy did not come in time.
    Graft(CopyId),
}

/// The paper's parameters. It names the timers without giving seconds; what is said here are guesses for links of
/// up to some 200 ms, where shorter ones would ask for copies that are on their way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// By how many links an announced path must be shorter than the one a copy came over, for the tree to change
    /// (§3.8). The paper's value for a single sender is 3; with many senders taking turns it uses 7, so that the
    /// tree of one is not bent for each other.
    pub threshold: u8,
    /// How long announcements are gathered (the paper's `dispatch` policy, §3.5).
    pub announce_after: Duration,
    /// How long an announced copy is waited for before it is asked for (the paper's first time-out).
    pub graft_after: Duration,
    /// How long the next announcer waits after that (the second time-out, about a round trip).
    pub regraft_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            threshold: 3,
            announce_after: Duration::from_millis(100),
            graft_after: Duration::from_secs(1),
            regraft_after: Duration::from_millis(500),
        }
    }
}

impl Configure for Config {
    fn table() -> Vec<Knob<Self>> {
        vec![
            Knob::number(
                "threshold",
                "3",
                "links a path must be shorter for the tree to change (the paper: 7 with many senders)",
                1..=u8::MAX,
                |config| &mut config.threshold,
            ),
            Knob::seconds("announce_after", "0.1", "seconds announcements are gathered", |config| {
                &mut config.announce_after
            }),
            Knob::seconds("graft_after", "1", "seconds an announced copy is waited for", |config| {
                &mut config.graft_after
            }),
            Knob::seconds("regraft_after", "0.5", "seconds until the next announcer is asked", |config| {
                &mut config.regraft_after
            }),
        ]
    }
}

/// One node's part of the tree.
#[derive(Debug)]
pub struct Plumtree {
    config: Config,
    eager: Vec<Guid>,
    lazy: Vec<Guid>,
    /// Whether the neighbors below were counted once; later changes are told.
    met: bool,
    /// What arrived lately, the last at the end; at most [`MAX_HAD`]. The engine remembers more: what falls out here
    /// and is announced again is asked for once too often, nothing worse.
    had: VecDeque<CopyId>,
    missing: Missing,
    /// Who announced the last copy before it came: they need neither it nor word of it.
    have: (CopyId, Vec<Guid>),
    /// Announcements to be sent, with whoever need not be told; at most [`MAX_ANNOUNCED`].
    announced: Vec<(CopyId, u8, Option<Guid>)>,
}

impl Plumtree {
    /// The neighbors that get copies.
    #[must_use]
    pub fn eager(&self) -> &[Guid] {
        &self.eager
    }

    /// The neighbors that get announcements.
    #[must_use]
    pub fn lazy(&self) -> &[Guid] {
        &self.lazy
    }
}

impl Topology for Plumtree {
    type Address = ();
    type Message = Message;
    type Timer = Timer;

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Leave => *self = Self::empty(self.config.clone()),
            Event::Below(Change::NeighborUp(peer)) => self.make_eager(peer),
            Event::Below(Change::NeighborDown(peer)) => self.forget(peer),
            Event::Copy { id, from, first, hops, .. } => {
                self.meet(cx);
                match from {
                    Some(from) if !first => self.prune(from, cx),
                    _ => self.arrived(id, from, hops, cx),
                }
            }
            Event::Message { from, message, .. } => {
                self.meet(cx);
                if !self.is_neighbor(from) {
                    return;
                }
                match message {
                    Message::IHave(copies) => self.announced_by(from, &copies, cx),
                    Message::Graft(id) => {
                        self.make_eager(from);
                        if let Some(id) = id {
                            cx.resend(id, from);
                        }
                    }
                    Message::Prune => self.make_lazy(from),
                }
            }
            Event::Timer(Timer::Announce) => self.announce(cx),
            Event::Timer(Timer::Graft(id)) => self.graft(id, cx),
            _ => {}
        }
    }

    fn powers(&self) -> Powers {
        Powers { spreads: true, ..Powers::default() }
    }

    /// Both wait for what somebody sent.
    fn periodic(&self, _: &Timer) -> bool {
        false
    }

    /// The links are the overlay's below; here is what each of them is used for.
    fn neighbors(&self) -> Vec<Neighbor> {
        let role = |role| move |&peer| Neighbor { peer, role, hold: Hold::Cached };
        self.eager.iter().map(role(Role::Eager)).chain(self.lazy.iter().map(role(Role::Lazy))).collect()
    }

    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>) {
        let have = if self.have.0 == spread.id { self.have.1.as_slice() } else { &[] };
        to.extend(self.eager.iter().filter(|&peer| Some(*peer) != spread.from && !have.contains(peer)));
    }
}

impl Plumtree {
    fn empty(config: Config) -> Self {
        Self {
            config,
            eager: Vec::new(),
            lazy: Vec::new(),
            met: false,
            had: VecDeque::new(),
            missing: Missing::default(),
            have: Default::default(),
            announced: Vec::new(),
        }
    }

    /// Counts the neighbors below the first time anything happens: tables may have been there before.
    fn meet(&mut self, cx: &Context<'_, Self>) {
        if core::mem::replace(&mut self.met, true) {
            return;
        }
        let Some(below) = cx.below() else { return };
        for neighbor in below.neighbors() {
            if !self.lazy.contains(&neighbor.peer) {
                self.make_eager(neighbor.peer);
            }
        }
    }

    fn make_eager(&mut self, peer: Guid) {
        self.lazy.retain(|&other| other != peer);
        if !self.eager.contains(&peer) {
            self.eager.push(peer);
        }
    }

    fn make_lazy(&mut self, peer: Guid) {
        self.eager.retain(|&other| other != peer);
        if !self.lazy.contains(&peer) {
            self.lazy.push(peer);
        }
    }

    fn forget(&mut self, peer: Guid) {
        self.eager.retain(|&other| other != peer);
        self.lazy.retain(|&other| other != peer);
        self.missing.forget(peer);
    }

    fn is_neighbor(&self, peer: Guid) -> bool {
        self.eager.contains(&peer) || self.lazy.contains(&peer)
    }

    fn arrived(&mut self, id: CopyId, from: Option<Guid>, hops: u8, cx: &mut Context<'_, Self>) {
        self.remember(id);
        let announcers = self.missing.take(&id).unwrap_or_default();
        if !announcers.is_empty() {
            cx.cancel(Timer::Graft(id));
        }
        self.have = (id, announcers.iter().map(|(peer, _)| *peer).collect());
        if let Some(from) = from.filter(|&from| self.is_neighbor(from)) {
            self.make_eager(from);
            self.straighten(from, hops, &announcers, cx);
        }
        if self.lazy.iter().any(|&peer| Some(peer) != from) {
            if self.announced.is_empty() {
                cx.set(Timer::Announce, self.config.announce_after);
            }
            self.announced.push((id, hops.saturating_add(1), from));
            if self.announced.len() >= MAX_ANNOUNCED {
                cx.cancel(Timer::Announce);
                self.announce(cx);
            }
        }
    }

    fn remember(&mut self, id: CopyId) {
        if self.had.len() == MAX_HAD {
            self.had.pop_front();
        }
        self.had.push_back(id);
    }

    /// Whether it arrived lately. What is announced is mostly among the last.
    fn has(&self, id: &CopyId) -> bool {
        self.had.iter().rev().any(|had| had == id)
    }

    /// §3.8: whoever announced the copy before it came, over a path shorter by the threshold, sends from now on.
    fn straighten(&mut self, from: Guid, hops: u8, announcers: &[(Guid, u8)], cx: &mut Context<'_, Self>) {
        let Some(&(nearer, round)) = announcers.iter().min_by_key(|(_, round)| *round) else { return };
        if nearer == from || hops.saturating_sub(round) < self.config.threshold.max(1) || !self.is_neighbor(nearer) {
            return;
        }
        if cx.send(nearer, Message::Graft(None)).is_ok() {
            self.make_eager(nearer);
            self.prune(from, cx);
        }
    }

    fn prune(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        // Were it lost, the next duplicate would say it again.
        let _ = cx.send(peer, Message::Prune);
        if self.is_neighbor(peer) {
            self.make_lazy(peer);
        }
    }

    fn announce(&mut self, cx: &mut Context<'_, Self>) {
        let announced = core::mem::take(&mut self.announced);
        for &peer in &self.lazy {
            let copies: Vec<_> =
                announced.iter().filter(|(.., from)| *from != Some(peer)).map(|&(id, round, _)| (id, round)).collect();
            if !copies.is_empty() {
                // Lost when the queue is full: a repair of the tree then starts from another announcement.
                let _ = cx.send(peer, Message::IHave(copies));
            }
        }
    }

    fn announced_by(&mut self, from: Guid, copies: &[(CopyId, u8)], cx: &mut Context<'_, Self>) {
        if copies.len() > MAX_ANNOUNCED {
            return cx.blame(from, "an announcement that is too long");
        }
        for &(id, round) in copies {
            if !self.has(&id) && self.missing.note(id, from, round) {
                cx.set(Timer::Graft(id), self.config.graft_after);
            }
        }
    }

    /// The copy did not come: its next announcer is asked, and becomes part of the tree.
    fn graft(&mut self, id: CopyId, cx: &mut Context<'_, Self>) {
        let Some(announcer) = self.missing.next(&id) else { return };
        self.make_eager(announcer);
        // When the queue is full this announcer does not answer, and the next one is asked.
        let _ = cx.send(announcer, Message::Graft(Some(id)));
        cx.set(Timer::Graft(id), self.config.regraft_after);
    }
}

impl Model for Plumtree {
    type Config = Config;

    fn new(config: &Config, _: Place) -> Self {
        Self::empty(config.clone())
    }

    fn claims(_: &Config, _: usize) -> Claims {
        Claims {
            coverage: true,
            redundancy: Some(REDUNDANCY),
            degree: Some(0),
            entries: Some(MAX_HAD + MAX_MISSING * (1 + MAX_ANNOUNCERS) + MAX_ANNOUNCED + MAX_ANNOUNCERS),
            // Where nothing is sent nothing is said.
            idle: Some(0.0),
            heals: true,
            merges: Some(600),
            leaves: true,
            quiet: 5,
            ..Claims::default()
        }
    }

    /// The neighbors are those of the overlay below, which counts them.
    fn entries(&self) -> usize {
        self.had.len() + self.missing.size() + self.announced.len() + self.have.1.len()
    }
}

/// How many names are remembered as arrived: some seconds of a busy overlay, as long as announcements take.
const MAX_HAD: usize = 1024;
/// How many names one announcement carries: 1.1 KiB, a packet. More are sent at once, without waiting.
const MAX_ANNOUNCED: usize = 64;
/// What is left of redundancy once the tree stands and its root stays: nothing but the odd late repair (§4.2).
const REDUNDANCY: f64 = 0.05;

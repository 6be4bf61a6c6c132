//! HyParView: a small symmetric view that is used and kept whole, a larger one to repair it from.
//!
//! After J. Leitão, J. Pereira, L. Rodrigues, "HyParView: a membership protocol for reliable gossip-based
//! broadcast", DSN 2007. Section numbers below are those of the paper.
//!
//! Every link of the active view is held by both sides, so a lost link is a failure detector (§4.1). A link is
//! only ever added by question and answer ([`Message::Join`] and [`Message::Neighbor`] are calls), and whoever is
//! treated as a neighbor without being one says so with [`Message::Disconnect`]: thus the views stay symmetric
//! also when an answer is lost.
//!
//! **Attacks.** A passive view can be filled with strangers by whoever shuffles most: a walk is answered once, a
//! list is cut at `MAX_PEERS`, and nobody in the active view is ever pushed out by a list. Urgent questions do
//! push out, as the paper wants it; they come from one authenticated peer each.

mod ideal;
mod views;

use core::time::Duration;

use polymorph_core::Guid;
use polymorph_core::Topology;
use polymorph_core::overlay::Place;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{CallId, Down, Event, Ticket, Via};
use polymorph_core::topology::model::{Census, Claims, Model};
use polymorph_core::topology::question::{Hold, Neighbor, Powers, Role, Spread};
use serde::{Deserialize, Serialize};

use crate::setting::{Configure, Knob};

/// How urgently a link is asked for (§4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Priority {
    /// The asker has other neighbors: refused by whoever has enough.
    Low,
    /// The asker has none, or a newcomer is being led in: never refused.
    High,
}

/// What peers tell each other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Message {
    /// A newcomer to its contact; a call.
    Join,
    /// A newcomer's random walk to its further neighbors.
    ForwardJoin {
        /// Who joined.
        newcomer: Guid,
        /// How many steps are left.
        ttl: u8,
    },
    /// "Be my neighbor"; a call.
    Neighbor {
        /// How urgently.
        priority: Priority,
    },
    /// Answers `Join`, `Neighbor` and `Test`: the asked peer has the asker in its active view.
    Accept,
    /// Answers `Neighbor`, as the asked peer has enough, and `Test`.
    Refuse,
    /// "You are not in my active view (any longer)."
    Disconnect,
    /// A random walk that carries a sample of both views.
    Shuffle {
        /// Who is to be answered.
        origin: Guid,
        /// How many steps are left.
        ttl: u8,
        /// The sample.
        peers: Vec<Guid>,
    },
    /// The sample in return.
    ShuffleReply {
        /// From the answerer's passive view.
        peers: Vec<Guid>,
    },
    /// "Are we neighbors?"; a call.
    Test,
}

/// The timers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Timer {
    /// Shuffle, and try again to fill the active view.
    Cycle,
    /// Try a seed again.
    Rejoin,
}

/// The paper's parameters (§5.1 gives the values).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// How many neighbors: fanout + 1.
    pub active: usize,
    /// How many peers in reserve.
    pub passive: usize,
    /// Active Random Walk Length: how far a newcomer is led, and how far a shuffle walks.
    pub arwl: u8,
    /// Passive Random Walk Length: with how many steps left a newcomer is noted down on the way.
    pub prwl: u8,
    /// How many of the active view go into a shuffle (k_a).
    pub shuffle_active: usize,
    /// How many of the passive view go into a shuffle (k_p).
    pub shuffle_passive: usize,
    /// How often one shuffles. The paper counts in cycles and gives no seconds: a guess, at some 0.3 kB/s per peer,
    /// most of it the contacts of those in the lists.
    pub cycle: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            active: 5,
            passive: 30,
            arwl: 6,
            prwl: 3,
            shuffle_active: 3,
            shuffle_passive: 4,
            cycle: Duration::from_secs(30),
        }
    }
}

impl Configure for Config {
    fn table() -> Vec<Knob<Self>> {
        vec![
            Knob::number("active", "5", "neighbors of a peer (fanout + 1)", 1..=MAX_ACTIVE, |config| {
                &mut config.active
            }),
            Knob::number("passive", "30", "peers in reserve", 0..=MAX_PASSIVE, |config| &mut config.passive),
            Knob::number("arwl", "6", "steps a newcomer is led, and a shuffle walks", 1..=MAX_WALK, |config| {
                &mut config.arwl
            }),
            Knob::number(
                "prwl",
                "3",
                "steps before the end at which a newcomer is noted down",
                0..=MAX_WALK,
                |config| &mut config.prwl,
            ),
            Knob::number("shuffle_active", "3", "neighbors in a shuffle", 0..=MAX_PEERS / 2 - 1, |config| {
                &mut config.shuffle_active
            }),
            Knob::number("shuffle_passive", "4", "peers in reserve in a shuffle", 0..=MAX_PEERS / 2, |config| {
                &mut config.shuffle_passive
            }),
            Knob::seconds("cycle", "30", "seconds between shuffles", |config| &mut config.cycle),
        ]
    }
}

/// What a question that is not answered yet was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// To enter through a seed.
    Enter,
    /// To take in a newcomer whose walk ended here.
    Adopt,
    /// To fill the active view from the passive one.
    Fill,
    /// To see whether a neighbor is there.
    Test,
}

/// One node's views.
#[derive(Debug)]
pub struct HyParView {
    me: Guid,
    config: Config,
    active: Vec<Guid>,
    passive: Vec<Guid>,
    seeds: Vec<Guid>,
    /// Who came in last with a `Join`.
    last_in: Option<Guid>,
    /// Questions on the way; at most [`MAX_OPEN`].
    open: Vec<(Ticket, Guid, Purpose)>,
    /// Who refused in this cycle, and is not asked again before the next.
    refused: Vec<Guid>,
    /// Who was refused here last, and whether the neighbors were tested for its sake in this cycle.
    turned_away: Option<Guid>,
    tested: bool,
    /// How many cycles began with two neighbors or more too few.
    hungry: u32,
    /// What this node's last shuffle carried, until it is answered.
    offered: Vec<Guid>,
}

impl HyParView {
    /// The neighbors.
    #[must_use]
    pub fn active(&self) -> &[Guid] {
        &self.active
    }

    /// The peers in reserve.
    #[must_use]
    pub fn passive(&self) -> &[Guid] {
        &self.passive
    }
}

impl Topology for HyParView {
    type Address = ();
    type Message = Message;
    type Timer = Timer;

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Join { seeds } => self.join(seeds, cx),
            Event::Leave => self.leave(cx),
            Event::PeerDown { peer, why } => self.lost(peer, why, cx),
            Event::DialFailed { peer } => self.lost(peer, Down::Lost, cx),
            Event::Message { from, message, via, .. } => match via {
                Via::Call(call) => self.asked_by(from, call, &message, cx),
                _ => self.told(from, message, cx),
            },
            Event::Reply { ticket, from, message, .. } => self.answered(ticket, from, &message, cx),
            Event::Failed { ticket, peer } => self.unanswered(ticket, peer, cx),
            Event::Timer(Timer::Cycle) => self.cycle(cx),
            Event::Timer(Timer::Rejoin) => self.fill(cx),
            Event::Copy { from: Some(from), .. } => self.expect_neighbor(from, cx),
            _ => {}
        }
    }

    fn powers(&self) -> Powers {
        Powers { spreads: true, degree: self.config.active, ..Powers::default() }
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        self.active.iter().map(|&peer| Neighbor { peer, role: Role::Active, hold: Hold::Required }).collect()
    }

    fn periodic(&self, timer: &Timer) -> bool {
        *timer == Timer::Cycle
    }

    /// By itself it floods (§4.1): to all neighbors but the one it came from.
    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>) {
        to.extend(self.active.iter().filter(|&&peer| Some(peer) != spread.from));
    }
}

impl HyParView {
    fn empty(me: Guid, config: Config) -> Self {
        Self {
            me,
            config,
            active: Vec::new(),
            passive: Vec::new(),
            seeds: Vec::new(),
            last_in: None,
            open: Vec::new(),
            refused: Vec::new(),
            turned_away: None,
            tested: false,
            hungry: 0,
            offered: Vec::new(),
        }
    }

    /// Views that are there already, from a world that saw everybody, are kept.
    fn join(&mut self, seeds: Vec<Guid>, cx: &mut Context<'_, Self>) {
        self.seeds = seeds.into_iter().filter(|&seed| seed != self.me).take(MAX_SEEDS).collect();
        for &peer in &self.active {
            cx.want(peer, Hold::Required);
        }
        let first = cx.jitter(self.config.cycle / 8, 1.0);
        cx.set(Timer::Cycle, first + SOONEST);
        self.fill(cx);
    }

    /// The engine tells the neighbors; nobody else has to know.
    fn leave(&mut self, cx: &mut Context<'_, Self>) {
        for peer in core::mem::take(&mut self.active) {
            cx.unwant(peer);
        }
        cx.cancel(Timer::Cycle);
        cx.cancel(Timer::Rejoin);
        *self = Self::empty(self.me, self.config.clone());
    }

    fn cycle(&mut self, cx: &mut Context<'_, Self>) {
        let next = cx.jitter(self.config.cycle, JITTER);
        cx.set(Timer::Cycle, next);
        self.refused.clear();
        self.tested = false;
        self.hungry = if self.active.len() + 1 < self.config.active { self.hungry.saturating_add(1) } else { 0 };
        self.fill(cx);
        self.shuffle(cx);
    }

    /// Asks as many peers as the active view has room for (§4.3): those in reserve, and with nobody left, a seed.
    fn fill(&mut self, cx: &mut Context<'_, Self>) {
        let priority = self.priority();
        // An urgent question costs the asked peer a neighbor: one at a time.
        let size = if priority == Priority::High { self.active.len() + 1 } else { self.config.active };
        while self.active.len() + self.prospects() < size.min(self.config.active) {
            let free: Vec<Guid> = self.passive.iter().copied().filter(|peer| self.may_ask(peer)).collect();
            if free.is_empty() || priority == Priority::Low && self.refused.len() >= MAX_REFUSALS {
                break;
            }
            let seeks = self.turned_away.take().filter(|peer| free.contains(peer));
            let peer = seeks.unwrap_or_else(|| free[cx.pick(free.len())]);
            self.ask(peer, Message::Neighbor { priority }, Purpose::Fill, cx);
        }
        if self.active.is_empty() && self.prospects() == 0 && !self.seeds.is_empty() {
            let seed = self.seeds[cx.pick(self.seeds.len())];
            self.ask(seed, Message::Join, Purpose::Enter, cx);
        }
    }

    /// Urgent without any neighbor (§4.3). Beyond the paper, also with too few for several cycles: two peers that have
    /// only each other are cut off from all who have enough and refuse.
    fn priority(&self) -> Priority {
        if self.active.is_empty() || self.hungry >= MAX_HUNGRY { Priority::High } else { Priority::Low }
    }

    fn may_ask(&self, peer: &Guid) -> bool {
        !self.is_asked(peer) && !self.refused.contains(peer)
    }

    /// How many neighbors may come of the questions on the way.
    fn prospects(&self) -> usize {
        self.open.iter().filter(|(.., purpose)| *purpose != Purpose::Test).count()
    }

    fn is_asked(&self, peer: &Guid) -> bool {
        self.open.iter().any(|(_, asked, _)| asked == peer)
    }

    fn ask(&mut self, peer: Guid, question: Message, purpose: Purpose, cx: &mut Context<'_, Self>) {
        let ticket = cx.call(peer, question);
        self.open.push((ticket, peer, purpose));
    }

    fn asked_by(&mut self, from: Guid, call: CallId, question: &Message, cx: &mut Context<'_, Self>) {
        match question {
            Message::Join => {
                self.show_out(cx);
                self.add_active(from, cx);
                self.last_in = Some(from);
                cx.reply(call, Message::Accept);
                for &peer in self.active.iter().filter(|&&peer| peer != from) {
                    // A full queue loses one walk; the newcomer's own cycles make up for it.
                    let _ = cx.send(peer, Message::ForwardJoin { newcomer: from, ttl: self.config.arwl });
                }
            }
            Message::Neighbor { priority } => {
                let room = self.active.len() < self.config.active || self.active.contains(&from);
                if room || *priority == Priority::High {
                    self.add_active(from, cx);
                    cx.reply(call, Message::Accept);
                } else {
                    cx.reply(call, Message::Refuse);
                    self.turn_away(from, cx);
                }
            }
            Message::Test => {
                let neighbors = self.active.contains(&from);
                cx.reply(call, if neighbors { Message::Accept } else { Message::Refuse });
            }
            _ => cx.blame(from, "a call that is no question"),
        }
    }

    /// One newcomer makes room for the next. The paper draws the victim by lot; then a crowd at one contact leaves it
    /// with newcomers for neighbors, who lead each other in, and the mesh becomes a long chain of crowds. This way
    /// all are led in by those who were here before.
    fn show_out(&mut self, cx: &mut Context<'_, Self>) {
        if self.active.len() >= self.config.active
            && let Some(last) = self.last_in.take()
        {
            self.disconnect(last, cx);
        }
    }

    fn answered(&mut self, ticket: Ticket, from: Guid, answer: &Message, cx: &mut Context<'_, Self>) {
        let Some(purpose) = self.close(ticket) else { return };
        match answer {
            Message::Accept if purpose == Purpose::Test => return,
            Message::Refuse if purpose == Purpose::Test => drop(self.remove_active(from, cx)),
            Message::Accept if purpose == Purpose::Fill && self.active.len() >= self.config.active => {
                // Others were quicker; nobody is pushed out for the sake of filling up.
                if !self.active.contains(&from) {
                    self.say_disconnect(from, cx);
                }
            }
            Message::Accept => self.add_active(from, cx),
            Message::Refuse => self.note_refusal(from),
            _ => cx.blame(from, "an answer to another question"),
        }
        self.fill(cx);
    }

    fn unanswered(&mut self, ticket: Ticket, peer: Guid, cx: &mut Context<'_, Self>) {
        let Some(purpose) = self.close(ticket) else { return };
        self.passive.retain(|&other| other != peer);
        if purpose == Purpose::Test {
            self.remove_active(peer, cx);
        }
        if cx.linked(&peer) && !self.active.contains(&peer) {
            // Slow, not dead: it may have accepted meanwhile.
            self.say_disconnect(peer, cx);
        }
        if purpose == Purpose::Enter {
            let after = cx.jitter(REJOIN_AFTER, JITTER);
            cx.set(Timer::Rejoin, after);
        } else {
            self.fill(cx);
        }
    }

    fn note_refusal(&mut self, peer: Guid) {
        // Only who is in the passive view could be asked again, so no more than that need be known.
        if self.refused.len() < self.config.passive {
            self.refused.push(peer);
        }
    }

    fn close(&mut self, ticket: Ticket) -> Option<Purpose> {
        let at = self.open.iter().position(|(open, ..)| *open == ticket)?;
        Some(self.open.swap_remove(at).2)
    }

    fn told(&mut self, from: Guid, message: Message, cx: &mut Context<'_, Self>) {
        match message {
            Message::ForwardJoin { newcomer, ttl } => self.lead_in(from, newcomer, ttl, cx),
            Message::Disconnect => self.disconnected(from, cx),
            Message::Shuffle { origin, ttl, peers } => {
                if peers.len() > MAX_PEERS {
                    return cx.blame(from, "a sample that is too long");
                }
                self.pass_shuffle(from, origin, ttl, peers, cx);
            }
            Message::ShuffleReply { peers } => {
                // Unasked for, or the second one: whoever answers a walk does so once.
                if !self.offered.is_empty() && peers.len() <= MAX_PEERS {
                    let offered = core::mem::take(&mut self.offered);
                    self.take_in(&peers, &offered, cx);
                }
            }
            _ => cx.blame(from, "a question that is no call"),
        }
    }

    /// §4.2: the walk ends where its steps are used up, or where there is nobody else to pass it to.
    fn lead_in(&mut self, from: Guid, newcomer: Guid, ttl: u8, cx: &mut Context<'_, Self>) {
        self.expect_neighbor(from, cx);
        let ttl = ttl.min(self.config.arwl);
        if newcomer == self.me || self.active.contains(&newcomer) {
            return;
        }
        let onward = if ttl == 0 { None } else { self.active_but(&[from, newcomer], cx) };
        match onward {
            Some(onward) => {
                if ttl == self.config.prwl {
                    self.add_passive(newcomer, &[], cx);
                }
                let _ = cx.send(onward, Message::ForwardJoin { newcomer, ttl: ttl - 1 });
            }
            None if self.is_asked(&newcomer) || self.open.len() >= MAX_OPEN => {}
            None => self.ask(newcomer, Message::Neighbor { priority: Priority::High }, Purpose::Adopt, cx),
        }
    }

    fn disconnected(&mut self, from: Guid, cx: &mut Context<'_, Self>) {
        if self.remove_active(from, cx) {
            self.add_passive(from, &[], cx);
            // It has just said that it has enough.
            self.note_refusal(from);
            self.fill(cx);
        }
    }

    fn lost(&mut self, peer: Guid, why: Down, cx: &mut Context<'_, Self>) {
        if why != Down::Unwanted {
            self.passive.retain(|&other| other != peer);
        }
        if self.remove_active(peer, cx) {
            self.fill(cx);
        }
    }

    /// §4.4.
    fn shuffle(&mut self, cx: &mut Context<'_, Self>) {
        let Some(to) = self.active_but(&[], cx) else { return };
        let mut peers = views::sample(&self.active, self.config.shuffle_active, to, cx);
        peers.extend(views::sample(&self.passive, self.config.shuffle_passive, to, cx));
        if cx.send(to, Message::Shuffle { origin: self.me, ttl: self.config.arwl, peers: peers.clone() }).is_ok() {
            // Oneself counts among the eight identifiers of the paper: so the list is never empty.
            peers.push(self.me);
            self.offered = peers;
        }
    }

    fn pass_shuffle(&mut self, from: Guid, origin: Guid, ttl: u8, mut peers: Vec<Guid>, cx: &mut Context<'_, Self>) {
        self.expect_neighbor(from, cx);
        if origin == self.me {
            return;
        }
        let ttl = ttl.min(self.config.arwl).saturating_sub(1);
        let onward = if ttl == 0 { None } else { self.active_but(&[from, origin], cx) };
        if let Some(onward) = onward {
            let _ = cx.send(onward, Message::Shuffle { origin, ttl, peers });
            return;
        }
        peers.push(origin);
        let answer = views::sample(&self.passive, peers.len(), origin, cx);
        if !answer.is_empty() {
            // Over a link made for this answer, if there is none (§4.4).
            let _ = cx.send(origin, Message::ShuffleReply { peers: answer.clone() });
        }
        self.take_in(&peers, &answer, cx);
    }

    /// Tells whoever acts as a neighbor without being one that it is none.
    fn expect_neighbor(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if !self.active.contains(&peer) && !self.is_asked(&peer) {
            self.say_disconnect(peer, cx);
        }
    }

    fn say_disconnect(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        // Lost when the queue is full: then the peer is told when it next acts as a neighbor.
        let _ = cx.send(peer, Message::Disconnect);
    }
}

impl Model for HyParView {
    type Config = Config;

    fn new(config: &Config, place: Place) -> Self {
        Self::empty(place.me, config.clone())
    }

    fn claims(config: &Config, peers: usize) -> Claims {
        let degree = config.active.min(peers.saturating_sub(1)) as f64;
        let receivers = peers.saturating_sub(1).max(1) as f64;
        Claims {
            coverage: true,
            // A flood crosses every link once in each direction, but for the link each first copy came over.
            redundancy: Some((degree * peers as f64 / receivers - 2.0).max(0.0)),
            symmetry: true,
            degree: Some(config.active),
            // The views, and lists that are no longer than a shuffle or a cycle's questions.
            entries: Some(config.active + config.passive + MAX_SEEDS + MAX_OPEN + MAX_PEERS + MAX_REFUSALS),
            // A shuffle walks, is answered, and the wire for the answer is made and closed again; who has too few
            // neighbors asks others in vain, over wires of their own.
            idle: Some(60.0 / config.cycle.as_secs_f64() * (f64::from(config.arwl) + 2.0 * 8.0)),
            heals: true,
            // Two meshes of which each has enough neighbors do not look for each other.
            merges: Some(10),
            leaves: true,
            // Views heal within one or two cycles when fewer than 80 % fail (§5.3). Who is left with too few, as after
            // a partition, goes back to its seeds when it has been so for some cycles; jitter asks for one more each.
            quiet: (u64::from(MAX_HUNGRY) + 4) * config.cycle.as_secs().max(1),
            ..Claims::default()
        }
    }

    fn entries(&self) -> usize {
        let lists = self.seeds.len() + self.open.len() + self.refused.len() + self.offered.len();
        self.active.len() + self.passive.len() + lists
    }

    /// A random regular graph of which each node computes its own links; see `ideal.rs`.
    fn ideal(&mut self, config: &Config, all: &Census) -> bool {
        let Ok(me) = all.guids.binary_search(&self.me) else { return false };
        let graph = ideal::Regular::new(&all.overlay, all.guids.len());
        self.active = graph.links(me, config.active).into_iter().map(|at| all.guids[at]).collect();
        self.passive = graph.others(me, config.passive).into_iter().map(|at| all.guids[at]).collect();
        self.passive.retain(|peer| !self.active.contains(peer));
        true
    }
}

/// Neighbors are sessions: more than a node's whole budget makes no sense.
const MAX_ACTIVE: usize = 50;
/// A view in reserve is searched from end to end.
const MAX_PASSIVE: usize = 1000;
/// A walk of so many steps has left every neighborhood.
const MAX_WALK: u8 = 32;
/// How many peers one list may carry: far above k_a + k_p + 1 of any sensible setting.
const MAX_PEERS: usize = 64;
/// How many questions may wait at once: a burst of newcomers led here waits for its walks instead.
const MAX_OPEN: usize = 16;
/// How many refusals in one cycle are enough: those who have room are found by the next cycles' lists too.
const MAX_REFUSALS: usize = 5;
/// After how many cycles with too few neighbors it is time to insist.
const MAX_HUNGRY: u32 = 3;
/// How many seeds are remembered for the day everybody else is gone.
const MAX_SEEDS: usize = 32;
/// How long after a seed did not answer one is tried again. A guess.
const REJOIN_AFTER: Duration = Duration::from_secs(2);
/// The first shuffle waits at least so long, for the joins before it to end.
const SOONEST: Duration = Duration::from_millis(500);
/// By how much cycles are spread, so that nodes started together do not shuffle together.
const JITTER: f64 = 0.2;

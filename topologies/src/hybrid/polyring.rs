//! Polyring: rings of rings. Around each peer of a ring a further ring may lie; everybody knows its own ring, the
//! peer that lies around, and the ring around itself, and nobody else.
//!
//! After Jakob Jenkov's articles on Polymorph (polyrings, 2021). He published no implementation; where the source is
//! silent, what is done here is said below.
//!
//! - **Address**: a [`Path`], one coordinate for each ring from the center. It is where a peer stands, not who it is,
//!   and changes when the peer is moved.
//! - **Assignment**: each ring has exactly one allocator: the peer it lies around, and in the center, where there is
//!   none, the member with the lowest coordinate. A newcomer is sent to the center and outwards from there: the
//!   center is filled up to `width`, then the rings around its members, breadth first and in the order of their
//!   coordinates, down to `depth` (`placing`).
//! - **Departure**: the lowest child of a peer that is gone asks the allocator for the vacant place and its siblings
//!   become its children; its own place goes to its own lowest child, and so on outwards. So a departure moves one
//!   peer on each level below it and all others keep their addresses. An orphan that nobody takes in joins anew and
//!   brings its descendants along (`orphans`).
//! - **Routing**: the five cases of the source, always the one shortest way. A **key** is owned by a peer without
//!   children: from the center outwards each ring ranks its members for the key and the first one goes on. All peers
//!   agree, since each step is decided by one who knows the whole ring. Keys move when a ring changes: with one
//!   member of a ring of r its r-th part of the ring's keys, with a first child all of its parent's.
//! - **Broadcast**: N − 1 copies and no duplicates.
//!
//! **Not healed**: a center that was cut in two stays two polyrings when each gave the other's places away. Who is left
//! alone goes back, and who made itself the center or its allocator because nobody answered, for a while. When the whole center goes at once, its heirs do not know each other
//! and make one polyring each. There are no clusters yet: a peer that is gone cuts off those around it until it is
//! replaced.
//!
//! **Attacks.** Places are only taken from a ring's allocator, who is known by its session; others who assign are
//! blamed. An allocator can cheat those around it: parents are trusted, as everywhere in the source.

mod ideal;
mod joining;
mod orphans;
mod path;
mod placing;
mod ring;
mod routing;
mod standing;
#[cfg(test)]
mod tests;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Down, Event, Ticket, Via};
use polymorph_core::topology::question::{Hold, Neighbor, Powers, Query, Role, Route, Spread};
use polymorph_core::{Guid, Time, Topology};
use serde::{Deserialize, Serialize};

use crate::setting::{Configure, Knob, Setting, SettingError};
pub use path::{BadPath, MAX_DEPTH, Path};
use ring::Ring;

/// What is asked for with a [`Message::Join`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Wish {
    /// Some place.
    Anywhere,
    /// A place in the ring around the asked peer, or further out.
    Around,
    /// This very place: an orphan's parent's, or one's own.
    Place(Path),
}

/// Why a wish is not granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// Not now: the asked peer has no place itself, or does not know yet that somebody is gone.
    Later,
    /// Every place down to the depth is taken.
    Full,
    /// Somebody else stands there.
    Taken,
}

/// What peers tell each other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Message {
    /// "Give me a place"; a call.
    Join(Wish),
    /// "You stand there"; answers `Join` and `Refresh`, and comes unasked from a parent that was itself moved up.
    Stand {
        /// The place.
        path: Path,
        /// Whom to turn to when the parent is gone.
        elders: Vec<Guid>,
        /// The coordinates taken in that ring. Who stands there follows in `Members`.
        taken: Vec<u32>,
    },
    /// "Ask there"; answers `Join` and `Refresh`.
    Elsewhere {
        /// Whom.
        ask: Guid,
        /// For what.
        wish: Wish,
    },
    /// "No"; answers `Join`.
    Refused(Refusal),
    /// An allocator to its ring: these stand there.
    Members(Vec<(u32, Guid)>),
    /// An allocator to its ring: this one is gone.
    Gone {
        /// From where.
        coordinate: u32,
        /// Who.
        member: Guid,
    },
    /// A parent to its children, also the heir to its siblings that now are: "I stand there".
    Above {
        /// Where.
        path: Path,
        /// Whom to turn to when I am gone.
        elders: Vec<Guid>,
    },
    /// A parent that was moved up, to its former children: "this sibling of yours has my place".
    Handed {
        /// Which.
        heir: Guid,
    },
    /// To the allocator: "is this still my ring?"; a call.
    Refresh {
        /// The asker's place.
        path: Path,
        /// Of the ring's members and the elders.
        digest: u64,
        /// The nearest level with room around the asker.
        room: u8,
    },
    /// "It is", or "I am there"; answers `Refresh` and `Probe`.
    Fresh,
    /// "You are not in it"; answers `Refresh`.
    Stranger,
    /// "Are you there?"; a call.
    Probe,
    /// To the allocator: the nearest level with room around me. Unsaid, it is the next one.
    Room {
        /// The level.
        level: u8,
    },
    /// To the sibling that would inherit: "our parent is gone".
    Missing,
    /// To somebody who thinks otherwise: "this is where I stand", or nowhere.
    Quit(Option<Path>),
}

/// The timers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Timer {
    /// Compare the ring with its allocator's.
    Refresh,
    /// Ask for a place again.
    Retry,
}

/// The shape of a polyring. All its peers should have the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// How many peers a ring is filled up to; on the wire it may have up to [`MAX_WIDTH`].
    pub width: usize,
    /// How many levels of rings there are.
    pub depth: usize,
    /// How many peers share a place. Only 1 so far.
    pub cluster: usize,
}

impl Default for Config {
    /// A million peers, five links apart at most.
    fn default() -> Self {
        Self { width: 100, depth: 3, cluster: 1 }
    }
}

impl Configure for Config {
    fn table() -> Vec<Knob<Self>> {
        vec![
            Knob::number(
                "width",
                "100",
                "peers a ring is filled up to; a peer holds up to twice as many links",
                1..=MAX_WIDTH,
                |config| &mut config.width,
            ),
            Knob::number("depth", "3", "levels of rings", 1..=MAX_DEPTH, |config| &mut config.depth),
            Knob::new(
                Setting::new("cluster", "1", "peers that share a place; only 1 so far"),
                |config| &mut config.cluster,
                one,
            ),
        ]
    }
}

fn one(key: &str, value: &str) -> Result<usize, SettingError> {
    let expected = "1: peers cannot share a place yet".into();
    let bad = || SettingError::Bad { key: key.into(), value: value.into(), expected };
    if value == "1" { Ok(1) } else { Err(bad()) }
}

/// Where a node stands, and whom it therefore knows.
#[derive(Debug)]
struct Stand {
    path: Path,
    /// `None` in the center, and for an orphan.
    parent: Option<Guid>,
    /// Peers around the parent, to turn to when it is gone. In the center there are none, but for an heir that found
    /// nobody and made itself the center: those it still looks for.
    elders: Vec<Guid>,
    /// The own ring, this node included.
    ring: Ring,
    children: Ring,
}

/// A question for a place that is not answered yet.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Quest {
    ticket: Ticket,
    wish: Wish,
    redirects: u8,
}

/// Somebody is asked for a sign of life, because another acts as if it were gone.
#[derive(Debug)]
struct Probe {
    ticket: Ticket,
    /// Who has no right to, if it is there.
    usurper: Option<Guid>,
}

/// An orphan's state.
#[derive(Debug)]
struct Orphan {
    since: Time,
    /// How often the parent's place was asked for.
    claims: usize,
    /// How many questions in a row nobody answered.
    unheard: usize,
}

/// One node's part of a polyring.
#[derive(Debug)]
pub struct Polyring {
    me: Guid,
    config: Config,
    seeds: Vec<Guid>,
    stand: Option<Stand>,
    quest: Option<Quest>,
    orphan: Option<Orphan>,
    /// A sibling that says it has the parent's place, while the parent is not known to be gone.
    offer: Option<(Guid, Vec<Guid>)>,
    /// Ring mates and children whose nearest room is not on the next level; at most all of them.
    rooms: BTreeMap<Guid, u8>,
    /// What this node last said of its own room.
    said_room: Option<u8>,
    /// The elders this node's children were told of.
    said_elders: Vec<Guid>,
    /// Vacant places kept for heirs; at most [`MAX_RESTING`].
    resting: Vec<(Path, Time)>,
    /// Who gave this node its place: lists of its ring may still come from there.
    giver: Option<Guid>,
    /// Neighbors whose wire broke and that are dialed again.
    redialed: Vec<Guid>,
    refreshing: Option<Ticket>,
    /// Neighbors that compared their ring since this node last did; at most all of them.
    heard: BTreeSet<Guid>,
    /// Which of the known peers is asked next for any place.
    tries: usize,
    probing: Option<Probe>,
    /// Who assigned the center's places until it could not be reached and this node took that over, and how often it
    /// is still asked whether it is back: the silence may have been this node's own.
    missed: Option<(Guid, u8)>,
    /// Who assigned places that are another's to give, and since when it knows better.
    warned: Option<(Guid, Time)>,
}

impl Polyring {
    /// Where this node stands; `None` before it joined.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.stand.as_ref().map(|stand| &stand.path)
    }

    /// The peer this node's ring lies around; `None` in the center.
    #[must_use]
    pub fn parent(&self) -> Option<Guid> {
        self.stand.as_ref().and_then(|stand| stand.parent)
    }

    /// The members of the own ring with their coordinates, this node included.
    pub fn ring(&self) -> impl Iterator<Item = (u32, Guid)> {
        self.stand.iter().flat_map(|stand| stand.ring.iter())
    }

    /// The members of the ring around this node, with their coordinates.
    pub fn children(&self) -> impl Iterator<Item = (u32, Guid)> {
        self.stand.iter().flat_map(|stand| stand.children.iter())
    }
}

impl Topology for Polyring {
    type Address = Path;
    type Message = Message;
    type Timer = Timer;

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Join { seeds } => self.join(seeds, cx),
            Event::Leave => *self = Self::outside(self.me, self.config.clone()),
            // A wire broke: dialed again, and only if that fails the peer is gone.
            Event::PeerUp { peer } => self.redialed.retain(|other| *other != peer),
            Event::PeerDown { peer, why: Down::Lost } => self.broke(peer, cx),
            Event::PeerDown { peer, why: Down::Left } => self.gone(peer, cx),
            Event::DialFailed { peer } => self.unreached(peer, cx),
            Event::Message { from, message, via, .. } => match via {
                Via::Call(call) => {
                    let answer = self.asked(from, message, cx);
                    self.answer(from, call, answer, cx);
                }
                _ => self.told(from, message, cx),
            },
            Event::Reply { ticket, from, message, .. } => self.answered(ticket, from, message, cx),
            Event::Failed { ticket, peer } => self.unanswered(ticket, peer, cx),
            Event::Timer(Timer::Refresh) => self.refresh(cx),
            Event::Timer(Timer::Retry) => self.seek(cx),
            _ => {}
        }
    }

    fn powers(&self) -> Powers {
        let degree = 2 * self.config.width;
        Powers { routes: true, spreads: true, assigned: true, degree, ..Powers::default() }
    }

    fn periodic(&self, timer: &Timer) -> bool {
        *timer == Timer::Refresh
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        let Some(stand) = &self.stand else { return Vec::new() };
        let role = |role| move |peer| Neighbor { peer, role, hold: Hold::Required };
        let above = stand.parent.into_iter().map(role(Role::Parent));
        let beside = stand.ring.others(self.me).map(role(Role::Sibling));
        above.chain(beside).chain(stand.children.members().map(role(Role::Child))).collect()
    }

    /// An orphan claims no place, nor who is alone in the center and looks for others: theirs may have been given to
    /// somebody else.
    fn addresses(&self) -> Vec<Path> {
        let lasting = self.orphan.is_none() && self.lookouts().is_empty();
        self.path().filter(|_| lasting).cloned().into_iter().collect()
    }

    /// Nobody may claim this node's place, nor one that this node gave to somebody else. Of other places it does not
    /// know whose they are by now; what is said of them here is not used either.
    fn admits(&self, guid: Guid, address: &Path, _: &[u8]) -> bool {
        // An orphan's own place may be another's by now, and its children's too.
        let Some(stand) = self.stand.as_ref().filter(|_| self.orphan.is_none()) else { return true };
        let around = address.level() == stand.path.level() + 1 && address.common(&stand.path) == stand.path.level();
        let assigned = if around {
            stand.children.get(address.last())
        } else if address.level() == 1 && self.allocator() == Some(self.me) {
            stand.ring.get(address.last())
        } else {
            (*address == stand.path).then_some(self.me)
        };
        assigned.is_none_or(|holder| holder == guid)
    }

    fn route(&self, query: &Query<'_, Self>, route: &mut Route) {
        self.find_way(query, route);
    }

    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>) {
        self.pass_copy(spread, to);
    }
}

/// The widest ring: its coordinates fill a page, its contacts a few dozen.
pub const MAX_WIDTH: usize = 4096;
/// How many members one message names: as many as there is room for their contacts beside it, and to spare.
const PAGE: usize = 32;
/// How many elders are remembered: all of them gone at once is a catastrophe that the seeds must mend.
const ELDERS: usize = 4;
/// How many seeds are remembered.
const MAX_SEEDS: usize = 32;
/// How many vacant places are kept for heirs at once.
const MAX_RESTING: usize = 64;
/// How often a newcomer is sent on: to the center, through it, outwards, and as much again for changes on the way.
const MAX_REDIRECTS: u8 = 4 * MAX_DEPTH as u8;
/// How often an heir asks for its parent's place before it gives up.
const MAX_CLAIMS: usize = 10;
/// How many unanswered questions in a row tell an heir that the whole center is gone: all elders and seeds in turn.
const MAX_UNHEARD: usize = ELDERS + MAX_SEEDS;
/// How often a ring is compared with its allocator's. A guess: what was missed is then made good.
const REFRESH: Duration = Duration::from_secs(30);
/// How soon a place is asked for again. A guess, longer than most round trips.
const RETRY: Duration = Duration::from_secs(1);
/// The same when everything was full.
const RETRY_FULL: Duration = Duration::from_secs(10);
/// How often an allocator that could not be reached is looked for, once in a [`REFRESH`]. A guess: what lasts longer than
/// that is a partition, and is not healed.
const MAX_MISSED: u8 = 4;
/// How long orphans wait for an heir: its claims, and a dial that fails.
const AWAIT_HEIR: Duration = Duration::from_secs(20);
/// How long a vacant place is kept for an heir.
const REST: Duration = Duration::from_secs(20);
/// By how much timers are spread.
const JITTER: f64 = 0.2;

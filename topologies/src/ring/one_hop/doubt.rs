//! How lies, mistakes and lost events come out: whom one doubts one asks, and tables are compared.

use core::time::Duration;
use std::collections::VecDeque;

use polymorph_core::topology::context::Context;
use polymorph_core::{Guid, Time};

use super::super::prefix::Peer;
use super::members::{HEADS, half};
use super::{Events, Left, Message, OneHop, Purpose, Stage};

/// What is known of peers beyond their places.
#[derive(Debug, Default)]
pub(super) struct Past(VecDeque<Known>);

/// A peer of which more is known than that it is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    at: u64,
    life: u8,
    /// When it went, if it did.
    went: Option<Time>,
    /// Whether this node found out by chance how it is with it, so that who tells of it is to be told on.
    by_chance: bool,
}

impl Past {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn of(&self, at: u64) -> Option<&Known> {
        self.0.iter().find(|known| known.at == at)
    }

    /// Which life a peer is in; the first, if nothing was heard of another.
    pub(super) fn life(&self, at: u64) -> u8 {
        self.of(at).map_or(0, |known| known.life)
    }

    /// The life that begins if a peer comes now.
    pub(super) fn next_life(&self, at: u64) -> u8 {
        self.of(at).map_or(0, |known| if known.went.is_some() { known.life.wrapping_add(1) } else { known.life })
    }

    /// Whether that life of a peer ended so lately that whoever tells of it may not have heard so yet.
    pub(super) fn is_over(&self, at: u64, life: u8, now: Time) -> bool {
        let lately = |known: &Known| known.went.is_some_and(|went| now.since(went) < ON_THE_WAY);
        self.of(at).is_some_and(|known| lately(known) && !is_newer(life, known.life))
    }

    /// Whether this node found out by chance, and was told now.
    pub(super) fn told(&mut self, at: u64) -> bool {
        self.0.iter_mut().find(|known| known.at == at).is_some_and(|known| core::mem::take(&mut known.by_chance))
    }

    fn note(&mut self, known: Known) {
        self.0.retain(|other| other.at != known.at);
        if self.0.len() == MAX_PAST {
            self.0.pop_front();
        }
        self.0.push_back(known);
    }

    /// Somebody is there. Of a first life that was told, as most are, there is nothing to keep.
    pub(super) fn came(&mut self, at: u64, life: u8, by_chance: bool) {
        self.0.retain(|known| known.at != at);
        if life != 0 || by_chance {
            self.note(Known { at, life, went: None, by_chance });
        }
    }

    pub(super) fn went(&mut self, at: u64, life: u8, now: Time, by_chance: bool) {
        self.note(Known { at, life, went: Some(now), by_chance });
    }

    /// Those who were found gone by chance, of some: from now on they are told.
    pub(super) fn untold(&mut self, of: impl Fn(u64) -> bool) -> Vec<(u64, u8)> {
        let untold = self.0.iter_mut().filter(|known| known.went.is_some() && known.by_chance && of(known.at));
        untold
            .map(|known| {
                known.by_chance = false;
                (known.at, known.life)
            })
            .collect()
    }
}

/// Whether one life comes after another; they are counted round (RFC 1982), so that there is one after each.
pub(super) fn is_newer(life: u8, than: u8) -> bool {
    (1..128).contains(&life.wrapping_sub(than))
}

impl OneHop {
    /// Somebody may be gone: it is asked.
    pub(super) fn suspect(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if self.stage == Stage::In && self.members.get(self.peer(peer).at).is_some() {
            self.calls.ask(peer, Message::Ping, Purpose::Suspect(peer), cx);
        }
    }

    /// A neighbor is said to be gone: it is told so, and if it is there it will not let that stand.
    pub(super) fn ask_the_dead(&mut self, peer: Peer, life: u8, cx: &mut Context<'_, Self>) {
        let said = Left { at: peer.at, life, until: half(peer.at) };
        let events = Events { left: vec![said], ..Events::default() };
        self.calls.ask(peer.guid, Message::Events(events), Purpose::Suspect(peer.guid), cx);
    }

    /// Whether all events that this node heard of have come to everybody.
    pub(super) fn is_settled(&self, now: Time) -> bool {
        now.since(self.news) > (4 + u32::from(self.rho())) * self.config.interval
    }

    /// Tables that differ though nothing is on its way are compared, a part at a time: an event was lost.
    pub(super) fn compare(&mut self, with: Guid, digest: Option<u64>, cx: &mut Context<'_, Self>) {
        let digest = digest.filter(|_| self.is_settled(cx.now()));
        let Some(digest) = digest else { return };
        self.differs = if digest == self.members.digest() { 0 } else { self.differs + 1 };
        if self.differs >= PATIENCE {
            self.differs = 0;
            self.check(with, cx);
        }
    }

    /// Where something is always on its way digests say nothing, and a part of the table is compared rarely.
    pub(super) fn compare_now_and_then(&mut self, cx: &mut Context<'_, Self>) {
        self.compared += 1;
        if self.compared >= RARELY {
            self.compared = 0;
            let links = self.held.len();
            if let Some(&with) = self.held.get(cx.pick(links)).filter(|_| !self.is_settled(cx.now())) {
                self.check(with, cx);
            }
        }
    }

    fn check(&mut self, with: Guid, cx: &mut Context<'_, Self>) {
        let at = rand_core::Rng::next_u64(cx.rng());
        self.calls.ask(with, Message::Check(at), Purpose::Compare(at), cx);
    }

    /// Whom another one knows after a point: those unknown there are asked whether they are there, those unknown here
    /// it is asked for.
    pub(super) fn compared(&mut self, from: Guid, at: u64, theirs: &[u32], cx: &mut Context<'_, Self>) {
        let theirs = &theirs[..theirs.len().min(HEADS)];
        let Some(last) = theirs.last() else { return };
        let span = last.wrapping_sub(half(at));
        let near = self.members.from(at).take(2 * HEADS);
        let mine: Vec<Peer> = near.take_while(|peer| half(peer.at).wrapping_sub(half(at)) <= span).collect();
        let unknown_there = mine.iter().filter(|peer| !theirs.contains(&half(peer.at)) && peer.at != self.mine);
        for peer in unknown_there.take(MAX_DOUBTS).map(|peer| peer.guid).collect::<Vec<_>>() {
            self.calls.ask_in_turn(peer, Message::Ping, Purpose::Suspect(peer), cx);
        }
        let unknown_here = theirs.iter().filter(|head| !mine.iter().any(|peer| half(peer.at) == **head));
        let unknown_here: Vec<u32> = unknown_here.take(MAX_DOUBTS).copied().collect();
        if !unknown_here.is_empty() {
            self.calls.ask(from, Message::Who(unknown_here), Purpose::Who, cx);
        }
    }

    /// Those whom another one knows are asked themselves.
    pub(super) fn named(&mut self, peers: Vec<Guid>, cx: &mut Context<'_, Self>) {
        for peer in peers.into_iter().take(MAX_DOUBTS) {
            self.calls.ask_in_turn(peer, Message::Ping, Purpose::Suspect(peer), cx);
        }
    }
}

/// Of how many peers more is known than their places: of ten thousand who stay for an hour 2.8 go each second, and all
/// have heard of one after three intervals until it is noticed and fourteen on the way, 85 seconds. What is forgotten too
/// soon is not told on, and comes out when tables are compared.
pub(super) const MAX_PAST: usize = 256;
/// How long an event is on its way at most, see above.
const ON_THE_WAY: Duration = Duration::from_secs(120);
/// How many differences of one comparison are looked into.
const MAX_DOUBTS: usize = 16;
/// How often in a row tables may differ while nothing is on its way: once may be chance.
const PATIENCE: u32 = 2;
/// After how many intervals a part is compared while peers come and go: once in five minutes.
pub(super) const RARELY: u32 = 64;

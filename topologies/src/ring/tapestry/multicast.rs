//! The acknowledged multicast (Hildrum et al. 2002, §4.1 and §4.4): everybody who shares some digits is told of a
//! newcomer, and whoever passes it on acknowledges when all below it have.

use core::time::Duration;

use polymorph_core::Guid;
use polymorph_core::topology::context::Context;

use serde::{Deserialize, Serialize};

use super::mesh::Slots;
use super::{Message, Stage, Tapestry, Timer};

/// What is passed on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct News {
    /// Names the multicast.
    pub id: u64,
    /// Who comes.
    pub newcomer: Guid,
    /// How many digits those who are told share with each other.
    pub level: u8,
    /// How many seconds the acknowledgment may take.
    pub patience: u8,
    /// The newcomer's empty slots nobody has filled so far.
    pub holes: Slots,
}

/// A multicast that was passed on and not acknowledged by all.
#[derive(Debug)]
pub(super) struct Cast {
    newcomer: Guid,
    /// Who passed it here; `None` at the newcomer's root.
    parent: Option<Guid>,
    /// Who has not acknowledged, and how many digits those below share.
    open: Vec<(Guid, u8)>,
    /// Who was told twice.
    again: Vec<Guid>,
    patience: u8,
}

impl Tapestry {
    /// A newcomer whose root this node is wants everybody told who needs to know.
    pub(super) fn insert(&mut self, newcomer: Guid, holes: Slots, cx: &mut Context<'_, Self>) {
        let (id, at) = (rand_core::Rng::next_u64(cx.rng()), self.peer(newcomer).at);
        // Ours: not only those who share the most digits, of whom there may be one, who may die with what it knows.
        let level = self.mesh.crowded(self.digits().shared(self.mine, at));
        // Somebody nearer may have come in between; and somebody else's newcomer would have too many told. Others who are
        // on their way are pinned and told (§4.4).
        if self.mesh.next(at, |entry| !entry.pinned && entry.peer.guid != newcomer).is_none() {
            self.multicast(None, News { id, newcomer, level, patience: PATIENCE, holes }, cx);
        } else {
            let _ = cx.send(newcomer, Message::NotRoot);
        }
    }

    /// Takes the newcomer in, and passes on that it comes: to one peer of each slot that shares these digits or more,
    /// and to all newcomers that are pinned there.
    pub(super) fn multicast(&mut self, parent: Option<Guid>, news: News, cx: &mut Context<'_, Self>) {
        let News { id, newcomer, level, patience, mut holes } = news;
        let (me, peer) = (cx.me(), self.peer(newcomer));
        let known = self.casts.contains_key(&id) || self.casts.len() >= MAX_CASTS;
        if newcomer == me || known {
            return self.tell_told(parent, id, newcomer, cx);
        }
        self.edit(cx, |node| node.mesh.pin(peer));
        let _ = cx.send(newcomer, Message::Reached);
        let fit = self.mesh.fill(peer, &mut holes, super::MAX_NAMED, self.turn);
        if !fit.is_empty() {
            let _ = cx.send(newcomer, Message::Filled(fit));
        }
        let mut open: Vec<(Guid, u8)> = Vec::new();
        for (row, slot) in self.mesh.slots_from(level) {
            let settled = slot.iter().filter(|entry| !entry.pinned).take(1);
            let chosen = settled.chain(slot.iter().filter(|entry| entry.pinned));
            open.extend(chosen.map(|entry| (entry.peer.guid, row + 1)));
        }
        open.retain(|(peer, _)| *peer != newcomer && Some(*peer) != parent);
        let less = patience.saturating_sub(STEP).max(1);
        for &(to, level) in &open {
            let message = Message::Multicast(News { id, newcomer, level, patience: less, holes: holes.clone() });
            // Whoever cannot be told now is told by somebody else, or by its next beacon.
            let _ = cx.send(to, message);
        }
        self.casts.insert(id, Cast { newcomer, parent, open, again: Vec::new(), patience });
        cx.set(Timer::Cast(id), Duration::from_secs(patience.into()));
        self.cast_on(id, cx);
    }

    /// Somebody acknowledged: all below it know.
    pub(super) fn told(&mut self, id: u64, from: Guid, cx: &mut Context<'_, Self>) {
        if let Some(cast) = self.casts.get_mut(&id) {
            cast.open.retain(|(peer, _)| *peer != from);
        }
        self.cast_on(id, cx);
    }

    /// Ends a multicast when all have acknowledged.
    fn cast_on(&mut self, id: u64, cx: &mut Context<'_, Self>) {
        if self.casts.get(&id).is_some_and(|cast| cast.open.is_empty()) {
            self.cast_over(id, cx);
        }
    }

    /// All have acknowledged, or time ran out: then those who did not are dead or will learn of it by a beacon.
    pub(super) fn cast_over(&mut self, id: u64, cx: &mut Context<'_, Self>) {
        let Some(cast) = self.casts.remove(&id) else { return };
        cx.cancel(Timer::Cast(id));
        let peer = self.peer(cast.newcomer);
        self.edit(cx, |node| node.mesh.unpin(peer));
        self.hand_over(peer, cx);
        self.tell_told(cast.parent, id, cast.newcomer, cx);
    }

    fn tell_told(&mut self, parent: Option<Guid>, id: u64, newcomer: Guid, cx: &mut Context<'_, Self>) {
        let _ = match parent {
            Some(parent) => cx.send(parent, Message::Told(id)),
            None => cx.send(newcomer, Message::Inserted),
        };
    }

    /// What was sent to somebody may have been lost with its wire: it is told once more.
    pub(super) fn casts_again(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        for (&id, cast) in &mut self.casts {
            let Some(&(_, level)) = cast.open.iter().find(|(open, _)| *open == peer) else { continue };
            if !cast.again.contains(&peer) {
                cast.again.push(peer);
                let (newcomer, patience) = (cast.newcomer, cast.patience.saturating_sub(STEP).max(1));
                let holes = Slots::default();
                let _ = cx.send(peer, Message::Multicast(News { id, newcomer, level, patience, holes }));
            }
        }
    }

    /// Somebody is gone who had something to pass on: another one of its slot does it.
    pub(super) fn casts_lost(&mut self, gone: Guid, cx: &mut Context<'_, Self>) {
        if self.stage != Stage::In {
            return;
        }
        let (at, mut again) = (self.peer(gone).at, Vec::new());
        for (&id, cast) in &mut self.casts {
            let Some(index) = cast.open.iter().position(|(peer, _)| *peer == gone) else { continue };
            let (_, level) = cast.open.swap_remove(index);
            let column = super::Digits::new(self.config.base_bits).digit(at, level - 1);
            let other = self.mesh.slot(level - 1, column).iter().map(|entry| entry.peer.guid);
            let open: Vec<Guid> = cast.open.iter().map(|(peer, _)| *peer).collect();
            let other = other.into_iter().find(|peer| *peer != gone && *peer != cast.newcomer && !open.contains(peer));
            if let Some(other) = other {
                cast.open.push((other, level));
                let patience = cast.patience.saturating_sub(STEP).max(1);
                again.push((other, id, cast.newcomer, level, patience));
            }
        }
        for (to, id, newcomer, level, patience) in again {
            let holes = Slots::default();
            let _ = cx.send(to, Message::Multicast(News { id, newcomer, level, patience, holes }));
        }
        let ids: Vec<u64> = self.casts.keys().copied().collect();
        ids.into_iter().for_each(|id| self.cast_on(id, cx));
    }
}

/// How many seconds a newcomer's root waits for all: each below it waits a little less, so that those who died far
/// down do not cost those above their patience.
const PATIENCE: u8 = 16;
/// How many seconds less.
const STEP: u8 = 3;
/// How many multicasts may be under way here at once: newcomers of one neighborhood in a quarter of a minute.
pub(super) const MAX_CASTS: usize = 256;

//! Copies on their way into a tree this node does not hang in.

use core::time::Duration;
use std::collections::VecDeque;

use polymorph_core::topology::context::Context;
use polymorph_core::topology::question::{CopyId, Hold, Verdict};
use polymorph_core::{Guid, Key, Time};

use super::Scribe;
use super::links::Links;

/// The copies that last went towards a root, and the hop each took: if that one turns out to be dead, the copy takes
/// another, for there is no second way into the tree.
#[derive(Debug, Default)]
pub(super) struct Detours {
    recent: VecDeque<Detour>,
}

#[derive(Debug)]
struct Detour {
    id: CopyId,
    topic: Key,
    hop: Guid,
    /// When it went.
    at: Time,
    /// How many hops were dead before this one.
    dead: usize,
}

impl Detours {
    /// How many are remembered.
    pub(super) fn size(&self) -> usize {
        self.recent.len()
    }

    /// A copy is about to go; `from` is where it came from.
    pub(super) fn begin(
        &mut self,
        id: CopyId,
        topic: Key,
        from: Option<Guid>,
        links: &mut Links,
        cx: &mut Context<'_, Scribe>,
    ) {
        if self.recent.len() == MAX_DETOURS
            && let Some(old) = self.recent.pop_front()
        {
            links.release(old.hop, cx);
        }
        if let Some(hop) = towards(topic, from, cx) {
            // Held, so that this node is told if it is gone.
            links.hold(hop, Hold::Cached, cx);
            self.recent.push_back(Detour { id, topic, hop, at: cx.now(), dead: 0 });
        }
    }

    /// The hop a copy takes.
    pub(super) fn hop(&self, id: CopyId) -> Option<Guid> {
        self.recent.iter().rev().find(|detour| detour.id == id).map(|detour| detour.hop)
    }

    /// A peer is dead; its link is forgotten already.
    pub(super) fn lost(&mut self, peer: Guid, links: &mut Links, cx: &mut Context<'_, Scribe>) {
        self.recent.retain_mut(|detour| {
            if detour.hop != peer {
                return true;
            }
            detour.dead += 1;
            // Whoever fell after a while had passed it on.
            let late = cx.now().since(detour.at) > FRESH || detour.dead > MAX_DEAD;
            let next = towards(detour.topic, Some(peer), cx).filter(|_| !late);
            let Some(next) = next else { return false };
            detour.hop = next;
            links.hold(next, Hold::Cached, cx);
            cx.resend(detour.id, next);
            true
        });
    }

    /// The node leaves.
    pub(super) fn clear(&mut self, links: &mut Links, cx: &mut Context<'_, Scribe>) {
        self.recent.drain(..).for_each(|detour| links.release(detour.hop, cx));
    }
}

/// The best next hop towards a root but one.
fn towards(topic: Key, but: Option<Guid>, cx: &Context<'_, Scribe>) -> Option<Guid> {
    let way = cx.below()?.route(topic, ALTERNATIVES);
    let forward = way.verdict == Verdict::Forward;
    way.peers.into_iter().find(|hop| forward && Some(*hop) != but)
}

/// How many copies are remembered: those of the round trips it takes to find out that a hop is dead.
pub(super) const MAX_DETOURS: usize = 64;
/// How long after it went a copy may still wait in front of a dead hop: as long as a dial may take, and a half.
const FRESH: Duration = Duration::from_secs(15);
/// How many dead hops a copy outlives: as many as the engine tries for any message.
const MAX_DEAD: usize = 3;
/// How many next hops are asked for, to have others than the dead one.
const ALTERNATIVES: usize = 3;

//! The two views: who comes in, who goes out, who is drawn.

use polymorph_core::Guid;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::Change;
use polymorph_core::topology::question::Hold;

use super::{HyParView, Message, Purpose};

impl HyParView {
    /// Takes a peer into the active view; one drawn by lot makes room for it (§4.2).
    pub(super) fn add_active(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if peer == self.me || self.active.contains(&peer) {
            return;
        }
        self.passive.retain(|&other| other != peer);
        if self.active.len() >= self.config.active.max(1) {
            let victim = self.active[cx.pick(self.active.len())];
            self.disconnect(victim, cx);
        }
        self.active.push(peer);
        cx.want(peer, Hold::Required);
        cx.change(Change::NeighborUp(peer));
    }

    /// Gives up a neighbor, which goes into the passive view.
    pub(super) fn disconnect(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if self.active.contains(&peer) {
            let _ = cx.send(peer, Message::Disconnect);
            self.remove_active(peer, cx);
            self.add_passive(peer, &[], cx);
        }
    }

    /// Whether it was there.
    pub(super) fn remove_active(&mut self, peer: Guid, cx: &mut Context<'_, Self>) -> bool {
        let Some(at) = self.active.iter().position(|&other| other == peer) else { return false };
        self.active.swap_remove(at);
        cx.unwant(peer);
        cx.change(Change::NeighborDown(peer));
        true
    }

    /// Takes a peer into the passive view. Room is made by those who were just `given` away, who are still known
    /// to the one they were given to, and else by lot (§4.4).
    pub(super) fn add_passive(&mut self, peer: Guid, given: &[Guid], cx: &mut Context<'_, Self>) {
        if peer == self.me || self.config.passive == 0 || self.active.contains(&peer) || self.passive.contains(&peer) {
            return;
        }
        if self.passive.len() >= self.config.passive {
            let known = self.passive.iter().position(|other| given.contains(other));
            let victim = known.unwrap_or_else(|| cx.pick(self.passive.len()));
            self.passive.swap_remove(victim);
        }
        self.passive.push(peer);
    }

    pub(super) fn take_in(&mut self, peers: &[Guid], given: &[Guid], cx: &mut Context<'_, Self>) {
        for &peer in peers {
            self.add_passive(peer, given, cx);
        }
    }

    /// Whoever was refused may have lost its neighbors to something that befell those here as well: once in a cycle
    /// they are tested for its sake. Beyond the paper, whose nodes test their neighbors by broadcasting only: where
    /// many fail at once, those who have not noticed yet refuse all who have.
    pub(super) fn turn_away(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        self.add_passive(peer, &[], cx);
        self.turned_away = Some(peer);
        if !core::mem::replace(&mut self.tested, true) {
            let free: Vec<Guid> = self.active.iter().copied().filter(|peer| !self.is_asked(peer)).collect();
            free.into_iter().for_each(|peer| self.ask(peer, Message::Test, Purpose::Test, cx));
        }
    }

    /// A neighbor drawn by lot that is none of these.
    pub(super) fn active_but(&self, not: &[Guid], cx: &mut Context<'_, Self>) -> Option<Guid> {
        let free: Vec<Guid> = self.active.iter().copied().filter(|peer| !not.contains(peer)).collect();
        if free.is_empty() { None } else { Some(free[cx.pick(free.len())]) }
    }
}

/// Up to `n` different ones of `from`, drawn by lot, without `not`.
pub(super) fn sample(from: &[Guid], n: usize, not: Guid, cx: &mut Context<'_, HyParView>) -> Vec<Guid> {
    let mut left: Vec<Guid> = from.iter().copied().filter(|&peer| peer != not).collect();
    let n = n.min(left.len());
    for at in 0..n {
        let other = at + cx.pick(left.len() - at);
        left.swap(at, other);
    }
    left.truncate(n);
    left
}

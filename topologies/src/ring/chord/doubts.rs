//! What a node does not believe of what it is told.
//!
//! Where somebody stands is a hash, and whoever is there answers. So a list that does not go clockwise is its speaker's own
//! lie, and a list or an owner that passes over somebody who is there was made up by whoever said it or by somebody it
//! believed. To check what should hold of tables is the advice of Sit & Morris, "Security considerations for peer-to-peer
//! distributed hash tables", IPTPS 2002, §3. Nobody is forgotten on hearsay: whoever is passed over is asked, stays for
//! as long as it answers, and goes if it does not.

use polymorph_core::Distance;
use polymorph_core::topology::context::Context;

use super::name::Name;
use super::protocol::MAX_PASSED;
use super::table::Peer;
use super::virtual_node::{Purpose, VirtualNode};
use super::{Chord, MAX_SUCCESSORS, Message};

impl VirtualNode {
    /// Whether these could be the successors of whoever names them: clockwise of it, each behind the one before. Mostly
    /// they are those that this node has itself.
    pub(super) fn is_in_order(&self, from: Name, successors: &[Name]) -> bool {
        if self.table.is_list(from, successors) {
            return true;
        }
        if successors.len() > MAX_SUCCESSORS {
            return false;
        }
        let overlay = self.table.place().overlay;
        let place = |name: &Name| overlay.position(name.guid, name.index.into());
        let from = place(&from);
        let far = successors.iter().map(|name| from.clockwise(&place(name)));
        core::iter::once(Distance::ZERO).chain(far).is_sorted_by(|near, far| near < far)
    }

    /// A list as it was told, and with it those whom it passes over, who are asked.
    pub(super) fn without_gaps(&mut self, list: Vec<Peer>, cx: &mut Context<'_, Chord>) -> Vec<Peer> {
        let passed = self.table.passed_over(&list);
        let is_asked = |purpose: &Purpose| matches!(purpose, Purpose::Passed(_));
        let asked = self.open.iter().filter(|(_, purpose)| is_asked(purpose)).count();
        for name in passed.iter().map(|peer| peer.name).take(MAX_PASSED.saturating_sub(asked)) {
            if !self.open.iter().any(|(_, purpose)| *purpose == Purpose::Passed(name)) {
                self.ask(name, Message::Ping, Purpose::Passed(name), cx);
            }
        }
        self.table.merged(list, passed)
    }

    /// Somebody is said to own the start of a finger. Whoever stands between is asked first.
    pub(super) fn take_finger(&mut self, exponent: u32, owner: Peer, cx: &mut Context<'_, Chord>) {
        let from_start = |peer: &Peer| peer.at.bits() > exponent;
        let before = |peer: &Peer| peer.at < owner.at || !from_start(&owner);
        match self.table.first(|peer| from_start(peer) && before(peer)) {
            Some(Peer { name: passed, .. }) => {
                self.ask(passed, Message::Ping, Purpose::Owner { exponent, said: owner.name, passed }, cx);
            }
            None => self.set_finger(exponent, owner, cx),
        }
    }

    fn set_finger(&mut self, exponent: u32, owner: Peer, cx: &mut Context<'_, Chord>) {
        let choice = self.config.choice();
        // Most fingers are right.
        let next = if self.table.finger_from(exponent) == Some(owner) {
            owner.at.bits()
        } else {
            self.edit(cx, |table| table.set_finger(exponent, owner, choice))
        };
        self.fix_finger(next, cx);
    }

    /// Whom a list or an owner passed over is there.
    pub(super) fn passed_is_there(&mut self, purpose: Purpose, cx: &mut Context<'_, Chord>) {
        match purpose {
            Purpose::Passed(_) => cx.doubt("a successor list that passes over somebody who is there"),
            Purpose::Owner { exponent, passed, .. } => {
                cx.doubt("an owner who stands behind somebody who is there");
                self.set_finger(exponent, self.table.peer(passed), cx);
            }
            _ => {}
        }
    }
}

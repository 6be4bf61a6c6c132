//! Long links: drawn at harmonic distances, taken up to a bound, and kept with a look at whom the other knows.

use core::time::Duration;

use polymorph_core::overlay::Place;
use polymorph_core::topology::Topology as _;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::Ticket;
use polymorph_core::topology::question::{Hold, Role, Target};
use polymorph_core::{Guid, Key};

use super::super::prefix::{Peer, head};
use super::{Message, Purpose, Symphony, Timer};

/// Who drew a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    Me,
    Peer,
}

/// A long link, used both ways.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) peer: Peer,
    pub(super) by: By,
    /// Whom the other is linked to, as it last said.
    pub(super) ahead: Vec<Peer>,
}

/// The long links, and what is known of the neighbors' neighbors.
#[derive(Debug, Default)]
pub(super) struct Links {
    all: Vec<Link>,
    /// Whom the two beside this node on the ring are linked to, as they last said.
    beside: Vec<(Guid, Vec<Peer>)>,
    /// How many peers there were, by estimate, when the links were drawn.
    drawn_for: f64,
}

impl Links {
    pub(super) fn all(&self) -> impl Iterator<Item = &Link> {
        self.all.iter()
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = Guid> + '_ {
        self.all.iter().map(|link| link.peer.guid)
    }

    pub(super) fn contains(&self, guid: &Guid) -> bool {
        self.all.iter().any(|link| link.peer.guid == *guid)
    }

    pub(super) fn count(&self, by: By) -> usize {
        self.all.iter().filter(|link| link.by == by).count()
    }

    /// How many peers are remembered, those that neighbors are linked to included.
    pub(super) fn size(&self) -> usize {
        let links: usize = self.all.iter().map(|link| 1 + link.ahead.len()).sum();
        links + self.beside.iter().map(|(_, ahead)| 1 + ahead.len()).sum::<usize>()
    }

    pub(super) fn add(&mut self, peer: Peer, by: By, ahead: Vec<Peer>) {
        if !self.contains(&peer.guid) {
            self.all.push(Link { peer, by, ahead });
        }
    }

    pub(super) fn remove(&mut self, guid: &Guid) {
        self.all.retain(|link| link.peer.guid != *guid);
    }

    /// The links were drawn for so many peers.
    pub(super) fn drawn_for(&mut self, count: f64) {
        self.drawn_for = count;
    }

    /// Whom somebody beside this node is linked to.
    pub(super) fn beside(&self, guid: &Guid) -> &[Peer] {
        self.beside.iter().find(|(peer, _)| peer == guid).map_or(&[], |(_, ahead)| ahead)
    }

    /// Somebody beside this node said whom it is linked to.
    pub(super) fn set_beside(&mut self, guid: Guid, ahead: Vec<Peer>) {
        self.beside.retain(|(peer, _)| *peer != guid);
        if self.beside.len() == BESIDE {
            self.beside.remove(0);
        }
        self.beside.push((guid, ahead));
    }

    /// A neighbor said whom it is linked to; `false` if it is no long link.
    fn set_ahead(&mut self, guid: &Guid, ahead: &[Peer]) -> bool {
        let link = self.all.iter_mut().find(|link| link.peer.guid == *guid);
        link.map(|link| link.ahead = ahead.to_vec()).is_some()
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.beside.clear();
        self.drawn_for = 0.0;
    }
}

/// A distance, as a share of the ring, at which a node among `count` draws a link: `count^(unit - 1)` for an even
/// `unit` (§3.2).
pub(super) fn harmonic(count: f64, unit: f64) -> f64 {
    libm::exp(libm::log(count.max(2.0)) * (unit - 1.0))
}

/// The key that a share of the ring lies clockwise of a position.
pub(super) fn point(from: u64, share: f64) -> Key {
    // 2^64 times a share below one.
    let head = from.wrapping_add((share.clamp(0.0, 1.0) * 18_446_744_073_709_549_568.0) as u64);
    let mut key = Key::default();
    key.0[..8].copy_from_slice(&head.to_be_bytes());
    key
}

impl Symphony {
    pub(super) fn place(&self) -> Place {
        self.ring.place()
    }

    fn peers(&self, guids: &[Guid]) -> Vec<Peer> {
        let place = self.place();
        guids.iter().take(MAX_AHEAD).filter(|guid| **guid != place.me).map(|guid| Peer::new(&place, *guid)).collect()
    }

    /// How many peers there are, from how close the successors stand (§3.2).
    fn estimate(&self) -> f64 {
        let place = self.place();
        let successors = self.ring.neighbors().into_iter().filter(|neighbor| neighbor.role == Role::Successor);
        let far = successors.map(|neighbor| head(&place.position(neighbor.peer)).wrapping_sub(self.mine));
        let (count, last) = far.fold((0.0, 0), |(count, last), far| (count + 1.0, far.max(last)));
        if last == 0 { 1.0 } else { count * 18_446_744_073_709_551_616.0 / last as f64 + 1.0 }
    }

    /// Those a neighbor may look at: the two beside this node, and its links.
    fn ahead(&self) -> Vec<Guid> {
        self.two_beside().chain(self.links.peers()).take(MAX_AHEAD).collect()
    }

    /// The peers before and after this node on the ring: the ring's required links.
    pub(super) fn two_beside(&self) -> impl Iterator<Item = Guid> {
        let beside = self.ring.neighbors().into_iter().filter(|neighbor| neighbor.hold == Hold::Required);
        beside.map(|neighbor| neighbor.peer)
    }

    /// A neighbor said whom it is linked to; `false` if it is none.
    fn heard_ahead(&mut self, from: Guid, ahead: &[Guid]) -> bool {
        let ahead = self.peers(ahead);
        let linked = self.links.set_ahead(&from, &ahead);
        let beside = self.two_beside().any(|peer| peer == from);
        if beside {
            self.links.set_beside(from, ahead);
        }
        linked || beside
    }

    pub(super) fn set_relink(&mut self, base: Duration, cx: &mut Context<'_, Self>) {
        let wait = cx.jitter(base, 0.5);
        cx.set(Timer::Relink, wait);
    }

    /// Draws what is missing; all anew when there are twice or half as many peers as when they were drawn (§3.4).
    /// Exchanges neighbors with all links, which also shows who is gone.
    pub(super) fn relink(&mut self, cx: &mut Context<'_, Self>) {
        let wait = cx.jitter(self.config.relink, 0.2);
        cx.set(Timer::Relink, wait);
        if !self.is_in() {
            return;
        }
        let count = self.estimate();
        let ratio = count / self.links.drawn_for.max(1.0);
        if !(0.5..=2.0).contains(&ratio) {
            self.links.all.retain(|link| link.by == By::Peer);
            self.links.drawn_for = count;
        }
        self.open.retain(|(_, purpose)| *purpose == Purpose::Exchange);
        let missing = self.config.links.saturating_sub(self.links.count(By::Me));
        for _ in 0..missing {
            self.draw(REDRAWS, cx);
        }
        if self.config.lookahead > 0 {
            let ahead = self.ahead();
            let mut peers: Vec<Guid> = self.links.peers().chain(self.two_beside()).collect();
            peers.sort_unstable();
            peers.dedup();
            for peer in peers {
                let ticket = cx.call(peer, Message::Linked(ahead.clone()));
                self.expect(ticket, Purpose::Exchange);
            }
        }
    }

    /// Draws a distance and looks up who stands there.
    fn draw(&mut self, left: u32, cx: &mut Context<'_, Self>) {
        let unit = cx.pick(1 << 30) as f64 / f64::from(1 << 30);
        let share = harmonic(self.links.drawn_for, unit);
        let ticket = cx.lookup(Target::Key(point(self.mine, share)), 1);
        self.expect(ticket, Purpose::Drawn(left));
    }

    /// An answer will come; the oldest is given up where too many questions are open.
    fn expect(&mut self, ticket: Ticket, purpose: Purpose) {
        if self.open.len() == MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push((ticket, purpose));
    }

    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Purpose> {
        let index = self.open.iter().position(|(open, _)| *open == ticket)?;
        Some(self.open.swap_remove(index).1)
    }

    /// Whoever stands at the distance is asked for a link, unless it is a neighbor already.
    pub(super) fn found(&mut self, ticket: Ticket, owner: Option<Guid>, cx: &mut Context<'_, Self>) {
        let Some(Purpose::Drawn(left)) = self.take(ticket) else { return };
        let known = |owner: &Guid| self.neighbors().iter().any(|neighbor| neighbor.peer == *owner);
        match owner.filter(|owner| *owner != cx.me() && !known(owner)) {
            Some(owner) => {
                let ticket = cx.call(owner, Message::Link);
                self.expect(ticket, Purpose::Link(left));
            }
            None => self.draw_again(left, cx),
        }
    }

    fn draw_again(&mut self, left: u32, cx: &mut Context<'_, Self>) {
        if let Some(left) = left.checked_sub(1) {
            self.draw(left, cx);
        }
    }

    /// The answer to somebody's question.
    pub(super) fn answer(&mut self, from: Guid, message: Message) -> Option<Message> {
        match message {
            Message::Link if self.is_in() => {
                if !self.links.contains(&from) {
                    if self.links.count(By::Peer) >= 2 * self.config.links {
                        return Some(Message::Full);
                    }
                    self.links.add(Peer::new(&self.place(), from), By::Peer, Vec::new());
                }
                Some(Message::Linked(self.ahead()))
            }
            Message::Link => Some(Message::Full),
            Message::Linked(ahead) if self.heard_ahead(from, &ahead) => Some(Message::Linked(self.ahead())),
            Message::Linked(_) => Some(Message::Unlinked),
            Message::Ring(_) | Message::Full | Message::Unlinked => None,
        }
    }

    pub(super) fn reply(&mut self, ticket: Ticket, from: Guid, message: Message, cx: &mut Context<'_, Self>) {
        match (self.take(ticket), message) {
            (Some(Purpose::Link(_)), Message::Linked(ahead)) => {
                let ahead = self.peers(&ahead);
                self.links.add(Peer::new(&self.place(), from), By::Me, ahead);
            }
            (Some(Purpose::Link(left)), _) => self.draw_again(left, cx),
            (Some(Purpose::Exchange), Message::Linked(ahead)) => {
                self.heard_ahead(from, &ahead);
            }
            (Some(Purpose::Exchange), _) => self.links.remove(&from),
            _ => {}
        }
    }
}

/// How many stand beside a node.
pub(super) const BESIDE: usize = 2;
/// How many neighbors of a neighbor are looked at: all that one with the most links may have.
pub(super) const MAX_AHEAD: usize = 64;
/// How often a distance is drawn again when nobody there takes a link.
const REDRAWS: u32 = 6;
/// How many questions may be open: all links' neighbors, and those that are drawn.
pub(super) const MAX_OPEN: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmonic_distances_are_as_many_in_each_power_of_two() {
        let mut powers = [0; 16];
        for step in 0..16_000 {
            let share = harmonic(65_536.0, f64::from(step) / 16_000.0);
            powers[(-libm::log2(share)).ceil().clamp(1.0, 16.0) as usize - 1] += 1;
        }
        assert!(powers.iter().all(|count| (990..=1010).contains(count)), "{powers:?}");
    }

    #[test]
    fn a_share_of_the_ring_is_a_point_on_it() {
        assert_eq!(head(&point(0, 0.5)) >> 60, 7);
        assert_eq!(head(&point(1 << 63, 0.75)) >> 60, 3);
        assert_eq!(head(&point(5, 0.0)), 5);
    }
}

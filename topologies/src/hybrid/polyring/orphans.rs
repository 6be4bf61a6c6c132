//! When a peer is gone: who takes its place, and what becomes of those around it.
//!
//! The lowest of its children inherits: it asks the allocator of the vacant place for it, its siblings become its
//! children, and its own place goes to its own lowest child, who does the same. No allocator hears of those further
//! out, and nobody but the heirs is moved.

use polymorph_core::Guid;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::Change;
use polymorph_core::topology::question::Hold;

use super::{
    AWAIT_HEIR, MAX_CLAIMS, MAX_MISSED, MAX_RESTING, MAX_UNHEARD, Message, Orphan, PAGE, Path, Polyring, REST, RETRY,
    Ring, Stand, Timer, Wish,
};

/// A place an heir leaves behind, for its own heir, and those who were around it.
pub(super) struct Estate {
    path: Path,
    around: Ring,
}

impl Polyring {
    /// A wire broke: it is dialed again, and only if that fails the peer is gone.
    pub(super) fn broke(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if self.knows(&peer) {
            cx.want(peer, Hold::Required);
            if !self.redialed.contains(&peer) {
                self.redialed.push(peer);
            }
        }
    }

    /// A dial failed. Told also of a message that came back over a broken wire: so one failure is forgiven to whoever
    /// is just being dialed again, and all to whoever has a session.
    pub(super) fn unreached(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if cx.linked(&peer) {
            return;
        }
        match self.redialed.iter().position(|other| *other == peer) {
            Some(at) => {
                self.redialed.swap_remove(at);
                cx.want(peer, Hold::Required);
            }
            None => {
                let assigned = self.allocator() == Some(peer);
                self.gone(peer, cx);
                // Only in the center a node takes over from its own allocator.
                if assigned && self.allocator() == Some(self.me) {
                    self.missed = Some((peer, MAX_MISSED));
                }
            }
        }
    }

    /// Takes a peer out of all tables.
    pub(super) fn gone(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        let known = [self.gone_around(peer, cx), self.gone_beside(peer, cx), self.gone_above(peer, cx)];
        if known.contains(&true) {
            self.offer.take_if(|(heir, _)| *heir == peer);
            self.settle_gone(peer, cx);
        }
    }

    /// A peer says where it stands. If that is not where this node thinks, it is gone from there.
    pub(super) fn quit(&mut self, peer: Guid, place: Option<&Path>, cx: &mut Context<'_, Self>) {
        let Some(stand) = &self.stand else { return };
        let differs = |known: Option<Path>| known.is_some_and(|known| Some(&known) != place);
        let beside = differs(stand.ring.coordinate_of(&peer).map(|at| stand.path.beside(at)));
        let around = differs(stand.children.coordinate_of(&peer).and_then(|at| stand.path.child(at)));
        let gone = [around && self.gone_around(peer, cx), beside && self.gone_beside(peer, cx)];
        if gone.contains(&true) {
            self.settle_gone(peer, cx);
        }
    }

    fn settle_gone(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        self.let_go(peer, cx);
        self.ring_changed(cx);
        self.consider_offer(cx);
    }

    /// A child is gone; whether it was one.
    pub(super) fn gone_around(&mut self, peer: Guid, cx: &mut Context<'_, Self>) -> bool {
        let coordinate = self.stand.as_mut().and_then(|stand| stand.children.remove(&peer));
        if let Some(coordinate) = coordinate {
            self.vacate(coordinate, peer, Level::Around, cx);
        }
        coordinate.is_some()
    }

    /// A ring mate is gone; whether it was one.
    fn gone_beside(&mut self, peer: Guid, cx: &mut Context<'_, Self>) -> bool {
        let assigned = self.allocator();
        let other = Some(peer).filter(|peer| *peer != self.me);
        let coordinate = self.stand.as_mut().zip(other).and_then(|(stand, peer)| stand.ring.remove(&peer));
        let Some(coordinate) = coordinate else { return false };
        if self.allocator() == Some(self.me) {
            self.vacate(coordinate, peer, Level::Beside, cx);
        }
        if self.allocator() != assigned {
            // Another one assigns now. It does not know yet how much room there is here, and may have told of
            // changes before it was believed.
            self.said_room = None;
            self.set(Timer::Refresh, RETRY, cx);
        }
        self.alert_heir(cx);
        true
    }

    /// The parent is gone; whether it was it.
    fn gone_above(&mut self, peer: Guid, cx: &mut Context<'_, Self>) -> bool {
        let parent = self.stand.as_mut().and_then(|stand| stand.parent.take_if(|parent| *parent == peer));
        if parent.is_some() && self.orphan.is_none() {
            self.orphan = Some(Orphan { since: cx.now(), claims: 0, unheard: 0 });
            cx.change(Change::Addresses);
            // The allocator of the vacant place must have noticed too: a moment's grace for that.
            cx.set(Timer::Retry, RETRY / 4);
            self.alert_heir(cx);
        }
        parent.is_some()
    }

    /// Silence is noticed by one sooner, by another later: an orphan sees to it that the heir is not the last.
    fn alert_heir(&self, cx: &mut Context<'_, Self>) {
        let heir = self.stand.as_ref().filter(|_| self.orphan.is_some()).and_then(|stand| stand.ring.lowest());
        if let Some(heir) = heir.filter(|heir| *heir != self.me) {
            let _ = cx.send(heir, Message::Missing);
        }
    }

    /// Tells a ring that somebody is gone, and keeps the place for its heir.
    fn vacate(&mut self, coordinate: u32, peer: Guid, level: Level, cx: &mut Context<'_, Self>) {
        let Some(stand) = &self.stand else { return };
        let (ring, place) = match level {
            Level::Around => (&stand.children, stand.path.child(coordinate)),
            Level::Beside => (&stand.ring, Some(stand.path.beside(coordinate))),
        };
        for member in ring.others(self.me) {
            let _ = cx.send(member, Message::Gone { coordinate, member: peer });
        }
        let now = cx.now();
        self.resting.retain(|(_, until)| *until > now);
        // Where nobody can stand further out, there are no heirs.
        if let Some(place) = place.filter(|place| place.level() < self.config.depth)
            && self.resting.len() < MAX_RESTING
        {
            self.resting.push((place, now + REST));
        }
    }

    /// An orphan's next step.
    pub(super) fn seek_parent(&mut self, cx: &mut Context<'_, Self>) {
        self.consider_offer(cx);
        let (Some(stand), Some(orphan)) = (&self.stand, &mut self.orphan) else { return };
        let Some(vacant) = stand.path.parent() else { return };
        let heir = stand.ring.lowest() == Some(self.me);
        let alone =
            stand.elders.is_empty() || orphan.unheard >= MAX_UNHEARD.min(2 * (stand.elders.len() + self.seeds.len()));
        if heir && alone && vacant.level() == 1 {
            // The parent was alone in the center, or all of it is gone: this node is the center now. If others are
            // there after all, it goes back to them when it finds them.
            let (taken, elders) = ([vacant.last()], stand.elders.clone());
            return self.take_stand(self.me, vacant, elders, &taken, cx);
        }
        if heir && orphan.claims < MAX_CLAIMS && !stand.elders.is_empty() {
            let whom = stand.elders[orphan.claims % stand.elders.len()];
            orphan.claims += 1;
            self.ask(whom, Wish::Place(vacant), 0, cx);
        } else if heir || cx.now().since(orphan.since) > AWAIT_HEIR {
            self.seek_anywhere(cx);
        } else {
            self.set(Timer::Retry, RETRY, cx);
        }
    }

    /// Somebody else has the place this node asked for.
    pub(super) fn place_is_taken(&mut self, cx: &mut Context<'_, Self>) {
        if let Some(orphan) = &mut self.orphan {
            // A sibling, which will say so; if not, a stranger.
            orphan.claims = MAX_CLAIMS;
            if let Some((heir, elders)) = self.offer.take() {
                return self.adopted_by(heir, elders, cx);
            }
            return self.set(Timer::Retry, RETRY, cx);
        }
        self.seek_anywhere(cx);
    }

    /// A sibling says that it has the parent's place. It is believed once the parent is gone and no sibling has the
    /// better right.
    pub(super) fn consider_offer(&mut self, cx: &mut Context<'_, Self>) {
        let (Some(stand), Some(_)) = (&self.stand, &self.orphan) else { return };
        if let Some((heir, elders)) = self.offer.take_if(|(heir, _)| stand.ring.lowest() == Some(*heir)) {
            self.adopted_by(heir, elders, cx);
        }
    }

    fn adopted_by(&mut self, heir: Guid, elders: Vec<Guid>, cx: &mut Context<'_, Self>) {
        let Some(stand) = &mut self.stand else { return };
        (self.orphan, self.said_room, self.quest, self.giver) = (None, None, None, None);
        stand.ring.remove(&heir);
        stand.parent = Some(heir);
        stand.elders = elders;
        cx.cancel(Timer::Retry);
        cx.change(Change::Addresses);
        self.ring_changed(cx);
    }

    /// The parent was moved up and a sibling has its place.
    pub(super) fn handed(&mut self, from: Guid, heir: Guid, cx: &mut Context<'_, Self>) {
        let Some(stand) = &mut self.stand else { return };
        if stand.parent != Some(from) || !stand.ring.contains(&heir) || heir == self.me {
            return;
        }
        let elders = match self.offer.take_if(|(offering, _)| *offering == heir) {
            Some((_, elders)) => elders,
            None => vec![from],
        };
        stand.parent = None;
        self.adopted_by(heir, elders, cx);
        self.let_go(from, cx);
    }

    /// This node takes its parent's place: siblings become children, and the children an estate.
    pub(super) fn inherit(&self, old: Stand, path: Path, parent: Option<Guid>, elders: Vec<Guid>) -> (Stand, Estate) {
        let mine = old.path.last();
        let estate = Estate { path: old.path, around: old.children };
        let mut children = old.ring;
        children.remove(&self.me);
        if let Some(heir) = estate.around.lowest() {
            children.insert(mine, heir);
        }
        let ring = Ring::of(path.last(), self.me);
        (Stand { path, parent, elders, ring, children }, estate)
    }

    /// Tells the own heir of its place, and the new children of their parent.
    pub(super) fn hand_down(&mut self, estate: Estate, cx: &mut Context<'_, Self>) {
        let Estate { path, around } = estate;
        let elders = self.elders_around();
        let Some(stand) = &self.stand else { return };
        let heir = around.lowest();
        if let Some(heir) = heir {
            // Before it hears where its parent stands now, else it would take that for a move of its old place.
            let place = Message::Stand { path: path.clone(), elders, taken: stand.children.coordinates() };
            let _ = cx.send(heir, place);
            for page in stand.children.pages(PAGE) {
                let _ = cx.send(heir, Message::Members(page));
            }
        }
        self.tell_children(cx);
        let Some(stand) = &self.stand else { return };
        let coordinate = path.last();
        let news = match heir {
            Some(heir) => Message::Members(vec![(coordinate, heir)]),
            None => Message::Gone { coordinate, member: self.me },
        };
        for child in stand.children.members().filter(|&child| Some(child) != heir) {
            let _ = cx.send(child, news.clone());
        }
        for (heir, former) in heir.into_iter().flat_map(|heir| around.others(heir).map(move |former| (heir, former))) {
            let _ = cx.send(former, Message::Handed { heir });
        }
    }
}

/// Which of the two rings a node may assign places in.
#[derive(Clone, Copy)]
enum Level {
    Beside,
    Around,
}

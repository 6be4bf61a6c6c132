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
    AWAIT_HEIR, MAX_CLAIMS, MAX_RESTING, Message, Orphan, PAGE, Path, Polyring, REST, RETRY, Ring, Stand, Timer, Wish,
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
            None => self.gone(peer, cx),
        }
    }

    /// Takes a peer out of all tables.
    pub(super) fn gone(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        let assigns = self.allocator();
        let Some(stand) = &mut self.stand else { return };
        let beside = if peer == self.me { None } else { stand.ring.remove(&peer) };
        let around = stand.children.remove(&peer);
        let above = stand.parent.take_if(|parent| *parent == peer).is_some();
        if beside.is_none() && around.is_none() && !above {
            return;
        }
        self.let_go(peer, cx);
        self.offer.take_if(|(heir, _)| *heir == peer);
        if let Some(coordinate) = around {
            self.vacate(coordinate, peer, Level::Around, cx);
        }
        if let Some(coordinate) = beside {
            if self.allocator() == Some(self.me) {
                self.vacate(coordinate, peer, Level::Beside, cx);
            }
            if self.allocator() != assigns {
                // Another one assigns now, and does not know yet how much room there is here.
                self.said_room = None;
            }
        }
        if above && self.orphan.is_none() {
            self.orphan = Some(Orphan { since: cx.now(), claims: 0 });
            // The allocator of the vacant place must have noticed too: a moment's grace for that.
            cx.set(Timer::Retry, RETRY / 4);
        }
        self.ring_changed(cx);
        self.consider_offer(cx);
    }

    /// Tells a ring that somebody is gone, and keeps the place for its heir.
    fn vacate(&mut self, coordinate: u32, peer: Guid, level: Level, cx: &mut Context<'_, Self>) {
        let Some(stand) = &self.stand else { return };
        let (ring, place) = match level {
            Level::Around => (&stand.children, stand.path.child(coordinate)),
            Level::Beside => {
                let path = stand.path.parent().map_or(Some(Path::center(coordinate)), |path| path.child(coordinate));
                (&stand.ring, path)
            }
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
        if heir && stand.elders.is_empty() && vacant.level() == 1 {
            // The parent was alone in the center, so there is nobody to ask: this node is the center now.
            let taken = [vacant.last()];
            return self.take_stand(self.me, vacant, Vec::new(), &taken, cx);
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

    /// Tells the new children of their parent, and the own heir of its place.
    pub(super) fn hand_down(&mut self, estate: Estate, cx: &mut Context<'_, Self>) {
        self.tell_children(cx);
        let Some(stand) = &self.stand else { return };
        let Some(heir) = estate.around.lowest() else {
            let gone = Message::Gone { coordinate: estate.path.last(), member: self.me };
            for child in stand.children.members() {
                let _ = cx.send(child, gone.clone());
            }
            return cx.change(Change::Range);
        };
        let place = Message::Stand {
            path: estate.path.clone(),
            elders: self.elders_around(),
            taken: stand.children.coordinates(),
        };
        let _ = cx.send(heir, place);
        for page in stand.children.pages(PAGE) {
            let _ = cx.send(heir, Message::Members(page));
        }
        for child in stand.children.others(heir) {
            let _ = cx.send(child, Message::Members(vec![(estate.path.last(), heir)]));
        }
        for former in estate.around.others(heir) {
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

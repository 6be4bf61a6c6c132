//! A node's own place: taking it, being moved, and hearing who else stands in the rings it knows.

use polymorph_core::Guid;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{CallId, Change};
use polymorph_core::topology::question::Hold;

use super::{ELDERS, MAX_WIDTH, Message, PAGE, Path, Polyring, Probe, RETRY, Ring, Stand, Timer, Wish};

impl Polyring {
    /// Whether a peer is in this node's tables.
    pub(super) fn knows(&self, peer: &Guid) -> bool {
        self.stand.as_ref().is_some_and(|stand| {
            stand.parent.as_ref() == Some(peer) || stand.ring.contains(peer) || stand.children.contains(peer)
        })
    }

    /// Who assigns places in this node's ring. `None` for an orphan.
    pub(super) fn allocator(&self) -> Option<Guid> {
        let stand = self.stand.as_ref()?;
        if stand.path.level() == 1 { stand.ring.lowest() } else { stand.parent }
    }

    /// Whom this node's children turn to when it is gone: who assigns its place, then others of its ring.
    pub(super) fn elders_around(&self) -> Vec<Guid> {
        let Some(stand) = &self.stand else { return Vec::new() };
        stand.parent.into_iter().chain(stand.ring.others(self.me)).take(ELDERS).collect()
    }

    /// A place was given to this node: its first, its parent's, another, or the one it has.
    pub(super) fn take_stand(
        &mut self,
        from: Guid,
        path: Path,
        elders: Vec<Guid>,
        taken: &[u32],
        cx: &mut Context<'_, Self>,
    ) {
        let sorted = taken.windows(2).all(|pair| pair[0] < pair[1]);
        if !sorted || taken.len() > MAX_WIDTH || taken.binary_search(&path.last()).is_err() || elders.len() > ELDERS {
            cx.blame(from, "a place that cannot be");
            return self.set(Timer::Retry, RETRY, cx);
        }
        let parent = (path.level() > 1).then_some(from);
        let before = self.neighborhood();
        let allocator = self.allocator();
        (self.orphan, self.offer, self.missed, self.giver) = (None, None, None, Some(from));
        let old = self.stand.take();
        let mut stand = match old {
            Some(mut stand) if stand.path == path => {
                stand.ring.keep_only(taken);
                (stand.parent, stand.elders) = (parent, elders);
                stand
            }
            Some(old) if old.path.parent().as_ref() == Some(&path) => {
                let (stand, heir) = self.inherit(old, path, parent, elders);
                self.settle(stand, from, taken, before, cx);
                return self.hand_down(heir, cx);
            }
            Some(old) => {
                if let Some(allocator) = allocator.filter(|&peer| peer != self.me && peer != from) {
                    let _ = cx.send(allocator, Message::Quit(Some(path.clone())));
                }
                Stand { ring: Ring::of(path.last(), self.me), path, parent, elders, children: old.children }
            }
            None => {
                let ring = Ring::of(path.last(), self.me);
                Stand { path, parent, elders, ring, children: Ring::default() }
            }
        };
        stand.ring.insert(stand.path.last(), self.me);
        let moved = before.0.as_ref() != Some(&stand.path);
        self.settle(stand, from, taken, before, cx);
        if moved || self.elders_around() != self.said_elders {
            self.tell_children(cx);
        }
    }

    /// Begins to stand where `stand` says; what differs from `before` is let go, held and told.
    pub(super) fn settle(
        &mut self,
        mut stand: Stand,
        from: Guid,
        taken: &[u32],
        before: (Option<Path>, Vec<Guid>),
        cx: &mut Context<'_, Self>,
    ) {
        if stand.path.level() == 1
            && let Some(&lowest) = taken.first()
            && lowest != stand.path.last()
        {
            // Who assigns in the center is the one with the lowest coordinate, so it is known before the list comes.
            stand.ring.insert(lowest, from);
        }
        let moved = before.0.as_ref() != Some(&stand.path);
        self.stand = Some(stand);
        let (_, after) = self.neighborhood();
        for &peer in before.1.iter().filter(|peer| !after.contains(peer)) {
            self.let_go(peer, cx);
        }
        for &peer in after.iter().filter(|peer| !before.1.contains(peer)) {
            cx.want(peer, Hold::Required);
            cx.change(Change::NeighborUp(peer));
        }
        if moved {
            self.said_room = None;
            cx.change(Change::Addresses);
            cx.change(Change::Range);
        }
        self.say_room(cx);
        self.seek(cx);
    }

    /// The place, and the neighbors without repeats.
    pub(super) fn neighborhood(&self) -> (Option<Path>, Vec<Guid>) {
        let Some(stand) = &self.stand else { return (None, Vec::new()) };
        let mut all: Vec<Guid> = stand.parent.into_iter().collect();
        all.extend(stand.ring.others(self.me));
        all.extend(stand.children.members());
        all.sort_unstable();
        all.dedup();
        (Some(stand.path.clone()), all)
    }

    pub(super) fn let_go(&mut self, peer: Guid, cx: &mut Context<'_, Self>) {
        if !self.knows(&peer) {
            self.rooms.remove(&peer);
            self.heard.remove(&peer);
            self.redialed.retain(|other| *other != peer);
            cx.unwant(peer);
            cx.change(Change::NeighborDown(peer));
        }
    }

    pub(super) fn told(&mut self, from: Guid, message: Message, cx: &mut Context<'_, Self>) {
        match message {
            Message::Members(members) => self.members(from, &members, cx),
            Message::Gone { coordinate, member } => self.dismissed(from, coordinate, member, cx),
            Message::Above { path, elders } => self.above(from, path, elders, cx),
            Message::Handed { heir } => self.handed(from, heir, cx),
            Message::Stand { path, elders, taken } => {
                let up = self.stand.as_ref().is_some_and(|stand| {
                    stand.parent == Some(from) && (stand.path == path || stand.path.parent().as_ref() == Some(&path))
                });
                if up {
                    self.take_stand(from, path, elders, &taken, cx);
                }
            }
            Message::Room { level } if self.knows(&from) => self.note_room(from, level, cx),
            Message::Room { .. } => {}
            Message::Missing => {
                let parent =
                    self.parent().filter(|_| self.stand.as_ref().is_some_and(|stand| stand.ring.contains(&from)));
                if let Some(parent) = parent {
                    self.probe(parent, None, cx);
                }
            }
            Message::Quit(place) => self.quit(from, place.as_ref(), cx),
            _ => cx.blame(from, "an answer without a question"),
        }
    }

    /// Whether `from` may say who stands in this node's ring. A stranger that thinks so is told. A member that does so
    /// may have noticed first that the allocator is gone; if the allocator is there, it is blamed.
    fn is_entitled(&mut self, from: Guid, cx: &mut Context<'_, Self>) -> bool {
        if self.allocator() == Some(from) || self.giver == Some(from) {
            return from != self.me;
        }
        // It may take this node for a child that it no longer is.
        let _ = cx.send(from, Message::Quit(self.path().cloned()));
        match self.allocator() {
            Some(allocator) if allocator != self.me && self.knows(&from) => self.probe(allocator, Some(from), cx),
            _ => {}
        }
        false
    }

    /// The allocator is there, and another assigns its places: it was told once, which is enough for whoever is only
    /// mistaken.
    pub(super) fn warn(&mut self, usurper: Guid, cx: &mut Context<'_, Self>) {
        let now = cx.now();
        match self.warned {
            Some((peer, since)) if peer == usurper => {
                if now.since(since) > RETRY {
                    cx.blame(usurper, "it assigns places that are another's to give");
                }
            }
            _ => self.warned = Some((usurper, now)),
        }
    }

    /// Asks somebody for a sign of life, unless it or another is being asked.
    pub(super) fn probe(&mut self, whom: Guid, usurper: Option<Guid>, cx: &mut Context<'_, Self>) {
        if self.probing.is_none() {
            let ticket = cx.call(whom, Message::Probe);
            self.probing = Some(Probe { ticket, usurper });
        }
    }

    fn members(&mut self, from: Guid, members: &[(u32, Guid)], cx: &mut Context<'_, Self>) {
        if !self.is_entitled(from, cx) {
            return;
        }
        let me = self.me;
        let Some(stand) = &mut self.stand else { return };
        let mut replaced = Vec::new();
        let mut new = Vec::new();
        // Nobody stands at two places.
        let mut moved = Vec::new();
        for &(coordinate, member) in members {
            // What it says of this node and of itself is known better.
            let known = coordinate == stand.path.last() || member == me || stand.parent == Some(member);
            if known || stand.ring.get(coordinate) == Some(member) || stand.ring.len() >= MAX_WIDTH {
                continue;
            }
            if !stand.ring.contains(&member) {
                new.push(member);
            }
            moved.extend(Some(member).filter(|member| stand.children.contains(member)));
            replaced.extend(stand.ring.insert(coordinate, member));
        }
        for member in new {
            cx.want(member, Hold::Required);
            cx.change(Change::NeighborUp(member));
        }
        for member in moved {
            self.gone_around(member, cx);
        }
        replaced.into_iter().for_each(|member| self.let_go(member, cx));
        self.ring_changed(cx);
    }

    /// The allocator says that somebody is gone.
    fn dismissed(&mut self, from: Guid, coordinate: u32, member: Guid, cx: &mut Context<'_, Self>) {
        if !self.is_entitled(from, cx) {
            return;
        }
        let Some(stand) = &mut self.stand else { return };
        if member == self.me {
            // It lost sight of this node, which is still here.
            let place = stand.path.clone();
            if self.quest.is_none() {
                self.ask(from, Wish::Place(place), 0, cx);
            }
        } else if stand.ring.get(coordinate) == Some(member) {
            stand.ring.remove(&member);
            self.let_go(member, cx);
            self.ring_changed(cx);
        }
    }

    /// Whatever follows from a ring, own or around, that is not what it was.
    pub(super) fn ring_changed(&mut self, cx: &mut Context<'_, Self>) {
        cx.change(Change::Range);
        if self.elders_around() != self.said_elders {
            self.tell_children(cx);
        }
        self.say_room(cx);
    }

    /// Tells the children where this node stands; they move along.
    pub(super) fn tell_children(&mut self, cx: &mut Context<'_, Self>) {
        let elders = self.elders_around();
        let Some(stand) = &self.stand else { return };
        for child in stand.children.members() {
            let above = Message::Above { path: stand.path.clone(), elders: elders.clone() };
            // A child that is not told asks the next time it refreshes.
            let _ = cx.send(child, above);
        }
        self.said_elders = elders;
    }

    /// The parent was moved, or knows other elders; or an heir has taken its place.
    fn above(&mut self, from: Guid, path: Path, elders: Vec<Guid>, cx: &mut Context<'_, Self>) {
        let Some(stand) = &mut self.stand else {
            // A place was given to this node that it never heard of.
            let _ = cx.send(from, Message::Quit(None));
            return;
        };
        if elders.len() > ELDERS {
            return cx.blame(from, "more elders than there can be");
        }
        if stand.parent == Some(from) {
            let Some(mine) = path.child(stand.path.last()) else {
                return cx.blame(from, "a place that cannot be");
            };
            stand.elders = elders;
            if mine != stand.path {
                stand.path = mine;
                self.said_room = None;
                cx.change(Change::Addresses);
                self.tell_children(cx);
                self.say_room(cx);
                // Further out than there should be anybody: somewhere else there is room.
                self.seek(cx);
            }
        } else if stand.ring.contains(&from) && stand.path.parent() == Some(path) {
            self.offer = Some((from, elders));
            match stand.parent {
                // No blame if it is there: the two may have lost sight of each other.
                Some(parent) => self.probe(parent, None, cx),
                None => self.consider_offer(cx),
            }
        } else {
            let place = stand.path.clone();
            let _ = cx.send(from, Message::Quit(Some(place)));
        }
    }

    pub(super) fn answer(&mut self, to: Guid, call: CallId, answer: Message, cx: &mut Context<'_, Self>) {
        let ring = match &answer {
            Message::Stand { path, .. } => self.ring_of(path).map(|ring| ring.pages(PAGE).collect()),
            _ => None,
        };
        cx.reply(call, answer);
        for page in ring.unwrap_or_else(Vec::new) {
            let _ = cx.send(to, Message::Members(page));
        }
    }

    /// The ring a place is in, if this node knows all of it.
    fn ring_of(&self, path: &Path) -> Option<&Ring> {
        let stand = self.stand.as_ref()?;
        match path.level() {
            level if level == stand.path.level() + 1 => Some(&stand.children),
            level if level == stand.path.level() => Some(&stand.ring),
            _ => None,
        }
    }
}

//! Giving places: what an allocator answers, and how it knows where there is room.

use polymorph_core::Guid;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::Change;
use polymorph_core::topology::question::Hold;

use super::routing::Step;
use super::{Message, Path, Polyring, Refusal, Wish};

/// No room on any level.
const NOWHERE: u8 = u8::MAX;

impl Polyring {
    /// The answer to a call.
    pub(super) fn asked(&mut self, from: Guid, message: Message, cx: &mut Context<'_, Self>) -> Message {
        let now = cx.now();
        self.resting.retain(|(_, until)| *until > now);
        match message {
            Message::Probe => Message::Fresh,
            Message::Join(_) | Message::Refresh { .. } if self.stand.is_none() || from == self.me => {
                Message::Refused(Refusal::Later)
            }
            Message::Join(Wish::Anywhere) => self.place_anywhere(from, cx),
            Message::Join(Wish::Around) => self.place_around(from, cx),
            Message::Join(Wish::Place(path)) => self.place_at(from, &path, cx),
            Message::Refresh { path, digest, room } => {
                if self.knows(&from) {
                    self.heard.insert(from);
                    self.note_room(from, room, cx);
                }
                self.compare(from, &path, digest)
            }
            _ => {
                cx.blame(from, "a call that is no question");
                Message::Refused(Refusal::Later)
            }
        }
    }

    /// In the center if there is room, else wherever it is nearest to it.
    fn place_anywhere(&mut self, from: Guid, cx: &mut Context<'_, Self>) -> Message {
        let Some(stand) = &self.stand else { return Message::Refused(Refusal::Later) };
        if stand.path.level() > 1 || stand.ring.lowest() != Some(self.me) {
            return match self.allocator() {
                Some(ask) => Message::Elsewhere { ask, wish: Wish::Anywhere },
                None => Message::Refused(Refusal::Later),
            };
        }
        if let Some(coordinate) = stand.ring.coordinate_of(&from) {
            return self.give(from, Path::center(coordinate), cx);
        }
        let vacancy = stand.ring.vacancy(|at| !self.rests(&Path::center(at)));
        if self.fits(vacancy) {
            return self.give(from, Path::center(vacancy), cx);
        }
        match stand.ring.members().min_by_key(|member| self.room_of(member, 1)) {
            Some(ask) if ask == self.me => self.place_around(from, cx),
            Some(ask) if self.room_of(&ask, 1) != NOWHERE => Message::Elsewhere { ask, wish: Wish::Around },
            _ => Message::Refused(Refusal::Full),
        }
    }

    /// In the ring around this node, else further out.
    fn place_around(&mut self, from: Guid, cx: &mut Context<'_, Self>) -> Message {
        let Some(stand) = &self.stand else { return Message::Refused(Refusal::Later) };
        let known = stand.children.coordinate_of(&from);
        if let Some(place) = known.or_else(|| self.vacancy_around()).and_then(|at| stand.path.child(at)) {
            return self.give(from, place, cx);
        }
        let level = stand.path.level() + 1;
        match stand.children.members().min_by_key(|member| self.room_of(member, level)) {
            Some(ask) if self.room_of(&ask, level) != NOWHERE => Message::Elsewhere { ask, wish: Wish::Around },
            _ => {
                // Whoever sent it here thought otherwise.
                self.said_room = None;
                self.say_room(cx);
                Message::Refused(Refusal::Later)
            }
        }
    }

    /// At this very place, by who assigns it.
    fn place_at(&mut self, from: Guid, place: &Path, cx: &mut Context<'_, Self>) -> Message {
        let Some(stand) = &self.stand else { return Message::Refused(Refusal::Later) };
        let holder = match place.parent() {
            None if stand.path.level() == 1 && stand.ring.lowest() == Some(self.me) => stand.ring.get(place.last()),
            // The place of who assigns it.
            None if stand.path.level() == 1 && stand.ring.get(place.last()) == self.allocator() => self.allocator(),
            None => return self.send_on(place, self.allocator()),
            Some(around) if around == stand.path => stand.children.get(place.last()),
            Some(around) => {
                // A ring mate's place is assigned by this node's own allocator; others lie on the way to it.
                let next = match stand.step(&around) {
                    Step::To(peer) => Some(peer),
                    Step::Here | Step::Nowhere => None,
                };
                return self.send_on(place, next);
            }
        };
        match holder {
            Some(holder) if holder == from => self.give(from, place.clone(), cx),
            Some(holder) => self.doubt(holder, cx),
            None if place.level() > self.config.depth || !self.fits(place.last()) => Message::Refused(Refusal::Taken),
            None => self.give(from, place.clone(), cx),
        }
    }

    fn send_on(&self, place: &Path, to: Option<Guid>) -> Message {
        match to {
            Some(ask) if ask != self.me => Message::Elsewhere { ask, wish: Wish::Place(place.clone()) },
            _ => Message::Refused(Refusal::Later),
        }
    }

    /// An heir says that the holder of a place is gone. Unless it was just put there, it is asked for a sign of life.
    fn doubt(&mut self, holder: Guid, cx: &mut Context<'_, Self>) -> Message {
        if holder == self.me {
            return Message::Refused(Refusal::Taken);
        }
        self.probe(holder, None, cx);
        Message::Refused(Refusal::Later)
    }

    /// Puts somebody at a place this node assigns, and tells that ring.
    fn give(&mut self, to: Guid, place: Path, cx: &mut Context<'_, Self>) -> Message {
        let Some(stand) = &mut self.stand else { return Message::Refused(Refusal::Later) };
        let coordinate = place.last();
        let in_center = place.level() == 1;
        let elsewhere = if in_center { &mut stand.children } else { &mut stand.ring };
        // Whoever was a neighbor in another part now stands here only.
        let left = elsewhere.remove(&to);
        let behind: Vec<Guid> = elsewhere.members().collect();
        let ring = if in_center { &mut stand.ring } else { &mut stand.children };
        let new = ring.get(coordinate) != Some(to);
        ring.insert(coordinate, to);
        let (taken, others): (_, Vec<Guid>) = (ring.coordinates(), ring.others(to).collect());
        self.resting.retain(|(path, _)| *path != place);
        if let Some(coordinate) = left {
            for member in behind.into_iter().filter(|&member| member != self.me) {
                let _ = cx.send(member, Message::Gone { coordinate, member: to });
            }
        }
        if new {
            self.rooms.remove(&to);
            cx.want(to, Hold::Required);
            cx.change(Change::NeighborUp(to));
            for member in others.into_iter().filter(|&member| member != self.me) {
                let _ = cx.send(member, Message::Members(vec![(coordinate, to)]));
            }
            self.ring_changed(cx);
        }
        let elders = if in_center { Vec::new() } else { self.elders_around() };
        Message::Stand { path: place, elders, taken }
    }

    /// Whether a coordinate is one that a ring is filled up to.
    fn fits(&self, coordinate: u32) -> bool {
        (coordinate as usize) < self.config.width
    }

    /// The lowest place in the ring around this node that is neither taken nor kept for an heir.
    fn vacancy_around(&self) -> Option<u32> {
        let stand = self.stand.as_ref().filter(|stand| stand.path.level() < self.config.depth)?;
        let rests = |at| stand.path.child(at).is_some_and(|place| self.rests(&place));
        Some(stand.children.vacancy(|at| !rests(at))).filter(|&at| self.fits(at))
    }

    fn rests(&self, place: &Path) -> bool {
        self.resting.iter().any(|(path, _)| path == place)
    }

    /// Whether a ring member sees its ring as its allocator does.
    fn compare(&self, from: Guid, path: &Path, digest: u64) -> Message {
        let Some(stand) = &self.stand else { return Message::Stranger };
        let (ring, place, elders) = if let Some(coordinate) = stand.children.coordinate_of(&from) {
            let Some(place) = stand.path.child(coordinate) else { return Message::Stranger };
            (&stand.children, place, self.elders_around())
        } else if stand.path.level() > 1 {
            return Message::Stranger;
        } else if stand.ring.lowest() != Some(self.me) {
            return self.send_on(&stand.path, self.allocator());
        } else if let Some(coordinate) = stand.ring.coordinate_of(&from) {
            (&stand.ring, Path::center(coordinate), Vec::new())
        } else {
            return Message::Stranger;
        };
        if place == *path && ring.digest(&elders) == digest {
            return Message::Fresh;
        }
        Message::Stand { path: place, elders, taken: ring.coordinates() }
    }

    /// Speaks to those this node gave places to and that have not compared since the last time: whoever does not
    /// stand there any longer, or never knew, says so.
    pub(super) fn ask_silent(&mut self, cx: &mut Context<'_, Self>) {
        let heard = core::mem::take(&mut self.heard);
        let Some(stand) = &self.stand else { return };
        for child in stand.children.members().filter(|child| !heard.contains(child)) {
            let _ = cx.send(child, Message::Above { path: stand.path.clone(), elders: self.said_elders.clone() });
        }
        if stand.path.level() == 1 && stand.ring.lowest() == Some(self.me) {
            for member in stand.ring.others(self.me).filter(|member| !heard.contains(member)) {
                let _ = cx.send(member, Message::Members(Vec::new()));
            }
        }
    }

    /// A ring mate or child says where there is room around it.
    pub(super) fn note_room(&mut self, from: Guid, level: u8, cx: &mut Context<'_, Self>) {
        // Nobody has room on its own level or above.
        let nearest = self.path().map_or(0, Path::level) + 1;
        self.rooms.insert(from, level.max(nearest as u8));
        self.say_room(cx);
    }

    /// The nearest level with room around this node.
    pub(super) fn room(&self) -> u8 {
        let Some(stand) = &self.stand else { return NOWHERE };
        let level = stand.path.level();
        if level >= self.config.depth {
            NOWHERE
        } else if self.vacancy_around().is_some() {
            level as u8 + 1
        } else {
            stand.children.members().map(|child| self.room_of(&child, level + 1)).min().unwrap_or(NOWHERE)
        }
    }

    /// The nearest level with room around a member of a ring on `level`: what it said, else the next one.
    fn room_of(&self, member: &Guid, level: usize) -> u8 {
        let next = if level < self.config.depth { level as u8 + 1 } else { NOWHERE };
        if *member == self.me { self.room() } else { self.rooms.get(member).copied().unwrap_or(next) }
    }

    /// Tells the allocator where there is room around this node, when that is no longer what it thinks.
    pub(super) fn say_room(&mut self, cx: &mut Context<'_, Self>) {
        let room = self.room();
        let Some(stand) = &self.stand else { return };
        let level = stand.path.level();
        let next = if level < self.config.depth { level as u8 + 1 } else { NOWHERE };
        let Some(allocator) = self.allocator().filter(|&peer| peer != self.me) else { return };
        if self.said_room.unwrap_or(next) != room && cx.send(allocator, Message::Room { level: room }).is_ok() {
            self.said_room = Some(room);
        }
    }
}

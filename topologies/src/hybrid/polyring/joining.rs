//! Asking for a place, and comparing the ring with its allocator's.

use core::time::Duration;

use polymorph_core::Guid;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Change, Ticket};
use polymorph_core::topology::question::Hold;

use super::{
    Config, JITTER, MAX_REDIRECTS, MAX_SEEDS, Message, Path, Polyring, Quest, REFRESH, RETRY, RETRY_FULL, Refusal,
    Ring, Stand, Timer, Wish,
};

impl Polyring {
    pub(super) fn outside(me: Guid, config: Config) -> Self {
        Self {
            me,
            config,
            seeds: Vec::new(),
            stand: None,
            quest: None,
            orphan: None,
            offer: None,
            rooms: Default::default(),
            said_room: None,
            said_elders: Vec::new(),
            resting: Vec::new(),
            giver: None,
            redialed: Vec::new(),
            refreshing: None,
            heard: Default::default(),
            tries: 0,
            probing: None,
            missed: None,
            warned: None,
        }
    }

    pub(super) fn join(&mut self, seeds: Vec<Guid>, cx: &mut Context<'_, Self>) {
        self.seeds = seeds.into_iter().filter(|&seed| seed != self.me).take(MAX_SEEDS).collect();
        self.tries = cx.pick(MAX_SEEDS);
        self.set(Timer::Refresh, REFRESH, cx);
        if let Some(stand) = &self.stand {
            // Tables that are there already, from a world that saw everybody, are kept. Links to siblings open when
            // they are used: with the others they are what notices a departure.
            let beside = stand.ring.others(self.me).filter(|_| stand.path.level() == 1);
            let held = stand.parent.into_iter().chain(stand.children.members()).chain(beside);
            held.for_each(|peer| cx.want(peer, Hold::Required));
            self.said_elders = self.elders_around();
        } else if self.seeds.is_empty() {
            let ring = Ring::of(0, self.me);
            let children = Ring::default();
            self.stand = Some(Stand { path: Path::center(0), parent: None, elders: Vec::new(), ring, children });
            cx.change(Change::Addresses);
            cx.change(Change::Range);
        } else {
            self.seek(cx);
        }
    }

    pub(super) fn set(&self, timer: Timer, base: Duration, cx: &mut Context<'_, Self>) {
        let after = cx.jitter(base, JITTER);
        cx.set(timer, after);
    }

    /// Asks for a place: the next step of whoever has none, or not a lasting one.
    pub(super) fn seek(&mut self, cx: &mut Context<'_, Self>) {
        if self.quest.is_some() {
            return;
        }
        if self.orphan.is_some() {
            return self.seek_parent(cx);
        }
        let too_deep = self.path().is_some_and(|path| path.level() > self.config.depth);
        if self.stand.is_none() || too_deep {
            self.seek_anywhere(cx);
        }
    }

    /// Asks a peer outside of what lies around this node for any place.
    pub(super) fn seek_anywhere(&mut self, cx: &mut Context<'_, Self>) {
        let elders = self.stand.iter().flat_map(|stand| stand.elders.iter().chain(stand.parent.iter()));
        let known: Vec<Guid> = elders.chain(&self.seeds).copied().filter(|peer| *peer != self.me).collect();
        if known.is_empty() {
            return self.set(Timer::Retry, RETRY_FULL, cx);
        }
        let whom = known[self.tries % known.len()];
        self.tries = self.tries.wrapping_add(1);
        self.ask(whom, Wish::Anywhere, 0, cx);
    }

    pub(super) fn ask(&mut self, whom: Guid, wish: Wish, redirects: u8, cx: &mut Context<'_, Self>) {
        let ticket = cx.call(whom, Message::Join(wish.clone()));
        self.quest = Some(Quest { ticket, wish, redirects });
    }

    pub(super) fn answered(&mut self, ticket: Ticket, from: Guid, message: Message, cx: &mut Context<'_, Self>) {
        if self.refreshing.take_if(|waiting| *waiting == ticket).is_some() {
            return self.refreshed(from, message, cx);
        }
        if let Some(probe) = self.probing.take_if(|probe| probe.ticket == ticket) {
            if let Some(usurper) = probe.usurper {
                self.warn(usurper, cx);
            }
            return;
        }
        let Some(quest) = self.quest.take_if(|quest| quest.ticket == ticket) else {
            if let Message::Stand { .. } = message {
                // A place given too late: another was found meanwhile.
                let _ = cx.send(from, Message::Quit(self.path().cloned()));
            }
            return;
        };
        if let Some(orphan) = &mut self.orphan {
            orphan.unheard = 0;
        }
        match message {
            Message::Stand { path, elders, taken } => self.take_stand(from, path, elders, &taken, cx),
            Message::Elsewhere { ask, wish } if ask != self.me && quest.redirects < MAX_REDIRECTS => {
                // A place is asked for as such wherever it leads; other wishes are narrowed on the way.
                let wish = if matches!(quest.wish, Wish::Place(_)) { quest.wish } else { wish };
                self.ask(ask, wish, quest.redirects + 1, cx);
            }
            Message::Elsewhere { .. } | Message::Refused(Refusal::Later) => {
                let own = self.path().map(|path| Wish::Place(path.clone()));
                match self.parent().filter(|_| own == Some(quest.wish)) {
                    // Neither the parent nor anybody else keeps this node's place.
                    Some(parent) => self.gone(parent, cx),
                    None => self.set(Timer::Retry, RETRY, cx),
                }
            }
            Message::Refused(Refusal::Full) => {
                cx.notice("every place of the polyring is taken");
                self.set(Timer::Retry, RETRY_FULL, cx);
            }
            Message::Refused(Refusal::Taken) => self.place_is_taken(cx),
            _ => {
                cx.blame(from, "an answer to another question");
                self.set(Timer::Retry, RETRY, cx);
            }
        }
    }

    pub(super) fn unanswered(&mut self, ticket: Ticket, peer: Guid, cx: &mut Context<'_, Self>) {
        self.refreshing.take_if(|waiting| *waiting == ticket);
        if self.probing.take_if(|probe| probe.ticket == ticket).is_some() {
            // Another acts as if it were gone, and it gives no sign of life.
            self.gone(peer, cx);
        }
        if self.quest.take_if(|quest| quest.ticket == ticket).is_some() {
            if let Some(orphan) = &mut self.orphan {
                orphan.unheard += 1;
            }
            self.set(Timer::Retry, RETRY, cx);
        }
    }

    pub(super) fn refresh(&mut self, cx: &mut Context<'_, Self>) {
        self.set(Timer::Refresh, REFRESH, cx);
        self.seek(cx);
        self.say_room(cx);
        self.ask_silent(cx);
        let Some(stand) = &self.stand else { return };
        match self.allocator() {
            Some(allocator) if allocator != self.me => {
                let (path, digest, room) = (stand.path.clone(), stand.ring.digest(&stand.elders), self.room());
                self.refreshing = Some(cx.call(allocator, Message::Refresh { path, digest, room }));
            }
            Some(_) => self.look_for_others(cx),
            None => {}
        }
    }

    /// Whom this node asks whether others are there: when it is alone in the center, or made it for want of an answer.
    pub(super) fn lookouts(&self) -> Vec<Guid> {
        let alone = |stand: &&Stand| stand.path.level() == 1 && (stand.ring.len() == 1 || !stand.elders.is_empty());
        self.stand.iter().filter(alone).flat_map(|stand| stand.elders.iter().chain(&self.seeds)).copied().collect()
    }

    fn look_for_others(&mut self, cx: &mut Context<'_, Self>) {
        let mut known = self.lookouts();
        if let Some((peer, asks)) = self.missed.filter(|_| known.is_empty()) {
            self.missed = asks.checked_sub(1).map(|left| (peer, left));
            known.push(peer);
        }
        let Some(stand) = self.stand.as_ref().filter(|_| self.quest.is_none() && !known.is_empty()) else { return };
        let (place, whom) = (Wish::Place(stand.path.clone()), cx.pick(known.len()));
        self.ask(known[whom], place, 0, cx);
    }

    fn refreshed(&mut self, from: Guid, message: Message, cx: &mut Context<'_, Self>) {
        if self.allocator() != Some(from) {
            return;
        }
        let Some(stand) = &self.stand else { return };
        let place = Wish::Place(stand.path.clone());
        match message {
            Message::Fresh => {}
            Message::Stand { path, elders, taken } => self.take_stand(from, path, elders, &taken, cx),
            Message::Stranger if self.quest.is_none() => self.ask(from, place, 0, cx),
            Message::Elsewhere { ask, .. } if self.quest.is_none() && ask != self.me => self.ask(ask, place, 0, cx),
            _ => {}
        }
    }
}

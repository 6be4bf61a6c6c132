//! Objects: pointers on the way to their root, and searches that meet them (JSAC 2004, §III.B).

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::Ticket;
use polymorph_core::topology::question::{Pass, Target};
use polymorph_core::{Guid, Key, Time};
use serde::{Deserialize, Serialize};

use super::super::prefix::{Peer, head};
use super::mesh::{Micros, UNMEASURED};
use super::{HasIt, Message, Purpose, Stage, Tapestry, Timer};

/// What an application may ask of its own node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Command {
    /// This node has the object: say so, until withdrawn.
    Publish(Key),
    /// It does not any more. Pointers to it expire; until then whoever asks is told no.
    Withdraw(Key),
    /// Who has the object? The nearest first, at most so many; with one the search ends at the first pointer.
    Find {
        /// What.
        object: Key,
        /// How many servers.
        most: u8,
    },
}

/// The answer to a [`Command`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// These have it and said so just now, the nearest first.
    Found(Vec<Guid>),
    /// The command does not decode, the node has not joined, or too much was asked of it.
    Refused,
}

impl Command {
    /// The command as a topology is told it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        postcard::to_stdvec(self).unwrap_or_default().into()
    }
}

impl Answer {
    /// The answer in what a topology said; `None` if it is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        exactly(bytes)
    }
}

/// A word that takes up all of these bytes.
fn exactly<'a, W: Deserialize<'a>>(bytes: &'a [u8]) -> Option<W> {
    postcard::take_from_bytes(bytes).ok().and_then(|(word, rest)| rest.is_empty().then_some(word))
}

/// Who has what, until when.
#[derive(Debug, Default)]
pub(super) struct Pointers {
    of: BTreeMap<Key, Vec<(Guid, Time)>>,
    count: usize,
}

impl Pointers {
    /// Keeps a pointer, if there is room for it.
    fn keep(&mut self, object: Key, server: Guid, until: Time) {
        let servers = self.of.entry(object).or_default();
        if let Some(known) = servers.iter_mut().find(|(other, _)| *other == server) {
            known.1 = known.1.max(until);
        } else if servers.len() < MAX_SERVERS && self.count < MAX_POINTERS {
            servers.push((server, until));
            self.count += 1;
        } else if servers.is_empty() {
            self.of.remove(&object);
        }
    }

    /// Who has an object.
    fn fresh(&self, object: &Key, now: Time) -> Vec<(Guid, Time)> {
        let servers = self.of.get(object).map(Vec::as_slice).unwrap_or_default();
        servers.iter().filter(|(_, until)| *until > now).copied().collect()
    }

    fn expire(&mut self, now: Time) {
        self.of.retain(|_, servers| {
            servers.retain(|(_, until)| *until > now);
            !servers.is_empty()
        });
        self.count = self.of.values().map(Vec::len).sum();
    }
}

/// A search of this node's application.
#[derive(Debug)]
pub(super) struct Finding {
    ticket: Ticket,
    object: Key,
    most: u8,
    /// Everybody who was named.
    named: Vec<Guid>,
    /// Those who have not said yet whether they have it.
    open: Vec<Guid>,
    /// Those who have it.
    have: Vec<(Micros, Guid)>,
    /// Whether nobody else will be named.
    last: bool,
    /// Whether it was sent a second time.
    again: bool,
}

impl Tapestry {
    /// What the application wants.
    pub(super) fn command(&mut self, ticket: Ticket, command: &[u8], cx: &mut Context<'_, Self>) {
        let room = self.finding.len() < MAX_FINDINGS;
        let answer = match exactly(command).filter(|_| self.stage == Stage::In) {
            Some(Command::Publish(object)) if self.own.len() < MAX_OWN => {
                self.own.insert(object);
                self.publish(object, cx);
                Answer::Done
            }
            Some(Command::Withdraw(object)) => {
                self.own.remove(&object);
                Answer::Done
            }
            Some(Command::Find { object, most }) if room => return self.find(ticket, object, most.max(1), cx),
            _ => Answer::Refused,
        };
        say(ticket, &answer, cx);
    }

    fn publish(&mut self, object: Key, cx: &mut Context<'_, Self>) {
        let seconds = u32::try_from(LASTS * self.config.republish.as_secs()).unwrap_or(u32::MAX);
        cx.route(Target::Key(object), Message::Publish { object, server: cx.me(), seconds });
    }

    /// Says again what this node has, and drops what has expired.
    pub(super) fn republish(&mut self, cx: &mut Context<'_, Self>) {
        let wait = cx.jitter(self.config.republish, 0.2);
        cx.set(Timer::Republish, wait);
        self.pointers.expire(cx.now());
        for object in self.own.iter().copied().collect::<Vec<_>>() {
            self.publish(object, cx);
        }
    }

    fn point(&mut self, object: Key, server: Guid, seconds: u32, cx: &Context<'_, Self>) {
        let longest = LASTS * crate::setting::LONGEST.as_secs();
        let until = cx.now() + Duration::from_secs(u64::from(seconds).min(longest));
        self.pointers.keep(object, server, until);
    }

    /// Something passes through on its way to an object's root: a pointer stays, a search ends where enough are known.
    pub(super) fn passes(&mut self, message: &mut Message, cx: &mut Context<'_, Self>) -> Pass {
        match *message {
            Message::Publish { object, server, seconds } => self.point(object, server, seconds, cx),
            Message::Find { object, asker, id, most } => {
                let mut servers: Vec<Guid> =
                    self.pointers.fresh(&object, cx.now()).into_iter().map(|(server, _)| server).collect();
                servers.truncate(most.into());
                let last = servers.len() >= most.into();
                if !servers.is_empty() {
                    self.tell_servers(asker, id, servers, last, cx);
                }
                if last {
                    return Pass::Absorb;
                }
            }
            _ => {}
        }
        Pass::On
    }

    /// Something came to its root. A root that has just come sends searches on to whoever was the root before.
    pub(super) fn at_root(&mut self, message: &mut Message, cx: &mut Context<'_, Self>) {
        if self.passes(message, cx) == Pass::Absorb {
            return;
        }
        if let Message::Find { object, asker, id, most } = *message {
            match self.coming.as_ref().map(|coming| coming.root) {
                Some(root) => {
                    let _ = cx.send(root, Message::Find { object, asker, id, most });
                }
                None => self.tell_servers(asker, id, Vec::new(), true, cx),
            }
        }
    }

    fn tell_servers(&mut self, asker: Guid, id: u64, servers: Vec<Guid>, last: bool, cx: &mut Context<'_, Self>) {
        if asker == cx.me() {
            self.servers(id, &servers, last, cx);
        } else {
            // Whoever is not told asks again.
            let _ = cx.send(asker, Message::Servers { id, servers, last });
        }
    }

    fn find(&mut self, ticket: Ticket, object: Key, most: u8, cx: &mut Context<'_, Self>) {
        let id = rand_core::Rng::next_u64(cx.rng());
        let (named, open, have) = Default::default();
        self.finding.insert(id, Finding { ticket, object, most, named, open, have, last: false, again: false });
        cx.set(Timer::Find(id), FIND_WITHIN);
        cx.route(Target::Key(object), Message::Find { object, asker: cx.me(), id, most });
    }

    /// Servers were named: each is asked whether it has the object, which also tells how far away it is.
    pub(super) fn servers(&mut self, id: u64, servers: &[Guid], last: bool, cx: &mut Context<'_, Self>) {
        let me = cx.me();
        let Some(finding) = self.finding.get_mut(&id) else { return };
        finding.last |= last;
        let object = finding.object;
        let mut fresh = Vec::new();
        for &server in servers {
            if !finding.named.contains(&server) && finding.named.len() < MAX_SERVERS {
                finding.named.push(server);
                finding.open.push(server);
                fresh.push(server);
            }
        }
        for server in fresh {
            if server == me {
                let has = if self.own.contains(&object) { HasIt::Yes } else { HasIt::No };
                self.has(id, me, has, true, cx);
            } else if !self.call(server, Message::Have(object), Purpose::Have { id, server, again: false }, cx) {
                self.has_not(id, server, cx);
            }
        }
        self.find_on(id, cx);
    }

    /// A server said whether it has the object. The first answer over a new session says nothing of the way: it is
    /// asked again.
    pub(super) fn has(&mut self, id: u64, server: Guid, has: HasIt, again: bool, cx: &mut Context<'_, Self>) {
        if has == HasIt::No {
            return self.has_not(id, server, cx);
        }
        let rtt = if server == cx.me() { Some(0) } else { self.rtt(&server, cx) };
        let Some(finding) = self.finding.get_mut(&id) else { return };
        let object = finding.object;
        let one = finding.most == 1 && finding.named.len() == 1;
        if rtt.is_none() && !again && !one {
            let purpose = Purpose::Have { id, server, again: true };
            if self.call(server, Message::Have(object), purpose, cx) {
                return;
            }
        }
        if let Some(finding) = self.finding.get_mut(&id)
            && let Some(index) = finding.open.iter().position(|other| *other == server)
        {
            finding.open.swap_remove(index);
            finding.have.push((rtt.unwrap_or(UNMEASURED), server));
        }
        self.find_on(id, cx);
    }

    /// A server does not have the object, or does not answer.
    pub(super) fn has_not(&mut self, id: u64, server: Guid, cx: &mut Context<'_, Self>) {
        if let Some(finding) = self.finding.get_mut(&id) {
            finding.open.retain(|other| *other != server);
        }
        self.find_on(id, cx);
    }

    fn find_on(&mut self, id: u64, cx: &mut Context<'_, Self>) {
        if self.finding.get(&id).is_some_and(|finding| finding.last && finding.open.is_empty()) {
            self.find_over(id, cx);
        }
    }

    /// Time ran out. A search that found nothing is sent once more.
    pub(super) fn find_overdue(&mut self, id: u64, cx: &mut Context<'_, Self>) {
        match self.finding.get_mut(&id) {
            Some(finding) if finding.have.is_empty() && !finding.again => {
                finding.again = true;
                let (object, most) = (finding.object, finding.most);
                cx.set(Timer::Find(id), FIND_WITHIN);
                cx.route(Target::Key(object), Message::Find { object, asker: cx.me(), id, most });
            }
            _ => self.find_over(id, cx),
        }
    }

    fn find_over(&mut self, id: u64, cx: &mut Context<'_, Self>) {
        let Some(mut finding) = self.finding.remove(&id) else { return };
        cx.cancel(Timer::Find(id));
        finding.have.sort_unstable();
        let found = finding.have.into_iter().take(finding.most.into()).map(|(_, server)| server).collect();
        say(finding.ticket, &Answer::Found(found), cx);
    }

    // When the table changes, roots do.

    /// Pointers this node is the root of, or was, and which are the peer's now.
    pub(super) fn hand_over(&mut self, peer: Peer, cx: &mut Context<'_, Self>) {
        let digits = self.digits();
        let nearer = |object: &Key| digits.offset(head(object), peer.at) < digits.offset(head(object), self.mine);
        let theirs: Vec<Key> = self.pointers.of.keys().filter(|object| nearer(object)).copied().collect();
        let theirs: Vec<Key> = theirs.into_iter().filter(|object| self.next_is(object, &peer.guid)).collect();
        self.send_pointers(peer.guid, &theirs, cx);
    }

    fn next_is(&self, object: &Key, peer: &Guid) -> bool {
        self.mesh.next(head(object), |_| true).is_some_and(|slot| slot.iter().any(|entry| entry.peer.guid == *peer))
    }

    /// The objects whose way to the root leads over a peer.
    pub(super) fn led_by(&self, peer: Guid) -> Vec<Key> {
        self.pointers.of.keys().filter(|object| self.next_is(object, &peer)).copied().collect()
    }

    /// These objects have another way to their root now: their pointers take it.
    pub(super) fn place_again(&mut self, objects: &[Key], cx: &mut Context<'_, Self>) {
        let mut by_hop: BTreeMap<Guid, Vec<Key>> = BTreeMap::new();
        for object in objects {
            if let Some(slot) = self.mesh.next(head(object), |_| true) {
                by_hop.entry(slot[0].peer.guid).or_default().push(*object);
            }
        }
        by_hop.into_iter().for_each(|(hop, objects)| self.send_pointers(hop, &objects, cx));
    }

    /// A leaving node's pointers go to whoever would be their root without it.
    pub(super) fn hand_over_all(&mut self, cx: &mut Context<'_, Self>) {
        let mut by_heir: BTreeMap<Guid, Vec<Key>> = BTreeMap::new();
        for object in self.pointers.of.keys() {
            let mut heirs = Vec::new();
            self.mesh.nearest(head(object), 1, |_| true, &mut heirs);
            heirs.into_iter().for_each(|heir| by_heir.entry(heir).or_default().push(*object));
        }
        by_heir.into_iter().for_each(|(heir, objects)| self.send_pointers(heir, &objects, cx));
        self.pointers = Pointers::default();
    }

    fn send_pointers(&mut self, to: Guid, objects: &[Key], cx: &mut Context<'_, Self>) {
        let now = cx.now();
        let all = objects.iter().flat_map(|object| {
            let seconds = |until: Time| u32::try_from(until.since(now).as_secs()).unwrap_or(u32::MAX);
            let fresh = self.pointers.fresh(object, now);
            fresh.into_iter().map(move |(server, until)| (*object, server, seconds(until)))
        });
        let all: Vec<(Key, Guid, u32)> = all.collect();
        for page in all.chunks(PAGE) {
            // Whoever cannot be told now is told when the objects are published anew.
            let _ = cx.send(to, Message::Place(page.to_vec()));
        }
    }

    /// Pointers that are this node's to keep, or to send on to their root.
    pub(super) fn placed(&mut self, pointers: Vec<(Key, Guid, u32)>, cx: &mut Context<'_, Self>) {
        let mut objects = Vec::new();
        for (object, server, seconds) in pointers.into_iter().take(PAGE) {
            self.point(object, server, seconds, cx);
            objects.push(object);
        }
        objects.dedup();
        self.place_again(&objects, cx);
    }
}

fn say(ticket: Ticket, answer: &Answer, cx: &mut Context<'_, Tapestry>) {
    cx.answer(ticket, postcard::to_stdvec(answer).unwrap_or_default().into());
}

/// How many times its republication a pointer lasts: two may be lost.
const LASTS: u64 = 3;
/// How long a search may take until it is sent again, and until it ends.
const FIND_WITHIN: Duration = Duration::from_secs(15);
/// How many servers of one object are known to a node.
const MAX_SERVERS: usize = 32;
/// How many pointers a node keeps: some megabytes.
const MAX_POINTERS: usize = 65_536;
/// How many objects a node publishes: their republication is one message each in an hour.
const MAX_OWN: usize = 16_384;
/// How many searches of its application a node has under way.
const MAX_FINDINGS: usize = 256;
/// How many pointers go with one message: each names a server, whose contact may go along.
const PAGE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_expire_and_are_bounded() {
        let (object, mut pointers) = (Key::of(b"object"), Pointers::default());
        for number in 0..=MAX_SERVERS as u8 {
            pointers.keep(object, Guid([number; 32]), Time::from_secs(10 + u64::from(number)));
        }
        assert_eq!(pointers.fresh(&object, Time::ZERO).len(), MAX_SERVERS);
        pointers.keep(object, Guid([0; 32]), Time::from_secs(5));
        assert_eq!(pointers.fresh(&object, Time::from_secs(9)).len(), MAX_SERVERS, "an older word takes nothing back");
        pointers.expire(Time::from_secs(12));
        assert_eq!(pointers.count, MAX_SERVERS - 3);
        pointers.expire(Time::from_secs(1000));
        assert_eq!((pointers.count, pointers.of.len()), (0, 0));
    }

    #[test]
    fn words_that_do_not_decode_are_none() {
        let command = Command::Find { object: Key::of(b"object"), most: 4 };
        assert_eq!(exactly(&command.encode()), Some(command));
        assert_eq!(exactly::<Command>(&[command.encode().as_ref(), b"x"].concat()), None);
        assert_eq!(Answer::decode(&[9, 9, 9]), None);
    }
}

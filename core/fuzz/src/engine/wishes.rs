//! What the application of a hostile world wants: every command, with fields that may make no sense.

use std::time::Duration;

use polymorph_core::Time;
use polymorph_core::engine::Slot;
use polymorph_core::engine::io::{Command, Input, Origin, Responder, To};
use polymorph_core::record::{Caches, GetOptions, PutOptions, Quorum};
use polymorph_core::snapshot::{KeptRecord, OwnRecord};
use polymorph_core::topology::event::Ticket;
use polymorph_core::topology::question::Hold;

use super::super::frames::{Cheap, Sender, class, key, status, target, urgency};
use super::super::source::Source;
use super::super::wild::Wild;
use super::{PEERS, World};

impl World {
    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(1 << 63 | self.tickets);
        self.waiting.insert(ticket);
        ticket
    }

    fn to(&self, source: &mut Source<'_>) -> To<Wild> {
        if source.once_in(2) { To::Peer(self.everybody[source.pick(PEERS + 1)]) } else { To::Target(target(source)) }
    }

    /// The application wants something.
    pub(crate) fn wish(&mut self, source: &mut Source<'_>) -> String {
        let slot = Slot(source.pick(4) as u16);
        let peer = self.everybody[source.pick(PEERS + 1)];
        let to = self.to(source);
        let command = match source.pick(16) {
            0 => Command::Join { seeds: self.contacts.iter().skip(source.pick(PEERS)).take(3).cloned().collect() },
            1 => Command::Lookup { ticket: self.ticket(), to: target(source), n: source.pick(20) },
            2 | 3 => {
                let timeout = Duration::from_millis(source.number().into());
                let timeout = timeout.min(Duration::from_secs(600));
                let (service, payload) = (source.number(), source.bytes());
                Command::Request { ticket: self.ticket(), to, service, payload, timeout }
            }
            4 => {
                let (service, urgency, payload) = (source.number(), urgency(source), source.bytes());
                Command::Notice { ticket: self.ticket(), to, service, urgency, payload }
            }
            5 => Command::Respond { to: responder(peer, source), status: status(source), payload: source.bytes() },
            6 => {
                let topic = source.once_in(2).then(|| key(source));
                let origin = if source.once_in(2) { Origin::Claimed } else { Origin::Signed };
                let (urgency, payload) = (urgency(source), source.bytes());
                Command::Publish { ticket: self.ticket(), topic, payload, origin, urgency }
            }
            7 => Command::Subscribe { topic: key(source) },
            8 => Command::Unsubscribe { topic: key(source) },
            9 => {
                let lifetime = Duration::from_secs(source.short().into());
                let sequence = source.once_in(2).then(|| source.byte().into());
                let options = PutOptions { lifetime, quorum: quorum(source), sequence };
                Command::Put { ticket: self.ticket(), key: key(source), value: source.bytes(), options }
            }
            10 => Command::Withdraw { key: key(source) },
            11 => {
                let caches = [Caches::Bypass, Caches::Allow][source.pick(2)];
                let options = GetOptions { quorum: quorum(source), caches };
                Command::Get { ticket: self.ticket(), key: key(source), options }
            }
            12 => Command::Consumed { peer, class: class(source), bytes: source.number() },
            13 => {
                let hold = [None, Some(Hold::Cached), Some(Hold::Required)][source.pick(3)];
                Command::Hold { peer, hold }
            }
            14 => Command::Ping { ticket: self.ticket(), peer },
            15 if source.once_in(2) => self.remembered(source),
            _ => Command::Ask { ticket: self.ticket(), command: bytes::Bytes::copy_from_slice(source.raw(12)) },
        };
        self.feed(Input::Command(slot, command))
    }

    /// What a file says was kept and published, whoever wrote that.
    fn remembered(&self, source: &mut Source<'_>) -> Command<Wild> {
        let signer = Cheap(super::key(source.pick(PEERS)));
        let Self { everybody, contacts, claims, now, .. } = self;
        let sender = Sender { signer: &signer, everybody, contacts, claims, now: *now };
        let from = everybody[source.pick(PEERS + 1)];
        let count = source.pick(3);
        let remember = |_| {
            let record = sender.record(source);
            KeptRecord { from, record, stays: source.number().into() }
        };
        let kept = (0..count).map(remember).collect();
        let own = OwnRecord {
            key: key(source),
            value: source.bytes(),
            lifetime: Duration::from_secs(source.number().into()),
            sequence: source.once_in(2).then(|| source.byte().into()),
            last: if source.once_in(4) { u64::MAX } else { source.byte().into() },
            expires: Time(source.number().into()),
        };
        let contacts = contacts.iter().take(source.pick(3)).cloned().collect();
        Command::Restore { contacts, kept, own: vec![own] }
    }
}

fn responder(peer: polymorph_core::Guid, source: &mut Source<'_>) -> Responder {
    let (id, hops) = (source.number(), source.byte());
    match source.pick(3) {
        0 => Responder::Direct { peer, id },
        1 => Responder::Path { peer, id, hops },
        _ => Responder::Origin { peer, id, hops },
    }
}

fn quorum(source: &mut Source<'_>) -> Quorum {
    [Quorum::Majority, Quorum::All, Quorum::Of(source.pick(4))][source.pick(3)]
}

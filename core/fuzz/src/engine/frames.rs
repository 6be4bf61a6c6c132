//! Frames a hostile peer may send: every kind of body, with fields that are right, nearly right or absurd.

use std::sync::Arc;

use bytes::Bytes;
use polymorph_core::engine::io::Class;
use polymorph_core::record::{Receipt, Record};
use polymorph_core::topology::question::{CopyId, Lane, Target, Verdict};
use polymorph_core::wire::Urgency;
use polymorph_core::wire::frame::{
    Answer, Body, Calling, Copied, Goodbye, Holding, Offer, Return, Routed, Shared, Status, What,
};
use polymorph_core::wire::{self, Frame};
use polymorph_core::{Contact, Domain, Guid, Key, Membership, PublicKey, Signature, Signer, Standing, Time};

use super::proof::copy_id;
use super::source::Source;
use super::wild::{Say, Wild};

/// How many kinds of bodies there are.
const KINDS: usize = 27;

/// Who sends, and what of the world a frame may speak of.
pub(crate) struct Sender<'a> {
    pub(crate) signer: &'a dyn Signer,
    pub(crate) everybody: &'a [Guid],
    pub(crate) contacts: &'a [Contact],
    pub(crate) claims: &'a [Membership],
    pub(crate) now: Time,
}

impl Sender<'_> {
    fn guid(&self, source: &mut Source<'_>) -> Guid {
        if source.once_in(8) { Guid(source.array()) } else { self.everybody[source.pick(self.everybody.len())] }
    }

    fn guids(&self, source: &mut Source<'_>) -> Vec<Guid> {
        let count = if source.once_in(16) { 300 } else { source.pick(6) };
        (0..count).map(|_| self.guid(source)).collect()
    }

    /// A frame with this tag. Some are decoded from the bytes as they stand.
    pub(crate) fn frame(&self, tag: u32, source: &mut Source<'_>) -> Frame<Wild> {
        if source.once_in(4)
            && let Ok(frame) = wire::decode(Bytes::copy_from_slice(source.raw(255)))
        {
            return Frame { tag, ..frame };
        }
        let contacts =
            if source.once_in(4) { self.contacts.iter().take(source.pick(4)).cloned().collect() } else { vec![] };
        let (mut body, payload) = (self.body(source), source.bytes());
        if let Body::Copy(copied) = &mut body
            && source.once_in(2)
        {
            let copied = Arc::make_mut(copied);
            copied.id = copy_id(&copied.origin, copied.sequence, copied.topic.as_ref(), &payload);
        }
        Frame { tag, contacts, body, payload }
    }

    fn body(&self, source: &mut Source<'_>) -> Body<Wild> {
        let id = source.number();
        match source.pick(KINDS) {
            0 => Body::Offer(Offer { nonce: id.into(), proofs: vec![source.array(); source.number() as usize % 400] }),
            1 => Body::Accept { nonce: id.into(), shared: self.shared(source) },
            2 => Body::Confirm { nonce: id.into(), shared: self.shared(source) },
            3 => Body::Goodbye(goodbye(source)),
            4 => Body::Interest { lanes: source.number() },
            5 => Body::Leaving,
            6 => Body::Credit { class: class(source), bytes: source.number().wrapping_mul(977) },
            7 => Body::Moved(Box::new(self.claims[source.pick(self.claims.len())].clone())),
            8 => Body::Send(self.say(source)),
            9 => Body::Call { id, message: self.say(source) },
            10 => Body::Reply { id, message: self.say(source) },
            11 => Body::Routed(Box::new(self.routed(id, source))),
            12 => Body::Answer { id, hops: source.byte(), answer: self.answer(source) },
            13 => Body::Find {
                id,
                lane: lane(source),
                n: source.byte(),
                to: Box::new(target(source)),
                state: source.bytes(),
                known: source.bytes(),
            },
            14 => Body::Next { id, verdict: verdict(source), peers: self.guids(source), state: source.bytes() },
            15 => Body::Copy(Arc::new(self.copied(source))),
            16 => Body::Request { id, service: source.number() },
            17 => Body::Response { id, status: status(source) },
            18 => Body::Notice { service: source.number(), urgency: urgency(source) },
            19 => Body::Store { id, record: Box::new(self.record(source)) },
            20 => {
                let receipts = [Receipt::Kept, Receipt::Older, Receipt::Full, Receipt::Refused];
                Body::Stored { id, receipt: receipts[source.pick(4)] }
            }
            21 => Body::Fetch { id, key: key(source) },
            22 => Body::Fetched { id, records: (0..source.pick(4)).map(|_| self.record(source)).collect() },
            23 => Body::Ping { id },
            24 => Body::Pong { id },
            25 => {
                let calling = if source.once_in(2) { Calling::Keep } else { Calling::Lead };
                let kept = (0..source.pick(4)).map(|_| (key(source), source.number().into())).collect();
                Body::Holds { id, calling, kept }
            }
            _ => {
                let all = [Holding::Same, Holding::Differs, Holding::Elsewhere, Holding::Released];
                Body::Holding { id, answers: (0..source.pick(4)).map(|_| all[source.pick(4)]).collect() }
            }
        }
    }

    /// Sides of overlays that are not proven: good ones are made where the handshake is known.
    fn shared(&self, source: &mut Source<'_>) -> Vec<Shared> {
        let one = |source: &mut Source<'_>| Shared {
            index: source.short(),
            proof: source.array(),
            tag: source.number(),
            epoch: source.number(),
            standing: Standing::Client,
            lanes: source.number(),
            credit: source.number(),
            protocols: vec![String::from("1"); source.pick(40)],
            membership: source.once_in(2).then(|| Box::new(self.claims[0].clone())),
        };
        (0..source.pick(5)).map(|_| one(source)).collect()
    }

    pub(crate) fn say(&self, source: &mut Source<'_>) -> Say {
        match source.pick(8) {
            0 => Say::Peers(self.guids(source)),
            1 => Say::Bytes(source.bytes()),
            _ => Say::Do { what: source.byte(), echo: source.byte() },
        }
    }

    fn routed(&self, id: u32, source: &mut Source<'_>) -> Routed<Wild> {
        let back = [Return::None, Return::Path, Return::Direct][source.pick(3)];
        let what = match source.pick(5) {
            4 => What::Fetch,
            0 => What::Message(self.say(source)),
            1 => What::Lookup { n: source.byte() },
            2 => What::Request { service: source.number() },
            _ => What::Notice { service: source.number() },
        };
        let (lane, hops, to, origin) = (lane(source), source.byte(), target(source), self.guid(source));
        let (before, tried) = (Bytes::new(), Vec::new());
        Routed { id, back, lane, hops, to, origin, state: source.bytes(), before, tried, what }
    }

    fn answer(&self, source: &mut Source<'_>) -> Answer {
        match source.pick(4) {
            3 => {
                let records = (0..source.pick(4)).map(|_| self.record(source)).collect();
                Answer::Records { records, far: source.byte() }
            }
            0 => Answer::Found { peers: self.guids(source) },
            1 => Answer::Response { from: self.guid(source), status: status(source) },
            _ => Answer::Unreachable,
        }
    }

    fn copied(&self, source: &mut Source<'_>) -> Copied {
        let signature = self.signer.sign(Domain::Broadcast, b"something else");
        Copied {
            id: CopyId([source.byte() % 16; 16]),
            origin: self.guid(source),
            sequence: source.number().into(),
            topic: source.once_in(2).then(|| key(source)),
            hops: source.byte() % 70,
            lane: lane(source),
            urgency: urgency(source),
            signed: source.once_in(2).then(|| Arc::new((self.signer.public_key(), signature))),
        }
    }

    pub(crate) fn record(&self, source: &mut Source<'_>) -> Record {
        let until = Time::from_secs(self.now.as_secs() + u64::from(source.short()) * 4);
        let mut record = Record::sign(self.signer, key(source), source.bytes(), source.number().into(), until);
        if source.once_in(4) {
            record.public_key = PublicKey(source.array());
        }
        record
    }
}

pub(crate) fn key(source: &mut Source<'_>) -> Key {
    Key([source.byte() % 32; 32])
}

pub(crate) fn target(source: &mut Source<'_>) -> Target<Wild> {
    if source.once_in(3) { Target::Address(source.number()) } else { Target::Key(key(source)) }
}

pub(crate) fn class(source: &mut Source<'_>) -> Class {
    [Class::Control, Class::Deadline, Class::Message, Class::Bulk][source.pick(4)]
}

pub(crate) fn urgency(source: &mut Source<'_>) -> Urgency {
    [Urgency::Usual, Urgency::Timely][source.pick(2)]
}

pub(crate) fn status(source: &mut Source<'_>) -> Status {
    [Status::Good, Status::NoService, Status::Busy, Status::Failed][source.pick(4)]
}

pub(crate) fn goodbye(source: &mut Source<'_>) -> Goodbye {
    use Goodbye::{Budget, Duplicate, Idle, Leaving, Misbehaved, NothingShared};
    [NothingShared, Idle, Budget, Leaving, Misbehaved, Duplicate][source.pick(6)]
}

fn verdict(source: &mut Source<'_>) -> Verdict {
    [Verdict::Unreachable, Verdict::Forward, Verdict::Deliver { rank: 0 }, Verdict::Deliver { rank: 9 }][source.pick(4)]
}

fn lane(source: &mut Source<'_>) -> Lane {
    let lane = [0, 0, 0xff, source.byte()][source.pick(4)];
    postcard::from_bytes(&[lane]).expect("any byte is a lane")
}

/// A stand-in for signatures, of the same size: what is tested is not ed25519.
#[derive(Debug)]
pub(crate) struct Cheap(pub(crate) PublicKey);

pub(crate) fn tag(key: &PublicKey, domain: Domain, bytes: &[u8]) -> Signature {
    let mut hasher = blake3::Hasher::new_keyed(&key.0);
    hasher.update(&[domain as u8]).update(bytes);
    let mut out = [0; 64];
    hasher.finalize_xof().fill(&mut out);
    Signature(out)
}

impl Signer for Cheap {
    fn public_key(&self) -> PublicKey {
        self.0
    }
    fn sign(&self, domain: Domain, bytes: &[u8]) -> Signature {
        tag(&self.0, domain, bytes)
    }
}

impl polymorph_core::Verifier for Cheap {
    fn verify(&self, key: &PublicKey, domain: Domain, bytes: &[u8], signature: &Signature) -> bool {
        tag(key, domain, bytes) == *signature
    }
}

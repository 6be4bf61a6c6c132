//! What stands on the wire, byte for byte: every body, every variant, every signed thing. See `golden/vectors.rs`.

#![cfg(feature = "runtime")]

#[path = "golden/dialogue.rs"]
mod dialogue;
#[path = "golden/vectors.rs"]
mod vectors;

use core::time::Duration;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use polymorph_core::contact::TransportAddress;
use polymorph_core::engine::io::Class;
use polymorph_core::overlay::Claim;
use polymorph_core::record::{Receipt, Record};
use polymorph_core::snapshot::{KeptRecord, OwnRecord, Snapshot};
use polymorph_core::topology::layer::Either;
use polymorph_core::topology::question::{CopyId, Lane, Target, Verdict};
use polymorph_core::wire::Urgency;
use polymorph_core::wire::frame::{
    Answer, Body, Calling, Copied, Goodbye, Holding, Offer, Return, Routed, Shared, Status, What,
};
use polymorph_core::wire::{self, Frame};
use polymorph_core::{
    Admission, Contact, Domain, Grant, Guid, Identity, Key, Membership, OverlayId, OverlayName, PublicKey, Signature,
    Signer, Standing, Time,
};

use dialogue::{Say, Toy};
use vectors::{Vectors, every};

fn vectors() -> Vectors {
    Vectors::of(env!("CARGO_MANIFEST_DIR"), "tests/golden/core.txt")
}

fn ann() -> Identity {
    Identity::from_seed(&[1; 32])
}

fn guid(byte: u8) -> Guid {
    Guid([byte; 32])
}

fn lane(number: u8) -> Lane {
    postcard::from_bytes(&[number]).expect("any byte is a lane")
}

fn name(admission: Admission) -> OverlayName {
    OverlayName::new("golden/one", admission).expect("a name")
}

fn addresses() -> Vec<(&'static str, TransportAddress)> {
    every!(TransportAddress {
        "quic": TransportAddress::Quic(_) => "quic://[2001:db8::1]:443".parse().expect("an address"),
        "tcp": TransportAddress::Tcp(_) => "tcp://192.0.2.1:4000".parse().expect("an address"),
        "unix": TransportAddress::Unix(_) => "unix:/run/node".parse().expect("an address"),
        "memory": TransportAddress::Memory(_) => "mem:ann".parse().expect("an address"),
        "unknown": TransportAddress::Unknown { .. } => TransportAddress::Unknown { kind: 5, bytes: Bytes::from_static(b"relay") },
    })
}

fn contact() -> Contact {
    let addresses: Vec<TransportAddress> = addresses().into_iter().map(|(_, address)| address).collect();
    Contact::sign(&ann(), &addresses, 7, Time::from_secs(1_000_000))
}

fn grant() -> Grant {
    let authority = Identity::from_seed(&[9; 32]);
    let overlay = name(Admission::Authority(authority.public_key())).id();
    Grant::sign(&authority, overlay, ann().guid(), Standing::Client, Time::from_secs(300))
}

fn claim() -> Claim {
    let (addresses, proof) = (Bytes::from_static(b"\x01\x05"), Bytes::from_static(b"proof"));
    let overlay = name(Admission::Open).id();
    Claim { overlay, standing: Standing::Member, addresses, proof, sequence: 3, expires: 900, grant: Some(grant()) }
}

fn membership() -> Membership {
    Membership::sign(&ann(), &claim())
}

fn record() -> Record {
    Record::sign(&ann(), Key([4; 32]), Bytes::from_static(b"value"), 300, Time::from_secs(70_000))
}

fn shared() -> Shared {
    Shared {
        index: 2,
        proof: [7; 16],
        tag: 0x301,
        epoch: 1,
        standing: Standing::Member,
        lanes: 0b101,
        credit: 1 << 20,
        protocols: vec!["2".into(), "1".into()],
        membership: Some(Box::new(membership())),
    }
}

fn targets() -> Vec<(&'static str, Target<Toy>)> {
    every!(Target<Toy> {
        "key": Target::Key(_) => Target::Key(Key([4; 32])),
        "address": Target::Address(_) => Target::Address(300),
    })
}

fn whats() -> Vec<(&'static str, What<Toy>)> {
    every!(What<Toy> {
        "message": What::Message(_) => What::Message(Say::Peers(vec![guid(2)])),
        "lookup": What::Lookup { .. } => What::Lookup { n: 8 },
        "request": What::Request { .. } => What::Request { service: 300 },
        "notice": What::Notice { .. } => What::Notice { service: 301 },
        "fetch": What::Fetch => What::Fetch,
    })
}

fn routed(back: Return, to: Target<Toy>, what: What<Toy>) -> Routed<Toy> {
    let state = Bytes::from_static(b"state");
    let (before, tried) = (Bytes::from_static(b"never sent"), vec![guid(9)]);
    Routed { id: 300, back, lane: lane(0xff), hops: 3, to, origin: guid(2), state, before, tried, what }
}

fn copied(signed: Option<(PublicKey, Signature)>) -> Copied {
    let (id, sequence, topic) = (CopyId([6; 16]), 1 << 40, Some(Key([4; 32])));
    let signed = signed.map(Arc::new);
    Copied { id, origin: guid(2), sequence, topic, hops: 4, lane: lane(1), urgency: Urgency::Timely, signed }
}

fn answers() -> Vec<(&'static str, Answer)> {
    every!(Answer {
        "found": Answer::Found { .. } => Answer::Found { peers: vec![guid(2), guid(3)] },
        "response": Answer::Response { .. } => Answer::Response { from: guid(2), status: Status::Busy },
        "unreachable": Answer::Unreachable => Answer::Unreachable,
        "records": Answer::Records { .. } => Answer::Records { records: vec![record()], far: 2 },
    })
}

fn bodies() -> Vec<(&'static str, Body<Toy>)> {
    let state = || Bytes::from_static(b"state");
    every!(Body<Toy> {
        "offer": Body::Offer(_) => Body::Offer(Offer { nonce: 300, proofs: vec![[7; 16], [8; 16]] }),
        "accept": Body::Accept { .. } => Body::Accept { nonce: 300, shared: vec![shared()] },
        "confirm": Body::Confirm { .. } => Body::Confirm { nonce: 300, shared: vec![Shared { membership: None, ..shared() }] },
        "goodbye": Body::Goodbye(_) => Body::Goodbye(Goodbye::Idle),
        "interest": Body::Interest { .. } => Body::Interest { lanes: 0b1001 },
        "leaving": Body::Leaving => Body::Leaving,
        "credit": Body::Credit { .. } => Body::Credit { class: Class::Bulk, bytes: 70_000 },
        "moved": Body::Moved(_) => Body::Moved(Box::new(membership())),
        "send": Body::Send(_) => Body::Send(Say::Note(300)),
        "call": Body::Call { .. } => Body::Call { id: 5, message: Say::Note(1) },
        "reply": Body::Reply { .. } => Body::Reply { id: 5, message: Say::Nothing },
        "routed": Body::Routed(_) =>
            Body::Routed(Box::new(routed(Return::Path, Target::Address(300), What::Lookup { n: 8 }))),
        "answer": Body::Answer { .. } => Body::Answer { id: 300, hops: 2, answer: Answer::Unreachable },
        "find": Body::Find { .. } =>
            Body::Find { id: 1, lane: lane(2), n: 8, to: Box::new(Target::Key(Key([4; 32]))), state: state(), known: state() },
        "next": Body::Next { .. } =>
            Body::Next { id: 1, verdict: Verdict::Deliver { rank: 1 }, peers: vec![guid(2)], state: state() },
        "copy": Body::Copy(_) => Body::Copy(Arc::new(copied(None))),
        "request": Body::Request { .. } => Body::Request { id: 300, service: u32::MAX },
        "response": Body::Response { .. } => Body::Response { id: 300, status: Status::Failed },
        "notice": Body::Notice { .. } => Body::Notice { service: 0x8000_0001, urgency: Urgency::Timely },
        "store": Body::Store { .. } => Body::Store { id: 2, record: Box::new(record()) },
        "stored": Body::Stored { .. } => Body::Stored { id: 2, receipt: Receipt::Older },
        "fetch": Body::Fetch { .. } => Body::Fetch { id: 2, key: Key([4; 32]) },
        "fetched": Body::Fetched { .. } => Body::Fetched { id: 2, records: vec![record()] },
        "ping": Body::Ping { .. } => Body::Ping { id: 127 },
        "pong": Body::Pong { .. } => Body::Pong { id: 128 },
        "holds": Body::Holds { .. } =>
            Body::Holds { id: 3, calling: Calling::Lead, kept: vec![(Key([4; 32]), 1 << 40), (Key([5; 32]), 7)] },
        "holding": Body::Holding { .. } => Body::Holding { id: 3, answers: vec![Holding::Differs, Holding::Same] },
    })
}

fn small_enums(held: &mut Vectors) {
    held.each(
        "goodbye",
        &every!(Goodbye {
            "nothing-shared": Goodbye::NothingShared => Goodbye::NothingShared,
            "idle": Goodbye::Idle => Goodbye::Idle,
            "budget": Goodbye::Budget => Goodbye::Budget,
            "leaving": Goodbye::Leaving => Goodbye::Leaving,
            "misbehaved": Goodbye::Misbehaved => Goodbye::Misbehaved,
            "duplicate": Goodbye::Duplicate => Goodbye::Duplicate,
        }),
    );
    held.each(
        "return",
        &every!(Return {
            "none": Return::None => Return::None,
            "path": Return::Path => Return::Path,
            "direct": Return::Direct => Return::Direct,
        }),
    );
    held.each(
        "status",
        &every!(Status {
            "good": Status::Good => Status::Good,
            "no-service": Status::NoService => Status::NoService,
            "busy": Status::Busy => Status::Busy,
            "failed": Status::Failed => Status::Failed,
        }),
    );
    held.each(
        "verdict",
        &every!(Verdict {
            "unreachable": Verdict::Unreachable => Verdict::Unreachable,
            "forward": Verdict::Forward => Verdict::Forward,
            "deliver": Verdict::Deliver { .. } => Verdict::Deliver { rank: 3 },
        }),
    );
    held.each(
        "receipt",
        &every!(Receipt {
            "kept": Receipt::Kept => Receipt::Kept,
            "older": Receipt::Older => Receipt::Older,
            "full": Receipt::Full => Receipt::Full,
            "refused": Receipt::Refused => Receipt::Refused,
        }),
    );
    held.each(
        "calling",
        &every!(Calling { "keep": Calling::Keep => Calling::Keep, "lead": Calling::Lead => Calling::Lead }),
    );
    held.each(
        "holding",
        &every!(Holding {
            "same": Holding::Same => Holding::Same,
            "differs": Holding::Differs => Holding::Differs,
            "elsewhere": Holding::Elsewhere => Holding::Elsewhere,
            "released": Holding::Released => Holding::Released,
        }),
    );
    held.each(
        "standing",
        &every!(Standing {
            "member": Standing::Member => Standing::Member,
            "client": Standing::Client => Standing::Client,
        }),
    );
    held.each(
        "either",
        &every!(Either<u32, Key> {
            "upper": Either::Upper(_) => Either::Upper(300),
            "base": Either::Base(_) => Either::Base(Key([4; 32])),
        }),
    );
}

fn signed_things(held: &mut Vectors) {
    let domains = every!(Domain {
        "contact": Domain::Contact => Domain::Contact,
        "membership": Domain::Membership => Domain::Membership,
        "grant": Domain::Grant => Domain::Grant,
        "broadcast": Domain::Broadcast => Domain::Broadcast,
        "record": Domain::Record => Domain::Record,
        "application": Domain::Application => Domain::Application,
    });
    for (name, domain) in domains {
        held.bytes(&format!("signature.{name}"), &ann().sign(domain, b"golden").0);
    }
    held.value("contact", &contact());
    held.text("contact.word", &contact().to_string());
    for (name, address) in addresses() {
        let contact = Contact::sign(&ann(), &[address], 1, Time::from_secs(9));
        held.value(&format!("contact.address.{name}"), &contact);
    }
    held.value("grant", &grant());
    held.value("claim", &claim());
    held.value("membership", &membership());
    held.value("record", &record());
    let kept = vec![KeptRecord { from: guid(2), record: record(), stays: 9 }];
    let (value, lifetime) = (Bytes::from_static(b"own"), Duration::from_secs(60));
    let expires = Time::from_secs(9);
    let own = vec![OwnRecord { key: Key([4; 32]), value, lifetime, sequence: Some(5), last: 5, expires }];
    let snapshot = Snapshot { contacts: vec![contact()], kept, own };
    held.bytes("snapshot", &snapshot.encode(OverlayId([3; 32])));
}

fn derived_things(held: &mut Vectors) {
    let admissions = every!(Admission {
        "open": Admission::Open => Admission::Open,
        "secret": Admission::Secret(_) => Admission::Secret([5; 32]),
        "authority": Admission::Authority(_) => Admission::Authority(ann().public_key()),
    });
    for (door, admission) in admissions {
        held.bytes(&format!("overlay-id.{door}"), &name(admission).id().0);
    }
    let overlay = OverlayId([3; 32]);
    held.value("overlay-id", &overlay);
    held.bytes("position.first", &overlay.position(guid(2), 0).0);
    held.bytes("position.second", &overlay.position(guid(2), 1).0);
    held.value("guid", &ann().guid());
    held.value("public-key", &ann().public_key());
    held.bytes("key.of-a-name", &Key::of(b"name").0);
    held.bytes("service.number", &polymorph_core::runtime::service::number("greet").to_be_bytes());
}

#[test]
fn everything_on_the_wire_stays_as_it_is() {
    let mut held = vectors();
    small_enums(&mut held);
    signed_things(&mut held);
    derived_things(&mut held);
    held.value("offer", &Offer { nonce: u64::MAX, proofs: Vec::new() });
    held.value("shared", &shared());
    held.value("lane", &lane(0xff));
    held.value("copied", &copied(Some((ann().public_key(), ann().sign(Domain::Broadcast, b"golden")))));
    held.each("target", &targets());
    held.each("what", &whats());
    held.each("answer", &answers());
    for (name, what) in whats() {
        held.value(&format!("routed.{name}"), &routed(Return::Direct, Target::Key(Key([4; 32])), what));
    }
    held.each("body", &bodies());
    for (name, tag, contacts) in
        [("session", 0, vec![]), ("overlay", 0x301, vec![]), ("contacts", 0x301, vec![contact()])]
    {
        let (body, payload) = (Body::<Toy>::Ping { id: 1 }, Bytes::from_static(b"payload"));
        held.bytes(&format!("frame.{name}"), &wire::encode(&Frame { tag, contacts, body, payload }));
    }
    dialogue::spoken().iter().for_each(|(name, bytes)| held.bytes(name, bytes));
    held.close();
}

#[test]
fn what_is_not_for_the_wire_does_not_cross_it() {
    let sent = routed(Return::Path, Target::Address(1), What::Notice { service: 1 });
    let bytes = postcard::to_stdvec(&sent).expect("it encodes");
    let (back, rest) = postcard::take_from_bytes::<Routed<Toy>>(&bytes).expect("it decodes");
    assert!(back.before.is_empty() && back.tried.is_empty() && rest.is_empty());
}

#[test]
fn every_frame_comes_back_and_knows_its_length() {
    for (name, body) in bodies() {
        let sent = Frame { tag: 1, contacts: vec![contact()], body, payload: Bytes::from_static(b"payload") };
        let bytes = wire::encode(&sent);
        assert_eq!(sent.wire_len(), bytes.len(), "{name}");
        let mut buffer = BytesMut::from(&bytes[..]);
        let cut = wire::cut(&mut buffer).expect("a frame").expect("a whole one");
        let back = wire::decode::<Toy>(cut).expect("it decodes");
        assert_eq!((back.tag, back.body.name(), &back.payload), (1, name, &sent.payload));
        assert_eq!(wire::encode(&back), bytes, "{name}");
        assert!(buffer.is_empty());
    }
}

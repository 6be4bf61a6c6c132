//! One function for each decoder that is given bytes from outside. It returns whatever the bytes are; what must hold
//! of what was decoded is asserted.

use std::str::FromStr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use polymorph::core::contact::{MAX_ADDRESSES, TransportAddress};
use polymorph::core::engine::{Attach, log::replay};
use polymorph::core::record::Record;
use polymorph::core::snapshot::Snapshot;
use polymorph::core::topology::erased::Boxed;
use polymorph::core::topology::layer::Layer;
use polymorph::core::topology::model::Model;
use polymorph::core::wire::{self, Frame};
use polymorph::core::{
    Admission, Ed25519, Grant, Identity, Membership, OverlayId, OverlayName, PublicKey, Standing, Time, Topology,
};
use polymorph::media::blob::tree::{self, Leaves};
use polymorph::media::link::MAX_CONTACTS;
use polymorph::media::wire::{MAX_RUNS, Request};
use polymorph::media::{Hash, Link, Package, Seal};
use polymorph::topologies::hybrid::polyring::{Path, Polyring};
use polymorph::topologies::mesh::full_mesh::FullMesh;
use polymorph::topologies::mesh::{hyparview::HyParView, plumtree::Plumtree};
use polymorph::topologies::ring::{chord::Chord, kademlia::Kademlia, one_hop::OneHop};
use polymorph::topologies::ring::{pastry::Pastry, symphony::Symphony, tapestry, tapestry::Tapestry};
use polymorph::topologies::tree::scribe::Scribe;
use polymorph::{Contact, Guid, Key, OverlaySpec};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The name of a fuzz target, and what it does with bytes.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// What a snapshot begins with: eighteen letters, a version, an overlay and a hash.
const SNAPSHOT_HEADER_BYTES: usize = 18 + 1 + 32 + 32;

/// Every target but the engine's.
pub(crate) const DECODERS: &[Target] = &[
    ("frame", frame),
    ("contact", contact),
    ("contact_word", contact_word),
    ("membership", membership),
    ("grant", grant),
    ("record", record),
    ("snapshot", snapshot),
    ("message", message),
    ("request", request),
    ("package", package),
    ("seal", seal),
    ("link", link),
    ("proof", proof),
    ("address", address),
    ("overlay", overlay),
    ("log", log),
];

/// Decodes postcard; what comes out goes in again and is the same.
fn value<V: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<V> {
    let (value, _) = postcard::take_from_bytes::<V>(bytes).ok()?;
    let again = postcard::to_stdvec(&value).expect("what was decoded encodes");
    let (back, rest) = postcard::take_from_bytes::<V>(&again).expect("what was encoded decodes");
    assert!(rest.is_empty(), "nothing is left over");
    assert_eq!(postcard::to_stdvec(&back).expect("it encodes"), again, "and it is the same");
    Some(value)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// A stream of frames, cut and decoded as the driver does, by a typed and by an erased topology.
fn frame(bytes: &[u8]) {
    let mut stream = BytesMut::from(bytes);
    while let Ok(Some(cut)) = wire::cut(&mut stream) {
        assert!(cut.len() <= bytes.len(), "a frame is a part of what came");
        decoded::<Layer<Scribe, Chord>>(cut.clone());
        decoded::<Layer<Plumtree, HyParView>>(cut.clone());
        decoded::<Polyring>(cut.clone());
        decoded::<Pastry>(cut.clone());
        decoded::<Tapestry>(cut.clone());
        decoded::<OneHop>(cut.clone());
        decoded::<Boxed>(cut);
    }
}

fn decoded<T: Topology>(cut: Bytes) {
    let Ok(frame) = wire::decode::<T>(cut.clone()) else { return };
    assert!(frame.payload.len() <= cut.len() && frame.contacts.len() <= wire::MAX_FRAME_CONTACTS);
    assert!(frame.charge() as usize >= frame.payload.len(), "whatever came counts");
    let again = wire::encode(&frame);
    assert_eq!(again.len(), frame.wire_len(), "a frame knows its length");
    let mut stream = BytesMut::from(&again[..]);
    if let Ok(Some(cut)) = wire::cut(&mut stream) {
        let back: Frame<T> = wire::decode(cut).expect("what was encoded decodes");
        assert_eq!(wire::encode(&back), again, "and it is the same");
    }
}

/// A contact's bytes.
fn contact(bytes: &[u8]) {
    if let Some(contact) = value::<Contact>(bytes) {
        assert!(contact.addresses().len() <= MAX_ADDRESSES);
        let _ = contact.verify(&Ed25519, Time::from_secs(1));
        let word: Contact = contact.to_string().parse().expect("its word is read back");
        assert_eq!(word, contact);
    }
}

/// A contact's word.
fn contact_word(bytes: &[u8]) {
    if let Some(contact) = text(bytes).and_then(|word| Contact::from_str(word).ok()) {
        assert_eq!(contact.to_string().parse(), Ok(contact));
    }
}

/// A signed membership, checked for an open overlay and for one with an authority.
fn membership(bytes: &[u8]) {
    let Some(membership) = value::<Membership>(bytes) else { return };
    for admission in [Admission::Open, Admission::Authority(PublicKey([9; 32]))] {
        let name = OverlayName::new("golden/one", admission).expect("a name");
        let _ = membership.verify(&name, Guid([1; 32]), &Ed25519, Time::from_secs(1));
    }
}

/// An authority's grant.
fn grant(bytes: &[u8]) {
    if let Some(grant) = value::<Grant>(bytes) {
        let (authority, overlay, subject) = (PublicKey([9; 32]), OverlayId([3; 32]), Guid([1; 32]));
        let now = Time::from_secs(1);
        assert!(!grant.allows(&authority, &Ed25519, &overlay, &subject, Standing::Member, now), "nobody has that key");
    }
}

/// A stored record.
fn record(bytes: &[u8]) {
    if let Some(record) = value::<Record>(bytes) {
        assert!(record.wire_len() >= record.value.len());
        let _ = record.verify(&Ed25519, Time::from_secs(1));
    }
}

/// What a node remembers of an overlay: the file as it stands, and what a right hash would let in.
fn snapshot(bytes: &[u8]) {
    let overlay = OverlayId([3; 32]);
    let inside = bytes.get(SNAPSHOT_HEADER_BYTES..).and_then(value::<Snapshot>);
    for snapshot in Snapshot::decode(bytes, overlay).into_iter().chain(inside) {
        let mut back = Snapshot::decode(&snapshot.encode(overlay), overlay).expect("what was encoded decodes");
        back.contacts.extend_from_slice(&snapshot.contacts[back.contacts.len()..]);
        assert_eq!(back, snapshot);
    }
}

/// What topologies say to each other.
fn message(bytes: &[u8]) {
    value::<<Chord as Topology>::Message>(bytes);
    value::<<Kademlia as Topology>::Message>(bytes);
    value::<<Pastry as Topology>::Message>(bytes);
    value::<<Tapestry as Topology>::Message>(bytes);
    value::<tapestry::Command>(bytes);
    value::<<Symphony as Topology>::Message>(bytes);
    value::<<OneHop as Topology>::Message>(bytes);
    value::<<FullMesh as Topology>::Message>(bytes);
    value::<<HyParView as Topology>::Message>(bytes);
    value::<<Plumtree as Topology>::Message>(bytes);
    value::<<Scribe as Topology>::Message>(bytes);
    value::<<Polyring as Topology>::Message>(bytes);
    value::<<Boxed as Topology>::Message>(bytes);
    value::<Path>(bytes);
    value::<Vec<Key>>(bytes);
}

/// What is asked of a provider.
fn request(bytes: &[u8]) {
    if let Ok(request) = Request::decode(bytes) {
        assert!(request.runs.len() <= MAX_RUNS);
        let length = bytes.len() as u64 * 16_384;
        for run in request.runs_in(length).unwrap_or_default() {
            assert!(run.end <= tree::groups(length), "no run lies outside the content");
        }
        assert_eq!(Request::decode(&request.encode()[2..]).expect("it decodes"), request);
    }
}

/// A package's manifest, which has exactly one form.
fn package(bytes: &[u8]) {
    if let Ok(package) = Package::decode(bytes) {
        assert_eq!(package.encode(), bytes);
        let _ = package.length();
    }
}

/// A seal beside a package.
fn seal(bytes: &[u8]) {
    if let Some(seal) = value::<Seal>(bytes) {
        let _ = seal.verify(&Ed25519);
    }
}

/// A link's word.
fn link(bytes: &[u8]) {
    if let Some(link) = text(bytes).and_then(|word| Link::from_str(word).ok()) {
        assert!(link.contacts().len() <= MAX_CONTACTS);
        assert_eq!(link.to_string().parse(), Ok(link));
    }
}

/// A proof of a run of groups: 8 bytes each of length, start and end, 32 of hash, and the pairs.
fn proof(bytes: &[u8]) {
    let Some((numbers, rest)) = bytes.split_first_chunk::<24>() else { return };
    let Some((hash, pairs)) = rest.split_first_chunk::<32>() else { return };
    let number = |at: usize| {
        let bytes = numbers[at * 8..].first_chunk().expect("three numbers");
        u64::from_le_bytes(*bytes)
    };
    let (length, run) = (number(0), number(1)..number(2));
    if let Ok(leaves) = Leaves::prove(&Hash(*hash), length, run, pairs) {
        assert!(leaves.count_good(b"not what was hashed") == 0);
    }
}

/// A transport address as users write it.
fn address(bytes: &[u8]) {
    if let Some(address) = text(bytes).and_then(|text| TransportAddress::from_str(text).ok()) {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
}

/// An overlay as users write it: a name, a topology, and settings.
fn overlay(bytes: &[u8]) {
    let Some((name, rest)) = text(bytes).and_then(|text| text.split_once('=')) else { return };
    let mut parts = rest.split(',');
    let topology = parts.next().unwrap_or_default();
    let settings: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    let _ = polymorph::overlay(Guid([1; 32]), name, topology, &settings);
}

/// A node's event log, done again.
fn log(bytes: &[u8]) {
    let identity = Identity::from_seed(&[1; 32]);
    let me = identity.guid();
    let spec = || OverlaySpec::new("log", |place| <FullMesh as Model>::new(&Default::default(), place), me);
    let attach = |_| Attach::<Boxed>::from(spec().expect("a name"));
    let _ = replay(bytes, Arc::new(identity), Arc::new(Ed25519), attach);
}

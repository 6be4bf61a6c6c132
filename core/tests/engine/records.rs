//! Records: stored, fetched, kept alive, and refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use polymorph_core::engine::io::{Command, Failure, Outcome, Watch};
use polymorph_core::engine::metrics::Refused;
use polymorph_core::engine::{Slot, settings};
use polymorph_core::identity::Identity;
use polymorph_core::record::{GetOptions, PutOptions, Quorum, Receipt, Record};
use polymorph_core::snapshot::Snapshot;
use polymorph_core::topology::question::{Hold, Target, Verdict};
use polymorph_core::wire::frame::Body;
use polymorph_core::{Guid, Key, Time};

use crate::net::Net;
use crate::restart::{OVERLAY, kill, restart, snapshot};
use crate::spec::{Spec, spec};

pub(crate) const KEY: Key = Key([7; 32]);
pub(crate) const HOUR: u64 = 3600;

/// `n` nodes of which everybody knows everybody; the nearest by XOR own a key.
pub(crate) fn known(n: usize, settings: &settings::Overlay) -> Net {
    known_with(n, settings, settings::Node::default())
}

fn known_with(n: usize, settings: &settings::Overlay, node: settings::Node) -> Net {
    let mut net = Net::with(1, n, node);
    (0..n).for_each(|at| attach_known(&mut net, at, settings));
    net
}

/// Attaches an overlay in which this node knows everybody.
pub(crate) fn attach_known(net: &mut Net, at: usize, settings: &settings::Overlay) {
    let (me, all) = (net.guid(at), net.guids());
    let strings = net.attach(at, Spec { settings: settings.clone(), ..spec("ring") });
    strings.pull().route = Box::new(move |query, route| {
        let Target::Key(key) = query.to else { return };
        let mut all: Vec<Guid> = all.iter().copied().filter(|peer| query.allows(peer)).collect();
        all.sort_by_key(|peer| Key::from(*peer).xor(key));
        let mine = all.first() == Some(&me);
        route.verdict = if mine { Verdict::Deliver { rank: 0 } } else { Verdict::Forward };
        route.peers.extend(all.into_iter().filter(|peer| *peer != me).take(query.n));
    });
}

pub(crate) fn three() -> settings::Overlay {
    settings::Overlay { replicas: 3, ..settings::Overlay::default() }
}

pub(crate) fn put(net: &mut Net, at: usize, value: &[u8], hours: u64) -> Outcome {
    put_with(net, at, value, PutOptions { lifetime: Duration::from_secs(hours * HOUR), ..PutOptions::default() })
}

pub(crate) fn put_with(net: &mut Net, at: usize, value: &[u8], options: PutOptions) -> Outcome {
    let (ticket, value) = (net.ticket(), Bytes::copy_from_slice(value));
    net.command(at, Slot(0), Command::Put { ticket, key: KEY, value, options });
    net.run_secs(40);
    net.outcome(at, ticket)
}

pub(crate) fn get(net: &mut Net, at: usize) -> Vec<Bytes> {
    match get_with(net, at, Quorum::Majority) {
        Outcome::Records { records, .. } => records.into_iter().map(|record| record.value).collect(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn get_with(net: &mut Net, at: usize, quorum: Quorum) -> Outcome {
    let ticket = net.ticket();
    net.command(
        at,
        Slot(0),
        Command::Get { ticket, key: KEY, options: GetOptions { quorum, ..GetOptions::default() } },
    );
    net.run_secs(40);
    net.outcome(at, ticket)
}

pub(crate) fn kept(net: &Net) -> u64 {
    (0..net.nodes.len()).map(|at| net.nodes[at].engine.metrics(Slot(0)).expect("attached").records).sum()
}

#[test]
fn a_record_is_kept_by_its_replicas_and_found_by_everybody() {
    let mut net = known(6, &three());
    assert_eq!(put(&mut net, 0, b"here", 1), Outcome::Stored { replicas: 3 });
    assert_eq!(kept(&net), 3);
    for at in 0..6 {
        assert_eq!(get(&mut net, at), [Bytes::from_static(b"here")]);
    }
}

#[test]
fn an_own_record_outlives_its_lifetime_for_48_hours_and_expires_when_its_owner_stops() {
    let mut net = known(4, &three());
    put(&mut net, 0, b"here", 1);
    for _ in 0..48 {
        net.run_secs(HOUR);
        assert_eq!(get(&mut net, 1), [Bytes::from_static(b"here")]);
        assert_eq!(kept(&net), 3, "stored anew, not beside itself");
    }
    net.command(0, Slot(0), Command::Withdraw { key: KEY });
    net.run_secs(HOUR + 120);
    assert_eq!((get(&mut net, 1), kept(&net)), (vec![], 0));
    // Nothing is left that would wake the node for it.
    net.run_secs(60 * 60 * 24);
    assert_eq!(kept(&net), 0);
}

#[test]
fn a_record_of_a_node_that_died_expires() {
    let mut net = known(4, &three());
    put(&mut net, 3, b"here", 2);
    net.passes = Box::new(|from, to, _| from != 3 && to != 3);
    net.run_secs(HOUR);
    assert_eq!(get(&mut net, 0), [Bytes::from_static(b"here")]);
    net.run_secs(HOUR + 120);
    assert_eq!(get(&mut net, 1), Vec::<Bytes>::new());
}

#[test]
fn putting_and_withdrawing_again_and_again_stores_no_oftener() {
    let mut net = known(2, &three());
    for _ in 0..20 {
        put(&mut net, 0, b"here", 3);
        net.command(0, Slot(0), Command::Withdraw { key: KEY });
    }
    put(&mut net, 0, b"here", 3);
    let stores = Arc::new(AtomicUsize::new(0));
    let counted = stores.clone();
    net.passes = Box::new(move |_, _, frame| {
        counted.fetch_add(usize::from(matches!(frame.body, Body::Store { .. })), Relaxed);
        true
    });
    net.run_secs(6 * HOUR + 60);
    assert_eq!(stores.load(Relaxed), 6, "one at the other replica in each round");
    // A shorter life is looked after sooner.
    put_with(&mut net, 0, b"soon", PutOptions { lifetime: Duration::from_secs(30), ..PutOptions::default() });
    net.run_secs(300);
    assert_eq!(get(&mut net, 1), [Bytes::from_static(b"soon")]);
}

#[test]
fn a_value_too_large_or_a_life_too_long_is_refused_at_its_origin() {
    let mut net = known(2, &three());
    assert_eq!(put(&mut net, 0, &[0; 1025], 1), Outcome::Failed(Failure::TooLarge));
    assert_eq!(put(&mut net, 0, b"x", 49), Outcome::Failed(Failure::TooLarge));
    assert_eq!(put(&mut net, 0, &[0; 1024], 48), Outcome::Stored { replicas: 2 });
}

/// Stores a record at node 1 as an evil node 0 would; what became of it.
pub(crate) fn store(net: &mut Net, record: Record) -> Receipt {
    let before = net.nodes[1].stored.len();
    net.forge_body(0, 1, Slot(0), Body::Store { id: 900, record: Box::new(record) }, &[]);
    net.run_secs(1);
    net.nodes[1].stored[before]
}

pub(crate) fn refused(net: &Net) -> Refused {
    net.nodes[1].engine.metrics(Slot(0)).expect("attached").refused
}

pub(crate) fn evil() -> Net {
    evil_with(&three())
}

/// Two nodes with a session; neither is dropped, whatever it does.
pub(crate) fn evil_with(settings: &settings::Overlay) -> Net {
    let mut net = known_with(2, settings, settings::Node { faults: 100, ..Default::default() });
    link(&mut net);
    net
}

fn link(net: &mut Net) {
    let one = net.guid(1);
    net.act(0, move |cx| cx.want(one, Hold::Required));
    net.run_secs(5);
}

pub(crate) fn publisher(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

fn sign(net: &Net, value: &[u8], sequence: u64, seconds: u64) -> Record {
    let until = Time::from_secs(net.now.as_secs() + seconds);
    Record::sign(&publisher(1), KEY, Bytes::copy_from_slice(value), sequence, until)
}

#[test]
fn a_replica_keeps_what_is_signed_in_time_and_newer() {
    let mut net = evil();
    let good = sign(&net, b"two", 2, HOUR);
    assert_eq!(store(&mut net, good.clone()), Receipt::Kept);
    let older = sign(&net, b"one", 1, HOUR);
    assert_eq!(store(&mut net, older), Receipt::Older, "a replay");
    assert_eq!(get(&mut net, 0), [Bytes::from_static(b"two")]);
    let newer = sign(&net, b"three", 3, HOUR);
    assert_eq!(store(&mut net, newer), Receipt::Kept);
    assert_eq!(get(&mut net, 0), [Bytes::from_static(b"three")]);
    assert_eq!(store(&mut net, good), Receipt::Older, "nor does the old one come back");
    assert_eq!(refused(&net).older, 2);
}

#[test]
fn an_older_record_does_not_come_back_when_the_newer_one_has_expired() {
    for brought_first in [true, false] {
        let mut net = evil();
        let older = sign(&net, b"one", 1, 3 * HOUR);
        let newer = sign(&net, b"two", 2, HOUR);
        let (first, second) = if brought_first { (&older, &newer) } else { (&newer, &older) };
        assert_eq!(store(&mut net, first.clone()), Receipt::Kept);
        store(&mut net, second.clone());
        net.run_secs(2 * HOUR);
        assert_eq!(store(&mut net, older.clone()), Receipt::Older, "brought first: {brought_first}");
        assert_eq!(get(&mut net, 0), Vec::<Bytes>::new());
        // Nor after a restart.
        let written = snapshot(&mut net, 1);
        restart(&mut net, 1, &written);
        link(&mut net);
        assert_eq!(store(&mut net, older), Receipt::Older);
        assert_eq!(get(&mut net, 0), Vec::<Bytes>::new());
        // When that has expired too, nothing is left of both.
        net.run_secs(HOUR + 120);
        assert_eq!(kept(&net), 0);
    }
}

#[test]
fn a_copy_with_a_shorter_life_lives_as_long_as_the_one_it_replaces() {
    let mut net = known(2, &three());
    let with = |secs| PutOptions { lifetime: Duration::from_secs(secs), ..PutOptions::default() };
    put_with(&mut net, 0, b"old", with(3 * HOUR));
    let replica = Snapshot::decode(&snapshot(&mut net, 1), OVERLAY).expect("it was written here");
    // The replica forgets the first copy, which somebody else has.
    kill(&mut net, 1);
    attach_known(&mut net, 1, &three());
    put_with(&mut net, 0, b"new", with(60));
    net.command(0, Slot(0), Command::Withdraw { key: KEY });
    net.run_secs(2 * HOUR);
    link(&mut net);
    assert_eq!(store(&mut net, replica.kept[0].record.clone()), Receipt::Older);
    assert_eq!(get(&mut net, 0), [Bytes::from_static(b"new")]);
    net.run_secs(HOUR + 120);
    assert_eq!(kept(&net), 0);
}

fn but(record: &Record, change: impl FnOnce(&mut Record)) -> Record {
    let mut record = record.clone();
    change(&mut record);
    record
}

#[test]
fn a_replica_refuses_what_is_forged_expired_too_long_or_too_large() {
    let mut net = evil();
    let good = sign(&net, b"x", 5, HOUR);
    let forged = [
        ("a signature over another value", but(&good, |record| record.value = Bytes::from_static(b"y"))),
        ("another key", but(&good, |record| record.key = Key([8; 32]))),
        ("another publisher", but(&good, |record| record.publisher = Guid([3; 32]))),
        ("a later expiry", but(&good, |record| record.expires += 1)),
        ("a higher sequence", but(&good, |record| record.sequence = 6)),
        ("no time left", sign(&net, b"x", 5, 0)),
        ("a life of three days", sign(&net, b"x", 5, 72 * HOUR)),
        ("a large value", sign(&net, &[0; 1025], 5, HOUR)),
    ];
    for (what, record) in forged {
        assert_eq!(store(&mut net, record), Receipt::Refused, "{what}");
    }
    assert_eq!(refused(&net), Refused { forged: 5, expired: 2, too_large: 1, ..Refused::default() });
    assert_eq!(net.nodes[1].engine.metrics(Slot(0)).unwrap().records, 0);
    let blamed = net.nodes[1].watched.iter().filter(|watch| matches!(watch, Watch::Blamed { .. })).count();
    assert_eq!(blamed, 6, "clocks may differ; signatures and sizes may not");
    assert_eq!(store(&mut net, good), Receipt::Kept);
}

#[test]
fn the_longest_life_is_kept_although_the_clocks_differ_a_little() {
    let mut net = evil();
    let ahead = sign(&net, b"x", 1, 48 * HOUR + 300);
    assert_eq!(store(&mut net, ahead), Receipt::Kept);
}

#[test]
fn a_fetcher_believes_no_replica() {
    let mut net = evil();
    let record = sign(&net, b"true", 2, HOUR);
    assert_eq!(store(&mut net, record), Receipt::Kept);
    // The replica answers with what it made up, many times over.
    let lies = but(&sign(&net, b"true", 9, HOUR), |record| record.value = Bytes::from_static(b"lies"));
    let other = Record::sign(&publisher(2), Key([1; 32]), Bytes::new(), 1, Time::from_secs(net.now.as_secs() + 60));
    net.passes = Box::new(move |from, _, frame| {
        if let (1, Body::Fetched { records, .. }) = (from, &mut frame.body) {
            records.splice(0..0, [lies.clone(), other.clone()]);
        }
        true
    });
    assert_eq!(get(&mut net, 0), [Bytes::from_static(b"true")]);
    let metrics = net.nodes[0].engine.metrics(Slot(0)).expect("attached");
    assert_eq!((metrics.refused.forged, metrics.faults), (2, 1), "each lie is counted, and the liar is blamed once");
}

#[test]
fn a_key_and_a_replica_hold_so_many_and_no_more() {
    let settings = settings::Overlay { records: 10, records_per_key: 4, ..three() };
    let mut net = evil_with(&settings);
    let until = Time::from_secs(net.now.as_secs() + HOUR);
    let make = |key: u8, seed: u8| Record::sign(&publisher(seed), Key([key; 32]), Bytes::new(), 1, until);
    let mut kept = |key, seed| store(&mut net, make(key, seed)) == Receipt::Kept;
    let in_one_key = (0..8).filter(|&seed| kept(0, seed)).count();
    let in_all = (1..20).filter(|&key| kept(key, 0)).count();
    assert_eq!((in_one_key, in_all), (4, 6));
    assert_eq!(refused(&net).full, 4 + 13);
    // What is kept may still be renewed.
    let renewed = Record::sign(&publisher(0), Key([0; 32]), Bytes::new(), 2, until);
    assert_eq!(store(&mut net, renewed), Receipt::Kept);
}

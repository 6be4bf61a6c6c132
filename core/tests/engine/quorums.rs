//! Records at several replicas: quorums, which is the newest, read repair, providers and shares.

use std::time::Duration;

use bytes::Bytes;
use polymorph_core::engine::io::{Command, Failure, Outcome};
use polymorph_core::engine::{Slot, settings};
use polymorph_core::record::{PutOptions, Quorum, Receipt, Record, Source};
use polymorph_core::wire::frame::Body;
use polymorph_core::{Guid, Key, Time};
use proptest::prelude::*;

use crate::net::Net;
use crate::records::{
    HOUR, KEY, evil_with, get, get_with, kept, known, publisher, put, put_with, refused, store, three,
};

/// The replicas of the key, the owner first.
fn replicas(net: &Net) -> Vec<usize> {
    let mut all: Vec<usize> = (0..net.nodes.len()).collect();
    all.sort_by_key(|&at| Key::from(net.guid(at)).xor(&KEY));
    all.truncate(3);
    all
}

/// Somebody who is no replica.
fn outsider(net: &Net) -> usize {
    (0..net.nodes.len()).find(|at| !replicas(net).contains(at)).expect("somebody")
}

/// Whoever is asked to keep or show a record there says nothing.
fn silence(net: &mut Net, dead: Vec<usize>) {
    net.passes = Box::new(move |_, to, frame| {
        !(matches!(frame.body, Body::Store { .. } | Body::Fetch { .. }) && dead.contains(&to))
    });
}

fn records_at(net: &Net, at: usize) -> u64 {
    net.nodes[at].engine.metrics(Slot(0)).expect("attached").records
}

fn options(quorum: Quorum, sequence: Option<u64>) -> PutOptions {
    PutOptions { lifetime: Duration::from_secs(HOUR), quorum, sequence }
}

#[test]
fn a_put_that_misses_its_quorum_says_how_many_it_reached() {
    let mut net = known(6, &three());
    let (all, at) = (replicas(&net), outsider(&net));
    silence(&mut net, all[1..].to_vec());
    let failed = |wanted| Outcome::Failed(Failure::Quorum { reached: 1, wanted });
    assert_eq!(put(&mut net, at, b"x", 1), failed(2), "a majority, if nothing else is said");
    assert_eq!(put_with(&mut net, at, b"x", options(Quorum::All, None)), failed(3));
    assert_eq!(put_with(&mut net, at, b"x", options(Quorum::Of(1), None)), Outcome::Stored { replicas: 1 });
    // A read is held to the same.
    assert_eq!(get_with(&mut net, at, Quorum::Majority), failed(2));
    assert!(matches!(get_with(&mut net, at, Quorum::Of(1)), Outcome::Records { source: Source::Replicas(1), .. }));
    silence(&mut net, all.clone());
    assert_eq!(put(&mut net, at, b"x", 1), Outcome::Failed(Failure::Timeout));
    // What missed its quorum is tried again until it is withdrawn.
    silence(&mut net, Vec::new());
    net.run_secs(HOUR / 3 + 60);
    assert_eq!(kept(&net), 3);
}

#[test]
fn a_quorum_larger_than_the_overlay_asks_for_everybody() {
    let mut net = known(2, &three());
    assert_eq!(put_with(&mut net, 0, b"x", options(Quorum::Of(7), None)), Outcome::Stored { replicas: 2 });
    assert!(matches!(get_with(&mut net, 1, Quorum::All), Outcome::Records { source: Source::Replicas(2), .. }));
}

#[test]
fn a_put_older_than_what_a_quorum_keeps_fails_and_is_not_tried_again() {
    let mut net = known(6, &three());
    let at = outsider(&net);
    assert_eq!(put_with(&mut net, at, b"five", options(Quorum::Majority, Some(5))), Outcome::Stored { replicas: 3 });
    let older = put_with(&mut net, at, b"four", options(Quorum::Majority, Some(4)));
    assert_eq!(older, Outcome::Failed(Failure::Older));
    assert_eq!(get(&mut net, at), [Bytes::from_static(b"five")]);
    let before: u64 = (0..6).map(|at| net.nodes[at].engine.metrics(Slot(0)).expect("attached").refused.older).sum();
    assert_eq!(before, 3);
    net.run_secs(HOUR + 120);
    let after: u64 = (0..6).map(|at| net.nodes[at].engine.metrics(Slot(0)).expect("attached").refused.older).sum();
    assert_eq!((after, kept(&net)), (before, 0));
}

#[test]
fn each_put_replaces_the_one_before_even_in_the_same_moment() {
    let mut net = known(4, &three());
    for value in [b"z", b"y", b"x"] {
        let ticket = net.ticket();
        let (value, options) = (Bytes::from_static(value), PutOptions::default());
        net.command(0, Slot(0), Command::Put { ticket, key: KEY, value, options });
    }
    net.run_secs(5);
    assert_eq!(get(&mut net, 1), [Bytes::from_static(b"x")]);
}

#[test]
fn a_reader_repairs_replicas_that_are_behind() {
    let mut net = known(6, &three());
    let (all, at) = (replicas(&net), outsider(&net));
    put(&mut net, at, b"old", 2);
    silence(&mut net, vec![all[0]]);
    assert_eq!(put(&mut net, at, b"new", 2), Outcome::Stored { replicas: 2 });
    silence(&mut net, Vec::new());
    assert_eq!(get(&mut net, at), [Bytes::from_static(b"new")]);
    net.command(at, Slot(0), Command::Withdraw { key: KEY });
    silence(&mut net, all[1..].to_vec());
    match get_with(&mut net, at, Quorum::Of(1)) {
        Outcome::Records { records, .. } => assert_eq!(records[0].value, "new", "the owner knows it now"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reader_gives_a_replica_what_it_lacks() {
    let mut net = known(6, &three());
    let (all, at) = (replicas(&net), outsider(&net));
    silence(&mut net, vec![all[0]]);
    put(&mut net, at, b"x", 2);
    net.command(at, Slot(0), Command::Withdraw { key: KEY });
    silence(&mut net, Vec::new());
    assert_eq!(records_at(&net, all[0]), 0);
    get(&mut net, at);
    assert_eq!(records_at(&net, all[0]), 1);
    // Nothing is sent to those that have it.
    let before = net.nodes[at].engine.metrics(Slot(0)).expect("attached").frames_out;
    get(&mut net, at);
    let fetches = net.nodes[at].engine.metrics(Slot(0)).expect("attached").frames_out - before;
    assert!(fetches <= 5, "{fetches} frames for a lookup and three fetches");
}

#[test]
fn several_provide_one_content_and_no_more_than_a_key_holds() {
    let settings = settings::Overlay { records_per_key: 4, ..three() };
    let mut net = known(7, &settings);
    for at in 0..6 {
        let outcome = put_with(&mut net, at, b"", options(Quorum::Of(1), None));
        let expected = if at < 4 { Outcome::Stored { replicas: 3 } } else { Outcome::Failed(Failure::Full) };
        assert_eq!(outcome, expected);
    }
    let Outcome::Records { records, .. } = get_with(&mut net, 6, Quorum::Majority) else { panic!("nothing") };
    let mut providers: Vec<Guid> = records.iter().map(|record| record.publisher).collect();
    let mut expected: Vec<Guid> = (0..4).map(|at| net.guid(at)).collect();
    providers.sort_unstable();
    expected.sort_unstable();
    assert_eq!(providers, expected);
}

#[test]
fn one_peer_has_a_share_of_a_replica_and_no_more() {
    let settings = settings::Overlay { records_per_peer: 5, record_bytes_per_peer: 4000, ..three() };
    let mut net = evil_with(&settings);
    let until = Time::from_secs(net.now.as_secs() + HOUR);
    let make = |key: u8, seed: u8, sequence: u64, size: usize| {
        Record::sign(&publisher(seed), Key([key; 32]), vec![0; size].into(), sequence, until)
    };
    // Published by one, brought by another: both have a share.
    let one = (0..8).filter(|&key| store(&mut net, make(key, 1, 1, 0)) == Receipt::Kept).count();
    let others = (0..8).filter(|&key| store(&mut net, make(key, 2 + key, 1, 0)) == Receipt::Kept).count();
    assert_eq!((one, others), (5, 0));
    assert_eq!(refused(&net).over_quota, 3 + 8);
    // Bytes count as well, also those by which a record grows.
    let grown = (0..5).filter(|&key| store(&mut net, make(key, 1, 2, 1000)) == Receipt::Kept).count();
    assert_eq!(grown, 3, "of 4000 bytes, with 187 for each record beside its value");
    // A smaller one always fits.
    assert_eq!(store(&mut net, make(0, 1, 3, 10)), Receipt::Kept);
    net.run_secs(HOUR + 120);
    assert_eq!(records_at(&net, 1), 0);
    let later = Time::from_secs(net.now.as_secs() + HOUR);
    let again = Record::sign(&publisher(9), KEY, Bytes::new(), 1, later);
    assert_eq!(store(&mut net, again), Receipt::Kept, "what expired counts no longer");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_newest_wins_whatever_the_order(
        order in Just((0..6u64).collect::<Vec<_>>()).prop_shuffle(),
        again in proptest::collection::vec(0..6usize, 0..4),
    ) {
        let mut net = evil_with(&three());
        let now = net.now.as_secs();
        // Two of each sequence, which differ in value or in how long they live.
        let make = |which: u64| {
            let value = vec![b'0' + which as u8];
            Record::sign(&publisher(1), KEY, value.into(), which / 2, Time::from_secs(now + HOUR + which % 4 / 2))
        };
        let all: Vec<Record> = order.iter().map(|&which| make(which)).collect();
        let newest = all.iter().reduce(|a, b| if b.supersedes(a) { b } else { a }).expect("some").clone();
        for record in all.iter().chain(again.iter().map(|&at| &all[at])) {
            store(&mut net, record.clone());
        }
        prop_assert_eq!(get(&mut net, 0), [newest.value]);
    }
}

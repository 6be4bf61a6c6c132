//! Copies of records along the way: who asks through the same peers asks fewer, and quorums do not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use polymorph_core::engine::io::{Command, Outcome, Watch};
use polymorph_core::engine::{Slot, settings};
use polymorph_core::record::{Caches, GetOptions, PutOptions, Quorum, Source};
use polymorph_core::topology::question::Verdict;
use polymorph_core::wire::frame::{Answer, Body};

use crate::net::Net;
use crate::records::KEY;
use crate::spec::{Spec, spec};

/// The last of them owns every key, and it takes one hop after the other to it.
const LAST: usize = 4;

fn line() -> Net {
    let mut net = Net::new(1, LAST + 1);
    let guids = net.guids();
    let settings = settings::Overlay { replicas: 1, ..settings::Overlay::default() };
    for at in 0..=LAST {
        let strings = net.attach(at, Spec { settings: settings.clone(), ..spec("line") });
        let next = guids.get(at + 1).copied();
        strings.pull().route = Box::new(move |_, route| {
            route.verdict = if next.is_none() { Verdict::Deliver { rank: 0 } } else { Verdict::Forward };
            route.peers.extend(next);
        });
    }
    net
}

fn put(net: &mut Net, value: &'static [u8], lifetime: u64) {
    let ticket = net.ticket();
    let options = PutOptions { lifetime: Duration::from_secs(lifetime), ..PutOptions::default() };
    net.command(3, Slot(0), Command::Put { ticket, key: KEY, value: Bytes::from_static(value), options });
    net.command(3, Slot(0), Command::Withdraw { key: KEY });
    net.run_secs(5);
    assert_eq!(net.outcome(3, ticket), Outcome::Stored { replicas: 1 });
}

fn get(net: &mut Net, at: usize, caches: Caches) -> (Option<Bytes>, Source) {
    let ticket = net.ticket();
    let options = GetOptions { quorum: Quorum::Majority, caches };
    net.command(at, Slot(0), Command::Get { ticket, key: KEY, options });
    net.run_secs(20);
    match net.outcome(at, ticket) {
        Outcome::Records { records, source } => (records.first().map(|record| record.value.clone()), source),
        other => panic!("{other:?}"),
    }
}

/// Counts what reaches the owner.
fn count(net: &mut Net) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    net.passes = Box::new(move |_, to, frame| {
        let asks = matches!(frame.body, Body::Routed(_) | Body::Fetch { .. });
        counted.fetch_add(usize::from(asks && to == LAST), Relaxed);
        true
    });
    count
}

const ALLOWED: (Option<Bytes>, Source) = (Some(Bytes::from_static(b"one")), Source::Way);

#[test]
fn who_allows_caches_is_answered_on_the_way_and_quorums_ask_the_replicas() {
    let mut net = line();
    put(&mut net, b"one", 3600);
    let asked = count(&mut net);
    assert_eq!(get(&mut net, 0, Caches::Allow), ALLOWED);
    assert_eq!(asked.load(Relaxed), 1, "the first one goes all the way");
    assert_eq!(get(&mut net, 1, Caches::Allow), ALLOWED);
    assert_eq!(get(&mut net, 0, Caches::Allow), ALLOWED);
    assert_eq!(asked.load(Relaxed), 1, "the owner has heard nothing of the others");
    // A newer one is seen by quorums at once, and by the others when the copies have gone.
    put(&mut net, b"two", 3600);
    let (two, replicas) = (Some(Bytes::from_static(b"two")), Source::Replicas(1));
    assert_eq!(get(&mut net, 0, Caches::Bypass), (two.clone(), replicas));
    assert_eq!(get(&mut net, 0, Caches::Allow), ALLOWED);
    net.run_secs(1200);
    assert_eq!(get(&mut net, 0, Caches::Allow), (two, Source::Way));
}

#[test]
fn copies_last_the_longer_the_nearer_they_are() {
    let mut net = line();
    put(&mut net, b"one", 7200);
    get(&mut net, 0, Caches::Allow);
    let asked = count(&mut net);
    // The reader is four links away and the next three: 75 and 150 seconds.
    net.run_secs(100);
    assert_eq!(get(&mut net, 0, Caches::Allow), ALLOWED);
    assert_eq!(asked.load(Relaxed), 0, "somebody nearer still knows");
    net.run_secs(700);
    assert_eq!(get(&mut net, 0, Caches::Allow), ALLOWED);
    assert_eq!(asked.load(Relaxed), 1);
}

#[test]
fn no_copy_outlives_its_record() {
    let mut net = line();
    put(&mut net, b"one", 60);
    assert_eq!(get(&mut net, 0, Caches::Allow), ALLOWED);
    net.run_secs(60);
    assert_eq!(get(&mut net, 0, Caches::Allow), (None, Source::Replicas(1)));
}

#[test]
fn what_a_liar_on_the_way_shows_is_not_believed_nor_copied() {
    let mut net = line();
    put(&mut net, b"one", 3600);
    net.passes = Box::new(|from, _, frame| {
        if let (2, Body::Answer { answer: Answer::Records { records, .. }, .. }) = (from, &mut frame.body) {
            records.iter_mut().for_each(|record| record.value = Bytes::from_static(b"lie"));
        }
        true
    });
    assert_eq!(get(&mut net, 0, Caches::Allow), (Some(Bytes::from_static(b"one")), Source::Replicas(1)));
    let blamed = |at: usize| net.nodes[at].watched.iter().any(|watch| matches!(watch, Watch::Blamed { .. }));
    assert!(blamed(1), "by whoever had it from the liar");
    assert!(!blamed(0), "and by nobody else");
    assert_eq!(net.nodes[1].engine.metrics(Slot(0)).expect("attached").refused.forged, 1);
}

#[test]
fn where_nobody_on_the_way_answers_the_replicas_are_asked() {
    let mut net = line();
    put(&mut net, b"one", 3600);
    net.passes = Box::new(|_, _, frame| !matches!(&frame.body, Body::Answer { answer: Answer::Records { .. }, .. }));
    assert_eq!(get(&mut net, 0, Caches::Allow), (Some(Bytes::from_static(b"one")), Source::Replicas(1)));
}

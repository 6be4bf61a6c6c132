//! A node that was killed starts again with what it knew.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use polymorph_core::engine::io::{Command, Outcome};
use polymorph_core::engine::{Contacts, Engine, Slot, Workspace, settings};
use polymorph_core::record::{Receipt, Record};
use polymorph_core::snapshot::{KeptRecord, OwnRecord, Snapshot};
use polymorph_core::topology::event::Change;
use polymorph_core::topology::question::Hold;
use polymorph_core::{Contact, Ed25519, Key, OverlayId, Time};

use crate::net::Net;
use crate::puppet::{Say, Seen};
use crate::records::{HOUR, KEY, attach_known, evil_with, get, kept, known, publisher, put, refused, store, three};
use crate::spec::spec;

pub(crate) const OVERLAY: OverlayId = OverlayId([1; 32]);

/// What a node would have written to its disk.
pub(crate) fn snapshot(net: &mut Net, at: usize) -> Vec<u8> {
    let node = &mut net.nodes[at];
    let snapshot = node.engine.snapshot(net.now, Slot(0), &mut *node.ws.book).expect("it is attached");
    snapshot.encode(OVERLAY)
}

/// The node is killed without a word: what comes after it has the same identity, and knows nobody.
pub(crate) fn kill(net: &mut Net, at: usize) {
    (0..net.nodes.len()).filter(|peer| *peer != at).for_each(|peer| net.cut(at, peer));
    let node = &mut net.nodes[at];
    let verifier = Arc::new(Ed25519);
    let identity = Arc::new(node.identity.clone());
    node.engine = Engine::new(Arc::new(settings::Node::default()), identity, verifier.clone(), [9; 32]);
    node.ws = Workspace::new(Box::new(Contacts::new(verifier, 7)));
    node.strings.clear();
}

/// It takes in what it wrote, and joins through those it knew.
pub(crate) fn resume(net: &mut Net, at: usize, snapshot: &[u8]) {
    let own = net.contact(at);
    net.nodes[at].ws.book.introduce(own);
    let Snapshot { contacts, kept, own } = Snapshot::decode(snapshot, OVERLAY).expect("it was written here");
    net.command(at, Slot(0), Command::Restore { contacts: contacts.clone(), kept, own });
    net.command(at, Slot(0), Command::Join { seeds: contacts });
}

pub(crate) fn restart(net: &mut Net, at: usize, snapshot: &[u8]) {
    kill(net, at);
    attach_known(net, at, &three());
    resume(net, at, snapshot);
}

fn records_at(net: &Net, at: usize) -> u64 {
    net.nodes[at].engine.metrics(Slot(0)).expect("attached").records
}

#[test]
fn replicas_that_were_all_killed_serve_what_they_kept_as_soon_as_they_are_back() {
    let mut net = known(5, &three());
    assert_eq!(put(&mut net, 0, b"here", 1), Outcome::Stored { replicas: 3 });
    net.command(0, Slot(0), Command::Withdraw { key: KEY });
    let all: Vec<usize> = (0..5).filter(|&at| records_at(&net, at) > 0).collect();
    let asker = (0..5).find(|at| !all.contains(at)).expect("five nodes, three replicas");
    let written: Vec<Vec<u8>> = all.iter().map(|&at| snapshot(&mut net, at)).collect();
    all.iter().for_each(|&at| kill(&mut net, at));
    all.iter().for_each(|&at| attach_known(&mut net, at, &three()));
    assert_eq!(get(&mut net, asker), Vec::<Bytes>::new(), "nobody has it any more");
    for (&at, written) in all.iter().zip(&written) {
        restart(&mut net, at, written);
    }
    assert_eq!(kept(&net), 3);
    assert_eq!(get(&mut net, asker), [Bytes::from_static(b"here")]);
}

#[test]
fn what_is_forged_or_late_or_older_in_a_snapshot_is_refused_and_counted() {
    let mut net = known(2, &three());
    let (now, from) = (net.now.as_secs(), net.guid(0));
    let sign = |value: &'static [u8], sequence, seconds| {
        Record::sign(&publisher(1), KEY, Bytes::from_static(value), sequence, Time::from_secs(now + seconds))
    };
    let mut forged = sign(b"x", 9, HOUR);
    forged.value = Bytes::from_static(b"y");
    let late = Record::sign(&publisher(2), Key([3; 32]), Bytes::new(), 1, Time::from_secs(now));
    let replayed = [sign(b"two", 2, HOUR), sign(b"one", 1, HOUR)];
    let all = [forged, late].into_iter().chain(replayed);
    let kept = all.map(|record| KeptRecord { from, stays: record.expires, record }).collect();
    let own = |value: usize, lifetime| OwnRecord {
        key: Key([4; 32]),
        value: vec![0; value].into(),
        lifetime: Duration::from_secs(lifetime),
        sequence: None,
        last: 1,
        expires: Time::ZERO,
    };
    let own = vec![own(1025, HOUR), own(1, 49 * HOUR)];
    net.command(1, Slot(0), Command::Restore { contacts: Vec::new(), kept, own });
    let refused = refused(&net);
    assert_eq!((refused.forged, refused.expired, refused.older), (1, 1, 1));
    assert_eq!(records_at(&net, 1), 1);
    assert_eq!(get(&mut net, 0), [Bytes::from_static(b"two")]);
    // Own records that nobody can have put are not published.
    net.run_secs(120);
    assert_eq!(crate::records::kept(&net), 1 + 1, "the two of it that the reader repaired");
}

#[test]
fn an_old_snapshot_does_not_bring_an_old_record_back() {
    let mut net = known(3, &three());
    put(&mut net, 0, b"old", 2);
    let written = snapshot(&mut net, 1);
    put(&mut net, 0, b"new", 2);
    restart(&mut net, 1, &written);
    assert_eq!(get(&mut net, 1), [Bytes::from_static(b"new")]);
    net.run_secs(300);
    for at in 0..3 {
        let written = snapshot(&mut net, at);
        let kept = Snapshot::decode(&written, OVERLAY).expect("it was written here").kept;
        assert_eq!((kept.len(), &kept[0].record.value[..]), (1, &b"new"[..]));
    }
}

#[test]
fn what_was_published_goes_on_although_nobody_is_there_at_first() {
    let mut net = known(4, &three());
    put(&mut net, 3, b"mine", 6);
    let written = snapshot(&mut net, 3);
    let last = Snapshot::decode(&written, OVERLAY).expect("it was written here").own[0].last;
    // Everybody else forgets everything, and the node itself is cut off for some minutes.
    (0..3).for_each(|at| {
        kill(&mut net, at);
        attach_known(&mut net, at, &three());
    });
    net.introduce();
    restart(&mut net, 3, &written);
    net.introduce();
    net.passes = Box::new(|from, to, _| from != 3 && to != 3);
    net.run_secs(200);
    assert_eq!(get(&mut net, 0), Vec::<Bytes>::new());
    net.passes = Box::new(|_, _, _| true);
    net.run_secs(200);
    assert_eq!(get(&mut net, 0), [Bytes::from_static(b"mine")]);
    let now = Snapshot::decode(&snapshot(&mut net, 3), OVERLAY).expect("it was written here").own[0].last;
    assert!(now > last, "each copy is newer than those before the restart");
    // It outlives its lifetime, as if there had been no restart.
    net.run_secs(12 * HOUR);
    assert_eq!(get(&mut net, 0), [Bytes::from_static(b"mine")]);
}

#[test]
fn a_withdrawn_record_is_not_published_again() {
    let mut net = known(3, &three());
    put(&mut net, 0, b"mine", 1);
    net.command(0, Slot(0), Command::Withdraw { key: KEY });
    let written = snapshot(&mut net, 0);
    restart(&mut net, 0, &written);
    net.run_secs(HOUR + 120);
    assert_eq!(kept(&net), 0);
}

#[test]
fn shares_are_what_they_were() {
    let settings = settings::Overlay { records_per_peer: 3, ..three() };
    let mut net = evil_with(&settings);
    let until = Time::from_secs(net.now.as_secs() + HOUR);
    let make = |seed: u8| Record::sign(&publisher(seed), Key([seed; 32]), Bytes::new(), 1, until);
    let taken = (1..5).filter(|&seed| store(&mut net, make(seed)) == Receipt::Kept).count();
    assert_eq!(taken, 3, "of different publishers, brought by one");
    let written = snapshot(&mut net, 1);
    kill(&mut net, 1);
    attach_known(&mut net, 1, &settings);
    resume(&mut net, 1, &written);
    assert_eq!(records_at(&net, 1), 3);
    let again = net.guid(1);
    net.act(0, move |cx| cx.want(again, Hold::Required));
    net.run_secs(5);
    assert_eq!(store(&mut net, make(7)), Receipt::Full);
    assert_eq!(refused(&net).over_quota, 1);
}

#[test]
fn a_contact_that_changed_is_told_again_over_the_same_session() {
    let mut net = Net::new(4, 3);
    net.attach_all("ring");
    let (one, two) = (net.guid(1), net.guid(2));
    let name = move |net: &mut Net| {
        net.act(0, move |cx| cx.send(one, Say::Peers(vec![two])).expect("there is room"));
        net.run_secs(1);
        net.nodes[1].ws.book.get(&two).map(|contact| contact.sequence())
    };
    assert_eq!(name(&mut net), Some(1));
    // It is started again, and listens elsewhere.
    let until = net.now + Duration::from_secs(HOUR);
    let moved = Contact::sign(&net.nodes[2].identity, &["mem:elsewhere".parse().expect("an address")], 2, until);
    net.nodes[0].ws.book.learn(moved, net.now).expect("it is signed");
    assert_eq!(name(&mut net), Some(2));
}

#[test]
fn only_members_of_an_overlay_are_in_its_snapshot() {
    let mut net = Net::new(3, 4);
    // Node 1 is in both, node 2 in the other one only, node 3 is known and in none.
    net.attach(0, spec("one"));
    net.attach(0, spec("two"));
    net.attach(1, spec("one"));
    net.attach(1, spec("two"));
    net.attach(2, spec("two"));
    for (slot, peer) in [(0, 1), (1, 2)] {
        let peer = net.guid(peer);
        net.act_on(0, Slot(slot), move |cx| cx.want(peer, Hold::Required));
    }
    net.run_secs(5);
    let mut members = |slot| {
        let node = &mut net.nodes[0];
        let snapshot = node.engine.snapshot(net.now, Slot(slot), &mut *node.ws.book).expect("it is attached");
        let mut guids: Vec<_> = snapshot.contacts.iter().map(Contact::guid).collect();
        guids.sort_unstable();
        guids
    };
    let (one, mut two) = (members(0), members(1));
    assert_eq!(one, [net.guid(1)]);
    let mut both = [net.guid(1), net.guid(2)];
    both.sort_unstable();
    two.sort_unstable();
    assert_eq!(two, both);
    let node = &mut net.nodes[0];
    assert_eq!(node.engine.snapshot(net.now, Slot(7), &mut *node.ws.book), None);
}

#[test]
fn a_topology_is_told_whom_it_knew_when_it_has_its_place_again() {
    let mut net = Net::new(3, 4);
    (0..4).for_each(|at| drop(net.attach(at, spec("ring"))));
    for peer in 1..4 {
        let peer = net.guid(peer);
        net.act(0, move |cx| cx.want(peer, Hold::Required));
    }
    net.run_secs(5);
    let node = &mut net.nodes[0];
    let Snapshot { contacts, .. } = node.engine.snapshot(net.now, Slot(0), &mut *node.ws.book).expect("it is attached");
    let known: Vec<_> = contacts.iter().map(Contact::guid).collect();
    assert_eq!(known.len(), 3);
    kill(&mut net, 0);
    let strings = net.attach(0, spec("ring"));
    net.command(0, Slot(0), Command::Restore { contacts, kept: Vec::new(), own: Vec::new() });
    net.run_secs(5);
    net.act(0, |cx| cx.change(Change::NeighborUp(cx.me())));
    let told = |seen: Vec<Seen>| seen.into_iter().filter(|seen| matches!(seen, Seen::Known(_))).collect::<Vec<_>>();
    assert_eq!(told(strings.seen()), [], "it has none");
    net.act(0, |cx| cx.change(Change::Range));
    net.act(0, |cx| cx.change(Change::Range));
    assert_eq!(told(strings.seen()), [Seen::Known(known)], "once");
}

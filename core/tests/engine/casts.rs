//! Broadcasts, and copies that are not what they say.

use std::sync::Arc;

use bytes::Bytes;
use polymorph_core::engine::io::{Command, Failure, Origin, Outcome, Watch};
use polymorph_core::engine::{Slot, settings};
use polymorph_core::topology::question::{CopyId, Hold, Lane};
use polymorph_core::wire::Urgency;
use polymorph_core::wire::frame::{Body, Copied};
use polymorph_core::{Guid, Key, Standing};

use crate::net::Net;
use crate::puppet::{Puppet, Seen};
use crate::spec::{Spec, spec};

const TOPIC: Key = Key([9; 32]);

/// A full mesh of `n`: everybody passes what is new to everybody but whom it came from.
fn mesh(n: usize, settings: &settings::Overlay) -> Net {
    let mut net = Net::new(1, n);
    let guids = net.guids();
    for at in 0..n {
        let strings = net.attach(at, Spec { settings: settings.clone(), ..spec("mesh") });
        let others: Vec<Guid> = guids.iter().copied().filter(|guid| *guid != guids[at]).collect();
        let all = others.clone();
        strings.pull().spread = Box::new(move |spread, to| {
            to.extend(all.iter().filter(|peer| Some(**peer) != spread.from));
        });
        net.act(at, move |cx| others.iter().for_each(|&peer| cx.want(peer, Hold::Required)));
    }
    net.run_secs(3);
    (0..n).for_each(|at| drop(net.seen(at)));
    net
}

fn publish(net: &mut Net, at: usize, topic: Option<Key>, payload: &[u8], origin: Origin) {
    let (ticket, payload) = (net.ticket(), Bytes::copy_from_slice(payload));
    net.command(at, Slot(0), Command::Publish { ticket, topic, payload, origin, urgency: Urgency::Usual });
    assert_eq!(net.outcome(at, ticket), Outcome::Sent);
}

fn heard(net: &Net, at: usize) -> Vec<Bytes> {
    net.nodes[at].published.iter().map(|(_, payload)| payload.clone()).collect()
}

/// Lets the evil node 1 change the copies it passes on.
fn tamper(net: &mut Net, mut change: impl FnMut(&mut Copied, &mut Bytes) + 'static) {
    net.passes = Box::new(move |from, _, frame| {
        if let (1, Body::Copy(copied)) = (from, &mut frame.body) {
            change(Arc::make_mut(copied), &mut frame.payload);
        }
        true
    });
}

#[test]
fn everybody_hears_a_broadcast_once_and_its_origin_is_what_was_asked_for() {
    for origin in [Origin::Signed, Origin::Claimed] {
        let mut net = mesh(5, &settings::Overlay::default());
        publish(&mut net, 0, None, b"news", origin);
        net.run_secs(1);
        for at in 1..5 {
            assert_eq!(net.nodes[at].published, [(net.guid(0), Bytes::from_static(b"news"))]);
            assert_eq!(net.nodes[at].origins, [origin]);
        }
        assert_eq!(heard(&net, 0), Vec::<Bytes>::new());
    }
}

type Change = fn(&mut Copied, &mut Bytes);

fn forgeries() -> Vec<(&'static str, Change)> {
    vec![
        ("another payload", |_, payload| *payload = Bytes::from_static(b"lies")),
        ("another origin", |copied, _| copied.origin = Guid([5; 32])),
        ("another sequence", |copied, _| copied.sequence += 1),
        ("another topic", |copied, _| copied.topic = copied.topic.xor(Some(TOPIC))),
        ("another signature", |copied, _| {
            Arc::make_mut(copied.signed.as_mut().expect("it signed")).1.0[7] ^= 1;
        }),
        ("another key", |copied, _| {
            Arc::make_mut(copied.signed.as_mut().expect("it signed")).0.0[7] ^= 1;
        }),
        ("too many hops", |copied, _| copied.hops = 255),
        ("no hops", |copied, _| copied.hops = 0),
    ]
}

#[test]
fn a_forged_copy_is_not_delivered_and_does_not_stand_in_the_way_of_the_true_one() {
    for (what, change) in forgeries() {
        // The evil node has everything first, and is the only one to speak for a while.
        let mut net = mesh(4, &settings::Overlay::default());
        let (a, evil) = (net.guid(0), net.guid(1));
        net.nodes[0].strings[0].pull().spread = Box::new(move |_, to| to.push(evil));
        tamper(&mut net, change);
        publish(&mut net, 0, None, b"news", Origin::Signed);
        net.run_secs(1);
        for at in 2..4 {
            assert_eq!(heard(&net, at), Vec::<Bytes>::new(), "{what}");
        }
        // Now the true copy comes straight from its origin.
        let late = net.guid(2);
        net.nodes[0].strings[0].pull().spread = Box::new(move |_, to| to.push(late));
        net.passes = Box::new(|_, _, _| true);
        let id = net.seen(0).iter().find_map(|s| if let Seen::Copy { id, .. } = s { Some(*id) } else { None });
        net.act(0, move |cx| cx.resend(id.expect("its own"), late));
        net.run_secs(1);
        assert_eq!(heard(&net, 2), [Bytes::from_static(b"news")], "{what}");
        assert_eq!(heard(&net, 3), [Bytes::from_static(b"news")], "{what}: passed on by the one who heard it");
        assert!(net.nodes[2].published.iter().all(|(from, _)| *from == a));
    }
}

#[test]
fn whoever_passes_on_forged_broadcasts_is_blamed_and_then_dropped() {
    let mut net = mesh(3, &settings::Overlay::default());
    let evil = net.guid(1);
    net.nodes[0].strings[0].pull().spread = Box::new(move |_, to| to.push(evil));
    tamper(&mut net, |_, payload| *payload = Bytes::from_static(b"lies"));
    for _ in 0..3 {
        assert!(net.share_a_wire(1, 2));
        publish(&mut net, 0, None, b"news", Origin::Claimed);
        net.run_millis(100);
    }
    assert!(!net.share_a_wire(1, 2));
    let blamed = net.nodes[2].watched.iter().filter(|w| matches!(w, Watch::Blamed { peer, .. } if *peer == evil));
    assert_eq!(blamed.count(), 3);
    assert!(net.share_a_wire(0, 2), "others go on");
}

#[test]
fn whoever_does_not_hear_a_topic_passes_it_on_unchecked_and_is_not_blamed() {
    let mut net = mesh(3, &settings::Overlay::default());
    let [a, evil] = [net.guid(0), net.guid(1)];
    // 0 and 2 hear the topic, 1 merely passes it on.
    for at in [0, 2] {
        net.command(at, Slot(0), Command::Subscribe { topic: TOPIC });
    }
    net.nodes[0].strings[0].pull().spread = Box::new(move |_, to| to.push(evil));
    publish(&mut net, 0, Some(TOPIC), b"news", Origin::Signed);
    net.run_secs(1);
    assert_eq!(net.nodes[2].published, [(a, Bytes::from_static(b"news"))]);
    assert_eq!(heard(&net, 1), Vec::<Bytes>::new());
    tamper(&mut net, |_, payload| *payload = Bytes::from_static(b"lies"));
    for _ in 0..10 {
        publish(&mut net, 0, Some(TOPIC), b"news", Origin::Signed);
        net.run_millis(100);
    }
    assert_eq!(net.nodes[2].published.len(), 1);
    assert_eq!(net.nodes[2].engine.metrics(Slot(0)).unwrap().faults, 10);
    assert!(net.share_a_wire(1, 2), "it may have passed on what it was given");
}

#[test]
fn a_copy_passed_on_under_a_topic_that_begins_alike_does_not_stand_in_the_way_of_the_true_one() {
    let mut net = mesh(3, &settings::Overlay::default());
    let (evil, late) = (net.guid(1), net.guid(2));
    net.nodes[0].strings[0].pull().spread = Box::new(move |_, to| to.push(evil));
    let mut alike = TOPIC;
    alike.0[31] ^= 1;
    tamper(&mut net, move |copied, _| copied.topic = Some(alike));
    publish(&mut net, 0, Some(TOPIC), b"news", Origin::Signed);
    net.run_secs(1);
    net.command(2, Slot(0), Command::Subscribe { topic: TOPIC });
    let id = net.seen(0).iter().find_map(|s| if let Seen::Copy { id, .. } = s { Some(*id) } else { None });
    net.act(0, move |cx| cx.resend(id.expect("its own"), late));
    net.run_secs(1);
    assert_eq!(heard(&net, 2), [Bytes::from_static(b"news")]);
}

fn made_up(at: u64) -> (Body<Puppet>, Vec<u8>) {
    let mut id = CopyId::default();
    id.0[..8].copy_from_slice(&at.to_le_bytes());
    let lane = Lane::default();
    let origin = Guid([3; 32]);
    // Of a topic that nobody here hears, so that nobody checks it.
    let copied =
        Copied { id, origin, sequence: at, topic: Some(TOPIC), hops: 1, lane, urgency: Urgency::Usual, signed: None };
    (Body::Copy(Arc::new(copied)), vec![0; 1000])
}

#[test]
fn a_flood_of_copies_is_bounded_in_memory() {
    let settings = settings::Overlay { seen: 256, kept_bytes: 64 * 1024, ..settings::Overlay::default() };
    let mut net = mesh(2, &settings);
    for at in 0..500 {
        let (body, payload) = made_up(at);
        net.forge_body(0, 1, Slot(0), body, &payload);
        net.run_millis(1);
    }
    let before = net.nodes[1].engine.bytes();
    for at in 500..20_000 {
        let (body, payload) = made_up(at);
        net.forge_body(0, 1, Slot(0), body, &payload);
        net.run_millis(1);
    }
    // The audit after each input checks the counts; the tables may not grow.
    assert!(net.nodes[1].engine.bytes() <= before + 8 * 1024);
}

#[test]
fn a_copy_that_was_forgotten_and_comes_again_is_counted_once() {
    let settings = settings::Overlay { seen: 4, kept_bytes: 64 * 1024, ..settings::Overlay::default() };
    let mut net = mesh(2, &settings);
    for round in 0..200 {
        for at in 0..8 {
            let (body, payload) = made_up(at);
            net.forge_body(0, 1, Slot(0), body, &payload);
        }
        net.run_millis(round);
    }
    // What is kept can still be sent again.
    let a = net.guid(0);
    let (Body::Copy(last), _) = made_up(7) else { unreachable!() };
    net.passes = Box::new(|_, _, _| true);
    net.nodes[0].strings[0].seen();
    net.act(1, move |cx| cx.resend(last.id, a));
    net.run_secs(1);
    assert!(net.seen(0).iter().any(|s| matches!(s, Seen::Copy { .. })));
}

#[test]
fn a_duplicate_is_told_as_one_and_delivered_no_second_time() {
    let mut net = mesh(3, &settings::Overlay::default());
    publish(&mut net, 0, None, b"news", Origin::Claimed);
    net.run_secs(1);
    let copies: Vec<bool> =
        net.seen(2).iter().filter_map(|s| if let Seen::Copy { first, .. } = s { Some(*first) } else { None }).collect();
    assert_eq!(copies, [true, false]);
    assert_eq!(heard(&net, 2).len(), 1);
}

#[test]
fn a_client_publishes_through_its_gateway() {
    let mut net = mesh(3, &settings::Overlay::default());
    net.add(settings::Node::default());
    net.introduce();
    net.attach(3, Spec { standing: Standing::Client, ..spec("mesh") });
    let seeds = vec![net.contact(0)];
    net.command(3, Slot(0), Command::Join { seeds });
    net.run_secs(1);
    publish(&mut net, 3, None, b"news", Origin::Signed);
    net.run_secs(1);
    for at in 0..3 {
        assert_eq!(net.nodes[at].published, [(net.guid(3), Bytes::from_static(b"news"))]);
    }
}

#[test]
fn a_payload_too_large_to_spread_is_refused() {
    let mut net = mesh(2, &settings::Overlay::default());
    let ticket = net.ticket();
    let payload = Bytes::from(vec![0; (1 << 19) + 1]);
    let (origin, urgency) = (Origin::Claimed, Urgency::Usual);
    net.command(0, Slot(0), Command::Publish { ticket, topic: None, payload, origin, urgency });
    assert_eq!(net.outcome(0, ticket), Outcome::Failed(Failure::TooLarge));
}

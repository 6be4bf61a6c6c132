//! Queues and credit: a peer that takes nothing makes its writer busy, and costs nobody else anything.

use std::time::Duration;

use bytes::Bytes;
use polymorph_core::engine::io::{Class, Command, Failure, Outcome, To, Watch};
use polymorph_core::engine::{Slot, settings};
use polymorph_core::record::Record;
use polymorph_core::topology::event::Down;
use polymorph_core::topology::question::Hold;
use polymorph_core::wire::Urgency;
use polymorph_core::wire::frame::{Body, Status};
use polymorph_core::{Key, Time};

use crate::net::{Arrived, Net};
use crate::puppet::{Say, Seen};
use crate::spec::session_frame;

const PAYLOAD: usize = 16 * 1024;

fn linked(settings: settings::Node) -> Net {
    let mut net = Net::with(1, 2, settings);
    net.attach_all("work");
    net.attach_all("other");
    let b = net.guid(1);
    for slot in [Slot(0), Slot(1)] {
        net.act_on(0, slot, move |cx| cx.want(b, Hold::Required));
    }
    net.run_secs(1);
    (0..2).for_each(|at| drop(net.seen(at)));
    net
}

fn notice(net: &mut Net, slot: Slot, bytes: usize) -> Outcome {
    say(net, slot, bytes, Urgency::Usual)
}

fn say(net: &mut Net, slot: Slot, bytes: usize, urgency: Urgency) -> Outcome {
    let (ticket, peer) = (net.ticket(), net.guid(1));
    let payload = Bytes::from(vec![7; bytes]);
    net.command(0, slot, Command::Notice { ticket, to: To::Peer(peer), service: 1, urgency, payload });
    net.outcome(0, ticket)
}

/// Sends until the peer is busy; how often it was not.
fn until_busy(net: &mut Net, slot: Slot) -> usize {
    (0..10_000).take_while(|_| notice(net, slot, PAYLOAD) == Outcome::Sent).count()
}

#[test]
fn a_service_that_takes_nothing_in_makes_the_writer_busy_and_slows_no_other_overlay() {
    let mut net = linked(settings::Node::default());
    net.nodes[1].takes = false;
    let sent = until_busy(&mut net, Slot(0));
    let credit = settings::Node::default().credit_bytes as usize;
    assert!((credit / 2..=credit).contains(&(sent * PAYLOAD)), "{sent} sent");
    let before = net.nodes[0].engine.bytes();
    for _ in 0..60 {
        net.run_secs(1);
        assert_eq!(notice(&mut net, Slot(0), PAYLOAD), Outcome::Busy);
        // The other overlay shares the session and not the credit.
        assert_eq!(notice(&mut net, Slot(1), 1000), Outcome::Sent);
        net.run_millis(20);
        let arrived = net.nodes[1].arrived.pop().expect("it arrives at once");
        assert_eq!(arrived.slot, Slot(1));
        net.run_secs(1);
        let took = Command::Consumed { peer: arrived.charge, class: arrived.class, bytes: arrived.bytes };
        net.command(1, Slot(1), took);
    }
    assert!(net.nodes[0].engine.bytes() <= before + 4096, "memory stays flat");
    assert_eq!(net.nodes[1].arrived.len(), sent);
}

#[test]
fn each_class_has_a_credit_of_its_own_and_the_more_urgent_ones_the_fuller_queue() {
    // A service that takes nothing in is out of bulk credit, and still hears what is small, and what is timely.
    let mut net = linked(settings::Node::default());
    net.nodes[1].takes = false;
    let credit = settings::Node::default().credit_bytes as usize;
    for (bytes, urgency) in [(PAYLOAD, Urgency::Usual), (PAYLOAD - 1, Urgency::Usual), (PAYLOAD, Urgency::Timely)] {
        let sent = (0..10_000).take_while(|_| say(&mut net, Slot(0), bytes, urgency) == Outcome::Sent).count();
        assert!((credit / 2..=credit).contains(&(sent * bytes)), "{sent} of {bytes} bytes, {urgency:?}");
        net.run_secs(1);
    }
    // Credit of one class is no credit of another.
    for arrived in std::mem::take(&mut net.nodes[1].arrived) {
        if arrived.class == Class::Deadline {
            net.command(
                1,
                Slot(0),
                Command::Consumed { peer: arrived.charge, class: arrived.class, bytes: arrived.bytes },
            );
        }
    }
    net.run_secs(1);
    assert_eq!(say(&mut net, Slot(0), PAYLOAD, Urgency::Usual), Outcome::Busy);
    assert_eq!(say(&mut net, Slot(0), PAYLOAD - 1, Urgency::Usual), Outcome::Busy);
    assert_eq!(say(&mut net, Slot(0), PAYLOAD, Urgency::Timely), Outcome::Sent);
    // A queue that is full for bulk takes messages, one full of messages takes what is timely.
    let mut net = linked(settings::Node { queue_bytes: 256 * 1024, ..settings::Node::default() });
    net.stall(1, 0, true);
    let mut full = Vec::new();
    for (bytes, urgency) in [(PAYLOAD, Urgency::Usual), (PAYLOAD - 1, Urgency::Usual), (PAYLOAD, Urgency::Timely)] {
        let more = (0..1000).take_while(|_| say(&mut net, Slot(0), bytes, urgency) == Outcome::Sent).count();
        full.push(full.last().unwrap_or(&0) + more * PAYLOAD / 1024);
    }
    let near = |at: usize, limit: usize| (limit - 2 * PAYLOAD / 1024..=limit).contains(&full[at]);
    assert!(near(0, 128) && near(1, 256) && near(2, 384), "{full:?} KiB");
}

#[test]
fn whoever_was_told_busy_is_told_once_when_it_may_write_again() {
    let mut net = linked(settings::Node::default());
    net.nodes[1].takes = false;
    let b = net.guid(1);
    until_busy(&mut net, Slot(0));
    net.run_secs(1);
    net.nodes[0].watched.clear();
    for arrived in std::mem::take(&mut net.nodes[1].arrived) {
        net.command(1, Slot(0), Command::Consumed { peer: arrived.charge, class: arrived.class, bytes: arrived.bytes });
        net.run_millis(30);
    }
    assert_eq!(net.seen(0), [Seen::Writable(b)]);
    assert_eq!(net.nodes[0].watched, [Watch::Writable(b)]);
    assert_eq!(notice(&mut net, Slot(0), PAYLOAD), Outcome::Sent);
}

#[test]
fn whoever_waits_in_one_class_is_told_although_another_is_stuck() {
    let mut net = linked(settings::Node::default());
    net.nodes[1].takes = false;
    for bytes in [PAYLOAD, PAYLOAD - 1] {
        while say(&mut net, Slot(0), bytes, Urgency::Usual) == Outcome::Sent {}
    }
    net.run_secs(1);
    net.nodes[0].watched.clear();
    let taken = std::mem::take(&mut net.nodes[1].arrived).into_iter().filter(|arrived| arrived.class == Class::Message);
    for arrived in taken {
        let Arrived { charge: peer, class, bytes, .. } = arrived;
        net.command(1, Slot(0), Command::Consumed { peer, class, bytes });
        net.run_millis(30);
    }
    assert_eq!(net.nodes[0].watched, [Watch::Writable(net.guid(1))]);
    assert_eq!(say(&mut net, Slot(0), PAYLOAD - 1, Urgency::Usual), Outcome::Sent);
    assert_eq!(say(&mut net, Slot(0), PAYLOAD, Urgency::Usual), Outcome::Busy, "what is large still waits");
}

#[test]
fn all_credit_comes_back_however_odd_the_sizes() {
    let mut net = linked(settings::Node::default());
    let mut total = 0;
    for at in 0..4000 {
        let bytes = net.pick(20_000) as usize;
        assert_eq!(notice(&mut net, Slot(0), bytes), Outcome::Sent, "after {at} messages, {total} bytes");
        total += bytes;
        net.run_millis(25);
    }
    assert!(total > 30 << 20);
}

#[test]
fn a_reader_that_stalls_makes_the_writer_busy_for_as_long_as_it_does() {
    let mut net = linked(settings::Node::default());
    net.stall(1, 0, true);
    // With credit for more than the queue takes, the queue is the bound.
    let sent = until_busy(&mut net, Slot(0)) + until_busy(&mut net, Slot(1));
    net.run_secs(60);
    assert_eq!(notice(&mut net, Slot(0), PAYLOAD), Outcome::Busy);
    let queue = settings::Node::default().queue_bytes;
    assert!(net.held_bytes() <= queue, "{} bytes", net.held_bytes());
    net.stall(1, 0, false);
    net.run_secs(1);
    assert_eq!(net.nodes[1].arrived.len(), sent, "nothing is lost");
    assert_eq!(notice(&mut net, Slot(0), PAYLOAD), Outcome::Sent);
    assert!(net.seen(0).contains(&Seen::Writable(net.guid(1))));
}

#[test]
fn a_smaller_queue_is_the_bound_for_all_overlays_together() {
    let mut net = linked(settings::Node { queue_bytes: 256 * 1024, ..settings::Node::default() });
    net.stall(1, 0, true);
    let sent = until_busy(&mut net, Slot(0)) + until_busy(&mut net, Slot(1));
    assert!(sent * PAYLOAD <= 256 * 1024, "{sent} sent");
    net.stall(1, 0, false);
    net.run_secs(1);
    assert!(net.seen(0).contains(&Seen::Writable(net.guid(1))));
}

#[test]
fn messages_that_wait_for_a_session_are_bounded_too_and_what_is_detached_waits_no_longer() {
    let mut net = Net::with(1, 2, settings::Node { queue_bytes: 256 * 1024, ..settings::Node::default() });
    net.attach_all("work");
    net.attach_all("other");
    net.dialing = Box::new(|_, _, _| crate::net::Dialing::after(100));
    let sent = until_busy(&mut net, Slot(0));
    assert!(sent > 0 && sent * PAYLOAD <= 256 * 1024, "{sent} sent");
    assert_eq!(notice(&mut net, Slot(1), PAYLOAD), Outcome::Busy);
    net.detach(0, Slot(0));
    assert_eq!(notice(&mut net, Slot(1), PAYLOAD), Outcome::Sent, "there is room again");
    net.run_secs(5);
    assert_eq!(net.nodes[1].arrived.len(), 1);
}

#[test]
fn nodes_of_differing_credit_do_not_take_each_other_for_evil() {
    let mut net =
        Net::with(1, 1, settings::Node { credit_bytes: 8 << 20, queue_bytes: 32 << 20, ..settings::Node::default() });
    net.add(settings::Node { credit_bytes: 64 << 10, ..settings::Node::default() });
    net.introduce();
    net.attach_all("work");
    net.nodes[1].takes = false;
    let b = net.guid(1);
    net.act(0, move |cx| cx.want(b, Hold::Required));
    net.run_secs(1);
    let sent = until_busy(&mut net, Slot(0));
    assert!(sent * PAYLOAD <= 64 << 10, "{sent} sent");
    net.run_secs(1);
    assert!(net.share_a_wire(0, 1));
}

#[test]
fn a_peer_that_sends_beyond_its_credit_is_dropped() {
    let mut net = linked(settings::Node::default());
    net.nodes[1].takes = false;
    let a = net.guid(0);
    for _ in 0..300 {
        if net.conn(1, 0).is_some() {
            net.forge_body(0, 1, Slot(0), Body::Notice { service: 1, urgency: Urgency::Usual }, &[0; PAYLOAD]);
        }
    }
    assert_eq!(net.nodes[1].engine.peers().len(), 0);
    assert!(net.nodes[1].arrived.len() * PAYLOAD <= 3 << 20, "memory is bounded");
    assert_eq!(net.seen(1), [Seen::Down(a, Down::Lost)]);
}

#[test]
fn a_payload_larger_than_a_frame_is_refused_for_good() {
    let mut net = linked(settings::Node::default());
    let large = 1 << 20;
    assert_eq!(notice(&mut net, Slot(0), large), Outcome::Failed(Failure::TooLarge));
    let (ticket, peer) = (net.ticket(), net.guid(1));
    let (timeout, payload) = (Duration::from_secs(5), Bytes::from(vec![0; large]));
    net.command(0, Slot(0), Command::Request { ticket, to: To::Peer(peer), service: 1, payload, timeout });
    assert_eq!(net.outcome(0, ticket), Outcome::Failed(Failure::TooLarge));
}

#[test]
fn a_response_larger_than_a_frame_fails_and_keeps_nobody_waiting() {
    let mut net = linked(settings::Node::default());
    net.nodes[1].answers = false;
    let (ticket, peer) = (net.ticket(), net.guid(1));
    let timeout = Duration::from_secs(500);
    net.command(
        0,
        Slot(0),
        Command::Request { ticket, to: To::Peer(peer), service: 1, payload: Bytes::new(), timeout },
    );
    net.run_secs(1);
    let to = net.nodes[1].arrived.pop().and_then(|arrived| arrived.respond).expect("it asks for a response");
    net.command(1, Slot(0), Command::Respond { to, status: Status::Good, payload: Bytes::from(vec![0; 1 << 20]) });
    net.run_secs(1);
    let outcome = net.outcome(0, ticket);
    assert!(matches!(outcome, Outcome::Response { status: Status::Failed, .. }), "{outcome:?}");
}

/// Floods a node with a frame and reads nothing of what it answers. The most bytes that waited for the flooder.
fn flood(net: &mut Net, times: usize, mut frame: impl FnMut(u32) -> (u32, Body<crate::puppet::Puppet>)) -> usize {
    net.stall(0, 1, true);
    let mut most = 0;
    for at in 0..times {
        if net.conn(1, 0).is_none() {
            break;
        }
        let (tag, body) = frame(at as u32 + 1);
        net.forge(0, 1, polymorph_core::wire::Frame { tag, ..session_frame(body) });
        if at % 4096 == 0 {
            most = most.max(net.held_bytes());
        }
    }
    most.max(net.held_bytes())
}

#[test]
fn a_flood_of_pings_by_a_peer_that_reads_nothing_ends_in_its_being_dropped() {
    let mut net = linked(settings::Node::default());
    let most = flood(&mut net, 400_000, |id| (0, Body::Ping { id }));
    assert!(most <= 2 * settings::Node::default().queue_bytes, "{most} bytes");
    assert_eq!(net.nodes[1].engine.peers().len(), 0, "it is dropped");
}

#[test]
fn large_answers_to_small_questions_are_bounded_in_bytes() {
    let mut net = linked(settings::Node { queue_bytes: 1 << 20, ..settings::Node::default() });
    let tag = net.nodes[0].engine.wire(Slot(0), &net.guid(1)).expect("a session").1;
    let key = Key::of(b"much");
    let until = Time::from_secs(net.now.as_secs() + 3600);
    for at in 0..64 {
        let publisher = polymorph_core::Identity::from_seed(&[at; 32]);
        let record = Box::new(Record::sign(&publisher, key, Bytes::from(vec![0; 1024]), 1, until));
        net.forge_body(0, 1, Slot(0), Body::Store { id: u32::from(at), record }, &[]);
    }
    let most = flood(&mut net, 2_000, |id| (tag, Body::Fetch { id, key }));
    assert!(most <= 4 << 20, "{most} bytes wait for a peer that reads nothing");
}

#[test]
fn a_peer_that_reads_nothing_hears_no_less_of_the_session_when_it_reads_again() {
    // Its credit and its interest are not forgotten in a full queue: it is told them, or dropped.
    let mut net = linked(settings::Node { queue_bytes: 64 * 1024, ..settings::Node::default() });
    let a = net.guid(0);
    net.stall(0, 1, true);
    for _ in 0..10_000 {
        net.act(1, move |cx| cx.want(a, Hold::Required));
        net.act(1, move |cx| cx.unwant(a));
    }
    assert!(net.held_bytes() <= 2 * 64 * 1024);
    assert_eq!(net.nodes[1].engine.peers().len(), 0);
}

#[test]
fn a_flood_of_interest_leaves_no_timers_behind() {
    let mut net = linked(settings::Node::default());
    net.act(0, |_| {});
    let before = net.nodes[1].engine.bytes();
    for lanes in 0..20_000 {
        net.forge_body(0, 1, Slot(0), Body::Interest { lanes: lanes % 2 }, &[]);
    }
    assert!(net.nodes[1].engine.bytes() < before + 4096, "{} bytes", net.nodes[1].engine.bytes() - before);
}

#[test]
fn a_message_of_the_topology_is_bounded_by_its_size_not_by_its_payload() {
    let mut net = linked(settings::Node::default());
    net.stall(1, 0, true);
    let (b, crowd) = (net.guid(1), vec![net.guid(0); 1000]);
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = sent.clone();
    net.act(0, move |cx| {
        while cx.send(b, Say::Peers(crowd.clone())).is_ok() {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let bytes = sent.load(std::sync::atomic::Ordering::Relaxed) * 33 * 1000;
    assert!(bytes <= 2 * settings::Node::default().queue_bytes, "{bytes} bytes are queued");
    // And one that fits no frame is refused at once.
    let crowd = vec![b; 40_000];
    net.act(0, move |cx| assert!(cx.send(b, Say::Peers(crowd)).is_err()));
}

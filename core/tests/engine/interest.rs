//! Who holds a link, and what is told of it: each change once.

use std::time::Duration;

use bytes::Bytes;
use polymorph_core::engine::io::Input;
use polymorph_core::engine::{Slot, settings};
use polymorph_core::topology::event::Down;
use polymorph_core::topology::question::Hold;
use polymorph_core::wire::frame::{Body, Goodbye};

use crate::net::{Dialing, Net};
use crate::puppet::{Say, Seen};
use crate::spec::{goodbye, spec};

/// Two nodes in one overlay, the first requires the second.
fn linked() -> Net {
    let mut net = Net::new(1, 2);
    net.attach_all("ring");
    let b = net.guid(1);
    net.act(0, move |cx| cx.want(b, Hold::Required));
    net.run_secs(1);
    assert_eq!(net.seen(0), [Seen::Up(b)]);
    assert_eq!(net.seen(1), [Seen::Up(net.guid(0))]);
    net
}

#[test]
fn a_cached_link_costs_no_session_until_something_is_sent() {
    let mut net = Net::new(1, 2);
    net.attach_all("ring");
    let b = net.guid(1);
    net.act(0, move |cx| cx.want(b, Hold::Cached));
    net.run_secs(60);
    assert_eq!((net.nodes[0].dials, net.seen(0)), (0, vec![]));
    net.act(0, move |cx| cx.send(b, Say::Note(1)).unwrap());
    net.run_secs(1);
    assert!(net.share_a_wire(0, 1));
    // Nobody requires it, so nobody is told that it is up; a loss is told, for whoever keeps the peer in a table.
    assert_eq!(net.seen(0), []);
    net.cut(0, 1);
    assert_eq!(net.seen(0), [Seen::Down(b, Down::Lost)]);
}

#[test]
fn a_link_is_up_while_either_side_holds_it() {
    let mut net = linked();
    let [a, b] = [net.guid(0), net.guid(1)];
    net.act(1, move |cx| cx.want(a, Hold::Required));
    net.run_secs(1);
    net.act(0, move |cx| cx.unwant(b));
    net.run_secs(100);
    assert!(net.share_a_wire(0, 1), "the other side still holds it");
    assert_eq!((net.seen(0), net.seen(1)), (vec![], vec![]));
    net.act(1, move |cx| cx.unwant(a));
    net.run_secs(1);
    assert_eq!(net.seen(0), [Seen::Down(b, Down::Unwanted)]);
    assert_eq!(net.seen(1), [Seen::Down(a, Down::Unwanted)]);
    assert!(net.share_a_wire(0, 1), "a session nobody holds stays a while");
    net.run_secs(40);
    assert_eq!((net.half_open_wires(), net.nodes[0].engine.peers().len()), (0, 0));
    assert_eq!((net.seen(0), net.seen(1)), (vec![], vec![]));
}

#[test]
fn a_session_that_is_used_is_not_idle() {
    let mut net = linked();
    let b = net.guid(1);
    net.act(0, move |cx| cx.unwant(b));
    for _ in 0..10 {
        net.run_secs(20);
        net.act(0, move |cx| cx.send(b, Say::Note(1)).unwrap());
    }
    assert!(net.share_a_wire(0, 1));
    net.run_secs(40);
    assert_eq!(net.half_open_wires(), 0);
}

#[test]
fn a_session_on_which_an_answer_is_awaited_is_not_idle() {
    let mut net = linked();
    let b = net.guid(1);
    net.act(0, move |cx| cx.unwant(b));
    (net.nodes[1].answers, net.nodes[1].takes) = (false, false);
    let ticket = net.ticket();
    let to = polymorph_core::engine::io::To::Peer(b);
    let timeout = Duration::from_secs(300);
    let request =
        polymorph_core::engine::io::Command::Request { ticket, to, service: 1, payload: Bytes::new(), timeout };
    net.command(0, Slot(0), request);
    net.run_secs(200);
    assert!(net.share_a_wire(0, 1), "a slow service is at work");
    net.run_secs(200);
    let outcome = net.outcome(0, ticket);
    use polymorph_core::engine::io::{Failure, Outcome};
    assert_eq!(outcome, Outcome::Failed(Failure::Timeout));
}

#[test]
fn over_the_budget_the_session_on_which_nobody_waits_goes_first() {
    let mut net = Net::with(1, 4, settings::Node { connections: 2, ..settings::Node::default() });
    net.attach_all("ring");
    let [b, c, d] = [1, 2, 3].map(|at| net.guid(at));
    (net.nodes[1].answers, net.nodes[1].takes) = (false, false);
    let (ticket, timeout) = (net.ticket(), Duration::from_secs(20));
    let to = polymorph_core::engine::io::To::Peer(b);
    let request =
        polymorph_core::engine::io::Command::Request { ticket, to, service: 1, payload: Bytes::new(), timeout };
    net.command(0, Slot(0), request);
    net.run_secs(1);
    for peer in [c, d] {
        net.act(0, move |cx| cx.send(peer, Say::Note(1)).unwrap());
        net.run_secs(1);
    }
    assert!(net.share_a_wire(0, 1), "it is the oldest, but an answer is awaited on it");
    assert!(!net.share_a_wire(0, 2));
    assert!(net.share_a_wire(0, 3));
}

#[test]
fn whoever_requires_a_peer_that_hung_up_dials_again_in_silence() {
    for why in [Goodbye::Idle, Goodbye::Budget] {
        let mut net = linked();
        let b = net.guid(1);
        net.forge(1, 0, goodbye(why));
        net.run_secs(5);
        assert!(net.share_a_wire(0, 1));
        assert_eq!((net.nodes[0].dials, net.seen(0)), (2, vec![]), "nobody is told anything");
        // And if that dial fails, the peer that was up is down.
        net.dialing = Box::new(|_, _, _| Dialing::Fails(Duration::from_millis(10)));
        net.forge(1, 0, goodbye(why));
        net.run_secs(5);
        assert_eq!(net.seen(0), [Seen::Down(b, Down::Lost)]);
    }
}

#[test]
fn a_peer_that_hangs_up_again_and_again_is_given_up() {
    let mut net = linked();
    let b = net.guid(1);
    for _ in 0..10 {
        if net.conn(0, 1).is_some() {
            net.forge(1, 0, goodbye(Goodbye::Idle));
        }
        net.run_secs(1);
    }
    assert!(net.nodes[0].dials < 6, "{} dials", net.nodes[0].dials);
    assert_eq!(net.seen(0), [Seen::Down(b, Down::Lost)]);
}

#[test]
fn a_goodbye_of_every_kind_ends_the_wire_on_this_side_too() {
    use Goodbye::{Budget, Duplicate, Idle, Leaving, Misbehaved, NothingShared};
    for why in [NothingShared, Idle, Budget, Leaving, Misbehaved, Duplicate] {
        let mut net = linked();
        // Only the goodbye comes; the peer keeps its end open for ever.
        let conn = net.conn(0, 1).unwrap();
        net.forge(1, 0, goodbye(why));
        assert!(!net.is_open(conn), "{why:?}");
    }
}

#[test]
fn leaving_is_said_and_the_session_stays_for_the_other_overlay() {
    let mut net = linked();
    let [a, b] = [net.guid(0), net.guid(1)];
    let other: Vec<_> = (0..2).map(|at| net.attach(at, spec("mesh"))).collect();
    net.run_secs(1);
    net.act_on(0, Slot(1), move |cx| cx.want(b, Hold::Required));
    net.run_secs(1);
    assert_eq!(other[1].seen(), [Seen::Up(a)]);
    net.detach(0, Slot(0));
    net.run_secs(100);
    assert_eq!(net.seen(1), [Seen::Down(a, Down::Left)]);
    assert!(net.share_a_wire(0, 1));
    assert_eq!((other[0].seen(), other[1].seen()), (vec![Seen::Up(b)], vec![]));
}

#[test]
fn a_want_that_the_session_cannot_carry_fails_and_holds_nothing() {
    let mut net = linked();
    let b = net.guid(1);
    let alone = net.attach(0, spec("mesh"));
    net.run_secs(1);
    net.act_on(0, Slot(1), move |cx| cx.want(b, Hold::Required));
    net.run_secs(1);
    assert_eq!(alone.seen(), [Seen::DialFailed(b)]);
    net.act(0, move |cx| cx.unwant(b));
    net.run_secs(60);
    assert_eq!(net.half_open_wires(), 0, "what failed holds no session");
}

#[test]
fn a_want_and_a_message_wait_for_an_overlay_that_is_being_offered() {
    for seed in 0..50 {
        let mut net = linked();
        let b = net.guid(1);
        // One side attaches now, the other a moment later or earlier, and uses it at once.
        let late = net.pick(60) + seed % 3;
        let mesh = net.attach(1, spec("mesh"));
        net.run_millis(late);
        let other = net.attach(0, spec("mesh"));
        net.act_on(0, Slot(1), move |cx| {
            cx.want(b, Hold::Required);
            cx.send(b, Say::Note(9)).unwrap();
        });
        net.run_secs(1);
        assert_eq!(other.seen(), [Seen::Up(b)], "late {late}");
        let note = Seen::Message { from: net.guid(0), say: Say::Note(9), payload: Bytes::new(), routed: None };
        assert!(mesh.seen().contains(&note), "late {late}");
    }
}

#[test]
fn an_overlay_attached_during_the_first_handshake_is_shared_too() {
    for millis in 0..60 {
        for early in 0..2 {
            let mut net = Net::new(millis, 2);
            net.attach_all("ring");
            let b = net.guid(1);
            let first = net.attach(early, spec("mesh"));
            net.act(0, move |cx| cx.want(b, Hold::Required));
            net.run_millis(millis);
            let second = net.attach(1 - early, spec("mesh"));
            net.run_secs(1);
            let peer = net.guid(1 - early);
            net.act_on(early, Slot(1), move |cx| cx.want(peer, Hold::Required));
            net.run_secs(1);
            assert_eq!(first.seen(), [Seen::Up(peer)], "after {millis} ms");
            assert_eq!(second.seen(), [Seen::Up(net.guid(early))], "after {millis} ms");
        }
    }
}

#[test]
fn an_overlay_detached_during_the_handshake_is_not_believed_shared() {
    for millis in 0..60 {
        for at in 0..2 {
            let mut net = Net::new(millis, 2);
            net.attach_all("ring");
            let [a, b] = [net.guid(0), net.guid(1)];
            net.attach_all("mesh");
            net.act(0, move |cx| cx.want(b, Hold::Required));
            net.act_on(1 - at, Slot(1), move |cx| cx.want(if at == 0 { a } else { b }, Hold::Required));
            net.run_millis(millis);
            net.detach(at, Slot(1));
            net.run_secs(60);
            let believed = net.nodes[1 - at].engine.peers().iter().any(|info| info.overlays.contains(&Slot(1)));
            assert!(!believed, "detached at {at} after {millis} ms");
            assert!(net.share_a_wire(0, 1), "the other overlay's session stays");
        }
    }
}

#[test]
fn the_budget_closes_what_nobody_requires_the_longest_idle_first() {
    let mut net = Net::with(3, 5, settings::Node { connections: 2, ..settings::Node::default() });
    net.attach_all("ring");
    let guids = net.guids();
    for &peer in &guids[1..] {
        net.act(0, move |cx| cx.send(peer, Say::Note(1)).unwrap());
        net.run_secs(1);
    }
    let mut left: Vec<_> = net.nodes[0].engine.peers().iter().map(|info| info.peer).collect();
    left.sort_unstable();
    let mut last = vec![guids[3], guids[4]];
    last.sort_unstable();
    assert_eq!(left, last);
    // Required ones are never closed, even over the budget.
    let all = guids.clone();
    net.act(0, move |cx| all[1..].iter().for_each(|&peer| cx.want(peer, Hold::Required)));
    net.run_secs(100);
    assert_eq!(net.nodes[0].engine.peers().len(), 4);
}

#[test]
fn a_full_node_refuses_and_the_refused_is_told_once() {
    let mut net = Net::with(3, 6, settings::Node { connections: 2, ..settings::Node::default() });
    net.attach_all("ring");
    let guids = net.guids();
    for at in 1..5 {
        let to = guids[0];
        net.act(at, move |cx| cx.want(to, Hold::Required));
        net.run_secs(1);
        assert_eq!(net.seen(at), [Seen::Up(to)]);
    }
    let to = guids[0];
    net.act(5, move |cx| cx.want(to, Hold::Required));
    net.run_secs(100);
    assert_eq!((net.seen(5), net.nodes[5].dials), (vec![Seen::DialFailed(to)], 1));
    assert_eq!(net.nodes[0].engine.peers().len(), 4);
}

#[test]
fn a_peer_that_connects_and_says_nothing_is_dropped_after_the_bound() {
    for dialer in 0..2 {
        let mut net = Net::new(1, 2);
        net.attach_all("ring");
        // Whoever is not the victim never says a word.
        let victim = 1 - dialer;
        net.passes = Box::new(move |from, _, _| from == victim);
        let to = net.guid(1 - dialer);
        net.act(dialer, move |cx| cx.want(to, Hold::Required));
        net.run_secs(9);
        assert_eq!(net.nodes[victim].engine.peers().len(), 1);
        net.run_secs(3);
        assert_eq!((net.nodes[victim].engine.peers().len(), net.half_open_wires()), (0, 0));
    }
}

#[test]
fn a_peer_that_leaves_a_later_offer_unanswered_is_dropped_after_the_bound() {
    let mut net = linked();
    let b = net.guid(1);
    net.passes = Box::new(|from, _, frame| from == 0 || !matches!(frame.body, Body::Accept { .. }));
    net.attach(0, spec("mesh"));
    net.run_secs(12);
    assert_eq!(net.nodes[0].engine.peers().len(), 0);
    assert_eq!(net.seen(0), [Seen::Down(b, Down::Lost)]);
}

#[test]
fn what_waits_for_a_session_that_closes_early_is_sent_over_the_next_or_told_of() {
    for why in [Goodbye::Idle, Goodbye::Budget, Goodbye::NothingShared, Goodbye::Misbehaved, Goodbye::Duplicate] {
        let mut net = Net::new(1, 2);
        net.attach_all("ring");
        let b = net.guid(1);
        net.act(0, move |cx| {
            cx.send(b, Say::Note(1)).unwrap();
            let _ = cx.call(b, Say::Ask(2));
        });
        net.run_millis(25);
        net.forge(1, 0, goodbye(why));
        net.run_secs(60);
        let seen = net.seen(0);
        let ended = |s: &Seen| matches!(s, Seen::Failed(..) | Seen::Reply(..));
        assert_eq!(seen.iter().filter(|s| ended(s)).count(), 1, "{why:?}: {seen:?}");
    }
}

#[test]
fn a_node_never_holds_a_session_with_itself() {
    let mut net = Net::new(1, 1);
    net.attach_all("ring");
    let me = net.guid(0);
    let dialer = polymorph_core::engine::io::Dialer::Peer;
    let conn = polymorph_core::engine::io::ConnId(77);
    net.hold_a_wire(conn);
    net.feed(0, Input::Connected { peer: me, conn, dialer, exporter: [0; 32] });
    net.act(0, move |cx| {
        cx.want(me, Hold::Required);
        cx.send(me, Say::Note(1)).unwrap();
        let _ = cx.call(me, Say::Ask(2));
    });
    net.run_secs(1);
    assert_eq!((net.nodes[0].dials, net.nodes[0].engine.peers().len()), (0, 0));
    let seen = net.seen(0);
    assert!(seen.iter().any(|s| matches!(s, Seen::Reply(_, Say::Answer(2)))), "{seen:?}");
}

#[test]
fn a_timer_that_sets_itself_for_the_same_moment_holds_nothing_up() {
    let mut net = Net::new(1, 1);
    let strings = net.attach_all("ring").remove(0);
    strings.pull().hook = Some(Box::new(|event, cx| {
        if let polymorph_core::topology::event::Event::Timer(1) = event {
            cx.set(1, Duration::ZERO);
        }
    }));
    net.act(0, |cx| {
        cx.set(1, Duration::ZERO);
        cx.set(2, Duration::ZERO);
    });
    // Each wake comes to an end, and the other timer has its turn.
    for _ in 0..3 {
        net.now += Duration::from_nanos(1);
        net.feed(0, Input::Wake);
    }
    let seen = strings.seen();
    assert_eq!(seen.iter().filter(|s| **s == Seen::Timer(2)).count(), 1);
    assert_eq!(seen.iter().filter(|s| **s == Seen::Timer(1)).count(), 3);
}

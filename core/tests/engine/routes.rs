//! Messages along routes, and what evil or dead hops can do to them.

use std::time::Duration;

use bytes::Bytes;
use polymorph_core::engine::io::{Command, Failure, Outcome, To};
use polymorph_core::engine::{Slot, settings};
use polymorph_core::record::Receipt;
use polymorph_core::topology::question::{Hold, Lane, Target, Verdict};
use polymorph_core::wire::Frame;
use polymorph_core::wire::Urgency;
use polymorph_core::wire::frame::{Answer, Body, Return, Routed, Status, What};
use polymorph_core::{Guid, Key, Standing};

use crate::net::{Dialing, Net};
use crate::puppet::{Puppet, Say, Seen, Strings};
use crate::spec::{Spec, spec};

const KEY: Key = Key([7; 32]);

/// Lets puppets route along a line: each passes to the next, the last is the owner.
fn along(strings: &[Strings], guids: &[Guid]) {
    for (at, strings) in strings.iter().enumerate() {
        let next = guids.get(at + 1).copied();
        strings.pull().route = Box::new(move |query, route| match next {
            None => route.verdict = Verdict::Deliver { rank: 0 },
            Some(next) if query.allows(&next) => {
                route.verdict = Verdict::Forward;
                route.peers.push(next);
            }
            Some(_) => {}
        });
    }
}

fn with_mode(lookup: settings::Lookup) -> Spec {
    Spec { settings: settings::Overlay { lookup, ..settings::Overlay::default() }, ..spec("ring") }
}

fn attach(net: &mut Net, lookup: settings::Lookup) -> Vec<Strings> {
    (0..net.nodes.len()).map(|at| net.attach(at, with_mode(lookup))).collect()
}

fn line(n: usize, lookup: settings::Lookup) -> Net {
    let mut net = Net::new(1, n);
    let strings = attach(&mut net, lookup);
    along(&strings, &net.guids());
    net
}

/// Asks the owner of the key; what came of it, and after how long.
fn request(net: &mut Net, at: usize, seconds: u64) -> (Outcome, Duration) {
    let ticket = net.ticket();
    let (to, payload) = (To::Target(Target::Key(KEY)), Bytes::from_static(b"hello"));
    let timeout = Duration::from_secs(seconds);
    net.command(at, Slot(0), Command::Request { ticket, to, service: 3, payload, timeout });
    let begun = net.now;
    while net.nodes[at].done.is_empty() && net.now.since(begun) < 2 * timeout {
        net.run_millis(10);
    }
    (net.outcome(at, ticket), net.now.since(begun))
}

fn lookup(net: &mut Net, at: usize) -> (Outcome, Duration) {
    let ticket = net.ticket();
    net.command(at, Slot(0), Command::Lookup { ticket, to: Target::Key(KEY), n: 1 });
    let begun = net.now;
    while net.nodes[at].done.is_empty() && net.now.since(begun) < Duration::from_secs(200) {
        net.run_millis(10);
    }
    (net.outcome(at, ticket), net.now.since(begun))
}

fn owner(outcome: &Outcome) -> Option<Guid> {
    if let Outcome::Found { owner, .. } = outcome { *owner } else { None }
}

use settings::Lookup::{Iterative, Recursive, Semi};

#[test]
fn the_owner_answers_and_is_named_in_every_mode() {
    for mode in [Recursive, Semi, Iterative] {
        let mut net = line(6, mode);
        let (outcome, _) = request(&mut net, 0, 20);
        let payload = Bytes::from_static(b"hello");
        assert_eq!(outcome, Outcome::Response { from: net.guid(5), status: Status::Good, payload }, "{mode:?}");
        let (outcome, _) = lookup(&mut net, 0);
        assert_eq!(owner(&outcome), Some(net.guid(5)), "{mode:?}");
        // The owner asks itself, too.
        assert!(matches!(request(&mut net, 5, 20).0, Outcome::Response { from, .. } if from == net.guid(5)));
        assert_eq!(owner(&lookup(&mut net, 5).0), Some(net.guid(5)));
    }
}

#[test]
fn a_routing_loop_ends_at_the_hop_limit_and_the_asker_is_told() {
    for mode in [Recursive, Semi, Iterative] {
        let mut net = Net::new(1, 3);
        let strings = attach(&mut net, mode);
        let guids = net.guids();
        for at in 0..3 {
            let next = guids[(at + 1) % 3];
            strings[at].pull().route = Box::new(move |_, route| {
                route.verdict = Verdict::Forward;
                route.peers.push(next);
            });
        }
        let (outcome, took) = request(&mut net, 0, 10);
        assert!(matches!(outcome, Outcome::Failed(_)), "{mode:?}: {outcome:?}");
        assert!(mode == Semi || took < Duration::from_secs(3), "{mode:?} took {took:?}");
        let forwards: u64 = (0..3).map(|at| net.nodes[at].engine.metrics(Slot(0)).unwrap().forwards).sum();
        assert!(forwards <= 64, "{mode:?}: {forwards} forwards");
        net.run_secs(60);
    }
}

fn routed(back: Return, hops: u8, origin: Guid, what: What<Puppet>) -> Body<Puppet> {
    let to = Target::Key(KEY);
    let (state, before, tried, lane) = (Bytes::new(), Bytes::new(), Vec::new(), Lane::default());
    Body::Routed(Box::new(Routed { id: 1, back, lane, hops, to, origin, state, before, tried, what }))
}

fn connect(net: &mut Net, at: usize, peer: usize) {
    let peer = net.guid(peer);
    net.act(at, move |cx| cx.want(peer, Hold::Required));
    net.run_secs(1);
}

#[test]
fn a_message_that_says_it_came_a_long_way_is_dropped() {
    let mut net = line(3, Recursive);
    connect(&mut net, 0, 1);
    let origin = net.guid(0);
    for hops in [64, 200, 255] {
        net.forge_body(0, 1, Slot(0), routed(Return::None, hops, origin, What::Message(Say::Note(1))), &[]);
    }
    net.run_secs(1);
    assert_eq!(net.seen(2), []);
    assert_eq!(net.nodes[1].engine.metrics(Slot(0)).unwrap().dropped, 3);
}

#[test]
fn dead_hops_are_each_tried_once_and_the_next_one_carries_the_message() {
    let mut net = Net::new(1, 6);
    let strings = attach(&mut net, Recursive);
    let guids = net.guids();
    // The first knows five ways; only the last of them is alive and the owner.
    let all = guids.clone();
    strings[0].pull().route = Box::new(move |query, route| {
        route.verdict = Verdict::Forward;
        route.peers.extend(all[1..].iter().filter(|peer| query.allows(peer)).take(query.n));
    });
    strings[5].pull().route = Box::new(|_, route| route.verdict = Verdict::Deliver { rank: 0 });
    net.dialing =
        Box::new(|_, to, _| if to == 5 { Dialing::after(10) } else { Dialing::Fails(Duration::from_millis(50)) });
    let (outcome, took) = request(&mut net, 0, 30);
    assert!(matches!(outcome, Outcome::Response { from, .. } if from == guids[5]), "{outcome:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(net.nodes[0].dials, 5);
    // With nobody alive the asker is told at once, not when its patience ends.
    net.cut(0, 5);
    net.dialing = Box::new(|_, _, _| Dialing::Fails(Duration::from_millis(50)));
    let (outcome, took) = request(&mut net, 0, 30);
    assert_eq!(outcome, Outcome::Failed(Failure::Unreachable));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_crowd_of_dead_hops_is_not_dialed_without_end() {
    let mut net = Net::new(1, 2);
    let strings = attach(&mut net, Recursive);
    strings[0].pull().route = Box::new(|query, route| {
        route.verdict = Verdict::Forward;
        let made_up = |at: u8| Guid([at; 32]);
        route.peers.extend((0..200).map(made_up).filter(|peer| query.allows(peer)).take(query.n));
    });
    let (outcome, _) = request(&mut net, 0, 600);
    assert_eq!(outcome, Outcome::Failed(Failure::Unreachable));
    assert!(net.nodes[0].dials < 12, "{} dials", net.nodes[0].dials);
    net.act(0, |cx| cx.route(Target::Key(KEY), Say::Note(1)));
    net.run_secs(600);
    assert!(net.nodes[0].dials < 24, "{} dials", net.nodes[0].dials);
}

#[test]
fn a_hop_that_becomes_the_owner_while_it_looks_for_another_way_answers_itself() {
    for (mode, at) in [(Recursive, 0), (Recursive, 1), (Semi, 0), (Semi, 1)] {
        let mut net = Net::new(1, 3);
        let strings = attach(&mut net, mode);
        along(&strings, &net.guids());
        let dead = net.guid(at + 1);
        strings[at].pull().route = Box::new(move |query, route| {
            if query.allows(&dead) {
                route.verdict = Verdict::Forward;
                route.peers.push(dead);
            } else {
                route.verdict = Verdict::Deliver { rank: 0 };
            }
        });
        net.dialing =
            Box::new(
                move |_, to, _| {
                    if to == at + 1 { Dialing::Fails(Duration::from_millis(20)) } else { Dialing::after(10) }
                },
            );
        let (outcome, _) = request(&mut net, 0, 10);
        assert!(matches!(outcome, Outcome::Response { from, .. } if from == net.guid(at)), "{mode:?} {outcome:?}");
    }
}

#[test]
fn an_answer_of_another_kind_ends_no_question() {
    let wrong: Vec<fn(u32) -> Body<Puppet>> = vec![
        |id| Body::Pong { id },
        |id| Body::Stored { id, receipt: Receipt::Kept },
        |id| Body::Fetched { id, records: vec![] },
        |id| Body::Response { id, status: Status::Good },
        |id| Body::Reply { id, message: Say::Note(1) },
        |id| Body::Next { id, verdict: Verdict::Unreachable, peers: vec![], state: Bytes::new() },
    ];
    for (mode, right) in [(Iterative, 5), (Recursive, 99)] {
        for (at, make) in wrong.iter().enumerate().filter(|(at, _)| *at != right) {
            let mut net = line(2, mode);
            let make = *make;
            net.passes = Box::new(move |from, _, frame| {
                if from == 1
                    && let Body::Next { id, .. } | Body::Answer { id, .. } = frame.body
                {
                    frame.body = make(id);
                }
                true
            });
            let (outcome, took) = lookup(&mut net, 0);
            assert!(matches!(outcome, Outcome::Failed(_)), "{mode:?} {at}: {outcome:?}");
            assert!(took < Duration::from_secs(60), "{mode:?} {at} took {took:?}");
        }
    }
}

#[test]
fn an_answer_by_somebody_who_was_not_asked_is_ignored() {
    let mut net = line(3, Recursive);
    connect(&mut net, 2, 0);
    connect(&mut net, 0, 1);
    // The asked one is silent, the third guesses the number.
    net.passes = Box::new(|from, to, _| (from, to) != (1, 0));
    let ticket = net.ticket();
    let (to, payload) = (To::Peer(net.guid(1)), Bytes::new());
    let timeout = Duration::from_secs(5);
    net.command(0, Slot(0), Command::Request { ticket, to, service: 3, payload, timeout });
    for id in 0..100 {
        net.forge_body(2, 0, Slot(0), Body::Response { id, status: Status::Good }, &[]);
    }
    net.run_secs(10);
    assert_eq!(net.outcome(0, ticket), Outcome::Failed(Failure::Timeout));
}

#[test]
fn one_peers_questions_leave_room_for_everybody_elses() {
    let mut net = line(4, Recursive);
    connect(&mut net, 0, 1);
    // The next hop answers nothing, so that every question is remembered on its way.
    net.passes = Box::new(|from, _, frame| from != 2 || !matches!(frame.body, Body::Answer { .. }));
    let origin = net.guid(0);
    for id in 0..20_000 {
        let mut body = routed(Return::Path, 1, origin, What::Lookup { n: 1 });
        if let Body::Routed(routed) = &mut body {
            routed.id = id;
        }
        net.forge_body(0, 1, Slot(0), body, &[]);
    }
    net.passes = Box::new(|_, _, _| true);
    assert_eq!(owner(&lookup(&mut net, 1).0), Some(net.guid(3)));
    let refused = net.nodes[1].engine.metrics(Slot(0)).unwrap().dropped;
    assert!(refused > 19_000, "{refused} refused");
    net.run_secs(30);
    assert_eq!(owner(&lookup(&mut net, 0).0), Some(net.guid(3)), "its share comes back in time");
}

/// Two disjoint ways from 0 to the owner 4: over 1 and 2, and over 3. The first drops whatever passes.
fn two_ways(mode: settings::Lookup, disjoint: usize) -> Net {
    let mut net = Net::new(1, 5);
    let settings = settings::Overlay { lookup: mode, disjoint, ..settings::Overlay::default() };
    let strings: Vec<Strings> =
        (0..5).map(|at| net.attach(at, Spec { settings: settings.clone(), ..spec("ring") })).collect();
    let guids = net.guids();
    let ways: [&[usize]; 5] = [&[1, 3], &[2], &[4], &[4], &[]];
    for (at, ways) in ways.iter().enumerate() {
        let ways: Vec<Guid> = ways.iter().map(|&to| guids[to]).collect();
        strings[at].pull().route = Box::new(move |query, route| {
            if ways.is_empty() {
                route.verdict = Verdict::Deliver { rank: 0 };
            } else {
                route.verdict = Verdict::Forward;
                route.peers.extend(ways.iter().filter(|way| query.allows(way)).take(query.n));
            }
        });
    }
    net.passes = Box::new(|from, _, frame| {
        from != 1 || !matches!(frame.body, Body::Routed(_) | Body::Answer { .. } | Body::Next { .. })
    });
    net
}

#[test]
fn a_lookup_arrives_although_a_peer_on_the_first_path_drops_everything() {
    for mode in [Recursive, Semi, Iterative] {
        let mut net = two_ways(mode, 1);
        let (outcome, took) = lookup(&mut net, 0);
        assert_eq!(owner(&outcome), Some(net.guid(4)), "{mode:?}: {outcome:?}");
        assert!(took < Duration::from_secs(20), "{mode:?} took {took:?}");
    }
}

#[test]
fn a_lookup_by_way_of_a_dead_peer_goes_on_over_those_the_asker_knows() {
    for mode in [Recursive, Semi, Iterative] {
        let mut net = two_ways(mode, 1);
        let dead = net.guid(1);
        net.act(0, move |cx| {
            let _ = cx.lookup_via(dead, Target::Key(KEY), 1);
        });
        net.run_secs(30);
        let found = |seen: Seen| if let Seen::Found { owner, .. } = seen { Some(owner) } else { None };
        let owners: Vec<_> = net.nodes[0].strings[0].seen().into_iter().filter_map(found).collect();
        assert_eq!(owners, [Some(net.guid(4))], "{mode:?}");
    }
}

#[test]
fn disjoint_paths_arrive_without_waiting_for_the_dropping_peer() {
    for mode in [Recursive, Semi] {
        let mut net = two_ways(mode, 2);
        let (outcome, took) = lookup(&mut net, 0);
        assert_eq!(owner(&outcome), Some(net.guid(4)), "{mode:?}: {outcome:?}");
        assert!(took < Duration::from_secs(1), "{mode:?} took {took:?}");
    }
    let mut net = two_ways(Iterative, 2);
    let (outcome, took) = lookup(&mut net, 0);
    assert_eq!(owner(&outcome), Some(net.guid(4)), "{outcome:?}");
    assert!(took < Duration::from_secs(15), "took {took:?}");
}

#[test]
fn a_liar_who_makes_peers_up_costs_a_lookup_some_time_and_not_its_end() {
    let mut net = Net::new(1, 4);
    let strings = attach(&mut net, Iterative);
    let guids = net.guids();
    for (at, strings) in strings.iter().enumerate() {
        strings.pull().breadth = 3;
        let known: Vec<Guid> = guids.iter().copied().filter(|guid| *guid != guids[at]).collect();
        strings.pull().route = Box::new(move |query, route| {
            let Target::Key(key) = query.to else { return };
            let mut all: Vec<Guid> = known.iter().copied().filter(|peer| query.allows(peer)).collect();
            all.sort_by_key(|peer| Key::from(*peer).xor(key));
            route.verdict = Verdict::Forward;
            route.peers.extend(all.into_iter().take(query.n));
        });
    }
    // Node 1 names 60 peers nearer to the key than anybody, and none of them is ever heard of.
    let nearest = |at: u8| Guid([[7; 31].as_slice(), &[at]].concat().try_into().unwrap());
    net.passes = Box::new(move |from, _, frame| {
        if let (1, Body::Next { peers, .. }) = (from, &mut frame.body) {
            *peers = (0..60).map(nearest).collect();
        }
        true
    });
    net.dialing = Box::new(|_, to, _| if to < 4 { Dialing::after(10) } else { Dialing::Silent });
    let (outcome, took) = lookup(&mut net, 0);
    assert!(took <= Duration::from_secs(61), "took {took:?}");
    let mut real: Vec<Guid> = guids.clone();
    real.sort_by_key(|peer| Key::from(*peer).xor(&KEY));
    assert_eq!(owner(&outcome), Some(real[0]), "{outcome:?}");
}

#[test]
fn a_question_that_crosses_a_goodbye_is_asked_again() {
    let idle = settings::Node::default().idle;
    for early in 0..=40 {
        let mut net = line(2, Iterative);
        assert!(owner(&lookup(&mut net, 0).0).is_some());
        net.run_millis(idle.as_millis() as u64 + 20 - early);
        let (outcome, _) = lookup(&mut net, 0);
        assert_eq!(owner(&outcome), Some(net.guids()[1]), "asked {early} ms before the end: {outcome:?}");
        assert!(matches!(outcome, Outcome::Found { timeouts: 0, .. }), "hanging up is no time-out");
    }
}

#[test]
fn a_replica_set_names_nobody_twice() {
    let mut net = line(2, Recursive);
    net.passes = Box::new(|from, _, frame| {
        if let (1, Body::Answer { answer: Answer::Found { peers }, .. }) = (from, &mut frame.body) {
            let owner = peers[0];
            peers.extend([owner; 200]);
        }
        true
    });
    let ticket = net.ticket();
    net.command(0, Slot(0), Command::Lookup { ticket, to: Target::Key(KEY), n: 20 });
    net.run_secs(1);
    assert!(matches!(net.outcome(0, ticket), Outcome::Found { peers, .. } if peers == [net.guid(1)]));
}

#[test]
fn a_client_goes_through_its_gateway_and_carries_nothing() {
    for mode in [Recursive, Semi, Iterative] {
        let mut net = Net::new(1, 4);
        let client = net.attach(0, Spec { standing: Standing::Client, ..with_mode(mode) });
        let strings: Vec<Strings> = (1..4).map(|at| net.attach(at, with_mode(mode))).collect();
        along(&strings, &net.guids()[1..]);
        let seeds = vec![net.contact(1)];
        net.command(0, Slot(0), Command::Join { seeds });
        net.run_secs(1);
        assert!(
            matches!(request(&mut net, 0, 20).0, Outcome::Response { from, .. } if from == net.guid(3)),
            "{mode:?}"
        );
        assert_eq!(owner(&lookup(&mut net, 0).0), Some(net.guid(3)), "{mode:?}");
        let origin = net.guid(1);
        net.forge_body(1, 0, Slot(0), routed(Return::None, 1, origin, What::Message(Say::Note(1))), &[]);
        net.run_secs(1);
        assert!(!client.seen().iter().any(|s| matches!(s, Seen::Message { .. })), "{mode:?}");
    }
}

#[test]
fn the_time_out_follows_the_link_from_10_to_200_ms() {
    let mut net = Net::new(1, 2);
    net.attach_all("ring");
    net.dialing = Box::new(|_, _, _| Dialing::after(5));
    connect(&mut net, 0, 1);
    let b = net.guid(1);
    let ask = |net: &mut Net| {
        net.act(0, move |cx| {
            let _ = cx.call(b, Say::Ask(1));
        });
        net.run_secs(1);
    };
    (0..50).for_each(|_| ask(&mut net));
    net.set_latency(Duration::from_millis(100));
    (0..50).for_each(|_| ask(&mut net));
    let seen = net.seen(0);
    let failed = seen.iter().filter(|s| matches!(s, Seen::Failed(..))).count();
    assert_eq!(failed, 0, "a slower link is no dead peer");
    let rtt = net.nodes[0].engine.peers()[0].rtt.expect("measured");
    assert!((Duration::from_millis(190)..Duration::from_millis(210)).contains(&rtt), "{rtt:?}");
    // A peer that then says nothing is given up after about as long as it used to take, not after seconds.
    net.passes = Box::new(|from, _, _| from == 0);
    net.act(0, move |cx| {
        let _ = cx.call(b, Say::Ask(1));
    });
    net.run_millis(600);
    assert!(matches!(net.seen(0)[..], [Seen::Failed(..)]));
}

#[test]
fn frames_for_an_overlay_that_is_not_shared_are_ignored() {
    let mut net = line(2, Recursive);
    connect(&mut net, 0, 1);
    net.seen(1);
    let alone = net.attach(1, spec("den"));
    for tag in [1, 255, 256 + 1, 2 << 8, 77 << 8, u32::MAX] {
        for body in [
            Body::Send(Say::Note(1)),
            Body::Leaving,
            Body::Notice { service: 1, urgency: Urgency::Usual },
            Body::Ping { id: 1 },
        ] {
            net.forge(0, 1, Frame { tag, contacts: vec![], body, payload: Bytes::from_static(b"x") });
        }
    }
    net.run_secs(1);
    assert_eq!((net.seen(1), alone.seen(), net.nodes[1].arrived.len()), (vec![], vec![], 0));
    assert!(net.share_a_wire(0, 1), "they may have been on their way when it was left");
}

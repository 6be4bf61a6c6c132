//! Whoever asks something is told how it ended, whatever becomes of the overlay.

use std::time::Duration;

use bytes::Bytes;
use polymorph_core::Key;
use polymorph_core::engine::io::{Command, Failure, Origin, Outcome, To, Urgency};
use polymorph_core::engine::{Slot, settings};
use polymorph_core::record::{GetOptions, PutOptions};
use polymorph_core::topology::event::{Event, Ticket};
use polymorph_core::topology::question::{Hold, Target, Verdict};

use crate::net::Net;
use crate::puppet::{Puppet, Say, Seen};
use crate::spec::{Spec, spec};

const KEY: Key = Key([7; 32]);
const LONG: Duration = Duration::from_secs(1000);

/// Everything an application can ask, with tickets of their own.
fn everything(net: &mut Net, peer: usize) -> Vec<(Ticket, Command<Puppet>)> {
    let peer = net.guid(peer);
    let me = net.guid(0);
    let makes: Vec<Box<dyn Fn(Ticket) -> Command<Puppet>>> = vec![
        Box::new(|ticket| Command::Lookup { ticket, to: Target::Key(KEY), n: 3 }),
        Box::new(move |ticket| request(ticket, To::Peer(peer))),
        Box::new(move |ticket| request(ticket, To::Peer(me))),
        Box::new(|ticket| request(ticket, To::Target(Target::Key(KEY)))),
        Box::new(|ticket| Command::Put { ticket, key: KEY, value: Bytes::new(), options: PutOptions::default() }),
        Box::new(|ticket| Command::Get { ticket, key: KEY, options: GetOptions::default() }),
        Box::new(|ticket| Command::Ask { ticket, command: Bytes::from_static(b"never answered") }),
        Box::new(move |ticket| Command::Ping { ticket, peer }),
        Box::new(move |ticket| notice(ticket, To::Peer(peer))),
        Box::new(|ticket| notice(ticket, To::Target(Target::Key(KEY)))),
        Box::new(|ticket| {
            let (payload, origin, urgency) = (Bytes::new(), Origin::Claimed, Urgency::Usual);
            Command::Publish { ticket, topic: None, payload, origin, urgency }
        }),
    ];
    makes.iter().map(|make| (net.ticket(), make)).map(|(ticket, make)| (ticket, make(ticket))).collect()
}

fn request(ticket: Ticket, to: To<Puppet>) -> Command<Puppet> {
    Command::Request { ticket, to, service: 1, payload: Bytes::from_static(b"x"), timeout: LONG }
}

fn notice(ticket: Ticket, to: To<Puppet>) -> Command<Puppet> {
    Command::Notice { ticket, to, service: 1, urgency: Urgency::Usual, payload: Bytes::from_static(b"x") }
}

fn with(lookup: settings::Lookup) -> Spec {
    Spec { settings: settings::Overlay { lookup, ..settings::Overlay::default() }, ..spec("ring") }
}

/// Two nodes of which the second never answers anything.
fn mute(lookup: settings::Lookup) -> Net {
    let mut net = Net::new(1, 2);
    let b = net.guid(1);
    for at in 0..2 {
        let strings = net.attach(at, with(lookup));
        strings.pull().route = Box::new(move |query, route| {
            if at == 0 && query.allows(&b) {
                route.verdict = Verdict::Forward;
                route.peers.push(b);
            }
        });
    }
    net.act(0, move |cx| cx.want(b, Hold::Required));
    net.run_secs(1);
    net.passes = Box::new(|from, _, _| from == 0);
    (0..2).for_each(|at| net.nodes[at].answers = false);
    net
}

#[test]
fn detaching_under_traffic_ends_every_question_once() {
    use settings::Lookup::{Iterative, Recursive, Semi};
    for mode in [Recursive, Semi, Iterative] {
        for millis in [0, 1, 15, 100, 900] {
            let mut net = mute(mode);
            let asked = everything(&mut net, 1);
            let tickets: Vec<Ticket> = asked.iter().map(|(ticket, _)| *ticket).collect();
            asked.into_iter().for_each(|(_, command)| net.command(0, Slot(0), command));
            net.run_millis(millis);
            net.detach(0, Slot(0));
            for ticket in &tickets {
                let ended = net.nodes[0].done.iter().filter(|(done, _)| done == ticket).count();
                let at = ticket.0 - tickets[0].0;
                assert_eq!(ended, 1, "question {at} ended {ended} times; {mode:?}, {millis} ms");
            }
            net.run_secs(100);
            assert_eq!(net.nodes[0].done.len(), tickets.len(), "and none again later");
            assert_eq!(net.half_open_wires(), 0);
        }
    }
}

#[test]
fn what_is_asked_of_an_overlay_that_is_gone_ends_at_once() {
    let mut net = mute(settings::Lookup::Recursive);
    let asked = everything(&mut net, 1);
    net.detach(0, Slot(0));
    for (ticket, command) in asked {
        net.command(0, Slot(0), command);
        assert_eq!(net.outcome(0, ticket), Outcome::Failed(Failure::Detached));
    }
}

#[test]
fn a_topology_that_never_answers_keeps_its_application_waiting_for_a_minute_at_most() {
    let mut net = Net::new(1, 1);
    net.attach_all("ring");
    let ticket = net.ticket();
    net.command(0, Slot(0), Command::Ask { ticket, command: Bytes::from_static(b"?") });
    net.run_secs(61);
    assert_eq!(net.outcome(0, ticket), Outcome::Failed(Failure::Timeout));
}

#[test]
fn questions_past_the_bound_are_refused_and_none_is_forgotten() {
    let mut net = Net::new(1, 2);
    for at in 0..2 {
        let settings = settings::Overlay { pending: 50, ..settings::Overlay::default() };
        net.attach(at, Spec { settings, ..spec("ring") });
    }
    let b = net.guid(1);
    net.act(0, move |cx| cx.want(b, Hold::Required));
    net.run_secs(1);
    net.passes = Box::new(|from, _, _| from == 0);
    let mut refused = 0;
    for _ in 0..200 {
        let ticket = net.ticket();
        net.command(0, Slot(0), Command::Ping { ticket, peer: b });
        refused +=
            net.nodes[0].done.iter().filter(|(_, outcome)| *outcome == Outcome::Failed(Failure::TooMany)).count();
        net.nodes[0].done.retain(|(_, outcome)| *outcome != Outcome::Failed(Failure::TooMany));
    }
    assert_eq!(refused, 150);
    net.run_secs(100);
    assert_eq!(net.nodes[0].done.len(), 50);
}

#[test]
fn a_topology_that_talks_to_itself_without_end_is_stopped_and_the_node_lives_on() {
    let mut net = Net::new(1, 2);
    let strings = net.attach_all("ring");
    strings[0].pull().hook = Some(Box::new(|event, cx| {
        if let Event::Message { message: Say::Note(9), .. } = event {
            let me = cx.me();
            let _ = cx.send(me, Say::Note(9));
        }
    }));
    let [a, b] = [net.guid(0), net.guid(1)];
    net.act(0, move |cx| {
        let _ = cx.send(a, Say::Note(9));
    });
    net.seen(0);
    net.act(0, move |cx| cx.want(b, Hold::Required));
    net.run_secs(1);
    assert_eq!(net.seen(0), [Seen::Up(b)]);
}

#[test]
fn a_lost_peer_ends_what_it_was_asked() {
    for (what, command) in [("a cut", 0), ("a goodbye", 1), ("a detach", 2)] {
        let mut net = mute(settings::Lookup::Recursive);
        let b = net.guid(1);
        let ticket = net.ticket();
        net.command(0, Slot(0), request(ticket, To::Peer(b)));
        net.act(0, move |cx| {
            let _ = cx.call(b, Say::Ask(1));
        });
        net.seen(0);
        net.passes = Box::new(|_, _, _| true);
        match command {
            0 => net.cut(0, 1),
            1 => net.forge(1, 0, crate::spec::goodbye(polymorph_core::wire::frame::Goodbye::Leaving)),
            _ => net.detach(1, Slot(0)),
        }
        net.run_millis(50);
        assert_eq!(net.outcome(0, ticket), Outcome::Failed(Failure::PeerGone), "{what}");
        assert!(net.seen(0).iter().any(|s| matches!(s, Seen::Failed(_, peer) if *peer == b)), "{what}");
    }
}

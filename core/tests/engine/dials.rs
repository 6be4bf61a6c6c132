//! One session for each pair, whoever dials first and whichever wire is quicker.

use std::time::Duration;

use polymorph_core::engine::Slot;
use polymorph_core::engine::io::{Command, Failure, Outcome};
use polymorph_core::topology::event::Down;
use polymorph_core::topology::question::Hold;
use rand_core::Rng;

use crate::net::{Dialing, Net};
use crate::puppet::Seen;

const RUNS: u64 = 1000;

fn millis(rng: &mut impl Rng, below: u64) -> Duration {
    Duration::from_micros(rng.next_u64() % (below * 1000))
}

/// Wires of differing kinds: each dial takes its own time, each end learns of it at its own moment, and each way has
/// its own latency.
fn any_wire(rng: &mut impl Rng) -> Dialing {
    let latency = [millis(rng, 80), millis(rng, 80)];
    Dialing::Connects { latency, known: [millis(rng, 300), millis(rng, 300)] }
}

fn both_want(net: &mut Net) {
    let [a, b] = [net.guid(0), net.guid(1)];
    net.act(0, move |cx| cx.want(b, Hold::Required));
    // The other dials a little later, or at once.
    let later = millis(&mut net.rng, 200);
    net.run_for(later);
    net.act(1, move |cx| cx.want(a, Hold::Required));
}

fn assert_one_session(net: &Net) {
    let seed = net.seed;
    assert!(net.share_a_wire(0, 1), "no common wire; seed {seed}");
    assert_eq!(net.half_open_wires(), 1, "wires are left over; seed {seed}");
    for (at, peer) in [(0, 1), (1, 0)] {
        assert_eq!(net.seen(at), [Seen::Up(net.guid(peer))], "node {at}; seed {seed}");
    }
}

#[test]
fn a_thousand_simultaneous_dials_end_in_one_session_each() {
    for seed in 0..RUNS {
        let mut net = Net::new(seed, 2);
        net.attach_all("ring");
        net.dialing = Box::new(|_, _, rng| any_wire(rng));
        both_want(&mut net);
        net.run_secs(8);
        assert_one_session(&net);
    }
}

#[test]
fn a_thousand_dials_across_a_nat_end_in_one_session_each() {
    for seed in 0..RUNS {
        let mut net = Net::new(seed, 2);
        net.attach_all("ring");
        let hidden = (seed % 2) as usize;
        let silent = seed % 3 == 0;
        net.dialing = Box::new(move |_, to, rng| match to {
            to if to != hidden => any_wire(rng),
            _ if silent => Dialing::Silent,
            _ => Dialing::Fails(millis(rng, 9_000)),
        });
        both_want(&mut net);
        net.run_secs(30);
        assert!(net.share_a_wire(0, 1), "no common wire; seed {seed}");
        assert_eq!(net.half_open_wires(), 1, "wires are left over; seed {seed}");
        for at in 0..2 {
            let seen = net.seen(at);
            let ups = seen.iter().filter(|s| matches!(s, Seen::Up(_))).count();
            let downs = seen.iter().filter(|s| matches!(s, Seen::Down(..))).count();
            assert_eq!((ups, downs), (1, 0), "node {at} saw {seen:?}; seed {seed}");
        }
    }
}

#[test]
fn a_peer_behind_a_nat_is_not_kept_waiting_for_the_dial_that_will_fail() {
    for seed in 0..20 {
        let mut net = Net::new(seed, 2);
        net.attach_all("ring");
        // The lower one's own dial is never answered; the higher one's wire is there at once.
        let (low, high) = net.low_high();
        net.dialing = Box::new(move |from, _, _| if from == low { Dialing::Silent } else { Dialing::after(20) });
        let [low_guid, high_guid] = [net.guid(low), net.guid(high)];
        net.act(low, move |cx| cx.want(high_guid, Hold::Required));
        net.act(high, move |cx| cx.want(low_guid, Hold::Required));
        net.run_secs(2);
        assert!(net.share_a_wire(0, 1), "seed {seed}");
        // The dial that was given up changes nothing.
        net.run_secs(60);
        assert_one_session(&net);
    }
}

#[test]
fn a_dial_that_ends_long_after_it_was_given_up_ends_in_one_session() {
    for seed in 0..200 {
        let mut net = Net::new(seed, 2);
        net.attach_all("ring");
        net.dialing = Box::new(|_, _, rng| {
            let late = Duration::from_secs(9) + millis(rng, 4000);
            Dialing::Connects { latency: [millis(rng, 50); 2], known: [late, late + millis(rng, 50)] }
        });
        both_want(&mut net);
        net.run_secs(40);
        for at in 0..2 {
            // Given up: told once that it failed, and not wanted since. What came later is idle.
            let [a, b] = [net.guid(0), net.guid(1)];
            net.act(at, move |cx| cx.want(if at == 0 { b } else { a }, Hold::Required));
        }
        net.run_secs(60);
        assert!(net.share_a_wire(0, 1), "seed {seed}");
        assert_eq!(net.half_open_wires(), 1, "wires are left over; seed {seed}");
    }
}

#[test]
fn a_dial_that_fails_is_told_to_the_topology_for_which_it_was_though_it_wanted_no_link() {
    let mut net = Net::new(1, 2);
    net.attach_all("ring");
    net.attach_all("other");
    net.dialing = Box::new(|_, _, _| Dialing::Fails(Duration::from_millis(5)));
    let (ticket, peer) = (net.ticket(), net.guid(1));
    net.command(0, Slot(0), Command::Ping { ticket, peer });
    net.run_secs(5);
    assert_eq!(net.outcome(0, ticket), Outcome::Failed(Failure::PeerGone));
    assert_eq!(net.seen(0), [Seen::DialFailed(peer)]);
    assert_eq!(net.nodes[0].strings[1].seen(), [], "the other overlay asked nothing");
    // Whoever wants the link too is told once.
    net.act(0, move |cx| cx.want(peer, Hold::Required));
    net.command(0, Slot(0), Command::Ping { ticket, peer });
    net.run_secs(5);
    assert_eq!(net.seen(0), [Seen::DialFailed(peer)]);
}

#[test]
fn a_peer_dialed_again_after_its_wire_broke_is_told_of_once_each() {
    for seed in 0..200 {
        let mut net = Net::new(seed, 2);
        net.attach_all("ring");
        net.dialing = Box::new(|_, _, rng| any_wire(rng));
        both_want(&mut net);
        net.run_secs(5);
        (0..2).for_each(|at| drop(net.seen(at)));
        net.cut(0, 1);
        net.run_secs(5);
        for (at, peer) in [(0, 1), (1, 0)] {
            assert_eq!(net.seen(at), [Seen::Down(net.guid(peer), Down::Lost)], "seed {seed}");
        }
        both_want(&mut net);
        net.run_secs(5);
        assert_one_session(&net);
    }
}

#[test]
fn two_wires_at_once_lose_no_question() {
    for seed in 0..200 {
        let mut net = Net::new(seed, 2);
        net.attach_all("ring");
        net.dialing = Box::new(|_, _, rng| any_wire(rng));
        let [a, b] = [net.guid(0), net.guid(1)];
        for (at, to) in [(0, b), (1, a)] {
            net.act(at, move |cx| {
                let _ = cx.call(to, crate::puppet::Say::Ask(7));
            });
        }
        net.run_secs(20);
        for at in 0..2 {
            let seen = net.seen(at);
            let answers = seen.iter().filter(|s| matches!(s, Seen::Reply(_, crate::puppet::Say::Answer(7)))).count();
            assert_eq!(answers, 1, "node {at} saw {seen:?}; seed {seed}");
        }
    }
}

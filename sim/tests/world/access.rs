//! Access lines, lost packets, cut and clogged links, slow peers.

use core::time::Duration;

use bytes::Bytes;
use polymorph_core::engine::io::{Command, Failure, Outcome, To, Urgency};
use polymorph_core::topology::event::Ticket;
use polymorph_core::wire::frame::Status;
use polymorph_sim::{Bandwidth, Latency, Options, Peer, World};

use crate::circle;
use crate::circle::Circle;

const MILLI: Duration = Duration::from_millis(1);
const ONE_WAY: Duration = Duration::from_millis(50);

fn notice(world: &mut World<Circle>, from: Peer, to: Peer, bytes: usize) {
    let (ticket, to) = (world.ticket(), To::Peer(world.guid(to)));
    world.command(
        from,
        Command::Notice { ticket, to, service: 1, urgency: Urgency::Usual, payload: Bytes::from(vec![0; bytes]) },
    );
}

/// How many bytes of notices reached a peer.
fn got(world: &World<Circle>, peer: Peer) -> usize {
    world.arrivals().iter().filter(|arrival| arrival.peer == peer).map(|arrival| arrival.payload.len()).sum()
}

/// A world in which the first few have wires to each other.
fn linked(options: Options) -> (World<Circle>, Vec<Peer>) {
    let (mut world, peers) = circle(options, 4);
    world.serve(|_| None);
    for from in 0..3 {
        for to in 0..3 {
            if from != to {
                notice(&mut world, peers[from], peers[to], 1);
            }
        }
    }
    world.run_for(Duration::from_secs(3));
    world.forget();
    (world, peers)
}

const KB: usize = 1000;

#[test]
fn two_flows_that_share_one_uplink_get_half_each() {
    let (mut world, peers) = linked(Options::seeded(41));
    world.set_bandwidth(peers[0], Bandwidth { up: Some(1_000_000), down: None });
    (0..10).for_each(|_| notice(&mut world, peers[0], peers[1], 50 * KB));
    // The second comes a little later, behind a long queue, and has its half at once.
    world.run_for(50 * MILLI);
    (0..10).for_each(|_| notice(&mut world, peers[0], peers[2], 50 * KB));
    world.run_for(500 * MILLI + ONE_WAY);
    let shares = [got(&world, peers[1]), got(&world, peers[2])];
    assert!(shares[0].abs_diff(300 * KB) <= 50 * KB && shares[1].abs_diff(250 * KB) <= 50 * KB, "{shares:?}");
    world.run_for(480 * MILLI);
    assert_eq!([got(&world, peers[1]), got(&world, peers[2])], [500 * KB; 2], "a megabyte in a second");
}

#[test]
fn two_flows_that_share_one_downlink_get_half_each() {
    let (mut world, peers) = linked(Options::seeded(42));
    world.set_bandwidth(peers[0], Bandwidth { up: None, down: Some(1_000_000) });
    for from in [1, 2] {
        (0..10).for_each(|_| notice(&mut world, peers[from], peers[0], 50 * KB));
    }
    world.run_for(500 * MILLI + ONE_WAY);
    let from = |peer: Peer| {
        let guid = world.guid(peer);
        world
            .arrivals()
            .iter()
            .filter(|arrival| arrival.from == guid)
            .map(|arrival| arrival.payload.len())
            .sum::<usize>()
    };
    let shares = [from(peers[1]), from(peers[2])];
    assert!(shares.iter().all(|share| share.abs_diff(250 * KB) <= 50 * KB), "{shares:?}");
}

#[test]
fn a_slow_uplink_makes_its_owner_busy_and_loses_nothing() {
    let bandwidth = Bandwidth { up: Some(100_000), down: Some(100_000) };
    let (mut world, peers) = linked(Options { bandwidth, ..Options::seeded(43) });
    let mut sent = 0;
    for _ in 0..80 {
        let (ticket, to) = (world.ticket(), To::Peer(world.guid(peers[1])));
        let payload = Bytes::from(vec![0; 100 * KB]);
        world.command(peers[0], Command::Notice { ticket, to, service: 1, urgency: Urgency::Usual, payload });
        let ended = world.take_ended(peers[0], ticket).expect("a notice is taken or not").outcome;
        sent += usize::from(ended == Outcome::Sent);
    }
    assert!((5..80).contains(&sent), "the queue takes some, not all: {sent}");
    // Twice through a pipe of 100 kB/s, but both at once.
    world.run_for(Duration::from_secs(sent as u64 + 3));
    assert_eq!(got(&world, peers[1]), sent * 100 * KB);
}

#[test]
fn who_leaves_is_missed_after_its_last_word() {
    let (mut world, peers) = linked(Options::seeded(44));
    world.set_bandwidth(peers[1], Bandwidth { up: None, down: Some(100_000) });
    notice(&mut world, peers[0], peers[1], 40 * KB);
    let gone = world.guid(peers[0]);
    world.leave(peers[0]);
    world.run_for(300 * MILLI);
    assert!(world.topology(peers[1]).expect("there").knows(gone));
    world.run_for(300 * MILLI);
    assert_eq!(got(&world, peers[1]), 40 * KB);
    assert!(!world.topology(peers[1]).expect("there").knows(gone));
}

#[test]
fn who_crashes_takes_along_what_it_had_not_sent() {
    let (mut world, peers) = linked(Options::seeded(45));
    world.set_bandwidth(peers[0], Bandwidth { up: Some(100_000), down: None });
    (0..4).for_each(|_| notice(&mut world, peers[0], peers[1], 50 * KB));
    world.run_for(Duration::from_millis(1200));
    world.crash(peers[0]);
    world.run_for(Duration::from_secs(10));
    assert_eq!(got(&world, peers[1]), 100 * KB);
}

fn ping(world: &mut World<Circle>, from: Peer, to: Peer) -> (Outcome, Duration) {
    let (ticket, to) = (world.ticket(), To::Peer(world.guid(to)));
    let (payload, timeout, asked) = (Bytes::new(), Duration::from_secs(60), world.now());
    world.command(from, Command::Request { ticket, to, service: 7, payload, timeout });
    wait(world, from, ticket, asked)
}

fn wait(world: &mut World<Circle>, from: Peer, ticket: Ticket, asked: polymorph_core::Time) -> (Outcome, Duration) {
    assert!(world.run_until(Duration::from_secs(100), |world| world.ended(from, ticket).is_some()));
    let ended = world.take_ended(from, ticket).expect("it ended");
    (ended.outcome, ended.at.since(asked))
}

fn answering(options: Options) -> (World<Circle>, Vec<Peer>) {
    let (mut world, peers) = linked(options);
    world.serve(|_| Some((Status::Good, Bytes::new())));
    (world, peers)
}

#[test]
fn lost_packets_cost_time_and_nothing_else() {
    let mean = |loss: f64| {
        let (mut world, peers) = answering(Options { loss, ..Options::seeded(46) });
        let mut all = Duration::ZERO;
        for _ in 0..200 {
            let (answer, took) = ping(&mut world, peers[0], peers[1]);
            assert!(matches!(answer, Outcome::Response { .. }), "{answer:?}");
            all += took;
        }
        all / 200
    };
    assert_eq!(mean(0.0), 2 * ONE_WAY);
    // Each of two packets is lost once in ten times, and then 175 ms late, sometimes more.
    let late = mean(0.1);
    assert!(late > 2 * ONE_WAY + 25 * MILLI && late < 2 * ONE_WAY + 70 * MILLI, "{late:?}");
}

#[test]
fn packets_that_come_twice_take_their_part_of_the_line_and_nothing_is_delivered_twice() {
    let (mut world, peers) = linked(Options { duplicates: 0.5, ..Options::seeded(51) });
    world.set_bandwidth(peers[0], Bandwidth { up: Some(1_000_000), down: None });
    (0..10).for_each(|_| notice(&mut world, peers[0], peers[1], 50 * KB));
    world.run_for(600 * MILLI + ONE_WAY);
    let in_time = got(&world, peers[1]);
    assert!((350 * KB..=400 * KB).contains(&in_time), "half as much again passes the line: {in_time}");
    world.run_for(300 * MILLI);
    assert_eq!(got(&world, peers[1]), 500 * KB);
}

#[test]
fn jitter_makes_frames_late_and_lets_none_overtake() {
    let latency = Latency::Constant(ONE_WAY);
    let (mut world, peers) = circle(Options { latency, jitter: 200 * MILLI, ..Options::seeded(47) }, 6);
    world.run_for(Duration::from_secs(600));
    for &peer in &peers {
        assert!(world.topology(peer).expect("there").heard.values().all(|heard| heard.is_sorted()));
    }
    world.serve(|_| Some((Status::Good, Bytes::new())));
    ping(&mut world, peers[0], peers[1]);
    let took: Vec<Duration> = (0..20).map(|_| ping(&mut world, peers[0], peers[1]).1).collect();
    assert!(took.iter().all(|took| (2 * ONE_WAY..=2 * ONE_WAY + 400 * MILLI).contains(took)), "{took:?}");
    assert!(took.iter().any(|took| *took > 2 * ONE_WAY + 100 * MILLI), "{took:?}");
}

#[test]
fn a_clogged_direction_delivers_nothing_for_a_while_and_then_everything() {
    let (mut world, peers) = answering(Options::seeded(48));
    world.clog(peers[0], peers[1], Duration::from_secs(4));
    assert_eq!(ping(&mut world, peers[1], peers[2]).1, 2 * ONE_WAY, "others do not notice");
    let begun = world.now();
    let (answer, took) = ping(&mut world, peers[0], peers[1]);
    assert!(matches!(answer, Outcome::Response { .. }));
    assert!(took > Duration::from_secs(3) && world.now().since(begun) < Duration::from_secs(5), "{took:?}");
}

#[test]
fn slow_peers_are_slow_to_everybody_and_nobody_else_is() {
    let (mut world, peers) = answering(Options::seeded(49));
    world.slow(peers[0], 5);
    assert_eq!(ping(&mut world, peers[0], peers[1]).1, 10 * ONE_WAY);
    assert_eq!(ping(&mut world, peers[1], peers[2]).1, 2 * ONE_WAY);
}

#[test]
fn what_is_cut_one_way_fails_one_way_and_a_third_peer_reaches_both() {
    let (mut world, peers) = answering(Options { silence: None, ..Options::seeded(50) });
    world.cut(&peers[..1], &peers[1..2]);
    let (answer, _) = ping(&mut world, peers[0], peers[1]);
    assert_eq!(answer, Outcome::Failed(Failure::PeerGone));
    for (a, b) in [(0, 2), (2, 0), (1, 2), (2, 1)] {
        assert!(matches!(ping(&mut world, peers[a], peers[b]).0, Outcome::Response { .. }), "{a} to {b}");
    }
    world.heal();
    assert!(matches!(ping(&mut world, peers[0], peers[1]).0, Outcome::Response { .. }));
}

#[test]
fn a_peer_behind_a_nat_is_a_full_member_by_what_it_dials() {
    let (mut world, peers) = circle(Options::seeded(51), 1);
    let shut = world.add(&polymorph_sim::Terms::default(), Circle::of).expect("the engine takes it");
    world.shut(shut);
    world.join(shut, &peers);
    world.run_for(Duration::from_secs(10));
    assert!(world.topology(shut).expect("there").joined && world.links(shut) > 0);
    // Who comes later cannot dial it, and has it as a neighbor all the same, because it dials them.
    let late = world.add(&polymorph_sim::Terms::default(), Circle::of).expect("the engine takes it");
    world.join(late, &peers);
    world.run_for(Duration::from_secs(60));
    let guid = world.guid(shut);
    assert!(world.engine(late).expect("there").peers().iter().any(|info| info.peer == guid));
}

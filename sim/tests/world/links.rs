use core::time::Duration;

use bytes::Bytes;
use polymorph_core::engine::io::{Command, Failure, Outcome, To};
use polymorph_core::topology::event::Ticket;
use polymorph_core::wire::frame::{Body, Status};
use polymorph_core::{Key, Time};
use polymorph_sim::{Codec, Latency, Options, Peer, World};

use crate::circle;
use crate::circle::Circle;

const ONE_WAY: Duration = Duration::from_millis(50);

fn request(world: &mut World<Circle>, from: Peer, to: Peer) -> Ticket {
    let (ticket, to) = (world.ticket(), To::Peer(world.guid(to)));
    let (payload, timeout) = (Bytes::from_static(b"ping"), Duration::from_secs(20));
    world.command(from, Command::Request { ticket, to, service: 7, payload, timeout });
    ticket
}

/// How something ended, and how long it took.
fn outcome(world: &mut World<Circle>, peer: Peer, ticket: Ticket) -> (Outcome, Duration) {
    let asked = world.now();
    assert!(world.run_until(Duration::from_secs(60), |world| world.ended(peer, ticket).is_some()));
    let ended = world.take_ended(peer, ticket).expect("it ended");
    (ended.outcome, ended.at.since(asked))
}

/// Two peers with no wire between them.
fn strangers(world: &World<Circle>, peers: &[Peer]) -> (Peer, Peer) {
    let linked = |a: Peer, b: Peer| {
        let guid = world.guid(b);
        world.engine(a).expect("it is there").peers().iter().any(|info| info.peer == guid)
    };
    let pairs = peers.iter().flat_map(|&a| peers.iter().map(move |&b| (a, b)));
    pairs.into_iter().find(|&(a, b)| a != b && !linked(a, b)).expect("some pair has no wire")
}

#[test]
fn a_request_to_a_stranger_takes_a_dial_a_handshake_and_a_round_trip() {
    let (mut world, peers) = circle(Options::seeded(1), 12);
    world.serve(|arrival| Some((Status::Good, arrival.payload.clone())));
    world.run_for(Duration::from_secs(60));
    let (a, b) = strangers(&world, &peers);
    let ticket = request(&mut world, a, b);
    let (answer, took) = outcome(&mut world, a, ticket);
    assert_eq!(answer, Outcome::Response { from: world.guid(b), status: Status::Good, payload: "ping".into() });
    // Dial, offer and accept, request and response: three round trips.
    assert_eq!(took, 6 * ONE_WAY);
    let ticket = request(&mut world, a, b);
    assert_eq!(outcome(&mut world, a, ticket).1, 2 * ONE_WAY, "the wire is there now");
}

#[test]
fn a_request_over_a_wire_to_a_crashed_peer_fails_after_a_round_trip() {
    let (mut world, peers) = circle(Options { silence: None, ..Options::seeded(2) }, 6);
    let (a, b) = (peers[0], peers[1]);
    let ticket = request(&mut world, a, b);
    world.run_for(Duration::from_secs(1));
    assert!(world.ended(a, ticket).is_none(), "nobody serves");
    world.crash(b);
    let ticket = request(&mut world, a, b);
    let (answer, took) = outcome(&mut world, a, ticket);
    assert_eq!(answer, Outcome::Failed(Failure::PeerGone));
    assert_eq!(took, 2 * ONE_WAY);
    assert!(!world.topology(a).unwrap().knows(world.guid(b)), "the topology was told that the wire is lost");
    let ticket = request(&mut world, a, b);
    let (answer, took) = outcome(&mut world, a, ticket);
    assert_eq!((answer, took), (Outcome::Failed(Failure::PeerGone), 2 * ONE_WAY), "a dial is refused");
}

#[test]
fn a_crash_is_noticed_in_silence_and_a_leave_at_once() {
    let options = Options { silence: Some(Duration::from_secs(4)), ..Options::seeded(3) };
    let (mut world, peers) = circle(options, 8);
    let linked = |world: &World<Circle>, to: Peer| -> Vec<Peer> {
        let guid = world.guid(to);
        let has = |peer: &Peer| world.engine(*peer).unwrap().peers().iter().any(|info| info.peer == guid);
        world.peers().filter(|peer| *peer != to && has(peer)).collect()
    };
    let told = linked(&world, peers[2]);
    assert!(!told.is_empty());
    world.leave(peers[2]);
    world.run_for(ONE_WAY);
    let gone = world.guid(peers[2]);
    assert!(told.iter().all(|peer| !world.topology(*peer).unwrap().knows(gone)));
    assert!(!world.is_alive(peers[2]));

    let told = linked(&world, peers[4]);
    let gone = world.guid(peers[4]);
    world.crash(peers[4]);
    world.run_for(ONE_WAY);
    assert!(told.iter().all(|peer| world.topology(*peer).unwrap().knows(gone)), "nobody could know");
    world.run_for(Duration::from_secs(4));
    assert!(told.iter().all(|peer| !world.topology(*peer).unwrap().knows(gone)));
    assert_eq!(world.alive(), 6);
}

#[test]
fn a_peer_behind_a_nat_cannot_be_dialed_but_is_reached_once_it_has_dialed() {
    let (mut world, peers) = circle(Options::seeded(4), 12);
    world.serve(|_| Some((Status::Good, Bytes::new())));
    world.run_for(Duration::from_secs(60));
    let (a, shut) = strangers(&world, &peers);
    world.shut(shut);
    let ticket = request(&mut world, a, shut);
    let (answer, took) = outcome(&mut world, a, ticket);
    assert_eq!((answer, took), (Outcome::Failed(Failure::PeerGone), world.options().unanswered));
    let ticket = request(&mut world, shut, a);
    assert!(matches!(outcome(&mut world, shut, ticket).0, Outcome::Response { .. }));
    let ticket = request(&mut world, a, shut);
    assert!(matches!(outcome(&mut world, a, ticket).0, Outcome::Response { .. }));
}

#[test]
fn nothing_crosses_a_partition_until_it_heals() {
    let (mut world, peers) = circle(Options::seeded(5), 10);
    world.serve(|_| Some((Status::Good, Bytes::new())));
    let (here, there) = (peers[0], peers[9]);
    world.partition(&peers[5..]);
    for _ in 0..3 {
        let ticket = request(&mut world, here, there);
        assert_eq!(outcome(&mut world, here, ticket).0, Outcome::Failed(Failure::PeerGone));
        let ticket = request(&mut world, there, peers[8]);
        assert!(matches!(outcome(&mut world, there, ticket).0, Outcome::Response { .. }), "within a side all is well");
    }
    world.run_for(Duration::from_secs(40));
    world.heal();
    let ticket = request(&mut world, here, there);
    assert!(matches!(outcome(&mut world, here, ticket).0, Outcome::Response { .. }));
}

#[test]
fn a_partition_that_heals_before_anybody_noticed_breaks_no_wire() {
    let (mut world, peers) = circle(Options::seeded(6), 2);
    let wire = |world: &World<Circle>| world.engine(peers[0]).unwrap().peers()[0].conn;
    // Greetings would notice: none is sent within the millisecond.
    let before = wire(&world);
    world.partition(&peers[..1]);
    world.run_for(Duration::from_millis(1));
    world.heal();
    world.run_for(Duration::from_secs(60));
    assert_eq!(wire(&world), before);
}

#[test]
fn a_peer_that_swallows_lookups_costs_time_but_hides_nobody_else() {
    let (mut world, peers) = circle(Options::seeded(7), 8);
    let bad = peers[3];
    world.swallow(bad, |frame| matches!(frame.body, Body::Routed(_)));
    let mut slow = 0;
    for number in 0..40 {
        let key = Key::of(&[number]);
        let ticket = world.lookup(peers[0], key, 1);
        let (answer, took) = outcome(&mut world, peers[0], ticket);
        slow += usize::from(took > Duration::from_secs(4));
        if let Outcome::Found { owner, .. } = answer {
            assert!(owner.is_some());
        }
    }
    assert!((1..40).contains(&slow), "{slow} of 40 ran into it");
    world.unswallow(bad);
    let ticket = world.lookup(peers[0], world.slot_key(bad), 1);
    let (answer, took) = outcome(&mut world, peers[0], ticket);
    assert!(matches!(answer, Outcome::Found { owner, .. } if owner == Some(world.guid(bad))));
    assert!(took < Duration::from_secs(4));
}

trait SlotKey {
    fn slot_key(&self, peer: Peer) -> Key;
}

impl SlotKey for World<Circle> {
    /// The key a peer stands at.
    fn slot_key(&self, peer: Peer) -> Key {
        self.topology(peer).expect("it is there").place.mine()
    }
}

#[test]
fn what_is_sent_over_a_wire_arrives_in_order_whatever_the_latency() {
    let latency = Latency::Uniform { low: Duration::from_millis(1), high: Duration::from_millis(300) };
    let (mut world, peers) = circle(Options { latency, ..Options::seeded(8) }, 10);
    world.run_for(Duration::from_secs(600));
    let mut greetings = 0;
    for &peer in &peers {
        for heard in world.topology(peer).unwrap().heard.values() {
            greetings += heard.len();
            assert!(heard.is_sorted(), "{heard:?}");
        }
    }
    assert!(greetings > 2000, "{greetings} greetings");
}

#[test]
fn frames_are_encoded_where_that_is_asked_for_and_nowhere_else() {
    for (codec, by_hand) in [(Codec::Typed, true), (Codec::Encoded, false)] {
        let (mut world, peers) = circle(Options { codec, ..Options::seeded(13) }, 4);
        world.run_for(Duration::from_secs(30));
        assert!(peers.iter().all(|&peer| !world.topology(peer).unwrap().heard.is_empty()));
        assert!(peers.iter().all(|&peer| world.topology(peer).unwrap().by_hand == by_hand));
    }
}

#[test]
fn a_timer_fires_whatever_earlier_ones_came_and_went_before_it() {
    let (mut world, peers) = circle(Options::seeded(12), 6);
    let before: Vec<u32> = peers.iter().map(|&peer| world.topology(peer).unwrap().greeted).collect();
    for second in 0..600u32 {
        // A question's time-out is often due before the next greeting, and is mostly taken back.
        world.lookup(peers[second as usize % 6], Key::of(&second.to_le_bytes()), 1);
        world.run_for(Duration::from_secs(1));
    }
    for (&peer, before) in peers.iter().zip(before) {
        let greeted = world.topology(peer).unwrap().greeted - before;
        // Every five seconds on average, 2.5 to 7.5.
        assert!((90..150).contains(&greeted), "{peer:?} greeted {greeted} times in ten minutes");
    }
}

#[test]
fn a_severed_wire_is_gone_at_both_ends_at_once_and_can_be_dialed_again() {
    let (mut world, peers) = circle(Options::seeded(9), 2);
    let wire = |world: &World<Circle>| world.engine(peers[0]).unwrap().peers().first().map(|info| info.conn);
    let before = wire(&world);
    assert!(before.is_some());
    world.sever(peers[0], peers[1]);
    assert_eq!((wire(&world), world.links(peers[0]), world.links(peers[1])), (None, 0, 0));
    request(&mut world, peers[1], peers[0]);
    world.run_for(Duration::from_secs(1));
    let after = wire(&world);
    assert!(after.is_some() && after != before);
}

#[test]
fn a_dial_to_somebody_who_is_nowhere_fails_and_time_stands_still_for_nobody() {
    let (mut world, peers) = circle(Options::seeded(10), 2);
    let nobody = World::<Circle>::new(Options::seeded(99)).spawn();
    let elsewhere = {
        let mut other = World::<Circle>::new(Options::seeded(99));
        let peer = other.spawn();
        assert_eq!(peer, nobody);
        other.guid(peer)
    };
    let (ticket, to) = (world.ticket(), To::Peer(elsewhere));
    let (payload, timeout) = (Bytes::new(), Duration::from_secs(5));
    world.command(peers[0], Command::Request { ticket, to, service: 1, payload, timeout });
    assert_eq!(outcome(&mut world, peers[0], ticket).0, Outcome::Failed(Failure::PeerGone));
    assert_eq!(world.peer(&elsewhere), None);
}

#[test]
fn a_world_without_timers_comes_to_rest() {
    let mut world = World::<Circle>::new(Options::seeded(11));
    let one = world.add(&Default::default(), Circle::of).unwrap();
    let two = world.add(&Default::default(), Circle::of).unwrap();
    world.join(one, &[]);
    world.join(two, &[one]);
    assert!(world.run_until_quiet(Duration::from_secs(2)));
    assert!(world.topology(two).unwrap().joined);
    assert!(world.now() > Time::ZERO && world.now() < Time::from_secs(2));
}

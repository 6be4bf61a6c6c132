//! What a peer may say to a ring without harm.

use bytes::Bytes;
use polymorph_core::topology::Topology;
use polymorph_core::topology::context::{Action, Context};
use polymorph_core::topology::event::{Event, Ticket, Via};
use polymorph_core::topology::model::{Census, Model};
use polymorph_core::topology::question::{Lane, Query, Route, Target};
use polymorph_core::{Guid, Key};
use polymorph_topologies::ring::{chord, one_hop, pastry, symphony, tapestry};

use crate::paper::*;

/// Node 0 of an overlay of forty, with ideal tables.
fn member<T: Model>() -> (T, Paper<T>) {
    let (config, paper) = (T::Config::default(), Paper::new(guid(0)));
    let census = Census::new(paper.place.overlay, (0..40).map(guid).collect());
    let mut node = T::new(&config, paper.place);
    assert!(node.ideal(&config, &census));
    (node, paper)
}

fn calls<T: Topology>(actions: &[Action<T>]) -> Vec<Guid> {
    let to = |action: &Action<T>| if let Action::Call { to, .. } = action { Some(*to) } else { None };
    actions.iter().filter_map(to).collect()
}

fn peers<T: Topology>(node: &T) -> Vec<Guid> {
    let mut peers: Vec<Guid> = node.neighbors().into_iter().map(|neighbor| neighbor.peer).collect();
    peers.sort_unstable();
    peers
}

/// As many as one-hop takes from one message.
const PAGE: usize = 64;

fn crowd() -> Vec<Guid> {
    (1000..3000).map(guid).collect()
}

#[test]
fn chord_refuses_virtual_nodes_that_nobody_has() {
    let config = chord::Config { virtual_nodes: 3, ..chord::Config::default() };
    let mut paper = Paper::new(guid(0));
    let mut node = chord::Chord::new(&config, paper.place);
    assert!(node.ideal(&config, &Census::new(paper.place.overlay, (0..40).map(guid).collect())));
    let before = node.stands();
    let mut say = |node: &mut chord::Chord, message, payload: &[u8]| {
        let (payload, via) = (Bytes::copy_from_slice(payload), Via::Direct);
        let done = paper.tell(node, Event::Message { from: guid(70), message, payload, via });
        done.iter().any(|action| matches!(action, Action::Blame { peer, .. } if *peer == guid(70)))
    };
    let leaving = || chord::Message::Leaving { predecessor: Some(guid(71)), successors: vec![guid(72)] };
    for forged in [&[][..], &[0], &[0, 3], &[3, 0], &[255, 255], &[0, 0, 0]] {
        assert!(say(&mut node, chord::Message::Notify, forged), "{forged:?}");
    }
    for forged in [&[][..], &[0, 0], &[0, 0, 0], &[0, 0, 0, 3], &[0, 0, 0, 0, 0]] {
        assert!(say(&mut node, leaving(), forged), "{forged:?}");
    }
    assert_eq!(node.stands(), before);
    // In good form: it may say where it stands, which is where its Guid and index hash to, and nowhere else.
    for index in 0..3 {
        assert!(!say(&mut node, chord::Message::Notify, &[index, 0]));
    }
    let overlay = paper.place.overlay;
    for (now, old) in node.stands().into_iter().zip(before) {
        let place = |(guid, index): (Guid, u8)| overlay.position(guid, index.into());
        let (was, is) = (old.predecessor.map(place), now.predecessor.map(place));
        assert!(was == is || is.is_some_and(|is| is.between(&was.expect("it had one"), &now.at)));
    }
    // With one virtual node each nobody speaks of several.
    let (mut node, mut paper) = member::<chord::Chord>();
    let (message, payload, via) = (chord::Message::Notify, Bytes::from_static(&[0, 0]), Via::Direct);
    let done = paper.tell(&mut node, Event::Message { from: guid(70), message, payload, via });
    assert!(matches!(done[..], [Action::Blame { .. }]));
}

#[test]
fn chord_believes_no_list_that_passes_over_who_is_there() {
    let (mut node, mut paper) = member::<chord::Chord>();
    let place = paper.place;
    let far = |peer: &Guid| place.position(guid(0)).clockwise(&place.position(*peer));
    let named = |node: &chord::Chord| node.stands()[0].successors.iter().map(|(peer, _)| *peer).collect::<Vec<_>>();
    let (before, all) = (named(&node), peers(&node));
    let told = |node: &mut chord::Chord, paper: &mut Paper<chord::Chord>, successors: Vec<Guid>| {
        let stabilize = chord::Timer { index: 0, beat: chord::Beat::Stabilize };
        let asked = paper.tell(node, Event::Timer(stabilize));
        let ticket = asked.iter().find_map(|action| match action {
            Action::Call { ticket, message: chord::Message::Ask, .. } => Some(*ticket),
            _ => None,
        });
        let ticket = ticket.expect("it asks its successor");
        let message = chord::Message::State { predecessor: Some(place.me), successors };
        paper.tell(node, Event::Reply { ticket, from: before[0], message, payload: Bytes::new() })
    };
    // Out of order: nobody's list is.
    for list in [vec![before[2], before[1]], vec![before[1], before[1]], vec![before[0]]] {
        let done = told(&mut node, &mut paper, list);
        assert!(matches!(done[..], [Action::Blame { peer, .. }] if peer == before[0]));
    }
    assert_eq!(named(&node), before);
    // Cut short: nobody knows fewer than there are, and those who are missing are asked.
    let asked = calls(&told(&mut node, &mut paper, Vec::new()));
    assert_eq!((asked, named(&node)), (before[1..].to_vec(), before.clone()));
    // In order, and all of them far away: those between are asked, and stay.
    let mut strangers = crowd();
    strangers.sort_by_key(far);
    strangers.retain(|peer| far(peer) > far(&before[15]));
    let list: Vec<Guid> = strangers.into_iter().step_by(50).take(15).collect();
    let (mut node, mut paper) = member::<chord::Chord>();
    let asked = calls(&told(&mut node, &mut paper, list.clone()));
    assert_eq!(asked[..15], before[1..], "all of the list that were passed over");
    assert!(all.iter().all(|peer| peers(&node).contains(peer)));
    assert_eq!(named(&node), before);
    // Who is there shows that it was a lie; who is not goes.
    let first = Ticket(paper.tickets + 1 - asked.len() as u64);
    let event = Event::Reply { ticket: first, from: before[1], message: chord::Message::Pong, payload: Bytes::new() };
    assert!(matches!(paper.tell(&mut node, event)[..], [Action::Doubt { .. }]));
    paper.tell(&mut node, Event::Failed { ticket: Ticket(first.0 + 1), peer: before[2] });
    assert_eq!(named(&node)[..3], [before[0], before[1], before[3]]);
}

#[test]
fn pastry_takes_nobody_in_or_out_on_anothers_word() {
    let (mut node, mut paper) = member::<pastry::Pastry>();
    let before = peers(&node);
    let welcome = pastry::Message::Welcome { pass: 7, path: crowd(), leafs: crowd() };
    assert!(paper.say(&mut node, guid(1), welcome).is_empty(), "it did not ask to be welcomed");
    let silent = before[0];
    let asked = calls(&paper.say(&mut node, guid(1), pastry::Message::Silent(silent)));
    assert_eq!((asked, peers(&node)), (vec![silent], before.clone()), "it is asked, and stays");
    // A leaf set of two thousand: whoever belongs there is asked, a few at a time, and nobody is in.
    paper.say(&mut node, guid(1), pastry::Message::Leaving(vec![]));
    let (mut node, mut paper) = member::<pastry::Pastry>();
    node.handle(Event::Timer(pastry::Timer::Keepalive), &mut Context::new(&mut paper, Lane::default()));
    let next = calls(&core::mem::take(&mut paper.done))[0];
    let event =
        Event::Reply { ticket: Ticket(1), from: next, message: pastry::Message::Peers(crowd()), payload: Bytes::new() };
    node.handle(event, &mut Context::new(&mut paper, Lane::default()));
    let asked = calls(&core::mem::take(&mut paper.done)).len();
    assert!(asked <= 64, "{asked} asked at once");
    assert_eq!(peers(&node), before);
}

#[test]
fn a_pastry_newcomer_that_goes_in_circles_is_dropped() {
    let (mut node, mut paper) = member::<pastry::Pastry>();
    let newcomer = pastry::Message::Newcomer { guid: guid(500), pass: 1, path: crowd() };
    let via = Via::Route { origin: guid(500), to: Target::Key(Key::default()), hops: 40 };
    let event = Event::Message { from: guid(1), message: newcomer, payload: Bytes::new(), via };
    node.handle(event, &mut Context::new(&mut paper, Lane::default()));
    assert!(paper.done.is_empty());
}

#[test]
fn tapestry_tells_only_of_newcomers_it_is_the_root_of() {
    let (mut node, mut paper) = member::<tapestry::Tapestry>();
    let place = paper.place;
    let is_root = |node: &tapestry::Tapestry, guid: Guid| {
        let (to, mut route) = (Target::Key(place.position(guid)), Route::default());
        node.route(&Query::new(&to, 1), &mut route);
        matches!(route.verdict, polymorph_core::topology::question::Verdict::Deliver { .. })
    };
    let stranger = (100..).find(|number| !is_root(&node, guid(*number))).expect("most are");
    let told = sent(paper.say(&mut node, guid(stranger), tapestry::Message::Insert(tapestry::Slots::default())));
    assert!(matches!(told[..], [(to, tapestry::Message::NotRoot)] if to == guid(stranger)));
    let own = (100..).find(|number| is_root(&node, guid(*number))).expect("some are");
    let told = sent(paper.say(&mut node, guid(own), tapestry::Message::Insert(tapestry::Slots::default())));
    assert!(told.iter().any(|(_, message)| matches!(message, tapestry::Message::Reached)));
    let news =
        tapestry::News { id: 1, newcomer: guid(600), level: 0, patience: 255, holes: tapestry::Slots::default() };
    assert!(paper.say(&mut node, guid(1), tapestry::Message::Multicast(news)).is_empty(), "not to everybody");
}

#[test]
fn tapestry_keeps_a_bounded_number_of_newcomers_and_pointers() {
    let (mut node, mut paper) = member::<tapestry::Tapestry>();
    for number in 0..2000_u16 {
        let news = tapestry::News {
            id: number.into(),
            newcomer: guid(1000 + number),
            level: 1,
            patience: 10,
            holes: tapestry::Slots::default(),
        };
        paper.say(&mut node, guid(1), tapestry::Message::Multicast(news));
    }
    let entries = peers(&node).len();
    assert!(entries <= 40 + 256, "{entries} entries");
    // Whoever names itself as the server of everything is believed until asked, and bounded.
    for page in 0..4000_u32 {
        let pointers = (0..64).map(|at| (Key::of(&(64 * page + at).to_le_bytes()), guid(1), u32::MAX)).collect();
        paper.say(&mut node, guid(1), tapestry::Message::Place(pointers));
    }
    let asked = calls(&paper.say(&mut node, guid(1), tapestry::Message::Filled(crowd())));
    assert!(asked.len() <= 24, "{} asked at once", asked.len());
}

#[test]
fn an_answer_nobody_waits_for_changes_nothing() {
    let (mut node, mut paper) = member::<tapestry::Tapestry>();
    let before = peers(&node);
    let servers = tapestry::Message::Servers { id: 9, servers: crowd(), last: true };
    assert!(paper.say(&mut node, guid(1), servers).is_empty());
    assert!(paper.say(&mut node, guid(1), tapestry::Message::Inserted).is_empty());
    assert!(paper.answer(&mut node, guid(1), tapestry::Message::Peers(crowd())).is_empty());
    assert_eq!(peers(&node), before);
}

#[test]
fn symphony_takes_no_more_links_than_it_should_and_looks_at_no_strangers() {
    let (mut node, mut paper) = member::<symphony::Symphony>();
    for message in [symphony::Message::Linked(crowd()), symphony::Message::Unlinked, symphony::Message::Link] {
        assert!(paper.say(&mut node, guid(70), message).is_empty(), "these are questions");
    }
    let before = peers(&node);
    paper.answer(&mut node, guid(70), symphony::Message::Linked(crowd()));
    assert_eq!(peers(&node), before, "nobody asked for that link");
}

/// Tells a one-hop node events, as a call or not.
fn one_hop_hears(
    node: &mut one_hop::OneHop,
    paper: &mut Paper<one_hop::OneHop>,
    from: Guid,
    events: one_hop::Events,
) -> Vec<Action<one_hop::OneHop>> {
    let call = postcard::from_bytes(&postcard::to_stdvec(&(from, 7_u32)).expect("it encodes")).expect("it is one");
    let (message, payload, via) = (one_hop::Message::Events(events), Bytes::new(), Via::Call(call));
    paper.tell(node, Event::Message { from, message, payload, via })
}

/// The head of a peer's position, and half of it.
fn stands(paper: &Paper<one_hop::OneHop>, guid: Guid) -> (u64, u32) {
    let [a, b, c, d, e, f, g, h, ..] = paper.place.position(guid).0;
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes([a, b, c, d]))
}

fn is_blamed(actions: &[Action<one_hop::OneHop>], guilty: Guid) -> bool {
    actions.iter().any(|action| matches!(action, Action::Blame { peer, .. } if *peer == guilty))
}

fn doubts(actions: &[Action<one_hop::OneHop>]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Doubt { .. })).count()
}

#[test]
fn one_hop_hears_events_in_calls_only_and_no_more_than_a_page_of_them() {
    let (mut node, mut paper) = member::<one_hop::OneHop>();
    let (before, liar) = (peers(&node), guid(1));
    let (me, until) = stands(&paper, paper.place.me);
    let joined = |count: usize| -> Vec<_> {
        crowd().into_iter().take(count).map(|peer| one_hop::Joined { peer, life: 0, until }).collect()
    };
    let left = vec![one_hop::Left { at: me, life: 0, until }];
    let events = one_hop::Events { joined: joined(PAGE), left };
    paper.say(&mut node, liar, one_hop::Message::Events(events.clone()));
    assert_eq!(peers(&node), before, "events are calls");
    let too_many = one_hop::Events { joined: joined(PAGE + 1), left: Vec::new() };
    assert!(is_blamed(&one_hop_hears(&mut node, &mut paper, liar, too_many), liar));
    assert_eq!(peers(&node), before, "nobody honest says so much at once");
    assert!(!is_blamed(&one_hop_hears(&mut node, &mut paper, liar, events), liar));
    let after = peers(&node);
    assert!(after.len() > before.len() && after.len() <= before.len() + PAGE, "{} are known", after.len());
    assert!(before.iter().all(|peer| after.contains(peer)), "who is said to be gone is itself, and it knows better");
    assert_eq!(node.addresses().len(), 1);
}

#[test]
fn one_hop_refuses_more_than_the_ring_and_positions_nobody_has_and_lives_that_are_over() {
    let (mut node, mut paper) = member::<one_hop::OneHop>();
    let (before, teller) = (peers(&node), guid(1));
    let (_, mine) = stands(&paper, paper.place.me);
    let (_, theirs) = stands(&paper, teller);
    let beyond = one_hop::Left { at: 1, life: 0, until: theirs.wrapping_add(1) };
    let events = one_hop::Events { joined: Vec::new(), left: vec![beyond] };
    assert!(is_blamed(&one_hop_hears(&mut node, &mut paper, teller, events), teller), "beyond who tells it");
    let nobody = (0..200).map(|at| one_hop::Left { at: at * 7919, life: 0, until: mine }).collect();
    let told = one_hop_hears(&mut node, &mut paper, teller, one_hop::Events { joined: Vec::new(), left: nobody });
    assert!(!is_blamed(&told, teller), "it may have believed somebody");
    assert_eq!((peers(&node), doubts(&told)), (before, 200));
    // Somebody comes, goes, and is said to have come again by whoever is late; then it comes again.
    let late = guid(500);
    let (at, _) = stands(&paper, late);
    let came =
        |life| one_hop::Events { joined: vec![one_hop::Joined { peer: late, life, until: mine }], left: Vec::new() };
    let went = one_hop::Events { joined: Vec::new(), left: vec![one_hop::Left { at, life: 0, until: mine }] };
    let mut refused = 0;
    let mut knows = |events| {
        refused += doubts(&one_hop_hears(&mut node, &mut paper, teller, events));
        peers(&node).contains(&late)
    };
    assert!(knows(came(0)) && !knows(went.clone()) && !knows(came(0)) && knows(came(1)) && knows(went));
    assert_eq!(refused, 2);
}

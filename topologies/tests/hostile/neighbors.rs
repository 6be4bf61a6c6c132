//! What a peer may say to a tree or a mesh without harm.

use core::time::Duration;
use polymorph_core::topology::context::Action;
use polymorph_core::topology::event::{Change, Event};
use polymorph_core::topology::model::{Census, Model};
use polymorph_core::topology::question::CopyId;
use polymorph_core::{Guid, Topology};
use polymorph_topologies::hybrid::polyring::{self, Path, Polyring};
use polymorph_topologies::mesh::hyparview::{self, HyParView};
use polymorph_topologies::mesh::plumtree::{self, Plumtree};

use crate::paper::*;

fn blamed<T: Topology>(actions: &[Action<T>]) -> Vec<Guid> {
    actions
        .iter()
        .filter_map(|action| if let Action::Blame { peer, .. } = action { Some(*peer) } else { None })
        .collect()
}

/// Number `me` of 39 peers in rings of three: 0 to 2 in the center, 3 to 11 around them, the rest further out.
fn polyring(me: u16) -> (Polyring, Paper<Polyring>) {
    let paper = Paper::new(guid(me));
    let config = polyring::Config { width: 3, depth: 3, cluster: 1 };
    let census = Census::new(paper.place.overlay, (0..39).map(guid).collect());
    let mut node = <Polyring as Model>::new(&config, paper.place);
    assert!(node.ideal(&config, &census));
    (node, paper)
}

fn path(text: &str) -> Path {
    text.parse().expect("a path")
}

#[test]
fn a_sibling_that_assigns_places_is_not_believed_and_blamed_when_it_goes_on() {
    use polyring::Message::{Fresh, Gone, Members, Probe};
    // [0.1], with the parent [0] and the siblings [0.0] and [0.2].
    let (mut node, mut paper) = polyring(4);
    let (parent, sibling, accomplice) = (guid(0), guid(3), guid(77));
    let ring: Vec<_> = node.ring().collect();
    for forged in [Members(vec![(2, accomplice)]), Gone { coordinate: 2, member: guid(5) }] {
        let actions = paper.say(&mut node, sibling, forged);
        let asked = actions.iter().any(|a| matches!(a, Action::Call { to, message: Probe, .. } if *to == parent));
        assert!(asked, "the parent may be gone, so it is asked");
        assert_eq!(blamed(&actions), []);
        assert_eq!(blamed(&paper.answer(&mut node, parent, Fresh)), [], "once is a mistake");
        assert!(node.ring().eq(ring.clone()));
    }
    paper.now += Duration::from_secs(10);
    paper.say(&mut node, sibling, Members(vec![(2, accomplice)]));
    assert_eq!(blamed(&paper.answer(&mut node, parent, Fresh)), [sibling]);
    assert!(node.ring().eq(ring));
    // The parent is believed.
    assert_eq!(blamed(&paper.say(&mut node, parent, Members(vec![(2, accomplice)]))), []);
    assert!(node.ring().any(|member| member == (2, accomplice)));
}

#[test]
fn a_place_that_is_somebody_elses_is_not_admitted() {
    let (node, _) = polyring(1);
    let thief = guid(99);
    for (place, holder) in [("[1]", 1), ("[1.0]", 6), ("[1.2]", 8)] {
        assert!(!node.admits(thief, &path(place), &[]), "{place}");
        assert!(node.admits(guid(holder), &path(place), &[]), "{place}");
    }
    // In the center only the one who assigns there knows who has which place.
    let (assigner, _) = polyring(0);
    assert!(!assigner.admits(thief, &path("[2]"), &[]));
    assert!(assigner.admits(guid(2), &path("[2]"), &[]));
    assert!(node.admits(thief, &path("[1.0.1]"), &[]), "of what lies further out it knows nothing");
}

#[test]
fn who_is_not_the_parent_moves_nobody() {
    use polyring::Message::{Above, Handed, Quit, Stand};
    let (mut node, mut paper) = polyring(4);
    let before = (node.path().cloned(), node.parent());
    let (sibling, stranger) = (guid(3), guid(77));
    let told = paper.say(&mut node, stranger, Above { path: path("[0]"), elders: vec![] });
    assert_eq!(sent(told), [(stranger, Quit(Some(path("[0.1]"))))]);
    // A sibling may have inherited: it is believed when the parent turns out to be gone, not before.
    paper.say(&mut node, sibling, Above { path: path("[0]"), elders: vec![] });
    paper.say(&mut node, sibling, Handed { heir: sibling });
    for from in [sibling, stranger] {
        paper.say(&mut node, from, Stand { path: path("[0]"), elders: vec![], taken: vec![0] });
    }
    assert_eq!((node.path().cloned(), node.parent()), before);
}

#[test]
fn a_parent_that_moves_takes_its_descendants_along() {
    use polyring::Message::Above;
    let (mut node, mut paper) = polyring(4);
    let children: Vec<Guid> = node.children().map(|(_, child)| child).collect();
    let actions = paper.say(&mut node, guid(0), Above { path: path("[7]"), elders: vec![guid(1)] });
    assert_eq!(node.addresses(), [path("[7.1]")]);
    assert!(actions.iter().any(|action| matches!(action, Action::Change(Change::Addresses))));
    let above = Above { path: path("[7.1]"), elders: vec![guid(0), guid(3), guid(5)] };
    let told: Vec<_> = sent(actions).into_iter().filter(|(_, message)| *message == above).map(|(to, _)| to).collect();
    assert_eq!(told, children);
    // Further out than the depth it looks for another place.
    let actions = paper.say(&mut node, guid(0), Above { path: path("[7.1.2]"), elders: vec![guid(1)] });
    assert_eq!(node.addresses(), [path("[7.1.2.1]")]);
    let asks = |a: &Action<Polyring>| matches!(a, Action::Call { message: polyring::Message::Join(_), .. });
    assert!(actions.iter().any(asks));
}

#[test]
fn places_that_cannot_be_are_refused() {
    use polyring::Message::{Above, Members, Stand};
    let (parent, deep) = (guid(0), path(&["1"; polyring::MAX_DEPTH].join(".")));
    let (mut node, mut paper) = polyring(4);
    let ring: Vec<_> = node.ring().collect();
    for taken in [vec![], vec![0, 2], vec![1, 0], vec![1, 1], (0..=polyring::MAX_WIDTH as u32).collect()] {
        let actions = paper.say(&mut node, parent, Stand { path: path("[0.1]"), elders: vec![], taken });
        assert_eq!(blamed(&actions), [parent]);
    }
    let crowd: Vec<Guid> = (100..200).map(guid).collect();
    for above in [Above { path: deep, elders: vec![] }, Above { path: path("[0]"), elders: crowd }] {
        assert_eq!(blamed(&paper.say(&mut node, parent, above)), [parent]);
    }
    // Coordinates are no indices: the highest one costs what the lowest does.
    paper.say(&mut node, parent, Members(vec![(u32::MAX, guid(50)), (1, guid(51)), (7, guid(4))]));
    let mut expected = ring;
    expected.push((u32::MAX, guid(50)));
    assert!(node.ring().eq(expected), "this node's own place is not given away");
}

/// A node of a mesh with five neighbors, 1 to 5.
fn mesh() -> (HyParView, Paper<HyParView>) {
    let paper = Paper::new(guid(0));
    let config = hyparview::Config::default();
    let census = Census::new(paper.place.overlay, (0..6).map(guid).collect());
    let mut node = <HyParView as Model>::new(&config, paper.place);
    assert!(node.ideal(&config, &census) && node.active().len() == 5 && node.passive().is_empty());
    (node, paper)
}

#[test]
fn lists_that_are_too_long_or_not_asked_for_enter_no_view() {
    use hyparview::Message::{Shuffle, ShuffleReply};
    let (mut node, mut paper) = mesh();
    let crowd: Vec<Guid> = (100..165).map(guid).collect();
    let actions = paper.say(&mut node, guid(1), Shuffle { origin: guid(9), ttl: 1, peers: crowd.clone() });
    assert_eq!(blamed(&actions), [guid(1)]);
    paper.say(&mut node, guid(9), ShuffleReply { peers: crowd[..8].to_vec() });
    assert_eq!(node.passive(), []);
    // One walk, one answer.
    paper.tell(&mut node, Event::Timer(hyparview::Timer::Cycle));
    paper.say(&mut node, guid(9), ShuffleReply { peers: crowd[..8].to_vec() });
    paper.say(&mut node, guid(8), ShuffleReply { peers: crowd[8..16].to_vec() });
    assert_eq!(node.passive(), &crowd[..8]);
    // However many come, the view keeps its size, and neighbors are never among them.
    for at in 0..50 {
        let peers = vec![guid(1), guid(0), guid(200 + at)];
        paper.say(&mut node, guid(1), Shuffle { origin: guid(300 + at), ttl: 1, peers });
    }
    assert_eq!(node.passive().len(), hyparview::Config::default().passive);
    assert!(!node.passive().contains(&guid(0)) && !node.passive().contains(&guid(1)));
}

#[test]
fn who_acts_as_a_neighbor_without_being_one_is_told() {
    use hyparview::Message::{Disconnect, Shuffle};
    let (mut node, mut paper) = mesh();
    let stranger = guid(70);
    let walk = Shuffle { origin: guid(71), ttl: 3, peers: vec![guid(72)] };
    let told = sent(paper.say(&mut node, stranger, walk));
    assert!(told.contains(&(stranger, Disconnect)));
    let copy = Event::Copy { id: CopyId([1; 16]), topic: None, from: Some(stranger), first: true, hops: 1 };
    assert_eq!(sent(paper.tell(&mut node, copy)), [(stranger, Disconnect)]);
    assert_eq!(sent(paper.say(&mut node, stranger, Disconnect)), []);
}

#[test]
fn a_newcomer_that_nobody_else_can_take_is_asked_once() {
    use hyparview::Message::{ForwardJoin, Neighbor};
    let (mut node, mut paper) = mesh();
    let mut asked = 0;
    for at in 0..100 {
        let actions = paper.say(&mut node, guid(1), ForwardJoin { newcomer: guid(100 + at), ttl: 0 });
        asked += actions.iter().filter(|a| matches!(a, Action::Call { message: Neighbor { .. }, .. })).count();
        let again = paper.say(&mut node, guid(1), ForwardJoin { newcomer: guid(100), ttl: 0 });
        assert!(!again.iter().any(|a| matches!(a, Action::Call { .. })));
    }
    assert!((1..50).contains(&asked), "{asked} questions on the way at once");
}

#[test]
fn announcements_of_copies_that_do_not_come_end() {
    use plumtree::Message::{Graft, IHave};
    let mut paper = Paper::<Plumtree>::new(guid(0));
    paper.ground = Ground(vec![guid(1), guid(2)]);
    let mut node = <Plumtree as Model>::new(&plumtree::Config::default(), paper.place);
    let id = |number: u16| {
        CopyId([number.to_be_bytes()[0], number.to_be_bytes()[1], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    };
    let long = (0..65).map(|number| (id(number), 1)).collect();
    assert_eq!(blamed(&paper.say(&mut node, guid(1), IHave(long))), [guid(1)]);
    assert!(paper.say(&mut node, guid(9), IHave(vec![(id(1), 1)])).is_empty(), "a stranger is not listened to");
    assert!(paper.say(&mut node, guid(9), Graft(Some(id(1)))).is_empty());

    let mut timers = 0;
    for page in 0..100 {
        let copies = (0..64).map(|number| (id(100 + 64 * page + number), 1)).collect();
        let actions = paper.say(&mut node, guid(1), IHave(copies));
        timers += actions.iter().filter(|action| matches!(action, Action::Set { .. })).count();
    }
    assert!((64..=256).contains(&timers), "{timers} timers for the promises of one peer");
    // Each announcer is asked once for each copy, then it is given up.
    paper.say(&mut node, guid(2), IHave(vec![(id(100), 1)]));
    let mut asked = Vec::new();
    loop {
        let actions = paper.tell(&mut node, Event::Timer(plumtree::Timer::Graft(id(100))));
        let again = actions.iter().any(|action| matches!(action, Action::Set { .. }));
        asked.extend(sent(actions));
        if !again {
            break;
        }
    }
    assert_eq!(asked, [(guid(1), Graft(Some(id(100)))), (guid(2), Graft(Some(id(100))))]);
}

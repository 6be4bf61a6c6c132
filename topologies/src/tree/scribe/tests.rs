//! Scribe alone, over routes that are made up: the worst that late messages and stale routes can do.

mod net;

use core::time::Duration;

use polymorph_core::topology::question::{Pass, Role};
use polymorph_core::{Guid, Key};

use super::label::Label;
use super::{Config, Join, Message};
use crate::setting::Configure;
use net::{Net, Order};

fn topic(number: u64) -> Key {
    Key::of(&number.to_be_bytes())
}

/// Fewer bystanders in the way: no tree of everybody.
fn config() -> Config {
    Config { everyone: false, children: 1000, ..Config::default() }
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// Every member got it once, and nobody sent it twice to anybody.
fn assert_exactly_once(net: &mut Net, from: usize, topic: Option<Key>, members: &[usize]) {
    let got = net.publish(from, topic);
    for &member in members {
        assert_eq!(got[member], u32::from(member != from), "member {member} of {topic:?}, published by {from}");
    }
    assert!(got.iter().all(|&copies| copies <= 1), "somebody got {:?} copies", got.iter().max());
}

#[test]
fn a_tree_is_the_union_of_the_routes_and_every_member_gets_a_copy_once() {
    for seed in 0..4 {
        println!("seed {seed}");
        let mut net = Net::new(seed, 300, config(), Order::AsSent);
        let members: Vec<usize> = (0..300).filter(|at| at % 3 == 0).collect();
        for &member in &members {
            net.subscribe(member, topic(1));
            net.run(Duration::from_millis(5));
        }
        net.run(minutes(1));
        let mut links: Vec<(Guid, Guid)> = net.parents(topic(1));
        let mut routes: Vec<(Guid, Guid)> = members.iter().flat_map(|&member| net.way(member, topic(1))).collect();
        links.sort_unstable();
        routes.sort_unstable();
        routes.dedup();
        assert_eq!(links, routes);
        assert_exactly_once(&mut net, members[7], Some(topic(1)), &members);
        let outside = 1;
        assert!(net.node(outside).parent(Some(topic(1))).is_none() || !members.contains(&outside));
        assert_exactly_once(&mut net, outside, Some(topic(1)), &members);
    }
}

#[test]
fn links_are_told_by_both_ends_and_held_by_both() {
    let mut net = Net::new(5, 120, config(), Order::AsSent);
    (0..120).filter(|at| at % 2 == 0).for_each(|member| net.subscribe(member, topic(member as u64 % 3)));
    net.run(minutes(1));
    for at in 0..120 {
        let me = net.guid(at);
        for neighbor in net.neighbors(at) {
            let back = if neighbor.role == Role::Parent { Role::Child } else { Role::Parent };
            let theirs = net.neighbors(net.index(&neighbor.peer));
            assert!(theirs.iter().any(|n| n.peer == me && n.role == back), "{at} and {:?}", neighbor.peer);
        }
        let mut peers: Vec<Guid> = net.neighbors(at).iter().map(|n| n.peer).collect();
        peers.sort_unstable();
        peers.dedup();
        assert_eq!(peers, net.wanted(at));
    }
}

#[test]
fn when_the_last_member_of_a_branch_leaves_the_branch_goes_and_in_the_end_the_tree() {
    let mut net = Net::new(6, 200, config(), Order::AsSent);
    let members: Vec<usize> = (0..40).collect();
    members.iter().for_each(|&member| net.subscribe(member, topic(1)));
    net.run(minutes(1));
    for &member in &members[..39] {
        net.unsubscribe(member, topic(1));
    }
    net.run(minutes(1));
    let mut left = net.way(39, topic(1));
    left.sort_unstable();
    let mut links = net.parents(topic(1));
    links.sort_unstable();
    assert_eq!(links, left);
    net.unsubscribe(39, topic(1));
    net.run(minutes(1));
    assert_eq!(net.parents(topic(1)), []);
    assert!((0..200).all(|at| net.wanted(at).is_empty()));
    net.run(minutes(5));
    assert!((0..200).all(|at| net.node(at).trees.is_empty()), "what was told is forgotten in time");
}

#[test]
fn a_full_node_hands_joiners_down_and_everybody_still_gets_a_copy_once() {
    let config = Config { children: 3, ..config() };
    let mut net = Net::new(7, 300, config, Order::AsSent);
    let members: Vec<usize> = (0..300).collect();
    members.iter().for_each(|&member| net.subscribe(member, topic(1)));
    net.run(minutes(5));
    assert!(members.iter().all(|&at| net.node(at).children(Some(topic(1))).len() <= 3));
    assert_exactly_once(&mut net, 17, Some(topic(1)), &members);
}

#[test]
fn a_broadcast_without_a_topic_reaches_everybody_if_everybody_was_to_join_and_nobody_otherwise() {
    let mut net = Net::new(8, 100, Config::default(), Order::AsSent);
    (0..100).for_each(|at| net.join(at));
    net.run(minutes(2));
    let everybody: Vec<usize> = (0..100).collect();
    assert_exactly_once(&mut net, 3, None, &everybody);
    let mut net = Net::new(8, 100, config(), Order::AsSent);
    (0..100).for_each(|at| net.join(at));
    net.run(minutes(2));
    assert_eq!(net.publish(3, None).iter().sum::<u32>(), 0);
}

#[test]
fn one_node_alone_is_the_root_and_nothing_goes_anywhere() {
    let mut net = Net::new(9, 1, config(), Order::AsSent);
    net.subscribe(0, topic(1));
    net.run(minutes(1));
    assert_eq!(net.node(0).label(Some(topic(1))).map(|label| label.depth), Some(0));
    assert_exactly_once(&mut net, 0, Some(topic(1)), &[0]);
}

const PARENT: usize = 1;
const CHILD: usize = 2;
const STRANGER: usize = 3;

fn wave(wave: u64, depth: u16) -> Message {
    Message::Wave { topic: topic(1), label: Label { wave, root: 7, depth } }
}

fn join(child: Guid, bar: Option<Label>, levels: u16) -> Join {
    Join { topic: topic(1), child, bar, levels, tries: 0 }
}

/// A node with a parent and a child that stands at depth 3 in wave 5.
fn inner_node() -> (Net, usize) {
    let mut net = Net::new(10, 40, config(), Order::AsSent);
    let at = (4..40).find(|&at| net.way(at, topic(1)).len() > 1).expect("a route of two hops");
    assert_eq!(net.pass(at, CHILD, join(net.guid(CHILD), None, 0)), Pass::On);
    net.hand(PARENT, at, wave(5, 2));
    net.hand(CHILD, at, Message::Here { topic: topic(1) });
    assert_eq!(net.node(at).label(Some(topic(1))), Some(Label { wave: 5, root: 7, depth: 3 }));
    assert_eq!(net.node(at).parent(Some(topic(1))), Some(net.guid(PARENT)));
    assert_eq!(net.node(at).children(Some(topic(1))), [net.guid(CHILD)]);
    (net, at)
}

#[test]
fn a_node_without_a_parent_takes_none_that_may_stand_below_it() {
    let (mut net, at) = inner_node();
    net.down(at, PARENT);
    net.hand(STRANGER, at, wave(5, 3));
    assert_eq!(net.node(at).parent(Some(topic(1))), None, "as deep as itself: perhaps its own descendant");
    net.hand(STRANGER, at, wave(4, 0));
    assert_eq!(net.node(at).parent(Some(topic(1))), None, "an older wave");
    net.hand(STRANGER, at, wave(5, 2));
    assert_eq!(net.node(at).parent(Some(topic(1))), Some(net.guid(STRANGER)));
    net.hand(PARENT, at, wave(9, 0));
    assert_eq!(net.node(at).parent(Some(topic(1))), Some(net.guid(STRANGER)), "one parent is enough");
}

#[test]
fn a_join_passes_a_node_that_may_stand_below_the_joiner_and_is_kept_by_one_that_cannot() {
    let (mut net, at) = inner_node();
    let joiner = net.guid(STRANGER);
    let bar = |depth| Some(Label { wave: 5, root: 7, depth });
    assert_eq!(net.pass(at, STRANGER, join(joiner, bar(3), 0)), Pass::On);
    assert_eq!(net.pass(at, STRANGER, join(joiner, bar(4), 1)), Pass::On, "with one more in between");
    assert_eq!(net.pass(at, STRANGER, join(joiner, bar(4), u16::MAX)), Pass::On);
    net.hand(STRANGER, at, Message::Here { topic: topic(1) });
    assert_eq!(net.node(at).children(Some(topic(1))).len(), 1, "it was not taken");
    assert_eq!(net.pass(at, STRANGER, join(joiner, bar(4), 0)), Pass::Absorb);
    net.hand(STRANGER, at, Message::Here { topic: topic(1) });
    assert_eq!(net.node(at).children(Some(topic(1))).len(), 2);
}

#[test]
fn a_join_that_is_routed_to_another_key_than_its_topic_is_dropped() {
    let (mut net, at) = inner_node();
    let astray = Join { topic: topic(2), ..join(net.guid(STRANGER), None, 0) };
    assert_eq!(net.pass_to(at, STRANGER, astray, topic(1)), Pass::Absorb);
    assert!(!net.node(at).trees.contains_key(&topic(2)));
}

#[test]
fn only_a_parent_may_hand_a_joiner_down() {
    let (mut net, at) = inner_node();
    for (from, children) in [(CHILD, 1), (PARENT, 2)] {
        net.hand(from, at, Message::Join(Box::new(join(net.guid(STRANGER), None, 0))));
        net.hand(STRANGER, at, Message::Here { topic: topic(1) });
        assert_eq!(net.node(at).children(Some(topic(1))).len(), children);
    }
}

#[test]
fn a_child_gets_no_copies_before_it_confirms() {
    let (mut net, at) = inner_node();
    assert_eq!(net.pass(at, STRANGER, join(net.guid(STRANGER), None, 0)), Pass::Absorb);
    assert_eq!(net.publish(at, Some(topic(1)))[STRANGER], 0);
    net.hand(STRANGER, at, Message::Here { topic: topic(1) });
    assert_eq!(net.publish(at, Some(topic(1)))[STRANGER], 1);
}

#[test]
fn a_node_that_was_lied_to_about_the_wave_finds_its_way_back() {
    let (mut net, at) = inner_node();
    net.subscribe(at, topic(1));
    net.subscribe(CHILD, topic(1));
    net.hand(PARENT, at, wave(u64::MAX, 0));
    net.kill(PARENT);
    net.run(minutes(20));
    let members = net.members(topic(1));
    assert_exactly_once(&mut net, at, Some(topic(1)), &members);
}

#[test]
fn a_copy_from_outside_the_tree_takes_another_way_in_when_the_first_hop_is_dead() {
    let mut net = Net::new(11, 60, config(), Order::AsSent);
    let outside = (0..60).find(|&at| net.way(at, topic(1)).len() > 1).expect("a route of two hops");
    let hop = net.index(&net.way(outside, topic(1))[0].1);
    net.publish(outside, Some(topic(1)));
    assert_eq!(net.wanted(outside), [net.guid(hop)], "it wants to know what becomes of it");
    net.forget(outside, hop);
    net.down(outside, hop);
    let second = net.index(&net.way(outside, topic(1))[0].1);
    assert_eq!(net.resent(), [(outside, second)]);
    assert_eq!(net.wanted(outside), [net.guid(second)]);
}

#[test]
fn two_roots_become_one_even_if_the_routes_below_never_meet() {
    let mut net = Net::new(12, 80, config(), Order::AsSent);
    let root = net.root(topic(1)).expect("somebody");
    let half: Vec<usize> = (0..80).filter(|&at| at != root && at % 2 == 0).collect();
    (0..80).filter(|at| !half.contains(at)).for_each(|at| half.iter().for_each(|&other| net.forget(at, other)));
    half.iter().for_each(|&at| (0..80).filter(|other| !half.contains(other)).for_each(|other| net.forget(at, other)));
    let members: Vec<usize> = (0..80).collect();
    members.iter().for_each(|&at| net.subscribe(at, topic(1)));
    net.run(Duration::from_secs(5));
    let roots =
        |net: &Net| (0..80).filter(|&at| net.node(at).label(Some(topic(1))).is_some_and(|l| l.depth == 0)).count();
    assert_eq!(roots(&net), 2);
    net.run(minutes(2));
    assert_eq!(roots(&net), 1);
    assert_exactly_once(&mut net, 5, Some(topic(1)), &members);
}

#[test]
fn settings_are_taken_by_name_and_bounded() {
    crate::setting::assert_defaults_hold::<Config>();
    let mut config = Config::default();
    assert!(config.set("children", "0").is_err());
    assert!(config.set("everyone", "maybe").is_err());
    assert!(config.set("links", "4").is_err(), "that is the base's");
}

/// Kills inner nodes, roots and leaves, some of them without a word, brings in new ones, changes roots, and looks
/// at the parents after every single event (`Net` does).
fn churn(seed: u64, order: Order, children: usize) {
    println!("seed {seed}, {order:?}, {children} children");
    let config = Config { children, ..config() };
    let mut net = Net::new(seed, 40, config, order);
    for at in 0..40 {
        net.subscribe(at, topic(1));
        if at % 2 == 0 {
            net.subscribe(at, topic(2));
        }
    }
    net.run(minutes(1));
    for round in 0..20 {
        for _ in 0..4 {
            let victim = net.pick();
            if net.alive().len() > 20 {
                net.kill(victim);
            }
        }
        if round % 3 == 0
            && let Some(root) = net.root(topic(1))
        {
            net.kill(root);
        }
        for _ in 0..4 {
            let new = net.add();
            net.subscribe(new, topic(1));
        }
        let fickle = net.pick();
        net.unsubscribe(fickle, topic(2));
        let other = net.pick();
        net.subscribe(other, topic(2));
        let pause = 1 + net.number(40);
        net.run(Duration::from_secs(pause));
    }
    net.run(minutes(10));
    let members = net.alive();
    let publisher = net.pick();
    assert_exactly_once(&mut net, publisher, Some(topic(1)), &members);
    let members = net.members(topic(2));
    assert_exactly_once(&mut net, publisher, Some(topic(2)), &members);
}

#[test]
fn no_ring_ever_forms_under_churn_and_all_is_repaired_when_it_ends() {
    for seed in 0..12 {
        churn(100 + seed, Order::AsSent, if seed % 2 == 0 { 1000 } else { 4 });
    }
}

#[test]
fn no_ring_ever_forms_even_if_messages_overtake_each_other() {
    for seed in 0..12 {
        churn(200 + seed, Order::AnyHow, if seed % 2 == 0 { 1000 } else { 4 });
    }
}

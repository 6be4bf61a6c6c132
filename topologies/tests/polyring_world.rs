//! Polyrings built, routed over, broadcast in, left and broken, in virtual time.

#![cfg(feature = "polyring")]
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use core::time::Duration;
use std::collections::BTreeMap;

use polymorph_core::Guid;
use polymorph_core::engine::io::{Command, Origin, Outcome};
use polymorph_core::engine::settings;
use polymorph_core::topology::model::Model;
use polymorph_core::topology::question::Target;
use polymorph_sim::{Options, Peer, Terms, World};
use polymorph_topologies::hybrid::polyring::{Config, Path, Polyring};

type Net = World<Polyring>;

struct Rings {
    world: Net,
    terms: Terms,
    config: Config,
}

impl Rings {
    fn new(width: usize, depth: usize, seed: u64) -> Self {
        println!("seed {seed}");
        let node = settings::Node { connections: 4 * width + 50, ..Default::default() };
        let world = Net::new(Options { node, ..Options::seeded(seed) });
        Self { world, terms: Terms::default(), config: Config { width, depth, cluster: 1 } }
    }

    fn grow(&mut self, peers: usize) {
        for _ in 0..peers {
            let seeds: Vec<Peer> = self.world.peers().take(3).collect();
            let peer = self.world.add(&self.terms, |place| Polyring::new(&self.config, place)).unwrap();
            self.world.join(peer, &seeds);
            let there = |world: &Net| world.topology(peer).is_some_and(|node| node.path().is_some());
            assert!(self.world.run_until(Duration::from_secs(60), there), "a newcomer found no place");
            self.world.run_for(Duration::from_secs(1));
        }
    }

    fn ring_of(&self, peer: Peer) -> &Polyring {
        self.world.topology(peer).unwrap()
    }

    fn places(&self) -> BTreeMap<Path, Guid> {
        self.world
            .peers()
            .filter_map(|peer| Some((self.ring_of(peer).path()?.clone(), self.world.guid(peer))))
            .collect()
    }

    /// What is not as it should be: everybody's tables against what one who sees all would fill in.
    fn check(&self) -> Vec<String> {
        let places = self.places();
        let mut wrong = Vec::new();
        if places.len() != self.world.alive() {
            wrong.push(format!("{} places for {} peers", places.len(), self.world.alive()));
        }
        for peer in self.world.peers() {
            let node = self.ring_of(peer);
            let Some(path) = node.path() else {
                wrong.push("no place".into());
                continue;
            };
            let beside = |p: &&Path| p.level() == path.level() && p.parent() == path.parent();
            let ring: Vec<(u32, Guid)> =
                places.iter().filter(|(p, _)| beside(p)).map(|(p, g)| (p.last(), *g)).collect();
            let children: Vec<(u32, Guid)> =
                places.iter().filter(|(p, _)| p.parent().as_ref() == Some(path)).map(|(p, g)| (p.last(), *g)).collect();
            let parent = path.parent().and_then(|p| places.get(&p).copied());
            if node.ring().collect::<Vec<_>>() != ring {
                wrong.push(format!("{path}: ring {:?} is {:?}", node.ring().collect::<Vec<_>>(), ring));
            }
            if node.children().collect::<Vec<_>>() != children {
                wrong.push(format!("{path}: children {:?} are {:?}", node.children().collect::<Vec<_>>(), children));
            }
            if node.parent() != parent || (path.level() > 1 && parent.is_none()) {
                wrong.push(format!("{path}: parent {:?} is {:?}", node.parent(), parent));
            }
        }
        wrong
    }
}

/// Sends from every peer to every place, and compares the links crossed with the formula.
fn every_route_is_the_one_shortest_path(net: &mut Rings) {
    let places = net.places();
    let mut asked = Vec::new();
    for (from, guid) in &places {
        let peer = net.world.peer(guid).unwrap();
        for (to, owner) in &places {
            let ticket = net.world.ticket();
            net.world.command(peer, Command::Lookup { ticket, to: Target::Address(to.clone()), n: 1 });
            asked.push((peer, ticket, from.hops(to), *owner));
        }
        net.world.run_for(Duration::from_secs(5));
    }
    for (peer, ticket, expected, right) in asked {
        let ended = net.world.take_ended(peer, ticket).expect("every lookup ends");
        let Outcome::Found { owner, hops, .. } = ended.outcome else { panic!("{:?}", ended.outcome) };
        assert_eq!((owner, hops as usize), (Some(right), expected));
    }
}

/// One broadcast from every peer: N - 1 copies, none twice, nobody farther than twice the depth less one.
fn every_broadcast_takes_one_copy_for_each_receiver(net: &mut Rings, depth: usize) {
    let peers: Vec<Peer> = net.world.peers().collect();
    for &from in &peers {
        let count = |net: &Rings| {
            let metrics = |&p: &Peer| *net.world.engine(p).unwrap().metrics(net.world.slot(p)).unwrap();
            let all: Vec<_> = peers.iter().map(metrics).collect();
            (all.iter().map(|m| m.copies).sum::<u64>(), all.iter().map(|m| m.duplicates).sum::<u64>())
        };
        let before = count(net);
        let heard = net.world.deliveries().len();
        let ticket = net.world.ticket();
        let payload = bytes::Bytes::from_static(b"to all");
        net.world.command(from, Command::Publish { ticket, topic: None, payload, origin: Origin::Claimed });
        net.world.run_for(Duration::from_secs(2));
        let after = count(net);
        assert_eq!((after.0 - before.0, after.1 - before.1), (peers.len() as u64 - 1, 0));
        let fresh = &net.world.deliveries()[heard..];
        assert_eq!(fresh.len(), peers.len() - 1);
        assert!(fresh.iter().all(|delivery| usize::from(delivery.hops) < 2 * depth));
    }
}

#[test]
fn three_levels_with_unequal_rings_route_and_broadcast_by_the_formulas() {
    let mut net = Rings::new(3, 3, 11);
    // A full center ring and second level, and a third level that is only begun: rings of three and of fewer.
    net.grow(3 + 9 + 4);
    assert_eq!(net.check(), Vec::<String>::new());
    let levels: Vec<usize> = net.places().keys().map(Path::level).collect();
    assert_eq!(levels.iter().max(), Some(&3));
    let sizes: std::collections::BTreeSet<usize> =
        net.world.peers().map(|peer| net.ring_of(peer).children().count()).collect();
    assert!(sizes.len() > 2, "rings of several sizes: {sizes:?}");
    every_route_is_the_one_shortest_path(&mut net);
    every_broadcast_takes_one_copy_for_each_receiver(&mut net, 3);
}

#[test]
fn who_leaves_or_crashes_is_replaced_and_the_tables_are_right_again() {
    for seed in 0..4 {
        let mut net = Rings::new(3, 3, seed);
        net.grow(14);
        let victims: Vec<Peer> = net.world.peers().filter(|&p| net.ring_of(p).path().unwrap().level() == 2).collect();
        net.world.leave(victims[0]);
        net.world.run_for(Duration::from_secs(60));
        assert_eq!(net.check(), Vec::<String>::new(), "after a leave");
        net.world.crash(victims[1]);
        let whole = (0..60).any(|_| {
            net.world.run_for(Duration::from_secs(10));
            net.check().is_empty()
        });
        assert!(whole, "after a crash: {:?}", net.check());
        assert!(net.world.blamed().is_empty(), "{:?}", net.world.blamed());
        every_broadcast_takes_one_copy_for_each_receiver(&mut net, 3);
    }
}

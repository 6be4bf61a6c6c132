//! Polyrings built, routed over, broadcast in, left and broken, in virtual time.

#![cfg(feature = "polyring")]

use core::time::Duration;
use std::collections::BTreeMap;

use polymorph_core::Guid;
use polymorph_core::engine::io::{Command, Outcome};
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
        let world = Net::new(Options {
            node,
            wire_life: std::env::var("LIFE").ok().map(|l| Duration::from_secs(l.parse().unwrap())),
            ..Options::seeded(seed)
        });
        Self { world, terms: Terms::default(), config: Config { width, depth, cluster: 1 } }
    }

    fn grow(&mut self, peers: usize) {
        for _ in 0..peers {
            let seeds: Vec<Peer> = self.world.peers().take(3).collect();
            let peer = self.world.add(&self.terms, |place| Polyring::new(&self.config, place)).unwrap();
            self.world.join(peer, &seeds);
            let there = |world: &Net| world.topology(peer).is_some_and(|node| node.path().is_some());
            let there = self.world.run_until(Duration::from_secs(300), there);
            if !there {
                self.dump();
                println!("{:?}", self.world.topology(peer));
            }
            assert!(there, "a newcomer found no place");
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

    fn steps(&mut self, ms: u64) {
        if std::env::var("TRACE").is_err() {
            return self.world.run_for(Duration::from_millis(ms));
        }
        let mut last = String::new();
        for _ in 0..ms / 100 {
            self.world.run_for(Duration::from_millis(100));
            let now = self.state();
            if now != last {
                println!("{:?}\n{now}", self.world.now());
                last = now;
            }
        }
        self.world.run_for(Duration::from_millis(ms % 100));
    }
    fn dump(&self) {
        println!("{:?}\n{}", self.world.now(), self.state());
    }
    fn state(&self) -> String {
        let mut lines: Vec<String> = self
            .world
            .peers()
            .map(|p| {
                let n = self.ring_of(p);
                format!(
                    "   {:?} {} {} parent {:?} ring {:?} children {:?}",
                    n.path(),
                    self.world.guid(p).short(),
                    if polymorph_core::Topology::addresses(n).is_empty() { "ORPHAN" } else { "" },
                    n.parent(),
                    n.ring().map(|(c, g)| format!("{c}:{}", &g.short()[..4])).collect::<Vec<_>>(),
                    n.children().map(|(c, g)| format!("{c}:{}", &g.short()[..4])).collect::<Vec<_>>()
                )
            })
            .collect();
        lines.sort();
        lines.join("\n")
    }

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

#[test]
fn look() {
    let n = std::env::var("N").map_or(40, |n| n.parse().unwrap());
    let mut net = Rings::new(3, 3, 1);
    let n = std::cmp::min(n, 39);
    net.grow(n);
    println!("{:?}", net.places().keys().collect::<Vec<_>>());
    println!("{:#?}", net.check());
    println!("{:?} {:?}", net.world.blamed(), net.world.traffic());
    for round in 0..12u32 {
        let (w, g): (Path, Guid) = {
            let p = net.places();
            let at = (round as usize * 7) % p.len();
            p.into_iter().nth(at).unwrap()
        };
        let peer = net.world.peer(&g).unwrap();
        if round % 2 == 0 {
            net.world.leave(peer)
        } else {
            net.world.crash(peer)
        }
        let t = net.world.now();
        if round == 0 {
            for ms in 0..12 {
                net.world.run_for(Duration::from_millis(100));
                println!("-- {ms} {:#?} {:?}", net.check(), net.world.blamed());
            }
        }
        let mut ok = None;
        for s in 0..200 {
            net.world.run_for(Duration::from_secs(1));
            if net.check().is_empty() {
                ok = Some(s);
                break;
            }
        }
        println!(
            "{} {w}: healed after {ok:?} {:?}",
            if round % 2 == 0 { "left" } else { "crashed" },
            net.world.now() - t
        );
        if ok.is_none() {
            println!("{:#?}", net.check());
        }
    }
    println!("{:?}", net.places().keys().collect::<Vec<_>>());
    println!("{:?} {:?}", net.world.blamed(), net.world.traffic());
}

#[test]
fn storm() {
    let from: u64 = std::env::var("FROM").map_or(0, |n| n.parse().unwrap());
    let seeds: u64 = std::env::var("SEEDS").map_or(20, |n| n.parse().unwrap());
    let mut bad = 0;
    for seed in from..from + seeds {
        let mut draw = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = |n: u64| {
            draw ^= draw << 13;
            draw ^= draw >> 7;
            draw ^= draw << 17;
            draw % n
        };
        let (width, depth) = (2 + next(4) as usize, 2 + next(3) as usize);
        let mut net = Rings::new(width, depth, seed);
        let places: usize = (1..=depth).map(|d| width.pow(d as u32)).sum();
        let n = (1 + next(60) as usize).min(places);
        net.grow(n);
        for _ in 0..30 {
            if !net.check().is_empty() {
                net.world.run_for(Duration::from_secs(5));
            }
        }
        let grown = net.check();
        if !grown.is_empty() {
            println!("seed {seed}: growth {grown:#?}");
            bad += 1;
            continue;
        }
        for _ in 0..1 + next(12) {
            let alive: Vec<Peer> = net.world.peers().collect();
            let peer = alive[next(alive.len() as u64) as usize];
            let center = |p: &Peer| net.ring_of(*p).path().is_some_and(|path| path.level() == 1);
            let hurts = center(&peer);
            let may = !hurts || alive.iter().filter(|p| center(p)).count() > 1;
            match next(3) {
                0 if may && alive.len() > 1 => {
                    if std::env::var("TRACE").is_ok() {
                        println!(
                            "{:?} leave {:?} {:?}",
                            net.world.now(),
                            net.world.guid(peer),
                            net.ring_of(peer).path()
                        );
                    }
                    net.world.leave(peer)
                }
                1 if may && alive.len() > 1 => {
                    if std::env::var("TRACE").is_ok() {
                        println!(
                            "{:?} crash {:?} {:?}",
                            net.world.now(),
                            net.world.guid(peer),
                            net.ring_of(peer).path()
                        );
                    }
                    net.world.crash(peer)
                }
                _ if alive.len() < places => {
                    let new = net.world.add(&net.terms, |place| Polyring::new(&net.config, place)).unwrap();
                    if std::env::var("TRACE").is_ok() {
                        println!("{:?} join {:?}", net.world.now(), net.world.guid(new));
                    }
                    net.world.join(new, &alive[..alive.len().min(3)]);
                }
                _ => {}
            }
            let ms = [0, 20, 100, 1000, 10_000, 60_000][next(6) as usize];
            net.steps(if hurts { 60_000 } else { ms });
        }
        let mut healed = None;
        for s in 0..60 {
            if std::env::var("TRACE").is_ok() {
                net.dump();
            }
            net.world.run_for(Duration::from_secs(5));
            if net.check().is_empty() {
                healed = Some(s * 5);
                break;
            }
        }
        if (healed.is_none() && !net.places().is_empty()) || !net.world.blamed().is_empty() {
            bad += 1;
            println!("seed {seed} {width} {depth} {n}: {healed:?} {:#?} {:?}", net.check(), net.world.blamed());
        } else {
            println!("seed {seed} ok {healed:?} alive {}", net.world.alive());
        }
    }
    assert_eq!(bad, 0);
}

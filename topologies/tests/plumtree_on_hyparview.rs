//! look
#![cfg(feature = "hyparview-plumtree")]

use core::time::Duration;

use polymorph_core::topology::model::Model;
use polymorph_sim::workload::{Broadcasts, Meter, Sources, broadcasts};
use polymorph_sim::{Options, Peer, Terms, World};
use polymorph_topologies::mesh::HyParViewPlumtree;

type Net = World<HyParViewPlumtree>;

#[test]
fn look() {
    let n: usize = std::env::var("N").unwrap().parse().unwrap();
    let mut world = Net::new(Options { keep: polymorph_sim::witness::Keep::Tallies, ..Options::seeded(1) });
    let terms = Terms::default();
    let mut config: <HyParViewPlumtree as Model>::Config = Default::default();
    if let Ok(t) = std::env::var("THR") {
        config.0.threshold = t.parse().unwrap();
    }
    if let Ok(t) = std::env::var("GRAFT") {
        config.0.graft_after = Duration::from_millis(t.parse().unwrap());
    }
    let t = std::time::Instant::now();
    if std::env::var("IDEAL").is_ok() {
        let peers: Vec<Peer> = (0..n)
            .map(|_| world.add(&terms, |place| <HyParViewPlumtree as Model>::new(&config, place)).unwrap())
            .collect();
        let census = world.census(&terms.name);
        drop(census);
        let _ = peers;
    } else {
        let mut first = None;
        for i in 0..n {
            let peer = world.add(&terms, |place| <HyParViewPlumtree as Model>::new(&config, place)).unwrap();
            let seeds: Vec<Peer> = first.into_iter().collect();
            world.join(peer, &seeds);
            first.get_or_insert(peer);
            if i % std::env::var("BURST").map_or(10, |e| e.parse().unwrap()) == 0 {
                world.run_for(Duration::from_millis(100));
            }
        }
    }
    println!("joined {:?}", t.elapsed());
    let cycles: u64 = std::env::var("CYCLES").map_or(10, |c| c.parse().unwrap());
    world.run_for(Duration::from_secs(30 * cycles));
    println!("warm {:?}", t.elapsed());
    let m = Meter::start(&world);
    world.run_for(Duration::from_secs(100));
    let r = m.report(&world, "x");
    println!("{:?} {:?} {:?} {:?}", r.traffic, r.links, r.state, r.load);
    let mut degree = vec![0; 8];
    for peer in world.peers() {
        let view = world.topology(peer).unwrap();
        degree[view.base.active().len()] += 1;
    }
    println!("degree {degree:?} blamed {:?} events {}", world.blamed(), world.events());
    let src = world.peers().next().unwrap();
    for i in 0..12 {
        let before = *world.traffic();
        world.publish(src, None, vec![i as u8; 100]);
        world.run_for(Duration::from_millis(std::env::var("EVERY").map_or(3000, |e| e.parse().unwrap())));
        let t = world.traffic().since(&before);
        let tally = world.tallies().last().unwrap();
        println!(
            "{i} copies {} last_hop {} reached {} eager {}",
            t.frames("copy"),
            tally.last_hop,
            tally.reached,
            world.peers().map(|p| world.topology(p).unwrap().upper.eager().len()).sum::<usize>()
        );
    }
    for i in 0..30 {
        let src = world.peers().nth((i * 7919) % n).unwrap();
        let before = *world.traffic();
        world.publish(src, None, vec![i as u8; 101]);
        world.run_for(Duration::from_millis(std::env::var("EVERY").map_or(3000, |e| e.parse().unwrap())));
        let t = world.traffic().since(&before);
        let tally = world.tallies().last().unwrap();
        let mut one_way = 0;
        let mut lazylazy = 0;
        let mut edges = 0;
        for p in world.peers() {
            let me = world.guid(p);
            let v = &world.topology(p).unwrap().upper;
            for g in v.eager() {
                let o = world.topology(world.peer(g).unwrap()).unwrap();
                edges += 1;
                if !o.upper.eager().contains(&me) {
                    one_way += 1;
                }
            }
            for g in v.lazy() {
                let o = world.topology(world.peer(g).unwrap()).unwrap();
                if !o.upper.lazy().contains(&me) {
                    lazylazy += 1;
                }
            }
        }
        println!(
            "R{i} copies {} last_hop {} reached {} edges {edges} one_way {one_way} {lazylazy}",
            t.frames("copy"),
            tally.last_hop,
            tally.reached
        );
    }
    for sources in [Sources::One, Sources::Random] {
        let plan = Broadcasts { warmup: 10, count: 20, sources, ..Broadcasts::default() };
        println!("{:?}", broadcasts(&mut world, &terms.name, &plan));
    }
    if let Ok(share) = std::env::var("FAIL") {
        let share: f64 = share.parse().unwrap();
        let all: Vec<Peer> = world.peers().collect();
        for p in all.iter().take((n as f64 * share) as usize) {
            world.crash(*p);
        }
        for w in 0..6 {
            let plan = Broadcasts {
                warmup: 0,
                count: 10,
                sources: Sources::Random,
                patience: Duration::from_secs(5),
                ..Broadcasts::default()
            };
            let b = broadcasts(&mut world, &terms.name, &plan);
            println!("{w} {:?}", b);
        }
    }
    println!("{:?} {:?}", world.traffic(), t.elapsed());
}

use polymorph_core::overlay::{Admission, OverlayName, Place};
use polymorph_core::topology::model::{Census, Model};
use polymorph_core::topology::question::{Query, Route, Target, Verdict};
use polymorph_core::{Guid, Key, Topology};
use proptest::prelude::*;

use super::ideal::Numbered;
use super::routing::Step;
use super::*;

fn config(width: usize, depth: usize) -> Config {
    Config { width, depth, cluster: 1 }
}

fn guid(number: usize) -> Guid {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Guid(bytes)
}

/// Peers 0..n with ideal tables, in the order of their Guids.
struct World {
    census: Census,
    nodes: Vec<Polyring>,
}

impl World {
    fn new(config: &Config, peers: usize) -> Self {
        let overlay = OverlayName::new("polyring", Admission::Open).expect("a good name").id();
        let census = Census::new(overlay, (0..peers).map(guid).collect());
        let mut nodes: Vec<_> = (0..peers).map(|n| Polyring::new(config, Place { overlay, me: guid(n) })).collect();
        assert!(nodes.iter_mut().all(|node| node.ideal(config, &census)));
        Self { census, nodes }
    }

    fn index(&self, guid: &Guid) -> usize {
        self.census.guids.binary_search(guid).expect("a peer")
    }

    /// Who a message ends at, and over how many links.
    fn walk(&self, from: usize, to: &Target<Polyring>) -> Option<(usize, usize)> {
        let (mut at, mut previous, mut state) = (from, None, Vec::new());
        for hops in 0..2 * MAX_DEPTH {
            let mut route = Route::default();
            let mut query = Query::new(to, 1);
            (query.state, query.from) = (&state, previous);
            self.nodes[at].route(&query, &mut route);
            match route.verdict {
                Verdict::Deliver { rank: 0 } => return Some((at, hops)),
                Verdict::Forward => {
                    previous = Some(guid(at));
                    at = self.index(&route.peers[0]);
                    state = route.state.to_vec();
                }
                _ => return None,
            }
        }
        panic!("a loop from {from} to {to:?}");
    }

    /// How many links apart all peers are from one, and over how many shortest ways.
    fn distances(&self, from: usize) -> Vec<(usize, usize)> {
        let mut found = vec![(usize::MAX, 0); self.nodes.len()];
        found[from] = (0, 1);
        let mut queue = std::collections::VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            let (hops, ways) = found[at];
            for neighbor in self.nodes[at].neighbors() {
                let next = self.index(&neighbor.peer);
                if found[next].0 == usize::MAX {
                    found[next].0 = hops + 1;
                    queue.push_back(next);
                }
                if found[next].0 == hops + 1 {
                    found[next].1 += ways;
                }
            }
        }
        found
    }
}

#[test]
fn every_route_is_the_one_shortest_way() {
    for (width, depth, peers) in [(1, 1, 1), (4, 1, 3), (2, 2, 6), (3, 2, 12), (2, 4, 30), (3, 3, 39), (4, 3, 57)] {
        let world = World::new(&config(width, depth), peers);
        let mut farthest = 0;
        for from in 0..peers {
            for (to, (hops, ways)) in world.distances(from).into_iter().enumerate() {
                let (a, b) = (world.nodes[from].path().unwrap(), world.nodes[to].path().unwrap());
                let walked = world.walk(from, &Target::Address(b.clone()));
                assert_eq!(walked, Some((to, hops)), "{a} to {b}");
                assert_eq!((a.hops(b), ways), (hops, 1), "{a} to {b}");
                farthest = farthest.max(hops);
            }
        }
        let claims = Polyring::claims(&config(width, depth), peers);
        assert!(farthest <= claims.hops.unwrap(), "{width} {depth} {peers}");
    }
}

#[test]
fn nobody_is_reached_where_nobody_stands() {
    let world = World::new(&config(3, 2), 7);
    for place in ["[3]", "[0.3]", "[0.1.0]", "[1.1]", "[2.0]", "[4294967295.0]"] {
        for from in 0..7 {
            assert_eq!(world.walk(from, &Target::Address(place.parse().unwrap())), None, "{place} from {from}");
        }
    }
}

#[test]
fn a_node_without_a_place_finds_no_way() {
    let place = Place { overlay: OverlayName::new("a", Admission::Open).unwrap().id(), me: guid(0) };
    let node = Polyring::new(&Config::default(), place);
    for to in [Target::Address(Path::center(0)), Target::Key(Key::default())] {
        let mut route = Route::default();
        node.route(&Query::new(&to, 1), &mut route);
        assert_eq!(route.verdict, Verdict::Unreachable);
    }
    assert!(node.neighbors().is_empty() && node.addresses().is_empty());
}

#[test]
fn the_published_cases_hold_in_the_center_too() {
    let world = World::new(&config(3, 3), 39);
    let center = world.nodes[1].stand.as_ref().unwrap();
    let step = |to: &str| center.step(&to.parse().unwrap());
    assert_eq!(step("[1]"), Step::Here);
    assert_eq!(step("[0]"), Step::To(guid(0)));
    assert_eq!(step("[2.1.1]"), Step::To(guid(2)));
    assert_eq!(step("[1.2.0]"), Step::To(guid(3 + 3 + 2)));
    assert_eq!(step("[7]"), Step::Nowhere);
}

#[test]
fn all_agree_on_the_owner_of_a_key_and_it_has_no_children() {
    for (width, depth, peers) in [(5, 1, 5), (3, 3, 39), (4, 3, 50)] {
        let config = config(width, depth);
        let world = World::new(&config, peers);
        for number in 0..200_u32 {
            let key = Key::of(&number.to_le_bytes());
            let owner = Polyring::ideal_owner(&config, &world.census, &key).unwrap();
            let owner = world.index(&owner);
            assert!(world.nodes[owner].children().next().is_none());
            for from in 0..peers {
                let (found, hops) = world.walk(from, &Target::Key(key)).expect("an owner");
                assert_eq!(found, owner, "{key} from {from}");
                assert!(hops < 2 * depth, "{hops} hops");
            }
        }
    }
}

#[test]
fn keys_are_shared_evenly_among_those_without_children() {
    let config = config(6, 2);
    let world = World::new(&config, 42);
    let mut owned = vec![0_u32; 42];
    for number in 0..36_000_u32 {
        let owner = Polyring::ideal_owner(&config, &world.census, &Key::of(&number.to_le_bytes())).unwrap();
        owned[world.index(&owner)] += 1;
    }
    assert!(owned[..6].iter().all(|&keys| keys == 0));
    // 1,000 each, with a standard deviation of 32.
    assert!(owned[6..].iter().all(|&keys| (850..1150).contains(&keys)), "{owned:?}");
}

#[test]
fn the_replica_set_is_the_rest_of_the_owners_ring_in_order() {
    let config = config(4, 2);
    let world = World::new(&config, 20);
    let to = Target::Key(Key::of(b"a key"));
    let (owner, _) = world.walk(0, &to).unwrap();
    let ask = |node: &Polyring, without: &[Guid]| {
        let mut route = Route::default();
        let mut query = Query::new(&to, 3);
        (query.without, query.state) = (without, &[1]);
        node.route(&query, &mut route);
        route
    };
    let set = ask(&world.nodes[owner], &[]);
    assert_eq!((set.verdict, set.peers.len()), (Verdict::Deliver { rank: 0 }, 2));
    let second = world.index(&set.peers[0]);
    assert_eq!(ask(&world.nodes[second], &[]).verdict, Verdict::Deliver { rank: 1 });
    let parent = world.index(&world.nodes[owner].parent().unwrap());
    assert_eq!(ask(&world.nodes[parent], &[]).peers, [guid(owner)]);
    assert_eq!(ask(&world.nodes[parent], &[guid(owner)]).peers, [guid(second)], "the owner does not answer");
}

/// Mean hops of uniform polyrings with a million peers, as computed from the structure alone.
#[test]
fn a_million_places_are_as_far_apart_as_their_formula_says() {
    for (width, depth, peers, mean) in
        [(10, 6, 1_111_110, 10.56), (32, 4, 1_082_400, 6.87), (100, 3, 1_010_100, 4.96), (1000, 2, 1_001_000, 3.00)]
    {
        let shape = Numbered::new(&config(width, depth), peers).expect("it fits exactly");
        assert!(Numbered::new(&config(width, depth), peers + 1).is_none());
        let (mut sum, mut draw, pairs) = (0, 1_u64, 100_000);
        for _ in 0..pairs {
            let mut next = || {
                draw = routing::mix(draw);
                shape.path((draw % peers as u64) as usize)
            };
            let hops = next().hops(&next());
            assert!(hops < 2 * depth);
            sum += hops;
        }
        let measured = sum as f64 / f64::from(pairs);
        assert!((measured - mean).abs() < 0.02, "{width} {depth}: {measured}");
    }
}

proptest! {
    #[test]
    fn numbers_and_places_are_one_to_one(width in 1usize..9, depth in 1usize..6, peers in 1usize..500) {
        let Some(shape) = Numbered::new(&config(width, depth), peers) else { return Ok(()) };
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..peers {
            let path = shape.path(number);
            prop_assert_eq!(shape.at(&path), Some(number));
            let parent = shape.parent(number).map(|parent| shape.path(parent));
            prop_assert_eq!(parent, path.parent());
            prop_assert!(shape.ring(number).contains(&number));
            prop_assert!(shape.children(number).all(|child| shape.parent(child) == Some(number)));
            prop_assert!(seen.insert(path));
        }
    }

    #[test]
    fn ideal_tables_are_symmetric_and_bounded(width in 1usize..7, depth in 1usize..5, peers in 1usize..90) {
        prop_assume!(Numbered::new(&config(width, depth), peers).is_some());
        let world = World::new(&config(width, depth), peers);
        for (me, node) in world.nodes.iter().enumerate() {
            let neighbors = node.neighbors();
            prop_assert!(neighbors.len() <= 2 * width);
            for neighbor in neighbors {
                let back = world.nodes[world.index(&neighbor.peer)].neighbors();
                prop_assert!(back.iter().any(|other| other.peer == guid(me)));
            }
        }
    }
}

#[test]
fn a_cluster_is_refused_and_the_refusal_says_why() {
    let mut config = Config::default();
    assert_eq!(
        (config.set("cluster", "1"), config.set("width", "7"), config.set("depth", "2")),
        (Ok(()), Ok(()), Ok(()))
    );
    assert_eq!(config, Config { width: 7, depth: 2, cluster: 1 });
    let refused = config.set("cluster", "3").unwrap_err().to_string();
    assert_eq!(refused, "cluster=3 is no good: cluster is 1: peers cannot share a place yet");
    assert!(
        config.set("width", "0").is_err() && config.set("depth", "17").is_err() && config.set("size", "1").is_err()
    );
}

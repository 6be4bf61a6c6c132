//! Everybody's ideal tables, and messages that walk over them: no loss, no time, no engine.
//!
//! Convention: hops are counted until the owner has the message. The Chord paper stops at the owner's predecessor, one
//! hop earlier.

use core::cell::OnceCell;
use core::time::Duration;

use bytes::Bytes;
use polymorph_core::overlay::{Admission, OverlayName, Place};
use polymorph_core::topology::model::{Census, Model, Proximity};
use polymorph_core::topology::question::{Query, Route, Target, Verdict};
use polymorph_core::{Guid, Key};
use polymorph_sim::Latency;
use polymorph_sim::latency::Plane;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// A world of tables.
pub(crate) struct Ring<T: Model> {
    config: T::Config,
    census: Census,
    /// In the census' order of Guids; tables are made when they are first looked at, since few of a million are.
    nodes: Vec<OnceCell<T>>,
    alive: Vec<bool>,
    /// Places on the ring, in the order of Guids.
    places: Vec<u32>,
    rng: ChaCha8Rng,
    seed: u64,
}

/// Many walks.
#[derive(Debug, Default)]
pub(crate) struct Walks {
    /// How many ended after so many hops.
    ends: Vec<u32>,
    timeouts: u32,
    way: f64,
    straight: f64,
}

/// How many peers are named at once to those who look for room.
const SET: usize = 16;

/// What came of placing keys under a bound.
#[derive(Debug)]
pub(crate) struct Shelves {
    /// How many peers were asked for a key, on average.
    pub(crate) asked: f64,
    /// How many keys a peer takes.
    pub(crate) bound: usize,
    /// How many the fullest peer has.
    pub(crate) fullest: usize,
}

/// How an iterative lookup ended.
#[derive(Debug)]
pub(crate) struct Lookup {
    /// After how many rounds of questions the nearest peer's name came up.
    pub(crate) depth: u32,
    /// How many questions were asked until the k nearest had answered.
    pub(crate) questions: u32,
    /// Whether the nearest that was found is the nearest there is.
    pub(crate) right: bool,
}

impl Walks {
    /// The mean number of hops.
    pub(crate) fn hops(&self) -> f64 {
        let sum: f64 = self.ends.iter().enumerate().map(|(hops, count)| hops as f64 * f64::from(*count)).sum();
        sum / self.count()
    }

    fn count(&self) -> f64 {
        self.ends.iter().map(|count| f64::from(*count)).sum()
    }

    /// The shares of walks that ended after 0, 1, 2 … hops.
    pub(crate) fn shares(&self) -> Vec<f64> {
        self.ends.iter().map(|count| f64::from(*count) / self.count()).collect()
    }

    /// After how many hops this share of walks has ended.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut left = share * self.count();
        let ended = self.ends.iter().take_while(|count| {
            left -= f64::from(**count);
            left > 0.0
        });
        ended.count() as f64
    }

    /// The mean number of peers asked in vain.
    pub(crate) fn timeouts(&self) -> f64 {
        f64::from(self.timeouts) / self.count()
    }

    /// All ways against all straight ways.
    pub(crate) fn stretch(&self) -> f64 {
        self.way / self.straight
    }
}

impl<T: Model> Ring<T> {
    /// Peers who are all equally far apart.
    pub(crate) fn new(config: &T::Config, peers: usize, seed: u64) -> Self {
        Self::with(config, peers, seed, None)
    }

    /// Peers on a plane, without slow last miles, whose tables hold the nearest.
    pub(crate) fn on_a_plane(config: &T::Config, peers: usize, seed: u64) -> Self {
        let plane = Latency::Coordinates(Plane { height: Duration::ZERO, ..Plane::default() });
        let round_trip = move |a, b| 2 * plane.one_way(seed, a as u32, b as u32);
        Self::with(config, peers, seed, Some(Proximity::new(round_trip)))
    }

    fn with(config: &T::Config, peers: usize, seed: u64, proximity: Option<Proximity>) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let overlay = OverlayName::new("ideal", Admission::Open).expect("a good name").id();
        let guids = (0..peers).map(|_| Guid(bytes32(&mut rng))).collect();
        let census = Census::new(overlay, guids).with_proximity(proximity);
        let nodes = (0..peers).map(|_| OnceCell::new()).collect();
        let mut places = vec![0; peers];
        for (place, (_, guid)) in census.ring.iter().enumerate() {
            places[census.guids.binary_search(guid).expect("a member")] = place as u32;
        }
        Self { config: config.clone(), census, nodes, alive: vec![true; peers], places, rng, seed }
    }

    fn node(&self, at: usize) -> &T {
        self.nodes[at].get_or_init(|| {
            let place = Place { overlay: self.census.overlay, me: self.census.guids[at] };
            let mut node = T::new(&self.config, place);
            assert!(node.ideal(&self.config, &self.census), "seed {}: no ideal tables", self.seed);
            node
        })
    }

    fn index(&self, guid: &Guid) -> usize {
        self.census.guids.binary_search(guid).expect("a member")
    }

    fn random_node(&mut self) -> usize {
        loop {
            let index = (self.rng.next_u64() % self.nodes.len() as u64) as usize;
            if self.alive[index] {
                return index;
            }
        }
    }

    /// Kills a share of all peers, of whom nobody knows.
    pub(crate) fn kill(&mut self, share: f64) {
        for _ in 0..(self.nodes.len() as f64 * share) as usize {
            let index = self.random_node();
            self.alive[index] = false;
        }
    }

    fn survivors(&self) -> Census {
        let alive = |guid: &Guid| self.alive[self.index(guid)];
        Census::new(self.census.overlay, self.census.guids.iter().copied().filter(alive).collect())
    }

    fn route(&self, at: usize, key: Key, n: usize, without: &[Guid], state: &[u8]) -> Route {
        let (to, mut route) = (Target::Key(key), Route::default());
        let mut query = Query::new(&to, n);
        (query.without, query.state) = (without, state);
        self.node(at).route(&query, &mut route);
        route
    }

    fn far(&self, a: usize, b: usize) -> f64 {
        let far = |proximity: &Proximity| proximity.round_trip(self.places[a] as usize, self.places[b] as usize);
        self.census.proximity.as_ref().map_or(0.0, |proximity| far(proximity).as_secs_f64())
    }

    /// From node to node; a dead next hop costs a timeout, once: as in the papers' simulations the lookup is iterative, and
    /// whoever looks up remembers for all of it who did not answer.
    fn walk(&self, from: usize, key: Key, walks: &mut Walks) -> Option<Guid> {
        let (mut at, mut state, mut without) = (from, Bytes::new(), Vec::new());
        let mut hops = 0;
        loop {
            assert!(hops < 200 && without.len() < 1000, "seed {}: a walk without end", self.seed);
            let route = self.route(at, key, 1, &without, &state);
            match route.verdict {
                Verdict::Unreachable => return None,
                Verdict::Deliver { .. } => break,
                Verdict::Forward => {}
            }
            let next = self.index(&route.peers[0]);
            if self.alive[next] {
                walks.way += self.far(at, next);
                (at, state) = (next, route.state);
                hops += 1;
            } else {
                without.push(route.peers[0]);
                walks.timeouts += 1;
            }
        }
        walks.straight += if at == from { 0.0 } else { self.far(from, at) };
        walks.ends.resize(walks.ends.len().max(hops + 1), 0);
        walks.ends[hops] += 1;
        Some(self.census.guids[at])
    }

    /// Many walks to random keys. Every one must end at the right owner.
    pub(crate) fn walks(&mut self, count: usize) -> Walks {
        self.walks_to(count, |ring| Key(bytes32(&mut ring.rng)))
    }

    /// Many walks to the places of random nodes.
    pub(crate) fn walks_to_nodes(&mut self, count: usize) -> Walks {
        self.walks_to(count, |ring| {
            let node = ring.random_node();
            ring.census.overlay.position(ring.census.guids[node], 0)
        })
    }

    fn walks_to(&mut self, count: usize, mut key: impl FnMut(&mut Self) -> Key) -> Walks {
        let (survivors, mut walks) = (self.survivors(), Walks::default());
        for _ in 0..count {
            let (key, from) = (key(self), self.random_node());
            let owner = self.walk(from, key, &mut walks);
            assert_eq!(owner, T::owner(&self.config, &survivors, &Target::Key(key)), "seed {}: {key:?}", self.seed);
        }
        walks
    }

    /// Of so many keys the load of each peer against the mean, in order. An owner is who says itself that it is.
    pub(crate) fn loads(&mut self, keys: usize) -> Vec<f64> {
        let mut loads = vec![0.0; self.nodes.len()];
        for _ in 0..keys {
            let key = Key(bytes32(&mut self.rng));
            let owner = T::owner(&self.config, &self.census, &Target::Key(key)).expect("it has owners");
            let owner = self.index(&owner);
            let verdict = self.route(owner, key, 1, &[], &[]).verdict;
            assert!(matches!(verdict, Verdict::Deliver { .. }), "seed {}: {key:?}", self.seed);
            loads[owner] += self.nodes.len() as f64 / keys as f64;
        }
        loads.sort_unstable_by(f64::total_cmp);
        loads
    }

    /// Places so many keys, each at the first peer from its owner on that holds less than so many percent above the mean.
    /// Who comes next is what the owner names as the rest of the replica set, and then what the last of these names.
    pub(crate) fn bounded(&mut self, keys: usize, percent: usize) -> Shelves {
        // In whole numbers: 1.1 times 100 is more than 110 in floating point, and rounded up a peer has room for 111.
        let bound = (keys * (100 + percent)).div_ceil(100 * self.nodes.len());
        let (mut held, mut asked) = (vec![0; self.nodes.len()], keys);
        for _ in 0..keys {
            let key = Key(bytes32(&mut self.rng));
            let owner = T::owner(&self.config, &self.census, &Target::Key(key)).expect("it has owners");
            let (mut at, mut set, mut place) = (self.index(&owner), Vec::new(), key);
            while held[at] == bound {
                if set.is_empty() {
                    let route = self.route(at, place, SET, &[], &[]);
                    assert!(matches!(route.verdict, Verdict::Deliver { .. }), "seed {}: {place:?}", self.seed);
                    set = route.peers.into_iter().rev().collect();
                }
                let next = set.pop().expect("there are others");
                at = self.index(&next);
                asked += 1;
                if set.is_empty() {
                    place = self.census.overlay.position(next, 0);
                }
            }
            held[at] += 1;
        }
        Shelves { asked: asked as f64 / keys as f64, bound, fullest: held.into_iter().max().unwrap_or_default() }
    }

    /// One iterative lookup: `alpha` of the nearest who were not asked in each round, until the `k` nearest answered.
    pub(crate) fn iterative(&mut self, k: usize, alpha: usize) -> Lookup {
        let (key, from) = (Key(bytes32(&mut self.rng)), self.random_node());
        let to = Target::Key(key);
        // Distance, who, after how many rounds its name came up, and whether it was asked.
        let mut known: Vec<_> = self.named(from, key, k).into_iter().map(|peer| (peer, 0, false)).collect();
        known.push((from, 0, true));
        let mut questions = 0;
        loop {
            known.sort_by_cached_key(|(peer, ..)| self.node(from).distance(&to, self.census.guids[*peer]));
            known.dedup_by_key(|(peer, ..)| *peer);
            let ask: Vec<usize> = (0..known.len().min(k)).filter(|at| !known[*at].2).take(alpha).collect();
            if ask.is_empty() {
                break;
            }
            let mut fresh = Vec::new();
            for at in ask {
                known[at].2 = true;
                questions += 1;
                let depth = known[at].1 + 1;
                fresh.extend(self.named(known[at].0, key, k).into_iter().map(|peer| (peer, depth, false)));
            }
            // Those who are known stay what they are.
            let new = |(peer, ..): &(usize, u32, bool)| !known.iter().any(|(other, ..)| other == peer);
            let fresh: Vec<_> = fresh.into_iter().filter(new).collect();
            known.extend(fresh);
        }
        let (nearest, depth, _) = known[0];
        let right = T::owner(&self.config, &self.census, &to) == Some(self.census.guids[nearest]);
        Lookup { depth, questions, right }
    }

    fn named(&self, at: usize, key: Key, k: usize) -> Vec<usize> {
        self.route(at, key, k, &[], &[]).peers.iter().map(|guid| self.index(guid)).collect()
    }
}

fn bytes32(rng: &mut ChaCha8Rng) -> [u8; 32] {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    bytes
}

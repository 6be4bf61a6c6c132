//! Symphony as the simulator sees it from above.

use polymorph_core::Guid;
use polymorph_core::overlay::Place;
use polymorph_core::topology::model::{Census, Claims, Model};
use polymorph_core::topology::question::Target;

use super::super::chord::{self, Chord};
use super::super::prefix::{Peer, head, mix};
use super::links::{BESIDE, By, Links, MAX_AHEAD, MAX_OPEN, harmonic, point};
use super::{Config, Symphony};

impl Config {
    /// The ring without fingers.
    fn ring(&self) -> chord::Config {
        let Self { successors, stabilize, .. } = *self;
        chord::Config { successors, stabilize, fingers: 0, ..chord::Config::default() }
    }
}

impl Model for Symphony {
    type Config = Config;

    fn new(config: &Config, place: Place) -> Self {
        let ring = <Chord as Model>::new(&config.ring(), place);
        Self { config: *config, ring, mine: head(&place.mine()), links: Links::default(), open: Vec::new() }
    }

    fn claims(config: &Config, peers: usize) -> Claims {
        let bits = (usize::BITS - peers.leading_zeros()) as usize;
        let ring = Chord::claims(&config.ring(), peers);
        // Own links, twice as many of others', and the two beside.
        let neighbors = 3 * config.links + BESIDE;
        Claims {
            agreement: ring.agreement,
            degree: ring.degree,
            // A hop goes to whoever knows somebody near the key, and may itself be farther (§3.5).
            closer: false,
            // The ring's, the links, and whom each of the neighbors is linked to.
            entries: ring.entries.map(|ring| ring + 3 * config.links + neighbors * MAX_AHEAD + MAX_OPEN),
            // The ring's, and neighbors exchanged with everybody, half of them by the other's question.
            idle: ring.idle.map(|ring| ring + 60.0 / config.relink.as_secs_f64() * 2.0 * (WIRE * neighbors) as f64),
            heals: ring.heals,
            merges: ring.merges,
            leaves: ring.leaves,
            // O(log² n / k) (theorem 3.1); what is found here, times four.
            hops: Some(4 + 2 * bits * bits / config.links),
            quiet: ring.quiet + 2 * config.relink.as_secs(),
            ..Claims::default()
        }
    }

    fn entries(&self) -> usize {
        self.ring.entries() + self.links.size() + self.open.len()
    }

    fn owner(config: &Config, all: &Census, to: &Target<Self>) -> Option<Guid> {
        let &(Target::Key(key) | Target::Address(key)) = to;
        Chord::owner(&config.ring(), all, &Target::Key(key))
    }

    /// The ring as it must be, and links drawn by everybody in turn, none of whom takes more than 2k of others'.
    fn ideal(&mut self, config: &Config, all: &Census) -> bool {
        let me = all.successor(&self.place().mine());
        let Some(drawn) = all.plan(|all| draw_all(config.links, all)).filter(|_| self.ring.ideal(&config.ring(), all))
        else {
            return false;
        };
        let peer = |index: u32| {
            let (key, guid) = all.ring[index as usize];
            Peer { at: head(&key), guid }
        };
        let count = all.ring.len() as u32;
        let ahead = |of: u32| {
            let beside = [(of + 1) % count, (of + count - 1) % count];
            beside.into_iter().chain(drawn[of as usize].iter().map(|(other, _)| *other)).map(peer).collect()
        };
        self.links.drawn_for(f64::from(count));
        for beside in [(me as u32 + 1) % count, (me as u32 + count - 1) % count] {
            self.links.set_beside(peer(beside).guid, ahead(beside));
        }
        for &(other, by) in &drawn[me] {
            self.links.add(peer(other), by, ahead(other));
        }
        true
    }
}

/// Everybody's links, by places on the ring.
fn draw_all(k: usize, all: &Census) -> Vec<Vec<(u32, By)>> {
    let count = all.ring.len();
    let mut links: Vec<Vec<(u32, By)>> = vec![Vec::new(); count];
    for (me, (key, _)) in all.ring.iter().enumerate() {
        let (mine, mut seed) = (head(key), head(key));
        for _ in 0..TRIES * k {
            if links[me].iter().filter(|(_, by)| *by == By::Me).count() == k {
                break;
            }
            seed = mix(seed);
            let unit = (seed >> 11) as f64 / (1_u64 << 53) as f64;
            let other = all.successor(&point(mine, harmonic(count as f64, unit)));
            let beside = [me, (me + 1) % count, (me + count - 1) % count].contains(&other);
            let taken = links[other].iter().filter(|(_, by)| *by == By::Peer).count() >= 2 * k;
            if !beside && !taken && links[me].iter().all(|(known, _)| *known as usize != other) {
                links[me].push((other as u32, By::Me));
                links[other].push((me as u32, By::Peer));
            }
        }
    }
    links
}

/// How many frames a question over a new wire takes: those that make the wire and end it, too.
const WIRE: usize = 3;
/// How often each link is drawn when nobody takes it.
const TRIES: usize = 16;

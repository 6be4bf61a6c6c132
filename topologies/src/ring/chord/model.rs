//! Chord as the simulator sees it from above.

use core::time::Duration;
use std::sync::Arc;

use polymorph_core::overlay::Place;
use polymorph_core::topology::Topology;
use polymorph_core::topology::model::{Census, Claims, Model};
use polymorph_core::topology::question::Target;
use polymorph_core::{Guid, Key};

use super::super::links::Holds;
use super::name::Name;
use super::protocol::{LOOKED_UP, MAX_MEASURED, MAX_PASSED, MAX_SEEDS};
use super::table::{Choice, Peer};
use super::virtual_node::{Stage, VirtualNode};
use super::{Chord, Config};

impl Model for Chord {
    type Config = Config;

    fn new(config: &Config, place: Place) -> Self {
        // Nobody stands nowhere.
        let config = Config { virtual_nodes: config.places(), ..*config };
        let nodes = (0..config.virtual_nodes).map(|index| VirtualNode::new(&config, place, index)).collect();
        Self { nodes, held: Holds::default() }
    }

    fn claims(config: &Config, peers: usize) -> Claims {
        let each = usize::from(config.places());
        let bits = f64::from(usize::BITS - (peers * each).leading_zeros());
        let measured = if config.choice() == Choice::Near { MAX_MEASURED } else { 0 };
        Claims {
            agreement: true,
            // Each finger halves the distance, and with high probability there are no more than 2·log2 N halvings
            // to a distance that holds one peer (SIGCOMM 2001, theorem 2); one hop more to the owner.
            hops: Some(2 * bits as usize + 1),
            closer: true,
            degree: Some(2 * each),
            // The tables, the seeds, one open question of each of six kinds, and those who are measured or passed over.
            entries: Some(
                each * (1 + config.successors + config.fingers as usize + 6 + measured + MAX_PASSED) + MAX_SEEDS,
            ),
            idle: Some(each as f64 * idle(config, bits)),
            heals: true,
            // Two rings that forgot each other stay two, as in the papers.
            merges: Some(10),
            leaves: true,
            // A crash is noticed within a round, and each round mends one more place behind it; the fingers follow.
            quiet: (6 * config.stabilize + config.fix_fingers).as_secs(),
            ..Claims::default()
        }
    }

    fn owner(config: &Config, all: &Census, to: &Target<Self>) -> Option<Guid> {
        let &(Target::Key(key) | Target::Address(key)) = to;
        let ring = Ring::of(config, all)?;
        (ring.len() > 0).then(|| ring.get(ring.successor(&key)).1.guid)
    }

    fn entries(&self) -> usize {
        let entries = |node: &VirtualNode| node.table.len() + node.seeds.len() + node.open.len();
        self.nodes.iter().map(entries).sum()
    }

    fn ideal(&mut self, config: &Config, all: &Census) -> bool {
        let Some(ring) = Ring::of(config, all) else { return false };
        let stands = self.nodes.iter_mut().all(|node| node.stand_in(&ring, all));
        if self.nodes.len() > 1 {
            self.held = Holds::of(&self.neighbors());
        }
        stands
    }
}

/// How many frames a virtual node sends in a minute where nothing happens.
fn idle(config: &Config, bits: f64) -> f64 {
    let per_minute = |period: Duration| 60.0 / period.as_secs_f64();
    // Fingers stand beyond the list, as many as there are powers of two from there on.
    let fingers = (bits - f64::from(config.successors.max(1).ilog2())).clamp(0.0, config.fingers.into());
    // A lookup goes half as many hops as there are powers of two, and back, every other one over a wire that must be made.
    let looked_up = (bits / 2.0 + 1.0) * (2.0 + WIRE / 2.0);
    let round = match config.choice() {
        Choice::First => {
            let rarely = 1.0 / f64::from(LOOKED_UP);
            (1.0 - rarely) * (2.0 + WIRE) + rarely * looked_up
        }
        // Whoever could be one is asked twice over a new wire, in each round: what was measured is forgotten with the wire.
        Choice::Near => looked_up + config.proximity as f64 * (4.0 + WIRE),
    };
    // The successor is asked, and answers.
    per_minute(config.stabilize) * 2.0 + per_minute(config.fix_fingers) * fingers * round
}

/// How many frames a wire takes that is made for one question: offer, accept, confirm, and a goodbye from each side.
const WIRE: f64 = 5.0;

impl VirtualNode {
    /// Takes its place in a ring, with tables as they would be.
    fn stand_in(&mut self, ring: &Ring<'_>, all: &Census) -> bool {
        let mine = self.table.mine();
        let index = ring.successor(&mine);
        let peer = |at: usize| {
            let (key, name) = ring.get(at % ring.len());
            Peer { at: mine.clockwise(&key), name }
        };
        if ring.len() == 0 || ring.get(index).0 != mine {
            return false;
        }
        self.table.clear();
        let others = ring.len() - 1;
        self.table.adopt((1..=self.config.successors.min(others)).map(|step| peer(index + step)).collect());
        if others > 0 {
            self.table.set_predecessor(Some(peer(index + others)));
        }
        let place = |name: Name| all.successor(&all.overlay.position(name.guid, 0));
        let proximity = all.proximity.as_ref().filter(|_| self.config.choice() == Choice::Near);
        let near = proximity.map(|proximity| (proximity, place(self.name())));
        let mut from = 0;
        while let Some(exponent) = self.table.exponent_from(from) {
            let start = ring.successor(&mine.plus_power(exponent));
            let first = peer(start);
            from = self.table.set_finger(exponent, first, Choice::First);
            if let Some((proximity, me)) = near {
                let those = (start..start + self.config.proximity.min(others)).map(peer);
                let those = those.filter(|peer| peer.at.bits() == first.at.bits());
                let nearest = those.min_by_key(|peer| proximity.round_trip(me, place(peer.name)));
                nearest.into_iter().for_each(|peer| self.table.replace_finger(peer));
            }
        }
        self.stage = Stage::In;
        true
    }
}

/// All virtual nodes there are, in the order of their places.
enum Ring<'a> {
    /// As many as peers.
    Peers(&'a Census),
    /// Several of each peer: worked out once for a census.
    Several(Arc<Vec<(Key, Name)>>),
}

impl<'a> Ring<'a> {
    fn of(config: &Config, all: &'a Census) -> Option<Self> {
        let places = config.places();
        if places == 1 {
            return Some(Self::Peers(all));
        }
        let several = all.plan(|all| {
            let names = all.guids.iter().flat_map(|&guid| (0..places).map(move |index| Name { guid, index }));
            let mut ring: Vec<_> =
                names.map(|name| (all.overlay.position(name.guid, name.index.into()), name)).collect();
            ring.sort_unstable();
            ring
        })?;
        (several.len() == all.guids.len() * usize::from(places)).then_some(Self::Several(several))
    }

    fn len(&self) -> usize {
        match self {
            Self::Peers(all) => all.ring.len(),
            Self::Several(ring) => ring.len(),
        }
    }

    fn get(&self, at: usize) -> (Key, Name) {
        match self {
            Self::Peers(all) => (all.ring[at].0, Name { guid: all.ring[at].1, index: 0 }),
            Self::Several(ring) => ring[at],
        }
    }

    /// The first at or clockwise after a key.
    fn successor(&self, key: &Key) -> usize {
        match self {
            Self::Peers(all) => all.successor(key),
            Self::Several(ring) => ring.partition_point(|(place, _)| place < key) % ring.len().max(1),
        }
    }
}

//! Chord as the simulator sees it from above.

use core::time::Duration;

use polymorph_core::overlay::Place;
use polymorph_core::topology::model::{Census, Claims, Model};
use polymorph_core::topology::question::Target;
use polymorph_core::{Guid, Key, Time};

use super::protocol::MAX_SEEDS;
use super::table::{Peer, Table};
use super::{Chord, Config, Stage};

impl Model for Chord {
    type Config = Config;

    fn new(config: &Config, place: Place) -> Self {
        Self {
            config: *config,
            table: Table::new(place, config.successors, config.fingers),
            stage: Stage::Out,
            seeds: Vec::new(),
            tries: 0,
            awaited: Vec::new(),
            heard: Time::ZERO,
        }
    }

    fn claims(config: &Config, peers: usize) -> Claims {
        let bits = f64::from(usize::BITS - peers.leading_zeros());
        let per_minute = |period: Duration| 60.0 / period.as_secs_f64();
        Claims {
            agreement: true,
            // Each finger halves the distance, and with high probability there are no more than 2·log2 N halvings
            // to a distance that holds one peer (SIGCOMM 2001, theorem 2); one hop more to the owner.
            hops: Some(2 * bits as usize + 1),
            closer: true,
            degree: Some(2),
            // The tables, the seeds, and one answer awaited of each of five kinds.
            entries: Some(1 + config.successors + config.fingers as usize + MAX_SEEDS + 5),
            // The successor answers and is told; each finger, as many as there are powers of two between two peers, is
            // a lookup of half as many hops there and back, some over wires that must be made.
            idle: Some(per_minute(config.stabilize) * 3.0 + per_minute(config.fix_fingers) * bits * (bits + 2.0) / 2.0),
            heals: true,
            // Two rings that forgot each other stay two, as in the papers.
            merges: Some(10),
            leaves: true,
            // A crash is noticed within a round, and each round mends one more place behind it; the fingers follow.
            quiet: (6 * config.stabilize + config.fix_fingers).as_secs(),
            ..Claims::default()
        }
    }

    fn owner(_: &Config, all: &Census, to: &Target<Self>) -> Option<Guid> {
        let &(Target::Key(key) | Target::Address(key)) = to;
        all.ring.get(all.successor(&key)).map(|(_, peer)| *peer)
    }

    fn entries(&self) -> usize {
        self.table.neighbors().len() + self.seeds.len() + self.awaited.len()
    }

    fn ideal(&mut self, _: &Config, all: &Census) -> bool {
        let mine = self.table.mine();
        let index = all.successor(&mine);
        let peer = |&(key, guid): &(Key, Guid)| Peer { at: mine.clockwise(&key), guid };
        let around = all.ring[index..].iter().chain(&all.ring[..index]);
        if all.ring.get(index).is_none_or(|(key, _)| *key != mine) {
            return false;
        }
        self.table.clear();
        self.table.adopt(around.skip(1).take(self.config.successors).map(peer).collect());
        if all.ring.len() > 1 {
            let before = index.checked_sub(1).unwrap_or(all.ring.len() - 1);
            self.table.set_predecessor(all.ring.get(before).map(peer));
        }
        let mut from = 0;
        while let Some(exponent) = self.table.exponent_from(from) {
            let start = all.successor(&mine.plus_power(exponent));
            from = self.table.set_finger(exponent, peer(&all.ring[start]));
        }
        self.stage = Stage::In;
        true
    }
}

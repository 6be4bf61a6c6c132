//! Tapestry as the simulator sees it from above.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};

use polymorph_core::overlay::Place;
use polymorph_core::topology::model::{Census, Claims, Model};
use polymorph_core::topology::question::Target;
use polymorph_core::{Guid, Key};

use super::super::calls::{self, Calls};
use super::super::prefix::{Digits, Peer, head, mix, sample};
use super::joining::MAX_SEEDS;
use super::mesh::Mesh;
use super::multicast::MAX_CASTS;
use super::objects::Pointers;
use super::repair::MAX_LOST;
use super::{Config, MAX_BACKS, Proximity, Stage, Tapestry};

impl Model for Tapestry {
    type Config = Config;

    fn new(config: &Config, place: Place) -> Self {
        let (mine, digits) = (head(&place.mine()), Digits::new(config.base_bits));
        Self {
            config: *config,
            place,
            mine,
            mesh: Mesh::new(digits, mine, 1 + config.backups),
            backs: BTreeSet::new(),
            stage: Stage::Out,
            seeds: Vec::new(),
            lost: Vec::new(),
            tries: 0,
            coming: None,
            search: None,
            casts: BTreeMap::new(),
            calls: Calls::new(),
            turn: 0,
            pointers: Pointers::default(),
            own: BTreeSet::new(),
            finding: BTreeMap::new(),
        }
    }

    fn claims(config: &Config, peers: usize) -> Claims {
        let bits = (usize::BITS - peers.leading_zeros()) as usize;
        let digits = bits.div_ceil(config.base_bits as usize);
        let base = usize::from(Digits::new(config.base_bits).base());
        Claims {
            agreement: true,
            // A digit with each hop; no two peers share many more than log N digits (JSAC 2004, §III.A).
            hops: Some(digits + 3),
            // Every hop comes nearer in the order in which a key's root is the first (§II.C).
            closer: true,
            degree: Some(0),
            // The table, those who have this node in theirs, and what is bounded by name. Pointers to objects are what
            // applications publish, and not counted.
            entries: Some(
                peers.min((digits + 3) * (base - 1) * (1 + config.backups))
                    + peers.min(MAX_BACKS)
                    + MAX_SEEDS
                    + MAX_LOST
                    + MAX_CASTS
                    + calls::MAX,
            ),
            // Two peers are asked with each beacon, perhaps over wires that must be made, and name somebody for an empty slot.
            idle: Some(60.0 / config.beacon.as_secs_f64() * 2.0 * WIRE),
            heals: true,
            // Whoever has somebody left does not look for others.
            merges: Some(10),
            leaves: true,
            // A dead entry stays until it is used or until its turn: the last row's comes within a few beacons, and so do the
            // turns of those who are named in its stead.
            quiet: (30 * config.beacon).as_secs(),
            ..Claims::default()
        }
    }

    fn entries(&self) -> usize {
        let known = self.mesh.len() + self.backs.len() + self.seeds.len() + self.lost.len();
        known + self.casts.len() + self.calls.len()
    }

    /// Digit after digit, the right one or the next higher that somebody has.
    fn owner(config: &Config, all: &Census, to: &Target<Self>) -> Option<Guid> {
        let (Target::Key(key) | Target::Address(key)) = to;
        let (digits, key) = (Digits::new(config.base_bits), head(key));
        let mut range = &all.ring[..];
        for row in 0..digits.count() {
            if range.len() <= 1 {
                break;
            }
            let of = |(position, _): &(Key, Guid)| digits.digit(head(position), row);
            let want = digits.digit(key, row);
            let first = range.partition_point(|peer| of(peer) < want);
            let digit = of(&range[first % range.len()]);
            let start = range.partition_point(|peer| of(peer) < digit);
            range = &range[start..range.partition_point(|peer| of(peer) <= digit)];
        }
        range.first().map(|(_, peer)| *peer)
    }

    /// Every slot filled that somebody could fill, with the nearest, or random ones where the world knows no
    /// distances. In large worlds the nearest of a sample.
    fn ideal(&mut self, config: &Config, all: &Census) -> bool {
        let me = all.successor(&self.place.mine());
        if all.ring.get(me).is_none_or(|(_, guid)| *guid != self.place.me) {
            return false;
        }
        let proximity = all.proximity.as_ref().filter(|_| config.proximity == Proximity::Measured);
        let (mut seed, size, mesh) = (self.mine, 1 + config.backups, &mut self.mesh);
        Digits::new(config.base_bits).slots(all, self.mine, |_, _, range: Range<usize>| {
            seed = mix(seed);
            for index in sample(range, if proximity.is_some() { SAMPLE } else { size }, seed) {
                let (key, guid) = all.ring[index];
                let rtt = proximity.map(|proximity| proximity.round_trip(me, index).as_micros());
                mesh.offer(Peer { at: head(&key), guid }, rtt.map(|rtt| u32::try_from(rtt).unwrap_or(u32::MAX)));
            }
        });
        self.stage = Stage::In;
        true
    }
}

/// How many frames a question over a new wire takes: those that make the wire and end it, too.
const WIRE: f64 = 6.0;
/// How many of those who could fill a slot are looked at.
const SAMPLE: usize = 128;

//! Pastry as the simulator sees it from above.

use core::ops::Range;
use core::time::Duration;
use std::collections::VecDeque;

use polymorph_core::overlay::Place;
use polymorph_core::topology::Topology as _;
use polymorph_core::topology::model::{Census, Claims, Model};
use polymorph_core::topology::question::Target;
use polymorph_core::{Guid, Key, Time};

use super::super::calls::{self, Calls};
use super::super::prefix::{Digits, Peer, head, mix, sample};
use super::joining::MAX_SEEDS;
use super::leafs::Leafs;
use super::lost::{Lost, MAX_LOST};
use super::repair::{MAX_ASKED, MAX_HOLES};
use super::table::{Micros, Near, Table, micros};
use super::{Config, Pastry, Proximity, Stage};

impl Model for Pastry {
    type Config = Config;

    fn new(config: &Config, place: Place) -> Self {
        let (mine, digits) = (head(&place.mine()), Digits::new(config.base_bits));
        Self {
            config: *config,
            place,
            mine,
            leafs: Leafs::new(mine, config.leaf),
            table: Table::new(digits, mine),
            near: Near::new(config.neighborhood),
            stage: Stage::Out,
            seeds: Vec::new(),
            lost: Lost::default(),
            tries: 0,
            approach: None,
            member: None,
            pass: 0,
            calls: Calls::new(),
            holes: VecDeque::new(),
            heard: Time::ZERO,
            salt: 0,
        }
    }

    fn claims(config: &Config, peers: usize) -> Claims {
        let digits = (usize::BITS - peers.leading_zeros()).div_ceil(config.base_bits) as usize;
        let (base, rows) = (usize::from(Digits::new(config.base_bits).base()), digits + 1);
        let per_minute = |period: Duration| 60.0 / period.as_secs_f64();
        // Each exchange asks the next peer, and up to four for a slot that nobody has filled.
        let keepalive = per_minute(config.keepalive) * 2.0 * f64::from(1 + MAX_ASKED);
        // One of each row and one near peer are asked, and all they name are measured, twice where the wire is new.
        let named = rows * (base - 1) + config.neighborhood;
        let maintain = per_minute(config.maintain) * (2 * (rows + 1) + WIRE * named.min(peers)) as f64;
        // One of the neighborhood set is asked with each exchange.
        let near = per_minute(config.keepalive) * WIRE as f64;
        Claims {
            agreement: true,
            // A digit with each hop (§2.3), one hop within the leaf set, and the rare case that a slot is empty.
            hops: Some(digits + 2),
            // A hop that corrects a digit may lead to a greater number: the distance that names the owner is not the one
            // that shrinks (§2.3).
            closer: false,
            degree: Some(2),
            // The three sets (§2.1), where a table has ⌈log N⌉ rows and a few more of chance, and what is bounded by name.
            entries: Some(
                config.leaf
                    + peers.min((rows + 2) * (base - 1))
                    + config.neighborhood
                    + MAX_SEEDS
                    + MAX_LOST
                    + MAX_HOLES
                    + calls::MAX,
            ),
            idle: Some(keepalive + if config.proximity == Proximity::Measured { maintain + near } else { 0.0 }),
            heals: true,
            // Whoever fell silent is asked again, as long after its silence as it lasted so far.
            merges: Some(90),
            leaves: true,
            // A crash is noticed within two exchanges, told on, and mended in a few round trips; the two sides of a broken
            // line find each other within six.
            quiet: (8 * config.keepalive).as_secs(),
            ..Claims::default()
        }
    }

    fn entries(&self) -> usize {
        let known = self.neighbors().len() + self.near.guids().len();
        known + self.seeds.len() + self.lost.len() + self.holes.len() + self.calls.len()
    }

    /// The numerically nearest on the ring.
    fn owner(_: &Config, all: &Census, to: &Target<Self>) -> Option<Guid> {
        let (Target::Key(key) | Target::Address(key)) = to;
        let after = all.successor(key);
        let before = after.checked_sub(1).unwrap_or(all.ring.len().saturating_sub(1));
        let peer = |index: usize| all.ring.get(index).map(|(key, guid)| Peer { at: head(key), guid: *guid });
        peer(before).into_iter().chain(peer(after)).min_by_key(|peer| peer.rank(head(key))).map(|peer| peer.guid)
    }

    /// Leaf sets as they must be, and of all who could fill a slot the nearest, or a random one where the world knows
    /// no distances. In large worlds the nearest of a sample.
    fn ideal(&mut self, config: &Config, all: &Census) -> bool {
        let me = all.successor(&self.place.mine());
        let count = all.ring.len();
        if all.ring.get(me).is_none_or(|(_, guid)| *guid != self.place.me) {
            return false;
        }
        let peer = |index: usize| {
            let (key, guid): (Key, Guid) = all.ring[index % count];
            Peer { at: head(&key), guid }
        };
        for step in 1..=config.leaf.min(count - 1) {
            self.leafs.insert(peer(me + step));
            self.leafs.insert(peer(me + count - step));
        }
        let round_trip = |other: usize| -> Option<Micros> {
            let proximity = all.proximity.as_ref().filter(|_| config.proximity == Proximity::Measured)?;
            Some(micros(proximity.round_trip(me, other)))
        };
        let mut seed = self.mine;
        let (table, near) = (&mut self.table, &mut self.near);
        Digits::new(config.base_bits).slots(all, self.mine, |_, _, range: Range<usize>| {
            seed = mix(seed);
            let candidates = if round_trip(range.start).is_some() { SAMPLE } else { 1 };
            let drawn = if range.len() <= candidates { range.start } else { range.start + seed as usize % range.len() };
            let one = (candidates == 1).then_some(drawn);
            let many = sample(range, candidates, seed).filter(|_| one.is_none());
            let measured = one.into_iter().chain(many).map(|index| (round_trip(index), index));
            let nearest = measured.inspect(|&(rtt, index)| {
                if let Some(rtt) = rtt {
                    near.offer(peer(index).guid, rtt, Time::ZERO);
                }
            });
            if let Some((rtt, index)) = nearest.min() {
                table.offer(peer(index), rtt);
            }
        });
        self.stage = Stage::In;
        true
    }
}

/// How many frames it takes to measure somebody over a new wire: two questions and answers, and those that make the wire
/// and end it.
const WIRE: usize = 10;
/// How many of those who could fill a slot are looked at: with as many the first hop is a seventeenth of the mean
/// distance long on a plane, and a world of 10^5 is built in a minute or two.
const SAMPLE: usize = 256;

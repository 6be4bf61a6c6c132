//! Pastry as the simulator sees it from above.

use core::ops::Range;
use std::collections::VecDeque;

use polymorph_core::overlay::Place;
use polymorph_core::topology::model::{Census, Claims, Model};
use polymorph_core::topology::question::Target;
use polymorph_core::{Guid, Key, Time};

use super::super::calls::Calls;
use super::super::prefix::{Digits, Peer, head, mix, sample};
use super::leafs::Leafs;
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
            lost: Vec::new(),
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
        Claims {
            agreement: true,
            // A digit with each hop (§2.3), one hop within the leaf set, and the rare case that a slot is empty.
            hops: Some(digits + 2),
            degree: Some(2),
            // A crash is noticed within two exchanges, told on, and mended in a few round trips.
            quiet: (4 * config.keepalive).as_secs(),
            ..Claims::default()
        }
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
                    near.offer(peer(index).guid, rtt);
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

/// How many of those who could fill a slot are looked at: with as many the first hop is a seventeenth of the mean
/// distance long on a plane, and a world of 10^5 is built in a minute or two.
const SAMPLE: usize = 256;

//! One hop as the simulator sees it from above.

use std::collections::VecDeque;

use polymorph_core::overlay::Place;
use polymorph_core::topology::model::{Census, Claims, Model};
use polymorph_core::topology::question::Target;
use polymorph_core::{Guid, Time};

use super::super::calls::{self, Calls};
use super::super::prefix::{Peer, head};
use super::events::{Heard, MAX_HEARD, MAX_RATE, MAX_SEEDS, MAX_TELLING, MAX_WENT, PATIENCE};
use super::members::Members;
use super::{Config, OneHop, Stage};

impl Model for OneHop {
    type Config = Config;

    fn new(config: &Config, place: Place) -> Self {
        Self {
            config: *config,
            place,
            mine: head(&place.mine()),
            members: Members::default(),
            stage: Stage::Out,
            seeds: Vec::new(),
            tries: 0,
            calls: Calls::new(),
            heard: Heard::default(),
            went: VecDeque::new(),
            telling: VecDeque::new(),
            sign: Time::ZERO,
            differs: 0,
            rate: VecDeque::new(),
        }
    }

    fn claims(config: &Config, peers: usize) -> Claims {
        let rho = u64::from(peers.max(2).next_power_of_two().ilog2());
        Claims {
            agreement: true,
            // One; a second one where the first did not know of a newcomer yet.
            hops: Some(2),
            closer: true,
            degree: Some(2),
            // Everybody, and what is bounded by name.
            entries: Some(peers + MAX_SEEDS + MAX_HEARD + MAX_WENT + MAX_TELLING + MAX_RATE + calls::MAX),
            // The next peer is told something with every interval, and says that it heard.
            idle: Some(60.0 / config.interval.as_secs_f64() * 2.0 * 1.2),
            heals: true,
            // Whoever has somebody left does not look for others.
            merges: Some(10),
            leaves: true,
            // A going is noticed within three intervals, and told on in at most ρ; what was lost on the way is found by
            // comparing tables, a part at a time.
            quiet: (4 + rho + 4 * u64::from(PATIENCE)) * config.interval.as_secs(),
            ..Claims::default()
        }
    }

    fn entries(&self) -> usize {
        let known = self.members.len() + self.seeds.len() + self.heard.len();
        known + self.went.len() + self.telling.len() + self.rate.len() + self.calls.len()
    }

    fn owner(_: &Config, all: &Census, to: &Target<Self>) -> Option<Guid> {
        let (Target::Key(key) | Target::Address(key)) = to;
        all.ring.get(all.successor(key)).map(|(_, peer)| *peer)
    }

    fn ideal(&mut self, _: &Config, all: &Census) -> bool {
        let everybody = |all: &Census| {
            let peers = all.ring.iter().map(|(key, guid)| Peer { at: head(key), guid: *guid });
            peers.collect::<Vec<_>>()
        };
        let Some(members) = all.plan(everybody) else { return false };
        self.members = Members::shared(members);
        self.stage = Stage::In;
        self.members.get(self.mine).is_some()
    }
}

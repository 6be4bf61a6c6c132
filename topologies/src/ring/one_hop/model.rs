//! One hop as the simulator sees it from above.

use std::collections::VecDeque;

use polymorph_core::overlay::Place;
use polymorph_core::topology::model::{Census, Claims, Model};
use polymorph_core::topology::question::Target;
use polymorph_core::{Guid, Time};

use super::super::calls::{self, Calls};
use super::super::prefix::{Peer, head};
use super::doubt::{MAX_PAST, Past, RARELY};
use super::events::{Heard, MAX_HEARD, MAX_RATE, MAX_SEEDS};
use super::members::Members;
use super::tell::{MAX_LINKS, MAX_TELLING};
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
            past: Past::default(),
            life: 0,
            links: Vec::new(),
            held: Vec::new(),
            fresh: None,
            telling: VecDeque::new(),
            sign: Time::ZERO,
            differs: 0,
            compared: 0,
            news: Time::ZERO,
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
            // Those beside it, and a link for each power of two.
            degree: Some(2 + rho as usize),
            // Everybody, and what is bounded by name.
            entries: Some(
                peers + MAX_SEEDS + MAX_HEARD + MAX_PAST + MAX_TELLING + MAX_RATE + calls::MAX + 2 * MAX_LINKS,
            ),
            // The next peer is told with every interval that this one is there; now and then tables are compared.
            idle: Some(60.0 / config.interval.as_secs_f64() * 1.2 + 1.0),
            heals: true,
            // Whoever has somebody left does not look for others.
            merges: Some(10),
            leaves: true,
            // A going is noticed within three intervals, and told on in at most ρ; what was lost on the way is found by
            // comparing tables, a part at a time.
            quiet: (4 + rho + u64::from(RARELY)) * config.interval.as_secs(),
            ..Claims::default()
        }
    }

    fn entries(&self) -> usize {
        let known = self.members.len() + self.seeds.len() + self.heard.len();
        let kept = self.past.len() + self.links.len() + self.held.len();
        known + kept + self.telling.len() + self.rate.len() + self.calls.len()
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

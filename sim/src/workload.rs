//! What applications of a world do while it is measured: lookups, broadcasts and records, all drawn from the seed.

mod broadcasts;
mod failure;
mod meter;
mod records;

use core::time::Duration;

use hashbrown::HashMap;
use polymorph_core::engine::io::Outcome;
use polymorph_core::topology::event::Ticket;
use polymorph_core::topology::model::{Census, Model};
use polymorph_core::topology::question::Target;
use polymorph_core::{Guid, Key, OverlayId, OverlayName, Time, Topology};

use crate::mix::{below, bytes32, mix};
use crate::report::{self, Answers, Bins, Percentiles, Quantiles, Spread};
use crate::world::{Peer, World};
pub use broadcasts::{Broadcasts, Sources, broadcasts, origin};
pub use failure::{Failure, windows};
pub use meter::Meter;
pub use records::{Lying, Records, put};

/// Lookups of random keys by random peers.
#[derive(Clone, Copy, Debug)]
pub struct Lookups {
    /// How many.
    pub count: usize,
    /// How long between two of them.
    pub every: Duration,
    /// How long the last of them may take.
    pub patience: Duration,
    /// How often a lookup that nobody answered is asked again by the same peer.
    pub retries: u32,
}

impl Default for Lookups {
    fn default() -> Self {
        Self { count: 1000, every: Duration::from_millis(1), patience: Duration::from_secs(120), retries: 0 }
    }
}

/// How often is looked after whoever asked and is gone meanwhile.
const GLANCE: Duration = Duration::from_secs(1);
/// Latencies are not told apart more finely in a histogram, in milliseconds.
const FINEST_MS: f64 = 0.01;
/// Keeps these draws apart from those of broadcasts.
const LOOKUPS: u64 = 0x6c6f_6f6b_7570;

/// A model's answer to who owns a key, as [`lookups`] wants it.
pub fn owner_of<M: Model>(config: &M::Config) -> impl Fn(&Census, &Key) -> Option<Guid> + '_ {
    |all, key| M::owner(config, all, &Target::Key(*key))
}

/// The members of an overlay, counted anew only when somebody came or went.
pub(crate) struct Roll {
    overlay: OverlayId,
    counted: Option<(u64, Census)>,
}

impl Roll {
    pub(crate) fn new(overlay: &OverlayName) -> Self {
        Self { overlay: overlay.id(), counted: None }
    }

    pub(crate) fn of<T: Topology>(&mut self, world: &World<T>) -> &Census {
        let stale = self.counted.as_ref().is_none_or(|(changes, _)| *changes != world.changes());
        if stale {
            self.counted = None;
        }
        &self.counted.get_or_insert_with(|| (world.changes(), world.census_of(self.overlay))).1
    }
}

/// Those who have their places in an overlay, counted anew only when somebody came, went, or found its place; everybody
/// where nobody has one.
struct Seats {
    overlay: OverlayId,
    counted: Option<(u64, Census, Vec<Peer>)>,
}

impl Seats {
    fn new(overlay: &OverlayName) -> Self {
        Self { overlay: overlay.id(), counted: None }
    }

    fn of<T: Topology>(&mut self, world: &World<T>) -> &Census {
        let id = self.overlay;
        let stale = self.counted.as_ref().is_none_or(|(changes, _, coming)| {
            *changes != world.changes() || coming.iter().any(|peer| world.has_place(*peer, id))
        });
        if stale {
            self.counted = None;
        }
        let count = || {
            let all = world.census_of(id);
            let comes = |peer: &Peer| !world.has_place(*peer, id);
            let coming: Vec<Peer> = all.guids.iter().filter_map(|guid| world.peer(guid)).filter(comes).collect();
            // Mostly everybody has a place, and a second census of a million would be felt.
            if coming.is_empty() || coming.len() == all.guids.len() {
                return (world.changes(), all, coming);
            }
            let is_seated = |guid: &Guid| world.peer(guid).is_some_and(|peer| world.has_place(peer, id));
            let seated = all.guids.into_iter().filter(is_seated).collect();
            (world.changes(), Census::new(id, seated), coming)
        };
        &self.counted.get_or_insert_with(count).1
    }
}

struct Asked {
    number: usize,
    key: Key,
    at: Time,
    /// Whose the key was then.
    owner: Option<Guid>,
    /// How often it may be asked again.
    left: u32,
}

/// What became of one lookup.
struct Answer {
    number: usize,
    right: Option<bool>,
    hops: f64,
    timeouts: f64,
    millis: f64,
    stretch: Option<f64>,
}

/// Lookups on their way, and what became of others.
struct Survey<F> {
    seats: Seats,
    owner: F,
    waiting: HashMap<(Peer, Ticket), Asked>,
    answers: Vec<Answer>,
}

/// Runs lookups in an overlay. `owner` says who is right among those who have their places: whoever was when the question
/// was asked, or is when the answer comes. A lookup whose asker is gone before is not counted.
pub fn lookups<T: Topology>(
    world: &mut World<T>,
    overlay: &OverlayName,
    plan: &Lookups,
    owner: impl Fn(&Census, &Key) -> Option<Guid>,
) -> report::Lookups {
    let (seed, began) = (world.options().seed, world.now());
    let mut survey = Survey { seats: Seats::new(overlay), owner, waiting: HashMap::new(), answers: Vec::new() };
    let (mut count, mut orphans) = (0, 0);
    world.watch_endings();
    for number in 0..plan.count as u64 {
        let census = survey.seats.of(world);
        let asked = question(seed, began, &census.guids, number);
        let Some((peer, key)) = asked.and_then(|(guid, key)| Some((world.peer(&guid)?, key))) else { break };
        let (at, owner) = (world.now(), (survey.owner)(census, &key));
        let ticket = world.lookup(peer, key, 1);
        let asked = Asked { number: number as usize, key, at, owner, left: plan.retries };
        survey.waiting.insert((peer, ticket), asked);
        count += 1;
        survey.run(world, plan.every);
    }
    let end = world.now() + plan.patience;
    while !survey.waiting.is_empty() && world.now() < end {
        survey.run(world, GLANCE);
        let before = survey.waiting.len();
        survey.waiting.retain(|(peer, _), _| world.is_alive(*peer));
        orphans += before - survey.waiting.len();
    }
    world.unwatch_endings();
    sum_up(began, count - orphans, survey.answers)
}

/// Who asks for which key as the `number`-th of [`lookups`] that began at this time, among these (sorted) peers; for
/// whoever asks the same elsewhere.
#[must_use]
pub fn question(seed: u64, began: Time, guids: &[Guid], number: u64) -> Option<(Guid, Key)> {
    let seed = mix(seed ^ LOOKUPS, began.0);
    let asker = guids.get(below(mix(seed, number), guids.len() as u64) as usize)?;
    Some((*asker, Key(bytes32(seed, number))))
}

impl<F: Fn(&Census, &Key) -> Option<Guid>> Survey<F> {
    /// Lets time pass, and judges every answer in the moment it comes; until all have come.
    fn run<T: Topology>(&mut self, world: &mut World<T>, span: Duration) {
        let end = world.now() + span;
        while !self.waiting.is_empty() && world.run_until(end.since(world.now()), World::has_endings) {
            for (peer, ticket) in world.take_endings() {
                let Some(asked) = self.waiting.remove(&(peer, ticket)) else { continue };
                let answer = self.judge(world, peer, ticket, &asked);
                if let Some(left) = asked.left.checked_sub(1).filter(|_| answer.is_none()) {
                    let ticket = world.lookup(peer, asked.key, 1);
                    self.waiting.insert((peer, ticket), Asked { left, ..asked });
                }
                self.answers.extend(answer);
            }
        }
    }

    /// Failures count as no answer.
    fn judge<T: Topology>(
        &mut self,
        world: &mut World<T>,
        peer: Peer,
        ticket: Ticket,
        asked: &Asked,
    ) -> Option<Answer> {
        let ended = world.take_ended(peer, ticket)?;
        let Outcome::Found { owner: Some(found), hops, timeouts, .. } = ended.outcome else { return None };
        let took = ended.at.since(asked.at);
        let straight = world.peer(&found).filter(|&owner| owner != peer).map(|owner| {
            let round_trip = 2 * world.latency(peer, owner);
            took.as_secs_f64() / round_trip.as_secs_f64()
        });
        let right = (self.owner)(self.seats.of(world), &asked.key);
        Some(Answer {
            number: asked.number,
            right: right.map(|right| right == found || asked.owner == Some(found)),
            hops: hops.into(),
            timeouts: timeouts.into(),
            millis: took.as_secs_f64() * 1e3,
            stretch: straight.filter(|stretch| stretch.is_finite()),
        })
    }
}

fn sum_up(began: Time, count: usize, answers: Vec<Answer>) -> report::Lookups {
    let modelled = answers.iter().any(|answer| answer.right.is_some());
    let stretches: Vec<f64> = answers.iter().filter_map(|answer| answer.stretch).collect();
    let timeouts: Vec<f64> = answers.iter().map(|answer| answer.timeouts).collect();
    let mut hops = vec![None; answers.iter().map(|answer| answer.number + 1).max().unwrap_or_default()];
    answers.iter().for_each(|answer| hops[answer.number] = Some(answer.hops as u8));
    let latency_ms = Bins::of(answers.iter().map(|answer| answer.millis), FINEST_MS);
    report::Lookups {
        answers: Answers { began, hops, latency_ms },
        count,
        ok: answers.len(),
        consistent: modelled.then(|| answers.iter().filter(|answer| answer.right == Some(true)).count()),
        hops: Quantiles::of(answers.iter().map(|answer| answer.hops).collect()),
        timeouts_mean: Spread::of(&timeouts).map(|spread| spread.mean),
        latency_ms: Percentiles::of(answers.iter().map(|answer| answer.millis).collect()),
        stretch_mean: Spread::of(&stretches).map(|spread| spread.mean),
    }
}

//! What applications of a world do while it is measured: lookups and broadcasts, all drawn from the seed.

use core::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use polymorph_core::engine::io::Outcome;
use polymorph_core::topology::event::Ticket;
use polymorph_core::topology::model::{Census, Model};
use polymorph_core::topology::question::Target;
use polymorph_core::{Guid, Key, OverlayName, Time, Topology};

use crate::mix::{below, bytes32, mix};
use crate::report::{self, Load, Percentiles, Quantiles, Rates, Report, Spread, State};
use crate::stopwatch::Stopwatch;
use crate::traffic::Traffic;
use crate::witness::Tally;
use crate::world::{Peer, World};

/// Lookups of random keys by random peers.
#[derive(Clone, Copy, Debug)]
pub struct Lookups {
    /// How many.
    pub count: usize,
    /// How long between two of them.
    pub every: Duration,
    /// How long the last of them may take.
    pub patience: Duration,
}

impl Default for Lookups {
    fn default() -> Self {
        Self { count: 1000, every: Duration::from_millis(1), patience: Duration::from_secs(120) }
    }
}

/// Who sends broadcasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sources {
    /// Always the same peer.
    #[default]
    One,
    /// Each time another.
    Random,
}

/// Broadcasts to everybody.
#[derive(Clone, Copy, Debug)]
pub struct Broadcasts {
    /// How many are measured.
    pub count: usize,
    /// How many are sent before, and not counted.
    pub warmup: usize,
    /// Who sends them.
    pub sources: Sources,
    /// How many bytes each has, at least eight.
    pub bytes: usize,
    /// How long between two of them.
    pub every: Duration,
    /// How long the last of them may take.
    pub patience: Duration,
}

impl Default for Broadcasts {
    fn default() -> Self {
        Self {
            count: 50,
            warmup: 10,
            sources: Sources::One,
            bytes: 256,
            every: Duration::from_secs(1),
            patience: Duration::from_secs(20),
        }
    }
}

/// How many lookups are asked before outcomes are taken, so that a long run keeps few of them.
const BATCH: u64 = 1024;
/// How often outcomes are looked for while the world runs.
const GLANCE: Duration = Duration::from_millis(250);
/// Keep the draws of the two workloads apart.
const LOOKUPS: u64 = 0x6c6f_6f6b_7570;
const BROADCASTS: u64 = 0x6361_7374;

/// A model's answer to who owns a key, as [`lookups`] wants it.
pub fn owner_of<M: Model>(config: &M::Config) -> impl Fn(&Census, &Key) -> Option<Guid> + '_ {
    |all, key| M::owner(config, all, &Target::Key(*key))
}

struct Asked {
    peer: Peer,
    key: Key,
    ticket: Ticket,
    at: Time,
}

/// What became of one lookup.
struct Answer {
    right: Option<bool>,
    hops: f64,
    timeouts: f64,
    millis: f64,
    stretch: Option<f64>,
}

/// Runs lookups in an overlay whose members stay the same meanwhile. `owner` says who is right.
pub fn lookups<T: Topology>(
    world: &mut World<T>,
    overlay: &OverlayName,
    plan: &Lookups,
    owner: impl Fn(&Census, &Key) -> Option<Guid>,
) -> report::Lookups {
    let seed = mix(world.options().seed ^ LOOKUPS, world.now().0);
    let census = world.census(overlay);
    let (mut waiting, mut answers) = (Vec::new(), Vec::new());
    for number in 0..plan.count as u64 {
        let Some(peer) = pick(world, &census, mix(seed, number)) else { break };
        let key = Key(bytes32(seed, number));
        let at = world.now();
        let ticket = world.lookup(peer, key, 1);
        waiting.push(Asked { peer, key, ticket, at });
        world.run_for(plan.every);
        if number % BATCH == BATCH - 1 {
            collect(world, &census, &owner, &mut waiting, &mut answers);
        }
    }
    let end = world.now() + plan.patience;
    collect(world, &census, &owner, &mut waiting, &mut answers);
    while !waiting.is_empty() && world.now() < end {
        world.run_for(GLANCE);
        collect(world, &census, &owner, &mut waiting, &mut answers);
    }
    sum_up(plan.count, answers)
}

/// Somebody of an overlay, drawn evenly.
fn pick<T: Topology>(world: &World<T>, census: &Census, draw: u64) -> Option<Peer> {
    let guid = census.guids.get(below(draw, census.guids.len() as u64) as usize)?;
    world.peer(guid)
}

/// Takes in the lookups that ended; those that failed are dropped.
fn collect<T: Topology>(
    world: &mut World<T>,
    census: &Census,
    owner: impl Fn(&Census, &Key) -> Option<Guid>,
    waiting: &mut Vec<Asked>,
    answers: &mut Vec<Answer>,
) {
    waiting.retain(|asked| {
        let Some(ended) = world.take_ended(asked.peer, asked.ticket) else { return true };
        let Outcome::Found { owner: Some(found), hops, timeouts, .. } = ended.outcome else { return false };
        let took = ended.at.since(asked.at);
        let straight = world.peer(&found).filter(|&peer| peer != asked.peer).map(|peer| {
            let round_trip = 2 * world.latency(asked.peer, peer);
            took.as_secs_f64() / round_trip.as_secs_f64()
        });
        answers.push(Answer {
            right: owner(census, &asked.key).map(|right| right == found),
            hops: hops.into(),
            timeouts: timeouts.into(),
            millis: took.as_secs_f64() * 1e3,
            stretch: straight.filter(|stretch| stretch.is_finite()),
        });
        false
    });
}

fn sum_up(count: usize, answers: Vec<Answer>) -> report::Lookups {
    let modelled = answers.iter().any(|answer| answer.right.is_some());
    let stretches: Vec<f64> = answers.iter().filter_map(|answer| answer.stretch).collect();
    let timeouts: Vec<f64> = answers.iter().map(|answer| answer.timeouts).collect();
    report::Lookups {
        count,
        ok: answers.len(),
        consistent: modelled.then(|| answers.iter().filter(|answer| answer.right == Some(true)).count()),
        hops: Quantiles::of(answers.iter().map(|answer| answer.hops).collect()),
        timeouts_mean: Spread::of(&timeouts).map(|spread| spread.mean),
        latency_ms: Percentiles::of(answers.iter().map(|answer| answer.millis).collect()),
        stretch_mean: Spread::of(&stretches).map(|spread| spread.mean),
    }
}

/// Runs broadcasts in an overlay. Receivers are all its members but the origin.
pub fn broadcasts<T: Topology>(world: &mut World<T>, overlay: &OverlayName, plan: &Broadcasts) -> report::Broadcast {
    let seed = mix(world.options().seed ^ BROADCASTS, world.now().0);
    let mut before = *world.traffic();
    let mut sent = Vec::new();
    for number in 0..(plan.warmup + plan.count) as u64 {
        if number == plan.warmup as u64 {
            before = *world.traffic();
        }
        let census = world.census(overlay);
        let draw = if plan.sources == Sources::One { seed } else { mix(seed, number) };
        let Some(peer) = pick(world, &census, draw) else { break };
        let mark = mix(seed, !number).to_le_bytes();
        let mut payload = mark.to_vec();
        payload.resize(plan.bytes.max(mark.len()), 0);
        world.publish(peer, None, Bytes::from(payload));
        sent.push((mark, census.guids.len() - 1));
        world.run_for(plan.every);
    }
    world.run_for(plan.patience);
    let traffic = world.traffic().since(&before);
    count_copies(world, &sent[plan.warmup.min(sent.len())..], &traffic)
}

fn count_copies<T: Topology>(world: &World<T>, sent: &[([u8; 8], usize)], traffic: &Traffic) -> report::Broadcast {
    let tallies: HashMap<[u8; 8], &Tally> = world.tallies().iter().map(|tally| (tally.mark, tally)).collect();
    let reached: Vec<f64> =
        sent.iter().map(|(mark, _)| tallies.get(mark).map_or(0.0, |tally| tally.reached as f64)).collect();
    let shares: Vec<f64> = reached.iter().zip(sent).map(|(got, (_, of))| got / (*of).max(1) as f64).collect();
    let hops: Vec<f64> =
        sent.iter().filter_map(|(mark, _)| tallies.get(mark)).map(|tally| tally.last_hop.into()).collect();
    let receivers: f64 = reached.iter().sum();
    let payload_messages = traffic.frames("copy");
    let all: u64 = traffic.kinds().map(|(_, frames, _)| frames).sum();
    report::Broadcast {
        count: sent.len(),
        reliability: Spread::of(&shares).map_or(0.0, |spread| spread.mean),
        reliability_first: shares.first().copied().unwrap_or_default(),
        redundancy: (receivers > 0.0).then(|| payload_messages as f64 / receivers - 1.0),
        last_hop: Spread::of(&hops),
        payload_messages,
        control_messages: all - payload_messages,
    }
}

/// Notes where the run phase begins: start-up is not measured.
#[derive(Debug)]
pub struct Meter {
    at: Time,
    wall: Stopwatch,
    events: u64,
    traffic: Traffic,
    received: Vec<u32>,
}

impl Meter {
    /// Begins the run phase.
    #[must_use]
    pub fn start<T: Topology>(world: &World<T>) -> Self {
        Self {
            at: world.now(),
            wall: Stopwatch::start(),
            events: world.events(),
            traffic: *world.traffic(),
            received: world.peers().map(|peer| world.received(peer)).collect(),
        }
    }

    /// Ends it: everything that can be read off the world, to which the workloads' own figures are added.
    #[must_use]
    pub fn report<T: Topology>(&self, world: &World<T>, topology: &str) -> Report {
        let (wall, span) = (self.wall.elapsed().as_secs_f64(), world.now().since(self.at).as_secs_f64());
        let events = world.events() - self.events;
        let alive: Vec<Peer> = world.peers().collect();
        let entries: Vec<f64> = alive.iter().map(|&peer| world.entries(peer) as f64).collect();
        let links: Vec<f64> = alive.iter().map(|&peer| world.links(peer) as f64).collect();
        let before = |peer: Peer| self.received.get(peer.index()).copied().unwrap_or_default();
        let load = alive.iter().map(|&peer| f64::from(world.received(peer) - before(peer))).collect();
        let traffic = world.traffic().since(&self.traffic);
        let rate = |bytes: u64| bytes as f64 / (alive.len().max(1) as f64 * span);
        Report {
            topology: topology.into(),
            peers: alive.len(),
            seed: world.options().seed,
            sim_seconds: span,
            events,
            events_per_s: (wall > 0.0).then(|| events as f64 / wall),
            wall_s: Some(wall),
            peak_rss_bytes: peak_rss(),
            trace_hash: world.trace_hash().to_string(),
            state: Spread::of(&entries).map(|of| State {
                entries_mean: of.mean,
                entries_max: of.max,
                bytes_mean: None,
            }),
            links: Spread::of(&links),
            traffic: (span > 0.0).then(|| Rates {
                maintenance_bytes_per_peer_s: rate(traffic.control().1),
                payload_bytes_per_peer_s: rate(traffic.payload().1),
            }),
            load: Load::of(load),
            ..Report::default()
        }
    }
}

/// The most memory this process ever held, where the system says so (Linux).
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

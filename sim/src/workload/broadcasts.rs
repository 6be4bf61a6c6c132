//! Broadcasts to everybody, judged one by one.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use polymorph_core::{Guid, OverlayName, Time, Topology};

use super::Roll;
use crate::mix::{below, mix};
use crate::report::{self, Spread, thin};
use crate::traffic::Traffic;
use crate::world::{Peer, World};

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

/// Keeps these draws apart from those of lookups.
const BROADCASTS: u64 = 0x6361_7374;

/// A broadcast on its way.
struct Sent {
    mark: [u8; 8],
    origin: Peer,
    /// Whoever came later need not have it.
    at: Time,
}

/// What became of one.
struct Heard {
    share: f64,
    receivers: f64,
    last_hop: Option<f64>,
    of: u64,
    /// So many had it after so many links.
    hops: Vec<u32>,
    /// So many receivers had it so many milliseconds after it was sent.
    arrivals: Vec<(f64, u32)>,
}

/// Runs broadcasts in an overlay. Receivers of each are its members but the origin: those who were there when it was
/// sent and still are when it had its time.
pub fn broadcasts<T: Topology>(world: &mut World<T>, overlay: &OverlayName, plan: &Broadcasts) -> report::Broadcast {
    let began = world.now();
    let seed = mix(world.options().seed ^ BROADCASTS, began.0);
    let mut before = *world.traffic();
    let (mut roll, mut sent, mut heard) = (Roll::new(overlay), VecDeque::new(), Vec::new());
    for number in 0..(plan.warmup + plan.count) as u64 {
        if number == plan.warmup as u64 {
            before = *world.traffic();
        }
        let origin = origin(world.options().seed, began, plan.sources, &roll.of(world).guids, number);
        let Some(origin) = origin.and_then(|guid| world.peer(&guid)) else { break };
        let mark = mix(seed, !number).to_le_bytes();
        let mut payload = mark.to_vec();
        payload.resize(plan.bytes.max(mark.len()), 0);
        let ticket = world.publish(origin, None, Bytes::from(payload));
        world.take_ended(origin, ticket);
        if number >= plan.warmup as u64 {
            sent.push_back(Sent { mark, origin, at: world.now() });
        }
        world.run_for(plan.every);
        while sent.front().is_some_and(|first: &Sent| world.now().since(first.at) >= plan.patience) {
            heard.extend(sent.pop_front().map(|first| judge(world, &mut roll, &first)));
        }
    }
    world.run_for(plan.patience);
    let traffic = world.traffic().since(&before);
    heard.extend(sent.iter().map(|sent| judge(world, &mut roll, sent)));
    report::Broadcast { began, ..sum_up(&heard, &traffic) }
}

/// Who sends the `number`-th of [`broadcasts`] that began at this time, warm-up included, among these (sorted) peers;
/// for whoever sends the same elsewhere.
#[must_use]
pub fn origin(seed: u64, began: Time, sources: Sources, guids: &[Guid], number: u64) -> Option<Guid> {
    let seed = mix(seed ^ BROADCASTS, began.0);
    let draw = if sources == Sources::One { seed } else { mix(seed, number) };
    guids.get(below(draw, guids.len() as u64) as usize).copied()
}

fn judge<T: Topology>(world: &World<T>, roll: &mut Roll, sent: &Sent) -> Heard {
    let tally = world.tally(&sent.mark);
    let (mut of, mut got) = (0u64, 0u64);
    for guid in &roll.of(world).guids {
        let Some(peer) = world.peer(guid).filter(|&peer| peer != sent.origin && world.born(peer) <= sent.at) else {
            continue;
        };
        of += 1;
        got += u64::from(tally.is_some_and(|tally| tally.has(peer)));
    }
    Heard {
        share: got as f64 / of.max(1) as f64,
        receivers: tally.map_or(0.0, |tally| tally.reached as f64),
        last_hop: tally.map(|tally| tally.last_hop.into()),
        of,
        hops: tally.map_or_else(Vec::new, |tally| tally.hops.clone()),
        arrivals: tally.map_or_else(Vec::new, |tally| {
            let began = tally.first.since(sent.at).as_secs_f64() * 1e3;
            tally.arrivals.each().map(|(after, count)| (began + after, count)).collect()
        }),
    }
}

fn sum_up(heard: &[Heard], traffic: &Traffic) -> report::Broadcast {
    let shares: Vec<f64> = heard.iter().map(|heard| heard.share).collect();
    let hops: Vec<f64> = heard.iter().filter_map(|heard| heard.last_hop).collect();
    let receivers: f64 = heard.iter().map(|heard| heard.receivers).sum();
    let payload_messages = traffic.frames("copy");
    let all: u64 = traffic.kinds().map(|(_, frames, _)| frames).sum();
    report::Broadcast {
        count: heard.len(),
        reliability: Spread::of(&shares).map_or(0.0, |spread| spread.mean),
        reliability_first: shares.first().copied().unwrap_or_default(),
        redundancy: (receivers > 0.0).then(|| payload_messages as f64 / receivers - 1.0),
        last_hop: Spread::of(&hops),
        payload_messages,
        control_messages: all - payload_messages,
        hops: heard.iter().fold(Vec::new(), |mut all, heard| {
            all.resize(all.len().max(heard.hops.len()), 0);
            all.iter_mut().zip(&heard.hops).for_each(|(all, &more)| *all += u64::from(more));
            all
        }),
        coverage: coverage(heard),
        ..report::Broadcast::default()
    }
}

/// How many steps a curve has at most: more than one sees.
const STEPS: usize = 256;

/// How coverage grew, over all of these.
fn coverage(heard: &[Heard]) -> Vec<(f64, f64)> {
    let of: u64 = heard.iter().map(|heard| heard.of).sum();
    let mut arrivals: Vec<(f64, u32)> = heard.iter().flat_map(|heard| heard.arrivals.iter().copied()).collect();
    arrivals.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut got = 0;
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for (at, count) in arrivals {
        got += u64::from(count);
        steps.pop_if(|(before, _)| *before == at);
        steps.push((at, (got as f64 / of.max(1) as f64).min(1.0)));
    }
    thin(&steps, STEPS)
}

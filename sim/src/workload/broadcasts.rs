//! Broadcasts to everybody, judged one by one.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use polymorph_core::{OverlayName, Time, Topology};

use super::{Roll, pick};
use crate::mix::mix;
use crate::report::{self, Spread};
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
}

/// Runs broadcasts in an overlay. Receivers of each are its members but the origin: those who were there when it was
/// sent and still are when it had its time.
pub fn broadcasts<T: Topology>(world: &mut World<T>, overlay: &OverlayName, plan: &Broadcasts) -> report::Broadcast {
    let seed = mix(world.options().seed ^ BROADCASTS, world.now().0);
    let mut before = *world.traffic();
    let (mut roll, mut sent, mut heard) = (Roll::new(overlay), VecDeque::new(), Vec::new());
    for number in 0..(plan.warmup + plan.count) as u64 {
        if number == plan.warmup as u64 {
            before = *world.traffic();
        }
        let draw = if plan.sources == Sources::One { seed } else { mix(seed, number) };
        let Some(origin) = pick(world, roll.of(world), draw) else { break };
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
    sum_up(&heard, &traffic)
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
    }
}

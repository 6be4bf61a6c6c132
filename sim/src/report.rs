//! What a run measured: the object the `sim` command prints. What was not measured is `None`, and `null` there.

mod portrait;
mod shape;

use polymorph_core::Time;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use portrait::{Link, MAX_DRAWN, Portrait, Sitter};
pub use shape::{Answers, Arrivals, Bins, Kind, Shape};
pub(crate) use shape::{round_up, thin};

use crate::attack::damage::Damage;

/// Everything measured in one run.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The topology's name.
    pub topology: String,
    /// How many peers there were, before any were made to fail.
    pub peers: usize,
    /// From which seed.
    pub seed: u64,
    /// How long the run phase was in virtual time, in seconds.
    pub sim_seconds: f64,
    /// Inputs handled by engines in the run phase; start-up is not counted.
    pub events: u64,
    /// The same for each second of wall clock.
    pub events_per_s: Option<f64>,
    /// What this machine does when each event only takes its turn on the wheel and touches one random 4 KiB peer.
    pub baseline_events_per_s: Option<f64>,
    /// How long the run phase took on the wall, in seconds.
    pub wall_s: Option<f64>,
    /// The most memory the process ever held.
    pub peak_rss_bytes: Option<u64>,
    /// The hash of everything that happened, start-up included; 32 hexadecimal digits. Empty, and `null` in JSON, on
    /// sockets.
    #[serde(serialize_with = "null_if_empty", deserialize_with = "empty_if_null")]
    pub trace_hash: String,
    /// Lookups of keys.
    pub lookups: Option<Lookups>,
    /// Broadcasts to everybody.
    pub broadcast: Option<Broadcast>,
    /// Values that were put, lay for a while, and were fetched.
    pub records: Option<Records>,
    /// What peers remember.
    pub state: Option<State>,
    /// Wires of a peer.
    pub links: Option<Spread>,
    /// What was sent.
    pub traffic: Option<Rates>,
    /// How evenly the work is shared: frames handled by a peer.
    pub load: Option<Load>,
    /// Before and after repair, when peers failed.
    pub windows: Option<Windows>,
    /// What attackers did, if there were any.
    pub attack: Option<Damage>,
    /// What it looked like.
    #[serde(skip)]
    pub shape: Shape,
}

/// Lookups of keys.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Lookups {
    /// How many were asked.
    pub count: usize,
    /// How many were answered.
    pub ok: usize,
    /// How many were answered with the owner that the world itself computes; `None` where the topology has no model
    /// of owners.
    pub consistent: Option<usize>,
    /// Links until the owner has the question; for iterative lookups the depth of questions.
    pub hops: Option<Quantiles>,
    /// Peers on the way that did not answer, of those answered.
    pub timeouts_mean: Option<f64>,
    /// From asking to the answer, in milliseconds.
    pub latency_ms: Option<Percentiles>,
    /// Latency against one round trip straight to the owner, where that is another peer.
    pub stretch_mean: Option<f64>,
    /// One by one.
    #[serde(skip)]
    pub answers: Answers,
}

/// Broadcasts to everybody.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Broadcast {
    /// How many were counted; warm-up is not.
    pub count: usize,
    /// Receivers reached of those there were, the origin left out.
    pub reliability: f64,
    /// The same of the first broadcast alone.
    pub reliability_first: f64,
    /// Payload messages for each receiver, less one (RMR).
    pub redundancy: Option<f64>,
    /// The most links a copy crossed before its first delivery somewhere.
    pub last_hop: Option<Spread>,
    /// Broadcast copies sent.
    pub payload_messages: u64,
    /// All other frames sent meanwhile.
    pub control_messages: u64,
    /// When the first was sent, warm-up included.
    #[serde(skip)]
    pub began: Time,
    /// How many deliveries there were after how many links, all broadcasts together.
    #[serde(skip)]
    pub hops: Vec<u64>,
    /// The share of all receivers that had a broadcast so many milliseconds after it was sent, step by step.
    #[serde(skip)]
    pub coverage: Vec<(f64, f64)>,
}

/// Values that were put, lay for a while, and were fetched.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Records {
    /// How many were put.
    pub count: usize,
    /// How large each was.
    pub value_bytes: usize,
    /// How many a quorum of replicas confirmed.
    pub stored: usize,
    /// How many of those a quorum of replicas gave back in the end.
    pub found: usize,
    /// How many when they were asked for the first time.
    pub found_at_once: usize,
    /// What a peer sent each second while they lay: records that were handed on, and what is said of them.
    pub bytes_per_peer_s: Option<f64>,
}

/// What peers remember.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Neighbors a peer has, on average.
    pub entries_mean: f64,
    /// The most a peer has.
    pub entries_max: f64,
    /// Bytes for each peer.
    pub bytes_mean: Option<f64>,
}

/// A mean and a maximum.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The greatest.
    pub max: f64,
}

/// A distribution of whole numbers.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Quantiles {
    /// The mean.
    pub mean: f64,
    /// One in a hundred is at most this.
    pub p1: f64,
    /// Half are at most this.
    pub p50: f64,
    /// 99 in a hundred are at most this.
    pub p99: f64,
    /// The greatest.
    pub max: f64,
}

/// The middle and the tail.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half are at most this.
    pub p50: f64,
    /// 99 in a hundred are at most this.
    pub p99: f64,
}

/// Bytes a peer sends each second.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Rates {
    /// All that carries nothing of an application.
    pub maintenance_bytes_per_peer_s: f64,
    /// What does.
    pub payload_bytes_per_peer_s: f64,
}

/// How evenly work is shared.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Load {
    /// The busiest peer against the mean.
    pub max_over_mean: f64,
    /// 99 in a hundred peers are at most this busy, against the mean.
    pub p99_over_mean: f64,
}

/// What was measured around a failure of many peers.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Windows {
    /// Before anything was repaired but by use.
    pub before_repair: Option<Window>,
    /// After the topology's own quiet time.
    pub after_repair: Option<Window>,
}

/// One window.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Window {
    /// Lookups in it.
    pub lookups: Option<Lookups>,
    /// Broadcasts in it.
    pub broadcast: Option<Broadcast>,
}

fn null_if_empty<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
    Some(text).filter(|text| !text.is_empty()).serialize(to)
}

fn empty_if_null<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// The value that a share of all (0 to 1) are at most, by nearest rank; 0 of none.
fn rank(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

impl Spread {
    /// Of these; `None` of none.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let max = values.iter().copied().reduce(f64::max)?;
        Some(Self { mean: mean(values), max })
    }
}

impl Quantiles {
    /// Of these; `None` of none.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let max = *values.last()?;
        let [p1, p50, p99] = [0.01, 0.5, 0.99].map(|share| rank(&values, share));
        Some(Self { mean: mean(&values), p1, p50, p99, max })
    }
}

impl Percentiles {
    /// Of these; `None` of none.
    #[must_use]
    pub fn of(values: Vec<f64>) -> Option<Self> {
        Quantiles::of(values).map(|Quantiles { p50, p99, .. }| Self { p50, p99 })
    }
}

impl Load {
    /// Of what each peer did; `None` if nobody did anything.
    #[must_use]
    pub fn of(values: Vec<f64>) -> Option<Self> {
        let Quantiles { mean, p99, max, .. } = Quantiles::of(values)?;
        (mean > 0.0).then(|| Self { max_over_mean: max / mean, p99_over_mean: p99 / mean })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let all = Quantiles::of((1..=100).rev().map(f64::from).collect()).unwrap();
        assert_eq!(all, Quantiles { mean: 50.5, p1: 1.0, p50: 50.0, p99: 99.0, max: 100.0 });
        assert_eq!(Quantiles::of(vec![7.0]).unwrap().p1, 7.0);
        assert_eq!(Quantiles::of(Vec::new()), None);
        assert_eq!(Load::of(vec![0.0; 3]), None);
    }
}

//! What can be read off a world: the part of a report that no workload fills in.

use polymorph_core::{Time, Topology};

use crate::report::{Bins, Kind, Load, MAX_DRAWN, Portrait, Rates, Report, Shape, Spread, State, thin};
use crate::stopwatch::Stopwatch;
use crate::traffic::Traffic;
use crate::world::{Peer, World};

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
        let bytes: Vec<f64> = alive.iter().map(|&peer| world.bytes(peer) as f64).collect();
        let before = |peer: Peer| self.received.get(peer.index()).copied().unwrap_or_default();
        let load: Vec<f64> =
            alive.iter().map(|&peer| f64::from(world.received(peer).saturating_sub(before(peer)))).collect();
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
                bytes_mean: Spread::of(&bytes).map(|of| of.mean),
            }),
            links: Spread::of(&links),
            traffic: (span > 0.0).then(|| Rates {
                maintenance_bytes_per_peer_s: rate(traffic.control().1),
                payload_bytes_per_peer_s: rate(traffic.payload().1),
            }),
            shape: shape(world, &alive, &entries, &load, &traffic),
            load: Load::of(load),
            ..Report::default()
        }
    }
}

/// How many points the curve of loads has at most.
const LOADS: usize = 200;

fn shape<T: Topology>(world: &World<T>, alive: &[Peer], degrees: &[f64], load: &[f64], traffic: &Traffic) -> Shape {
    let mean = load.iter().sum::<f64>() / load.len().max(1) as f64;
    let against = |load: f64| if mean > 0.0 { load / mean } else { 0.0 };
    let mut sorted: Vec<f64> = load.iter().copied().map(against).collect();
    sorted.sort_by(f64::total_cmp);
    let first = alive.first().and_then(|&peer| world.engine(peer)?.slots().next());
    let portrait = first.filter(|_| alive.len() <= MAX_DRAWN).and_then(|(_, overlay)| {
        let sit = |(&peer, &load): (&Peer, &f64)| {
            let neighbors = world.topology(peer).map(T::neighbors).unwrap_or_default();
            (world.guid(peer), against(load), neighbors)
        };
        let mut portrait = Portrait::of(overlay.id(), alive.iter().zip(load).map(sit).collect())?;
        for sitter in &mut portrait.peers {
            sitter.attacks = world.peer(&sitter.guid).is_some_and(|peer| world.is_corrupt(peer));
        }
        Some(portrait)
    });
    Shape {
        degree: Bins::of(degrees.iter().copied(), 1.0),
        load: thin(&sorted, LOADS),
        kinds: traffic.kinds().map(|(name, frames, bytes)| Kind { name, frames, bytes }).collect(),
        portrait,
    }
}

/// The most memory this process ever held, where the system says so (Linux).
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

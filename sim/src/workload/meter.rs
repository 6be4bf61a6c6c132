//! What can be read off a world: the part of a report that no workload fills in.

use polymorph_core::{Time, Topology};

use crate::report::{Load, Rates, Report, Spread, State};
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
        let load = alive.iter().map(|&peer| f64::from(world.received(peer).saturating_sub(before(peer)))).collect();
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

//! What this machine can do at all: the yardstick that stands beside every measured rate of events.

use core::time::Duration;

use polymorph_core::Time;

use crate::mix::{below, mix};
use crate::stopwatch::Stopwatch;
use crate::wheel::Wheel;

/// Words of the memory that stands for a peer: 4 KiB, about what one of a large world really has.
const WORDS: usize = 512;
/// The mean time between two events of a peer.
const PERIOD: Duration = Duration::from_secs(3);

/// Events each second of wall clock when an event is nothing but its turn on the wheel and a walk through one random
/// peer's 4 KiB, each cache line of them read and written. Takes 4 KiB of memory for each peer.
///
/// # Panics
/// If there are no peers, or no events.
#[must_use]
pub fn events_per_s(peers: u32, events: u32) -> f64 {
    assert!(peers > 0 && events > 0, "a baseline needs peers and events");
    let mut memory = vec![[1u64; WORDS]; peers as usize];
    let mut wheel = Wheel::new();
    let period = PERIOD.as_nanos() as u64;
    (0..peers).for_each(|peer| wheel.push(Time(below(mix(1, peer.into()), 2 * period)), peer));
    let begun = Stopwatch::start();
    let mut sum = 0;
    for event in 0..events {
        let Some((at, _)) = wheel.pop() else { break };
        let draw = mix(2, event.into());
        let peer = below(draw, peers.into());
        for line in memory[peer as usize].chunks_exact_mut(8) {
            line[0] = line[0].wrapping_add(sum);
            sum ^= line[0];
        }
        wheel.push(Time(at.0 + below(draw.rotate_left(32), 2 * period)), peer as u32);
    }
    std::hint::black_box(sum);
    f64::from(events) / begun.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_baseline_is_a_rate() {
        let rate = super::events_per_s(100, 20_000);
        assert!(rate.is_finite() && rate > 1000.0, "{rate} events/s");
    }
}

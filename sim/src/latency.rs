//! How long a frame travels between two peers: a pure function of the two, so that a million peers need no table.

use core::time::Duration;

use crate::mix::{below, mix};

/// How long a frame travels one way. The same both ways and at all times; only integers, so the same everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Latency {
    /// The same between any two.
    Constant(Duration),
    /// Drawn evenly once for each pair.
    Uniform {
        /// At least.
        low: Duration,
        /// At most.
        high: Duration,
    },
    /// Every peer has a place on a plane and a height above it: the wire to a peer is the straight line and both
    /// heights (Dabek et al. 2004, "Vivaldi", §5.4).
    Coordinates(Plane),
}

/// The plane of [`Latency::Coordinates`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plane {
    /// How long light takes along one side of the square in which peers stand, evenly spread.
    pub side: Duration,
    /// The greatest height, a slow last mile. Heights are this times the square of an even draw: most are low, the
    /// mean is a third.
    pub height: Duration,
}

impl Default for Plane {
    /// A mean round trip of 180 ms, that of the King data set as it is commonly given; the spread is a guess. The
    /// mean distance of two points in a square is 0.5214 sides.
    fn default() -> Self {
        Self { side: Duration::from_millis(150), height: Duration::from_millis(18) }
    }
}

impl Default for Latency {
    /// 50 ms one way.
    fn default() -> Self {
        Self::Constant(Duration::from_millis(50))
    }
}

/// Longer than any link; keeps every sum of latencies far from the end of time.
const LONGEST: u64 = 3_600_000_000_000;

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(LONGEST).min(LONGEST)
}

impl Latency {
    /// One way from `a` to `b`, which are indices, in a world of this seed.
    #[must_use]
    pub fn one_way(&self, seed: u64, a: u32, b: u32) -> Duration {
        Duration::from_nanos(self.nanos(seed, a, b))
    }

    pub(crate) fn nanos(&self, seed: u64, a: u32, b: u32) -> u64 {
        match self {
            Self::Constant(span) => nanos(*span),
            Self::Uniform { low, high } => {
                let pair = u64::from(a.min(b)) << 32 | u64::from(a.max(b));
                let (low, high) = (nanos(*low), nanos(*high));
                low + below(mix(seed ^ PAIRS, pair), high.saturating_sub(low) + 1)
            }
            Self::Coordinates(plane) => {
                let ((x, y, up), (u, v, down)) = (plane.place(seed, a), plane.place(seed, b));
                let (dx, dy) = (x.abs_diff(u), y.abs_diff(v));
                ((dx * dx + dy * dy).isqrt() + up + down) * 1000
            }
        }
    }
}

/// Keep draws for pairs and for places apart.
const PAIRS: u64 = 0x0070_6169_7273;
const PLACES: u64 = 0x706c_6163_6573;

impl Plane {
    /// Where a peer stands, in microseconds of light: across, along, up.
    fn place(&self, seed: u64, peer: u32) -> (u64, u64, u64) {
        let draw = |axis: u64| mix(seed ^ PLACES, u64::from(peer) << 2 | axis);
        let (side, height) = (nanos(self.side) / 1000, nanos(self.height) / 1000);
        let even = draw(2) >> 48;
        let squared = (even * even) >> 16;
        (below(draw(0), side + 1), below(draw(1), side + 1), (height * squared) >> 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_ms(latency: Latency) -> f64 {
        let pairs = (0..100_000u32).map(|i| latency.nanos(7, 2 * i, 2 * i + 1));
        pairs.map(|nanos| nanos as f64 / 1e6).sum::<f64>() / 100_000.0
    }

    #[test]
    fn both_ways_take_the_same_and_a_pair_never_changes() {
        let uniform = Latency::Uniform { low: Duration::from_millis(10), high: Duration::from_millis(90) };
        for latency in [Latency::default(), uniform, Latency::Coordinates(Plane::default())] {
            for peer in 1..200 {
                assert_eq!(latency.one_way(7, 0, peer), latency.one_way(7, peer, 0));
            }
        }
    }

    #[test]
    fn uniform_stays_within_its_bounds_and_fills_them() {
        let (low, high) = (Duration::from_millis(10), Duration::from_millis(90));
        let latency = Latency::Uniform { low, high };
        assert!((0..10_000).all(|peer| (low..=high).contains(&latency.one_way(3, 1 << 20, peer))));
        assert!((mean_ms(latency) - 50.0).abs() < 0.5);
    }

    #[test]
    fn the_default_plane_has_the_mean_round_trip_it_says() {
        let mean = 2.0 * mean_ms(Latency::Coordinates(Plane::default()));
        assert!((mean - 180.0).abs() < 3.0, "mean round trip {mean} ms");
    }

    #[test]
    fn on_the_plane_a_detour_is_never_shorter_than_the_way_itself_by_more_than_rounding() {
        let latency = Latency::Coordinates(Plane::default());
        for peer in 2..500 {
            let detour = latency.nanos(1, 0, peer) + latency.nanos(1, peer, 1);
            assert!(detour + 2000 >= latency.nanos(1, 0, 1));
        }
    }

    #[test]
    fn absurd_spans_neither_overflow_nor_panic() {
        let plane = Plane { side: Duration::MAX, height: Duration::MAX };
        assert!(Latency::Coordinates(plane).nanos(1, 2, 3) > 0);
        assert_eq!(Latency::Constant(Duration::MAX).nanos(1, 2, 3), LONGEST);
        let upside_down = Latency::Uniform { low: Duration::MAX, high: Duration::ZERO };
        assert_eq!(upside_down.nanos(1, 2, 3), LONGEST);
    }
}

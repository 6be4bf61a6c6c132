//! Published figures that both the example and the tests hold up: those marked recomputed are of an independent simulation
//! of ideal tables.

/// ToN 2003, table II, recomputed: the share of dead peers, hops, timeouts.
#[expect(clippy::approx_constant, reason = "3.14 timeouts are not pi")]
pub(crate) const FAILURES: [(f64, f64, f64); 6] =
    [(0.0, 3.83, 0.0), (0.1, 3.99, 0.45), (0.2, 4.18, 1.02), (0.3, 4.46, 1.91), (0.4, 4.77, 3.14), (0.5, 5.23, 5.38)];
/// SIGCOMM 2001, figures 8 and 9, recomputed: virtual nodes; p99, maximum and p1 of the load against the mean.
pub(crate) const LOADS: [(u8, f64, f64, f64); 5] =
    [(1, 4.63, 9.2, 0.0), (2, 3.35, 5.7, 0.06), (5, 2.38, 3.7, 0.23), (10, 1.90, 2.6, 0.39), (20, 1.67, 2.2, 0.51)];
/// Consistent hashing with bounded loads, recomputed: how far above the mean the bound is, and how many are asked.
pub(crate) const BOUNDS: [(f64, f64); 4] = [(0.1, 5.4), (0.25, 2.66), (0.5, 1.73), (1.0, 1.24)];
/// Full buckets, three questions at a time: k, peers, rounds until the nearest is known, questions.
pub(crate) const KADEMLIA: [(usize, usize, f64, f64); 7] = [
    (20, 1000, 0.89, 21.5),
    (20, 10_000, 1.42, 22.9),
    (20, 100_000, 1.93, 24.6),
    (20, 1_000_000, 2.45, 26.0),
    (8, 10_000, 1.89, 12.9),
    (8, 100_000, 2.51, 14.8),
    (8, 1_000_000, 3.19, 16.7),
];
/// Pastry at 10^5 peers: the shares of lookups that take one hop to five, as in the paper (2001, figure 5) and recomputed.
pub(crate) const SHARES: [(f64, f64); 5] =
    [(0.0006, 0.0006), (0.0156, 0.0158), (0.1643, 0.1664), (0.6449, 0.6470), (0.1745, 0.1701)];

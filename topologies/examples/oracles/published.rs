//! Published figures that both the example and the tests hold up: those marked recomputed are of an independent simulation
//! of ideal tables.

/// SIGCOMM 2001, figure 10, recomputed: peers; the mean, p1 and p99 of the hops, the last one included.
pub(crate) const HOPS: [(usize, f64, f64, f64); 5] = [
    (1 << 10, 5.86, 2.0, 9.0),
    (1 << 12, 6.88, 3.0, 11.0),
    (1 << 14, 7.87, 4.0, 12.0),
    (100_000, 9.16, 5.0, 14.0),
    (1_000_000, 10.82, 6.0, 16.0),
];
/// ToN 2003, table II, recomputed: the share of dead peers, hops, timeouts.
#[expect(clippy::approx_constant, reason = "3.14 timeouts are not pi")]
pub(crate) const FAILURES: [(f64, f64, f64); 6] =
    [(0.0, 3.83, 0.0), (0.1, 3.99, 0.45), (0.2, 4.18, 1.02), (0.3, 4.46, 1.91), (0.4, 4.77, 3.14), (0.5, 5.23, 5.38)];
/// SIGCOMM 2001, figures 8 and 9, recomputed: virtual nodes; p99, maximum and p1 of the load against the mean.
pub(crate) const LOADS: [(u8, f64, f64, f64); 5] =
    [(1, 4.63, 9.2, 0.0), (2, 3.35, 5.7, 0.06), (5, 2.38, 3.7, 0.23), (10, 1.90, 2.6, 0.39), (20, 1.67, 2.2, 0.51)];
/// Consistent hashing with bounded loads, recomputed: how many percent above the mean the bound is; how many are asked on
/// one ring of 10^4 peers with 10^6 values, and on average over 400 of them. They differ: at 10 % by a tenth of it. On an
/// endless ring what is passed on queues up as in D/M/1: 1 / (1 - x) with x = exp(-(1 + epsilon)(1 - x)), which is 5.68, 2.69,
/// 1.72 and 1.26.
pub(crate) const BOUNDS: [(usize, f64, f64); 4] =
    [(10, 5.4, 5.65), (25, 2.66, 2.71), (50, 1.73, 1.72), (100, 1.24, 1.26)];
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

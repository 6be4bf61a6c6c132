//! A random regular graph without a list of its links: every node computes its own.
//!
//! The graph is a union of random Hamiltonian cycles, two links each, and for an odd degree one random perfect
//! matching; such unions are as good as a uniformly drawn regular graph (N. Wormald, "Models of random regular
//! graphs", 1999, §4: they are contiguous). Each cycle and the matching is a keyed permutation `p` of the node
//! numbers: in a cycle `i` is linked to `p⁻¹(p(i) ± 1)`, in the matching to `p⁻¹(p(i) xor 1)`, and as both are
//! computed from either end alike, the graph is symmetric. It is connected, because a cycle is. A permutation of
//! any size is a Feistel network over the next power of four, walked until it lands inside (Black & Rogaway,
//! "Ciphers with arbitrary finite domains", 2002): some two steps.
//!
//! Where cycles share a link a node has one neighbor fewer, which a handful of nodes in any crowd have.

use polymorph_core::OverlayId;

/// The graph of one overlay at one size.
pub(super) struct Regular {
    seed: u64,
    nodes: usize,
}

impl Regular {
    pub(super) fn new(overlay: &OverlayId, nodes: usize) -> Self {
        let mut seed = [0; 8];
        seed.copy_from_slice(&overlay.0[..8]);
        Self { seed: u64::from_le_bytes(seed), nodes }
    }

    /// The neighbors of node `me`, at most `degree`.
    pub(super) fn links(&self, me: usize, degree: usize) -> Vec<usize> {
        if self.nodes <= degree + 1 {
            return (0..self.nodes).filter(|&at| at != me).collect();
        }
        let mut links = Vec::with_capacity(degree);
        let mut add = |at: usize| {
            if at != me && !links.contains(&at) {
                links.push(at);
            }
        };
        for cycle in 0..degree / 2 {
            let permutation = self.permutation(cycle as u64);
            let at = permutation.forth(me);
            add(permutation.back((at + 1) % self.nodes));
            add(permutation.back((at + self.nodes - 1) % self.nodes));
        }
        if degree % 2 == 1 {
            let permutation = self.permutation(MATCHING);
            let partner = permutation.forth(me) ^ 1;
            if partner < self.nodes {
                add(permutation.back(partner));
            }
        }
        links
    }

    /// Some `n` others: the next ones of a further cycle. Everybody is among the others of `n`.
    pub(super) fn others(&self, me: usize, n: usize) -> Vec<usize> {
        let permutation = self.permutation(OTHERS);
        let at = permutation.forth(me);
        (1..=n.min(self.nodes - 1)).map(|step| permutation.back((at + step) % self.nodes)).collect()
    }

    fn permutation(&self, which: u64) -> Permutation {
        let half = (usize::BITS - (self.nodes - 1).leading_zeros()).div_ceil(2).max(1);
        Permutation { key: mix(self.seed ^ mix(which)), half, nodes: self.nodes as u64 }
    }
}

/// The number of the permutation that pairs nodes; beyond any number of cycles.
const MATCHING: u64 = 1 << 32;
/// The number of the permutation the passive views are taken from.
const OTHERS: u64 = MATCHING + 1;
/// Four make a Feistel network as good as random (Luby & Rackoff 1988); two more for the weak round function.
const ROUNDS: u64 = 6;

/// A keyed permutation of the numbers below `nodes`.
struct Permutation {
    key: u64,
    /// How many bits a half has.
    half: u32,
    nodes: u64,
}

impl Permutation {
    fn forth(&self, at: usize) -> usize {
        self.walk(at, |block| (0..ROUNDS).fold(block, |(left, right), round| (right, left ^ self.round(round, right))))
    }

    fn back(&self, at: usize) -> usize {
        self.walk(at, |block| {
            (0..ROUNDS).rev().fold(block, |(left, right), round| (right ^ self.round(round, left), left))
        })
    }

    fn round(&self, round: u64, half: u64) -> u64 {
        mix(self.key ^ mix(round << 32 ^ half)) & self.mask()
    }

    fn mask(&self) -> u64 {
        (1 << self.half) - 1
    }

    fn walk(&self, at: usize, step: impl Fn((u64, u64)) -> (u64, u64)) -> usize {
        let mut at = at as u64;
        loop {
            let (left, right) = step((at >> self.half, at & self.mask()));
            at = left << self.half | right;
            if at < self.nodes {
                return at as usize;
            }
        }
    }
}

/// SplitMix64's finalizer (Steele, Lea, Flood 2014).
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn graph(seed: u8, nodes: usize) -> Regular {
        Regular::new(&OverlayId([seed; 32]), nodes)
    }

    proptest! {
        #[test]
        fn whoever_is_linked_to_me_is_linked_by_me(seed: u8, nodes in 1usize..300, degree in 0usize..9) {
            let graph = graph(seed, nodes);
            let links: Vec<_> = (0..nodes).map(|me| graph.links(me, degree)).collect();
            for (me, mine) in links.iter().enumerate() {
                prop_assert!(mine.len() <= degree && !mine.contains(&me));
                prop_assert!(mine.iter().all(|&other| links[other].contains(&me)));
            }
        }

        #[test]
        fn a_permutation_goes_back_where_it_came_from(seed: u8, nodes in 1usize..5000) {
            let permutation = graph(seed, nodes).permutation(3);
            let mut seen = vec![false; nodes];
            for at in 0..nodes {
                let to = permutation.forth(at);
                prop_assert_eq!(permutation.back(to), at);
                prop_assert!(!core::mem::replace(&mut seen[to], true));
            }
        }
    }

    /// A random 5-regular graph of 10,000 has an average shortest path of 6.36 (HyParView measured 6.385).
    #[test]
    fn paths_are_as_short_as_in_a_random_regular_graph() {
        let (nodes, graph) = (10_000, graph(7, 10_000));
        let links: Vec<_> = (0..nodes).map(|me| graph.links(me, 5)).collect();
        let full = links.iter().filter(|links| links.len() == 5).count();
        assert!(full > nodes - 30, "only {full} have five links");
        let (mut hops, mut pairs) = (0, 0);
        for source in (0..nodes).step_by(500) {
            let mut far = vec![usize::MAX; nodes];
            far[source] = 0;
            let mut queue = std::collections::VecDeque::from([source]);
            while let Some(at) = queue.pop_front() {
                for &next in &links[at] {
                    if far[next] == usize::MAX {
                        far[next] = far[at] + 1;
                        queue.push_back(next);
                    }
                }
            }
            assert!(far.iter().all(|&hops| hops != usize::MAX), "the graph falls apart");
            hops += far.iter().sum::<usize>();
            pairs += nodes - 1;
        }
        let mean = hops as f64 / pairs as f64;
        assert!((mean - 6.36).abs() < 0.05, "mean path {mean}");
    }
}

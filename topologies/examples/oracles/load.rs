//! What chance makes of the load on a ring.
//!
//! The arcs between places are exponential, v of them together a Gamma variable of shape v, and the keys that fall at random on
//! so much of the ring are negative binomial. Quantiles of a ring wander around those of the law, and its greatest load
//! wanders far: a tolerance here is where all rings but one of a thousand are.

use core::ops::RangeInclusive;

/// How many keys a peer has.
pub(crate) struct Law {
    /// The chance of 0, 1, 2 … keys or fewer.
    upto: Vec<f64>,
    peers: f64,
    mean: f64,
}

/// One ring of a thousand, half of it on either side.
const RARE: f64 = 0.0005;
/// How many standard deviations away that is.
const DEVIATIONS: f64 = 3.29;
/// What is rarer than this does not happen to any of 10^4 peers.
const NEVER: f64 = 1e-12;

impl Law {
    pub(crate) fn new(virtual_nodes: u8, peers: usize, mean: f64) -> Self {
        let v = f64::from(virtual_nodes);
        let mut chance = (v / (v + mean)).powf(v);
        let mut upto = vec![chance];
        while 1.0 - upto[upto.len() - 1] > NEVER {
            let keys = upto.len() as f64;
            chance *= (keys - 1.0 + v) / keys * mean / (mean + v);
            upto.push(upto[upto.len() - 1] + chance);
        }
        Self { upto, peers: peers as f64, mean }
    }

    /// What this share of peers has at most, against the mean.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        self.upto.partition_point(|upto| *upto < share) as f64 / self.mean
    }

    /// Where that quantile is in a ring: how many peers are below any load is binomial.
    pub(crate) fn range(&self, share: f64) -> RangeInclusive<f64> {
        let by = DEVIATIONS * (share * (1.0 - share) / self.peers).sqrt();
        self.quantile(share - by)..=self.quantile(share + by)
    }

    /// The greatest load: nobody has more than x with the chance that one has not, to the power of all peers.
    pub(crate) fn most(&self) -> f64 {
        self.greatest(0.5)
    }

    /// Where the greatest load of a ring is.
    pub(crate) fn most_range(&self) -> RangeInclusive<f64> {
        self.greatest(RARE)..=self.greatest(1.0 - RARE)
    }

    fn greatest(&self, chance: f64) -> f64 {
        self.quantile(chance.powf(1.0 / self.peers))
    }
}

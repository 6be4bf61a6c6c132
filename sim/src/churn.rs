//! How peers come and go.
//!
//! A world under churn is in a steady state from its first moment: every peer's lifetime is a renewal process that has
//! been running for ever. Whoever is there at the start lives on for a residual lifetime, drawn from the equilibrium
//! distribution (a peer met at a random moment is more likely in a long life, and somewhere in the middle of it);
//! whoever leaves is replaced at once by a newcomer with a fresh identity and a full lifetime. All arithmetic is
//! `libm`'s, the same on every machine.

use core::time::Duration;

use crate::mix::mix;

/// How long peers stay.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Lifetimes {
    /// Without memory: how long a peer was there says nothing. Easy to reason about, and wrong for people.
    Exponential {
        /// The mean.
        mean: Duration,
    },
    /// Many short visits and a few long ones, for shapes below 1: of BitTorrent swarms 0.34 to 0.59 (Stutzbach &
    /// Rejaie 2006).
    Weibull {
        /// The shape; 1 is exponential.
        shape: f64,
        /// The scale: 63 % stay shorter.
        scale: Duration,
    },
}

/// The longest anybody stays: 30 years, so that sums of times stay far from the end of time.
const LONGEST_S: f64 = 1e9;
/// A lifetime ends some time after it began.
const SHORTEST_S: f64 = 1e-3;

impl Lifetimes {
    /// The mean lifetime.
    #[must_use]
    pub fn mean(&self) -> Duration {
        match *self {
            Self::Exponential { mean } => mean,
            Self::Weibull { shape, scale } => span(scale.as_secs_f64() * libm::tgamma(1.0 + 1.0 / shape)),
        }
    }

    /// A whole lifetime, by a word that looks random.
    #[must_use]
    pub fn whole(&self, draw: u64) -> Duration {
        let hazard = -libm::log(even(draw));
        match *self {
            Self::Exponential { mean } => span(mean.as_secs_f64() * hazard),
            Self::Weibull { shape, scale } => span(scale.as_secs_f64() * libm::pow(hazard, 1.0 / shape)),
        }
    }

    /// What is left of the life of a peer met at a random moment: an even share of a lifetime that is drawn in
    /// proportion to its length. Of Weibull lifetimes those are powers of a Gamma variable of shape 1 + 1/k.
    #[must_use]
    pub fn residual(&self, draw: u64) -> Duration {
        let (shape, scale) = match *self {
            Self::Exponential { mean } => (1.0, mean),
            Self::Weibull { shape, scale } => (shape, scale),
        };
        let met = scale.as_secs_f64() * libm::pow(gamma(1.0 + 1.0 / shape, draw), 1.0 / shape);
        span(met * even(mix(draw, u64::MAX)))
    }
}

fn span(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(SHORTEST_S, LONGEST_S))
}

/// Above 0 and at most 1.
fn even(draw: u64) -> f64 {
    ((draw >> 11) + 1) as f64 / (1u64 << 53) as f64
}

/// A Gamma variable of a shape of at least 1 (Marsaglia & Tsang 2000).
fn gamma(shape: f64, draw: u64) -> f64 {
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / libm::sqrt(9.0 * d);
    for round in 0.. {
        let words = [0, 1, 2].map(|word| even(mix(draw, 3 * round + word)));
        let normal = libm::sqrt(-2.0 * libm::log(words[0])) * libm::cos(core::f64::consts::TAU * words[1]);
        let v = (1.0 + c * normal) * (1.0 + c * normal) * (1.0 + c * normal);
        if v > 0.0 && libm::log(words[2]) < 0.5 * normal * normal + d - d * v + d * libm::log(v) {
            return d * v;
        }
    }
    shape
}

/// How many are there by day and by night.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Tide {
    /// From one noon to the next.
    pub period: Duration,
    /// By how much of the mean the crowd grows until noon and shrinks until midnight, 0 to 1.
    pub swing: f64,
}

impl Tide {
    /// How many of `mean` are there this long after the morning.
    #[must_use]
    pub fn crowd(&self, mean: usize, after: Duration) -> usize {
        let turns = after.as_secs_f64() / self.period.as_secs_f64().max(SHORTEST_S);
        let share = 1.0 + self.swing.clamp(0.0, 1.0) * libm::sin(core::f64::consts::TAU * turns);
        libm::round(mean as f64 * share) as usize
    }
}

/// How peers come and go.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Churn {
    /// How long they stay.
    pub lifetimes: Lifetimes,
    /// Which share leaves in good order, 0 to 1; the others crash.
    pub graceful: f64,
    /// Whether there are more by day than by night.
    pub tide: Option<Tide>,
}

impl Churn {
    /// Half of them leave in good order, as in OverSim.
    #[must_use]
    pub fn new(lifetimes: Lifetimes) -> Self {
        Self { lifetimes, graceful: 0.5, tide: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(draws: impl Iterator<Item = Duration>) -> f64 {
        let (sum, count) = draws.fold((0.0, 0), |(sum, count), life| (sum + life.as_secs_f64(), count + 1));
        sum / f64::from(count)
    }

    const DEBIAN: Lifetimes = Lifetimes::Weibull { shape: 0.59, scale: Duration::from_secs(41 * 60) };

    #[test]
    fn lifetimes_have_the_mean_they_say() {
        let exponential = Lifetimes::Exponential { mean: Duration::from_secs(600) };
        for lifetimes in [exponential, DEBIAN, Lifetimes::Weibull { shape: 2.0, scale: Duration::from_secs(100) }] {
            let (wanted, got) =
                (lifetimes.mean().as_secs_f64(), mean((0..200_000).map(|i| lifetimes.whole(mix(1, i)))));
            assert!((got / wanted - 1.0).abs() < 0.02, "{lifetimes:?}: {got} s, not {wanted} s");
        }
    }

    /// The mean residual life is E[X²] / 2 E[X]; of a Weibull variable E[X²] is λ² Γ(1 + 2/k).
    #[test]
    fn whoever_is_met_lives_on_as_long_as_renewal_theory_says() {
        let (shape, scale) = (0.59, 41.0 * 60.0);
        let wanted = scale * libm::tgamma(1.0 + 2.0 / shape) / (2.0 * libm::tgamma(1.0 + 1.0 / shape));
        let got = mean((0..400_000).map(|i| DEBIAN.residual(mix(2, i))));
        assert!((got / wanted - 1.0).abs() < 0.02, "{got} s, not {wanted} s");
        let forgetful = Lifetimes::Exponential { mean: Duration::from_secs(600) };
        let got = mean((0..200_000).map(|i| forgetful.residual(mix(3, i))));
        assert!((got / 600.0 - 1.0).abs() < 0.02, "without memory what is left is a whole life: {got} s");
    }

    #[test]
    fn a_crowd_follows_the_sun() {
        let tide = Tide { period: Duration::from_secs(86_400), swing: 0.3 };
        let at = |hour: u64| tide.crowd(1000, Duration::from_secs(3600 * hour));
        assert_eq!((at(0), at(6), at(12), at(18), at(30)), (1000, 1300, 1000, 700, 1300));
    }
}

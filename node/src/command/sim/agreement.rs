//! Whether real nodes do what a world says they do.

use std::fmt;

use polymorph::sim::report::Report;
use serde::Serialize;

/// Real nodes beside the worlds of the same seeds.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Agreement {
    /// How many seeds were tried.
    seeds: u64,
    /// How many lookups were asked on both sides.
    lookups: usize,
    /// How many of them took as many hops there as here.
    equal_hops: usize,
    /// Whether the hops of lookups could be of one distribution.
    hops: Option<Test>,
    /// The same of broadcasts: of the mean of each seed, since deliveries of one tree are not independent.
    broadcast_hops: Option<Test>,
    /// What the world of the first seed measured.
    simulated: Report,
    #[serde(skip)]
    samples: Samples,
}

#[derive(Clone, Debug, Default)]
struct Samples {
    hops: (Vec<f64>, Vec<f64>),
    broadcasts: (Vec<f64>, Vec<f64>),
}

/// The two-sample test of Kolmogorov and Smirnov.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
struct Test {
    /// The greatest distance between the two shares of values up to the same one.
    distance: f64,
    /// How likely a distance as great is, or a greater one, if both are of one distribution. Of whole numbers it is
    /// likelier than this: the test then hardly ever sees a difference where there is none.
    p: f64,
}

impl Agreement {
    /// One more seed.
    pub(super) fn add(&mut self, world: &Report, real: &Report) {
        self.seeds += 1;
        if let (Some(world), Some(real)) = (&world.lookups, &real.lookups) {
            let both = || world.answers.hops.iter().zip(&real.answers.hops);
            self.lookups += both().count();
            self.equal_hops += both().filter(|(world, real)| world.is_some() && world == real).count();
            let hops = |hops: &[Option<u8>]| hops.iter().flatten().map(|&hops| f64::from(hops)).collect::<Vec<_>>();
            self.samples.hops.0.extend(hops(&world.answers.hops));
            self.samples.hops.1.extend(hops(&real.answers.hops));
        }
        if let (Some(world), Some(real)) = (&world.broadcast, &real.broadcast) {
            self.samples.broadcasts.0.extend(mean(&world.hops));
            self.samples.broadcasts.1.extend(mean(&real.hops));
        }
    }

    /// All seeds were tried; `simulated` is the world of the first.
    pub(super) fn judged(mut self, simulated: Report) -> Self {
        let Samples { hops, broadcasts } = std::mem::take(&mut self.samples);
        self.simulated = simulated;
        self.hops = Test::of(hops.0, hops.1);
        self.broadcast_hops = Test::of(broadcasts.0, broadcasts.1);
        self
    }
}

/// The mean of so many values of 0, 1, 2 and so on.
fn mean(counts: &[u64]) -> Option<f64> {
    let all: u64 = counts.iter().sum();
    let sum: f64 = counts.iter().zip(0u32..).map(|(&count, value)| count as f64 * f64::from(value)).sum();
    (all > 0).then(|| sum / all as f64)
}

impl Test {
    /// `None` if one side has no values.
    fn of(mut a: Vec<f64>, mut b: Vec<f64>) -> Option<Self> {
        if a.is_empty() || b.is_empty() {
            return None;
        }
        a.sort_by(f64::total_cmp);
        b.sort_by(f64::total_cmp);
        let share = |all: &[f64], value: f64| all.partition_point(|v| *v <= value) as f64 / all.len() as f64;
        let distance = a.iter().chain(&b).map(|&v| (share(&a, v) - share(&b, v)).abs()).fold(0.0, f64::max);
        let (n, m) = (a.len() as f64, b.len() as f64);
        Some(Self { distance, p: tail((n * m / (n + m)).sqrt(), distance) })
    }
}

/// Kolmogorov's distribution, with Stephens' correction for small samples (1970).
fn tail(root: f64, distance: f64) -> f64 {
    let lambda = (root + 0.12 + 0.11 / root) * distance;
    // The series below does not converge where everything agrees.
    if lambda < 0.2 {
        return 1.0;
    }
    let term = |j: i32| f64::from(if j % 2 == 1 { 2 } else { -2 }) * (-2.0 * f64::from(j * j) * lambda * lambda).exp();
    (1..=100).map(term).sum::<f64>().clamp(0.0, 1.0)
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agreement  with worlds of the same {} seeds", self.seeds)?;
        if let Some(Test { distance, p }) = self.hops {
            let (equal, lookups) = (self.equal_hops, self.lookups);
            write!(
                f,
                ": {equal} of {lookups} lookups took the same hops (Kolmogorov-Smirnov {distance:.4}, p {p:.3})"
            )?;
        }
        if let Some(Test { distance, p }) = self.broadcast_hops {
            write!(f, "; links of broadcasts differ by {distance:.2} (p {p:.3})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_knows_its_distribution() {
        // Tables of Kolmogorov's distribution: 1.3581 is exceeded by one in twenty, 1.6276 by one in a hundred.
        assert!((tail(1e6, 1.3581e-6) - 0.05).abs() < 1e-3);
        assert!((tail(1e6, 1.6276e-6) - 0.01).abs() < 1e-3);
        assert_eq!(tail(10.0, 0.0), 1.0);
    }

    #[test]
    fn samples_of_one_distribution_pass_and_others_do_not() {
        let a: Vec<f64> = (0..200).map(|at| f64::from(at % 7)).collect();
        let b: Vec<f64> = (0..180).map(|at| f64::from((at * 3) % 7)).collect();
        let same = Test::of(a.clone(), b).unwrap();
        assert!(same.p > 0.9, "{same:?}");
        let shifted = Test::of(a.clone(), a.iter().map(|v| v + 1.0).collect()).unwrap();
        assert!(shifted.p < 0.05 && (shifted.distance - 1.0 / 7.0).abs() < 0.02, "{shifted:?}");
        assert_eq!(Test::of(a, Vec::new()), None);
    }
}

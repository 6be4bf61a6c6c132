//! What a run looked like beyond its figures: distributions to be drawn. The object of figures leaves them out.

use core::time::Duration;

use polymorph_core::Time;

use super::portrait::Portrait;

/// What a run looked like, all of it together.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Shape {
    /// Neighbors of a peer.
    pub degree: Bins,
    /// Frames handled by each peer against the mean, the idlest first; of many peers an even choice.
    pub load: Vec<f64>,
    /// What was sent, by kind.
    pub kinds: Vec<Kind>,
    /// Who was linked to whom at the end, where there are few enough to be drawn.
    pub portrait: Option<Portrait>,
}

/// Lookups one by one.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Answers {
    /// When the first was asked.
    pub began: Time,
    /// The hops of each, in the order asked; `None` of those without an answer. Hops beyond 255 count as 255.
    pub hops: Vec<Option<u8>>,
    /// How long they took, in milliseconds.
    pub latency_ms: Bins,
}

impl Answers {
    /// How many of those answered took how many hops.
    #[must_use]
    pub fn hops(&self) -> Bins {
        Bins::of(self.hops.iter().flatten().map(|&hops| hops.into()), 1.0)
    }
}

/// Frames of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind {
    /// One of [`KINDS`](crate::traffic::KINDS).
    pub name: &'static str,
    /// How many.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A histogram: how many values are in each of several ranges of one width, the first of which begins at `from`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Bins {
    /// Where the first range begins.
    pub from: f64,
    /// How wide each is, its end left out; 0 if there are no values.
    pub width: f64,
    /// How many values are in each.
    pub counts: Vec<u64>,
}

/// More ranges than that are thinner than what one can see.
const MAX_BINS: f64 = 48.0;

impl Bins {
    /// Of these, in ranges whose width is 1, 2 or 5 times a power of ten, and at least `least`: 1 for whole numbers.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64> + Clone, least: f64) -> Self {
        let ends = values.clone().into_iter().map(|value| (value, value));
        let Some((low, high)) = ends.reduce(|(a, b), (c, d)| (a.min(c), b.max(d))) else { return Self::default() };
        let width = round_up((high - low) / MAX_BINS).max(least);
        let from = (low / width).floor() * width;
        let mut counts = Vec::new();
        for value in values {
            let at = ((value - from) / width) as usize;
            if counts.len() <= at {
                counts.resize(at + 1, 0);
            }
            counts[at] += 1;
        }
        Self { from, width, counts }
    }
}

/// The next 1, 2 or 5 times a power of ten; 0 of nothing.
pub(crate) fn round_up(span: f64) -> f64 {
    if span <= 0.0 {
        return 0.0;
    }
    let power = libm::pow(10.0, libm::floor(libm::log10(span)));
    [1.0, 2.0, 5.0].map(|step| step * power).into_iter().find(|&step| step >= span * 0.999_999).unwrap_or(10.0 * power)
}

/// At most `most` of these, evenly chosen, the first and the last among them.
pub(crate) fn thin<V: Copy>(all: &[V], most: usize) -> Vec<V> {
    if all.len() <= most || most < 2 {
        return all.to_vec();
    }
    (0..most).map(|at| all[at * (all.len() - 1) / (most - 1)]).collect()
}

/// How many receivers had a broadcast how long after it was sent. Takes the same room however many there are: when
/// time goes on its ranges become wider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrivals {
    width: Duration,
    counts: Vec<u32>,
}

/// How many ranges of time there are.
const RANGES: usize = 256;

impl Default for Arrivals {
    fn default() -> Self {
        Self { width: Duration::from_millis(1), counts: Vec::new() }
    }
}

impl Arrivals {
    /// One more, so long after.
    pub fn count(&mut self, after: Duration) {
        while after.as_nanos() >= self.width.as_nanos() * RANGES as u128 {
            self.width *= 2;
            self.counts = self.counts.chunks(2).map(|pair| pair.iter().sum()).collect();
        }
        let at = (after.as_nanos() / self.width.as_nanos()) as usize;
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
    }

    /// Each range of time with somebody in it: its end in milliseconds, and how many.
    pub fn each(&self) -> impl Iterator<Item = (f64, u32)> {
        let width = self.width.as_secs_f64() * 1e3;
        let all = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        all.map(move |(at, count)| ((at + 1) as f64 * width, *count))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_range_it_belongs_to() {
        let bins = Bins::of([3.0, 3.0, 4.0, 7.0], 1.0);
        assert_eq!(bins, Bins { from: 3.0, width: 1.0, counts: vec![2, 1, 0, 0, 1] });
        let bins = Bins::of((0..1000).map(f64::from), 1.0);
        assert_eq!((bins.width, bins.counts.len()), (50.0, 20));
        assert!(bins.counts.iter().all(|&count| count == 50));
        assert_eq!(Bins::of([100.0; 4], 0.1).counts, [4]);
        assert_eq!(Bins::of([], 1.0), Bins::default());
    }

    #[test]
    fn arrivals_take_the_same_room_however_late_they_are() {
        let mut arrivals = Arrivals::default();
        for millis in 0..60_000 {
            arrivals.count(Duration::from_millis(millis));
        }
        assert!(arrivals.counts.len() <= RANGES);
        assert_eq!(arrivals.each().map(|(_, count)| count).sum::<u32>(), 60_000);
        let (end, _) = arrivals.each().last().unwrap();
        assert!((60_000.0..61_000.0).contains(&end), "{end}");
    }

    #[test]
    fn a_choice_has_both_ends() {
        let all: Vec<u32> = (0..1001).collect();
        assert_eq!(thin(&all, 3), [0, 500, 1000]);
        assert_eq!(thin(&all[..3], 5), [0, 1, 2]);
    }
}

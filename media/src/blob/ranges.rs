//! Sets of groups, kept as sorted runs.

use core::fmt;
use core::ops::Range;

/// A set of numbers (groups of a blob) as sorted, disjoint, non-touching runs. Costs 16 bytes per run.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The runs, in order.
    #[must_use]
    pub fn runs(&self) -> &[Range<u64>] {
        &self.0
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers are in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|run| run.end - run.start).sum()
    }

    /// Whether all of `range` is in it; true for an empty range.
    #[must_use]
    pub fn contains(&self, range: &Range<u64>) -> bool {
        let at = self.0.partition_point(|run| run.end <= range.start);
        range.is_empty() || self.0.get(at).is_some_and(|run| run.start <= range.start && range.end <= run.end)
    }

    /// Adds `range`.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let from = self.0.partition_point(|run| run.end < range.start);
        let upto = self.0.partition_point(|run| run.start <= range.end);
        let touched = &self.0[from..upto];
        let start = touched.first().map_or(range.start, |run| run.start.min(range.start));
        let end = touched.last().map_or(range.end, |run| run.end.max(range.end));
        self.0.splice(from..upto, std::iter::once(start..end));
    }

    /// Takes `range` out.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let from = self.0.partition_point(|run| run.end <= range.start);
        let upto = self.0.partition_point(|run| run.start < range.end);
        let touched = &self.0[from..upto];
        let before = touched.first().map(|run| run.start..range.start);
        let after = touched.last().map(|run| range.end..run.end);
        let kept: Vec<_> = before.into_iter().chain(after).filter(|run| run.start < run.end).collect();
        self.0.splice(from..upto, kept);
    }

    /// What of `range` is not in it.
    #[must_use]
    pub fn missing(&self, range: Range<u64>) -> Self {
        let mut rest = Self::from(range);
        self.0.iter().for_each(|run| rest.remove(run.clone()));
        rest
    }

    /// What of `range` is in it.
    #[must_use]
    pub fn within(&self, range: &Range<u64>) -> Self {
        let cut = |run: &Range<u64>| run.start.max(range.start)..run.end.min(range.end);
        let from = self.0.partition_point(|run| run.end <= range.start);
        Self(self.0[from..].iter().take_while(|run| run.start < range.end).map(cut).filter(|r| !r.is_empty()).collect())
    }

    /// The first number's run, cut at the next multiple of `step`.
    #[must_use]
    pub fn first_within(&self, step: u64) -> Option<Range<u64>> {
        let run = self.0.first()?;
        Some(run.start..run.end.min((run.start / step + 1) * step))
    }
}

impl From<Range<u64>> for Ranges {
    fn from(range: Range<u64>) -> Self {
        let mut set = Self::new();
        set.insert(range);
        set
    }
}

impl FromIterator<Range<u64>> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        ranges.into_iter().for_each(|range| set.insert(range));
        set
    }
}

impl fmt::Debug for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn changes() -> impl Strategy<Value = Vec<(bool, u64, u64)>> {
        proptest::collection::vec((any::<bool>(), 0u64..60, 0u64..12), 0..40)
    }

    fn play(changes: &[(bool, u64, u64)]) -> (Ranges, BTreeSet<u64>) {
        let (mut ranges, mut model) = (Ranges::new(), BTreeSet::new());
        for &(add, start, len) in changes {
            if add {
                ranges.insert(start..start + len);
                model.extend(start..start + len);
            } else {
                ranges.remove(start..start + len);
                model.retain(|n| !(start..start + len).contains(n));
            }
        }
        (ranges, model)
    }

    proptest! {
        #[test]
        fn runs_hold_what_a_plain_set_holds(changes in changes(), start in 0u64..60, len in 0u64..12) {
            let (ranges, model) = play(&changes);
            let spelled: BTreeSet<u64> = ranges.runs().iter().cloned().flatten().collect();
            prop_assert_eq!(&spelled, &model);
            prop_assert_eq!(ranges.count(), model.len() as u64);
            prop_assert_eq!(ranges.contains(&(start..start + len)), (start..start + len).all(|n| model.contains(&n)));
            let missing: BTreeSet<u64> = ranges.missing(0..80).runs().iter().cloned().flatten().collect();
            let within: BTreeSet<u64> = ranges.within(&(start..start + len)).runs().iter().cloned().flatten().collect();
            prop_assert_eq!(within, model.range(start..start + len).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(missing, (0..80).filter(|n| !model.contains(n)).collect::<BTreeSet<_>>());
        }

        #[test]
        fn runs_are_sorted_and_never_touch(changes in changes()) {
            let (ranges, _) = play(&changes);
            prop_assert!(ranges.runs().iter().all(|run| run.start < run.end));
            prop_assert!(ranges.runs().windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }

    #[test]
    fn the_first_piece_ends_at_a_multiple_of_the_step() {
        let ranges = Ranges::from(5..200);
        assert_eq!(ranges.first_within(64), Some(5..64));
        assert_eq!(Ranges::new().first_within(64), None);
    }
}

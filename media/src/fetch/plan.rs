//! Who fetches what: missing groups are shared out in chunks, first come, first served.
//!
//! Every provider takes its next chunk when it is done with one, so a faster one gets more. When nothing is free any
//! more, a provider that has nothing to do takes over a chunk that another still has under way (endgame), so that a
//! slow one does not hold up the end.

use core::ops::Range;

use crate::blob::{CHUNK_GROUPS, Ranges};

/// A small blob is cut into about so many chunks, so that several providers share it too.
const PARTS: u64 = 8;
/// How many providers may have the same chunk under way at the end.
const MAX_HOLDERS: usize = 2;

/// What a provider asks for when it has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appetite {
    /// It has chunks under way and takes free ones only.
    Busy,
    /// It has nothing to do and takes over what others are slow with.
    Idle,
}

#[derive(Debug)]
pub(super) struct Plan {
    /// Not yet written.
    left: Ranges,
    /// Not yet written, and under way with nobody.
    free: Ranges,
    flights: Vec<Flight>,
    /// How many groups are taken at a time.
    step: u64,
}

#[derive(Debug)]
struct Flight {
    run: Range<u64>,
    holders: Vec<usize>,
}

impl Plan {
    pub(super) fn new(missing: Ranges) -> Self {
        let step = missing.count().div_ceil(PARTS).clamp(1, CHUNK_GROUPS);
        Self { left: missing.clone(), free: missing, flights: Vec::new(), step }
    }

    /// What is not written yet.
    pub(super) fn left(&self) -> &Ranges {
        &self.left
    }

    /// The next chunk for provider `who`.
    pub(super) fn take(&mut self, who: usize, appetite: Appetite) -> Option<Range<u64>> {
        if let Some(run) = self.free.first_within(self.step) {
            self.free.remove(run.clone());
            self.flights.push(Flight { run: run.clone(), holders: vec![who] });
            return Some(run);
        }
        if appetite == Appetite::Busy {
            return None;
        }
        let left = &self.left;
        let open = |flight: &&mut Flight| {
            let holders = &flight.holders;
            holders.len() < MAX_HOLDERS && !holders.contains(&who) && !left.within(&flight.run).is_empty()
        };
        let flight = self.flights.iter_mut().filter(open).min_by_key(|flight| flight.holders.len())?;
        flight.holders.push(who);
        Some(flight.run.clone())
    }

    /// `run` was written; gives what of it had not been before.
    pub(super) fn written(&mut self, run: &Range<u64>) -> Ranges {
        let new = self.left.within(run);
        self.left.remove(run.clone());
        self.free.remove(run.clone());
        new
    }

    /// `who` is done with a chunk it took; what it did not deliver is free again.
    pub(super) fn release(&mut self, who: usize, run: &Range<u64>) {
        let at = self.flights.iter().position(|flight| flight.run == *run && flight.holders.contains(&who));
        let Some(at) = at else { return };
        self.flights[at].holders.retain(|holder| *holder != who);
        if self.flights[at].holders.is_empty() {
            let flight = self.flights.swap_remove(at);
            self.left.within(&flight.run).runs().iter().for_each(|run| self.free.insert(run.clone()));
        }
    }

    /// `who` is gone; all it had under way is free again.
    pub(super) fn leave(&mut self, who: usize) {
        let held = self.flights.iter().filter(|flight| flight.holders.contains(&who));
        let runs: Vec<_> = held.map(|flight| flight.run.clone()).collect();
        runs.iter().for_each(|run| self.release(who, run));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_end_is_taken_over_by_whoever_is_idle() {
        let mut plan = Plan::new(Ranges::from(0..512));
        (0..7).for_each(|n| assert_eq!(plan.take(0, Appetite::Busy), Some(64 * n..64 * (n + 1))));
        (0..7).for_each(|n| assert_eq!(plan.written(&(64 * n..64 * (n + 1))).count(), 64));
        (0..7).for_each(|n| plan.release(0, &(64 * n..64 * (n + 1))));
        assert_eq!(plan.take(1, Appetite::Busy), Some(448..512));
        assert_eq!(plan.take(2, Appetite::Busy), None);
        assert_eq!(plan.take(2, Appetite::Idle), Some(448..512));
        assert_eq!(plan.take(3, Appetite::Idle), None, "two are enough");
        assert_eq!(plan.written(&(448..512)).count(), 64);
        assert_eq!(plan.written(&(448..512)).count(), 0, "the slower one adds nothing");
        assert!(plan.left().is_empty());
    }

    #[test]
    fn what_a_lost_provider_had_is_free_again_but_for_what_it_delivered() {
        let mut plan = Plan::new(Ranges::from(0..512));
        plan.take(1, Appetite::Busy);
        plan.written(&(0..10));
        plan.leave(1);
        assert_eq!(plan.take(2, Appetite::Busy), Some(10..64));
    }

    #[test]
    fn a_small_blob_is_shared_out_too() {
        let mut plan = Plan::new(Ranges::from(0..23));
        assert_eq!(plan.take(1, Appetite::Busy), Some(0..3));
        assert_eq!(plan.take(2, Appetite::Busy), Some(3..6));
        let mut tiny = Plan::new(Ranges::from(0..1));
        assert_eq!(tiny.take(1, Appetite::Busy), Some(0..1));
    }

    proptest! {
        #[test]
        fn however_providers_come_and_go_every_group_is_written_once(
            runs in proptest::collection::vec((0u64..500, 1u64..90), 1..6),
            steps in proptest::collection::vec((0usize..4, 0u8..4, any::<u8>()), 0..300),
        ) {
            let all: Ranges = runs.iter().map(|&(start, len)| start..start + len).collect();
            let mut plan = Plan::new(all.clone());
            let mut under_way: Vec<Vec<Range<u64>>> = vec![Vec::new(); 4];
            let mut written = 0;
            let finish = (0..4).flat_map(|who| (0..20).flat_map(move |_| [(who, 0, 0), (who, 1, 255)]));
            for (who, step, share) in steps.into_iter().chain(finish) {
                match step {
                    0 => {
                        let appetite = if under_way[who].is_empty() { Appetite::Idle } else { Appetite::Busy };
                        under_way[who].extend(plan.take(who, appetite));
                    }
                    1 => if let Some(run) = under_way[who].pop() {
                        let part = run.start..run.start + (run.end - run.start) * u64::from(share) / 255;
                        written += plan.written(&part).count();
                        plan.release(who, &run);
                    }
                    _ => {
                        plan.leave(who);
                        under_way[who].clear();
                    }
                }
            }
            prop_assert_eq!(written + plan.left().count(), all.count());
            prop_assert!(plan.left().is_empty());
        }
    }
}

//! Timers in order of time, then of setting.

use std::collections::BTreeMap;

use crate::Time;

/// Where a timer stands in the queue; what is needed to take it out again.
pub(super) type Handle = (Time, u64);

/// A queue of timers.
#[derive(Debug)]
pub(super) struct Timers<K> {
    queue: BTreeMap<Handle, K>,
    set: u64,
}

impl<K> Timers<K> {
    pub(super) fn new() -> Self {
        Self { queue: BTreeMap::new(), set: 0 }
    }

    pub(super) fn push(&mut self, at: Time, key: K) -> Handle {
        self.set += 1;
        self.queue.insert((at, self.set), key);
        (at, self.set)
    }

    pub(super) fn remove(&mut self, handle: Handle) -> Option<K> {
        self.queue.remove(&handle)
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// How many timers were ever set: those set later are not popped by whoever knows this number.
    pub(super) fn mark(&self) -> u64 {
        self.set
    }

    /// The next timer that is due and was set before `mark`, so that a timer which sets itself anew for the same
    /// moment cannot hold up everything else.
    pub(super) fn pop(&mut self, now: Time, mark: u64) -> Option<(Handle, K)> {
        let entry = self.queue.first_entry()?;
        let &(at, set) = entry.key();
        (at <= now && set <= mark).then(|| entry.remove_entry())
    }

    /// Takes out all that are due at `from` or later.
    pub(super) fn split_off(&mut self, from: Time) -> impl Iterator<Item = (Handle, K)> + use<K> {
        self.queue.split_off(&(from, 0)).into_iter()
    }

    pub(super) fn has(&self, handle: Handle) -> bool {
        self.queue.contains_key(&handle)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

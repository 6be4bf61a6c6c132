//! Timers in order of time, then of setting.

use core::num::NonZeroU64;
use std::collections::VecDeque;

use crate::Time;

/// Where a timer stands in the queue; what is needed to take it out again.
pub(super) type Handle = (Time, NonZeroU64);

/// The timers a topology set, by their names. They are few: a sorted list of three takes a third of a tree's node.
#[derive(Debug)]
pub(super) struct Set<K>(Vec<(K, Handle)>);

impl<K: Ord> Set<K> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Notes where a timer stands now, and says where it stood.
    pub(super) fn insert(&mut self, key: K, handle: Handle) -> Option<Handle> {
        match self.find(&key) {
            Ok(at) => Some(core::mem::replace(&mut self.0[at].1, handle)),
            Err(at) => {
                if self.0.len() == self.0.capacity() {
                    self.0.reserve_exact(more(self.0.len()));
                }
                self.0.insert(at, (key, handle));
                None
            }
        }
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut Handle> {
        self.find(key).ok().map(|at| &mut self.0[at].1)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<Handle> {
        self.find(key).ok().map(|at| self.0.remove(at).1)
    }

    /// Forgets a timer that fired, unless it was set anew.
    pub(super) fn fired(&mut self, key: &K, handle: Handle) {
        if let Ok(at) = self.find(key)
            && self.0[at].1 == handle
        {
            self.0.remove(at);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(K, Handle)> {
        self.0.iter()
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<(K, Handle)>()
    }

    fn find(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(key))
    }
}

/// By how much a full list of timers grows: a half, not twice as much, since most nodes have two or three.
fn more(len: usize) -> usize {
    len / 2 + 2
}

/// A queue of timers. A node has few, and most are set for a time after all others or run out soon: a sorted ring
/// moves the shorter of its two sides, and takes a third of what a tree of so few does.
#[derive(Debug)]
pub(super) struct Timers<K> {
    queue: VecDeque<(Handle, K)>,
    set: u64,
}

impl<K> Timers<K> {
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::new(), set: 0 }
    }

    pub(super) fn push(&mut self, at: Time, key: K) -> Handle {
        let handle = (at, NonZeroU64::MIN.saturating_add(self.set));
        self.set += 1;
        let place = self.queue.partition_point(|(other, _)| *other < handle);
        if self.queue.len() == self.queue.capacity() {
            self.queue.reserve_exact(more(self.queue.len()));
        }
        self.queue.insert(place, (handle, key));
        handle
    }

    pub(super) fn remove(&mut self, handle: Handle) -> Option<K> {
        let place = self.find(handle)?;
        self.queue.remove(place).map(|(_, key)| key)
    }

    fn find(&self, handle: Handle) -> Option<usize> {
        self.queue.binary_search_by_key(&handle, |(other, _)| *other).ok()
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.queue.front().map(|((at, _), _)| *at)
    }

    /// How many timers were ever set: those set later are not popped by whoever knows this number.
    pub(super) fn mark(&self) -> u64 {
        self.set
    }

    /// The next timer that is due and was set before `mark`, so that a timer which sets itself anew for the same
    /// moment cannot hold up everything else.
    pub(super) fn pop(&mut self, now: Time, mark: u64) -> Option<(Handle, K)> {
        let ((at, set), _) = self.queue.front()?;
        if *at <= now && set.get() <= mark { self.queue.pop_front() } else { None }
    }

    /// Takes out all that are due at `from` or later.
    pub(super) fn split_off(&mut self, from: Time) -> impl Iterator<Item = (Handle, K)> + use<K> {
        let first = self.queue.partition_point(|((at, _), _)| *at < from);
        self.queue.split_off(first).into_iter()
    }

    pub(super) fn has(&self, handle: Handle) -> bool {
        self.find(handle).is_some()
    }

    pub(super) fn bytes(&self) -> usize {
        self.queue.capacity() * size_of::<(Handle, K)>()
    }
}

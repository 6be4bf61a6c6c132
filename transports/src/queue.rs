//! A bounded queue between two tasks that owns no memory while it is empty.
//!
//! A wire waits for bulk streams all its life, and mostly none comes. A channel of tokio's makes room for 32 items at
//! once: with its counters 1.5 KiB at each end of each wire, a quarter of what an idle wire took.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore};

/// First in, first out, up to a bound.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    items: Mutex<VecDeque<T>>,
    /// How many more there may be.
    room: Semaphore,
    arrived: Notify,
}

impl<T> Queue<T> {
    /// An empty queue for `most` items.
    pub(crate) fn new(most: usize) -> Self {
        Self { items: Mutex::new(VecDeque::new()), room: Semaphore::new(most), arrived: Notify::new() }
    }

    fn items(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what `make` makes once there is room. Cancel-safe: dropped midway, nothing is made.
    #[cfg(feature = "memory")]
    pub(crate) async fn put(&self, make: impl FnOnce() -> T) {
        // It is never closed.
        if let Ok(room) = self.room.acquire().await {
            room.forget();
            self.add(make());
        }
    }

    /// Adds what `make` makes, or nothing if there is no room or it makes nothing; says whether there was room.
    #[cfg(any(feature = "tcp", feature = "unix"))]
    pub(crate) fn try_put(&self, make: impl FnOnce() -> Option<T>) -> bool {
        let Ok(room) = self.room.try_acquire() else { return false };
        if let Some(item) = make() {
            room.forget();
            self.add(item);
        }
        true
    }

    fn add(&self, item: T) {
        self.items().push_back(item);
        self.arrived.notify_one();
    }

    /// The oldest item, once there is one. Cancel-safe.
    pub(crate) async fn next(&self) -> T {
        loop {
            if let Some(item) = self.take() {
                return item;
            }
            self.arrived.notified().await;
        }
    }

    fn take(&self) -> Option<T> {
        let mut items = self.items();
        let item = items.pop_front()?;
        if items.is_empty() {
            *items = VecDeque::new();
        }
        drop(items);
        self.room.add_permits(1);
        Some(item)
    }

    /// Drops what waits.
    #[cfg(feature = "memory")]
    pub(crate) fn clear(&self) {
        let items = std::mem::take(&mut *self.items());
        self.room.add_permits(items.len());
    }
}

#[cfg(test)]
#[cfg(feature = "memory")]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn items_come_in_order_and_a_full_queue_waits() {
        let queue = Queue::new(2);
        for number in 0..2 {
            assert!(queue.put(|| number).now_or_never().is_some());
        }
        assert!(queue.put(|| 9).now_or_never().is_none(), "there is no room, and nothing was made");
        assert_eq!(queue.next().await, 0);
        assert!(queue.put(|| 2).now_or_never().is_some());
        assert_eq!((queue.next().await, queue.next().await), (1, 2));
        assert!(queue.next().now_or_never().is_none());
        assert_eq!(queue.items().capacity(), 0, "an empty queue owns nothing");
    }

    #[tokio::test]
    async fn two_who_wait_get_one_each() {
        let queue = Queue::new(2);
        let (mut one, mut two) = (Box::pin(queue.next()), Box::pin(queue.next()));
        assert!((&mut one).now_or_never().is_none() && (&mut two).now_or_never().is_none());
        queue.put(|| 1).await;
        queue.put(|| 2).await;
        assert_eq!(futures_util::future::join(one, two).await, (1, 2));
    }

    #[tokio::test]
    async fn what_is_cleared_makes_room() {
        let queue = Queue::new(1);
        queue.put(|| 1).await;
        queue.clear();
        assert!(queue.put(|| 2).now_or_never().is_some());
        assert_eq!(queue.next().await, 2);
    }
}

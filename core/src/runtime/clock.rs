//! Time for the engine.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::Time;

/// Counted by the monotonic clock from what the wall clock said at the start.
pub(super) struct Clock {
    start: Instant,
    unix: Time,
}

impl Clock {
    pub(super) fn new() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), unix: Time::ZERO + unix }
    }

    pub(super) fn now(&self) -> Time {
        self.unix + self.start.elapsed()
    }

    pub(super) fn instant(&self, at: Time) -> Instant {
        self.start + at.since(self.unix)
    }
}

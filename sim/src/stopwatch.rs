//! The one clock in this room: how long a run took on the wall, for rates beside a report. No world can see it.

use core::time::Duration;
use std::time::Instant;

/// Runs from when it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

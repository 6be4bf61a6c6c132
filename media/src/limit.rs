//! A cap in bytes per second.

use core::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How much may go at once after a pause: what this many milliseconds of the rate allow.
const BURST: Duration = Duration::from_millis(100);

/// A token bucket, shared by whoever shares the cap.
#[derive(Debug)]
pub struct Limiter {
    rate: NonZeroU64,
    /// When everything granted so far is paid for.
    paid: Mutex<Option<Instant>>,
}

impl Limiter {
    /// Grants `rate` bytes per second.
    #[must_use]
    pub const fn new(rate: NonZeroU64) -> Self {
        Self { rate, paid: Mutex::new(None) }
    }

    /// How many bytes to ask for at a time, so that the flow is even: a tenth of a second's, 1 KiB at least.
    #[must_use]
    pub fn step(&self) -> usize {
        (self.rate.get() / 10).clamp(1024, 1024 * 1024) as usize
    }

    /// Waits until `bytes` more may go. If dropped while waiting, they count as gone.
    pub async fn take(&self, bytes: u64) {
        let cost = Duration::from_secs_f64(bytes as f64 / self.rate.get() as f64);
        let now = Instant::now();
        let due = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let from = paid.map_or(now, |paid| paid.max(now.checked_sub(BURST).unwrap_or(now)));
            let until = from + cost;
            *paid = Some(until);
            until
        };
        if due > now {
            sleep_until(due).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_seconds_worth_takes_ten_seconds_whoever_asks() {
        let limiter = Limiter::new(NonZeroU64::new(1000).unwrap());
        let start = Instant::now();
        let half = async || {
            for _ in 0..50 {
                limiter.take(100).await;
            }
        };
        tokio::join!(half(), half());
        let took = start.elapsed();
        assert!(took > Duration::from_millis(9_800) && took < Duration::from_millis(10_200), "{took:?}");
    }
}

//! Round-trip times and the time-out that follows from them (RFC 6298).

use core::time::Duration;

/// What a first call waits for before anything was measured (RFC 6298, §2.1).
pub const INITIAL_RTO: Duration = Duration::from_secs(1);
/// Never less: a busy peer is not a dead one. RFC 6298 says 1 s for wide networks; calls here also wait for the
/// peer's engine, never for an application.
pub const MIN_RTO: Duration = Duration::from_millis(250);
/// Never more.
pub const MAX_RTO: Duration = Duration::from_secs(30);

/// One peer's smoothed round-trip time, in microseconds to be small.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rtt {
    smoothed: u32,
    variation: u32,
    backoff: u8,
}

impl Rtt {
    /// A call was answered after `took` (RFC 6298, §2.2 and §2.3).
    pub fn sample(&mut self, took: Duration) {
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        if self.smoothed == 0 {
            self.smoothed = took;
            self.variation = took / 2;
        } else {
            let off = self.smoothed.abs_diff(took);
            self.variation = (u64::from(self.variation) * 3 / 4 + u64::from(off) / 4) as u32;
            self.smoothed = ((u64::from(self.smoothed) * 7 + u64::from(took)) / 8).max(1) as u32;
        }
        self.backoff = 0;
    }

    /// A call was not answered in time: wait twice as long the next time (§5.5).
    pub fn timed_out(&mut self) {
        self.backoff = (self.backoff + 1).min(5);
    }

    /// The smoothed time, once measured.
    #[must_use]
    pub fn smoothed(&self) -> Option<Duration> {
        self.micros().map(|micros| Duration::from_micros(micros.into()))
    }

    /// As [`smoothed`](Self::smoothed), in microseconds.
    pub(super) fn micros(&self) -> Option<u32> {
        (self.smoothed > 0).then_some(self.smoothed)
    }

    /// How long to wait for an answer.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        let base = if self.smoothed == 0 {
            INITIAL_RTO
        } else {
            Duration::from_micros(u64::from(self.smoothed) + 4 * u64::from(self.variation)).max(MIN_RTO)
        };
        (base * (1 << self.backoff)).min(MAX_RTO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_a_step_from_10_to_200_ms() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(), INITIAL_RTO);
        (0..50).for_each(|_| rtt.sample(Duration::from_millis(10)));
        assert_eq!(rtt.timeout(), MIN_RTO);
        let mut late = 0;
        for _ in 0..20 {
            if rtt.timeout() < Duration::from_millis(200) {
                late += 1;
            }
            rtt.sample(Duration::from_millis(200));
        }
        assert_eq!(late, 0, "the floor covers the first steps, the variation those after");
        assert!(rtt.timeout() > Duration::from_millis(200));
        assert!(rtt.smoothed().unwrap() > Duration::from_millis(180));
    }

    #[test]
    fn each_timeout_doubles_the_next_and_an_answer_ends_that() {
        let mut rtt = Rtt::default();
        rtt.timed_out();
        assert_eq!(rtt.timeout(), INITIAL_RTO * 2);
        rtt.timed_out();
        assert_eq!(rtt.timeout(), INITIAL_RTO * 4);
        rtt.sample(Duration::from_millis(100));
        assert!(rtt.timeout() < INITIAL_RTO);
    }
}

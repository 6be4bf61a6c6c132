//! Dials a peer at whichever of its addresses answers first.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use polymorph_core::runtime::transport::{Connection, Dial, Transport, TransportError};
use polymorph_core::{Guid, TransportAddress};
use tokio::time::{Instant, sleep_until};

use crate::ranking::{Pace, Preference, Schedule, Step, order};

/// Dials over a set of transports. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dialer {
    transports: Arc<[Arc<dyn Transport>]>,
    preference: Preference,
    pace: Pace,
}

/// Why a peer could not be dialed: what happened at each address that was tried, in the order it happened.
#[derive(Debug, thiserror::Error)]
pub struct DialError {
    /// Whom we wanted.
    pub peer: Guid,
    /// The failures. Attempts that were still under way when the time was over are not among them.
    pub attempts: Vec<(TransportAddress, TransportError)>,
    /// How long all of it took.
    pub took: Duration,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} could not be reached in {:.1} s", self.peer.short(), self.took.as_secs_f32())?;
        let mut between = ": ";
        for (_, error) in &self.attempts {
            write!(f, "{between}{error}")?;
            between = "; ";
        }
        Ok(())
    }
}

#[async_trait]
impl Dial for Dialer {
    async fn dial(
        &self,
        addresses: &[TransportAddress],
        expected: Guid,
    ) -> Result<Arc<dyn Connection>, TransportError> {
        Self::dial(self, addresses, expected).await.map_err(|error| TransportError::Closed(error.to_string()))
    }
}

impl Dialer {
    /// Over these transports. Addresses that none of them handles are passed over.
    #[must_use]
    pub fn new(transports: Vec<Arc<dyn Transport>>) -> Self {
        Self { transports: transports.into(), preference: Preference::default(), pace: Pace::default() }
    }

    /// With another preference.
    #[must_use]
    pub fn prefer(self, preference: Preference) -> Self {
        Self { preference, ..self }
    }

    /// With another pace.
    #[must_use]
    pub fn pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// The first connection to `peer` that succeeds at any of these addresses; the other attempts are given up.
    /// Cancel-safe: dropping the future gives all of them up.
    ///
    /// # Errors
    /// [`DialError`] once every address has failed or the time is over.
    pub async fn dial(&self, addresses: &[TransportAddress], peer: Guid) -> Result<Arc<dyn Connection>, DialError> {
        let begin = Instant::now();
        let mut attempts = Vec::new();
        let (handled, foreign): (Vec<_>, Vec<_>) =
            addresses.iter().cloned().partition(|address| self.transport(address).is_some());
        attempts.extend(foreign.into_iter().map(|address| (address.clone(), TransportError::NoTransport(address))));
        let mut schedule = Schedule::new(order(&handled, self.preference), self.pace);
        let mut running = FuturesUnordered::new();
        loop {
            let until = match schedule.step(begin.elapsed()) {
                Step::Dial(address) => {
                    running.push(self.attempt(address, peer));
                    continue;
                }
                Step::Wait(until) => begin + until,
                Step::GiveUp => return Err(DialError { peer, attempts, took: begin.elapsed() }),
            };
            tokio::select! {
                biased;
                Some((address, result)) = running.next() => match result {
                    Ok(connection) => return Ok(connection),
                    Err(error) => {
                        schedule.failed();
                        attempts.push((address, error));
                    }
                },
                () = sleep_until(until) => {}
            }
        }
    }

    fn attempt(&self, address: TransportAddress, peer: Guid) -> BoxFuture<'_, Attempt> {
        Box::pin(async move {
            let result = match self.transport(&address) {
                Some(transport) => transport.dial(&address, Some(peer)).await,
                None => Err(TransportError::NoTransport(address.clone())),
            };
            (address, result)
        })
    }

    fn transport(&self, address: &TransportAddress) -> Option<&Arc<dyn Transport>> {
        self.transports.iter().find(|transport| transport.handles(address))
    }
}

type Attempt = (TransportAddress, Result<Arc<dyn Connection>, TransportError>);

#[cfg(test)]
#[cfg(feature = "memory")]
mod tests;

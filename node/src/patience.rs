//! Waiting for an overlay to get there: on its events, and on a growing pause where it tells none.

use std::time::Duration;

use polymorph::Overlay;
use polymorph::core::runtime::OverlayError;
use tokio::time::{Instant, sleep_until, timeout_at};

/// The first pause between two tries without an event, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Tries until it works: again whenever the overlay changes, and after a pause. The last error once `within` passed.
///
/// # Errors
/// That of the last try.
pub(crate) async fn until<T>(
    overlay: &Overlay,
    within: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, OverlayError>,
) -> Result<T, OverlayError> {
    let end = Instant::now() + within;
    let mut events = overlay.watch().await?;
    let mut pause = PAUSE.0;
    let mut last = None;
    loop {
        match timeout_at(end, attempt()).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(OverlayError::NodeEnded)) => return Err(OverlayError::NodeEnded),
            Ok(Err(error)) => last = Some(error),
            Err(_) => {}
        }
        if Instant::now() >= end {
            let timeout = OverlayError::Failed(polymorph::core::engine::io::Failure::Timeout);
            return Err(last.unwrap_or(timeout));
        }
        tokio::select! {
            event = events.recv() => if event.is_none() {
                return Err(OverlayError::NodeEnded);
            },
            () = sleep_until((Instant::now() + pause).min(end)) => pause = (pause * 2).min(PAUSE.1),
        }
    }
}

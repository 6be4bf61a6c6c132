//! Handshakes under way at one listener, bounded in number and in time.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};

/// How long a handshake may take, on either side: three round trips over the worst link, with losses.
pub(crate) const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How many handshakes a listener has under way. Past that the *oldest* is dropped: a thousand peers that connect and
/// say nothing delay an honest one by nothing.
pub(crate) const MAX_HANDSHAKES: usize = 256;
/// How many authenticated peers may wait for `accept`; past that newcomers are turned away.
pub(crate) const MAX_ARRIVALS: usize = 64;
/// A pause after the operating system failed to accept (no file descriptors left, most often).
#[cfg(any(feature = "tcp", feature = "unix"))]
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The handshakes of one listener; all given up when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    running: JoinSet<()>,
    oldest_first: VecDeque<AbortHandle>,
}

impl Handshakes {
    /// Runs one more beside the others, for [`HANDSHAKE_TIME`] at most.
    pub(crate) fn begin(&mut self, handshake: impl Future<Output = ()> + Send + 'static) {
        while self.running.try_join_next().is_some() {}
        if self.oldest_first.len() >= MAX_HANDSHAKES {
            self.oldest_first.retain(|task| !task.is_finished());
        }
        if self.oldest_first.len() >= MAX_HANDSHAKES
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            oldest.abort();
        }
        let task = self.running.spawn(async move {
            if tokio::time::timeout(HANDSHAKE_TIME, handshake).await.is_err() {
                tracing::debug!("a handshake took too long");
            }
        });
        self.oldest_first.push_back(task);
    }

    /// How many are under way.
    #[cfg(feature = "quic")]
    pub(crate) fn len(&mut self) -> usize {
        while self.running.try_join_next().is_some() {}
        self.running.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    struct Gone(Arc<AtomicUsize>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_makes_room_and_none_lasts_for_ever() {
        let gone = Arc::new(AtomicUsize::new(0));
        let mut handshakes = Handshakes::default();
        for _ in 0..MAX_HANDSHAKES + 3 {
            let guard = Gone(gone.clone());
            handshakes.begin(async move {
                let _guard = guard;
                pending::<()>().await;
            });
        }
        let done = Arc::new(Notify::new());
        let signal = done.clone();
        handshakes.begin(async move { signal.notify_one() });
        done.notified().await;
        assert_eq!(gone.load(Ordering::SeqCst), 4);
        tokio::time::sleep(HANDSHAKE_TIME * 2).await;
        assert_eq!(gone.load(Ordering::SeqCst), MAX_HANDSHAKES + 3);
    }
}

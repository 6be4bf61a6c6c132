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
        self.tidy();
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

    /// Waits until one more has ended, for ever if none is under way. A listener does so while it waits for the next
    /// peer: a task that ended takes all the memory it ever did, several kibibytes, for as long as somebody holds it.
    /// Cancel-safe.
    pub(crate) async fn ended(&mut self) {
        match self.running.join_next().await {
            Some(_) => self.tidy(),
            None => std::future::pending().await,
        }
    }

    /// Lets go of those that have ended.
    fn tidy(&mut self) {
        while self.running.try_join_next().is_some() {}
        self.oldest_first.retain(|task| !task.is_finished());
        if self.oldest_first.is_empty() {
            self.oldest_first = VecDeque::new();
        }
    }

    /// How many are under way.
    #[cfg(feature = "quic")]
    pub(crate) fn len(&mut self) -> usize {
        self.tidy();
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

    #[tokio::test]
    async fn one_that_ended_is_let_go_of_before_the_next_begins() {
        let mut handshakes = Handshakes::default();
        let last = Arc::new(Notify::new());
        for number in 0..3 {
            let last = last.clone();
            handshakes.begin(async move {
                if number == 2 {
                    last.notified().await
                }
            });
        }
        // Once or twice: both may have ended by then.
        while handshakes.running.len() > 1 {
            handshakes.ended().await;
        }
        assert_eq!(handshakes.oldest_first.len(), 1, "the third is under way");
        assert!(futures_util::FutureExt::now_or_never(handshakes.ended()).is_none());
        last.notify_one();
        handshakes.ended().await;
        assert_eq!((handshakes.oldest_first.len(), handshakes.running.len()), (0, 0));
        assert!(futures_util::FutureExt::now_or_never(handshakes.ended()).is_none(), "there is none to wait for");
    }
}

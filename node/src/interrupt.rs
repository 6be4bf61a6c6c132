//! SIGINT and SIGTERM: the first asks to end in good order, the second ends at once.

use tokio_util::sync::CancellationToken;

/// Whether somebody wants the program to end.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(CancellationToken);

impl Interrupt {
    /// Listens for signals from now on.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let token = CancellationToken::new();
        let first = token.clone();
        let mut signals = Signals::new()?;
        tokio::spawn(async move {
            signals.next().await;
            first.cancel();
            signals.next().await;
            std::process::exit(130);
        });
        Ok(Self(token))
    }

    /// Reckons where it keeps nobody from hearing signals: `None` if one came first. What is not done by then ends with the
    /// program. Cancel-safe in the same way.
    ///
    /// # Panics
    /// If `reckon` does.
    pub(crate) async fn or<R: Send + 'static>(&self, reckon: impl FnOnce() -> R + Send + 'static) -> Option<R> {
        tokio::select! {
            done = tokio::task::spawn_blocking(reckon) => match done {
                Ok(result) => Some(result),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            () = self.wait() => None,
        }
    }

    /// Waits for the first signal. Cancel-safe.
    pub(crate) async fn wait(&self) {
        self.0.cancelled().await;
    }
}

#[cfg(unix)]
struct Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal);

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self(signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

//! One end of a wire: a thread with a runtime of its own, so that its processor time is told from the other's.

use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A thread that runs what it is given.
pub(crate) struct End {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl End {
    pub(crate) fn start(name: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let turn = move || drop(runtime.block_on(stopped));
        let thread = std::thread::Builder::new().name(name.into()).spawn(turn).expect("a thread");
        Self { handle, stop: Some(stop), thread: Some(thread) }
    }

    /// Runs `work` there and waits for what comes of it.
    pub(crate) fn run<F: Future<Output: Send> + Send + 'static>(&self, work: F) -> F::Output {
        let (done, outcome) = sync_channel(1);
        self.handle.spawn(async move { drop(done.send(work.await)) });
        outcome.recv().expect("the work does not panic")
    }

    /// Runs `work` there, beside whatever else is asked of this end.
    pub(crate) fn spawn<F: Future<Output = ()> + Send + 'static>(&self, work: F) {
        self.handle.spawn(work);
    }

    /// Processor time of this end so far.
    pub(crate) fn busy(&self) -> Duration {
        self.run(async { thread_time() })
    }
}

impl Drop for End {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Processor time of the calling thread; none where the kernel does not tell.
fn thread_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

//! A bounded pipe inside one process. Unlike `tokio::io::duplex` it can be cut from outside, and a sender that is
//! dropped without a shutdown leaves an error, not an end.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes a pipe holds before its writer waits. The buffer grows only as it is used.
const PIPE_BYTES: usize = 64 * 1024;

/// What both ends share.
#[derive(Default)]
pub(super) struct Pipe(Mutex<State>);

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    ending: Ending,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Ending {
    #[default]
    Open,
    /// The sender shut down: what is in the pipe still arrives, then the end.
    Clean,
    /// The pipe was cut: what is in it still arrives, then an error.
    Cut,
}

impl Pipe {
    /// A pipe and its two ends.
    pub(super) fn new() -> (Arc<Self>, Sender, Receiver) {
        let pipe = Arc::new(Self::default());
        (pipe.clone(), Sender(pipe.clone()), Receiver(pipe))
    }

    /// Ends it now, at both ends.
    pub(super) fn cut(&self) {
        self.end(Ending::Cut);
    }

    fn end(&self, ending: Ending) {
        let mut state = self.state();
        if state.ending == Ending::Open {
            state.ending = ending;
        }
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that is written to.
pub(super) struct Sender(Arc<Pipe>);

impl AsyncWrite for Sender {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        if state.ending != Ending::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = PIPE_BYTES - state.bytes.len();
        if room == 0 && !buf.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = room.min(buf.len());
        state.bytes.extend(&buf[..taken]);
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.end(Ending::Clean);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.cut();
    }
}

/// The end that is read from.
pub(super) struct Receiver(Arc<Pipe>);

impl AsyncRead for Receiver {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state();
        if state.bytes.is_empty() {
            return match state.ending {
                Ending::Open => {
                    state.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
                Ending::Clean => Poll::Ready(Ok(())),
                Ending::Cut => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            };
        }
        let taken = state.bytes.len().min(buf.remaining());
        state.bytes.read_exact(buf.initialize_unfilled_to(taken))?;
        buf.advance(taken);
        if state.bytes.is_empty() {
            // An idle pipe owns no buffer.
            state.bytes = VecDeque::new();
        }
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.cut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_was_written_before_the_end_arrives() {
        let (pipe, mut sender, mut receiver) = Pipe::new();
        sender.write_all(b"last words").await.unwrap();
        sender.shutdown().await.unwrap();
        drop(sender);
        pipe.cut();
        let mut heard = String::new();
        receiver.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "last words");
    }

    #[tokio::test]
    async fn a_reader_that_stalls_stops_the_writer_at_the_bound() {
        let (_, mut sender, mut receiver) = Pipe::new();
        let mut written = 0;
        while let Ok(taken) = futures_util::future::poll_immediate(sender.write(&[7; 1000])).await.unwrap_or(Ok(0)) {
            if taken == 0 {
                break;
            }
            written += taken;
        }
        assert_eq!(written, PIPE_BYTES);
        receiver.read_exact(&mut [0; 10]).await.unwrap();
        assert_eq!(sender.write(&[7; 1000]).await.unwrap(), 10);
    }
}

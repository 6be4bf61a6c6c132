//! A TLS stream in two halves that can live in two tasks.
//!
//! Only encryption and decryption happen under the lock; system calls do not, so a writer never waits for a reader's
//! `recv`. Bytes pass through one scratch buffer per *thread*: an idle channel owns no buffer but what TLS itself
//! keeps, and a read takes up to 64 KiB from the kernel at once.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, BufRead, IoSlice, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::socket::Socket;

/// What one read may take from the kernel: four full TLS records.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    /// Ciphertext between the kernel and TLS. Borrowed within one poll, never across one.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
    /// Ciphertext between TLS and the kernel.
    static OUTGOING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A socket and the TLS state both halves share.
pub(crate) struct Channel<S> {
    socket: S,
    /// Boxed, so that the weak handles a wire keeps of its bulk streams cost next to nothing once those are over.
    tls: Mutex<Box<rustls::Connection>>,
}

impl<S: Socket> Channel<S> {
    /// Takes over after the handshake. `over`, if given, is cancelled as soon as the receiving half has seen the end.
    pub(crate) fn split(
        socket: S,
        tls: rustls::Connection,
        over: Option<CancellationToken>,
    ) -> (Arc<Self>, Receiver<S>, Sender<S>) {
        let channel = Arc::new(Self { socket, tls: Mutex::new(Box::new(tls)) });
        let receiver = Receiver { channel: channel.clone(), staged: Vec::new(), taken: 0, over };
        let sender = Sender { channel: channel.clone(), unsent: Vec::new(), sent: 0, ending: Ending::Open };
        (channel, receiver, sender)
    }

    /// Ends both directions now; both halves here and the peer notice.
    pub(crate) fn cut(&self) {
        self.socket.shut(Shutdown::Both);
    }

    fn tls(&self) -> MutexGuard<'_, Box<rustls::Connection>> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> fmt::Debug for Channel<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Channel")
    }
}

/// The receiving half. Its end is clean only if the peer said so inside TLS: a cut wire is an error.
pub(crate) struct Receiver<S> {
    channel: Arc<Channel<S>>,
    /// Ciphertext that the last reader's buffer had no room for.
    staged: Vec<u8>,
    taken: usize,
    over: Option<CancellationToken>,
}

/// What a round through TLS gave.
enum Progress {
    /// Plaintext, or a full buffer.
    Filled,
    /// The peer has ended the stream.
    Ended,
    /// More ciphertext is needed.
    Starved,
}

impl<S: Socket> Receiver<S> {
    fn poll_plaintext(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut staged = &self.staged[self.taken..];
            let progress = decrypt(&mut self.channel.tls(), &mut staged, buf)?;
            self.taken = self.staged.len() - staged.len();
            if staged.is_empty() && !self.staged.is_empty() {
                (self.staged, self.taken) = (Vec::new(), 0);
            }
            if !matches!(progress, Progress::Starved) {
                return Poll::Ready(Ok(()));
            }
            let progress = SCRATCH.with_borrow_mut(|scratch| {
                let received = ready!(self.channel.socket.poll_recv(cx, scratch))?;
                let mut input = &scratch[..received];
                let mut tls = self.channel.tls();
                if received == 0 {
                    tls.read_tls(&mut io::empty())?;
                }
                let progress = decrypt(&mut tls, &mut input, buf)?;
                self.staged.extend_from_slice(input);
                Poll::Ready(io::Result::Ok(progress))
            });
            if !matches!(ready!(progress)?, Progress::Starved) {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Moves ciphertext in and plaintext out until one of them is exhausted.
fn decrypt(tls: &mut rustls::Connection, input: &mut &[u8], buf: &mut ReadBuf<'_>) -> io::Result<Progress> {
    let before = buf.filled().len();
    loop {
        while buf.remaining() > 0 {
            let mut reader = tls.reader();
            match reader.fill_buf() {
                Ok([]) => return Ok(if buf.filled().len() > before { Progress::Filled } else { Progress::Ended }),
                Ok(plaintext) => {
                    let taken = plaintext.len().min(buf.remaining());
                    buf.put_slice(&plaintext[..taken]);
                    reader.consume(taken);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) if buf.filled().len() > before => return Ok(Progress::Filled),
                Err(error) => return Err(error),
            }
        }
        if buf.remaining() == 0 {
            return Ok(Progress::Filled);
        }
        if input.is_empty() {
            return Ok(if buf.filled().len() > before { Progress::Filled } else { Progress::Starved });
        }
        tls.read_tls(input)?;
        tls.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    }
}

impl<S: Socket> AsyncRead for Receiver<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let result = ready!(self.poll_plaintext(cx, buf));
        if (result.is_err() || buf.filled().len() == before)
            && let Some(over) = self.over.take()
        {
            over.cancel();
        }
        Poll::Ready(result)
    }
}

/// Where the sending half stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Open,
    /// The end is encrypted and on its way.
    Said,
    Done,
}

/// The sending half. What `poll_write` took is on its way only after a flush. Dropped without a shutdown, the peer
/// sees a cut wire, not an end.
pub(crate) struct Sender<S: Socket> {
    channel: Arc<Channel<S>>,
    /// Ciphertext the kernel had no room for; TLS bounds it at 64 KiB.
    unsent: Vec<u8>,
    sent: usize,
    ending: Ending,
}

impl<S: Socket> Sender<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            match ready!(self.channel.socket.poll_send(cx, &self.unsent[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        (self.unsent, self.sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// Encrypts what `write` puts in, hands it to the kernel, and keeps what the kernel does not take.
    fn poll_encrypt(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut rustls::Connection) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(cx))?;
        OUTGOING.with_borrow_mut(|outgoing| {
            outgoing.clear();
            let taken = {
                let mut tls = self.channel.tls();
                let taken = write(&mut tls)?;
                while tls.wants_write() {
                    tls.write_tls(outgoing)?;
                }
                taken
            };
            let mut rest = outgoing.as_slice();
            while !rest.is_empty() {
                match self.channel.socket.poll_send(cx, rest) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(sent)) => rest = &rest[sent..],
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        self.unsent.extend_from_slice(rest);
                        break;
                    }
                }
            }
            Poll::Ready(Ok(taken))
        })
    }
}

impl<S: Socket> AsyncWrite for Sender<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_encrypt(cx, |tls| tls.writer().write(buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_encrypt(cx, |tls| tls.writer().write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_drain(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ending == Ending::Open {
            ready!(self.poll_encrypt(cx, |tls| {
                tls.send_close_notify();
                Ok(0)
            }))?;
            self.ending = Ending::Said;
        }
        ready!(self.poll_drain(cx))?;
        if self.ending == Ending::Said {
            self.channel.socket.shut(Shutdown::Write);
            self.ending = Ending::Done;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Socket> Drop for Sender<S> {
    fn drop(&mut self) {
        if self.ending != Ending::Done {
            self.channel.socket.shut(Shutdown::Write);
        }
    }
}

//! Wires that take their time: whatever arrives is handed on as late as the world of the same seed would have it.
//! Loopback has no latency of its own, and what depends on who is nearer (a broadcast tree, say) would otherwise depend
//! on which thread ran first.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use polymorph::core::identity::PublicKey;
use polymorph::core::runtime::transport::{Connection, Listener, RecvStream, Stream, Transport, TransportError};
use polymorph::sim::Latency;
use polymorph::{Guid, TransportAddress};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How far everybody is from everybody, as in a world.
#[derive(Debug)]
pub(super) struct Map {
    latency: Latency,
    seed: u64,
    numbers: HashMap<Guid, u32>,
}

impl Map {
    /// Of these, whose numbers are their places here.
    pub(super) fn new(latency: Latency, seed: u64, all: impl Iterator<Item = Guid>) -> Self {
        Self { latency, seed, numbers: all.zip(0..).collect() }
    }

    fn one_way(&self, from: Guid, to: Guid) -> Duration {
        let number = |guid| self.numbers.get(guid).copied();
        let both = number(&from).zip(number(&to));
        both.map_or(Duration::ZERO, |(from, to)| self.latency.one_way(self.seed, from, to))
    }
}

/// Another transport, slower.
#[derive(Debug)]
pub(super) struct Delayed {
    pub(super) inner: Arc<dyn Transport>,
    pub(super) me: Guid,
    pub(super) map: Arc<Map>,
}

impl Delayed {
    fn slow(&self, inner: Arc<dyn Connection>) -> Arc<dyn Connection> {
        let delay = self.map.one_way(inner.peer(), self.me);
        if delay.is_zero() { inner } else { Arc::new(Slow { inner, delay }) }
    }
}

#[async_trait]
impl Transport for Delayed {
    fn handles(&self, address: &TransportAddress) -> bool {
        self.inner.handles(address)
    }

    async fn listen(&self, address: &TransportAddress) -> Result<Box<dyn Listener>, TransportError> {
        let inner = self.inner.listen(address).await?;
        let slow = Self { inner: self.inner.clone(), me: self.me, map: self.map.clone() };
        Ok(Box::new(Door { inner, slow }))
    }

    /// One round trip later, as in a world.
    async fn dial(
        &self,
        address: &TransportAddress,
        expected: Option<Guid>,
    ) -> Result<Arc<dyn Connection>, TransportError> {
        let trip = expected.map_or(Duration::ZERO, |peer| self.map.one_way(self.me, peer));
        sleep(2 * trip).await;
        Ok(self.slow(self.inner.dial(address, expected).await?))
    }
}

#[derive(Debug)]
struct Door {
    inner: Box<dyn Listener>,
    slow: Delayed,
}

#[async_trait]
impl Listener for Door {
    fn address(&self) -> TransportAddress {
        self.inner.address()
    }

    async fn accept(&mut self) -> Result<Arc<dyn Connection>, TransportError> {
        Ok(self.slow.slow(self.inner.accept().await?))
    }
}

/// A wire whose streams are late. It has no datagrams: a world has none either.
#[derive(Debug)]
struct Slow {
    inner: Arc<dyn Connection>,
    delay: Duration,
}

impl Slow {
    fn stream(&self, Stream { recv, send }: Stream) -> Stream {
        Stream { recv: Box::new(Late::new(recv, self.delay)), send }
    }
}

#[async_trait]
impl Connection for Slow {
    fn public_key(&self) -> PublicKey {
        self.inner.public_key()
    }

    fn remote(&self) -> TransportAddress {
        self.inner.remote()
    }

    fn is_dialer(&self) -> bool {
        self.inner.is_dialer()
    }

    fn exporter(&self) -> [u8; 32] {
        self.inner.exporter()
    }

    fn take_control(&self) -> Option<Stream> {
        self.inner.take_control().map(|stream| self.stream(stream))
    }

    async fn open(&self) -> Result<Stream, TransportError> {
        Ok(self.stream(self.inner.open().await?))
    }

    async fn accept(&self) -> Result<Stream, TransportError> {
        Ok(self.stream(self.inner.accept().await?))
    }

    fn close(&self, reason: &str) {
        self.inner.close(reason);
    }
}

/// How many bytes may be on their way; past that the sender is stopped, as by a full window.
const WINDOW: usize = 256 * 1024;
/// How many bytes are taken at once.
const BITE: usize = 16 * 1024;

/// What is read comes later.
struct Late {
    inner: RecvStream,
    delay: Duration,
    /// When what may be handed on.
    waiting: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// How the stream ended, once it has.
    ended: Option<Result<(), io::ErrorKind>>,
    timer: Pin<Box<Sleep>>,
}

impl Late {
    fn new(inner: RecvStream, delay: Duration) -> Self {
        let timer = Box::pin(sleep(Duration::ZERO));
        Self { inner, delay, waiting: VecDeque::new(), bytes: 0, ended: None, timer }
    }

    /// Takes in whatever has arrived.
    fn take(&mut self, cx: &mut Context<'_>) {
        while self.ended.is_none() && self.bytes < WINDOW {
            let mut bite = vec![0; BITE];
            let mut buffer = ReadBuf::new(&mut bite);
            let Poll::Ready(read) = Pin::new(&mut self.inner).poll_read(cx, &mut buffer) else { return };
            let count = buffer.filled().len();
            match read {
                Ok(()) if count > 0 => {
                    bite.truncate(count);
                    self.bytes += count;
                    self.waiting.push_back((Instant::now() + self.delay, bite.into()));
                }
                read => self.ended = Some(read.map_err(|error| error.kind())),
            }
        }
    }
}

impl AsyncRead for Late {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.take(cx);
        let Some((at, bytes)) = this.waiting.front_mut() else {
            return match this.ended {
                Some(ended) => Poll::Ready(ended.map_err(Into::into)),
                None => Poll::Pending,
            };
        };
        if *at > Instant::now() {
            this.timer.as_mut().reset(*at);
            ready!(this.timer.as_mut().poll(cx));
        }
        let count = to.remaining().min(bytes.len());
        to.put_slice(&bytes[..count]);
        bytes.advance(count);
        this.bytes -= count;
        if bytes.is_empty() {
            this.waiting.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Late({} bytes on their way)", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_of_it_arrives_in_order_and_late() {
        let (mut near, far) = duplex(4 * WINDOW);
        let mut late = Late::new(Box::new(far), Duration::from_millis(50));
        let sent: Vec<u8> = (0..3 * WINDOW).map(|at| (at % 251) as u8).collect();
        let began = Instant::now();
        near.write_all(&sent).await.unwrap();
        drop(near);
        let mut got = Vec::new();
        late.read_to_end(&mut got).await.unwrap();
        assert!(got == sent, "{} of {} bytes, or others", got.len(), sent.len());
        // Three windows full, each a delay after the one before.
        assert!((150..160).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    }
}

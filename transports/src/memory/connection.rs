//! The two ends of a wire inside one process.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use polymorph_core::TransportAddress;
use polymorph_core::identity::PublicKey;
use polymorph_core::runtime::transport::{Connection, Stream, TransportError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::pipe::Pipe;
use crate::queue::Queue;

/// How many of the peer's bulk streams may wait for `accept`; past that `open` waits.
const MAX_WAITING_BULK: usize = 16;
/// How many datagrams wait for their receiver; past that the oldest is dropped.
const MAX_WAITING_DATAGRAMS: usize = 64;
/// The largest datagram: what QUIC can promise on any path, so that nobody learns to count on more.
const MAX_DATAGRAM: usize = 1200;

/// What both ends share.
struct Shared {
    exporter: [u8; 32],
    over: CancellationToken,
    reason: Mutex<Option<String>>,
    pipes: Mutex<Vec<Weak<Pipe>>>,
    /// Bulk streams on their way to the dialer and to the acceptor.
    bulk: [Queue<Stream>; 2],
    /// Datagrams on their way to the dialer and to the acceptor.
    datagrams: [Datagrams; 2],
}

#[derive(Default)]
struct Datagrams {
    waiting: Mutex<VecDeque<Bytes>>,
    arrived: Notify,
}

/// One end of a wire.
pub(super) struct Wire {
    shared: Arc<Shared>,
    /// 0 for the dialer, 1 for the acceptor.
    end: usize,
    peer: PublicKey,
    remote: TransportAddress,
    control: Mutex<Option<Stream>>,
}

/// A wire between the nodes with these keys, the dialer's first.
pub(super) fn pair(keys: [PublicKey; 2], address: &TransportAddress, exporter: [u8; 32]) -> (Wire, Wire) {
    let shared = Arc::new(Shared {
        exporter,
        over: CancellationToken::new(),
        reason: Mutex::new(None),
        pipes: Mutex::new(Vec::new()),
        bulk: [Queue::new(MAX_WAITING_BULK), Queue::new(MAX_WAITING_BULK)],
        datagrams: Default::default(),
    });
    let (mine, theirs) = shared.stream();
    let end = |end: usize, control| Wire {
        shared: shared.clone(),
        end,
        peer: keys[1 - end],
        remote: address.clone(),
        control: Mutex::new(Some(control)),
    };
    (end(0, mine), end(1, theirs))
}

impl Shared {
    /// The two ends of a new stream.
    fn stream(&self) -> (Stream, Stream) {
        let (there, there_send, there_recv) = Pipe::new();
        let (back, back_send, back_recv) = Pipe::new();
        let mut pipes = lock(&self.pipes);
        pipes.retain(|pipe| pipe.strong_count() > 0);
        pipes.extend([Arc::downgrade(&there), Arc::downgrade(&back)]);
        if self.over.is_cancelled() {
            there.cut();
            back.cut();
        }
        let mine = Stream { recv: Box::new(back_recv), send: Box::new(there_send) };
        (mine, Stream { recv: Box::new(there_recv), send: Box::new(back_send) })
    }

    fn closed(&self) -> TransportError {
        TransportError::Closed(lock(&self.reason).clone().unwrap_or_default())
    }
}

#[async_trait]
impl Connection for Wire {
    fn public_key(&self) -> PublicKey {
        self.peer
    }

    fn remote(&self) -> TransportAddress {
        self.remote.clone()
    }

    fn is_dialer(&self) -> bool {
        self.end == 0
    }

    fn exporter(&self) -> [u8; 32] {
        self.shared.exporter
    }

    fn take_control(&self) -> Option<Stream> {
        lock(&self.control).take()
    }

    async fn open(&self) -> Result<Stream, TransportError> {
        let mut opened = None;
        let opening = self.shared.bulk[1 - self.end].put(|| {
            let (mine, theirs) = self.shared.stream();
            opened = Some(mine);
            theirs
        });
        tokio::select! {
            biased;
            () = self.shared.over.cancelled() => return Err(self.shared.closed()),
            () = opening => {}
        }
        opened.ok_or_else(|| self.shared.closed())
    }

    async fn accept(&self) -> Result<Stream, TransportError> {
        tokio::select! {
            biased;
            () = self.shared.over.cancelled() => Err(self.shared.closed()),
            stream = self.shared.bulk[self.end].next() => Ok(stream),
        }
    }

    fn max_datagram(&self) -> usize {
        MAX_DATAGRAM
    }

    fn send_datagram(&self, datagram: Bytes) -> Result<(), TransportError> {
        if self.shared.over.is_cancelled() {
            return Err(self.shared.closed());
        }
        if datagram.len() > MAX_DATAGRAM {
            return Err(TransportError::DatagramTooLarge { len: datagram.len(), max: MAX_DATAGRAM });
        }
        let datagrams = &self.shared.datagrams[1 - self.end];
        let mut waiting = lock(&datagrams.waiting);
        if waiting.len() == MAX_WAITING_DATAGRAMS {
            waiting.pop_front();
        }
        waiting.push_back(datagram);
        drop(waiting);
        datagrams.arrived.notify_one();
        Ok(())
    }

    async fn recv_datagram(&self) -> Result<Bytes, TransportError> {
        let datagrams = &self.shared.datagrams[self.end];
        loop {
            let next = lock(&datagrams.waiting).pop_front();
            if let Some(datagram) = next {
                return Ok(datagram);
            }
            tokio::select! {
                biased;
                () = self.shared.over.cancelled() => return Err(self.shared.closed()),
                () = datagrams.arrived.notified() => {}
            }
        }
    }

    fn close(&self, reason: &str) {
        if self.shared.over.is_cancelled() {
            return;
        }
        lock(&self.shared.reason).get_or_insert_with(|| reason.to_owned());
        self.shared.over.cancel();
        let pipes = std::mem::take(&mut *lock(&self.shared.pipes));
        pipes.iter().filter_map(Weak::upgrade).for_each(|pipe| pipe.cut());
        self.shared.bulk.iter().for_each(Queue::clear);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.close("dropped");
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({} at {})", self.peer().short(), self.remote)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! One authenticated wire over sockets: the control connection, and the bulk connections bound to it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use polymorph_core::TransportAddress;
use polymorph_core::identity::PublicKey;
use polymorph_core::runtime::transport::{Connection, Stream, TransportError};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Secured, Socket, Wires};
use crate::preamble::Token;
use crate::queue::Queue;
use crate::tls::channel::Channel;
use crate::tls::{BULK_TOKEN, EXPORTER};

/// How many bulk streams of one wire may be alive at once, opened and accepted together: each is a file descriptor.
const MAX_BULK: usize = 256;
/// How many of the peer's bulk streams may wait for `accept`; past that they are dropped and their opener sees a cut.
const MAX_WAITING_BULK: usize = 64;
/// How long a bulk connection waits for its control connection: if the dialer's last handshake packet was lost, the one
/// overtakes the other by a retransmission or two.
const OVERTAKEN_TIME: Duration = Duration::from_secs(2);

/// Which end this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Dialer,
    Acceptor,
}

/// Finds the wire a bulk connection belongs to.
pub(super) struct Registry<S: Socket> {
    wires: Mutex<HashMap<Token, Weak<Wire<S>>>>,
    added: Notify,
}

impl<S: Socket> Default for Registry<S> {
    fn default() -> Self {
        Self { wires: Mutex::new(HashMap::new()), added: Notify::new() }
    }
}

impl<S: Socket> Registry<S> {
    /// Looks up the wire, and waits [`OVERTAKEN_TIME`] for one that is not there yet. The caller still has to compare
    /// keys.
    pub(super) async fn find(&self, token: &Token) -> Option<Arc<Wire<S>>> {
        let search = async {
            loop {
                let added = self.added.notified();
                let known = lock(&self.wires).get(token).and_then(Weak::upgrade);
                match known {
                    Some(wire) => return wire,
                    None => added.await,
                }
            }
        };
        timeout(OVERTAKEN_TIME, search).await.ok()
    }

    fn add(&self, wire: &Arc<Wire<S>>) {
        lock(&self.wires).insert(wire.token, Arc::downgrade(wire));
        self.added.notify_waiters();
    }
}

/// An authenticated wire.
pub(super) struct Wire<S: Socket> {
    wires: Arc<Wires<S>>,
    channel: Arc<Channel<S>>,
    control: Mutex<Option<Stream>>,
    peer: PublicKey,
    remote: TransportAddress,
    end: End,
    exporter: [u8; 32],
    token: Token,
    /// Cancelled when the peer's half of the control stream has ended, or this side closed.
    over: CancellationToken,
    reason: Mutex<Option<String>>,
    bulk: Mutex<Vec<Weak<Channel<S>>>>,
    /// Only an acceptor has bulk streams arriving.
    arrivals: Option<Queue<Stream>>,
}

impl<S: Socket> Wire<S> {
    pub(super) fn new(
        wires: Arc<Wires<S>>,
        secured: Secured<S>,
        remote: TransportAddress,
        end: End,
    ) -> Result<Arc<Self>, TransportError> {
        let Secured { socket, tls, peer } = secured;
        let failed = |error: rustls::Error| {
            let reason = error.to_string();
            TransportError::Handshake { address: remote.clone(), reason }
        };
        let exporter = tls.export_keying_material([0; 32], EXPORTER, None).map_err(failed)?;
        let token = tls.export_keying_material(Token::default(), BULK_TOKEN, None).map_err(failed)?;
        let over = CancellationToken::new();
        let (channel, recv, send) = Channel::split(socket, tls, Some(over.clone()));
        let control = Mutex::new(Some(Stream { recv: Box::new(recv), send: Box::new(send) }));
        let arrivals = (end == End::Acceptor).then(|| Queue::new(MAX_WAITING_BULK));
        let (reason, bulk) = (Mutex::new(None), Mutex::new(Vec::new()));
        let wire = Self { wires, channel, control, peer, remote, end, exporter, token, over, reason, bulk, arrivals };
        let wire = Arc::new(wire);
        if end == End::Acceptor {
            wire.wires.registry.add(&wire);
        }
        Ok(wire)
    }

    /// Takes in a bulk connection that named this wire's token, if the same key stands behind it and there is room.
    pub(super) fn adopt(&self, secured: Secured<S>) {
        let Some(arrivals) = &self.arrivals else { return };
        if secured.peer != self.peer {
            return tracing::debug!(peer = %secured.peer, "a bulk connection showed somebody else's token");
        }
        let room = arrivals.try_put(|| {
            let (channel, stream) = secured.into_stream();
            self.bind(&channel).ok().map(|()| stream)
        });
        if !room {
            tracing::debug!(peer = %self.peer, "too many bulk streams wait to be accepted");
        }
    }

    /// Lets `close` reach a bulk stream.
    fn bind(&self, channel: &Arc<Channel<S>>) -> Result<(), TransportError> {
        let mut bulk = lock(&self.bulk);
        bulk.retain(|stream| stream.strong_count() > 0);
        if self.over.is_cancelled() {
            return Err(self.closed());
        }
        if bulk.len() >= MAX_BULK {
            return Err(TransportError::Closed(format!("{MAX_BULK} bulk streams are open already")));
        }
        bulk.push(Arc::downgrade(channel));
        Ok(())
    }

    fn closed(&self) -> TransportError {
        TransportError::Closed(lock(&self.reason).clone().unwrap_or_else(|| "the peer ended the control stream".into()))
    }
}

#[async_trait]
impl<S: Socket> Connection for Wire<S> {
    fn public_key(&self) -> PublicKey {
        self.peer
    }

    fn remote(&self) -> TransportAddress {
        self.remote.clone()
    }

    fn is_dialer(&self) -> bool {
        self.end == End::Dialer
    }

    fn exporter(&self) -> [u8; 32] {
        self.exporter
    }

    fn take_control(&self) -> Option<Stream> {
        lock(&self.control).take()
    }

    async fn open(&self) -> Result<Stream, TransportError> {
        if self.over.is_cancelled() {
            return Err(self.closed());
        }
        if self.end == End::Acceptor {
            return Err(TransportError::NotDialable);
        }
        let dial = self.wires.dial_bulk(&self.remote, self.peer(), &self.token);
        let (channel, stream) = tokio::select! {
            opened = dial => opened?,
            () = self.over.cancelled() => return Err(self.closed()),
        };
        self.bind(&channel)?;
        Ok(stream)
    }

    async fn accept(&self) -> Result<Stream, TransportError> {
        let Some(arrivals) = &self.arrivals else {
            self.over.cancelled().await;
            return Err(self.closed());
        };
        tokio::select! {
            biased;
            () = self.over.cancelled() => Err(self.closed()),
            stream = arrivals.next() => Ok(stream),
        }
    }

    fn close(&self, reason: &str) {
        lock(&self.reason).get_or_insert_with(|| reason.to_owned());
        self.over.cancel();
        self.channel.cut();
        for stream in lock(&self.bulk).drain(..) {
            if let Some(stream) = stream.upgrade() {
                stream.cut();
            }
        }
    }
}

impl<S: Socket> Drop for Wire<S> {
    fn drop(&mut self) {
        if self.end == End::Acceptor {
            lock(&self.wires.registry.wires).remove(&self.token);
        }
        self.close("dropped");
    }
}

impl<S: Socket> fmt::Debug for Wire<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({} at {})", self.peer().short(), self.remote)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

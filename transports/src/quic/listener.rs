//! Where QUIC connections arrive.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use polymorph_core::TransportAddress;
use polymorph_core::runtime::transport::{Connection, Listener, TransportError};
use quinn::{Endpoint, Incoming};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Inner;
use super::connection::{self, Wire};
use crate::handshakes::{Handshakes, MAX_ARRIVALS, MAX_HANDSHAKES};

/// From how many handshakes under way on a peer must first show that its address is its own (QUIC Retry): half the
/// room cannot be taken by forged senders.
const RETRY_FROM: usize = MAX_HANDSHAKES / 2;

/// A listener. Dropped, its socket goes on only for the connections it accepted.
#[derive(Debug)]
pub(super) struct Doorway {
    inner: Arc<Inner>,
    at: SocketAddr,
    arrivals: mpsc::Receiver<Arc<dyn Connection>>,
    _accepting: DropGuard,
}

impl Doorway {
    pub(super) fn open(inner: Arc<Inner>, endpoint: Endpoint, at: SocketAddr) -> Self {
        let (queue, arrivals) = mpsc::channel(MAX_ARRIVALS);
        let dropped = CancellationToken::new();
        let accepting = dropped.clone().drop_guard();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = dropped.cancelled() => {}
                () = keep_accepting(&endpoint, queue) => {}
            }
            keep_refusing(&endpoint).await;
        });
        Self { inner, at, arrivals, _accepting: accepting }
    }
}

#[async_trait]
impl Listener for Doorway {
    fn address(&self) -> TransportAddress {
        TransportAddress::Quic(self.at)
    }

    async fn accept(&mut self) -> Result<Arc<dyn Connection>, TransportError> {
        self.arrivals.recv().await.ok_or_else(|| TransportError::Closed("the listener stopped".into()))
    }
}

impl Drop for Doorway {
    fn drop(&mut self) {
        self.inner.forget(self.at);
    }
}

async fn keep_accepting(endpoint: &Endpoint, queue: mpsc::Sender<Arc<dyn Connection>>) {
    let mut handshakes = Handshakes::default();
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            () = handshakes.ended() => continue,
        };
        let Some(incoming) = incoming else { return };
        if handshakes.len() >= RETRY_FROM && incoming.may_retry() {
            // Cannot fail: it may.
            let _ = incoming.retry();
            continue;
        }
        handshakes.begin(arrive(incoming, queue.clone()));
    }
}

/// Says no to newcomers, rather than leaving them to wait, for as long as the socket is needed by others.
async fn keep_refusing(endpoint: &Endpoint) {
    loop {
        tokio::select! {
            biased;
            () = endpoint.wait_idle() => return,
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => incoming.refuse(),
                None => return,
            },
        }
    }
}

async fn arrive(incoming: Incoming, queue: mpsc::Sender<Arc<dyn Connection>>) {
    let remote = TransportAddress::Quic(incoming.remote_address());
    match admit(incoming, &remote).await {
        Ok(wire) => match queue.try_send(Arc::new(wire)) {
            Ok(()) => {}
            Err(_) => tracing::debug!(%remote, "too many peers wait to be accepted"),
        },
        Err(error) => tracing::debug!(%error, "a handshake failed"),
    }
}

async fn admit(incoming: Incoming, remote: &TransportAddress) -> Result<Wire, TransportError> {
    let connecting = incoming.accept().map_err(|error| connection::refused(remote, error))?;
    let connection = connecting.await.map_err(|error| connection::refused(remote, error))?;
    Wire::accepted(connection, remote).await
}

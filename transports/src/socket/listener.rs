//! Where sockets arrive: one task that accepts, and a bounded number of handshakes beside it.

use std::sync::Arc;

use async_trait::async_trait;
use polymorph_core::TransportAddress;
use polymorph_core::runtime::transport::{Connection, Listener, TransportError};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::connection::{End, Wire};
use super::{Secured, Socket, Wires};
use crate::handshakes::{ACCEPT_PAUSE, Handshakes, MAX_ARRIVALS};
use crate::preamble::{Purpose, Token};

/// A listener. Bulk connections need it too, so it works whether or not `accept` is being called.
#[derive(Debug)]
pub(super) struct Doorway {
    address: TransportAddress,
    arrivals: mpsc::Receiver<Arc<dyn Connection>>,
    _accepting: AbortOnDropHandle<()>,
}

impl Doorway {
    pub(super) fn open<S: Socket>(wires: Arc<Wires<S>>, door: S::Door, address: TransportAddress) -> Self {
        let (queue, arrivals) = mpsc::channel(MAX_ARRIVALS);
        let accepting = AbortOnDropHandle::new(tokio::spawn(keep_accepting(wires, door, queue)));
        Self { address, arrivals, _accepting: accepting }
    }
}

#[async_trait]
impl Listener for Doorway {
    fn address(&self) -> TransportAddress {
        self.address.clone()
    }

    async fn accept(&mut self) -> Result<Arc<dyn Connection>, TransportError> {
        self.arrivals.recv().await.ok_or_else(|| TransportError::Closed("the listener stopped".into()))
    }
}

async fn keep_accepting<S: Socket>(wires: Arc<Wires<S>>, door: S::Door, queue: mpsc::Sender<Arc<dyn Connection>>) {
    let mut handshakes = Handshakes::default();
    loop {
        let accepted = tokio::select! {
            accepted = S::accept(&door) => accepted,
            () = handshakes.ended() => continue,
        };
        match accepted {
            Ok((socket, remote)) => handshakes.begin(arrive(wires.clone(), socket, remote, queue.clone())),
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn arrive<S: Socket>(
    wires: Arc<Wires<S>>,
    socket: S,
    remote: TransportAddress,
    queue: mpsc::Sender<Arc<dyn Connection>>,
) {
    if let Err(error) = admit(wires, socket, remote, queue).await {
        tracing::debug!(%error, "a handshake failed");
    }
}

async fn admit<S: Socket>(
    wires: Arc<Wires<S>>,
    socket: S,
    remote: TransportAddress,
    queue: mpsc::Sender<Arc<dyn Connection>>,
) -> Result<(), TransportError> {
    let (mut stream, peer) = wires.receive(socket, &remote).await?;
    let io = |error| TransportError::Io { address: remote.clone(), error };
    let purpose = Purpose::read(&mut stream).await.map_err(io)?;
    let mut token = Token::default();
    if purpose == Purpose::Bulk {
        stream.read_exact(&mut token).await.map_err(io)?;
    }
    let (socket, tls) = stream.into_inner();
    let secured = Secured { socket, tls: tls.into(), peer };
    match purpose {
        Purpose::Bulk => match wires.registry.find(&token).await {
            Some(wire) => wire.adopt(secured),
            None => tracing::debug!(%peer, "a bulk connection showed an unknown token"),
        },
        Purpose::Control => {
            let Ok(place) = queue.try_reserve() else {
                tracing::debug!(%peer, "too many peers wait to be accepted");
                return Ok(());
            };
            place.send(Wire::new(wires, secured, remote, End::Acceptor)?);
        }
    }
    Ok(())
}

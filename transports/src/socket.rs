//! What tcp and unix share: wires made of byte-stream sockets, one TLS connection per stream.
//!
//! The first connection to a peer is the control connection. A bulk stream is a connection of its own, so that the
//! kernel does its flow control and no stream waits behind another. Its opener says, inside TLS, a token that only
//! the two ends of the control connection can derive; the listener takes it only from the same key.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use polymorph_core::identity::PublicKey;
use polymorph_core::runtime::transport::{Connection, Listener, Stream, TransportError};
use polymorph_core::{Guid, Identity, TransportAddress};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::handshakes::HANDSHAKE_TIME;
use crate::preamble::{Purpose, Token};
use crate::tls::channel::Channel;
use crate::tls::{self, Credentials, Tickets};

mod connection;
mod listener;

use connection::{End, Registry, Wire};

/// A kind of byte-stream socket.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + Sync + Sized + fmt::Debug + 'static {
    /// What accepts; dropping it stops listening.
    type Door: Send + Sync + fmt::Debug + 'static;

    /// Connects, without any bound of time.
    fn connect(address: &TransportAddress) -> impl Future<Output = io::Result<Self>> + Send;
    /// Listens, and says where.
    fn bind(address: &TransportAddress) -> impl Future<Output = io::Result<(Self::Door, TransportAddress)>> + Send;
    /// The next raw connection and where it comes from. Cancel-safe.
    fn accept(door: &Self::Door) -> impl Future<Output = io::Result<(Self, TransportAddress)>> + Send;
    /// Receives into `buf`; 0 is the end.
    fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Sends some of `buf`.
    fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>>;
    /// Ends one direction or both, whoever else holds the socket.
    fn shut(&self, how: Shutdown);
}

/// Implements the two polls of [`Socket`] for a tokio socket.
///
/// The system call sits inside `try_io` and reports a *partial* transfer as "would block" to tokio alone: an
/// edge-triggered poller need not be asked again, which saves the second system call of every small message.
macro_rules! poll_socket {
    () => {
        fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            loop {
                ready!(self.poll_read_ready(cx))?;
                let mut partial = None;
                let tried = self.try_io(Interest::READABLE, || {
                    let received = (&*SockRef::from(self)).read(buf)?;
                    if received > 0 && received < buf.len() {
                        partial = Some(received);
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    Ok(received)
                });
                match (partial, tried) {
                    (Some(received), _) => return Poll::Ready(Ok(received)),
                    (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                    (None, result) => return Poll::Ready(result),
                }
            }
        }

        fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            loop {
                ready!(self.poll_write_ready(cx))?;
                let mut partial = None;
                let tried = self.try_io(Interest::WRITABLE, || {
                    let sent = (&*SockRef::from(self)).write(buf)?;
                    if sent > 0 && sent < buf.len() {
                        partial = Some(sent);
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    Ok(sent)
                });
                match (partial, tried) {
                    (Some(sent), _) => return Poll::Ready(Ok(sent)),
                    (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                    (None, result) => return Poll::Ready(result),
                }
            }
        }

        fn shut(&self, how: Shutdown) {
            // Fails only if the peer was faster.
            let _ = SockRef::from(self).shutdown(how);
        }
    };
}
pub(crate) use poll_socket;

/// Everything the wires of one node over one kind of socket share.
pub(crate) struct Wires<S: Socket> {
    identity: Identity,
    /// Made when the first wire is: a node has every kind of socket at hand and uses one or two.
    credentials: OnceLock<Credentials>,
    registry: Registry<S>,
}

impl<S: Socket> fmt::Debug for Wires<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wires")
    }
}

impl<S: Socket> Wires<S> {
    pub(crate) fn new(identity: &Identity) -> Arc<Self> {
        let identity = identity.clone();
        Arc::new(Self { identity, credentials: OnceLock::new(), registry: Registry::default() })
    }

    fn credentials(&self) -> &Credentials {
        self.credentials.get_or_init(|| Credentials::new(&self.identity, Tickets::Kept))
    }

    pub(crate) async fn listen(
        self: &Arc<Self>,
        address: &TransportAddress,
    ) -> Result<Box<dyn Listener>, TransportError> {
        let bound = S::bind(address).await;
        let (door, bound) = bound.map_err(|error| TransportError::Io { address: address.clone(), error })?;
        Ok(Box::new(listener::Doorway::open(self.clone(), door, bound)))
    }

    pub(crate) async fn dial(
        self: &Arc<Self>,
        address: &TransportAddress,
        expected: Option<Guid>,
    ) -> Result<Arc<dyn Connection>, TransportError> {
        let opening = self.reach(address, expected, Purpose::Control, &[]);
        let secured = timeout(HANDSHAKE_TIME, opening).await;
        let secured = secured.map_err(|_| TransportError::Timeout(address.clone()))??;
        let wire = Wire::new(self.clone(), secured, address.clone(), End::Dialer)?;
        Ok(wire)
    }

    /// Opens a bulk connection to whoever is at the other end of a wire, and says its token.
    async fn dial_bulk(
        self: &Arc<Self>,
        address: &TransportAddress,
        peer: Guid,
        token: &Token,
    ) -> Result<(Arc<Channel<S>>, Stream), TransportError> {
        let opening = self.reach(address, Some(peer), Purpose::Bulk, token);
        let secured = timeout(HANDSHAKE_TIME, opening).await;
        Ok(secured.map_err(|_| TransportError::Timeout(address.clone()))??.into_stream())
    }

    /// Connects, shakes hands, checks the peer and says what the connection is for.
    async fn reach(
        &self,
        address: &TransportAddress,
        expected: Option<Guid>,
        purpose: Purpose,
        token: &[u8],
    ) -> Result<Secured<S>, TransportError> {
        let io = |error| TransportError::Io { address: address.clone(), error };
        let socket = S::connect(address).await.map_err(io)?;
        let connector = TlsConnector::from(self.credentials().client.clone());
        let name = tls::session_name(expected);
        let mut stream = connector.connect(name, socket).await.map_err(|error| refused(address, error))?;
        let (_, connection) = stream.get_ref();
        let peer = proven(address, connection)?;
        let found = Guid::of(&peer);
        if let Some(expected) = expected
            && expected != found
        {
            return Err(TransportError::WrongPeer { address: address.clone(), expected, found });
        }
        stream.write_all(&[&[purpose.byte()], token].concat()).await.map_err(io)?;
        stream.flush().await.map_err(io)?;
        let (socket, connection) = stream.into_inner();
        Ok(Secured { socket, tls: connection.into(), peer })
    }

    /// The listener's half of [`Self::reach`], up to the peer's key.
    async fn receive(
        &self,
        socket: S,
        remote: &TransportAddress,
    ) -> Result<(tokio_rustls::server::TlsStream<S>, PublicKey), TransportError> {
        let acceptor = TlsAcceptor::from(self.credentials().server.clone());
        let stream = acceptor.accept(socket).await.map_err(|error| refused(remote, error))?;
        let peer = proven(remote, stream.get_ref().1)?;
        Ok((stream, peer))
    }
}

/// A connection whose peer is known.
struct Secured<S> {
    socket: S,
    tls: rustls::Connection,
    peer: PublicKey,
}

impl<S: Socket> Secured<S> {
    /// As a bulk stream.
    fn into_stream(self) -> (Arc<Channel<S>>, Stream) {
        let (channel, recv, send) = Channel::split(self.socket, self.tls, None);
        (channel, Stream { recv: Box::new(recv), send: Box::new(send) })
    }
}

/// The peer's key. rustls shakes hands with a peer that names no protocol at all; we do not.
fn proven(address: &TransportAddress, tls: &rustls::CommonState) -> Result<PublicKey, TransportError> {
    let failed = |reason: &str| TransportError::Handshake { address: address.clone(), reason: reason.into() };
    if tls.alpn_protocol() != Some(tls::ALPN) {
        return Err(failed("the peer named no protocol"));
    }
    tls::peer_key(tls.peer_certificates()).ok_or_else(|| failed("the peer showed no key"))
}

fn refused(address: &TransportAddress, error: io::Error) -> TransportError {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            TransportError::Handshake { address: address.clone(), reason: error.to_string() }
        }
        _ => TransportError::Io { address: address.clone(), error },
    }
}

//! What a kind of wire must offer. Implementations live in `polymorph-transports`; a new one passes the same
//! conformance suite.
//!
//! A [`Connection`] is one authenticated wire to one peer: a control stream, bulk streams bound to it, and
//! datagrams where the wire has them. The transport proves who the peer is (TLS 1.3 with raw ed25519 public
//! keys); what the two say to each other is the engine's business.

use core::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::identity::PublicKey;
use crate::{Guid, TransportAddress};

/// The receiving half of a stream.
pub type RecvStream = Box<dyn AsyncRead + Send + Sync + Unpin>;
/// The sending half of a stream. `shutdown` ends it cleanly; dropping it does not promise delivery.
pub type SendStream = Box<dyn AsyncWrite + Send + Sync + Unpin>;

/// A bidirectional stream. The kernel or QUIC does its flow control: a reader that stalls stops the writer.
pub struct Stream {
    /// What the peer sends.
    pub recv: RecvStream,
    /// What the peer will receive.
    pub send: SendStream,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

/// Why a dial, a listen or an open failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No transport of this node handles such an address.
    #[error("no transport for {0}")]
    NoTransport(TransportAddress),
    /// Nobody answered, or the operating system refused.
    #[error("{address}: {error}")]
    Io {
        /// What was dialed or listened on.
        address: TransportAddress,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// It took longer than [`Transport::dial`]'s bound.
    #[error("{0} did not answer in time")]
    Timeout(TransportAddress),
    /// Someone answered who is not the peer that was dialed.
    #[error("{address} is {found:?}, not the {expected:?} that was dialed")]
    WrongPeer {
        /// What was dialed.
        address: TransportAddress,
        /// Whom we wanted.
        expected: Guid,
        /// Who answered.
        found: Guid,
    },
    /// The handshake failed: another protocol, another version, or no valid key.
    #[error("{address}: the handshake failed: {reason}")]
    Handshake {
        /// The other end.
        address: TransportAddress,
        /// What went wrong.
        reason: String,
    },
    /// The connection or listener is closed.
    #[error("the connection is closed: {0}")]
    Closed(String),
    /// The peer cannot be dialed back for a further stream, so it must open the stream itself.
    #[error("the peer cannot be dialed back for a bulk stream")]
    NotDialable,
    /// The datagram is larger than [`Connection::max_datagram`], or the wire has none.
    #[error("the datagram has {len} bytes, this wire takes {max}")]
    DatagramTooLarge {
        /// Its size.
        len: usize,
        /// The wire's limit, 0 if it has no datagrams.
        max: usize,
    },
}

/// A kind of wire. Cheap to share; one value serves a whole node.
#[async_trait]
pub trait Transport: Send + Sync + fmt::Debug + 'static {
    /// Whether this transport handles such an address.
    fn handles(&self, address: &TransportAddress) -> bool;

    /// Listens. Port 0, or its like, picks a free one: ask [`Listener::address`].
    ///
    /// # Errors
    /// [`TransportError::Io`] with the operating system's reason.
    async fn listen(&self, address: &TransportAddress) -> Result<Box<dyn Listener>, TransportError>;

    /// Dials and authenticates. With `expected` given, anybody else is refused with
    /// [`TransportError::WrongPeer`]. Cancel-safe: dropping the future gives the dial up.
    ///
    /// # Errors
    /// Every variant but `Closed`; each within the transport's own bound of time.
    async fn dial(
        &self,
        address: &TransportAddress,
        expected: Option<Guid>,
    ) -> Result<Arc<dyn Connection>, TransportError>;
}

/// Finds a wire to a peer among its addresses: which to try first, which beside each other.
#[async_trait]
pub trait Dial: Send + Sync + fmt::Debug + 'static {
    /// Dials until one address answers as `expected`. Cancel-safe.
    ///
    /// # Errors
    /// The last address's error, or [`TransportError::NoTransport`] where none is handled.
    async fn dial(&self, addresses: &[TransportAddress], expected: Guid)
    -> Result<Arc<dyn Connection>, TransportError>;
}

/// The plainest way to dial: one address after the other, in the contact's order.
#[derive(Debug)]
pub struct InOrder(pub Vec<Arc<dyn Transport>>);

#[async_trait]
impl Dial for InOrder {
    async fn dial(
        &self,
        addresses: &[TransportAddress],
        expected: Guid,
    ) -> Result<Arc<dyn Connection>, TransportError> {
        let mut last = TransportError::Closed("the contact has no address".into());
        for address in addresses {
            let Some(transport) = self.0.iter().find(|t| t.handles(address)) else {
                last = TransportError::NoTransport(address.clone());
                continue;
            };
            match transport.dial(address, Some(expected)).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Where peers arrive. Dropping it stops listening; connections it accepted live on.
#[async_trait]
pub trait Listener: Send + fmt::Debug {
    /// The address others can dial, with the port that was really bound.
    fn address(&self) -> TransportAddress;

    /// The next authenticated peer. Handshakes run beside each other and are bounded in number and in time; one
    /// that fails is logged and not reported. Cancel-safe.
    ///
    /// # Errors
    /// [`TransportError::Closed`] or [`TransportError::Io`], after which the listener is of no use.
    async fn accept(&mut self) -> Result<Arc<dyn Connection>, TransportError>;
}

/// One authenticated wire to one peer. Dropping the last handle closes it.
#[async_trait]
pub trait Connection: Send + Sync + fmt::Debug {
    /// The key the peer proved to hold.
    fn public_key(&self) -> PublicKey;

    /// Who the peer is.
    fn peer(&self) -> Guid {
        Guid::of(&self.public_key())
    }

    /// Where the peer is, as seen from here.
    fn remote(&self) -> TransportAddress;

    /// Whether this side dialed.
    fn is_dialer(&self) -> bool;

    /// 32 bytes that only the two ends of this very connection know (TLS exporter): memberships are proven
    /// against it, so a proof shown here is worth nothing elsewhere.
    fn exporter(&self) -> [u8; 32];

    /// The control stream, handed out once; `None` after that.
    fn take_control(&self) -> Option<Stream>;

    /// Opens a bulk stream bound to this connection's peer and session. Cancel-safe.
    ///
    /// # Errors
    /// [`TransportError::NotDialable`] where a bulk stream needs a dial and the peer cannot be dialed from here;
    /// `Closed`, `Io` or `Timeout` otherwise.
    async fn open(&self) -> Result<Stream, TransportError>;

    /// The next bulk stream the peer opened. Cancel-safe.
    ///
    /// # Errors
    /// [`TransportError::Closed`] once the connection is over.
    async fn accept(&self) -> Result<Stream, TransportError>;

    /// The largest datagram this wire takes now, 0 where it has none.
    fn max_datagram(&self) -> usize {
        0
    }

    /// Sends a datagram: unordered, unreliable, the oldest dropped when the queue is full. Never waits.
    ///
    /// # Errors
    /// [`TransportError::DatagramTooLarge`] or [`TransportError::Closed`].
    fn send_datagram(&self, datagram: Bytes) -> Result<(), TransportError> {
        Err(TransportError::DatagramTooLarge { len: datagram.len(), max: 0 })
    }

    /// The next datagram from the peer; waits for ever where the wire has none. Cancel-safe.
    ///
    /// # Errors
    /// [`TransportError::Closed`] once the connection is over.
    async fn recv_datagram(&self) -> Result<Bytes, TransportError> {
        std::future::pending().await
    }

    /// Closes at once, streams and all. What `shutdown` of the control stream has flushed still arrives where the
    /// wire can promise it.
    fn close(&self, reason: &str);
}

//! One QUIC connection: the dialer's first stream is control, all others are bulk.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::Bytes;
use polymorph_core::identity::PublicKey;
use polymorph_core::runtime::transport::{Connection, Stream, TransportError};
use polymorph_core::{Guid, TransportAddress};
use quinn::{ConnectionError, RecvStream, SendDatagramError, SendStream, TransportErrorCode, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::io::AsyncWrite;

use crate::preamble::Purpose;
use crate::tls::{self, EXPORTER};

/// The peer was not who was dialed, or did not keep to the protocol.
const REFUSED: VarInt = VarInt::from_u32(1);
/// Closed on purpose.
const CLOSED: VarInt = VarInt::from_u32(0);
/// A sender was dropped before it shut its stream down.
const ABANDONED: VarInt = VarInt::from_u32(2);

/// An authenticated wire.
pub(super) struct Wire {
    connection: quinn::Connection,
    peer: PublicKey,
    exporter: [u8; 32],
    control: Mutex<Option<Stream>>,
    /// A stream that has arrived and has not yet said what it is for; kept here so that `accept` is cancel-safe.
    arriving: tokio::sync::Mutex<Option<(SendStream, RecvStream)>>,
}

impl Wire {
    /// Checks the peer and opens the control stream.
    pub(super) async fn dialed(
        connection: quinn::Connection,
        address: &TransportAddress,
        expected: Option<Guid>,
    ) -> Result<Self, TransportError> {
        let mut wire = Self::proven(connection, address)?;
        let found = wire.peer();
        if let Some(expected) = expected
            && expected != found
        {
            wire.connection.close(REFUSED, b"somebody else was dialed");
            return Err(TransportError::WrongPeer { address: address.clone(), expected, found });
        }
        let control = wire.open_for(Purpose::Control).await?;
        wire.control = Mutex::new(Some(control));
        Ok(wire)
    }

    /// Waits for the control stream.
    pub(super) async fn accepted(
        connection: quinn::Connection,
        address: &TransportAddress,
    ) -> Result<Self, TransportError> {
        let mut wire = Self::proven(connection, address)?;
        let (send, mut recv) = wire.connection.accept_bi().await.map_err(over)?;
        match Purpose::read(&mut recv).await {
            Ok(Purpose::Control) => wire.control = Mutex::new(Some(stream(send, recv))),
            _ => {
                wire.connection.close(REFUSED, b"control comes first");
                let reason = "the peer did not open a control stream first".into();
                return Err(TransportError::Handshake { address: address.clone(), reason });
            }
        }
        Ok(wire)
    }

    fn proven(connection: quinn::Connection, address: &TransportAddress) -> Result<Self, TransportError> {
        let failed = |reason: &str| TransportError::Handshake { address: address.clone(), reason: reason.into() };
        let shown = connection.peer_identity().and_then(|shown| shown.downcast::<Vec<CertificateDer<'_>>>().ok());
        let peer =
            tls::peer_key(shown.as_deref().map(Vec::as_slice)).ok_or_else(|| failed("the peer showed no key"))?;
        let mut exporter = [0; 32];
        connection.export_keying_material(&mut exporter, EXPORTER, &[]).map_err(|_| failed("no exporter"))?;
        Ok(Self { connection, peer, exporter, control: Mutex::default(), arriving: tokio::sync::Mutex::default() })
    }

    /// Opens a stream and says what for, so that the peer sees it even if nothing else is said yet.
    async fn open_for(&self, purpose: Purpose) -> Result<Stream, TransportError> {
        let (mut send, recv) = self.connection.open_bi().await.map_err(over)?;
        send.write_all(&[purpose.byte()]).await.map_err(|error| TransportError::Closed(error.to_string()))?;
        Ok(stream(send, recv))
    }
}

#[async_trait]
impl Connection for Wire {
    fn public_key(&self) -> PublicKey {
        self.peer
    }

    fn remote(&self) -> TransportAddress {
        TransportAddress::Quic(self.connection.remote_address())
    }

    fn is_dialer(&self) -> bool {
        self.connection.side().is_client()
    }

    fn exporter(&self) -> [u8; 32] {
        self.exporter
    }

    fn take_control(&self) -> Option<Stream> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn open(&self) -> Result<Stream, TransportError> {
        self.open_for(Purpose::Bulk).await
    }

    async fn accept(&self) -> Result<Stream, TransportError> {
        let mut arriving = self.arriving.lock().await;
        loop {
            let (_, recv) = match &mut *arriving {
                Some(stream) => stream,
                none => none.insert(self.connection.accept_bi().await.map_err(over)?),
            };
            let purpose = Purpose::read(recv).await;
            if let (Ok(Purpose::Bulk), Some((send, recv))) = (purpose, arriving.take()) {
                return Ok(stream(send, recv));
            }
            // A stream for nothing we know is dropped; the next may be better.
        }
    }

    fn max_datagram(&self) -> usize {
        self.connection.max_datagram_size().unwrap_or(0)
    }

    fn send_datagram(&self, datagram: Bytes) -> Result<(), TransportError> {
        let len = datagram.len();
        self.connection.send_datagram(datagram).map_err(|error| match error {
            SendDatagramError::ConnectionLost(error) => over(error),
            _ => TransportError::DatagramTooLarge { len, max: self.max_datagram() },
        })
    }

    async fn recv_datagram(&self) -> Result<Bytes, TransportError> {
        self.connection.read_datagram().await.map_err(over)
    }

    fn close(&self, reason: &str) {
        self.connection.close(CLOSED, reason.as_bytes());
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.close("dropped");
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({} at {})", self.peer().short(), self.remote())
    }
}

/// Why a dial failed.
pub(super) fn refused(address: &TransportAddress, error: ConnectionError) -> TransportError {
    let address = address.clone();
    match error {
        ConnectionError::TimedOut => TransportError::Timeout(address),
        ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::CONNECTION_REFUSED => {
            TransportError::Io { address, error: io::ErrorKind::ConnectionRefused.into() }
        }
        other => TransportError::Handshake { address, reason: other.to_string() },
    }
}

fn over(error: ConnectionError) -> TransportError {
    TransportError::Closed(error.to_string())
}

fn stream(send: SendStream, recv: RecvStream) -> Stream {
    Stream { recv: Box::new(recv), send: Box::new(Sender { stream: send, ending: None }) }
}

type Ending = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// quinn's sending half with two differences: a shutdown ends when the peer *has* everything, so that a close right
/// after it loses nothing; and a sender dropped without one leaves an error, not an end.
struct Sender {
    stream: SendStream,
    ending: Option<Ending>,
}

impl AsyncWrite for Sender {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.stream), cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ending.is_none() {
            // Fails only if the stream was reset or finished before, which `stopped` reports too.
            let _ = self.stream.finish();
            let stopped = self.stream.stopped();
            // A peer that stops reading early has what it wants.
            self.ending = Some(Box::pin(async { stopped.await.map(drop).map_err(io::Error::from) }));
        }
        match &mut self.ending {
            Some(ending) => {
                let ended = ready!(ending.as_mut().poll(cx));
                self.ending = Some(Box::pin(std::future::ready(Ok(()))));
                Poll::Ready(ended)
            }
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if self.ending.is_none() {
            // Fails only if the stream is over already.
            let _ = self.stream.reset(ABANDONED);
        }
    }
}

//! TLS 1.3 over TCP: `tcp://IP:PORT`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use polymorph_core::runtime::transport::{Connection, Listener, Transport, TransportError};
use polymorph_core::{Guid, Identity, TransportAddress};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::socket::{Socket, Wires, poll_socket};

/// Connections the kernel keeps for a listener that is busy.
const BACKLOG: u32 = 1024;
/// After how long in silence the kernel asks whether the peer's machine is still there.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(30);
/// How often it asks again before it gives the connection up.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);

/// The TCP transport of one node. A bulk stream is a connection of its own, opened by the side that dialed.
#[derive(Clone, Debug)]
pub struct Tcp {
    wires: Arc<Wires<TcpStream>>,
}

impl Tcp {
    /// For the node that `identity` is.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        Self { wires: Wires::new(identity) }
    }
}

#[async_trait]
impl Transport for Tcp {
    fn handles(&self, address: &TransportAddress) -> bool {
        matches!(address, TransportAddress::Tcp(_))
    }

    async fn listen(&self, address: &TransportAddress) -> Result<Box<dyn Listener>, TransportError> {
        if !self.handles(address) {
            return Err(TransportError::NoTransport(address.clone()));
        }
        self.wires.listen(address).await
    }

    async fn dial(
        &self,
        address: &TransportAddress,
        expected: Option<Guid>,
    ) -> Result<Arc<dyn Connection>, TransportError> {
        if !self.handles(address) {
            return Err(TransportError::NoTransport(address.clone()));
        }
        self.wires.dial(address, expected).await
    }
}

impl Socket for TcpStream {
    type Door = TcpListener;

    async fn connect(address: &TransportAddress) -> io::Result<Self> {
        let stream = Self::connect(endpoint(address)?).await?;
        settle(&stream);
        Ok(stream)
    }

    async fn bind(address: &TransportAddress) -> io::Result<(TcpListener, TransportAddress)> {
        let at = endpoint(address)?;
        let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restarted node gets its port back at once; on Windows the option would mean something else.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(at)?;
        let listener = socket.listen(BACKLOG)?;
        let bound = listener.local_addr()?;
        Ok((listener, TransportAddress::Tcp(bound)))
    }

    async fn accept(door: &TcpListener) -> io::Result<(Self, TransportAddress)> {
        let (stream, from) = door.accept().await?;
        settle(&stream);
        Ok((stream, TransportAddress::Tcp(from)))
    }

    poll_socket!();
}

fn endpoint(address: &TransportAddress) -> io::Result<SocketAddr> {
    match address {
        TransportAddress::Tcp(at) => Ok(*at),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Small frames leave at once, and a machine that vanished is noticed. Best effort: a wire without works too.
fn settle(stream: &TcpStream) {
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE_AFTER).with_interval(KEEP_ALIVE_EVERY);
    if let Err(error) = stream.set_nodelay(true).and_then(|()| SockRef::from(stream).set_tcp_keepalive(&keep_alive)) {
        tracing::debug!(%error, "a socket option was refused");
    }
}

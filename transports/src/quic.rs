//! QUIC over UDP: `quic://IP:PORT`. One socket per listen address serves listening and dialing alike.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use polymorph_core::runtime::transport::{Connection, Listener, Transport, TransportError};
use polymorph_core::{Guid, Identity, TransportAddress};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::handshakes::{HANDSHAKE_TIME, MAX_HANDSHAKES};
use crate::tls::{self, Credentials, Tickets};

mod connection;
mod listener;

use connection::Wire;

/// Streams a peer may have open at once, control among them. The rest wait in `open`. quinn keeps tables for every
/// possible one: 100 cost 15 KiB more per idle connection than 16.
const MAX_STREAMS: u32 = 16;
/// What one stream may have in flight or unread: 10 MB/s at 100 ms. Larger gained nothing on fast links.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// What one connection may have in flight or unread: every stream of both sides at once, so that stalled bulk
/// readers never take the control stream's share.
const CONNECTION_WINDOW: u32 = 2 * MAX_STREAMS * STREAM_WINDOW;
/// What one connection may have sent and not yet acknowledged, in bytes.
const SEND_WINDOW: u64 = 8 * 1024 * 1024;
/// Datagrams waiting on either side, in bytes; past that the oldest are dropped.
const DATAGRAM_BYTES: usize = 256 * 1024;
/// How often an idle connection shows that it lives. NATs forget UDP bindings after 30 s (RFC 4787 asks for 120).
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// After how long in silence a peer counts as gone: three keep-alives lost in a row.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);
/// What we ask the kernel to buffer per socket. With its default a burst of dials often loses packets and stalls for
/// a second; the kernel grants what its own limit allows.
const SOCKET_BYTES: usize = 8 * 1024 * 1024;
/// Dials under way at once; the rest wait their turn for [`HANDSHAKE_TIME`] at most. Paces bursts, see [`SOCKET_BYTES`].
const MAX_DIALS: usize = 32;

/// The QUIC transport of one node. Both sides can open bulk streams, and there are datagrams.
#[derive(Clone, Debug)]
pub struct Quic(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    identity: Identity,
    /// Made when the first wire is: a node has every kind of wire at hand and uses one or two.
    configs: OnceLock<(ClientConfig, ServerConfig)>,
    endpoints: Mutex<Endpoints>,
    dials: Semaphore,
}

/// The sockets there are to dial from.
#[derive(Debug, Default)]
struct Endpoints {
    /// One per listener; dialing from them lets a NAT's binding serve both ways.
    listening: Vec<Endpoint>,
    /// Bound when nothing suitable listens: IPv4 and IPv6.
    dialing: [Option<Endpoint>; 2],
}

impl Quic {
    /// For the node that `identity` is. Binds nothing yet.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        let (identity, configs) = (identity.clone(), OnceLock::new());
        let (endpoints, dials) = (Mutex::default(), Semaphore::new(MAX_DIALS));
        Self(Arc::new(Inner { identity, configs, endpoints, dials }))
    }
}

#[async_trait]
impl Transport for Quic {
    fn handles(&self, address: &TransportAddress) -> bool {
        matches!(address, TransportAddress::Quic(_))
    }

    async fn listen(&self, address: &TransportAddress) -> Result<Box<dyn Listener>, TransportError> {
        let TransportAddress::Quic(at) = address else {
            return Err(TransportError::NoTransport(address.clone()));
        };
        let bound =
            bind(*at, Some(self.0.configs().1.clone())).and_then(|endpoint| Ok((endpoint.local_addr()?, endpoint)));
        let (at, endpoint) = bound.map_err(|error| TransportError::Io { address: address.clone(), error })?;
        self.0.endpoints().listening.push(endpoint.clone());
        Ok(Box::new(listener::Doorway::open(self.0.clone(), endpoint, at)))
    }

    async fn dial(
        &self,
        address: &TransportAddress,
        expected: Option<Guid>,
    ) -> Result<Arc<dyn Connection>, TransportError> {
        let TransportAddress::Quic(at) = address else {
            return Err(TransportError::NoTransport(address.clone()));
        };
        let late = |_| TransportError::Timeout(address.clone());
        let turn = timeout(HANDSHAKE_TIME, self.0.dials.acquire()).await.map_err(late)?;
        let wire = timeout(HANDSHAKE_TIME, self.0.dial(*at, address, expected)).await.map_err(late)??;
        drop(turn);
        Ok(Arc::new(wire))
    }
}

impl Inner {
    fn configs(&self) -> &(ClientConfig, ServerConfig) {
        self.configs.get_or_init(|| configs(&self.identity))
    }

    async fn dial(
        &self,
        at: SocketAddr,
        address: &TransportAddress,
        expected: Option<Guid>,
    ) -> Result<Wire, TransportError> {
        let io = |error| TransportError::Io { address: address.clone(), error };
        let endpoint = self.endpoint_for(at).map_err(io)?;
        let name = tls::session_name(expected).to_str().into_owned();
        let connecting = endpoint
            .connect_with(self.configs().0.clone(), at, &name)
            .map_err(|error| io(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let connection = connecting.await.map_err(|error| connection::refused(address, error))?;
        Wire::dialed(connection, address, expected).await
    }

    /// The socket to dial `at` from.
    fn endpoint_for(&self, at: SocketAddr) -> io::Result<Endpoint> {
        let mut endpoints = self.endpoints();
        let reaches = |endpoint: &&Endpoint| {
            endpoint.local_addr().is_ok_and(|from| {
                let same_side = from.ip().is_unspecified() || from.ip().is_loopback() == at.ip().is_loopback();
                from.is_ipv4() == at.is_ipv4() && same_side
            })
        };
        if let Some(endpoint) = endpoints.listening.iter().find(reaches) {
            return Ok(endpoint.clone());
        }
        let any: SocketAddr = match at {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let slot = &mut endpoints.dialing[usize::from(at.is_ipv6())];
        if let Some(endpoint) = slot {
            return Ok(endpoint.clone());
        }
        Ok(slot.insert(bind(any, None)?).clone())
    }

    /// A listener is gone: its socket lives on only as long as its connections.
    fn forget(&self, at: SocketAddr) {
        self.endpoints().listening.retain(|endpoint| endpoint.local_addr().is_ok_and(|bound| bound != at));
    }

    fn endpoints(&self) -> MutexGuard<'_, Endpoints> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For dialing and for listening.
///
/// # Panics
/// Never with the ring provider, which has QUIC's initial suite.
fn configs(identity: &Identity) -> (ClientConfig, ServerConfig) {
    let Credentials { client, server } = Credentials::new(identity, Tickets::None);
    let client = QuicClientConfig::try_from(client).expect("the suites include QUIC's initial one");
    let server = QuicServerConfig::try_from(server).expect("the suites include QUIC's initial one");
    let transport = Arc::new(transport_config());
    let mut client = ClientConfig::new(Arc::new(client));
    client.transport_config(transport.clone());
    let mut server = ServerConfig::with_crypto(Arc::new(server));
    server.transport_config(transport).max_incoming(MAX_HANDSHAKES);
    (client, server)
}

fn transport_config() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(MAX_STREAMS.into())
        .max_concurrent_uni_streams(0u32.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(Some(DATAGRAM_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BYTES)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT.as_millis() as u32))))
        // Without it bulk costs 3–5 times the CPU.
        .enable_segmentation_offload(true);
    config
}

fn bind(at: SocketAddr, server: Option<ServerConfig>) -> io::Result<Endpoint> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() {
        // Each family has its own socket, so that an address says what it reaches.
        socket.set_only_v6(true)?;
    }
    for result in [socket.set_recv_buffer_size(SOCKET_BYTES), socket.set_send_buffer_size(SOCKET_BYTES)] {
        if let Err(error) = result {
            tracing::debug!(%error, "the socket keeps its default buffer");
        }
    }
    socket.bind(&at.into())?;
    Endpoint::new(EndpointConfig::default(), server, UdpSocket::from(socket), Arc::new(quinn::TokioRuntime))
}

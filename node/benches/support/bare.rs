//! The wires as they are without us: `tokio-rustls` and `quinn`, with the same keys, ciphers and proofs.

use std::net::SocketAddr;
use std::sync::Arc;

use polymorph::Identity;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::keys::configs;

/// A kind of wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wire {
    Tcp,
    Quic,
}

impl Wire {
    pub(crate) const BOTH: [Self; 2] = [Self::Tcp, Self::Quic];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
        }
    }

    /// Where a node listens on it.
    pub(crate) fn address(self) -> String {
        format!("{}://127.0.0.1:0", self.name())
    }
}

/// One end of a bare stream.
pub(crate) struct Bare {
    pub(crate) recv: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) send: Box<dyn AsyncWrite + Send + Unpin>,
    /// What must live as long as the stream.
    _connection: Option<quinn::Connection>,
}

/// Where bare streams arrive.
pub(crate) enum Door {
    Tls(TcpListener, TlsAcceptor),
    Quic(quinn::Endpoint),
}

/// Whence they are dialed.
pub(crate) enum Dialer {
    Tls(TlsConnector),
    Quic(quinn::Endpoint),
}

/// A bare stream rests while the nodes are measured, and must not time out over it.
fn patient() -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    transport.max_idle_timeout(None);
    Arc::new(transport)
}

impl Door {
    /// Opens one on a free port of this machine. Must be called inside a runtime.
    pub(crate) async fn open(wire: Wire) -> Self {
        let server = configs(&Identity::generate()).1;
        match wire {
            Wire::Tcp => {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                Self::Tls(listener, TlsAcceptor::from(Arc::new(server)))
            }
            Wire::Quic => {
                let crypto = QuicServerConfig::try_from(server).expect("TLS 1.3 is offered");
                let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
                config.transport_config(patient());
                Self::Quic(quinn::Endpoint::server(config, loopback()).expect("a port"))
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Tls(listener, _) => listener.local_addr(),
            Self::Quic(endpoint) => endpoint.local_addr(),
        }
        .expect("it is bound")
    }

    pub(crate) async fn accept(&self) -> Bare {
        match self {
            Self::Tls(listener, acceptor) => {
                let (socket, _) = listener.accept().await.expect("somebody comes");
                socket.set_nodelay(true).expect("an option");
                let stream = acceptor.accept(socket).await.expect("a handshake");
                let (recv, send) = tokio::io::split(stream);
                Bare { recv: Box::new(recv), send: Box::new(send), _connection: None }
            }
            Self::Quic(endpoint) => {
                let incoming = endpoint.accept().await.expect("somebody comes");
                let connection = incoming.await.expect("a handshake");
                let (send, recv) = connection.accept_bi().await.expect("a stream");
                Bare { recv: Box::new(recv), send: Box::new(send), _connection: Some(connection) }
            }
        }
    }
}

impl Dialer {
    /// Must be called inside a runtime.
    pub(crate) fn new(wire: Wire) -> Self {
        let client = configs(&Identity::generate()).0;
        match wire {
            Wire::Tcp => Self::Tls(TlsConnector::from(Arc::new(client))),
            Wire::Quic => {
                let crypto = QuicClientConfig::try_from(client).expect("TLS 1.3 is offered");
                let mut endpoint = quinn::Endpoint::client(loopback()).expect("a port");
                let mut config = quinn::ClientConfig::new(Arc::new(crypto));
                config.transport_config(patient());
                endpoint.set_default_client_config(config);
                Self::Quic(endpoint)
            }
        }
    }

    /// A new connection and a stream on it. A QUIC stream is seen by the other side once something is written.
    pub(crate) async fn dial(&self, at: SocketAddr) -> Bare {
        match self {
            Self::Tls(connector) => {
                let socket = TcpStream::connect(at).await.expect("somebody listens");
                socket.set_nodelay(true).expect("an option");
                let name = ServerName::try_from("bare").expect("a name");
                let stream = connector.connect(name, socket).await.expect("a handshake");
                let (recv, send) = tokio::io::split(stream);
                Bare { recv: Box::new(recv), send: Box::new(send), _connection: None }
            }
            Self::Quic(endpoint) => {
                let connecting = endpoint.connect(at, "bare").expect("an address");
                let connection = connecting.await.expect("a handshake");
                let (send, recv) = connection.open_bi().await.expect("a stream");
                Bare { recv: Box::new(recv), send: Box::new(send), _connection: Some(connection) }
            }
        }
    }
}

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

//! Peers that misbehave on the wire: each is dropped, and honest peers go on.
#![cfg(test)]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use polymorph_core::runtime::transport::{Connection, Listener, Transport};
use polymorph_core::{Identity, TransportAddress};
use polymorph_transports::{Quic, Tcp, Unix};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, UnixStream};
use tokio::time::timeout;

/// More silent peers than a listener keeps handshakes.
const SILENT: usize = 300;
const PATIENCE: Duration = Duration::from_secs(30);

trait Raw: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Raw for T {}

async fn raw(address: &TransportAddress) -> Box<dyn Raw> {
    match address {
        TransportAddress::Tcp(at) => Box::new(TcpStream::connect(at).await.unwrap()),
        TransportAddress::Unix(path) => Box::new(UnixStream::connect(path).await.unwrap()),
        other => panic!("{other} is no byte stream"),
    }
}

/// A small generator, so that a failure names its seed.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 as u8
        };
        (0..len).map(|_| next()).collect()
    }
}

struct Node {
    listener: Box<dyn Listener>,
    identity: Identity,
    visitor: Arc<dyn Transport>,
    visitor_identity: Identity,
    _dir: tempfile::TempDir,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.listener.address())
    }
}

async fn nodes() -> Vec<Node> {
    let mut nodes = Vec::new();
    for kind in ["tcp", "unix", "quic"] {
        let dir = tempfile::tempdir().unwrap();
        let (identity, visitor_identity) = (Identity::generate(), Identity::generate());
        let make = |identity: &Identity| -> Arc<dyn Transport> {
            match kind {
                "tcp" => Arc::new(Tcp::new(identity)),
                "unix" => Arc::new(Unix::new(identity)),
                _ => Arc::new(Quic::new(identity)),
            }
        };
        let address = match kind {
            "unix" => TransportAddress::Unix(dir.path().join("s").to_str().unwrap().into()),
            kind => format!("{kind}://127.0.0.1:0").parse().unwrap(),
        };
        let listener = make(&identity).listen(&address).await.unwrap();
        let visitor = make(&visitor_identity);
        nodes.push(Node { listener, identity, visitor, visitor_identity, _dir: dir });
    }
    nodes
}

impl Node {
    /// An honest visitor gets in, and is the only one that ever does.
    async fn welcomes_the_honest(&mut self) -> (Arc<dyn Connection>, Arc<dyn Connection>) {
        let address = self.listener.address();
        let dial = self.visitor.dial(&address, Some(self.identity.guid()));
        let both = async { tokio::join!(dial, self.listener.accept()) };
        let (dialed, accepted) = timeout(PATIENCE, both).await.expect("in time");
        let (dialed, accepted) = (dialed.unwrap(), accepted.unwrap());
        assert_eq!(accepted.peer(), self.visitor_identity.guid());
        assert_eq!(accepted.exporter(), dialed.exporter());
        let (mut one, mut other) = (dialed.take_control().unwrap(), accepted.take_control().unwrap());
        one.send.write_all(b"hello").await.unwrap();
        one.send.flush().await.unwrap();
        let mut heard = [0; 5];
        other.recv.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        (dialed, accepted)
    }

    fn is_quic(&self) -> bool {
        matches!(self.listener.address(), TransportAddress::Quic(_))
    }
}

#[tokio::test]
async fn peers_that_connect_and_say_nothing_do_not_block_others() {
    for mut node in nodes().await.into_iter().filter(|node| !node.is_quic()) {
        let mut silent = Vec::new();
        for _ in 0..SILENT {
            silent.push(raw(&node.listener.address()).await);
        }
        node.welcomes_the_honest().await;
        // The oldest had to make room: its connection has ended.
        let ended = timeout(PATIENCE, silent[0].read(&mut [0; 1])).await.expect("the oldest is dropped");
        assert!(matches!(ended, Ok(0) | Err(_)), "{node:?}");
    }
}

#[tokio::test]
async fn garbage_harms_nobody() {
    let seed = u64::from_le_bytes(Identity::generate().seed()[..8].try_into().unwrap()) | 1;
    println!("seed {seed}");
    let mut noise = Noise(seed);
    for mut node in nodes().await {
        for round in 0..64 {
            let mut bytes = noise.bytes(1 + round * 37);
            if round % 2 == 0 {
                // Half of it begins like something known: a TLS handshake record, a QUIC Initial.
                let known: &[u8] =
                    if node.is_quic() { &[0xc0, 0, 0, 0, 1, 8] } else { &[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3] };
                let len = known.len().min(bytes.len());
                bytes[..len].copy_from_slice(&known[..len]);
            }
            match node.listener.address() {
                TransportAddress::Quic(at) => {
                    bytes.resize(1200, 0);
                    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                    socket.send_to(&bytes, at).await.unwrap();
                }
                address => {
                    let mut raw = raw(&address).await;
                    // The node may hang up before it has read all.
                    let _ = raw.write_all(&bytes).await;
                    let _ = raw.shutdown().await;
                }
            }
        }
        node.welcomes_the_honest().await;
    }
}

#[tokio::test]
async fn garbage_inside_a_live_connection_ends_that_one_only() {
    let mut node = nodes().await.remove(0);
    let TransportAddress::Tcp(target) = node.listener.address() else { unreachable!() };
    // Somebody on the path lets the first bytes pass and then breaks one.
    let path = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through = TransportAddress::Tcp(path.local_addr().unwrap());
    let (damage, mut when) = tokio::sync::mpsc::channel::<()>(1);
    tokio::spawn(async move {
        let (mut inner, mut outer) = (path.accept().await.unwrap().0, TcpStream::connect(target).await.unwrap());
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut inner, &mut outer) => {}
            _ = when.recv() => {}
        }
        outer.write_all(&[0x17, 3, 3, 0, 40]).await.unwrap();
        outer.write_all(&[9; 40]).await.unwrap();
        std::future::pending::<()>().await;
    });
    let dial = node.visitor.dial(&through, Some(node.identity.guid()));
    let (dialed, accepted) = tokio::join!(dial, node.listener.accept());
    let (_dialed, accepted) = (dialed.unwrap(), accepted.unwrap());
    let mut control = accepted.take_control().unwrap();
    damage.send(()).await.unwrap();
    let read = timeout(PATIENCE, control.recv.read(&mut [0; 8])).await.expect("in time");
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    assert!(timeout(PATIENCE, accepted.accept()).await.expect("in time").is_err());
    node.welcomes_the_honest().await;
}

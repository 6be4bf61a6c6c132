//! What a peer that speaks TLS, but not our protocol, gets: nothing.
#![cfg(test)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use polymorph_core::runtime::transport::{Connection, Listener, Transport};
use polymorph_core::{Identity, TransportAddress};
use polymorph_transports::{Quic, Tcp};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use support::client_config;

const PATIENCE: Duration = Duration::from_secs(30);
const CONTROL: u8 = 1;
const BULK: u8 = 2;

async fn tls(
    listener: &dyn Listener,
    identity: &Identity,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let TransportAddress::Tcp(at) = listener.address() else { panic!("tcp only") };
    let connector = TlsConnector::from(Arc::new(client_config(identity, protocols)));
    connector.connect(ServerName::try_from("x").unwrap(), TcpStream::connect(at).await?).await
}

/// Whether the other end hangs up without a word of application data.
async fn is_hung_up_on(stream: &mut TlsStream<TcpStream>) -> bool {
    let read = timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("in time");
    matches!(read, Ok(0) | Err(_))
}

async fn listening(node: &Identity) -> Box<dyn Listener> {
    Tcp::new(node).listen(&"tcp://127.0.0.1:0".parse().unwrap()).await.unwrap()
}

/// The next to arrive is this visitor, whoever knocked before.
async fn is_next(listener: &mut dyn Listener, node: &Identity, visitor: &Identity) -> Arc<dyn Connection> {
    let transport = Tcp::new(visitor);
    let address = listener.address();
    let (dialed, accepted) = tokio::join!(transport.dial(&address, Some(node.guid())), listener.accept());
    assert_eq!(accepted.unwrap().peer(), visitor.guid());
    dialed.unwrap()
}

#[tokio::test]
async fn another_protocol_or_version_is_refused() {
    let (node, visitor) = (Identity::generate(), Identity::generate());
    let mut listener = listening(&node).await;
    assert!(tls(&*listener, &visitor, &["polymorph/2"]).await.is_err());
    assert!(tls(&*listener, &visitor, &["http/1.1"]).await.is_err());
    let mut nameless = tls(&*listener, &visitor, &[]).await.unwrap();
    nameless.write_all(&[CONTROL]).await.unwrap();
    assert!(is_hung_up_on(&mut nameless).await);
    is_next(&mut *listener, &node, &visitor).await;
}

#[tokio::test]
async fn an_unknown_purpose_is_refused() {
    let (node, visitor) = (Identity::generate(), Identity::generate());
    let mut listener = listening(&node).await;
    for purpose in [0, 3, 255] {
        let mut stream = tls(&*listener, &visitor, &["polymorph/1"]).await.unwrap();
        stream.write_all(&[purpose]).await.unwrap();
        assert!(is_hung_up_on(&mut stream).await);
    }
    is_next(&mut *listener, &node, &visitor).await;
}

#[tokio::test]
async fn a_bulk_connection_needs_the_token_and_the_key_of_its_session() {
    let (node, visitor, thief) = (Identity::generate(), Identity::generate(), Identity::generate());
    let mut listener = listening(&node).await;
    // A control connection made by hand, so that its token is known here.
    let mut control = tls(&*listener, &visitor, &["polymorph/1"]).await.unwrap();
    control.write_all(&[CONTROL]).await.unwrap();
    let accepted = timeout(PATIENCE, listener.accept()).await.expect("in time").unwrap();
    let token = control.get_ref().1.export_keying_material([0; 16], b"EXPORTER-polymorph-1-bulk", None).unwrap();
    let exporter = control.get_ref().1.export_keying_material([0; 32], b"EXPORTER-polymorph-1-session", None).unwrap();
    assert_eq!(accepted.exporter(), exporter);

    let bulk = async |identity: &Identity, token: [u8; 16], word: &[u8]| {
        let mut stream = tls(&*listener, identity, &["polymorph/1"]).await.unwrap();
        stream.write_all(&[&[BULK], token.as_slice(), word].concat()).await.unwrap();
        stream
    };
    assert!(is_hung_up_on(&mut bulk(&thief, token, b"mine").await).await, "the right token, the wrong key");
    let mut wrong = token;
    wrong[15] ^= 1;
    assert!(is_hung_up_on(&mut bulk(&visitor, wrong, b"oops").await).await, "the right key, the wrong token");
    let _good = bulk(&visitor, token, b"good").await;
    let mut arrived = timeout(PATIENCE, accepted.accept()).await.expect("in time").unwrap();
    let mut word = [0; 4];
    arrived.recv.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"good", "it is the first that was let in");

    drop(accepted);
    assert!(is_hung_up_on(&mut bulk(&visitor, token, b"late").await).await, "the session is over");
}

#[tokio::test]
async fn a_bulk_connection_that_overtakes_its_control_connection_is_waited_for() {
    let (node, visitor) = (Identity::generate(), Identity::generate());
    let mut listener = listening(&node).await;
    let mut control = tls(&*listener, &visitor, &["polymorph/1"]).await.unwrap();
    let token = control.get_ref().1.export_keying_material([0; 16], b"EXPORTER-polymorph-1-bulk", None).unwrap();
    let mut bulk = tls(&*listener, &visitor, &["polymorph/1"]).await.unwrap();
    bulk.write_all(&[&[BULK], token.as_slice(), b"hasty"].concat()).await.unwrap();
    // By the time this visitor is in, the bulk connection has been looked at.
    is_next(&mut *listener, &node, &Identity::generate()).await;
    control.write_all(&[CONTROL]).await.unwrap();
    let accepted = timeout(PATIENCE, listener.accept()).await.expect("in time").unwrap();
    let mut arrived = timeout(PATIENCE, accepted.accept()).await.expect("in time").unwrap();
    let mut word = [0; 5];
    arrived.recv.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"hasty");
}

#[tokio::test]
async fn quic_refuses_another_protocol_too() {
    let (node, visitor) = (Identity::generate(), Identity::generate());
    let mut listener = Quic::new(&node).listen(&"quic://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let TransportAddress::Quic(at) = listener.address() else { unreachable!() };
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    for protocols in [&["polymorph/2"][..], &[]] {
        let config = client_config(&visitor, protocols);
        let config = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(config));
        let connected = endpoint.connect_with(config, at, "x").unwrap().await;
        assert!(connected.is_err());
    }
    let (transport, address) = (Quic::new(&visitor), listener.address());
    let (dialed, accepted) = tokio::join!(transport.dial(&address, Some(node.guid())), listener.accept());
    assert_eq!(accepted.unwrap().peer(), visitor.guid());
    dialed.unwrap();
}

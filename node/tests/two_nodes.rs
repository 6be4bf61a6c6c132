//! Two real nodes over every kind of wire.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::time::Duration;

use bytes::Bytes;
use polymorph::core::Topology;
use polymorph::core::engine::io::Origin;
use polymorph::core::runtime::{OverlayError, Request, ServiceError};
use polymorph::core::topology::context::Context;
use polymorph::core::topology::event::Event;
use polymorph::core::topology::question::{Hold, Neighbor, Powers, Role, Spread};
use polymorph::{Guid, Identity, Node, OverlaySpec};

/// Links to whoever it meets, and tells them everything.
#[derive(Default)]
struct Star(Vec<Guid>);

impl Topology for Star {
    type Address = ();
    type Message = ();
    type Timer = ();

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Join { seeds } => seeds.into_iter().for_each(|peer| cx.want(peer, Hold::Required)),
            Event::PeerUp { peer } => self.0.push(peer),
            Event::PeerDown { peer, .. } => self.0.retain(|p| *p != peer),
            _ => {}
        }
    }
    fn powers(&self) -> Powers {
        Powers { spreads: true, ..Powers::default() }
    }
    fn neighbors(&self) -> Vec<Neighbor> {
        self.0.iter().map(|&peer| Neighbor { peer, role: Role::Peer, hold: Hold::Required }).collect()
    }
    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>) {
        to.extend(self.0.iter().filter(|p| Some(**p) != spread.from));
    }
}

async fn node(listen: &str) -> Node {
    let identity = Identity::generate();
    polymorph::node(&identity).listen(listen.parse().unwrap()).start().await.unwrap()
}

fn star(node: &Node) -> OverlaySpec {
    OverlaySpec::new("star", |_| Star::default(), node.guid()).unwrap()
}

fn shout(request: Request) -> Result<Bytes, ServiceError> {
    match request.payload.as_ref() {
        b"" => Err(ServiceError("nothing to say".into())),
        payload => Ok(payload.to_ascii_uppercase().into()),
    }
}

async fn everything_works_over(listen: &str) {
    let (a, b) = (node(listen).await, node(listen).await);
    let on_a = a.attach(star(&a)).await.unwrap();
    let on_b = b.attach(star(&b)).await.unwrap();
    on_a.serve("shout", shout).await.unwrap();
    let mut heard = on_a.subscribe(None).await.unwrap();
    on_a.join(&[]).await.unwrap();
    on_b.join(&[a.contact()]).await.unwrap();

    let answer = on_b.request(a.guid(), "shout", Bytes::from_static(b"hello")).await.unwrap();
    assert_eq!(answer, "HELLO");
    assert!(
        matches!(on_b.request(a.guid(), "shout", Bytes::new()).await, Err(OverlayError::Service(why)) if why == "nothing to say")
    );
    assert!(matches!(on_b.request(a.guid(), "sing", Bytes::new()).await, Err(OverlayError::NoService)));
    assert!(on_b.ping(a.guid()).await.unwrap() > Duration::ZERO);

    on_b.publish(None, Bytes::from_static(b"news"), Origin::Signed).await.unwrap();
    let news = heard.next().await.unwrap();
    assert_eq!((news.from, news.payload.as_ref(), news.origin), (b.guid(), &b"news"[..], Origin::Signed));

    let mut streams = on_a.streams("bulk").await.unwrap();
    let reader = tokio::spawn(async move {
        let mut incoming = streams.next().await.unwrap();
        let mut bytes = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut incoming.stream.recv, &mut bytes).await.unwrap();
        (incoming.peer, bytes.len())
    });
    let mut bulk = on_b.open(a.guid(), "bulk").await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut bulk.stream.send, &vec![7; 3_000_000]).await.unwrap();
    tokio::io::AsyncWriteExt::shutdown(&mut bulk.stream.send).await.unwrap();
    assert_eq!(reader.await.unwrap(), (b.guid(), 3_000_000));

    // The other way round: where only the side that dialed can open a stream, it is asked to.
    let mut streams = on_b.streams("bulk").await.unwrap();
    let mut bulk = on_a.open(b.guid(), "bulk").await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut bulk.stream.send, b"ping").await.unwrap();
    let mut incoming = streams.next().await.unwrap();
    let mut ping = [0; 4];
    tokio::io::AsyncReadExt::read_exact(&mut incoming.stream.recv, &mut ping).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut incoming.stream.send, b"pong").await.unwrap();
    let mut pong = [0; 4];
    tokio::io::AsyncReadExt::read_exact(&mut bulk.stream.recv, &mut pong).await.unwrap();
    assert_eq!((incoming.peer, &ping, &pong), (a.guid(), b"ping", b"pong"));

    b.shutdown(Duration::from_secs(5)).await;
    while !on_a.neighbors().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn two_nodes_talk_over_tcp() {
    everything_works_over("tcp://127.0.0.1:0").await;
}

#[tokio::test]
async fn two_nodes_talk_over_quic() {
    everything_works_over("quic://127.0.0.1:0").await;
}

#[tokio::test]
async fn two_nodes_talk_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("unix:{}", folder.path().join(name).display());
    let (a, b) = (node(&path("a")).await, node(&path("b")).await);
    let on_a = a.attach(star(&a)).await.unwrap();
    on_a.serve("shout", shout).await.unwrap();
    let on_b = b.attach(star(&b)).await.unwrap();
    on_b.join(&[a.contact()]).await.unwrap();
    assert_eq!(on_b.request(a.guid(), "shout", Bytes::from_static(b"x")).await.unwrap(), "X");
}

//! A service that takes nothing in for a minute of virtual time: its writer is told `Busy`, nothing grows, and another
//! overlay on the same session notices nothing.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use polymorph::core::Topology;
use polymorph::core::runtime::{OverlayError, Request, Service, ServiceError};
use polymorph::core::topology::context::Context;
use polymorph::core::topology::event::Event;
use polymorph::transports::memory::{Hub, Memory};
use polymorph::{Identity, Node, Overlay, OverlaySpec};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

const STALL: Duration = Duration::from_secs(60);
/// How often the other overlay is asked something in each second of the stall.
const ASKED_EACH_SECOND: usize = 50;
const PATIENCE: Duration = Duration::from_secs(30);
/// How much later an answer may come than without the stall. In virtual time only what waits takes time.
const LATER: Duration = Duration::from_millis(1);

/// Wants nothing.
struct Idle;

impl Topology for Idle {
    type Address = ();
    type Message = ();
    type Timer = ();

    fn handle(&mut self, _: Event<Self>, _: &mut Context<'_, Self>) {}
}

/// Takes in nothing until it is told to.
struct Gate(watch::Receiver<bool>);

#[async_trait::async_trait]
impl Service for Gate {
    async fn request(&self, request: Request) -> Result<Bytes, ServiceError> {
        let _ = self.0.clone().wait_for(|open| *open).await;
        Ok(request.payload)
    }
}

async fn node(hub: &Hub) -> Node {
    let identity = Identity::generate();
    let transport = Arc::new(Memory::new(&identity, hub));
    Node::builder(identity).transport(transport).listen("mem:0".parse().unwrap()).start().await.unwrap()
}

async fn attach(node: &Node, name: &str) -> Overlay {
    node.attach(OverlaySpec::new(name, |_| Idle, node.guid()).unwrap()).await.unwrap()
}

/// The 99th percentile of the time an answer takes.
async fn p99(overlay: &Overlay, node: &Node, count: usize) -> Duration {
    let mut took = Vec::new();
    for _ in 0..count {
        let asked = Instant::now();
        overlay.request(node.guid(), "echo", Bytes::from_static(b"quick")).await.unwrap();
        took.push(asked.elapsed());
    }
    took.sort();
    took[took.len() * 99 / 100]
}

async fn engine_bytes(nodes: [&Node; 2]) -> usize {
    nodes[0].status().await.unwrap().engine_bytes + nodes[1].status().await.unwrap().engine_bytes
}

#[tokio::test(start_paused = true)]
async fn a_reader_stalled_for_a_minute_makes_its_writer_busy_and_disturbs_nobody_else() {
    let hub = Hub::default();
    let (writer, reader) = (node(&hub).await, node(&hub).await);
    let (slow, quick) = (attach(&writer, "slow").await, attach(&writer, "quick").await);
    let (slow_reader, quick_reader) = (attach(&reader, "slow").await, attach(&reader, "quick").await);
    let (open, gate) = watch::channel(false);
    slow_reader.serve("gate", Gate(gate)).await.unwrap();
    let (ticks, mut ticked) = mpsc::channel(1);
    let clock = move |request: Request| {
        ticks.try_send(request.payload.to_vec()).map(|()| Bytes::new()).map_err(|e| ServiceError(e.to_string()))
    };
    slow_reader.serve("clock", clock).await.unwrap();
    quick_reader.serve("echo", |request: Request| Ok(request.payload)).await.unwrap();
    slow.join(&[reader.contact()]).await.unwrap();
    quick.join(&[reader.contact()]).await.unwrap();
    let before = p99(&quick, &reader, 500).await;

    let chunk = Bytes::from(vec![7; 1 << 10]);
    let mut taken = 0;
    while slow.notice(reader.guid(), "gate", chunk.clone()).await.is_ok() {
        taken += 1;
        assert!(taken < 64 << 10, "the writer is never busy");
    }
    assert!(taken > 0, "nothing was taken at all");
    let full = engine_bytes([&writer, &reader]).await;

    let began = Instant::now();
    while began.elapsed() < STALL {
        let now = slow.notice(reader.guid(), "gate", chunk.clone()).await;
        assert!(matches!(now, Err(OverlayError::Busy)), "after {:?}: {now:?}", began.elapsed());
        let meanwhile = p99(&quick, &reader, ASKED_EACH_SECOND).await;
        // Nor does it disturb what is timely on the very overlay.
        slow.timely().notice(reader.guid(), "clock", Bytes::from_static(b"now")).await.unwrap();
        assert_eq!(ticked.recv().await.as_deref(), Some(&b"now"[..]));
        assert!(meanwhile <= before + LATER, "answers took {before:?} before, and {meanwhile:?} in the stall");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let after = engine_bytes([&writer, &reader]).await;
    assert!(after <= full + full / 10, "the engines kept {full} bytes when the stall began, and {after} at its end");
    assert_eq!(writer.status().await.unwrap().sessions, 1, "all of that on one session");

    open.send(true).unwrap();
    let mut busy = slow.notice(reader.guid(), "gate", chunk.clone()).await;
    while matches!(busy, Err(OverlayError::Busy)) {
        assert!(began.elapsed() < STALL + PATIENCE, "the writer is busy for ever");
        tokio::time::sleep(Duration::from_millis(10)).await;
        busy = slow.notice(reader.guid(), "gate", chunk.clone()).await;
    }
    busy.unwrap();
    assert_eq!(slow.request(reader.guid(), "gate", chunk.clone()).await.unwrap(), chunk);
}

//! Peers with a good identity and bad manners, on real sockets: each is dropped for a reason that the node tells, and
//! the others go on.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

#[path = "hostile_peers/attacker.rs"]
mod attacker;
#[path = "../../core/fuzz/src/engine/proof.rs"]
#[allow(dead_code, reason = "whoever broadcasts needs the rest of it")]
mod proof;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use polymorph::core::Time;
use polymorph::core::engine::io::{Class, Watch};
use polymorph::core::engine::metrics::{Metrics, Refused};
use polymorph::core::record::{Receipt, Record};
use polymorph::core::runtime::{Request, Service, ServiceError, service};
use polymorph::core::wire::frame::{Body, Goodbye, Offer};
use polymorph::core::wire::{MAX_FRAME_BYTES, MAX_FRAME_CONTACTS};
use polymorph::{Guid, Identity, Key, Node, Overlay};
use tokio::time::timeout;

use attacker::{Attacker, ECHO, MAX_POURED, NAME, Noise, TAG};

const PATIENCE: Duration = Duration::from_secs(30);
/// What the engine may keep, whatever attackers did; idle it keeps some ten thousand bytes.
const MAX_ENGINE_BYTES: usize = 1 << 20;
/// What the process may grow by in a flood, allocator and both ends' buffers included: queues of 8 MiB for each attacker.
const MAX_GROWN_MIB: usize = 96;

/// A node that is attacked, and one that asks it something all the while.
struct Scene {
    target: Node,
    on_target: Overlay,
    faults: tokio::sync::mpsc::Receiver<Watch>,
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    honest: tokio::task::JoinHandle<Node>,
}

async fn node(listen: &str) -> Node {
    polymorph::node(&Identity::generate()).listen(listen.parse().unwrap()).start().await.unwrap()
}

async fn attach(node: &Node) -> Overlay {
    let overlay = polymorph::overlay(node.guid(), NAME, "full-mesh", &[]).unwrap();
    let overlay = node.attach(overlay).await.unwrap();
    overlay.serve("echo", |request: Request| Ok(request.payload)).await.unwrap();
    overlay
}

impl Scene {
    async fn over(listen: &str) -> Self {
        let (target, honest) = (node(listen).await, node(listen).await);
        let (on_target, on_honest) = (attach(&target).await, attach(&honest).await);
        on_target.join(&[]).await.unwrap();
        on_honest.join(&[target.contact()]).await.unwrap();
        let (answered, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (guid, count, stopped) = (target.guid(), answered.clone(), stop.clone());
        let honest = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let answer = timeout(PATIENCE, on_honest.request(guid, "echo", Bytes::from_static(b"still there?")));
                assert_eq!(answer.await.expect("in time").expect("an answer"), "still there?");
                count.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
            honest
        });
        let faults = on_target.watch().await.unwrap();
        Self { target, on_target, faults, answered, stop, honest }
    }

    async fn attacker(&self) -> Attacker {
        Attacker::dial(&self.target).await
    }

    /// The next reason for which this peer was blamed.
    async fn blamed(&mut self, who: Guid) -> &'static str {
        let reason = async {
            loop {
                if let Watch::Blamed { peer, why } = self.faults.recv().await.expect("the node lives")
                    && peer == who
                {
                    return why;
                }
            }
        };
        timeout(PATIENCE, reason).await.expect("it is blamed")
    }

    /// The attacker is gone, and was told why; the node keeps little, and answers others.
    async fn is_rid_of(&self, mut attacker: Attacker, what: &str) {
        let said = attacker.until_closed().await;
        assert!(matches!(said, None | Some(Goodbye::Misbehaved)), "{what}: it said {said:?}");
        let gone = async {
            while self.target.peers().await.unwrap().iter().any(|info| info.peer == attacker.guid()) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, gone).await.unwrap_or_else(|_| panic!("{what}: it is still a peer"));
        let status = self.target.status().await.unwrap();
        assert!(status.engine_bytes < MAX_ENGINE_BYTES, "{what}: the engine keeps {} bytes", status.engine_bytes);
        self.others_go_on(what).await;
    }

    async fn others_go_on(&self, what: &str) {
        let before = self.answered.load(Ordering::Relaxed);
        let goes_on = async {
            while self.answered.load(Ordering::Relaxed) < before + 3 {
                assert!(!self.honest.is_finished(), "{what}: the honest peer was disturbed");
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, goes_on).await.unwrap_or_else(|_| panic!("{what}: nobody else is answered"));
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let honest = self.honest.await.expect("the honest peer was answered to the end");
        honest.shutdown(PATIENCE).await;
        self.target.shutdown(PATIENCE).await;
    }
}

fn length(bytes: usize) -> Vec<u8> {
    let bytes = bytes as u32;
    vec![bytes as u8 | 0x80, (bytes >> 7) as u8 | 0x80, (bytes >> 14) as u8 | 0x80, (bytes >> 21) as u8 & 0x7f]
}

async fn bytes_that_are_no_frame(listen: &str) {
    let mut scene = Scene::over(listen).await;
    let seed = u64::from_le_bytes(Identity::generate().seed()[..8].try_into().unwrap());
    println!("seed {seed}");
    let mut noise = Noise(seed | 1);
    let header = |body: &[u8]| [&[body.len() as u8][..], body].concat();
    let too_many = [0, MAX_FRAME_CONTACTS as u8 + 1, 0, 0];
    let attacks: Vec<(&str, Vec<u8>)> = vec![
        ("a length without end", vec![0xff; 16]),
        ("a frame too long", length(MAX_FRAME_BYTES + 1)),
        ("an empty frame", vec![0]),
        ("an unknown kind", header(&[0, 0, 200])),
        ("a body cut short", header(&[0, 0, 0])),
        ("too many contacts", header(&too_many)),
        ("a contact that is none", header(&[0, 1, 3, 1, 2, 3])),
    ];
    for (what, bytes) in attacks {
        let mut attacker = scene.attacker().await;
        attacker.enter(&scene.target).await;
        attacker.write(&bytes).await;
        assert_eq!(scene.blamed(attacker.guid()).await, "bytes that are no frame", "{what}");
        scene.is_rid_of(attacker, what).await;
    }
    for round in 0..16 {
        let mut attacker = scene.attacker().await;
        attacker.write(&noise.bytes(1 + round * 997)).await;
        attacker.shut().await;
        scene.is_rid_of(attacker, "noise").await;
    }
    assert!(scene.target.status().await.unwrap().dropped >= 7);
    scene.end().await;
}

#[tokio::test]
async fn bytes_that_are_no_frame_end_a_tcp_session() {
    bytes_that_are_no_frame("tcp://127.0.0.1:0").await;
}

#[tokio::test]
async fn bytes_that_are_no_frame_end_a_quic_session() {
    bytes_that_are_no_frame("quic://127.0.0.1:0").await;
}

/// Whole frames, at the wrong time or too often.
async fn frames_out_of_place(listen: &str) {
    let mut scene = Scene::over(listen).await;

    let mut attacker = scene.attacker().await;
    for _ in 0..3 {
        attacker.say(0, Body::Leaving).await;
    }
    scene.is_rid_of(attacker, "an overlay's frames on the session").await;

    let mut attacker = scene.attacker().await;
    attacker.enter(&scene.target).await;
    (0..3).for_each(|_| attacker.queue(0, Body::Interest { lanes: 1 }, b""));
    attacker.flush().await;
    assert_eq!(scene.blamed(attacker.guid()).await, "a frame that no session has");
    scene.is_rid_of(attacker, "an overlay's frames on the session of a member").await;

    let mut attacker = scene.attacker().await;
    attacker.enter(&scene.target).await;
    (0..200).for_each(|nonce| attacker.queue(0, Body::Offer(Offer { nonce, proofs: vec![[7; 16]; 4] }), b""));
    attacker.flush().await;
    assert_eq!(scene.blamed(attacker.guid()).await, "too many offers");
    scene.is_rid_of(attacker, "offer after offer").await;

    // Cut off in the middle of a frame, and frames in any order, again and again, that nobody asked for.
    let mut attacker = scene.attacker().await;
    attacker.write(&[100, 0, 0]).await;
    attacker.shut().await;
    scene.is_rid_of(attacker, "half a frame").await;
    let mut attacker = scene.attacker().await;
    attacker.enter(&scene.target).await;
    for id in 0..100u32 {
        attacker.queue(TAG, Body::Pong { id }, b"");
        attacker.queue(TAG, Body::Stored { id, receipt: Receipt::Kept }, b"");
        attacker.queue(0, Body::Confirm { nonce: id.into(), shared: Vec::new() }, b"");
        attacker.queue(TAG + 7, Body::Ping { id }, b"");
        attacker.queue(TAG, Body::Credit { class: Class::Message, bytes: u32::MAX }, b"");
    }
    attacker.say(TAG, Body::Request { id: 5, service: 99 }).await;
    attacker.hears("response").await;
    scene.others_go_on("answers to nothing").await;
    attacker.shut().await;
    scene.is_rid_of(attacker, "it went by itself").await;
    scene.end().await;
}

#[tokio::test]
async fn frames_out_of_place_end_a_tcp_session_or_harm_nobody() {
    frames_out_of_place("tcp://127.0.0.1:0").await;
}

#[tokio::test]
async fn frames_out_of_place_end_a_quic_session_or_harm_nobody() {
    frames_out_of_place("quic://127.0.0.1:0").await;
}

/// Takes in nothing, for ever.
struct Stuck;

#[async_trait::async_trait]
impl Service for Stuck {
    async fn request(&self, _: Request) -> Result<Bytes, ServiceError> {
        std::future::pending().await
    }
}

/// What this process takes up, where the system tells.
fn resident() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(text.split(' ').nth(1)?.parse::<usize>().ok()? * 4096)
}

/// More than its credit, and questions whose answers are never read.
async fn floods(listen: &str) {
    let mut scene = Scene::over(listen).await;
    scene.on_target.serve("stuck", Stuck).await.unwrap();
    let kilobyte = vec![7; 1 << 10];
    let before = resident();

    // Within its credit anybody may ask as much as it likes. What it does not read is lost to it alone.
    let mut attacker = scene.attacker().await;
    attacker.enter(&scene.target).await;
    let poured = attacker.pour(32 << 20, |id| (TAG, Body::Request { id, service: ECHO }, &kilobyte)).await;
    scene.others_go_on("requests whose answers are not read").await;
    println!("{poured} bytes of requests");

    let mut second = scene.attacker().await;
    second.enter(&scene.target).await;
    second.pour(MAX_POURED, |id| (TAG, Body::Request { id, service: service::number("stuck") }, &kilobyte)).await;
    assert_eq!(scene.blamed(second.guid()).await, "more than its credit");
    scene.is_rid_of(second, "more than its credit").await;

    let mut third = scene.attacker().await;
    third.enter(&scene.target).await;
    third.pour(MAX_POURED, |id| (0, Body::Ping { id }, &[])).await;
    assert_eq!(scene.blamed(third.guid()).await, "it takes nothing in");
    scene.is_rid_of(third, "pings whose answers are not read").await;

    if let (Some(before), Some(after)) = (before, resident()) {
        let grown = after.saturating_sub(before) >> 20;
        println!("{grown} MiB more than before");
        assert!(grown < MAX_GROWN_MIB, "floods made the process grow by {grown} MiB");
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_over_tcp_ends_in_the_peer_being_dropped() {
    floods("tcp://127.0.0.1:0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_over_quic_ends_in_the_peer_being_dropped() {
    floods("quic://127.0.0.1:0").await;
}

/// Records that are older than what is kept or out of time are refused; whoever brings some that nobody signed, or that are
/// too large, is dropped. All are counted.
#[tokio::test]
async fn records_out_of_order_are_refused_and_counted_and_forged_ones_end_the_session() {
    let mut scene = Scene::over("tcp://127.0.0.1:0").await;
    let publisher = Identity::generate();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let sign = |bytes: usize, sequence, until| {
        Box::new(Record::sign(&publisher, Key::of(b"a key"), vec![7; bytes].into(), sequence, Time::from_secs(until)))
    };
    let mut attacker = scene.attacker().await;
    attacker.enter(&scene.target).await;
    let tolerated = [sign(1024, 2, now + 600), sign(1, 1, now + 600), sign(1, 3, now - 1), sign(1, 3, now + 72 * 3600)];
    for (id, record) in (1..).zip(tolerated) {
        attacker.say(TAG, Body::Store { id, record }).await;
        attacker.hears("stored").await;
    }
    let counted = |metrics: Metrics| (metrics.records, metrics.refused);
    let refused = Refused { older: 1, expired: 2, ..Refused::default() };
    assert_eq!(counted(scene.on_target.metrics().await.unwrap()), (1, refused));

    let mut forged = sign(1, 9, now + 600);
    forged.sequence = 10;
    for record in [forged.clone(), sign(1025, 9, now + 600), forged] {
        attacker.queue(TAG, Body::Store { id: 9, record }, b"");
    }
    attacker.flush().await;
    assert_eq!(scene.blamed(attacker.guid()).await, "a record that is forged or too large");
    scene.is_rid_of(attacker, "forged records").await;
    let refused = Refused { forged: 2, too_large: 1, ..refused };
    assert_eq!(counted(scene.on_target.metrics().await.unwrap()), (1, refused));
    scene.end().await;
}

#[tokio::test]
async fn peers_that_say_nothing_are_dropped_in_the_time_of_a_handshake() {
    for listen in ["tcp://127.0.0.1:0", "quic://127.0.0.1:0"] {
        let scene = Scene::over(listen).await;
        let mut silent = Vec::new();
        for _ in 0..8 {
            silent.push(scene.attacker().await);
        }
        for attacker in silent {
            scene.is_rid_of(attacker, "silence").await;
        }
        assert!(scene.target.status().await.unwrap().dropped >= 8);
        scene.end().await;
    }
}

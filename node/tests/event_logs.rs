//! What real nodes did on sockets, done again by engines alone.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use polymorph::core::Ed25519;
use polymorph::core::engine::Attach;
use polymorph::core::engine::io::Origin;
use polymorph::core::engine::log::{ReplayError, Replayed, replay};
use polymorph::core::engine::settings::{Lookup, Overlay as Settings};
use polymorph::core::topology::erased::Boxed;
use polymorph::core::topology::model::Model;
use polymorph::topologies::mesh::HyParViewPlumtree;
use polymorph::topologies::ring::chord::Chord;
use polymorph::topologies::ring::kademlia::Kademlia;
use polymorph::{Guid, Identity, Key, Node, Overlay, OverlaySpec};

const NODES: usize = 8;
/// How long anything may take on a loaded machine; nothing waits for it when all goes well.
const PATIENCE: Duration = Duration::from_secs(60);

/// A log in memory, which outlives its node.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The overlays of every node, in the order in which they are attached.
fn spec(at: usize, me: Guid) -> OverlaySpec {
    let iterative = Settings { lookup: Lookup::Iterative, ..Settings::default() };
    match at {
        0 => OverlaySpec::new("ring", |place| <Chord as Model>::new(&Default::default(), place), me).unwrap(),
        1 => OverlaySpec::new("buckets", |place| <Kademlia as Model>::new(&Default::default(), place), me)
            .unwrap()
            .settings(iterative),
        _ => {
            OverlaySpec::new("mesh", |place| <HyParViewPlumtree as Model>::new(&Default::default(), place), me).unwrap()
        }
    }
}

struct Member {
    identity: Identity,
    node: Node,
    overlays: Vec<Overlay>,
    log: Kept,
}

async fn start() -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for at in 0..NODES {
        let listen = if at % 2 == 0 { "tcp://127.0.0.1:0" } else { "quic://127.0.0.1:0" };
        let (identity, log) = (Identity::generate(), Kept::default());
        let builder = polymorph::node(&identity).listen(listen.parse().unwrap()).log(log.clone());
        let node = builder.start().await.unwrap();
        let mut overlays = Vec::new();
        for which in 0..3 {
            let overlay = node.attach(spec(which, node.guid())).await.unwrap();
            let seed = members.first().map(|member| member.node.contact());
            overlay.join(seed.as_slice()).await.unwrap();
            if at > 0 {
                overlay.joined(PATIENCE).await.unwrap();
            }
            overlays.push(overlay);
        }
        members.push(Member { identity, node, overlays, log });
    }
    members
}

/// A little of everything, at all of them at once.
async fn work(at: usize, member: &Member, other: &Member) {
    let [ring, buckets, mesh] = &member.overlays[..] else { panic!("three overlays") };
    ring.serve("echo", |request: polymorph::core::runtime::Request| Ok(request.payload)).await.unwrap();
    let mut heard = mesh.subscribe(None).await.unwrap();
    for round in 0..10u8 {
        let key = Key::of(&[round, at as u8]);
        // What comes of it is no matter here, only that it comes again.
        let _ = ring.lookup(key, 3).await;
        let _ = buckets.put(key, Bytes::from(vec![round; 100]), Duration::from_secs(600)).await;
        let _ = buckets.get(key).await;
        let _ = ring.request(other.node.guid(), "echo", Bytes::from(vec![round; 40_000])).await;
        let _ = ring.request_owner(key, "echo", Bytes::from_static(b"who are you?")).await;
        let _ = mesh.timely().publish(None, Bytes::from(vec![round; 300]), Origin::Signed).await;
    }
    let _ = tokio::time::timeout(Duration::from_millis(100), heard.next()).await;
}

fn again(log: &[u8], identity: &Identity) -> Result<Replayed, ReplayError> {
    let attach = |at| Attach::<Boxed>::from(spec(at, identity.guid()));
    replay(log, Arc::new(identity.clone()), Arc::new(Ed25519), attach)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_told_what_a_real_node_was_told_says_the_same_byte_for_byte() {
    let mut members = start().await;
    let work = members.iter().enumerate().map(|(at, member)| work(at, member, &members[(at + 1) % NODES]));
    futures_util::future::join_all(work).await;
    // One leaves an overlay, one goes without a word, the others say goodbye.
    members[2].overlays.remove(1).detach().await.unwrap();
    let crashed = members.remove(3);
    let (identity, log) = (crashed.identity.clone(), crashed.log.clone());
    drop(crashed);
    futures_util::future::join_all(members.iter().map(|member| member.node.shutdown(PATIENCE))).await;
    let mut logs: Vec<(Identity, Kept)> = members.iter().map(|m| (m.identity.clone(), m.log.clone())).collect();
    logs.push((identity, log));
    for (at, (identity, log)) in logs.iter().enumerate() {
        let log = log.0.lock().unwrap();
        let done = again(&log, identity).unwrap_or_else(|error| panic!("node {at}: {error}"));
        eprintln!("node {at}: {done:?}, {} bytes", log.len());
        assert!(done.inputs > 500 && done.outputs > 500, "{done:?}");
    }

    let (identity, log) = &logs[0];
    let log = log.0.lock().unwrap();
    assert_eq!(again(&log, &logs[1].0), Err(ReplayError::Foreign));
    assert!(matches!(again(&log[..log.len() - 1], identity), Err(ReplayError::Malformed(_))));
    // The same inputs make other topologies say something else.
    let attach = |at: usize| Attach::<Boxed>::from(spec(2 - at, identity.guid()));
    let other = replay(&log, Arc::new(identity.clone()), Arc::new(Ed25519), attach);
    assert!(matches!(other, Err(ReplayError::Differs { .. })), "{other:?}");
}

//! The topologies that the simulator runs, on 32 real nodes over loopback.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::time::Duration;

use bytes::Bytes;
use polymorph::core::engine::io::Origin;
use polymorph::core::record::{Caches, GetOptions};
use polymorph::core::topology::model::{Census, Model};
use polymorph::core::topology::question::{Hold, Role, Target};
use polymorph::core::{Admission, OverlayName};
use polymorph::topologies::mesh::HyParViewPlumtree;
use polymorph::topologies::ring::chord::Chord;
use polymorph::{Guid, Identity, Key, Node, Overlay, OverlaySpec};

const NODES: usize = 32;
/// How long anything may take on a loaded machine; nothing waits for it when all goes well.
const PATIENCE: Duration = Duration::from_secs(90);

/// Starts nodes, half on TCP and half on QUIC, and lets each join through an earlier one.
async fn start(name: &str, make: impl Fn(&Node) -> OverlaySpec) -> Vec<(Node, Overlay)> {
    let mut members: Vec<(Node, Overlay)> = Vec::new();
    for at in 0..NODES {
        let listen = if at % 2 == 0 { "tcp://127.0.0.1:0" } else { "quic://127.0.0.1:0" };
        let node = polymorph::node(&Identity::generate()).listen(listen.parse().unwrap()).start().await.unwrap();
        let overlay = node.attach(make(&node)).await.unwrap();
        let seed = members.get(at / 2).map(|(node, _)| node.contact());
        overlay.join(seed.as_slice()).await.unwrap();
        if at > 0 {
            overlay.joined(PATIENCE).await.unwrap_or_else(|e| panic!("node {at} of {name} did not join: {e}"));
        }
        members.push((node, overlay));
    }
    members
}

/// Asks again until it is so.
async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

async fn successor(overlay: &Overlay) -> Option<Guid> {
    let neighbors = overlay.neighbors().await.unwrap();
    let first =
        |n: &&polymorph::core::topology::question::Neighbor| n.role == Role::Successor && n.hold == Hold::Required;
    neighbors.iter().find(first).map(|n| n.peer)
}

#[tokio::test]
async fn chord_closes_its_ring_on_real_nodes_and_finds_every_owner() {
    let members = start("ring", |node| {
        OverlaySpec::new("ring", |place| <Chord as Model>::new(&Default::default(), place), node.guid()).unwrap()
    })
    .await;
    let overlay = OverlayName::new("ring", Admission::Open).unwrap().id();
    let census = Census::new(overlay, members.iter().map(|(node, _)| node.guid()).collect());
    let next = |guid: Guid| {
        let at = census.ring.iter().position(|(_, g)| *g == guid).unwrap();
        census.ring[(at + 1) % NODES].1
    };
    until("every node knows its successor", async || {
        for (node, overlay) in &members {
            if successor(overlay).await != Some(next(node.guid())) {
                return false;
            }
        }
        true
    })
    .await;
    for at in 0..64 {
        let key = Key::of(format!("key {at}").as_bytes());
        let expected = <Chord as Model>::owner(&Default::default(), &census, &Target::Key(key)).unwrap();
        let found = members[at % NODES].1.lookup(key, 1).await.unwrap();
        assert_eq!(found.owner, expected, "key {at} from node {}", at % NODES);
    }
}

#[tokio::test]
async fn plumtree_reaches_all_real_nodes_once_and_without_waste() {
    let members = start("mesh", |node| {
        OverlaySpec::new("mesh", |place| <HyParViewPlumtree as Model>::new(&Default::default(), place), node.guid())
            .unwrap()
    })
    .await;
    let mut hears = Vec::new();
    for (_, overlay) in &members {
        hears.push(overlay.subscribe(None).await.unwrap());
    }
    let rounds = 6u8;
    let mut duplicates = Vec::new();
    for round in 0..rounds {
        members[0].1.publish(None, Bytes::copy_from_slice(&[round]), Origin::Signed).await.unwrap();
        for (at, hears) in hears.iter_mut().enumerate().skip(1) {
            let heard = tokio::time::timeout(PATIENCE, hears.next()).await;
            let heard = heard.unwrap_or_else(|_| panic!("node {at} missed broadcast {round}")).unwrap();
            assert_eq!(heard.payload.as_ref(), [round], "each once, in order");
        }
        let mut sum = 0;
        for (_, overlay) in &members {
            sum += overlay.metrics().await.unwrap().duplicates;
        }
        duplicates.push(sum);
    }
    println!("payload duplicates after each broadcast: {duplicates:?}");
    let late = duplicates[usize::from(rounds) - 1] - duplicates[2];
    assert!(late <= NODES as u64 / 4, "after two broadcasts the tree stands: {duplicates:?}");
}

#[tokio::test]
async fn values_and_providers_are_found_although_a_quarter_of_the_nodes_went() {
    let members = start("shelf", |node| {
        OverlaySpec::new("shelf", |place| <Chord as Model>::new(&Default::default(), place), node.guid()).unwrap()
    })
    .await;
    let hour = Duration::from_secs(3600);
    let key = |at: usize| Key::of(format!("value {at}").as_bytes());
    for (at, (_, overlay)) in members.iter().enumerate() {
        let value = Bytes::from(format!("of {at}"));
        until("a majority keeps it", async || overlay.put(key(at), value.clone(), hour).await.is_ok()).await;
    }
    let content = Key::of(b"content");
    let mut providers: Vec<Guid> = Vec::new();
    for (node, overlay) in members.iter().step_by(8) {
        until("somebody keeps it", async || overlay.provide(content, hour).await.is_ok()).await;
        providers.push(node.guid());
    }
    providers.sort_unstable();
    for (node, _) in members.iter().skip(1).step_by(4) {
        node.shutdown(Duration::from_millis(100)).await;
    }
    for at in 0..NODES {
        let (_, overlay) = &members[at / 4 * 4];
        let caches = if at % 2 == 0 { Caches::Bypass } else { Caches::Allow };
        let options = GetOptions { caches, ..GetOptions::default() };
        until("it is found", async || {
            let found = overlay.get_with(key(at), options).await;
            found.is_ok_and(|found| found.records.iter().any(|record| record.value == format!("of {at}")))
        })
        .await;
    }
    until("all providers are found", async || {
        let mut found = members[2].1.find_providers(content).await.unwrap_or_default();
        found.sort_unstable();
        found == providers
    })
    .await;
}

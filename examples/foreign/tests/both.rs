//! The same value in virtual time and on sockets.

use std::time::Duration;

use bytes::Bytes;
use foreign_topology::Graph;
use polymorph::core::engine::io::{Command, Origin, Urgency};
use polymorph::{Identity, OverlaySpec};
use polymorph_sim::{Options, Terms, World};

#[test]
fn a_broadcast_reaches_everybody_in_virtual_time() {
    let mut world = World::<Graph>::new(Options::default());
    let peers: Vec<_> = (0..100).map(|_| world.add(&Terms::default(), |_| Graph::default()).unwrap()).collect();
    for (at, &peer) in peers.iter().enumerate().skip(1) {
        world.join(peer, &[peers[at / 3]]);
        world.run_for(Duration::from_millis(100));
    }
    world.run_for(Duration::from_secs(30));
    let ticket = world.ticket();
    let payload = Bytes::from_static(b"news");
    world.command(peers[3], Command::Publish { ticket, topic: None, payload, origin: Origin::Claimed, urgency: Urgency::Usual });
    world.run_for(Duration::from_secs(5));
    for &peer in peers.iter().filter(|peer| **peer != peers[3]) {
        let metrics = world.engine(peer).unwrap().metrics(world.slot(peer)).unwrap();
        assert!(metrics.copies > metrics.duplicates, "{peer:?} heard nothing");
    }
}

#[tokio::test]
async fn a_broadcast_reaches_everybody_on_sockets() {
    let mut nodes = Vec::new();
    for _ in 0..6 {
        let builder = polymorph::node(&Identity::generate()).listen("tcp://127.0.0.1:0".parse().unwrap());
        let node = builder.start().await.unwrap();
        let graph = node.attach(OverlaySpec::new("graph", |_| Graph::default(), node.guid()).unwrap()).await.unwrap();
        let hears = graph.subscribe(None).await.unwrap();
        nodes.push((node, graph, hears));
    }
    let first = nodes[0].0.contact();
    for (_, graph, _) in &nodes[1..] {
        graph.join(std::slice::from_ref(&first)).await.unwrap();
        graph.joined(Duration::from_secs(20)).await.unwrap();
    }
    nodes[0].1.publish(None, Bytes::from_static(b"news"), Origin::Signed).await.unwrap();
    for (_, _, hears) in &mut nodes[1..] {
        assert_eq!(hears.next().await.unwrap().payload, "news");
    }
}

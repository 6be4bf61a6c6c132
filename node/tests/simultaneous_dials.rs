//! A thousand pairs of real nodes that dial each other at once, one over TCP and the other over QUIC: each ends with
//! one session, and loses no question.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use polymorph::core::engine::settings;
use polymorph::core::runtime::Request;
use polymorph::core::topology::context::Context;
use polymorph::core::topology::event::Event;
use polymorph::core::{Time, Topology};
use polymorph::{Contact, Identity, Node, Overlay, OverlaySpec, TransportAddress};
use tokio::time::timeout;

/// So many nodes have 1,035 pairs.
const NODES: usize = 46;
/// The two of a pair dial within so many microseconds of each other: about as long as a handshake takes.
const APART_MICROS: u64 = 3_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Wants nothing: whoever dials does so because it has a question.
struct Idle;

impl Topology for Idle {
    type Address = ();
    type Message = ();
    type Timer = ();

    fn handle(&mut self, _: Event<Self>, _: &mut Context<'_, Self>) {}
}

struct End {
    identity: Identity,
    node: Node,
    overlay: Overlay,
}

impl End {
    async fn new(seed: u64, at: usize) -> Self {
        let identity =
            Identity::from_seed(blake3::hash(&[seed.to_le_bytes(), (at as u64).to_le_bytes()].concat()).as_bytes());
        // No session is closed for the budget, nor for being idle on a slow machine.
        let settings = settings::Node { connections: NODES, idle: 10 * PATIENCE, ..settings::Node::default() };
        let [tcp, quic] = ["tcp://127.0.0.1:0", "quic://127.0.0.1:0"].map(|at| at.parse().unwrap());
        let node = polymorph::node(&identity).listen(tcp).listen(quic).settings(settings).start().await.unwrap();
        let overlay = node.attach(OverlaySpec::new("dials", |_| Idle, node.guid()).unwrap()).await.unwrap();
        overlay.serve("echo", |request: Request| Ok(request.payload)).await.unwrap();
        Self { identity, node, overlay }
    }

    /// How it can be reached over one kind of wire.
    fn contact(&self, kind: &str) -> Contact {
        let of_kind = |at: &&TransportAddress| at.to_string().starts_with(kind);
        let address = self.node.listening().iter().find(of_kind).cloned().unwrap();
        Contact::sign(&self.identity, &[address], 1, Time::MAX)
    }

    async fn ask(&self, other: &Self, after: Duration) {
        tokio::time::sleep(after).await;
        let answer = self.overlay.request(other.node.guid(), "echo", Bytes::from_static(b"one session"));
        let answer = timeout(PATIENCE, answer).await.expect("in time");
        assert_eq!(answer.unwrap_or_else(|why| panic!("{:?} asks {:?}: {why}", self.node, other.node)), "one session");
    }
}

/// Two nodes that have never met ask each other at once.
async fn meet(a: &End, b: &End, chance: u64) {
    let (one, other) = if chance & 1 == 0 { ("tcp", "quic") } else { ("quic", "tcp") };
    a.overlay.join(&[b.contact(one)]).await.unwrap();
    b.overlay.join(&[a.contact(other)]).await.unwrap();
    let micros = |bits: u64| Duration::from_micros(bits % APART_MICROS);
    tokio::join!(a.ask(b, micros(chance >> 1)), b.ask(a, micros(chance >> 32)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_simultaneous_dials_over_tcp_and_quic_end_in_one_session_each() {
    let seed = u64::from_le_bytes(Identity::generate().seed()[..8].try_into().unwrap());
    println!("seed {seed}");
    let mut ends = Vec::new();
    for at in 0..NODES {
        ends.push(End::new(seed, at).await);
    }
    let chance = |a: usize, b: usize| {
        let hash = blake3::hash(&[seed, a as u64, b as u64].map(u64::to_le_bytes).concat());
        u64::from_le_bytes(*hash.as_bytes().first_chunk().unwrap())
    };
    // A tournament: in each round everybody meets somebody new.
    let mut pairs = 0;
    for round in 0..NODES - 1 {
        let seat = |at: usize| if at == 0 { 0 } else { 1 + (at - 1 + round) % (NODES - 1) };
        let met = (0..NODES / 2).map(|at| (seat(at), seat(NODES - 1 - at)));
        let met: Vec<_> = met.map(|(a, b)| meet(&ends[a], &ends[b], chance(a, b))).collect();
        pairs += met.len();
        join_all(met).await;
    }
    assert!(pairs >= 1000, "{pairs} pairs");
    for (at, end) in ends.iter().enumerate() {
        let mut peers: Vec<_> = end.node.peers().await.unwrap().into_iter().map(|info| info.peer).collect();
        peers.sort();
        peers.dedup();
        assert_eq!(peers.len(), NODES - 1, "node {at}");
        assert_eq!(end.node.status().await.unwrap().sessions, NODES - 1, "node {at}");
    }
    // And each of them carries questions both ways.
    let both = (0..NODES).flat_map(|a| (0..NODES).filter(move |&b| b != a).map(move |b| (a, b)));
    join_all(both.map(|(a, b)| ends[a].ask(&ends[b], Duration::ZERO))).await;
    join_all(ends.iter().map(|end| end.node.shutdown(PATIENCE))).await;
}

//! Rules about beginnings and ends.

use futures_util::future::{join_all, poll_immediate};

use super::*;

/// How many nodes dial at once.
const BURST: usize = 24;

/// A close ends everything here at once, and everything at the other side soon.
pub async fn a_close_is_seen_by_the_other_side(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let (dialed, accepted) = pair.connect().await;
    let (mut one, mut other) = controls(&*dialed, &*accepted);
    let (opened, arrived) = patiently(async { tokio::join!(dialed.open(), accepted.accept()) }).await;
    let (mut opened, mut arrived) = (opened.expect("it opens"), arrived.expect("it arrives"));
    carry(&mut opened, &mut arrived, b"bulk").await;
    accepted.close("enough");
    assert!(patiently(other.recv.read_u8()).await.is_err(), "control ends here");
    assert!(patiently(one.recv.read_u8()).await.is_err(), "control ends there");
    assert!(patiently(arrived.recv.read_u8()).await.is_err(), "bulk ends here");
    assert!(patiently(opened.recv.read_u8()).await.is_err(), "bulk ends there");
    for end in [&dialed, &accepted] {
        assert!(matches!(patiently(end.accept()).await, Err(TransportError::Closed(_))));
        assert!(patiently(end.open()).await.is_err());
    }
    accepted.close("twice does no harm");
}

/// The last handle gone is a close, though a stream may still be held.
pub async fn dropping_the_connection_closes_it(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let (dialed, accepted) = pair.connect().await;
    let (mut one, _held) = controls(&*dialed, &*accepted);
    drop(accepted);
    assert!(patiently(one.recv.read_u8()).await.is_err());
    assert!(matches!(patiently(dialed.accept()).await, Err(TransportError::Closed(_))));
}

/// A goodbye that was shut down cleanly is heard even if the connection is closed right after.
pub async fn what_was_shut_down_before_a_close_still_arrives(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let (dialed, accepted) = pair.connect().await;
    let (mut one, mut other) = controls(&*dialed, &*accepted);
    let goodbye = pattern(3, 40_000);
    let leave = async {
        one.send.write_all(&goodbye).await.expect("it takes the bytes");
        one.send.shutdown().await.expect("it shuts down");
        dialed.close("gone");
    };
    let mut heard = vec![0; goodbye.len()];
    let (_, read) = patiently(async { tokio::join!(leave, other.recv.read_exact(&mut heard)) }).await;
    read.expect("the goodbye arrives");
    assert!(heard == goodbye);
}

/// Without its listener an address is dead; who was accepted before stays.
pub async fn a_dropped_listener_accepts_nobody_and_its_connections_live_on(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let (dialed, accepted) = pair.connect().await;
    let (address, wanted) = (pair.listener.address(), pair.wanted());
    drop(pair.listener);
    let late = patiently(pair.dialer.dial(&address, Some(wanted))).await;
    assert!(late.is_err(), "nobody is there");
    let (mut one, mut other) = controls(&*dialed, &*accepted);
    carry(&mut one, &mut other, b"still").await;
    carry(&mut other, &mut one, b"here").await;
}

/// A burst of dials from different nodes: each arrives as itself.
pub async fn many_dial_at_once_and_all_arrive(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let (address, wanted) = (pair.listener.address(), pair.wanted());
    let nodes: Vec<_> = (0..BURST).map(|_| Identity::generate()).collect();
    let dials = join_all(nodes.iter().map(|identity| {
        let (transport, address) = (subject.transport(identity), &address);
        async move { (transport.dial(address, Some(wanted)).await.expect("the dial succeeds"), transport) }
    }));
    let accepts = async {
        let mut peers = Vec::new();
        for _ in 0..BURST {
            peers.push(pair.listener.accept().await.expect("a peer arrives"));
        }
        peers
    };
    let (dialed, accepted) = patiently(async { tokio::join!(dials, accepts) }).await;
    let mut wanted: Vec<_> = nodes.iter().map(Identity::guid).collect();
    let mut found: Vec<_> = accepted.iter().map(|peer| peer.peer()).collect();
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
    drop(dialed);
}

/// The address told is one that can be dialed, and two listeners get two.
pub async fn a_free_address_is_picked_and_told(subject: &dyn Subject) {
    let first = Pair::of(subject).await;
    let second = Pair::of(subject).await;
    assert_ne!(first.listener.address(), second.listener.address());
    for pair in [first, second] {
        assert!(pair.dialer.handles(&pair.listener.address()));
        if let TransportAddress::Tcp(at) | TransportAddress::Quic(at) = pair.listener.address() {
            assert_ne!(at.port(), 0);
        }
    }
}

/// An address of an unknown kind is nobody's business, neither to dial nor to listen on.
pub async fn foreign_addresses_are_not_handled(subject: &dyn Subject) {
    let transport = subject.transport(&Identity::generate());
    let foreign = TransportAddress::Unknown { kind: u64::MAX, bytes: bytes::Bytes::new() };
    assert!(!transport.handles(&foreign));
    assert!(matches!(transport.dial(&foreign, None).await, Err(TransportError::NoTransport(_))));
    assert!(matches!(transport.listen(&foreign).await, Err(TransportError::NoTransport(_))));
}

/// Dialing where nobody ever was ends with an error, within the transport's own bound.
pub async fn nobody_listening_is_an_error_in_time(subject: &dyn Subject) {
    let pair = Pair::of(subject).await;
    let address = pair.listener.address();
    drop(pair.listener);
    let stranger = subject.transport(&Identity::generate());
    assert!(patiently(stranger.dial(&address, None)).await.is_err());
}

/// Futures that are dropped half-way leave everything usable.
pub async fn giving_up_a_dial_or_an_accept_loses_nothing(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let (address, wanted) = (pair.listener.address(), pair.wanted());
    for _ in 0..3 {
        let _ = poll_immediate(pair.dialer.dial(&address, Some(wanted))).await;
        let _ = poll_immediate(pair.listener.accept()).await;
    }
    let dialed = patiently(pair.dialer.dial(&address, Some(wanted))).await.expect("the dial succeeds");
    let accepted = loop {
        let accepted = patiently(pair.listener.accept()).await.expect("the peer arrives");
        if accepted.exporter() == dialed.exporter() {
            break accepted;
        }
    };
    for _ in 0..3 {
        let _ = poll_immediate(accepted.accept()).await;
    }
    let (opened, arrived) = patiently(async { tokio::join!(dialed.open(), accepted.accept()) }).await;
    let (mut opened, mut arrived) = (opened.expect("it opens"), arrived.expect("it arrives"));
    carry(&mut opened, &mut arrived, b"nothing lost").await;
}

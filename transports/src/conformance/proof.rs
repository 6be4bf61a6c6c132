//! Rules about who is at the other end.

use super::*;

/// Each side knows the other's key and Guid, and which of them dialed.
pub async fn both_sides_learn_who_the_other_is(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let (dialed, accepted) = pair.connect().await;
    assert_eq!(dialed.peer(), pair.listener_identity.guid());
    assert_eq!(accepted.peer(), pair.dialer_identity.guid());
    assert_eq!(Guid::of(&dialed.public_key()), dialed.peer());
    assert_eq!(Guid::of(&accepted.public_key()), accepted.peer());
    assert_eq!(dialed.remote(), pair.listener.address());
    assert!(dialed.is_dialer() && !accepted.is_dialer());
    // Not to be asked for anybody in particular is allowed too.
    let address = pair.listener.address();
    let anybody = patiently(pair.dialer.dial(&address, None)).await.expect("anybody will do");
    assert_eq!(anybody.peer(), pair.listener_identity.guid());
}

/// Whoever answers in the place of the peer that was dialed is refused, and named.
pub async fn a_wrong_guid_is_refused(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let (address, wanted) = (pair.listener.address(), Identity::generate().guid());
    match patiently(pair.dialer.dial(&address, Some(wanted))).await {
        Err(TransportError::WrongPeer { address: at, expected, found }) => {
            assert_eq!((at, expected, found), (address, wanted, pair.wanted()));
        }
        other => panic!("expected WrongPeer, got {other:?}"),
    }
    // Having asked for a wrong one once does not spoil the right one.
    let address = pair.listener.address();
    let right = patiently(pair.dialer.dial(&address, Some(pair.wanted()))).await.expect("the right peer");
    let found = loop {
        let accepted = patiently(pair.listener.accept()).await.expect("the peer arrives");
        if accepted.exporter() == right.exporter() {
            break accepted;
        }
    };
    assert_eq!(found.peer(), pair.dialer_identity.guid());
}

/// The exporter is the same at both ends and different for every connection, also between the same two.
pub async fn both_ends_share_an_exporter_no_other_connection_has(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let mut seen = Vec::new();
    let mut alive = Vec::new();
    for _ in 0..4 {
        let (dialed, accepted) = pair.connect().await;
        // Speak, so that whatever a wire keeps for the next connection has arrived.
        let (mut one, mut other) = controls(&*dialed, &*accepted);
        carry(&mut other, &mut one, b"x").await;
        assert_eq!(dialed.exporter(), accepted.exporter());
        assert!(!seen.contains(&dialed.exporter()), "every connection has its own");
        assert_ne!(dialed.exporter(), [0; 32]);
        seen.push(dialed.exporter());
        alive.push((dialed, accepted));
    }
}

//! What a dialer keeps to resume sessions with.
//!
//! rustls has such a store, which makes room for eight tickets of each peer before the first one comes, keeps as many
//! as ever came, and begins with tables for all peers there may be. A node has hundreds of peers, and opens a bulk
//! stream to few of them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// How many peers' tickets a node keeps; past that those of the peer that gave none for longest are forgotten (it
/// shakes hands in full).
pub(super) const RESUMABLE_PEERS: usize = 32;
/// How many tickets of one peer: as many as it gives for each handshake. Each is used once, the newest first.
const TICKETS_OF_PEER: usize = super::TICKETS;

/// The tickets of the peers that gave some lately.
#[derive(Default)]
pub(super) struct Store(Mutex<VecDeque<Peer>>);

struct Peer {
    name: ServerName<'static>,
    /// The oldest first.
    tickets: Vec<Tls13ClientSessionValue>,
}

impl Store {
    fn peers(&self) -> MutexGuard<'_, VecDeque<Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Store {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    /// There is only one group.
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut peers = self.peers();
        let known = peers.iter().position(|peer| peer.name == name).and_then(|at| peers.remove(at));
        let mut peer = known.unwrap_or_else(|| Peer { name, tickets: Vec::with_capacity(TICKETS_OF_PEER) });
        if peer.tickets.len() == TICKETS_OF_PEER {
            peer.tickets.remove(0);
        }
        peer.tickets.push(ticket);
        if peers.len() == RESUMABLE_PEERS {
            peers.pop_front();
        }
        peers.push_back(peer);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut peers = self.peers();
        let at = peers.iter().position(|peer| peer.name == *name)?;
        let ticket = peers[at].tickets.pop();
        if peers[at].tickets.is_empty() {
            peers.remove(at);
        }
        ticket
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({} peers)", self.peers().len())
    }
}

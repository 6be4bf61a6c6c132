//! The engine's bounds and choices. Every bound has a name and a reason.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of a whole node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// How many sessions a node keeps. Home routers fail at a few hundred flows; 50 leaves room for everybody.
    pub connections: usize,
    /// How long a session nobody holds stays open.
    pub idle: Duration,
    /// How long a dial may take before the engine counts it as failed, whatever the driver says.
    pub dial_timeout: Duration,
    /// How many bytes may wait for one peer, all classes together.
    pub queue_bytes: usize,
    /// How many bytes of one overlay a peer may send before the application took them in.
    pub credit_bytes: u32,
    /// How many peers the node remembers at once: sessions, dials, and those that are only wanted.
    pub peers: usize,
    /// How many overlays a node carries.
    pub overlays: usize,
    /// How many broken rules before a peer is dropped.
    pub faults: u32,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            connections: 50,
            idle: Duration::from_secs(30),
            dial_timeout: Duration::from_secs(10),
            queue_bytes: 4 << 20,
            credit_bytes: 1 << 20,
            peers: 4096,
            overlays: 64,
            faults: 3,
        }
    }
}

/// How a lookup finds its way. A setting of the overlay, not of the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Lookup {
    /// The asker asks peer after peer, `alpha` at a time.
    Iterative,
    /// The question is passed on, the answer comes back the same way.
    #[default]
    Recursive,
    /// The question is passed on, the answer comes straight.
    Semi,
}

/// Settings of one overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// How lookups find their way.
    pub lookup: Lookup,
    /// How many questions an iterative lookup has on the way at once (Kademlia: 3).
    pub alpha: usize,
    /// How many disjoint paths a lookup takes (S/Kademlia); each peer is on one only.
    pub disjoint: usize,
    /// How many of the nearest each path of an iterative lookup settles; 0 for as many as the topology says. A path that
    /// settles 1 is a chain: it ends at whoever names nobody nearer.
    pub settle: usize,
    /// How often a recursive lookup is tried again over another first hop.
    pub retries: u32,
    /// After how many hops a routed message is dropped.
    pub hop_limit: u8,
    /// How many bytes of broadcasts are kept for peers that ask for them again.
    pub kept_bytes: usize,
    /// How long they are kept.
    pub kept: Duration,
    /// How many broadcasts are remembered as seen.
    pub seen: usize,
    /// How many calls, lookups and requests may wait for an answer at once.
    pub pending: usize,
    /// How many peers' keys a record is stored at (Kademlia stores at k; 8 survives an hour of churn).
    pub replicas: usize,
    /// How many peers beyond the replica set are asked in turn when some of it are full, and by whoever reads when some
    /// of it have nothing: consistent hashing with bounded loads (Mirrokni, Thorup & Zadimoghaddam, SODA 2018), where
    /// `records` is the bound. The same for all members of an overlay; 0 for nobody.
    pub spill: usize,
    /// How many records are kept for others, and how many bytes of them on the wire.
    pub records: usize,
    /// See `records`.
    pub record_bytes: usize,
    /// How many records one key holds.
    pub records_per_key: usize,
    /// How many of the records kept may be published by one peer, or brought by one; and how many bytes.
    pub records_per_peer: usize,
    /// See `records_per_peer`.
    pub record_bytes_per_peer: usize,
    /// How many bytes of records that passed by are copied, for minutes; 0 for none.
    pub cached_bytes: usize,
}

impl Default for Overlay {
    fn default() -> Self {
        Self {
            lookup: Lookup::Recursive,
            alpha: 3,
            disjoint: 1,
            settle: 0,
            retries: 3,
            hop_limit: 64,
            kept_bytes: 1 << 20,
            kept: Duration::from_secs(30),
            seen: 4096,
            pending: 8192,
            replicas: 8,
            spill: 0,
            records: 65_536,
            record_bytes: 64 << 20,
            records_per_key: 64,
            // A quarter: as many as one node may publish itself.
            records_per_peer: 16_384,
            record_bytes_per_peer: 16 << 20,
            cached_bytes: 1 << 20,
        }
    }
}

//! Plain counts, one set for each overlay.

use core::time::Duration;

use super::io::ConnId;
use crate::{Guid, Time};

/// What one overlay counted since it was attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Metrics {
    pub frames_in: u64,
    pub frames_out: u64,
    pub payload_bytes_in: u64,
    pub payload_bytes_out: u64,
    /// Routed messages passed on for others.
    pub forwards: u64,
    /// Broadcast copies received, and those seen before.
    pub copies: u64,
    pub duplicates: u64,
    /// Frames not sent because a queue was full, a way ended or a limit was reached.
    pub dropped: u64,
    /// Questions nobody answered in time.
    pub timeouts: u64,
    /// Broken rules.
    pub faults: u64,
    /// What the topology was told and did not believe, with nobody to blame.
    pub doubts: u64,
    /// Records kept for others, now.
    pub records: u64,
    /// Records given to other replicas because ranges moved.
    pub handed_over: u64,
    /// Records that were not kept or believed, by reason.
    pub refused: Refused,
}

/// Records this node was handed and did not keep or believe.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Refused {
    /// A newer one was known: a replay, or one that was long on its way.
    pub older: u64,
    /// The signature is not the publisher's, or it is another key's.
    pub forged: u64,
    pub too_large: u64,
    /// Its time is over, or ends too late.
    pub expired: u64,
    /// No room in all or under its key.
    pub full: u64,
    /// Its publisher, or who brought it, has used its share up.
    pub over_quota: u64,
}

/// A peer with a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerInfo {
    /// Who.
    pub peer: Guid,
    /// The wire.
    pub conn: ConnId,
    /// Since when.
    pub since: Time,
    /// Smoothed round-trip time, once measured.
    pub rtt: Option<Duration>,
    /// Bytes that wait to be written.
    pub queued: usize,
    /// The overlays the session carries.
    pub overlays: Vec<super::Slot>,
    /// Whether some overlay on either side requires it.
    pub required: bool,
}

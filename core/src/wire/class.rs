//! How urgent a frame is, and what it counts in queues and credit. Both ends compute both alike, by looking at it.

use serde::{Deserialize, Serialize};

use super::frame::{Body, Frame};
use crate::Contact;
use crate::topology::Topology;

/// The class of a frame's queue, the most urgent first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Class {
    /// The session's and the topologies' own talk; exempt from credit.
    Control,
    /// Worth nothing when late.
    Deadline,
    /// Messages of applications.
    Message,
    /// Large payloads.
    Bulk,
}

impl Class {
    /// All of them, in this order.
    pub const ALL: [Self; 4] = [Self::Control, Self::Deadline, Self::Message, Self::Bulk];

    /// How many bytes may wait for one peer, all classes together, when a frame of this class is to join them: the
    /// more urgent it is, the fuller may the queue be.
    #[must_use]
    pub fn queue_limit(self, queue_bytes: usize) -> usize {
        match self {
            Self::Control => 2 * queue_bytes,
            Self::Deadline => queue_bytes + queue_bytes / 2,
            Self::Message => queue_bytes,
            Self::Bulk => queue_bytes / 2,
        }
    }
}

/// Payloads from this size on are bulk: one of them keeps a slow line of 1 Mbit/s busy for an eighth of a second, so
/// whatever is smaller goes first.
pub const BULK_FROM: usize = 16 * 1024;

/// Whether a message is of use when it is late.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Urgency {
    /// It is.
    #[default]
    Usual,
    /// It is not: it overtakes all that is, and has a credit of its own.
    Timely,
}

/// What a frame counts in queues and credit beside what makes it larger than the smallest: about a header.
pub const FRAME_CHARGE: u32 = 64;

impl<T: Topology> Frame<T> {
    /// What the frame counts in queues and credit, about its size in bytes: everything in it that a peer could make
    /// large counts. Both ends compute it alike.
    #[must_use]
    pub fn charge(&self) -> u32 {
        let contacts: usize = self.contacts.iter().map(Contact::wire_len).sum();
        let bytes = contacts + self.body.weight() + self.payload.len();
        FRAME_CHARGE + u32::try_from(bytes).unwrap_or(u32::MAX / 2)
    }

    /// The queue it belongs to. Both ends compute it alike.
    #[must_use]
    pub fn class(&self) -> Class {
        let by_size = if self.payload.len() < BULK_FROM { Class::Message } else { Class::Bulk };
        match &self.body {
            Body::Notice { urgency: Urgency::Timely, .. } => Class::Deadline,
            Body::Copy(copied) if copied.urgency == Urgency::Timely => Class::Deadline,
            Body::Request { .. } | Body::Response { .. } | Body::Notice { .. } | Body::Copy(_) => by_size,
            Body::Routed(_) | Body::Answer { .. } | Body::Send(_) | Body::Call { .. } | Body::Reply { .. }
                if !self.payload.is_empty() =>
            {
                by_size
            }
            _ => Class::Control,
        }
    }
}

//! What was sent in a world, by kind, at its real encoded size.

use core::fmt;

use polymorph_core::Topology;
use polymorph_core::wire::Body;

/// The kinds of frames, in the order of their numbers on the wire.
pub const KINDS: [&str; 27] = [
    "offer", "accept", "confirm", "goodbye", "interest", "leaving", "credit", "moved", "send", "call", "reply",
    "routed", "answer", "find", "next", "copy", "request", "response", "notice", "store", "stored", "fetch", "fetched",
    "ping", "pong", "holds", "holding",
];

/// The kinds that carry what applications send; all others are the price of the overlay.
const PAYLOAD: [&str; 4] = ["copy", "request", "response", "notice"];

/// Whether a kind carries what applications send.
pub(crate) fn is_payload(kind: &str) -> bool {
    PAYLOAD.contains(&kind)
}

/// Which of [`KINDS`] a frame is.
pub(crate) fn kind<T: Topology>(body: &Body<T>) -> usize {
    match body {
        Body::Offer(_) => 0,
        Body::Accept { .. } => 1,
        Body::Confirm { .. } => 2,
        Body::Goodbye(_) => 3,
        Body::Interest { .. } => 4,
        Body::Leaving => 5,
        Body::Credit { .. } => 6,
        Body::Moved(_) => 7,
        Body::Send(_) => 8,
        Body::Call { .. } => 9,
        Body::Reply { .. } => 10,
        Body::Routed(_) => 11,
        Body::Answer { .. } => 12,
        Body::Find { .. } => 13,
        Body::Next { .. } => 14,
        Body::Copy(_) => 15,
        Body::Request { .. } => 16,
        Body::Response { .. } => 17,
        Body::Notice { .. } => 18,
        Body::Store { .. } => 19,
        Body::Stored { .. } => 20,
        Body::Fetch { .. } => 21,
        Body::Fetched { .. } => 22,
        Body::Ping { .. } => 23,
        Body::Pong { .. } => 24,
        Body::Holds { .. } => 25,
        Body::Holding { .. } => 26,
    }
}

/// Frames and bytes sent, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    frames: [u64; KINDS.len()],
    bytes: [u64; KINDS.len()],
}

impl Traffic {
    pub(crate) fn count(&mut self, kind: usize, bytes: usize) {
        self.frames[kind] += 1;
        self.bytes[kind] += bytes as u64;
    }

    /// Every kind that was sent: its name, how many frames, how many bytes.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        let all = KINDS.iter().zip(self.frames).zip(self.bytes);
        all.map(|((&name, frames), bytes)| (name, frames, bytes)).filter(|&(_, frames, _)| frames > 0)
    }

    /// How many frames of one of [`KINDS`]; 0 for a name that is none.
    #[must_use]
    pub fn frames(&self, kind: &str) -> u64 {
        self.kinds().find(|&(name, ..)| name == kind).map_or(0, |(_, frames, _)| frames)
    }

    /// How many bytes of one of [`KINDS`], length prefixes included; 0 for a name that is none.
    #[must_use]
    pub fn bytes(&self, kind: &str) -> u64 {
        self.kinds().find(|&(name, ..)| name == kind).map_or(0, |(.., bytes)| bytes)
    }

    /// Frames and bytes that carry what applications send: broadcast copies, requests, responses, notices. Routed
    /// ones count as control: what they carry is not looked at.
    #[must_use]
    pub fn payload(&self) -> (u64, u64) {
        self.sum(is_payload)
    }

    /// All other frames and bytes.
    #[must_use]
    pub fn control(&self) -> (u64, u64) {
        self.sum(|name| !is_payload(name))
    }

    /// What was sent after `earlier` was read.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut later = *self;
        later.frames.iter_mut().zip(earlier.frames).for_each(|(now, then)| *now -= then);
        later.bytes.iter_mut().zip(earlier.bytes).for_each(|(now, then)| *now -= then);
        later
    }

    fn sum(&self, which: impl Fn(&str) -> bool) -> (u64, u64) {
        let chosen = self.kinds().filter(|&(name, ..)| which(name));
        chosen.fold((0, 0), |(frames, bytes), (_, f, b)| (frames + f, bytes + b))
    }
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.kinds().map(|(name, frames, bytes)| (name, (frames, bytes)))).finish()
    }
}

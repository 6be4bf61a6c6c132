//! One number for a whole run: two runs with the same number went the same way.

use core::fmt;

use polymorph_core::engine::io::Command;
use polymorph_core::{Time, Topology};

/// What an engine was handed. The numbers go into hashes that people compare: append only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Connected = 1,
    DialFailed = 2,
    Lost = 3,
    Frame = 4,
    Undelivered = 5,
    Wake = 6,
    Command = 7,
    Reachable = 8,
    Born = 9,
    Crashed = 10,
    Left = 11,
}

/// The hash of everything that was handed to any engine: when, to whom, what kind, from whom, how many contacts and
/// payload bytes. Not the sizes of messages: a topology behind [`Boxed`](polymorph_core::topology::erased::Boxed)
/// has a length before each of them, and must go the same way as the plain one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceHash(u64, u64);

/// Odd constants with half their bits set (the digits of π).
const FIRST: u64 = 0x243f_6a88_85a3_08d3;
const SECOND: u64 = 0x1319_8a2e_0370_7345;

fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide >> 64) as u64 ^ wide as u64
}

impl TraceHash {
    pub(crate) fn new(seed: u64) -> Self {
        Self(FIRST ^ seed, SECOND)
    }

    /// Takes in one thing handed to an engine; `with` is the other peer, `a` and `b` depend on the kind.
    pub(crate) fn note(&mut self, now: Time, peer: u32, what: What, with: u32, a: u64, b: u64) {
        let who = u64::from(peer) << 32 | u64::from(with);
        let how = (what as u64) << 56 ^ a << 40 ^ b;
        self.0 = fold(self.0 ^ now.0 ^ FIRST, who ^ SECOND).rotate_left(23) ^ how;
        self.1 = fold(self.1 ^ how ^ SECOND, now.0.rotate_left(32) ^ who ^ FIRST).wrapping_add(self.0);
    }
}

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}

impl fmt::Debug for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceHash({self})")
    }
}

/// The kind of a command, as the hash sees it. Append only.
pub(crate) fn command<T: Topology>(command: &Command<T>) -> u64 {
    match command {
        Command::Join { .. } => 1,
        Command::Lookup { .. } => 2,
        Command::Request { .. } => 3,
        Command::Notice { .. } => 4,
        Command::Respond { .. } => 5,
        Command::Publish { .. } => 6,
        Command::Subscribe { .. } => 7,
        Command::Unsubscribe { .. } => 8,
        Command::Put { .. } => 9,
        Command::Withdraw { .. } => 10,
        Command::Get { .. } => 11,
        Command::Ask { .. } => 12,
        Command::Consumed { .. } => 13,
        Command::Hold { .. } => 14,
        Command::Ping { .. } => 15,
        Command::Restore { .. } => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(notes: &[(u64, u32, What, u32, u64, u64)]) -> TraceHash {
        let mut trace = TraceHash::new(1);
        notes.iter().for_each(|&(at, peer, what, with, a, b)| trace.note(Time(at), peer, what, with, a, b));
        trace
    }

    #[test]
    fn every_part_of_what_happened_and_its_order_counts() {
        let plain = (5, 1, What::Frame, 2, 3, 4);
        let others = [
            (6, 1, What::Frame, 2, 3, 4),
            (5, 2, What::Frame, 1, 3, 4),
            (5, 1, What::Lost, 2, 3, 4),
            (5, 1, What::Frame, 3, 3, 4),
            (5, 1, What::Frame, 2, 4, 4),
            (5, 1, What::Frame, 2, 3, 5),
        ];
        for other in others {
            assert_ne!(of(&[plain]), of(&[other]));
            assert_ne!(of(&[plain, other]), of(&[other, plain]));
        }
        assert_eq!(of(&[plain, others[0]]), of(&[plain, others[0]]));
        assert_eq!(of(&[plain]).to_string().len(), 32);
    }
}

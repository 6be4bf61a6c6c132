//! Which contacts a peer was told over its session.

use crate::Guid;

/// How many told contacts a session remembers; a few more than the neighbors of most overlays.
const MAX_TOLD: usize = 128;

/// Fingerprints of the contacts a peer was told. Most sessions carry none.
#[derive(Debug, Default)]
pub(in crate::engine) struct Told(Option<Box<Prints>>);

/// A ring.
#[derive(Debug, Default)]
struct Prints {
    all: Vec<u32>,
    oldest: usize,
}

impl Told {
    /// Notes that the peer is told of this contact of `guid`; `false` if it was before.
    pub(in crate::engine) fn note(&mut self, guid: &Guid, sequence: u64) -> bool {
        let Prints { all, oldest } = &mut **self.0.get_or_insert_default();
        let print = u32::from_le_bytes([guid.0[0], guid.0[1], guid.0[2], guid.0[3]]);
        // A node that moved, or signed anew, must be told of again.
        let print = print ^ (sequence as u32).wrapping_mul(0x9e37_79b9);
        if all.contains(&print) {
            return false;
        }
        if all.len() < MAX_TOLD {
            all.push(print);
        } else {
            all[*oldest] = print;
            *oldest = (*oldest + 1) % MAX_TOLD;
        }
        true
    }

    pub(super) fn bytes(&self) -> usize {
        let prints = |prints: &Prints| size_of::<Prints>() + prints.all.capacity() * size_of::<u32>();
        self.0.as_deref().map_or(0, prints)
    }
}

//! Why a tree that repairs itself never closes into a ring.
//!
//! Every node of a tree carries a [`Label`]: the wave in which it last heard of the root, and its depth. Labels
//! are ordered; the root's is the best, and whoever hangs under another carries a worse one. The rule is local:
//!
//! > *A node takes a parent only if the label that parent tells is better than the best label the node itself
//! > ever told a child.*
//!
//! What a node told therefore only gets better, and along every parent link it is strictly better at the upper
//! end, at every moment and whatever messages are late or lost. A ring would need a label better than itself.
//! This is the feasibility condition of DUAL (Garcia-Luna-Aceves 1993) with the destination's sequence numbers
//! of DSDV, AODV and Babel (RFC 8966 §2.4-2.5): where no better label is to be had, the root begins a new wave.

use core::cmp::Reverse;

use serde::{Deserialize, Serialize};

use polymorph_core::Guid;

/// No tree is deeper; a hop limit allows routes of 64, and a full node hands a joiner further down.
pub const MAX_DEPTH: u16 = 128;

/// How far a joiner's wave may be ahead of the root's. An honest one is ahead by the beats of one life of an
/// earlier root; without a bound one message would use the numbers up.
const MAX_LEAP: u64 = 1 << 32;

/// How near a node stands to the root of a tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Label {
    /// The number of the root's heartbeat; higher is better.
    pub wave: u64,
    /// The first bytes of the root's Guid: decides between two who both think they are the root.
    pub root: u64,
    /// How many links to the root.
    pub depth: u16,
}

impl Label {
    /// The root's own label in a wave.
    #[must_use]
    pub fn root(wave: u64, root: Guid) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&root.0[..8]);
        Self { wave, root: u64::from_be_bytes(first), depth: 0 }
    }

    /// The best label there can be in this wave: only a newer wave beats it.
    #[must_use]
    pub fn best(self) -> Self {
        Self { wave: self.wave, root: 0, depth: 0 }
    }

    /// Whether this label is strictly better.
    #[must_use]
    pub fn beats(&self, other: &Self) -> bool {
        let rank = |label: &Self| (Reverse(label.wave), label.root, label.depth);
        rank(self) < rank(other)
    }

    /// The label so many links farther from the root; `None` where no tree reaches.
    #[must_use]
    pub fn deeper(self, links: u16) -> Option<Self> {
        let depth = self.depth.checked_add(links).filter(|&depth| depth <= MAX_DEPTH)?;
        Some(Self { depth, ..self })
    }

    /// The first wave that beats both; `None` if `other` is ahead by more than anybody honest can be.
    #[must_use]
    pub fn next_wave(&self, other: Option<&Self>) -> Option<u64> {
        let ahead = other.map_or(0, |other| other.wave);
        (ahead <= self.wave.saturating_add(MAX_LEAP)).then(|| self.wave.max(ahead).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_wave_beats_a_nearer_place_and_the_lower_root_decides_a_tie() {
        let label = |wave, root, depth| Label { wave, root, depth };
        assert!(label(2, 9, 40).beats(&label(1, 0, 0)));
        assert!(label(2, 1, 40).beats(&label(2, 9, 0)));
        assert!(label(2, 9, 3).beats(&label(2, 9, 4)));
        assert!(!label(2, 9, 4).beats(&label(2, 9, 4)));
        assert!(!label(7, 0, 0).beats(&label(7, 3, 2).best()));
        assert!(label(8, 9, 9).beats(&label(7, 3, 2).best()));
    }

    #[test]
    fn a_tree_has_a_deepest_place() {
        let root = Label::root(1, Guid([7; 32]));
        assert_eq!(root.deeper(MAX_DEPTH).map(|label| label.depth), Some(MAX_DEPTH));
        assert_eq!(root.deeper(MAX_DEPTH).and_then(|label| label.deeper(1)), None);
        assert_eq!(root.deeper(u16::MAX), None);
    }

    #[test]
    fn a_root_catches_up_with_honest_numbers_only() {
        let root = Label::root(5, Guid([7; 32]));
        assert_eq!(root.next_wave(None), Some(6));
        assert_eq!(root.next_wave(Some(&Label { wave: 90, root: 1, depth: 3 })), Some(91));
        assert_eq!(root.next_wave(Some(&Label { wave: 2, root: 1, depth: 3 })), Some(6));
        assert_eq!(root.next_wave(Some(&Label { wave: u64::MAX, root: 1, depth: 3 })), None);
    }
}

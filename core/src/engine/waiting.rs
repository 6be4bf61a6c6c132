//! Frames that wait for a session.

use super::Slot;
use crate::topology::Topology;
use crate::wire::Frame;

/// The frames for one peer that wait until a session carries their overlay, and what they count in bytes. The bound
/// is the peer's queue, which they share.
#[derive(Debug)]
pub(super) struct Waiting<T: Topology> {
    frames: Vec<(Slot, Frame<T>)>,
    bytes: usize,
}

impl<T: Topology> Waiting<T> {
    pub(super) const fn new() -> Self {
        Self { frames: Vec::new(), bytes: 0 }
    }

    pub(super) fn push(&mut self, slot: Slot, frame: Frame<T>) {
        self.bytes += frame.charge() as usize;
        // Mostly it is one, and a vector that grows makes room for four.
        if self.frames.is_empty() {
            self.frames.reserve_exact(1);
        }
        self.frames.push((slot, frame));
    }

    /// Takes out the frames of the overlays that `which` names, in order.
    pub(super) fn take(&mut self, mut which: impl FnMut(Slot) -> bool) -> Vec<(Slot, Frame<T>)> {
        let taken: Vec<_> = self.frames.extract_if(.., |(slot, _)| which(*slot)).collect();
        if self.frames.is_empty() {
            self.frames = Vec::new();
        }
        self.bytes -= taken.iter().map(|(_, frame)| frame.charge() as usize).sum::<usize>();
        taken
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Slot, Frame<T>)> {
        self.frames.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What the frames count.
    pub(super) fn charge(&self) -> usize {
        self.bytes
    }

    /// About how much memory they take.
    pub(super) fn bytes(&self) -> usize {
        self.frames.capacity() * size_of::<(Slot, Frame<T>)>() + self.bytes
    }
}

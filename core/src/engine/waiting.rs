//! Frames that wait for a session.

use super::Slot;
use crate::topology::Topology;
use crate::wire::Frame;

/// The frames for one peer that wait until a session carries their overlay, and what they count in bytes. The bound
/// is the peer's queue, which they share.
#[derive(Debug)]
pub(super) struct Waiting<T: Topology>(Option<Box<Held<T>>>);

/// Hardly any peer has frames waiting.
#[derive(Debug)]
struct Held<T: Topology> {
    frames: Vec<(Slot, Frame<T>)>,
    bytes: usize,
}

impl<T: Topology> Waiting<T> {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    pub(super) fn push(&mut self, slot: Slot, frame: Frame<T>) {
        // Mostly it is one, and a vector that grows makes room for four.
        let held = self.0.get_or_insert_with(|| Box::new(Held { frames: Vec::with_capacity(1), bytes: 0 }));
        held.bytes += frame.charge() as usize;
        held.frames.push((slot, frame));
    }

    /// Takes out the frames of the overlays that `which` names, in order.
    pub(super) fn take(&mut self, mut which: impl FnMut(Slot) -> bool) -> Vec<(Slot, Frame<T>)> {
        let Some(held) = &mut self.0 else { return Vec::new() };
        let taken: Vec<_> = held.frames.extract_if(.., |(slot, _)| which(*slot)).collect();
        held.bytes -= taken.iter().map(|(_, frame)| frame.charge() as usize).sum::<usize>();
        if held.frames.is_empty() {
            self.0 = None;
        }
        taken
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Slot, Frame<T>)> {
        self.0.iter().flat_map(|held| &held.frames)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// What the frames count.
    pub(super) fn charge(&self) -> usize {
        self.0.as_ref().map_or(0, |held| held.bytes)
    }

    /// About how much memory they take.
    pub(super) fn bytes(&self) -> usize {
        let held =
            |held: &Held<T>| size_of::<Held<T>>() + held.frames.capacity() * size_of::<(Slot, Frame<T>)>() + held.bytes;
        self.0.as_deref().map_or(0, held)
    }
}

//! The sans-IO node.

pub mod io;
pub mod settings;

/// Which of a node's overlays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Slot(pub u16);

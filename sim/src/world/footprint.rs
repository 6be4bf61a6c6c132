//! Where a world's memory goes.

use polymorph_core::{Guid, Topology};

use super::{Node, World};
use crate::wires::WireId;

/// Bytes held by the parts of a world, room for more included. What the allocator adds is not in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Footprint {
    /// All engines with their topologies, by their own count; and a Guid for each neighbor, since what a topology's
    /// tables take is not known from outside.
    pub engines: usize,
    /// The world's own note of each peer.
    pub nodes: usize,
    /// Wires.
    pub wires: usize,
    /// Events to come.
    pub wheel: usize,
    /// Frames on their way, without what they carry.
    pub flights: usize,
    /// Who is who, and contacts.
    pub directory: usize,
    /// What applications saw.
    pub witness: usize,
}

impl Footprint {
    /// The world's own part: everything but the engines.
    #[must_use]
    pub fn world(&self) -> usize {
        self.nodes + self.wires + self.wheel + self.flights + self.directory + self.witness
    }
}

impl<T: Topology> World<T> {
    /// Where this world's memory goes. Walks over everybody.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        let wires = |node: &Node<T>| node.wires.capacity() * size_of::<WireId>();
        let attached: usize = self.nodes.iter().map(|node| node.attached.capacity() * 4 + wires(node)).sum();
        Footprint {
            engines: self.peers().map(|peer| self.bytes(peer)).sum(),
            nodes: self.nodes.capacity() * size_of::<Node<T>>() + attached,
            wires: self.wires.bytes(),
            wheel: self.wheel.bytes(),
            flights: self.flights.bytes() + self.landings.bytes() + self.strangers.bytes() + self.pipes.bytes(),
            directory: self.directory.open().bytes(),
            witness: self.witness.bytes(),
        }
    }

    /// About how many bytes a peer's engine holds, its topologies included: see [`Footprint::engines`].
    pub(crate) fn bytes(&self, peer: super::Peer) -> usize {
        self.engine(peer).map_or(0, |engine| engine.bytes()) + self.entries(peer) * size_of::<Guid>()
    }
}

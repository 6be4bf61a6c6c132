//! Links follow tables: what a change of a table means for links, and for whoever stands on the overlay.

use core::cmp::Reverse;

use polymorph_core::Guid;
use polymorph_core::topology::Topology;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::Change;
use polymorph_core::topology::question::{Hold, Neighbor};

/// Everybody in a table, sorted, with the firmest of the reasons to hold a link.
#[derive(Debug, Default)]
pub(super) struct Holds(Vec<(Guid, Hold)>);

impl Holds {
    pub(super) fn of(neighbors: &[Neighbor]) -> Self {
        let mut holds: Vec<_> = neighbors.iter().map(|neighbor| (neighbor.peer, neighbor.hold)).collect();
        holds.sort_unstable_by_key(|&(peer, hold)| (peer, Reverse(hold)));
        holds.dedup_by_key(|(peer, _)| *peer);
        Self(holds)
    }

    fn get(&self, peer: &Guid) -> Option<Hold> {
        self.0.binary_search_by_key(peer, |(guid, _)| *guid).ok().map(|index| self.0[index].1)
    }

    /// Asks for all links, for a node whose table was there before it joined.
    pub(super) fn want<T: Topology>(&self, cx: &mut Context<'_, T>) {
        self.0.iter().for_each(|&(peer, hold)| cx.want(peer, hold));
    }

    /// Lets go of who is no longer there, asks for who is new or held otherwise, and says so. Gives what is held then.
    pub(super) fn become_of<T: Topology>(&self, neighbors: &[Neighbor], cx: &mut Context<'_, T>) -> Self {
        let after = Self::of(neighbors);
        for (peer, _) in self.0.iter().filter(|(peer, _)| after.get(peer).is_none()) {
            cx.unwant(*peer);
            cx.change(Change::NeighborDown(*peer));
        }
        for &(peer, hold) in &after.0 {
            match self.get(&peer) {
                Some(old) if old == hold => continue,
                Some(_) => {}
                None => cx.change(Change::NeighborUp(peer)),
            }
            cx.want(peer, hold);
        }
        after
    }
}

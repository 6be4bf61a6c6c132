//! The links of all trees of one node: two trees over the same peer share one.

use std::collections::BTreeMap;

use polymorph_core::Guid;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::question::Hold;

use super::Scribe;

/// Who is held, by how many trees, and how firmly.
#[derive(Debug)]
pub(super) struct Links {
    held: BTreeMap<Guid, Held>,
    required: usize,
    limit: usize,
}

#[derive(Debug)]
struct Held {
    trees: u32,
    hold: Hold,
}

impl Links {
    /// At most `limit` links are required; those beyond are cached, and dialed when something is sent.
    pub(super) fn new(limit: usize) -> Self {
        Self { held: BTreeMap::new(), required: 0, limit }
    }

    /// One tree more needs this peer.
    pub(super) fn hold(&mut self, peer: Guid, cx: &mut Context<'_, Scribe>) {
        if let Some(held) = self.held.get_mut(&peer) {
            held.trees += 1;
            return;
        }
        let hold = if self.required < self.limit { Hold::Required } else { Hold::Cached };
        self.required += usize::from(hold == Hold::Required);
        self.held.insert(peer, Held { trees: 1, hold });
        cx.want(peer, hold);
    }

    /// One tree less needs it.
    pub(super) fn release(&mut self, peer: Guid, cx: &mut Context<'_, Scribe>) {
        let Some(held) = self.held.get_mut(&peer) else { return };
        held.trees -= 1;
        if held.trees == 0 {
            self.forget(peer);
            cx.unwant(peer);
        }
    }

    /// The engine said the peer is gone and holds it no longer.
    pub(super) fn forget(&mut self, peer: Guid) {
        if let Some(held) = self.held.remove(&peer) {
            self.required -= usize::from(held.hold == Hold::Required);
        }
    }

    /// How firmly a peer is held.
    pub(super) fn how(&self, peer: &Guid) -> Hold {
        self.held.get(peer).map_or(Hold::Cached, |held| held.hold)
    }
}

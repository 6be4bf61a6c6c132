//! The links of all trees of one node: two trees over the same peer share one.

use std::collections::BTreeMap;

use polymorph_core::Guid;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::question::Hold;

use super::Scribe;

/// Who is held, by how many trees and copies on their way, and how firmly.
#[derive(Debug)]
pub(super) struct Links {
    held: BTreeMap<Guid, Held>,
    required: usize,
    limit: usize,
}

#[derive(Debug)]
struct Held {
    users: u32,
    hold: Hold,
}

impl Links {
    /// At most `limit` links are required; those beyond are cached, and dialed when something is sent.
    pub(super) fn new(limit: usize) -> Self {
        Self { held: BTreeMap::new(), required: 0, limit }
    }

    /// How many peers are held.
    pub(super) fn size(&self) -> usize {
        self.held.len()
    }

    /// One user more of this peer, and how firmly it needs the link.
    pub(super) fn hold(&mut self, peer: Guid, need: Hold, cx: &mut Context<'_, Scribe>) {
        let held = self.held.entry(peer).or_insert(Held { users: 0, hold: Hold::Cached });
        held.users += 1;
        let firmer = need == Hold::Required && held.hold == Hold::Cached && self.required < self.limit;
        if firmer {
            held.hold = Hold::Required;
            self.required += 1;
        }
        if firmer || held.users == 1 {
            cx.want(peer, held.hold);
        }
    }

    /// One user less.
    pub(super) fn release(&mut self, peer: Guid, cx: &mut Context<'_, Scribe>) {
        let Some(held) = self.held.get_mut(&peer) else { return };
        held.users -= 1;
        if held.users == 0 {
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

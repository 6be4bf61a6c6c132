//! Where a message goes from here.

use core::iter;

use bytes::Bytes;
use polymorph_core::topology::question::{Query, Route, Verdict};
use polymorph_core::{Distance, Guid, Key};

use super::last_hop::{LastHop, Passed};
use super::name::Name;
use super::table::Peer;
use super::virtual_node::VirtualNode;
use super::{Chord, Shortcut};

/// A message on its way through this peer.
struct Passage<'a> {
    query: &'a Query<'a, Chord>,
    me: Guid,
    nodes: &'a [VirtualNode],
    /// The one that owns the key if any of this peer's does: the first at or after it.
    after: &'a VirtualNode,
    /// The one that sends the message on: the last before the key.
    before: &'a VirtualNode,
}

impl Chord {
    pub(super) fn find_way(&self, key: &Key, query: &Query<'_, Self>, route: &mut Route) {
        let present = || self.nodes.iter().filter(|node| node.is_in());
        let after = present().min_by_key(|node| key.clockwise(&node.table.mine()));
        let before = present().min_by_key(|node| node.table.to(key));
        if let Some((after, before)) = after.zip(before) {
            let me = self.place().me;
            Passage { query, me, nodes: &self.nodes, after, before }.find(key, route);
        }
    }
}

impl Passage<'_> {
    fn find(&self, key: &Key, route: &mut Route) {
        let point = self.after.table.to(key);
        let told = LastHop::read(self.query.state);
        let predecessor = self.after.table.predecessor();
        let nearer = predecessor.filter(|peer| point > Distance::ZERO && point <= peer.at);
        if let Some(told) = &told
            && let Some(nearer) = nearer.filter(|peer| self.allows(peer) && !told.names(&peer.name))
        {
            // Whoever sent this here does not know the peer before this one yet.
            route.verdict = Verdict::Forward;
            route.peers.push(nearer.guid());
            route.state = Bytes::copy_from_slice(self.query.state);
            return;
        }
        let mine = told.is_some() || point == Distance::ZERO || predecessor.is_some() && nearer.is_none();
        let first = self.before.table.first(|peer| self.allows(peer));
        match first.filter(|_| !mine) {
            None => self.deliver(route),
            Some(first) => self.forward(self.before.table.to(key), first, nearer, route),
        }
    }

    /// Whether somebody may be named. Of this peer's own virtual nodes those that are on the ring may.
    fn allows(&self, peer: &Peer) -> bool {
        if peer.guid() == self.me {
            self.nodes.get(usize::from(peer.name.index)).is_some_and(VirtualNode::is_in)
        } else {
            self.query.allows(&peer.guid())
        }
    }

    /// The key is this peer's, and its replicas are with those that follow.
    fn deliver(&self, route: &mut Route) {
        route.verdict = Verdict::Deliver { rank: 0 };
        let others = self.after.table.successors().iter().copied().filter(|peer| self.allows(peer));
        let others = others.filter(|peer| peer.guid() != self.me);
        self.name(others, self.query.n.saturating_sub(1), route, |_| {});
    }

    /// The key is somebody else's: the owner's if this node knows it, otherwise somebody's on the way.
    fn forward(&self, point: Distance, first: Peer, nearer: Option<Peer>, route: &mut Route) {
        let (table, shortcut, n) = (&self.before.table, self.before.config.shortcut, self.query.n);
        let owner = match shortcut {
            _ if point <= first.at => Some(first),
            Shortcut::Successors => table.successors_from(point).find(|peer| self.allows(peer)),
            Shortcut::None => None,
        };
        let Some(owner) = owner else {
            route.verdict = Verdict::Forward;
            let allowed = |peer: &Peer| self.allows(peer);
            let way = table.preceding(point, &allowed, shortcut);
            self.name(way.filter(|peer| peer.guid() != self.me), n.max(1), route, |_| {});
            return;
        };
        // The one before the key need not have heard of whom the one after it knows to stand between.
        let nearer = nearer.filter(|peer| owner.guid() == self.me && self.allows(peer));
        let Some(owner) = nearer.or(Some(owner)).filter(|owner| owner.guid() != self.me) else {
            return self.deliver(route);
        };
        route.verdict = Verdict::Forward;
        let after = table.successors_from(owner.at).filter(|peer| peer.name != owner.name && self.allows(peer));
        let after = after.take_while(|peer| peer.guid() != self.me);
        let passed = table.successors_from(point).take_while(|peer| peer.at < owner.at);
        let mut state = Passed::default();
        passed.for_each(|peer| state.push(&peer.name));
        self.name(iter::once(owner).chain(after), n.max(1), route, |name| state.push(name));
        route.state = state.finish();
    }

    /// Names up to `n` different peers, and says which of their virtual nodes are meant.
    fn name(&self, those: impl Iterator<Item = Peer>, n: usize, route: &mut Route, mut meant: impl FnMut(&Name)) {
        for peer in those {
            if route.peers.len() == n {
                break;
            }
            if self.nodes.len() == 1 || !route.peers.contains(&peer.guid()) {
                route.peers.push(peer.guid());
                meant(&peer.name);
            }
        }
    }
}

//! The way of a message (§2.3).

use polymorph_core::Guid;
use polymorph_core::topology::question::{Query, Route, Target, Verdict};

use super::super::prefix::{Peer, around, head, mix};
use super::Pastry;

impl Pastry {
    /// Within the leaf set straight to the owner; otherwise to somebody who shares a digit more with the key; in the
    /// rare case that nobody does, to anybody who shares as many and is numerically nearer.
    pub(super) fn way(&self, query: &Query<'_, Self>, route: &mut Route) {
        let (Target::Key(key) | Target::Address(key)) = query.to;
        let key = head(key);
        let allowed = |guid: &Guid| query.allows(guid);
        if self.leafs.covers(key) {
            return self.last_hop(key, query, route);
        }
        let shared = self.digits().shared(self.mine, key);
        let slot = self.table.get(shared, self.digits().digit(key, shared)).map(|entry| entry.peer);
        let best = slot.filter(|peer| allowed(&peer.guid));
        let mut others = Vec::new();
        if best.is_none() || query.n > 1 || self.config.random > 0.0 {
            let mine = around(self.mine, key);
            let suits = |peer: &Peer| {
                self.digits().shared(peer.at, key) >= shared && around(peer.at, key) < mine && allowed(&peer.guid)
            };
            let known = self.leafs.all().chain(self.table.peers()).filter(|peer| Some(*peer) != best);
            others.extend(known.filter(suits));
            others.sort_unstable_by_key(|peer| (u8::MAX - self.digits().shared(peer.at, key), peer.rank(key)));
            others.dedup();
        }
        route.verdict = Verdict::Forward;
        route.peers.extend(best.into_iter().chain(others).take(query.n.max(1)).map(|peer| peer.guid));
        self.shuffle(key, query, route);
        if route.peers.is_empty() {
            self.last_hop(key, query, route);
        }
    }

    /// The owner is the nearest of the leaf set, this node included. With room in it, of all that are known: then
    /// the overlay is small, or part of it has just died.
    fn last_hop(&self, key: u64, query: &Query<'_, Self>, route: &mut Route) {
        let table = self.table.peers().filter(|_| self.leafs.has_room());
        let mut peers: Vec<Peer> = self.leafs.all().chain(table).filter(|peer| query.allows(&peer.guid)).collect();
        peers.sort_unstable_by_key(|peer| peer.rank(key));
        peers.dedup();
        let me = Peer { at: self.mine, guid: self.place.me };
        let nearer = peers.partition_point(|peer| peer.rank(key) < me.rank(key));
        if nearer == 0 {
            route.verdict = Verdict::Deliver { rank: 0 };
            route.peers.extend(peers.iter().take(query.n.saturating_sub(1)).map(|peer| peer.guid));
        } else {
            route.verdict = Verdict::Forward;
            route.peers.extend(peers[..nearer].iter().take(query.n.max(1)).map(|peer| peer.guid));
        }
    }

    /// Randomized routing: a share of hops goes to another one of those that suit, drawn anew for each message, so that
    /// one that is sent again evades whoever swallowed it.
    fn shuffle(&self, key: u64, query: &Query<'_, Self>, route: &mut Route) {
        let draw = mix(self.salt ^ mix(key) ^ u64::from(query.draw));
        let happens = (draw >> 11) as f64 / ((1_u64 << 53) as f64) < self.config.random;
        if happens && route.peers.len() > 1 {
            let other = 1 + mix(draw) as usize % (route.peers.len() - 1);
            route.peers.swap(0, other);
        }
    }
}

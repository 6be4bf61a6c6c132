//! The way to a place, the owner of a key, and the path of a broadcast.

use bytes::Bytes;
use polymorph_core::topology::question::{Query, Route, Spread, Target, Verdict};
use polymorph_core::{Guid, Key};

use super::path::Path;
use super::ring::Ring;
use super::{Polyring, Stand};

/// Where a message goes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Nowhere: it is there.
    Here,
    /// To this peer.
    To(Guid),
    /// Nobody stands there, or the parent is gone.
    Nowhere,
}

/// Route state of a message for a key that has crossed the center and is on its way outwards.
const OUTWARDS: &[u8] = &[1];

impl Stand {
    /// The five cases (Jenkov, "Polyring", routing; with `common + 2 <= level`, where the published form would
    /// underflow in the center).
    pub(super) fn step(&self, to: &Path) -> Step {
        let (level, target, common) = (self.path.level(), to.level(), self.path.common(to));
        let next = if common + 2 <= level {
            // Another branch, or an ancestor further up.
            self.parent
        } else if common + 1 == level {
            // The parent itself, or a sibling or what lies around it.
            if target == common { self.parent } else { self.ring.get(to.coordinates()[common]) }
        } else if target == level {
            return Step::Here;
        } else {
            self.children.get(to.coordinates()[common])
        };
        next.map_or(Step::Nowhere, Step::To)
    }
}

impl Polyring {
    pub(super) fn find_way(&self, query: &Query<'_, Self>, route: &mut Route) {
        let Some(stand) = &self.stand else { return };
        match query.to {
            Target::Address(path) => match stand.step(path) {
                Step::Here => route.verdict = Verdict::Deliver { rank: 0 },
                Step::To(peer) if query.allows(&peer) => forward(route, peer, &[]),
                // There is no second way.
                Step::To(_) | Step::Nowhere => {}
            },
            Target::Key(key) => self.find_owner(stand, key, query, route),
        }
    }

    /// To the center, and from there outwards: in each ring to the member that the key ranks first, until one has no
    /// children.
    fn find_owner(&self, stand: &Stand, key: &Key, query: &Query<'_, Self>, route: &mut Route) {
        if query.state != OUTWARDS {
            if stand.path.level() > 1 {
                if let Some(parent) = stand.parent.filter(|parent| query.allows(parent)) {
                    forward(route, parent, &[]);
                }
                return;
            }
            match first_of(&stand.ring, key, query) {
                Some(best) if best != self.me => return forward(route, best, OUTWARDS),
                _ => {}
            }
        }
        if !stand.children.is_empty() {
            if let Some(best) = first_of(&stand.children, key, query) {
                forward(route, best, OUTWARDS);
            }
            return;
        }
        let ranked = ranked(&stand.ring, key);
        let rank = ranked.iter().position(|member| *member == self.me).unwrap_or_default();
        route.verdict = Verdict::Deliver { rank: rank.min(usize::from(u8::MAX)) as u8 };
        let others = ranked.into_iter().filter(|member| *member != self.me && query.allows(member));
        route.peers.extend(others.take(query.n.saturating_sub(1)));
    }

    /// Origin → parent, siblings, children; from a child → parent and siblings; from a sibling or the parent →
    /// children. The parent first, which is thought to be faster. Nobody gets a copy twice.
    pub(super) fn pass_copy(&self, spread: &Spread, to: &mut Vec<Guid>) {
        let Some(stand) = &self.stand else { return };
        let from = spread.from;
        let from_child = from.is_some_and(|from| stand.children.contains(&from));
        let from_above = from.is_some_and(|from| stand.parent == Some(from) || stand.ring.contains(&from));
        if !from_above {
            to.extend(stand.parent);
            to.extend(stand.ring.others(self.me));
        }
        if !from_child {
            to.extend(stand.children.members());
        }
        // From somebody who is no neighbor (any longer) it is passed on as if it began here, but not back.
        to.retain(|peer| Some(*peer) != from);
    }
}

fn forward(route: &mut Route, peer: Guid, state: &'static [u8]) {
    route.verdict = Verdict::Forward;
    route.peers.push(peer);
    route.state = Bytes::from_static(state);
}

/// Whom a key ranks first among those who answer.
fn first_of(ring: &Ring, key: &Key, query: &Query<'_, Polyring>) -> Option<Guid> {
    ring.members().filter(|member| query.allows(member)).max_by_key(|member| weight(key, member))
}

/// A ring in the order of a key.
fn ranked(ring: &Ring, key: &Key) -> Vec<Guid> {
    let mut members: Vec<_> = ring.members().map(|member| (weight(key, &member), member)).collect();
    members.sort_unstable_by(|a, b| b.cmp(a));
    members.into_iter().map(|(_, member)| member).collect()
}

/// Rendezvous hashing (Thaler & Ravishankar, "Using name-based mappings to increase hit rates", 1998): the member
/// with the highest weight owns the key, and a member that comes or goes moves only its own keys.
pub(super) fn weight(key: &Key, member: &Guid) -> u64 {
    mix(fold(&key.0) ^ fold(&member.0).rotate_left(32))
}

/// Thirty-two bytes as a number. They are hashes, so any part of them will do; all are taken.
pub(super) fn fold(bytes: &[u8; 32]) -> u64 {
    bytes.chunks_exact(8).fold(0, |sum, word| {
        let mut part = [0; 8];
        part.copy_from_slice(word);
        mix(sum ^ u64::from_le_bytes(part))
    })
}

/// SplitMix64's finalizer (Steele, Lea, Flood 2014).
pub(super) fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

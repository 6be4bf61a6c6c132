//! Who is linked to whom: what a drawing of an overlay is made of.

use hashbrown::HashMap;
use polymorph_core::topology::question::{Hold, Neighbor, Role};
use polymorph_core::{Guid, OverlayId};

/// Larger overlays are not drawn: one would see a disc.
pub const MAX_DRAWN: usize = 200;

/// An overlay at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct Portrait {
    /// Its peers, in the order of their positions.
    pub peers: Vec<Sitter>,
    /// Who is linked to whom.
    pub links: Vec<Link>,
}

/// One peer of a portrait.
#[derive(Clone, PartialEq, Debug)]
pub struct Sitter {
    /// Who.
    pub guid: Guid,
    /// Where on the ring of keys, 0 to 1.
    pub position: f64,
    /// Frames it handled, against the mean.
    pub load: f64,
    /// Its neighbors.
    pub degree: usize,
    /// Whether it attacks the others.
    pub attacks: bool,
}

/// Two peers of whom at least one calls the other its neighbor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Their places in [`Portrait::peers`], the smaller first.
    pub ends: (u16, u16),
    /// What one is to the other; of several roles the one that says most.
    pub role: Role,
    /// The strongest hold of the two.
    pub hold: Hold,
}

impl Portrait {
    /// Of these peers: who, how busy, and with which neighbors. `None` if they are too many to be drawn, or nobody.
    #[must_use]
    pub fn of(overlay: OverlayId, peers: Vec<(Guid, f64, Vec<Neighbor>)>) -> Option<Self> {
        if peers.is_empty() || peers.len() > MAX_DRAWN {
            return None;
        }
        let mut all: Vec<_> = peers.into_iter().map(|peer| (overlay.position(peer.0, 0), peer)).collect();
        all.sort_by_key(|(position, _)| *position);
        let places: HashMap<Guid, u16> = all.iter().map(|(_, peer)| peer.0).zip(0..).collect();
        let mut links = Vec::new();
        for (_, (guid, _, neighbors)) in &all {
            for Neighbor { peer, role, hold } in neighbors {
                let (Some(&a), Some(&b)) = (places.get(guid), places.get(peer)) else { continue };
                links.push(Link { ends: (a.min(b), a.max(b)), role: *role, hold: *hold });
            }
        }
        links.sort_by_key(|link| (link.ends, rank(link.role)));
        links.dedup_by(|next, first| {
            let same = next.ends == first.ends;
            first.hold = if same { first.hold.max(next.hold) } else { first.hold };
            same
        });
        let sit = |(position, (guid, load, neighbors)): (polymorph_core::Key, (Guid, f64, Vec<Neighbor>))| {
            let [a, b, c, d, ..] = position.0;
            let position = f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0);
            let mut others: Vec<Guid> = neighbors.iter().map(|neighbor| neighbor.peer).collect();
            others.sort_unstable();
            others.dedup();
            Sitter { guid, position, load, degree: others.len(), attacks: false }
        };
        Some(Self { peers: all.into_iter().map(sit).collect(), links })
    }
}

/// Roles that say where payload goes come before those that say who is known.
fn rank(role: Role) -> u8 {
    match role {
        Role::Parent | Role::Child => 0,
        Role::Eager => 1,
        Role::Successor => 2,
        Role::Predecessor => 3,
        Role::Sibling => 4,
        Role::Leaf => 5,
        Role::Lazy => 6,
        Role::Finger | Role::Bucket => 7,
        Role::Active | Role::Peer => 8,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_peers_have_one_link_of_the_role_that_says_most() {
        let guid = |number| Guid([number; 32]);
        let neighbor = |peer, role, hold| Neighbor { peer: guid(peer), role, hold };
        let one = vec![neighbor(2, Role::Active, Hold::Required), neighbor(2, Role::Lazy, Hold::Cached)];
        let two = vec![neighbor(1, Role::Active, Hold::Required), neighbor(1, Role::Eager, Hold::Cached)];
        // Whoever is not there is not drawn.
        let three = vec![neighbor(9, Role::Active, Hold::Required)];
        let peers = vec![(guid(1), 1.0, one), (guid(2), 2.0, two), (guid(3), 0.0, three)];
        let portrait = Portrait::of(OverlayId([7; 32]), peers).unwrap();
        let [link] = portrait.links[..] else { panic!("{:?}", portrait.links) };
        assert_eq!((link.role, link.hold), (Role::Eager, Hold::Required));
        assert!(portrait.peers.is_sorted_by_key(|peer| peer.position));
        let ends = [link.ends.0, link.ends.1].map(|end| portrait.peers[usize::from(end)].guid);
        assert!(ends.contains(&guid(1)) && ends.contains(&guid(2)));
        let one_of = |at: usize| (guid((at % 250) as u8), 0.0, Vec::new());
        assert_eq!(Portrait::of(OverlayId([7; 32]), (0..=MAX_DRAWN).map(one_of).collect()), None);
    }
}

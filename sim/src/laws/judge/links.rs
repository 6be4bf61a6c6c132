//! Symmetry, and whether anybody keeps who is gone.

use polymorph_core::Guid;
use polymorph_core::topology::Topology;
use polymorph_core::topology::question::Hold;

use super::super::case::Wrong;
use super::super::play::Play;
use super::super::script::Room;

/// Whoever has a neighbor is that one's neighbor.
pub(in super::super) fn symmetry<T: Topology>(play: &Play<T>) -> Result<(), Wrong> {
    for (peer, topology) in play.members(Room::A) {
        let me = play.world.guid(peer);
        for neighbor in topology.neighbors() {
            let other = play.members(Room::A).find(|(other, _)| play.world.guid(*other) == neighbor.peer);
            let back = other.map(|(_, topology)| topology.neighbors().iter().any(|n| n.peer == me));
            if back != Some(true) {
                let why = if back.is_none() { "is not there" } else { "does not have it" };
                let what = format!("has {} as {:?}, which {why}", play.who(&neighbor.peer), neighbor.role);
                return Err(Wrong::new("one-sided", peer, what));
            }
        }
    }
    Ok(())
}

/// Nobody holds a link to somebody who is gone.
pub(super) fn nobody_keeps_the_gone<T: Topology>(play: &Play<T>) -> Result<(), Wrong> {
    let gone: Vec<Guid> = play.gone.iter().map(|peer| play.world.guid(*peer)).collect();
    for (peer, topology) in play.members(Room::A) {
        let kept = topology.neighbors().into_iter().find(|n| n.hold == Hold::Required && gone.contains(&n.peer));
        if let Some(kept) = kept {
            let what = format!("still has {} as {:?}, which is gone", play.who(&kept.peer), kept.role);
            return Err(Wrong::new("kept", peer, what));
        }
    }
    Ok(())
}

//! Isolation: two overlays on the same nodes.

use polymorph_core::topology::Topology;
use polymorph_core::topology::model::Claims;

use super::super::case::Wrong;
use super::super::play::Play;
use super::super::script::Room;

/// Nobody has a neighbor, finds an owner or hears a broadcast of an overlay that is not this one.
pub(in super::super) fn isolation<T: Topology>(claims: &Claims, play: &Play<T>) -> Result<(), Wrong> {
    for room in [Room::A, Room::B] {
        let inside = play.census(room).guids;
        for (peer, topology) in play.members(room) {
            let neighbors = topology.neighbors();
            if let Some(other) = neighbors.iter().find(|neighbor| !inside.contains(&neighbor.peer)) {
                let what = format!(
                    "in overlay {room:?} has {} as {:?}, which is not in it",
                    play.who(&other.peer),
                    other.role
                );
                return Err(Wrong::new("peers", peer, what));
            }
        }
        for find in play.finds.iter().filter(|find| find.room == room) {
            if let Some((owner, _)) = play.found(find).filter(|(owner, _)| !inside.contains(owner)) {
                let what = format!(
                    "in overlay {room:?} finds key {} at {}, which is not in it",
                    find.number,
                    play.who(&owner)
                );
                return Err(Wrong::new("peers", find.peer, what));
            }
        }
    }
    messages(claims, play)
}

fn messages<T: Topology>(claims: &Claims, play: &Play<T>) -> Result<(), Wrong> {
    if !claims.coverage {
        return Ok(());
    }
    let heard = play.world.deliveries().iter().map(|heard| (heard.peer, Some(heard.slot), &heard.payload));
    let handed = play.world.arrivals().iter().map(|heard| (heard.peer, None, &heard.payload));
    for (peer, slot, payload) in heard.chain(handed) {
        let Some(cast) = play.casts.iter().find(|cast| cast.mark == payload[..]) else {
            return Err(Wrong::new("messages", peer, "hears what nobody sent"));
        };
        let right = play.slots.get(&(peer, cast.room));
        if right.is_none() || slot.is_some_and(|slot| Some(&slot) != right) {
            let what = format!("hears what peer {} sent in overlay {:?} in the other one", cast.peer.0, cast.room);
            return Err(Wrong::new("messages", peer, what));
        }
    }
    Ok(())
}

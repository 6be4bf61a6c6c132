//! Bounded state and hostility: what peers remember, and that engines' own books are right.

use polymorph_core::topology::model::{Claims, Model};
use polymorph_core::topology::question::Hold;

use super::super::case::Wrong;
use super::super::play::Play;
use super::super::script::{Deed, Room};

/// However many come and go.
pub(in super::super) fn state<M: Model>(claims: &Claims, play: &mut Play<M>, deed: Option<&Deed>) -> Result<(), Wrong> {
    entries(claims, play)?;
    let (None, Some(most)) = (deed, claims.degree) else { return Ok(()) };
    for (peer, topology) in play.members(Room::A) {
        let mut required = topology.neighbors();
        required.retain(|neighbor| neighbor.hold == Hold::Required);
        required.sort_unstable_by_key(|neighbor| neighbor.peer);
        required.dedup_by_key(|neighbor| neighbor.peer);
        if required.len() > most {
            let what = format!("requires links to {} peers, {most} are claimed", required.len());
            return Err(Wrong::new("links", peer, what));
        }
    }
    books(play)
}

/// Whatever befalls topologies, and whatever bytes come.
pub(in super::super) fn hostility<M: Model>(
    claims: &Claims,
    play: &mut Play<M>,
    deed: Option<&Deed>,
) -> Result<(), Wrong> {
    entries(claims, play)?;
    if deed.is_none() { books(play) } else { Ok(()) }
}

fn entries<M: Model>(claims: &Claims, play: &Play<M>) -> Result<(), Wrong> {
    let Some(most) = claims.entries else { return Ok(()) };
    for (peer, topology) in play.members(Room::A) {
        let entries = topology.entries();
        if entries > most {
            return Err(Wrong::new(
                "entries",
                peer,
                format!("has {entries} entries in its tables, {most} are claimed"),
            ));
        }
    }
    Ok(())
}

fn books<M: Model>(play: &Play<M>) -> Result<(), Wrong> {
    for peer in play.world.peers() {
        if let Some(Err(why)) = play.world.engine(peer).map(|engine| engine.audit()) {
            return Err(Wrong::new("books", peer, why));
        }
    }
    Ok(())
}

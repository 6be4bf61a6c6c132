//! Coverage: all, once, and at what cost.

use std::collections::BTreeMap;

use polymorph_core::topology::Topology;
use polymorph_core::topology::model::Claims;

use super::super::case::Wrong;
use super::super::play::{Cast, Play};
use super::super::plot::WARM_UP;
use crate::world::Peer;

/// Every broadcast reached all who were there but its origin, and came to the application once. Of one that followed
/// so many others from the same peer, among the same peers, that its way is settled, the copies are counted.
pub(in super::super) fn coverage<T: Topology>(claims: &Claims, play: &Play<T>) -> Result<(), Wrong> {
    for cast in &play.casts {
        reached(play, cast)?;
    }
    redundancy(claims, play)
}

fn reached<T: Topology>(play: &Play<T>, cast: &Cast) -> Result<(), Wrong> {
    let mut times: BTreeMap<Peer, usize> = BTreeMap::new();
    for delivery in play.world.deliveries().iter().filter(|delivery| delivery.payload[..] == cast.mark) {
        *times.entry(delivery.peer).or_default() += 1;
    }
    for arrival in play.world.arrivals().iter().filter(|arrival| arrival.payload[..] == cast.mark) {
        *times.entry(arrival.peer).or_default() += 1;
    }
    let when = cast.at.0 as f64 / 1e9;
    for peer in cast.census.guids.iter().filter_map(|guid| play.world.peer(guid)) {
        let times = times.get(&peer).copied().unwrap_or_default();
        if times == 0 && peer != cast.peer && !play.gone.contains(&peer) {
            let what = format!("never got what peer {} sent at {when:.1} s", cast.peer.0);
            return Err(Wrong::new("not reached", peer, what));
        }
        if times > 1 {
            let what = format!("got what peer {} sent at {when:.1} s {times} times", cast.peer.0);
            return Err(Wrong::new("more than once", peer, what));
        }
    }
    Ok(())
}

fn redundancy<T: Topology>(claims: &Claims, play: &Play<T>) -> Result<(), Wrong> {
    let Some(most) = claims.redundancy else { return Ok(()) };
    let counted = |at: &usize| {
        let cast = &play.casts[*at];
        let before = play.casts[..*at].iter().rev();
        *at >= WARM_UP
            && before.take(WARM_UP).all(|other| other.peer == cast.peer && other.census.guids == cast.census.guids)
    };
    let (mut copies, mut receivers, mut last) = (0, 0, None);
    for at in (0..play.casts.len()).filter(counted) {
        let cast = &play.casts[at];
        let after = play.casts.get(at + 1).map_or(play.world.traffic().frames("copy"), |next| next.copies);
        copies += after - cast.copies;
        receivers += cast.census.guids.len().saturating_sub(1) as u64;
        last = Some(cast.peer);
    }
    let Some(peer) = last.filter(|_| receivers > 0) else { return Ok(()) };
    let redundancy = copies as f64 / receivers as f64 - 1.0;
    // A copy that was on its way when the next one was sent is counted with that one.
    if redundancy > most + f64::EPSILON {
        let what =
            format!("{copies} copies for {receivers} receivers: redundancy {redundancy:.3}, {most:.3} is claimed");
        return Err(Wrong::new("redundancy", peer, what));
    }
    Ok(())
}

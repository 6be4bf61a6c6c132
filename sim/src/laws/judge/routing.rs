//! Agreement and progress.

use std::collections::BTreeMap;

use polymorph_core::topology::model::{Claims, Model};
use polymorph_core::topology::question::{Query, Route, Target, Verdict};

use super::super::case::Wrong;
use super::super::play::{self, Play};
use super::super::script::{Deed, Room};
use crate::world::Peer;

/// Every lookup is answered, by the owner the model names; where it names none, by the same one for everybody who asks
/// for a key while the same peers are there.
pub(in super::super) fn agreement<M: Model>(config: &M::Config, play: &Play<M>) -> Result<(), Wrong> {
    let mut answers = BTreeMap::new();
    for find in &play.finds {
        let Some((owner, _)) = play.found(find) else {
            let what = format!("asked who owns key {} at {:.1} s and found nobody", find.number, seconds(find.at.0));
            return Err(Wrong::new("no answer", find.peer, what));
        };
        if let Some(right) = M::owner(config, &find.census, &Target::Key(find.key)).filter(|right| *right != owner) {
            let (found, right) = (play.who(&owner), play.who(&right));
            let what = format!("finds key {} at {found}, it belongs to {right}", find.number);
            return Err(Wrong::new("wrong owner", find.peer, what));
        }
        let (first, agreed) = answers.entry((&find.census.guids, find.key)).or_insert((find.peer, owner));
        if *agreed != owner {
            let (here, there) = (play.who(&owner), play.who(agreed));
            let what = format!("finds key {} at {here}, peer {} finds it at {there}", find.number, first.0);
            return Err(Wrong::new("two owners", find.peer, what));
        }
    }
    Ok(())
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// Whoever asks walks the way through the tables first, with the world standing still; at the end the lookups
/// themselves are looked at.
pub(in super::super) fn progress<M: Model>(
    claims: &Claims,
    play: &mut Play<M>,
    deed: Option<&Deed>,
) -> Result<(), Wrong> {
    match deed {
        Some(Deed::Find { key, peer, room }) if play.slots.contains_key(&(Peer(*peer), *room)) => {
            walk(claims, play, Peer(*peer), *key, *room)
        }
        Some(_) => Ok(()),
        None => hops(claims, play),
    }
}

fn hops<M: Model>(claims: &Claims, play: &Play<M>) -> Result<(), Wrong> {
    let Some(most) = claims.hops else { return Ok(()) };
    for find in &play.finds {
        if let Some((_, hops)) = play.found(find).filter(|(_, hops)| *hops as usize > most) {
            let what = format!("key {} was found in {hops} hops, {most} are claimed", find.number);
            return Err(Wrong::new("hops", find.peer, what));
        }
    }
    Ok(())
}

/// From table to table: no hop but the last leads away, and there is an end.
fn walk<M: Model>(claims: &Claims, play: &Play<M>, from: Peer, number: u64, room: Room) -> Result<(), Wrong> {
    let most = claims.hops.unwrap_or(play.census(room).guids.len());
    let to = Target::Key(play::key(number));
    let (mut at, mut before, mut state) = (from, None, bytes::Bytes::new());
    for hop in 1..=most + 1 {
        let Some(topology) = play.slots.get(&(at, room)).and_then(|slot| play.world.topology_in(at, *slot)) else {
            return Ok(());
        };
        let mut query = Query::new(&to, 1);
        (query.state, query.from) = (&state, before);
        let mut route = Route::default();
        topology.route(&query, &mut route);
        let (Verdict::Forward, Some(&next)) = (route.verdict, route.peers.first()) else { return Ok(()) };
        let me = play.world.guid(at);
        let (near, far) = (topology.distance(&to, next), topology.distance(&to, me));
        let Some(peer) = play.world.peer(&next) else { return Ok(()) };
        if claims.closer && near >= far && !delivers::<M>(play, peer, room, &to, &route, at) {
            let what = format!("sends key {number} on to peer {}, which is no closer and not the owner", peer.0);
            return Err(Wrong::new("not closer", at, what));
        }
        if hop > most {
            break;
        }
        (before, state, at) = (Some(me), route.state, peer);
    }
    let what = format!("after {most} hops from peer {} key {number} still goes on", from.0);
    Err(Wrong::new("hops", at, what))
}

/// Whether a peer would keep what it is sent.
fn delivers<M: Model>(play: &Play<M>, peer: Peer, room: Room, to: &Target<M>, way: &Route, from: Peer) -> bool {
    let slot = play.slots.get(&(peer, room));
    let Some(topology) = slot.and_then(|slot| play.world.topology_in(peer, *slot)) else { return true };
    let mut query = Query::new(to, 1);
    (query.state, query.from) = (&way.state, Some(play.world.guid(from)));
    let mut route = Route::default();
    topology.route(&query, &mut route);
    matches!(route.verdict, Verdict::Deliver { .. })
}

//! Quiet: how much is said where nothing happens.

use core::time::Duration;

use polymorph_core::topology::Topology;
use polymorph_core::topology::model::Claims;

use super::super::case::Wrong;
use super::super::play::Play;
use crate::world::Peer;

/// For how long nothing happens, at least; longer where a topology takes longer to be quiet, since some of what it does
/// is done as rarely as that.
const SPAN: Duration = Duration::from_secs(600);

/// Lets time pass and counts frames.
pub(in super::super) fn quiet<T: Topology>(claims: &Claims, play: &mut Play<T>) -> Result<(), Wrong> {
    let (Some(most), members) = (claims.idle, play.slots.len()) else { return Ok(()) };
    if members == 0 {
        return Ok(());
    }
    let span = SPAN.max(Duration::from_secs(claims.quiet));
    let sent = |play: &Play<T>| play.world.traffic().kinds().map(|(_, frames, _)| frames).sum::<u64>();
    let received = |play: &Play<T>| -> Vec<(Peer, u32)> {
        play.world.peers().map(|peer| (peer, play.world.received(peer))).collect()
    };
    let (frames, before) = (sent(play), received(play));
    play.world.run_for(span);
    let per_minute = (sent(play) - frames) as f64 / members as f64 / (span.as_secs_f64() / 60.0);
    if per_minute <= most {
        return Ok(());
    }
    let heard = received(play).into_iter().zip(before).map(|((peer, after), (_, before))| (after - before, peer));
    let (most_heard, peer) = heard.max().unwrap_or((0, Peer(0)));
    let what = format!(
        "{per_minute:.1} frames for each peer in a minute in which nothing happened, {most:.1} are claimed; \
         it heard most, {most_heard}"
    );
    Err(Wrong::new("idle", peer, what))
}

//! Determinism: the same seed goes the same way.

use polymorph_core::Topology;
use polymorph_core::overlay::Place;
use polymorph_core::topology::erased::Boxed;
use polymorph_core::topology::model::Model;

use super::super::case::{Case, Wrong, run};
use super::super::finding::Violation;
use super::super::law::Law;
use super::super::play::{Pace, Stage};
use super::super::script::Script;
use crate::options::Codec;
use crate::world::Peer;

/// What happened up to some event: the hash of it, when, and to whom.
type Moment = (String, u64, Peer);

/// Played twice, and then behind a box and without encoding, all goes the same way.
pub(in super::super) fn determinism<M: Model>(case: &Case<'_, M>, script: &Script) -> Result<(), Violation> {
    let typed = |place| M::new(&case.subject.config, place);
    let boxed = |place| Boxed::new(M::new(&case.subject.config, place));
    let first = moments(case, script, Codec::Encoded, &typed)?;
    let ways = [
        ("twice", moments(case, script, Codec::Encoded, &typed)?),
        ("erased", moments(case, script, Codec::Encoded, &boxed)?),
        ("encoded", moments(case, script, Codec::Typed, &typed)?),
    ];
    for (way, other) in ways {
        let Some(at) = (0..first.len().max(other.len())).find(|at| first.get(*at) != other.get(*at)) else { continue };
        let (_, at, peer) = other.get(at).or(first.get(at)).cloned().unwrap_or((String::new(), 0, Peer(0)));
        let what = match way {
            "twice" => "the same run again goes another way from here",
            "erased" => "chosen by name it goes another way from here than by type",
            _ => "it goes another way from here when its messages are not encoded",
        };
        let (law, at, peer) = (Law::Determinism, polymorph_core::Time(at), Some(peer.0));
        return Err(Violation { law, way, at, peer, what: what.into() });
    }
    Ok(())
}

/// What had happened after each step of the script.
fn moments<T: Topology, M: Model>(
    case: &Case<'_, M>,
    script: &Script,
    codec: Codec,
    make: &dyn Fn(Place) -> T,
) -> Result<Vec<Moment>, Violation> {
    let mut moments = Vec::new();
    let stage = Stage {
        seed: case.seed,
        codec,
        overlay: &case.subject.overlay,
        make,
        quiet: case.quiet(script),
        pace: Pace::WhenQuiet,
        degree: case.degree(),
    };
    run(Law::Determinism, &stage, script, &mut |play, _| -> Result<(), Wrong> {
        let world = &play.world;
        moments.push((world.trace_hash().to_string(), world.now().0, world.latest()));
        Ok(())
    })?;
    Ok(moments)
}

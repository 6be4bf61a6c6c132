//! Healing and clean leave: after all that happened, the other laws hold again.

use polymorph_core::topology::model::{Claims, Model};

use super::super::case::Wrong;
use super::super::play::Play;
use super::super::script::Deed;
use super::{agreement, coverage, links, progress, symmetry};

/// After crashes, broken wires, partitions and a crowd, and a quiet time.
pub(in super::super) fn healing<M: Model>(
    config: &M::Config,
    claims: &Claims,
    play: &mut Play<M>,
    deed: Option<&Deed>,
) -> Result<(), Wrong> {
    well(config, claims, play, deed)?;
    if deed.is_none() { links::nobody_keeps_the_gone(play) } else { Ok(()) }
}

/// Seconds after somebody left in good order.
pub(in super::super) fn leave<M: Model>(
    config: &M::Config,
    claims: &Claims,
    play: &mut Play<M>,
    deed: Option<&Deed>,
) -> Result<(), Wrong> {
    // The last probe came seconds after the last one left, and a minute is over when this is asked.
    well(config, claims, play, deed)?;
    if deed.is_none() { links::nobody_keeps_the_gone(play) } else { Ok(()) }
}

/// All that is claimed of a network in order. How many copies a broadcast takes is left out: trees have just changed.
fn well<M: Model>(config: &M::Config, claims: &Claims, play: &mut Play<M>, deed: Option<&Deed>) -> Result<(), Wrong> {
    if claims.hops.is_some() || claims.closer {
        progress::<M>(claims, play, deed)?;
    }
    if deed.is_some() {
        return Ok(());
    }
    if claims.agreement {
        agreement::<M>(config, play)?;
    }
    if claims.coverage {
        coverage(&Claims { redundancy: None, ..*claims }, play)?;
    }
    if claims.symmetry { symmetry(play) } else { Ok(()) }
}

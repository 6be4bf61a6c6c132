//! Any inputs in any order, and what must hold after each: the engine's books, its memory, its outputs.
//!
//! A [`story`] is made out of bytes: hostile peers that connect, prove themselves or do not, and say anything; an
//! application and a topology that want anything; wires that break and time that passes. The one thing that is kept to
//! is what a driver owes its engine: names of wires are new, and a frame comes back at most once.

mod frames;
mod proof;
mod source;
mod wild;
mod world;

use std::collections::BTreeSet;

use source::Source;
use world::World;

/// A story ends after so many happenings, however long its bytes are.
pub(crate) const MAX_HAPPENINGS: usize = 600;
/// Each happening is made out of so many bytes, so that one can be taken out and the others stay what they were.
pub(crate) const HAPPENING_BYTES: usize = 24;

/// How a story went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Told {
    /// Of everything the engine put out.
    pub(crate) hash: [u8; 32],
    /// What the engine said and how wishes ended: how far into the engine the story reached.
    pub(crate) reached: BTreeSet<String>,
}

/// Tells a story.
///
/// # Errors
/// What did not hold, and everything that led to it.
pub(crate) fn story(bytes: &[u8]) -> Result<Told, String> {
    let mut chunks = bytes.chunks(HAPPENING_BYTES);
    let mut world = World::new(&mut Source::new(chunks.next().unwrap_or_default()));
    let mut told = Vec::new();
    for chunk in chunks.take(MAX_HAPPENINGS) {
        told.push(world.happen(&mut Source::new(chunk)));
        world.check().map_err(|why| format!("{why}, after:\n{}", told.join("\n")))?;
    }
    world.end().map_err(|why| format!("{why}, at the end, after:\n{}", told.join("\n")))
}

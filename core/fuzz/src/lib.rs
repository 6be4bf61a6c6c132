//! The bodies of all fuzz targets, plain functions of bytes that compile with any toolchain. `node/tests/fuzz_corpus.rs`
//! replays the corpus through them.

mod decoders;
#[path = "engine/run.rs"]
mod engine;

/// Runs one target.
///
/// # Panics
/// If something does not hold that must, or there is no such target.
pub fn run(target: &str, bytes: &[u8]) {
    if target == "engine" {
        if let Err(why) = engine::story(bytes) {
            panic!("{why}");
        }
        return;
    }
    let (_, body) = decoders::DECODERS.iter().find(|(name, _)| *name == target).expect("a target of this name");
    body(bytes);
}

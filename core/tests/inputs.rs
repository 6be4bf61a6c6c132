//! The engine stands any inputs in any order. The stories are those of the fuzz target `engine`, made out of random
//! bytes; a failure tells the shortest story that was found, and the bytes of it.

#[path = "../fuzz/src/engine/run.rs"]
mod engine;

use std::collections::BTreeSet;
use std::fmt;

use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use engine::{HAPPENING_BYTES, MAX_HAPPENINGS, story};

struct Story(Vec<u8>);

impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

fn stories() -> impl Strategy<Value = Story> {
    let happening = prop::collection::vec(any::<u8>(), HAPPENING_BYTES);
    prop::collection::vec(happening, 0..MAX_HAPPENINGS).prop_map(|happenings| Story(happenings.concat()))
}

proptest! {
    // What failed once becomes a file of the fuzz corpus, where everybody can see it, and not a file of seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_in_the_books_hold_and_the_same_comes_out_twice(Story(bytes) in stories()) {
        let once = story(&bytes);
        prop_assert!(once.is_ok(), "{}", once.unwrap_err());
        prop_assert_eq!(once, story(&bytes));
    }
}

#[test]
fn the_stories_reach_every_part_of_the_engine() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut reached = BTreeSet::new();
    for _ in 0..300 {
        let mut bytes = vec![0; HAPPENING_BYTES * MAX_HAPPENINGS];
        rng.fill_bytes(&mut bytes);
        reached.extend(story(&bytes).expect("it goes well").reached);
    }
    let said = "accept answer call confirm copy credit fetch fetched find goodbye interest leaving moved next notice offer \
                ping pong reply request response routed send store stored";
    let ended = "Answer Busy Failed Found Pong Records Response Sent Stored";
    let else_done = ["dials", "delivers", "hands a message over", "hands a broadcast over"].map(String::from);
    let said = said.split_whitespace().map(|kind| format!("says {kind}"));
    let ended = ended.split_whitespace().map(|outcome| format!("ends with {outcome}"));
    let missing: Vec<String> = said.chain(ended).chain(else_done).filter(|what| !reached.contains(what)).collect();
    assert!(missing.is_empty(), "no story reaches: {missing:?}");
}

//! The laws as tests: one line in a test file, and each law is a `#[test]` of its own.

use polymorph_core::topology::model::Model;

use super::{Finding, Law, Replay, Subject, Verdict};

/// With how many seeds a test tries a law.
const SEEDS: u64 = 2;

/// Writes a `#[test]` for each law, of this [`Model`]:
///
/// ```text
/// conformance!(MyModel);                                  // with its default settings
/// conformance!(MyModel, config);                          // with others
/// conformance!(MyModel, config, overlay settings);        // with iterative lookups, say
/// ```
///
/// For several in one file give each a module: `mod ring { use super::*; conformance!(Ring); }`. A test of a law that
/// the model does not claim passes and says so. `POLYMORPH_SEED` tries one seed instead of the usual ones,
/// `POLYMORPH_SEEDS` that many, and `POLYMORPH_REPLAY` plays one script, as a failure says.
#[macro_export]
macro_rules! conformance {
    ($model:ty $(,)?) => {
        $crate::conformance!($model, ::core::default::Default::default());
    };
    ($model:ty, $config:expr $(,)?) => {
        $crate::conformance!(@tests $crate::laws::Subject::<$model>::new($config));
    };
    ($model:ty, $config:expr, $overlay:expr $(,)?) => {
        $crate::conformance!(@tests $crate::laws::Subject::<$model>::new($config).with($overlay));
    };
    (@tests $subject:expr) => {
        $crate::conformance!(@test $subject, the_same_seed_goes_the_same_way, Determinism);
        $crate::conformance!(@test $subject, when_quiet_all_route_a_key_to_the_same_owner, Agreement);
        $crate::conformance!(@test $subject, each_hop_goes_closer_and_there_are_no_more_than_claimed, Progress);
        $crate::conformance!(@test $subject, a_broadcast_reaches_all_once_at_the_claimed_cost, Coverage);
        $crate::conformance!(@test $subject, whoever_has_a_neighbor_is_that_ones_neighbor, Symmetry);
        $crate::conformance!(@test $subject, after_crashes_a_partition_and_a_crowd_all_is_well_again, Healing);
        $crate::conformance!(@test $subject, who_leaves_in_good_order_disturbs_nobody, CleanLeave);
        $crate::conformance!(@test $subject, where_nothing_happens_little_is_said, Quiet);
        $crate::conformance!(@test $subject, state_stays_bounded_however_many_come_and_go, BoundedState);
        $crate::conformance!(@test $subject, two_overlays_never_mix_peers_or_messages, Isolation);
        $crate::conformance!(@test $subject, garbled_bytes_and_events_in_any_order_do_no_harm, Hostility);
    };
    (@test $subject:expr, $name:ident, $law:ident) => {
        #[test]
        fn $name() {
            $crate::laws::testing::demand(&$subject, $crate::laws::Law::$law);
        }
    };
}

/// Tries a law as [`conformance!`](crate::conformance) does.
///
/// # Panics
/// If the law is broken; or if one of the three variables is set to what it cannot be.
pub fn demand<M: Model>(subject: &Subject<M>, law: Law) {
    if let Ok(text) = std::env::var("POLYMORPH_REPLAY") {
        let replay: Replay = text.parse().unwrap_or_else(|bad| panic!("POLYMORPH_REPLAY={text:?}: {bad}"));
        if replay.law == law {
            println!("{replay}");
            subject.replay(&replay).unwrap_or_else(|violation| panic!("{violation}"));
        }
        return;
    }
    let seeds = match (number("POLYMORPH_SEED"), number("POLYMORPH_SEEDS")) {
        (Some(seed), _) => seed..=seed,
        (None, count) => 1..=count.unwrap_or(SEEDS),
    };
    for seed in seeds {
        match subject.check(law, seed) {
            Verdict::NotClaimed => println!("{law}: not claimed"),
            held @ Verdict::Held { .. } => {
                let note = Finding { law, seeds: 1, verdict: held }.note();
                println!("{law}: held with seed {seed}{}{note}", if note.is_empty() { "" } else { "; " });
            }
            Verdict::Violated(failure) => panic!("{failure}"),
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|bad| panic!("{variable}={text:?}: {bad}")))
}

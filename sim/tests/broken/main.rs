//! Topologies that break one law each, to see that it is that law which finds out, and no other.

mod roll;

use polymorph_sim::conformance;
use polymorph_sim::laws::{Failure, Law, Replay, Subject, Verdict};
use roll::{Config, Roll};

mod without_a_flaw {
    use super::*;
    conformance!(Roll);
}

/// Half of the usual peers are enough to see what is wrong.
fn subject(flaw: Law) -> Subject<Roll> {
    Subject::new(Config(Some(flaw))).among(12)
}

fn broken(law: Law) -> Failure {
    match subject(law).check(law, 1) {
        Verdict::Violated(failure) => *failure,
        other => panic!("{law} with its flaw and seed 1: {other:?}"),
    }
}

/// Tries all laws.
fn breaks_only(flaw: Law) {
    for law in Law::ALL {
        let verdict = subject(flaw).check(law, 1);
        println!("{flaw:?}: {law} {}", verdict.name());
        if let Verdict::Violated(failure) = &verdict {
            println!("{failure}");
        }
        assert_eq!(matches!(verdict, Verdict::Violated(_)), law == flaw, "{flaw:?}: {law}");
    }
}

#[test]
fn the_order_of_a_hash_map_breaks_determinism_alone() {
    breaks_only(Law::Determinism);
}

#[test]
fn keys_that_are_claimed_by_mistake_break_agreement_alone() {
    breaks_only(Law::Agreement);
}

#[test]
fn a_detour_breaks_progress_alone() {
    breaks_only(Law::Progress);
}

#[test]
fn peers_that_are_left_out_break_coverage_alone() {
    breaks_only(Law::Coverage);
}

#[test]
fn neighbors_that_are_not_named_break_symmetry_alone() {
    breaks_only(Law::Symmetry);
}

#[test]
fn who_is_never_given_up_breaks_healing_alone() {
    breaks_only(Law::Healing);
}

#[test]
fn a_goodbye_that_is_not_heard_breaks_clean_leave_alone() {
    breaks_only(Law::CleanLeave);
}

#[test]
fn too_many_questions_break_quiet_alone() {
    breaks_only(Law::Quiet);
}

#[test]
fn a_list_without_a_bound_breaks_bounded_state_alone() {
    breaks_only(Law::BoundedState);
}

#[test]
fn a_table_for_all_overlays_breaks_isolation_alone() {
    breaks_only(Law::Isolation);
}

#[test]
fn an_answer_that_is_taken_for_granted_breaks_hostility_alone() {
    breaks_only(Law::Hostility);
}

#[test]
fn what_breaks_a_law_is_shrunk_to_a_few_peers_and_steps_always_the_same() {
    use Law::{Agreement, CleanLeave, Coverage, Healing, Hostility, Isolation, Progress};
    for law in [Agreement, Progress, Coverage, Healing, CleanLeave, Isolation, Hostility] {
        let failure = broken(law);
        println!("{failure}");
        assert!(failure.peers() <= 8 && failure.steps() <= 20, "{law}: {failure}");
        assert_eq!(failure, broken(law), "shrunk again");
    }
}

#[test]
fn a_failure_names_law_seed_peer_and_time_and_how_to_play_it_again() {
    let failure = broken(Law::Coverage);
    let text = failure.to_string();
    for part in
        ["the law of coverage", "with seed 1", "at peer", " s: never got", "POLYMORPH_SEED=1 cargo test a_broad"]
    {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let written =
        text.split_once("POLYMORPH_REPLAY='").and_then(|(_, rest)| rest.split_once('\'')).expect("a replay").0;
    let replay: Replay = written.parse().expect("a replay");
    assert_eq!(replay, failure.replay);
    assert_eq!(subject(Law::Coverage).replay(&replay), Err(failure.violation));
    assert_eq!(Subject::<Roll>::new(Config(None)).among(12).replay(&replay), Ok(()), "without the flaw it holds");
}

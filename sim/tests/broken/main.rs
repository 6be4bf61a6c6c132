//! Topologies that break one law each, to see that it is that law which finds out, and no other.

mod roll;

use polymorph_sim::conformance;
use polymorph_sim::laws::{Failure, Law, Replay, Subject, Verdict};
use roll::{Config, Flaw, Roll};

mod without_a_flaw {
    use super::*;
    conformance!(Roll);
}

/// Half of the usual peers are enough to see what is wrong.
fn subject(flaw: Flaw) -> Subject<Roll> {
    Subject::new(Config(Some(flaw))).among(12)
}

fn broken(flaw: Flaw, law: Law) -> Failure {
    match subject(flaw).check(law, 1) {
        Verdict::Violated(failure) => *failure,
        other => panic!("{law} with the flaw {flaw:?} and seed 1: {other:?}"),
    }
}

/// Tries all laws.
fn breaks_only(flaw: Flaw, broken: Law) {
    for law in Law::ALL {
        let verdict = subject(flaw).check(law, 1);
        println!("{flaw:?}: {law} {}", verdict.name());
        if let Verdict::Violated(failure) = &verdict {
            println!("{failure}");
        }
        assert_eq!(matches!(verdict, Verdict::Violated(_)), law == broken, "{flaw:?}: {law}");
    }
}

#[test]
fn the_order_of_a_hash_map_breaks_determinism_alone() {
    breaks_only(Flaw::Determinism, Law::Determinism);
}

#[test]
fn keys_that_are_claimed_by_mistake_break_agreement_alone() {
    breaks_only(Flaw::Agreement, Law::Agreement);
}

#[test]
fn a_detour_breaks_progress_alone() {
    breaks_only(Flaw::Progress, Law::Progress);
}

#[test]
fn peers_that_are_left_out_break_coverage_alone() {
    breaks_only(Flaw::Coverage, Law::Coverage);
}

#[test]
fn neighbors_that_are_not_named_break_symmetry_alone() {
    breaks_only(Flaw::Symmetry, Law::Symmetry);
}

#[test]
fn who_is_never_given_up_breaks_healing_alone() {
    breaks_only(Flaw::Healing, Law::Healing);
}

#[test]
fn a_goodbye_that_is_not_heard_breaks_clean_leave_alone() {
    breaks_only(Flaw::CleanLeave, Law::CleanLeave);
}

#[test]
fn too_many_questions_break_quiet_alone() {
    breaks_only(Flaw::Quiet, Law::Quiet);
}

#[test]
fn a_list_without_a_bound_breaks_bounded_state_alone() {
    breaks_only(Flaw::BoundedState, Law::BoundedState);
}

#[test]
fn a_table_for_all_overlays_breaks_isolation_alone() {
    breaks_only(Flaw::Isolation, Law::Isolation);
}

#[test]
fn an_answer_that_is_taken_for_granted_breaks_hostility_alone() {
    breaks_only(Flaw::Hostility, Law::Hostility);
}

#[test]
fn what_breaks_a_law_is_shrunk_to_a_few_peers_and_steps_always_the_same() {
    for (flaw, law) in [
        (Flaw::Agreement, Law::Agreement),
        (Flaw::Progress, Law::Progress),
        (Flaw::Coverage, Law::Coverage),
        (Flaw::Healing, Law::Healing),
        (Flaw::CleanLeave, Law::CleanLeave),
        (Flaw::Isolation, Law::Isolation),
        (Flaw::Hostility, Law::Hostility),
    ] {
        let failure = broken(flaw, law);
        println!("{failure}");
        assert!(failure.peers() <= 8 && failure.steps() <= 20, "{flaw:?}: {failure}");
        assert_eq!(failure, broken(flaw, law), "shrunk again");
    }
}

#[test]
fn a_failure_names_law_seed_peer_and_time_and_how_to_play_it_again() {
    let failure = broken(Flaw::Coverage, Law::Coverage);
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
    assert_eq!(subject(Flaw::Coverage).replay(&replay), Err(failure.violation));
    assert_eq!(Subject::<Roll>::new(Config(None)).among(12).replay(&replay), Ok(()), "without the flaw it holds");
}

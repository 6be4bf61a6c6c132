//! Topologies that break one law each, to see that it is that law which finds out, and no other.

mod roll;

use polymorph_sim::conformance;
use polymorph_sim::laws::{Failure, Law, Replay, Subject, Verdict};
use roll::{Config, Flaw, Roll};

const FLAWS: [(Flaw, Law); 11] = [
    (Flaw::Determinism, Law::Determinism),
    (Flaw::Agreement, Law::Agreement),
    (Flaw::Progress, Law::Progress),
    (Flaw::Coverage, Law::Coverage),
    (Flaw::Symmetry, Law::Symmetry),
    (Flaw::Healing, Law::Healing),
    (Flaw::CleanLeave, Law::CleanLeave),
    (Flaw::Quiet, Law::Quiet),
    (Flaw::BoundedState, Law::BoundedState),
    (Flaw::Isolation, Law::Isolation),
    (Flaw::Hostility, Law::Hostility),
];

mod without_a_flaw {
    use super::*;
    conformance!(Roll);
}

fn subject(flaw: Flaw) -> Subject<Roll> {
    Subject::new(Config(Some(flaw)))
}

fn broken(flaw: Flaw, law: Law) -> Failure {
    match subject(flaw).check(law, 1) {
        Verdict::Violated(failure) => *failure,
        other => panic!("{law} with the flaw {flaw:?} and seed 1: {other:?}"),
    }
}

#[test]
fn a_flaw_breaks_its_own_law_and_no_other() {
    for (flaw, broken) in FLAWS {
        for law in Law::ALL {
            let verdict = subject(flaw).check(law, 1);
            println!("{flaw:?}: {law} {}", verdict.name());
            if let Verdict::Violated(failure) = &verdict {
                println!("{failure}");
            }
            assert_eq!(matches!(verdict, Verdict::Violated(_)), law == broken, "{flaw:?}: {law} {verdict:?}");
        }
    }
}

#[test]
fn what_breaks_a_law_is_shrunk_to_a_few_peers_and_steps_always_the_same() {
    for (flaw, law) in FLAWS {
        if [Flaw::Determinism, Flaw::BoundedState].contains(&flaw) {
            // Chance decides whether the one shows; the other needs a crowd.
            continue;
        }
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
    for part in ["the law of coverage", "with seed 1", "at peer", " s: never got", "POLYMORPH_SEED=1 cargo test a_broad"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let written = text.split_once("POLYMORPH_REPLAY='").and_then(|(_, rest)| rest.split_once('\'')).expect("a replay").0;
    let replay: Replay = written.parse().expect("a replay");
    assert_eq!(replay, failure.replay);
    assert_eq!(subject(Flaw::Coverage).replay(&replay), Err(failure.violation));
    assert_eq!(Subject::<Roll>::new(Config(None)).replay(&replay), Ok(()), "without the flaw it holds");
}

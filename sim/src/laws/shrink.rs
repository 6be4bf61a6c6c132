//! From a script that breaks a law to the shortest one found that breaks it in the same way.
//!
//! Delta debugging (Zeller & Hildebrandt, TSE 2002) with the parts that a script has: whole peers first, since each
//! takes much along; then runs of steps, the longest first; then the time between them. Every candidate is played from
//! the beginning with the same seed, and what is tried follows from what came before alone, so that the same failure
//! always shrinks to the same script. Nothing is lost by shrinking what was played instead of what was drawn, as
//! QuickCheck would: a script is data, and any part of it is a script.

use polymorph_core::topology::model::Model;

use super::case::Case;
use super::finding::{Failure, Replay, Violation};
use super::script::Script;

/// How many scripts are tried: at some milliseconds each, seconds.
const MAX_TRIES: usize = 800;
/// How many steps are played in all of them: a script that cannot be made much shorter is not played for minutes.
const MAX_STEPS: usize = 10_000;

struct Shrinking<'a, 'b, M: Model> {
    case: &'a Case<'b, M>,
    script: Script,
    violation: Violation,
    tries: usize,
    steps: usize,
}

/// Shrinks a script that breaks a law.
pub(super) fn shortest<M: Model>(case: &Case<'_, M>, script: Script, violation: Violation) -> Failure {
    let (law, steps_before) = (violation.law, script.0.len());
    let mut shrinking = Shrinking { case, script, violation, tries: 0, steps: 0 };
    // Each pass makes room for the others, until none finds anything.
    while shrinking.drop_peers() | shrinking.drop_steps() {}
    while shrinking.hurry() {}
    let Shrinking { script, violation, tries, .. } = shrinking;
    Failure { violation, replay: Replay { law, seed: case.seed, script }, steps_before, tries }
}

impl<M: Model> Shrinking<'_, '_, M> {
    /// Takes the candidate if it still breaks the law in the same way.
    fn take(&mut self, candidate: Script) -> bool {
        if candidate == self.script || self.tries >= MAX_TRIES || self.steps >= MAX_STEPS {
            return false;
        }
        self.tries += 1;
        self.steps += candidate.0.len();
        match self.case.judge(self.violation.law, &candidate) {
            Err(violation) if violation.way == self.violation.way => {
                self.script = candidate;
                self.violation = violation;
                true
            }
            _ => false,
        }
    }

    fn drop_peers(&mut self) -> bool {
        let peers = self.script.peers();
        let mut any = false;
        // The last first: fewer came through them.
        let mut size = peers.len() / 2;
        while size > 0 {
            for chunk in peers.rchunks(size) {
                let candidate = chunk.iter().fold(self.script.clone(), |script, peer| script.without(*peer));
                any |= self.take(candidate);
            }
            size /= 2;
        }
        any
    }

    fn drop_steps(&mut self) -> bool {
        let mut any = false;
        let mut size = self.script.0.len() / 2;
        while size > 0 {
            let mut end = self.script.0.len();
            while end > 0 {
                let begin = end.saturating_sub(size);
                let mut candidate = self.script.clone();
                let gone: u64 = candidate.0.drain(begin..end).map(|step| step.after).sum();
                if let Some(next) = candidate.0.get_mut(begin) {
                    next.after += gone;
                }
                any |= self.take(candidate);
                end = begin.min(self.script.0.len());
            }
            size /= 2;
        }
        any
    }

    /// Less time between steps: none, or half of it.
    fn hurry(&mut self) -> bool {
        let mut any = false;
        for at in (0..self.script.0.len()).rev() {
            let after = self.script.0[at].after;
            for less in [0, after / 2 / 100 * 100] {
                let mut candidate = self.script.clone();
                candidate.0[at].after = less;
                if less < after && self.take(candidate) {
                    any = true;
                    break;
                }
            }
        }
        any
    }
}

//! One law, one seed, one script: does the law hold?

use core::time::Duration;

use polymorph_core::Guid;
use polymorph_core::Topology;
use polymorph_core::overlay::{OverlayId, Place};
use polymorph_core::topology::model::{Claims, Model};

use super::finding::Violation;
use super::law::Law;
use super::play::{Pace, Play, Stage};
use super::script::{Deed, Script};
use super::{Subject, judge, panics};
use crate::options::Codec;
use crate::world::Peer;

/// A topology under a seed.
pub(super) struct Case<'a, M: Model> {
    pub(super) subject: &'a Subject<M>,
    pub(super) seed: u64,
    /// Laws that are not judged along with the one that is tried.
    pub(super) without: Vec<Law>,
}

/// What a judge says: in which way the law is broken, at whom, and what.
pub(super) struct Wrong {
    pub(super) way: &'static str,
    pub(super) peer: Option<Peer>,
    pub(super) what: String,
}

impl Wrong {
    pub(super) fn new(way: &'static str, peer: Peer, what: impl Into<String>) -> Self {
        Self { way, peer: Some(peer), what: what.into() }
    }
}

/// Looks on while a script is played: asked after each deed, and once at the end when it is quiet.
pub(super) type Watch<'a, T> = &'a mut dyn FnMut(&mut Play<T>, Option<&Deed>) -> Result<(), Wrong>;

impl<M: Model> Case<'_, M> {
    /// Whether a law holds when this happens.
    pub(super) fn judge(&self, law: Law, script: &Script) -> Result<(), Violation> {
        let claims = self.claims(script);
        match law {
            Law::Determinism => judge::determinism(self, script),
            Law::Agreement => self.play(law, script, &mut |play, deed| match deed {
                None => judge::agreement::<M>(&self.subject.config, play),
                Some(_) => Ok(()),
            }),
            Law::Progress => self.play(law, script, &mut |play, deed| judge::progress::<M>(&claims, play, deed)),
            Law::Coverage => self.play(law, script, &mut |play, deed| match deed {
                None => judge::coverage(&claims, play),
                Some(_) => Ok(()),
            }),
            Law::Symmetry => self.play(law, script, &mut |play, deed| match deed {
                None => judge::symmetry(play),
                Some(_) => Ok(()),
            }),
            Law::Healing => {
                self.play(law, script, &mut |play, deed| judge::healing::<M>(&self.subject.config, &claims, play, deed))
            }
            Law::CleanLeave => {
                self.play(law, script, &mut |play, deed| judge::leave::<M>(&self.subject.config, &claims, play, deed))
            }
            Law::Quiet => self.play(law, script, &mut |play, deed| match deed {
                None => judge::quiet(&claims, play),
                Some(_) => Ok(()),
            }),
            Law::BoundedState => self.play(law, script, &mut |play, deed| judge::state::<M>(&claims, play, deed)),
            Law::Isolation => self.play(law, script, &mut |play, deed| match deed {
                None => judge::isolation(&claims, play),
                Some(_) => Ok(()),
            }),
            Law::Hostility => self.play(law, script, &mut |play, deed| judge::hostility::<M>(&claims, play, deed)),
        }
    }

    /// What the topology claims among as many as there are in a script.
    fn claims(&self, script: &Script) -> Claims {
        let mut claims = M::claims(&self.subject.config, script.peers().len());
        for law in &self.without {
            match law {
                Law::Agreement => claims.agreement = false,
                Law::Progress => (claims.hops, claims.closer) = (None, false),
                Law::Coverage => claims.coverage = false,
                Law::Symmetry => claims.symmetry = false,
                _ => {}
            }
        }
        claims
    }

    pub(super) fn quiet(&self, script: &Script) -> Duration {
        Duration::from_secs(self.claims(script).quiet)
    }

    pub(super) fn degree(&self) -> usize {
        let nowhere = Place { overlay: OverlayId([0; 32]), me: Guid([0; 32]) };
        M::new(&self.subject.config, nowhere).powers().degree
    }

    fn play(&self, law: Law, script: &Script, watch: Watch<'_, M>) -> Result<(), Violation> {
        let make = |place| M::new(&self.subject.config, place);
        let pace = match law {
            Law::BoundedState | Law::Hostility => Pace::Anytime,
            Law::CleanLeave => Pace::Promptly,
            _ => Pace::WhenQuiet,
        };
        let stage = Stage {
            seed: self.seed,
            codec: Codec::Encoded,
            overlay: &self.subject.overlay,
            make: &make,
            quiet: self.quiet(script),
            pace,
            degree: self.degree(),
        };
        run(law, &stage, script, watch).map(|_| ())
    }
}

/// Plays a script to its end, while somebody looks on. A panic is a violation of whatever law is tried.
pub(super) fn run<T: Topology>(
    law: Law,
    stage: &Stage<'_, T>,
    script: &Script,
    watch: Watch<'_, T>,
) -> Result<Play<T>, Violation> {
    let mut play = Play::new(stage, script);
    let ended = panics::caught(|| {
        for step in &script.0 {
            play.world.run_for(step.wait());
            play.act(stage, &step.deed);
            watch(&mut play, Some(&step.deed))?;
        }
        play.finish();
        watch(&mut play, None)
    });
    let wrong = match ended {
        Ok(Ok(())) => return Ok(play),
        Ok(Err(wrong)) => wrong,
        Err(what) => Wrong::new("panic", play.world.latest(), what),
    };
    let Wrong { way, peer, what } = wrong;
    Err(Violation { law, way, at: play.world.now(), peer: peer.map(|peer| peer.0), what })
}

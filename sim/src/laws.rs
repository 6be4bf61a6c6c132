//! The laws: what every topology keeps, or says that it does not claim. One line in a test asks all of them of yours:
//!
//! ```text
//! polymorph::sim::conformance!(MyModel);
//! ```
//!
//! | law | what is asked |
//! |---|---|
//! | [determinism](Law::Determinism) | the same seed goes the same way, typed, erased and encoded |
//! | [agreement](Law::Agreement) | when quiet, all route a key to the same owner, and to the one the model names |
//! | [progress](Law::Progress) | each hop but the one to the owner goes strictly closer; no more hops than claimed |
//! | [coverage](Law::Coverage) | a broadcast reaches all, is delivered once, and costs no more copies than claimed |
//! | [symmetry](Law::Symmetry) | whoever has a neighbor is that one's neighbor |
//! | [healing](Law::Healing) | after crashes, broken wires, a partition and a crowd the laws above hold again |
//! | [clean leave](Law::CleanLeave) | who leaves in good order disturbs nobody, and nobody keeps it |
//! | [quiet](Law::Quiet) | where nothing happens no more is said than claimed |
//! | [bounded state](Law::BoundedState) | tables and links stay within what is claimed, however many come and go |
//! | [isolation](Law::Isolation) | two overlays on the same nodes never mix peers or messages |
//! | [hostility](Law::Hostility) | garbled bytes and events in any order neither panic nor let tables grow |
//!
//! A law is tried in a small [`World`](crate::World) in which every frame is encoded and decoded. What happens there is
//! a [`script`] drawn from a seed; the laws look on. A script that breaks a law is shrunk to the shortest one found that
//! still breaks it in the same way, and comes back as a [`Replay`], a text that can be played again.

mod case;
mod finding;
mod hostile;
mod judge;
mod law;
mod panics;
mod play;
mod plot;
pub mod script;
mod shrink;

pub mod testing;

use polymorph_core::engine::settings;
use polymorph_core::topology::model::Model;

use case::Case;
pub use finding::{BadReplay, Failure, Finding, Replay, Verdict, Violation};
pub use law::{Law, NoSuchLaw};

/// A topology that is tried: how it is set, and among how many.
#[derive(Clone, Debug)]
pub struct Subject<M: Model> {
    /// The topology's settings.
    pub config: M::Config,
    /// The settings of its overlay.
    pub overlay: settings::Overlay,
    /// How many peers enter at first.
    pub peers: u32,
}

impl<M: Model> Subject<M> {
    /// A topology with these settings, in overlays with the usual ones, among [`PEERS`] peers.
    #[must_use]
    pub fn new(config: M::Config) -> Self {
        Self { config, overlay: settings::Overlay::default(), peers: PEERS }
    }

    /// The same with other settings of the overlay.
    #[must_use]
    pub fn with(self, overlay: settings::Overlay) -> Self {
        Self { overlay, ..self }
    }

    /// The same among more or fewer peers.
    #[must_use]
    pub fn among(self, peers: u32) -> Self {
        Self { peers: peers.clamp(MIN_PEERS, MAX_PEERS), ..self }
    }

    /// Tries one law with one seed. What breaks it is shrunk.
    #[must_use]
    pub fn check(&self, law: Law, seed: u64) -> Verdict {
        let claims = M::claims(&self.config, self.peers as usize);
        let Some(unclaimed) = law.claimed(&claims) else { return Verdict::NotClaimed };
        let mut case = Case { subject: self, seed, without: Vec::new() };
        let script = plot::of(law, seed, &claims, self.peers);
        loop {
            let Err(violation) = case.judge(law, &script) else {
                return Verdict::Held { unclaimed, unjudged: case.without };
            };
            match law::broken_by(violation.way).filter(|ground| *ground != law && !case.without.contains(ground)) {
                Some(ground) if self.is_broken(ground, seed) => case.without.push(ground),
                _ => return Verdict::Violated(Box::new(shrink::shortest(&case, script, violation))),
            }
        }
    }

    /// Whether a law does not hold even where nothing goes wrong: then no law is blamed for it that asks the same after
    /// something did.
    fn is_broken(&self, law: Law, seed: u64) -> bool {
        let claims = M::claims(&self.config, self.peers as usize);
        let seeds = (0..GROUNDS).map(|more| seed.wrapping_add(more));
        let tried = |seed| {
            Case { subject: self, seed, without: Vec::new() }.judge(law, &plot::of(law, seed, &claims, self.peers))
        };
        seeds.map(tried).any(|judged| judged.is_err())
    }

    /// Tries one law with these seeds, until one breaks it.
    #[must_use]
    pub fn find(&self, law: Law, seeds: impl IntoIterator<Item = u64>) -> Finding {
        let mut finding = Finding { law, seeds: 0, verdict: Verdict::NotClaimed };
        for seed in seeds {
            finding.verdict = self.check(law, seed);
            match finding.verdict {
                Verdict::NotClaimed => break,
                Verdict::Held { .. } => finding.seeds += 1,
                Verdict::Violated(_) => {
                    finding.seeds += 1;
                    break;
                }
            }
        }
        finding
    }

    /// Tries every law with these seeds.
    #[must_use]
    pub fn conform(&self, seeds: impl IntoIterator<Item = u64> + Clone) -> Vec<Finding> {
        Law::ALL.into_iter().map(|law| self.find(law, seeds.clone())).collect()
    }

    /// Plays a script again.
    ///
    /// # Errors
    /// The [`Violation`], if it still breaks its law.
    pub fn replay(&self, replay: &Replay) -> Result<(), Violation> {
        Case { subject: self, seed: replay.seed, without: Vec::new() }.judge(replay.law, &replay.script)
    }
}

/// With how many seeds a law is tried before another one is blamed that rests on it.
const GROUNDS: u64 = 3;
/// How many peers enter a world of the laws unless somebody says otherwise: enough for several levels and short cuts,
/// and few enough to try all laws with some seeds in seconds.
pub const PEERS: u32 = 24;
/// Fewer than that are no network.
pub const MIN_PEERS: u32 = 4;
/// More than that take longer than anybody waits for a law.
pub const MAX_PEERS: u32 = 1000;

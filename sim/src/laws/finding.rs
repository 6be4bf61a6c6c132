//! What trying a law comes to, and how it is told.

use core::fmt;
use core::str::FromStr;

use polymorph_core::Time;
use serde::{Serialize, Serializer};

use super::law::Law;
use super::script::{BadScript, Script};

/// What was wrong, and where.
#[derive(Clone, PartialEq, Debug)]
pub struct Violation {
    /// Which law.
    pub law: Law,
    /// In which way, in a word or two: a shrunk script breaks its law in the same way as the long one.
    pub way: &'static str,
    /// When.
    pub at: Time,
    /// At which peer of the script.
    pub peer: Option<u32>,
    /// What.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.peer.map_or_else(String::new, |peer| format!(" at peer {peer}"));
        write!(f, "{} ({}){peer}, {:.1} s: {}", self.law, self.way, self.at.0 as f64 / 1e9, self.what)
    }
}

/// A run that can be played again: [`Subject::replay`](super::Subject::replay).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replay {
    /// The law that looks on.
    pub law: Law,
    /// Everything random follows from it.
    pub seed: u64,
    /// What happens.
    pub script: Script,
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} seed {}: {}", self.law, self.seed, self.script)
    }
}

/// Why a text is no replay.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadReplay {
    /// It does not begin with a law and a seed.
    #[error("a replay begins with a law and a seed, such as `agreement seed 7:`")]
    Head,
    /// What follows is no script.
    #[error(transparent)]
    Script(#[from] BadScript),
}

impl FromStr for Replay {
    type Err = BadReplay;

    fn from_str(text: &str) -> Result<Self, BadReplay> {
        let (head, script) = text.split_once(':').ok_or(BadReplay::Head)?;
        let words: Vec<&str> = head.split_whitespace().collect();
        let [law, "seed", seed] = words[..] else { return Err(BadReplay::Head) };
        let (law, seed) = (law.parse().map_err(|_| BadReplay::Head)?, seed.parse().map_err(|_| BadReplay::Head)?);
        Ok(Self { law, seed, script: script.parse()? })
    }
}

impl Serialize for Replay {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A law that was broken, as shortly as it could be shown.
#[derive(Clone, PartialEq, Debug)]
pub struct Failure {
    /// What was wrong in the shortest script found.
    pub violation: Violation,
    /// That script.
    pub replay: Replay,
    /// How many steps it had at first.
    pub steps_before: usize,
    /// How many scripts were tried to shorten it.
    pub tries: usize,
}

impl Failure {
    /// How many peers the shortest script has.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.replay.script.peers().len()
    }

    /// How many steps the shortest script has.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.replay.script.0.len()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { violation, replay, steps_before, tries } = self;
        let (peers, steps) = (self.peers(), self.steps());
        writeln!(f, "the law of {} is broken with seed {}", replay.law, replay.seed)?;
        writeln!(f, "  {violation}")?;
        writeln!(f, "  shortest of {tries} tries: {peers} peers, {steps} steps of {steps_before}")?;
        replay.script.0.iter().try_for_each(|step| writeln!(f, "    {step}"))?;
        writeln!(f, "  the same seed again:   POLYMORPH_SEED={} cargo test {}", replay.seed, replay.law.test())?;
        write!(f, "  only the shortest run: POLYMORPH_REPLAY='{replay}' cargo test {}", replay.law.test())
    }
}

/// How a law stands.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// It holds.
    Held {
        /// Parts of it that the topology does not claim.
        unclaimed: Vec<&'static str>,
        /// Laws that should hold again after something went wrong, but do not even hold before.
        unjudged: Vec<Law>,
    },
    /// The topology does not claim it.
    NotClaimed,
    /// It does not hold.
    Violated(Box<Failure>),
}

impl Verdict {
    /// Held, not claimed or violated.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Held { .. } => "held",
            Self::NotClaimed => "not claimed",
            Self::Violated(_) => "violated",
        }
    }
}

/// How one law stands after it was tried.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// Which.
    pub law: Law,
    /// With how many seeds it was tried.
    pub seeds: usize,
    /// How it stands.
    pub verdict: Verdict,
}

impl Finding {
    /// What there is to say besides the verdict; empty if nothing.
    #[must_use]
    pub fn note(&self) -> String {
        match &self.verdict {
            Verdict::Held { unclaimed, unjudged } => {
                let broken: Vec<&str> = unjudged.iter().map(|law| law.name()).collect();
                let notes = [("not claimed", unclaimed.join(", ")), ("broken anyway", broken.join(", "))];
                let said = notes.iter().filter(|(_, what)| !what.is_empty());
                said.map(|(why, what)| format!("{why}: {what}")).collect::<Vec<_>>().join("; ")
            }
            Verdict::NotClaimed => String::new(),
            Verdict::Violated(failure) => format!("seed {}: {}", failure.replay.seed, failure.violation),
        }
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("law", &self.law)?;
        map.serialize_entry("verdict", self.verdict.name())?;
        map.serialize_entry("seeds", &self.seeds)?;
        match &self.verdict {
            Verdict::Held { unclaimed, unjudged } => {
                map.serialize_entry("unclaimed", unclaimed)?;
                map.serialize_entry("broken_anyway", unjudged)?;
            }
            Verdict::NotClaimed => {}
            Verdict::Violated(failure) => {
                map.serialize_entry("seed", &failure.replay.seed)?;
                map.serialize_entry("violation", &failure.violation.to_string())?;
                map.serialize_entry("peers", &failure.peers())?;
                map.serialize_entry("steps", &failure.steps())?;
                map.serialize_entry("replay", &failure.replay)?;
            }
        }
        map.end()
    }
}

//! What happens in a run, step by step, as a text that can be written down and played again.
//!
//! ```text
//! +0s join 0; +1s join 1 through 0; +0s crash 1; +0.5s find 7 at 0; +1s publish at 0
//! ```
//!
//! A peer's number is who it is: without peer 3, peer 4 is still the same, stands in the same place and draws the same
//! numbers. So a step can be left out of a script and the rest means what it meant.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

/// One of the two overlays a run may have. All laws but isolation use the first only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Room {
    /// The first overlay.
    #[default]
    A,
    /// The other one.
    B,
}

/// Something that happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deed {
    /// A peer enters an overlay, through another if there is somebody.
    Join {
        /// Who.
        peer: u32,
        /// Through whom; whoever is there if that one is not.
        through: Option<u32>,
        /// Where.
        room: Room,
    },
    /// A peer leaves in good order.
    Leave(u32),
    /// A peer vanishes.
    Crash(u32),
    /// The wires between two peers break.
    Sever(u32, u32),
    /// These are set apart from all others.
    Part(Vec<u32>),
    /// All are together again.
    Heal,
    /// A peer asks who owns a key, which is drawn from the number.
    Find {
        /// Who.
        peer: u32,
        /// Which key.
        key: u64,
        /// Where.
        room: Room,
    },
    /// A peer sends a broadcast.
    Publish {
        /// Who.
        peer: u32,
        /// Where.
        room: Room,
    },
    /// From now on what a peer says is garbled on the way.
    Garble(u32),
    /// An event that never happened befalls a peer's topology; which, is drawn from the number.
    Strike {
        /// Whom.
        peer: u32,
        /// Which event.
        number: u64,
    },
}

/// Something that happens, and how long after what went before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Milliseconds since the step before.
    pub after: u64,
    /// What.
    pub deed: Deed,
}

impl Step {
    /// The time since the step before.
    #[must_use]
    pub fn wait(&self) -> Duration {
        Duration::from_millis(self.after)
    }
}

/// What happens in a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Script(pub Vec<Step>);

/// Why a text is no script.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no step of a script; expected something like `+1.5s join 3 through 0` or `+0s find 7 at 2`")]
pub struct BadScript(pub String);

/// The longest wait between two steps: a year.
const MAX_WAIT: u64 = 366 * 86_400_000;
/// The highest number of a peer: a script is for few peers.
pub const MAX_PEER: u32 = 9999;

impl Script {
    /// Adds a step.
    pub(crate) fn then(&mut self, after: u64, deed: Deed) {
        self.0.push(Step { after, deed });
    }

    /// Who enters.
    #[must_use]
    pub fn peers(&self) -> Vec<u32> {
        let joins =
            self.0.iter().filter_map(|step| if let Deed::Join { peer, .. } = step.deed { Some(peer) } else { None });
        let mut peers: Vec<u32> = joins.collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    /// The script without a peer, and without all that it does or that is done to it.
    pub(crate) fn without(&self, gone: u32) -> Self {
        let keep = |step: &Step| match &step.deed {
            Deed::Join { peer, .. } | Deed::Find { peer, .. } | Deed::Publish { peer, .. } => *peer != gone,
            Deed::Leave(peer) | Deed::Crash(peer) | Deed::Garble(peer) | Deed::Strike { peer, .. } => *peer != gone,
            Deed::Sever(a, b) => *a != gone && *b != gone,
            Deed::Part(peers) => peers.iter().any(|peer| *peer != gone),
            Deed::Heal => true,
        };
        let mut left = Self::default();
        let mut waited = 0;
        for step in &self.0 {
            if !keep(step) {
                waited += step.after;
                continue;
            }
            let mut deed = step.deed.clone();
            if let Deed::Part(peers) = &mut deed {
                peers.retain(|peer| *peer != gone);
            }
            left.then(waited + step.after, deed);
            waited = 0;
        }
        left
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |room: &Room| if *room == Room::B { " in b" } else { "" };
        match self {
            Self::Join { peer, through: None, room } => write!(f, "join {peer}{}", place(room)),
            Self::Join { peer, through: Some(through), room } => {
                write!(f, "join {peer} through {through}{}", place(room))
            }
            Self::Leave(peer) => write!(f, "leave {peer}"),
            Self::Crash(peer) => write!(f, "crash {peer}"),
            Self::Sever(a, b) => write!(f, "sever {a} {b}"),
            Self::Part(peers) => {
                f.write_str("part")?;
                peers.iter().try_for_each(|peer| write!(f, " {peer}"))
            }
            Self::Heal => f.write_str("heal"),
            Self::Find { peer, key, room } => write!(f, "find {key} at {peer}{}", place(room)),
            Self::Publish { peer, room } => write!(f, "publish at {peer}{}", place(room)),
            Self::Garble(peer) => write!(f, "garble {peer}"),
            Self::Strike { peer, number } => write!(f, "strike {peer} {number}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}s {}", self.after as f64 / 1e3, self.deed)
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            write!(f, "{}{step}", if at == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

fn deed(words: &[&str]) -> Option<Deed> {
    let number = |word: &str| word.parse::<u64>().ok();
    let who = |word: &str| word.parse().ok().filter(|peer| *peer <= MAX_PEER);
    let (words, room) = match words {
        [rest @ .., "in", "b"] => (rest, Room::B),
        all => (all, Room::A),
    };
    Some(match words {
        ["join", peer] => Deed::Join { peer: who(peer)?, through: None, room },
        ["join", peer, "through", through] => Deed::Join { peer: who(peer)?, through: Some(who(through)?), room },
        ["find", key, "at", peer] => Deed::Find { peer: who(peer)?, key: number(key)?, room },
        ["publish", "at", peer] => Deed::Publish { peer: who(peer)?, room },
        _ if room == Room::B => return None,
        ["leave", peer] => Deed::Leave(who(peer)?),
        ["crash", peer] => Deed::Crash(who(peer)?),
        ["sever", a, b] => Deed::Sever(who(a)?, who(b)?),
        ["part", peers @ ..] if !peers.is_empty() => {
            Deed::Part(peers.iter().map(|peer| who(peer)).collect::<Option<_>>()?)
        }
        ["heal"] => Deed::Heal,
        ["garble", peer] => Deed::Garble(who(peer)?),
        ["strike", peer, at] => Deed::Strike { peer: who(peer)?, number: number(at)? },
        _ => return None,
    })
}

impl FromStr for Step {
    type Err = BadScript;

    fn from_str(text: &str) -> Result<Self, BadScript> {
        let bad = || BadScript(text.trim().into());
        let words: Vec<&str> = text.split_whitespace().collect();
        let (wait, words) = words.split_first().ok_or_else(bad)?;
        let seconds = wait.strip_prefix('+').and_then(|wait| wait.strip_suffix('s')).ok_or_else(bad)?;
        let seconds: f64 = seconds.parse().map_err(|_| bad())?;
        let millis = (seconds * 1e3).round();
        if !(0.0..=MAX_WAIT as f64).contains(&millis) {
            return Err(bad());
        }
        Ok(Self { after: millis as u64, deed: deed(words).ok_or_else(bad)? })
    }
}

impl FromStr for Script {
    type Err = BadScript;

    /// Steps end with `;` or with the line.
    fn from_str(text: &str) -> Result<Self, BadScript> {
        let steps = text.split([';', '\n']).filter(|step| !step.trim().is_empty());
        steps.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "+0s join 0; +1s join 1 through 0; +0.25s join 2 through 1 in b; +3s leave 1; +0s crash 2; \
        +0s sever 0 1; +0s part 1 2 3; +60s heal; +0.001s find 7 at 0; +0s find 7 at 0 in b; +0s publish at 3; \
        +0s publish at 3 in b; +0s garble 1; +0s strike 4 99";

    #[test]
    fn a_script_reads_as_it_was_written() {
        let script: Script = ALL.parse().expect("a script");
        assert_eq!(script.to_string(), ALL);
        assert_eq!(ALL.replace("; ", "\n").parse(), Ok(script));
    }

    #[test]
    fn what_is_no_script_is_refused_with_the_step_that_is_wrong() {
        for bad in ["join 1", "+1 join 1", "+-1s heal", "+1s heal in b", "+1s part", "+1s join x", "+1s join 10000"] {
            assert_eq!(format!("+0s heal; {bad}").parse::<Script>(), Err(BadScript(bad.into())));
        }
    }

    #[test]
    fn without_a_peer_the_others_do_what_they_did_when_they_did_it() {
        let script: Script = "+0s join 0; +1s join 1; +2s join 2; +1s part 1 2; +1s crash 1".parse().expect("a script");
        assert_eq!(script.without(1).to_string(), "+0s join 0; +3s join 2; +1s part 2");
        assert_eq!(script.peers(), [0, 1, 2]);
    }
}

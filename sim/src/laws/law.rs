//! The laws by name, and which of them a topology claims.

use core::fmt;
use core::str::FromStr;

use polymorph_core::topology::model::Claims;
use serde::{Serialize, Serializer};

use super::plot::LONG_PARTITION;

/// One of the laws. See the [module](super) for what each asks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub enum Law {
    Determinism,
    Agreement,
    Progress,
    Coverage,
    Symmetry,
    Healing,
    CleanLeave,
    Quiet,
    BoundedState,
    Isolation,
    Hostility,
}

impl Law {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Determinism,
        Self::Agreement,
        Self::Progress,
        Self::Coverage,
        Self::Symmetry,
        Self::Healing,
        Self::CleanLeave,
        Self::Quiet,
        Self::BoundedState,
        Self::Isolation,
        Self::Hostility,
    ];

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Determinism => "determinism",
            Self::Agreement => "agreement",
            Self::Progress => "progress",
            Self::Coverage => "coverage",
            Self::Symmetry => "symmetry",
            Self::Healing => "healing",
            Self::CleanLeave => "clean-leave",
            Self::Quiet => "quiet",
            Self::BoundedState => "bounded-state",
            Self::Isolation => "isolation",
            Self::Hostility => "hostility",
        }
    }

    /// The test that [`conformance!`](crate::conformance) writes for it.
    #[must_use]
    pub fn test(self) -> &'static str {
        match self {
            Self::Determinism => "the_same_seed_goes_the_same_way",
            Self::Agreement => "when_quiet_all_route_a_key_to_the_same_owner",
            Self::Progress => "each_hop_goes_closer_and_there_are_no_more_than_claimed",
            Self::Coverage => "a_broadcast_reaches_all_once_at_the_claimed_cost",
            Self::Symmetry => "whoever_has_a_neighbor_is_that_ones_neighbor",
            Self::Healing => "after_crashes_a_partition_and_a_crowd_all_is_well_again",
            Self::CleanLeave => "who_leaves_in_good_order_disturbs_nobody",
            Self::Quiet => "where_nothing_happens_little_is_said",
            Self::BoundedState => "state_stays_bounded_however_many_come_and_go",
            Self::Isolation => "two_overlays_never_mix_peers_or_messages",
            Self::Hostility => "garbled_bytes_and_events_in_any_order_do_no_harm",
        }
    }

    /// Whether it is claimed, and if so which parts of it are not.
    pub(super) fn claimed(self, claims: &Claims) -> Option<Vec<&'static str>> {
        let part = |claimed: bool, name| (!claimed).then_some(name);
        let parts = |all: &[Option<&'static str>]| Some(all.iter().flatten().copied().collect());
        let claimed = |claimed: bool| claimed.then(Vec::new);
        let (hops, closer) = (claims.hops.is_some(), claims.closer);
        match self {
            Self::Determinism | Self::Isolation => claimed(true),
            Self::Agreement => claimed(claims.agreement),
            Self::Progress if !hops && !closer => None,
            Self::Progress => parts(&[part(hops, "a bound on hops"), part(closer, "strictly closer")]),
            Self::Coverage if !claims.coverage => None,
            Self::Coverage => parts(&[part(claims.redundancy.is_some(), "a bound on redundancy")]),
            Self::Symmetry => claimed(claims.symmetry),
            Self::Healing if !claims.heals => None,
            Self::Healing => {
                let (some, long) = (claims.merges.is_some(), claims.merges.is_none_or(|most| most >= LONG_PARTITION));
                parts(&[part(some, "from partitions"), part(long, "from long partitions")])
            }
            Self::CleanLeave => claimed(claims.leaves),
            Self::Quiet => claimed(claims.idle.is_some()),
            Self::BoundedState if claims.entries.is_none() && claims.degree.is_none() => None,
            Self::BoundedState => {
                let (entries, degree) = (claims.entries.is_some(), claims.degree.is_some());
                parts(&[part(entries, "a bound on entries"), part(degree, "a bound on links")])
            }
            Self::Hostility => parts(&[part(claims.entries.is_some(), "a bound on entries")]),
        }
    }
}

/// The law that is broken in this way, where others ask for it too: healing, that it holds again.
pub(super) fn broken_by(way: &str) -> Option<Law> {
    match way {
        "no answer" | "wrong owner" | "two owners" => Some(Law::Agreement),
        "not closer" | "hops" => Some(Law::Progress),
        "not reached" | "more than once" => Some(Law::Coverage),
        "one-sided" => Some(Law::Symmetry),
        _ => None,
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no law.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no law {0:?}; the laws are {names}", names = Law::ALL.map(Law::name).join(", "))]
pub struct NoSuchLaw(pub String);

impl FromStr for Law {
    type Err = NoSuchLaw;
    fn from_str(text: &str) -> Result<Self, NoSuchLaw> {
        Self::ALL.into_iter().find(|law| law.name() == text).ok_or_else(|| NoSuchLaw(text.into()))
    }
}

impl Serialize for Law {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

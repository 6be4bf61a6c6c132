//! An attack as it is asked for: which, and how many take part.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use std::sync::Arc;

use polymorph_core::overlay::Place;
use polymorph_core::topology::model::Model;
use polymorph_core::{Guid, Key};
use serde::{Deserialize, Serialize};

use super::deed::{Dropper, Flooder, FreeRider, Misrouter, Poisoner, Sybil};
use crate::mix::{bytes32, mix};
use crate::options::Terms;
use crate::world::{Peer, World};

/// What attackers do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// They take what is to be passed on and say nothing.
    Drop,
    /// They answer that every key is theirs.
    Misroute,
    /// Whomever they name to others they replace by each other.
    Poison,
    /// They pass nothing on, and say so.
    FreeRide,
    /// They say everything many times over, and rubbish with it.
    Flood,
    /// Newcomers with many identities in one hand, who misroute, poison and drop together.
    Sybil,
    /// The same, with identities chosen until they stand around one key.
    EclipseKey,
    /// The same, around one peer.
    EclipseNode,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Drop,
        Self::Misroute,
        Self::Poison,
        Self::FreeRide,
        Self::Flood,
        Self::Sybil,
        Self::EclipseKey,
        Self::EclipseNode,
    ];

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Misroute => "misroute",
            Self::Poison => "poison",
            Self::FreeRide => "free-ride",
            Self::Flood => "flood",
            Self::Sybil => "sybil",
            Self::EclipseKey => "eclipse-key",
            Self::EclipseNode => "eclipse-node",
        }
    }

    /// Whether attackers come in addition, instead of turning coat.
    #[must_use]
    pub fn comes(self) -> bool {
        matches!(self, Self::Sybil | Self::EclipseKey | Self::EclipseNode)
    }
}

/// An attack.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Attack {
    /// What they do.
    pub kind: Kind,
    /// Which share of all peers does it, above 0 and below 1.
    pub share: f64,
}

/// Why a text is no attack.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no attack; use KIND:SHARE with {kinds} and a share between 0 and 1, as in drop:0.1",
    kinds = Kind::ALL.map(Kind::name).join(", "))]
pub struct BadAttack(pub String);

impl FromStr for Attack {
    type Err = BadAttack;

    fn from_str(text: &str) -> Result<Self, BadAttack> {
        let bad = || BadAttack(text.into());
        let (kind, share) = text.split_once(':').ok_or_else(bad)?;
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind).ok_or_else(bad)?;
        let share = share.parse().ok().filter(|share| *share > 0.0 && *share < 1.0).ok_or_else(bad)?;
        Ok(Self { kind, share })
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.share)
    }
}

/// Who attacks, and whom.
#[derive(Clone, Debug)]
pub struct Assault {
    /// The attackers.
    pub attackers: Vec<Peer>,
    /// The key that is eclipsed, if one is: a chosen one, or where the eclipsed peer stands.
    pub key: Option<Key>,
    /// The peer that is eclipsed, if one is.
    pub victim: Option<Peer>,
}

/// How many identities an attacker who wants to stand somewhere tries for each that it takes. Computing 2^6 is nothing;
/// more would not stand nearer to a key in a small world than all others do.
const TRIED: u32 = 64;
/// How long between two of them who come.
const COMES_EVERY: Duration = Duration::from_millis(200);
/// Keep what is drawn for different purposes apart.
const TRAITORS: u64 = 0x7472_6169_746f;
const VICTIM: u64 = 0x7669_6374_696d;

impl Attack {
    /// All who are in an overlay, in an order that nobody chose, the same for the same seed.
    fn drawn<M: Model>(world: &World<M>, terms: &Terms) -> Vec<Peer> {
        let seed = world.options().seed;
        let mut honest: Vec<Peer> =
            world.census(&terms.name).guids.iter().filter_map(|guid| world.peer(guid)).collect();
        honest.sort_unstable_by_key(|peer| mix(seed ^ TRAITORS, u64::from(peer.0)));
        honest
    }

    /// The peer and the key that it would eclipse.
    pub(super) fn aim<M: Model>(&self, world: &World<M>, terms: &Terms) -> (Option<Peer>, Option<Key>) {
        match self.kind {
            Kind::EclipseKey => (None, Some(Key(bytes32(world.options().seed ^ VICTIM, 0)))),
            Kind::EclipseNode => {
                let victim = Self::drawn(world, terms).first().copied();
                (victim, victim.map(|victim| terms.name.id().position(world.guid(victim), 0)))
            }
            _ => (None, None),
        }
    }

    /// Begins the attack, on an overlay that stands.
    pub fn begin<M: Model>(&self, world: &mut World<M>, terms: &Terms, config: &M::Config) -> Assault {
        let honest = Self::drawn(world, terms);
        if !self.kind.comes() {
            let count = ((honest.len() as f64 * self.share).round() as usize).clamp(1, honest.len().saturating_sub(1));
            let attackers = honest[..count].to_vec();
            self.corrupt(world, &attackers);
            return Assault { attackers, key: None, victim: None };
        }
        let (victim, key) = self.aim(world, terms);
        let count = (honest.len() as f64 * self.share / (1.0 - self.share)).round().max(1.0) as usize;
        let attackers = identities(world, terms, key, count);
        self.corrupt(world, &attackers);
        for (at, &peer) in attackers.iter().enumerate() {
            let overlay = |place: Place| M::new(config, place);
            if world.attach(peer, terms, overlay).is_ok() {
                world.join(peer, &[honest[at % honest.len()]]);
                world.run_for(COMES_EVERY);
            }
        }
        Assault { attackers, key, victim }
    }

    fn corrupt<M: Model>(&self, world: &mut World<M>, attackers: &[Peer]) {
        let gang: Arc<[Guid]> = attackers.iter().map(|peer| world.guid(*peer)).collect();
        for &peer in attackers {
            let gang = || gang.clone();
            match self.kind {
                Kind::Drop => world.corrupt(peer, Dropper),
                Kind::Misroute => world.corrupt(peer, Misrouter { gang: gang() }),
                Kind::Poison => world.corrupt(peer, Poisoner { gang: gang() }),
                Kind::FreeRide => world.corrupt(peer, FreeRider),
                Kind::Flood => world.corrupt(peer, Flooder),
                Kind::Sybil | Kind::EclipseKey | Kind::EclipseNode => world.corrupt(peer, Sybil::of(&gang())),
            }
        }
    }
}

/// New identities: any, or those of many that stand nearest to a key. Where a Guid stands nobody can choose, but whoever
/// makes many can take the best.
fn identities<M: Model>(world: &mut World<M>, terms: &Terms, near: Option<Key>, count: usize) -> Vec<Peer> {
    let Some(key) = near else { return (0..count).map(|_| world.spawn()).collect() };
    let overlay = terms.name.id();
    // The nearest on both sides: the owner may be the next one clockwise, or the nearest by XOR.
    let mut tried: Vec<Peer> = (0..count as u32 * TRIED).map(|_| world.spawn()).collect();
    tried.sort_by_cached_key(|peer| {
        let at = overlay.position(world.guid(*peer), 0);
        key.clockwise(&at).min(at.clockwise(&key))
    });
    for &unused in &tried[count..] {
        world.leave(unused);
    }
    tried.truncate(count);
    tried
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attack_reads_as_it_is_written() {
        for kind in Kind::ALL {
            let attack = Attack { kind, share: 0.25 };
            assert_eq!(attack.to_string().parse(), Ok(attack));
        }
        for bad in ["drop", "drop:", "drop:0", "drop:1", "drop:x", "rob:0.1", "drop:-0.1", "drop:NaN"] {
            assert_eq!(bad.parse::<Attack>(), Err(BadAttack(bad.into())));
        }
    }
}

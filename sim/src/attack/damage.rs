//! What an attack does to an overlay: the same questions before and during it, asked by honest peers only.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use polymorph_core::engine::io::Outcome;
use polymorph_core::topology::model::{Census, Model};
use polymorph_core::topology::question::Target;
use polymorph_core::{Guid, Key};
use serde::{Deserialize, Serialize};

use super::{Assault, Attack, Kind};
use crate::mix::{below, bytes32, mix};
use crate::options::Terms;
use crate::traffic::Traffic;
use crate::world::{Peer, World};

/// How long between two questions.
const EVERY: Duration = Duration::from_millis(20);
/// How long the last of them may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Keep what is drawn for different purposes apart.
const ASKED: u64 = 0x0061_736b_6564;
const SENT: u64 = 0x7365_6e74;

/// What honest peers got done.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Service {
    /// Lookups asked.
    pub lookups: usize,
    /// Answered.
    pub ok: usize,
    /// Answered with the owner among all who are in the overlay, attackers included; `None` where there are no owners.
    pub consistent: Option<usize>,
    /// Answered with the owner there would be without attackers.
    pub honest: Option<usize>,
    /// Broadcasts sent.
    pub broadcasts: usize,
    /// Share of honest peers a broadcast reached.
    pub reliability: Option<f64>,
    /// Share of the entries of honest peers' tables that name attackers; of the eclipsed peer's only, if there is one.
    pub tables: f64,
    /// Frames for each peer and second while this was measured.
    pub frames_per_peer_s: f64,
}

/// An attack and what it did.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Damage {
    /// What attackers did.
    pub kind: Kind,
    /// Their share of all peers.
    pub share: f64,
    /// How many there were.
    pub attackers: usize,
    /// How many honest peers there were.
    pub honest: usize,
    /// Before.
    pub without: Service,
    /// While it lasts.
    pub with: Service,
    /// How often a peer blamed another for breaking rules, the first 1024 times.
    pub blamed: usize,
    /// Of these, how often it was an honest one.
    pub wronged: usize,
    /// How often honest peers refused what they were told, without anybody to blame.
    pub doubts: u64,
}

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Lookups of random keys; of the eclipsed key, if one is.
    pub lookups: usize,
    /// Broadcasts by random peers.
    pub broadcasts: usize,
    /// How long the attack goes on before its damage is measured.
    pub lasts: Duration,
}

/// Measures an overlay that stands, lets it be attacked, and measures again.
pub fn measure<M: Model>(
    world: &mut World<M>,
    terms: &Terms,
    config: &M::Config,
    attack: Attack,
    plan: Plan,
) -> Damage {
    let before = Census::clone(&world.census(&terms.name));
    let (_, key) = attack.aim(world, terms);
    // Who will attack is not known yet: all are asked.
    let calm = Survey { terms, config, honest: &before, key, assault: None };
    let mut without = calm.ask(world, plan);
    let blamed = world.blamed().len();
    let assault = attack.begin(world, terms, config);
    world.run_for(plan.lasts);
    let bad: BTreeSet<Guid> = assault.attackers.iter().map(|peer| world.guid(*peer)).collect();
    let honest =
        Census::new(before.overlay, before.guids.iter().filter(|guid| !bad.contains(*guid)).copied().collect());
    let doubted = doubts(world, &honest);
    let during = Survey { terms, config, honest: &honest, key, assault: Some(&assault) };
    let with = during.ask(world, plan);
    if honest.guids.len() == before.guids.len() {
        // Newcomers: what was right before is what would be right without them.
        without.honest = without.consistent;
    }
    let doubted = doubts(world, &honest).saturating_sub(doubted);
    let blamed = &world.blamed()[blamed.min(world.blamed().len())..];
    Damage {
        kind: attack.kind,
        share: attack.share,
        attackers: assault.attackers.len(),
        honest: honest.guids.len(),
        without,
        with,
        blamed: blamed.len(),
        wronged: blamed.iter().filter(|blamed| !bad.contains(&blamed.peer)).count(),
        doubts: doubted,
    }
}

/// What honest peers did not believe so far.
fn doubts<M: Model>(world: &World<M>, honest: &Census) -> u64 {
    let peers = honest.guids.iter().filter_map(|guid| world.peer(guid));
    let doubts = |peer| Some(world.engine(peer)?.metrics(world.slot(peer))?.doubts);
    peers.filter_map(doubts).sum()
}

/// Who asks, and what is right.
struct Survey<'a, M: Model> {
    terms: &'a Terms,
    config: &'a M::Config,
    honest: &'a Census,
    /// The one key that is looked up, if one is eclipsed.
    key: Option<Key>,
    assault: Option<&'a Assault>,
}

impl<M: Model> Survey<'_, M> {
    fn ask(&self, world: &mut World<M>, plan: Plan) -> Service {
        let (begun, before): (_, Traffic) = (world.now(), *world.traffic());
        let powers = self.anybody(world, 0).and_then(|peer| world.topology(peer)).map(|topology| topology.powers());
        let (routes, spreads) = powers.map_or((false, false), |powers| (powers.routes, powers.spreads));
        let mut service = Service { tables: self.tables(world), ..Service::default() };
        if routes && plan.lookups > 0 {
            self.lookups(world, plan.lookups, &mut service);
        }
        if spreads && plan.broadcasts > 0 {
            self.broadcasts(world, plan.broadcasts, &mut service);
        }
        let frames: u64 = world.traffic().since(&before).kinds().map(|(_, frames, _)| frames).sum();
        let span = world.now().since(begun).as_secs_f64();
        if span > 0.0 {
            service.frames_per_peer_s = frames as f64 / span / world.census(&self.terms.name).guids.len().max(1) as f64;
        }
        service
    }

    /// An honest peer that is still there.
    fn anybody(&self, world: &World<M>, draw: u64) -> Option<Peer> {
        let guids = &self.honest.guids;
        world.peer(guids.get(below(draw, guids.len() as u64) as usize)?).filter(|peer| world.is_alive(*peer))
    }

    fn lookups(&self, world: &mut World<M>, count: usize, service: &mut Service) {
        let seed = mix(world.options().seed ^ ASKED, 0);
        let mut asked = Vec::new();
        for number in 0..count as u64 {
            let key = self.key.unwrap_or_else(|| Key(bytes32(seed, number)));
            if let Some(peer) = self.anybody(world, mix(seed, number)) {
                asked.push((peer, key, world.lookup(peer, key, 1)));
            }
            world.run_for(EVERY);
        }
        world.run_for(PATIENCE);
        let all = world.census(&self.terms.name);
        service.lookups = asked.len();
        for (peer, key, ticket) in asked {
            let Some(ended) = world.take_ended(peer, ticket) else { continue };
            let Outcome::Found { owner: Some(found), .. } = ended.outcome else { continue };
            service.ok += 1;
            let right = |census: &Census| M::owner(self.config, census, &Target::Key(key)).map(|right| right == found);
            let tally = |sum: &mut Option<usize>, right: Option<bool>| {
                if let Some(right) = right {
                    *sum = Some(sum.unwrap_or_default() + usize::from(right));
                }
            };
            tally(&mut service.consistent, right(&all));
            tally(&mut service.honest, right(self.honest));
        }
    }

    fn broadcasts(&self, world: &mut World<M>, count: usize, service: &mut Service) {
        let seed = mix(world.options().seed ^ SENT, world.now().0);
        let mut sent = BTreeMap::new();
        for number in 0..count as u64 {
            let Some(peer) = self.anybody(world, mix(seed, number)) else { continue };
            let mark = mix(seed, !number).to_le_bytes();
            world.publish(peer, None, mark.to_vec());
            sent.insert(mark, peer);
            world.run_for(EVERY);
        }
        world.run_for(PATIENCE);
        let honest: BTreeSet<Peer> = self.honest.guids.iter().filter_map(|guid| world.peer(guid)).collect();
        let mut reached = 0;
        for tally in world.tallies() {
            if let Some(origin) = sent.get(&tally.mark) {
                reached += honest.iter().filter(|peer| *peer != origin && tally.has(**peer)).count();
            }
        }
        service.broadcasts = sent.len();
        let wanted = sent.len() * honest.len().saturating_sub(1);
        service.reliability = (wanted > 0).then(|| reached as f64 / wanted as f64);
    }

    fn tables(&self, world: &World<M>) -> f64 {
        let Some(assault) = self.assault else { return 0.0 };
        let bad: BTreeSet<Guid> = assault.attackers.iter().map(|peer| world.guid(*peer)).collect();
        let victims: Vec<Peer> = match assault.victim {
            Some(victim) => vec![victim],
            None => self.honest.guids.iter().filter_map(|guid| world.peer(guid)).collect(),
        };
        let (mut entries, mut named) = (0, 0);
        for neighbor in
            victims.iter().filter_map(|peer| world.topology(*peer)).flat_map(|topology| topology.neighbors())
        {
            entries += 1;
            named += usize::from(bad.contains(&neighbor.peer));
        }
        if entries == 0 { 0.0 } else { f64::from(named as u32) / f64::from(entries) }
    }
}

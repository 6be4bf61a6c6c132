//! Values that are put, lie for a while, whoever comes and goes, and are fetched again.

use core::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use polymorph_core::engine::io::{Command, Outcome};
use polymorph_core::record::{GetOptions, MAX_LIFETIME_SECS, MAX_VALUE_BYTES, PutOptions, Quorum};
use polymorph_core::topology::event::Ticket;
use polymorph_core::{Key, OverlayName, Topology};

use super::{GLANCE, Seats};
use crate::mix::{below, bytes32, mix};
use crate::report;
use crate::traffic::Traffic;
use crate::world::{Peer, World};

/// Values put by random peers under random keys.
#[derive(Clone, Copy, Debug)]
pub struct Records {
    /// How many.
    pub count: usize,
    /// How large each is, at most a kibibyte.
    pub bytes: usize,
    /// How many replicas must confirm one, and answer for it.
    pub quorum: Quorum,
    /// How long between two of them.
    pub every: Duration,
    /// How often one that fails is asked for once more, each time by somebody else.
    pub retries: u32,
    /// How long the last of them may take.
    pub patience: Duration,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            count: 1000,
            bytes: MAX_VALUE_BYTES,
            quorum: Quorum::Majority,
            every: Duration::from_millis(1),
            retries: 1,
            patience: Duration::from_secs(120),
        }
    }
}

impl Records {
    /// So many values, paced for a world of so many peers: each asks for one every ten seconds, whatever its size. Among
    /// few peers faster ones would measure the storm of their dials.
    #[must_use]
    pub fn among(count: usize, peers: usize) -> Self {
        Self { count, every: EACH_EVERY.div_f64(peers.max(1) as f64), ..Self::default() }
    }
}

/// How long a peer takes between two values of its own, on average.
const EACH_EVERY: Duration = Duration::from_secs(10);
/// Keeps these draws apart from others.
const RECORDS: u64 = 0x7265_636f_7264;
/// The kinds of frames that records take; looking their replicas up is counted with all other lookups.
const KINDS: [&str; 6] = ["store", "stored", "fetch", "fetched", "holds", "holding"];

/// Values that were put.
#[derive(Debug)]
pub struct Lying {
    overlay: OverlayName,
    plan: Records,
    /// The numbers of those that were confirmed.
    stored: Vec<u64>,
    since: polymorph_core::Time,
    traffic: Traffic,
}

/// Puts values, and waits until each is confirmed or failed. Nobody stores them anew: what is found later was handed
/// from replica to replica. Only those are asked, then and later, who have their places in the overlay.
pub fn put<T: Topology>(world: &mut World<T>, overlay: &OverlayName, plan: &Records) -> Lying {
    let mut stored = Vec::with_capacity(plan.count);
    let numbers: Vec<u64> = (0..plan.count as u64).collect();
    each(world, overlay, plan, &numbers, 0, |world, peer, number| {
        let ticket = world.ticket();
        let (key, value) = (key(world, number), value(number, plan.bytes));
        let lifetime = Duration::from_secs(MAX_LIFETIME_SECS);
        let options = PutOptions { lifetime, quorum: plan.quorum, sequence: None };
        world.command(peer, Command::Put { ticket, key, value, options });
        world.command(peer, Command::Withdraw { key });
        ticket
    })
    .into_iter()
    .filter(|(_, outcome)| matches!(outcome, Outcome::Stored { .. }))
    .for_each(|(number, _)| stored.push(number));
    Lying { overlay: overlay.clone(), plan: *plan, stored, since: world.now(), traffic: *world.traffic() }
}

impl Lying {
    /// Fetches all that was confirmed, and says what became of it.
    pub fn fetch<T: Topology>(self, world: &mut World<T>) -> report::Records {
        let Self { overlay, plan, mut stored, since, traffic } = self;
        let spent = world.traffic().since(&traffic);
        let bytes: u64 = KINDS.iter().map(|kind| spent.bytes(kind)).sum();
        let span = world.now().since(since).as_secs_f64();
        let rate = (span > 0.0).then(|| bytes as f64 / (world.alive().max(1) as f64 * span));
        let confirmed = stored.len();
        let mut found = Vec::new();
        for round in 0..=plan.retries {
            let fetched = each(world, &overlay, &plan, &stored, 1 + u64::from(round), |world, peer, number| {
                let (ticket, key) = (world.ticket(), key(world, number));
                world.command(
                    peer,
                    Command::Get { ticket, key, options: GetOptions { quorum: plan.quorum, ..GetOptions::default() } },
                );
                ticket
            });
            let right = |(number, outcome): &(u64, Outcome)| match outcome {
                Outcome::Records { records, .. } => records.iter().any(|r| r.value == value(*number, plan.bytes)),
                _ => false,
            };
            let mut got: Vec<u64> = fetched.iter().filter(|one| right(one)).map(|(number, _)| *number).collect();
            got.sort_unstable();
            stored.retain(|number| got.binary_search(number).is_err());
            found.push(got.len());
        }
        report::Records {
            count: plan.count,
            value_bytes: plan.bytes,
            stored: confirmed,
            found: found.iter().sum(),
            found_at_once: found.first().copied().unwrap_or_default(),
            bytes_per_peer_s: rate,
        }
    }
}

/// Lets random peers ask, one after the other, and waits for all outcomes. Whoever is gone before has none.
fn each<T: Topology>(
    world: &mut World<T>,
    overlay: &OverlayName,
    plan: &Records,
    numbers: &[u64],
    round: u64,
    mut ask: impl FnMut(&mut World<T>, Peer, u64) -> Ticket,
) -> Vec<(u64, Outcome)> {
    let seed = mix(world.options().seed ^ RECORDS, round);
    let mut waiting: HashMap<(Peer, Ticket), u64> = HashMap::new();
    let mut ended = Vec::with_capacity(numbers.len());
    let mut seats = Seats::new(overlay);
    world.watch_endings();
    let mut run = |world: &mut World<T>, waiting: &mut HashMap<(Peer, Ticket), u64>, span: Duration| {
        let end = world.now() + span;
        while world.run_until(end.since(world.now()), World::has_endings) {
            for (peer, ticket) in world.take_endings() {
                let outcome = world.take_ended(peer, ticket).map(|ended| ended.outcome);
                if let (Some(number), Some(outcome)) = (waiting.remove(&(peer, ticket)), outcome) {
                    ended.push((number, outcome));
                }
            }
        }
    };
    for (at, &number) in numbers.iter().enumerate() {
        let all = &seats.of(world).guids;
        let asker = all.get(below(mix(seed, at as u64), all.len() as u64) as usize);
        let Some(peer) = asker.and_then(|guid| world.peer(guid)) else { break };
        let ticket = ask(world, peer, number);
        waiting.insert((peer, ticket), number);
        run(world, &mut waiting, plan.every);
    }
    let end = world.now() + plan.patience;
    while !waiting.is_empty() && world.now() < end {
        run(world, &mut waiting, GLANCE);
        waiting.retain(|(peer, _), _| world.is_alive(*peer));
    }
    world.unwatch_endings();
    ended
}

fn key<T: Topology>(world: &World<T>, number: u64) -> Key {
    Key(bytes32(world.options().seed ^ RECORDS, number))
}

fn value(number: u64, bytes: usize) -> Bytes {
    let mut value = vec![0; bytes];
    for (byte, word) in value.iter_mut().zip(number.to_le_bytes().into_iter().cycle()) {
        *byte = word;
    }
    value.into()
}

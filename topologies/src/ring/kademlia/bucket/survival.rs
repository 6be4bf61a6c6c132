//! What it is worth to keep the oldest (Kademlia §2.2, §4.1): how many of a bucket's entries are alive, against buckets that
//! let newcomers in by chance.

use core::time::Duration;

use polymorph_sim::churn::Lifetimes;

use super::super::model::mix;
use super::*;

/// What becomes of a newcomer when the bucket is full and its least recently seen entry answers. Where that is silent,
/// all put the newcomer in its place.
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    /// It waits: Kademlia's.
    Oldest,
    /// It takes the place of a random entry: of one that lives, because to throw out the dead is detection, in which
    /// the rules are alike; and its place in the order, so that both go on asking as often.
    Random,
    /// It takes the place of a random entry, dead or alive, and nobody is ever asked.
    Blind,
}

const K: usize = 20;
const MINUTE: Duration = Duration::from_secs(60);
/// How long each population is watched, after twelve hours that are not.
const MINUTES: u32 = 36 * 60;
const PEERS: usize = 500;
const BUCKETS: usize = 10;
/// How many populations there are, each independent of the others.
const POPULATIONS: u64 = 100;

/// Peers who come and go.
struct Population {
    /// Who is there, and until when.
    peers: Vec<(usize, Time)>,
    /// Of all there ever were.
    alive: Vec<bool>,
}

impl Population {
    fn guid(number: usize) -> Guid {
        Guid(core::array::from_fn(|at| number.to_be_bytes()[at % 8]))
    }

    fn lives(&self, guid: Guid) -> bool {
        guid.0.first_chunk().is_some_and(|bytes| self.alive[usize::from_be_bytes(*bytes)])
    }

    /// Whoever is gone by now is replaced.
    fn pass(&mut self, now: Time, lifetimes: Lifetimes, draw: &mut impl FnMut() -> u64) {
        for peer in self.peers.iter_mut().filter(|(_, until)| *until <= now) {
            self.alive[peer.0] = false;
            *peer = (self.alive.len(), now + lifetimes.whole(draw()));
            self.alive.push(true);
        }
    }
}

/// Numbers that are the same whenever they are drawn from the same seed.
fn draws(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = mix(seed);
        seed
    }
}

/// A bucket hears somebody.
fn hear(bucket: &mut Bucket, guid: Guid, rule: Rule, now: Time, all: &Population, draw: &mut impl FnMut() -> u64) {
    let Heard::Doubt(oldest) = bucket.hear(Entry { head: 0, guid }, K, K, now) else { return };
    if rule == Rule::Blind {
        let any = bucket.entries[draw() as usize % K].guid;
        bucket.lose(&any);
    } else if !all.lives(oldest) {
        bucket.lose(&oldest);
    } else {
        bucket.hear(Entry { head: 0, guid: oldest }, K, K, now);
        if rule == Rule::Random {
            let mut living: Vec<&mut Entry> = bucket.entries.iter_mut().filter(|entry| all.lives(entry.guid)).collect();
            let at = draw() as usize % living.len();
            *living[at] = bucket.spare.pop().expect("who was heard just now");
        }
    }
}

/// The share of entries that are alive, in buckets each of which hears a random peer each minute.
fn live_share(lifetimes: Lifetimes, rule: Rule, seed: u64) -> f64 {
    // The population is the same for all rules.
    let (mut fate, mut draw) = (draws(mix(seed)), draws(!seed));
    let peers = (0..PEERS).map(|number| (number, Time::ZERO + lifetimes.residual(fate()))).collect();
    let mut all = Population { peers, alive: vec![true; PEERS] };
    let mut buckets: Vec<Bucket> = (0..BUCKETS).map(|_| Bucket::new(0, Vec::new())).collect();
    let (mut live, mut count) = (0, 0);
    for step in 1..=MINUTES {
        let now = Time::ZERO + MINUTE * step;
        all.pass(now, lifetimes, &mut fate);
        for bucket in &mut buckets {
            let heard = Population::guid(all.peers[draw() as usize % PEERS].0);
            hear(bucket, heard, rule, now, &all, &mut draw);
            if step > MINUTES / 3 {
                live += bucket.entries.iter().filter(|entry| all.lives(entry.guid)).count();
                count += bucket.entries.len();
            }
        }
    }
    live as f64 / count as f64
}

/// By how much more of the entries are alive under one rule than under the other, and the standard error of that.
fn lead(name: &str, lifetimes: Lifetimes, one: Rule, other: Rule) -> (f64, f64) {
    let shares = |rule| (0..POPULATIONS).map(|seed| live_share(lifetimes, rule, seed)).collect::<Vec<_>>();
    let (one, other) = (shares(one), shares(other));
    let count = POPULATIONS as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / count;
    let leads: Vec<f64> = one.iter().zip(&other).map(|(one, other)| one - other).collect();
    let lead = mean(&leads);
    let error = (leads.iter().map(|each| (each - lead).powi(2)).sum::<f64>() / (count - 1.0) / count).sqrt();
    println!("{name}: {:.4} of the entries live against {:.4}, {lead:+.4} ± {error:.4}", mean(&one), mean(&other));
    (lead, error)
}

/// Sessions of an hour's mean: of those who stayed for long most will stay on.
fn weibull() -> Lifetimes {
    let scale = Duration::from_secs(3600).div_f64(libm::tgamma(1.0 + 1.0 / 0.59));
    Lifetimes::Weibull { shape: 0.59, scale }
}

/// As long on average, and nobody's past says anything.
fn exponential() -> Lifetimes {
    Lifetimes::Exponential { mean: Duration::from_secs(3600) }
}

#[test]
fn who_keeps_the_oldest_has_more_live_entries_where_those_who_stayed_will_stay() {
    let (lead, error) = lead("Weibull, against chance", weibull(), Rule::Oldest, Rule::Random);
    assert!(lead > 10.0 * error && lead > 0.02);
}

#[test]
fn who_keeps_the_oldest_has_as_many_live_entries_where_the_past_says_nothing() {
    let (lead, error) = lead("exponential, against chance", exponential(), Rule::Oldest, Rule::Random);
    assert!(lead.abs() < 2.0 * error);
}

#[test]
fn to_ask_the_oldest_is_better_than_to_ask_nobody() {
    for (name, lifetimes) in [("Weibull", weibull()), ("exponential", exponential())] {
        let (lead, error) = lead(&format!("{name}, against nobody asked"), lifetimes, Rule::Oldest, Rule::Blind);
        assert!(lead > 10.0 * error);
    }
}

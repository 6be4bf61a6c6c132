//! Lookups and broadcasts on real nodes, measured as in a world.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use polymorph::core::engine::io::Origin;
use polymorph::core::topology::model::Model;
use polymorph::core::topology::question::Target;
use polymorph::sim::report::{Answers, Bins, Broadcast, Lookups, Percentiles, Quantiles, Spread};
use polymorph::sim::workload::{self, Broadcasts};
use polymorph::{Guid, Key, Subscription};
use tokio::time::{Instant, timeout_at};

use super::{Crew, Sockets};

/// How many lookups are on the way at once.
const AT_ONCE: usize = 8;
/// How long a broadcast may take.
const PATIENCE: Duration = Duration::from_secs(10);

struct Answer {
    owner: Guid,
    hops: u32,
    timeouts: u32,
    took: Duration,
}

/// The questions of the world of this seed, asked by the same nodes.
pub(super) async fn lookups<T: Model>(crew: &Crew, run: &Sockets<'_>, config: &T::Config) -> anyhow::Result<Lookups> {
    let question = |number| workload::question(run.seed, run.began.0, &crew.census.guids, number);
    let questions: Vec<(Guid, Key)> = (0..run.arguments.lookups as u64).map_while(question).collect();
    let ask = |&(asker, key): &(Guid, Key)| async move {
        let (began, overlay) = (Instant::now(), &crew.member(&asker)?.overlay);
        let found = overlay.lookup(key, 1).await.ok()?;
        Some(Answer { owner: found.owner, hops: found.hops, timeouts: found.timeouts, took: began.elapsed() })
    };
    let answers: Vec<Option<Answer>> =
        futures_util::stream::iter(&questions).map(ask).buffered(AT_ONCE).collect().await;
    let owner = |key: &Key| T::owner(config, &crew.census, &Target::Key(*key));
    let judged = answers.iter().zip(&questions).filter_map(|(answer, (_, key))| Some((answer.as_ref()?, owner(key))));
    let right = judged.clone().filter(|(answer, right)| *right == Some(answer.owner)).count();
    let modelled = judged.clone().any(|(_, right)| right.is_some());
    let all = || answers.iter().flatten();
    let millis = || all().map(|answer| answer.took.as_secs_f64() * 1e3);
    let timeouts: Vec<f64> = all().map(|answer| answer.timeouts.into()).collect();
    Ok(Lookups {
        count: questions.len(),
        ok: all().count(),
        consistent: modelled.then_some(right),
        hops: Quantiles::of(all().map(|answer| answer.hops.into()).collect()),
        timeouts_mean: Spread::of(&timeouts).map(|spread| spread.mean),
        latency_ms: Percentiles::of(millis().collect()),
        stretch_mean: None,
        answers: Answers {
            began: run.began.0,
            hops: answers.iter().map(|answer| Some(answer.as_ref()?.hops.min(255) as u8)).collect(),
            latency_ms: Bins::of(millis().collect::<Vec<_>>(), 0.01),
        },
    })
}

/// Broadcasts by the same senders, one after the other.
pub(super) async fn broadcasts(crew: &Crew, run: &Sockets<'_>) -> anyhow::Result<Broadcast> {
    let arguments = run.arguments;
    let (warmup, count, sources) = (arguments.warmup_broadcasts, arguments.broadcasts, arguments.sources.into());
    let bytes = Broadcasts::default().bytes;
    let mut hears: Vec<(Guid, Subscription)> = Vec::new();
    for member in &crew.members {
        hears.push((member.node.guid(), member.overlay.subscribe(None).await?));
    }
    let (mut copies, mut frames) = (0, 0);
    let (mut shares, mut lasts, mut hops, mut arrivals) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in 0..(warmup + count) as u64 {
        let origin = workload::origin(run.seed, run.began.1, sources, &crew.census.guids, number);
        let Some(origin) = origin.and_then(|guid| crew.member(&guid)) else { break };
        if number == warmup as u64 {
            (copies, frames) = traffic(crew).await?;
        }
        let mut payload = number.to_le_bytes().to_vec();
        payload.resize(bytes, 0);
        let began = Instant::now();
        origin.overlay.publish(None, Bytes::from(payload), Origin::Claimed).await?;
        let others = hears.iter_mut().filter(|(guid, _)| *guid != origin.node.guid());
        let heard = join_all(others.map(|(_, hears)| hear(hears, number, began))).await;
        if number < warmup as u64 {
            continue;
        }
        let got: Vec<&(u8, Duration)> = heard.iter().flatten().collect();
        shares.push(got.len() as f64 / heard.len().max(1) as f64);
        lasts.extend(got.iter().map(|(hops, _)| f64::from(*hops)).reduce(f64::max));
        hops.extend(got.iter().map(|(hops, _)| usize::from(*hops)));
        arrivals.extend(got.iter().map(|(_, after)| after.as_secs_f64() * 1e3));
    }
    let (copies, frames) = traffic(crew).await.map(|(later, all)| (later - copies, all - frames))?;
    let receivers = hops.len();
    arrivals.sort_by(f64::total_cmp);
    let of = (shares.len() * (crew.members.len().max(2) - 1)) as f64;
    let mut by_hops = vec![0; hops.iter().max().map_or(0, |most| most + 1)];
    hops.iter().for_each(|&at| by_hops[at] += 1);
    // At most as many steps as one sees.
    let step = arrivals.len().div_ceil(256).max(1);
    let coverage = (1..=arrivals.len()).filter(|got| got % step == 0 || *got == arrivals.len());
    Ok(Broadcast {
        count: shares.len(),
        reliability: Spread::of(&shares).map_or(0.0, |spread| spread.mean),
        reliability_first: shares.first().copied().unwrap_or_default(),
        redundancy: (receivers > 0).then(|| copies as f64 / receivers as f64 - 1.0),
        last_hop: Spread::of(&lasts),
        payload_messages: copies,
        control_messages: frames.saturating_sub(copies),
        began: run.began.1,
        hops: by_hops,
        coverage: coverage.map(|got| (arrivals[got - 1], got as f64 / of)).collect(),
    })
}

/// How far it came, and how long that took; `None` if it did not come in time.
async fn hear(hears: &mut Subscription, number: u64, began: Instant) -> Option<(u8, Duration)> {
    let end = began + PATIENCE;
    loop {
        let publication = timeout_at(end, hears.next()).await.ok()??;
        // One that came too late is of no use any more.
        if publication.payload.starts_with(&number.to_le_bytes()) {
            return Some((publication.hops, began.elapsed()));
        }
    }
}

/// Broadcast copies and frames that all nodes took in so far.
async fn traffic(crew: &Crew) -> anyhow::Result<(u64, u64)> {
    let (mut copies, mut frames) = (0, 0);
    for member in &crew.members {
        let metrics = member.overlay.metrics().await?;
        (copies, frames) = (copies + metrics.copies, frames + metrics.frames_in);
    }
    Ok((copies, frames))
}

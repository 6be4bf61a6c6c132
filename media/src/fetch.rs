//! Fetching a blob from several providers at once, verified as it comes, resumable at any moment.

use core::num::NonZeroU64;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use polymorph_core::Guid;
use polymorph_core::runtime::transport::Stream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::blob::Hash;
use crate::blob::tree;
use crate::disk::blocking;
use crate::limit::Limiter;
use crate::lock;
use crate::provider::{Provider, Providers};
use crate::store::{Store, StoreError};

mod discover;
mod plan;
mod pull;
mod tally;

pub use pull::Complaint;
pub use tally::{Fetched, Progress};

use plan::Plan;
use pull::{Ended, Shared, checkpoint, pull};
use tally::Tally;

/// How many providers a blob is fetched from at once; each may keep a chunk and its buffer in memory.
pub const MAX_ACTIVE: usize = 16;
/// How many providers a fetcher remembers; more that come are not asked.
const MAX_KNOWN: usize = 256;
/// Progress is made to last a crash after so long ...
const CHECKPOINT: Duration = Duration::from_secs(1);
/// ... or so many groups (64 MiB), whichever comes first. More often costs throughput, less often repeats work.
const CHECKPOINT_GROUPS: u64 = 4096;
/// How many providers' complaints a message tells.
const MAX_TOLD: usize = 4;
/// How often it is looked whether that is due.
const TICK: Duration = Duration::from_millis(100);

/// How to fetch.
#[derive(Clone, Debug)]
pub struct Options {
    /// At most so many bytes per second, all providers together.
    pub limit: Option<NonZeroU64>,
    /// A provider from which nothing comes for so long is dropped.
    pub stall: Duration,
    /// How long to wait for a provider while there is none.
    pub patience: Duration,
    /// Told of every chunk.
    pub progress: Option<watch::Sender<Progress>>,
}

/// What is known of a blob's length before it is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Somebody trusted, a package for instance, named it.
    Known(u64),
    /// Nothing; providers must prove it, and it must not be more than this.
    AtMost(u64),
}

impl Default for Options {
    fn default() -> Self {
        let (stall, patience) = (Duration::from_secs(20), Duration::from_secs(30));
        Self { limit: None, stall, patience, progress: None }
    }
}

/// Why a fetch failed. What came is kept, and the next fetch resumes with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Our own store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody who was found could deliver.
    #[error("no provider delivers {hash}{}; join a peer that shares it and run again, what came is kept", tried(.complaints))]
    NoProvider {
        /// What was wanted.
        hash: Hash,
        /// Who was tried, and what was wrong with each.
        complaints: Vec<(Guid, Complaint)>,
    },
    /// The blob is longer than allowed.
    #[error("{hash} has {length} bytes, more than the {max} allowed")]
    TooLong {
        /// What was wanted.
        hash: Hash,
        /// Its proven length.
        length: u64,
        /// The most that was allowed.
        max: u64,
    },
}

fn tried(complaints: &[(Guid, Complaint)]) -> String {
    let each = complaints.iter().map(|(guid, complaint)| format!("{} {complaint}", guid.short()));
    let each: Vec<_> = each.take(MAX_TOLD).collect();
    match complaints.len() {
        0 => String::new(),
        n if n > MAX_TOLD => format!(" ({}; and {} more)", each.join("; "), n - MAX_TOLD),
        _ => format!(" ({})", each.join("; ")),
    }
}

/// Fetches blobs into a store, one after the other, from providers that may keep coming.
#[derive(Debug)]
pub struct Fetcher {
    store: Store,
    options: Options,
    limiter: Option<Arc<Limiter>>,
    coming: Coming,
    known: Vec<Known>,
    tally: Arc<Tally>,
}

/// Where providers come from.
struct Coming(Option<Box<dyn Providers>>);

impl std::fmt::Debug for Coming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Coming" } else { "Over" })
    }
}

impl Coming {
    /// Cancel-safe; waits for ever once no more come.
    async fn next(&mut self) -> Option<Arc<dyn Provider>> {
        let next = self.0.as_mut()?.next().await;
        if next.is_none() {
            self.0 = None;
        }
        next
    }
}

#[derive(Debug)]
struct Known {
    provider: Arc<dyn Provider>,
    standing: Standing,
}

#[derive(Debug)]
enum Standing {
    /// Can be asked, over a stream that is open already or a new one.
    Ready(Option<Stream>),
    Active,
    /// It failed; it may come again.
    Gone,
    /// It lied and is not asked again.
    Banned,
}

impl Fetcher {
    /// Fetches into `store` from whoever `providers` names.
    #[must_use]
    pub fn new(store: &Store, providers: impl Providers + 'static, options: Options) -> Self {
        let tally = Tally { progress: options.progress.clone(), ..Tally::default() };
        let limiter = options.limit.map(|rate| Arc::new(Limiter::new(rate)));
        let coming = Coming(Some(Box::new(providers)));
        Self { store: store.clone(), options, limiter, coming, known: Vec::new(), tally: Arc::new(tally) }
    }

    /// The store it fetches into.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Adds to the total of [`Progress`]: what will be fetched with known lengths.
    pub fn expect(&mut self, bytes: u64) {
        let mut here = lock(&self.tally.here);
        here.total = here.total.saturating_add(bytes);
    }

    /// Fetches the blob `hash` into the store. What is here of it already is not fetched again. Dropping the future
    /// stops the fetch; what came stays. A [`Length::Known`] counts in [`Progress`] once [`expect`](Self::expect) was
    /// told, a proven one by itself.
    ///
    /// # Errors
    /// Any [`FetchError`].
    pub async fn blob(&mut self, hash: Hash, length: Length) -> Result<Fetched, FetchError> {
        if let Some(holding) = self.store.holding(hash).await? {
            return Ok(self.already(holding.length));
        }
        // Left over from a fetch that was dropped half-way.
        self.reset();
        let mut complaints = Vec::new();
        let length = match length {
            Length::Known(length) => length,
            Length::AtMost(max) => {
                let length = Box::pin(self.discover(hash, max, &mut complaints)).await?;
                self.expect(length);
                length
            }
        };
        let Some(partial) = self.store.partial(hash, length).await? else { return Ok(self.already(length)) };
        let resumed_bytes = partial.resumed_bytes();
        self.tally.advance(resumed_bytes, 0);
        let left = partial.held().missing(0..tree::groups(length));
        let before = lock(&self.tally.by).clone();
        let shared = Arc::new(Shared {
            hash,
            length,
            stall: self.options.stall,
            limiter: self.limiter.clone(),
            partial,
            over: CancellationToken::new(),
            changed: tokio::sync::Notify::new(),
            failure: Mutex::new(None),
            delivered: Box::new(self.tally.clone()),
            spare: Mutex::new(Vec::new()),
            plan: Mutex::new(Plan::new(left)),
        });
        if lock(&shared.plan).left().is_empty() {
            shared.over.cancel();
        }
        self.run(&shared, &mut complaints).await?;
        let done = shared.clone();
        blocking(move || done.partial.finish()).await.map_err(|e| StoreError::io(self.store.path(), e))??;
        Ok(self.report(resumed_bytes, &before, &complaints))
    }

    fn already(&self, length: u64) -> Fetched {
        self.tally.advance(length, 0);
        Fetched { resumed_bytes: length, ..Fetched::default() }
    }

    fn report(&self, resumed_bytes: u64, before: &HashMap<Guid, u64>, complaints: &[(Guid, Complaint)]) -> Fetched {
        let now = lock(&self.tally.by).clone();
        let mut by: Vec<_> = now.iter().map(|(guid, n)| (*guid, n - before.get(guid).unwrap_or(&0))).collect();
        by.retain(|(_, bytes)| *bytes > 0);
        by.sort_by_key(|(guid, bytes)| (u64::MAX - bytes, *guid));
        let lied = complaints.iter().filter(|(_, complaint)| matches!(complaint, Complaint::Lied));
        let liars = lied.map(|(guid, _)| *guid).collect();
        Fetched { bytes: by.iter().map(|(_, bytes)| bytes).sum(), resumed_bytes, by, liars }
    }

    /// Pulls from everybody until all is written.
    async fn run(&mut self, shared: &Arc<Shared>, complaints: &mut Vec<(Guid, Complaint)>) -> Result<(), FetchError> {
        let mut pullers = JoinSet::new();
        let mut asked = vec![false; self.known.len()];
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut recorded = (Instant::now(), lock(&shared.plan).left().count());
        let mut recording = JoinSet::new();
        let mut alone_since = Instant::now();
        while !shared.over.is_cancelled() {
            self.start(shared, &mut pullers, &mut asked);
            if !pullers.is_empty() {
                alone_since = Instant::now();
            } else if self.coming.0.is_none() {
                break;
            }
            tokio::select! {
                next = self.coming.next(), if self.coming.0.is_some() && pullers.len() < MAX_ACTIVE => {
                    next.into_iter().for_each(|provider| self.meet(provider, &mut asked));
                }
                Some(ended) = pullers.join_next(), if !pullers.is_empty() => self.end(ended, complaints),
                _ = ticks.tick(), if recording.is_empty() => {
                    let left = lock(&shared.plan).left().count();
                    if recorded.1 - left >= CHECKPOINT_GROUPS || left < recorded.1 && recorded.0.elapsed() >= CHECKPOINT {
                        recorded = (Instant::now(), left);
                        recording.spawn(checkpoint(shared.clone()));
                    }
                }
                Some(done) = recording.join_next() => {
                    done.map_err(|e| StoreError::io(self.store.path(), e.into()))??;
                }
                () = shared.over.cancelled() => {}
                () = sleep_until(alone_since + self.options.patience), if pullers.is_empty() => break,
            }
        }
        shared.over.cancel();
        shared.changed.notify_waiters();
        while let Some(ended) = pullers.join_next().await {
            self.end(ended, complaints);
        }
        while recording.join_next().await.is_some() {}
        if let Some(error) = lock(&shared.failure).take() {
            return Err(error.into());
        }
        match lock(&shared.plan).left().is_empty() {
            true => Ok(()),
            false => Err(FetchError::NoProvider { hash: shared.hash, complaints: std::mem::take(complaints) }),
        }
    }

    /// Starts pulling from everybody who is ready and was not asked for this blob yet.
    fn start(&mut self, shared: &Arc<Shared>, pullers: &mut JoinSet<Ended>, asked: &mut [bool]) {
        for (who, known) in self.known.iter_mut().enumerate() {
            if asked[who] || pullers.len() >= MAX_ACTIVE {
                continue;
            }
            if matches!(known.standing, Standing::Ready(_)) {
                let (provider, stream) = known.take();
                pullers.spawn(pull(shared.clone(), who, provider, stream));
                asked[who] = true;
            }
        }
    }

    /// A provider came, perhaps not for the first time.
    fn meet(&mut self, provider: Arc<dyn Provider>, asked: &mut Vec<bool>) {
        let guid = provider.guid();
        match self.known.iter().position(|known| known.provider.guid() == guid) {
            Some(at) => {
                if matches!(self.known[at].standing, Standing::Gone) {
                    self.known[at] = Known { provider, standing: Standing::Ready(None) };
                    asked[at] = false;
                }
            }
            None if self.known.len() < MAX_KNOWN => {
                self.known.push(Known { provider, standing: Standing::Ready(None) });
                asked.push(false);
            }
            None => tracing::debug!(guid = %guid, "too many providers; this one is not asked"),
        }
    }

    fn end(&mut self, ended: Result<Ended, tokio::task::JoinError>, complaints: &mut Vec<(Guid, Complaint)>) {
        let Ok(Ended { who, stream, complaint }) = ended else { return };
        let known = &mut self.known[who];
        known.standing = match &complaint {
            None | Some(Complaint::NotHere | Complaint::Length { .. }) => Standing::Ready(stream),
            Some(Complaint::Lied) => Standing::Banned,
            Some(_) => Standing::Gone,
        };
        if let Some(complaint) = complaint {
            let guid = known.provider.guid();
            tracing::debug!(guid = %guid, %complaint, "a provider was dropped");
            complaints.push((guid, complaint));
        }
    }

    /// Makes those whose work was broken off ready again.
    fn reset(&mut self) {
        for known in self.known.iter_mut().filter(|known| matches!(known.standing, Standing::Active)) {
            known.standing = Standing::Ready(None);
        }
    }
}

impl Known {
    /// Takes the provider, and its stream if one is open, into work.
    fn take(&mut self) -> (Arc<dyn Provider>, Option<Stream>) {
        let stream = match std::mem::replace(&mut self.standing, Standing::Active) {
            Standing::Ready(stream) => stream,
            _ => None,
        };
        (self.provider.clone(), stream)
    }
}

/// Fetches one blob; see [`Fetcher`] for several.
///
/// # Errors
/// Any [`FetchError`].
pub async fn fetch(
    store: &Store,
    hash: Hash,
    length: Length,
    providers: impl Providers + 'static,
    options: Options,
) -> Result<Fetched, FetchError> {
    let mut fetcher = Fetcher::new(store, providers, options);
    if let Length::Known(bytes) = length {
        fetcher.expect(bytes);
    }
    fetcher.blob(hash, length).await
}

#[cfg(test)]
mod tests;

//! One provider of a fetch: ask ahead, read answers, hand them over to be verified and written.

use core::ops::Range;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use polymorph_core::Guid;
use polymorph_core::runtime::transport::{RecvStream, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::plan::{Appetite, Plan};
use crate::blob::{GROUP_BYTES, Hash, Ranges, tree};
use crate::disk::blocking;
use crate::limit::Limiter;
use crate::lock;
use crate::provider::Provider;
use crate::store::{Partial, StoreError, WriteError};
use crate::wire::{Request, Status};

/// How many chunks may be asked for ahead of one stream (16 MiB under way: 1 Gbit/s over 100 ms).
const MAX_DEPTH: usize = 16;
/// With how many a stream begins.
const FIRST_DEPTH: usize = 2;
/// A chunk that takes less than this wants more asked ahead; one that takes more than [`SLOW`], less.
const FAST: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_secs(1);
/// How many chunks of one stream may be on their way to the disk while the next is read.
const MAX_JOBS: usize = 2;
/// How many used buffers are kept.
const MAX_SPARE: usize = 8;

/// Why a provider was dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Complaint {
    /// No stream could be opened to it.
    #[error("could not be reached: {0}")]
    Unreachable(io::Error),
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Broke(#[from] io::Error),
    /// Nothing came for longer than allowed.
    #[error("nothing came for {0:?}")]
    Stalled(Duration),
    /// It does not have the blob.
    #[error("does not have it")]
    NotHere,
    /// It refuses to serve now.
    #[error("refuses to serve")]
    Refused,
    /// It says the blob has another length than we were told.
    #[error("says it has {claimed} bytes, not {expected}")]
    Length {
        /// What it says.
        claimed: u64,
        /// What we were told.
        expected: u64,
    },
    /// What it sent does not match the hash.
    #[error("sent data that does not match the hash")]
    Lied,
}

/// What all providers of one fetch share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) hash: Hash,
    pub(super) length: u64,
    pub(super) stall: Duration,
    pub(super) limiter: Option<Arc<Limiter>>,
    pub(super) partial: Partial,
    pub(super) plan: Mutex<Plan>,
    /// Something became free, or all is written.
    pub(super) changed: Notify,
    /// All is written, or our own disk failed.
    pub(super) over: CancellationToken,
    pub(super) failure: Mutex<Option<StoreError>>,
    pub(super) delivered: Box<dyn Delivered>,
    pub(super) spare: Mutex<Vec<Vec<u8>>>,
}

/// Hears of bytes as they are written.
pub(super) trait Delivered: Send + Sync + std::fmt::Debug {
    fn delivered(&self, by: Guid, bytes: u64);
}

/// How pulling from one provider ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) who: usize,
    /// The stream, if it can be used again.
    pub(super) stream: Option<Stream>,
    pub(super) complaint: Option<Complaint>,
}

/// Pulls from one provider until all is written or the provider fails.
pub(super) async fn pull(shared: Arc<Shared>, who: usize, by: Arc<dyn Provider>, stream: Option<Stream>) -> Ended {
    let (asked, jobs) = (VecDeque::new(), VecDeque::new());
    let mut puller = Puller { who, by: by.guid(), asked, jobs, depth: FIRST_DEPTH, heard: Heard::Nothing };
    let kept = stream.is_some();
    let mut ended = puller.attempt(&shared, &*by, stream).await;
    // A stream kept from the blob before may have been closed meanwhile.
    if kept && puller.heard == Heard::Nothing && matches!(ended, Err(Complaint::Broke(_))) {
        lock(&shared.plan).leave(who);
        puller.asked.clear();
        ended = puller.attempt(&shared, &*by, None).await;
    }
    let settled = puller.settle(&shared, 0).await;
    let ended = settled.and(ended);
    lock(&shared.plan).leave(who);
    shared.changed.notify_waiters();
    match ended {
        Ok(stream) => Ended { who, stream, complaint: None },
        Err(complaint) => Ended { who, stream: None, complaint: Some(complaint) },
    }
}

async fn connect(shared: &Shared, by: &dyn Provider, stream: Option<Stream>) -> Result<Option<Stream>, Complaint> {
    match stream {
        Some(stream) => Ok(Some(stream)),
        None => tokio::select! {
            opened = open(by, shared.stall) => opened.map(Some),
            () = shared.over.cancelled() => Ok(None),
        },
    }
}

pub(super) async fn open(by: &dyn Provider, stall: Duration) -> Result<Stream, Complaint> {
    let opened = timeout(stall, by.open()).await.map_err(|_| Complaint::Stalled(stall))?;
    opened.map_err(Complaint::Unreachable)
}

type Job = (Range<u64>, JoinHandle<Result<(), WriteError>>);

struct Puller {
    who: usize,
    by: Guid,
    asked: VecDeque<Range<u64>>,
    jobs: VecDeque<Job>,
    depth: usize,
    heard: Heard,
}

/// Whether the provider answered yet.
#[derive(PartialEq, Eq)]
enum Heard {
    Nothing,
    Answers,
}

impl Puller {
    async fn attempt(
        &mut self,
        shared: &Arc<Shared>,
        by: &dyn Provider,
        stream: Option<Stream>,
    ) -> Result<Option<Stream>, Complaint> {
        match connect(shared, by, stream).await? {
            Some(stream) => self.run(shared, stream).await,
            None => Ok(None),
        }
    }

    async fn run(&mut self, shared: &Arc<Shared>, mut stream: Stream) -> Result<Option<Stream>, Complaint> {
        loop {
            let changed = shared.changed.notified();
            self.ask(shared, &mut stream).await?;
            let Some(run) = self.asked.pop_front() else {
                if !self.jobs.is_empty() {
                    self.settle(shared, 0).await?;
                } else if shared.over.is_cancelled() {
                    return Ok(Some(stream));
                } else {
                    changed.await;
                }
                continue;
            };
            let start = Instant::now();
            let mut buffer = lock(&shared.spare).pop().unwrap_or_default();
            let mut answer = Answer { shared, run: &run, filled: 0 };
            let read = tokio::select! {
                biased;
                () = shared.over.cancelled() => return Ok(None),
                read = answer.read(&mut stream.recv, &mut buffer) => read,
            };
            self.adapt(start.elapsed());
            if read.is_ok() {
                self.heard = Heard::Answers;
            }
            let filled = answer.filled;
            self.jobs.push_back((run.clone(), self.write(shared, run, buffer, filled)));
            read?;
            self.settle(shared, MAX_JOBS - 1).await?;
        }
    }

    /// Asks for chunks as far ahead as this stream is fast.
    async fn ask(&mut self, shared: &Shared, stream: &mut Stream) -> Result<(), Complaint> {
        let mut requests = Vec::new();
        while self.asked.len() < self.depth {
            let idle = self.asked.is_empty() && self.jobs.is_empty();
            let appetite = if idle { Appetite::Idle } else { Appetite::Busy };
            let Some(run) = lock(&shared.plan).take(self.who, appetite) else { break };
            requests.extend(Request { hash: shared.hash, runs: vec![(run.start, run.end)] }.encode());
            self.asked.push_back(run);
        }
        if requests.is_empty() {
            return Ok(());
        }
        send(stream, &requests, shared.stall).await
    }

    fn adapt(&mut self, took: Duration) {
        match took {
            took if took < FAST => self.depth = (self.depth + 1).min(MAX_DEPTH),
            took if took > SLOW => self.depth = (self.depth - 1).max(1),
            _ => {}
        }
    }

    /// Verifies and writes what came of `run` on another thread.
    fn write(
        &self,
        shared: &Arc<Shared>,
        run: Range<u64>,
        buffer: Vec<u8>,
        filled: usize,
    ) -> JoinHandle<Result<(), WriteError>> {
        let (shared, by) = (shared.clone(), self.by);
        tokio::task::spawn_blocking(move || {
            let result = shared.write(by, &run, &buffer[..filled]);
            let mut spare = lock(&shared.spare);
            if spare.len() < MAX_SPARE {
                spare.push(buffer);
            }
            result
        })
    }

    /// Waits until at most `most` chunks are on their way to the disk.
    async fn settle(&mut self, shared: &Shared, most: usize) -> Result<(), Complaint> {
        while self.jobs.len() > most {
            let Some((run, job)) = self.jobs.pop_front() else { break };
            let written = job.await.unwrap_or_else(|error| Err(StoreError::io("", io::Error::other(error)).into()));
            lock(&shared.plan).release(self.who, &run);
            match written {
                Ok(()) => {}
                Err(WriteError::Mismatch(_)) => return Err(Complaint::Lied),
                Err(WriteError::Store(error)) => {
                    lock(&shared.failure).get_or_insert(error);
                    shared.over.cancel();
                }
            }
        }
        Ok(())
    }
}

impl Shared {
    /// Writes the whole groups of an answer's first bytes.
    fn write(&self, by: Guid, run: &Range<u64>, answer: &[u8]) -> Result<(), WriteError> {
        let proof = tree::proof_bytes(self.length, run) as usize;
        let bytes = tree::bytes_of(self.length, run);
        let Some((proof, data)) = answer.split_at_checked(proof) else { return Ok(()) };
        let whole = data.len() as u64 == bytes.end - bytes.start;
        let data = if whole { data } else { &data[..data.len() - data.len() % GROUP_BYTES as usize] };
        if !whole && data.is_empty() || lock(&self.plan).left().within(run).is_empty() {
            return Ok(());
        }
        let written = self.partial.write(run.clone(), proof, data)?;
        let (new, over) = {
            let mut plan = lock(&self.plan);
            (plan.written(&written), plan.left().is_empty())
        };
        let count =
            |set: &Ranges| set.runs().iter().map(|run| tree::bytes_of(self.length, run)).map(|b| b.end - b.start).sum();
        self.delivered.delivered(by, count(&new));
        if over {
            self.over.cancel();
            self.changed.notify_waiters();
        }
        Ok(())
    }
}

pub(super) async fn send(stream: &mut Stream, bytes: &[u8], stall: Duration) -> Result<(), Complaint> {
    let work = async {
        stream.send.write_all(bytes).await?;
        stream.send.flush().await
    };
    Ok(timeout(stall, work).await.map_err(|_| Complaint::Stalled(stall))??)
}

/// Reads the status and the length that begin an answer.
pub(super) async fn read_head(recv: &mut RecvStream, stall: Duration) -> Result<u64, Complaint> {
    let work = async {
        match Status::of(recv.read_u8().await?) {
            Status::Here => Ok(recv.read_u64_le().await?),
            Status::NotHere => Err(Complaint::NotHere),
            Status::Refused => Err(Complaint::Refused),
        }
    };
    timeout(stall, work).await.map_err(|_| Complaint::Stalled(stall))?
}

/// An answer being read; `filled` tells how far it came even if it breaks.
struct Answer<'a> {
    shared: &'a Shared,
    run: &'a Range<u64>,
    filled: usize,
}

impl Answer<'_> {
    async fn read(&mut self, recv: &mut RecvStream, buffer: &mut Vec<u8>) -> Result<(), Complaint> {
        let (expected, stall) = (self.shared.length, self.shared.stall);
        let claimed = read_head(recv, stall).await?;
        if claimed != expected {
            return Err(Complaint::Length { claimed, expected });
        }
        let bytes = tree::bytes_of(expected, self.run);
        buffer.resize((tree::proof_bytes(expected, self.run) + bytes.end - bytes.start) as usize, 0);
        let step = self.shared.limiter.as_ref().map_or(usize::MAX, |limiter| limiter.step());
        while self.filled < buffer.len() {
            let end = buffer.len().min(self.filled.saturating_add(step));
            if let Some(limiter) = &self.shared.limiter {
                limiter.take((end - self.filled) as u64).await;
            }
            fill(recv, buffer, &mut self.filled, end, stall).await?;
        }
        Ok(())
    }
}

/// Reads until `filled` is `end`.
pub(super) async fn fill(
    recv: &mut RecvStream,
    buffer: &mut [u8],
    filled: &mut usize,
    end: usize,
    stall: Duration,
) -> Result<(), Complaint> {
    while *filled < end {
        let read = timeout(stall, recv.read(&mut buffer[*filled..end])).await;
        match read.map_err(|_| Complaint::Stalled(stall))?? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            read => *filled += read,
        }
    }
    Ok(())
}

/// Keeps an unfinished blob's record young while it is fetched.
pub(super) async fn checkpoint(shared: Arc<Shared>) -> Result<(), StoreError> {
    blocking(move || shared.partial.checkpoint()).await.map_err(|error| StoreError::io("", error))?
}

//! The providing side: answers requests on a bulk stream from the store, reading ahead of what it sends.
//!
//! What is sent was hashed when it was imported and is not hashed again; a file shared by reference that changed is
//! refused. Whoever asks is bounded: requests in size and number, memory to a few chunks, silence in time.

use core::num::NonZeroU64;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use polymorph_core::runtime::transport::{RecvStream, SendStream, Stream};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::blob::CHUNK_GROUPS;
use crate::disk::blocking;
use crate::limit::Limiter;
use crate::store::{Reader, Store, StoreError};
use crate::wire::{Request, RequestError, Status};

/// How many parts of answers are read ahead of the one being sent; each has at most a chunk and its proof.
const READ_AHEAD: usize = 2;
/// Written at once; what a limiter is asked for at a time.
const WRITE_BYTES: usize = 256 * 1024;

/// What a provider grants one stream.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long the other side may ask for nothing, or take nothing of what it asked for.
    pub idle: Duration,
    /// How many bytes per second all streams that share this limiter send together.
    pub rate: Option<Arc<Limiter>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle: Duration::from_secs(60), rate: None }
    }
}

impl Limits {
    /// The default with a cap in bytes per second, shared by all clones.
    #[must_use]
    pub fn with_rate(rate: NonZeroU64) -> Self {
        Self { rate: Some(Arc::new(Limiter::new(rate))), ..Self::default() }
    }
}

/// What was sent on one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Requests answered with data.
    pub requests: u64,
    /// Bytes sent: proofs and data.
    pub bytes: u64,
}

/// Why a stream ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The other side asked in a way it must not.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The other side was silent, or took nothing, for longer than [`Limits::idle`].
    #[error("the other side was idle for too long")]
    Idle,
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
    /// The store failed while an answer was under way.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Answers the requests on `stream` until the other side ends it. Dropping the future stops at once.
///
/// # Errors
/// Any [`ServeError`]; other streams are not affected.
pub async fn serve(stream: Stream, store: &Store, limits: &Limits) -> Result<Served, ServeError> {
    let (parts, sending) = mpsc::channel(READ_AHEAD);
    let (back, used) = mpsc::channel(READ_AHEAD + 2);
    let sent = AtomicU64::new(0);
    let reading = read_requests(stream.recv, store, limits, Parts { parts, used, sent: &sent });
    let sending = send_parts(stream.send, limits, sending, back, &sent);
    let ((), served) = tokio::try_join!(reading, sending)?;
    Ok(served)
}

/// A piece of an answer, ready to be sent.
enum Part {
    /// A status other than "here", or the head of an answer.
    Head(Vec<u8>),
    Body(Vec<u8>),
}

/// Where the reading half puts parts, and whence buffers come back to it.
struct Parts<'a> {
    parts: mpsc::Sender<Part>,
    used: mpsc::Receiver<Vec<u8>>,
    /// Grows while the other side takes something.
    sent: &'a AtomicU64,
}

impl Parts<'_> {
    /// The sending half ends only with an error, which it reports itself.
    async fn put(&self, part: Part) {
        let _ = self.parts.send(part).await;
    }
}

async fn read_requests(
    mut recv: RecvStream,
    store: &Store,
    limits: &Limits,
    mut parts: Parts<'_>,
) -> Result<(), ServeError> {
    let mut open: Option<Arc<Reader>> = None;
    loop {
        let Some(request) = next_request(&mut recv, limits.idle, parts.sent).await? else { return Ok(()) };
        let reader = match open.take().filter(|reader| reader.hash() == request.hash) {
            Some(reader) => reader,
            None => match store.reader(request.hash).await {
                Ok(reader) => Arc::new(reader),
                Err(StoreError::Missing(_) | StoreError::Changed(_)) => {
                    parts.put(Part::Head(vec![Status::NotHere.byte()])).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            },
        };
        match request.runs_in(reader.length()) {
            None => parts.put(Part::Head(vec![Status::Refused.byte()])).await,
            Some(runs) => {
                let mut head = vec![Status::Here.byte()];
                head.extend_from_slice(&reader.length().to_le_bytes());
                parts.put(Part::Head(head)).await;
                for run in runs {
                    read_run(&reader, run, &mut parts).await?;
                }
            }
        }
        open = Some(reader);
    }
}

/// Waits for a request as long as there is one, or the other side still takes what it asked for.
async fn next_request(recv: &mut RecvStream, idle: Duration, sent: &AtomicU64) -> Result<Option<Request>, ServeError> {
    let mut request = std::pin::pin!(Request::read(recv));
    loop {
        let before = sent.load(Ordering::Relaxed);
        match timeout(idle, &mut request).await {
            Ok(request) => return Ok(request?),
            Err(_) if sent.load(Ordering::Relaxed) == before => return Err(ServeError::Idle),
            Err(_) => {}
        }
    }
}

/// Reads a run in parts of a chunk. The first holds the proof of the whole run.
async fn read_run(reader: &Arc<Reader>, run: Range<u64>, parts: &mut Parts<'_>) -> Result<(), ServeError> {
    let mut start = run.start;
    while start < run.end {
        let part = start..run.end.min((start / CHUNK_GROUPS + 1) * CHUNK_GROUPS);
        let proof_of = (start == run.start).then(|| run.clone());
        start = part.end;
        let (reader, mut buffer) = (reader.clone(), parts.used.try_recv().unwrap_or_default());
        let body = blocking(move || reader.answer(proof_of, &part, &mut buffer).map(|()| buffer)).await??;
        parts.put(Part::Body(body)).await;
    }
    Ok(())
}

async fn send_parts(
    mut send: SendStream,
    limits: &Limits,
    mut parts: mpsc::Receiver<Part>,
    back: mpsc::Sender<Vec<u8>>,
    sent: &AtomicU64,
) -> Result<Served, ServeError> {
    let mut served = Served::default();
    let idle = limits.idle;
    while let Some(part) = next_part(&mut send, &mut parts, idle).await? {
        let bytes = match &part {
            Part::Head(bytes) => {
                served.requests += u64::from(bytes[0] == Status::Here.byte());
                bytes
            }
            Part::Body(bytes) => bytes,
        };
        for piece in bytes.chunks(WRITE_BYTES) {
            if let Some(limiter) = &limits.rate {
                limiter.take(piece.len() as u64).await;
            }
            let mut rest = piece;
            while !rest.is_empty() {
                let written = timeout(idle, send.write(rest)).await.map_err(|_| ServeError::Idle)??;
                if written == 0 {
                    return Err(io::Error::from(io::ErrorKind::WriteZero).into());
                }
                rest = &rest[written..];
                sent.fetch_add(written as u64, Ordering::Relaxed);
            }
        }
        served.bytes += bytes.len() as u64;
        if let Part::Body(buffer) = part {
            let _ = back.try_send(buffer);
        }
    }
    timeout(idle, send.shutdown()).await.map_err(|_| ServeError::Idle)??;
    Ok(served)
}

/// The next part; flushes what was written if none is ready.
async fn next_part(
    send: &mut SendStream,
    parts: &mut mpsc::Receiver<Part>,
    idle: Duration,
) -> Result<Option<Part>, ServeError> {
    match parts.try_recv() {
        Ok(part) => Ok(Some(part)),
        Err(_) => {
            timeout(idle, send.flush()).await.map_err(|_| ServeError::Idle)??;
            Ok(parts.recv().await)
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream};

    use super::*;
    use crate::blob::Hash;
    use crate::testing::{answer, sample, stream};

    const LENGTH: u64 = 3 * 1024 * 1024;

    struct Lab {
        _dir: tempfile::TempDir,
        store: Store,
        hash: Hash,
        near: DuplexStream,
    }

    async fn lab(limits: Limits) -> (Lab, tokio::task::JoinHandle<Result<Served, ServeError>>) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).await.unwrap();
        let hash = store.import_bytes(sample(LENGTH)).await.unwrap().hash;
        let (near, far) = tokio::io::duplex(16 * 1024);
        let served = store.clone();
        let task = tokio::spawn(async move { serve(stream(far), &served, &limits).await });
        (Lab { _dir: dir, store, hash, near }, task)
    }

    #[tokio::test]
    async fn answers_come_in_order_and_are_exactly_proof_and_data() {
        let (mut lab, task) = lab(Limits::default()).await;
        let ask = |hash, runs: &[(u64, u64)]| Request { hash, runs: runs.to_vec() }.encode();
        let requests = [
            ask(lab.hash, &[(3, 7), (60, 70)]),
            ask(Hash([1; 32]), &[]),
            ask(lab.hash, &[(0, 193)]),
            ask(lab.hash, &[]),
        ];
        lab.near.write_all(&requests.concat()).await.unwrap();
        let data = sample(LENGTH);
        let mut expected = Vec::new();
        let here = [&[0][..], &LENGTH.to_le_bytes()].concat();
        let add = |run| {
            let (proof, bytes) = answer(&data, &run);
            [proof, bytes].concat()
        };
        expected.extend([here.clone(), add(3..7), add(60..70), vec![1], vec![2], here, add(191..192)].concat());
        let mut found = vec![0; expected.len()];
        lab.near.read_exact(&mut found).await.unwrap();
        assert!(found == expected);
        lab.near.shutdown().await.unwrap();
        assert_eq!(lab.near.read(&mut [0]).await.unwrap(), 0);
        let served = task.await.unwrap().unwrap();
        assert_eq!(served, Served { requests: 2, bytes: expected.len() as u64 });
        assert!(lab.store.used() >= LENGTH);
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_asks_nothing_or_takes_nothing_is_dropped() {
        let (_lab, task) = lab(Limits::default()).await;
        assert!(matches!(task.await.unwrap(), Err(ServeError::Idle)));
        let (mut lab, task) = lab(Limits::default()).await;
        lab.near.write_all(&Request { hash: lab.hash, runs: vec![(0, 192)] }.encode()).await.unwrap();
        assert!(matches!(task.await.unwrap(), Err(ServeError::Idle)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_takes_slowly_is_served_to_the_end() {
        let (mut lab, task) = lab(Limits::default()).await;
        lab.near.write_all(&Request { hash: lab.hash, runs: vec![(0, 192)] }.encode()).await.unwrap();
        let (mut taken, mut buffer) = (0, vec![0; 16 * 1024]);
        while taken < LENGTH {
            tokio::time::sleep(Duration::from_secs(2)).await;
            taken += lab.near.read(&mut buffer).await.unwrap() as u64;
        }
        drop(lab.near);
        assert!(!matches!(task.await.unwrap(), Err(ServeError::Idle)));
    }

    #[tokio::test]
    async fn a_malformed_request_ends_the_stream_with_its_reason() {
        let (mut lab, task) = lab(Limits::default()).await;
        lab.near.write_all(&[5, 0, 1, 2, 3, 4, 5]).await.unwrap();
        assert!(matches!(task.await.unwrap(), Err(ServeError::Request(RequestError::Malformed))));
    }
}

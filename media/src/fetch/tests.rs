use std::collections::VecDeque;
use std::num::NonZeroU64;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use super::*;
use crate::blob::GROUP_BYTES;
use crate::serve::Limits;
use crate::testing::{honest, list, provider, sample, stream};

const MIB: u64 = 1024 * 1024;

struct Lab {
    dir: tempfile::TempDir,
    data: Vec<u8>,
    hash: Hash,
    seed: Store,
    store: Store,
}

impl Lab {
    async fn new(length: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = sample(length);
        let seed = Store::open(dir.path().join("seed")).await.unwrap();
        let hash = seed.import_bytes(data.clone()).await.unwrap().hash;
        let store = Store::open(dir.path().join("store")).await.unwrap();
        Self { dir, data, hash, seed, store }
    }

    fn known(&self) -> Length {
        Length::Known(self.data.len() as u64)
    }

    fn honest(&self, number: u8) -> Arc<dyn Provider> {
        honest(number, &self.seed, Limits::default())
    }

    fn slow(&self, number: u8, rate: u64) -> Arc<dyn Provider> {
        honest(number, &self.seed, Limits::with_rate(NonZeroU64::new(rate).unwrap()))
    }

    /// Serves honestly, through a wire that ends after `bytes`.
    fn dying(&self, number: u8, bytes: u64) -> Arc<dyn Provider> {
        let seed = self.seed.clone();
        provider(number, move |far| {
            let (served, relayed) = tokio::io::duplex(64 * 1024);
            let seed = seed.clone();
            tokio::spawn(async move { crate::serve::serve(stream(served), &seed, &Limits::default()).await });
            tokio::spawn(relay(far, relayed, bytes));
        })
    }

    async fn fetch<const N: usize>(&self, providers: [Arc<dyn Provider>; N]) -> Result<Fetched, FetchError> {
        fetch(&self.store, self.hash, self.known(), list(providers), Options::default()).await
    }

    async fn check(&self) {
        assert!(self.store.read(self.hash, u64::MAX).await.unwrap() == self.data);
        assert!(self.dir.path().exists());
    }
}

/// Passes everything on, until `bytes` went from `relayed` to `far`.
async fn relay(far: DuplexStream, relayed: DuplexStream, bytes: u64) {
    let ((mut asks, mut hears), (answers, mut told)) = (tokio::io::split(far), tokio::io::split(relayed));
    let mut answers = answers.take(bytes);
    tokio::select! {
        _ = tokio::io::copy(&mut asks, &mut told) => {}
        _ = tokio::io::copy(&mut answers, &mut hears) => {}
    }
    let _ = hears.shutdown().await;
}

#[tokio::test]
async fn a_blob_of_every_size_arrives_whether_its_length_is_known_or_not() {
    for size in [0, 1, GROUP_BYTES - 1, GROUP_BYTES, GROUP_BYTES + 1, MIB, 2 * MIB + 1, 5 * MIB + 12_345] {
        for known in [true, false] {
            let lab = Lab::new(size).await;
            let length = if known { lab.known() } else { Length::AtMost(size) };
            let fetched = fetch(&lab.store, lab.hash, length, list([lab.honest(1)]), Options::default()).await.unwrap();
            assert_eq!((fetched.bytes, fetched.resumed_bytes, fetched.liars.len()), (size, 0, 0));
            lab.check().await;
            let again = lab.fetch([]).await.unwrap();
            assert_eq!((again.bytes, again.resumed_bytes), (0, size), "nothing is fetched twice");
        }
    }
}

#[tokio::test]
async fn a_blob_longer_than_allowed_is_refused_before_it_is_fetched() {
    let lab = Lab::new(100_000).await;
    let result = fetch(&lab.store, lab.hash, Length::AtMost(99_999), list([lab.honest(1)]), Options::default()).await;
    assert!(matches!(result, Err(FetchError::TooLong { length: 100_000, .. })));
    assert_eq!(lab.store.used(), 0);
}

#[tokio::test]
async fn two_providers_share_the_work_and_progress_ends_at_the_total() {
    let lab = Lab::new(24 * MIB).await;
    let (progress, seen) = watch::channel(Progress::default());
    let options = Options { progress: Some(progress), ..Options::default() };
    let providers = list([lab.slow(1, 40 * MIB), lab.slow(2, 40 * MIB)]);
    let fetched = fetch(&lab.store, lab.hash, lab.known(), providers, options).await.unwrap();
    assert_eq!(fetched.sources(), 2);
    assert!(fetched.by.iter().all(|(_, bytes)| *bytes > 0), "{fetched:?}");
    assert_eq!(fetched.bytes, 24 * MIB);
    assert_eq!(*seen.borrow(), Progress { bytes: 24 * MIB, total: 24 * MIB, sources: 2 });
    lab.check().await;
}

#[tokio::test]
async fn a_provider_that_joins_late_takes_its_share() {
    let lab = Lab::new(16 * MIB).await;
    let (found, coming) = mpsc::channel(4);
    let (progress, mut seen) = watch::channel(Progress::default());
    let options = Options { progress: Some(progress), ..Options::default() };
    found.send(lab.slow(1, 20 * MIB)).await.unwrap();
    let late = lab.honest(2);
    let join = async {
        seen.wait_for(|progress| progress.bytes > 0).await.unwrap();
        found.send(late).await.unwrap();
        std::future::pending::<()>().await;
    };
    let fetched = tokio::select! {
        fetched = fetch(&lab.store, lab.hash, lab.known(), coming, options) => fetched.unwrap(),
        () = join => unreachable!(),
    };
    assert_eq!(fetched.sources(), 2);
    lab.check().await;
}

#[tokio::test]
async fn a_provider_that_dies_midway_is_replaced_and_what_it_sent_counts() {
    let lab = Lab::new(8 * MIB).await;
    let fetched = lab.fetch([lab.dying(1, 3 * MIB), lab.slow(2, 64 * MIB)]).await.unwrap();
    assert_eq!(fetched.bytes, 8 * MIB);
    assert!(fetched.by.iter().any(|(guid, _)| *guid == Guid([2; 32])));
    assert!(fetched.liars.is_empty());
    lab.check().await;
}

#[tokio::test]
async fn the_whole_groups_before_a_break_are_kept_and_the_next_fetch_resumes_with_them() {
    let lab = Lab::new(4 * MIB).await;
    let error = lab.fetch([lab.dying(1, MIB + MIB / 2)]).await.unwrap_err();
    let FetchError::NoProvider { complaints, .. } = &error else { panic!("{error}") };
    assert!(matches!(complaints.as_slice(), [(guid, Complaint::Broke(_))] if *guid == Guid([1; 32])));
    let fetched = lab.fetch([lab.honest(2)]).await.unwrap();
    assert!(fetched.resumed_bytes > MIB && fetched.resumed_bytes < MIB + MIB / 2, "{fetched:?}");
    assert_eq!(fetched.bytes + fetched.resumed_bytes, 4 * MIB);
    lab.check().await;
}

/// Answers like an honest provider of other bytes, under the right hash and length.
fn liar(number: u8, length: u64) -> Arc<dyn Provider> {
    provider(number, move |mut far| {
        tokio::spawn(async move {
            while let Ok(Some(request)) = crate::wire::Request::read(&mut far).await {
                let mut bytes = vec![0];
                bytes.extend(length.to_le_bytes());
                for run in request.runs_in(length).unwrap() {
                    let part = tree::bytes_of(length, &run);
                    bytes.resize(bytes.len() + (tree::proof_bytes(length, &run) + part.end - part.start) as usize, 7);
                }
                if far.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        });
    })
}

#[tokio::test]
async fn a_liar_is_named_and_its_data_goes_nowhere() {
    let lab = Lab::new(6 * MIB).await;
    let fetched = lab.fetch([liar(1, 6 * MIB), lab.slow(2, 20 * MIB)]).await.unwrap();
    assert_eq!(fetched.liars, [Guid([1; 32])]);
    assert_eq!(fetched.by, [(Guid([2; 32]), 6 * MIB)]);
    lab.check().await;
    let other = Lab::new(6 * MIB + 1).await;
    let result = fetch(&other.store, other.hash, Length::AtMost(9 * MIB), list([liar(1, 9)]), Options::default()).await;
    let Err(FetchError::NoProvider { complaints, .. }) = result else { panic!("{result:?}") };
    assert!(matches!(complaints.as_slice(), [(_, Complaint::Lied)]));
}

#[tokio::test]
async fn a_provider_without_the_blob_or_with_another_length_is_no_liar() {
    let (lab, empty) = (Lab::new(MIB).await, Lab::new(5).await);
    let fetched =
        lab.fetch([honest(1, &empty.seed, Limits::default()), liar(2, MIB + 1), lab.honest(3)]).await.unwrap();
    assert!(fetched.liars.is_empty());
    assert_eq!(fetched.sources(), 1);
    lab.check().await;
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_says_nothing_is_dropped_in_time_and_its_chunks_go_to_another() {
    let lab = Lab::new(4 * MIB).await;
    let silent = provider(1, |far| {
        tokio::spawn(async move {
            let _far = far;
            std::future::pending::<()>().await;
        });
    });
    let fetched = lab.fetch([silent.clone(), lab.honest(2)]).await.unwrap();
    assert_eq!(fetched.by, [(Guid([2; 32]), 4 * MIB)]);
    let other = Lab::new(MIB).await;
    let start = Instant::now();
    let providers = list([silent.clone(), other.honest(2)]);
    fetch(&other.store, other.hash, Length::AtMost(MIB), providers, Options::default()).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "one who is silent does not hold the start");
    let other = Lab::new(MIB).await;
    let start = Instant::now();
    let error = other.fetch([silent]).await.unwrap_err();
    assert!(start.elapsed() >= Options::default().stall && start.elapsed() < 2 * Options::default().stall);
    let FetchError::NoProvider { complaints, .. } = error else { panic!("{error}") };
    assert!(matches!(complaints.as_slice(), [(_, Complaint::Stalled(_))]));
}

#[tokio::test(start_paused = true)]
async fn one_slow_provider_does_not_hold_the_end() {
    let lab = Lab::new(8 * MIB).await;
    let start = Instant::now();
    let fetched = lab.fetch([lab.slow(1, 10_000), lab.slow(2, MIB)]).await.unwrap();
    assert_eq!(fetched.bytes, 8 * MIB);
    // The slow one alone would need 105 s for the first chunk it was given.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    lab.check().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_in_sight_is_an_error_after_the_patience_is_over() {
    let lab = Lab::new(MIB).await;
    let (_found, coming) = mpsc::channel(1);
    let start = Instant::now();
    let result = fetch(&lab.store, lab.hash, lab.known(), coming, Options::default()).await;
    assert!(matches!(result, Err(FetchError::NoProvider { .. })));
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_kept() {
    let lab = Lab::new(4 * MIB).await;
    let options = Options { limit: NonZeroU64::new(MIB), ..Options::default() };
    let start = Instant::now();
    fetch(&lab.store, lab.hash, lab.known(), list([lab.honest(1), lab.honest(2)]), options).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(3_900), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_dropped_fetch_leaves_what_came_and_the_next_one_resumes() {
    let lab = Lab::new(16 * MIB).await;
    let (progress, mut seen) = watch::channel(Progress::default());
    let options = Options { progress: Some(progress), ..Options::default() };
    let providers: VecDeque<_> = list([lab.slow(1, 30 * MIB)]);
    tokio::select! {
        _ = fetch(&lab.store, lab.hash, lab.known(), providers, options) => panic!("too fast to be dropped"),
        _ = seen.wait_for(|progress| progress.bytes >= 4 * MIB) => {}
    }
    let fetched = lab.fetch([lab.honest(1)]).await.unwrap();
    assert!(fetched.resumed_bytes >= 4 * MIB, "{fetched:?}");
    assert_eq!(fetched.bytes + fetched.resumed_bytes, 16 * MIB);
    lab.check().await;
}

#[tokio::test]
async fn garbage_from_a_provider_harms_nobody() {
    let lab = Lab::new(2 * MIB).await;
    for seed in 0u8..20 {
        let noisy = provider(1, move |mut far| {
            tokio::spawn(async move {
                let mut noise = vec![0; 200_000];
                blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut noise);
                noise[0] = seed % 3;
                let _ = far.write_all(&noise).await;
                let _ = far.read_to_end(&mut Vec::new()).await;
            });
        });
        assert!(lab.fetch([noisy]).await.is_err());
    }
    lab.fetch([lab.honest(2)]).await.unwrap();
    lab.check().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_closed_between_two_blobs_is_opened_again() {
    let lab = Lab::new(3 * MIB).await;
    let (one, two) = (sample(MIB), sample(MIB + 5));
    let hashes = [lab.seed.import_bytes(one).await.unwrap().hash, lab.seed.import_bytes(two).await.unwrap().hash];
    let mut fetcher = Fetcher::new(&lab.store, list([lab.honest(1)]), Options::default());
    fetcher.blob(lab.hash, lab.known()).await.unwrap();
    for (hash, length) in hashes.into_iter().zip([Length::Known(MIB), Length::AtMost(2 * MIB)]) {
        // The provider gives up a stream that was idle for a minute, at most two after its last byte.
        tokio::time::sleep(Duration::from_secs(150)).await;
        assert_eq!(fetcher.blob(hash, length).await.unwrap().sources(), 1);
    }
}

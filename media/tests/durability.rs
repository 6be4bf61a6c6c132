//! The store under what really happens to it: `kill -9` in the middle of a fetch, a full disk, a read-only one.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use polymorph_core::Guid;
use polymorph_core::runtime::transport::Stream;
use polymorph_media::fetch::{FetchError, Length, Options, Progress};
use polymorph_media::serve::{Limits, serve};
use polymorph_media::store::{Import, StoreError};
use polymorph_media::{Fetched, Hash, Provider, Store, fetch};
use tokio::sync::watch;

const MIB: u64 = 1024 * 1024;
/// Tells this test binary that it is the child that gets killed.
const CHILD: &str = "POLYMORPH_MEDIA_TEST_CHILD";

fn sample(length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// Serves from a store in the same process.
#[derive(Debug)]
struct Seed(Store, Limits);

#[async_trait]
impl Provider for Seed {
    fn guid(&self) -> Guid {
        Guid([1; 32])
    }

    async fn open(&self) -> std::io::Result<Stream> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let split = |end| {
            let (recv, send) = tokio::io::split(end);
            Stream { recv: Box::new(recv), send: Box::new(send) }
        };
        let (store, limits, far) = (self.0.clone(), self.1.clone(), split(far));
        tokio::spawn(async move { serve(far, &store, &limits).await });
        Ok(split(near))
    }
}

async fn fetch_from(seed: &Store, limits: Limits, to: &Store, options: Options) -> Result<Fetched, FetchError> {
    let holding = seed.holdings().await?.remove(0);
    let seed: Arc<dyn Provider> = Arc::new(Seed(seed.clone(), limits));
    fetch(to, holding.hash, Length::Known(holding.length), VecDeque::from([seed]), options).await
}

/// What the child does: fetch slowly, and say how far it is.
#[tokio::test]
async fn child() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let dir = PathBuf::from(dir);
    let (seed, store) = (Store::open(dir.join("seed")).await.unwrap(), Store::open(dir.join("store")).await.unwrap());
    let (progress, mut seen) = watch::channel(Progress::default());
    tokio::spawn(async move {
        while seen.changed().await.is_ok() {
            println!("\nbytes {}", seen.borrow_and_update().bytes);
        }
    });
    let limits = Limits::with_rate(NonZeroU64::new(24 * MIB).unwrap());
    fetch_from(&seed, limits, &store, Options { progress: Some(progress), ..Options::default() }).await.unwrap();
}

/// Runs the child until it has `bytes` and kills it; false if it was done before.
fn kill_at(dir: &Path, bytes: u64) -> bool {
    let mut command = Command::new(std::env::current_exe().expect("this test binary"));
    command.args(["--exact", "child", "--nocapture"]).env(CHILD, dir).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the child starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let reached = |line: std::io::Result<String>| {
        let line = line.expect("the child prints text");
        line.strip_prefix("bytes ").is_some_and(|n| n.parse::<u64>().is_ok_and(|n| n >= bytes))
    };
    let killed = lines.into_iter().any(reached);
    child.kill().expect("it can be killed");
    child.wait().expect("it ended");
    killed
}

#[tokio::test]
async fn a_fetch_killed_at_any_moment_resumes_with_what_was_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let data = sample(48 * MIB + 77);
    {
        let seed = Store::open(dir.path().join("seed")).await.unwrap();
        seed.import_bytes(data.clone()).await.unwrap();
    }
    let kills = [1, 9, 17, 30, 40, 46].map(|mib| mib * MIB);
    let killed = kills.into_iter().filter(|bytes| kill_at(dir.path(), *bytes)).count();
    assert!(killed >= 3, "only {killed} of {} kills came in time", kills.len());
    let (seed, store) = (open(&dir.path().join("seed")).await, open(&dir.path().join("store")).await);
    let fetched = fetch_from(&seed, Limits::default(), &store, Options::default()).await.unwrap();
    assert!(fetched.resumed_bytes > 0, "{fetched:?}");
    assert_eq!(fetched.bytes + fetched.resumed_bytes, data.len() as u64);
    assert!(store.read(Hash::of(&data), u64::MAX).await.unwrap() == data);
}

async fn open(path: &Path) -> Store {
    loop {
        match Store::open(path).await {
            Err(StoreError::Held(_)) => tokio::task::yield_now().await,
            opened => return opened.expect("the store opens"),
        }
    }
}

/// A small real file system, for as long as it is kept.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(path: PathBuf, mib: u32) -> Option<Self> {
        std::fs::create_dir(&path).expect("a new folder");
        let options = format!("size={mib}m");
        if !cfg!(target_os = "linux") || !run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs"], &path) {
            eprintln!("skipped: mounting a tmpfs needs Linux and root");
            return None;
        }
        Some(Self(path))
    }

    fn remount(&self, options: &str) {
        assert!(run("mount", &["-o", &format!("remount,{options}")], &self.0));
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        run("umount", &["-l"], &self.0);
    }
}

fn run(program: &str, args: &[&str], path: &Path) -> bool {
    Command::new(program).args(args).arg(path).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[tokio::test]
async fn a_full_disk_is_said_and_costs_nothing_that_was_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::mount(dir.path().join("disk"), 12) else { return };
    let data = sample(20 * MIB);
    let seed = Store::open(dir.path().join("seed")).await.unwrap();
    seed.import_bytes(data.clone()).await.unwrap();
    let store = Store::open(disk.0.join("store")).await.unwrap();
    let limits = Limits::with_rate(NonZeroU64::new(8 * MIB).unwrap());
    let error = fetch_from(&seed, limits, &store, Options::default()).await.unwrap_err();
    assert!(matches!(error, FetchError::Store(StoreError::Full(_))), "{error}");
    drop(store);
    disk.remount("size=64m");
    let store = open(&disk.0.join("store")).await;
    let fetched = fetch_from(&seed, Limits::default(), &store, Options::default()).await.unwrap();
    assert!(fetched.resumed_bytes > 0, "{fetched:?}");
    assert!(store.read(Hash::of(&data), u64::MAX).await.unwrap() == data);
}

#[tokio::test]
async fn an_import_that_fills_the_disk_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::mount(dir.path().join("disk"), 12) else { return };
    let path = dir.path().join("file");
    std::fs::write(&path, sample(20 * MIB)).unwrap();
    let store = Store::open(disk.0.join("store")).await.unwrap();
    let error = store.import(&path, Import::Copy).await.unwrap_err();
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    assert_eq!(store.used(), 0);
    assert_eq!(std::fs::read_dir(disk.0.join("store/temp")).unwrap().count(), 0);
    store.import_bytes(sample(MIB)).await.unwrap();
}

#[tokio::test]
async fn a_read_only_disk_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::mount(dir.path().join("disk"), 12) else { return };
    drop(Store::open(disk.0.join("store")).await.unwrap());
    disk.remount("ro");
    for name in ["store", "new"] {
        let error = Store::open(disk.0.join(name)).await.unwrap_err();
        assert!(matches!(error, StoreError::ReadOnly(_)), "{error}");
    }
}

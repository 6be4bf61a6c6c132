//! A blob in the making: verified groups are written as they come, in any order.

use core::ops::Range;
use std::fs::{self, File};
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;

use super::{Entry, Inner, PartialEntry, Place, StoreError, lock, sync_dir};
use crate::blob::tree::{self, Leaves, Mismatch, PAIR_BYTES};
use crate::blob::{CHUNK_GROUPS, GROUP_BYTES, Hash, Ranges};
use crate::disk::{read_exact_at, write_all_at};

/// Why a chunk was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The data is not what the hash promises: whoever sent it is wrong or lies.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// Our own disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A blob in the making, in the hands of one task at a time. Its methods block: call them off the async threads.
///
/// What [`checkpoint`](Self::checkpoint) has returned for survives any crash. Dropping it inside a runtime makes a
/// last checkpoint in the background.
#[derive(Debug)]
pub struct Partial {
    work: Option<Work>,
    resumed: u64,
}

#[derive(Debug)]
struct Work {
    inner: Arc<Inner>,
    hash: Hash,
    length: u64,
    data: File,
    tree: File,
    /// Two threads writing one file would spin on the kernel's lock for it.
    pen: Mutex<()>,
    held: Mutex<Ranges>,
    recorded: Mutex<Recorded>,
    _turn: OwnedMutexGuard<()>,
}

/// What the index says. Its lock orders checkpoints, so that an older one never overwrites a newer.
#[derive(Debug, PartialEq, Eq)]
enum Recorded {
    Some(Ranges),
    Whole,
}

impl Partial {
    pub(super) fn open(
        inner: &Arc<Inner>,
        hash: Hash,
        length: u64,
        turn: OwnedMutexGuard<()>,
    ) -> Result<Self, StoreError> {
        let entry = match inner.index.partial(&hash)? {
            Some(entry) if entry.length != length && !entry.held.is_empty() => {
                return Err(StoreError::Length { hash, known: entry.length, asked: length });
            }
            Some(entry) if entry.length == length => entry,
            other => {
                inner.reserve(length)?;
                let entry = PartialEntry { length, held: Vec::new() };
                let recorded = inner.index.record(&hash, &entry);
                inner.release(if recorded.is_ok() { other.map_or(0, |entry| entry.length) } else { length });
                recorded.map(|()| entry)?
            }
        };
        let open = |path| File::options().read(true).write(true).create(true).truncate(false).open(path);
        let data = open(inner.partial_data(&hash)).map_err(|e| inner.io(e))?;
        let tree = open(inner.partial_tree(&hash)).map_err(|e| inner.io(e))?;
        data.set_len(length).map_err(|e| inner.io(e))?;
        tree.set_len(tree::outboard_bytes(length)).map_err(|e| inner.io(e))?;
        sync_dir(&inner.root.join("partial")).map_err(|e| inner.io(e))?;
        let (held, recorded) = (Mutex::default(), Mutex::new(Recorded::Some(entry.ranges())));
        let work =
            Work { inner: inner.clone(), hash, length, data, tree, pen: Mutex::new(()), held, recorded, _turn: turn };
        let resumed = work.recheck(&entry.ranges());
        Ok(Self { work: Some(work), resumed })
    }

    /// How many bytes were here already, checked.
    #[must_use]
    pub fn resumed_bytes(&self) -> u64 {
        self.resumed
    }

    /// The groups that are here.
    #[must_use]
    pub fn held(&self) -> Ranges {
        self.work.as_ref().map_or_else(Ranges::new, |work| lock(&work.held).clone())
    }

    /// Checks `data`, the bytes of the groups in `run` or of the first of them, against `proof` and writes what
    /// matches; gives the groups written. Blocks; may run on several threads at once.
    ///
    /// # Errors
    /// [`WriteError::Mismatch`] if a group did not match (those before it are written), or the store's error.
    pub fn write(&self, run: Range<u64>, proof: &[u8], data: &[u8]) -> Result<Range<u64>, WriteError> {
        self.work.as_ref().map_or(Err(Mismatch.into()), |work| work.write(run, proof, data))
    }

    /// Makes what was written so far last: data to the disk, then the record of it. Blocks.
    ///
    /// # Errors
    /// The store's; what was recorded before stays so.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.work.as_ref().map_or(Ok(()), Work::checkpoint)
    }

    /// Turns it into a whole blob: flush, rename, record. Blocks. After it, writing and checkpoints change nothing.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if groups are missing still; nothing is lost by any error.
    pub fn finish(&self) -> Result<(), StoreError> {
        self.work.as_ref().map_or(Ok(()), Work::finish)
    }
}

impl Work {
    fn write(&self, run: Range<u64>, proof: &[u8], data: &[u8]) -> Result<Range<u64>, WriteError> {
        let leaves = Leaves::prove(&self.hash, self.length, run.clone(), proof)?;
        let asked = data.len().div_ceil(GROUP_BYTES as usize).max(1) as u64;
        let good = run.start..run.start + leaves.count_good(data);
        if !good.is_empty() {
            let bytes = tree::bytes_of(self.length, &good);
            let _pen = lock(&self.pen);
            let write = |file, part: &[u8], at| write_all_at(file, part, at).map_err(|e| self.inner.io(e));
            write(&self.data, &data[..(bytes.end - bytes.start) as usize], bytes.start)?;
            let mut rest = proof;
            for pairs in tree::proof_runs(self.length, &run) {
                let (part, tail) = rest.split_at(((pairs.end - pairs.start) * PAIR_BYTES) as usize);
                write(&self.tree, part, pairs.start * PAIR_BYTES)?;
                rest = tail;
            }
            lock(&self.held).insert(good.clone());
        }
        if good.end - good.start < asked { Err(Mismatch.into()) } else { Ok(good) }
    }

    fn checkpoint(&self) -> Result<(), StoreError> {
        let mut recorded = lock(&self.recorded);
        let held = lock(&self.held).clone();
        match &*recorded {
            Recorded::Some(ranges) if *ranges != held => {}
            _ => return Ok(()),
        }
        self.sync()?;
        self.inner.index.record(&self.hash, &PartialEntry::new(self.length, &held))?;
        *recorded = Recorded::Some(held);
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.tree.sync_data().and_then(|()| self.data.sync_data()).map_err(|e| self.inner.io(e))
    }

    fn finish(&self) -> Result<(), StoreError> {
        let (inner, hash) = (&self.inner, &self.hash);
        if !lock(&self.held).contains(&(0..tree::groups(self.length))) {
            return Err(StoreError::Missing(*hash));
        }
        let mut recorded = lock(&self.recorded);
        if *recorded == Recorded::Whole {
            return Ok(());
        }
        self.sync()?;
        // The record must say "all" before the names change: it is what recovery goes by.
        self.inner.index.record(hash, &PartialEntry::new(self.length, &lock(&self.held)))?;
        fs::rename(inner.partial_tree(hash), inner.outboard(hash)).map_err(|e| inner.io(e))?;
        fs::rename(inner.partial_data(hash), inner.data(hash)).map_err(|e| inner.io(e))?;
        for folder in ["outboard", "data", "partial"] {
            sync_dir(&inner.root.join(folder)).map_err(|e| inner.io(e))?;
        }
        inner.index.complete(hash, &Entry { length: self.length, place: Place::Own })?;
        *recorded = Recorded::Whole;
        Ok(())
    }

    /// Takes over what `recorded` claims and the tree confirms; gives the number of bytes.
    fn recheck(&self, recorded: &Ranges) -> u64 {
        let mut buffer = Vec::new();
        let mut rest = recorded.clone();
        let mut bytes = 0;
        while let Some(run) = rest.first_within(CHUNK_GROUPS) {
            rest.remove(run.clone());
            // An unreadable or altered chunk is simply fetched again.
            let good = self.recheck_run(&run, &mut buffer).unwrap_or(0);
            let good = run.start..run.start + good;
            let range = tree::bytes_of(self.length, &good);
            bytes += range.end - range.start;
            lock(&self.held).insert(good);
        }
        bytes
    }

    fn recheck_run(&self, run: &Range<u64>, buffer: &mut Vec<u8>) -> Option<u64> {
        let proof = tree::proof_bytes(self.length, run) as usize;
        let bytes = tree::bytes_of(self.length, run);
        buffer.resize(proof + (bytes.end - bytes.start) as usize, 0);
        let (proof, data) = buffer.split_at_mut(proof);
        let mut rest = &mut *proof;
        for pairs in tree::proof_runs(self.length, run) {
            let (part, tail) = rest.split_at_mut(((pairs.end - pairs.start) * PAIR_BYTES) as usize);
            read_exact_at(&self.tree, part, pairs.start * PAIR_BYTES).ok()?;
            rest = tail;
        }
        read_exact_at(&self.data, data, bytes.start).ok()?;
        let leaves = Leaves::prove(&self.hash, self.length, run.clone(), proof).ok()?;
        Some(leaves.count_good(data))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        let checkpoint = move || {
            if let Err(error) = work.checkpoint() {
                tracing::warn!(hash = %work.hash, %error, "the last part of an unfinished blob is not recorded");
            }
        };
        if let Ok(handle) = Handle::try_current() {
            handle.spawn_blocking(checkpoint);
        }
    }
}

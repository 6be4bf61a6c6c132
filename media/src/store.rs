//! Where blobs are kept: plain files, and an index that says what is in them.
//!
//! ```text
//! version        "polymorph store 1"
//! index.redb     whole and partial blobs
//! data/HASH      whole blobs          outboard/HASH  their trees
//! partial/HASH   blobs in the making  partial/HASH.tree
//! temp/          drafts; what a crash left there is deleted when the store is opened
//! ```
//!
//! **What the index says is on the disk is on the disk**: files are flushed before a transaction names them, and get
//! their final name by a rename. A crash at any moment leaves a store that opens and knows what it has.
//!
//! Only one process at a time has a store open. Within it a [`Store`] is cheap to clone and to share.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::blob::{Hash, tree};
use crate::disk::{Draft, blocking, sync_dir};
use crate::lock;

mod error;
mod import;
mod index;
mod partial;
mod reader;

pub use error::StoreError;
pub use import::Import;
pub use partial::{Partial, WriteError};
pub use reader::Reader;

use index::{Entry, Index, PartialEntry, Place};

/// The version this program writes and reads.
const VERSION: u32 = 1;
const VERSION_FILE: &str = "version";
const FOLDERS: [&str; 4] = ["data", "outboard", "partial", "temp"];

/// An open store. Clones share it; the last one to go closes it.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder; made if it is not there.
    pub path: PathBuf,
    /// How many bytes of blobs it may hold itself, whole and partial; files shared by reference do not count.
    pub capacity: Option<u64>,
}

/// What a store knows about a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Its hash.
    pub hash: Hash,
    /// Its length in bytes.
    pub length: u64,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    capacity: Option<u64>,
    index: Index,
    used: Mutex<u64>,
    /// One writer per partial blob; a row lives as long as somebody waits or writes.
    writers: Mutex<HashMap<Hash, Arc<tokio::sync::Mutex<()>>>>,
}

impl Store {
    /// Opens the store in the folder `path`, making it if need be.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`], `Full`, `WrongVersion`, `NotAStore`, `Held`, `Damaged` or `Io`; the folder is
    /// then as it was.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_with(Config { path: path.into(), capacity: None }).await
    }

    /// Opens a store with settings.
    ///
    /// # Errors
    /// Like [`Store::open`].
    pub async fn open_with(config: Config) -> Result<Self, StoreError> {
        let path = config.path.clone();
        let inner = blocking(move || Inner::open(config)).await.map_err(|error| StoreError::io(path, error))??;
        Ok(Self(Arc::new(inner)))
    }

    /// The folder it is in.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.root
    }

    /// How many bytes of blobs it holds itself.
    #[must_use]
    pub fn used(&self) -> u64 {
        *lock(&self.0.used)
    }

    /// Whether the whole blob is here; `None` if not.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] or `Io`.
    pub async fn holding(&self, hash: Hash) -> Result<Option<Holding>, StoreError> {
        self.run(move |inner| Ok(inner.index.blob(&hash)?.map(|entry| Holding { hash, length: entry.length }))).await
    }

    /// All whole blobs, by hash.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] or `Io`.
    pub async fn holdings(&self) -> Result<Vec<Holding>, StoreError> {
        let holding = |(hash, entry): (Hash, Entry)| Holding { hash, length: entry.length };
        self.run(move |inner| Ok(inner.index.blobs()?.into_iter().map(holding).collect())).await
    }

    /// Imports a file: hashes it once, and copies it or remembers where it is. Blobs already here are not stored
    /// twice. Cancel-safe: the work goes on to its end in the background.
    ///
    /// # Errors
    /// [`StoreError::Changed`] if the file changed while it was read, [`StoreError::Capacity`], `Full`, `Io` and so on.
    pub async fn import(&self, path: impl Into<PathBuf>, how: Import) -> Result<Holding, StoreError> {
        let path = path.into();
        self.run(move |inner| inner.import(&path, how)).await
    }

    /// Imports bytes at hand.
    ///
    /// # Errors
    /// Like [`Store::import`].
    pub async fn import_bytes(&self, bytes: impl AsRef<[u8]> + Send + 'static) -> Result<Holding, StoreError> {
        self.run(move |inner| inner.import_bytes(bytes.as_ref())).await
    }

    /// Opens a whole blob for reading.
    ///
    /// # Errors
    /// [`StoreError::Missing`]; [`StoreError::Changed`] if it was shared by reference and its file is another now.
    pub async fn reader(&self, hash: Hash) -> Result<Reader, StoreError> {
        self.run(move |inner| Reader::open(inner, hash)).await
    }

    /// A whole blob in memory, if it has at most `max` bytes.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], and like [`Store::reader`].
    pub async fn read(&self, hash: Hash, max: u64) -> Result<Vec<u8>, StoreError> {
        self.run(move |inner| Reader::open(inner, hash)?.read_all(max)).await
    }

    /// Begins or resumes a blob of `length` bytes; waits while another task has it in hand. What is resumed is
    /// checked against its tree first, and what does not match is dropped. `None` if the whole blob is here.
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`StoreError::Length`], `Capacity`, `Full`, `Io` and so on.
    pub async fn partial(&self, hash: Hash, length: u64) -> Result<Option<Partial>, StoreError> {
        let writer = {
            let mut writers = lock(&self.0.writers);
            writers.retain(|_, writer| Arc::strong_count(writer) > 1);
            writers.entry(hash).or_default().clone()
        };
        let turn = writer.lock_owned().await;
        self.run(move |inner| match inner.index.blob(&hash)? {
            Some(_) => Ok(None),
            None => Partial::open(inner, hash, length, turn).map(Some),
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Inner>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = self.0.clone();
        blocking(move || work(&inner)).await.map_err(|error| StoreError::io(&self.0.root, error))?
    }
}

impl Inner {
    fn open(config: Config) -> Result<Self, StoreError> {
        let root = config.path;
        let io = |error| StoreError::io(&root, error);
        fs::create_dir_all(&root).map_err(io)?;
        prepare(&root)?;
        let index = Index::open(&root)?;
        let inner = Self { root, capacity: config.capacity, index, used: Mutex::new(0), writers: Mutex::default() };
        inner.recover()?;
        Ok(inner)
    }

    /// Puts right what a crash left between two steps, and counts what is here.
    fn recover(&self) -> Result<(), StoreError> {
        self.sweep("temp", |_| true)?;
        self.sweep("", |name| name.starts_with(".polymorph-"))?;
        for (hash, entry) in self.index.partials()? {
            self.recover_partial(&hash, &entry)?;
        }
        let known: HashSet<String> = self.index.partials()?.into_iter().map(|(hash, _)| hash.to_string()).collect();
        self.sweep("partial", |name| !known.contains(name.trim_end_matches(".tree")))?;
        let own = self.index.blobs()?.into_iter().filter(|(_, entry)| entry.place == Place::Own);
        let whole: u64 = own.map(|(_, entry)| entry.length).sum();
        let partial: u64 = self.index.partials()?.iter().map(|(_, entry)| entry.length).sum();
        *lock(&self.used) = whole.saturating_add(partial);
        Ok(())
    }

    /// Deletes the files of a folder whose name `goes`.
    fn sweep(&self, folder: &str, goes: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        for found in fs::read_dir(self.root.join(folder)).map_err(|e| self.io(e))? {
            let found = found.map_err(|e| self.io(e))?;
            if goes(&found.file_name().to_string_lossy()) {
                fs::remove_file(found.path()).map_err(|e| self.io(e))?;
            }
        }
        Ok(())
    }

    /// The last steps of a finished blob are: rename the tree, rename the data, change the index.
    fn recover_partial(&self, hash: &Hash, entry: &PartialEntry) -> Result<(), StoreError> {
        let (data, tree) = (self.partial_data(hash), self.partial_tree(hash));
        let finished = |path: &Path, length| fs::metadata(path).is_ok_and(|found| found.len() == length);
        if !data.exists() && finished(&self.data(hash), entry.length) && self.outboard(hash).exists() {
            return self.index.complete(hash, &Entry { length: entry.length, place: Place::Own });
        }
        if data.exists() && !tree.exists() && self.outboard(hash).exists() {
            return fs::rename(self.outboard(hash), tree).map_err(|e| self.io(e));
        }
        if data.exists() && tree.exists() { Ok(()) } else { self.index.forget(hash) }
    }

    fn data(&self, hash: &Hash) -> PathBuf {
        self.root.join("data").join(hash.to_string())
    }

    fn outboard(&self, hash: &Hash) -> PathBuf {
        self.root.join("outboard").join(hash.to_string())
    }

    fn partial_data(&self, hash: &Hash) -> PathBuf {
        self.root.join("partial").join(hash.to_string())
    }

    fn partial_tree(&self, hash: &Hash) -> PathBuf {
        self.root.join("partial").join(format!("{hash}.tree"))
    }

    fn draft(&self) -> Result<Draft, StoreError> {
        Draft::new(&self.root.join("temp")).map_err(|error| self.io(error))
    }

    fn io(&self, error: io::Error) -> StoreError {
        StoreError::io(&self.root, error)
    }

    /// Sets `more` bytes aside, or refuses.
    fn reserve(&self, more: u64) -> Result<(), StoreError> {
        let mut used = lock(&self.used);
        let sum = used.saturating_add(more);
        match self.capacity {
            Some(capacity) if sum > capacity => Err(StoreError::Capacity { used: *used, capacity, more }),
            _ => {
                *used = sum;
                Ok(())
            }
        }
    }

    fn release(&self, bytes: u64) {
        let mut used = lock(&self.used);
        *used = used.saturating_sub(bytes);
    }
}

/// Checks the version of a store, or writes that of a new one.
fn prepare(root: &Path) -> Result<(), StoreError> {
    let io = |error| StoreError::io(root, error);
    let current = format!("polymorph store {VERSION}\n");
    match fs::read_to_string(root.join(VERSION_FILE)) {
        Ok(found) if found == current => {}
        Ok(found) => {
            let found = found.trim().strip_prefix("polymorph store ").unwrap_or("unknown");
            let found = found.chars().take(32).collect();
            return Err(StoreError::WrongVersion { path: root.into(), found, known: VERSION });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let ours = |name: &std::ffi::OsStr| {
                FOLDERS.iter().any(|folder| name == *folder) || name.to_string_lossy().starts_with(".polymorph-")
            };
            let foreign = fs::read_dir(root).map_err(io)?.flatten().any(|found| !ours(&found.file_name()));
            if foreign {
                return Err(StoreError::NotAStore(root.into()));
            }
        }
        Err(error) => return Err(io(error)),
    }
    FOLDERS.iter().try_for_each(|folder| fs::create_dir_all(root.join(folder))).map_err(io)?;
    if !root.join(VERSION_FILE).exists() {
        let draft = Draft::new(root).map_err(io)?;
        io::Write::write_all(&mut &draft.file, current.as_bytes()).map_err(io)?;
        draft.put(&root.join(VERSION_FILE)).map_err(io)?;
    }
    // A read-only folder is noticed here, before anything relies on it.
    drop(Draft::new(&root.join("temp")).map_err(io)?);
    Ok(())
}

#[cfg(test)]
mod tests;

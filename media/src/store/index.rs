//! The index: which blobs the store has, whole or in part. A redb database; each change is one transaction.

use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::blob::{Hash, Ranges};
use crate::store::StoreError;

const BLOBS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("blobs");
const PARTIALS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("partials");
/// The cache redb may keep; the index is small and the system caches its file too.
const CACHE_BYTES: usize = 1024 * 1024;

/// A whole blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) length: u64,
    pub(crate) place: Place,
}

/// Where the bytes of a whole blob are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// In the store's own folder.
    Own,
    /// In a user's file, as it was at `modified` (nanoseconds since 1970).
    Reference { path: PathBuf, modified: u64 },
}

/// A blob in the making: the groups that are verified and on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartialEntry {
    pub(crate) length: u64,
    pub(crate) held: Vec<(u64, u64)>,
}

impl PartialEntry {
    pub(crate) fn new(length: u64, held: &Ranges) -> Self {
        Self { length, held: held.runs().iter().map(|run| (run.start, run.end)).collect() }
    }

    pub(crate) fn ranges(&self) -> Ranges {
        self.held.iter().map(|&(start, end)| start..end).collect()
    }
}

#[derive(Debug)]
pub(crate) struct Index {
    root: PathBuf,
    database: Database,
}

impl Index {
    pub(crate) fn open(root: &Path) -> Result<Self, StoreError> {
        let made = Database::builder().set_cache_size(CACHE_BYTES).create(root.join("index.redb"));
        let database = made.map_err(|error| convert(root, error.into()))?;
        let index = Self { root: root.into(), database };
        index.change(|write| {
            write.open_table(BLOBS)?;
            write.open_table(PARTIALS)?;
            Ok(())
        })?;
        Ok(index)
    }

    pub(crate) fn blob(&self, hash: &Hash) -> Result<Option<Entry>, StoreError> {
        self.get(BLOBS, hash)
    }

    pub(crate) fn partial(&self, hash: &Hash) -> Result<Option<PartialEntry>, StoreError> {
        self.get(PARTIALS, hash)
    }

    pub(crate) fn blobs(&self) -> Result<Vec<(Hash, Entry)>, StoreError> {
        self.all(BLOBS)
    }

    pub(crate) fn partials(&self) -> Result<Vec<(Hash, PartialEntry)>, StoreError> {
        self.all(PARTIALS)
    }

    /// Records a whole blob; whatever was recorded of it in part is forgotten in the same transaction.
    pub(crate) fn complete(&self, hash: &Hash, entry: &Entry) -> Result<(), StoreError> {
        let bytes = self.encode(entry)?;
        self.change(|write| {
            write.open_table(BLOBS)?.insert(hash.0, bytes.as_slice())?;
            write.open_table(PARTIALS)?.remove(hash.0)?;
            Ok(())
        })
    }

    pub(crate) fn record(&self, hash: &Hash, entry: &PartialEntry) -> Result<(), StoreError> {
        let bytes = self.encode(entry)?;
        self.change(|write| {
            write.open_table(PARTIALS)?.insert(hash.0, bytes.as_slice())?;
            Ok(())
        })
    }

    pub(crate) fn forget(&self, hash: &Hash) -> Result<(), StoreError> {
        self.change(|write| {
            write.open_table(BLOBS)?.remove(hash.0)?;
            write.open_table(PARTIALS)?.remove(hash.0)?;
            Ok(())
        })
    }

    fn change(&self, work: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>) -> Result<(), StoreError> {
        let run = || {
            let write = self.database.begin_write()?;
            work(&write)?;
            Ok(write.commit()?)
        };
        run().map_err(|error| convert(&self.root, error))
    }

    fn get<T: for<'de> Deserialize<'de>>(
        &self,
        table: TableDefinition<'_, [u8; 32], &[u8]>,
        hash: &Hash,
    ) -> Result<Option<T>, StoreError> {
        let run =
            || Ok(self.database.begin_read()?.open_table(table)?.get(hash.0)?.map(|bytes| bytes.value().to_vec()));
        let bytes = run().map_err(|error| convert(&self.root, error))?;
        bytes.map(|bytes| self.decode(&bytes)).transpose()
    }

    fn all<T: for<'de> Deserialize<'de>>(
        &self,
        table: TableDefinition<'_, [u8; 32], &[u8]>,
    ) -> Result<Vec<(Hash, T)>, StoreError> {
        let run = || {
            let table = self.database.begin_read()?.open_table(table)?;
            let mut rows = Vec::with_capacity(table.len()? as usize);
            for row in table.iter()? {
                let (hash, bytes) = row?;
                rows.push((Hash(hash.value()), bytes.value().to_vec()));
            }
            Ok(rows)
        };
        let rows = run().map_err(|error| convert(&self.root, error))?;
        rows.into_iter().map(|(hash, bytes)| Ok((hash, self.decode(&bytes)?))).collect()
    }

    fn encode<T: Serialize>(&self, row: &T) -> Result<Vec<u8>, StoreError> {
        postcard::to_stdvec(row).map_err(|error| self.damaged(&error))
    }

    fn decode<T: for<'de> Deserialize<'de>>(&self, bytes: &[u8]) -> Result<T, StoreError> {
        postcard::from_bytes(bytes).map_err(|error| self.damaged(&error))
    }

    fn damaged(&self, reason: &dyn std::fmt::Display) -> StoreError {
        StoreError::Damaged { path: self.root.clone(), reason: reason.to_string() }
    }
}

fn convert(root: &Path, error: redb::Error) -> StoreError {
    match error {
        redb::Error::DatabaseAlreadyOpen => StoreError::Held(root.into()),
        redb::Error::Io(error) if error.kind() == std::io::ErrorKind::WouldBlock => StoreError::Held(root.into()),
        redb::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            StoreError::Damaged { path: root.into(), reason: error.to_string() }
        }
        redb::Error::Io(error) => StoreError::io(root, error),
        redb::Error::PreviousIo => {
            let error = std::io::Error::other("the index stopped after an earlier disk error; open the store again");
            StoreError::Io { path: root.into(), error }
        }
        other => StoreError::Damaged { path: root.into(), reason: other.to_string() },
    }
}

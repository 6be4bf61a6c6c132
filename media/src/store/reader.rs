//! Reading a whole blob, with the proofs that others need to trust what they are given.

use core::ops::Range;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use super::import::modified;
use super::{Inner, Place, StoreError, tree};
use crate::blob::Hash;
use crate::disk::read_exact_at;

/// A whole blob, open for reading. Its methods block: call them off the async threads.
#[derive(Debug)]
pub struct Reader {
    hash: Hash,
    length: u64,
    path: PathBuf,
    data: File,
    outboard: File,
}

impl Reader {
    pub(super) fn open(inner: &Arc<Inner>, hash: Hash) -> Result<Self, StoreError> {
        let entry = inner.index.blob(&hash)?.ok_or(StoreError::Missing(hash))?;
        let (path, expected) = match entry.place {
            Place::Own => (inner.data(&hash), None),
            Place::Reference { path, modified } => (path, Some(modified)),
        };
        let data = File::open(&path).map_err(|_| StoreError::Changed(path.clone()))?;
        let found = data.metadata().map_err(|_| StoreError::Changed(path.clone()))?;
        if found.len() != entry.length || expected.is_some_and(|at| at != modified(&found)) {
            return Err(StoreError::Changed(path));
        }
        let outboard = File::open(inner.outboard(&hash)).map_err(|error| inner.io(error))?;
        Ok(Self { hash, length: entry.length, path, data, outboard })
    }

    /// Which blob this is.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The file with the bytes, open at its start. Shares its position with this reader.
    pub(crate) fn file(&self) -> io::Result<&File> {
        let mut file = &self.data;
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    }

    /// Fills `buffer` with the bytes from `at` on. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Changed`] if the file is shorter now than it was.
    pub fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<(), StoreError> {
        read_exact_at(&self.data, buffer, at).map_err(|_| StoreError::Changed(self.path.clone()))
    }

    /// Fills `buffer` with a part of the answer to a request: the proof of the run `proof_of` if given, then the
    /// bytes of the groups in `part`. Blocks. Both must lie within the blob.
    ///
    /// # Errors
    /// [`StoreError::Changed`] if the file, or [`StoreError::Io`] if the outboard, could not be read.
    pub fn answer(
        &self,
        proof_of: Option<Range<u64>>,
        part: &Range<u64>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let pairs = proof_of.map_or_else(Vec::new, |run| tree::proof_runs(self.length, &run));
        let proof: u64 = pairs.iter().map(|pairs| pairs.end - pairs.start).sum::<u64>() * tree::PAIR_BYTES;
        let bytes = tree::bytes_of(self.length, part);
        buffer.resize((proof + bytes.end - bytes.start) as usize, 0);
        let (mut rest, data) = buffer.split_at_mut(proof as usize);
        for pairs in pairs {
            let (part, tail) = rest.split_at_mut(((pairs.end - pairs.start) * tree::PAIR_BYTES) as usize);
            read_exact_at(&self.outboard, part, pairs.start * tree::PAIR_BYTES)
                .map_err(|error| StoreError::Io { path: self.path.clone(), error })?;
            rest = tail;
        }
        self.read_at(data, bytes.start)
    }

    pub(super) fn read_all(&self, max: u64) -> Result<Vec<u8>, StoreError> {
        if self.length > max {
            return Err(StoreError::TooLarge { hash: self.hash, length: self.length, max });
        }
        let mut bytes = vec![0; self.length as usize];
        self.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

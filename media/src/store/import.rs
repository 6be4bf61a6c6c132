//! Taking files in: one pass that hashes, builds the tree and, if asked, copies.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::{Entry, Holding, Inner, Place, StoreError, tree};
use crate::disk::{Draft, write_all_at};

/// What to do with a file that is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Import {
    /// Copy it: the store keeps its own, whatever becomes of the file.
    Copy,
    /// Remember where it is; if it changes it is no longer served.
    Reference,
}

impl Inner {
    pub(super) fn import(self: &Arc<Self>, path: &Path, how: Import) -> Result<Holding, StoreError> {
        let io = |error: io::Error| StoreError::Io { path: path.into(), error };
        let file = File::open(path).map_err(io)?;
        let before = file.metadata().map_err(io)?;
        let place = match how {
            Import::Copy => Place::Own,
            Import::Reference => {
                let path = path.canonicalize().map_err(io)?;
                if path.to_str().is_none() {
                    let reason = "a name that is not Unicode cannot be remembered; import a copy";
                    return Err(io(std::io::Error::new(std::io::ErrorKind::InvalidInput, reason)));
                }
                Place::Reference { path, modified: modified(&before) }
            }
        };
        let changed = || match file.metadata() {
            Ok(after) => after.len() != before.len() || modified(&after) != modified(&before),
            Err(_) => true,
        };
        let mut broken = None;
        let mut read = |buffer: &mut [u8]| {
            (&file).read_exact(buffer).inspect_err(|error| broken = Some(io::Error::from(error.kind())))
        };
        let result = self.take_in(before.len(), place, &mut read);
        match broken {
            Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(StoreError::Changed(path.into()));
            }
            Some(error) => return Err(io(error)),
            None => {}
        }
        let holding = result?;
        let longer = (&file).read(&mut [0]).map_err(io)? > 0;
        if longer || changed() { Err(StoreError::Changed(path.into())) } else { Ok(holding) }
    }

    pub(super) fn import_bytes(self: &Arc<Self>, mut bytes: &[u8]) -> Result<Holding, StoreError> {
        self.take_in(bytes.len() as u64, Place::Own, &mut |buffer| bytes.read_exact(buffer))
    }

    fn take_in(
        &self,
        length: u64,
        place: Place,
        read: &mut dyn FnMut(&mut [u8]) -> io::Result<()>,
    ) -> Result<Holding, StoreError> {
        let own = if place == Place::Own { length } else { 0 };
        self.reserve(own)?;
        let result = self.hash_in(length, place, read);
        if !matches!(result, Ok((_, Fresh::Yes))) {
            self.release(own);
        }
        result.map(|(holding, _)| holding)
    }

    fn hash_in(
        &self,
        length: u64,
        place: Place,
        read: &mut dyn FnMut(&mut [u8]) -> io::Result<()>,
    ) -> Result<(Holding, Fresh), StoreError> {
        let outboard = self.draft()?;
        let data = if place == Place::Own { Some(self.draft()?) } else { None };
        let mut read = |buffer: &mut [u8]| {
            read(buffer)?;
            data.as_ref().map_or(Ok(()), |draft: &Draft| (&draft.file).write_all(buffer))
        };
        let hash = tree::build(length, &mut read, &mut |at, bytes| write_all_at(&outboard.file, bytes, at))
            .map_err(|error| self.io(error))?;
        let holding = Holding { hash, length };
        // A copy outlasts a reference, so an entry is replaced only by one that is at least as good.
        match self.index.blob(&hash)? {
            Some(known) if known.place == Place::Own => return Ok((holding, Fresh::No)),
            _ => {}
        }
        outboard.put(&self.outboard(&hash)).map_err(|error| self.io(error))?;
        if let Some(data) = data {
            data.put(&self.data(&hash)).map_err(|error| self.io(error))?;
        }
        self.index.complete(&hash, &Entry { length, place })?;
        Ok((holding, Fresh::Yes))
    }
}

/// Whether an import stored something new.
enum Fresh {
    Yes,
    No,
}

/// When a file last changed, in nanoseconds since 1970; 0 where the system does not say.
pub(super) fn modified(metadata: &Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_nanos() as u64)
}

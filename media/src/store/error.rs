//! Why the store could not do it.

use std::io;
use std::path::PathBuf;

use crate::blob::Hash;

/// Why the store could not do it. Whatever the reason, nothing that was stored is lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder, or the file system it is on, takes no writes.
    #[error("cannot write to the store at {0}: it is read-only; give its owner write access or choose another folder")]
    ReadOnly(PathBuf),
    /// The disk is full.
    #[error("the disk under the store at {0} is full; free some space and run again, what was stored is kept")]
    Full(PathBuf),
    /// The store would outgrow the capacity it was opened with.
    #[error("the store holds {used} of at most {capacity} bytes and {more} more do not fit; raise the limit")]
    Capacity {
        /// Bytes in use.
        used: u64,
        /// The limit.
        capacity: u64,
        /// Bytes asked for.
        more: u64,
    },
    /// Another version of this program made the store.
    #[error("the store at {path} is of version {found}, this program knows {known}; use the program that made it")]
    WrongVersion {
        /// The folder.
        path: PathBuf,
        /// What its version file says.
        found: String,
        /// What this program writes.
        known: u32,
    },
    /// The folder has other things in it.
    #[error("{0} has files in it but is no store; choose an empty or a new folder")]
    NotAStore(PathBuf),
    /// Another process has it open.
    #[error("another process is using the store at {0}; stop it or choose another folder")]
    Held(PathBuf),
    /// The index is damaged.
    #[error("the index of the store at {path} is damaged ({reason}); move the folder away and fetch or share again")]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The blob is not in the store.
    #[error("{0} is not in the store; fetch or share it first")]
    Missing(Hash),
    /// A file that was shared by reference is not what it was.
    #[error("{0} changed or vanished since it was shared; share it again")]
    Changed(PathBuf),
    /// The same content was begun with another length.
    #[error("{hash} has {known} bytes, not {asked}; whoever named that length is wrong")]
    Length {
        /// The content.
        hash: Hash,
        /// The length under which parts of it were verified.
        known: u64,
        /// The length asked for.
        asked: u64,
    },
    /// The blob is larger than the caller allows in memory.
    #[error("{hash} has {length} bytes, at most {max} are allowed here")]
    TooLarge {
        /// The content.
        hash: Hash,
        /// Its length.
        length: u64,
        /// The limit.
        max: u64,
    },
    /// Anything else the operating system said.
    #[error("{path}: {error}; check the disk and the access rights")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

impl StoreError {
    /// The variant for an error of the operating system while working in the store at `path`.
    pub(crate) fn io(path: impl Into<PathBuf>, error: io::Error) -> Self {
        let path = path.into();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(path),
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::ReadOnly(path),
            _ => Self::Io { path, error },
        }
    }
}

//! Writing the items of a package to where the user wants them: whole, or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{Item, Package};
use crate::blob::{GROUP_BYTES, Hash};
use crate::disk::{Draft, blocking, sync_dir};
use crate::store::{Reader, Store, StoreError};

/// Why items were not written. Those written before stay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The store does not have it, or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something else is there already.
    #[error("{0} is there already and is something else; move it away or choose another place")]
    Exists(PathBuf),
    /// The disk is full.
    #[error("the disk is full at {0}; free some space and run again, nothing that was fetched is lost")]
    Full(PathBuf),
    /// It could not be written.
    #[error("{path}: {error}; check the place and your access rights")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

impl ExtractError {
    fn io(path: &Path, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(path.into()),
            _ => Self::Io { path: path.into(), error },
        }
    }
}

/// Writes the items of `package` to `to`: into it if it is an existing folder; else `to` becomes the file (one item)
/// or the new folder (several). Gives the path that holds what was written: the file, or the folder.
///
/// An item appears under its name only when all of it is on the disk. A single file named by `to` is replaced;
/// inside folders a file that is there already is left alone if it has the same content and refused otherwise.
/// Where the file system can, bytes are shared, not copied.
///
/// # Errors
/// Any [`ExtractError`].
pub async fn extract(store: &Store, package: &Package, to: impl Into<PathBuf>) -> Result<PathBuf, ExtractError> {
    let to: PathBuf = to.into();
    let (place, io_place) = (to.clone(), to.clone());
    let is_folder = blocking(move || place.is_dir()).await.map_err(|error| ExtractError::io(&io_place, error))?;
    let (single, result) = match (package.items(), is_folder) {
        ([item], false) => (Some(item), to.clone()),
        ([item], true) => (None, to.join(&item.name)),
        _ => (None, to.clone()),
    };
    for item in package.items() {
        let reader = store.reader(item.hash).await?;
        let (item, target, conflict) = match single {
            Some(item) => (item.clone(), to.clone(), Conflict::Replace),
            None => (item.clone(), to.join(&item.name), Conflict::Refuse),
        };
        let root = to.clone();
        let work = move || write(&reader, &item, &root, &target, conflict);
        blocking(work).await.map_err(|error| ExtractError::io(&to, error))??;
    }
    Ok(result)
}

/// What to do with a file that is there already and has other content.
#[derive(Clone, Copy)]
enum Conflict {
    Replace,
    Refuse,
}

fn write(reader: &Reader, item: &Item, root: &Path, target: &Path, conflict: Conflict) -> Result<(), ExtractError> {
    let io = |error| ExtractError::io(target, error);
    match fs::symlink_metadata(target) {
        Ok(found) if found.is_file() => match conflict {
            Conflict::Replace => {}
            Conflict::Refuse if found.len() == item.length && hash_of(target).map_err(io)? == item.hash => {
                return Ok(());
            }
            Conflict::Refuse => return Err(ExtractError::Exists(target.into())),
        },
        Ok(_) => return Err(ExtractError::Exists(target.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_folders(root, parent)?;
    let draft = Draft::new(parent).map_err(io)?;
    // On Linux this shares the bytes where the file system can, and copies inside the kernel where not.
    let copied = io::copy(&mut reader.file().map_err(io)?, &mut &draft.file).map_err(io)?;
    if copied != item.length {
        return Err(ExtractError::Io { path: target.into(), error: io::ErrorKind::UnexpectedEof.into() });
    }
    draft.put(target).map_err(io)
}

/// Makes the folders between `root`, the user's own choice, and `parent`; one that is a link would lead elsewhere.
fn make_folders(root: &Path, parent: &Path) -> Result<(), ExtractError> {
    let below = parent.strip_prefix(root).unwrap_or(Path::new(""));
    let base = if parent.starts_with(root) { root } else { parent };
    fs::create_dir_all(base).map_err(|error| ExtractError::io(base, error))?;
    let mut folder = base.to_path_buf();
    for part in below.components() {
        let above = folder.clone();
        folder.push(part);
        match fs::create_dir(&folder) {
            Ok(()) => sync_dir(&above).map_err(|error| ExtractError::io(&above, error))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !fs::symlink_metadata(&folder).is_ok_and(|found| found.is_dir()) {
                    return Err(ExtractError::Exists(folder));
                }
            }
            Err(error) => return Err(ExtractError::io(&folder, error)),
        }
    }
    Ok(())
}

fn hash_of(path: &Path) -> io::Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 16 * GROUP_BYTES as usize];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(Hash(*hasher.finalize().as_bytes())),
            read => hasher.update(&buffer[..read]),
        };
    }
}

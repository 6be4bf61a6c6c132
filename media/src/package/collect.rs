//! Making a package of files and folders.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Item, MAX_ITEMS, Package, PackageError, media_type, name};
use crate::blob::Hash;
use crate::disk::blocking;
use crate::store::{Import, Store, StoreError};

/// Why no package could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// A file could not be taken in.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The files make no package.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A path cannot be read.
    #[error("{path}: {error}; check the name and your access rights")]
    Io {
        /// The path.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// There are no files.
    #[error("there are no files to share in what was named")]
    Empty,
}

/// Makes a package of `paths` and imports it into `store`, its items and its manifest; gives it with its content
/// root. A folder brings all files below it, under its own name; links to elsewhere are followed for named paths
/// only. Names that other systems refuse are adapted. A title, if empty, is the name of a single path.
///
/// # Errors
/// Any [`CollectError`].
pub async fn share(
    store: &Store,
    title: &str,
    paths: Vec<PathBuf>,
    how: Import,
) -> Result<(Package, Hash), CollectError> {
    let title = match (title, paths.as_slice()) {
        ("", [path]) => path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        _ => title.to_owned(),
    };
    let io = |path: &Path, error| CollectError::Io { path: path.into(), error };
    let files = blocking(move || collect(&paths)).await.map_err(|error| io(Path::new(""), error))??;
    let mut items = Vec::with_capacity(files.len());
    for (name, path) in files {
        let holding = store.import(path, how).await?;
        let media_type = media_type::of_name(&name).to_owned();
        items.push(Item { name, title: String::new(), media_type, length: holding.length, hash: holding.hash });
    }
    let package = Package::new(title, items)?;
    let root = store.import_bytes(package.encode()).await?.hash;
    Ok((package, root))
}

/// Every file below `paths` with its name in the package.
fn collect(paths: &[PathBuf]) -> Result<Vec<(String, PathBuf)>, CollectError> {
    let mut files = Vec::new();
    for path in paths {
        let whole = path.canonicalize().map_err(|error| CollectError::Io { path: path.clone(), error })?;
        let name =
            name::sanitize(&path.file_name().or(whole.file_name()).unwrap_or(OsStr::new("files")).to_string_lossy());
        walk(&whole, name, &mut files)?;
    }
    if files.is_empty() { Err(CollectError::Empty) } else { Ok(files) }
}

fn walk(path: &Path, name: String, files: &mut Vec<(String, PathBuf)>) -> Result<(), CollectError> {
    let io = |error| CollectError::Io { path: path.into(), error };
    let found = fs::symlink_metadata(path).map_err(io)?;
    if found.is_file() {
        files.push((name, path.into()));
        return if files.len() > MAX_ITEMS { Err(PackageError::Size.into()) } else { Ok(()) };
    }
    if !found.is_dir() {
        // Sockets, devices and links inside a folder are no content.
        return Ok(());
    }
    name::check(&name).map_err(PackageError::from)?;
    for entry in fs::read_dir(path).map_err(io)? {
        let entry = entry.map_err(io)?;
        let below = format!("{name}/{}", name::sanitize(&entry.file_name().to_string_lossy()));
        walk(&entry.path(), below, files)?;
    }
    Ok(())
}

//! The identity in a file: made once, never overwritten, readable by its owner only.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::Identity;

/// How the file begins; the seed follows in hexadecimal.
const HEADER: &str = "polymorph identity 1 (secret)";

/// Why an identity cannot be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The operating system said no.
    #[error("identity {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The file is not an identity, or was cut. It is left as it is.
    #[error("{0} is no polymorph identity or is damaged; it was left as it is: move it away to get a new one")]
    NotAnIdentity(PathBuf),
    /// Others may read it.
    #[error("{path} is readable by others (mode {mode:o}); run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// The identity in `path`, made and stored there if the file does not exist. The file appears whole or not at all.
///
/// # Errors
/// [`KeyFileError`]; an existing file is never changed.
pub fn load_or_create(path: &Path) -> Result<Identity, KeyFileError> {
    match load(path) {
        Err(KeyFileError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => create(path),
        loaded => loaded,
    }
}

fn load(path: &Path) -> Result<Identity, KeyFileError> {
    let failed = |error| KeyFileError::Io { path: path.into(), error };
    let bytes = fs::read(path).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Exposed { path: path.into(), mode });
        }
    }
    let foreign = || KeyFileError::NotAnIdentity(path.into());
    let text = std::str::from_utf8(&bytes).map_err(|_| foreign())?;
    let (header, seed) = text.trim_end().split_once('\n').ok_or_else(foreign)?;
    if header != HEADER {
        return Err(foreign());
    }
    crate::guid::parse_hex(seed).map(|seed| Identity::from_seed(&seed)).map_err(|_| foreign())
}

fn create(path: &Path) -> Result<Identity, KeyFileError> {
    let failed = |error| KeyFileError::Io { path: path.into(), error };
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let identity = Identity::generate();
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let write = || {
        let mut file = options.open(&temporary)?;
        writeln!(file, "{HEADER}\n{}", data_encoding::HEXLOWER.encode(&identity.seed()))?;
        file.sync_all()?;
        // A link never replaces a file that another process made meanwhile.
        fs::hard_link(&temporary, path)?;
        fs::File::open(folder)?.sync_all()
    };
    let written: io::Result<()> = write();
    let _ = fs::remove_file(&temporary);
    match written {
        Ok(()) => Ok(identity),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => load(path),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_start_is_the_same_node() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/identity");
        let first = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap().guid(), first.guid());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load_or_create(&path), Err(KeyFileError::Exposed { mode: 0o644, .. })));
    }

    #[test]
    fn a_foreign_or_damaged_file_is_an_error_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        load_or_create(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        for bytes in [&b""[..], b"hello", &whole[..whole.len() - 9], &[0xff; 80]] {
            fs::write(&path, bytes).unwrap();
            assert!(matches!(load_or_create(&path), Err(KeyFileError::NotAnIdentity(_))));
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }
}

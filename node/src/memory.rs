//! What outlives a restart: a snapshot of each overlay in the home folder.
//!
//! ```text
//! overlays/ID            the newest whole snapshot of the overlay with this id
//! overlays/ID.new        the next one, while it is written
//! overlays/ID.damaged-1  one that could not be read, set aside
//! ```
//!
//! A snapshot is written to the side, flushed and renamed: whenever the process is killed, the one before or the new
//! one is there.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use data_encoding::HEXLOWER;
use polymorph::core::snapshot::{MAX_SNAPSHOT_BYTES, MAX_SNAPSHOT_CONTACTS, Snapshot, SnapshotError};
use polymorph::core::{OverlayId, Time};
use polymorph::{Contact, Overlay};
use tokio::sync::Mutex;

use crate::output::warn;

/// How often snapshots are written, where something changed: at most so much is forgotten when a node is killed.
pub(crate) const WRITE_EVERY: Duration = Duration::from_secs(10);
/// How many damaged snapshots of one overlay are set aside; a node that finds more does not start.
const MAX_ASIDE: usize = 16;

/// Where snapshots are.
#[derive(Debug)]
pub(crate) struct Memory {
    folder: PathBuf,
    /// What stands on the disk, by overlay. Held while one is written, so that each is written by one at a time.
    written: Mutex<HashMap<OverlayId, Written>>,
}

#[derive(Debug, Default)]
struct Written {
    hash: Option<blake3::Hash>,
    /// Those of the last snapshot. A node that found nobody yet must not forget whom it knew.
    contacts: Vec<Contact>,
    failed: bool,
}

impl Memory {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, written: Mutex::default() }
    }

    fn path(&self, overlay: OverlayId) -> PathBuf {
        self.folder.join(HEXLOWER.encode(&overlay.0))
    }

    /// What is remembered of an overlay. A snapshot that is damaged is set aside, which is told in one line.
    pub(crate) async fn read(&self, overlay: OverlayId) -> anyhow::Result<Snapshot> {
        let path = self.path(overlay);
        let read = tokio::task::spawn_blocking(move || read(&path, overlay)).await??;
        let snapshot = read.unwrap_or_else(|set_aside| {
            warn(set_aside);
            Snapshot::default()
        });
        let contacts = snapshot.contacts.clone();
        self.written.lock().await.insert(overlay, Written { contacts, ..Written::default() });
        Ok(snapshot)
    }

    /// Writes what is to be remembered of an overlay, if it is not what stands there already. `keeps` says which of
    /// the records this node publishes outlive it.
    pub(crate) async fn write(&self, id: OverlayId, overlay: &Overlay, keeps: impl Fn(&polymorph::Key) -> bool) {
        let mut written = self.written.lock().await;
        let Ok(mut snapshot) = overlay.snapshot().await else { return };
        let written = written.entry(id).or_default();
        add(&mut snapshot.contacts, &written.contacts);
        snapshot.own.retain(|own| keeps(&own.key));
        let (contacts, path, before) = (snapshot.contacts.clone(), self.path(id), written.hash);
        let writing = tokio::task::spawn_blocking(move || {
            let bytes = snapshot.encode(id);
            let hash = blake3::hash(&bytes);
            if before == Some(hash) { Ok(hash) } else { write(&path, &bytes).map(|()| hash) }
        });
        match writing.await.map_err(io::Error::other).flatten() {
            Ok(hash) => *written = Written { hash: Some(hash), contacts, failed: false },
            Err(error) if !written.failed => {
                written.failed = true;
                let path = self.path(id);
                warn(format_args!(
                    "what overlay {:?} should remember cannot be written to {}: {error}; it is tried again",
                    overlay.name(),
                    path.display()
                ));
            }
            Err(_) => {}
        }
    }
}

/// Adds whom a node knew before, behind whom it knows now.
fn add(contacts: &mut Vec<Contact>, before: &[Contact]) {
    let now = Time::ZERO + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    for contact in before.iter().filter(|contact| contact.expires() > now) {
        if contacts.len() < MAX_SNAPSHOT_CONTACTS && !contacts.iter().any(|known| known.guid() == contact.guid()) {
            contacts.push(contact.clone());
        }
    }
}

/// A snapshot from a file; `Err` within says that it was set aside, why and where.
fn read(path: &Path, overlay: OverlayId) -> anyhow::Result<Result<Snapshot, String>> {
    let failed = || format!("snapshot {}: it cannot be read; check the access rights, or move it away", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Ok(Snapshot::default())),
        opened => opened.with_context(failed)?,
    };
    let mut bytes = Vec::new();
    // One byte more than there may be shows that there are too many.
    file.take(MAX_SNAPSHOT_BYTES as u64 + 1).read_to_end(&mut bytes).with_context(failed)?;
    match Snapshot::decode(&bytes, overlay) {
        Ok(snapshot) => Ok(Ok(snapshot)),
        Err(why) => set_aside(path, why).map(Err),
    }
}

fn set_aside(path: &Path, why: SnapshotError) -> anyhow::Result<String> {
    let places = (1..=MAX_ASIDE).map(|number| path.with_extension(format!("damaged-{number}")));
    for place in places {
        // A link does not replace what is there.
        match fs::hard_link(path, &place) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            linked => {
                let failed = || format!("snapshot {}: {why}, and it cannot be set aside", path.display());
                linked.and_then(|()| fs::remove_file(path)).with_context(failed)?;
                return Ok(format!(
                    "snapshot {}: {why}; it was set aside as {}, and this node begins without it",
                    path.display(),
                    place.display()
                ));
            }
        }
    }
    Err(anyhow!("snapshot {}: {why}, and {MAX_ASIDE} were set aside already; move them away", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let fresh = path.with_extension("new");
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polymorph::Identity;

    const OVERLAY: OverlayId = OverlayId([5; 32]);
    /// In the next century, in seconds.
    const FAR: u64 = 4_000_000_000;

    fn contact(seed: u8, until: u64) -> Contact {
        Contact::sign(&Identity::from_seed(&[seed; 32]), &[], 1, Time::from_secs(until))
    }

    fn snapshot(seed: u8) -> Snapshot {
        Snapshot { contacts: vec![contact(seed, FAR)], ..Snapshot::default() }
    }

    #[test]
    fn the_newest_is_read_whatever_a_killed_writer_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("overlays/one");
        assert_eq!(read(&path, OVERLAY).unwrap().unwrap(), Snapshot::default());
        for seed in 1..3 {
            write(&path, &snapshot(seed).encode(OVERLAY)).unwrap();
            fs::write(path.with_extension("new"), b"half of").unwrap();
            assert_eq!(read(&path, OVERLAY).unwrap().unwrap(), snapshot(seed));
        }
    }

    #[test]
    fn one_that_is_torn_or_foreign_is_set_aside_and_none_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one");
        let whole = snapshot(1).encode(OVERLAY);
        let bad = [&whole[..whole.len() - 3], b"", b"hello", &[0xff; 5000]];
        for (number, bytes) in (1..).zip(bad) {
            fs::write(&path, bytes).unwrap();
            let why = read(&path, OVERLAY).unwrap().unwrap_err();
            let aside = path.with_extension(format!("damaged-{number}"));
            assert!(why.contains(&aside.display().to_string()) && !why.contains('\n'), "{why}");
            assert_eq!(fs::read(&aside).unwrap(), bytes);
            assert!(!path.exists());
        }
        for _ in bad.len()..MAX_ASIDE {
            fs::write(&path, b"x").unwrap();
            assert!(read(&path, OVERLAY).unwrap().is_err());
        }
        fs::write(&path, b"kept").unwrap();
        assert!(read(&path, OVERLAY).unwrap_err().to_string().contains("move them away"));
        assert_eq!(fs::read(&path).unwrap(), b"kept");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one");
        write(&path, &snapshot(1).encode(OVERLAY)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn whom_a_node_knew_is_not_forgotten_before_its_contact_expires() {
        let mut contacts = vec![contact(1, FAR)];
        add(&mut contacts, &[contact(1, FAR - 1), contact(2, FAR), contact(3, 1000)]);
        assert_eq!(contacts, [contact(1, FAR), contact(2, FAR)]);
    }
}

//! The home folder: identity, store, settings, and which process has it.
//!
//! ```text
//! identity        this node's key, mode 0600
//! settings.toml   what flags do not say
//! store/          blobs
//! overlays/       what is remembered of overlays
//! control.sock    where a running node is told what to do
//! holder          which process has the home; locked while it runs
//! seat-1/ …       the same for commands that run beside a node with this home
//! ```
//!
//! A node cannot run twice. So `share` and `get`, when a node has the home already, take the first free *seat*
//! beside it: a home of its own with its own identity, the same one next time.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use polymorph::Identity;
use polymorph::core::runtime::keyfile;
use polymorph::media::Store;
use serde::Deserialize;

use crate::cli::Common;
use crate::memory::Memory;
use crate::overlay_text::OverlayText;

/// How many processes run beside a node with one home.
const SEATS: usize = 16;

/// What the settings file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where to listen.
    #[serde(default)]
    pub(crate) listen: Vec<String>,
    /// Through whom to join.
    #[serde(default)]
    pub(crate) join: Vec<String>,
    /// Further addresses told to others, such as a forwarded port.
    #[serde(default)]
    pub(crate) advertise: Vec<String>,
    #[serde(default)]
    overlays: BTreeMap<String, BTreeMap<String, toml::Value>>,
}

impl Settings {
    /// The overlays, in the order of their names.
    pub(crate) fn overlays(&self) -> anyhow::Result<Vec<OverlayText>> {
        let overlay = |(name, rows): (&String, &BTreeMap<String, toml::Value>)| {
            let topology = rows.get("topology").and_then(toml::Value::as_str);
            let topology = topology.with_context(|| format!("settings: overlay {name:?} needs topology = \"…\""))?;
            let mut overlay = OverlayText::new(name, topology);
            for (key, value) in rows.iter().filter(|(key, _)| *key != "topology") {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                overlay.set(key, &value)?;
            }
            Ok(overlay)
        };
        self.overlays.iter().map(overlay).collect()
    }
}

/// A home folder that this process has, or merely looks at.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    /// Locked while this process has the home.
    _holder: Option<File>,
}

impl Home {
    /// The home folder, without taking it.
    pub(crate) fn find(common: &Common) -> anyhow::Result<Self> {
        let path = common.home.clone().or_else(platform_folder);
        let path = path.context("there is no home folder; say where to keep identity and store with --home DIR")?;
        Ok(Self { path, _holder: None })
    }

    /// Takes the home for `what`, or says who has it.
    pub(crate) fn take(common: &Common, what: &str) -> anyhow::Result<Self> {
        let path = Self::find(common)?.path;
        match hold(&path, what)? {
            Ok(holder) => Ok(Self { path, _holder: Some(holder) }),
            Err(other) => {
                bail!("{} is in use by {other}; stop it or choose another folder with --home", path.display())
            }
        }
    }

    /// Takes the home for `what`, or a seat beside whoever has it.
    pub(crate) fn take_seat(common: &Common, what: &str) -> anyhow::Result<Self> {
        let root = Self::find(common)?.path;
        let seats = (1..=SEATS).map(|seat| root.join(format!("seat-{seat}")));
        for path in std::iter::once(root.clone()).chain(seats) {
            if let Ok(holder) = hold(&path, what)? {
                return Ok(Self { path, _holder: Some(holder) });
            }
        }
        bail!("{} and its {SEATS} seats are all in use; stop one or choose another folder with --home", root.display())
    }

    /// This node's identity, made if need be.
    pub(crate) fn identity(&self) -> anyhow::Result<Identity> {
        keyfile::load_or_create(&self.path.join("identity")).map_err(|error| match error {
            keyfile::KeyFileError::Io { path, error } => {
                anyhow!("identity {}: {error}; check the access rights or choose another --home", path.display())
            }
            other => other.into(),
        })
    }

    /// The store.
    pub(crate) async fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::open(self.path.join("store")).await?)
    }

    /// What is remembered of overlays.
    pub(crate) fn memory(&self) -> Memory {
        Memory::new(self.path.join("overlays"))
    }

    /// Where a running node is told what to do.
    pub(crate) fn control(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// What `--config` says, or the home's own settings file.
    pub(crate) fn settings(&self, common: &Common) -> anyhow::Result<Settings> {
        let own = self.path.join("settings.toml");
        let path = common.config.as_ref().unwrap_or(&own);
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && common.config.is_none() => {
                return Ok(Settings::default());
            }
            read => read.with_context(|| format!("settings {}", path.display()))?,
        };
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| {
                text.as_bytes()[..span.start.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
            });
            anyhow!("settings {}, line {line}: {}", path.display(), error.message())
        })
    }

    /// The folder.
    #[cfg(test)]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Locks a home. `Err` within says who has it.
fn hold(home: &Path, what: &str) -> anyhow::Result<Result<File, String>> {
    let failed = || format!("cannot use {} as home; check the access rights or choose another --home", home.display());
    fs::create_dir_all(home).with_context(failed)?;
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let mut holder = options.open(home.join("holder")).with_context(failed)?;
    match holder.try_lock() {
        Ok(()) => {
            holder.set_len(0).and_then(|()| write!(holder, "process {} (polymorph {what})", std::process::id()))?;
            Ok(Ok(holder))
        }
        Err(TryLockError::WouldBlock) => {
            let mut who = String::new();
            let _ = holder.rewind().and_then(|()| Read::take(&holder, 256).read_to_string(&mut who));
            Ok(Err(if who.is_empty() { "another process".into() } else { who }))
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(failed),
    }
}

/// Where programs keep their data on this platform.
fn platform_folder() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || variable("HOME");
    let data = if cfg!(windows) {
        variable("APPDATA")
    } else if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Application Support"))
    } else {
        variable("XDG_DATA_HOME").or_else(|| home().map(|home| home.join(".local/share")))
    };
    data.map(|data| data.join("polymorph"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(home: &Path) -> Common {
        Common { home: Some(home.into()), config: None, json: false }
    }

    #[test]
    fn a_home_is_taken_once_and_seats_are_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let common = common(folder.path());
        let node = Home::take(&common, "node").unwrap();
        let refused = Home::take(&common, "node").unwrap_err().to_string();
        assert!(refused.contains(&format!("process {} (polymorph node)", std::process::id())), "{refused}");
        let get = Home::take_seat(&common, "get").unwrap();
        assert_eq!(get.path(), folder.path().join("seat-1"));
        assert_ne!(get.identity().unwrap().guid(), node.identity().unwrap().guid());
        drop(node);
        assert_eq!(Home::take_seat(&common, "get").unwrap().path(), folder.path());
    }

    #[test]
    fn settings_are_read_and_mistakes_named() {
        let folder = tempfile::tempdir().unwrap();
        let common = common(folder.path());
        let home = Home::find(&common).unwrap();
        assert!(home.settings(&common).unwrap().listen.is_empty());
        let write = |text: &str| fs::write(folder.path().join("settings.toml"), text).unwrap();
        write("listen = [\"tcp://0.0.0.0:1\"]\n[overlays.find]\ntopology = \"chord\"\nsuccessors = 8\n");
        let overlays = home.settings(&common).unwrap().overlays().unwrap();
        assert_eq!(overlays, ["find=chord,successors=8".parse().unwrap()]);
        write("lisen = []");
        let error = home.settings(&common).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("lisen"), "{error}");
    }
}

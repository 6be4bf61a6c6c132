//! What was fetched, and from whom.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use polymorph_core::Guid;
use tokio::sync::watch;

use super::pull::Delivered;
use crate::lock;

/// How far a fetch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are here, resumed ones included.
    pub bytes: u64,
    /// Bytes wanted.
    pub total: u64,
    /// Providers that delivered some.
    pub sources: usize,
}

/// What a fetch did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes of content that came over the network and were new.
    pub bytes: u64,
    /// Bytes that were here already.
    pub resumed_bytes: u64,
    /// Who delivered how many bytes, most first.
    pub by: Vec<(Guid, u64)>,
    /// Who sent data that does not match the hash.
    pub liars: Vec<Guid>,
}

impl Fetched {
    /// How many providers delivered content bytes.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.by.len()
    }

    /// Adds what another fetch did.
    pub fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.resumed_bytes += other.resumed_bytes;
        let mut by: HashMap<_, _> = self.by.drain(..).collect();
        other.by.into_iter().for_each(|(guid, bytes)| *by.entry(guid).or_default() += bytes);
        self.by.extend(by);
        self.by.sort_by_key(|(guid, bytes)| (u64::MAX - bytes, *guid));
        self.liars.extend(other.liars);
    }
}

/// What was fetched so far, of all blobs.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) by: Mutex<HashMap<Guid, u64>>,
    pub(super) here: Mutex<Progress>,
    pub(super) progress: Option<watch::Sender<Progress>>,
}

impl Delivered for Arc<Tally> {
    fn delivered(&self, guid: Guid, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let sources = {
            let mut by = lock(&self.by);
            *by.entry(guid).or_default() += bytes;
            by.len()
        };
        self.advance(bytes, sources);
    }
}

impl Tally {
    pub(super) fn advance(&self, bytes: u64, sources: usize) {
        let mut here = lock(&self.here);
        here.bytes += bytes;
        here.sources = here.sources.max(sources);
        if let Some(progress) = &self.progress {
            progress.send_replace(*here);
        }
    }
}

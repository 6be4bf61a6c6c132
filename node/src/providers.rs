//! Finding providers through an overlay, for as long as somebody fetches.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use polymorph::core::runtime::SessionHold;
use polymorph::core::runtime::transport::Stream;
use polymorph::media::{Provider, Providers};
use polymorph::{Guid, Key, Overlay};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::media_service::BLOBS;

/// How many providers wait to be asked.
const FOUND: usize = 32;
/// The first pause between two looks for providers, and the longest: new ones join a long fetch soon.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(3));

/// Looks for whoever provides what is wanted, again and again.
#[derive(Debug)]
pub(crate) struct Finder {
    found: mpsc::Receiver<Arc<dyn Provider>>,
    _task: AbortOnDropHandle<()>,
}

impl Finder {
    /// Asks `overlay` for the records of the wanted keys. `known` are peers to ask in any case, without a look.
    pub(crate) fn start(overlay: &Overlay, known: Vec<Guid>, wanted: watch::Receiver<Vec<Key>>) -> Self {
        let (queue, found) = mpsc::channel(FOUND);
        let task = tokio::spawn(look(overlay.clone(), known, wanted, queue));
        Self { found, _task: AbortOnDropHandle::new(task) }
    }
}

#[async_trait]
impl Providers for Finder {
    async fn next(&mut self) -> Option<Arc<dyn Provider>> {
        self.found.recv().await
    }
}

async fn look(
    overlay: Overlay,
    known: Vec<Guid>,
    mut wanted: watch::Receiver<Vec<Key>>,
    queue: mpsc::Sender<Arc<dyn Provider>>,
) {
    let me = overlay.node().guid();
    let provider = |guid| -> Arc<dyn Provider> { Arc::new(Peer::new(&overlay, guid)) };
    for guid in known.into_iter().filter(|guid| *guid != me) {
        if queue.send(provider(guid)).await.is_err() {
            return;
        }
    }
    let mut pause = PAUSE.0;
    loop {
        let keys = wanted.borrow_and_update().clone();
        let mut publishers = HashSet::new();
        for key in keys {
            match overlay.get(key).await {
                Ok(records) => publishers.extend(records.into_iter().map(|record| record.publisher)),
                Err(error) => tracing::debug!(%error, "no records"),
            }
        }
        for guid in publishers.into_iter().filter(|guid| *guid != me) {
            // A provider that is known already costs nothing; one that failed gets another chance.
            if queue.send(provider(guid)).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = wanted.changed() => match changed {
                Ok(()) => pause = PAUSE.0,
                Err(_) => return,
            },
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE.1),
            () = queue.closed() => return,
        }
    }
}

/// A peer of an overlay that serves blobs.
#[derive(Debug)]
struct Peer {
    overlay: Overlay,
    guid: Guid,
    /// Keeps the session while this provider is used.
    hold: Mutex<Option<SessionHold>>,
}

impl Peer {
    fn new(overlay: &Overlay, guid: Guid) -> Self {
        Self { overlay: overlay.clone(), guid, hold: Mutex::new(None) }
    }
}

#[async_trait]
impl Provider for Peer {
    fn guid(&self) -> Guid {
        self.guid
    }

    async fn open(&self) -> io::Result<Stream> {
        let bulk = self.overlay.open(self.guid, BLOBS).await.map_err(io::Error::other)?;
        *self.hold.lock().unwrap_or_else(PoisonError::into_inner) = Some(bulk.hold);
        Ok(bulk.stream)
    }
}

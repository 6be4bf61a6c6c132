//! Finding providers through an overlay, for as long as somebody fetches.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use polymorph::core::runtime::SessionHold;
use polymorph::core::runtime::transport::Stream;
use polymorph::media::{Provider, Providers};
use polymorph::{Guid, Key, Overlay};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::media_service::BLOBS;

/// How many providers wait to be asked.
const FOUND: usize = 32;
/// The first pause between two looks for providers, and the longest: new ones join a long fetch soon.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(3));
/// A provider that fails is offered again after twice as long, up to this many times doubled: later than a fetch
/// without any provider is patient.
const MAX_DOUBLINGS: u32 = 6;

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
    let mut peers: HashMap<Guid, Offered> = HashMap::new();
    let mut found: BTreeSet<Guid> = known.into_iter().collect();
    let mut pause = PAUSE.0;
    loop {
        for guid in found.iter().filter(|guid| **guid != me) {
            let peer = peers.entry(*guid).or_insert_with(|| Offered::new(&overlay, *guid));
            // To offer one that is in use costs nothing; one that failed gets another chance, ever more rarely.
            if peer.is_due() && queue.send(peer.peer.clone()).await.is_err() {
                return;
            }
        }
        let keys = wanted.borrow_and_update().clone();
        found.clear();
        for key in keys {
            match overlay.find_providers(key).await {
                Ok(providers) => found.extend(providers),
                Err(error) => tracing::debug!(%error, "nobody said who provides it"),
            }
        }
        if found.iter().any(|guid| *guid != me && !peers.contains_key(guid)) {
            continue;
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

/// A peer that was offered as provider, and when to offer it again.
#[derive(Debug)]
struct Offered {
    peer: Arc<Peer>,
    due: Instant,
}

impl Offered {
    fn new(overlay: &Overlay, guid: Guid) -> Self {
        let (hold, failures) = (Mutex::new(None), AtomicU32::new(0));
        let peer = Arc::new(Peer { overlay: overlay.clone(), guid, hold, failures });
        Self { peer, due: Instant::now() }
    }

    /// Whether to offer it now; if so, not again for a while.
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = now >= self.due;
        if due {
            let failures = self.peer.failures.load(Ordering::Relaxed).min(MAX_DOUBLINGS);
            self.due = now + PAUSE.1 * 2u32.pow(failures) / 2;
        }
        due
    }
}

/// A peer of an overlay that serves blobs.
#[derive(Debug)]
struct Peer {
    overlay: Overlay,
    guid: Guid,
    /// Keeps the session while this provider is used.
    hold: Mutex<Option<SessionHold>>,
    /// How many times in a row no stream could be opened.
    failures: AtomicU32,
}

#[async_trait]
impl Provider for Peer {
    fn guid(&self) -> Guid {
        self.guid
    }

    async fn open(&self) -> io::Result<Stream> {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        let bulk = self.overlay.open(self.guid, BLOBS).await.map_err(|error| {
            tracing::debug!(peer = %self.guid.short(), %error, failures, "no stream");
            io::Error::other(error)
        })?;
        self.failures.store(0, Ordering::Relaxed);
        *self.hold.lock().unwrap_or_else(PoisonError::into_inner) = Some(bulk.hold);
        Ok(bulk.stream)
    }
}

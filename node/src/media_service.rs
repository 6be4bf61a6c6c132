//! Serving the store's blobs to peers of an overlay, and saying there that this node provides them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use polymorph::core::runtime::{IncomingStreams, OverlayError};
use polymorph::media::serve::Limits;
use polymorph::media::{Hash, Store};
use polymorph::{Key, Overlay};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// The name of the service that [`polymorph::media::serve`] answers.
pub(crate) const BLOBS: &str = "blobs";
/// How many streams are served at once, of all peers together; further ones wait. Each holds a few MiB.
const SERVING: usize = 64;
/// How long a provider record lives; the engine signs it anew after a third of that.
const RECORD_LIFETIME: Duration = Duration::from_secs(3 * 3600);
/// How many records are put at once.
const PUTTING: usize = 16;
/// How many records one node keeps: below the engine's own bound.
const MAX_PROVIDED: usize = 10_000;
/// After a change in the overlay records are put again: the owners may be others now. The first time soon, then
/// ever more rarely.
const SETTLE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Serves and announces as long as it lives.
#[derive(Debug)]
pub(crate) struct MediaService {
    provided: BTreeSet<Key>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl MediaService {
    /// Serves the blobs of `store` on `overlay`, and says there that this node provides what is in it now.
    pub(crate) async fn start(overlay: &Overlay, store: &Store) -> anyhow::Result<Self> {
        let streams = overlay.streams(BLOBS).await?;
        let blobs: Vec<Hash> = store.holdings().await?.into_iter().take(MAX_PROVIDED).map(|held| held.hash).collect();
        let provided = blobs.iter().map(|hash| Key::from(*hash)).collect();
        let serving = tokio::spawn(serve_all(streams, store.clone()));
        let saying = tokio::spawn(keep_known(overlay.clone(), blobs));
        Ok(Self { provided, _tasks: [serving, saying].map(AbortOnDropHandle::new) })
    }

    /// Whether it says of this content that this node provides it, and says so again when it is started anew.
    pub(crate) fn provides(&self, content: &Key) -> bool {
        self.provided.contains(content)
    }
}

/// Says that this node provides a blob, once; returns how many replicas confirmed. The engine repeats it.
pub(crate) async fn provide(overlay: &Overlay, hash: Hash) -> Result<usize, OverlayError> {
    overlay.provide(hash.into(), RECORD_LIFETIME).await
}

/// Puts every record once it can be put, and all of them again when the overlay has changed.
async fn keep_known(overlay: Overlay, blobs: Vec<Hash>) {
    let Ok(mut events) = overlay.watch().await else { return };
    let mut settle = SETTLE.0;
    loop {
        let overlay = &overlay;
        let puts = blobs.clone().into_iter().map(|hash| provide(overlay, hash));
        let failed = futures_util::stream::iter(puts).buffer_unordered(PUTTING);
        let failed = failed.filter(|put| std::future::ready(put.is_err())).count().await;
        if failed == 0 && events.recv().await.is_none() {
            return;
        }
        tokio::time::sleep(settle).await;
        settle = (settle * 2).min(SETTLE.1);
        while events.try_recv().is_ok() {}
    }
}

async fn serve_all(mut streams: IncomingStreams, store: Store) {
    let permits = Arc::new(Semaphore::new(SERVING));
    let limits = Arc::new(Limits::default());
    let mut serving = tokio::task::JoinSet::new();
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let Some(incoming) = streams.next().await else { return };
        while serving.try_join_next().is_some() {}
        let (store, limits) = (store.clone(), limits.clone());
        serving.spawn(async move {
            let _permit = permit;
            if let Err(error) = polymorph::media::serve(incoming.stream, &store, &limits).await {
                tracing::debug!(peer = %incoming.peer.short(), %error, "a stream ended early");
            }
        });
    }
}

//! Fetching a package from whoever an overlay names.

use std::num::NonZeroU64;

use anyhow::Context as _;
use polymorph::media::fetch::{Fetched, Length, Options, Progress};
use polymorph::media::package::MAX_MANIFEST_BYTES;
use polymorph::media::{Fetcher, Hash, Package, Store};
use polymorph::{Guid, Key, Overlay};
use tokio::sync::watch;

use crate::providers::Finder;

/// What to fetch, through which overlay, and into which store.
#[derive(Debug)]
pub(crate) struct Fetch<'a> {
    pub(crate) overlay: &'a Overlay,
    pub(crate) store: &'a Store,
    pub(crate) root: Hash,
    /// Peers to ask in any case.
    pub(crate) known: Vec<Guid>,
    /// Bytes per second, all providers together.
    pub(crate) limit: Option<NonZeroU64>,
    pub(crate) progress: Option<watch::Sender<Progress>>,
}

impl Fetch<'_> {
    /// Fetches the manifest, then every item. What is said of the fetch concerns the items. Dropping the future stops
    /// it; what came stays.
    pub(crate) async fn run(self) -> anyhow::Result<(Package, Fetched)> {
        let (wanted, watched) = watch::channel(vec![Key::from(self.root)]);
        let finder = Finder::start(self.overlay, self.known, watched);
        let options = Options { limit: self.limit, progress: self.progress, ..Options::default() };
        let mut fetcher = Fetcher::new(self.store, finder, options);
        Box::pin(fetcher.blob(self.root, Length::AtMost(MAX_MANIFEST_BYTES))).await?;
        let bytes = self.store.read(self.root, MAX_MANIFEST_BYTES).await?;
        let package = Package::decode(&bytes).with_context(|| format!("content {}", self.root.short()))?;
        fetcher.expect(package.length());
        let mut sum = Fetched::default();
        for item in package.items() {
            // Whoever shares this very item in another package is a provider too.
            wanted.send_replace(vec![Key::from(self.root), Key::from(item.hash)]);
            sum.add(Box::pin(fetcher.blob(item.hash, Length::Known(item.length))).await?);
        }
        Ok((package, sum))
    }
}

//! The two processes of a verified fetch: one shares a file, the other fetches it.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use polymorph::core::runtime::transport::Stream;
use polymorph::media::fetch::Length;
use polymorph::media::store::Import;
use polymorph::media::{Provider, Store, fetch, serve};
use polymorph::{Contact, Guid, Overlay};
use tokio::io::AsyncReadExt;

use crate::floor::processor_seconds;
use crate::star;

/// The service that gives blobs away.
const SERVICE: &str = "blobs";

/// Shares a file until standard input ends.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn give(wire: &str, source: &Path, store: &Path) {
    let (node, overlay) = star::node(&format!("{wire}://127.0.0.1:0")).await;
    let store = Store::open(store).await.expect("a store");
    let holding = store.import(source, Import::Reference).await.expect("the source");
    let mut streams = overlay.streams(SERVICE).await.expect("it serves");
    tokio::spawn(async move {
        while let Some(incoming) = streams.next().await {
            let store = store.clone();
            tokio::spawn(async move { serve(incoming.stream, &store, &Default::default()).await });
        }
    });
    overlay.join(&[]).await.expect("it joins");
    let busy = processor_seconds();
    println!("{} {}", holding.hash, node.contact());
    tokio::io::stdin().read_to_end(&mut Vec::new()).await.expect("it ends");
    println!("{}", processor_seconds() - busy);
}

/// A peer of the overlay that has the blob.
#[derive(Debug)]
struct Peer {
    overlay: Overlay,
    guid: Guid,
}

#[async_trait]
impl Provider for Peer {
    fn guid(&self) -> Guid {
        self.guid
    }

    async fn open(&self) -> io::Result<Stream> {
        Ok(self.overlay.open(self.guid, SERVICE).await.map_err(io::Error::other)?.stream)
    }
}

/// Fetches a blob from there; prints how long that took.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn take(wire: &str, contact: &str, hash: &str, store: &Path) {
    let (_node, overlay) = star::node(&format!("{wire}://127.0.0.1:0")).await;
    let store = Store::open(store).await.expect("a store");
    let contact: Contact = contact.parse().expect("a contact");
    let guid = contact.guid();
    let hash = hash.parse().expect("a hash");
    let (busy, begin) = (processor_seconds(), Instant::now());
    overlay.join(&[contact]).await.expect("it joins");
    let providers = VecDeque::from([Arc::new(Peer { overlay, guid }) as Arc<dyn Provider>]);
    fetch(&store, hash, Length::AtMost(u64::MAX), providers, Default::default()).await.expect("it comes");
    println!("{}", begin.elapsed().as_secs_f64());
    println!("{}", processor_seconds() - busy);
}

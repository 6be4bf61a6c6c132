//! What the tests of this crate share.

use core::ops::Range;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use polymorph_core::Guid;
use polymorph_core::runtime::transport::Stream;
use tokio::io::DuplexStream;

use crate::blob::tree::{self, PAIR_BYTES};
use crate::provider::Provider;
use crate::serve::{Limits, serve};
use crate::store::Store;

/// Bytes that look random and are the same each time.
pub(crate) fn sample(length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    blake3::Hasher::new().update(&length.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The proof and the data of a run.
pub(crate) fn answer(data: &[u8], run: &Range<u64>) -> (Vec<u8>, Vec<u8>) {
    let length = data.len() as u64;
    let mut outboard = vec![0; tree::outboard_bytes(length) as usize];
    let mut rest = data;
    tree::build(length, &mut |buffer| io::Read::read_exact(&mut rest, buffer), &mut |at, bytes| {
        outboard[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        Ok(())
    })
    .unwrap();
    let part = |pairs: Range<u64>| &outboard[(pairs.start * PAIR_BYTES) as usize..(pairs.end * PAIR_BYTES) as usize];
    let proof = tree::proof_runs(length, run).into_iter().flat_map(part).copied().collect();
    let bytes = tree::bytes_of(length, run);
    (proof, data[bytes.start as usize..bytes.end as usize].to_vec())
}

/// What a provider does with the far end of each stream that is opened to it.
pub(crate) type Behavior = Box<dyn Fn(DuplexStream) + Send + Sync>;

/// A provider inside this process.
pub(crate) struct InMemory {
    pub(crate) guid: Guid,
    pub(crate) behavior: Behavior,
}

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InMemory({})", self.guid.short())
    }
}

#[async_trait]
impl Provider for InMemory {
    fn guid(&self) -> Guid {
        self.guid
    }

    async fn open(&self) -> io::Result<Stream> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        (self.behavior)(far);
        Ok(stream(near))
    }
}

pub(crate) fn stream(duplex: DuplexStream) -> Stream {
    let (recv, send) = tokio::io::split(duplex);
    Stream { recv: Box::new(recv), send: Box::new(send) }
}

pub(crate) fn provider(number: u8, behavior: impl Fn(DuplexStream) + Send + Sync + 'static) -> Arc<dyn Provider> {
    Arc::new(InMemory { guid: Guid([number; 32]), behavior: Box::new(behavior) })
}

/// Serves honestly from a store.
pub(crate) fn honest(number: u8, store: &Store, limits: Limits) -> Arc<dyn Provider> {
    let store = store.clone();
    provider(number, move |far| {
        let (store, limits) = (store.clone(), limits.clone());
        tokio::spawn(async move { serve(stream(far), &store, &limits).await });
    })
}

pub(crate) fn list<const N: usize>(providers: [Arc<dyn Provider>; N]) -> VecDeque<Arc<dyn Provider>> {
    providers.into()
}

//! The small part of a network this crate needs: somebody who has a blob, and more of them as they are found.

use core::fmt;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use polymorph_core::Guid;
use polymorph_core::runtime::transport::Stream;
use tokio::sync::mpsc;

/// A peer that may have what is wanted.
#[async_trait]
pub trait Provider: Send + Sync + fmt::Debug {
    /// Who it is. A fetch uses each Guid once.
    fn guid(&self) -> Guid;

    /// Opens a bulk stream to its blob service, at whose other end [`serve`](crate::serve::serve) runs. Cancel-safe.
    ///
    /// # Errors
    /// Whatever kept the stream from opening; the provider is then given up.
    async fn open(&self) -> io::Result<Stream>;
}

/// Providers as they are found, while a fetch runs.
#[async_trait]
pub trait Providers: Send {
    /// The next one; `None` once no more will come. Must be cancel-safe.
    async fn next(&mut self) -> Option<Arc<dyn Provider>>;
}

/// Those known from the start.
#[async_trait]
impl Providers for VecDeque<Arc<dyn Provider>> {
    async fn next(&mut self) -> Option<Arc<dyn Provider>> {
        self.pop_front()
    }
}

/// Those somebody else looks for.
#[async_trait]
impl Providers for mpsc::Receiver<Arc<dyn Provider>> {
    async fn next(&mut self) -> Option<Arc<dyn Provider>> {
        self.recv().await
    }
}

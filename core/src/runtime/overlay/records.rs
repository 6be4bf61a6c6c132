//! Records on an overlay: values, and who provides what.

use std::time::Duration;

use bytes::Bytes;

use super::{Overlay, OverlayError, failed};
use crate::engine::io::{Command, Outcome};
use crate::record::{GetOptions, PutOptions, Quorum, Record, Source};
use crate::{Guid, Key};

/// How many replicas say who provides a content: each may know some that another has no room for.
const PROVIDERS_FROM: Quorum = Quorum::Of(3);

/// What was found under a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Records {
    /// Checked, the newest of each publisher.
    pub records: Vec<Record>,
    /// How many replicas had answered, or that it was somebody on the way.
    pub source: Source,
}

impl Overlay {
    /// Stores a signed record at the replicas of `key`, and keeps it alive from then on; a majority of them must
    /// confirm. Returns how many did. A node has one record under one key: another replaces it.
    ///
    /// # Errors
    /// As for [`put_with`](Self::put_with).
    pub async fn put(&self, key: Key, value: Bytes, lifetime: Duration) -> Result<usize, OverlayError> {
        self.put_with(key, value, PutOptions { lifetime, ..PutOptions::default() }).await
    }

    /// The same with a quorum and a sequence number of one's own. A record that failed to reach its quorum is stored
    /// where it was confirmed, and is tried again until it is withdrawn, after a minute if no replica took it; one that is
    /// [`Older`] is not.
    ///
    /// # Errors
    /// [`OverlayError::Failed`]: [`Quorum`] says how many replicas confirmed, [`Older`] that they keep a newer record
    /// of this node, [`Full`] that they have no room.
    ///
    /// [`Older`]: crate::engine::io::Failure::Older
    /// [`Quorum`]: crate::engine::io::Failure::Quorum
    /// [`Full`]: crate::engine::io::Failure::Full
    pub async fn put_with(&self, key: Key, value: Bytes, options: PutOptions) -> Result<usize, OverlayError> {
        match self.ask(|ticket| Command::Put { ticket, key, value, options }).await? {
            Outcome::Stored { replicas } => Ok(replicas),
            other => Err(failed(other)),
        }
    }

    /// Keeps an own record alive no longer; what is stored expires.
    ///
    /// # Errors
    /// That the node ended.
    pub async fn withdraw(&self, key: Key) -> Result<(), OverlayError> {
        self.tell(Command::Withdraw { key }).await
    }

    /// The records under a key, checked, the newest of each publisher, from a majority of its replicas.
    ///
    /// # Errors
    /// As for [`get_with`](Self::get_with).
    pub async fn get(&self, key: Key) -> Result<Vec<Record>, OverlayError> {
        Ok(self.get_with(key, GetOptions::default()).await?.records)
    }

    /// The same with a quorum of one's own, or from a cache. Replicas that showed an older record than others, or none, are sent the
    /// newest.
    ///
    /// # Errors
    /// [`OverlayError::Failed`], with [`Failure::Quorum`](crate::engine::io::Failure::Quorum) where too few replicas
    /// answered.
    pub async fn get_with(&self, key: Key, options: GetOptions) -> Result<Records, OverlayError> {
        match self.ask(|ticket| Command::Get { ticket, key, options }).await? {
            Outcome::Records { records, source } => Ok(Records { records, source }),
            other => Err(failed(other)),
        }
    }

    /// Says that this node provides a content, and goes on saying so until it is [withdrawn](Self::withdraw): a
    /// record without a value under the content's key. Returns how many replicas confirmed; one is enough.
    ///
    /// # Errors
    /// As for [`put_with`](Self::put_with).
    pub async fn provide(&self, content: Key, lifetime: Duration) -> Result<usize, OverlayError> {
        let options = PutOptions { lifetime, quorum: Quorum::Of(1), sequence: None };
        self.put_with(content, Bytes::new(), options).await
    }

    /// Who provides a content, in no order of merit; at most as many as four replicas hold under one key.
    ///
    /// # Errors
    /// As for [`get_with`](Self::get_with).
    pub async fn find_providers(&self, content: Key) -> Result<Vec<Guid>, OverlayError> {
        let found = self.get_with(content, GetOptions { quorum: PROVIDERS_FROM, ..GetOptions::default() }).await?;
        let providers = found.records.iter().filter(|record| record.value.is_empty());
        Ok(providers.map(|record| record.publisher).collect())
    }
}

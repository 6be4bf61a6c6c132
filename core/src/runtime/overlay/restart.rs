//! What outlives a restart of the node.

use super::{Overlay, OverlayError};
use crate::Contact;
use crate::engine::io::{Command, Failure};
use crate::runtime::driver::Mail;
use crate::snapshot::Snapshot;

/// How many records the driver checks before it turns to something else: some ten milliseconds.
const RESTORE_AT_ONCE: usize = 256;

impl Overlay {
    /// What this node should still know of the overlay when it starts again; see [`resume`](Self::resume).
    ///
    /// # Errors
    /// That the node ended, or the overlay was detached.
    pub async fn snapshot(&self) -> Result<Snapshot, OverlayError> {
        let snapshot = self.node.shared.ask(|reply| Mail::Snapshot { slot: self.slot, reply }).await?;
        snapshot.ok_or(OverlayError::Failed(Failure::Detached))
    }

    /// [Enters](Self::join) with what this node knew before it was restarted: the records it kept are served at once,
    /// those it published are stored anew, and it joins through `seeds` and through the peers it knew. Records are
    /// checked; those that are out of time or older than what is here already are left out.
    ///
    /// # Errors
    /// That the node ended.
    pub async fn resume(&self, snapshot: Snapshot, seeds: &[Contact]) -> Result<(), OverlayError> {
        let Snapshot { contacts, mut kept, mut own } = snapshot;
        while !kept.is_empty() || !own.is_empty() {
            let rest = kept.split_off(kept.len().min(RESTORE_AT_ONCE));
            let later = own.split_off(own.len().min(RESTORE_AT_ONCE));
            self.tell(Command::Restore { kept, own }).await?;
            (kept, own) = (rest, later);
        }
        self.join(&[seeds, &contacts].concat()).await
    }
}

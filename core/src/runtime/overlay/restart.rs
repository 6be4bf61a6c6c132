//! What outlives a restart of the node.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::{Overlay, OverlayError};
use crate::engine::io::{Command, Failure};
use crate::runtime::mail::Mail;
use crate::snapshot::Snapshot;
use crate::{Contact, Guid, Key, Standing};

/// How many records the driver checks before it turns to something else: some ten milliseconds.
const RESTORE_AT_ONCE: usize = 256;
/// How many of those it knew a node asks whether they are there: as many as a topology takes for seeds.
const ASKED: usize = 16;
/// How many that are there are enough to join through.
const ENOUGH: usize = 3;
/// How long they may take. A dial over a slow line has half a dozen round trips.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long a node that cannot enter waits before it begins alone: when nobody is there, and when somebody is who
/// may be in.
const BEGIN_AFTER: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(5)];

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
    /// those it published are stored anew, and it joins through `seeds` and through the peers it knew, those that are
    /// there first. Records are checked; those that are out of time or older than what is here already are left out.
    ///
    /// # Errors
    /// That the node ended.
    pub async fn resume(&self, snapshot: Snapshot, seeds: &[Contact]) -> Result<(), OverlayError> {
        let Snapshot { mut contacts, mut kept, mut own } = snapshot;
        self.tell(Command::Restore { contacts: contacts.clone(), kept: Vec::new(), own: Vec::new() }).await?;
        while !kept.is_empty() || !own.is_empty() {
            let rest = kept.split_off(kept.len().min(RESTORE_AT_ONCE));
            let later = own.split_off(own.len().min(RESTORE_AT_ONCE));
            self.tell(Command::Restore { contacts: Vec::new(), kept, own }).await?;
            (kept, own) = (rest, later);
        }
        if seeds.is_empty() {
            let there = self.who_is_there(&contacts, ENOUGH).await;
            contacts.sort_by_key(|contact| !there.contains(&contact.guid()));
        }
        self.join(&[seeds, &contacts].concat()).await
    }

    /// Waits until this node is in. Where none of those it knew is in either, as when all were restarted at once,
    /// somebody has to begin: whoever of those that are there has the lowest Guid does, and a node that finds nobody
    /// does too. It looks for the others as long as it stays alone.
    ///
    /// # Errors
    /// That the node ended, or the overlay was detached.
    pub async fn begin_if_nobody_does(&self, known: &[Contact]) -> Result<(), OverlayError> {
        let me = self.node.guid();
        for wait in BEGIN_AFTER.into_iter().cycle() {
            tokio::time::sleep(wait).await;
            match self.lookup(Key::from(me), 1).await {
                Err(OverlayError::Failed(Failure::Unreachable)) if self.standing == Standing::Member => {}
                Err(OverlayError::Failed(Failure::Detached)) => break,
                Err(OverlayError::NodeEnded) => return Err(OverlayError::NodeEnded),
                _ => return Ok(()),
            }
            let there = self.who_is_there(known, ASKED).await;
            if there.is_empty() || wait == BEGIN_AFTER[1] && there.iter().all(|peer| *peer > me) {
                // Who is told to join again enters, and keeps the seeds.
                return self.join(known).await;
            }
        }
        Err(OverlayError::Failed(Failure::Detached))
    }

    /// Who of these answers soon, as soon as so many do.
    async fn who_is_there(&self, known: &[Contact], enough: usize) -> Vec<Guid> {
        let asked = known.iter().take(ASKED).map(Contact::guid);
        let asked = asked.map(|peer| async move { self.ping(peer).await.is_ok().then_some(peer) });
        let answers = asked.collect::<FuturesUnordered<_>>().filter_map(std::future::ready).take(enough);
        let mut there = Vec::new();
        let mut answers = std::pin::pin!(answers);
        let all = async {
            while let Some(peer) = answers.next().await {
                there.push(peer);
            }
        };
        // Who has not answered by then is not there.
        let _ = tokio::time::timeout(ANSWER_WITHIN, all).await;
        there
    }
}

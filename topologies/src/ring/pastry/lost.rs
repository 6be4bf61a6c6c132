//! Those who fell silent lately. Nobody's word brings them back at once, a node that is alone looks for its way back
//! through them, and now and then one of them is asked again: perhaps it was not a peer that died but a line that broke,
//! and both sides of it have become overlays of their own.

use core::time::Duration;

use polymorph_core::{Guid, Time};

/// Whether a peer may be back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hope {
    /// It said that it left.
    None,
    /// It fell silent.
    Some,
}

#[derive(Debug)]
struct Entry {
    peer: Guid,
    /// When it fell silent.
    since: Time,
    /// How often it will be asked again.
    left: u32,
    /// When it is asked again, and how long after that the next time.
    again: Time,
    wait: Duration,
}

/// The last who fell silent, the latest last.
#[derive(Debug, Default)]
pub(super) struct Lost(Vec<Entry>);

impl Lost {
    /// Somebody does not answer, or left. It is asked again after `wait`, then after twice as long, a few times.
    pub(super) fn note(&mut self, peer: Guid, hope: Hope, now: Time, wait: Duration) {
        self.forget(&peer);
        if self.0.len() == MAX_LOST {
            self.0.remove(0);
        }
        let left = if hope == Hope::Some { TRIES } else { 0 };
        self.0.push(Entry { peer, since: now, left, again: now + wait, wait: 2 * wait });
    }

    /// Somebody gave a sign of life.
    pub(super) fn forget(&mut self, peer: &Guid) {
        self.0.retain(|entry| entry.peer != *peer);
    }

    pub(super) fn contains(&self, peer: &Guid) -> bool {
        self.0.iter().any(|entry| entry.peer == *peer)
    }

    /// Whether somebody fell silent no longer ago than this.
    pub(super) fn is_fresh(&self, peer: &Guid, now: Time, long: Duration) -> bool {
        self.0.iter().any(|entry| entry.peer == *peer && now.since(entry.since) < long)
    }

    /// Everybody, the latest first.
    pub(super) fn latest(&self) -> impl Iterator<Item = &Guid> {
        self.0.iter().rev().map(|entry| &entry.peer)
    }

    /// Who is to be asked again now: one at most, the latest first.
    pub(super) fn again(&mut self, now: Time) -> Option<Guid> {
        let entry = self.0.iter_mut().rev().find(|entry| entry.left > 0 && entry.again <= now)?;
        entry.left -= 1;
        entry.again = now + entry.wait;
        entry.wait *= 2;
        Some(entry.peer)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// How many are remembered: a few leaf sets.
pub(super) const MAX_LOST: usize = 64;
/// How often somebody silent is asked again: a last time when it has been silent for fifteen times the first wait.
const TRIES: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    #[test]
    fn whoever_fell_silent_is_asked_again_ever_more_rarely_and_whoever_left_is_not() {
        let (mut lost, silent, gone) = (Lost::default(), Guid([1; 32]), Guid([2; 32]));
        lost.note(silent, Hope::Some, Time::ZERO, WAIT);
        lost.note(gone, Hope::None, Time::ZERO, WAIT);
        let asked: Vec<u64> = (0..3600).filter(|second| lost.again(Time::from_secs(*second)) == Some(silent)).collect();
        assert_eq!(asked, [60, 180, 420, 900]);
        assert!(lost.contains(&gone) && lost.is_fresh(&gone, Time::from_secs(59), WAIT));
        lost.forget(&silent);
        assert_eq!((lost.len(), lost.latest().next()), (1, Some(&gone)));
    }

    #[test]
    fn no_more_are_remembered_than_a_few_leaf_sets() {
        let mut lost = Lost::default();
        for number in 0..=255 {
            lost.note(Guid([number; 32]), Hope::Some, Time::from_secs(number.into()), WAIT);
        }
        assert_eq!((lost.len(), lost.latest().next()), (MAX_LOST, Some(&Guid([255; 32]))));
    }
}

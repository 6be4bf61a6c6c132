//! The questions a node waits on, and when each is given up.
//!
//! Nearly all are answered, and soon. So asking and answering touch one table only, and there is no timer for each:
//! the table knows a moment before which none is given up, and is looked through when that has come.

use hashbrown::HashMap;

use super::calls::Pending;
use super::hash::Own;
use crate::{Guid, Time};

/// Questions that are not answered yet, by their numbers.
#[derive(Debug)]
pub(super) struct Questions {
    open: HashMap<u32, Pending, Own>,
    /// None is given up before.
    next: Time,
}

impl Questions {
    pub(super) fn new() -> Self {
        Self { open: HashMap::with_hasher(Own), next: Time::MAX }
    }

    pub(super) fn insert(&mut self, id: u32, pending: Pending) {
        self.next = self.next.min(pending.until);
        self.open.insert(id, pending);
    }

    pub(super) fn contains(&self, id: u32) -> bool {
        self.open.contains_key(&id)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Pending> {
        self.open.get_mut(&id)
    }

    pub(super) fn get(&self, id: u32) -> Option<&Pending> {
        self.open.get(&id)
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Pending> {
        let pending = self.open.remove(&id)?;
        if self.open.is_empty() {
            self.next = Time::MAX;
            // Most of the time most nodes ask nothing.
            self.open.shrink_to(0);
        }
        Some(pending)
    }

    /// When to look for [`due`](Self::due) ones.
    pub(super) fn next(&self) -> Option<Time> {
        (self.next < Time::MAX).then_some(self.next)
    }

    /// Those whose time is over, the earliest first.
    pub(super) fn due(&mut self, now: Time) -> Vec<u32> {
        if self.next > now {
            return Vec::new();
        }
        let later = self.open.values().map(|pending| pending.until).filter(|until| *until > now);
        self.next = later.min().unwrap_or(Time::MAX);
        self.sorted(|pending| pending.until <= now)
    }

    /// Those put to `peer`.
    pub(super) fn of(&self, peer: &Guid) -> Vec<u32> {
        self.sorted(|pending| pending.peer == Some(*peer))
    }

    pub(super) fn all(&self) -> Vec<u32> {
        self.sorted(|_| true)
    }

    /// In whatever order: only for what does not depend on it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&u32, &Pending)> {
        self.open.iter()
    }

    /// In an order that does not depend on the table's.
    fn sorted(&self, which: impl Fn(&Pending) -> bool) -> Vec<u32> {
        let mut found: Vec<_> = self.open.iter().filter(|(_, pending)| which(pending)).collect();
        found.sort_unstable_by_key(|(id, pending)| (pending.until, **id));
        found.into_iter().map(|(id, _)| *id).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.open.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::super::calls::Waits;
    use super::*;
    use crate::topology::event::Ticket;

    fn asked(peer: u8, until: u64) -> Pending {
        let waits = Waits::Ping { ticket: Ticket(1) };
        Pending { waits, peer: Some(Guid([peer; 32])), sent: Time::ZERO, until: Time(until) }
    }

    #[test]
    fn questions_are_given_up_in_the_order_of_their_times_and_never_early() {
        let mut questions = Questions::new();
        for (id, until) in [(1, 30), (2, 10), (3, 20), (4, 10)] {
            questions.insert(id, asked(1, until));
        }
        assert_eq!(questions.next(), Some(Time(10)));
        assert_eq!(questions.due(Time(9)), [0; 0]);
        assert_eq!(questions.due(Time(20)), [2, 4, 3]);
        assert_eq!(questions.next(), Some(Time(30)), "only what is not due counts");
    }

    #[test]
    fn when_nothing_waits_nobody_needs_to_be_woken() {
        let mut questions = Questions::new();
        questions.insert(7, asked(1, 10));
        assert!(questions.remove(7).is_some());
        assert!(questions.remove(7).is_none());
        assert_eq!(questions.next(), None);
    }

    #[test]
    fn a_burst_leaves_no_large_table_behind() {
        let mut questions = Questions::new();
        (0..8192).for_each(|id| questions.insert(id, asked(1, 10)));
        let peak = questions.bytes();
        questions.of(&Guid([1; 32])).into_iter().for_each(|id| assert!(questions.remove(id).is_some()));
        assert!(questions.bytes() < peak / 50);
    }
}

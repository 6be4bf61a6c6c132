//! Questions a topology has under way: bounded, each asked once at a time, and those that can wait asked in turn.

use std::collections::VecDeque;

use polymorph_core::Guid;
use polymorph_core::topology::Topology;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::Ticket;

/// What is asked, and what each answer is for.
#[derive(Debug)]
pub(super) struct Calls<M, A> {
    /// Questions under way, and what their answers are for.
    open: Vec<(Ticket, A)>,
    /// Those that wait for their turn.
    waiting: VecDeque<(Guid, M, A)>,
}

impl<M, A: Copy + PartialEq> Calls<M, A> {
    pub(super) fn new() -> Self {
        Self { open: Vec::new(), waiting: VecDeque::new() }
    }

    fn has_room_for(&self, awaited: A) -> bool {
        self.len() < MAX && !self.any(|other| *other == awaited)
    }

    /// Asks at once. Beyond a bound, or if the same answer is awaited, nobody is asked.
    pub(super) fn ask<T: Topology<Message = M>>(
        &mut self,
        to: Guid,
        message: M,
        awaited: A,
        cx: &mut Context<'_, T>,
    ) -> bool {
        let room = self.has_room_for(awaited);
        if room {
            let ticket = cx.call(to, message);
            self.open.push((ticket, awaited));
        }
        room
    }

    /// Asks when there are few questions under way. Whoever dials a hundred peers at once has the sessions of the
    /// first closed by the last, questions and all.
    pub(super) fn ask_in_turn<T: Topology<Message = M>>(
        &mut self,
        to: Guid,
        message: M,
        awaited: A,
        cx: &mut Context<'_, T>,
    ) -> bool {
        if self.open.len() < AT_ONCE {
            return self.ask(to, message, awaited, cx);
        }
        let room = self.has_room_for(awaited);
        if room {
            self.waiting.push_back((to, message, awaited));
        }
        room
    }

    /// Expects an answer that the engine finds out.
    pub(super) fn expect(&mut self, ticket: Ticket, awaited: A) {
        self.open.push((ticket, awaited));
    }

    /// What an answer is for, if it is still wanted. The next question goes out.
    pub(super) fn take<T: Topology<Message = M>>(&mut self, ticket: Ticket, cx: &mut Context<'_, T>) -> Option<A> {
        let index = self.open.iter().position(|(awaited, _)| *awaited == ticket)?;
        let (_, awaited) = self.open.swap_remove(index);
        if self.open.len() < AT_ONCE
            && let Some((to, message, awaited)) = self.waiting.pop_front()
        {
            let ticket = cx.call(to, message);
            self.open.push((ticket, awaited));
        }
        Some(awaited)
    }

    /// How many answers are awaited, questions that wait for their turn included.
    pub(super) fn len(&self) -> usize {
        self.open.len() + self.waiting.len()
    }

    /// Whether such an answer is awaited.
    pub(super) fn any(&self, such: impl Fn(&A) -> bool) -> bool {
        self.open.iter().map(|(_, awaited)| awaited).chain(self.waiting.iter().map(|(.., awaited)| awaited)).any(such)
    }

    /// Wants answers no longer.
    pub(super) fn forget(&mut self, such: impl Fn(&A) -> bool) {
        self.open.retain(|(_, awaited)| !such(awaited));
        self.waiting.retain(|(.., awaited)| !such(awaited));
    }

    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.waiting.clear();
    }
}

/// How many questions may wait or be under way: a newcomer's rows, and its neighborhood.
pub(super) const MAX: usize = 256;
/// How many of those that can wait are under way at once: half of the sessions a node keeps.
const AT_ONCE: usize = 24;

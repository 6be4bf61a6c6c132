//! Questions a topology has under way: bounded, each asked once at a time, and those that can wait asked in turn.

use std::collections::VecDeque;

use polymorph_core::Guid;
use polymorph_core::topology::Topology;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::Ticket;

/// What is asked, and what each question is for.
#[derive(Debug)]
pub(super) struct Calls<M, A> {
    /// Questions under way, and what they are for.
    open: Vec<(Ticket, A)>,
    /// Those that wait for their turn.
    waiting: VecDeque<(Guid, M, A)>,
}

impl<M, A: Copy + PartialEq> Calls<M, A> {
    pub(super) fn new() -> Self {
        Self { open: Vec::new(), waiting: VecDeque::new() }
    }

    fn has_room_for(&self, purpose: A) -> bool {
        self.len() < MAX && !self.any(|other| *other == purpose)
    }

    /// Asks at once. Beyond a bound, or if the same is asked already, nobody is asked.
    pub(super) fn ask<T: Topology<Message = M>>(
        &mut self,
        to: Guid,
        message: M,
        purpose: A,
        cx: &mut Context<'_, T>,
    ) -> bool {
        let room = self.has_room_for(purpose);
        if room {
            let ticket = cx.call(to, message);
            self.open.push((ticket, purpose));
        }
        room
    }

    /// Asks when there are few questions under way. Whoever dials a hundred peers at once has the sessions of the
    /// first closed by the last, questions and all.
    pub(super) fn ask_in_turn<T: Topology<Message = M>>(
        &mut self,
        to: Guid,
        message: M,
        purpose: A,
        cx: &mut Context<'_, T>,
    ) -> bool {
        if self.open.len() < AT_ONCE {
            return self.ask(to, message, purpose, cx);
        }
        let room = self.has_room_for(purpose);
        if room {
            self.waiting.push_back((to, message, purpose));
        }
        room
    }

    /// Expects an answer that the engine finds out.
    pub(super) fn expect(&mut self, ticket: Ticket, purpose: A) {
        self.open.push((ticket, purpose));
    }

    /// What was asked for, if the answer is still wanted. The next question goes out.
    pub(super) fn take<T: Topology<Message = M>>(&mut self, ticket: Ticket, cx: &mut Context<'_, T>) -> Option<A> {
        let index = self.open.iter().position(|(open, _)| *open == ticket)?;
        let (_, purpose) = self.open.swap_remove(index);
        if self.open.len() < AT_ONCE
            && let Some((to, message, purpose)) = self.waiting.pop_front()
        {
            let ticket = cx.call(to, message);
            self.open.push((ticket, purpose));
        }
        Some(purpose)
    }

    /// How many questions are open, those that wait for their turn included.
    pub(super) fn len(&self) -> usize {
        self.open.len() + self.waiting.len()
    }

    /// Whether such a question is open.
    pub(super) fn any(&self, such: impl Fn(&A) -> bool) -> bool {
        self.open.iter().map(|(_, purpose)| purpose).chain(self.waiting.iter().map(|(.., purpose)| purpose)).any(such)
    }

    /// Wants answers no longer.
    pub(super) fn forget(&mut self, such: impl Fn(&A) -> bool) {
        self.open.retain(|(_, purpose)| !such(purpose));
        self.waiting.retain(|(.., purpose)| !such(purpose));
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

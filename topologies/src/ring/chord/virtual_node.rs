//! One virtual node: what it keeps, and how it speaks to others, over wires or inside its own peer.

use bytes::Bytes;
use polymorph_core::overlay::Place;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{CallId, Change, Ticket};
use polymorph_core::{Guid, Time};

use super::super::links::Holds;
use super::name::{Letter, Name};
use super::table::Table;
use super::{Chord, Config, Message};

/// A place on the ring, and the state of whoever stands there.
#[derive(Debug)]
pub(super) struct VirtualNode {
    pub(super) config: Config,
    pub(super) index: u8,
    pub(super) table: Table,
    /// Of several: whether the table changed in this event.
    pub(super) edited: bool,
    pub(super) stage: Stage,
    /// Whom the first virtual node joins through.
    pub(super) seeds: Vec<Guid>,
    /// How often it was tried to join since there was last somebody.
    pub(super) tries: u32,
    /// How often the fingers were looked up.
    pub(super) rounds: u32,
    /// Answers that are still to come, one of each kind.
    pub(super) open: Vec<(Ticket, Purpose)>,
    /// When the predecessor last gave a sign of life.
    pub(super) heard: Time,
    /// Letters to virtual nodes of the same peer, to be taken round when the event is done with.
    pub(super) inside: Vec<(Letter, Kind)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Out,
    /// On its way in, through a seed.
    Joining,
    /// On its way in, through the other virtual nodes of the same peer.
    Following,
    In,
}

/// What a question that is open is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// The owner of this node's position: its successor to be.
    Entry,
    /// The state of the first successor.
    Head,
    /// The state of somebody who stands before it.
    Closer,
    /// A sign of life of the predecessor, whose place somebody else may want.
    Predecessor(Option<Name>),
    /// The owner of a finger's start.
    Finger(u32),
    /// How far somebody is who could be a finger, by the first question or by the second: over a new wire the first one
    /// waits for the wire and measures nothing.
    Near(Name, Question),
    /// A sign of life of somebody whom a successor list passed over.
    Passed(Name),
    /// The same, of whom the one who is said to own a finger's start stands behind.
    Owner {
        /// The finger's.
        exponent: u32,
        /// Who is said to own it.
        said: Name,
        /// Who stands before that one.
        passed: Name,
    },
}

/// Which of two questions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Question {
    First,
    Second,
}

/// What becomes of a letter to a virtual node of the same peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Said,
    Asked(Ticket),
    Answered(Ticket),
}

/// Whom an answer goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Back {
    /// Nobody asked.
    Nobody,
    /// Another peer.
    Peer(CallId),
    /// A virtual node of the same peer.
    Inside(Ticket),
}

impl VirtualNode {
    pub(super) fn new(config: &Config, place: Place, index: u8) -> Self {
        Self {
            config: *config,
            index,
            table: Table::new(place, index, config.successors, config.fingers),
            edited: false,
            stage: Stage::Out,
            seeds: Vec::new(),
            tries: 0,
            rounds: 0,
            open: Vec::new(),
            heard: Time::ZERO,
            inside: Vec::new(),
        }
    }

    pub(super) fn is_in(&self) -> bool {
        self.stage == Stage::In
    }

    pub(super) fn name(&self) -> Name {
        self.table.name()
    }

    // Speaking.

    fn seal(&self, to: u8, message: Message<Name>) -> (Message, Bytes) {
        Letter { from: self.index, to, message }.seal(self.config.virtual_nodes)
    }

    /// Beyond a bound letters get lost, and those who wrote them write again.
    fn keep_inside(&mut self, to: u8, message: Message<Name>, kind: Kind) {
        if self.inside.len() < MAX_INSIDE {
            self.inside.push((Letter { from: self.index, to, message }, kind));
        }
    }

    /// Says something. Whoever cannot be told now finds out by itself.
    pub(super) fn say(&mut self, to: Name, message: Message<Name>, cx: &mut Context<'_, Chord>) {
        if to.guid == cx.me() {
            return self.keep_inside(to.index, message, Kind::Said);
        }
        let (message, beside) = self.seal(to.index, message);
        let _ = cx.send_with(to.guid, message, beside);
    }

    /// Asks something.
    pub(super) fn ask(&mut self, to: Name, message: Message<Name>, purpose: Purpose, cx: &mut Context<'_, Chord>) {
        let ticket = if to.guid == cx.me() {
            let ticket = cx.host().ticket();
            self.keep_inside(to.index, message, Kind::Asked(ticket));
            ticket
        } else {
            let (message, beside) = self.seal(to.index, message);
            cx.call_with(to.guid, message, beside)
        };
        self.expect(ticket, purpose);
    }

    pub(super) fn answer(&mut self, to: Name, back: Back, message: Message<Name>, cx: &mut Context<'_, Chord>) {
        match back {
            Back::Nobody => {}
            Back::Inside(ticket) => self.keep_inside(to.index, message, Kind::Answered(ticket)),
            Back::Peer(call) => {
                let (message, beside) = self.seal(to.index, message);
                cx.reply_with(call, message, beside);
            }
        }
    }

    // Bookkeeping.

    /// An answer will come. Of each kind only the last one counts, but for those of whom several are asked at once.
    pub(super) fn expect(&mut self, ticket: Ticket, purpose: Purpose) {
        let kind = core::mem::discriminant(&purpose);
        if !matches!(purpose, Purpose::Near(..) | Purpose::Passed(_)) {
            self.open.retain(|(_, other)| core::mem::discriminant(other) != kind);
        }
        self.open.reserve_exact(1);
        self.open.push((ticket, purpose));
    }

    /// What it waits for under that ticket.
    pub(super) fn purpose_of(&self, ticket: Ticket) -> Option<Purpose> {
        self.open.iter().find(|(open, _)| *open == ticket).map(|(_, what)| *what)
    }

    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Purpose> {
        let index = self.open.iter().position(|(open, _)| *open == ticket)?;
        Some(self.open.swap_remove(index).1)
    }

    /// Changes the table, then the links, and says what changed. Of several virtual nodes the peer holds the links, for
    /// all of them together. Most changes change nothing, and what links to hold is worked out for the others only.
    pub(super) fn edit<R>(&mut self, cx: &mut Context<'_, Chord>, change: impl FnOnce(&mut Table) -> R) -> R {
        let predecessor = self.table.predecessor();
        let before = self.table.neighbors();
        let result = change(&mut self.table);
        let after = self.table.neighbors();
        if before != after {
            if self.config.virtual_nodes == 1 {
                Holds::of(&before).become_of(&after, cx);
            } else {
                self.edited = true;
            }
        }
        if predecessor != self.table.predecessor() {
            cx.change(Change::Range);
        }
        result
    }
}

/// How many letters inside a peer a virtual node writes before they are taken round: it answers a question of each of a
/// hundred others, and asks for itself of each kind and of those whom it measures.
const MAX_INSIDE: usize = 128;

//! Questions to one peer, and what happens when no answer comes.

use core::time::Duration;

use bytes::Bytes;

use super::desk::Desk;
use super::io::{Failure, Outcome, Output};
use super::records::Answered;
use super::rtt::Rtt;
use super::turn::Todo;
use crate::topology::Topology;
use crate::topology::context::Host as _;
use crate::topology::event::{Event, Ticket};
use crate::topology::question::Lane;
use crate::wire::frame::{Answer, Body};
use crate::{Guid, Key, Time};

/// How long a topology may take for the answer to its own application.
const ASK_WITHIN: Duration = Duration::from_secs(60);

/// Who waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waits {
    /// The topology.
    Call { ticket: Ticket, lane: Lane },
    /// An iterative lookup.
    Find { lookup: u32 },
    /// A recursive lookup.
    Way { lookup: u32 },
    /// The application, for a response.
    Request { ticket: Ticket },
    /// The application, for a round trip.
    Ping { ticket: Ticket },
    /// The application, for the answer of this node's own topology.
    Ask { ticket: Ticket },
    /// A record being stored or fetched.
    Record { operation: u32 },
    /// Records, from whoever on the way knows them.
    Seek { operation: u32 },
    /// What is kept here, told to a peer.
    Offer { offer: u32 },
    /// A record that a peer should keep from now on.
    Handed { key: Key },
    /// The previous hop of a routed question, under its own number.
    Hop { peer: Guid, id: u32 },
}

/// The kinds of answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Reply,
    Next,
    Way,
    Response,
    Record,
    Holding,
    Pong,
}

impl Waits {
    /// Whether such an answer belongs to the question.
    fn takes(self, kind: Kind) -> bool {
        match self {
            Self::Call { .. } => kind == Kind::Reply,
            Self::Find { .. } => kind == Kind::Next,
            Self::Way { .. } | Self::Hop { .. } | Self::Seek { .. } => kind == Kind::Way,
            // Straight, or along a route.
            Self::Request { .. } => kind == Kind::Response || kind == Kind::Way,
            Self::Ping { .. } => kind == Kind::Pong,
            Self::Record { .. } | Self::Handed { .. } => kind == Kind::Record,
            Self::Offer { .. } => kind == Kind::Holding,
            Self::Ask { .. } => false,
        }
    }
}

/// A question that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) waits: Waits,
    /// Whom it was put to; `None` if the answer may come from anybody.
    pub(super) peer: Option<Guid>,
    pub(super) sent: Time,
    /// When it is given up.
    pub(super) until: Time,
}

impl<T: Topology> Desk<'_, T> {
    /// Puts a question to a peer. If it cannot be sent, whoever waits is told as if no answer had come.
    pub(super) fn ask(
        &mut self,
        to: Guid,
        waits: Waits,
        timeout: Option<Duration>,
        payload: Bytes,
        body: impl FnOnce(u32) -> Body<T>,
    ) {
        let id = self.state.next_id();
        let timeout = timeout.unwrap_or_else(|| self.timeout(&to));
        if self.wait(id, waits, Some(to), timeout) && self.send(to, body(id), payload).is_err() {
            self.unanswered(id, Failure::TooMany);
        }
    }

    /// Makes room for an answer. Whoever waits is told at once if there is none.
    pub(super) fn wait(&mut self, id: u32, waits: Waits, peer: Option<Guid>, timeout: Duration) -> bool {
        let until = self.now + timeout;
        self.state.questions.insert(id, Pending { waits, peer, sent: self.now, until });
        if self.state.questions.len() > self.state.settings.pending {
            self.unanswered(id, Failure::TooMany);
            return false;
        }
        true
    }

    /// How long a peer may take, from what was measured; the dial comes on top where there is no session.
    pub(super) fn timeout(&self, to: &Guid) -> Duration {
        let slot = self.slot();
        let rto = self.node.peers.rtt(to).map_or(super::rtt::INITIAL_RTO, Rtt::timeout);
        if self.node.peers.get(to).is_some_and(|p| p.carries(slot)) {
            rto
        } else {
            rto + self.node.settings.dial_timeout
        }
    }

    /// Takes the question an answer belongs to, if `from` was asked it. What this node finds out by itself needs not
    /// come from whom it asked.
    pub(super) fn answered(&mut self, id: u32, from: &Guid, kind: Kind) -> Option<Waits> {
        let pending = *self.state.questions.get(id)?;
        if pending.peer.is_some_and(|peer| peer != *from) && *from != self.node.me {
            return None;
        }
        if !pending.waits.takes(kind) {
            // The question waits on, or whoever asked it would wait for ever.
            self.blame(*from, "an answer to something else than was asked");
            return None;
        }
        self.forget(id);
        // A round trip through nobody else but the peer's engine: measured.
        if !matches!(
            pending.waits,
            Waits::Way { .. } | Waits::Hop { .. } | Waits::Seek { .. } | Waits::Request { .. } | Waits::Ask { .. }
        ) && let Some(peer) = self.node.peers.get_mut(from)
            && pending.sent >= peer.since()
        {
            peer.rtt.sample(self.now.since(pending.sent));
            self.tell_facts(*from);
        }
        if let Waits::Ping { ticket } = pending.waits {
            self.done(ticket, Outcome::Pong(self.now.since(pending.sent)));
        }
        Some(pending.waits)
    }

    /// Tells whoever has to do with a peer that its round-trip time was measured, or became another.
    fn tell_facts(&mut self, from: Guid) {
        let slot = self.slot();
        let Some(peer) = self.node.peers.get_mut(&from) else { return };
        let Some(rtt) = peer.rtt.micros() else { return };
        let lanes = peer.overlay(slot).map_or(0, |o| o.required | o.cached | o.theirs) & self.state.lanes;
        let (two, three) = (u64::from(rtt) * 2, u64::from(peer.told_rtt) * 3);
        if two <= three && u64::from(rtt) * 3 >= u64::from(peer.told_rtt) * 2 || lanes == 0 {
            return;
        }
        peer.told_rtt = rtt;
        let facts = self.facts(&from);
        super::peers::lanes(lanes).for_each(|lane| self.tell(lane, Event::Facts { peer: from, facts }));
    }

    /// No answer came: time ran out, the link broke, or nothing was sent.
    pub(super) fn unanswered(&mut self, id: u32, why: Failure) {
        let Some(Pending { waits, peer, .. }) = self.forget(id) else { return };
        if why == Failure::Timeout {
            self.state.metrics.timeouts += 1;
            if let Some(rtt) = peer.and_then(|p| self.node.peers.rtt_mut(&p)) {
                rtt.timed_out();
            }
        }
        let slot = self.slot();
        match waits {
            Waits::Call { ticket, lane } => {
                let peer = peer.unwrap_or(self.node.me);
                self.tell(lane, Event::Failed { ticket, peer });
            }
            Waits::Find { lookup } | Waits::Way { lookup } => {
                self.ws.todo.push_back(Todo::Step { slot, lookup, answer: None, from: peer });
            }
            Waits::Request { ticket } | Waits::Ping { ticket } | Waits::Ask { ticket } => {
                self.done(ticket, Outcome::Failed(why));
            }
            Waits::Record { operation } => {
                self.record_step(operation, peer.unwrap_or(self.node.me), Answered::Nothing);
            }
            Waits::Seek { operation } => self.sought_on_the_way(operation, self.node.me, None),
            Waits::Offer { offer } => self.offer_failed(offer, peer),
            Waits::Handed { key } => self.handed(peer.unwrap_or(self.node.me), key, None),
            Waits::Hop { peer, id } => {
                if why != Failure::Timeout {
                    let body = Body::Answer { id, hops: 0, answer: Answer::Unreachable };
                    self.send_or_drop(peer, body, Bytes::new());
                }
            }
        }
    }

    /// A peer is gone: nothing will be answered by it.
    pub(super) fn unanswered_by(&mut self, peer: &Guid) {
        for id in self.state.questions.of(peer) {
            self.unanswered(id, Failure::PeerGone);
        }
    }

    /// A peer hung up, and may never have read what was on its way: what can be asked again without harm is.
    pub(super) fn unheard_by(&mut self, peer: &Guid) {
        let slot = self.slot();
        for id in self.state.questions.of(peer) {
            if let Some(&Pending { waits: Waits::Find { lookup }, .. }) = self.state.questions.get(id)
                && self.state.lookups.get_mut(&lookup).is_some_and(|lookup| lookup.asks_again(peer))
            {
                self.forget(id);
                self.ws.todo.push_back(Todo::Step { slot, lookup, answer: None, from: None });
            } else if !self.replica_hung_up(id, peer) {
                self.unanswered(id, Failure::PeerGone);
            }
        }
    }

    /// Waits no longer.
    pub(super) fn forget(&mut self, id: u32) -> Option<Pending> {
        let pending = self.state.questions.remove(id)?;
        match pending.waits {
            Waits::Hop { peer, .. } => self.way_ended(&peer),
            Waits::Ask { ticket } => drop(self.state.asks.remove(&ticket)),
            _ => {}
        }
        Some(pending)
    }

    /// The application asks this node's topology.
    pub(super) fn ask_topology(&mut self, ticket: Ticket, command: Bytes) {
        let id = self.state.next_id();
        let me = self.node.me;
        self.state.asks.insert(ticket, id);
        if self.wait(id, Waits::Ask { ticket }, Some(me), ASK_WITHIN) {
            self.tell(Lane::TOP, Event::Command { ticket, command });
        }
    }

    /// The topology answers, if somebody still waits for it.
    pub(super) fn topology_answers(&mut self, ticket: Ticket, answer: Bytes) {
        if let Some(&id) = self.state.asks.get(&ticket) {
            self.forget(id);
            self.done(ticket, Outcome::Answer(answer));
        }
    }

    pub(super) fn done(&mut self, ticket: Ticket, outcome: Outcome) {
        let slot = self.slot();
        self.ws.out.push(Output::Done { slot, ticket, outcome });
    }
}

//! The ring inside: what it is told, and how it speaks.

use polymorph_core::overlay::Place;
use polymorph_core::topology::context::{Action, Busy, Context, Host, Rng};
use polymorph_core::topology::event::{Change, Event, Facts, Ticket, Via};
use polymorph_core::topology::question::{Lane, Target};
use polymorph_core::topology::{Below, Topology as _};
use polymorph_core::{Guid, Time};

use super::{Message, Symphony, Timer};
use crate::ring::chord::Chord;

/// What concerns the ring of what happened.
pub(super) fn event(event: &Event<Symphony>) -> Option<Event<Chord>> {
    Some(match event {
        Event::Join { seeds } => Event::Join { seeds: seeds.clone() },
        Event::Known { peers } => Event::Known { peers: peers.clone() },
        Event::Leave => Event::Leave,
        Event::Message { from, message: Message::Ring(message), payload, via } => {
            let via = match via {
                Via::Direct => Via::Direct,
                Via::Call(call) => Via::Call(*call),
                Via::Route { .. } => return None,
            };
            Event::Message { from: *from, message: message.clone(), payload: payload.clone(), via }
        }
        Event::Reply { ticket, from, message: Message::Ring(message), payload } => {
            Event::Reply { ticket: *ticket, from: *from, message: message.clone(), payload: payload.clone() }
        }
        &Event::Failed { ticket, peer } => Event::Failed { ticket, peer },
        Event::Found { ticket, owner, peers } => Event::Found { ticket: *ticket, owner: *owner, peers: peers.clone() },
        Event::Timer(Timer::Ring(timer)) => Event::Timer(*timer),
        &Event::PeerDown { peer, why } => Event::PeerDown { peer, why },
        &Event::DialFailed { peer } => Event::DialFailed { peer },
        _ => return None,
    })
}

/// Tells the ring.
pub(super) fn handle(ring: &mut Chord, event: Event<Chord>, cx: &mut Context<'_, Symphony>) {
    ring.handle(event, &mut Context::new(&mut Inside(cx.host()), Lane::default()));
}

/// The ring's host: the outer one's, in the outer one's words.
struct Inside<'a>(&'a mut dyn Host<Symphony>);

impl Host<Chord> for Inside<'_> {
    fn place(&self) -> Place {
        self.0.place()
    }
    fn now(&self) -> Time {
        self.0.now()
    }
    fn rng(&mut self) -> &mut Rng {
        self.0.rng()
    }
    fn ticket(&mut self) -> Ticket {
        self.0.ticket()
    }
    fn act(&mut self, lane: Lane, action: Action<Chord>) -> Result<(), Busy> {
        match lift(action) {
            Some(action) => self.0.act(lane, action),
            None => Ok(()),
        }
    }
    fn linked(&self, peer: &Guid) -> bool {
        self.0.linked(peer)
    }
    fn facts(&self, peer: &Guid) -> Facts {
        self.0.facts(peer)
    }
    fn below(&self) -> Option<&dyn Below> {
        None
    }
}

fn target(to: Target<Chord>) -> Target<Symphony> {
    match to {
        Target::Key(key) => Target::Key(key),
        Target::Address(key) => Target::Address(key),
    }
}

/// What the ring wants, in the outer one's words. Whom the ring lets go may be a long link: links are let go by the
/// outer one, which knows both.
fn lift(action: Action<Chord>) -> Option<Action<Symphony>> {
    Some(match action {
        Action::Send { to, message, payload } => Action::Send { to, message: Message::Ring(message), payload },
        Action::Call { ticket, to, message, payload } => {
            Action::Call { ticket, to, message: Message::Ring(message), payload }
        }
        Action::Reply { to, message, payload } => Action::Reply { to, message: Message::Ring(message), payload },
        Action::Want { peer, hold } => Action::Want { peer, hold },
        Action::Set { timer, after: span } => Action::Set { timer: Timer::Ring(timer), after: span },
        Action::Cancel { timer } => Action::Cancel { timer: Timer::Ring(timer) },
        Action::Route { to, message, payload } => {
            Action::Route { to: target(to), message: Message::Ring(message), payload }
        }
        Action::Lookup { ticket, to, n, via } => Action::Lookup { ticket, to: target(to), n, via },
        Action::Broadcast { topic, payload } => Action::Broadcast { topic, payload },
        Action::Resend { id, to } => Action::Resend { id, to },
        Action::Deliver { from, payload } => Action::Deliver { from, payload },
        Action::Answer { ticket, answer } => Action::Answer { ticket, answer },
        Action::Unwant { .. } | Action::Change(Change::NeighborUp(_) | Change::NeighborDown(_)) => return None,
        Action::Change(change) => Action::Change(change),
        Action::Notice(line) => Action::Notice(line),
        Action::Blame { peer, why } => Action::Blame { peer, why },
        Action::Doubt { why } => Action::Doubt { why },
    })
}

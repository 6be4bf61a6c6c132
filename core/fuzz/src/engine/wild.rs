//! A topology that does something at every turn, chosen by what it is told: an engine must stand it.

use core::time::Duration;

use bytes::Bytes;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Change, Event, Via};
use polymorph_core::topology::question::{CopyId, Hold, Pass, Powers, Query, Route, Spread, Target, Transit, Verdict};
use polymorph_core::{Distance, Guid, Key, Topology};
use serde::{Deserialize, Serialize};

/// How often one thing leads to another at most: a topology that talks to itself without end is its author's mistake.
const MAX_ECHO: u8 = 3;

/// What wild ones say to each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Say {
    Do { what: u8, echo: u8 },
    Peers(Vec<Guid>),
    Bytes(Bytes),
}

pub(crate) struct Wild {
    /// Everybody it may turn to, itself included.
    everybody: Vec<Guid>,
    /// Counts what happened, so that the same word does not mean the same thing twice.
    turns: u8,
    copies: Vec<CopyId>,
    powers: Powers,
}

impl Wild {
    pub(crate) fn new(everybody: Vec<Guid>, kind: u8) -> Self {
        let has = |bit: u8| kind >> bit & 1 == 0;
        let powers = Powers {
            routes: has(0),
            spreads: has(1),
            intercepts: !has(2),
            hears: !has(3),
            assigned: !has(4),
            degree: 2,
        };
        Self { everybody, turns: 0, copies: Vec::new(), powers }
    }

    fn someone(&self, what: u8) -> Guid {
        self.everybody[usize::from(what) % self.everybody.len()]
    }

    fn target(&self, what: u8) -> Target<Self> {
        if what.is_multiple_of(3) { Target::Address(what.into()) } else { Target::Key(Key([what; 32])) }
    }

    fn act(&mut self, what: u8, echo: u8, cx: &mut Context<'_, Self>) {
        self.turns = self.turns.wrapping_add(1);
        let what = what.wrapping_add(self.turns);
        let (peer, say) = (self.someone(what / 16), Say::Do { what: what.rotate_left(3), echo });
        let to = self.target(what / 16);
        match what % 16 {
            0 => drop(cx.send(peer, say)),
            1 => drop(cx.send_with(peer, Say::Peers(self.everybody.clone()), Bytes::from(vec![what; 700]))),
            2 => drop(cx.call(peer, say)),
            3 => cx.want(peer, Hold::Required),
            4 => cx.want(peer, Hold::Cached),
            5 => cx.unwant(peer),
            6 => cx.set(what / 32, Duration::from_millis(u64::from(what) * 40)),
            7 => cx.cancel(what / 32),
            8 => cx.route(to, say),
            9 => drop(cx.lookup(to, usize::from(what % 9))),
            10 => drop(cx.lookup_via(peer, to, 3)),
            11 => cx.broadcast((what & 32 == 0).then_some(Key([what / 64; 32])), Bytes::from(vec![what; 300])),
            12 => {
                if let Some(&id) = self.copies.get(usize::from(what / 16)) {
                    cx.resend(id, peer);
                }
            }
            13 => cx.deliver(peer, Bytes::from_static(b"delivered")),
            14 => cx.change(if what & 16 == 0 { Change::Range } else { Change::Addresses }),
            _ => cx.blame(peer, "it is wild"),
        }
    }
}

impl Topology for Wild {
    type Address = u32;
    type Message = Say;
    type Timer = u8;

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Message { message: Say::Do { what, echo }, via, .. } => {
                let echo = echo.min(MAX_ECHO);
                if let Via::Call(call) = via
                    && what % 4 != 0
                {
                    cx.reply(call, Say::Do { what, echo: 0 });
                }
                if echo > 0 {
                    self.act(what, echo - 1, cx);
                }
            }
            Event::Command { ticket, command } => {
                command.iter().take(8).for_each(|&what| self.act(what, MAX_ECHO, cx));
                cx.answer(ticket, command);
            }
            Event::Timer(what) => self.act(what.wrapping_mul(7), 1, cx),
            Event::PeerUp { .. } | Event::PeerDown { .. } | Event::DialFailed { .. } | Event::Join { .. } => {
                self.act(0, 1, cx);
            }
            Event::Copy { id, first: true, .. } => {
                self.copies.truncate(15);
                self.copies.insert(0, id);
            }
            _ => {}
        }
    }

    fn powers(&self) -> Powers {
        self.powers
    }

    fn transit(&mut self, transit: &mut Transit<'_, Self>, cx: &mut Context<'_, Self>) -> Pass {
        let Say::Do { what, .. } = *transit.message else { return Pass::On };
        self.act(what, 0, cx);
        if what % 3 == 0 { Pass::Absorb } else { Pass::On }
    }

    fn addresses(&self) -> Vec<u32> {
        if self.powers.assigned { vec![self.turns.into()] } else { Vec::new() }
    }

    fn admits(&self, _: Guid, address: &u32, _: &[u8]) -> bool {
        address % 5 != 4
    }

    fn route(&self, query: &Query<'_, Self>, route: &mut Route) {
        let what = match query.to {
            Target::Key(key) => key.0[0],
            Target::Address(address) => *address as u8,
        };
        route.verdict = match what % 4 {
            0 => Verdict::Unreachable,
            1 => Verdict::Deliver { rank: what / 128 },
            _ => Verdict::Forward,
        };
        route.peers.extend((0..query.n as u8 % 9).map(|at| self.someone(what.wrapping_add(at))));
    }

    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>) {
        let count = usize::from(spread.id.0[0]) % self.everybody.len();
        to.extend(&self.everybody[..count]);
    }

    fn breadth(&self) -> usize {
        3
    }

    fn distance(&self, to: &Target<Self>, peer: Guid) -> Distance {
        match to {
            Target::Key(key) => key.xor(&Key::from(peer)),
            Target::Address(_) => Distance::MAX,
        }
    }
}

//! A topology that does what a test tells it and writes down what it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Down, Event, Ticket, Via};
use polymorph_core::topology::question::{CopyId, Powers, Query, Route, Spread, Target};
use polymorph_core::{Distance, Guid, Key, Topology};
use serde::{Deserialize, Serialize};

/// What puppets say to each other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Say {
    Note(u32),
    Ask(u32),
    Answer(u32),
    Peers(Vec<Guid>),
}

/// What a puppet was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    Join(Vec<Guid>),
    Known(Vec<Guid>),
    Leave,
    Up(Guid),
    Down(Guid, Down),
    DialFailed(Guid),
    Message { from: Guid, say: Say, payload: Bytes, routed: Option<u8> },
    Reply(Ticket, Say),
    Failed(Ticket, Guid),
    Found { ticket: Ticket, owner: Option<Guid>, peers: Vec<Guid> },
    Timer(u32),
    Copy { id: CopyId, from: Option<Guid>, first: bool },
    Writable(Guid),
    Addresses(Guid, Vec<u32>),
}

type Job = Box<dyn FnOnce(&mut Context<'_, Puppet>) + Send>;
type Hook = Box<dyn FnMut(&Event<Puppet>, &mut Context<'_, Puppet>) + Send>;

type Router = Box<dyn Fn(&Query<'_, Puppet>, &mut Route) + Send>;
type Spreader = Box<dyn Fn(&Spread, &mut Vec<Guid>) + Send>;
type Doorkeeper = Box<dyn Fn(Guid, u32, &[u8]) -> bool + Send>;

/// What a test decides for a puppet.
pub(crate) struct Script {
    pub(crate) powers: Powers,
    pub(crate) breadth: usize,
    pub(crate) route: Router,
    pub(crate) spread: Spreader,
    pub(crate) admits: Doorkeeper,
    pub(crate) addresses: Vec<u32>,
    pub(crate) proof: Bytes,
    /// Whether calls are answered.
    pub(crate) answers: bool,
    /// Sees every event before anything else is done about it.
    pub(crate) hook: Option<Hook>,
    pub(crate) seen: Vec<Seen>,
    jobs: VecDeque<Job>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            powers: Powers { routes: true, spreads: true, degree: 2, ..Powers::default() },
            breadth: 1,
            route: Box::new(|_, _| {}),
            spread: Box::new(|_, _| {}),
            admits: Box::new(|_, _, _| true),
            addresses: Vec::new(),
            proof: Bytes::new(),
            answers: true,
            hook: None,
            seen: Vec::new(),
            jobs: VecDeque::new(),
        }
    }
}

/// A test's hold on a puppet.
#[derive(Clone, Default)]
pub(crate) struct Strings(Arc<Mutex<Script>>);

impl Strings {
    pub(crate) fn pull(&self) -> MutexGuard<'_, Script> {
        self.0.lock().expect("no test panicked with it")
    }

    /// To be done when the puppet is next asked something.
    pub(crate) fn later(&self, job: impl FnOnce(&mut Context<'_, Puppet>) + Send + 'static) {
        self.pull().jobs.push_back(Box::new(job));
    }

    /// What was seen since this was last asked.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.pull().seen)
    }
}

pub(crate) struct Puppet {
    strings: Strings,
}

impl Puppet {
    pub(crate) fn new(strings: &Strings) -> Self {
        Self { strings: strings.clone() }
    }
}

fn seen(event: &Event<Puppet>) -> Option<Seen> {
    Some(match event {
        Event::Join { seeds } => Seen::Join(seeds.clone()),
        Event::Known { peers } => Seen::Known(peers.clone()),
        Event::Leave => Seen::Leave,
        Event::PeerUp { peer } => Seen::Up(*peer),
        Event::PeerDown { peer, why } => Seen::Down(*peer, *why),
        Event::DialFailed { peer } => Seen::DialFailed(*peer),
        Event::Message { from, message, payload, via } => {
            let routed = if let Via::Route { hops, .. } = via { Some(*hops) } else { None };
            Seen::Message { from: *from, say: message.clone(), payload: payload.clone(), routed }
        }
        Event::Reply { ticket, message, .. } => Seen::Reply(*ticket, message.clone()),
        Event::Failed { ticket, peer } => Seen::Failed(*ticket, *peer),
        Event::Found { ticket, owner, peers } => Seen::Found { ticket: *ticket, owner: *owner, peers: peers.clone() },
        Event::Timer(timer) => Seen::Timer(*timer),
        Event::Copy { id, from, first, .. } => Seen::Copy { id: *id, from: *from, first: *first },
        Event::Writable { peer } => Seen::Writable(*peer),
        Event::Addresses { peer, addresses } => Seen::Addresses(*peer, addresses.clone()),
        _ => return None,
    })
}

impl Topology for Puppet {
    type Address = u32;
    type Message = Say;
    type Timer = u32;

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        let hook = self.strings.pull().hook.take();
        if let Some(mut hook) = hook {
            hook(&event, cx);
            self.strings.pull().hook.get_or_insert(hook);
        }
        self.strings.pull().seen.extend(seen(&event));
        match event {
            Event::Message { message: Say::Ask(number), via: Via::Call(call), .. } if self.strings.pull().answers => {
                cx.reply(call, Say::Answer(number));
            }
            Event::Command { ticket, command } if command.is_empty() => {
                let jobs = std::mem::take(&mut self.strings.pull().jobs);
                jobs.into_iter().for_each(|job| job(cx));
                cx.answer(ticket, Bytes::new());
            }
            _ => {}
        }
    }

    fn powers(&self) -> Powers {
        self.strings.pull().powers
    }

    fn addresses(&self) -> Vec<u32> {
        self.strings.pull().addresses.clone()
    }

    fn admits(&self, guid: Guid, address: &u32, proof: &[u8]) -> bool {
        (self.strings.pull().admits)(guid, *address, proof)
    }

    fn proof(&self) -> Bytes {
        self.strings.pull().proof.clone()
    }

    fn route(&self, query: &Query<'_, Self>, route: &mut Route) {
        (self.strings.pull().route)(query, route);
    }

    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>) {
        (self.strings.pull().spread)(spread, to);
    }

    fn breadth(&self) -> usize {
        self.strings.pull().breadth
    }

    fn distance(&self, to: &Target<Self>, peer: Guid) -> Distance {
        match to {
            Target::Key(key) => key.xor(&Key::from(peer)),
            Target::Address(_) => Distance::MAX,
        }
    }
}

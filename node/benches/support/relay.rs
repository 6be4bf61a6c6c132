//! Engines wired to each other in memory, on a topology that forwards everything: the engine and nothing else.

use std::sync::Arc;

use bytes::Bytes;
use polymorph::core::engine::io::{Class, ConnId, Dialer};
use polymorph::core::engine::{Attach, Command, Contacts, Engine, Input, Output, Slot, Workspace, settings};
use polymorph::core::topology::context::Context;
use polymorph::core::topology::erased::Boxed;
use polymorph::core::topology::event::Event;
use polymorph::core::topology::question::{Hold, Neighbor, Powers, Query, Role, Route, Spread, Verdict};
use polymorph::core::wire::{Body, Frame};
use polymorph::core::{Admission, Ed25519, OverlayName, Standing, Time, Topology};
use polymorph::{Contact, Guid, Identity};

/// Forwards everything to the peer it linked to last, or else to those before it, and spreads to everybody.
struct Relay(Vec<Guid>);

impl Topology for Relay {
    type Address = ();
    type Message = ();
    type Timer = ();

    fn powers(&self) -> Powers {
        Powers { routes: true, spreads: true, ..Powers::default() }
    }

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Join { seeds } => seeds.into_iter().for_each(|peer| cx.want(peer, Hold::Required)),
            Event::PeerUp { peer } => self.0.push(peer),
            _ => {}
        }
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        self.0.iter().map(|&peer| Neighbor { peer, role: Role::Peer, hold: Hold::Required }).collect()
    }

    fn route(&self, query: &Query<'_, Self>, route: &mut Route) {
        let ranked = self.0.iter().rev().filter(|peer| Some(**peer) != query.from && query.allows(peer));
        route.peers.extend(ranked.take(query.n));
        if !route.peers.is_empty() {
            route.verdict = Verdict::Forward;
        }
    }

    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>) {
        to.extend(self.0.iter().filter(|peer| Some(**peer) != spread.from));
    }
}

/// An engine and what it is lent.
pub(crate) struct Lone {
    contact: Contact,
    pub(crate) engine: Engine<Boxed>,
    pub(crate) ws: Workspace<Boxed>,
}

/// The moment everything happens at: the engine asks for no other.
pub(crate) const NOW: Time = Time::from_secs(1_800_000_000);
/// The only overlay of each engine.
pub(crate) const SLOT: Slot = Slot(0);

impl Lone {
    pub(crate) fn new() -> Self {
        let identity = Identity::generate();
        let contact = Contact::sign(&identity, &[], 1, Time::MAX);
        let mut ws = Workspace::new(Box::new(Contacts::new(Arc::new(Ed25519), 1)));
        let node = settings::Node { connections: 256, ..settings::Node::default() };
        let mut engine = Engine::new(Arc::new(node), Arc::new(identity), Arc::new(Ed25519), [1; 32]);
        let attach = Attach {
            name: OverlayName::new("bench", Admission::Open).expect("a name"),
            topology: Boxed::new(Relay(Vec::new())),
            standing: Standing::Member,
            grant: None,
            settings: Arc::default(),
            epoch: 0,
        };
        engine.attach(NOW, attach, &mut ws).expect("it attaches");
        Self { contact, engine, ws }
    }

    pub(crate) fn guid(&self) -> Guid {
        self.engine.me()
    }

    pub(crate) fn input(&mut self, input: Input<Boxed>) {
        self.engine.handle(NOW, input, &mut self.ws);
    }

    pub(crate) fn command(&mut self, command: Command<Boxed>) {
        self.input(Input::Command(SLOT, command));
    }

    /// What it wants sent.
    pub(crate) fn sent(&mut self) -> impl Iterator<Item = (Guid, Frame<Boxed>)> {
        self.ws.out.drain(..).filter_map(|output| match output {
            Output::Send { peer, frame, .. } => Some((peer, frame)),
            _ => None,
        })
    }

    /// The wire to `peer` took `bytes`, and the peer took them in.
    pub(crate) fn taken(&mut self, peer: Guid, conn: ConnId, bytes: u32) {
        self.input(Input::Drained { peer, conn, bytes });
        for class in [Class::Message, Class::Bulk] {
            let (tag, body) = (1 << 8, Body::Credit { class, bytes });
            let frame = Frame { tag, contacts: Vec::new(), body, payload: Bytes::new() };
            self.input(Input::Frame { peer, conn, frame });
        }
    }
}

/// Opens a session between two engines, over the wire `conn`.
pub(crate) fn link(one: &mut Lone, two: &mut Lone, conn: ConnId) {
    let (first, second) = (one.guid(), two.guid());
    one.command(Command::Join { seeds: vec![two.contact.clone()] });
    one.input(Input::Connected { peer: second, conn, dialer: Dialer::Me, exporter: [7; 32] });
    two.input(Input::Connected { peer: first, conn, dialer: Dialer::Peer, exporter: [7; 32] });
    loop {
        let there: Vec<_> = one.sent().filter(|(peer, _)| *peer == second).collect();
        there.into_iter().for_each(|(_, frame)| two.input(Input::Frame { peer: first, conn, frame }));
        let back: Vec<_> = two.sent().filter(|(peer, _)| *peer == first).collect();
        if back.is_empty() {
            return;
        }
        back.into_iter().for_each(|(_, frame)| one.input(Input::Frame { peer: second, conn, frame }));
    }
}

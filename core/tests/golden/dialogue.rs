//! Two engines that get to know each other: the only place where proofs and names of broadcasts come about.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use polymorph_core::engine::io::{Attach, Command, ConnId, Dialer, Input, Origin, Output, To, Urgency};
use polymorph_core::engine::{Contacts, Engine, Slot, Workspace, settings};
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Event, Ticket};
use polymorph_core::topology::question::{Powers, Spread};
use polymorph_core::wire::{self, Frame};
use polymorph_core::{Admission, Ed25519, Guid, Identity, OverlayName, Standing, Time, Topology};
use serde::{Deserialize, Serialize};

/// What toys say to each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Say {
    Nothing,
    Note(u32),
    Peers(Vec<Guid>),
}

/// A topology that spreads to one peer and knows nothing else.
pub(crate) struct Toy {
    other: Guid,
}

impl Topology for Toy {
    type Address = u32;
    type Message = Say;
    type Timer = ();

    fn handle(&mut self, _: Event<Self>, _: &mut Context<'_, Self>) {}

    fn powers(&self) -> Powers {
        Powers { spreads: true, ..Powers::default() }
    }

    fn spread(&self, _: &Spread, to: &mut Vec<Guid>) {
        to.push(self.other);
    }
}

const NOW: Time = Time::from_secs(1_000_000);

struct End {
    name: &'static str,
    engine: Engine<Toy>,
    ws: Workspace<Toy>,
}

/// What two nodes say to each other on one connection, each frame with its length, named in its order.
pub(crate) fn spoken() -> Vec<(String, Bytes)> {
    let identities = [1, 2].map(|seed| Identity::from_seed(&[seed; 32]));
    let mut ends = [0, 1].map(|at| {
        let (me, other) = (&identities[at], identities[1 - at].guid());
        let verifier = Arc::new(Ed25519);
        let book = Box::new(Contacts::new(verifier.clone(), 1));
        let settings = Arc::new(settings::Node::default());
        let mut engine = Engine::new(settings, Arc::new(me.clone()), verifier, [at as u8; 32]);
        let mut ws = Workspace::new(book);
        let name = OverlayName::new("golden/one", Admission::Secret([5; 32])).expect("a name");
        let (topology, settings) = (Toy { other }, settings::Overlay::default());
        let attach =
            Attach { name, topology, standing: Standing::Member, grant: None, settings: settings.into(), epoch: 3 };
        engine.attach(NOW, attach, &mut ws).expect("it fits");
        End { name: ["ann", "bob"][at], engine, ws }
    });
    let (conn, exporter) = (ConnId(1), [9; 32]);
    let [ann, bob] = identities.each_ref().map(Identity::guid);
    let mut spoken = Vec::new();
    let mut say =
        |ends: &mut [End; 2], at: usize, input: Input<Toy>| converse(ends, [ann, bob], at, input, &mut spoken);
    say(&mut ends, 1, Input::Connected { peer: ann, conn, dialer: Dialer::Peer, exporter });
    say(&mut ends, 0, Input::Connected { peer: bob, conn, dialer: Dialer::Me, exporter });
    let (payload, ticket) = (Bytes::from_static(b"payload"), Ticket(1 << 63));
    let (to, timeout) = (To::Peer(bob), Duration::from_secs(1));
    let request = Command::Request { ticket, to, service: 300, payload: payload.clone(), timeout };
    say(&mut ends, 0, Input::Command(Slot(0), request));
    for origin in [Origin::Signed, Origin::Claimed] {
        let publish =
            Command::Publish { ticket, topic: None, payload: payload.clone(), origin, urgency: Urgency::Usual };
        say(&mut ends, 0, Input::Command(Slot(0), publish));
    }
    spoken
}

/// Feeds an input, and all frames that follow from it, until nothing more is said.
fn converse(ends: &mut [End; 2], guids: [Guid; 2], at: usize, input: Input<Toy>, spoken: &mut Vec<(String, Bytes)>) {
    let mut inputs = VecDeque::from([(at, input)]);
    while let Some((at, input)) = inputs.pop_front() {
        let End { name, engine, ws } = &mut ends[at];
        engine.handle(NOW, input, ws);
        for output in std::mem::take(&mut ws.out) {
            if let Output::Send { conn, frame, .. } = output {
                let (number, kind) = (spoken.len(), frame.body.name());
                let bytes = wire::encode(&frame);
                let (_, prefix) = wire::length(&bytes).expect("a length").expect("a whole one");
                let frame: Frame<Toy> = wire::decode(bytes.slice(prefix..)).expect("it decodes");
                spoken.push((format!("dialogue.{number:02}.{name}.{kind}"), bytes));
                inputs.push_back((1 - at, Input::Frame { peer: guids[at], conn, frame }));
            }
        }
    }
}

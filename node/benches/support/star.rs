//! Nodes on the smallest topology there is, so that what is measured is the node and not the shape.

use polymorph::core::Topology;
use polymorph::core::topology::context::Context;
use polymorph::core::topology::event::Event;
use polymorph::core::topology::question::{Hold, Neighbor, Role};
use polymorph::{Guid, Identity, Node, Overlay, OverlaySpec};

/// Links to whoever it is told of.
#[derive(Default)]
pub(crate) struct Star(Vec<Guid>);

impl Topology for Star {
    type Address = ();
    type Message = ();
    type Timer = ();

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Join { seeds } => seeds.into_iter().for_each(|peer| cx.want(peer, Hold::Required)),
            Event::PeerUp { peer } => self.0.push(peer),
            Event::PeerDown { peer, .. } => self.0.retain(|known| *known != peer),
            _ => {}
        }
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        self.0.iter().map(|&peer| Neighbor { peer, role: Role::Peer, hold: Hold::Required }).collect()
    }
}

/// A new node that listens at `address`, with the overlay attached and not joined.
pub(crate) async fn node(address: &str) -> (Node, Overlay) {
    let address = address.parse().expect("an address");
    let node = polymorph::node(&Identity::generate()).listen(address).start().await.expect("it starts");
    let spec = OverlaySpec::new("bench", |_| Star::default(), node.guid()).expect("a name");
    let overlay = node.attach(spec).await.expect("it attaches");
    (node, overlay)
}

//! A topology of one's own, whole: a star. The hub is whoever started the overlay; everybody else links to it, and
//! the hub passes broadcasts on. The same value runs on real nodes and in virtual time.

use bytes::Bytes;
use polymorph::core::engine::io::{Command, Origin, Urgency};
use polymorph::core::topology::Topology;
use polymorph::core::topology::context::Context;
use polymorph::core::topology::event::Event;
use polymorph::core::topology::question::{Hold, Neighbor, Powers, Role, Spread};
use polymorph::sim::{Options, Terms, World};
use polymorph::{Guid, Identity, OverlaySpec};

/// Everybody this node is linked with: the hub knows all, the others the hub.
#[derive(Default)]
struct Star {
    links: Vec<Guid>,
}

impl Topology for Star {
    type Address = ();
    type Message = ();
    type Timer = ();

    fn handle(&mut self, event: Event<Self>, cx: &mut Context<'_, Self>) {
        match event {
            Event::Join { seeds } => seeds.first().into_iter().for_each(|&hub| cx.want(hub, Hold::Required)),
            Event::PeerUp { peer } => self.links.push(peer),
            Event::PeerDown { peer, .. } => self.links.retain(|link| *link != peer),
            _ => {}
        }
    }

    fn powers(&self) -> Powers {
        Powers { spreads: true, ..Powers::default() }
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        self.links.iter().map(|&peer| Neighbor { peer, role: Role::Peer, hold: Hold::Required }).collect()
    }

    fn spread(&self, spread: &Spread, to: &mut Vec<Guid>) {
        to.extend(self.links.iter().filter(|link| Some(**link) != spread.from));
    }
}

/// A thousand peers in virtual time: how many copies does one broadcast take?
fn in_virtual_time() -> anyhow::Result<()> {
    let mut world = World::<Star>::new(Options { node: hub_settings(), ..Options::default() });
    let terms = Terms::default();
    let peers: Vec<_> = (0..1000).map(|_| world.add(&terms, |_| Star::default())).collect::<Result<_, _>>()?;
    peers.iter().skip(1).for_each(|&peer| world.join(peer, &peers[..1]));
    world.run_for(std::time::Duration::from_secs(10));
    let ticket = world.ticket();
    let (topic, payload, origin) = (None, Bytes::from_static(b"news"), Origin::Claimed);
    world.command(peers[7], Command::Publish { ticket, topic, payload, origin, urgency: Urgency::Usual });
    world.run_for(std::time::Duration::from_secs(10));
    let copies: u64 = peers.iter().filter_map(|&p| Some(world.engine(p)?.metrics(world.slot(p))?.copies)).sum();
    println!("in virtual time: 1000 peers, one broadcast, {copies} copies");
    Ok(())
}

/// The hub of a thousand needs a budget of a thousand connections.
fn hub_settings() -> polymorph::core::engine::settings::Node {
    polymorph::core::engine::settings::Node { connections: 1000, ..Default::default() }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    in_virtual_time()?;
    let mut nodes = Vec::new();
    for _ in 0..5 {
        let builder = polymorph::node(&Identity::generate()).listen("tcp://127.0.0.1:0".parse()?);
        let node = builder.start().await?;
        let star = node.attach(OverlaySpec::new("star", |_| Star::default(), node.guid())?).await?;
        let hears = star.subscribe(None).await?;
        nodes.push((node, star, hears));
    }
    let hub = nodes[0].0.contact();
    for (_, star, _) in &nodes[1..] {
        star.join(std::slice::from_ref(&hub)).await?;
        // The first answer means that the link is up.
        star.ping(hub.guid()).await?;
    }
    nodes[1].1.publish(None, Bytes::from_static(b"news"), Origin::Signed).await?;
    for at in [0, 2, 3, 4] {
        let news = nodes[at].2.next().await.ok_or_else(|| anyhow::anyhow!("the overlay ended"))?;
        println!("on sockets: node {at} heard {:?} from {:?}", String::from_utf8_lossy(&news.payload), news.from);
    }
    Ok(())
}

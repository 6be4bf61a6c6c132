//! The same workload on real nodes in this process: the same identities, overlay, settings, questions and senders as
//! in the world of the same seed.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use polymorph::core::engine::settings::{self, Overlay as Settings};
use polymorph::core::runtime::transport::Transport;
use polymorph::core::topology::Topology;
use polymorph::core::topology::context::Context;
use polymorph::core::topology::erased::Boxed;
use polymorph::core::topology::event::Event;
use polymorph::core::topology::model::{Census, Model};
use polymorph::core::{OverlayName, Signer as _, Time};
use polymorph::sim::report::{Bins, Load, MAX_DRAWN, Portrait, Report, Shape, Spread, State};
use polymorph::sim::{Crypto, Terms};
use polymorph::topologies::catalog::typed::Visitor;
use polymorph::transports::{Memory, Quic, Tcp, memory::Hub};
use polymorph::{Contact, Guid, Identity, Node, Overlay, OverlaySpec, TransportAddress};
use tokio::time::Instant;

use super::Arguments;

mod delayed;
mod measure;

use delayed::{Delayed, Map};

/// Over which wires nodes talk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Wire {
    /// TCP with TLS
    Tcp,
    /// QUIC
    Quic,
    /// Pipes in this process
    Mem,
}

/// More real nodes than that no longer fit into one process's files and one machine's patience.
pub(super) const MAX_NODES: usize = 256;
/// How long a node may take to join.
const JOIN: Duration = Duration::from_secs(60);
/// How long a node may take to say goodbye at the end.
const DRAIN: Duration = Duration::from_secs(2);

/// A run on sockets. `began` is when the world's lookups and its broadcasts began, of which their questions and
/// senders are drawn.
pub(super) struct Sockets<'a> {
    pub(super) name: &'a str,
    pub(super) arguments: &'a Arguments,
    pub(super) wire: Wire,
    pub(super) seed: u64,
    pub(super) began: (Time, Time),
}

impl<'a> Visitor for Sockets<'a> {
    type Output = Pin<Box<dyn Future<Output = anyhow::Result<Report>> + 'a>>;

    fn visit<T: Model>(self, config: T::Config, overlay: Settings) -> Self::Output {
        Box::pin(async move {
            let crew = Crew::start::<T>(&self, &config, &overlay).await?;
            let report = crew.measure::<T>(&self, &config).await;
            futures_util::future::join_all(crew.members.iter().map(|member| member.node.shutdown(DRAIN))).await;
            report
        })
    }
}

struct Member {
    node: Node,
    overlay: Overlay,
}

/// All nodes, in the order of their numbers.
struct Crew {
    members: Vec<Member>,
    census: Census,
}

impl Crew {
    async fn start<T: Model>(run: &Sockets<'_>, config: &T::Config, settings: &Settings) -> anyhow::Result<Self> {
        let Sockets { arguments, wire, seed, .. } = *run;
        let name = Terms::default().name;
        let nowhere = polymorph::core::Place { overlay: name.id(), me: Guid([0; 32]) };
        let node = settings::Node::default();
        let degree = T::new(config, nowhere).powers().degree;
        let node = settings::Node { connections: node.connections.max(degree), ..node };
        let secrets = (0..arguments.peers as u32).map(|number| Crypto::secret(seed, number));
        let identities: Vec<Identity> = secrets.map(|secret| Identity::from_seed(&secret)).collect();
        let guids = identities.iter().map(|identity| Guid::of(&identity.public_key()));
        let map = Arc::new(Map::new(arguments.latency, seed, guids));
        let ground = Ground { wire, hub: Hub::new(), map };
        let mut nodes = Vec::with_capacity(arguments.peers);
        for (number, identity) in identities.iter().enumerate() {
            nodes.push(ground.start(identity, number, node.clone()).await?);
        }
        let census = Census::new(name.id(), nodes.iter().map(Node::guid).collect());
        let mut crew = Self { members: Vec::new(), census };
        for node in nodes {
            let spec = spec::<T>(&name, config, settings, &node, arguments.ideal.then_some(&crew.census))?;
            let overlay = node.attach(spec).await?;
            crew.members.push(Member { node, overlay });
        }
        if arguments.ideal {
            crew.begin().await?
        } else {
            crew.join(T::claims(config, arguments.peers).quiet).await?
        }
        tokio::time::sleep(Duration::from_secs_f64(arguments.time)).await;
        Ok(crew)
    }

    /// Everybody's tables are full; what is missing is how to reach those in them.
    async fn begin(&self) -> anyhow::Result<()> {
        let contacts: Vec<Contact> = self.members.iter().map(|member| member.node.contact()).collect();
        for Member { node, .. } in &self.members {
            let introductions = node.attach(OverlaySpec::new("introductions", |_| Introductions, node.guid())?).await?;
            introductions.join(&contacts).await?;
            introductions.detach().await?;
        }
        for Member { overlay, .. } in &self.members {
            overlay.join(&[]).await?;
        }
        Ok(())
    }

    /// One after the other, each through the same one as in the world.
    async fn join(&self, quiet: u64) -> anyhow::Result<()> {
        for (number, Member { overlay, .. }) in self.members.iter().enumerate() {
            let seed = self.members[number / 2].node.contact();
            overlay.join(if number == 0 { &[] } else { std::slice::from_ref(&seed) }).await?;
            // The first has entered where it is alone: it has nobody to wait for.
            if number > 0 {
                overlay.joined(JOIN).await.with_context(|| format!("node {number} could not join"))?;
            }
        }
        eprintln!("all nodes are in; waiting {quiet} s until it is quiet");
        tokio::time::sleep(Duration::from_secs(quiet)).await;
        Ok(())
    }

    fn member(&self, guid: &Guid) -> Option<&Member> {
        self.members.iter().find(|member| member.node.guid() == *guid)
    }

    async fn measure<T: Model>(&self, run: &Sockets<'_>, config: &T::Config) -> anyhow::Result<Report> {
        let powers =
            T::new(config, polymorph::core::Place { overlay: self.census.overlay, me: Guid([0; 32]) }).powers();
        let arguments = run.arguments;
        let before = self.frames().await?;
        let clock = Instant::now();
        let lookups = match arguments.lookups {
            count if count > 0 && powers.routes => Some(measure::lookups::<T>(self, run, config).await?),
            _ => None,
        };
        let broadcast = match arguments.broadcasts {
            count if count > 0 && powers.spreads => Some(measure::broadcasts(self, run).await?),
            _ => None,
        };
        let wall = clock.elapsed().as_secs_f64();
        let loads: Vec<f64> =
            self.frames().await?.into_iter().zip(before).map(|(now, then)| (now - then) as f64).collect();
        let events: f64 = loads.iter().sum();
        let mut links = Vec::new();
        for Member { node, .. } in &self.members {
            links.push(node.peers().await?.len() as f64);
        }
        let (degrees, shape) = self.shape(&loads).await?;
        Ok(Report {
            topology: run.name.into(),
            peers: self.members.len(),
            seed: run.seed,
            sim_seconds: wall,
            events: events as u64,
            events_per_s: (wall > 0.0).then(|| events / wall),
            wall_s: Some(wall),
            lookups,
            broadcast,
            state: Spread::of(&degrees).map(|of| State {
                entries_mean: of.mean,
                entries_max: of.max,
                bytes_mean: None,
            }),
            links: Spread::of(&links),
            load: Load::of(loads),
            shape,
            ..Report::default()
        })
    }

    /// How many frames each was handed.
    async fn frames(&self) -> anyhow::Result<Vec<u64>> {
        let mut frames = Vec::new();
        for Member { overlay, .. } in &self.members {
            frames.push(overlay.metrics().await?.frames_in);
        }
        Ok(frames)
    }

    async fn shape(&self, loads: &[f64]) -> anyhow::Result<(Vec<f64>, Shape)> {
        let mean = loads.iter().sum::<f64>() / loads.len().max(1) as f64;
        let against = |load: f64| if mean > 0.0 { load / mean } else { 0.0 };
        let (mut degrees, mut sitters) = (Vec::new(), Vec::new());
        for (Member { node, overlay }, &load) in self.members.iter().zip(loads) {
            let neighbors = overlay.neighbors().await?;
            degrees.push(neighbors.len() as f64);
            sitters.push((node.guid(), against(load), neighbors));
        }
        let mut load: Vec<f64> = loads.iter().copied().map(against).collect();
        load.sort_by(f64::total_cmp);
        let portrait = Portrait::of(self.census.overlay, sitters).filter(|portrait| portrait.peers.len() <= MAX_DRAWN);
        Ok((degrees.clone(), Shape { degree: Bins::of(degrees, 1.0), load, portrait, ..Shape::default() }))
    }
}

/// Where nodes meet, and how far apart they are.
struct Ground {
    wire: Wire,
    hub: Hub,
    map: Arc<Map>,
}

impl Ground {
    async fn start(&self, identity: &Identity, number: usize, node: settings::Node) -> anyhow::Result<Node> {
        let (inner, listen): (Arc<dyn Transport>, _) = match self.wire {
            Wire::Tcp => (Arc::new(Tcp::new(identity)), "tcp://127.0.0.1:0".to_owned()),
            Wire::Quic => (Arc::new(Quic::new(identity)), "quic://127.0.0.1:0".to_owned()),
            Wire::Mem => (Arc::new(Memory::new(identity, &self.hub)), format!("mem:peer-{number}")),
        };
        let me = Guid::of(&identity.public_key());
        let slow = Arc::new(Delayed { inner, me, map: self.map.clone() });
        let listen: TransportAddress = listen.parse()?;
        let started = Node::builder(identity.clone()).settings(node).transport(slow).listen(listen).start().await;
        started.with_context(|| format!("node {number} cannot start; try fewer with --peers"))
    }
}

fn spec<T: Model>(
    name: &OverlayName,
    config: &T::Config,
    settings: &Settings,
    node: &Node,
    ideal: Option<&Census>,
) -> anyhow::Result<OverlaySpec> {
    let mut filled = true;
    let make = |place| {
        let mut model = T::new(config, place);
        if let Some(census) = ideal {
            filled = model.ideal(config, census);
        }
        Boxed::new(model)
    };
    let spec = OverlaySpec::named(name.clone(), make, node.guid())?.settings(settings.clone());
    if !filled {
        bail!("this topology cannot fill its tables by itself; leave --ideal out, and its nodes join one by one");
    }
    Ok(spec)
}

/// An overlay for nothing but to hand over contacts: whoever joins is told of its seeds, and here that is all.
#[derive(Debug)]
struct Introductions;

impl Topology for Introductions {
    type Address = ();
    type Message = ();
    type Timer = ();

    fn handle(&mut self, _: Event<Self>, _: &mut Context<'_, Self>) {}
}

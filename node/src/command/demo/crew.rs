//! The nodes of the demo, and waiting until their overlays stand.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use polymorph::core::topology::model::Census;
use polymorph::core::topology::question::{Hold, Neighbor, Role};
use polymorph::media::Store;
use polymorph::{Guid, Identity, Node, Overlay};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::overlay_text::OverlayText;
use crate::running::DRAIN;

/// What every node takes part in. The tree is for its subscribers only. A lifetime of a few seconds needs rings that
/// look after themselves more often than every 20 s.
const OVERLAYS: [&str; 4] = [
    "find=chord,stabilize=1",
    "announce=hyparview-plumtree",
    "stream=scribe,base=chord,stabilize=1,everyone=no",
    "paths=polyring,width=16",
];
/// How long overlays may take to stand, on a loaded machine.
pub(super) const WITHIN: Duration = Duration::from_secs(25);
/// Topologies need not say everything that changes, so they are asked now and then.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A node of the demo.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) node: Node,
    pub(super) store: Store,
    pub(super) find: Overlay,
    pub(super) announce: Overlay,
    pub(super) stream: Overlay,
    pub(super) paths: Overlay,
}

impl Member {
    fn overlays(&self) -> [&Overlay; OVERLAYS.len()] {
        [&self.find, &self.announce, &self.stream, &self.paths]
    }
}

/// One overlay, all nodes together.
#[derive(Debug)]
pub(super) struct OverlayReport {
    pub(super) name: String,
    pub(super) topology: String,
    /// How many sessions carry it.
    pub(super) peers: usize,
}

impl OverlayReport {
    pub(super) fn json(&self) -> Value {
        json!({ "name": self.name, "topology": self.topology, "peers": self.peers })
    }
}

/// All nodes. Their files go when this is dropped.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) members: Vec<Member>,
    pub(super) folder: TempDir,
    /// Something changed in some overlay.
    changed: Arc<Notify>,
}

impl Crew {
    /// Starts the nodes, half of them on TCP and half on QUIC, and lets each join all overlays.
    pub(super) async fn start(nodes: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder for the nodes' stores")?;
        let mut crew = Self { members: Vec::new(), folder, changed: Arc::default() };
        for number in 0..nodes {
            let member = crew.member(number).await?;
            crew.members.push(member);
            crew.wait_until("rings close", async |crew| crew.rings().await).await?;
            crew.wait_until("everybody has company", async |crew| crew.company().await).await?;
        }
        Ok(crew)
    }

    async fn member(&self, number: usize) -> anyhow::Result<Member> {
        let listen = if number.is_multiple_of(2) { "tcp://127.0.0.1:0" } else { "quic://127.0.0.1:0" };
        let node = polymorph::node(&Identity::generate()).listen(listen.parse()?).start().await?;
        let store = Store::open(self.folder.path().join(format!("node-{number}"))).await?;
        let seeds: Vec<_> = self.members.get(number / 2).map(|seed| seed.node.contact()).into_iter().collect();
        let mut overlays = Vec::new();
        for text in OVERLAYS {
            let overlay = node.attach(text.parse::<OverlayText>()?.build(node.guid())?).await?;
            let (mut events, changed) = (overlay.watch().await?, self.changed.clone());
            tokio::spawn(async move {
                while events.recv().await.is_some() {
                    changed.notify_one();
                }
            });
            overlay.join(&seeds).await?;
            overlays.push(overlay);
        }
        let [find, announce, stream, paths] =
            <[Overlay; 4]>::try_from(overlays).map_err(|_| anyhow::anyhow!("four"))?;
        Ok(Member { node, store, find, announce, stream, paths })
    }

    /// Waits until nothing is missing any more; fails with what is.
    pub(super) async fn wait_until(
        &self,
        what: &str,
        missing: impl AsyncFn(&Self) -> anyhow::Result<Option<String>>,
    ) -> anyhow::Result<()> {
        let end = Instant::now() + WITHIN;
        while let Some(missing) = missing(self).await? {
            if Instant::now() >= end {
                bail!("{what}: not within {} s, {missing}; try again when the machine is less busy", WITHIN.as_secs());
            }
            let _ = timeout(LOOK_AGAIN, self.changed.notified()).await;
        }
        Ok(())
    }

    /// On both rings every node must know who is before and after it.
    async fn rings(&self) -> anyhow::Result<Option<String>> {
        let guids: Vec<Guid> = self.members.iter().map(|member| member.node.guid()).collect();
        let count = guids.len();
        if count < 2 {
            return Ok(None);
        }
        for ring in [0, 2] {
            let name = OVERLAYS[ring].parse::<OverlayText>()?.full_name()?;
            let order = Census::new(name.id(), guids.clone()).ring;
            for member in &self.members {
                let me = member.node.guid();
                let at = order.iter().position(|(_, guid)| *guid == me).unwrap_or_default();
                let (before, after) = (order[(at + count - 1) % count].1, order[(at + 1) % count].1);
                let neighbors = member.overlays()[ring].neighbors().await?;
                let first =
                    |role| neighbors.iter().find(|n| n.role == role && n.hold == Hold::Required).map(|n| n.peer);
                if first(Role::Successor) != Some(after) || first(Role::Predecessor) != Some(before) {
                    let links = neighbors.iter().map(|n| format!("{} {:?} {:?}", n.peer.short(), n.role, n.hold));
                    tracing::debug!(before = %before.short(), after = %after.short(), links = ?links.collect::<Vec<_>>(), "place");
                    return Ok(Some(format!("node {} does not know its place in {}", me.short(), name.name())));
                }
            }
        }
        Ok(None)
    }

    /// On the mesh and the polyring everybody must be linked to somebody.
    async fn company(&self) -> anyhow::Result<Option<String>> {
        if self.members.len() < 2 {
            return Ok(None);
        }
        for member in &self.members {
            for overlay in [&member.announce, &member.paths] {
                let neighbors = overlay.neighbors().await?;
                if !neighbors.iter().any(|neighbor| neighbor.role != Role::Passive) {
                    return Ok(Some(format!("node {} is alone in {}", member.node.guid().short(), overlay.name())));
                }
            }
        }
        Ok(None)
    }

    /// In the tree everybody but the root must have a parent that has it as a child.
    pub(super) async fn tree(&self) -> anyhow::Result<Option<String>> {
        let mut all: Vec<(Guid, Vec<Neighbor>)> = Vec::new();
        for member in &self.members {
            all.push((member.node.guid(), member.stream.neighbors().await?));
        }
        let has = |who: Guid, role: Role, whom: Guid| {
            all.iter().any(|(guid, links)| *guid == who && links.iter().any(|n| n.role == role && n.peer == whom))
        };
        let grafted = |guid: Guid, links: &[Neighbor]| {
            links.iter().any(|n| n.role == Role::Parent && has(n.peer, Role::Child, guid))
        };
        let alone = all.iter().filter(|(guid, links)| !grafted(*guid, links)).count();
        Ok((alone > 1).then(|| format!("{alone} nodes are not grafted to the tree")))
    }

    /// What is shown of the overlays.
    pub(super) async fn overlays(&self) -> anyhow::Result<Vec<OverlayReport>> {
        let mut carried = [0; OVERLAYS.len()];
        for member in &self.members {
            for peer in member.node.peers().await? {
                for (count, overlay) in carried.iter_mut().zip(member.overlays()) {
                    *count += usize::from(peer.overlays.contains(&overlay.slot()));
                }
            }
        }
        let report = |(text, ends): (&str, usize)| {
            let OverlayText { name, topology, .. } = text.parse()?;
            // Both ends count a session.
            Ok(OverlayReport { name, topology, peers: ends.div_ceil(2) })
        };
        OVERLAYS.into_iter().zip(carried).map(report).collect()
    }

    /// Everybody leaves in good order.
    pub(super) async fn leave(self) {
        let leaving = self.members.iter().map(|member| member.node.shutdown(DRAIN));
        futures_util::future::join_all(leaving).await;
    }
}

//! Every ring at once on the same real nodes over loopback: six overlays, one session for each pair of nodes.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

#[path = "six_overlays/killed.rs"]
mod killed;

use std::collections::BTreeSet;
use std::time::Duration;

use polymorph::core::engine::settings;
use polymorph::core::topology::model::{Census, Model};
use polymorph::core::topology::question::Target;
use polymorph::core::{Admission, OverlayName};
use polymorph::topologies::ring::{chord, kademlia, one_hop, pastry, symphony, tapestry};
use polymorph::{Contact, Guid, Identity, Key, Node, Overlay};

const RINGS: [&str; 6] = ["chord", "kademlia", "pastry", "tapestry", "symphony", "one-hop"];
const NODES: usize = 64;
/// How long anything may take on a loaded machine; nothing waits for it when all goes well.
const PATIENCE: Duration = Duration::from_secs(180);

/// A node, and its overlays in the order of [`RINGS`].
struct Member {
    identity: Identity,
    node: Node,
    overlays: Vec<Overlay>,
}

/// A node with all six attached, and not joined.
async fn attached(identity: Identity) -> Member {
    // As many sessions as there are pairs: what is looked at is whether there is more than one.
    let settings = settings::Node { connections: NODES, ..settings::Node::default() };
    let builder = polymorph::node(&identity).settings(settings);
    let node = builder.listen("tcp://127.0.0.1:0".parse().unwrap()).start().await.unwrap();
    let mut overlays = Vec::new();
    for ring in RINGS {
        let overlay = node.attach(polymorph::overlay(node.guid(), ring, ring, &[]).unwrap()).await.unwrap();
        overlays.push(overlay);
    }
    Member { identity, node, overlays }
}

/// A node that is a member of all six, joining through an earlier one.
async fn member(at: usize, seed: Option<Contact>) -> Member {
    let member = attached(Identity::generate()).await;
    for overlay in &member.overlays {
        overlay.join(seed.as_slice()).await.unwrap();
    }
    if at > 0 {
        member.joined().await;
    }
    member
}

impl Member {
    async fn joined(&self) {
        for overlay in &self.overlays {
            let joined = overlay.joined(PATIENCE).await;
            joined.unwrap_or_else(|e| panic!("{:?} did not join {}: {e}", self.node, overlay.name()));
        }
    }
}

async fn start() -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for at in 0..NODES {
        let seed = members.get(at / 2).map(|member| member.node.contact());
        members.push(member(at, seed).await);
    }
    members
}

/// Whose a key is in a ring of these nodes.
fn owner(ring: &str, guids: &[Guid], key: Key) -> Option<Guid> {
    fn of<M: Model>(census: &Census, key: Key) -> Option<Guid> {
        M::owner(&M::Config::default(), census, &Target::Key(key))
    }
    let census = Census::new(OverlayName::new(ring, Admission::Open).unwrap().id(), guids.to_vec());
    match ring {
        "chord" => of::<chord::Chord>(&census, key),
        "kademlia" => of::<kademlia::Kademlia>(&census, key),
        "pastry" => of::<pastry::Pastry>(&census, key),
        "tapestry" => of::<tapestry::Tapestry>(&census, key),
        "symphony" => of::<symphony::Symphony>(&census, key),
        _ => of::<one_hop::OneHop>(&census, key),
    }
}

/// How many of some lookups from everywhere end at the right owner.
async fn count_right(members: &[Member], which: usize, guids: &[Guid], lookups: usize) -> usize {
    let mut right = 0;
    for number in 0..lookups {
        let key = Key::of(&number.to_le_bytes());
        let found = members[number * 31 % members.len()].overlays[which].lookup(key, 1).await;
        right += usize::from(found.is_ok_and(|found| Some(found.owner) == owner(RINGS[which], guids, key)));
    }
    right
}

/// Tapestry's own: pointers to an object lie on the way to its root, and searches meet them.
async fn an_object_is_found_at_all_who_have_it(members: &[Member]) {
    use tapestry::{Answer, Command};
    let which = RINGS.iter().position(|ring| *ring == "tapestry").unwrap();
    let ask = async |at: usize, command: Command| {
        let answer = members[at].overlays[which].command(command.encode()).await;
        answer.ok().and_then(|answer| Answer::decode(&answer))
    };
    let object = Key::of(b"an object");
    let servers = [3, 17, 40, 58];
    let mut guids = servers.map(|at| members[at].node.guid());
    guids.sort_unstable();
    for at in servers {
        assert_eq!(ask(at, Command::Publish(object)).await, Some(Answer::Done));
    }
    for at in 0..NODES {
        let all_found = async {
            loop {
                if let Some(Answer::Found(mut found)) = ask(at, Command::Find { object, most: 4 }).await {
                    found.sort_unstable();
                    if found == guids {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, all_found).await.unwrap_or_else(|_| panic!("node {at} does not find it"));
    }
    let nothing = ask(9, Command::Find { object: Key::of(b"another"), most: 4 }).await;
    assert_eq!(nothing, Some(Answer::Found(Vec::new())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_rings_on_the_same_nodes_share_one_session_for_each_pair_and_find_every_owner() {
    let members = start().await;
    let guids: Vec<Guid> = members.iter().map(|member| member.node.guid()).collect();
    for (which, ring) in RINGS.into_iter().enumerate() {
        let all_right = async {
            while count_right(&members, which, &guids, NODES).await < NODES {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::time::timeout(PATIENCE, all_right).await.unwrap_or_else(|_| panic!("{ring} does not find every owner"));
    }
    an_object_is_found_at_all_who_have_it(&members).await;
    let (mut sessions, mut shared) = (0, 0);
    for member in &members {
        let peers = member.node.peers().await.unwrap();
        let distinct: BTreeSet<Guid> = peers.iter().map(|peer| peer.peer).collect();
        assert_eq!(distinct.len(), peers.len(), "two sessions to one peer");
        sessions += peers.len();
        shared += peers.iter().filter(|peer| peer.overlays.len() > 1).count();
        assert_eq!(member.node.status().await.unwrap().overlays, RINGS.len());
    }
    println!("{sessions} ends of sessions, {shared} of them used by more than one ring");
    assert!(shared * 2 > sessions, "rings do not share their sessions");
}

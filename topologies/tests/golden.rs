//! What the topologies say to each other, byte for byte. Their numbers are append-only, as those of frames are.

#[path = "../../core/tests/golden/vectors.rs"]
mod vectors;

use polymorph_core::topology::question::CopyId;
use polymorph_core::{Guid, Key};
use polymorph_topologies::hybrid::polyring::{self, Path, Refusal, Wish};
use polymorph_topologies::mesh::hyparview::Priority;
use polymorph_topologies::mesh::{full_mesh, hyparview, plumtree};
use polymorph_topologies::ring::{chord, kademlia, one_hop, pastry, symphony, tapestry};
use polymorph_topologies::tree::scribe::{self, Join, label::Label};

use vectors::{Vectors, every};

fn guid(byte: u8) -> Guid {
    Guid([byte; 32])
}

fn rings(held: &mut Vectors) {
    use chord::Message;
    let (predecessor, successors) = (Some(guid(1)), vec![guid(2), guid(3)]);
    held.each("chord", &every!(Message {
        "ask": Message::Ask => Message::Ask,
        "state": Message::State { .. } => Message::State { predecessor, successors: successors.clone() },
        "absent": Message::Absent => Message::Absent,
        "notify": Message::Notify => Message::Notify,
        "between": Message::Between => Message::Between,
        "leaving": Message::Leaving { .. } => Message::Leaving { predecessor: None, successors: successors.clone() },
        "ping": Message::Ping => Message::Ping,
        "pong": Message::Pong => Message::Pong,
    }));
    held.each(
        "kademlia",
        &every!(kademlia::Message {
            "ping": kademlia::Message::Ping => kademlia::Message::Ping,
            "pong": kademlia::Message::Pong => kademlia::Message::Pong,
        }),
    );
}

fn prefix_rings(held: &mut Vectors) {
    use pastry::{Message, Set};
    let peers = vec![guid(1), guid(2)];
    held.each(
        "pastry.set",
        &every!(Set {
            "leafs": Set::Leafs => Set::Leafs,
            "near": Set::Near => Set::Near,
            "row": Set::Row(_) => Set::Row(3),
            "slot": Set::Slot { .. } => Set::Slot { row: 3, column: 15 },
        }),
    );
    held.each(
        "pastry",
        &every!(Message {
            "enter": Message::Enter(_) => Message::Enter(1 << 40),
            "newcomer": Message::Newcomer { .. } =>
                Message::Newcomer { guid: guid(3), pass: 300, path: peers.clone() },
            "welcome": Message::Welcome { .. } =>
                Message::Welcome { pass: 300, path: vec![guid(3)], leafs: peers.clone() },
            "here": Message::Here(_) => Message::Here(peers.clone()),
            "ask": Message::Ask(_) => Message::Ask(Set::Near),
            "peers": Message::Peers(_) => Message::Peers(peers.clone()),
            "absent": Message::Absent => Message::Absent,
            "met": Message::Met => Message::Met,
            "ping": Message::Ping => Message::Ping,
            "pong": Message::Pong => Message::Pong,
            "silent": Message::Silent(_) => Message::Silent(guid(3)),
            "leaving": Message::Leaving(_) => Message::Leaving(peers.clone()),
        }),
    );
}

fn tapestries(held: &mut Vectors) {
    use tapestry::{Command, HasIt, Message, News, Set, Slots};
    let (peers, object) = (vec![guid(1), guid(2)], Key([4; 32]));
    let holes: Slots = postcard::from_bytes(&[2, 1, 0x80]).expect("two bytes of slots");
    let news = News { id: 300, newcomer: guid(3), level: 2, patience: 16, holes: holes.clone() };
    held.each(
        "tapestry.set",
        &every!(Set {
            "row": Set::Row(_) => Set::Row(3),
            "backs": Set::Backs(_) => Set::Backs(2),
            "slot": Set::Slot { .. } => Set::Slot { row: 3, column: 15 },
        }),
    );
    held.each(
        "tapestry.command",
        &every!(Command {
            "publish": Command::Publish(_) => Command::Publish(object),
            "withdraw": Command::Withdraw(_) => Command::Withdraw(object),
            "find": Command::Find { .. } => Command::Find { object, most: 4 },
        }),
    );
    held.each(
        "tapestry",
        &every!(Message {
            "ask": Message::Ask(_) => Message::Ask(Set::Backs(1)),
            "peers": Message::Peers(_) => Message::Peers(peers.clone()),
            "absent": Message::Absent => Message::Absent,
            "met": Message::Met => Message::Met,
            "ping": Message::Ping => Message::Ping,
            "pong": Message::Pong => Message::Pong,
            "holes": Message::Holes(_) => Message::Holes(holes.clone()),
            "insert": Message::Insert(_) => Message::Insert(holes.clone()),
            "multicast": Message::Multicast(_) => Message::Multicast(news.clone()),
            "told": Message::Told(_) => Message::Told(300),
            "reached": Message::Reached => Message::Reached,
            "filled": Message::Filled(_) => Message::Filled(peers.clone()),
            "inserted": Message::Inserted => Message::Inserted,
            "not-root": Message::NotRoot => Message::NotRoot,
            "leaving": Message::Leaving(_) => Message::Leaving(peers.clone()),
            "publish": Message::Publish { .. } => Message::Publish { object, server: guid(3), seconds: 10_800 },
            "find": Message::Find { .. } => Message::Find { object, asker: guid(3), id: 300, most: 4 },
            "servers": Message::Servers { .. } => Message::Servers { id: 300, servers: peers.clone(), last: true },
            "place": Message::Place(_) => Message::Place(vec![(object, guid(3), 10_800)]),
            "have": Message::Have(_) => Message::Have(object),
            "has": Message::Has(_) => Message::Has(HasIt::Yes),
        }),
    );
    held.value("tapestry.has.no", &HasIt::No);
}

fn other_rings(held: &mut Vectors) {
    use one_hop::{Events, Joined, Left, Message};
    let peers = vec![guid(1), guid(2)];
    let joined = vec![Joined { peer: guid(1), life: 1, until: 1 << 30 }];
    let events = Events { joined, left: vec![Left { at: 1 << 60, life: 2, until: 1 << 31 }] };
    held.each(
        "one-hop",
        &every!(Message {
            "ask": Message::Ask(_) => Message::Ask(1 << 60),
            "enter": Message::Enter => Message::Enter,
            "page": Message::Page(_) => Message::Page(peers.clone()),
            "events": Message::Events(_) => Message::Events(events.clone()),
            "check": Message::Check(_) => Message::Check(1 << 60),
            "heads": Message::Heads(_) => Message::Heads(vec![1, 1 << 30]),
            "who": Message::Who(_) => Message::Who(vec![1 << 30]),
            "ping": Message::Ping => Message::Ping,
            "pong": Message::Pong => Message::Pong,
            "absent": Message::Absent => Message::Absent,
            "leaving": Message::Leaving => Message::Leaving,
            "beat": Message::Beat(_) => Message::Beat(Some(1 << 40)),
            "first": Message::First(_) => Message::First(1 << 60),
        }),
    );
    held.each(
        "symphony",
        &every!(symphony::Message {
            "ring": symphony::Message::Ring(_) => symphony::Message::Ring(chord::Message::Notify),
            "link": symphony::Message::Link => symphony::Message::Link,
            "full": symphony::Message::Full => symphony::Message::Full,
            "linked": symphony::Message::Linked(_) => symphony::Message::Linked(peers.clone()),
            "unlinked": symphony::Message::Unlinked => symphony::Message::Unlinked,
        }),
    );
}

fn meshes(held: &mut Vectors) {
    held.each(
        "full-mesh",
        &every!(full_mesh::Message {
            "ask": full_mesh::Message::Ask => full_mesh::Message::Ask,
            "members": full_mesh::Message::Members(_) => full_mesh::Message::Members(vec![guid(1), guid(2)]),
        }),
    );
    held.each(
        "hyparview.priority",
        &every!(Priority {
            "low": Priority::Low => Priority::Low,
            "high": Priority::High => Priority::High,
        }),
    );
    use hyparview::Message;
    held.each(
        "hyparview",
        &every!(Message {
            "join": Message::Join => Message::Join,
            "forward-join": Message::ForwardJoin { .. } => Message::ForwardJoin { newcomer: guid(1), ttl: 6 },
            "neighbor": Message::Neighbor { .. } => Message::Neighbor { priority: Priority::High },
            "accept": Message::Accept => Message::Accept,
            "refuse": Message::Refuse => Message::Refuse,
            "disconnect": Message::Disconnect => Message::Disconnect,
            "shuffle": Message::Shuffle { .. } => Message::Shuffle { origin: guid(1), ttl: 3, peers: vec![guid(2)] },
            "shuffle-reply": Message::ShuffleReply { .. } => Message::ShuffleReply { peers: vec![guid(2)] },
            "test": Message::Test => Message::Test,
        }),
    );
    held.each(
        "plumtree",
        &every!(plumtree::Message {
            "i-have": plumtree::Message::IHave(_) => plumtree::Message::IHave(vec![(CopyId([1; 16]), 3)]),
            "graft": plumtree::Message::Graft(_) => plumtree::Message::Graft(Some(CopyId([1; 16]))),
            "prune": plumtree::Message::Prune => plumtree::Message::Prune,
        }),
    );
}

fn trees(held: &mut Vectors) {
    use scribe::Message;
    let (topic, label) = (Key([4; 32]), Label { wave: 300, root: 1, depth: 2 });
    held.value("scribe.label", &label);
    let join = Join { topic, child: guid(1), bar: Some(label), levels: 1, tries: 2 };
    held.each(
        "scribe",
        &every!(Message {
            "join": Message::Join(_) => Message::Join(Box::new(join.clone())),
            "wave": Message::Wave { .. } => Message::Wave { topic, label },
            "here": Message::Here { .. } => Message::Here { topic },
            "leave": Message::Leave { .. } => Message::Leave { topic },
            "gone": Message::Gone { .. } => Message::Gone { topic },
        }),
    );
}

fn polyrings(held: &mut Vectors) {
    use polyring::Message;
    let path: Path = "[4.10.34]".parse().expect("a path");
    held.value("polyring.path", &path);
    held.each(
        "polyring.wish",
        &every!(Wish {
            "anywhere": Wish::Anywhere => Wish::Anywhere,
            "around": Wish::Around => Wish::Around,
            "place": Wish::Place(_) => Wish::Place(path.clone()),
        }),
    );
    held.each(
        "polyring.refusal",
        &every!(Refusal {
            "later": Refusal::Later => Refusal::Later,
            "full": Refusal::Full => Refusal::Full,
            "taken": Refusal::Taken => Refusal::Taken,
        }),
    );
    held.each(
        "polyring",
        &every!(Message {
            "join": Message::Join(_) => Message::Join(Wish::Anywhere),
            "stand": Message::Stand { .. } =>
                Message::Stand { path: path.clone(), elders: vec![guid(1)], taken: vec![1, 300] },
            "elsewhere": Message::Elsewhere { .. } => Message::Elsewhere { ask: guid(1), wish: Wish::Around },
            "refused": Message::Refused(_) => Message::Refused(Refusal::Full),
            "members": Message::Members(_) => Message::Members(vec![(1, guid(1)), (300, guid(2))]),
            "gone": Message::Gone { .. } => Message::Gone { coordinate: 300, member: guid(1) },
            "above": Message::Above { .. } => Message::Above { path: path.clone(), elders: vec![guid(1)] },
            "handed": Message::Handed { .. } => Message::Handed { heir: guid(1) },
            "refresh": Message::Refresh { .. } => Message::Refresh { path: path.clone(), digest: 1 << 40, room: 3 },
            "fresh": Message::Fresh => Message::Fresh,
            "stranger": Message::Stranger => Message::Stranger,
            "probe": Message::Probe => Message::Probe,
            "room": Message::Room { .. } => Message::Room { level: 2 },
            "missing": Message::Missing => Message::Missing,
            "quit": Message::Quit(_) => Message::Quit(Some(path.clone())),
        }),
    );
}

#[test]
fn everything_topologies_say_stays_as_it_is() {
    let mut held = Vectors::of(env!("CARGO_MANIFEST_DIR"), "tests/golden/topologies.txt");
    rings(&mut held);
    prefix_rings(&mut held);
    tapestries(&mut held);
    other_rings(&mut held);
    meshes(&mut held);
    trees(&mut held);
    polyrings(&mut held);
    held.close();
}

//! Three overlays in one process, each used for what it is good at: a ring to find, a mesh to announce, a tree to
//! stream. All three share one session for each pair of nodes.

use std::time::Duration;

use bytes::Bytes;
use polymorph::core::engine::io::Origin;
use polymorph::core::runtime::Subscription;
use polymorph::{Identity, Key, Node, Overlay};

/// How many nodes take part.
const NODES: usize = 8;
/// How many numbered chunks are streamed.
const CHUNKS: u32 = 20;

struct Member {
    node: Node,
    find: Overlay,
    announce: Overlay,
    stream: Overlay,
}

async fn member(seed: Option<&Member>) -> anyhow::Result<Member> {
    let node = polymorph::node(&Identity::generate()).listen("tcp://127.0.0.1:0".parse()?).start().await?;
    let me = node.guid();
    let find = node.attach(polymorph::overlay(me, "find", "chord", &[])?).await?;
    let announce = node.attach(polymorph::overlay(me, "announce", "hyparview-plumtree", &[])?).await?;
    let stream = node.attach(polymorph::overlay(me, "stream", "scribe", &[("base", "chord")])?).await?;
    let seeds: Vec<_> = seed.iter().map(|member| member.node.contact()).collect();
    for overlay in [&find, &announce, &stream] {
        overlay.join(&seeds).await?;
    }
    Ok(Member { node, find, announce, stream })
}

/// Publishes until one who hears it has: a mesh or a tree that has just been joined needs a moment to grow.
async fn publish_until_heard(from: &Overlay, topic: Option<Key>, hears: &mut [Subscription]) -> anyhow::Result<()> {
    for one in hears {
        loop {
            from.publish(topic, Bytes::from_static(b"are you there?"), Origin::Claimed).await?;
            match tokio::time::timeout(Duration::from_millis(200), one.next()).await {
                Ok(Some(_)) => break,
                Ok(None) => anyhow::bail!("the overlay ended"),
                Err(_) => {}
            }
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut members = vec![member(None).await?];
    while members.len() < NODES {
        members.push(member(members.first()).await?);
    }
    for member in &members {
        for overlay in [&member.find, &member.announce, &member.stream] {
            overlay.joined(Duration::from_secs(20)).await?;
        }
    }
    let (first, last) = (&members[0], &members[NODES - 1]);

    let key = Key::of(b"recipe/bread");
    let recipe = Bytes::from_static(b"flour, water, salt");
    let replicas = first.find.put(key, recipe, Duration::from_secs(3600)).await?;
    let found = last.find.get(key).await?;
    let value = found.first().map(|record| String::from_utf8_lossy(&record.value).into_owned());
    println!("find:     stored at {replicas} nodes, the last one found {:?}", value.unwrap_or_default());

    let mut hears = Vec::new();
    for member in &members[1..] {
        hears.push(member.announce.subscribe(None).await?);
    }
    publish_until_heard(&first.announce, None, &mut hears).await?;
    println!("announce: {} nodes heard the news", hears.len());

    let topic = Key::of(b"concert");
    let mut viewers = Vec::new();
    for member in &members[1..] {
        viewers.push(member.stream.subscribe(Some(topic)).await?);
    }
    publish_until_heard(&first.stream, Some(topic), &mut viewers).await?;
    for number in 0..CHUNKS {
        let chunk = Bytes::from(format!("chunk {number}"));
        first.stream.publish(Some(topic), chunk, Origin::Signed).await?;
    }
    for viewer in &mut viewers {
        let mut signed = 0;
        while signed < CHUNKS {
            let chunk = viewer.next().await.ok_or_else(|| anyhow::anyhow!("the overlay ended"))?;
            signed += u32::from(chunk.origin == Origin::Signed && chunk.payload.starts_with(b"chunk"));
        }
    }
    println!("stream:   {CHUNKS} signed chunks at each of {} nodes", viewers.len());

    let sessions = last.node.peers().await?;
    let shared = sessions.iter().filter(|peer| peer.overlays.len() == 3).count();
    println!("the last node has {} sessions; {shared} of them carry all three overlays", sessions.len());
    for member in members {
        member.node.shutdown(Duration::from_secs(2)).await;
    }
    Ok(())
}

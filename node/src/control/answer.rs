//! What a running node answers on its control socket.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use data_encoding::HEXLOWER_PERMISSIVE;
use polymorph::core::Standing;
use polymorph::core::engine::io::Origin;
use polymorph::{Guid, Key};
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;

use super::Request;
use crate::running::{INBOX, Running};

/// Answers a request, line by line.
pub(super) async fn answer(request: Request, node: &Running, lines: &Sender<Value>) -> anyhow::Result<()> {
    match request {
        Request::Status => say(lines, status(node).await?).await,
        Request::Peers => {
            for line in peers(node).await? {
                say(lines, line).await;
            }
        }
        Request::Overlays => {
            for line in overlays(node).await? {
                say(lines, line).await;
            }
        }
        Request::Attach { overlay } => {
            let overlay = node.attach(overlay.parse()?).await?;
            say(lines, json!({ "event": "attached", "overlay": overlay.name() })).await;
        }
        Request::Detach { overlay } => {
            node.detach(&overlay).await?;
            say(lines, json!({ "event": "detached", "overlay": overlay })).await;
        }
        Request::Lookup { overlay, key, count } => {
            let overlay = node.overlay(overlay.as_deref())?.overlay;
            let key = key_of(&key);
            let found = overlay.lookup(key, count.clamp(1, MAX_REPLICAS)).await?;
            let peers: Vec<String> = found.peers.iter().map(ToString::to_string).collect();
            let (owner, hops, timeouts) = (found.owner.to_string(), found.hops, found.timeouts);
            let key = data_encoding::HEXLOWER.encode(&key.0);
            say(lines, json!({ "key": key, "owner": owner, "peers": peers, "hops": hops, "timeouts": timeouts })).await;
        }
        Request::Send { overlay, to, payload } => {
            let overlay = node.overlay(overlay.as_deref())?.overlay;
            let payload = bytes(&payload)?;
            let to = match to.parse::<Guid>() {
                Ok(guid) => {
                    overlay.request(guid, INBOX, payload).await?;
                    guid
                }
                Err(_) => overlay.request_owner(key_of(&to), INBOX, payload).await?.0,
            };
            say(lines, json!({ "event": "sent", "to": to.to_string() })).await;
        }
        Request::Publish { overlay, topic, payload } => {
            let overlay = node.overlay(overlay.as_deref())?.overlay;
            let payload = bytes(&payload)?;
            let size = payload.len();
            overlay.publish(topic.map(|topic| key_of(&topic)), payload, Origin::Signed).await?;
            say(lines, json!({ "event": "published", "bytes": size })).await;
        }
        Request::Subscribe { overlay, topic } => {
            subscribe(node, overlay.as_deref(), topic.as_deref(), lines).await?;
        }
        Request::Records { overlay, key, what } => {
            let attached = node.overlay(overlay.as_deref())?;
            super::records::answer(what, (node, &attached), key_of(&key), lines).await?;
        }
    }
    Ok(())
}

/// How many peers of a replica set may be asked for.
const MAX_REPLICAS: usize = 64;

pub(super) async fn say(lines: &Sender<Value>, line: Value) {
    let _ = lines.send(json!({ "ok": line })).await;
}

/// 64 hexadecimal digits are a key; anything else is the name of one.
fn key_of(text: &str) -> Key {
    text.parse().unwrap_or_else(|_| Key::of(text.as_bytes()))
}

pub(super) fn bytes(hex: &str) -> anyhow::Result<Bytes> {
    Ok(HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).context("the payload is not hexadecimal")?.into())
}

/// Bytes as a text if they are one.
pub(super) fn shown(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "hex": data_encoding::HEXLOWER.encode(bytes) }),
    }
}

async fn status(node: &Running) -> anyhow::Result<Value> {
    let status = node.node.status().await?;
    let listen: Vec<String> = node.node.listening().iter().map(ToString::to_string).collect();
    Ok(json!({
        "guid": node.node.guid().to_string(), "contact": node.node.contact().to_string(), "listen": listen,
        "peers": status.sessions, "overlays": status.overlays, "engine_bytes": status.engine_bytes,
        "dropped_peers": status.dropped,
        "process": std::process::id(),
    }))
}

async fn peers(node: &Running) -> anyhow::Result<Vec<Value>> {
    let peers = node.node.peers().await?;
    let line = |peer: &polymorph::core::engine::metrics::PeerInfo| {
        json!({
            "peer": peer.peer.to_string(), "rtt_ms": peer.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
            "queued_bytes": peer.queued, "overlays": peer.overlays.len(), "required": peer.required,
        })
    };
    Ok(peers.iter().map(line).collect())
}

async fn overlays(node: &Running) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    for attached in node.overlays() {
        let neighbors = attached.overlay.neighbors().await?;
        let metrics = attached.overlay.metrics().await?;
        let neighbors: Vec<Value> = neighbors
            .iter()
            .map(|n| json!({ "peer": n.peer.to_string(), "role": format!("{:?}", n.role).to_lowercase() }))
            .collect();
        all.push(json!({
            "name": attached.text.name, "topology": attached.text.tag(),
            "client": attached.overlay.standing() == Standing::Client, "neighbors": neighbors,
            "frames_in": metrics.frames_in, "frames_out": metrics.frames_out,
            "payload_bytes_in": metrics.payload_bytes_in, "payload_bytes_out": metrics.payload_bytes_out,
            "forwards": metrics.forwards, "copies": metrics.copies, "duplicates": metrics.duplicates,
            "dropped": metrics.dropped, "timeouts": metrics.timeouts, "faults": metrics.faults,
            "doubts": metrics.doubts,
            "records": metrics.records, "records_handed_over": metrics.handed_over,
            "records_refused": {
                "older": metrics.refused.older, "forged": metrics.refused.forged,
                "too_large": metrics.refused.too_large, "expired": metrics.refused.expired,
                "full": metrics.refused.full, "over_quota": metrics.refused.over_quota,
            },
        }));
    }
    Ok(all)
}

async fn subscribe(
    node: &Running,
    overlay: Option<&str>,
    topic: Option<&str>,
    lines: &Sender<Value>,
) -> anyhow::Result<()> {
    let overlay = node.overlay(overlay)?.overlay;
    let mut subscription = overlay.subscribe(topic.map(key_of)).await?;
    say(lines, json!({ "event": "subscribed", "overlay": overlay.name(), "topic": topic })).await;
    while let Some(news) = subscription.next().await {
        let payload = shown(&news.payload);
        let origin = if news.origin == Origin::Signed { "signed" } else { "claimed" };
        say(
            lines,
            json!({
                "event": "published", "from": news.from.to_string(), "origin": origin, "hops": news.hops,
                "payload": payload, "missed": subscription.missed(),
            }),
        )
        .await;
    }
    bail!("the overlay was detached")
}

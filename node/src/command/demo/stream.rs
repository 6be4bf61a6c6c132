//! A stream of numbered, signed chunks over the tree, verified at every node.

use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use polymorph::core::engine::io::Origin;
use polymorph::core::runtime::OverlayError;
use polymorph::{Guid, Key, Overlay, Publication, Subscription};
use tokio::time::timeout;

use super::crew::Crew;
use crate::patience;

/// How many chunks are sent.
const CHUNKS: u32 = 200;
/// How long each is: a moment of sound.
const CHUNK_BYTES: usize = 2048;
/// How long a receiver waits for its next chunk before it counts the rest as missed.
const SILENCE: Duration = Duration::from_secs(5);

/// What became of the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamReport {
    pub(super) sent: u32,
    /// The fewest verified chunks of any receiver.
    pub(super) delivered_min: u32,
    /// Chunks that did not arrive, all receivers together.
    pub(super) missed: u32,
    pub(super) receivers: usize,
    pub(super) seconds: f64,
}

/// Everybody subscribes, the first node publishes.
pub(super) async fn run(crew: &Crew) -> anyhow::Result<StreamReport> {
    let topic = Key::of(b"demo stream");
    let mut subscriptions = Vec::new();
    for member in &crew.members {
        subscriptions.push(member.stream.subscribe(Some(topic)).await?);
    }
    crew.wait_until("the tree grows", async |crew| crew.tree().await).await?;
    let source = &crew.members[0];
    let from = source.node.guid();
    let began = Instant::now();
    let receivers = subscriptions.into_iter().skip(1).map(|subscription| receive(subscription, from));
    let (sent, delivered) = tokio::join!(send(&source.stream, topic), futures_util::future::join_all(receivers));
    sent?;
    let delivered = delivered.into_iter().collect::<anyhow::Result<Vec<u32>>>()?;
    let report = StreamReport {
        sent: CHUNKS,
        delivered_min: delivered.iter().copied().min().unwrap_or_default(),
        missed: delivered.iter().map(|count| CHUNKS - count).sum(),
        receivers: delivered.len(),
        seconds: began.elapsed().as_secs_f64(),
    };
    ensure!(
        report.missed == 0,
        "the stream lost {} of {CHUNKS} chunks on the way; try again when the machine is less busy",
        report.missed
    );
    Ok(report)
}

/// The number, then bytes that follow from it.
fn chunk(number: u32) -> Bytes {
    let mut bytes = vec![0; CHUNK_BYTES];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes[4..]);
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes.into()
}

async fn send(overlay: &Overlay, topic: Key) -> Result<(), OverlayError> {
    for number in 0..CHUNKS {
        let publish = async || overlay.publish(Some(topic), chunk(number), Origin::Signed).await;
        patience::until(overlay, SILENCE, publish).await?;
    }
    Ok(())
}

/// How many different chunks came and were good.
async fn receive(mut subscription: Subscription, from: Guid) -> anyhow::Result<u32> {
    let mut seen = vec![false; CHUNKS as usize];
    let mut count = 0;
    while count < CHUNKS {
        let Ok(Some(publication)) = timeout(SILENCE, subscription.next()).await else { break };
        let number = verify(&publication, from)?;
        count += u32::from(!std::mem::replace(&mut seen[number as usize], true));
    }
    Ok(count)
}

fn verify(publication: &Publication, from: Guid) -> anyhow::Result<u32> {
    let Publication { payload, origin, .. } = publication;
    ensure!(*origin == Origin::Signed && publication.from == from, "a chunk of the stream has a wrong origin");
    let number = payload.first_chunk().map(|number| u32::from_le_bytes(*number)).filter(|number| *number < CHUNKS);
    match number {
        Some(number) if *payload == chunk(number) => Ok(number),
        _ => anyhow::bail!("a chunk of the stream was damaged on its way"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_or_foreign_chunk_does_not_verify() {
        let (me, other) = (Guid([1; 32]), Guid([2; 32]));
        let good = Publication { topic: None, from: me, origin: Origin::Signed, hops: 1, payload: chunk(7) };
        assert_eq!(verify(&good, me).unwrap(), 7);
        assert!(verify(&good, other).is_err());
        assert!(verify(&Publication { origin: Origin::Claimed, ..good.clone() }, me).is_err());
        let mut damaged = chunk(7).to_vec();
        damaged[100] ^= 1;
        assert!(verify(&Publication { payload: damaged.into(), ..good.clone() }, me).is_err());
        assert!(verify(&Publication { payload: Bytes::from_static(b"x"), ..good }, me).is_err());
    }
}

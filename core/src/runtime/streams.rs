//! Bulk streams: bound to a session, opened for a service of an overlay. Their bytes never pass the engine.
//!
//! Where a stream is a connection of its own only the side that dialed can open one. The other side asks it to: a
//! request to service [`BACK`] with a number and the service that is meant, answered by a stream for service
//! [`BACK`] that begins with that number.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::mail::Word;
use super::session::Wire;
use super::transport::{Connection, Stream, TransportError};
use crate::Guid;

/// How long an opener may take to say what the stream is for.
const HEADER_WITHIN: Duration = Duration::from_secs(10);
/// How many accepted streams wait for one service.
pub(super) const STREAM_QUEUE: usize = 64;
/// The runtime's own service on every overlay. No name has this number but one in four thousand million.
pub(super) const BACK: u32 = 0;
/// How many streams a node opens at once because peers asked it to.
pub(super) const OPENING_BACK: usize = 64;
/// How many streams a node waits for at once, that it asked peers to open.
pub(super) const MAX_EXPECTED: usize = 1024;
/// How many streams of one peer may wait to say what they are for.
const UNNAMED: usize = 32;

/// A bulk stream that a peer opened for a service.
#[derive(Debug)]
pub struct IncomingStream {
    /// Who opened it, proven.
    pub peer: Guid,
    /// The stream.
    pub stream: Stream,
}

/// The bulk streams that peers open for one service. Dropping it unregisters the service.
#[derive(Debug)]
pub struct IncomingStreams {
    pub(super) queue: mpsc::Receiver<IncomingStream>,
}

impl IncomingStreams {
    /// The next stream; `None` once the overlay is detached. Cancel-safe.
    pub async fn next(&mut self) -> Option<IncomingStream> {
        self.queue.recv().await
    }
}

/// What an opener says first: the tag of the overlay in its own numbering, and the service.
pub(super) async fn write_header(stream: &mut Stream, tag: u32, service: u32) -> std::io::Result<()> {
    let mut header = [0; 8];
    header[..4].copy_from_slice(&tag.to_le_bytes());
    header[4..].copy_from_slice(&service.to_le_bytes());
    stream.send.write_all(&header).await
}

/// What a peer said that a stream is for.
pub(super) struct Named {
    pub(super) tag: u32,
    pub(super) service: u32,
    /// For [`BACK`]: which of the streams that were asked for.
    pub(super) number: u64,
    pub(super) stream: Stream,
}

async fn read_header(stream: Stream) -> Option<Named> {
    tokio::time::timeout(HEADER_WITHIN, read_name(stream)).await.ok()?.ok()
}

async fn read_name(mut stream: Stream) -> std::io::Result<Named> {
    let tag = stream.recv.read_u32_le().await?;
    let service = stream.recv.read_u32_le().await?;
    let number = if service == BACK { stream.recv.read_u64_le().await? } else { 0 };
    Ok(Named { tag, service, number, stream })
}

/// What a node says that asks its peer to open a stream.
pub(super) fn ask_back(number: u64, service: u32) -> Bytes {
    [&number.to_le_bytes()[..], &service.to_le_bytes()].concat().into()
}

/// The number and the service of [`ask_back`].
pub(super) fn asked_back(payload: &[u8]) -> Option<(u64, u32)> {
    let (number, service) = payload.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), u32::from_le_bytes(service.try_into().ok()?)))
}

/// Opens the stream a peer asked for; this side serves it.
pub(super) async fn open_back(
    connection: Arc<dyn Connection>,
    tag: u32,
    number: u64,
    served: mpsc::OwnedPermit<IncomingStream>,
) -> Result<(), TransportError> {
    let mut stream = tokio::time::timeout(HEADER_WITHIN, connection.open())
        .await
        .map_err(|_| TransportError::Timeout(connection.remote()))??;
    let named = async {
        write_header(&mut stream, tag, BACK).await?;
        stream.send.write_all(&number.to_le_bytes()).await?;
        stream.send.flush().await
    };
    named.await.map_err(|error| TransportError::Io { address: connection.remote(), error })?;
    served.send(IncomingStream { peer: connection.peer(), stream });
    Ok(())
}

/// Takes in a wire's bulk streams, for as long as it is polled.
pub(super) async fn accept(wire: &Wire) -> Infallible {
    // Most wires never carry one.
    let mut unnamed = None::<JoinSet<_>>;
    loop {
        let reading = unnamed.as_ref().map_or(0, JoinSet::len);
        let named = async { unnamed.as_mut()?.join_next().await };
        tokio::select! {
            biased;
            Some(named) = named, if reading > 0 => {
                if let Ok(Some(named)) = named {
                    wire.tell(|| Word::Stream(named)).await;
                }
            }
            stream = wire.connection.accept(), if reading < UNNAMED => match stream {
                Ok(stream) => drop(unnamed.get_or_insert_default().spawn(read_header(stream))),
                // None will come; the reader hears why.
                Err(_) => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_question_for_a_stream_is_understood() {
        let asked = ask_back(7, 9);
        assert_eq!(asked_back(&asked), Some((7, 9)));
        assert_eq!(asked_back(&asked[..asked.len() - 1]), None);
        assert_eq!(asked_back(&[&asked[..], &[0]].concat()), None);
        assert_eq!(asked_back(&[]), None);
    }

    #[tokio::test]
    async fn what_an_opener_says_first_stays_as_it_is() {
        let (here, there) = tokio::io::duplex(64);
        let mut stream = Stream { recv: Box::new(there), send: Box::new(here) };
        write_header(&mut stream, 0x301, 0x0403_0201).await.unwrap();
        let mut header = [0; 8];
        stream.recv.read_exact(&mut header).await.unwrap();
        assert_eq!(header, [1, 3, 0, 0, 1, 2, 3, 4]);
        assert_eq!(&ask_back(7, 0x0403_0201)[..], [7, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
    }
}

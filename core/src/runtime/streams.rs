//! Bulk streams: bound to a session, opened for a service of an overlay. Their bytes never pass the engine.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::driver::Mail;
use super::session::Wire;
use super::transport::Stream;
use crate::Guid;

/// How long an opener may take to say what the stream is for.
const HEADER_WITHIN: Duration = Duration::from_secs(10);
/// How many accepted streams wait for one service.
pub(super) const STREAM_QUEUE: usize = 64;
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

async fn read_header(mut stream: Stream) -> Option<(u32, u32, Stream)> {
    let mut header = [0; 8];
    tokio::time::timeout(HEADER_WITHIN, stream.recv.read_exact(&mut header)).await.ok()?.ok()?;
    let [t0, t1, t2, t3, s0, s1, s2, s3] = header;
    Some((u32::from_le_bytes([t0, t1, t2, t3]), u32::from_le_bytes([s0, s1, s2, s3]), stream))
}

/// The task that takes in a wire's bulk streams.
pub(super) async fn accept(wire: Wire) {
    let mut unnamed = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = wire.stop.cancelled() => return,
            Some(named) = unnamed.join_next(), if !unnamed.is_empty() => {
                if let Ok(Some((tag, service, stream))) = named {
                    let mail = Mail::Stream { peer: wire.peer, conn: wire.conn, tag, service, stream };
                    if wire.mailbox.send(mail).await.is_err() {
                        return;
                    }
                }
            }
            stream = wire.connection.accept(), if unnamed.len() < UNNAMED => match stream {
                Ok(stream) => drop(unnamed.spawn(read_header(stream))),
                Err(_) => return,
            }
        }
    }
}

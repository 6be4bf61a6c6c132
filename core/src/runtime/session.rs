//! The tasks of one wire: one reads chunks of whole frames, one writes what the driver left, one waits for bulk
//! streams.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::driver::{Mail, Mailbox};
use super::streams;
use super::transport::{Connection, RecvStream, SendStream};
use crate::Guid;
use crate::engine::io::{Class, ConnId};
use crate::topology::erased::Boxed;
use crate::wire::frame::Goodbye;
use crate::wire::{self, Frame};

/// Payloads from this size on are written from where they are; smaller ones are copied beside their headers.
const COPY_BELOW: usize = 8 * 1024;
/// How much an idle wire reads at once, and a busy one.
const READ_IDLE: usize = 512;
const READ_BUSY: usize = 64 * 1024;
/// How long what is queued may take to be written once a wire is to be closed: 8 MiB over a slow line.
const LINGER: Duration = Duration::from_secs(10);
/// The same for a peer that broke the rules: it is told so if it reads, and not waited for.
const LINGER_BAD: Duration = Duration::from_secs(1);
/// How long the peer's end may take to close after this one: a few wide-area round trips.
const PARTING: Duration = Duration::from_secs(1);
/// After so many written bytes the driver is told, so that whoever was refused may go on.
const TELL_DRAINED: u32 = 32 * 1024;

/// What waits to be written, the most urgent first.
#[derive(Default)]
struct Waiting {
    urgent: BytesMut,
    segments: Vec<Bytes>,
    tail: BytesMut,
    /// How long the tail was the last time, and so most likely the next.
    expected: usize,
    charge: u32,
    drained: u32,
    /// Why the wire is to be closed once the rest is written.
    closing: Option<Goodbye>,
}

/// The out-buffer of a wire, filled by the driver and emptied by the writer.
#[derive(Default)]
pub(super) struct Out {
    waiting: Mutex<Waiting>,
    ready: Notify,
    closed: Notify,
}

impl Out {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Adds a frame. The writer is woken by [`Out::flush`], once for all.
    pub(super) fn push(&self, frame: &Frame<Boxed>, class: Class, scratch: &mut Vec<u8>) {
        let mut guard = self.lock();
        let waiting = &mut *guard;
        waiting.charge += frame.charge();
        let to = if class == Class::Control { &mut waiting.urgent } else { &mut waiting.tail };
        if class != Class::Control && to.is_empty() {
            to.reserve(waiting.expected);
        }
        wire::encode_header(frame, scratch, to);
        if frame.payload.len() < COPY_BELOW {
            to.extend_from_slice(&frame.payload);
        } else {
            if class == Class::Control {
                let urgent = waiting.urgent.split();
                waiting.tail.unsplit(urgent);
            }
            let header = waiting.tail.split().freeze();
            waiting.segments.push(header);
            waiting.segments.push(frame.payload.clone());
        }
    }

    /// Wakes the writer, and takes what was written since.
    pub(super) fn flush(&self) -> u32 {
        self.ready.notify_one();
        std::mem::take(&mut self.lock().drained)
    }

    /// The writer ends once everything is written, or the peer was given time enough to read it.
    pub(super) fn close(&self, why: Goodbye) {
        self.lock().closing.get_or_insert(why);
        self.closed.notify_one();
        self.ready.notify_one();
    }

    /// Ends when a wire that is to be closed has lingered long enough.
    async fn lingered(&self, closing: Option<Goodbye>) {
        if closing.is_none() {
            self.closed.notified().await;
        }
        let bad = self.lock().closing == Some(Goodbye::Misbehaved);
        tokio::time::sleep(if bad { LINGER_BAD } else { LINGER }).await;
    }
}

/// What the tasks of one wire share.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) peer: Guid,
    pub(super) conn: ConnId,
    pub(super) connection: Arc<dyn Connection>,
    pub(super) mailbox: Mailbox,
    pub(super) stop: CancellationToken,
}

impl Wire {
    /// Nothing more is written. The wire ends once the peer's end does: closed with bytes of the peer unread, TCP
    /// resets it and QUIC sends no more, and the goodbye on the way would be lost.
    async fn part(&self) {
        let _ = tokio::time::timeout(PARTING, self.stop.cancelled()).await;
        self.stop.cancel();
    }
}

/// Starts the tasks of a wire.
pub(super) fn start(wire: Wire, recv: RecvStream, send: SendStream, out: Arc<Out>) {
    tokio::spawn(write(wire.clone(), send, out));
    tokio::spawn(streams::accept(wire.clone()));
    tokio::spawn(read(wire, recv));
}

/// How much of a buffer is whole frames.
fn whole(buffer: &[u8]) -> Result<usize, wire::WireError> {
    let mut at = 0;
    while let Some((len, prefix)) = wire::length(&buffer[at..])? {
        if buffer.len() - at < prefix + len {
            break;
        }
        at += prefix + len;
    }
    Ok(at)
}

async fn read(wire: Wire, mut recv: RecvStream) {
    let Wire { peer, conn, mailbox, stop, connection } = wire;
    let mut buffer = BytesMut::new();
    let mut size = READ_IDLE;
    let why = loop {
        buffer.reserve(size);
        let got = tokio::select! {
            biased;
            () = stop.cancelled() => break "closed".to_owned(),
            got = recv.read_buf(&mut buffer) => got,
        };
        match got {
            Ok(0) => break "the peer closed".into(),
            Err(error) => break error.to_string(),
            Ok(got) => size = if got >= size { READ_BUSY } else { READ_IDLE },
        }
        let mail = match whole(&buffer) {
            Ok(0) => continue,
            Ok(len) => Mail::Chunk { peer, conn, chunk: buffer.split_to(len) },
            Err(_) => Mail::Garbage { peer, conn },
        };
        if mailbox.send(mail).await.is_err() {
            break "the node ended".into();
        }
    };
    tracing::debug!(peer = %peer.short(), %why, "wire ended");
    stop.cancel();
    connection.close(&why);
    let _ = mailbox.send(Mail::Lost { peer, conn }).await;
}

async fn write(wire: Wire, mut send: SendStream, out: Arc<Out>) {
    loop {
        tokio::select! {
            biased;
            () = out.ready.notified() => {}
            () = wire.stop.cancelled() => return,
        }
        let (urgent, segments, tail, charge, closing) = {
            let mut guard = out.lock();
            let waiting = &mut *guard;
            let urgent = std::mem::take(&mut waiting.urgent);
            let segments = std::mem::take(&mut waiting.segments);
            let tail = std::mem::take(&mut waiting.tail);
            waiting.expected = tail.len();
            (urgent, segments, tail, std::mem::take(&mut waiting.charge), waiting.closing)
        };
        let written = tokio::select! {
            written = write_all(&mut send, urgent, segments, tail) => written,
            () = wire.stop.cancelled() => return,
            () = out.lingered(closing) => return wire.stop.cancel(),
        };
        if written.is_err() {
            // Why the peer closed may stand in what it sent before: the reader comes to that first.
            return wire.part().await;
        }
        let tell = {
            let mut waiting = out.lock();
            waiting.drained += charge;
            (waiting.drained >= TELL_DRAINED).then(|| std::mem::take(&mut waiting.drained))
        };
        if let Some(bytes) = tell {
            let _ = wire.mailbox.send(Mail::Drained { peer: wire.peer, conn: wire.conn, bytes }).await;
        }
        if let Some(why) = closing {
            let _ = tokio::time::timeout(PARTING, send.shutdown()).await;
            match why {
                // Nothing more is read of a peer that broke the rules.
                Goodbye::Misbehaved => wire.stop.cancel(),
                _ => wire.part().await,
            }
            return;
        }
    }
}

async fn write_all(
    send: &mut SendStream,
    mut urgent: BytesMut,
    segments: Vec<Bytes>,
    mut tail: BytesMut,
) -> std::io::Result<()> {
    if segments.is_empty() && urgent.len() + tail.len() < READ_BUSY {
        // The common case: everything in one write.
        if !urgent.is_empty() {
            urgent.extend_from_slice(&tail);
            tail = urgent;
        }
        send.write_all(&tail).await?;
    } else {
        send.write_all(&urgent).await?;
        for segment in &segments {
            send.write_all(segment).await?;
        }
        send.write_all(&tail).await?;
    }
    send.flush().await
}

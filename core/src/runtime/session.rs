//! The tasks of one wire: one reads chunks of whole frames and waits for bulk streams, one writes what the driver left.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::mail::{Mail, Mailbox, Word};
use super::streams;
use super::transport::{Connection, RecvStream, SendStream};
use crate::Guid;
use crate::engine::io::{Class, ConnId};
use crate::topology::erased::Boxed;
use crate::wire::frame::Goodbye;
use crate::wire::{self, Frame};

/// How much bulk is written before it is looked again whether something more urgent came.
const BULK_AT_ONCE: usize = 64 * 1024;
/// How much an idle wire reads at once, and a busy one; in between it grows by steps, since one answer of a few
/// kibibytes makes no wire busy.
const READ_IDLE: usize = 512;
const READ_BUSY: usize = 64 * 1024;
const READ_GROWTH: usize = 4;
/// How long what is queued may take to be written once a wire is to be closed: 8 MiB over a slow line.
const LINGER: Duration = Duration::from_secs(10);
/// The same for a peer that broke the rules: it is told so if it reads, and not waited for.
const LINGER_BAD: Duration = Duration::from_secs(1);
/// How long the peer's end may take to close after this one: a few wide-area round trips.
const PARTING: Duration = Duration::from_secs(1);
/// After so many written bytes the driver is told, so that whoever was refused may go on.
const TELL_DRAINED: u32 = 32 * 1024;

/// What waits to be written, the most urgent first. Whole frames, those of a class in order.
#[derive(Default)]
struct Waiting {
    control: BytesMut,
    timely: BytesMut,
    messages: BytesMut,
    /// How long the messages were the last time, and so most likely the next.
    expected: usize,
    /// What the frames above count.
    charge: u32,
    bulk: VecDeque<Large>,
    /// What was written and the driver was not told of.
    drained: u32,
    /// Why the wire is to be closed once the rest is written, and until when that may take.
    closing: Option<(Goodbye, Instant)>,
}

/// A frame whose payload stays where it is.
struct Large {
    header: Bytes,
    payload: Bytes,
    charge: u32,
}

/// What is written at once.
struct Batch {
    small: [BytesMut; 3],
    bulk: Vec<Large>,
    charge: u32,
    /// Whether more is left.
    more: bool,
    closing: Option<Goodbye>,
}

impl Waiting {
    /// Everything small, and of what is large only so much that what is urgent needs not wait for long.
    fn take(&mut self) -> Batch {
        self.expected = self.messages.len();
        let (mut bulk, mut bytes, mut charge) = (Vec::new(), 0, mem::take(&mut self.charge));
        while bytes < BULK_AT_ONCE
            && let Some(large) = self.bulk.pop_front()
        {
            bytes += large.payload.len();
            charge += large.charge;
            bulk.push(large);
        }
        let small = [&mut self.control, &mut self.timely, &mut self.messages].map(mem::take);
        Batch { small, bulk, charge, more: !self.bulk.is_empty(), closing: self.closing.map(|(why, _)| why) }
    }
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
        let to = match class {
            Class::Control => &mut waiting.control,
            Class::Deadline => &mut waiting.timely,
            Class::Message => &mut waiting.messages,
            Class::Bulk => {
                let mut header = BytesMut::new();
                wire::encode_header(frame, scratch, &mut header);
                let (header, payload, charge) = (header.freeze(), frame.payload.clone(), frame.charge());
                return waiting.bulk.push_back(Large { header, payload, charge });
            }
        };
        if class == Class::Message && to.is_empty() {
            to.reserve(waiting.expected);
        }
        waiting.charge += frame.charge();
        wire::encode_header(frame, scratch, to);
        to.extend_from_slice(&frame.payload);
    }

    /// Wakes the writer, and takes what was written since.
    pub(super) fn flush(&self) -> u32 {
        self.ready.notify_one();
        mem::take(&mut self.lock().drained)
    }

    /// The writer ends once everything is written, or the peer was given time enough to read it.
    pub(super) fn close(&self, why: Goodbye) {
        let linger = if why == Goodbye::Misbehaved { LINGER_BAD } else { LINGER };
        self.lock().closing.get_or_insert_with(|| (why, Instant::now() + linger));
        self.closed.notify_one();
        self.ready.notify_one();
    }

    /// Ends when a wire that is to be closed has lingered long enough.
    async fn lingered(&self, closing: bool) {
        if !closing {
            self.closed.notified().await;
        }
        let until = self.lock().closing.map(|(_, until)| until);
        tokio::time::sleep_until(until.unwrap_or_else(Instant::now)).await;
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
    /// Tells the driver what `word` makes, once there is room for it; `false` if the node ended. The place comes first:
    /// a task has room for all it may ever hold while it waits.
    pub(super) async fn tell(&self, word: impl FnOnce() -> Word) -> bool {
        let Ok(place) = self.mailbox.reserve().await else { return false };
        place.send(Mail::Wire { peer: self.peer, conn: self.conn, word: word() });
        true
    }

    /// Nothing more is written. The wire ends once the peer's end does: closed with bytes of the peer unread, TCP
    /// resets it and QUIC sends no more, and the goodbye on the way would be lost.
    async fn part(&self) {
        let _ = tokio::time::timeout(PARTING, self.stop.cancelled()).await;
        self.stop.cancel();
    }
}

/// Starts the tasks of a wire.
pub(super) fn start(wire: Wire, recv: RecvStream, send: SendStream, out: Arc<Out>) {
    tokio::spawn(speak(wire.clone(), send, out));
    tokio::spawn(listen(wire, recv));
}

/// Takes in what the peer sends until the wire ends.
async fn listen(wire: Wire, recv: RecvStream) {
    let why = tokio::select! {
        biased;
        why = read(&wire, recv) => why,
        never = streams::accept(&wire) => match never {},
    };
    tracing::debug!(peer = %wire.peer.short(), %why, "wire ended");
    wire.stop.cancel();
    wire.connection.close(&why);
    wire.tell(|| Word::Lost).await;
}

/// Sends what the driver leaves until the wire ends.
async fn speak(wire: Wire, send: SendStream, out: Arc<Out>) {
    tokio::select! {
        biased;
        () = write(&wire, send, &out) => {}
        () = wire.stop.cancelled() => {}
    }
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

/// Reads until the wire is stopped or the peer's end closes or fails; returns why it ended. What was read is told first.
async fn read(wire: &Wire, mut recv: RecvStream) -> String {
    let mut stopped = pin!(wire.stop.cancelled());
    let mut buffer = BytesMut::new();
    let mut size = READ_IDLE;
    loop {
        let got = tokio::select! {
            biased;
            () = &mut stopped => return "closed".into(),
            got = receive(&mut recv, &mut buffer, size) => got,
        };
        match got {
            Ok(0) => return "the peer closed".into(),
            Err(error) => return error.to_string(),
            Ok(got) => size = if got >= size { READ_BUSY.min(READ_GROWTH * size) } else { READ_IDLE },
        }
        let len = whole(&buffer);
        if len == Ok(0) {
            continue;
        }
        let word = || len.map_or(Word::Garbage, |len| Word::Chunk(wire::split(&mut buffer, len)));
        if !wire.tell(word).await {
            return "the node ended".into();
        }
    }
}

/// Reads up to `size` bytes or a few more. While nothing comes the buffer owns no memory, if nothing is in it: most
/// wires are idle most of the time.
async fn receive(recv: &mut RecvStream, buffer: &mut BytesMut, size: usize) -> std::io::Result<usize> {
    std::future::poll_fn(|cx| {
        buffer.reserve(size);
        let got = pin!(recv.read_buf(buffer)).poll(cx);
        if got.is_pending() && buffer.is_empty() {
            *buffer = BytesMut::new();
        }
        got
    })
    .await
}

/// Writes until the wire is to be closed, or breaks.
async fn write(wire: &Wire, mut send: SendStream, out: &Out) {
    let mut more = false;
    loop {
        if !more {
            out.ready.notified().await;
        }
        let mut batch = out.lock().take();
        let (charge, closing) = (batch.charge, batch.closing);
        more = batch.more;
        let written = tokio::select! {
            biased;
            written = write_all(&mut send, &mut batch) => written,
            () = out.lingered(closing.is_some()) => return wire.stop.cancel(),
        };
        drop(batch);
        if written.is_err() {
            // Why the peer closed may stand in what it sent before: the reader comes to that first. Boxed, since every
            // wire has room for what its task may ever wait for, and this comes once.
            return Box::pin(wire.part()).await;
        }
        let tell = {
            let mut waiting = out.lock();
            waiting.drained += charge;
            (waiting.drained >= TELL_DRAINED).then(|| mem::take(&mut waiting.drained))
        };
        if let Some(bytes) = tell {
            wire.tell(|| Word::Drained(bytes)).await;
        }
        if let Some(why) = closing.filter(|_| !more) {
            return Box::pin(end(wire, send, why)).await;
        }
    }
}

/// Everything is written.
async fn end(wire: &Wire, mut send: SendStream, why: Goodbye) {
    let _ = tokio::time::timeout(PARTING, send.shutdown()).await;
    match why {
        // Nothing more is read of a peer that broke the rules.
        Goodbye::Misbehaved => wire.stop.cancel(),
        _ => wire.part().await,
    }
}

async fn write_all(send: &mut SendStream, batch: &mut Batch) -> std::io::Result<()> {
    let [control, timely, messages] = &mut batch.small;
    if control.is_empty() && timely.is_empty() {
        send.write_all(messages).await?;
    } else if control.len() + timely.len() + messages.len() < READ_BUSY {
        // One write, and so one record of TLS and one packet.
        control.extend_from_slice(timely);
        control.extend_from_slice(messages);
        send.write_all(control).await?;
    } else {
        for small in [control, timely, messages] {
            send.write_all(small).await?;
        }
    }
    for Large { header, payload, .. } in &batch.bulk {
        send.write_all(header).await?;
        send.write_all(payload).await?;
    }
    send.flush().await
}

//! What the driver is sent, by the tasks of its wires and by handles.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::{mpsc, oneshot};

use super::node::Status;
use super::overlay::Watcher;
use super::service::{Done, Work};
use super::streams::{IncomingStream, Named};
use super::transport::{Connection, Stream};
use crate::Guid;
use crate::engine::Slot;
use crate::engine::io::{Attach, AttachError, Command, ConnId, Dialer, Outcome};
use crate::engine::metrics::{Metrics, PeerInfo};
use crate::snapshot::Snapshot;
use crate::topology::erased::Boxed;
use crate::topology::event::Ticket;
use crate::topology::question::Neighbor;

/// Where mail for the driver goes.
pub(super) type Mailbox = mpsc::Sender<Mail>;

/// How much mail waits for the driver; a full box slows readers and handles down.
pub(super) const MAILBOX: usize = 1024;

/// What the tasks of a wire tell.
pub(super) enum Word {
    /// Whole frames came, one after the other.
    Chunk(BytesMut),
    /// Bytes came that are no frames.
    Garbage,
    /// So many queued bytes were written.
    Drained(u32),
    /// The peer opened a bulk stream.
    Stream(Named),
    /// The wire ended.
    Lost,
}

/// What the driver is sent.
pub(super) enum Mail {
    Wire {
        peer: Guid,
        conn: ConnId,
        word: Word,
    },
    Connected {
        connection: Arc<dyn Connection>,
        dialer: Dialer,
    },
    DialFailed {
        peer: Guid,
    },
    /// A peer was asked to open this stream.
    Expect {
        peer: Guid,
        number: u64,
        reply: oneshot::Sender<Stream>,
    },
    Tell(Slot, Command<Boxed>),
    /// What a service is done with.
    Served {
        slot: Slot,
        done: Vec<Done>,
    },
    Ask {
        slot: Slot,
        ticket: Ticket,
        command: Command<Boxed>,
        reply: oneshot::Sender<Outcome>,
    },
    Attach {
        attach: Box<Attach<Boxed>>,
        reply: oneshot::Sender<Result<Slot, AttachError>>,
    },
    Detach {
        slot: Slot,
        reply: oneshot::Sender<()>,
    },
    Serve {
        slot: Slot,
        service: u32,
        queue: Option<mpsc::Sender<Work>>,
    },
    Streams {
        slot: Slot,
        service: u32,
        queue: mpsc::Sender<IncomingStream>,
    },
    Watch {
        slot: Slot,
        watcher: Watcher,
    },
    /// The connection to a peer and this node's tag of an overlay, to open a stream with.
    Open {
        slot: Slot,
        peer: Guid,
        reply: oneshot::Sender<Option<(Arc<dyn Connection>, u32)>>,
    },
    /// One stream more, or one less, needs the session.
    Use {
        slot: Slot,
        peer: Guid,
        more: i32,
    },
    Neighbors {
        slot: Slot,
        reply: oneshot::Sender<(Vec<Neighbor>, Metrics)>,
    },
    Snapshot {
        slot: Slot,
        reply: oneshot::Sender<Option<Snapshot>>,
    },
    Status {
        reply: oneshot::Sender<Status>,
    },
    Peers {
        reply: oneshot::Sender<Vec<PeerInfo>>,
    },
    Shutdown {
        reply: oneshot::Sender<()>,
    },
}

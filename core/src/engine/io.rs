//! What goes into the engine and what comes out of it.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Slot;
use crate::overlay::Grant;
use crate::record::{GetOptions, PutOptions, Record, Source};
use crate::snapshot::{KeptRecord, OwnRecord};
use crate::topology::Topology;
use crate::topology::event::{Change, Reachability, Ticket};
use crate::topology::question::{CopyId, Hold, Target};
use crate::wire::Frame;
use crate::wire::frame::{Goodbye, Status};
pub use crate::wire::{Class, Urgency};
use crate::{Contact, Guid, Key, OverlayName, Standing};

/// Names one wire between this node and a peer; chosen by the driver, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct ConnId(pub u64);

/// Which side dialed a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Dialer {
    /// This node.
    Me,
    /// The peer.
    Peer,
}

/// Something that happened outside the engine.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Input<T: Topology> {
    /// An authenticated wire to a peer is there.
    Connected {
        /// Who.
        peer: Guid,
        /// The wire.
        conn: ConnId,
        /// Who dialed.
        dialer: Dialer,
        /// What only the two ends of this wire know.
        exporter: [u8; 32],
    },
    /// A dial the engine asked for failed.
    DialFailed {
        /// Whom.
        peer: Guid,
    },
    /// A wire broke or was closed by the other side.
    Lost {
        /// Whose.
        peer: Guid,
        /// Which.
        conn: ConnId,
    },
    /// A frame came.
    Frame {
        /// From whom.
        peer: Guid,
        /// Over which wire.
        conn: ConnId,
        /// What.
        frame: Frame<T>,
    },
    /// A frame could not be handed to the wire, which broke; it comes back so that it may take another way.
    Undelivered {
        /// For whom it was.
        peer: Guid,
        /// What.
        frame: Frame<T>,
    },
    /// Bytes that are no frame came: the peer broke the rules.
    Malformed {
        /// From whom.
        peer: Guid,
        /// Over which wire.
        conn: ConnId,
    },
    /// The wire took this many queued bytes.
    Drained {
        /// Whose queue.
        peer: Guid,
        /// Which wire's; what is said of an older one is of no use.
        conn: ConnId,
        /// How many, as [`Frame::charge`] counts them.
        bytes: u32,
    },
    /// The moment of [`Engine::next_wake`](super::Engine::next_wake) came.
    Wake,
    /// The application wants something.
    Command(Slot, Command<T>),
    /// Whether this node itself can be dialed was found out.
    Reachable(Reachability),
}

/// To whom an application speaks.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub enum To<T: Topology> {
    /// This peer.
    Peer(Guid),
    /// Whoever owns this.
    Target(Target<T>),
}

/// Whether a broadcast names its origin for all to check, or merely says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Origin {
    /// Signed by its origin (64 bytes and 50 µs each).
    #[default]
    Signed,
    /// Whoever passes it on could have made it up.
    Claimed,
}

/// What an application wants of an overlay.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Command<T: Topology> {
    /// Enter through these peers; none for the first node.
    Join {
        /// How to reach them.
        seeds: Vec<Contact>,
    },
    /// Who owns a target? [`Outcome::Found`] follows.
    Lookup {
        /// Names the outcome.
        ticket: Ticket,
        /// What.
        to: Target<T>,
        /// How many of the replica set.
        n: usize,
    },
    /// A request to a service. [`Outcome::Response`] follows, or another.
    Request {
        /// Names the outcome.
        ticket: Ticket,
        /// To whom.
        to: To<T>,
        /// Which service.
        service: u32,
        /// What.
        payload: Bytes,
        /// How long to wait.
        timeout: Duration,
    },
    /// A message to a service. [`Outcome::Sent`] follows, or [`Outcome::Busy`].
    Notice {
        /// Names the outcome.
        ticket: Ticket,
        /// To whom.
        to: To<T>,
        /// Which service.
        service: u32,
        /// Whether it is of use when it is late. What goes along a route is never urgent.
        urgency: Urgency,
        /// What.
        payload: Bytes,
    },
    /// The answer to an [`Output::Arrived`].
    Respond {
        /// Which.
        to: Responder,
        /// How it went.
        status: Status,
        /// What.
        payload: Bytes,
    },
    /// To everybody, or to all of a topic. [`Outcome::Sent`] follows.
    Publish {
        /// Names the outcome.
        ticket: Ticket,
        /// The topic.
        topic: Option<Key>,
        /// What.
        payload: Bytes,
        /// Whether it is signed.
        origin: Origin,
        /// Whether it is of use when it is late.
        urgency: Urgency,
    },
    /// Hear a topic.
    Subscribe {
        /// Which.
        topic: Key,
    },
    /// Hear it no longer.
    Unsubscribe {
        /// Which.
        topic: Key,
    },
    /// Publish a record and keep it alive until [`Withdraw`](Self::Withdraw). [`Outcome::Stored`] follows.
    Put {
        /// Names the outcome.
        ticket: Ticket,
        /// Where.
        key: Key,
        /// What; empty for "I provide this".
        value: Bytes,
        /// For how long, and when it counts as stored.
        options: PutOptions,
    },
    /// Keep an own record alive no longer.
    Withdraw {
        /// Which.
        key: Key,
    },
    /// The records under a key. [`Outcome::Records`] follows.
    Get {
        /// Names the outcome.
        ticket: Ticket,
        /// Which.
        key: Key,
        /// How many replicas must have answered.
        options: GetOptions,
    },
    /// The application's own question to the topology. [`Outcome::Answer`] follows.
    Ask {
        /// Names the outcome.
        ticket: Ticket,
        /// What.
        command: Bytes,
    },
    /// The application took in so many bytes of a peer.
    Consumed {
        /// Whose.
        peer: Guid,
        /// Of which class.
        class: Class,
        /// How many.
        bytes: u32,
    },
    /// The application holds a session itself, for bulk streams for instance; `None` to let go.
    Hold {
        /// With whom.
        peer: Guid,
        /// How much.
        hold: Option<Hold>,
    },
    /// Ask the peers how long a round trip takes.
    Ping {
        /// Names the outcome.
        ticket: Ticket,
        /// Whom.
        peer: Guid,
    },
    /// Take in parts of a [`Snapshot`](crate::snapshot::Snapshot): records that are out of order or older than what is
    /// here are counted as refused.
    Restore {
        /// How to reach peers.
        contacts: Vec<Contact>,
        /// What was kept for others. Each costs a signature check: so many at once as the driver can wait for.
        kept: Vec<KeptRecord>,
        /// What this node published.
        own: Vec<OwnRecord>,
    },
}

/// Names a request that waits for this node's response.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Responder {
    /// Came straight, perhaps from this node itself.
    Direct {
        /// From whom.
        peer: Guid,
        /// Its number there.
        id: u32,
    },
    /// Came along a route and goes back the same way.
    Path {
        /// The previous hop.
        peer: Guid,
        /// Its number there.
        id: u32,
        /// How many links it crossed.
        hops: u8,
    },
    /// Came along a route and is answered straight.
    Origin {
        /// Who asked.
        peer: Guid,
        /// Its number there.
        id: u32,
        /// How many links it crossed.
        hops: u8,
    },
}

/// How something an application wanted ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum Outcome {
    /// A lookup's end.
    Found {
        /// The owner; `None` when nobody answered for it.
        owner: Option<Guid>,
        /// The replica set, nearest first, the owner included.
        peers: Vec<Guid>,
        /// How many links to the owner; for iterative lookups the depth of questions.
        hops: u32,
        /// How many peers on the way did not answer.
        timeouts: u32,
    },
    /// A service's response.
    Response {
        /// Who answered.
        from: Guid,
        /// How it went.
        status: Status,
        /// What.
        payload: Bytes,
    },
    /// Taken for sending.
    Sent,
    /// Kept by so many as were asked for, or more.
    Stored {
        /// How many replicas confirmed.
        replicas: usize,
    },
    /// What was found under a key.
    Records {
        /// Checked, the newest of each publisher.
        records: Vec<Record>,
        /// How many replicas had answered, or that it was somebody on the way.
        source: Source,
    },
    /// The topology's answer.
    Answer(Bytes),
    /// A round trip.
    Pong(Duration),
    /// The queue is full; nothing was taken.
    Busy,
    /// There was no way, or nobody answered in time.
    Failed(Failure),
}

/// Why something failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error, Serialize)]
pub enum Failure {
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The overlay knows no way there; perhaps it has not joined yet.
    #[error("the overlay knows no way there; has it joined?")]
    Unreachable,
    /// The peer could not be dialed, or the link broke.
    #[error("the peer could not be reached")]
    PeerGone,
    /// The topology cannot do this.
    #[error("this topology cannot do that")]
    NotSupported,
    /// Larger than allowed.
    #[error("larger than allowed")]
    TooLarge,
    /// Too many at once.
    #[error("too many at once")]
    TooMany,
    /// The overlay was detached meanwhile.
    #[error("the overlay was detached")]
    Detached,
    /// Too few replicas did as they were asked.
    #[error("{reached} replicas confirmed, {wanted} were asked for")]
    Quorum {
        /// How many did.
        reached: usize,
        /// How many were asked for.
        wanted: usize,
    },
    /// The replicas keep a newer record of this publisher.
    #[error("a newer record of this publisher is stored already")]
    Older,
    /// The replicas have no room left, in all or for this publisher.
    #[error("the replicas have no room for it")]
    Full,
}

/// Something the driver must do, or the application be told.
#[derive(Serialize)]
#[serde(bound = "")]
pub enum Output<T: Topology> {
    /// Queue a frame on a wire.
    Send {
        /// To whom.
        peer: Guid,
        /// Over which wire.
        conn: ConnId,
        /// In which queue.
        class: Class,
        /// What.
        frame: Frame<T>,
    },
    /// Dial a peer; [`Input::Connected`] or [`Input::DialFailed`] must follow.
    Dial {
        /// Whom.
        peer: Guid,
    },
    /// Close a wire once its queue is written.
    Close {
        /// Whose.
        peer: Guid,
        /// Which.
        conn: ConnId,
        /// Why.
        why: Goodbye,
    },
    /// Something an application wanted ended.
    Done {
        /// Where.
        slot: Slot,
        /// Which.
        ticket: Ticket,
        /// How.
        outcome: Outcome,
    },
    /// A message for a service.
    Arrived {
        /// Where.
        slot: Slot,
        /// Which.
        service: u32,
        /// From whom; for routed ones claimed, not proven.
        from: Guid,
        /// Whose credit it takes until [`Command::Consumed`].
        charge: Guid,
        /// Of which class.
        class: Class,
        /// How much of it.
        bytes: u32,
        /// Who waits for a response.
        respond: Option<Responder>,
        /// What.
        payload: Bytes,
    },
    /// A broadcast reached this node.
    Published {
        /// Where.
        slot: Slot,
        /// Which.
        id: CopyId,
        /// The topic.
        topic: Option<Key>,
        /// Who sent it first.
        from: Guid,
        /// Whether `from` is proven.
        origin: Origin,
        /// How many links it crossed.
        hops: u8,
        /// What.
        payload: Bytes,
    },
    /// The topology hands something to the application.
    Delivered {
        /// Where.
        slot: Slot,
        /// From whom.
        from: Guid,
        /// What.
        payload: Bytes,
    },
    /// For whoever watches.
    Watch(Slot, Watch),
}

/// What whoever watches an overlay sees.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum Watch {
    /// The topology changed something.
    Changed(Change),
    /// A line of the topology's.
    Notice(String),
    /// A peer broke a rule.
    Blamed {
        /// Who.
        peer: Guid,
        /// How.
        why: &'static str,
    },
    /// A peer that was busy takes messages again.
    Writable(Guid),
}

/// A new overlay for a node.
pub struct Attach<T: Topology> {
    /// Its name and door.
    pub name: OverlayName,
    /// This node's part.
    pub topology: T,
    /// Member or client.
    pub standing: Standing,
    /// The authority's grant, where the overlay has one.
    pub grant: Option<Grant>,
    /// How it works.
    pub settings: Arc<super::settings::Overlay>,
    /// Which topology of this name; nodes of differing epochs do not mix.
    pub epoch: u8,
}

/// Why an overlay cannot be attached.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AttachError {
    /// It is attached already.
    #[error("overlay {0:?} is attached already")]
    Twice(String),
    /// No more fit.
    #[error("a node carries at most {0} overlays")]
    TooMany(usize),
    /// It needs more links than the node may hold.
    #[error("the topology needs {needed} links, the node's budget is {budget}; raise the budget or its degree")]
    Degree {
        /// The topology's required degree.
        needed: usize,
        /// The node's budget.
        budget: usize,
    },
    /// The overlay has an authority and no valid grant was given.
    #[error("overlay {0:?} needs a grant from its authority, and this node has none that is valid")]
    NotGranted(String),
}

impl<T: Topology> fmt::Debug for Input<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { peer, conn, dialer, .. } => write!(f, "connected {peer:?} {conn:?} by {dialer:?}"),
            Self::DialFailed { peer } => write!(f, "dial failed {peer:?}"),
            Self::Lost { peer, conn } => write!(f, "lost {peer:?} {conn:?}"),
            Self::Frame { peer, frame, .. } => write!(f, "frame {frame:?} from {peer:?}"),
            Self::Undelivered { peer, frame } => write!(f, "undelivered {frame:?} to {peer:?}"),
            Self::Malformed { peer, .. } => write!(f, "malformed bytes from {peer:?}"),
            Self::Drained { peer, bytes, .. } => write!(f, "drained {bytes} to {peer:?}"),
            Self::Wake => f.write_str("wake"),
            Self::Command(slot, command) => write!(f, "{command:?} on {slot:?}"),
            Self::Reachable(how) => write!(f, "reachable {how:?}"),
        }
    }
}

impl<T: Topology> fmt::Debug for Command<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Join { .. } => "join",
            Self::Lookup { .. } => "lookup",
            Self::Request { .. } => "request",
            Self::Notice { .. } => "notice",
            Self::Respond { .. } => "respond",
            Self::Publish { .. } => "publish",
            Self::Subscribe { .. } => "subscribe",
            Self::Unsubscribe { .. } => "unsubscribe",
            Self::Put { .. } => "put",
            Self::Withdraw { .. } => "withdraw",
            Self::Get { .. } => "get",
            Self::Ask { .. } => "ask",
            Self::Consumed { .. } => "consumed",
            Self::Hold { .. } => "hold",
            Self::Ping { .. } => "ping",
            Self::Restore { .. } => "restore",
        })
    }
}

impl<T: Topology> fmt::Debug for To<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => peer.fmt(f),
            Self::Target(target) => target.fmt(f),
        }
    }
}

impl<T: Topology> fmt::Debug for Output<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { peer, frame, .. } => write!(f, "send {frame:?} to {peer:?}"),
            Self::Dial { peer } => write!(f, "dial {peer:?}"),
            Self::Close { peer, why, .. } => write!(f, "close {peer:?}: {why:?}"),
            Self::Done { ticket, outcome, .. } => write!(f, "{ticket:?}: {outcome:?}"),
            Self::Arrived { service, from, .. } => write!(f, "arrived for service {service:#x} from {from:?}"),
            Self::Published { id, from, .. } => write!(f, "published {id:?} by {from:?}"),
            Self::Delivered { from, .. } => write!(f, "delivered from {from:?}"),
            Self::Watch(_, watch) => watch.fmt(f),
        }
    }
}

impl<T: Topology> fmt::Debug for Attach<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attach {:?} epoch {}", self.name, self.epoch)
    }
}

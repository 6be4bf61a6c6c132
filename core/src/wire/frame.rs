//! The bodies of frames. Enums are append-only: a number once given keeps its meaning.

use core::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Class, Urgency};
use crate::identity::{PublicKey, Signature};
use crate::overlay::{Membership, Standing};
use crate::record::{Receipt, Record};
use crate::topology::Topology;
use crate::topology::question::{CopyId, Lane, Target, Verdict};
use crate::{Contact, Guid, Key};

/// One frame between two nodes.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Frame<T: Topology> {
    /// Which overlay, in the sender's numbering; 0 for the session itself.
    pub tag: u32,
    /// Contacts of peers the body mentions and the receiver was not told of yet.
    pub contacts: Vec<Contact>,
    /// What it says.
    pub body: Body<T>,
    /// Raw bytes.
    pub payload: Bytes,
}

impl<T: Topology> Frame<T> {
    /// How many bytes it takes on the wire.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        let contacts: usize = self.contacts.iter().map(Contact::wire_len).sum();
        let inner = super::survey::encoded_len(&self.tag)
            + super::survey::encoded_len(&self.contacts.len())
            + contacts
            + super::survey::encoded_len(&self.body)
            + self.payload.len();
        inner + super::survey::encoded_len(&inner)
    }
}

impl<T: Topology> Clone for Frame<T> {
    fn clone(&self) -> Self {
        Self { tag: self.tag, contacts: self.contacts.clone(), body: self.body.clone(), payload: self.payload.clone() }
    }
}

impl<T: Topology> fmt::Debug for Frame<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {} +{}", self.tag, self.body.name(), self.payload.len())
    }
}

/// A proof that the sender is in an overlay: a MAC over this very connection.
pub type Proof = [u8; 16];

/// How many overlays one offer may name; so many a node carries at most.
pub const MAX_PROOFS: usize = 256;

/// "These are my overlays; which are yours?" Says nothing to whoever shares none of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// Makes this offer differ from every other on this connection.
    pub nonce: u64,
    /// One for each overlay.
    pub proofs: Vec<Proof>,
}

/// What one side tells the other of an overlay both are in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Shared {
    /// Which of the offered proofs this answers.
    pub index: u16,
    /// The sender's own proof.
    pub proof: Proof,
    /// The tag under which the sender will send.
    pub tag: u32,
    /// The overlay's epoch at the sender; differing epochs are different topologies.
    pub epoch: u32,
    /// What the sender is in it.
    pub standing: Standing,
    /// The lanes on which the sender holds the link.
    pub lanes: u32,
    /// How many bytes of each class of this overlay the sender lets come before they are taken in.
    pub credit: u32,
    /// The versions of the topology's messages the sender speaks, the newest first.
    pub protocols: Vec<String>,
    /// The signed form, where the overlay has an authority or addresses.
    pub membership: Option<Box<Membership>>,
}

/// Why a session ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Goodbye {
    /// No overlay is shared.
    NothingShared,
    /// Nobody holds it; whoever still wants it may dial again.
    Idle,
    /// The connection budget is used up; whoever requires it may dial again.
    Budget,
    /// The node shuts down.
    Leaving,
    /// The other side broke the rules.
    Misbehaved,
    /// The pair has another connection.
    Duplicate,
}

/// How an answer to a routed message comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Return {
    /// None is wanted.
    None,
    /// Hop by hop along the way it went (recursive).
    Path,
    /// Straight to the origin (semi-recursive).
    Direct,
}

/// A message on its way along a route.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Routed<T: Topology> {
    /// Names the answer between this sender and this receiver, or at the origin; 0 for none.
    pub id: u32,
    /// How the answer comes back.
    pub back: Return,
    /// Which part of a layered topology routes.
    pub lane: Lane,
    /// How many links it has crossed.
    pub hops: u8,
    /// Where it goes.
    pub to: Target<T>,
    /// Who sent it first; claimed.
    pub origin: Guid,
    /// What the previous hop's route left for the next.
    pub state: Bytes,
    /// What it left for this one; not on the wire. Comes back into force when the next hop fails.
    #[serde(skip)]
    pub before: Bytes,
    /// The next hops that failed here; not on the wire.
    #[serde(skip)]
    pub tried: Vec<Guid>,
    /// What is routed.
    pub what: What<T>,
}

/// What is routed.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub enum What<T: Topology> {
    /// A message of the topology.
    Message(T::Message),
    /// Who owns the target, and the rest of its replica set, this many in all?
    Lookup {
        /// How many.
        n: u8,
    },
    /// A request to the owner's service of this number.
    Request {
        /// Which.
        service: u32,
    },
    /// A notice to the owner's service of this number.
    Notice {
        /// Which.
        service: u32,
    },
    /// Which records are kept under the target? Whoever on the way knows some answers.
    Fetch,
}

/// What comes back to a routed question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The owner first, then the rest of its replica set.
    Found {
        /// Who.
        peers: Vec<Guid>,
    },
    /// A service's response; the bytes are the payload.
    Response {
        /// Who responds; claimed, where it came along a route.
        from: Guid,
        /// Whether there is a response.
        status: Status,
    },
    /// The way ended.
    Unreachable,
    /// Records, from somebody who keeps them or has copies.
    Records {
        /// Which; none if the owner has none.
        records: Vec<Record>,
        /// How many links they are from a replica.
        far: u8,
    },
}

/// How a request ended at its receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Status {
    /// Answered.
    Good,
    /// No such service there.
    NoService,
    /// Too much to do.
    Busy,
    /// The service failed; the payload says why.
    Failed,
}

/// A broadcast copy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Copied {
    /// Hash of origin, sequence and payload.
    pub id: CopyId,
    /// Who sent it first.
    pub origin: Guid,
    /// The origin's count.
    pub sequence: u64,
    /// The topic.
    pub topic: Option<Key>,
    /// How many links it has crossed.
    pub hops: u8,
    /// Which part of a layered topology spreads it.
    pub lane: Lane,
    /// Whether it is of use when it is late.
    pub urgency: Urgency,
    /// The origin's key and signature, where it signed; shared by the copies made of this one.
    pub signed: Option<Arc<(PublicKey, Signature)>>,
}

/// What a frame says. Numbers on the wire follow the order here.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Body<T: Topology> {
    /// Session: which overlays do we share?
    Offer(Offer),
    /// Session: these.
    Accept {
        /// The offer's.
        nonce: u64,
        /// One for each overlay that is shared.
        shared: Vec<Shared>,
    },
    /// Session: and my side of them.
    Confirm {
        /// The offer's.
        nonce: u64,
        /// One for each overlay of the `Accept` that proved true.
        shared: Vec<Shared>,
    },
    /// Session: the end.
    Goodbye(Goodbye),
    /// The lanes on which the sender now holds the link.
    Interest {
        /// As a set of bits.
        lanes: u32,
    },
    /// The sender leaves this overlay.
    Leaving,
    /// The sender has taken in this many bytes more of a class; as many more may be sent.
    Credit {
        /// Of which.
        class: Class,
        /// How many.
        bytes: u32,
    },
    /// The sender stands elsewhere now.
    Moved(Box<Membership>),
    /// A message of the topology.
    Send(T::Message),
    /// A message that is answered.
    Call {
        /// Names the answer.
        id: u32,
        /// What it says.
        message: T::Message,
    },
    /// The answer.
    Reply {
        /// The call's.
        id: u32,
        /// What it says.
        message: T::Message,
    },
    /// A message on its way along a route.
    Routed(Box<Routed<T>>),
    /// What comes back to it.
    Answer {
        /// The routed message's, on this link.
        id: u32,
        /// How many links the question crossed.
        hops: u8,
        /// What.
        answer: Answer,
    },
    /// Iterative lookup: what would you do with a message for `to`?
    Find {
        /// Names the answer.
        id: u32,
        /// Which part of a layered topology is asked.
        lane: Lane,
        /// How many peers are of use.
        n: u8,
        /// Where to.
        to: Box<Target<T>>,
        /// Route state.
        state: Bytes,
        /// Two bytes for each of those the asker knows of and need not be told of; only wide lookups say so.
        known: Bytes,
    },
    /// Iterative lookup: this.
    Next {
        /// The question's.
        id: u32,
        /// Deliver, forward or unreachable.
        verdict: Verdict,
        /// To whom.
        peers: Vec<Guid>,
        /// Route state for them.
        state: Bytes,
    },
    /// A broadcast copy.
    Copy(Arc<Copied>),
    /// A request to a service.
    Request {
        /// Names the response.
        id: u32,
        /// Which service.
        service: u32,
    },
    /// The response.
    Response {
        /// The request's.
        id: u32,
        /// How it went.
        status: Status,
    },
    /// A message to a service; nothing comes back.
    Notice {
        /// Which service.
        service: u32,
        /// Whether it is of use when it is late.
        urgency: Urgency,
    },
    /// Keep this record.
    Store {
        /// Names the answer; 0 if none is wanted.
        id: u32,
        /// What.
        record: Box<Record>,
    },
    /// What became of it.
    Stored {
        /// The question's.
        id: u32,
        /// Kept, or why not.
        receipt: Receipt,
    },
    /// Which records are kept under this key?
    Fetch {
        /// Names the answer.
        id: u32,
        /// Which.
        key: Key,
    },
    /// These.
    Fetched {
        /// The question's.
        id: u32,
        /// Which.
        records: Vec<Record>,
    },
    /// Is somebody there?
    Ping {
        /// Names the answer.
        id: u32,
    },
    /// Yes.
    Pong {
        /// The question's.
        id: u32,
    },
    /// The sender keeps records under these keys. What about the receiver?
    Holds {
        /// Names the answer.
        id: u32,
        /// As what the receiver is told.
        calling: Calling,
        /// Each key, with a number for what is kept under it.
        kept: Vec<(Key, u64)>,
    },
    /// How it stands with each.
    Holding {
        /// The question's.
        id: u32,
        /// In the order of the keys.
        answers: Vec<Holding>,
    },
}

/// As what a peer is told which records somebody keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Calling {
    /// As a replica, by the owner: it should keep the same.
    Keep,
    /// As the owner, by somebody who holds what is not its own.
    Lead,
}

/// How a peer stands with a key it was told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Holding {
    /// It keeps the same.
    Same,
    /// It keeps nothing there, or something else: records should be sent, and it sends what it has.
    Differs,
    /// It does not own the key.
    Elsewhere,
    /// It owns the key, all replicas keep the same, and the sender is none of them.
    Released,
}

/// What a Guid in a list takes on the wire.
const GUID_BYTES: usize = 33;
/// What a key takes with a number for what is kept under it.
const MARKED_BYTES: usize = 33 + 10;
/// What one side of a shared overlay takes beside its versions and membership.
const SHARED_BYTES: usize = 32;

fn shared_weight(shared: &[Shared]) -> usize {
    let versions = |s: &Shared| s.protocols.iter().map(|version| 1 + version.len()).sum::<usize>();
    let one = |s: &Shared| SHARED_BYTES + versions(s) + s.membership.as_ref().map_or(0, |m| m.wire_len());
    shared.iter().map(one).sum()
}

impl<T: Topology> Body<T> {
    /// About how many bytes it takes on the wire, the few that every kind has left out.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Offer(offer) => offer.proofs.len() * size_of::<Proof>(),
            Self::Accept { shared, .. } | Self::Confirm { shared, .. } => shared_weight(shared),
            Self::Moved(membership) => membership.wire_len(),
            Self::Send(message) | Self::Call { message, .. } | Self::Reply { message, .. } => T::weight(message),
            Self::Routed(routed) => {
                routed.state.len() + if let What::Message(message) = &routed.what { T::weight(message) } else { 0 }
            }
            Self::Answer { answer: Answer::Found { peers }, .. } => peers.len() * GUID_BYTES,
            Self::Find { state, known, .. } => state.len() + known.len(),
            Self::Next { peers, state, .. } => peers.len() * GUID_BYTES + state.len(),
            Self::Store { record, .. } => record.wire_len(),
            Self::Fetched { records, .. } | Self::Answer { answer: Answer::Records { records, .. }, .. } => {
                records.iter().map(Record::wire_len).sum()
            }
            Self::Holds { kept, .. } => kept.len() * MARKED_BYTES,
            Self::Holding { answers, .. } => answers.len(),
            _ => 0,
        }
    }

    /// Whether the two ends would no longer agree about the session if this were left out.
    pub(crate) fn is_vital(&self) -> bool {
        matches!(self, Self::Interest { .. } | Self::Leaving | Self::Credit { .. } | Self::Moved(_))
    }

    /// The name of the kind, for logs and counts.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Offer(_) => "offer",
            Self::Accept { .. } => "accept",
            Self::Confirm { .. } => "confirm",
            Self::Goodbye(_) => "goodbye",
            Self::Interest { .. } => "interest",
            Self::Leaving => "leaving",
            Self::Credit { .. } => "credit",
            Self::Moved(_) => "moved",
            Self::Send(_) => "send",
            Self::Call { .. } => "call",
            Self::Reply { .. } => "reply",
            Self::Routed(_) => "routed",
            Self::Answer { .. } => "answer",
            Self::Find { .. } => "find",
            Self::Next { .. } => "next",
            Self::Copy(_) => "copy",
            Self::Request { .. } => "request",
            Self::Response { .. } => "response",
            Self::Notice { .. } => "notice",
            Self::Store { .. } => "store",
            Self::Stored { .. } => "stored",
            Self::Fetch { .. } => "fetch",
            Self::Fetched { .. } => "fetched",
            Self::Ping { .. } => "ping",
            Self::Pong { .. } => "pong",
            Self::Holds { .. } => "holds",
            Self::Holding { .. } => "holding",
        }
    }
}

impl<T: Topology> Clone for What<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Message(message) => Self::Message(message.clone()),
            Self::Lookup { n } => Self::Lookup { n: *n },
            Self::Request { service } => Self::Request { service: *service },
            Self::Notice { service } => Self::Notice { service: *service },
            Self::Fetch => Self::Fetch,
        }
    }
}

impl<T: Topology> Clone for Routed<T> {
    fn clone(&self) -> Self {
        let Self { id, back, lane, hops, to, origin, state, before, tried, what } = self;
        Self {
            id: *id,
            back: *back,
            lane: *lane,
            hops: *hops,
            to: to.clone(),
            origin: *origin,
            state: state.clone(),
            before: before.clone(),
            tried: tried.clone(),
            what: what.clone(),
        }
    }
}

impl<T: Topology> Clone for Body<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Offer(offer) => Self::Offer(offer.clone()),
            Self::Accept { nonce, shared } => Self::Accept { nonce: *nonce, shared: shared.clone() },
            Self::Confirm { nonce, shared } => Self::Confirm { nonce: *nonce, shared: shared.clone() },
            Self::Goodbye(why) => Self::Goodbye(*why),
            Self::Interest { lanes } => Self::Interest { lanes: *lanes },
            Self::Leaving => Self::Leaving,
            Self::Credit { class, bytes } => Self::Credit { class: *class, bytes: *bytes },
            Self::Moved(membership) => Self::Moved(membership.clone()),
            Self::Send(message) => Self::Send(message.clone()),
            Self::Call { id, message } => Self::Call { id: *id, message: message.clone() },
            Self::Reply { id, message } => Self::Reply { id: *id, message: message.clone() },
            Self::Routed(routed) => Self::Routed(routed.clone()),
            Self::Answer { id, hops, answer } => Self::Answer { id: *id, hops: *hops, answer: answer.clone() },
            Self::Find { id, lane, n, to, state, known } => {
                Self::Find { id: *id, lane: *lane, n: *n, to: to.clone(), state: state.clone(), known: known.clone() }
            }
            Self::Next { id, verdict, peers, state } => {
                Self::Next { id: *id, verdict: *verdict, peers: peers.clone(), state: state.clone() }
            }
            Self::Copy(copied) => Self::Copy(copied.clone()),
            Self::Request { id, service } => Self::Request { id: *id, service: *service },
            Self::Response { id, status } => Self::Response { id: *id, status: *status },
            Self::Notice { service, urgency } => Self::Notice { service: *service, urgency: *urgency },
            Self::Store { id, record } => Self::Store { id: *id, record: record.clone() },
            Self::Stored { id, receipt } => Self::Stored { id: *id, receipt: *receipt },
            Self::Fetch { id, key } => Self::Fetch { id: *id, key: *key },
            Self::Fetched { id, records } => Self::Fetched { id: *id, records: records.clone() },
            Self::Ping { id } => Self::Ping { id: *id },
            Self::Pong { id } => Self::Pong { id: *id },
            Self::Holds { id, calling, kept } => Self::Holds { id: *id, calling: *calling, kept: kept.clone() },
            Self::Holding { id, answers } => Self::Holding { id: *id, answers: answers.clone() },
        }
    }
}

impl<T: Topology> fmt::Debug for Body<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<T: Topology> fmt::Debug for Routed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routed").field("to", &self.to).field("hops", &self.hops).finish_non_exhaustive()
    }
}

impl<T: Topology> fmt::Debug for What<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("What")
    }
}

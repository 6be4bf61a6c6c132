//! A handle on one overlay: what an application does with it.

mod records;
mod restart;

pub use records::Records;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::mail::Mail;
use super::node::Node;
use super::service::{self, SERVICE_QUEUE, Service};
use super::streams::{self, IncomingStreams, STREAM_QUEUE};
use super::transport::{Stream, TransportError};
use crate::engine::io::{Attach, AttachError, Command, Failure, Origin, Outcome, To, Watch};
use crate::engine::metrics::Metrics;
use crate::engine::{Output, Slot, settings};
use crate::overlay::BadName;
use crate::topology::erased::Boxed;
use crate::topology::event::Ticket;
use crate::topology::question::{Neighbor, Target};
use crate::wire::Urgency;
use crate::wire::frame::Status;
use crate::{Admission, Contact, Grant, Guid, Key, OverlayName, Standing, Topology};

/// How many publications wait for one subscriber before it misses some.
const SUBSCRIPTION_QUEUE: usize = 1024;
/// How often [`Overlay::joined`] looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long a request waits for its response if nothing else is said.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// An overlay to take part in.
#[derive(Debug)]
pub struct OverlaySpec {
    pub(super) attach: Box<Attach<Boxed>>,
}

/// What the engine is given, to [`replay`](crate::engine::log::replay) a node's log for instance.
impl From<OverlaySpec> for Attach<Boxed> {
    fn from(spec: OverlaySpec) -> Self {
        *spec.attach
    }
}

impl OverlaySpec {
    /// An open overlay of this name, with this topology, as a member.
    ///
    /// # Errors
    /// [`BadName`].
    pub fn new<T: Topology>(name: &str, topology: impl FnOnce(crate::Place) -> T, me: Guid) -> Result<Self, BadName> {
        Self::named(OverlayName::new(name, Admission::Open)?, |place| Boxed::new(topology(place)), me)
    }

    /// An overlay with a name, a door, and a topology that was chosen by name.
    ///
    /// # Errors
    /// None now; kept for doors that need a check.
    pub fn named(name: OverlayName, topology: impl FnOnce(crate::Place) -> Boxed, me: Guid) -> Result<Self, BadName> {
        let topology = topology(crate::Place { overlay: name.id(), me });
        let attach =
            Attach { name, topology, standing: Standing::Member, grant: None, settings: Arc::default(), epoch: 0 };
        Ok(Self { attach: Box::new(attach) })
    }

    /// As a client: asks, publishes and fetches, carries nothing for others.
    #[must_use]
    pub fn client(mut self) -> Self {
        self.attach.standing = Standing::Client;
        self
    }

    /// How lookups go, and the bounds.
    #[must_use]
    pub fn settings(mut self, settings: settings::Overlay) -> Self {
        self.attach.settings = Arc::new(settings);
        self
    }

    /// The authority's grant.
    #[must_use]
    pub fn grant(mut self, grant: Grant) -> Self {
        self.attach.grant = Some(grant);
        self
    }
}

/// Why something on an overlay failed.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// The overlay cannot be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// There was no way, or no answer.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The queue towards the peer is full, or its credit used up: wait for [`Overlay::writable`].
    #[error("the peer takes no more for now")]
    Busy,
    /// The peer has no such service.
    #[error("the peer has no such service")]
    NoService,
    /// The service failed, and says why.
    #[error("the service failed: {0}")]
    Service(String),
    /// A bulk stream could not be opened.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The node ended.
    #[error("the node has ended")]
    NodeEnded,
}

/// A lookup's outcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The owner.
    pub owner: Guid,
    /// The replica set, nearest first, the owner included.
    pub peers: Vec<Guid>,
    /// How many links to the owner; for iterative lookups the depth of questions.
    pub hops: u32,
    /// How many peers on the way did not answer.
    pub timeouts: u32,
}

/// Something that was published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publication {
    /// The topic, `None` for the whole overlay.
    pub topic: Option<Key>,
    /// Who published it.
    pub from: Guid,
    /// Whether `from` is proven.
    pub origin: Origin,
    /// How many links it crossed.
    pub hops: u8,
    /// What.
    pub payload: Bytes,
}

/// Somebody who sees what happens on an overlay.
pub(super) enum Watcher {
    Publications { topic: Option<Key>, queue: mpsc::Sender<(u64, Publication)>, missed: u64 },
    Events { queue: mpsc::Sender<Watch> },
}

impl Watcher {
    /// Shows it an output; `false` once nobody listens.
    pub(super) fn see(&mut self, slot: Slot, output: &Output<Boxed>) -> bool {
        match (self, output) {
            (Self::Publications { topic, queue, missed }, Output::Published { slot: on, topic: of, .. })
                if slot == *on && topic == of =>
            {
                let Output::Published { from, origin, hops, payload, .. } = output else { return true };
                let publication =
                    Publication { topic: *of, from: *from, origin: *origin, hops: *hops, payload: payload.clone() };
                match queue.try_send((*missed, publication)) {
                    Err(mpsc::error::TrySendError::Full(_)) => *missed += 1,
                    Err(mpsc::error::TrySendError::Closed(_)) => return false,
                    Ok(()) => *missed = 0,
                }
                true
            }
            (Self::Events { queue }, Output::Watch(on, watch)) if slot == *on => {
                // Whoever watches too slowly misses events; the overlay does not wait.
                !matches!(queue.try_send(watch.clone()), Err(mpsc::error::TrySendError::Closed(_)))
            }
            (Self::Publications { queue, .. }, _) => !queue.is_closed(),
            (Self::Events { queue }, _) => !queue.is_closed(),
        }
    }
}

/// What is published on a topic, from now on.
#[derive(Debug)]
pub struct Subscription {
    queue: mpsc::Receiver<(u64, Publication)>,
    missed: u64,
}

impl Subscription {
    /// The next publication; `None` once the overlay is detached. Cancel-safe.
    pub async fn next(&mut self) -> Option<Publication> {
        let (missed, publication) = self.queue.recv().await?;
        self.missed += missed;
        Some(publication)
    }

    /// How many publications came while the queue was full.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

/// A bulk stream to a peer's service. The session stays open as long as this lives.
#[derive(Debug)]
pub struct BulkStream {
    /// The stream.
    pub stream: Stream,
    /// Keeps the session.
    pub hold: SessionHold,
}

/// Keeps a session open while it lives.
pub struct SessionHold {
    overlay: Overlay,
    peer: Guid,
}

impl std::fmt::Debug for SessionHold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionHold({})", self.peer.short())
    }
}

impl Drop for SessionHold {
    fn drop(&mut self) {
        let (slot, peer) = (self.overlay.slot, self.peer);
        let mailbox = self.overlay.node.shared.mailbox.clone();
        if let Err(mpsc::error::TrySendError::Full(mail)) = mailbox.try_send(Mail::Use { slot, peer, more: -1 })
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { mailbox.send(mail).await });
        }
    }
}

/// One overlay of a node. Cheap to clone; dropping handles does not detach it.
#[derive(Clone, Debug)]
pub struct Overlay {
    pub(super) node: Node,
    pub(super) slot: Slot,
    pub(super) name: OverlayName,
    pub(super) standing: Standing,
    pub(super) urgency: Urgency,
}

impl Overlay {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.name()
    }

    /// Whether this node is a member or a client.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Its number on this node, as [`PeerInfo`](crate::engine::metrics::PeerInfo) lists it.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// A handle whose notices and publications are of no use when they are late: they overtake everything else on
    /// their way, and when a peer takes them too slowly those of other handles go on.
    #[must_use]
    pub fn timely(&self) -> Self {
        Self { urgency: Urgency::Timely, ..self.clone() }
    }

    /// The node it runs on.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Enters through these peers; none for the first node.
    ///
    /// # Errors
    /// That the node ended.
    pub async fn join(&self, seeds: &[Contact]) -> Result<(), OverlayError> {
        self.tell(Command::Join { seeds: seeds.to_vec() }).await
    }

    /// Waits until this node has entered: as a member until the topology has a neighbor, as a client until somebody
    /// it can ask is there. The first node of an overlay waits for its second. Cancel-safe.
    ///
    /// # Errors
    /// [`Failure::Timeout`] after `within`.
    pub async fn joined(&self, within: Duration) -> Result<(), OverlayError> {
        let waiting = async {
            loop {
                let inside = match self.standing {
                    Standing::Member => !self.neighbors().await?.is_empty(),
                    Standing::Client => self.node.peers().await?.iter().any(|p| p.overlays.contains(&self.slot)),
                };
                if inside {
                    return Ok(());
                }
                // Topologies need not say when they change, so they are asked now and then.
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(within, waiting).await.unwrap_or(Err(OverlayError::Failed(Failure::Timeout)))
    }

    /// Who owns a key, and the rest of its replica set, `n` in all. Dropping the future forgets the answer.
    ///
    /// # Errors
    /// [`OverlayError::Failed`].
    pub async fn lookup(&self, key: Key, n: usize) -> Result<Found, OverlayError> {
        match self.ask(|ticket| Command::Lookup { ticket, to: Target::Key(key), n }).await? {
            Outcome::Found { owner: Some(owner), peers, hops, timeouts } => Ok(Found { owner, peers, hops, timeouts }),
            other => Err(failed(other)),
        }
    }

    /// A request to a peer's service, answered within [`REQUEST_TIMEOUT`].
    ///
    /// # Errors
    /// [`OverlayError::Busy`] with nothing sent; `Failed`, `NoService` or `Service` otherwise.
    pub async fn request(&self, peer: Guid, service: &str, payload: Bytes) -> Result<Bytes, OverlayError> {
        self.request_number(To::Peer(peer), service::number(service), payload).await.map(|(_, payload)| payload)
    }

    /// A request to the service of whoever owns a key; says who answered.
    ///
    /// # Errors
    /// As for [`request`](Self::request).
    pub async fn request_owner(&self, key: Key, service: &str, payload: Bytes) -> Result<(Guid, Bytes), OverlayError> {
        self.request_number(To::Target(Target::Key(key)), service::number(service), payload).await
    }

    async fn request_number(&self, to: To<Boxed>, service: u32, payload: Bytes) -> Result<(Guid, Bytes), OverlayError> {
        let timeout = REQUEST_TIMEOUT;
        match self.ask(|ticket| Command::Request { ticket, to, service, payload, timeout }).await? {
            Outcome::Response { from, status: Status::Good, payload } => Ok((from, payload)),
            Outcome::Response { status: Status::NoService, .. } => Err(OverlayError::NoService),
            Outcome::Response { status: Status::Busy, .. } => Err(OverlayError::Busy),
            Outcome::Response { status: Status::Failed, payload, .. } => {
                Err(OverlayError::Service(String::from_utf8_lossy(&payload).into_owned()))
            }
            other => Err(failed(other)),
        }
    }

    /// A message to a peer's service; nothing comes back.
    ///
    /// # Errors
    /// [`OverlayError::Busy`] with nothing sent.
    pub async fn notice(&self, peer: Guid, service: &str, payload: Bytes) -> Result<(), OverlayError> {
        let (service, urgency) = (service::number(service), self.urgency);
        match self.ask(|ticket| Command::Notice { ticket, to: To::Peer(peer), service, urgency, payload }).await? {
            Outcome::Sent => Ok(()),
            other => Err(failed(other)),
        }
    }

    /// To everybody, or to all of a topic.
    ///
    /// # Errors
    /// [`OverlayError::Failed`] where the topology does not spread, or the payload is too large.
    pub async fn publish(&self, topic: Option<Key>, payload: Bytes, origin: Origin) -> Result<(), OverlayError> {
        let urgency = self.urgency;
        match self.ask(|ticket| Command::Publish { ticket, topic, payload, origin, urgency }).await? {
            Outcome::Sent => Ok(()),
            other => Err(failed(other)),
        }
    }

    /// What others publish on a topic, or with `None` to the whole overlay.
    ///
    /// # Errors
    /// [`Failure::NotSupported`] for a client, to whom nobody passes anything on; that the node ended.
    pub async fn subscribe(&self, topic: Option<Key>) -> Result<Subscription, OverlayError> {
        if self.standing == Standing::Client {
            return Err(OverlayError::Failed(Failure::NotSupported));
        }
        let (queue, subscription) = mpsc::channel(SUBSCRIPTION_QUEUE);
        let watcher = Watcher::Publications { topic, queue, missed: 0 };
        self.mail(Mail::Watch { slot: self.slot, watcher }).await?;
        if let Some(topic) = topic {
            self.tell(Command::Subscribe { topic }).await?;
        }
        Ok(Subscription { queue: subscription, missed: 0 })
    }

    /// No longer takes part in a topic.
    ///
    /// # Errors
    /// That the node ended.
    pub async fn unsubscribe(&self, topic: Key) -> Result<(), OverlayError> {
        self.tell(Command::Unsubscribe { topic }).await
    }

    /// How long a round trip to a peer takes; dials it if need be.
    ///
    /// # Errors
    /// [`OverlayError::Failed`].
    pub async fn ping(&self, peer: Guid) -> Result<Duration, OverlayError> {
        match self.ask(|ticket| Command::Ping { ticket, peer }).await? {
            Outcome::Pong(took) => Ok(took),
            other => Err(failed(other)),
        }
    }

    /// The application's own question to the topology.
    ///
    /// # Errors
    /// [`OverlayError::Failed`].
    pub async fn command(&self, command: Bytes) -> Result<Bytes, OverlayError> {
        match self.ask(|ticket| Command::Ask { ticket, command }).await? {
            Outcome::Answer(answer) => Ok(answer),
            other => Err(failed(other)),
        }
    }

    /// Answers requests under a name, until the overlay is detached or the name is served anew.
    ///
    /// # Errors
    /// That the node ended.
    pub async fn serve(&self, name: &str, service: impl Service) -> Result<(), OverlayError> {
        let (queue, work) = mpsc::channel(SERVICE_QUEUE);
        let number = service::number(name);
        self.mail(Mail::Serve { slot: self.slot, service: number, queue: Some(queue) }).await?;
        tokio::spawn(service::run(Arc::new(service), self.slot, work, self.node.shared.mailbox.clone()));
        Ok(())
    }

    /// Takes bulk streams that peers open under a name.
    ///
    /// # Errors
    /// That the node ended.
    pub async fn streams(&self, name: &str) -> Result<IncomingStreams, OverlayError> {
        let (queue, streams) = mpsc::channel(STREAM_QUEUE);
        self.mail(Mail::Streams { slot: self.slot, service: service::number(name), queue }).await?;
        Ok(IncomingStreams { queue: streams })
    }

    /// Opens a bulk stream to a peer's service; dials the peer if need be. Cancel-safe.
    ///
    /// # Errors
    /// [`OverlayError::Failed`] when the peer cannot be reached, [`OverlayError::Transport`] when the stream cannot
    /// be opened.
    pub async fn open(&self, peer: Guid, name: &str) -> Result<BulkStream, OverlayError> {
        let slot = self.slot;
        self.mail(Mail::Use { slot, peer, more: 1 }).await?;
        let hold = SessionHold { overlay: self.clone(), peer };
        self.ping(peer).await?;
        let wire = self.node.shared.ask(|reply| Mail::Open { slot, peer, reply }).await?;
        let (connection, tag) = wire.ok_or(OverlayError::Failed(Failure::PeerGone))?;
        let stream = match connection.open().await {
            Err(TransportError::NotDialable) => self.ask_for_stream(peer, name).await?,
            opened => {
                let mut stream = opened?;
                let named = streams::write_header(&mut stream, tag, service::number(name)).await;
                named.map_err(|error| TransportError::Io { address: connection.remote(), error })?;
                stream
            }
        };
        Ok(BulkStream { stream, hold })
    }

    /// Has the peer open the stream: on wires where only the side that dialed can.
    async fn ask_for_stream(&self, peer: Guid, name: &str) -> Result<Stream, OverlayError> {
        let number = self.node.shared.ticket().0;
        let (reply, opened) = oneshot::channel();
        self.mail(Mail::Expect { peer, number, reply }).await?;
        let asked = streams::ask_back(number, service::number(name));
        self.request_number(To::Peer(peer), streams::BACK, asked).await?;
        let opened = tokio::time::timeout(REQUEST_TIMEOUT, opened).await;
        opened.ok().and_then(Result::ok).ok_or(OverlayError::Transport(TransportError::NotDialable))
    }

    /// What the topology changes and says, from now on.
    ///
    /// # Errors
    /// That the node ended.
    pub async fn watch(&self) -> Result<mpsc::Receiver<Watch>, OverlayError> {
        let (queue, events) = mpsc::channel(SUBSCRIPTION_QUEUE);
        self.mail(Mail::Watch { slot: self.slot, watcher: Watcher::Events { queue } }).await?;
        Ok(events)
    }

    /// Waits until a busy peer takes messages again, or `within` has passed.
    ///
    /// # Errors
    /// That the node ended.
    pub async fn writable(&self, peer: Guid, within: Duration) -> Result<(), OverlayError> {
        let mut events = self.watch().await?;
        let waiting = async {
            while let Some(event) = events.recv().await {
                if event == Watch::Writable(peer) {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(within, waiting).await;
        Ok(())
    }

    /// The peers this overlay keeps links to.
    ///
    /// # Errors
    /// That the node ended.
    pub async fn neighbors(&self) -> Result<Vec<Neighbor>, OverlayError> {
        self.look().await.map(|(neighbors, _)| neighbors)
    }

    /// What the overlay counted.
    ///
    /// # Errors
    /// That the node ended.
    pub async fn metrics(&self) -> Result<Metrics, OverlayError> {
        self.look().await.map(|(_, metrics)| metrics)
    }

    async fn look(&self) -> Result<(Vec<Neighbor>, Metrics), OverlayError> {
        self.node.shared.ask(|reply| Mail::Neighbors { slot: self.slot, reply }).await
    }

    /// Leaves in good order and forgets the overlay; everything that waits on it fails.
    ///
    /// # Errors
    /// That the node ended.
    pub async fn detach(self) -> Result<(), OverlayError> {
        self.node.shared.ask(|reply| Mail::Detach { slot: self.slot, reply }).await
    }

    async fn mail(&self, mail: Mail) -> Result<(), OverlayError> {
        self.node.shared.mailbox.send(mail).await.map_err(|_| OverlayError::NodeEnded)
    }

    async fn tell(&self, command: Command<Boxed>) -> Result<(), OverlayError> {
        self.mail(Mail::Tell(self.slot, command)).await
    }

    async fn ask(&self, command: impl FnOnce(Ticket) -> Command<Boxed>) -> Result<Outcome, OverlayError> {
        let ticket = self.node.shared.ticket();
        let command = command(ticket);
        self.node.shared.ask(|reply| Mail::Ask { slot: self.slot, ticket, command, reply }).await
    }
}

fn failed(outcome: Outcome) -> OverlayError {
    match outcome {
        Outcome::Busy => OverlayError::Busy,
        Outcome::Failed(failure) => OverlayError::Failed(failure),
        _ => OverlayError::Failed(Failure::Unreachable),
    }
}

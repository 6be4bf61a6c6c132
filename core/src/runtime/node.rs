//! A node: one identity, one set of sessions, any number of overlays.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::driver::Driver;
use super::log::Log;
use super::mail::{MAILBOX, Mail, Mailbox};
use super::overlay::{Overlay, OverlayError, OverlaySpec};
use super::transport::{Dial, InOrder, Listener, Transport, TransportError};
use crate::engine::io::{AttachError, Dialer};
use crate::engine::metrics::PeerInfo;
use crate::engine::{self, Engine, settings};
use crate::wire::Urgency;
use crate::{Contact, Ed25519, Guid, Identity, Time, TransportAddress};

/// How long a node's contact is valid; it is signed anew after half of that.
const CONTACT_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What a node does now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// Open sessions.
    pub sessions: usize,
    /// Attached overlays.
    pub overlays: usize,
    /// About how many bytes of memory the engine keeps.
    pub engine_bytes: usize,
    /// How many peers were dropped because they broke rules, since the node started.
    pub dropped: u64,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// It cannot listen there.
    #[error("cannot listen: {0}")]
    Transport(#[from] TransportError),
}

/// Signs the node's contact from time to time.
pub(super) struct Introduction {
    identity: Identity,
    addresses: Vec<TransportAddress>,
    contact: Arc<RwLock<Contact>>,
}

impl Introduction {
    /// Signs anew; returns the contact and when to sign again.
    pub(super) fn sign(&self, now: Time) -> (Contact, Time) {
        let contact = Contact::sign(&self.identity, &self.addresses, now.0 / 1_000_000, now + CONTACT_LIFETIME);
        *self.contact.write().unwrap_or_else(std::sync::PoisonError::into_inner) = contact.clone();
        (contact, now + CONTACT_LIFETIME / 2)
    }
}

/// How a node is made.
#[derive(Debug)]
pub struct Builder {
    identity: Identity,
    transports: Vec<Arc<dyn Transport>>,
    dialer: Option<Arc<dyn Dial>>,
    listen: Vec<TransportAddress>,
    advertise: Vec<TransportAddress>,
    settings: settings::Node,
    log: Option<Log>,
}

impl Builder {
    /// Adds a kind of wire.
    #[must_use]
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transports.push(transport);
        self
    }

    /// Adds several kinds of wire.
    #[must_use]
    pub fn transports(mut self, transports: impl IntoIterator<Item = Arc<dyn Transport>>) -> Self {
        self.transports.extend(transports);
        self
    }

    /// How to dial. Without one the addresses of a contact are tried in order.
    #[must_use]
    pub fn dialer(mut self, dialer: Arc<dyn Dial>) -> Self {
        self.dialer = Some(dialer);
        self
    }

    /// Listens there too. Port 0 picks a free one.
    #[must_use]
    pub fn listen(mut self, address: TransportAddress) -> Self {
        self.listen.push(address);
        self
    }

    /// Also tells others this address: that of a forwarded port, for instance.
    #[must_use]
    pub fn advertise(mut self, address: TransportAddress) -> Self {
        self.advertise.push(address);
        self
    }

    /// The node's bounds.
    #[must_use]
    pub fn settings(mut self, settings: settings::Node) -> Self {
        self.settings = settings;
        self
    }

    /// Writes an event log there: everything that goes into the node's engine and everything that comes out, for
    /// [`replay`](crate::engine::log::replay). It holds the seed of the node's randomness and grows for as long as
    /// the node runs; it is written by the task that turns the engine, so `to` should not wait.
    #[must_use]
    pub fn log(mut self, to: impl std::io::Write + Send + 'static) -> Self {
        self.log = Some(Log::new(Box::new(to)));
        self
    }

    /// Starts the node on the current tokio runtime.
    ///
    /// # Errors
    /// [`ListenError`] when an address cannot be listened on; nothing stays running.
    pub async fn start(self) -> Result<Node, ListenError> {
        let Self { identity, transports, dialer, listen, advertise, settings, mut log } = self;
        let mut listeners = Vec::new();
        for address in &listen {
            let transport = transports.iter().find(|t| t.handles(address));
            let transport = transport.ok_or_else(|| TransportError::NoTransport(address.clone()))?;
            listeners.push(transport.listen(address).await?);
        }
        let bound: Vec<TransportAddress> = listeners.iter().map(|l| l.address()).collect();
        let addresses = bound.iter().flat_map(dialable).chain(advertise).collect();
        let stop = CancellationToken::new();
        let (mailbox, mail) = mpsc::channel(MAILBOX);
        for listener in listeners {
            tokio::spawn(accept(listener, mailbox.clone(), stop.clone()));
        }
        let contact = Contact::sign(&identity, &[], 0, Time::ZERO);
        let contact = Arc::new(RwLock::new(contact));
        let introduction = Introduction { identity: identity.clone(), addresses, contact: contact.clone() };
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| no_entropy(&error))?;
        let verifier = Arc::new(Ed25519);
        let me = identity.guid();
        if let Some(log) = &mut log {
            log.note(&engine::log::began(me, seed, &settings));
        }
        let workspace = engine::log::workspace(verifier.clone(), &seed);
        let engine = Engine::new(Arc::new(settings), Arc::new(identity), verifier, seed);
        let dialer = dialer.unwrap_or_else(|| Arc::new(InOrder(transports)));
        let driver = Driver::new(engine, workspace, mail, mailbox.clone(), dialer, introduction, log, stop.clone());
        tokio::spawn(driver.run());
        let node = Node {
            shared: Arc::new(Shared {
                me,
                mailbox,
                contact,
                bound,
                tickets: AtomicU64::new(0),
                _stop: stop.drop_guard(),
            }),
        };
        // The driver signs the contact first of all.
        let _ = node.status().await;
        Ok(node)
    }
}

fn no_entropy(error: &getrandom::Error) -> TransportError {
    TransportError::Closed(format!("the operating system gives no entropy: {error}"))
}

async fn accept(mut listener: Box<dyn Listener>, mailbox: Mailbox, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(connection) => {
                if mailbox.send(Mail::Connected { connection, dialer: Dialer::Peer }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "listener ended");
                return;
            }
        }
    }
}

/// The addresses others can dial for one that was listened on: every interface becomes loopback and the one that
/// leads outside.
fn dialable(bound: &TransportAddress) -> Vec<TransportAddress> {
    let expand = |at: &SocketAddr| -> Vec<SocketAddr> {
        if !at.ip().is_unspecified() {
            return vec![*at];
        }
        let outside = outward_ip().filter(|ip| !ip.is_loopback());
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        outside.into_iter().chain([loopback]).map(|ip| SocketAddr::new(ip, at.port())).collect()
    };
    match bound {
        TransportAddress::Quic(at) => expand(at).into_iter().map(TransportAddress::Quic).collect(),
        TransportAddress::Tcp(at) => expand(at).into_iter().map(TransportAddress::Tcp).collect(),
        other => vec![other.clone()],
    }
}

/// The address of the interface that a packet to elsewhere would leave by. Nothing is sent: connecting a UDP socket
/// only asks the routing table. The target is from the documentation range (RFC 5737).
fn outward_ip() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

pub(super) struct Shared {
    pub(super) me: Guid,
    pub(super) mailbox: Mailbox,
    contact: Arc<RwLock<Contact>>,
    bound: Vec<TransportAddress>,
    tickets: AtomicU64,
    _stop: DropGuard,
}

impl Shared {
    /// A number for a question; the engine's own are below.
    pub(super) fn ticket(&self) -> crate::topology::event::Ticket {
        crate::topology::event::Ticket(1 << 63 | self.tickets.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) async fn ask<R>(&self, mail: impl FnOnce(oneshot::Sender<R>) -> Mail) -> Result<R, OverlayError> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(mail(reply)).await.map_err(|_| OverlayError::NodeEnded)?;
        answer.await.map_err(|_| OverlayError::NodeEnded)
    }
}

/// A running node. Cheap to clone; when the last handle is dropped the node ends at once. To end it in good order
/// call [`Node::shutdown`].
#[derive(Clone)]
pub struct Node {
    pub(super) shared: Arc<Shared>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.shared.me.short())
    }
}

impl Node {
    /// Begins to make a node.
    #[must_use]
    pub fn builder(identity: Identity) -> Builder {
        Builder {
            identity,
            transports: Vec::new(),
            dialer: None,
            listen: Vec::new(),
            advertise: Vec::new(),
            settings: settings::Node::default(),
            log: None,
        }
    }

    /// Who this is.
    #[must_use]
    pub fn guid(&self) -> Guid {
        self.shared.me
    }

    /// How others reach this node; signed anew from time to time.
    #[must_use]
    pub fn contact(&self) -> Contact {
        self.shared.contact.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Where this node listens, with the ports that were bound.
    #[must_use]
    pub fn listening(&self) -> &[TransportAddress] {
        &self.shared.bound
    }

    /// Takes part in an overlay. Nothing happens there until [`Overlay::join`].
    ///
    /// # Errors
    /// [`AttachError`] within, or that the node ended.
    pub async fn attach(&self, spec: OverlaySpec) -> Result<Overlay, OverlayError> {
        let OverlaySpec { attach } = spec;
        let (name, standing) = (attach.name.clone(), attach.standing);
        let attached: Result<_, AttachError> = self.shared.ask(|reply| Mail::Attach { attach, reply }).await?;
        Ok(Overlay { node: self.clone(), slot: attached?, name, standing, urgency: Urgency::Usual })
    }

    /// The peers with a session.
    ///
    /// # Errors
    /// That the node ended.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, OverlayError> {
        self.shared.ask(|reply| Mail::Peers { reply }).await
    }

    /// What the node does now.
    ///
    /// # Errors
    /// That the node ended.
    pub async fn status(&self) -> Result<Status, OverlayError> {
        self.shared.ask(|reply| Mail::Status { reply }).await
    }

    /// Leaves every overlay, says goodbye to every peer, and waits until that is written, but no longer than
    /// `drain`.
    pub async fn shutdown(&self, drain: Duration) {
        let _ = tokio::time::timeout(drain, self.shared.ask(|reply| Mail::Shutdown { reply })).await;
    }
}

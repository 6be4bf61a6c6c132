//! Wires inside one process: `mem:NAME`. Names meet in a [`Hub`] that the transports of a process share.
//!
//! Nothing is encrypted: both ends are this process. A node still cannot pass for another, because a [`Memory`] is
//! made from an [`Identity`], secret included, and it alone hands the public key of that identity over.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use polymorph_core::identity::PublicKey;
use polymorph_core::runtime::transport::{Connection, Listener, Transport, TransportError};
use polymorph_core::{Guid, Identity, Signer, TransportAddress};
use tokio::sync::mpsc;

mod connection;
mod pipe;

/// How many names one hub may hold.
const MAX_NAMES: usize = 65_536;
/// How many peers may wait for `accept`; past that dialers wait.
const MAX_ARRIVALS: usize = 64;
/// How long a dialer waits for a place among them.
const DIAL_TIME: Duration = Duration::from_secs(10);

/// The meeting point of the memory transports of one process. Cheap to clone; clones are the same hub.
#[derive(Clone, Default)]
pub struct Hub(Arc<Mutex<Names>>);

#[derive(Default)]
struct Names {
    doors: HashMap<String, Door>,
    next: u64,
}

/// Where dialers of one name knock.
#[derive(Clone)]
struct Door {
    key: PublicKey,
    queue: mpsc::Sender<Arc<dyn Connection>>,
}

impl Hub {
    /// An empty hub.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hub({} names)", self.names().doors.len())
    }
}

/// The memory transport of one node. Listening on `mem:0` picks a free name, as port 0 does elsewhere. Both sides can
/// open bulk streams, and there are datagrams.
#[derive(Clone, Debug)]
pub struct Memory {
    hub: Hub,
    key: PublicKey,
}

impl Memory {
    /// For the node that `identity` is, meeting others in `hub`.
    #[must_use]
    pub fn new(identity: &Identity, hub: &Hub) -> Self {
        Self { hub: hub.clone(), key: identity.public_key() }
    }
}

#[async_trait]
impl Transport for Memory {
    fn handles(&self, address: &TransportAddress) -> bool {
        matches!(address, TransportAddress::Memory(_))
    }

    async fn listen(&self, address: &TransportAddress) -> Result<Box<dyn Listener>, TransportError> {
        let TransportAddress::Memory(name) = address else {
            return Err(TransportError::NoTransport(address.clone()));
        };
        let in_use = || TransportError::Io { address: address.clone(), error: std::io::ErrorKind::AddrInUse.into() };
        let (queue, arrivals) = mpsc::channel(MAX_ARRIVALS);
        let mut names = self.hub.names();
        let name = if name == "0" { names.fresh() } else { name.clone() };
        if names.doors.len() >= MAX_NAMES || names.doors.contains_key(&name) {
            return Err(in_use());
        }
        names.doors.insert(name.clone(), Door { key: self.key, queue });
        Ok(Box::new(Doorway { hub: self.hub.clone(), name, arrivals }))
    }

    async fn dial(
        &self,
        address: &TransportAddress,
        expected: Option<Guid>,
    ) -> Result<Arc<dyn Connection>, TransportError> {
        let TransportAddress::Memory(name) = address else {
            return Err(TransportError::NoTransport(address.clone()));
        };
        let nobody =
            || TransportError::Io { address: address.clone(), error: std::io::ErrorKind::ConnectionRefused.into() };
        let door = self.hub.names().doors.get(name).cloned().ok_or_else(nobody)?;
        let found = Guid::of(&door.key);
        if let Some(expected) = expected
            && expected != found
        {
            return Err(TransportError::WrongPeer { address: address.clone(), expected, found });
        }
        let place = tokio::time::timeout(DIAL_TIME, door.queue.reserve()).await;
        let place = place.map_err(|_| TransportError::Timeout(address.clone()))?.map_err(|_| nobody())?;
        let mut exporter = [0; 32];
        getrandom::fill(&mut exporter).map_err(|error| TransportError::Io {
            address: address.clone(),
            error: std::io::Error::other(error.to_string()),
        })?;
        let (here, there) = connection::pair([self.key, door.key], address, exporter);
        place.send(Arc::new(there));
        Ok(Arc::new(here))
    }
}

impl Names {
    fn fresh(&mut self) -> String {
        loop {
            self.next += 1;
            let name = format!("{}", self.next);
            if !self.doors.contains_key(&name) {
                return name;
            }
        }
    }
}

/// A name that is listened on.
struct Doorway {
    hub: Hub,
    name: String,
    arrivals: mpsc::Receiver<Arc<dyn Connection>>,
}

#[async_trait]
impl Listener for Doorway {
    fn address(&self) -> TransportAddress {
        TransportAddress::Memory(self.name.clone())
    }

    async fn accept(&mut self) -> Result<Arc<dyn Connection>, TransportError> {
        self.arrivals.recv().await.ok_or_else(|| TransportError::Closed("the listener stopped".into()))
    }
}

impl Drop for Doorway {
    fn drop(&mut self) {
        self.hub.names().doors.remove(&self.name);
    }
}

impl fmt::Debug for Doorway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Doorway(mem:{})", self.name)
    }
}

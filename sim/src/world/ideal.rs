//! Worlds that begin as if everybody had joined long ago.

use core::time::Duration;

use polymorph_core::Topology;
use polymorph_core::engine::AttachError;
use polymorph_core::topology::model::{Census, Model, Proximity};

use super::{Peer, World};
use crate::latency::Latency;
use crate::options::Terms;

/// Why a world cannot begin with ideal tables.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdealError {
    /// The topology does not know its ideal tables.
    #[error("this topology cannot fill its tables by itself; let its peers join one by one")]
    Unknown,
    /// The engine does not take the topology.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

impl<T: Topology> World<T> {
    /// Adds `count` peers whose tables are what they would be after all had joined and all was quiet. Each is then
    /// told to join through nobody, which is when it sets its timers and wants its links: evenly spread over `over`,
    /// so that not everybody dials in the same instant. `wrap` makes what the world runs of what the model builds.
    ///
    /// Peers who are in the overlay already are not told, but the newcomers count them in.
    ///
    /// # Errors
    /// [`IdealError`]; some peers are there then all the same.
    pub fn ideal_as<M: Model>(
        &mut self,
        terms: &Terms,
        config: &M::Config,
        count: usize,
        over: Duration,
        wrap: impl Fn(M) -> T,
    ) -> Result<Vec<Peer>, IdealError> {
        self.nodes.reserve_exact(count);
        self.directory.open().reserve(count);
        let peers: Vec<Peer> = (0..count).map(|_| self.spawn()).collect();
        let mut guids = self.census(&terms.name).guids;
        guids.extend(peers.iter().map(|&peer| self.guid(peer)));
        let census = Census::new(terms.name.id(), guids);
        let proximity = self.proximity(&census);
        let census = census.with_proximity(proximity);
        for &peer in &peers {
            let mut filled = false;
            self.attach(peer, terms, |place| {
                let mut model = M::new(config, place);
                filled = model.ideal(config, &census);
                wrap(model)
            })?;
            if !filled {
                return Err(IdealError::Unknown);
            }
        }
        let step = over / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        for &peer in &peers {
            self.join(peer, &[]);
            self.run_for(step);
        }
        Ok(peers)
    }

    /// How far apart the peers of a census are; `None` where everybody is as near as everybody else.
    fn proximity(&self, census: &Census) -> Option<Proximity> {
        let (latency, seed) = (self.options().latency, self.options().seed);
        if matches!(latency, Latency::Constant(_)) {
            return None;
        }
        let numbers: Vec<u32> = census.ring.iter().map(|(_, guid)| self.peer(guid).map_or(0, |peer| peer.0)).collect();
        Some(Proximity::new(move |a, b| 2 * latency.one_way(seed, numbers[a], numbers[b])))
    }
}

impl<M: Model> World<M> {
    /// [`ideal_as`](Self::ideal_as) of the very topology the world runs, all at once.
    ///
    /// # Errors
    /// [`IdealError`]; some peers are there then all the same.
    pub fn ideal(&mut self, terms: &Terms, config: &M::Config, count: usize) -> Result<Vec<Peer>, IdealError> {
        self.ideal_as(terms, config, count, Duration::ZERO, |model: M| model)
    }
}

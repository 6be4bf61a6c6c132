//! What the engine remembers of the node and of each overlay.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use rand_core::SeedableRng;

use super::cast::Casts;
use super::held::PARKED;
use super::io::{Attach, Class};
use super::lookup::Lookup;
use super::metrics::{Metrics, PeerInfo};
use super::peers::{Link, PeerIx, Peers};
use super::questions::Questions;
use super::records::Records;
use super::timers::{Set, Timers};
use super::{Slot, settings};
use crate::overlay::{Claim, Grant, Membership, OverlayName, Place, Standing};
use crate::topology::Topology;
use crate::topology::context::Rng;
use crate::topology::event::{Reachability, Ticket};
use crate::topology::question::Powers;
use crate::{Guid, Signer, Time, Verifier};

/// How long a signed membership is valid; it is signed anew for every session.
const MEMBERSHIP_SECS: u64 = 24 * 3600;

/// The node.
pub(super) struct NodeState<T: Topology> {
    pub(super) me: Guid,
    pub(super) settings: Arc<settings::Node>,
    pub(super) signer: Arc<dyn Signer>,
    pub(super) verifier: Arc<dyn Verifier>,
    pub(super) seed: [u8; 32],
    pub(super) peers: Peers<T>,
    /// When something is due with a peer.
    pub(super) timers: Timers<PeerIx>,
    pub(super) tickets: u64,
    pub(super) nonces: u64,
    /// How many peers were dropped because they broke rules.
    pub(super) dropped: u64,
    pub(super) reachability: Reachability,
}

impl<T: Topology> NodeState<T> {
    pub(super) fn new(
        settings: Arc<settings::Node>,
        signer: Arc<dyn Signer>,
        verifier: Arc<dyn Verifier>,
        seed: [u8; 32],
    ) -> Self {
        let me = signer.guid();
        let keyed = blake3::keyed_hash(&seed, b"polymorph tables");
        let hash_seed = u64::from_le_bytes(keyed.as_bytes()[..8].try_into().unwrap_or_default());
        Self {
            me,
            settings,
            signer,
            verifier,
            seed,
            peers: Peers::new(hash_seed),
            timers: Timers::new(),
            tickets: 0,
            nonces: 0,
            dropped: 0,
            reachability: Reachability::default(),
        }
    }

    /// Sees to it that what is due with a peer is looked at in time. A timer that is early does no harm.
    pub(super) fn arm(&mut self, guid: &Guid) {
        let Some(ix) = self.peers.find(guid) else { return };
        let Some(peer) = self.peers.get_mut(guid) else { return };
        let Some(at) = super::session::due(peer, &self.settings) else { return };
        if peer.timer.is_some_and(|(earlier, _)| earlier <= at) {
            return;
        }
        if let Some(old) = peer.timer.replace(self.timers.push(at, ix)) {
            self.timers.remove(old);
        }
    }

    pub(super) fn peer_infos(&self) -> Vec<PeerInfo> {
        let info = |peer: &super::peers::Peer<T>| match peer.link {
            Link::Open(wire) => Some(PeerInfo {
                peer: peer.guid,
                conn: wire.conn,
                since: wire.since,
                rtt: peer.rtt.smoothed(),
                queued: peer.queue_with(0),
                overlays: peer.overlays.iter().filter(|o| o.agreed).map(|o| o.slot).collect(),
                required: peer.required(),
            }),
            _ => None,
        };
        self.peers.iter().filter_map(info).collect()
    }
}

/// Timers of one overlay.
#[derive(Clone, Debug)]
pub(super) enum OverlayTimer<K> {
    /// The topology's own.
    Topology(K),
    /// A lookup took long enough.
    Lookup(u32),
    /// An own record must be stored anew.
    Republish(Box<crate::Key>),
    /// Time to drop records that expired.
    Expire,
    /// Time to look who is to keep what.
    Settle,
}

/// One overlay: the topology, and beside it what the engine knows.
pub(super) struct Overlay<T: Topology> {
    pub(super) topology: T,
    pub(super) state: State<T>,
}

/// What the engine knows of one overlay.
pub(super) struct State<T: Topology> {
    pub(super) slot: Slot,
    pub(super) name: OverlayName,
    pub(super) place: Place,
    pub(super) powers: Powers,
    /// The lanes this topology has; a peer's claims to others are ignored.
    pub(super) lanes: u32,
    pub(super) standing: Standing,
    pub(super) grant: Option<Box<Grant>>,
    pub(super) settings: Arc<settings::Overlay>,
    pub(super) epoch: u8,
    pub(super) rng: Rng,
    pub(super) timers: Timers<OverlayTimer<T::Timer>>,
    /// Those of the topology, and where they stand.
    pub(super) set: Set<T::Timer>,
    /// Since when periodic timers are held; the far end of time if they are not.
    pub(super) held: Time,
    pub(super) questions: Questions,
    /// What the application asked the topology, and under which number it waits.
    pub(super) asks: BTreeMap<Ticket, u32>,
    pub(super) lookups: BTreeMap<u32, Box<Lookup<T>>>,
    pub(super) ids: u32,
    /// How often the topology was asked for a way.
    pub(super) draws: u32,
    /// None until there was one.
    pub(super) casts: Option<Box<Casts>>,
    pub(super) records: Option<Box<Records>>,
    /// Whom this node knew before it was restarted, until it has its place again.
    pub(super) known: Box<[Guid]>,
    /// Through whom a client does everything.
    pub(super) gateways: Vec<Guid>,
    /// What the frame being handled takes of its sender's credit, until it is clear who gives it back.
    pub(super) charge: u32,
    pub(super) class: Class,
    pub(super) metrics: Metrics,
}

impl<T: Topology> Overlay<T> {
    pub(super) fn new(attach: Attach<T>, slot: Slot, node: &NodeState<T>) -> Self {
        let Attach { name, topology, standing, grant, settings, epoch } = attach;
        let id = name.id();
        // One generator for each overlay, from node and overlay: what one draws never changes another's trace.
        let seed = *blake3::keyed_hash(&node.seed, &id.0).as_bytes();
        let state = State {
            slot,
            place: Place { overlay: id, me: node.me },
            name,
            powers: topology.powers(),
            lanes: topology.lanes(),
            standing,
            grant: grant.map(Box::new),
            settings,
            epoch,
            rng: Rng::from_seed(seed),
            timers: Timers::new(),
            set: Set::new(),
            held: Time::MAX,
            questions: Questions::new(),
            asks: BTreeMap::new(),
            lookups: BTreeMap::new(),
            ids: 0,
            draws: 0,
            casts: None,
            records: None,
            known: Box::default(),
            gateways: Vec::new(),
            charge: 0,
            class: Class::Control,
            metrics: Metrics::default(),
        };
        Self { topology, state }
    }
}

impl<T: Topology> State<T> {
    /// The tag under which this node sends; never 0, which is the session's.
    pub(super) fn tag(&self) -> u32 {
        (u32::from(self.slot.0) + 1) << 8 | u32::from(self.epoch)
    }

    /// A number for a question that is not in use.
    pub(super) fn next_id(&mut self) -> u32 {
        loop {
            self.ids = self.ids.wrapping_add(1).max(1);
            if !self.questions.contains(self.ids) && !self.lookups.contains_key(&self.ids) {
                return self.ids;
            }
        }
    }

    /// A number for a question to the topology, another one each time.
    pub(super) fn draw(&mut self) -> u32 {
        self.draws = self.draws.wrapping_add(1);
        self.draws
    }

    pub(super) fn casts(&mut self) -> &mut Casts {
        self.casts.get_or_insert_with(|| Box::new(Casts::new(self.rng.table_key())))
    }

    /// When something is to be done.
    pub(super) fn next_wake(&self) -> Option<Time> {
        let timer = self.timers.next().filter(|at| *at < PARKED);
        [timer, self.questions.next()].into_iter().flatten().min()
    }

    pub(super) fn is_client(&self) -> bool {
        self.standing == Standing::Client
    }

    /// What this node says of itself here; `None` where there is nothing to prove.
    pub(super) fn membership(&self, topology: &T, node: &NodeState<T>, now: Time) -> Option<Box<Membership>> {
        if !self.powers.assigned && self.grant.is_none() {
            return None;
        }
        let (addresses, proof) = if self.powers.assigned {
            let addresses = postcard::to_stdvec(&topology.addresses()).unwrap_or_default();
            (addresses.into(), topology.proof())
        } else {
            Default::default()
        };
        let claim = Claim {
            overlay: self.name.id(),
            standing: self.standing,
            addresses,
            proof,
            sequence: now.0,
            expires: now.as_secs() + MEMBERSHIP_SECS,
            grant: self.grant.as_deref().cloned(),
        };
        Some(Box::new(Membership::sign(&*node.signer, &claim)))
    }

    pub(super) fn bytes(&self) -> usize {
        self.timers.bytes()
            + self.set.bytes()
            + self.questions.bytes()
            + self.lookups.values().map(|lookup| lookup.bytes()).sum::<usize>()
            + self.casts.as_ref().map_or(0, |casts| casts.bytes())
            + self.records.as_ref().map_or(0, |records| records.bytes())
    }
}

impl<T: Topology> fmt::Debug for State<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State({:?})", self.name)
    }
}

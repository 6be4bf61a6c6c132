//! The table of peers: some awake, with all that belongs to a session, most at rest.

use core::cell::Cell;
use core::hash::BuildHasher as _;

use hashbrown::HashTable;
use smallvec::smallvec;

use super::{Link, Peer, PeerIx, PeerOverlay, Wire};
use crate::engine::Slot;
use crate::engine::hash::Seeded;
use crate::engine::rtt::Rtt;
use crate::topology::Topology;
use crate::{Guid, Time};

/// The half of a Guid by which a resting peer is known again. Guids are hashes: to find a second one with a given half
/// takes 2^128 attempts, and whoever makes up two that share one is taken for the same peer while it rests.
type Half = [u8; 16];

fn half(guid: &Guid) -> Half {
    let mut half = Half::default();
    half.copy_from_slice(&guid.0[..size_of::<Half>()]);
    half
}

/// What most resting peers do not have.
#[derive(Debug)]
struct More {
    rtt: Rtt,
    faults: u32,
    redials: u8,
    /// Other overlays that have it cached.
    cached: Box<[(Slot, u32)]>,
}

/// A place in the table.
#[derive(Debug)]
struct Entry<T: Topology> {
    half: Half,
    stage: Stage<T>,
}

#[derive(Debug)]
enum Stage<T: Topology> {
    Free,
    /// What is kept of a peer while no session with it is open, under way or needed: a topology may have hundreds of such
    /// peers at hand, and knows their names. (In a struct of its own this would take half as much again.)
    Resting {
        /// The overlay that has it cached, and on which lanes. It is hardly ever more than one.
        slot: Slot,
        cached: u32,
        more: Option<Box<More>>,
    },
    Awake(Box<Peer<T>>),
}

impl<T: Topology> Stage<T> {
    fn rest(peer: &Peer<T>) -> Self {
        let Peer { rtt, faults, redials, ref overlays, .. } = *peer;
        let mut cached = overlays.iter().map(|o| (o.slot, o.cached));
        let (slot, lanes) = cached.next().unwrap_or_default();
        let cached: Box<[_]> = cached.collect();
        let more = rtt.micros().is_some() || faults > 0 || redials > 0 || !cached.is_empty();
        let more = more.then(|| Box::new(More { rtt, faults, redials, cached }));
        Self::Resting { slot, cached: lanes, more }
    }

    /// Who rests has all that belongs to a session again.
    fn wake(&mut self, guid: Guid) {
        let Self::Resting { slot, cached, more } = self else { return };
        let overlay = |slot, cached| PeerOverlay { cached, ..PeerOverlay::new(slot) };
        let mut peer = Peer { overlays: smallvec![overlay(*slot, *cached)], ..Peer::new(guid) };
        if let Some(more) = more.take() {
            let More { rtt, faults, redials, cached } = *more;
            peer.overlays.extend(cached.into_iter().map(|(slot, cached)| overlay(slot, cached)));
            (peer.rtt, peer.faults, peer.redials) = (rtt, faults, redials);
        }
        *self = Self::Awake(Box::new(peer));
    }

    /// An overlay is gone. `false` if no other has the peer, which rests, cached.
    fn forget(&mut self, gone: Slot) -> bool {
        let Self::Resting { slot, cached, more } = self else { return true };
        let others = more.iter().flat_map(|more| more.cached.iter().copied());
        let mut left = core::iter::once((*slot, *cached)).chain(others).filter(|(other, _)| *other != gone);
        let Some(first) = left.next() else { return false };
        let rest = left.collect();
        (*slot, *cached) = first;
        if let Some(more) = more {
            more.cached = rest;
        }
        true
    }
}

impl<T: Topology> Entry<T> {
    fn is(&self, guid: &Guid) -> bool {
        self.half == half(guid) && self.awake().is_none_or(|peer| peer.guid == *guid)
    }

    fn awake(&self) -> Option<&Peer<T>> {
        if let Stage::Awake(peer) = &self.stage { Some(peer) } else { None }
    }

    fn awake_mut(&mut self) -> Option<&mut Peer<T>> {
        if let Stage::Awake(peer) = &mut self.stage { Some(peer) } else { None }
    }

    /// The peer, with all that belongs to a session.
    fn wake(&mut self, guid: &Guid) -> Option<&mut Peer<T>> {
        self.stage.wake(*guid);
        self.awake_mut()
    }
}

/// The table of peers. Looked up by hash, walked in the order they came.
#[derive(Debug)]
pub(in crate::engine) struct Peers<T: Topology> {
    index: HashTable<PeerIx>,
    hash: Seeded,
    table: Vec<Entry<T>>,
    free: Vec<PeerIx>,
    /// Whom [`find`](Self::find) found last, and where.
    recent: Cell<Option<(Guid, PeerIx)>>,
    /// How many have an open wire.
    open: usize,
    /// Those, in the order of a moment no later than their last use. Empty until somebody asks for the
    /// [least recently used](Self::least_recently_used): most nodes never have more sessions than they may.
    by_use: Vec<(Time, PeerIx)>,
}

impl<T: Topology> Peers<T> {
    pub(in crate::engine) fn new(seed: u64) -> Self {
        Self {
            index: HashTable::new(),
            hash: Seeded(seed),
            table: Vec::new(),
            free: Vec::new(),
            recent: Cell::new(None),
            open: 0,
            by_use: Vec::new(),
        }
    }

    pub(in crate::engine) fn find(&self, guid: &Guid) -> Option<PeerIx> {
        // One input concerns one peer, and inputs come in runs: mostly it is the one that was looked for last.
        if let Some((recent, at)) = self.recent.get()
            && recent == *guid
        {
            return Some(at);
        }
        let found = *self.index.find(self.hash.hash_one(half(guid)), |&at| self.table[at as usize].is(guid))?;
        self.recent.set(Some((*guid, found)));
        Some(found)
    }

    /// Who is awake there.
    pub(in crate::engine) fn guid(&self, at: PeerIx) -> Option<Guid> {
        self.table.get(at as usize)?.awake().map(|peer| peer.guid)
    }

    pub(in crate::engine) fn knows(&self, guid: &Guid) -> bool {
        self.find(guid).is_some()
    }

    /// A peer that is awake: a session is open or under way, or somebody is at it just now.
    pub(in crate::engine) fn get(&self, guid: &Guid) -> Option<&Peer<T>> {
        self.table[self.find(guid)? as usize].awake()
    }

    /// As [`get`](Self::get).
    pub(in crate::engine) fn get_mut(&mut self, guid: &Guid) -> Option<&mut Peer<T>> {
        let at = self.find(guid)?;
        self.table[at as usize].awake_mut()
    }

    /// What was measured of a peer, awake or not.
    pub(in crate::engine) fn rtt(&self, guid: &Guid) -> Option<&Rtt> {
        match &self.table[self.find(guid)? as usize].stage {
            Stage::Free => None,
            Stage::Resting { more, .. } => more.as_ref().map(|more| &more.rtt),
            Stage::Awake(peer) => Some(&peer.rtt),
        }
    }

    /// As [`rtt`](Self::rtt).
    pub(in crate::engine) fn rtt_mut(&mut self, guid: &Guid) -> Option<&mut Rtt> {
        let at = self.find(guid)?;
        match &mut self.table[at as usize].stage {
            Stage::Free => None,
            Stage::Resting { more, .. } => more.as_mut().map(|more| &mut more.rtt),
            Stage::Awake(peer) => Some(&mut peer.rtt),
        }
    }

    /// The peer, made known if there is room for one more, and awake.
    pub(in crate::engine) fn entry(&mut self, guid: Guid, limit: usize) -> Option<&mut Peer<T>> {
        if let Some(at) = self.find(&guid) {
            return self.table[at as usize].wake(&guid);
        }
        if self.len() >= limit {
            return None;
        }
        let at = self.free.pop().unwrap_or_else(|| {
            if self.table.len() == self.table.capacity() {
                // An eighth more, not twice as much: nodes with dozens of peers are many in a simulator.
                self.table.reserve_exact(self.table.len() / 8 + 4);
            }
            self.table.push(Entry { half: Half::default(), stage: Stage::Free });
            (self.table.len() - 1) as PeerIx
        });
        self.table[at as usize] = Entry { half: half(&guid), stage: Stage::Awake(Box::new(Peer::new(guid))) };
        let (hash, table) = (self.hash, &self.table);
        self.index.insert_unique(hash.hash_one(half(&guid)), at, |&at| hash.hash_one(table[at as usize].half));
        self.table[at as usize].awake_mut()
    }

    /// Lets a peer rest that has no session and needs none, and forgets one nobody has to do with.
    pub(in crate::engine) fn tidy(&mut self, guid: &Guid) {
        let Some(at) = self.find(guid) else { return };
        let Some(peer) = self.table[at as usize].awake_mut() else { return };
        peer.overlays.retain(|o| !o.unused());
        let idle = matches!(peer.link, Link::None) && peer.standby.is_none() && peer.waiting.is_empty();
        if idle && peer.overlays.is_empty() {
            self.remove(at);
        } else if idle && peer.rests() {
            self.table[at as usize].stage = Stage::rest(peer);
        }
    }

    pub(in crate::engine) fn len(&self) -> usize {
        self.index.len()
    }

    /// A wire to this peer opened.
    pub(in crate::engine) fn opened(&mut self, guid: &Guid, now: Time) {
        self.open += 1;
        if let Some(at) = self.find(guid).filter(|_| !self.by_use.is_empty()) {
            self.note_use(now, at);
        }
    }

    /// The wire to this peer was closed.
    pub(in crate::engine) fn closed(&mut self, guid: &Guid) {
        self.open -= 1;
        let place = self.find(guid).and_then(|at| self.by_use.iter().position(|(_, open)| *open == at));
        place.map(|place| self.by_use.remove(place));
    }

    /// How many wires are open.
    pub(in crate::engine) fn open(&self) -> usize {
        self.open
    }

    fn note_use(&mut self, used: Time, at: PeerIx) {
        let place = self.by_use.partition_point(|known| *known < (used, at));
        self.by_use.insert(place, (used, at));
    }

    /// The peer whose session was used least recently of those that nobody requires; one that is `busy` only if there
    /// is no other.
    ///
    /// Messages leave the order as it is, for there are many. Whoever turns out to have been of use since goes back to its
    /// place now, so that only the first few are looked at.
    pub(in crate::engine) fn least_recently_used(
        &mut self,
        now: Time,
        busy: impl Fn(&Peer<T>) -> bool,
    ) -> Option<(Guid, Wire)> {
        if self.by_use.is_empty() {
            let open = |entry: &Entry<T>| entry.awake().is_some_and(|peer| matches!(peer.link, Link::Open(_)));
            let all = (0..).zip(&self.table).filter(|(_, entry)| open(entry));
            self.by_use = all.map(|(at, _)| (Time::ZERO, at)).collect();
        }
        let (mut place, mut last) = (0, None);
        while let Some(&(since, at)) = self.by_use.get(place) {
            let Some(peer) = self.table[at as usize].awake() else { return last };
            // It is idle from the moment nobody requires it any longer, and that is still to come.
            let used = if peer.required() { now } else { peer.used };
            if used > since {
                self.by_use.remove(place);
                self.note_use(used, at);
                continue;
            }
            place += 1;
            let Link::Open(wire) = peer.link else { continue };
            if !wire.agreed || peer.required() {
                continue;
            }
            let found = Some((peer.guid, wire));
            if !busy(peer) {
                return found;
            }
            last = last.or(found);
        }
        last
    }

    /// Those that are awake.
    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = &Peer<T>> {
        self.table.iter().filter_map(Entry::awake)
    }

    /// The same, so that they can be changed.
    pub(in crate::engine) fn guids(&self) -> Vec<Guid> {
        self.iter().map(|peer| peer.guid).collect()
    }

    /// An overlay is gone: nobody who rests is at hand for it any longer.
    pub(in crate::engine) fn forget(&mut self, slot: Slot) {
        for at in 0..self.table.len() {
            if !self.table[at].stage.forget(slot) {
                self.remove(at as PeerIx);
            }
        }
    }

    fn remove(&mut self, at: PeerIx) {
        let hash = self.hash.hash_one(self.table[at as usize].half);
        let found = self.index.find_entry(hash, |&entry| entry == at);
        found.map(hashbrown::hash_table::OccupiedEntry::remove).ok();
        self.table[at as usize].stage = Stage::Free;
        self.free.push(at);
        self.recent.set(None);
    }

    pub(in crate::engine) fn bytes(&self) -> usize {
        let awake: usize = self.iter().map(Peer::bytes).sum();
        let by_use = self.by_use.capacity() * size_of::<(Time, PeerIx)>();
        awake + by_use + self.table.capacity() * size_of::<Entry<T>>() + self.index.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topology::erased::Boxed;

    const PEER: Guid = Guid([3; 32]);

    fn resting(slots: &[u16]) -> Peers<Boxed> {
        let mut peers = Peers::new(1);
        let peer = peers.entry(PEER, 10).unwrap();
        slots.iter().for_each(|slot| peer.overlay_entry(Slot(*slot)).cached = 1 << slot);
        peers.tidy(&PEER);
        assert!(peers.knows(&PEER) && peers.get(&PEER).is_none(), "it rests");
        peers
    }

    /// A simulator has millions of them.
    #[test]
    fn a_place_in_the_table_takes_32_bytes() {
        assert_eq!(size_of::<Entry<Boxed>>(), 32);
    }

    proptest! {
        /// Sessions open, are of use, required, let go and closed, as time goes by: who is found is who a walk through all
        /// of them finds.
        #[test]
        fn the_least_recently_used_is_found_without_a_look_at_all(steps in prop::collection::vec((0..5, 0..6u8, 0..2u64), 1..100)) {
            let mut peers = Peers::<Boxed>::new(1);
            let mut now = Time::ZERO;
            let busy = |peer: &Peer<Boxed>| peer.guid.0[0].is_multiple_of(3);
            for (step, number, later) in steps {
                let guid = Guid([number; 32]);
                now = Time(now.0 + later);
                let peer = peers.entry(guid, 10).unwrap();
                let open = matches!(peer.link, Link::Open(_));
                match step {
                    0 if !open => {
                        let wire = Wire { agreed: number != 5, ..wire(number, now) };
                        (peer.link, peer.used) = (Link::Open(wire), now);
                        peers.opened(&guid, now);
                    }
                    1 if open => {
                        peer.link = Link::None;
                        peers.closed(&guid);
                    }
                    2 => peer.used = now,
                    3 => peer.overlay_entry(Slot(0)).required = 1,
                    _ => {
                        peer.overlay_entry(Slot(0)).required = 0;
                        peer.used = now;
                    }
                }
                let evictable = |peer: &&Peer<Boxed>| matches!(peer.link, Link::Open(w) if w.agreed) && !peer.required();
                let least = |peer: &&Peer<Boxed>| (busy(peer), peer.used);
                let naive = peers.iter().filter(evictable).min_by_key(least).map(|peer| peer.guid);
                prop_assert_eq!(peers.least_recently_used(now, busy).map(|(guid, _)| guid), naive);
            }
        }
    }

    fn wire(number: u8, since: Time) -> Wire {
        let conn = crate::engine::io::ConnId(number.into());
        Wire { conn, dialer: crate::engine::io::Dialer::Me, exporter: [0; 32], agreed: true, since }
    }

    #[test]
    fn a_resting_peer_is_forgotten_with_the_last_overlay_that_has_it_cached() {
        for (order, left) in [([1, 2, 3], [2, 3]), ([3, 1, 2], [1, 2]), ([2, 3, 1], [1, 3])] {
            let mut peers = resting(&[1, 2, 3]);
            peers.forget(Slot(order[0]));
            let cached = |peer: &mut Peer<Boxed>| {
                let mut all: Vec<_> = peer.overlays.iter().map(|overlay| (overlay.slot.0, overlay.cached)).collect();
                all.sort_unstable();
                all
            };
            let expected = left.map(|slot| (slot, 1 << slot));
            assert_eq!(peers.entry(PEER, 10).map(cached), Some(expected.to_vec()));
            peers.tidy(&PEER);
            order[1..].iter().for_each(|slot| peers.forget(Slot(*slot)));
            assert!(!peers.knows(&PEER) && peers.len() == 0);
        }
    }
}

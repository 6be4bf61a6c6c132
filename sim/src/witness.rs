//! What the applications of a world saw.

use bytes::Bytes;
use hashbrown::HashMap;
use polymorph_core::engine::Slot;
use polymorph_core::engine::io::{Origin, Outcome, Responder};
use polymorph_core::topology::event::Ticket;
use polymorph_core::topology::question::CopyId;
use polymorph_core::{Guid, Key, Time};

use crate::report::Arrivals;
use crate::world::Peer;

/// How many accusations are kept; the first ones say what is wrong.
const MAX_BLAMED: usize = 1024;

/// How something an application asked for ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Who had asked.
    pub peer: Peer,
    /// When.
    pub at: Time,
    /// How.
    pub outcome: Outcome,
}

/// A broadcast that reached an application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Where.
    pub peer: Peer,
    /// In which of its overlays.
    pub slot: Slot,
    /// When.
    pub at: Time,
    /// Which.
    pub id: CopyId,
    /// Its topic.
    pub topic: Option<Key>,
    /// Who sent it first.
    pub from: Guid,
    /// Whether `from` is proven.
    pub origin: Origin,
    /// How many links it crossed.
    pub hops: u8,
    /// What.
    pub payload: Bytes,
}

/// A message for a service, or one that the topology handed over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Where.
    pub peer: Peer,
    /// When.
    pub at: Time,
    /// Which service; `None` for what the topology delivered by itself.
    pub service: Option<u32>,
    /// From whom.
    pub from: Guid,
    /// Who waits for a response.
    pub respond: Option<Responder>,
    /// What.
    pub payload: Bytes,
}

/// A peer told its application that another broke the rules. In a world without attackers nobody should.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blamed {
    /// Who says so.
    pub by: Peer,
    /// Whom.
    pub peer: Guid,
    /// Why.
    pub why: &'static str,
}

/// How far one broadcast came.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Which.
    pub id: CopyId,
    /// Who sent it first.
    pub from: Guid,
    /// How many others it reached.
    pub reached: u64,
    /// How often it was delivered to somebody who had it: never, in a right engine.
    pub repeated: u64,
    /// The most links any delivered copy crossed.
    pub last_hop: u8,
    /// How many have it after how many links.
    pub hops: Vec<u32>,
    /// When the first one had it, its sender included; and how long after that the others.
    pub first: Time,
    /// See [`first`](Self::first).
    pub arrivals: Arrivals,
    /// When the last one had it.
    pub last: Time,
    /// The first eight bytes of its payload (zeros where it is shorter), by which a workload knows its own.
    pub mark: [u8; 8],
    /// A bit for each peer that has it.
    has: Vec<u64>,
}

/// Whether every delivery of a broadcast is kept, or only counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Keep {
    /// Every one, with its payload.
    #[default]
    Deliveries,
    /// A [`Tally`] for each broadcast. For large worlds.
    Tallies,
}

/// What the applications of a world saw.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    pub(crate) ended: HashMap<(Peer, Ticket), Ended>,
    /// What ended lately, for whoever watches.
    pub(crate) endings: Option<Vec<(Peer, Ticket)>>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) tallies: Vec<Tally>,
    /// Where in `tallies`.
    broadcasts: HashMap<CopyId, usize>,
    marks: HashMap<[u8; 8], usize>,
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) blamed: Vec<Blamed>,
}

impl Witness {
    pub(crate) fn published(&mut self, keep: Keep, sent_here: bool, delivery: Delivery) {
        let at = *self.broadcasts.entry(delivery.id).or_insert(self.tallies.len());
        if at == self.tallies.len() {
            let tally = Tally::new(&delivery);
            self.marks.insert(tally.mark, at);
            self.tallies.push(tally);
        }
        if !sent_here {
            self.tallies[at].reach(&delivery);
        }
        if keep == Keep::Deliveries {
            self.deliveries.push(delivery);
        }
    }

    pub(crate) fn end(&mut self, ended: Ended, ticket: Ticket) {
        if let Some(endings) = self.endings.as_mut() {
            endings.push((ended.peer, ticket));
        }
        self.ended.insert((ended.peer, ticket), ended);
    }

    pub(crate) fn marked(&self, mark: &[u8; 8]) -> Option<&Tally> {
        self.tallies.get(*self.marks.get(mark)?)
    }

    pub(crate) fn bytes(&self) -> usize {
        let payloads: usize = self.deliveries.iter().map(|delivery| delivery.payload.len()).sum();
        self.ended.capacity() * (size_of::<(Peer, Ticket)>() + size_of::<Ended>())
            + self.deliveries.capacity() * size_of::<Delivery>()
            + payloads
            + self
                .tallies
                .iter()
                .map(|tally| {
                    size_of::<Tally>() + 8 * tally.has.capacity() + tally.arrivals.bytes() + 4 * tally.hops.capacity()
                })
                .sum::<usize>()
            + self.arrivals.capacity() * size_of::<Arrival>()
    }

    pub(crate) fn blame(&mut self, blamed: Blamed) {
        if self.blamed.len() < MAX_BLAMED {
            self.blamed.push(blamed);
        }
    }
}

impl Tally {
    fn new(first: &Delivery) -> Self {
        let mut mark = [0; 8];
        mark.iter_mut().zip(&first.payload).for_each(|(to, from)| *to = *from);
        let &Delivery { id, from, at: last, .. } = first;
        let arrivals = Arrivals::default();
        let hops = Vec::new();
        Self {
            id,
            from,
            reached: 0,
            repeated: 0,
            last_hop: 0,
            hops,
            first: last,
            arrivals,
            last,
            mark,
            has: Vec::new(),
        }
    }

    fn reach(&mut self, delivery: &Delivery) {
        let (word, bit) = (delivery.peer.index() / 64, 1 << (delivery.peer.index() % 64));
        if self.has.len() <= word {
            self.has.resize(word + 1, 0);
        }
        if self.has[word] & bit != 0 {
            self.repeated += 1;
            return;
        }
        self.has[word] |= bit;
        self.reached += 1;
        self.arrivals.count(delivery.at.since(self.first));
        let hops = usize::from(delivery.hops);
        if self.hops.len() <= hops {
            self.hops.resize(hops + 1, 0);
        }
        self.hops[hops] += 1;
        self.last_hop = self.last_hop.max(delivery.hops);
        self.last = self.last.max(delivery.at);
    }

    /// Whether this peer was reached.
    #[must_use]
    pub fn has(&self, peer: Peer) -> bool {
        self.has.get(peer.index() / 64).is_some_and(|word| word >> (peer.index() % 64) & 1 == 1)
    }
}

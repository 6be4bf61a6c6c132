//! The peers a node knows of: sessions, dials, and who holds which link.

mod table;
mod told;

use smallvec::SmallVec;

use super::Slot;
use super::io::{Class, ConnId, Dialer};
use super::rtt::Rtt;
use super::timers::Handle;
use super::waiting::Waiting;
use crate::topology::Topology;
use crate::topology::question::{Hold, Lane};
use crate::wire::Frame;
use crate::wire::frame::Proof;
use crate::{Guid, Time};
pub(super) use table::Peers;
use told::Told;

/// The lane on which the application itself holds links.
pub(super) const APPLICATION: u32 = 1 << 31;

/// A peer's number in the table.
pub(super) type PeerIx = u32;

/// The wire to a peer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Link {
    None,
    Dialing,
    Open(Wire),
}

/// An open wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire {
    pub(super) conn: ConnId,
    pub(super) dialer: Dialer,
    pub(super) exporter: [u8; 32],
    /// Whether the first handshake is done.
    pub(super) agreed: bool,
    pub(super) since: Time,
}

/// A second wire, kept until it is clear which of the two stays.
#[derive(Debug)]
pub(super) struct Standby<T: Topology> {
    pub(super) wire: Wire,
    pub(super) frames: Vec<Frame<T>>,
}

/// The overlays of an offer, in order, and what proved each.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) nonce: u64,
    /// Hardly ever more than one.
    pub(super) proofs: SmallVec<[(Slot, Proof); 1]>,
}

impl Shown {
    pub(super) fn names(&self, slot: Slot) -> bool {
        self.proofs.iter().any(|(shown, _)| *shown == slot)
    }
}

/// How fast a peer takes what is sent to it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    since: Time,
    bytes: u32,
    /// In bytes a second; 0 until it is known.
    rate: u32,
}

impl Flow {
    /// The wire took so many bytes. A rate is that of the last whole second or more in which something was taken.
    pub(super) fn drained(&mut self, now: Time, bytes: u32) {
        self.bytes = self.bytes.saturating_add(bytes);
        let span = now.since(self.since);
        if span >= core::time::Duration::from_secs(1) {
            if self.since > Time::ZERO {
                self.rate = (f64::from(self.bytes) / span.as_secs_f64()) as u32;
            }
            (self.since, self.bytes) = (now, 0);
        }
    }

    pub(super) fn rate(&self) -> Option<u64> {
        (self.rate > 0).then_some(self.rate.into())
    }
}

/// What one class of messages took of the credit between this node and a peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    /// Bytes sent for which no credit came back.
    pub(super) sent: u32,
    /// Bytes received that were not taken in.
    pub(super) received: u32,
    /// Bytes taken in of which the peer was not told yet.
    pub(super) owed: u32,
}

/// One overlay between this node and a peer.
#[derive(Debug)]
pub(super) struct PeerOverlay {
    pub(super) slot: Slot,
    /// Lanes on which this node holds the link, firmly or loosely.
    pub(super) required: u32,
    pub(super) cached: u32,
    /// The required lanes the peer was last told.
    pub(super) said: u32,
    /// Lanes on which the peer holds it.
    pub(super) theirs: u32,
    /// Lanes that were told the peer is up.
    pub(super) up: u32,
    /// The tag under which the peer sends; 0 until agreed.
    pub(super) their_tag: u32,
    pub(super) agreed: bool,
    pub(super) member: bool,
    /// Until when its grant lets it take part.
    pub(super) until: Time,
    /// How many bytes of each class it lets come before it took them in.
    pub(super) credit: u32,
    /// Which version of the topology's messages was agreed on, as an index into this node's list.
    pub(super) protocol: u8,
    /// Of each class but control, the most urgent first; none before there was something to count.
    accounts: Option<Box<[Account; 3]>>,
    /// How many of its questions are remembered here on their way.
    pub(super) ways: u32,
    /// The classes in which somebody was told "busy" and waits.
    refused: [bool; Class::ALL.len()],
}

impl PeerOverlay {
    fn new(slot: Slot) -> Self {
        Self {
            slot,
            required: 0,
            cached: 0,
            said: 0,
            theirs: 0,
            up: 0,
            their_tag: 0,
            agreed: false,
            member: false,
            until: Time::MAX,
            credit: 0,
            protocol: 0,
            accounts: None,
            ways: 0,
            refused: [false; Class::ALL.len()],
        }
    }

    /// What ends with the wire; what this node wants stays.
    pub(super) fn reset(&mut self) {
        *self = Self { required: self.required, cached: self.cached, up: self.up, ..Self::new(self.slot) };
    }

    pub(super) fn hold(&mut self, bit: u32, hold: Option<Hold>) {
        self.required &= !bit;
        self.cached &= !bit;
        match hold {
            Some(Hold::Required) => self.required |= bit,
            Some(Hold::Cached) => self.cached |= bit,
            None => {}
        }
    }

    /// What one class took of the credit; control is exempt from it.
    pub(super) fn account(&mut self, class: Class) -> Option<&mut Account> {
        let at = usize::from(class as u8).checked_sub(1)?;
        self.accounts.get_or_insert_default().get_mut(at)
    }

    /// What was sent in one class for which no credit came back.
    pub(super) fn sent(&self, class: Class) -> u32 {
        let at = usize::from(class as u8).checked_sub(1);
        at.zip(self.accounts.as_deref()).and_then(|(at, all)| all.get(at)).map_or(0, |account| account.sent)
    }

    /// All there are.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.iter().flat_map(|accounts| accounts.iter())
    }

    /// Whether something of the peer's was not taken in yet.
    pub(super) fn keeps_waiting(&self) -> bool {
        self.accounts().any(|account| account.received > 0)
    }

    /// Somebody was told "busy" and waits.
    pub(super) fn refuse(&mut self, class: Class) {
        self.refused[class as usize] = true;
    }

    pub(super) fn has_refused(&self) -> bool {
        self.refused.contains(&true)
    }

    /// Whether a class in which somebody waits may go on. What another class owes keeps nobody waiting.
    pub(super) fn relents(&mut self) -> bool {
        let half = self.credit / 2;
        let mut relents = false;
        for class in Class::ALL {
            let spent = self.sent(class) > half;
            relents |= !spent && core::mem::take(&mut self.refused[class as usize]);
        }
        relents
    }

    pub(super) fn unused(&self) -> bool {
        self.required | self.cached | self.theirs | self.up == 0 && !self.agreed
    }
}

/// One peer.
#[derive(Debug)]
pub(super) struct Peer<T: Topology> {
    pub(super) guid: Guid,
    pub(super) link: Link,
    pub(super) standby: Option<Box<Standby<T>>>,
    /// Hardly ever more than one.
    pub(super) overlays: SmallVec<[PeerOverlay; 1]>,
    /// Frames that wait for the session.
    pub(super) waiting: Waiting<T>,
    /// Bytes in the driver's queue of the open wire.
    pub(super) queued: u32,
    pub(super) rtt: Rtt,
    /// The round-trip time topologies were last told of, in microseconds.
    pub(super) told_rtt: u32,
    pub(super) flow: Flow,
    pub(super) faults: u32,
    pub(super) used: Time,
    /// When a frame last came over the open wire.
    pub(super) heard: Time,
    /// The timer that looks at what is due with the peer.
    pub(super) timer: Option<Handle>,
    /// How many own dials have not ended, and until when a wire is awaited while there is none.
    pub(super) dials: u8,
    pub(super) awaits: Time,
    /// How often in a row it hung up on a session that is required here.
    pub(super) redials: u8,
    /// The offer on its way to the peer, with this node's proofs, and the peer's that was accepted, with its own.
    pub(super) offer: Option<Box<Shown>>,
    pub(super) accepted: Option<Box<Shown>>,
    pub(super) offers: u32,
    /// Whether an overlay was attached during the first one.
    pub(super) owes_offer: bool,
    /// When the last one was made.
    pub(super) offered: Time,
    /// The contacts it was told.
    pub(super) told: Told,
}

impl<T: Topology> Peer<T> {
    fn new(guid: Guid) -> Self {
        Self {
            guid,
            link: Link::None,
            standby: None,
            overlays: SmallVec::new(),
            waiting: Waiting::new(),
            queued: 0,
            rtt: Rtt::default(),
            told_rtt: 0,
            flow: Flow::default(),
            faults: 0,
            used: Time::ZERO,
            heard: Time::ZERO,
            timer: None,
            dials: 0,
            awaits: Time::ZERO,
            redials: 0,
            offer: None,
            accepted: None,
            offers: 0,
            owes_offer: false,
            offered: Time::ZERO,
            told: Told::default(),
        }
    }

    pub(super) fn overlay(&self, slot: Slot) -> Option<&PeerOverlay> {
        self.overlays.iter().find(|o| o.slot == slot)
    }

    pub(super) fn overlay_mut(&mut self, slot: Slot) -> Option<&mut PeerOverlay> {
        self.overlays.iter_mut().find(|o| o.slot == slot)
    }

    pub(super) fn overlay_entry(&mut self, slot: Slot) -> &mut PeerOverlay {
        let at = self.overlays.iter().position(|o| o.slot == slot).unwrap_or_else(|| {
            self.overlays.push(PeerOverlay::new(slot));
            self.overlays.len() - 1
        });
        &mut self.overlays[at]
    }

    /// Since when there is a session; never, where there is none.
    pub(super) fn since(&self) -> Time {
        if let Link::Open(wire) = self.link { wire.since } else { Time::MAX }
    }

    pub(super) fn carries(&self, slot: Slot) -> bool {
        self.overlay(slot).is_some_and(|o| o.agreed)
    }

    /// Whether somebody on either side needs the session.
    pub(super) fn required(&self) -> bool {
        self.overlays.iter().any(|o| o.required | o.theirs != 0)
    }

    /// Bytes that wait for this peer, here or in the driver's queue, with a frame of `charge` more.
    pub(super) fn queue_with(&self, charge: u32) -> usize {
        self.queued as usize + self.waiting.charge() + charge as usize
    }

    /// Whether an offer is on the way, in either direction.
    pub(super) fn settling(&self) -> bool {
        self.offer.is_some() || self.accepted.is_some()
    }

    /// Whether somebody here has to do with it.
    pub(super) fn cared_for(&self) -> bool {
        !self.waiting.is_empty() || self.overlays.iter().any(|o| o.required | o.cached | o.up != 0)
    }

    /// Whether there is nothing to remember but who has it cached.
    fn rests(&self) -> bool {
        let rests = |o: &PeerOverlay| o.required | o.theirs | o.up == 0 && !o.agreed && !o.has_refused();
        self.dials == 0 && !self.settling() && self.overlays.iter().all(rests)
    }

    fn bytes(&self) -> usize {
        let overlays = if self.overlays.spilled() { self.overlays.capacity() } else { 0 };
        size_of::<Self>() + overlays * size_of::<PeerOverlay>() + self.told.bytes() + self.waiting.bytes()
    }
}

/// The bits of lanes, in order.
pub(super) fn lanes(mut bits: u32) -> impl Iterator<Item = Lane> {
    bits &= !APPLICATION;
    core::iter::from_fn(move || {
        (bits != 0).then(|| {
            let lowest = bits.trailing_zeros() as u8;
            bits &= bits - 1;
            Lane(lowest)
        })
    })
}

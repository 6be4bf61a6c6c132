//! The handshake of a session: what the two nodes share.
//!
//! The dialer sends `Offer`, a MAC for each of its overlays, keyed by the overlay's secret over this very connection;
//! the acceptor answers `Accept` with its own proofs for those it recognised, and nothing of the rest; the dialer
//! closes with `Confirm`. Either side may offer again when it attaches another overlay.

use smallvec::SmallVec;

use crate::engine::Slot;
use crate::engine::desk::Desk;
use crate::engine::io::Dialer;
use crate::engine::peers::{self, APPLICATION, Link, Shown};
use crate::engine::state::{Overlay, State};
use crate::engine::turn::{Todo, Turn};
use crate::overlay::{Claim, Standing};
use crate::topology::Topology;
use crate::topology::event::{Down, Event};
use crate::topology::question::Lane;
use crate::wire::Frame;
use crate::wire::frame::{Body, Goodbye, MAX_PROOFS, Offer, Proof, Shared};
use crate::{Guid, Time};

/// How many versions a peer may list.
const MAX_PROTOCOLS: usize = 32;
/// How many offers a peer may make on one session at once, and then one more each second: each costs a proof for every
/// overlay here.
const MAX_OFFERS: u64 = 64;

impl<T: Topology> Turn<'_, T> {
    /// Offers all overlays the session does not carry yet.
    pub(super) fn offer(&mut self, guid: Guid) {
        let me = self.node.me;
        self.node.nonces += 1;
        let nonce = self.node.nonces;
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        let Link::Open(wire) = peer.link else { return };
        let mine: SmallVec<[(Slot, Proof); 1]> = (self.overlays.iter().flatten())
            .filter(|o| !peer.carries(o.state.slot))
            .map(|o| (o.state.slot, prove(&o.state, &wire.exporter, &me, &guid, wire.dialer, nonce)))
            .collect();
        if mine.is_empty() && wire.agreed {
            return;
        }
        let proofs = mine.iter().map(|(_, proof)| *proof).collect();
        peer.offer = Some(Box::new(Shown { nonce, proofs: mine }));
        peer.offered = self.now;
        self.node.arm(&guid);
        self.say(guid, Body::Offer(Offer { nonce, proofs }));
    }

    /// An overlay was attached: every session is offered it.
    pub(in crate::engine) fn offer_anew(&mut self) {
        for guid in self.node.peers.guids() {
            let Some(peer) = self.node.peers.get_mut(&guid) else { continue };
            match peer.link {
                Link::Open(wire) if wire.agreed => self.offer(guid),
                // One handshake after the other.
                Link::Open(_) => peer.owes_offer = true,
                Link::None | Link::Dialing => {}
            }
        }
    }

    /// What this node says of one of its overlays to a peer that proved to be in it.
    fn my_side(&mut self, slot: Slot, guid: Guid, index: u16, proof: Proof) -> Option<Shared> {
        let now = self.now;
        let overlay = self.node.peers.get_mut(&guid)?.overlay_mut(slot);
        let lanes = overlay.map_or(0, |overlay| {
            overlay.said = overlay.required;
            overlay.said
        });
        let (topology, desk) = self.open(slot)?;
        let membership = desk.state.membership(topology, desk.node, now);
        let state = &*desk.state;
        Some(Shared {
            index,
            proof,
            tag: state.tag(),
            epoch: state.epoch.into(),
            standing: state.standing,
            lanes,
            credit: desk.node.settings.credit_bytes,
            protocols: topology.protocols(),
            membership,
        })
    }

    /// The peer offers: answer what is shared, and say nothing of the rest.
    pub(super) fn accept(&mut self, guid: Guid, offer: &Offer) {
        let me = self.node.me;
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        let Link::Open(wire) = peer.link else { return };
        peer.offers = peer.offers.saturating_add(1);
        let allowed = MAX_OFFERS + self.now.since(wire.since).as_secs();
        if u64::from(peer.offers) > allowed || offer.proofs.len() > MAX_PROOFS {
            return self.drop_peer(guid, "too many offers");
        }
        let mut matched: SmallVec<[_; 1]> = SmallVec::new();
        for Overlay { state, .. } in self.overlays.iter().flatten().map(|o| &**o) {
            let theirs = prove(state, &wire.exporter, &guid, &me, other(wire.dialer), offer.nonce);
            if let Some(index) = offer.proofs.iter().position(|proof| *proof == theirs) {
                let mine = prove(state, &wire.exporter, &me, &guid, wire.dialer, offer.nonce);
                matched.push((state.slot, index as u16, theirs, mine));
            }
        }
        let mut proofs = SmallVec::new();
        let mut shared = Vec::with_capacity(matched.len());
        for (slot, index, theirs, mine) in matched {
            if let Some(mine) = self.my_side(slot, guid, index, mine) {
                proofs.push((slot, theirs));
                shared.push(mine);
            }
        }
        let nothing = shared.is_empty() && !wire.agreed;
        if let Some(peer) = self.node.peers.get_mut(&guid) {
            peer.accepted = Some(Box::new(Shown { nonce: offer.nonce, proofs }));
            peer.offered = self.now;
            self.node.arm(&guid);
        }
        self.say(guid, Body::Accept { nonce: offer.nonce, shared });
        if nothing {
            self.agreed(guid);
        }
    }

    /// The peer accepted: close the handshake for what proved true.
    pub(super) fn confirm(&mut self, guid: Guid, nonce: u64, shared: Vec<Shared>) {
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        let Some(offer) = peer.offer.take_if(|offer| offer.nonce == nonce) else { return };
        let mut mine = Vec::new();
        // No more answers than offers: each costs a check.
        for theirs in shared.into_iter().take(offer.proofs.len()) {
            let Some(&(slot, proof)) = offer.proofs.get(usize::from(theirs.index)) else { continue };
            let index = theirs.index;
            if self.proves(slot, guid, &theirs, nonce)
                && self.agree(slot, guid, theirs)
                && let Some(shared) = self.my_side(slot, guid, index, proof)
            {
                mine.push((slot, shared));
            }
        }
        let agreed: Vec<Slot> = mine.iter().map(|(slot, _)| *slot).collect();
        self.say(guid, Body::Confirm { nonce, shared: mine.into_iter().map(|(_, shared)| shared).collect() });
        agreed.into_iter().for_each(|slot| self.overlay_up(slot, guid));
        self.agreed(guid);
    }

    pub(super) fn confirmed(&mut self, guid: Guid, nonce: u64, shared: Vec<Shared>) {
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        let Some(accepted) = peer.accepted.take_if(|accepted| accepted.nonce == nonce) else { return };
        for theirs in shared.into_iter().take(accepted.proofs.len()) {
            // Its index is the offer's: which of the accepted ones it was is told by its proof, the offered one again.
            let slot = accepted.proofs.iter().find(|(_, proof)| *proof == theirs.proof).map(|(slot, _)| *slot);
            if let Some(slot) = slot
                && self.is_of_epoch(slot, &theirs)
                && self.agree(slot, guid, theirs)
            {
                self.overlay_up(slot, guid);
            }
        }
        self.agreed(guid);
    }

    fn proves(&self, slot: Slot, guid: Guid, theirs: &Shared, nonce: u64) -> bool {
        let me = self.node.me;
        let Some(Link::Open(wire)) = self.node.peers.get(&guid).map(|p| p.link) else { return false };
        let overlay = self.overlays.get(usize::from(slot.0)).and_then(|o| o.as_deref());
        overlay.is_some_and(|o| theirs.proof == prove(&o.state, &wire.exporter, &guid, &me, other(wire.dialer), nonce))
            && self.is_of_epoch(slot, theirs)
    }

    fn is_of_epoch(&self, slot: Slot, theirs: &Shared) -> bool {
        let overlay = self.overlays.get(usize::from(slot.0)).and_then(|o| o.as_deref());
        overlay.is_some_and(|o| theirs.epoch == u32::from(o.state.epoch))
    }

    /// Checks all else that a peer says of an overlay which it proved to be in; from now on the session carries it.
    fn agree(&mut self, slot: Slot, guid: Guid, theirs: Shared) -> bool {
        let now = self.now;
        if theirs.tag == 0 || theirs.protocols.len() > MAX_PROTOCOLS {
            return false;
        }
        let dialed = self.node.peers.get(&guid).map(|p| p.link);
        let Some((topology, mut desk)) = self.open(slot) else { return false };
        let Some(protocol) = common(&topology.protocols(), &theirs.protocols, dialed) else { return false };
        let (mut standing, mut until) = (theirs.standing, Time::MAX);
        let lanes = desk.state.lanes | APPLICATION;
        let authority = matches!(desk.state.name.admission(), crate::Admission::Authority(_));
        if authority || theirs.membership.is_some() {
            let Some(claim) = check(topology, &mut desk, guid, theirs.membership.as_deref(), now) else {
                return false;
            };
            standing = claim.standing;
            until = claim.grant.map_or(Time::MAX, |grant| Time::from_secs(grant.expires));
        }
        let Some(peer) = desk.node.peers.get_mut(&guid) else { return false };
        let overlay = peer.overlay_entry(slot);
        overlay.their_tag = theirs.tag;
        overlay.theirs = theirs.lanes & lanes;
        overlay.credit = theirs.credit;
        overlay.until = until;
        overlay.member = standing == Standing::Member;
        overlay.protocol = protocol;
        true
    }

    /// The overlay is agreed on: what waited for it is sent, and the topology told.
    fn overlay_up(&mut self, slot: Slot, guid: Guid) {
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        peer.overlay_entry(slot).agreed = true;
        let waiting = peer.waiting.take(|s| s == slot);
        let Some((_, mut desk)) = self.open(slot) else { return };
        desk.say_interest(guid);
        desk.settle_lanes(guid);
        for (slot, frame) in waiting {
            // Its time-out began with the dial; the answer is timed from here.
            let Frame { body, payload, .. } = frame;
            if desk.send(guid, body.clone(), payload.clone()).is_err() {
                let frame = Frame { tag: 0, contacts: Vec::new(), body, payload };
                desk.ws.todo.push_back(Todo::Undelivered { slot, peer: guid, frame });
            }
        }
    }

    /// A handshake is done. Whoever waits for an overlay the two do not share waits in vain, unless another is under
    /// way.
    fn agreed(&mut self, guid: Guid) {
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        let Link::Open(wire) = &mut peer.link else { return };
        let first = !core::mem::replace(&mut wire.agreed, true);
        let conn = wire.conn;
        if core::mem::take(&mut peer.owes_offer) {
            self.offer(guid);
        }
        if self.node.peers.get(&guid).is_some_and(|p| p.settling()) {
            return self.rest(guid);
        }
        self.fail_waiting(guid);
        self.give_up_unshared(guid);
        let nothing = self.node.peers.get(&guid).is_some_and(|p| p.overlays.iter().all(|o| !o.agreed));
        if first && nothing {
            self.hang_up(guid, conn, Goodbye::NothingShared);
        } else {
            self.rest(guid);
        }
    }

    /// Interest in a peer that turned out not to be in the overlay ends.
    fn give_up_unshared(&mut self, guid: Guid) {
        let Some(peer) = self.node.peers.get_mut(&guid) else { return };
        let mut told = Vec::new();
        for overlay in peer.overlays.iter_mut().filter(|o| !o.agreed) {
            let (required, up) = (core::mem::take(&mut overlay.required), core::mem::take(&mut overlay.up));
            told.push((overlay.slot, required & !up, up));
        }
        for (slot, failed, down) in told {
            if let Some((_, mut desk)) = self.open(slot) {
                let why = Down::Left;
                peers::lanes(failed).for_each(|lane| desk.tell(lane, Event::DialFailed { peer: guid }));
                peers::lanes(down).for_each(|lane| desk.tell(lane, Event::PeerDown { peer: guid, why }));
            }
        }
    }

    pub(super) fn moved(&mut self, slot: Slot, guid: Guid, membership: &crate::Membership) {
        let now = self.now;
        if let Some((topology, mut desk)) = self.open(slot) {
            check(topology, &mut desk, guid, Some(membership), now);
        }
    }
}

/// Checks a peer's membership and tells the topology where it stands. `None` if anything is wrong.
fn check<T: Topology>(
    topology: &T,
    desk: &mut Desk<'_, T>,
    guid: Guid,
    membership: Option<&crate::Membership>,
    now: Time,
) -> Option<Claim> {
    let verified = membership.map(|m| m.verify(&desk.state.name, guid, &*desk.node.verifier, now));
    let Some(Ok(claim)) = verified else {
        desk.blame(guid, "a membership that does not hold");
        return None;
    };
    if desk.state.powers.assigned && !claim.addresses.is_empty() {
        let Ok((addresses, [])) = postcard::take_from_bytes::<Vec<T::Address>>(&claim.addresses) else {
            desk.blame(guid, "addresses that do not decode");
            return None;
        };
        if !addresses.iter().all(|a| topology.admits(guid, a, &claim.proof)) {
            desk.blame(guid, "an address it was not given");
            return None;
        }
        desk.tell(Lane::TOP, Event::Addresses { peer: guid, addresses });
    }
    Some(claim)
}

/// The proof that `sender` is in the overlay, shown to `receiver` on one connection.
fn prove<T: Topology>(
    state: &State<T>,
    exporter: &[u8; 32],
    sender: &Guid,
    receiver: &Guid,
    dialer: Dialer,
    nonce: u64,
) -> Proof {
    let (dials, nonce, overlay) = ([u8::from(dialer == Dialer::Me)], nonce.to_le_bytes(), state.name.id().0);
    let parts: [&[u8]; 7] = [exporter, &sender.0, &receiver.0, &dials, &nonce, &overlay, &[state.epoch]];
    let mut said = SmallVec::<[u8; 256]>::new();
    parts.iter().for_each(|part| said.extend_from_slice(part));
    let mut proof = Proof::default();
    proof.copy_from_slice(&blake3::keyed_hash(state.name.proof_key(), &said).as_bytes()[..16]);
    proof
}

fn other(dialer: Dialer) -> Dialer {
    match dialer {
        Dialer::Me => Dialer::Peer,
        Dialer::Peer => Dialer::Me,
    }
}

/// The version of a topology's messages that two nodes speak: the first of the dialer's list that the other has too.
/// As an index into this node's list.
fn common(mine: &[String], theirs: &[String], link: Option<Link>) -> Option<u8> {
    let dialed = matches!(link, Some(Link::Open(wire)) if wire.dialer == Dialer::Me);
    let (lead, other) = if dialed { (mine, theirs) } else { (theirs, mine) };
    let agreed = lead.iter().take(MAX_PROTOCOLS).find(|version| other.contains(version))?;
    mine.iter().position(|version| version == agreed).and_then(|at| u8::try_from(at).ok())
}

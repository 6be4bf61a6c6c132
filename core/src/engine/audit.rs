//! What must hold between any two inputs, whatever came in. For tests: nothing here runs in a node.

use super::Engine;
use super::calls::Waits;
use super::lookup::Asker;
use super::peers::{Link, Peer};
use super::state::State;
use crate::topology::Topology;

macro_rules! holds {
    ($what:expr, $($why:tt)*) => {
        if !$what {
            return Err(format!($($why)*));
        }
    };
}

impl<T: Topology> Engine<T> {
    /// Checks the engine's own books.
    ///
    /// # Errors
    /// What does not hold.
    #[doc(hidden)]
    pub fn audit(&self) -> Result<(), String> {
        let peers = &self.node.peers;
        let open = peers.iter().filter(|p| matches!(p.link, Link::Open(_))).count();
        holds!(peers.open() == open, "{} sessions are counted, {open} are open", peers.open());
        holds!(peers.len() <= self.node.settings.peers, "{} peers in the table", peers.len());
        for peer in peers.iter() {
            holds!(peer.guid != self.node.me, "a node is no peer of itself");
            holds!(peers.find(&peer.guid).is_some(), "{:?} cannot be found", peer.guid);
            self.audit_peer(peer).map_err(|why| format!("{:?}: {why}", peer.guid))?;
        }
        for overlay in self.overlays.iter().flatten() {
            audit_overlay(&overlay.state).map_err(|why| format!("{:?}: {why}", overlay.state.name))?;
        }
        Ok(())
    }

    fn audit_peer(&self, peer: &Peer<T>) -> Result<(), String> {
        let bound = 2 * self.node.settings.queue_bytes + crate::wire::MAX_FRAME_BYTES;
        holds!(peer.queue_with(0) <= bound, "{} bytes are queued", peer.queue_with(0));
        let (open, none) = (matches!(peer.link, Link::Open(_)), matches!(peer.link, Link::None));
        holds!(!none || peer.waiting.is_empty(), "frames wait, and nobody dials");
        holds!(!none || peer.standby.is_none(), "a wire stands by for none");
        holds!(open || peer.queued == 0, "bytes are queued on no wire");
        let settling = peer.offer.is_some() || peer.accepted.is_some();
        let agreed = matches!(peer.link, Link::Open(wire) if wire.agreed);
        holds!(!agreed || settling || peer.waiting.is_empty(), "frames wait for what is not shared");
        for overlay in &peer.overlays {
            let slot = overlay.slot;
            holds!(self.overlay(slot).is_some(), "{slot:?} is not attached");
            holds!(open || !overlay.agreed, "{slot:?} is agreed on without a wire");
            let even = overlay.accounts().all(|account| account.sent == 0 && account.received == 0);
            holds!(open || even, "{slot:?} owes credit without a wire");
            holds!(!none || overlay.required == 0, "{slot:?} is required, and nobody dials");
            holds!(!none || overlay.up == 0, "{slot:?} is up without a wire");
            let waits = overlay.agreed || settling || !agreed;
            holds!(waits || overlay.required == 0, "{slot:?} is required and not shared");
            holds!(waits || overlay.up == 0, "{slot:?} is up and not shared");
            holds!(
                overlay.up & !(overlay.required | overlay.theirs) == 0 || !overlay.agreed,
                "{slot:?} is up for nobody"
            );
        }
        Ok(())
    }
}

fn audit_overlay<T: Topology>(state: &State<T>) -> Result<(), String> {
    holds!(state.questions.len() <= state.settings.pending, "{} questions wait", state.questions.len());
    let knows = |operation| state.records.as_ref().is_some_and(|records| records.knows(operation));
    for (id, pending) in state.questions.iter() {
        let woken = state.questions.next().is_some_and(|next| next <= pending.until);
        holds!(woken, "question {id} waits without end");
        let known = match pending.waits {
            Waits::Record { operation } | Waits::Seek { operation } => knows(operation),
            Waits::Offer { offer } => state.records.as_ref().is_some_and(|records| records.offers(offer)),
            _ => true,
        };
        holds!(known, "question {id} waits for nobody");
    }
    for (id, lookup) in &state.lookups {
        let waits = |w: &Waits| matches!(w, Waits::Find { lookup } | Waits::Way { lookup } if lookup == id);
        let waiting = state.questions.iter().filter(|(_, p)| waits(&p.waits)).count();
        holds!(waiting > 0, "lookup {id} goes on, and asks nobody");
        let asked = lookup.asked();
        holds!(asked == waiting, "lookup {id} waits for {asked} answers, and asked {waiting}");
        if let Asker::Record { operation } = lookup.asker() {
            holds!(knows(*operation), "lookup {id} is for nobody");
        }
    }
    for (id, open) in state.records.iter().flat_map(|records| records.open()) {
        let for_it =
            |w: &Waits| matches!(w, Waits::Record { operation } | Waits::Seek { operation } if *operation == id);
        let asked = state.questions.iter().filter(|(_, p)| for_it(&p.waits)).count();
        let found = |l: &super::lookup::Lookup<T>| matches!(l.asker(), Asker::Record { operation } if *operation == id);
        let sought = state.lookups.values().any(|lookup| found(lookup));
        holds!(sought || open == asked && asked > 0, "operation {id} waits for {open} answers, and asked {asked}");
    }
    for (timer, handle) in state.set.iter() {
        holds!(state.timers.has(*handle), "timer {timer:?} will not fire");
    }
    state.records.as_ref().map_or(Ok(()), |records| records.audit())?;
    state.casts.as_ref().map_or(Ok(()), |casts| casts.audit(&state.settings))
}

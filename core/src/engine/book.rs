//! The contact book: who can be reached how. Lent by the driver; it feeds every overlay and names none.

use core::fmt;
use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::hash::Seeded;
use crate::{Contact, Guid, Time, Verifier};

/// How many contacts a node remembers.
pub const MAX_CONTACTS: usize = 8192;

/// Who can be reached how.
pub trait Book: Send + fmt::Debug {
    /// How to reach a peer. Perhaps not verified: the handshake proves whom one dialed.
    fn get(&self, peer: &Guid) -> Option<Contact>;
    /// Somebody said this.
    fn learn(&mut self, contact: Contact, now: Time);
    /// A contact fit to be handed on: verified, and not expired.
    fn to_tell(&mut self, peer: &Guid, now: Time) -> Option<Contact>;
    /// This node's own contact, told to everybody it meets. A book that several engines share knows them all
    /// already, and does nothing.
    fn introduce(&mut self, own: Contact) {
        let _ = own;
    }
}

struct Known {
    contact: Contact,
    verified: bool,
}

/// A node's own book. Signatures are checked once, when a contact is handed on or would replace another.
pub struct Contacts {
    known: HashMap<Guid, Known, Seeded>,
    /// In the order they came, for making room.
    order: VecDeque<Guid>,
    /// Never forgotten: this node itself.
    own: Option<Guid>,
    verifier: Arc<dyn Verifier>,
}

impl Contacts {
    /// An empty book. `seed` keys the hash table.
    #[must_use]
    pub fn new(verifier: Arc<dyn Verifier>, seed: u64) -> Self {
        Self { known: HashMap::with_hasher(Seeded(seed)), order: VecDeque::new(), own: None, verifier }
    }

    /// How many peers are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn make_room(&mut self) {
        while self.known.len() >= MAX_CONTACTS {
            let Some(oldest) = self.order.pop_front() else { return };
            if self.own != Some(oldest) {
                self.known.remove(&oldest);
            }
        }
    }
}

impl Book for Contacts {
    fn introduce(&mut self, own: Contact) {
        self.own = Some(own.guid());
        self.known.insert(own.guid(), Known { contact: own, verified: true });
    }

    fn get(&self, peer: &Guid) -> Option<Contact> {
        self.known.get(peer).map(|known| known.contact.clone())
    }

    fn learn(&mut self, contact: Contact, now: Time) {
        let guid = contact.guid();
        if self.own == Some(guid) || contact.expires() <= now {
            return;
        }
        match self.known.entry(guid) {
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                if contact.sequence() <= known.contact.sequence() {
                    return;
                }
                // A newer one may be forged: it replaces what is known only once it is verified.
                if contact.verify(&*self.verifier, now).is_ok() {
                    *known = Known { contact, verified: true };
                }
            }
            Entry::Vacant(_) => {
                self.make_room();
                self.known.insert(guid, Known { contact, verified: false });
                self.order.push_back(guid);
            }
        }
    }

    fn to_tell(&mut self, peer: &Guid, now: Time) -> Option<Contact> {
        let known = self.known.get_mut(peer)?;
        if known.contact.expires() <= now {
            return None;
        }
        if !known.verified {
            if known.contact.verify(&*self.verifier, now).is_err() {
                self.known.remove(peer);
                self.order.retain(|guid| guid != peer);
                return None;
            }
            known.verified = true;
        }
        Some(known.contact.clone())
    }
}

impl fmt::Debug for Contacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contacts({})", self.known.len())
    }
}

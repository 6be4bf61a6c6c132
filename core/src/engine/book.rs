//! The contact book: who can be reached how. Lent by the driver; it feeds every overlay and names none.

use core::fmt;
use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use super::hash::Seeded;
use crate::{Contact, ContactError, Guid, Time, Verifier};

/// How many contacts a node remembers.
pub const MAX_CONTACTS: usize = 8192;

/// Who can be reached how.
pub trait Book: Send + fmt::Debug {
    /// How to reach a peer. Perhaps not verified: the handshake proves whom one dialed.
    fn get(&self, peer: &Guid) -> Option<Contact>;
    /// Whether [`get`](Self::get) knows a way.
    fn has(&self, peer: &Guid) -> bool {
        self.get(peer).is_some()
    }
    /// Somebody said this.
    ///
    /// # Errors
    /// [`ContactError::BadSignature`] if it had to be checked and is forged: whoever hands a contact on has checked it
    /// before.
    fn learn(&mut self, contact: Contact, now: Time) -> Result<(), ContactError>;
    /// A contact fit to be handed on: verified, and not expired.
    fn to_tell(&mut self, peer: &Guid, now: Time) -> Option<Contact>;
    /// Has a peer's contact checked now: a true one stays when room is made, a forged one makes room for another.
    fn check(&mut self, peer: &Guid, now: Time) {
        let _ = self.to_tell(peer, now);
    }
    /// Which of a peer's contacts this is: another number where another one is known now. A book whose contacts stay as
    /// they are says always the same.
    fn sequence(&self, peer: &Guid) -> u64 {
        let _ = peer;
        0
    }
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

/// A node's own book. Signatures are checked once, when a contact is handed on or contradicts another. Room is made
/// among those nobody checked first, so that no flood of made-up contacts drives out those that were of use.
pub struct Contacts {
    known: HashMap<Guid, Known, Seeded>,
    /// In the order they came, and in the order they were verified. Guids that have gone since are passed over.
    fresh: VecDeque<Guid>,
    proven: VecDeque<Guid>,
    /// Never forgotten: this node itself.
    own: Option<Guid>,
    verifier: Arc<dyn Verifier>,
}

impl Contacts {
    /// An empty book. `seed` keys the hash table.
    #[must_use]
    pub fn new(verifier: Arc<dyn Verifier>, seed: u64) -> Self {
        let (fresh, proven) = Default::default();
        Self { known: HashMap::with_hasher(Seeded(seed)), fresh, proven, own: None, verifier }
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
            let known = |guid: &Guid, verified: bool| self.known.get(guid).is_some_and(|k| k.verified == verified);
            let oldest = if let Some(fresh) = self.fresh.pop_front() {
                known(&fresh, false).then_some(fresh)
            } else if let Some(proven) = self.proven.pop_front() {
                known(&proven, true).then_some(proven)
            } else {
                return;
            };
            if let Some(guid) = oldest.filter(|guid| self.own != Some(*guid)) {
                self.known.remove(&guid);
            }
        }
    }

    fn note(&mut self, guid: Guid, verified: bool) {
        let known = &self.known;
        let order = if verified { &mut self.proven } else { &mut self.fresh };
        order.push_back(guid);
        if order.len() > 2 * MAX_CONTACTS {
            order.retain(|guid| known.get(guid).is_some_and(|k| k.verified == verified));
        }
    }

    fn is_good(&self, contact: &Contact, now: Time) -> bool {
        contact.verify(&*self.verifier, now).is_ok()
    }

    fn put(&mut self, contact: Contact, verified: bool) {
        let guid = contact.guid();
        self.known.insert(guid, Known { contact, verified });
        self.note(guid, verified);
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

    fn has(&self, peer: &Guid) -> bool {
        self.known.contains_key(peer)
    }

    fn sequence(&self, peer: &Guid) -> u64 {
        self.known.get(peer).map_or(0, |known| known.contact.sequence())
    }

    fn learn(&mut self, contact: Contact, now: Time) -> Result<(), ContactError> {
        let guid = contact.guid();
        if self.own == Some(guid) || contact.expires() <= now {
            return Ok(());
        }
        let Some(known) = self.known.get(&guid) else {
            self.make_room();
            self.put(contact, false);
            return Ok(());
        };
        let newer = contact.sequence() > known.contact.sequence();
        if known.contact == contact || known.verified && !newer {
            return Ok(());
        }
        // The two contradict each other, and each may be forged.
        if !self.is_good(&contact, now) {
            return Err(ContactError::BadSignature);
        }
        if newer || !self.is_good(&known.contact, now) {
            self.put(contact, true);
        } else {
            let known = known.contact.clone();
            self.put(known, true);
        }
        Ok(())
    }

    fn to_tell(&mut self, peer: &Guid, now: Time) -> Option<Contact> {
        let Known { contact, verified } = self.known.get(peer)?;
        let (contact, verified) = (contact.clone(), *verified);
        if contact.expires() <= now {
            return None;
        }
        if !verified {
            if !self.is_good(&contact, now) {
                self.known.remove(peer);
                return None;
            }
            self.put(contact.clone(), true);
        }
        Some(contact)
    }
}

impl fmt::Debug for Contacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contacts({})", self.known.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Ed25519, Identity};

    const NOW: Time = Time::from_secs(1000);

    fn contact(seed: u64, sequence: u64) -> Contact {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let address = format!("mem:{seed}").parse().unwrap();
        Contact::sign(&Identity::from_seed(&bytes), &[address], sequence, Time::from_secs(2000))
    }

    /// The same node's, changed on the way.
    fn forged(seed: u64, sequence: u64) -> Contact {
        let mut bytes = postcard::to_stdvec(&contact(seed, sequence)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        postcard::take_from_bytes(&bytes).unwrap().0
    }

    fn book() -> Contacts {
        Contacts::new(Arc::new(Ed25519), 1)
    }

    #[test]
    fn the_newest_true_contact_is_kept_in_whatever_order_they_come() {
        let guid = contact(1, 1).guid();
        let [old, new, lie] = [contact(1, 1), contact(1, 2), forged(1, u64::MAX)];
        for order in
            [[&old, &new, &lie], [&old, &lie, &new], [&lie, &old, &new], [&lie, &new, &old], [&new, &lie, &old]]
        {
            let mut book = book();
            for contact in order {
                let _ = book.learn(contact.clone(), NOW);
            }
            assert_eq!(book.to_tell(&guid, NOW), Some(new.clone()), "{order:?}");
        }
    }

    #[test]
    fn a_forged_contact_that_contradicts_another_is_an_error_of_its_teller() {
        let mut book = book();
        assert_eq!(book.learn(contact(1, 1), NOW), Ok(()));
        assert_eq!(book.learn(forged(1, 2), NOW), Err(ContactError::BadSignature));
        assert_eq!(book.learn(contact(1, 1), NOW), Ok(()), "the same again says nothing new");
    }

    #[test]
    fn a_forged_contact_is_never_told() {
        let mut book = book();
        assert_eq!(book.learn(forged(1, 2), NOW), Ok(()), "nobody looked at it yet");
        assert!(book.get(&contact(1, 1).guid()).is_some(), "the handshake will tell");
        assert_eq!(book.to_tell(&contact(1, 1).guid(), NOW), None);
        assert_eq!(book.get(&contact(1, 1).guid()), None);
    }

    #[test]
    fn an_expired_contact_is_neither_learned_nor_told() {
        let mut book = book();
        let _ = book.learn(contact(1, 1), NOW);
        assert_eq!(book.to_tell(&contact(1, 1).guid(), Time::from_secs(2000)), None);
        let _ = book.learn(contact(2, 1), Time::from_secs(2000));
        assert_eq!(book.get(&contact(2, 1).guid()), None);
    }

    #[test]
    fn a_flood_of_contacts_is_bounded_and_drives_out_nobody_who_was_verified() {
        let mut book = book();
        book.introduce(contact(0, 1));
        for seed in 1..=100 {
            let _ = book.learn(contact(seed, 1), NOW);
            assert!(book.to_tell(&contact(seed, 1).guid(), NOW).is_some());
        }
        // Made up in the cheapest way: the key is a number, and nothing is signed.
        for flood in 0..3 * MAX_CONTACTS as u64 {
            let _ = book.learn(made_up(flood), NOW);
            assert!(book.len() <= MAX_CONTACTS);
        }
        assert_eq!(book.len(), MAX_CONTACTS);
        for seed in 0..=100 {
            assert!(book.to_tell(&contact(seed, 1).guid(), NOW).is_some(), "{seed}");
        }
        assert!(book.fresh.len() <= 2 * MAX_CONTACTS + 1);
    }

    fn made_up(number: u64) -> Contact {
        use crate::identity::{Domain, PublicKey, Signature, Signer};

        #[derive(Debug)]
        struct Nobody(u64);

        impl Signer for Nobody {
            fn public_key(&self) -> PublicKey {
                let mut key = [0; 32];
                key[..8].copy_from_slice(&self.0.to_le_bytes());
                PublicKey(key)
            }
            fn sign(&self, _: Domain, _: &[u8]) -> Signature {
                Signature([0; 64])
            }
        }
        Contact::sign(&Nobody(number), &[], 1, Time::from_secs(2000))
    }
}

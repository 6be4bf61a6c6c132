//! The contact book: who can be reached how. Lent by the driver; it feeds every overlay and names none.

use core::fmt;
use core::hash::BuildHasher as _;
use std::sync::Arc;

use hashbrown::HashTable;

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
    /// A peer that proved who it is introduced itself: its contact stays when room is made, like one that was checked.
    /// Whether it is fit to be handed on is seen when it is.
    fn keep(&mut self, peer: &Guid) {
        let _ = peer;
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

/// A place in the list of contacts.
type At = u32;

/// No place.
const NOWHERE: At = At::MAX;

/// What speaks for a contact.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Somebody said it.
    Hearsay,
    /// Its peer itself said it, over a session.
    Met,
    /// Its signature was checked.
    Verified,
}

/// A contact, and who came before and after it in its order; a place that is free has no contact.
struct Known {
    contact: Option<Contact>,
    proof: Proof,
    before: At,
    after: At,
}

/// Contacts in an order, linked through their places: first in, first out.
struct Order {
    oldest: At,
    newest: At,
}

impl Order {
    const EMPTY: Self = Self { oldest: NOWHERE, newest: NOWHERE };
}

/// A node's own book. Signatures are checked once, when a contact is handed on or contradicts another. Room is made
/// among those first that nobody checked and whose peer was never met, so that no flood of made-up contacts drives out
/// those that were of use.
///
/// Many nodes of one process know each other: a contact costs its own bytes, which are in one piece, and about thirty
/// more. The table that finds them holds places and no names.
pub struct Contacts {
    index: HashTable<At>,
    hash: Seeded,
    known: Vec<Known>,
    free: Vec<At>,
    /// In the order they came, and in the order they were verified or their peers met.
    fresh: Order,
    kept: Order,
    /// Never forgotten: this node itself.
    own: Option<Contact>,
    verifier: Arc<dyn Verifier>,
}

impl Contacts {
    /// An empty book. `seed` keys the hash table.
    #[must_use]
    pub fn new(verifier: Arc<dyn Verifier>, seed: u64) -> Self {
        let (known, free) = Default::default();
        let (index, hash) = (HashTable::new(), Seeded(seed));
        Self { index, hash, known, free, fresh: Order::EMPTY, kept: Order::EMPTY, own: None, verifier }
    }

    /// How many peers are known, this node included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len() + usize::from(self.own.is_some())
    }

    /// Whether nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, guid: &Guid) -> Option<At> {
        let is = |at: &At| self.known[*at as usize].contact.as_ref().is_some_and(|contact| contact.guid() == *guid);
        self.index.find(self.hash.hash_one(guid), is).copied()
    }

    fn contact(&self, guid: &Guid) -> Option<&Contact> {
        if let Some(own) = self.own.as_ref().filter(|own| own.guid() == *guid) {
            return Some(own);
        }
        self.known[self.find(guid)? as usize].contact.as_ref()
    }

    fn make_room(&mut self) {
        while self.len() >= MAX_CONTACTS {
            let oldest = if self.fresh.oldest != NOWHERE { self.fresh.oldest } else { self.kept.oldest };
            if oldest == NOWHERE {
                return;
            }
            self.remove(oldest);
        }
    }

    fn remove(&mut self, at: At) {
        self.unlink(at);
        let Some(contact) = self.known[at as usize].contact.take() else { return };
        let found = self.index.find_entry(self.hash.hash_one(contact.guid()), |&other| other == at);
        found.map(hashbrown::hash_table::OccupiedEntry::remove).ok();
        self.free.push(at);
    }

    fn order(&mut self, proof: Proof) -> &mut Order {
        if proof == Proof::Hearsay { &mut self.fresh } else { &mut self.kept }
    }

    /// Takes a contact out of its order.
    fn unlink(&mut self, at: At) {
        let Known { proof, before, after, .. } = self.known[at as usize];
        match self.known.get_mut(before as usize) {
            Some(known) => known.after = after,
            None => self.order(proof).oldest = after,
        }
        match self.known.get_mut(after as usize) {
            Some(known) => known.before = before,
            None => self.order(proof).newest = before,
        }
    }

    /// Makes a contact the newest of an order.
    fn link(&mut self, at: At, proof: Proof) {
        let before = core::mem::replace(&mut self.order(proof).newest, at);
        match self.known.get_mut(before as usize) {
            Some(known) => known.after = at,
            None => self.order(proof).oldest = at,
        }
        let known = &mut self.known[at as usize];
        (known.proof, known.before, known.after) = (proof, before, NOWHERE);
    }

    fn is_good(&self, contact: &Contact, now: Time) -> bool {
        contact.verify(&*self.verifier, now).is_ok()
    }

    /// Notes that a contact is verified, or another one of the same peer is and takes its place.
    fn prove(&mut self, at: At, contact: Contact) {
        self.unlink(at);
        self.known[at as usize].contact = Some(contact);
        self.link(at, Proof::Verified);
    }

    fn add(&mut self, contact: Contact) {
        self.make_room();
        let hash = self.hash.hash_one(contact.guid());
        let known = Known { contact: Some(contact), proof: Proof::Hearsay, before: NOWHERE, after: NOWHERE };
        let at = if let Some(at) = self.free.pop() {
            self.known[at as usize] = known;
            at
        } else {
            if self.known.len() == self.known.capacity() {
                // An eighth more, not twice as much: most books stay small.
                self.known.reserve_exact(self.known.len() / 8 + 4);
            }
            self.known.push(known);
            (self.known.len() - 1) as At
        };
        self.link(at, Proof::Hearsay);
        let (hasher, all) = (self.hash, &self.known);
        let again = |at: &At| all[*at as usize].contact.as_ref().map_or(0, |contact| hasher.hash_one(contact.guid()));
        self.index.insert_unique(hash, at, again);
    }
}

impl Book for Contacts {
    fn introduce(&mut self, own: Contact) {
        if let Some(at) = self.find(&own.guid()) {
            self.remove(at);
        }
        self.own = Some(own);
    }

    fn get(&self, peer: &Guid) -> Option<Contact> {
        self.contact(peer).cloned()
    }

    fn has(&self, peer: &Guid) -> bool {
        self.contact(peer).is_some()
    }

    fn sequence(&self, peer: &Guid) -> u64 {
        self.contact(peer).map_or(0, Contact::sequence)
    }

    fn learn(&mut self, contact: Contact, now: Time) -> Result<(), ContactError> {
        let guid = contact.guid();
        if self.own.as_ref().is_some_and(|own| own.guid() == guid) || contact.expires() <= now {
            return Ok(());
        }
        let found = self.find(&guid).and_then(|at| Some((at, self.known[at as usize].contact.clone()?)));
        let Some((at, known)) = found else {
            self.add(contact);
            return Ok(());
        };
        let newer = contact.sequence() > known.sequence();
        if known == contact || self.known[at as usize].proof == Proof::Verified && !newer {
            return Ok(());
        }
        // The two contradict each other, and each may be forged.
        if !self.is_good(&contact, now) {
            return Err(ContactError::BadSignature);
        }
        let better = newer || !self.is_good(&known, now);
        self.prove(at, if better { contact } else { known });
        Ok(())
    }

    fn to_tell(&mut self, peer: &Guid, now: Time) -> Option<Contact> {
        if let Some(own) = self.own.as_ref().filter(|own| own.guid() == *peer) {
            return (own.expires() > now).then(|| own.clone());
        }
        let at = self.find(peer)?;
        let Known { contact, proof, .. } = &self.known[at as usize];
        let (contact, proof) = (contact.clone()?, *proof);
        if contact.expires() <= now {
            return None;
        }
        if proof != Proof::Verified {
            if !self.is_good(&contact, now) {
                self.remove(at);
                return None;
            }
            self.prove(at, contact.clone());
        }
        Some(contact)
    }

    fn keep(&mut self, peer: &Guid) {
        if let Some(at) = self.find(peer).filter(|at| self.known[*at as usize].proof == Proof::Hearsay) {
            self.unlink(at);
            self.link(at, Proof::Met);
        }
    }
}

impl fmt::Debug for Contacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contacts({})", self.len())
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
        assert!(book.known.len() <= MAX_CONTACTS, "places are used again");
    }

    #[test]
    fn a_flood_drives_out_nobody_who_was_met_and_what_was_not_checked_is_not_told() {
        let mut book = book();
        let (honest, liar) = (contact(1, 1), forged(2, 1));
        for met in [&honest, &liar] {
            book.learn(met.clone(), NOW).unwrap();
            book.keep(&met.guid());
        }
        (10..10 + 2 * MAX_CONTACTS as u64).for_each(|flood| drop(book.learn(made_up(flood), NOW)));
        assert!(book.has(&honest.guid()) && book.has(&liar.guid()));
        assert_eq!(book.to_tell(&honest.guid(), NOW), Some(honest));
        assert_eq!(book.to_tell(&liar.guid(), NOW), None);
        assert!(!book.has(&liar.guid()), "it makes room");
        book.learn(contact(2, 1), NOW).unwrap();
        assert_eq!(book.to_tell(&liar.guid(), NOW), Some(contact(2, 1)));
    }

    #[test]
    fn room_is_made_where_nobody_looked_first_and_then_where_somebody_looked_longest_ago() {
        let mut book = book();
        let guid = |seed: u64| made_up(seed).guid();
        (0..MAX_CONTACTS as u64).for_each(|seed| drop(book.learn(made_up(seed), NOW)));
        // Two are verified, the later one first.
        let (one, two) = (contact(1, 1), contact(2, 1));
        for known in [&two, &one] {
            book.learn(known.clone(), NOW).unwrap();
            assert!(book.to_tell(&known.guid(), NOW).is_some());
        }
        assert_eq!([0, 1, 2].map(|seed| book.has(&guid(seed))), [false, false, true], "the oldest made room");
        (0..MAX_CONTACTS as u64).for_each(|at| {
            let at = book.find(&guid(at)).filter(|_| at > 2);
            at.into_iter().for_each(|at| book.remove(at));
        });
        assert_eq!(book.len(), 3);
        let again: Vec<u64> = (0..MAX_CONTACTS as u64 - 3).map(|at| at + (1 << 32)).collect();
        again.iter().for_each(|seed| drop(book.learn(made_up(*seed), NOW)));
        assert_eq!((book.len(), book.known.len()), (MAX_CONTACTS, MAX_CONTACTS), "free places were taken again");
        // Once all are kept, the one that was verified first goes.
        while book.fresh.oldest != NOWHERE {
            book.remove(book.fresh.oldest);
        }
        assert_eq!(book.len(), 2);
        book.remove(book.kept.oldest);
        assert!(book.has(&one.guid()) && !book.has(&two.guid()));
        assert_eq!((book.kept.oldest, book.kept.newest), (book.find(&one.guid()).unwrap(), book.kept.oldest));
    }

    #[test]
    fn a_contact_of_this_node_that_was_heard_before_it_was_introduced_gives_way() {
        let mut book = book();
        book.learn(contact(1, 1), NOW).unwrap();
        book.introduce(contact(1, 2));
        assert_eq!((book.len(), book.to_tell(&contact(1, 1).guid(), NOW)), (1, Some(contact(1, 2))));
        book.learn(contact(1, 3), NOW).unwrap();
        assert_eq!(book.sequence(&contact(1, 1).guid()), 2, "nobody else says how this node is reached");
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

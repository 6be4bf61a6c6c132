//! Everybody in a world, by number and by Guid, and the one contact book they share.

use core::fmt;
use core::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use polymorph_core::engine::book::Book;
use polymorph_core::{Contact, ContactError, Guid, PublicKey, Signer, Time, TransportAddress};

use crate::crypto::{Crypto, StandIn};

/// When contacts of a world expire: later than any run, and written with as many bytes as a date of our days.
const EXPIRY: Time = Time::from_secs(u32::MAX as u64);

/// Everybody, by number and by Guid. Who crashed stays known until somebody else takes the number.
pub(crate) struct Directory {
    seed: u64,
    crypto: Crypto,
    people: Vec<Person>,
    /// Numbers, found by the Guids they stand for.
    numbers: HashTable<u32>,
    /// The contacts asked for lately, each in the cell its number says, where it takes long to sign one. Else each is
    /// made when it is asked for: that takes less time than to find an old one in a memory full of them.
    contacts: Vec<Option<(u32, Contact)>>,
}

/// Who has a number.
#[derive(Clone, Copy)]
struct Person {
    guid: Guid,
    key: PublicKey,
    /// Which identity it has: at first that of its own number.
    birth: u32,
}

/// How many contacts are kept: a real signature takes tens of microseconds, and no world in which one does is larger.
const KEPT: usize = 1 << 14;

/// About what a contact with two addresses takes on the heap.
const CONTACT: usize = 800;

/// Guids are hashes already.
fn hash(guid: &Guid) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = guid.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

impl Directory {
    pub(crate) fn new(seed: u64, crypto: Crypto) -> Self {
        let kept = if crypto == Crypto::Real { KEPT } else { 0 };
        Self { seed, crypto, people: Vec::new(), numbers: HashTable::new(), contacts: vec![None; kept] }
    }

    pub(crate) fn add(&mut self, guid: Guid, birth: u32, key: PublicKey) -> u32 {
        let number = u32::try_from(self.people.len()).expect("fewer than 2^32 peers");
        self.people.push(Person { guid, birth, key });
        self.enter(number);
        number
    }

    /// Somebody else takes a number, with a birth of its own; who had it is forgotten.
    pub(crate) fn replace(&mut self, number: u32, guid: Guid, birth: u32, key: PublicKey) {
        let person = &mut self.people[number as usize];
        let before = core::mem::replace(person, Person { guid, birth, key });
        if let Ok(entry) = self.numbers.find_entry(hash(&before.guid), |&other| other == number) {
            entry.remove();
        }
        if let Some(cell) = self.contacts.get_mut(number as usize % KEPT) {
            *cell = None;
        }
        self.enter(number);
    }

    fn enter(&mut self, number: u32) {
        let people = &self.people;
        let hash = |number: u32| hash(&people[number as usize].guid);
        self.numbers.insert_unique(hash(number), number, |&number| hash(number));
    }

    pub(crate) fn number(&self, guid: &Guid) -> Option<u32> {
        self.numbers.find(hash(guid), |&number| self.people[number as usize].guid == *guid).copied()
    }

    pub(crate) fn bytes(&self) -> usize {
        let made = self.contacts.iter().flatten().count();
        self.people.capacity() * size_of::<Person>()
            + self.numbers.capacity() * 5
            + self.contacts.capacity() * size_of::<Option<(u32, Contact)>>()
            + made * CONTACT
    }

    /// Makes room for so many more.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.people.reserve_exact(count);
    }

    pub(crate) fn contact(&mut self, number: u32) -> Contact {
        let cell = number as usize % KEPT;
        if let Some(Some((kept, contact))) = self.contacts.get(cell)
            && *kept == number
        {
            return contact.clone();
        }
        let [_, a, b, c] = number.to_be_bytes();
        let at = SocketAddr::from((Ipv4Addr::new(10, a, b, c), 4000));
        let addresses = [TransportAddress::Quic(at), TransportAddress::Tcp(at)];
        let (seed, Person { guid, key, birth }) = (self.seed, self.people[number as usize]);
        let sign = |signer: &dyn Signer| Contact::sign(signer, &addresses, 1, EXPIRY);
        let contact = match self.crypto {
            // What this one signs with is at hand.
            Crypto::StandIn => sign(&StandIn { seed, public: key, guid }),
            Crypto::Real => sign(&*self.crypto.signer(seed, birth)),
        };
        if let Some(cell) = self.contacts.get_mut(cell) {
            *cell = Some((number, contact.clone()));
        }
        contact
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({} peers)", self.people.len())
    }
}

/// The one book of all peers of a world. It knows everybody from the start and learns nothing: contacts do not
/// change in a world, and one for somebody who is not in it leads nowhere. Also the world's own way to the
/// directory; the lock is never contended, as a world is one thread.
#[derive(Clone, Debug)]
pub(crate) struct SharedBook(Arc<Mutex<Directory>>);

impl SharedBook {
    pub(crate) fn new(directory: Directory) -> Self {
        Self(Arc::new(Mutex::new(directory)))
    }

    pub(crate) fn open(&self) -> MutexGuard<'_, Directory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, peer: &Guid) -> Option<Contact> {
        let mut directory = self.open();
        let number = directory.number(peer)?;
        Some(directory.contact(number))
    }
}

impl Book for SharedBook {
    fn get(&self, peer: &Guid) -> Option<Contact> {
        self.find(peer)
    }

    fn has(&self, peer: &Guid) -> bool {
        self.open().number(peer).is_some()
    }

    fn learn(&mut self, _contact: Contact, _now: Time) -> Result<(), ContactError> {
        Ok(())
    }

    fn to_tell(&mut self, peer: &Guid, now: Time) -> Option<Contact> {
        self.find(peer).filter(|contact| contact.expires() > now)
    }

    /// All are true.
    fn check(&mut self, _peer: &Guid, _now: Time) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_found_by_guid_and_has_one_valid_contact() {
        let mut directory = Directory::new(5, Crypto::StandIn);
        for number in 0..500 {
            let signer = Crypto::StandIn.signer(5, number);
            assert_eq!(directory.add(signer.guid(), number, signer.public_key()), number);
        }
        let stranger = Crypto::StandIn.signer(6, 0).guid();
        let mut book = SharedBook::new(directory);
        let guids: Vec<_> = book.open().people.iter().map(|person| person.guid).collect();
        for guid in &guids {
            let contact = book.to_tell(guid, Time::ZERO).unwrap();
            assert_eq!(contact.guid(), *guid);
            assert_eq!(contact.verify(&*Crypto::StandIn.verifier(5), Time::ZERO), Ok(()));
            assert_eq!(book.get(guid), Some(contact));
        }
        assert_eq!(book.get(&stranger), None);
        assert_eq!(book.open().number(&stranger), None);
    }
}

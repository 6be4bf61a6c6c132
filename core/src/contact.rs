//! How a node can be reached, signed by that node.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use crate::identity::{Domain, PublicKey, Signature, Signer, Verifier};
use crate::raw::Raw;
use crate::{Guid, Time};

/// How many transport addresses a contact may carry.
pub const MAX_ADDRESSES: usize = 16;
/// How many bytes the signed part of a contact may have.
pub const MAX_CONTACT_BYTES: usize = 1024;

/// A transport address: where, and over which kind of wire, a node listens. The `Display` form is a URL
/// (`tcp://1.2.3.4:5`), parsed back by `FromStr`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TransportAddress {
    /// QUIC over UDP.
    Quic(SocketAddr),
    /// TLS 1.3 over TCP.
    Tcp(SocketAddr),
    /// TLS 1.3 over a Unix domain socket at this path.
    Unix(String),
    /// A named meeting point inside one process.
    Memory(String),
    /// A kind this version does not know; kept and passed on as it came. Kind 5 is reserved for `relay via`.
    Unknown {
        /// The number on the wire.
        kind: u64,
        /// The address as its owner wrote it.
        bytes: Bytes,
    },
}

/// Why a text is no transport address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no transport address; use quic://IP:PORT, tcp://IP:PORT, unix:PATH or mem:NAME")]
pub struct BadAddress(pub String);

impl FromStr for TransportAddress {
    type Err = BadAddress;
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(text.into());
        let socket = |rest: &str| rest.parse::<SocketAddr>().map_err(|_| bad());
        match text.split_once(':').ok_or_else(bad)? {
            ("quic", rest) => socket(rest.strip_prefix("//").ok_or_else(bad)?).map(Self::Quic),
            ("tcp", rest) => socket(rest.strip_prefix("//").ok_or_else(bad)?).map(Self::Tcp),
            ("unix", path) if !path.is_empty() => Ok(Self::Unix(path.into())),
            ("mem", name) if !name.is_empty() => Ok(Self::Memory(name.into())),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for TransportAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quic(at) => write!(f, "quic://{at}"),
            Self::Tcp(at) => write!(f, "tcp://{at}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Memory(name) => write!(f, "mem:{name}"),
            Self::Unknown { kind, bytes } => write!(f, "kind-{kind}:{}", data_encoding::HEXLOWER.encode(bytes)),
        }
    }
}

/// One (kind, bytes) pair on the wire: addresses and contact extensions alike.
#[derive(Serialize, Deserialize)]
struct Tagged<'a> {
    kind: u64,
    #[serde(borrow)]
    bytes: Raw<'a>,
}

impl<'a> From<&'a TransportAddress> for Tagged<'a> {
    fn from(address: &'a TransportAddress) -> Self {
        let socket = |at: &SocketAddr| {
            let mut bytes: SmallVec<_> = match at.ip() {
                IpAddr::V4(ip) => ip.octets()[..].into(),
                IpAddr::V6(ip) => ip.octets()[..].into(),
            };
            bytes.extend_from_slice(&at.port().to_be_bytes());
            Raw::Owned(bytes)
        };
        let (kind, bytes) = match address {
            TransportAddress::Quic(at) => (1, socket(at)),
            TransportAddress::Tcp(at) => (2, socket(at)),
            TransportAddress::Unix(path) => (3, Raw::Borrowed(path.as_bytes())),
            TransportAddress::Memory(name) => (4, Raw::Borrowed(name.as_bytes())),
            TransportAddress::Unknown { kind, bytes } => (*kind, Raw::Borrowed(bytes)),
        };
        Self { kind, bytes }
    }
}

impl From<&Tagged<'_>> for TransportAddress {
    fn from(tagged: &Tagged<'_>) -> Self {
        let socket = || {
            let (ip, port) = tagged.bytes.split_last_chunk::<2>()?;
            let ip = match ip.len() {
                4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
                16 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
                _ => return None,
            };
            Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
        };
        let text = || String::from_utf8(tagged.bytes.to_vec()).ok().filter(|t| !t.is_empty());
        let known = match tagged.kind {
            1 => socket().map(Self::Quic),
            2 => socket().map(Self::Tcp),
            3 => text().map(Self::Unix),
            4 => text().map(Self::Memory),
            _ => None,
        };
        known.unwrap_or_else(|| Self::Unknown { kind: tagged.kind, bytes: Bytes::copy_from_slice(&tagged.bytes) })
    }
}

/// The signed part, as it stands on the wire.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    key: PublicKey,
    sequence: u64,
    expires: u64,
    #[serde(borrow)]
    addresses: Vec<Tagged<'a>>,
    #[serde(borrow)]
    extensions: Vec<Tagged<'a>>,
}

/// How a node can be reached: its public key and transport addresses, a sequence number (newest wins) and an
/// expiry, signed by that key. Says nothing of overlays. Cheap to clone; the signed bytes are kept as they came.
///
/// Decoding checks the shape, not the signature: call [`Contact::verify`] once, where it is stored or handed on.
///
/// A node keeps thousands, and reads most of them hardly ever. So each is one piece of memory: the Guid, the
/// signature, and the signed bytes, in which everything else is looked up when it is asked for.
#[derive(Clone)]
pub struct Contact(Arc<[u8]>);

/// Where the parts of a contact begin in memory: the Guid, the signature, the signed bytes.
const SIGNATURE_AT: usize = size_of::<Guid>();
const SIGNED_AT: usize = SIGNATURE_AT + size_of::<Signature>();
/// Where a contact is put together: with room for a key and three addresses, which most have.
type Parts = SmallVec<[u8; 256]>;

/// Why bytes or a word are no usable contact.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ContactError {
    /// It was cut short, has bytes too many, or is not in our form.
    #[error("the contact is damaged; copy the whole word, it starts with pmc")]
    Malformed,
    /// More addresses or bytes than a contact may have.
    #[error("the contact is larger than allowed")]
    TooLarge,
    /// The signature is not its key's.
    #[error("the contact's signature is wrong; it was altered on the way")]
    BadSignature,
    /// Its time is over.
    #[error("the contact expired; ask the node for a fresh one")]
    Expired,
}

impl Contact {
    /// Signs a contact for `signer` that is valid until `expires` (whole seconds count). A later one needs a
    /// higher `sequence`. Addresses past [`MAX_ADDRESSES`], and those for which [`MAX_CONTACT_BYTES`] leave no room,
    /// are left out.
    #[must_use]
    pub fn sign(signer: &dyn Signer, addresses: &[TransportAddress], sequence: u64, expires: Time) -> Self {
        let mut body = Body {
            key: signer.public_key(),
            sequence,
            expires: expires.as_secs(),
            addresses: addresses.iter().take(MAX_ADDRESSES).map(Tagged::from).collect(),
            extensions: Vec::new(),
        };
        let mut room = [0; MAX_CONTACT_BYTES];
        let len = loop {
            match postcard::to_slice(&body, &mut room) {
                Ok(signed) => break signed.len(),
                Err(_) if body.addresses.pop().is_none() => break 0,
                Err(_) => {}
            }
        };
        let signed = &room[..len];
        Self::of(&signer.guid(), &signer.sign(Domain::Contact, signed), signed)
    }

    fn of(guid: &Guid, signature: &Signature, signed: &[u8]) -> Self {
        let mut parts = Parts::with_capacity(SIGNED_AT + signed.len());
        parts.extend_from_slice(&guid.0);
        parts.extend_from_slice(&signature.0);
        parts.extend_from_slice(signed);
        Self(parts.as_slice().into())
    }

    fn decode(signed: &[u8], signature: &Signature) -> Result<Self, ContactError> {
        if signed.len() > MAX_CONTACT_BYTES {
            return Err(ContactError::TooLarge);
        }
        let (body, rest) = postcard::take_from_bytes::<Body<'_>>(signed).map_err(|_| ContactError::Malformed)?;
        if !rest.is_empty() {
            return Err(ContactError::Malformed);
        }
        if body.addresses.len() > MAX_ADDRESSES || body.extensions.len() > MAX_ADDRESSES {
            return Err(ContactError::TooLarge);
        }
        Ok(Self::of(&Guid::of(&body.key), signature, signed))
    }

    /// Checks the signature and that it has not expired at `now`.
    ///
    /// # Errors
    /// [`ContactError::Expired`] or [`ContactError::BadSignature`].
    pub fn verify(&self, verifier: &dyn Verifier, now: Time) -> Result<(), ContactError> {
        if self.expires() <= now {
            return Err(ContactError::Expired);
        }
        let good = verifier.verify(&self.public_key(), Domain::Contact, self.signed(), &self.signature());
        if good { Ok(()) } else { Err(ContactError::BadSignature) }
    }

    /// Whose contact this is.
    #[must_use]
    pub fn guid(&self) -> Guid {
        Guid(self.part(0))
    }

    /// The key that signed it.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.part(SIGNED_AT))
    }

    /// Where its owner listens, in the owner's order. Read from the signed bytes each time.
    #[must_use]
    pub fn addresses(&self) -> Vec<TransportAddress> {
        let body = postcard::take_from_bytes::<Body<'_>>(self.signed());
        body.map(|(body, _)| body.addresses.iter().map(TransportAddress::from).collect()).unwrap_or_default()
    }

    /// Of two contacts of one node the higher sequence is the newer.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.numbers().0
    }

    /// From when on it is no longer valid.
    #[must_use]
    pub fn expires(&self) -> Time {
        Time::from_secs(self.numbers().1)
    }

    /// How many bytes it takes on the wire.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        let signed = self.signed().len();
        // A length of one or two bytes, the signed bytes, and the signature behind its own length.
        signed + if signed < 128 { 1 } else { 2 } + 65
    }

    fn signed(&self) -> &[u8] {
        &self.0[SIGNED_AT..]
    }

    fn signature(&self) -> Signature {
        Signature(self.part(SIGNATURE_AT))
    }

    /// The sequence number and the expiry, which stand behind the key.
    fn numbers(&self) -> (u64, u64) {
        let behind = &self.signed()[size_of::<PublicKey>()..];
        postcard::take_from_bytes(behind).map(|(numbers, _)| numbers).unwrap_or_default()
    }

    /// So many bytes of it; there are as many behind each beginning of a part.
    fn part<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0[at..].first_chunk().copied().unwrap_or([0; N])
    }
}

impl PartialEq for Contact {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Contact {}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contact({} #{}", self.guid().short(), self.sequence())?;
        self.addresses().iter().try_for_each(|a| write!(f, " {a}"))?;
        f.write_str(")")
    }
}

impl Serialize for Contact {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (Raw::Borrowed(self.signed()), self.signature()).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Contact {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (signed, signature) = <(Raw<'de>, Signature)>::deserialize(from)?;
        Self::decode(&signed, &signature).map_err(Error::custom)
    }
}

/// One printable word: `pmc` and base32 of the signed contact with a 4-byte checksum.
impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::word::encode("pmc", &postcard::to_stdvec(self).map_err(|_| fmt::Error)?))
    }
}

impl FromStr for Contact {
    type Err = ContactError;
    fn from_str(word: &str) -> Result<Self, ContactError> {
        let bytes = crate::word::decode("pmc", word).ok_or(ContactError::Malformed)?;
        match postcard::take_from_bytes::<Self>(&bytes) {
            Ok((contact, [])) => Ok(contact),
            _ => Err(ContactError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Ed25519, Identity};

    fn contact() -> Contact {
        let identity = Identity::from_seed(&[1; 32]);
        let addresses = ["tcp://127.0.0.1:4000", "quic://[::1]:5", "unix:/run/x", "mem:a"].map(|a| a.parse().unwrap());
        Contact::sign(&identity, &addresses, 3, Time::from_secs(100))
    }

    #[test]
    fn a_word_brings_the_contact_back() {
        let word = contact().to_string();
        let back: Contact = word.parse().unwrap();
        assert_eq!(back, contact());
        assert_eq!(back.addresses(), contact().addresses());
        assert_eq!(back.verify(&Ed25519, Time::from_secs(99)), Ok(()));
        assert_eq!(back.verify(&Ed25519, Time::from_secs(100)), Err(ContactError::Expired));
    }

    #[test]
    fn a_contact_is_one_piece_of_memory_that_says_what_was_signed() {
        let (contact, identity) = (contact(), Identity::from_seed(&[1; 32]));
        assert_eq!((contact.guid(), contact.public_key()), (identity.guid(), identity.public_key()));
        assert_eq!((contact.sequence(), contact.expires()), (3, Time::from_secs(100)));
        let bytes = postcard::to_stdvec(&contact).unwrap();
        assert_eq!(bytes.len(), contact.wire_len());
        assert_eq!(contact.0.len(), contact.wire_len() - 2 + size_of::<Guid>(), "no more than the wire and the Guid");
    }

    #[test]
    fn addresses_that_do_not_fit_are_left_out() {
        let identity = Identity::from_seed(&[1; 32]);
        let addresses: Vec<_> = (0..5).map(|n| TransportAddress::Unix(format!("/{n}{}", "x".repeat(300)))).collect();
        let contact = Contact::sign(&identity, &addresses, 1, Time::MAX);
        assert_eq!(contact.addresses(), addresses[..3], "a kibibyte holds three of 303 bytes");
        assert_eq!(contact.to_string().parse(), Ok(contact));
    }

    #[test]
    fn a_typo_anywhere_is_noticed() {
        let word = contact().to_string();
        for at in 3..word.len() {
            let mut typo = word.clone().into_bytes();
            typo[at] = if typo[at] == b'a' { b'b' } else { b'a' };
            assert!(String::from_utf8(typo).unwrap().parse::<Contact>().is_err(), "typo at {at}");
        }
        assert!(word[..word.len() - 1].parse::<Contact>().is_err());
    }

    #[test]
    fn an_altered_contact_does_not_verify() {
        let mut bytes = postcard::to_stdvec(&contact()).unwrap();
        let port = bytes.windows(2).position(|w| w == 4000u16.to_be_bytes()).unwrap();
        bytes[port] ^= 1;
        let (forged, _) = postcard::take_from_bytes::<Contact>(&bytes).unwrap();
        assert_eq!(forged.verify(&Ed25519, Time::ZERO), Err(ContactError::BadSignature));
    }

    #[test]
    fn an_address_of_an_unknown_kind_is_passed_on_as_it_came() {
        let identity = Identity::from_seed(&[1; 32]);
        let odd = TransportAddress::Unknown { kind: 77, bytes: Bytes::from_static(b"later") };
        let contact = Contact::sign(&identity, std::slice::from_ref(&odd), 0, Time::MAX);
        let back: Contact = contact.to_string().parse().unwrap();
        assert_eq!(back.addresses(), [odd]);
        assert_eq!(back.to_string(), contact.to_string());
    }
}

//! A link: one word that says what to fetch, through which overlay, and whom to ask first.

use core::fmt;
use core::str::FromStr;

use polymorph_core::{Contact, word};
use serde::{Deserialize, Serialize};

use crate::blob::Hash;

/// The first letters of every link.
pub const PREFIX: &str = "pml";
/// How many contacts a link carries at most, so that it stays a word one can paste.
pub const MAX_CONTACTS: usize = 4;
/// How many bytes an overlay's or a topology's name may have.
pub const MAX_NAME_BYTES: usize = 64;
/// The version of the form below.
const VERSION: u8 = 1;

/// What to fetch and how to begin. Carries no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    root: Hash,
    overlay: String,
    topology: Option<String>,
    contacts: Vec<Contact>,
}

/// Why a text is no link, or a link cannot be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// It starts with something else.
    #[error("this is no link; a link is one word that starts with {PREFIX}")]
    NotALink,
    /// A typo, or it was cut.
    #[error("the link has a typo or was cut; copy the whole word again")]
    Typo,
    /// A later program made it.
    #[error("the link is of version {0}, this program knows {VERSION}; use a newer program")]
    Version(u8),
    /// Its letters are right but its content is not.
    #[error("the link is malformed; ask for a fresh one")]
    Malformed,
    /// A name in it is too long or empty.
    #[error("a link names its overlay with 1 to {MAX_NAME_BYTES} bytes")]
    Name,
}

#[derive(Serialize, Deserialize)]
struct Body {
    root: Hash,
    overlay: String,
    topology: Option<String>,
    contacts: Vec<Contact>,
}

impl Link {
    /// A link to the package `root`, provided on `overlay`, which `topology` shapes. Contacts past
    /// [`MAX_CONTACTS`] are left out.
    ///
    /// # Errors
    /// [`LinkError::Name`].
    pub fn new(root: Hash, overlay: &str, topology: Option<&str>, contacts: &[Contact]) -> Result<Self, LinkError> {
        let good = |name: &str| (1..=MAX_NAME_BYTES).contains(&name.len());
        if !good(overlay) || !topology.is_none_or(good) {
            return Err(LinkError::Name);
        }
        let contacts = contacts.iter().take(MAX_CONTACTS).cloned().collect();
        Ok(Self { root, overlay: overlay.into(), topology: topology.map(Into::into), contacts })
    }

    /// The content root.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The name of the overlay on which providers are found.
    #[must_use]
    pub fn overlay(&self) -> &str {
        &self.overlay
    }

    /// The topology of that overlay, if the link says.
    #[must_use]
    pub fn topology(&self) -> Option<&str> {
        self.topology.as_deref()
    }

    /// Whom to ask first. Not verified yet.
    #[must_use]
    pub fn contacts(&self) -> &[Contact] {
        &self.contacts
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (root, overlay) = (self.root, self.overlay.clone());
        let body = Body { root, overlay, topology: self.topology.clone(), contacts: self.contacts.clone() };
        let mut bytes = vec![VERSION];
        bytes.extend(postcard::to_stdvec(&body).map_err(|_| fmt::Error)?);
        f.write_str(&word::encode(PREFIX, &bytes))
    }
}

impl FromStr for Link {
    type Err = LinkError;
    fn from_str(text: &str) -> Result<Self, LinkError> {
        if !text.trim().starts_with(PREFIX) {
            return Err(LinkError::NotALink);
        }
        let bytes = word::decode(PREFIX, text).ok_or(LinkError::Typo)?;
        let (version, body) = bytes.split_first().ok_or(LinkError::Malformed)?;
        if *version != VERSION {
            return Err(LinkError::Version(*version));
        }
        let (body, rest) = postcard::take_from_bytes::<Body>(body).map_err(|_| LinkError::Malformed)?;
        if !rest.is_empty() || body.contacts.len() > MAX_CONTACTS {
            return Err(LinkError::Malformed);
        }
        Self::new(body.root, &body.overlay, body.topology.as_deref(), &body.contacts)
    }
}

#[cfg(test)]
mod tests {
    use polymorph_core::{Identity, Time};

    use super::*;

    fn link(contacts: usize) -> Link {
        let address = "tcp://127.0.0.1:4000".parse().unwrap();
        let sign = |n| {
            Contact::sign(&Identity::from_seed(&[n as u8; 32]), std::slice::from_ref(&address), 1, Time::from_secs(9))
        };
        let contacts: Vec<_> = (0..contacts).map(sign).collect();
        Link::new(Hash([5; 32]), "media", Some("chord"), &contacts).unwrap()
    }

    #[test]
    fn a_word_brings_the_link_back() {
        let word = link(2).to_string();
        assert!(word.starts_with(PREFIX) && word.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_eq!(word.parse(), Ok(link(2)));
        assert_eq!(link(9).contacts().len(), MAX_CONTACTS);
    }

    #[test]
    fn a_link_stays_as_it_is() {
        assert_eq!(
            link(0).to_string(),
            "pmlaecqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkblnmvsgsyibavrwq33smqapbbmexm"
        );
    }

    #[test]
    fn a_typo_or_a_cut_is_noticed_and_says_so() {
        let word = link(1).to_string();
        for at in PREFIX.len()..word.len() {
            let mut typo = word.clone().into_bytes();
            typo[at] = if typo[at] == b'a' { b'b' } else { b'a' };
            assert_eq!(String::from_utf8(typo).unwrap().parse::<Link>(), Err(LinkError::Typo), "at {at}");
        }
        assert_eq!(word[..word.len() - 3].parse::<Link>(), Err(LinkError::Typo));
        assert_eq!("pmcabc".parse::<Link>(), Err(LinkError::NotALink));
        assert_eq!(word::encode(PREFIX, &[9, 1]).parse::<Link>(), Err(LinkError::Version(9)));
        assert_eq!(word::encode(PREFIX, &[1, 1]).parse::<Link>(), Err(LinkError::Malformed));
    }
}

//! Core of Polymorph.

mod bytes32;
pub mod contact;
pub mod guid;
pub mod identity;
pub mod key;
#[cfg(feature = "runtime")]
pub mod runtime;
pub mod time;
pub mod word;

pub use contact::{Contact, ContactError, TransportAddress};
pub use guid::Guid;
pub use identity::{Domain, Ed25519, Identity, PublicKey, Signature, Signer, Verifier};
pub use key::{Distance, Key};
pub use time::Time;

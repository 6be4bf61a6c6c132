//! Core of Polymorph.

mod bytes32;
pub mod contact;
pub mod engine;
pub mod guid;
pub mod identity;
pub mod key;
pub mod overlay;
mod raw;
pub mod record;
#[cfg(feature = "runtime")]
pub mod runtime;
pub mod snapshot;
pub mod time;
pub mod topology;
pub mod wire;
pub mod word;

pub use contact::{Contact, ContactError, TransportAddress};
pub use guid::Guid;
pub use identity::{Domain, Ed25519, Identity, PublicKey, Signature, Signer, Verifier};
pub use key::{Distance, Key};
pub use overlay::{Admission, Grant, Membership, OverlayId, OverlayName, Place, Standing};
pub use time::Time;
pub use topology::Topology;

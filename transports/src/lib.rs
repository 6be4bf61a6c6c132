//! Transports of Polymorph: the kinds of wire between two nodes, one identity for all.
//!
//! Every transport here implements [`Transport`](polymorph_core::runtime::transport::Transport) and promises the same: both sides have *proven* their ed25519 key
//! when a connection appears, a dialed [`Guid`](polymorph_core::Guid) is checked, every bound has a name, a stalled reader stops its
//! writer and nobody else. [`mod@conformance`] holds these promises as tests, for third-party transports too.
//!
//! | wire | address | streams | datagrams |
//! |---|---|---|---|
//! | [`Memory`] | `mem:NAME` | pipes in one process | yes |
//! | [`Unix`] | `unix:PATH` | a TLS 1.3 connection each, opened by the dialer | no |
//! | [`Tcp`] | `tcp://IP:PORT` | a TLS 1.3 connection each, opened by the dialer | no |
//! | [`Quic`] | `quic://IP:PORT` | QUIC's own | yes |
//!
//! A [`Dialer`] tries a contact's addresses over several of them, in the order and at the pace of [`ranking`].
//!
//! Where the code is: `tls` proves identities, `socket` is what tcp and unix share, `handshakes` bounds newcomers.

pub mod conformance;
mod dialer;
#[cfg(any(feature = "tcp", feature = "unix", feature = "quic"))]
mod handshakes;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(any(feature = "tcp", feature = "unix", feature = "quic"))]
mod preamble;
#[cfg(any(feature = "memory", feature = "tcp", feature = "unix"))]
mod queue;
#[cfg(feature = "quic")]
mod quic;
pub mod ranking;
#[cfg(any(feature = "tcp", feature = "unix"))]
mod socket;
#[cfg(feature = "tcp")]
mod tcp;
#[cfg(any(feature = "tcp", feature = "unix", feature = "quic"))]
mod tls;
#[cfg(all(unix, feature = "unix"))]
mod unix;

pub use dialer::{DialError, Dialer};
#[cfg(feature = "memory")]
pub use memory::Memory;
#[cfg(feature = "quic")]
pub use quic::Quic;
#[cfg(feature = "tcp")]
pub use tcp::Tcp;
#[cfg(all(unix, feature = "unix"))]
pub use unix::Unix;

/// All transports that reach beyond this process, for the node that `identity` is. A [`Memory`] needs a
/// [`memory::Hub`] to meet others in, so it is added by whoever has one.
#[must_use]
#[cfg(any(feature = "tcp", feature = "quic", all(unix, feature = "unix")))]
pub fn all(
    identity: &polymorph_core::Identity,
) -> Vec<std::sync::Arc<dyn polymorph_core::runtime::transport::Transport>> {
    use std::sync::Arc;
    vec![
        #[cfg(all(unix, feature = "unix"))]
        Arc::new(Unix::new(identity)),
        #[cfg(feature = "tcp")]
        Arc::new(Tcp::new(identity)),
        #[cfg(feature = "quic")]
        Arc::new(Quic::new(identity)),
    ]
}

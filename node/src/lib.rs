//! Polymorph: peer-to-peer overlays of any shape, side by side in one process.
//!
//! One node has one identity and one session to each peer; any number of overlays run on it, each shaped by a
//! topology: a ring to find things, a mesh to announce them, a tree to stream them.
//!
//! | here | is |
//! |---|---|
//! | [`Node`], [`Overlay`], [`OverlaySpec`] | what an application holds |
//! | [`topologies`] | the shapes that come along, and the [`Catalog`](topologies::catalog::Catalog) that builds them by name |
//! | [`core`] | identity, the topology boundary, the engine |
//! | [`transports`] | memory, unix, tcp, quic |
//! | [`media`] | blobs, packages, fetching from several providers |
//! | [`sim`] | the same engine in virtual time |

mod by_name;

pub use by_name::{ByNameError, overlay};
pub use polymorph_core as core;
pub use polymorph_media as media;
pub use polymorph_sim as sim;
pub use polymorph_topologies as topologies;
pub use polymorph_transports as transports;

pub use polymorph_core::runtime::{Builder, Node, Overlay, OverlaySpec, Publication, Service, Subscription};
pub use polymorph_core::{Contact, Guid, Identity, Key, TransportAddress};

use std::sync::Arc;

/// Begins a node with every transport that leaves this process, dialed as RFC 8305 advises.
#[must_use]
pub fn node(identity: &Identity) -> Builder {
    let transports = transports::all(identity);
    let dialer = transports::Dialer::new(transports.clone());
    Node::builder(identity.clone()).transports(transports).dialer(Arc::new(dialer))
}

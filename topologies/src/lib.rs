//! The topologies that come with Polymorph, one module and one feature each.
//!
//! | family | what it is good at | here |
//! |---|---|---|
//! | [`mesh`] | telling everybody | full-mesh, hyparview, plumtree |
//! | [`ring`] | finding things | chord, kademlia, pastry, tapestry, symphony, one-hop |
//! | [`tree`] | streaming to many | scribe |
//! | [`hybrid`] | several shapes in one | polyring |
//!
//! Whoever composes by type names them directly: `Layer<Scribe, Chord>`. Whoever composes by name asks the
//! [`catalog`]. To write one's own, start by reading [`mesh::full_mesh`]: a whole topology in sixty lines.

pub mod catalog;
pub mod hybrid;
pub mod mesh;
pub mod ring;
pub mod setting;
pub mod tree;

//! Meshes: every peer is like every other, and news reaches all.

#[cfg(feature = "full-mesh")]
pub mod full_mesh;
#[cfg(feature = "hyparview-plumtree")]
pub mod hyparview;
#[cfg(feature = "hyparview-plumtree")]
pub mod plumtree;

/// Broadcast along a tree that repairs itself, over a mesh that survives the loss of most of its peers.
#[cfg(feature = "hyparview-plumtree")]
pub type HyParViewPlumtree = polymorph_core::topology::layer::Layer<plumtree::Plumtree, hyparview::HyParView>;

//! Meshes: every peer is like every other, and news reaches all.

// #[cfg(feature = "hyparview-plumtree")]
// pub mod hyparview;
// #[cfg(feature = "hyparview-plumtree")]
// pub mod plumtree;

//! Everything that is tried in worlds in virtual time, in one binary: each topology brings its own copy of the engine
//! and the world, and one binary compiles it once for the laws, for its own tests and for all others.

mod support;

#[cfg(all(feature = "chord", feature = "kademlia", feature = "hyparview-plumtree"))]
mod attacks;
#[cfg(feature = "chord")]
mod bounded;
#[cfg(feature = "chord")]
mod chord;
#[cfg(all(feature = "chord", feature = "kademlia", feature = "pastry", feature = "tapestry"))]
mod churn;
mod every_topology;
#[cfg(feature = "full-mesh")]
mod full_mesh;
#[cfg(feature = "kademlia")]
mod kademlia;
mod laws;
#[cfg(feature = "one-hop")]
mod one_hop;
#[cfg(feature = "pastry")]
mod pastry;
#[cfg(feature = "hyparview-plumtree")]
mod plumtree_on_hyparview;
#[cfg(feature = "polyring")]
mod polyring;
#[cfg(all(
    feature = "chord",
    feature = "kademlia",
    feature = "pastry",
    feature = "tapestry",
    feature = "symphony",
    feature = "one-hop"
))]
mod records;
#[cfg(all(feature = "scribe", feature = "chord", feature = "kademlia"))]
mod scribe;
#[cfg(feature = "symphony")]
mod symphony;
#[cfg(feature = "tapestry")]
mod tapestry;

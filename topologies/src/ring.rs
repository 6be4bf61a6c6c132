//! Key-routed overlays: every key has an owner that everybody finds in a logarithmic number of hops. Chord is a
//! ring; Kademlia measures with XOR instead of walking clockwise, and is at home here for what it does.

#[cfg(any(feature = "pastry", feature = "tapestry"))]
mod calls;
#[cfg(feature = "chord")]
pub mod chord;
#[cfg(feature = "kademlia")]
pub mod kademlia;
#[cfg(any(feature = "chord", feature = "pastry", feature = "tapestry"))]
mod links;
#[cfg(feature = "pastry")]
pub mod pastry;
#[cfg(any(feature = "pastry", feature = "tapestry"))]
mod prefix;
#[cfg(feature = "tapestry")]
pub mod tapestry;

//! Key-routed overlays: every key has an owner that everybody finds in a logarithmic number of hops. Chord is a
//! ring; Kademlia measures with XOR instead of walking clockwise, Pastry and Tapestry correct digit after digit, and are
//! at home here for what they do. Symphony and one-hop are the two ends: a few links, or all.

#[cfg(any(feature = "pastry", feature = "tapestry", feature = "one-hop"))]
#[cfg_attr(not(all(feature = "pastry", feature = "tapestry")), allow(dead_code, reason = "each needs a part of it"))]
mod calls;
#[cfg(feature = "chord")]
pub mod chord;
#[cfg(feature = "kademlia")]
pub mod kademlia;
#[cfg(any(feature = "chord", feature = "pastry", feature = "tapestry"))]
mod links;
#[cfg(feature = "one-hop")]
pub mod one_hop;
#[cfg(feature = "pastry")]
pub mod pastry;
#[cfg(any(feature = "pastry", feature = "tapestry", feature = "symphony", feature = "one-hop"))]
#[cfg_attr(
    not(all(feature = "pastry", feature = "tapestry")),
    allow(dead_code, unreachable_pub, reason = "each needs a part of it")
)]
mod prefix;
#[cfg(feature = "symphony")]
pub mod symphony;
#[cfg(feature = "tapestry")]
pub mod tapestry;

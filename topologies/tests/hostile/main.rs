//! What a peer may say to a topology without harm: each topology alone, against a host that only writes down what it
//! wants.

#[cfg(all(feature = "polyring", feature = "hyparview-plumtree"))]
mod neighbors;
mod paper;
#[cfg(all(feature = "pastry", feature = "tapestry", feature = "symphony", feature = "one-hop"))]
mod rings;

//! A topology by somebody else, in a crate of its own.

mod graph;

pub use graph::{Graph, Look, Message};

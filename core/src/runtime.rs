//! The tokio half: transports, sessions, and the node that drives the engine.

pub mod transport;

//! The tokio half: transports, sessions, and the node that drives the engine.
//!
//! **One task, the driver, turns the engine; nothing else touches it.** Sessions feed it whole chunks of received
//! frames and write what it left in their out-buffers; handles send it commands. Bulk bytes never pass it: they go
//! over streams that the transport gives.

mod clock;
mod driver;
pub mod keyfile;
mod log;
mod mail;
mod node;
mod overlay;
pub mod service;
mod session;
mod streams;
pub mod transport;

pub use node::{Builder, ListenError, Node, Status};
pub use overlay::REQUEST_TIMEOUT;
pub use overlay::{
    BulkStream, Found, Overlay, OverlayError, OverlaySpec, Publication, Records, SessionHold, Subscription,
};
pub use service::{Request, Service, ServiceError};
pub use streams::{IncomingStream, IncomingStreams};

//! What every transport must pass, ours and yours.
//!
//! ```
//! use std::sync::Arc;
//! use polymorph_core::{Identity, TransportAddress, runtime::transport::Transport};
//! use polymorph_transports::{Memory, conformance, memory::Hub};
//!
//! #[derive(Debug, Default)]
//! struct InMemory(Hub);
//!
//! impl conformance::Subject for InMemory {
//!     fn transport(&self, identity: &Identity) -> Arc<dyn Transport> {
//!         Arc::new(Memory::new(identity, &self.0))
//!     }
//!     fn address(&self) -> TransportAddress {
//!         TransportAddress::Memory("0".into())
//!     }
//! }
//!
//! # fn main() {}
//! polymorph_transports::conformance!(in_memory, InMemory::default());
//! ```
//!
//! The macro makes one `#[tokio::test]` per rule, in a module of the name given. Every rule is also a function here,
//! which panics where the transport breaks it, and never waits longer than [`PATIENCE`].

use std::sync::Arc;
use std::time::Duration;

use polymorph_core::runtime::transport::{Connection, Listener, Stream, Transport, TransportError};
use polymorph_core::{Guid, Identity, TransportAddress};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

mod life;
mod proof;
mod streams;

pub use life::*;
pub use proof::*;
pub use streams::*;

/// How long a rule may wait for anything before it counts as broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A transport under examination.
pub trait Subject: Send + Sync {
    /// A fresh transport for a node. All that one subject makes can reach each other.
    fn transport(&self, identity: &Identity) -> Arc<dyn Transport>;
    /// An address to listen on that lets the system choose, like port 0. Called once per listener.
    fn address(&self) -> TransportAddress;
}

/// Two nodes, and the listener of the second.
struct Pair {
    dialer: Arc<dyn Transport>,
    dialer_identity: Identity,
    listener: Box<dyn Listener>,
    listener_identity: Identity,
}

impl Pair {
    async fn of(subject: &dyn Subject) -> Self {
        let (dialer_identity, listener_identity) = (Identity::generate(), Identity::generate());
        let dialer = subject.transport(&dialer_identity);
        let listener = subject.transport(&listener_identity).listen(&subject.address()).await;
        let listener = listener.expect("it listens");
        Self { dialer, dialer_identity, listener, listener_identity }
    }

    fn wanted(&self) -> Guid {
        self.listener_identity.guid()
    }

    /// One connection, both ends.
    async fn connect(&mut self) -> (Arc<dyn Connection>, Arc<dyn Connection>) {
        let address = self.listener.address();
        let dial = self.dialer.dial(&address, Some(self.wanted()));
        let (dialed, accepted) = patiently(async { tokio::join!(dial, self.listener.accept()) }).await;
        (dialed.expect("the dial succeeds"), accepted.expect("the peer arrives"))
    }
}

/// Waits, but not for ever.
async fn patiently<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens in time")
}

/// Both ends of the control stream.
fn controls(dialed: &dyn Connection, accepted: &dyn Connection) -> (Stream, Stream) {
    let one = dialed.take_control().expect("the dialer's control stream");
    (one, accepted.take_control().expect("the acceptor's control stream"))
}

/// Sends from one end what must arrive at the other.
async fn carry(from: &mut Stream, to: &mut Stream, bytes: &[u8]) {
    let send = async {
        from.send.write_all(bytes).await.expect("it takes the bytes");
        from.send.flush().await.expect("it flushes them");
    };
    let mut heard = vec![0; bytes.len()];
    let (_, read) = patiently(async { tokio::join!(send, to.recv.read_exact(&mut heard)) }).await;
    read.expect("the bytes arrive");
    assert!(heard == bytes, "the bytes arrive as they were sent");
}

/// Bytes that differ from place to place and from stream to stream.
fn pattern(stream: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ stream.wrapping_mul(131)) as u8).collect()
}

/// Makes a module of tests, one per rule, for a [`Subject`](crate::conformance::Subject).
#[macro_export]
macro_rules! conformance {
    ($name:ident, $subject:expr) => {
        $crate::conformance!(@rules $name, $subject,
            both_sides_learn_who_the_other_is
            a_wrong_guid_is_refused
            both_ends_share_an_exporter_no_other_connection_has
            control_carries_bytes_both_ways_and_is_handed_out_once
            a_shutdown_is_seen_and_the_other_direction_lives_on
            a_sender_that_is_dropped_leaves_no_clean_end
            the_dialer_opens_bulk_streams
            the_acceptor_opens_bulk_streams_or_says_it_cannot
            a_stream_opened_before_anybody_accepts_is_kept
            many_bulk_streams_do_not_mix
            a_stalled_reader_stops_its_writer_and_nobody_else
            bulk_streams_reach_the_connection_they_belong_to
            datagrams_arrive_or_are_refused_by_size
            a_close_is_seen_by_the_other_side
            dropping_the_connection_closes_it
            what_was_shut_down_before_a_close_still_arrives
            a_dropped_listener_accepts_nobody_and_its_connections_live_on
            many_dial_at_once_and_all_arrive
            a_free_address_is_picked_and_told
            foreign_addresses_are_not_handled
            nobody_listening_is_an_error_in_time
            giving_up_a_dial_or_an_accept_loses_nothing
        );
    };
    (@rules $name:ident, $subject:expr, $($rule:ident)*) => {
        mod $name {
            use super::*;
            $(
                #[tokio::test]
                async fn $rule() {
                    let subject = $subject;
                    $crate::conformance::$rule(&subject).await;
                }
            )*
        }
    };
}

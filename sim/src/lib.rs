//! Virtual time for the real engine: a seeded world of peers.
//!
//! A [`World`] runs the very engine and the very topologies that run on sockets, thousands of them in
//! one thread, and the same seed always goes the same way:
//!
//! ```text
//! World::new(Options::seeded(1))      add · join · lookup · publish          crash · leave · partition · shut
//!   engines ── outputs ──▶ wires, latency, faults ──▶ wheel ── inputs ──▶ engines        … run_for · run_until_quiet
//! ```
//!
//! Where to look: [`world`] the world itself · [`options`] how it is · [`latency`] how far apart its peers are ·
//! [`churn`] how they come and go · [`crypto`] how they sign · [`wheel`] the queue of events · [`witness`] what applications saw · [`traffic`] what
//! was sent · [`trace`] the hash of a run · [`workload`] lookups and broadcasts, measured into a [`report`], which a
//! [`page`] draws · [`laws`] what every topology keeps · [`attack`] bad peers · [`baseline`] what the machine could do
//! at most.
//! `docs/SIMULATION.md` says what is modelled and what is not.

pub mod attack;
pub mod baseline;
pub mod churn;
pub mod crypto;
mod directory;
mod faults;
pub mod latency;
pub mod laws;
mod mix;
pub mod options;
pub mod page;
pub mod pipes;
pub mod report;
mod slab;
mod stopwatch;
pub mod trace;
pub mod traffic;
pub mod wheel;
mod wires;
pub mod witness;
pub mod workload;
pub mod world;

pub use crypto::Crypto;
pub use latency::Latency;
pub use options::{BadSeed, Codec, Options, Terms, seed_or, try_seed_or};
pub use pipes::Bandwidth;
pub use world::{Peer, World};

//! How a world is, and on which terms its peers are in it.

use core::time::Duration;
use std::sync::Arc;

use polymorph_core::engine::settings;
use polymorph_core::{Admission, Grant, OverlayName, Standing};

use crate::crypto::Crypto;
use crate::latency::Latency;
use crate::pipes::Bandwidth;
use crate::witness::Keep;

/// Whether frames are encoded and decoded on their way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Codec {
    /// Passed on as they are, counted at their encoded size.
    #[default]
    Typed,
    /// Encoded by the sender and decoded by the receiver, each time.
    Encoded,
}

/// How a world is. The default is a quiet one: 50 ms everywhere and nothing breaks by itself.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything random follows from it.
    pub seed: u64,
    /// How long frames travel.
    pub latency: Latency,
    /// How peers sign.
    pub crypto: Crypto,
    /// Whether frames are encoded.
    pub codec: Codec,
    /// Whether deliveries are kept or counted.
    pub keep: Keep,
    /// The settings of every node.
    pub node: settings::Node,
    /// How long a dial takes to fail when nobody answers: at a peer behind a NAT, or across a partition. A dial to a
    /// peer that is gone is refused after one round trip.
    pub unanswered: Duration,
    /// After how long the far end of a wire notices by itself that a peer crashed (QUIC's idle time-out, TCP's
    /// keepalive). `None`: only by sending.
    pub silence: Option<Duration>,
    /// How long a wire lasts on average before it breaks at both ends, drawn evenly between zero and twice that.
    /// `None`: it does not break by itself.
    pub wire_life: Option<Duration>,
    /// The share of dials that are lost, 0 to 1; they end as unanswered.
    pub lost_dials: f64,
    /// The share of packets that are lost, 0 to 1. Wires are reliable: a lost packet is sent again after 1.5 round
    /// trips and 25 ms, then after twice that; what it belongs to, and all that was sent after it, waits.
    pub loss: f64,
    /// The share of packets that come twice, 0 to 1: they take their part of access lines, and nobody else notices.
    pub duplicates: f64,
    /// By how much packets are late, drawn evenly up to this; nothing overtakes, so that one holds up all behind it.
    pub jitter: Duration,
    /// What everybody's access line carries, but for those set by
    /// [`World::set_bandwidth`](crate::World::set_bandwidth).
    pub bandwidth: Bandwidth,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0,
            latency: Latency::default(),
            crypto: Crypto::default(),
            codec: Codec::default(),
            keep: Keep::default(),
            node: settings::Node::default(),
            // Half of what the engine itself waits for a dial.
            unanswered: Duration::from_secs(5),
            // What QUIC stacks commonly choose.
            silence: Some(Duration::from_secs(30)),
            wire_life: None,
            lost_dials: 0.0,
            loss: 0.0,
            duplicates: 0.0,
            jitter: Duration::ZERO,
            bandwidth: Bandwidth::default(),
        }
    }
}

impl Options {
    /// The default world of this seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }
}

/// What `POLYMORPH_SEED` says is no seed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("POLYMORPH_SEED={0:?} is no seed; use a number or unset it")]
pub struct BadSeed(pub String);

/// The seed that the environment variable `POLYMORPH_SEED` says, to see once more what another run saw; `otherwise`
/// where there is none.
///
/// # Errors
/// [`BadSeed`] if the variable is no number: a run that was to be repeated must not go another way.
pub fn try_seed_or(otherwise: u64) -> Result<u64, BadSeed> {
    let Ok(text) = std::env::var("POLYMORPH_SEED") else { return Ok(otherwise) };
    text.trim().parse().map_err(|_| BadSeed(text))
}

/// [`try_seed_or`] for tests.
///
/// # Panics
/// If the variable is no number.
#[must_use]
pub fn seed_or(otherwise: u64) -> u64 {
    try_seed_or(otherwise).unwrap_or_else(|bad| panic!("{bad}"))
}

/// On which terms a peer is in an overlay.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The overlay's name and door.
    pub name: OverlayName,
    /// Member or client.
    pub standing: Standing,
    /// The authority's grant, where the overlay has one.
    pub grant: Option<Grant>,
    /// How the overlay works.
    pub settings: Arc<settings::Overlay>,
    /// Which topology of this name.
    pub epoch: u8,
}

impl Default for Terms {
    /// A member of an open overlay.
    fn default() -> Self {
        Self {
            name: OverlayName::new("world", Admission::Open).expect("a good name"),
            standing: Standing::Member,
            grant: None,
            settings: Arc::default(),
            epoch: 0,
        }
    }
}

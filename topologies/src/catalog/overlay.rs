//! What every key-routed overlay can be set to, whatever its topology: how lookups go, and what records may take.

use polymorph_core::engine::settings::{Lookup, Overlay};

use crate::setting::{Configure, Knob, Setting};

pub(super) const LOOKUP: Setting =
    Setting::new("lookup", "recursive", "how lookups find their way: recursive, iterative or semi");

impl Configure for Overlay {
    fn table() -> Vec<Knob<Self>> {
        const WAYS: [(&str, Lookup); 3] =
            [("recursive", Lookup::Recursive), ("iterative", Lookup::Iterative), ("semi", Lookup::Semi)];
        let Setting { key, default, help } = LOOKUP;
        vec![
            Knob::one_of(key, default, help, &WAYS, |overlay| &mut overlay.lookup),
            Knob::number(
                "alpha",
                "3",
                "how many questions an iterative lookup has on the way at once",
                1..=MAX_ALPHA,
                |overlay| &mut overlay.alpha,
            ),
            Knob::number("disjoint", "1", "how many disjoint paths a lookup takes", 1..=MAX_DISJOINT, |overlay| {
                &mut overlay.disjoint
            }),
            Knob::number("replicas", "8", "how many peers keep a record", 1..=MAX_REPLICAS, |overlay| {
                &mut overlay.replicas
            }),
            Knob::number("records", "65536", "how many records a peer keeps for others", 1..=MAX_RECORDS, |overlay| {
                &mut overlay.records
            }),
            Knob::number("record_bytes", "67108864", "and how many bytes of them", 0..=MAX_RECORD_BYTES, |overlay| {
                &mut overlay.record_bytes
            }),
            Knob::number(
                "records_per_peer",
                "16384",
                "how many of them may be of one publisher, or brought by one peer",
                1..=MAX_RECORDS,
                |overlay| &mut overlay.records_per_peer,
            ),
            Knob::number(
                "record_bytes_per_peer",
                "16777216",
                "and how many bytes of them",
                0..=MAX_RECORD_BYTES,
                |overlay| &mut overlay.record_bytes_per_peer,
            ),
            Knob::number("records_per_key", "64", "how many of them one key has", 1..=MAX_RECORDS, |overlay| {
                &mut overlay.records_per_key
            }),
            Knob::number(
                "cached_bytes",
                "1048576",
                "how many bytes of records that pass by are copied; 0 for none",
                0..=MAX_RECORD_BYTES,
                |overlay| &mut overlay.cached_bytes,
            ),
            Knob::number(
                "spill",
                "0",
                "how many peers beyond the replicas are asked to keep a record when some are full",
                0..=MAX_SPILL,
                |overlay| &mut overlay.spill,
            ),
            Knob::number(
                "settle",
                "0",
                "how many of the nearest each path of an iterative lookup settles; 0 for as many as the topology says",
                0..=MAX_SETTLED,
                |overlay| &mut overlay.settle,
            ),
        ]
    }
}

/// The most questions of one lookup at once: libp2p asks 10, more would only flood.
const MAX_ALPHA: usize = 32;
/// The most a path settles: the engine's answers name no more.
const MAX_SETTLED: usize = 64;
/// The most disjoint paths: with 8, 99 of 100 lookups evade a fifth of bad peers (S/Kademlia, §5).
const MAX_DISJOINT: usize = 16;
/// The most records of a peer: a million, of a gigabyte at most.
const MAX_RECORDS: usize = 1 << 20;
/// The most bytes of them: a gibibyte.
const MAX_RECORD_BYTES: usize = 1 << 30;
/// The most replicas; no more are named than a topology knows beside a key (16 successors, 20 of a bucket).
const MAX_REPLICAS: usize = 64;
/// The most peers beyond the replicas: as many as the longest successor list names.
const MAX_SPILL: usize = 64;

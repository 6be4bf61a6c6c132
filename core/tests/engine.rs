//! Engines in lockstep, in virtual time, among peers that do what they should and peers that do not.

#[path = "engine/admission.rs"]
mod admission;
#[path = "engine/asks.rs"]
mod asks;
#[path = "engine/caches.rs"]
mod caches;
#[path = "engine/casts.rs"]
mod casts;
#[path = "engine/credit.rs"]
mod credit;
#[path = "engine/dials.rs"]
mod dials;
#[path = "engine/hand_over.rs"]
mod hand_over;
#[path = "engine/interest.rs"]
mod interest;
#[path = "engine/net.rs"]
mod net;
#[path = "engine/puppet.rs"]
mod puppet;
#[path = "engine/quorums.rs"]
mod quorums;
#[path = "engine/records.rs"]
mod records;
#[path = "engine/restart.rs"]
mod restart;
#[path = "engine/routes.rs"]
mod routes;
#[path = "engine/spec.rs"]
mod spec;

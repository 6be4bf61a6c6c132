//! The built program, as a user runs it: processes, folders, signals and words on standard output.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod control;
mod demo;
mod fetching;
mod identity;
mod mistakes;
mod restarting;
mod simulating;
mod support;

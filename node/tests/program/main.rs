//! The built program, as a user runs it: processes, folders, signals and words on standard output.
#![cfg(unix)]

mod control;
mod demo;
mod fetching;
mod identity;
mod mistakes;
mod support;

//! Media of Polymorph: content-addressed blobs, the store that keeps them, packages of them, and fetching them from
//! several providers at once. Applications of `polymorph-core`, which knows none of it.
//!
//! | module | what |
//! |---|---|
//! | [`blob`] | the BLAKE3 hash, and the tree that lets any range be checked |
//! | [`store`] | files and an index that survive a crash at any moment |
//! | [`wire`], [`serve`](mod@serve) | what goes over a bulk stream, and the providing side of it |
//! | [`provider`], [`fetch`](mod@fetch) | who has it, and the fetching side |
//! | [`package`], [`seal`] | a manifest of titled items, and a signature beside it |
//! | [`samples`] | six small files to try it with |
//! | [`link`] | one word that says what to fetch and where to begin |
//!
//! **No byte is written under its name that was not checked against the hash asked for**, and a byte is hashed once
//! on its way from the network to the disk.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub mod blob;
mod disk;
pub mod fetch;
pub mod limit;
pub mod link;
pub mod package;
pub mod provider;
pub mod samples;
pub mod seal;
pub mod serve;
pub mod store;
#[cfg(test)]
mod testing;
pub mod wire;

pub use blob::{Hash, Ranges};
pub use fetch::{Fetched, Fetcher, fetch};
pub use link::Link;
pub use package::{Item, Package};
pub use provider::{Provider, Providers};
pub use seal::Seal;
pub use serve::serve;
pub use store::Store;

/// Locks a mutex whose guarded values are whole between statements, so that a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

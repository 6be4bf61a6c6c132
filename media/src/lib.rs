//! Media of Polymorph.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub mod blob;
mod disk;
pub mod fetch;
pub mod limit;
pub mod provider;
pub mod serve;
pub mod store;
pub mod wire;

pub use blob::{Hash, Ranges};
pub use fetch::{Fetched, Fetcher, fetch};
pub use provider::{Provider, Providers};
pub use serve::serve;
pub use store::Store;

/// Locks a mutex whose guarded values are whole between statements, so that a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

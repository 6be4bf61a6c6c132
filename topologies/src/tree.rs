//! Trees: one sends, many receive, nobody twice.

#[cfg(feature = "scribe")]
pub mod scribe;

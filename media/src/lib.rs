//! Media of Polymorph.

pub mod blob;

pub use blob::{Hash, Ranges};

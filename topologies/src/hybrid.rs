//! Several shapes in one overlay.

#[cfg(feature = "polyring")]
pub mod polyring;

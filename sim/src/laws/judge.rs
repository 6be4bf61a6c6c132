//! Whether a law holds: each looks at a play, on the way or at its end.

mod coverage;
mod determinism;
mod healing;
mod isolation;
mod links;
mod routing;
mod state;
mod traffic;

pub(super) use coverage::coverage;
pub(super) use determinism::determinism;
pub(super) use healing::{healing, leave};
pub(super) use isolation::isolation;
pub(super) use links::symmetry;
pub(super) use routing::{agreement, progress};
pub(super) use state::{hostility, state};
pub(super) use traffic::quiet;

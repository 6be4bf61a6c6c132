//! Many peers fail at once, and what that does before and after repair.

use core::time::Duration;

use polymorph_core::Topology;

use crate::report::{Window, Windows};
use crate::world::World;

/// Many peers fail at once.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// The share of all, 0 to 1.
    pub share: f64,
    /// How long repair takes after timers run again: what the topology claims.
    pub quiet: Duration,
}

/// Lets peers fail, and measures twice among the survivors. First with repair held (see [`World::hold`]): a death is
/// learned only by one's own failed send or call. Then after periodic timers ran for the quiet time.
pub fn windows<T: Topology>(
    world: &mut World<T>,
    failure: &Failure,
    mut measure: impl FnMut(&mut World<T>) -> Window,
) -> Windows {
    world.hold();
    world.fail(failure.share);
    let before_repair = Some(measure(world));
    world.release();
    world.run_for(failure.quiet);
    Windows { before_repair, after_repair: Some(measure(world)) }
}

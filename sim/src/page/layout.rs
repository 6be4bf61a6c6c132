//! Where the peers of a drawing stand.

use crate::report::Portrait;

/// How a drawing is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Layout {
    /// On a circle, in the order of keys: what a ring looks like.
    #[default]
    Circle,
    /// Linked peers pull each other together, all others push apart (Fruchterman & Reingold 1991): shows whatever
    /// shape there is.
    Forces,
}

/// With more links than that for each peer nothing pulls anybody anywhere in particular.
const TOO_DENSE: usize = 8;
/// How often everybody moves.
const ROUNDS: u32 = 400;
/// Draws everybody to the middle, so that parts without a link do not fly apart.
const GRAVITY: f64 = 0.06;

/// Places in the unit square, and the layout that was in fact used.
pub(super) fn places(portrait: &Portrait, layout: Layout, pulls: &[(usize, usize)]) -> (Layout, Vec<(f64, f64)>) {
    let circle = || portrait.peers.iter().map(|peer| on_circle(peer.position)).collect::<Vec<_>>();
    if layout == Layout::Circle || pulls.len() > TOO_DENSE * portrait.peers.len() || pulls.is_empty() {
        return (Layout::Circle, circle());
    }
    (Layout::Forces, fit(spring(circle(), pulls)))
}

/// The first key is at the top, and they go clockwise.
fn on_circle(position: f64) -> (f64, f64) {
    let angle = core::f64::consts::TAU * position;
    (0.5 + 0.5 * libm::sin(angle), 0.5 - 0.5 * libm::cos(angle))
}

fn spring(mut at: Vec<(f64, f64)>, pulls: &[(usize, usize)]) -> Vec<(f64, f64)> {
    let ideal = libm::sqrt(1.0 / at.len() as f64);
    for round in 0..ROUNDS {
        let mut moves = vec![(0.0, 0.0); at.len()];
        for a in 0..at.len() {
            for b in a + 1..at.len() {
                let (dx, dy) = (at[a].0 - at[b].0, at[a].1 - at[b].1);
                // Two in one place are pushed apart all the same.
                let push = ideal * ideal / (dx * dx + dy * dy).max(1e-6);
                shift(&mut moves, a, b, (dx * push, dy * push));
            }
        }
        for &(a, b) in pulls {
            let (dx, dy) = (at[a].0 - at[b].0, at[a].1 - at[b].1);
            let pull = libm::sqrt(dx * dx + dy * dy) / ideal;
            shift(&mut moves, a, b, (-dx * pull, -dy * pull));
        }
        let heat = 0.1 * (1.0 - f64::from(round) / f64::from(ROUNDS));
        for ((x, y), (dx, dy)) in at.iter_mut().zip(moves) {
            let (dx, dy) = (dx + GRAVITY * (0.5 - *x), dy + GRAVITY * (0.5 - *y));
            let length = libm::sqrt(dx * dx + dy * dy).max(1e-9);
            let step = length.min(heat) / length;
            (*x, *y) = (*x + dx * step, *y + dy * step);
        }
    }
    at
}

fn shift(moves: &mut [(f64, f64)], a: usize, b: usize, (dx, dy): (f64, f64)) {
    (moves[a].0, moves[a].1) = (moves[a].0 + dx, moves[a].1 + dy);
    (moves[b].0, moves[b].1) = (moves[b].0 - dx, moves[b].1 - dy);
}

/// Fills the unit square, each direction by itself.
fn fit(mut at: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        (low, (high - low).max(1e-9))
    };
    let (x, width) = range(&mut at.iter().map(|at| at.0));
    let (y, height) = range(&mut at.iter().map(|at| at.1));
    at.iter_mut().for_each(|at| *at = ((at.0 - x) / width, (at.1 - y) / height));
    at
}

//! Periodic timers, held and let go again: how a simulator sees what use alone repairs.

use super::Engine;
use super::state::{OverlayTimer, State};
use super::timers::Handle;
use crate::Time;
use crate::topology::Topology;

/// Timers that came due while they were held wait behind this moment, 292 years in.
pub(super) const PARKED: Time = Time(1 << 63);

impl<T: Topology> Engine<T> {
    /// Holds the topologies' periodic timers from now on, see [`Topology::periodic`].
    pub fn hold(&mut self, now: Time) {
        self.overlays.iter_mut().flatten().for_each(|overlay| overlay.state.held = overlay.state.held.min(now));
    }

    /// Lets them go again: each that came due meanwhile fires as long from now as it would have after [`hold`].
    /// Nothing happens if none are held. [`next_wake`](Self::next_wake) may be sooner afterwards.
    ///
    /// [`hold`]: Self::hold
    pub fn release(&mut self, now: Time) {
        self.overlays.iter_mut().flatten().for_each(|overlay| overlay.state.release(now));
    }
}

impl<T: Topology> State<T> {
    /// Whether a timer that is due must wait.
    pub(super) fn holds(&self, topology: &T, timer: &OverlayTimer<T::Timer>) -> bool {
        self.held < Time::MAX && matches!(timer, OverlayTimer::Topology(timer) if topology.periodic(timer))
    }

    /// Puts a timer that must wait where it does.
    pub(super) fn park(&mut self, due: Handle, timer: OverlayTimer<T::Timer>) {
        self.push_again(due, Time(PARKED.0 | due.0.0), timer);
    }

    fn release(&mut self, now: Time) {
        let held = core::mem::replace(&mut self.held, Time::MAX);
        if held == Time::MAX {
            return;
        }
        for (handle, timer) in self.timers.split_off(PARKED) {
            let due = Time(handle.0.0 ^ PARKED.0);
            self.push_again(handle, now + due.since(held), timer);
        }
    }

    /// Sets a timer anew.
    fn push_again(&mut self, old: Handle, at: Time, timer: OverlayTimer<T::Timer>) {
        let new = self.timers.push(at, timer.clone());
        if let OverlayTimer::Topology(timer) = timer
            && let Some(handle) = self.set.get_mut(&timer).filter(|handle| **handle == old)
        {
            *handle = new;
        }
    }
}

//! A host that only writes down what a topology wants.

use bytes::Bytes;
use polymorph_core::overlay::{Admission, OverlayName, Place};
use polymorph_core::topology::Below;
use polymorph_core::topology::context::{Action, Busy, Context, Host, Rng};
use polymorph_core::topology::event::{Event, Facts, Ticket, Via};
use polymorph_core::topology::question::{Hold, Lane, Neighbor, Role, Route};
use polymorph_core::{Guid, Key, Time, Topology};
use rand_core::SeedableRng;

/// A host that writes down what is wanted of it.
pub(crate) struct Paper<T: Topology> {
    pub(crate) place: Place,
    pub(crate) now: Time,
    rng: Rng,
    pub(crate) tickets: u64,
    pub(crate) done: Vec<Action<T>>,
    pub(crate) ground: Ground,
}

/// An overlay below with these neighbors.
pub(crate) struct Ground(pub(crate) Vec<Guid>);

impl Below for Ground {
    fn neighbors(&self) -> Vec<Neighbor> {
        self.0.iter().map(|&peer| Neighbor { peer, role: Role::Active, hold: Hold::Required }).collect()
    }
    fn route(&self, _: Key, _: usize) -> Route {
        Route::default()
    }
}

pub(crate) fn guid(number: u16) -> Guid {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Guid(bytes)
}

impl<T: Topology> Paper<T> {
    pub(crate) fn new(me: Guid) -> Self {
        let overlay = OverlayName::new("hostile", Admission::Open).expect("a good name").id();
        let place = Place { overlay, me };
        let (rng, ground) = (Rng::seed_from_u64(1), Ground(Vec::new()));
        Self { place, now: Time::from_secs(100), rng, tickets: 0, done: Vec::new(), ground }
    }

    /// Tells the topology something; what it wants thereupon.
    pub(crate) fn tell(&mut self, topology: &mut T, event: Event<T>) -> Vec<Action<T>> {
        topology.handle(event, &mut Context::new(self, Lane::default()));
        core::mem::take(&mut self.done)
    }

    pub(crate) fn say(&mut self, topology: &mut T, from: Guid, message: T::Message) -> Vec<Action<T>> {
        self.tell(topology, Event::Message { from, message, payload: Bytes::new(), via: Via::Direct })
    }

    /// Answers the last call.
    pub(crate) fn answer(&mut self, topology: &mut T, from: Guid, message: T::Message) -> Vec<Action<T>> {
        let ticket = Ticket(self.tickets);
        self.tell(topology, Event::Reply { ticket, from, message, payload: Bytes::new() })
    }
}

impl<T: Topology> Host<T> for Paper<T> {
    fn place(&self) -> Place {
        self.place
    }
    fn now(&self) -> Time {
        self.now
    }
    fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }
    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }
    fn act(&mut self, _: Lane, action: Action<T>) -> Result<(), Busy> {
        self.done.push(action);
        Ok(())
    }
    fn linked(&self, _: &Guid) -> bool {
        true
    }
    fn facts(&self, _: &Guid) -> Facts {
        Facts::default()
    }
    fn below(&self) -> Option<&dyn Below> {
        Some(&self.ground)
    }
}

pub(crate) fn sent<T: Topology>(actions: Vec<Action<T>>) -> Vec<(Guid, T::Message)> {
    let message = |action| if let Action::Send { to, message, .. } = action { Some((to, message)) } else { None };
    actions.into_iter().filter_map(message).collect()
}

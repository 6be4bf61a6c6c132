//! Peers that come and go by themselves.

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;

use polymorph_core::Time;
use polymorph_core::Topology;
use polymorph_core::engine::AttachError;
use polymorph_core::overlay::Place;

use super::turn::Happening;
use super::{Peer, World};
use crate::churn::Churn;
use crate::mix::{below, happens};
use crate::options::Terms;

/// How many live peers a newcomer is told of.
const SEEDS: usize = 2;
/// How long the place of one who is gone stays empty: longer than any frame or dial that is still on its way to it.
const FALLOW: Duration = Duration::from_secs(900);
/// How often in a tide's period the crowd is counted.
const COUNTS: u32 = 96;

/// Makes what newcomers run.
pub(super) type Make<T> = Box<dyn FnMut(Place) -> T + Send>;

/// Who comes, how long they stay, and whose places they take.
pub(super) struct Coming<T: Topology> {
    terms: Terms,
    make: Make<T>,
    churn: Option<Churn>,
    begun: Time,
    /// How many are there on average.
    crowd: usize,
    /// The places of those who are gone, with the moment from which they may be taken.
    fallow: VecDeque<(Time, u32)>,
}

impl<T: Topology> fmt::Debug for Coming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Coming({:?}, {} places are free)", self.churn, self.fallow.len())
    }
}

impl<T: Topology> World<T> {
    /// Says what newcomers run, and on which terms; nobody comes by this alone.
    pub fn newcomers(&mut self, terms: &Terms, make: impl FnMut(Place) -> T + Send + 'static) {
        let (terms, make, crowd) = (terms.clone(), Box::new(make), self.alive);
        self.coming = Some(Coming { terms, make, churn: None, begun: self.now, crowd, fallow: VecDeque::new() });
    }

    /// Lets everybody come and go from now on, in a steady state; `None` to let all stay who are there. Nothing
    /// happens before [`newcomers`](Self::newcomers) was said.
    ///
    /// The places of those who are gone are taken anew after a while, so that a long run needs no more memory than a
    /// short one: a [`Peer`] then names somebody else, and [`peer`](Self::peer) no longer knows who was there before.
    pub fn churn(&mut self, churn: Option<Churn>) {
        let Some(coming) = self.coming.as_mut() else { return };
        (coming.churn, coming.begun, coming.crowd) = (churn, self.now, self.alive);
        for peer in self.peers().collect::<Vec<_>>() {
            let left = churn.map(|churn| churn.lifetimes.residual(self.draw()));
            self.live_for(peer, left);
        }
        if let Some(tide) = churn.and_then(|churn| churn.tide) {
            self.plan(self.now + tide.period / COUNTS, Happening::Count);
        }
    }

    /// A flash crowd: so many newcomers join at once, each through random peers who are there. Nobody comes before
    /// [`newcomers`](Self::newcomers) was said.
    ///
    /// # Errors
    /// [`AttachError`], as from the engine; and then some are there all the same.
    pub fn flash_crowd(&mut self, count: usize) -> Result<Vec<Peer>, AttachError> {
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            all.extend(self.newcomer()?);
        }
        Ok(all)
    }

    /// Somebody's time is over: it goes, and another comes in its stead.
    pub(super) fn depart(&mut self, number: u32, at: Time) {
        if self.nodes[number as usize].dies != at {
            return;
        }
        let Some(churn) = self.coming.as_ref().and_then(|coming| coming.churn) else { return };
        self.go(Peer(number), churn.graceful);
        // The tide sees to the crowd where there is one.
        if churn.tide.is_none() {
            let _ = self.newcomer();
        }
    }

    fn go(&mut self, peer: Peer, graceful: f64) {
        if happens(self.draw(), graceful) {
            self.leave(peer);
        } else {
            self.crash(peer);
        }
    }

    /// Brings the crowd to what it should be at this hour.
    pub(super) fn count_crowd(&mut self) {
        let Some(coming) = self.coming.as_ref() else { return };
        let Some((churn, tide)) = coming.churn.and_then(|churn| churn.tide.map(|tide| (churn, tide))) else { return };
        let wanted = tide.crowd(coming.crowd, self.now.since(coming.begun)).max(1);
        while self.alive < wanted {
            if !matches!(self.newcomer(), Ok(Some(_))) {
                break;
            }
        }
        while self.alive > wanted {
            let Some(peer) = self.somebody() else { break };
            self.go(peer, churn.graceful);
        }
        self.plan(self.now + tide.period / COUNTS, Happening::Count);
    }

    fn newcomer(&mut self) -> Result<Option<Peer>, AttachError> {
        let Some(mut coming) = self.coming.take() else { return Ok(None) };
        let seeds: Vec<Peer> = (0..SEEDS).filter_map(|_| self.somebody()).collect();
        let ripe = coming.fallow.front().filter(|(from, _)| *from <= self.now).copied();
        let peer = match ripe {
            Some((_, number)) if self.is_forgotten(number) => {
                coming.fallow.pop_front();
                self.settle_in(number)
            }
            // Somebody still holds a wire to the one who was there: its turn comes later.
            Some((_, number)) => {
                coming.fallow.pop_front();
                coming.fallow.push_back((self.now + FALLOW, number));
                self.spawn()
            }
            None => self.spawn(),
        };
        let attached = self.attach(peer, &coming.terms, &mut coming.make);
        let life = coming.churn.map(|churn| churn.lifetimes.whole(self.draw()));
        self.coming = Some(coming);
        attached?;
        self.live_for(peer, life);
        self.join(peer, &seeds);
        Ok(Some(peer))
    }

    /// Whether nobody holds a wire any longer to one who is gone.
    fn is_forgotten(&mut self, number: u32) -> bool {
        let wires = &self.wires;
        let left = &mut self.nodes[number as usize].wires;
        left.retain(|&id| wires.get(id).is_some());
        left.is_empty()
    }

    fn live_for(&mut self, peer: Peer, span: Option<Duration>) {
        let dies = span.map_or(Time::MAX, |span| self.now + span);
        self.nodes[peer.index()].dies = dies;
        if span.is_some() {
            self.plan(dies, Happening::Depart(peer.0));
        }
    }

    /// Somebody who is there, drawn evenly.
    fn somebody(&mut self) -> Option<Peer> {
        if self.alive == 0 {
            return None;
        }
        loop {
            let peer = Peer(below(self.draw(), self.nodes.len() as u64) as u32);
            if self.is_alive(peer) {
                return Some(peer);
            }
        }
    }

    /// Notes that a place will be free, where newcomers take places.
    pub(super) fn lie_fallow(&mut self, number: u32) {
        if let Some(coming) = self.coming.as_mut() {
            coming.fallow.push_back((self.now + FALLOW, number));
        }
    }
}

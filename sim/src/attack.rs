//! Attackers: peers that reach others only through what they say on their wires.
//!
//! Under an [`Attacker`] runs an honest engine with an honest topology, so that it shakes hands, keeps its sessions
//! and stands in tables like everybody else. Every frame it hears and says passes through the attacker's hands, which
//! may drop it, change it, or say more. It knows no private table of anybody; what it knows is what it heard. So an
//! attacker works against any topology, also one that nobody here has seen.

pub mod damage;
mod deed;
mod drawn;

use core::fmt;

use polymorph_core::wire::Frame;
use polymorph_core::{Guid, Time, Topology};

use crate::mix::{below, mix};
pub use drawn::{Assault, Attack, BadAttack, Kind};

/// What becomes of a frame in an attacker's hands.
pub enum Fate<T: Topology> {
    /// It goes on, perhaps changed.
    Pass(Frame<T>),
    /// Bytes of its length go on that are no frame. What an attacker hears of it is nothing.
    Spoil(Frame<T>),
    /// Nobody sees it.
    Drop,
}

impl<T: Topology> fmt::Debug for Fate<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass(_) => "Pass",
            Self::Spoil(_) => "Spoil",
            Self::Drop => "Drop",
        })
    }
}

/// Where an attacker stands at the moment.
#[derive(Debug)]
pub struct Scene<T: Topology> {
    /// Itself.
    pub me: Guid,
    /// The peer at the other end of the wire.
    pub other: Guid,
    /// The present moment.
    pub now: Time,
    /// Its own tag of the frame's overlay on this wire; 0 for the session.
    pub tag: u32,
    /// What it says besides, to the peer at the other end, after the frame in hand.
    pub more: Vec<Frame<T>>,
    pub(crate) draw: u64,
}

impl<T: Topology> Scene<T> {
    /// A number below `bound`, drawn from the world's seed; 0 if `bound` is 0.
    pub fn pick(&mut self, bound: usize) -> usize {
        self.draw = mix(self.draw, 1);
        below(self.draw, bound as u64) as usize
    }
}

/// What a bad peer makes of what it hears and says. Both ways are honest unless written.
pub trait Attacker<T: Topology>: Send {
    /// A frame came from the other end; what the engine underneath is to see of it.
    fn hears(&mut self, frame: Frame<T>, scene: &mut Scene<T>) -> Fate<T> {
        let _ = scene;
        Fate::Pass(frame)
    }

    /// The engine underneath says something; what goes on the wire.
    fn says(&mut self, frame: Frame<T>, scene: &mut Scene<T>) -> Fate<T> {
        let _ = scene;
        Fate::Pass(frame)
    }
}

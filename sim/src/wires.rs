//! The wires of a world: reliable, in order, each between two peers.

use polymorph_core::Time;
use polymorph_core::engine::io::ConnId;

use crate::slab::Slab;

/// One wire. End 0 dialed, end 1 was dialed.
#[derive(Debug)]
pub(crate) struct Wire {
    /// How many wires were made before: no two of a world have the same.
    made: u32,
    /// Who is at each end.
    pub(crate) ends: [u32; 2],
    /// Whether that end still holds the wire for good.
    pub(crate) open: [bool; 2],
    /// When the last thing sent from that end arrives: nothing overtakes it.
    busy: [Time; 2],
    /// One way, in nanoseconds.
    pub(crate) latency: u64,
}

impl Wire {
    /// When something sent now from this end arrives at the other.
    pub(crate) fn arrival(&mut self, now: Time, end: End) -> Time {
        let at = Time(now.0.saturating_add(self.latency)).max(self.busy[end.index()]);
        self.busy[end.index()] = at;
        at
    }
}

/// Which end of a wire.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum End {
    #[default]
    Dialing,
    Dialed,
}

impl End {
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    pub(crate) fn other(self) -> Self {
        if self == Self::Dialing { Self::Dialed } else { Self::Dialing }
    }
}

/// Names a wire for as long as it lasts, and nothing afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct WireId {
    at: u32,
    made: u32,
}

impl WireId {
    /// What an engine calls its end of the wire: the world finds the wire, and so the peer, without a look-up.
    pub(crate) fn conn(self, end: End) -> ConnId {
        ConnId(u64::from(self.made) << 33 | u64::from(self.at) << 1 | end.index() as u64)
    }

    pub(crate) fn of(conn: ConnId) -> (Self, End) {
        let end = if conn.0 & 1 == 0 { End::Dialing } else { End::Dialed };
        (Self { at: (conn.0 >> 1) as u32, made: (conn.0 >> 33) as u32 }, end)
    }
}

/// All wires.
#[derive(Debug)]
pub(crate) struct Wires {
    cells: Slab<Wire>,
    made: u32,
}

impl Wires {
    pub(crate) const fn new() -> Self {
        Self { cells: Slab::new(), made: 0 }
    }

    /// How many last, those half closed included.
    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.cells.bytes()
    }

    pub(crate) fn connect(&mut self, dialing: u32, dialed: u32, latency: u64) -> WireId {
        // 31 bits have room in a connection's number; 2·10^9 wires later old names have long been forgotten.
        self.made = (self.made + 1) & (u32::MAX >> 1);
        let wire = Wire { made: self.made, ends: [dialing, dialed], open: [true; 2], busy: [Time::ZERO; 2], latency };
        WireId { at: self.cells.insert(wire), made: self.made }
    }

    pub(crate) fn get(&self, id: WireId) -> Option<&Wire> {
        self.cells.get(id.at).filter(|wire| wire.made == id.made)
    }

    pub(crate) fn get_mut(&mut self, id: WireId) -> Option<&mut Wire> {
        self.cells.get_mut(id.at).filter(|wire| wire.made == id.made)
    }

    /// Whether this end is still open.
    pub(crate) fn is_open(&self, id: WireId, end: End) -> bool {
        self.get(id).is_some_and(|wire| wire.open[end.index()])
    }

    /// Closes one end; with the second the wire is gone. `false` if it was closed.
    pub(crate) fn close(&mut self, id: WireId, end: End) -> bool {
        let Some(wire) = self.get_mut(id) else { return false };
        let was = core::mem::replace(&mut wire.open[end.index()], false);
        if wire.open == [false; 2] {
            self.cells.take(id.at);
        }
        was
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overtakes_what_was_sent_before_it() {
        let mut wires = Wires::new();
        let id = wires.connect(0, 1, 100);
        let wire = wires.get_mut(id).unwrap();
        assert_eq!(wire.arrival(Time(50), End::Dialing), Time(150));
        wire.latency = 10;
        assert_eq!(wire.arrival(Time(60), End::Dialing), Time(150));
        assert_eq!(wire.arrival(Time(60), End::Dialed), Time(70), "each way has a line of its own");
    }

    #[test]
    fn a_name_means_nothing_once_its_wire_is_gone() {
        let mut wires = Wires::new();
        let id = wires.connect(3, 4, 1);
        assert_eq!(WireId::of(id.conn(End::Dialed)), (id, End::Dialed));
        assert_eq!(WireId::of(id.conn(End::Dialing)), (id, End::Dialing));
        assert!(wires.close(id, End::Dialing));
        assert!(!wires.close(id, End::Dialing));
        assert!(wires.is_open(id, End::Dialed));
        assert!(wires.close(id, End::Dialed));
        let next = wires.connect(5, 6, 1);
        assert!(wires.get(id).is_none());
        assert_ne!(next.conn(End::Dialed), id.conn(End::Dialed));
        assert_eq!(wires.len(), 1);
    }
}

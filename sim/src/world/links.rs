//! Frames on their way: the sender's access line, the wire, the receiver's access line; and what holds them up.

use core::time::Duration;

use polymorph_core::engine::io::{Class, ConnId, Input};
use polymorph_core::wire::{self, Frame};
use polymorph_core::{Guid, Topology};

use super::turn::Happening;
use super::{Peer, World};
use crate::mix::below;
use crate::options::Codec;
use crate::pipes::Bandwidth;
use crate::trace::What;
use crate::traffic::kind;
use crate::wires::{End, WireId};

/// A frame on its way.
#[derive(Debug)]
pub(super) struct Flight<T: Topology> {
    from: u32,
    to: u32,
    wire: WireId,
    /// The sender's end of it.
    end: End,
    /// By how much its sender's queue is shorter when it is through.
    charge: u32,
    frame: Frame<T>,
    /// Its bytes decode no longer.
    spoiled: bool,
}

/// A frame as it is handed to a wire.
#[derive(Debug)]
pub(super) struct Parcel<T: Topology> {
    pub(super) frame: Frame<T>,
    /// By how much its sender's queue is shorter when it is through.
    pub(super) charge: u32,
    /// Whether its bytes decode no longer.
    pub(super) spoiled: bool,
}

/// A piece of a frame between two access lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Landing {
    flight: u32,
    to: u32,
    wire: WireId,
    end: End,
    bytes: u32,
    /// Whether the frame is complete with it.
    last: bool,
}

/// What a packet carries.
const PACKET: usize = 1200;
/// How long a receiver may take to acknowledge (RFC 9000, §18.2, `max_ack_delay`).
const ACK_DELAY: u64 = 25_000_000;
/// A wire over which one packet is lost so often in a row would have been given up.
const MAX_RESENT: u32 = 10;

impl<T: Topology> World<T> {
    /// Gives a peer an access line of its own, instead of that of [`Options`](crate::Options::bandwidth).
    pub fn set_bandwidth(&mut self, peer: Peer, bandwidth: Bandwidth) {
        self.pipes.set(peer.0, bandwidth);
    }

    pub(super) fn send(&mut self, from: u32, to: Guid, conn: ConnId, frame: Frame<T>) {
        let charge = frame.charge();
        if self.attackers.is_empty() {
            return self.put(from, to, conn, Parcel { frame, charge, spoiled: false });
        }
        self.say(from, to, conn, frame, charge);
    }

    /// Puts a frame on a wire.
    pub(super) fn put(&mut self, from: u32, to: Guid, conn: ConnId, parcel: Parcel<T>) {
        let Parcel { frame, charge, spoiled } = parcel;
        let (id, end) = WireId::of(conn);
        let bytes = frame.wire_len();
        self.traffic.count(kind(&frame.body), bytes);
        let Some(wire) = self.wires.get(id).filter(|wire| wire.open[end.index()]) else {
            // The engine has not heard yet that the wire is gone.
            self.drained.push((to, conn, charge));
            let to = self.directory.open().number(&to).unwrap_or(u32::MAX);
            let flight = self.flights.insert(Flight { from, to, wire: id, end, charge, frame, spoiled });
            self.plan(self.now, Happening::Return(flight));
            return;
        };
        let receiver = wire.ends[end.other().index()];
        let class = frame.class();
        let flight = self.flights.insert(Flight { from, to: receiver, wire: id, end, charge, frame, spoiled });
        let size = self.packed(bytes);
        if let Some(pipe) = self.pipes.up(from, self.options.bandwidth) {
            pipe.push(id, end, class, flight, size);
            return self.pump_up(from);
        }
        if charge > 0 {
            self.drained.push((to, conn, charge));
        }
        self.set_out(Landing { flight, to: receiver, wire: id, end, bytes: size, last: true });
    }

    /// Bytes on the line: those of the frame, and again those that are lost or come twice.
    fn packed(&self, bytes: usize) -> u32 {
        let (lost, twice) = (self.options.loss.clamp(0.0, 0.99), self.options.duplicates.clamp(0.0, 1.0));
        if lost == 0.0 && twice == 0.0 {
            return bytes as u32;
        }
        (bytes as f64 * (1.0 + lost / (1.0 - lost) + twice)) as u32
    }

    fn pump_up(&mut self, peer: u32) {
        if let Some(span) = self.pipes.start_up(peer) {
            self.plan(self.now + span, Happening::Sent(peer));
        }
    }

    fn pump_down(&mut self, peer: u32) {
        if let Some(span) = self.pipes.start_down(peer) {
            self.plan(self.now + span, Happening::Received(peer));
        }
    }

    /// A piece is through the sender's access line.
    pub(super) fn sent(&mut self, peer: u32) {
        let piece = self.pipes.done_up(peer);
        self.pump_up(peer);
        let Some(piece) = piece else { return };
        let flight = self.flights.get(piece.flight).map(|flight| (flight.to, flight.charge));
        if let Some((to, charge)) = flight {
            let (flight, bytes, last) = (piece.flight, piece.bytes, piece.last);
            self.set_out(Landing { flight, to, wire: piece.wire, end: piece.end, bytes, last });
            if last {
                self.drained.push((self.nodes[to as usize].guid, piece.wire.conn(piece.end), charge));
                self.settle(peer);
            }
        }
        if piece.close {
            self.hang_up(piece.wire, piece.end);
        }
    }

    /// A piece leaves for the receiver.
    fn set_out(&mut self, landing: Landing) {
        let limited = self.pipes.limits(landing.to, self.options.bandwidth);
        if !landing.last && !limited {
            // Only the last one matters.
            return;
        }
        let from = self.wires.get(landing.wire).map(|wire| wire.ends[landing.end.index()]);
        let late = from.map_or(Duration::ZERO, |from| self.misfortune(from, landing.to, landing.bytes as usize));
        let now = self.now + late;
        let at = self.wires.get_mut(landing.wire).map_or(now, |wire| wire.arrival(now, landing.end));
        if limited {
            let piece = self.landings.insert(landing);
            self.plan(at, Happening::Land(piece));
        } else {
            self.plan(at, Happening::Arrive(landing.flight));
        }
    }

    /// By how much so many bytes are late: what jitter, lost packets and a clogged link cost on a reliable stream.
    pub(super) fn misfortune(&mut self, from: u32, to: u32, bytes: usize) -> Duration {
        let clogged = self.faults.clogged(from, to).since(self.now);
        let (jitter, loss) = (self.options.jitter, self.options.loss.clamp(0.0, 0.99));
        let mut late = 0;
        if !jitter.is_zero() {
            late += below(self.draw(), u64::try_from(jitter.as_nanos()).unwrap_or(u64::MAX));
        }
        if loss > 0.0 {
            let timeout = 3 * self.nanos(from, to) + ACK_DELAY;
            let resent = resent(self.draw(), loss, bytes.div_ceil(PACKET));
            late += timeout.saturating_mul((1 << resent) - 1);
        }
        clogged + Duration::from_nanos(late)
    }

    /// One way between two peers, in nanoseconds: that of the world, and slower for slow ones.
    pub(super) fn nanos(&self, a: u32, b: u32) -> u64 {
        self.options.latency.nanos(self.options.seed, a, b).saturating_mul(self.faults.slowness(a, b))
    }

    /// A piece reaches the receiver's access line.
    pub(super) fn land(&mut self, at: u32) {
        let Some(landing) = self.landings.get(at).copied() else { return };
        if self.nodes[landing.to as usize].engine.is_none() {
            self.landings.take(at);
            if landing.last {
                self.arrive(landing.flight);
            }
            return;
        }
        let Landing { to, wire, end, bytes, .. } = landing;
        match self.pipes.down(to, self.options.bandwidth) {
            Some(pipe) => pipe.push(wire, end, Class::Control, at, bytes),
            None => return self.landed(at),
        }
        self.pump_down(to);
    }

    /// A piece is through the receiver's access line.
    pub(super) fn received_piece(&mut self, peer: u32) {
        let piece = self.pipes.done_down(peer);
        self.pump_down(peer);
        let Some(piece) = piece else { return };
        if piece.last {
            self.landed(piece.flight);
        }
        if piece.close {
            self.lose(piece.wire, piece.end.other());
        }
    }

    /// The far end of a wire closed it: that is learned after all that was sent before.
    pub(super) fn hear_the_last(&mut self, wire: WireId, end: End) {
        let Some(me) = self.wires.get(wire).map(|wire| wire.ends[end.index()]) else { return };
        if !self.pipes.lose_after(me, wire, end.other()) {
            self.lose(wire, end);
        }
    }

    fn landed(&mut self, at: u32) {
        if let Some(landing) = self.landings.take(at).filter(|landing| landing.last) {
            self.arrive(landing.flight);
        }
    }

    /// A peer is gone: what it had not sent yet is lost, and what had not come through to it goes back.
    pub(super) fn silence_pipes(&mut self, peer: u32) {
        let (up, down) = self.pipes.remove(peer);
        for flight in up {
            self.flights.take(flight);
        }
        for landing in down {
            self.landed(landing);
        }
    }

    pub(super) fn arrive(&mut self, at: u32) {
        let Some(flight) = self.flights.take(at) else { return };
        let (from, to) = (flight.from, flight.to);
        let end = flight.end.other();
        if !self.wires.is_open(flight.wire, end) || self.faults.separated(from, to) {
            let back = self.now + self.latency(Peer(to), Peer(from));
            let flight = self.flights.insert(flight);
            return self.plan(back, Happening::Return(flight));
        }
        if self.faults.swallows(to, &flight.frame) {
            return;
        }
        let (peer, conn) = (self.nodes[from as usize].guid, flight.wire.conn(end));
        if flight.spoiled {
            return self.feed(to, Input::Malformed { peer, conn });
        }
        let frame = match self.options.codec {
            Codec::Typed => flight.frame,
            Codec::Encoded => recode(&flight.frame),
        };
        let kind = kind(&frame.body) as u64;
        let size = (frame.contacts.len() as u64) << 32 | frame.payload.len() as u64;
        self.trace.note(self.now, to, What::Frame, from, kind, size);
        self.nodes[to as usize].received += 1;
        let heard = if self.attackers.is_empty() { Some(frame) } else { self.hear(to, peer, conn, frame) };
        if let Some(frame) = heard {
            self.feed(to, Input::Frame { peer, conn, frame });
        }
    }

    /// A frame could not be delivered: its sender gets it back, and learns that the wire is of no use.
    pub(super) fn come_back(&mut self, at: u32) {
        let Some(Flight { from, to, wire, end, frame, .. }) = self.flights.take(at) else { return };
        let Some(peer) = self.nodes.get(to as usize).map(|node| node.guid) else { return };
        self.trace.note(self.now, from, What::Undelivered, to, kind(&frame.body) as u64, frame.payload.len() as u64);
        self.feed(from, Input::Undelivered { peer, frame });
        self.lose(wire, end);
    }
}

/// How often the unluckiest of so many packets is sent again: the least number that is exceeded by none of them with
/// the probability drawn.
fn resent(draw: u64, loss: f64, packets: usize) -> u32 {
    let draw = (draw >> 11) as f64 / (1u64 << 53) as f64;
    let mut beyond = loss;
    for times in 0..MAX_RESENT {
        if draw < libm::pow(1.0 - beyond, packets.max(1) as f64) {
            return times;
        }
        beyond *= loss;
    }
    MAX_RESENT
}

/// A frame as its receiver reads it. What an engine encodes, it must be able to decode, and the size by which frames
/// are counted must be the size they have.
fn recode<T: Topology>(frame: &Frame<T>) -> Frame<T> {
    let bytes = wire::encode(frame);
    // Contacts of less than 128 bytes are counted with a byte too many.
    let counted = frame.wire_len();
    assert!((counted - frame.contacts.len()..=counted).contains(&bytes.len()), "{frame:?} is counted at its size");
    let mut stream = bytes::BytesMut::from(bytes);
    let whole = wire::cut(&mut stream).ok().flatten().expect("a whole frame was encoded");
    wire::decode(whole).expect("an encoded frame decodes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::mix;

    #[test]
    fn a_packet_is_sent_again_as_often_as_it_is_lost_and_many_are_unluckier_than_one() {
        let again = |packets| (0..100_000).map(|i| f64::from(resent(mix(9, i), 0.1, packets))).sum::<f64>() / 1e5;
        // One packet: 0.1 + 0.01 + …
        assert!((again(1) - 1.0 / 9.0).abs() < 0.005, "{}", again(1));
        // Of ten packets at least one is lost with 1 − 0.9¹⁰ = 0.651, and so on.
        let ten: f64 = (1..12).map(|n| 1.0 - (1.0 - 0.1f64.powi(n)).powi(10)).sum();
        assert!((again(10) - ten).abs() < 0.01, "{} and not {ten}", again(10));
        assert_eq!(resent(u64::MAX, 0.99, 1_000_000), MAX_RESENT);
    }
}

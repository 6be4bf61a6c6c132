//! What a peer's access line carries in a second: one pipe up and one down, each shared by all its wires.
//!
//! A pipe serves its lines (one for each wire) in turn, a piece of a frame at a time, so that two flows get half each
//! however long their queues are. Within a line the frames of the most urgent class go first, but no frame is
//! interrupted by another of its own line: a wire is one stream.

use core::time::Duration;
use std::collections::VecDeque;

use hashbrown::HashMap;
use polymorph_core::engine::io::Class;

use crate::wires::{End, WireId};

/// How much of a frame goes at once: 11 ms at 1.5 MB/s, and few events for large frames.
const PIECE: u32 = 16 * 1024;

/// What a peer's access line carries, in bytes each second; `None` for no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bandwidth {
    /// Towards others.
    pub up: Option<u64>,
    /// From others.
    pub down: Option<u64>,
}

/// A frame that waits for its turn.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    class: Class,
    flight: u32,
    left: u32,
}

#[derive(Debug)]
struct Line {
    wire: WireId,
    /// The sending end.
    end: End,
    frames: VecDeque<Waiting>,
    /// Whether a piece of the first frame set out.
    begun: bool,
    /// Whether the wire is to be closed when everything is through.
    closing: bool,
}

/// A piece of a frame that went through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    pub(crate) wire: WireId,
    pub(crate) end: End,
    pub(crate) flight: u32,
    pub(crate) bytes: u32,
    /// Whether the frame is through.
    pub(crate) last: bool,
    /// Whether the wire is to be closed now.
    pub(crate) close: bool,
}

/// One direction of an access line.
#[derive(Debug)]
pub(crate) struct Pipe {
    rate: u64,
    lines: VecDeque<Line>,
    /// Whether a piece of the first line is on its way through.
    busy: bool,
}

impl Pipe {
    pub(crate) fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), lines: VecDeque::new(), busy: false }
    }

    /// Puts a frame, or a piece of one, behind those of its class on its wire.
    pub(crate) fn push(&mut self, wire: WireId, end: End, class: Class, flight: u32, bytes: u32) {
        let waiting = Waiting { class, flight, left: bytes.max(1) };
        let at = self.lines.iter().position(|line| line.wire == wire && line.end == end).unwrap_or_else(|| {
            self.lines.push_back(Line { wire, end, frames: VecDeque::new(), begun: false, closing: false });
            self.lines.len() - 1
        });
        let line = &mut self.lines[at];
        let begun = usize::from(line.begun);
        let behind = line.frames.iter().skip(begun).position(|other| other.class > class);
        line.frames.insert(behind.map_or(line.frames.len(), |ahead| begun + ahead), waiting);
    }

    /// If the pipe is idle and something waits, a piece of it sets out: how long that takes.
    pub(crate) fn start(&mut self) -> Option<Duration> {
        if self.busy {
            return None;
        }
        let line = self.lines.front_mut()?;
        let first = line.frames.front()?;
        (self.busy, line.begun) = (true, true);
        let nanos = u128::from(first.left.min(PIECE)) * 1_000_000_000 / u128::from(self.rate);
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// The piece is through: the next line's turn.
    pub(crate) fn done(&mut self) -> Option<Piece> {
        if !core::mem::take(&mut self.busy) {
            return None;
        }
        let mut line = self.lines.pop_front()?;
        // Its wire may have broken meanwhile.
        let frame = line.frames.front_mut()?;
        let bytes = frame.left.min(PIECE);
        frame.left -= bytes;
        let (flight, last) = (frame.flight, frame.left == 0);
        if last {
            line.frames.pop_front();
            line.begun = false;
        }
        let close = line.closing && line.frames.is_empty();
        let piece = Piece { wire: line.wire, end: line.end, flight, bytes, last, close };
        if !line.frames.is_empty() {
            self.lines.push_back(line);
        }
        Some(piece)
    }

    /// Whether frames of a wire wait here, which is then closed when they are through.
    pub(crate) fn close_after(&mut self, wire: WireId, end: End) -> bool {
        let line = self.lines.iter_mut().find(|line| line.wire == wire && line.end == end);
        line.map(|line| line.closing = true).is_some()
    }

    /// A wire is gone: what waited for it comes out.
    pub(crate) fn abandon(&mut self, wire: WireId, end: End) -> Vec<u32> {
        let Some(at) = self.lines.iter().position(|line| line.wire == wire && line.end == end) else {
            return Vec::new();
        };
        let gone = self.lines[at].frames.drain(..).map(|frame| frame.flight).collect();
        // The line whose piece is on its way through stays until that is.
        if !(self.busy && at == 0) {
            self.lines.remove(at);
        }
        gone
    }

    /// Everything that waits.
    pub(crate) fn flights(&self) -> impl Iterator<Item = u32> + '_ {
        self.lines.iter().flat_map(|line| &line.frames).map(|frame| frame.flight)
    }

    /// Whether nothing waits and nothing is on its way through.
    pub(crate) fn is_idle(&self) -> bool {
        !self.busy && self.lines.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        let frames: usize = self.lines.iter().map(|line| line.frames.capacity()).sum();
        size_of::<Self>() + self.lines.capacity() * size_of::<Line>() + frames * size_of::<Waiting>()
    }
}

/// The access lines of all peers. Those without limits have none, and idle ones take no memory.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    own: HashMap<u32, Bandwidth>,
    up: HashMap<u32, Pipe>,
    down: HashMap<u32, Pipe>,
}

impl Pipes {
    pub(crate) fn set(&mut self, peer: u32, bandwidth: Bandwidth) {
        self.own.insert(peer, bandwidth);
    }

    fn of(&self, peer: u32, all: Bandwidth) -> Bandwidth {
        if self.own.is_empty() { all } else { self.own.get(&peer).copied().unwrap_or(all) }
    }

    /// The pipe up, if what a peer sends is limited.
    pub(crate) fn up(&mut self, peer: u32, all: Bandwidth) -> Option<&mut Pipe> {
        let rate = self.of(peer, all).up?;
        Some(self.up.entry(peer).or_insert_with(|| Pipe::new(rate)))
    }

    /// The pipe down, if what a peer receives is limited.
    pub(crate) fn down(&mut self, peer: u32, all: Bandwidth) -> Option<&mut Pipe> {
        let rate = self.of(peer, all).down?;
        Some(self.down.entry(peer).or_insert_with(|| Pipe::new(rate)))
    }

    /// Whether what a peer receives is limited.
    pub(crate) fn limits(&self, peer: u32, all: Bandwidth) -> bool {
        self.of(peer, all).down.is_some()
    }

    pub(crate) fn start_up(&mut self, peer: u32) -> Option<Duration> {
        self.up.get_mut(&peer)?.start()
    }

    pub(crate) fn start_down(&mut self, peer: u32) -> Option<Duration> {
        self.down.get_mut(&peer)?.start()
    }

    pub(crate) fn done_up(&mut self, peer: u32) -> Option<Piece> {
        done(&mut self.up, peer)
    }

    pub(crate) fn done_down(&mut self, peer: u32) -> Option<Piece> {
        done(&mut self.down, peer)
    }

    /// Whether something waits for a wire, which is then closed after it.
    pub(crate) fn close_after(&mut self, peer: u32, wire: WireId, end: End) -> bool {
        self.up.get_mut(&peer).is_some_and(|pipe| pipe.close_after(wire, end))
    }

    /// The same for what a peer has yet to receive.
    pub(crate) fn lose_after(&mut self, peer: u32, wire: WireId, end: End) -> bool {
        self.down.get_mut(&peer).is_some_and(|pipe| pipe.close_after(wire, end))
    }

    pub(crate) fn abandon(&mut self, peer: u32, wire: WireId, end: End) -> Vec<u32> {
        self.up.get_mut(&peer).map(|pipe| pipe.abandon(wire, end)).unwrap_or_default()
    }

    /// What waited for a peer that is gone: frames up, pieces down.
    pub(crate) fn remove(&mut self, peer: u32) -> (Vec<u32>, Vec<u32>) {
        let [up, down] = [self.up.remove(&peer), self.down.remove(&peer)];
        self.own.remove(&peer);
        let all = |pipe: Option<Pipe>| pipe.map(|pipe| pipe.flights().collect()).unwrap_or_default();
        (all(up), all(down))
    }

    pub(crate) fn bytes(&self) -> usize {
        let lines = self.up.values().chain(self.down.values()).map(Pipe::bytes).sum::<usize>();
        lines + (self.up.capacity() + self.down.capacity()) * 8 + self.own.capacity() * size_of::<Bandwidth>()
    }
}

fn done(pipes: &mut HashMap<u32, Pipe>, peer: u32) -> Option<Piece> {
    let pipe = pipes.get_mut(&peer)?;
    let piece = pipe.done();
    if pipe.is_idle() {
        pipes.remove(&peer);
    }
    piece
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wires::Wires;

    /// Lets everything through and notes when each frame was, in milliseconds.
    fn drain(pipe: &mut Pipe) -> Vec<(u32, u64)> {
        let (mut now, mut through) = (Duration::ZERO, Vec::new());
        while let Some(span) = pipe.start() {
            now += span;
            let piece = pipe.done().expect("a piece was on its way");
            if piece.last {
                through.push((piece.flight, now.as_millis() as u64));
            }
        }
        assert!(pipe.is_idle());
        through
    }

    #[test]
    fn two_lines_get_half_each_and_the_rest_gets_all_once_one_is_empty() {
        let mut wires = Wires::new();
        let (one, two) = (wires.connect(0, 1, 0), wires.connect(0, 2, 0));
        let mut pipe = Pipe::new(1_000_000);
        for frame in 0..10 {
            pipe.push(one, End::Dialing, Class::Bulk, frame, 100_000);
        }
        (0..5).for_each(|frame| pipe.push(two, End::Dialing, Class::Bulk, 100 + frame, 100_000));
        let through = drain(&mut pipe);
        let at = |flight| through.iter().find(|(other, _)| *other == flight).expect("it went through").1;
        // Half a megabyte each in the first second, give or take a piece.
        assert!(at(104).abs_diff(1000) < 20 && at(4).abs_diff(1000) < 20, "{through:?}");
        assert_eq!(at(9), 1500);
    }

    #[test]
    fn the_urgent_go_first_but_interrupt_nobody_of_their_own_wire() {
        let mut wires = Wires::new();
        let wire = wires.connect(0, 1, 0);
        let mut pipe = Pipe::new(1_000_000);
        pipe.push(wire, End::Dialing, Class::Bulk, 1, 50_000);
        pipe.push(wire, End::Dialing, Class::Bulk, 2, 50_000);
        pipe.start();
        pipe.push(wire, End::Dialing, Class::Control, 3, 100);
        pipe.done();
        pipe.push(wire, End::Dialing, Class::Deadline, 4, 100);
        let order: Vec<u32> = drain(&mut pipe).into_iter().map(|(flight, _)| flight).collect();
        assert_eq!(order, [1, 3, 4, 2]);
    }

    #[test]
    fn a_broken_wire_gives_back_what_waited_and_holds_up_nobody() {
        let mut wires = Wires::new();
        let (one, two) = (wires.connect(0, 1, 0), wires.connect(0, 2, 0));
        let mut pipe = Pipe::new(1000);
        pipe.push(one, End::Dialing, Class::Bulk, 1, 50_000);
        pipe.push(two, End::Dialing, Class::Bulk, 2, 10);
        pipe.start();
        assert_eq!(pipe.abandon(one, End::Dialing), [1]);
        assert_eq!(pipe.done(), None);
        assert_eq!(drain(&mut pipe).len(), 1);
    }
}

//! The engine without wires and without a runtime: what a routed forward, one more broadcast copy, and putting a frame
//! on the wire cost, and that none of it depends on how large the payload is.
//!
//! Subject and baseline take turns in chunks of some microseconds, and the median of the chunks is printed: a chunk
//! that was interrupted counts as one chunk and no more.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use polymorph::Key;
use polymorph::core::engine::io::{ConnId, Origin, To, Urgency};
use polymorph::core::engine::{Command, Input};
use polymorph::core::topology::erased::Boxed;
use polymorph::core::topology::event::Ticket;
use polymorph::core::topology::question::Target;
use polymorph::core::wire::{self, Body, Frame};

#[path = "support/board.rs"]
mod board;
#[path = "support/relay.rs"]
mod relay;

use board::{Target as Goal, heading, median, row};
use relay::{Lone, link};

/// The payloads that are compared.
const SMALL: usize = 64;
const LARGE: usize = 64 * 1024;
/// How many operations one chunk has.
const CHUNK: usize = 8;
/// Neighbors that get a copy of each broadcast, beside one engine with a single neighbor.
const PEERS: usize = 33;
/// What one more copy may cost, in nanoseconds.
const COPY_GOAL: f64 = 300.0;

fn main() {
    let chunks = if board::in_earnest() { 20_000 } else { 10 };
    heading("engine alone: one core, no wires");
    forwards(chunks);
    copies(chunks / 10);
    heading("wire: one frame's header, 64 B payload beside it");
    codec(chunks);
}

/// Nanoseconds for each operation, chunk by chunk.
#[derive(Default)]
struct Watch(Vec<f64>);

impl Watch {
    fn time<R>(&mut self, operations: usize, work: impl FnOnce() -> R) -> R {
        let begin = Instant::now();
        let result = black_box(work());
        self.0.push(begin.elapsed().as_nanos() as f64 / operations as f64);
        result
    }

    fn each(self) -> f64 {
        median(self.0)
    }
}

fn ns(value: f64) -> String {
    format!("{value:.0} ns")
}

fn payload(len: usize) -> Bytes {
    Bytes::from(vec![5; len])
}

/// A frame as a peer's reader cuts it off: without its length.
fn cut(frame: &Frame<Boxed>) -> Bytes {
    let mut buffer = BytesMut::from(&wire::encode(frame)[..]);
    wire::cut(&mut buffer).expect("a frame").expect("a whole one")
}

/// A notice on its way to whoever owns a key, as it leaves its origin.
fn routed(origin: &mut Lone, len: usize) -> Bytes {
    let to = To::Target(Target::Key(Key::of(b"somewhere")));
    origin.command(Command::Notice {
        ticket: Ticket(1),
        to,
        service: 7,
        urgency: Urgency::Usual,
        payload: payload(len),
    });
    let (_, frame) = origin.sent().next().expect("it is sent");
    cut(&frame)
}

/// What forwards cost with one size of payload, where three next hops are ranked and the first takes it.
struct Forward {
    whole: f64,
    engine: f64,
    floor: f64,
}

fn forwards(chunks: usize) {
    let [small, large] = [SMALL, LARGE].map(|len| forward(chunks, len));
    for (name, cost) in [("64 B", &small), ("64 KiB", &large)] {
        let what = format!("routed forward, {name}: decode, turn, encode");
        row(&what, &ns(cost.whole), &ns(cost.floor), cost.whole / cost.floor, Goal::AtMost(3.0));
        row("  the engine's turn of it", &ns(cost.engine), &ns(cost.floor), cost.engine / cost.floor, Goal::Open);
    }
    let ratio = large.whole / small.whole;
    row("routed forward, 64 KiB beside 64 B", &ns(large.whole), &ns(small.whole), ratio, Goal::AtMost(1.3));
    let per_second = |cost: &Forward| format!("{:.0} k/s", 1e6 / cost.whole);
    row("  forwards a second", &per_second(&small), &per_second(&large), small.whole / large.whole, Goal::Open);
}

fn forward(chunks: usize, len: usize) -> Forward {
    let (mut origin, mut hop) = (Lone::new(), Lone::new());
    let mut ranked = [Lone::new(), Lone::new(), Lone::new()];
    let (from, to) = (ConnId(1), ConnId(10 + ranked.len() as u64));
    link(&mut origin, &mut hop, from);
    (11..).zip(&mut ranked).for_each(|(conn, next)| link(&mut hop, next, ConnId(conn)));
    let bytes = routed(&mut origin, len);
    let (peer, onward) = (origin.guid(), ranked[2].guid());
    let sessions: HashMap<_, _> = (0..64).map(|_| (Lone::new().guid(), ConnId(3))).chain([(onward, to)]).collect();
    let (mut scratch, mut out) = (Vec::new(), BytesMut::new());
    let (mut whole, mut engine, mut floor) = (Watch::default(), Watch::default(), Watch::default());
    for _ in 0..chunks {
        floor.time(CHUNK, || {
            for _ in 0..CHUNK {
                let frame = wire::decode::<Boxed>(black_box(&bytes).clone()).expect("a frame");
                black_box(sessions.get(black_box(&onward)));
                wire::encode_header(&frame, &mut scratch, &mut out);
            }
        });
        out.clear();
        let mut forwarded = 0;
        whole.time(CHUNK, || {
            for _ in 0..CHUNK {
                let frame = wire::decode(black_box(&bytes).clone()).expect("a frame");
                hop.input(Input::Frame { peer, conn: from, frame });
                for (to, frame) in hop.sent() {
                    wire::encode_header(&frame, &mut scratch, &mut out);
                    forwarded += usize::from(to == onward);
                }
            }
        });
        assert_eq!(forwarded, CHUNK);
        out.clear();
        let charge = (CHUNK * (len + 64)) as u32;
        hop.taken(onward, to, charge);
        let frames: Vec<Frame<Boxed>> = (0..CHUNK).map(|_| wire::decode(bytes.clone()).expect("a frame")).collect();
        engine.time(CHUNK, || {
            frames.into_iter().for_each(|frame| hop.input(Input::Frame { peer, conn: from, frame }));
        });
        assert_eq!(hop.sent().filter(|(to, _)| *to == onward).count(), CHUNK);
        hop.taken(onward, to, charge);
        // The credit it gave back was taken by the wire, too.
        hop.input(Input::Drained { peer, conn: from, bytes: u32::MAX });
    }
    Forward { whole: whole.each(), engine: engine.each(), floor: floor.each() }
}

/// What a broadcast costs its origin: the turn, and the turn with the encoding of every copy.
struct Publish {
    turn: f64,
    whole: f64,
}

fn copies(chunks: usize) {
    for (name, len) in [("64 B", SMALL), ("64 KiB", LARGE)] {
        let (one, all) = (publish(chunks, 1, len), publish(chunks, PEERS, len));
        let more = |one: f64, all: f64| (all - one) / (PEERS - 1) as f64;
        let (turn, whole) = (more(one.turn, all.turn), more(one.whole, all.whole));
        let what = format!("one more copy of a broadcast, {name}");
        row(&what, &ns(whole), &ns(COPY_GOAL), whole / COPY_GOAL, Goal::AtMost(1.0));
        row("  the engine's turn of it", &ns(turn), &ns(COPY_GOAL), turn / COPY_GOAL, Goal::Open);
        let rate = format!("{:.2} M/s", 1e3 / whole);
        row("  copies a second", &rate, &format!("{:.2} M/s", 1e3 / COPY_GOAL), COPY_GOAL / whole, Goal::Open);
    }
}

fn publish(chunks: usize, peers: usize, len: usize) -> Publish {
    let mut hub = Lone::new();
    let conns: Vec<_> = (1..=peers as u64).map(ConnId).collect();
    let others: Vec<_> = conns
        .iter()
        .map(|&conn| {
            let mut other = Lone::new();
            link(&mut hub, &mut other, conn);
            (other.guid(), conn)
        })
        .collect();
    let payload = payload(len);
    let (mut scratch, mut out) = (Vec::new(), BytesMut::new());
    let (mut turn, mut whole) = (Watch::default(), Watch::default());
    let (origin, urgency) = (Origin::Claimed, Urgency::Usual);
    let news = |payload: Bytes| Command::Publish { ticket: Ticket(1), topic: None, payload, origin, urgency };
    for _ in 0..chunks {
        turn.time(1, || hub.command(news(payload.clone())));
        let mut charge = 0;
        hub.sent().for_each(|(_, frame)| charge += frame.charge());
        whole.time(1, || {
            hub.command(news(payload.clone()));
            hub.sent().for_each(|(_, frame)| wire::encode_header(&frame, &mut scratch, &mut out));
        });
        out.clear();
        assert_eq!(charge as usize, peers * (len + 64), "each gets a copy");
        let each = charge / peers as u32;
        others.iter().for_each(|&(peer, conn)| hub.taken(peer, conn, 2 * each));
        assert_eq!(hub.sent().count(), 0);
    }
    Publish { turn: turn.each(), whole: whole.each() }
}

/// Frames on the wire, beside the bare codec on three plain numbers.
fn codec(chunks: usize) {
    let (mut origin, mut next) = (Lone::new(), Lone::new());
    link(&mut origin, &mut next, ConnId(1));
    let routed = wire::decode(routed(&mut origin, SMALL)).expect("a frame");
    let (ticket, urgency) = (Ticket(1), Urgency::Usual);
    let news = Command::Publish { ticket, topic: None, payload: payload(SMALL), origin: Origin::Claimed, urgency };
    origin.command(news);
    let (_, copy) = origin.sent().next().expect("a copy");
    let request = Frame {
        tag: 256,
        contacts: Vec::new(),
        body: Body::Request { id: 70_000, service: u32::MAX },
        payload: payload(SMALL),
    };
    for (name, frame) in [("request", request), ("routed notice", routed), ("broadcast copy", copy)] {
        let bytes = cut(&frame);
        let (mut scratch, mut out) = (Vec::new(), BytesMut::new());
        let (mut encode, mut decode) = (Watch::default(), Watch::default());
        let (mut bare_encode, mut bare_decode) = (Watch::default(), Watch::default());
        let plain = (256u32, 70_000u32, u32::MAX);
        let mut slice = [0; 16];
        for _ in 0..chunks {
            encode.time(CHUNK, || {
                (0..CHUNK).for_each(|_| wire::encode_header(black_box(&frame), &mut scratch, &mut out))
            });
            out.clear();
            bare_encode.time(CHUNK, || {
                (0..CHUNK).for_each(|_| drop(black_box(postcard::to_slice(black_box(&plain), &mut slice))));
            });
            decode.time(CHUNK, || (0..CHUNK).for_each(|_| drop(black_box(wire::decode::<Boxed>(bytes.clone())))));
            bare_decode.time(CHUNK, || {
                for _ in 0..CHUNK {
                    let _ = black_box(postcard::from_bytes::<(u32, u32, u32)>(black_box(&slice)));
                }
            });
        }
        let show = |what: &str, ours: Watch, bare: Watch| {
            let (ours, bare) = (ours.each(), bare.each());
            let rate = |nanos: f64| format!("{:.1} M/s", 1e3 / nanos);
            row(&format!("{name}, {what}"), &rate(ours), &rate(bare), bare / ours, Goal::Open);
        };
        show("encoded", encode, bare_encode);
        show("decoded", decode, bare_decode);
    }
}

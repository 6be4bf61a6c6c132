//! Small messages between two nodes over loopback, beside the same bytes over a bare stream.
//!
//! The two ends run on a thread each. Nodes and bare stream take turns, so that a busy machine slows both, and what is
//! printed are medians over the rounds. Where many messages are in flight both wall clock and processor time of both
//! ends together are compared; the latter is what a busy machine leaves alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use polymorph::core::runtime::{OverlayError, Request, ServiceError};
use polymorph::{Guid, Overlay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinSet;

#[path = "support/bare.rs"]
mod bare;
#[path = "support/board.rs"]
mod board;
#[path = "support/end.rs"]
mod end;
#[path = "support/keys.rs"]
mod keys;
#[path = "support/star.rs"]
mod star;

use bare::{Bare, Dialer, Door, Wire};
use board::{Target, median, row};
use end::End;

/// Bytes of a small message.
const SMALL: usize = 64;
/// Bytes of a larger one.
const LARGE: usize = 1024;
/// Tasks that send notices, each waiting until its own is taken.
const SENDERS: usize = 64;
/// What a bare stream is given and asked for at once, in bytes.
const BUFFER: usize = 64 * 1024;

/// How much is measured.
#[derive(Clone, Copy)]
struct Size {
    rounds: usize,
    round_trips: usize,
    requests: usize,
    bare_echoes: usize,
}

fn main() {
    let size = match board::in_earnest() {
        true => Size { rounds: 7, round_trips: 3_000, requests: 200_000, bare_echoes: 2_000_000 },
        false => Size { rounds: 1, round_trips: 20, requests: 2_048, bare_echoes: 2_048 },
    };
    for wire in Wire::BOTH {
        board::heading(&format!("messages over {}: two nodes, beside a bare stream", wire.name()));
        let (near, far) = (End::start("near"), End::start("far"));
        let nodes = Nodes::start(wire, &near, &far);
        let stream = Stream::open(wire, &near, &far);
        sequential(size, &near, &nodes, &stream);
        for in_flight in [64, 1024] {
            requests(size, &near, &far, &nodes, &stream, in_flight);
        }
        for len in [SMALL, LARGE] {
            notices(size, &near, &far, &nodes, &stream, len);
        }
    }
}

/// Two nodes with a session; the far one echoes requests and counts notices.
struct Nodes {
    overlay: Overlay,
    peer: Guid,
    taken: Arc<Taken>,
    _far: Overlay,
}

/// How many notices came.
#[derive(Default)]
struct Taken {
    count: AtomicUsize,
    until: AtomicUsize,
    all: Notify,
}

impl Taken {
    fn one(&self) {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if count == self.until.load(Ordering::Relaxed) {
            self.all.notify_one();
        }
    }
}

impl Nodes {
    fn start(wire: Wire, near: &End, far: &End) -> Self {
        let taken = Arc::new(Taken::default());
        let count = taken.clone();
        let (peer, contact, _far) = far.run(async move {
            let (node, overlay) = star::node(&wire.address()).await;
            let echo = |request: Request| -> Result<Bytes, ServiceError> { Ok(request.payload) };
            overlay.serve("echo", echo).await.expect("it serves");
            let count = move |_: Request| -> Result<Bytes, ServiceError> {
                count.one();
                Ok(Bytes::new())
            };
            overlay.serve("count", count).await.expect("it serves");
            overlay.join(&[]).await.expect("it joins");
            (node.guid(), node.contact(), overlay)
        });
        let overlay = near.run(async move {
            let (_, overlay) = star::node(&wire.address()).await;
            overlay.join(&[contact]).await.expect("it joins");
            overlay.ping(peer).await.expect("the session opens");
            overlay
        });
        Self { overlay, peer, taken, _far }
    }
}

/// A bare stream whose far end echoes, and another whose far end counts.
struct Stream {
    echoes: Shared,
    counted: Shared,
    bytes: Arc<Taken>,
}

type Shared = Arc<tokio::sync::Mutex<Bare>>;

impl Stream {
    fn open(wire: Wire, near: &End, far: &End) -> Self {
        let bytes = Arc::new(Taken::default());
        let count = bytes.clone();
        let door = far.run(async move { Door::open(wire).await });
        let at = door.address();
        far.spawn(async move {
            tokio::spawn(echo(door.accept().await));
            count_bytes(door.accept().await, &count).await;
        });
        let (echoes, counted) = near.run(async move {
            let dialer = Dialer::new(wire);
            let mut ends = Vec::new();
            for _ in 0..2 {
                let mut end = dialer.dial(at).await;
                // QUIC shows a stream only once something was said on it.
                end.send.write_all(&[0; SMALL]).await.expect("it takes the bytes");
                end.send.flush().await.expect("it takes the bytes");
                ends.push(Arc::new(tokio::sync::Mutex::new(end)));
            }
            ends[0].lock().await.recv.read_exact(&mut [0; SMALL]).await.expect("an echo");
            (ends.remove(0), ends.remove(0))
        });
        Self { echoes, counted, bytes }
    }
}

async fn echo(mut bare: Bare) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(len @ 1..) = bare.recv.read(&mut buffer).await {
        if bare.send.write_all(&buffer[..len]).await.is_err() || bare.send.flush().await.is_err() {
            break;
        }
    }
}

async fn count_bytes(mut bare: Bare, taken: &Taken) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(len @ 1..) = bare.recv.read(&mut buffer).await {
        let count = taken.count.fetch_add(len, Ordering::Relaxed) + len;
        let until = taken.until.load(Ordering::Relaxed);
        if count >= until && count - len < until {
            taken.all.notify_one();
        }
    }
}

/// What a stretch of work took: wall clock, and processor time of both ends, in nanoseconds for each message.
struct Cost {
    wall: f64,
    busy: f64,
}

fn cost<F>(near: &End, far: &End, messages: usize, work: F) -> Cost
where
    F: Future<Output = ()> + Send + 'static,
{
    let (busy, begin) = (near.busy() + far.busy(), Instant::now());
    near.run(work);
    let wall = begin.elapsed();
    let busy = near.busy() + far.busy() - busy;
    let each = |time: Duration| time.as_nanos() as f64 / messages as f64;
    Cost { wall: each(wall), busy: each(busy) }
}

fn sequential(size: Size, near: &End, nodes: &Nodes, stream: &Stream) {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..size.rounds {
        let (overlay, peer) = (nodes.overlay.clone(), nodes.peer);
        ours.push(near.run(async move {
            let payload = Bytes::from_static(&[1; SMALL]);
            let mut times = Vec::with_capacity(size.round_trips);
            for _ in 0..size.round_trips {
                let begin = Instant::now();
                overlay.request(peer, "echo", payload.clone()).await.expect("an answer");
                times.push(begin.elapsed().as_nanos() as f64 / 1e3);
            }
            median(times)
        }));
        let end = stream.echoes.clone();
        bare.push(near.run(async move {
            let mut end = end.lock().await;
            let mut times = Vec::with_capacity(size.round_trips);
            for _ in 0..size.round_trips {
                let begin = Instant::now();
                end.send.write_all(&[1; SMALL]).await.expect("it takes the bytes");
                end.send.flush().await.expect("it takes the bytes");
                end.recv.read_exact(&mut [0; SMALL]).await.expect("an echo");
                times.push(begin.elapsed().as_nanos() as f64 / 1e3);
            }
            median(times)
        }));
    }
    let ratio = median(ours.iter().zip(&bare).map(|(ours, bare)| ours / bare));
    let (ours, bare) = (median(ours), median(bare));
    row("64 B round trip, p50", &format!("{ours:.1} us"), &format!("{bare:.1} us"), ratio, Target::AtMost(2.0));
}

fn requests(size: Size, near: &End, far: &End, nodes: &Nodes, stream: &Stream, in_flight: usize) {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..size.rounds {
        let (overlay, peer) = (nodes.overlay.clone(), nodes.peer);
        let each = size.requests / in_flight;
        ours.push(cost(near, far, each * in_flight, async move {
            let mut tasks = JoinSet::new();
            for _ in 0..in_flight {
                let overlay = overlay.clone();
                tasks.spawn(async move {
                    for _ in 0..each {
                        let payload = Bytes::from_static(&[1; SMALL]);
                        overlay.request(peer, "echo", payload).await.expect("an answer");
                    }
                });
            }
            tasks.join_all().await;
        }));
        let end = stream.echoes.clone();
        let echoes = size.bare_echoes;
        bare.push(cost(near, far, echoes, async move { bare_echoes(&mut *end.lock().await, echoes, in_flight).await }));
    }
    let target = if in_flight == 1024 { Target::AtLeast(0.1) } else { Target::Open };
    rates(&format!("64 B requests, {in_flight} in flight"), &ours, &bare, target);
}

/// Whatever came back is sent again, all in one write.
async fn bare_echoes(end: &mut Bare, echoes: usize, in_flight: usize) {
    let (batch, mut buffer) = (vec![2; SMALL * in_flight], vec![0; BUFFER]);
    let (mut sent, mut received) = (0, 0);
    while received < echoes * SMALL {
        let room = (SMALL * in_flight + received - sent).min(echoes * SMALL - sent);
        end.send.write_all(&batch[..room]).await.expect("it takes the bytes");
        end.send.flush().await.expect("it takes the bytes");
        sent += room;
        received += end.recv.read(&mut buffer).await.expect("echoes");
    }
}

/// Two rows: what the wall clock says, and what the processors say.
fn rates(what: &str, ours: &[Cost], bare: &[Cost], target: Target) {
    let rate = |nanos: f64| format!("{:.0} k/s", 1e6 / nanos);
    let walls = median(ours.iter().zip(bare).map(|(ours, bare)| bare.wall / ours.wall));
    let (our, other) = (median(ours.iter().map(|c| c.wall)), median(bare.iter().map(|c| c.wall)));
    row(what, &rate(our), &rate(other), walls, target);
    let busies = median(ours.iter().zip(bare).map(|(ours, bare)| bare.busy / ours.busy));
    let (our, other) = (median(ours.iter().map(|c| c.busy)), median(bare.iter().map(|c| c.busy)));
    row("  processor time each, both ends", &format!("{our:.0} ns"), &format!("{other:.0} ns"), busies, target);
}

fn notices(size: Size, near: &End, far: &End, nodes: &Nodes, stream: &Stream, len: usize) {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..size.rounds {
        let (overlay, peer, taken) = (nodes.overlay.clone(), nodes.peer, nodes.taken.clone());
        let each = size.requests / SENDERS;
        ours.push(cost(near, far, each * SENDERS, async move {
            taken.until.store(taken.count.load(Ordering::Relaxed) + each * SENDERS, Ordering::Relaxed);
            let mut tasks = JoinSet::new();
            for _ in 0..SENDERS {
                let overlay = overlay.clone();
                tasks.spawn(async move {
                    for _ in 0..each {
                        notice(&overlay, peer, len).await;
                    }
                });
            }
            tasks.join_all().await;
            taken.all.notified().await;
        }));
        let (end, counted) = (stream.counted.clone(), stream.bytes.clone());
        let total = size.bare_echoes * SMALL;
        bare.push(cost(near, far, total / len, async move {
            let mut end = end.lock().await;
            counted.until.store(counted.count.load(Ordering::Relaxed) + total, Ordering::Relaxed);
            let batch = vec![2; BUFFER];
            let mut left = total;
            while left > 0 {
                let now = left.min(BUFFER);
                end.send.write_all(&batch[..now]).await.expect("it takes the bytes");
                left -= now;
            }
            end.send.flush().await.expect("it takes the bytes");
            counted.all.notified().await;
        }));
    }
    rates(&format!("{len} B notices, one way"), &ours, &bare, Target::Open);
}

/// Sends one, when the peer takes it.
async fn notice(overlay: &Overlay, peer: Guid, len: usize) {
    static BYTES: [u8; LARGE] = [1; LARGE];
    loop {
        match overlay.notice(peer, "count", Bytes::from_static(&BYTES[..len])).await {
            Ok(()) => return,
            Err(OverlayError::Busy) => {
                // The room may have come before this could be seen: it is never waited for long.
                overlay.writable(peer, Duration::from_millis(5)).await.expect("the node lives");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

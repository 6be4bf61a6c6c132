//! How long it takes from nothing to the first answer: a connection, the proof of both keys, the session's handshake,
//! and one request; beside a bare connection with the same proofs, and one echo over it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use polymorph::core::runtime::{Request, ServiceError};
use polymorph::{Contact, Guid, Overlay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

/// Set-ups in one round: fewer than the sessions a node keeps.
const SETUPS: usize = 40;
/// Bytes of the first request.
const MESSAGE: usize = 64;

fn main() {
    let rounds = if board::in_earnest() { 9 } else { 1 };
    for wire in Wire::BOTH {
        board::heading(&format!("set-up over {}: two nodes, beside a bare connection", wire.name()));
        let (near, far) = (End::start("near"), End::start("far"));
        let (contact, _far) = far.run(async move {
            let (node, overlay) = star::node(&wire.address()).await;
            let echo = |request: Request| -> Result<Bytes, ServiceError> { Ok(request.payload) };
            overlay.serve("echo", echo).await.expect("it serves");
            (node.contact(), overlay)
        });
        let door = far.run(async move { Door::open(wire).await });
        let at = door.address();
        far.spawn(async move {
            loop {
                tokio::spawn(echo(door.accept().await));
            }
        });
        let dialer = Arc::new(near.run(async move { Dialer::new(wire) }));
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let guests = near.run(guests(wire));
            let (contact, dialer) = (contact.clone(), dialer.clone());
            ours.push(cost(&near, &far, async move {
                let mut times = Vec::with_capacity(SETUPS);
                for guest in &guests {
                    times.push(meet(guest, &contact).await);
                }
                (times, guests)
            }));
            bare.push(cost(&near, &far, async move {
                let (mut times, mut held) = (Vec::with_capacity(SETUPS), Vec::with_capacity(SETUPS));
                for _ in 0..SETUPS {
                    let begin = Instant::now();
                    held.push(connect(&dialer, at).await);
                    times.push(begin.elapsed());
                }
                (times, held)
            }));
        }
        let show = |what: &str, of: fn(&Cost) -> f64| {
            let ratio = median(ours.iter().zip(&bare).map(|(ours, bare)| of(ours) / of(bare)));
            let text = |costs: &[Cost]| format!("{:.2} ms", median(costs.iter().map(of)));
            row(what, &text(&ours), &text(&bare), ratio, Target::Open);
        };
        show("connect, prove, first answer, p50", |cost| cost.wall);
        show("  processor time each, both ends", |cost| cost.busy);
    }
}

/// Milliseconds for each set-up.
struct Cost {
    wall: f64,
    busy: f64,
}

/// What is kept of the set-ups is dropped after the measurement.
fn cost<F, K: Send + 'static>(near: &End, far: &End, work: F) -> Cost
where
    F: Future<Output = (Vec<Duration>, K)> + Send + 'static,
{
    let busy = near.busy() + far.busy();
    let (times, kept) = near.run(work);
    let busy = near.busy() + far.busy() - busy;
    near.run(async move { drop(kept) });
    let wall = median(times.iter().map(Duration::as_secs_f64)) * 1e3;
    Cost { wall, busy: busy.as_secs_f64() * 1e3 / SETUPS as f64 }
}

/// Nodes that know nobody yet.
async fn guests(wire: Wire) -> Vec<Overlay> {
    let mut guests = Vec::with_capacity(SETUPS);
    for _ in 0..SETUPS {
        guests.push(star::node(&wire.address()).await.1);
    }
    guests
}

async fn meet(guest: &Overlay, host: &Contact) -> Duration {
    let (peer, payload): (Guid, Bytes) = (host.guid(), Bytes::from_static(&[1; MESSAGE]));
    let begin = Instant::now();
    guest.join(std::slice::from_ref(host)).await.expect("it joins");
    let answer = guest.request(peer, "echo", payload.clone()).await.expect("an answer");
    assert_eq!(answer, payload);
    begin.elapsed()
}

async fn connect(dialer: &Dialer, at: std::net::SocketAddr) -> Bare {
    let mut bare = dialer.dial(at).await;
    bare.send.write_all(&[1; MESSAGE]).await.expect("it takes the bytes");
    bare.send.flush().await.expect("it takes the bytes");
    bare.recv.read_exact(&mut [0; MESSAGE]).await.expect("an echo");
    bare
}

async fn echo(mut bare: Bare) {
    let mut buffer = [0; MESSAGE];
    while let Ok(len @ 1..) = bare.recv.read(&mut buffer).await {
        if bare.send.write_all(&buffer[..len]).await.is_err() || bare.send.flush().await.is_err() {
            break;
        }
    }
}

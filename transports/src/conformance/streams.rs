//! Rules about streams and datagrams.

use futures_util::future::{join_all, poll_immediate};

use super::*;

/// How many bulk streams the rules open at once.
const MANY: usize = 32;
/// What no wire may buffer for a reader that stalls.
const UNREASONABLE: usize = 64 << 20;
/// More than fits into any packet.
const TOO_LARGE: usize = 1 << 17;

/// Control bytes arrive in order, both ways at once, more than any buffer holds; there is one control stream.
pub async fn control_carries_bytes_both_ways_and_is_handed_out_once(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let (dialed, accepted) = pair.connect().await;
    let (one, other) = controls(&*dialed, &*accepted);
    assert!(dialed.take_control().is_none() && accepted.take_control().is_none());
    let (there, back) = (pattern(1, 3_000_000), pattern(2, 2_000_000));
    let Stream { recv: mut one_recv, send: mut one_send } = one;
    let Stream { recv: mut other_recv, send: mut other_send } = other;
    let send_there = async {
        one_send.write_all(&there).await.expect("it takes the bytes");
        one_send.flush().await.expect("it flushes them");
    };
    let send_back = async {
        other_send.write_all(&back).await.expect("it takes the bytes");
        other_send.flush().await.expect("it flushes them");
    };
    let (mut heard_there, mut heard_back) = (vec![0; there.len()], vec![0; back.len()]);
    let all = async {
        tokio::join!(
            send_there,
            send_back,
            other_recv.read_exact(&mut heard_there),
            one_recv.read_exact(&mut heard_back)
        )
    };
    let ((), (), read_there, read_back) = patiently(all).await;
    assert_eq!((read_there.ok(), read_back.ok()), (Some(there.len()), Some(back.len())));
    assert!(heard_there == there && heard_back == back);
}

/// A shutdown is the end of one direction, after its last byte.
pub async fn a_shutdown_is_seen_and_the_other_direction_lives_on(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let (dialed, accepted) = pair.connect().await;
    let (mut one, mut other) = controls(&*dialed, &*accepted);
    one.send.write_all(b"the end").await.expect("it takes the bytes");
    let mut heard = Vec::new();
    let both = async { tokio::join!(one.send.shutdown(), other.recv.read_to_end(&mut heard)) };
    let (shutdown, read) = patiently(both).await;
    shutdown.expect("it shuts down");
    read.expect("a clean end");
    assert_eq!(heard, b"the end");
    carry(&mut other, &mut one, b"still here").await;
}

/// Half a message of a writer that died must not look whole.
pub async fn a_sender_that_is_dropped_leaves_no_clean_end(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let (dialed, accepted) = pair.connect().await;
    let (opened, arrived) = patiently(async { tokio::join!(dialed.open(), accepted.accept()) }).await;
    let (mut opened, mut arrived) = (opened.expect("it opens"), arrived.expect("it arrives"));
    carry(&mut opened, &mut arrived, b"half a mess").await;
    drop(opened.send);
    let read = patiently(arrived.recv.read_to_end(&mut Vec::new())).await;
    assert!(read.is_err(), "a cut is no end");
}

/// The side that dialed can open bulk streams, and both directions of one work.
pub async fn the_dialer_opens_bulk_streams(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let (dialed, accepted) = pair.connect().await;
    for round in 0..3 {
        let both = async { tokio::join!(dialed.open(), accepted.accept()) };
        let (opened, arrived) = patiently(both).await;
        exchange(round, opened.expect("the dialer opens"), arrived.expect("the acceptor gets it")).await;
    }
}

/// The side that accepted can too, or says at once that it cannot.
pub async fn the_acceptor_opens_bulk_streams_or_says_it_cannot(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let (dialed, accepted) = pair.connect().await;
    match patiently(accepted.open()).await {
        Ok(opened) => {
            let arrived = patiently(dialed.accept()).await.expect("the dialer gets it");
            exchange(0, opened, arrived).await;
        }
        Err(TransportError::NotDialable) => {}
        Err(other) => panic!("expected a stream or NotDialable, got {other:?}"),
    }
}

/// The dialer need not wait for the other side's `accept` before it opens streams and speaks.
pub async fn a_stream_opened_before_anybody_accepts_is_kept(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let address = pair.listener.address();
    let dialed = patiently(pair.dialer.dial(&address, Some(pair.wanted()))).await.expect("the dial succeeds");
    let mut opened = patiently(dialed.open()).await.expect("it opens");
    opened.send.write_all(b"early").await.expect("it takes the bytes");
    opened.send.flush().await.expect("it flushes them");
    let accepted = patiently(pair.listener.accept()).await.expect("the peer arrives");
    let arrived = patiently(accepted.accept()).await.expect("the stream arrives");
    let mut heard = [0; 5];
    let mut recv = arrived.recv;
    patiently(recv.read_exact(&mut heard)).await.expect("the bytes arrive");
    assert_eq!(&heard, b"early");
}

/// Streams side by side keep their bytes apart, with control in between.
pub async fn many_bulk_streams_do_not_mix(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let (dialed, accepted) = pair.connect().await;
    let (mut one, mut other) = controls(&*dialed, &*accepted);
    let open = join_all((0..MANY).map(|stream| {
        let dialed = &dialed;
        async move {
            let mut opened = dialed.open().await.expect("it opens");
            let sent = pattern(stream, 50_000 + stream);
            opened.send.write_all(&[stream as u8]).await.expect("it takes the number");
            opened.send.write_all(&sent).await.expect("it takes the bytes");
            opened.send.shutdown().await.expect("it ends");
            let mut answer = Vec::new();
            opened.recv.read_to_end(&mut answer).await.expect("the answer arrives");
            assert!(answer == sent, "stream {stream} got its own bytes back");
        }
    }));
    let echo = join_all((0..MANY).map(|_| {
        let accepted = &accepted;
        async move {
            let mut arrived = accepted.accept().await.expect("it arrives");
            let number = arrived.recv.read_u8().await.expect("its number");
            let mut heard = Vec::new();
            arrived.recv.read_to_end(&mut heard).await.expect("its bytes");
            assert!(heard == pattern(number.into(), 50_000 + usize::from(number)));
            arrived.send.write_all(&heard).await.expect("the answer leaves");
            arrived.send.shutdown().await.expect("it ends");
        }
    }));
    let talk = async {
        for _ in 0..100 {
            carry(&mut one, &mut other, b"ping").await;
            carry(&mut other, &mut one, b"pong").await;
        }
    };
    patiently(async { tokio::join!(open, echo, talk) }).await;
}

/// Back-pressure: what a stalled reader has not read is bounded, its writer waits, and control goes on.
pub async fn a_stalled_reader_stops_its_writer_and_nobody_else(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let (dialed, accepted) = pair.connect().await;
    let (mut one, mut other) = controls(&*dialed, &*accepted);
    let both = async { tokio::join!(dialed.open(), accepted.accept()) };
    let (opened, arrived) = patiently(both).await;
    let (mut opened, mut arrived) = (opened.expect("it opens"), arrived.expect("it arrives"));
    let block = pattern(0, 64 * 1024);
    let mut written = 0;
    // Writes until a write still waits after many rounds of control: by then the wire takes no more.
    'full: while written < UNREASONABLE {
        let mut write = Box::pin(opened.send.write(&block[written % block.len()..]));
        for _ in 0..200 {
            if let Some(taken) = poll_immediate(&mut write).await {
                written += taken.expect("the stream lives");
                continue 'full;
            }
            carry(&mut one, &mut other, b"are you there?").await;
            carry(&mut other, &mut one, b"yes").await;
        }
        break;
    }
    assert!(written < UNREASONABLE, "the writer was never stopped");
    let mut heard = vec![0; written];
    let flush = async { opened.send.flush().await };
    let (flushed, read) = patiently(async { tokio::join!(flush, arrived.recv.read_exact(&mut heard)) }).await;
    flushed.expect("the rest leaves");
    read.expect("nothing is lost");
    assert!(heard.chunks(block.len()).all(|chunk| chunk == &block[..chunk.len()]));
}

/// Two connections between the same two nodes: a bulk stream arrives at the one it was opened on.
pub async fn bulk_streams_reach_the_connection_they_belong_to(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let first = pair.connect().await;
    let second = pair.connect().await;
    for (stream, (dialed, accepted)) in [&second, &first, &second].into_iter().enumerate() {
        let both = async { tokio::join!(dialed.open(), accepted.accept()) };
        let (opened, arrived) = patiently(both).await;
        exchange(stream, opened.expect("it opens"), arrived.expect("it arrives")).await;
    }
}

/// Where there are datagrams they arrive whole; what is too large is refused with the limit.
pub async fn datagrams_arrive_or_are_refused_by_size(subject: &dyn Subject) {
    let mut pair = Pair::of(subject).await;
    let (dialed, accepted) = pair.connect().await;
    for (from, to) in [(&dialed, &accepted), (&accepted, &dialed)] {
        let max = from.max_datagram();
        match from.send_datagram(vec![0; TOO_LARGE].into()) {
            // A path's limit may grow meanwhile, so it is only known to lie between.
            Err(TransportError::DatagramTooLarge { len: TOO_LARGE, max: limit }) => assert!(limit >= max),
            other => panic!("expected DatagramTooLarge, got {other:?}"),
        }
        if max == 0 {
            assert!(poll_immediate(to.recv_datagram()).await.is_none(), "no datagrams, none arrive");
            continue;
        }
        // Unreliable by contract: one may be lost, so it is repeated until one arrives.
        let sent = bytes::Bytes::from(pattern(7, max));
        let heard = patiently(async {
            loop {
                from.send_datagram(sent.clone()).expect("it fits");
                let wait = Duration::from_millis(200);
                if let Ok(heard) = tokio::time::timeout(wait, to.recv_datagram()).await {
                    break heard.expect("the connection lives");
                }
            }
        });
        assert_eq!(heard.await, sent);
    }
}

async fn exchange(stream: usize, mut one: Stream, mut other: Stream) {
    carry(&mut one, &mut other, &pattern(stream, 100_000)).await;
    carry(&mut other, &mut one, &pattern(stream + 100, 100_000)).await;
    one.send.shutdown().await.expect("it ends");
    let rest = patiently(other.recv.read_to_end(&mut Vec::new())).await.expect("a clean end");
    assert_eq!(rest, 0);
}

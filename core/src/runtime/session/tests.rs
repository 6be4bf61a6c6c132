//! How a wire ends.

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use super::*;
use crate::TransportAddress;
use crate::identity::{Identity, PublicKey, Signer as _};
use crate::runtime::transport::{Stream, TransportError};
use crate::wire::Urgency;
use crate::wire::frame::Body;

/// A connection of nothing but its control stream.
#[derive(Debug)]
struct Bare;

#[async_trait::async_trait]
impl Connection for Bare {
    fn public_key(&self) -> PublicKey {
        Identity::from_seed(&[1; 32]).public_key()
    }

    fn remote(&self) -> TransportAddress {
        "mem:peer".parse().unwrap()
    }

    fn is_dialer(&self) -> bool {
        true
    }

    fn exporter(&self) -> [u8; 32] {
        [0; 32]
    }

    fn take_control(&self) -> Option<Stream> {
        None
    }

    async fn open(&self) -> Result<Stream, TransportError> {
        std::future::pending().await
    }

    async fn accept(&self) -> Result<Stream, TransportError> {
        std::future::pending().await
    }

    fn close(&self, _: &str) {}
}

/// A wire on its way, the peer's end of it, and what the driver hears of it.
fn wire(out: &Arc<Out>) -> (DuplexStream, mpsc::Receiver<Mail>) {
    let (there, mail, _) = wire_with_room(out, 64);
    (there, mail)
}

/// The same, with room for so much mail; and what stops the wire.
fn wire_with_room(out: &Arc<Out>, room: usize) -> (DuplexStream, mpsc::Receiver<Mail>, CancellationToken) {
    let (mailbox, mail) = mpsc::channel(room);
    let (here, there) = tokio::io::duplex(1024);
    let (recv, send) = tokio::io::split(here);
    let (peer, stop) = (Guid([7; 32]), CancellationToken::new());
    let wire = Wire { peer, conn: ConnId(1), connection: Arc::new(Bare), mailbox, stop: stop.clone() };
    start(wire, Box::new(recv), Box::new(send), out.clone());
    (there, mail, stop)
}

fn say(why: Goodbye) -> Frame<Boxed> {
    Frame { tag: 0, contacts: Vec::new(), body: Body::Goodbye(why), payload: Bytes::new() }
}

fn push(out: &Out, why: Goodbye) {
    out.push(&say(why), Class::Control, &mut Vec::new());
    out.flush();
}

#[tokio::test]
async fn what_was_read_before_a_wire_is_stopped_is_heard_although_the_driver_is_behind() {
    let (mut there, mut mail, stop) = wire_with_room(&Arc::default(), 1);
    let goodbye = wire::encode(&say(Goodbye::Duplicate));
    for _ in 0..2 {
        there.write_all(&goodbye).await.unwrap();
        // One is in the box, the other is read and waits for room.
        tokio::task::yield_now().await;
    }
    stop.cancel();
    tokio::task::yield_now().await;
    for _ in 0..2 {
        let Some(Mail::Wire { word: Word::Chunk(chunk), .. }) = mail.recv().await else { panic!("one is lost") };
        assert_eq!(chunk, goodbye);
    }
    assert!(matches!(mail.recv().await, Some(Mail::Wire { word: Word::Lost, .. })));
}

#[tokio::test]
async fn what_the_peer_said_before_it_closed_is_heard_although_it_takes_nothing_any_longer() {
    let out = Arc::new(Out::default());
    let (mut there, mut mail) = wire(&out);
    let goodbye = wire::encode(&say(Goodbye::Duplicate));
    there.write_all(&goodbye).await.unwrap();
    drop(there);
    // The writer runs first, and finds the wire broken.
    push(&out, Goodbye::Idle);
    let Some(Mail::Wire { word: Word::Chunk(chunk), .. }) = mail.recv().await else { panic!("the goodbye is lost") };
    assert_eq!(chunk, goodbye);
    assert!(matches!(mail.recv().await, Some(Mail::Wire { word: Word::Lost, .. })));
}

#[tokio::test]
async fn what_is_urgent_overtakes_what_is_large() {
    let out = Arc::new(Out::default());
    let notice = |len: usize, urgency| Frame {
        tag: 256,
        contacts: Vec::new(),
        body: Body::Notice { service: 1, urgency },
        payload: Bytes::from(vec![7; len]),
    };
    let push = |frame: &Frame<Boxed>| out.push(frame, frame.class(), &mut Vec::new());
    (0..32).for_each(|_| push(&notice(BULK_AT_ONCE, Urgency::Usual)));
    let (mut there, _mail) = wire(&out);
    out.flush();
    // The writer is at work on the first large one when the others come.
    let mut got = BytesMut::new();
    there.read_buf(&mut got).await.unwrap();
    push(&notice(3, Urgency::Usual));
    push(&notice(2, Urgency::Timely));
    push(&say(Goodbye::Idle));
    let mut order = Vec::new();
    while order.len() < 35 {
        match wire::cut(&mut got).unwrap() {
            Some(frame) => order.push(wire::decode::<Boxed>(frame).unwrap().payload.len()),
            None => drop(there.read_buf(&mut got).await.unwrap()),
        }
    }
    let mut expected = vec![BULK_AT_ONCE; 35];
    expected[1..4].copy_from_slice(&[0, 2, 3]);
    assert_eq!(order, expected);
}

#[tokio::test]
async fn a_wire_that_is_closed_ends_when_the_peers_end_does() {
    let out = Arc::new(Out::default());
    let (mut there, mut mail) = wire(&out);
    push(&out, Goodbye::Duplicate);
    out.close(Goodbye::Duplicate);
    let mut all = Vec::new();
    there.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, wire::encode(&say(Goodbye::Duplicate)));
    // What was on its way is still taken in.
    let late = wire::encode(&say(Goodbye::Idle));
    there.write_all(&late).await.unwrap();
    drop(there);
    assert!(matches!(mail.recv().await, Some(Mail::Wire { word: Word::Chunk(chunk), .. }) if chunk == late));
    assert!(matches!(mail.recv().await, Some(Mail::Wire { word: Word::Lost, .. })));
}

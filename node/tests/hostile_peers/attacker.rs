//! A peer made by hand: a good identity on a real wire, and whatever bytes a test wants.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use polymorph::core::runtime::service;
use polymorph::core::runtime::transport::{Connection, Stream, Transport};
use polymorph::core::topology::erased::Boxed;
use polymorph::core::wire::frame::{Body, Goodbye, Offer, Shared};
use polymorph::core::wire::{self, Frame};
use polymorph::core::{Admission, OverlayName, Standing};
use polymorph::transports::{Quic, Tcp};
use polymorph::{Guid, Identity, Node, TransportAddress};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::proof::prove;

/// The overlay that is attacked.
pub(crate) const NAME: &str = "attacked";
/// The attacker's tag for it.
pub(crate) const TAG: u32 = 0x700;
/// The number of the service "echo": FNV-1a of its name.
pub(crate) const ECHO: u32 = {
    let (name, mut hash, mut at) = (b"echo", 0x811c_9dc5u32, 0);
    while at < name.len() {
        hash = (hash ^ name[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    hash
};

const PATIENCE: Duration = Duration::from_secs(30);
/// No node lets one peer pour in more than this unanswered: queues and socket buffers are far smaller.
pub(crate) const MAX_POURED: usize = 256 << 20;

/// A small generator, so that a failure names its seed.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 as u8
        };
        (0..len).map(|_| next()).collect()
    }
}

pub(crate) struct Attacker {
    identity: Identity,
    connection: Arc<dyn Connection>,
    control: Stream,
    heard: BytesMut,
    out: BytesMut,
}

impl Attacker {
    pub(crate) async fn dial(target: &Node) -> Self {
        let identity = Identity::generate();
        let address = &target.listening()[0];
        let transport: Arc<dyn Transport> = match address {
            TransportAddress::Tcp(_) => Arc::new(Tcp::new(&identity)),
            _ => Arc::new(Quic::new(&identity)),
        };
        let connection = transport.dial(address, Some(target.guid())).await.expect("the node listens");
        let control = connection.take_control().expect("a control stream");
        Self { identity, connection, control, heard: BytesMut::new(), out: BytesMut::new() }
    }

    pub(crate) fn guid(&self) -> Guid {
        self.identity.guid()
    }

    /// Writes, as far as the node lets it.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let write = async {
            let _ = self.control.send.write_all(bytes).await;
            let _ = self.control.send.flush().await;
        };
        let _ = timeout(PATIENCE, write).await;
    }

    pub(crate) fn queue(&mut self, tag: u32, body: Body<Boxed>, payload: &[u8]) {
        let frame = Frame { tag, contacts: Vec::new(), body, payload: Bytes::copy_from_slice(payload) };
        self.out.extend_from_slice(&wire::encode(&frame));
    }

    pub(crate) async fn flush(&mut self) {
        let out = self.out.split();
        self.write(&out).await;
    }

    pub(crate) async fn say(&mut self, tag: u32, body: Body<Boxed>) {
        self.queue(tag, body, b"");
        self.flush().await;
    }

    pub(crate) async fn shut(&mut self) {
        let _ = self.control.send.shutdown().await;
    }

    /// Writes frames and reads nothing, until the node takes no more, or up to so many bytes. How many it took.
    pub(crate) async fn pour<'a>(&mut self, most: usize, frame: impl Fn(u32) -> (u32, Body<Boxed>, &'a [u8])) -> usize {
        let mut poured = 0;
        for id in 1.. {
            let (tag, body, payload) = frame(id);
            self.queue(tag, body, payload);
            if self.out.len() < 64 << 10 {
                continue;
            }
            let out = self.out.split();
            // A node that stops reading is as good an answer as one that hangs up.
            match timeout(Duration::from_secs(5), self.control.send.write_all(&out)).await {
                Ok(Ok(())) => poured += out.len(),
                Ok(Err(_)) | Err(_) => break,
            }
            assert!(poured < MAX_POURED, "the node takes everything");
            if poured >= most {
                break;
            }
        }
        poured
    }

    /// Shows that it is a member of the overlay, as an honest dialer does.
    pub(crate) async fn enter(&mut self, target: &Node) {
        let name = OverlayName::new(NAME, Admission::Open).expect("a name");
        let (nonce, ends) = (77, (self.guid(), target.guid()));
        let proof = prove(&name, 0, &self.connection.exporter(), ends, 1, nonce);
        self.say(0, Body::Offer(Offer { nonce, proofs: vec![proof] })).await;
        self.hears("accept").await;
        let shared = Shared {
            index: 0,
            proof,
            tag: TAG,
            epoch: 0,
            standing: Standing::Member,
            lanes: 1,
            credit: 1 << 20,
            protocols: vec!["1".into()],
            membership: None,
        };
        self.say(0, Body::Confirm { nonce, shared: vec![shared] }).await;
        assert_eq!(service::number("echo"), ECHO);
        // Whoever is answered is in.
        self.say(TAG, Body::Request { id: 1, service: ECHO }).await;
        self.hears("response").await;
    }

    async fn next(&mut self) -> Option<Frame<Boxed>> {
        loop {
            if let Ok(Some(cut)) = wire::cut(&mut self.heard) {
                return Some(wire::decode(cut).expect("the node speaks well"));
            }
            match timeout(PATIENCE, self.control.recv.read_buf(&mut self.heard)).await.expect("the node says something")
            {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Waits for a frame of this kind.
    pub(crate) async fn hears(&mut self, kind: &str) {
        while self.next().await.expect("the node does not hang up").body.name() != kind {}
    }

    /// Reads to the end; the reason the node gave.
    pub(crate) async fn until_closed(&mut self) -> Option<Goodbye> {
        let mut said = None;
        while let Some(frame) = self.next().await {
            if let Body::Goodbye(why) = frame.body {
                said = Some(why);
            }
        }
        said
    }
}

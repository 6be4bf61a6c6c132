//! The least a verified fetch can do: read → TLS → BLAKE3 → write between two processes, pipelined.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use polymorph::Identity;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};

use crate::BLOCK;
use crate::keys::configs;

/// Blocks on their way between two threads.
const AHEAD: usize = 2;
/// Ciphertext taken from the kernel at once.
const RECEIVED: usize = 256 * 1024;

/// Writes a file of bytes that repeat nowhere; returns its hash.
pub(crate) fn make(path: &Path, mib: usize) -> String {
    let (mut file, mut hasher) = (File::create(path).expect("a file"), blake3::Hasher::new());
    let mut block = vec![0; 1024 * 1024];
    for number in 0..mib as u64 {
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut block);
        file.write_all(&block).expect("room on the disk");
        hasher.update(&block);
    }
    file.sync_all().expect("a disk");
    hasher.finalize().to_hex().to_string()
}

/// Blocks that go one way full and come back empty.
struct Belt {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
}

fn belt() -> (Belt, Receiver<Vec<u8>>, SyncSender<Vec<u8>>) {
    let (full, filled) = sync_channel(AHEAD);
    let (back, empty) = sync_channel(2 * AHEAD);
    (Belt { full, empty }, filled, back)
}

impl Belt {
    /// A whole block, full of anything.
    fn block(&self) -> Vec<u8> {
        let mut block = self.empty.try_recv().unwrap_or_default();
        block.resize(BLOCK, 0);
        block
    }
}

/// Sends a file to whoever comes first.
pub(crate) fn give(source: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("it is bound").port());
    let config = Arc::new(configs(&Identity::generate()).1);
    let (mut socket, _) = listener.accept().expect("somebody comes");
    let busy = processor_seconds();
    let mut tls = ServerConnection::new(config).expect("a configuration");
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).expect("a handshake");
    }
    let (belt, filled, back) = belt();
    let mut file = File::open(source).expect("the source");
    let reader = thread::spawn(move || {
        loop {
            let mut block = belt.block();
            let read = file.read(&mut block).expect("the source");
            block.truncate(read);
            if read == 0 || belt.full.send(block).is_err() {
                return;
            }
        }
    });
    for block in filled {
        let mut rest = &block[..];
        while !rest.is_empty() {
            let taken = tls.writer().write(rest).expect("it encrypts");
            rest = &rest[taken..];
            while tls.wants_write() {
                tls.write_tls(&mut socket).expect("the other side reads");
            }
        }
        drop(back.try_send(block));
    }
    reader.join().expect("the reader ends");
    tls.send_close_notify();
    tls.write_tls(&mut socket).expect("the other side reads");
    println!("{}", processor_seconds() - busy);
}

/// Takes a file from there; prints its hash and how long that took.
pub(crate) fn take(from: &str, target: &Path) {
    let config = Arc::new(configs(&Identity::generate()).0);
    let (busy, begin) = (processor_seconds(), Instant::now());
    let mut socket = TcpStream::connect(from).expect("somebody listens");
    let name = ServerName::try_from("bare").expect("a name");
    let mut tls = ClientConnection::new(config, name).expect("a configuration");
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).expect("a handshake");
    }
    let (belt, filled, back) = belt();
    let mut file = File::create(target).expect("a file");
    let writer = thread::spawn(move || {
        let mut hasher = blake3::Hasher::new();
        for block in filled {
            hasher.update(&block);
            file.write_all(&block).expect("room on the disk");
            drop(back.try_send(block));
        }
        file.sync_all().expect("a disk");
        hasher.finalize()
    });
    receive(&mut socket, &mut tls, &belt);
    drop(belt);
    let hash = writer.join().expect("the writer ends");
    println!("{} {}", hash.to_hex(), begin.elapsed().as_secs_f64());
    println!("{}", processor_seconds() - busy);
}

/// Decrypts until the other side ends it.
fn receive(socket: &mut TcpStream, tls: &mut ClientConnection, belt: &Belt) {
    let (mut cipher, mut block, mut len) = (vec![0; RECEIVED], belt.block(), 0);
    loop {
        let received = socket.read(&mut cipher).expect("the other side sends");
        assert!(received > 0, "it ends within TLS");
        let mut rest = &cipher[..received];
        while !rest.is_empty() {
            tls.read_tls(&mut rest).expect("it takes the bytes");
            tls.process_new_packets().expect("it decrypts");
            loop {
                match tls.reader().read(&mut block[len..]) {
                    Ok(0) => {
                        block.truncate(len);
                        return belt.full.send(block).expect("the writer lives");
                    }
                    Ok(read) => len += read,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
                if len == BLOCK {
                    belt.full.send(std::mem::replace(&mut block, belt.block())).expect("the writer lives");
                    len = 0;
                }
            }
        }
    }
}

/// Processor time of this process so far, in steps of 10 ms; 0 where there is no /proc.
pub(crate) fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

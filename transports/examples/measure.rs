//! What a wire costs: memory per idle connection, echo rate over the control stream, and bulk, for tcp and quic; for
//! tcp also against the same loop over a bare `tokio-rustls` stream, in the same run.
//!
//! `cargo run --release -p polymorph-transports --example measure`

use std::io::Result;
use std::sync::Arc;
use std::time::Instant;

use polymorph_core::runtime::transport::{Connection, Listener, Stream, Transport};
use polymorph_core::{Identity, TransportAddress};
use polymorph_transports::{Quic, Tcp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

#[path = "measure/bare.rs"]
mod bare;

/// Idle connections held at once.
const IDLE: usize = 400;
/// Bytes of one message.
const MESSAGE: usize = 64;
/// Messages on their way at once.
const IN_FLIGHT: usize = 1024;
const ECHOES: usize = 2_000_000;
const ROUND_TRIPS: usize = 20_000;
const BULK: usize = 1 << 30;
const BLOCK: usize = 256 * 1024;
const PASSES: usize = 3;

type Ends = (Arc<dyn Connection>, Arc<dyn Connection>);

/// One thread turns both ends, so that rates are processor time and ratios hold on a busy machine.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    for name in ["tcp", "quic"] {
        let (identity, other) = (Identity::generate(), Identity::generate());
        let (dialer, listener): (Arc<dyn Transport>, Arc<dyn Transport>) = match name {
            "tcp" => (Arc::new(Tcp::new(&identity)), Arc::new(Tcp::new(&other))),
            _ => (Arc::new(Quic::new(&identity)), Arc::new(Quic::new(&other))),
        };
        let address: TransportAddress = format!("{name}://127.0.0.1:0").parse().expect("an address");
        let mut listener = listener.listen(&address).await.expect("it listens");
        idle(name, &*dialer, &mut *listener).await;
        for _ in 0..PASSES {
            let (dialed, accepted) = connect(&*dialer, &mut *listener).await;
            let one = dialed.take_control().expect("control");
            let two = accepted.take_control().expect("control");
            echo(name, (one.recv, one.send), (two.recv, two.send)).await.expect("it echoes");
            // The end of its control stream was the end of that connection.
            let (dialed, accepted) = connect(&*dialer, &mut *listener).await;
            let (opened, arrived) = tokio::join!(dialed.open(), accepted.accept());
            let (Stream { send, .. }, Stream { recv, .. }) = (opened.expect("opens"), arrived.expect("arrives"));
            bulk(name, recv, send).await.expect("it carries");
            if name == "tcp" {
                let (one, two) = bare_pair(&identity, &other).await.expect("bare TLS");
                echo("bare tls", one, two).await.expect("it echoes");
                let (one, two) = bare_pair(&identity, &other).await.expect("bare TLS");
                bulk("bare tls", two.0, one.1).await.expect("it carries");
                drop((one.0, two.1));
            }
        }
    }
}

async fn connect(dialer: &dyn Transport, listener: &mut dyn Listener) -> Ends {
    let address = listener.address();
    let (dialed, accepted) = tokio::join!(dialer.dial(&address, None), listener.accept());
    (dialed.expect("the dial succeeds"), accepted.expect("the peer arrives"))
}

async fn idle(name: &str, dialer: &dyn Transport, listener: &mut dyn Listener) {
    let (mut held, mut speaking) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        held.push(connect(dialer, listener).await);
    }
    let (before, begin) = (resident(), Instant::now());
    for _ in 0..IDLE {
        let ends = connect(dialer, listener).await;
        // Control streams are taken and have spoken, as in a real session.
        let mut streams = [ends.0.take_control().expect("control"), ends.1.take_control().expect("control")];
        let [one, two] = &mut streams;
        for (from, to) in [(&mut one.send, &mut two.recv), (&mut two.send, &mut one.recv)] {
            from.write_all(&[0; 512]).await.expect("it takes the bytes");
            from.flush().await.expect("it flushes them");
            to.read_exact(&mut [0; 512]).await.expect("they arrive");
        }
        held.push(ends);
        speaking.push(streams);
    }
    let took = begin.elapsed();
    let each = (resident() - before) as f64 / IDLE as f64;
    println!(
        "{name:>8}: {each:.1} KiB per idle connection, both ends; {:.2} ms each",
        took.as_secs_f64() * 1e3 / IDLE as f64
    );
}

/// KiB this process has in memory; 0 where there is no /proc.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
}

async fn echo<R, W>(name: &str, mut one: (R, W), two: (R, W)) -> Result<()>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (mut recv, mut send) = two;
    let server = tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(len @ 1..) = recv.read(&mut buffer).await {
            if send.write_all(&buffer[..len]).await.is_err() || send.flush().await.is_err() {
                break;
            }
        }
        (recv, send)
    });
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let begin = Instant::now();
        one.1.write_all(&[1; MESSAGE]).await?;
        one.1.flush().await?;
        one.0.read_exact(&mut [0; MESSAGE]).await?;
        times.push(begin.elapsed());
    }
    times.sort();
    let (batch, mut buffer) = (vec![2; MESSAGE * IN_FLIGHT], vec![0; 64 * 1024]);
    let (begin, mut sent, mut received) = (Instant::now(), 0, 0);
    while received < ECHOES * MESSAGE {
        // Whatever came back is sent again, all in one write.
        let room = (MESSAGE * IN_FLIGHT + received - sent).min(ECHOES * MESSAGE - sent);
        one.1.write_all(&batch[..room]).await?;
        one.1.flush().await?;
        sent += room;
        received += one.0.read(&mut buffer).await?;
    }
    let rate = ECHOES as f64 / begin.elapsed().as_secs_f64() / 1e6;
    println!(
        "{name:>8}: round trip p50 {:?}; {rate:.2} M echoes/s of {MESSAGE} B, {IN_FLIGHT} in flight",
        times[times.len() / 2]
    );
    drop(one);
    drop(server.await);
    Ok(())
}

async fn bulk(
    name: &str,
    mut recv: impl AsyncRead + Unpin + Send + 'static,
    mut send: impl AsyncWrite + Unpin + Send + 'static,
) -> Result<()> {
    let (begin, busy) = (Instant::now(), processor());
    let reader = tokio::spawn(async move {
        let (mut buffer, mut total) = (vec![0; BLOCK], 0);
        while total < BULK {
            match recv.read(&mut buffer).await {
                Ok(len @ 1..) => total += len,
                _ => break,
            }
        }
        total
    });
    let block = vec![3; BLOCK];
    for _ in 0..BULK / BLOCK {
        send.write_all(&block).await?;
    }
    send.shutdown().await?;
    assert_eq!(reader.await.unwrap_or(0), BULK);
    let took = begin.elapsed().as_secs_f64();
    println!("{name:>8}: bulk {:.2} GB/s, {:.2} CPU-s/GiB", BULK as f64 / took / 1e9, processor() - busy);
    Ok(())
}

/// Seconds of processor time so far, at 100 ticks a second; 0 where there is no /proc.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

type Bare = (Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>);

/// The same handshake over `tokio-rustls` and `tokio::io::split`.
async fn bare_pair(one: &Identity, two: &Identity) -> Result<(Bare, Bare)> {
    let (client, server) = bare::configs(one, two);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let at = listener.local_addr()?;
    let dial = async {
        let socket = TcpStream::connect(at).await?;
        socket.set_nodelay(true)?;
        let name = rustls::pki_types::ServerName::try_from("x").expect("a name");
        TlsConnector::from(Arc::new(client)).connect(name, socket).await
    };
    let accept = async {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        TlsAcceptor::from(Arc::new(server)).accept(socket).await
    };
    let (dialed, accepted) = tokio::join!(dial, accept);
    let ((a, b), (c, d)) = (tokio::io::split(dialed?), tokio::io::split(accepted?));
    Ok(((Box::new(a), Box::new(b)), (Box::new(c), Box::new(d))))
}

//! A verified fetch, file to file over loopback TCP, beside its floor: read → TCP → BLAKE3 → write, pipelined, with
//! one fsync at the end. Both ends run in one process, each with a runtime of one thread.
//!
//! `cargo run --release -p polymorph-media --example fetch_floor -- [MIB] [ROUNDS]`

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

use async_trait::async_trait;
use polymorph_core::Guid;
use polymorph_core::runtime::transport::Stream;
use polymorph_media::fetch::Length;
use polymorph_media::store::Import;
use polymorph_media::{Hash, Provider, Store, fetch, serve};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The block size of the floor.
const BLOCK: usize = 1024 * 1024;

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<usize>());
    let (mib, rounds) = (args.next().transpose()?.unwrap_or(1024), args.next().transpose()?.unwrap_or(5));
    let dir = tempfile::tempdir()?;
    let source = dir.path().join("source");
    let hash = make(&source, mib)?;
    println!("{mib} MiB, {rounds} rounds; wall MB/s and CPU-s/GiB of both ends together");
    let gib = mib as f64 / 1024.0;
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    // The first round touches fresh memory and is not counted.
    for round in 0..=rounds {
        let floor = measure(|| floor(&source, &dir.path().join("floor"), hash))?;
        std::fs::remove_file(dir.path().join("floor"))?;
        let store = dir.path().join(format!("store{round}"));
        let ours = measure_fetch(&source, &store, hash)?;
        let speed = |seconds: f64| gib * 1073.741824 / seconds;
        std::fs::remove_dir_all(&store)?;
        if round == 0 {
            continue;
        }
        println!(
            "floor {:.0} MB/s, {:.2} CPU-s/GiB · fetch {:.0} MB/s, {:.2} CPU-s/GiB · speed ratio {:.2}, CPU ratio {:.2}",
            speed(floor.0),
            floor.1 / gib,
            speed(ours.0),
            ours.1 / gib,
            floor.0 / ours.0,
            ours.1 / floor.1,
        );
        walls.push(floor.0 / ours.0);
        cpus.push(ours.1 / floor.1);
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "median: speed ratio {:.2} (goal ≥ 0.6), CPU ratio {:.2} (goal ≤ 2)",
        median(&mut walls),
        median(&mut cpus)
    );
    Ok(())
}

fn make(path: &Path, mib: usize) -> Outcome<Hash> {
    let (mut file, mut hasher) = (File::create(path)?, blake3::Hasher::new());
    let mut block = vec![0; BLOCK];
    for number in 0..mib as u64 {
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut block);
        file.write_all(&block)?;
        hasher.update(&block);
    }
    file.sync_all()?;
    Ok(Hash(*hasher.finalize().as_bytes()))
}

/// Wall and CPU seconds of this whole process while `work` runs.
fn measure(work: impl FnOnce() -> Outcome<()>) -> Outcome<(f64, f64)> {
    let (cpu, start) = (cpu_seconds()?, Instant::now());
    work()?;
    Ok((start.elapsed().as_secs_f64(), cpu_seconds()? - cpu))
}

/// User and system time so far, in steps of 10 ms.
fn cpu_seconds() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / 100.0)
}

fn floor(source: &Path, target: &Path, hash: Hash) -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut source = File::open(source)?;
    let sender = thread::spawn(move || -> Outcome<()> {
        let (mut stream, _) = listener.accept()?;
        let mut block = vec![0; BLOCK];
        loop {
            match source.read(&mut block)? {
                0 => return Ok(()),
                read => stream.write_all(&block[..read])?,
            }
        }
    });
    let (full, filled) = sync_channel::<(Vec<u8>, usize)>(2);
    let (back, empty) = sync_channel::<Vec<u8>>(4);
    let mut target = File::create(target)?;
    let writer = thread::spawn(move || -> Outcome<Hash> {
        let mut hasher = blake3::Hasher::new();
        for (block, length) in filled {
            hasher.update(&block[..length]);
            target.write_all(&block[..length])?;
            let _ = back.try_send(block);
        }
        target.sync_all()?;
        Ok(Hash(*hasher.finalize().as_bytes()))
    });
    let mut stream = TcpStream::connect(address)?;
    loop {
        let mut block = empty.try_recv().unwrap_or_else(|_| vec![0; BLOCK]);
        let mut length = 0;
        while length < BLOCK {
            match stream.read(&mut block[length..])? {
                0 => break,
                read => length += read,
            }
        }
        if length == 0 {
            break;
        }
        full.send((block, length))?;
    }
    drop(full);
    sender.join().map_err(|_| "the sender panicked")??;
    let found = writer.join().map_err(|_| "the writer panicked")??;
    if found == hash { Ok(()) } else { Err("the floor's hash is wrong".into()) }
}

#[derive(Debug)]
struct Tcp(SocketAddr);

#[async_trait]
impl Provider for Tcp {
    fn guid(&self) -> Guid {
        Guid([1; 32])
    }

    async fn open(&self) -> std::io::Result<Stream> {
        let (recv, send) = tokio::net::TcpStream::connect(self.0).await?.into_split();
        Ok(Stream { recv: Box::new(recv), send: Box::new(send) })
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn measure_fetch(source: &Path, folder: &Path, hash: Hash) -> Outcome<(f64, f64)> {
    let (ready, address) = sync_channel(1);
    let (source, provided) = (source.to_path_buf(), folder.join("provider"));
    let provider = thread::spawn(move || -> Outcome<()> {
        runtime()?.block_on(async {
            let store = Store::open(provided).await?;
            store.import(source, Import::Reference).await?;
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            ready.send(listener.local_addr()?)?;
            let (recv, send) = listener.accept().await?.0.into_split();
            serve(Stream { recv: Box::new(recv), send: Box::new(send) }, &store, &Default::default()).await?;
            Ok(())
        })
    });
    let address = address.recv()?;
    let runtime = runtime()?;
    let store = runtime.block_on(Store::open(folder.join("fetcher")))?;
    let measured = measure(|| {
        let providers: VecDeque<Arc<dyn Provider>> = VecDeque::from([Arc::new(Tcp(address)) as Arc<dyn Provider>]);
        runtime.block_on(fetch(&store, hash, Length::AtMost(u64::MAX), providers, Default::default()))?;
        Ok(())
    })?;
    drop(runtime);
    provider.join().map_err(|_| "the provider panicked")??;
    Ok(measured)
}

//! Kademlia on 300 real nodes in one process: what a lookup costs all of them together, and what stays in memory.
//!
//! Nodes join one after the other and look keys up until their tables are full. In one process what is resident then,
//! with all sessions closed, is theirs. In another they look up random keys: first when no session is open, which is *cold*,
//! then one node after the other with the sessions that such lookups leave, which is *in turn*, then with a session to
//! everybody, which is *warm*.
//! The yardstick is rust-libp2p on its memory wire, as it was measured elsewhere: 10 ms of processor time for a lookup
//! of 43 requests, and 1.4 MiB for a node.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use polymorph::core::engine::settings;
use polymorph::transports::memory::{Hub, Memory};
use polymorph::{Contact, Guid, Identity, Key, Node, Overlay};

#[path = "support/board.rs"]
mod board;

use board::{Target, median, row};

/// Says which wire a process measures, and with how many nodes.
const TASK: &str = "POLYMORPH_BENCH_TASK";
/// Nodes that are there before anything is measured: what a process needs once is theirs.
const FIRST: usize = 3;
/// How many of them ask.
const ASKERS: usize = 5;
/// How many keys each node looks up before its table counts as full.
const FILLING: u64 = 3;
/// Lookups of each asker in a round.
const LOOKUPS: u64 = 60;
const ROUNDS: u64 = 3;
/// How long a session nobody needs stays open while memory is measured: what is resident is what nodes keep, and not
/// what the allocator holds back of sessions that came together.
const SOON: Duration = Duration::from_secs(1);
/// How long it stays open while times are measured: so long that warm ones stay so on a busy machine too.
const LATE: Duration = Duration::from_secs(20);

fn main() {
    if let Ok(task) = std::env::var(TASK) {
        return child(&task);
    }
    let nodes = if board::in_earnest() { 300 } else { 24 };
    for (wire, most) in [("mem", 2.0), ("tcp", 3.0)] {
        board::heading(&format!("kademlia: {nodes} nodes in one process over {wire}"));
        let [memory, engine, entries] = measure("memory", wire, nodes);
        let [cold, in_turn, warm, questions] = measure("time", wire, nodes);
        let what = format!("resident memory of a node, {entries:.0} entries, no session");
        row(&what, &format!("{memory:.0} KiB"), "400 KiB", memory / 400.0, Target::AtMost(1.0));
        row("  its engine, by its own count", &format!("{engine:.0} KiB"), "", engine / memory, Target::Open);
        // Over TCP a cold lookup is twenty handshakes of TLS: nobody set a bound to it.
        let (bound, target) = if wire == "mem" { (most, Target::AtMost(1.0)) } else { (10.0, Target::Open) };
        let what = "processor time of a lookup, all nodes, no session";
        row(what, &format!("{cold:.2} ms"), &format!("{bound} ms"), cold / bound, target);
        row("  the same, all nodes in turn", &format!("{in_turn:.2} ms"), "10 ms", in_turn / 10.0, Target::Open);
        let what = format!("  the same, warm, {questions:.1} questions");
        row(&what, &format!("{warm:.2} ms"), &format!("{most} ms"), warm / most, Target::AtMost(1.0));
    }
}

fn measure<const N: usize>(what: &str, wire: &str, nodes: usize) -> [f64; N] {
    let this = std::env::current_exe().expect("a program has a path");
    let ran = Command::new(this).env(TASK, format!("{what} {wire} {nodes}")).output().expect("it starts");
    assert!(ran.status.success(), "{what} {wire}: {}", String::from_utf8_lossy(&ran.stderr));
    let line = String::from_utf8_lossy(&ran.stdout);
    let figures: Vec<f64> = line.split_whitespace().map(|number| number.parse().expect("a number")).collect();
    figures.try_into().expect("as many figures as are read")
}

/// A node and its overlay.
struct Member {
    node: Node,
    overlay: Overlay,
}

/// One thread for all nodes, so that no memory is there for threads and no time is spent between them.
#[tokio::main(flavor = "current_thread")]
async fn child(task: &str) {
    let [what, wire, nodes] = task.splitn(3, ' ').collect::<Vec<_>>().try_into().expect("a task, a wire, a number");
    let nodes = nodes.parse().expect("a number");
    match what {
        "memory" => memory(wire, nodes).await,
        _ => time(wire, nodes).await,
    }
}

/// Prints the KiB of a node with no session, those its engine counts, and the entries of its table.
async fn memory(wire: &str, nodes: usize) {
    let (members, before) = filled(wire, nodes, SOON).await;
    until_alone(&members, SOON).await;
    let memory = (resident() - before) / (nodes - FIRST) as f64;
    let (mut engine, mut entries) = (0, 0);
    for member in &members {
        engine += member.node.status().await.expect("it lives").engine_bytes;
        entries += member.overlay.neighbors().await.expect("it lives").len();
    }
    let each = |sum: usize| sum as f64 / nodes as f64;
    println!("{memory} {} {}", each(engine) / 1024.0, each(entries));
}

/// Prints the milliseconds of a lookup, cold, in turn and warm, and the questions of a warm one.
async fn time(wire: &str, nodes: usize) {
    let idle = if nodes < 100 { SOON } else { LATE };
    let (members, _) = filled(wire, nodes, idle).await;
    let askers = ASKERS.min(nodes);
    let mut cold = Vec::new();
    for number in 0..ROUNDS {
        until_alone(&members, idle).await;
        cold.push(round(members[askers..].iter().take(LOOKUPS as usize), 10 + number).await);
    }
    let cold = median(cold);
    // The first time sessions come to be as many as nodes have room for.
    round(members.iter(), 5).await;
    let in_turn = round(members.iter(), 6).await;
    let (warm, questions) = warm(&members[..askers], &members).await;
    println!("{cold} {in_turn} {warm} {questions}");
}

/// Nodes whose tables are full, and the KiB that were resident when [`FIRST`] of them were there.
async fn filled(wire: &str, nodes: usize, idle: Duration) -> (Vec<Member>, f64) {
    let hub = Hub::new();
    let mut members: Vec<Member> = Vec::with_capacity(nodes);
    let mut before = 0.0;
    for number in 0..nodes {
        if number == FIRST {
            before = resident();
        }
        let seed = members.first().map(|first| first.node.contact());
        let sessions = if number < ASKERS { nodes } else { settings::Node::default().connections };
        members.push(join(wire, &hub, seed, (sessions, idle)).await);
    }
    for number in 0..FILLING {
        for (at, member) in members.iter().enumerate() {
            member.overlay.lookup(key(number << 32 | at as u64), K).await.expect("it is answered");
        }
    }
    (members, before)
}

/// How many peers a lookup settles.
const K: usize = 20;

fn key(number: u64) -> Key {
    Key::of(&number.to_le_bytes())
}

async fn join(wire: &str, hub: &Hub, seed: Option<Contact>, (connections, idle): (usize, Duration)) -> Member {
    let identity = Identity::generate();
    let (builder, address) = match wire {
        "mem" => (Node::builder(identity.clone()).transport(Arc::new(Memory::new(&identity, hub))), "mem:0"),
        _ => (polymorph::node(&identity), "tcp://127.0.0.1:0"),
    };
    let settings = settings::Node { connections, idle, ..settings::Node::default() };
    let node = builder.settings(settings).listen(address.parse().expect("an address")).start().await;
    let node = node.expect("it starts");
    let spec = polymorph::overlay(node.guid(), "bench", "kademlia", &[]).expect("it is in the catalog");
    let overlay = node.attach(spec).await.expect("it attaches");
    overlay.join(seed.as_slice()).await.expect("it joins");
    if seed.is_some() {
        overlay.joined(Duration::from_secs(60)).await.expect("it joins");
    }
    Member { node, overlay }
}

/// Waits until idle sessions are closed: nobody needs one.
async fn until_alone(members: &[Member], idle: Duration) {
    for member in members {
        while member.node.status().await.expect("it lives").sessions > 0 {
            tokio::time::sleep(idle / 8).await;
        }
    }
}

/// Milliseconds of processor time of a lookup, when each asks once.
async fn round(askers: impl ExactSizeIterator<Item = &Member>, number: u64) -> f64 {
    let (asked, busy) = (askers.len(), processor_ms());
    for (at, asker) in askers.enumerate() {
        asker.overlay.lookup(key(number << 48 | at as u64), K).await.expect("it is answered");
    }
    (processor_ms() - busy) / asked as f64
}

/// The same with a session from each asker to everybody, and how many questions it asks.
async fn warm(askers: &[Member], all: &[Member]) -> (f64, f64) {
    let guids: Vec<Guid> = all.iter().map(|member| member.node.guid()).collect();
    for asker in askers {
        for guid in guids.iter().filter(|guid| **guid != asker.node.guid()) {
            // Whom its contact book knows; who is near enough to be asked is among them.
            let _ = asker.overlay.ping(*guid).await;
        }
    }
    let (mut times, mut frames) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        let (busy, said) = (processor_ms(), said(askers).await);
        for number in 0..LOOKUPS {
            for (at, asker) in askers.iter().enumerate() {
                let number = (2 + round) << 48 | number << 16 | at as u64;
                asker.overlay.lookup(key(number), K).await.expect("it is answered");
            }
        }
        times.push((processor_ms() - busy) / (LOOKUPS * askers.len() as u64) as f64);
        frames += self::said(askers).await - said;
    }
    (median(times), frames as f64 / (ROUNDS * LOOKUPS * askers.len() as u64) as f64)
}

async fn said(askers: &[Member]) -> u64 {
    let mut frames = 0;
    for asker in askers {
        frames += asker.overlay.metrics().await.expect("it lives").frames_out;
    }
    frames
}

/// KiB this process has in memory; 0 where there is no /proc.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0.0)
}

/// Processor time of this process so far, in steps of 10 ms; 0 where there is no /proc.
fn processor_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) * 10.0
}

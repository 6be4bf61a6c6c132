//! What stays in memory: for each idle session, both ends together, and for each idle node with three overlays.
//!
//! Each figure is measured in a process of its own. Sessions: two sets of nodes, everybody of the one linked to
//! everybody of the other; what the nodes themselves take is there before. Nodes: twenty of them, all in the same
//! three overlays, beside the same process without any.

use std::process::Command;
use std::time::Duration;

use polymorph::core::runtime::Status;
use polymorph::core::{Admission, OverlayName};
use polymorph::topologies::catalog::Catalog;
use polymorph::{Identity, Node, Overlay, OverlaySpec};

#[path = "support/board.rs"]
mod board;
#[path = "support/star.rs"]
mod star;

use board::{Target, median, row};

/// Says what a process measures: `sessions` or `nodes`, and the wire.
const TASK: &str = "POLYMORPH_BENCH_TASK";
/// Nodes of each set: as many squared are the sessions.
const SIDE: usize = 20;
/// Nodes of each set whose sessions come first, so that what a process needs once is there before.
const FIRST: usize = 3;
const NODES: usize = 20;
/// The overlays of each node: a ring to find things, a mesh to announce them, a tree to stream them.
const OVERLAYS: [&str; 3] = ["chord", "hyparview-plumtree", "scribe"];
/// How long nodes are left alone before they count as idle.
const SETTLE: Duration = Duration::from_secs(5);

fn main() {
    if let Ok(task) = std::env::var(TASK) {
        return child(&task);
    }
    let rounds = if board::in_earnest() { 3 } else { 1 };
    board::heading("memory: resident, each in a process of its own");
    for (wire, session, node) in [("tcp", 40.0, 2.0), ("quic", 110.0, 3.0)] {
        let measured = median((0..rounds).map(|_| measure("sessions", wire)[0]));
        let what = format!("idle session over {wire}, both ends");
        row(&what, &format!("{measured:.1} KiB"), &format!("{session} KiB"), measured / session, Target::AtMost(1.0));
        let measured = (0..rounds).map(|_| measure("nodes", wire)).min_by(|a, b| a[0].total_cmp(&b[0]));
        let measured = measured.expect("a round");
        let (each, engine, sessions) = (measured[0] / 1024.0, measured[1], measured[2]);
        let what = format!("idle node over {wire}, 3 overlays, {sessions:.0} sessions");
        row(&what, &format!("{each:.2} MiB"), &format!("{node} MiB"), each / node, Target::AtMost(1.0));
        let share = engine / measured[0];
        row(
            "  its engine, by its own count",
            &format!("{engine:.1} KiB"),
            &format!("{each:.2} MiB"),
            share,
            Target::Open,
        );
    }
}

fn measure(task: &str, wire: &str) -> Vec<f64> {
    let this = std::env::current_exe().expect("a program has a path");
    let ran = Command::new(this).env(TASK, format!("{task} {wire}")).output().expect("it starts");
    assert!(ran.status.success(), "{task} {wire}: {}", String::from_utf8_lossy(&ran.stderr));
    let line = String::from_utf8_lossy(&ran.stdout);
    line.split_whitespace().map(|number| number.parse().expect("a number")).collect()
}

/// One thread for all nodes, so that no memory is there for threads.
#[tokio::main(flavor = "current_thread")]
async fn child(task: &str) {
    let (what, wire) = task.split_once(' ').expect("a task and a wire");
    let address = format!("{wire}://127.0.0.1:0");
    match what {
        "sessions" => sessions(&address).await,
        _ => nodes(&address).await,
    }
}

async fn sessions(address: &str) {
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    for _ in 0..SIDE + FIRST {
        ones.push(star::node(address).await);
        others.push(star::node(address).await);
    }
    let (first_ones, first_others) = (ones.split_off(SIDE), others.split_off(SIDE));
    link(&first_ones, &first_others).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = resident();
    link(&ones, &others).await;
    tokio::time::sleep(SETTLE).await;
    let status = ones[0].0.status().await.expect("it lives");
    assert_eq!(status.sessions, SIDE);
    println!("{}", (resident() - before) / (SIDE * SIDE) as f64);
}

/// Links everybody of the one set to everybody of the other, one after the other.
async fn link(ones: &[(Node, Overlay)], others: &[(Node, Overlay)]) {
    for (_, one) in ones {
        for (other, _) in others {
            one.join(&[other.contact()]).await.expect("it joins");
            one.ping(other.guid()).await.expect("a session");
        }
    }
}

async fn nodes(address: &str) {
    let before = resident();
    let mut nodes: Vec<(Node, Vec<Overlay>)> = Vec::new();
    for _ in 0..NODES {
        let seed = nodes.first().map(|(node, _)| node.contact());
        let identity = Identity::generate();
        let address = address.parse().expect("an address");
        let node = polymorph::node(&identity).listen(address).start().await.expect("it starts");
        let mut overlays = Vec::new();
        for name in OVERLAYS {
            let overlay = node.attach(spec(name, &node)).await.expect("it attaches");
            overlay.join(seed.as_slice()).await.expect("it joins");
            overlays.push(overlay);
        }
        nodes.push((node, overlays));
    }
    tokio::time::sleep(SETTLE).await;
    let after = resident();
    let mut all = Vec::new();
    for (node, _) in &nodes {
        all.push(node.status().await.expect("it lives"));
    }
    let mean = |of: fn(&Status) -> usize| all.iter().map(of).sum::<usize>() as f64 / NODES as f64;
    let (engine, sessions) = (mean(|status| status.engine_bytes) / 1024.0, mean(|status| status.sessions));
    println!("{} {engine} {sessions}", (after - before) / NODES as f64);
}

fn spec(topology: &str, node: &Node) -> OverlaySpec {
    let name = OverlayName::new(topology, Admission::Open).expect("a name");
    let mut settings = None;
    let build = |place| {
        let built = Catalog::standard().build::<&str, &str>(topology, &[], place).expect("it is in the catalog");
        settings = Some(built.settings);
        built.topology
    };
    let spec = OverlaySpec::named(name, build, node.guid()).expect("a name");
    spec.settings(settings.expect("it was built"))
}

/// KiB this process has in memory; 0 where there is no /proc.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0.0)
}

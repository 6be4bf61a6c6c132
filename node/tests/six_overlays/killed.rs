//! A quarter of the nodes is killed at once: no goodbye, only sockets that close. What was put is read all the same, and
//! those that are started again with what they knew are of use at once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use polymorph::core::record::{GetOptions, Quorum};
use polymorph::core::snapshot::Snapshot;
use polymorph::core::{Admission, OverlayId, OverlayName};
use polymorph::{Guid, Identity, Key, Overlay};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

use super::{Member, NODES, PATIENCE, RINGS, attached, count_right, member};

const KILLED: usize = 16;
/// How many values each ring holds.
const VALUES: usize = 64;
const LIFETIME: Duration = Duration::from_secs(3600);
/// How long whoever was not answered waits before it asks again.
const PAUSE: Duration = Duration::from_millis(250);

/// Every fourth node runs in a runtime of its own, which ends as a killed process does.
async fn start() -> (Vec<Member>, Runtime) {
    let doomed = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut members: Vec<Member> = Vec::new();
    for at in 0..NODES {
        let seed = members.get(at / 2).map(|member| member.node.contact());
        members.push(match is_killed(at) {
            true => doomed.spawn(member(at, seed)).await.unwrap(),
            false => member(at, seed).await,
        });
    }
    (members, doomed)
}

fn is_killed(at: usize) -> bool {
    at % (NODES / KILLED) == 3
}

fn value(ring: &str, number: usize) -> (Key, Bytes) {
    let text = format!("{ring} keeps {number}");
    (Key::of(text.as_bytes()), text.into())
}

/// Asks again until there is an answer, as a client does; says how often it asked.
async fn again<R, E: std::fmt::Display>(what: &str, mut ask: impl AsyncFnMut() -> Result<R, E>) -> (R, usize) {
    let (begun, mut asked) = (Instant::now(), 0);
    loop {
        asked += 1;
        match ask().await {
            Ok(answer) => return (answer, asked),
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{what}, asked {asked} times: {error}"),
        }
        sleep(PAUSE).await;
    }
}

async fn read(overlay: &Overlay, ring: &str, number: usize) -> usize {
    let (key, wanted) = value(ring, number);
    let get = async || {
        let options = GetOptions { quorum: Quorum::Majority, ..GetOptions::default() };
        let found = overlay.get_with(key, options).await.map_err(|error| error.to_string())?.records;
        let good = found.len() == 1 && found[0].value == wanted;
        if good { Ok(()) } else { Err(format!("{} records", found.len())) }
    };
    again(&format!("value {number} of {ring}"), get).await.1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_in_any_ring_is_read_after_a_quarter_of_the_nodes_was_killed() {
    let (members, doomed) = start().await;
    for (which, ring) in RINGS.into_iter().enumerate() {
        for number in 0..VALUES {
            let (key, value) = value(ring, number);
            let overlay = &members[number * 7 % NODES].overlays[which];
            again("a put", async || overlay.put(key, value.clone(), LIFETIME).await).await;
        }
    }
    let mut remembered = Vec::new();
    for member in members.iter().enumerate().filter(|(at, _)| is_killed(*at)).map(|(_, member)| member) {
        let snapshots: Vec<Vec<u8>> = join_all(member.overlays.iter().map(snapshot)).await;
        let tables = join_all(member.overlays.iter().map(table)).await;
        remembered.push((member.identity.clone(), snapshots, tables));
    }
    doomed.shutdown_background();
    let killed = Instant::now();
    let left: Vec<Member> =
        members.into_iter().enumerate().filter(|(at, _)| !is_killed(*at)).map(|(_, left)| left).collect();
    let guids: Vec<Guid> = left.iter().map(|member| member.node.guid()).collect();
    assert_eq!(left.len(), NODES - KILLED);
    for (which, ring) in RINGS.into_iter().enumerate() {
        let mut asked = 0;
        for number in 0..VALUES {
            asked += read(&left[number * 5 % left.len()].overlays[which], ring, number).await;
        }
        println!("{ring}: {VALUES} values read in {asked} tries, {:?} after the kill", killed.elapsed());
    }
    for (which, ring) in RINGS.into_iter().enumerate() {
        let all_right = async { while count_right(&left, which, &guids, NODES).await < NODES {} };
        timeout(PATIENCE, all_right).await.unwrap_or_else(|_| panic!("{ring} does not find every owner"));
        println!("{ring}: every owner found, {:?} after the kill", killed.elapsed());
    }
    let again = Instant::now();
    let (restarts, tables): (Vec<_>, Vec<_>) =
        remembered.into_iter().map(|(identity, snapshots, tables)| (restarted(identity, snapshots), tables)).unzip();
    let back = join_all(restarts).await;
    println!("{} nodes have joined every ring again after {:?}", back.len(), again.elapsed());
    for (which, ring) in RINGS.into_iter().enumerate() {
        let half_is_back = async {
            loop {
                let now = join_all(back.iter().map(|member| table(&member.overlays[which]))).await;
                let before = tables.iter().map(|tables| &tables[which]);
                let had: usize = before.clone().map(BTreeSet::len).sum();
                let has: usize = before.zip(&now).map(|(before, now)| before.intersection(now).count()).sum();
                if has * 2 >= had {
                    return (has, had);
                }
                sleep(PAUSE).await;
            }
        };
        let (has, had) = timeout(PATIENCE, half_is_back).await.unwrap_or_else(|_| panic!("{ring} forgot its tables"));
        println!("{ring}: {has} of {had} entries are back, {:?} after the restart", again.elapsed());
    }
    for (which, ring) in RINGS.into_iter().enumerate() {
        let mut asked = 0;
        for number in 0..VALUES {
            asked += read(&back[number % back.len()].overlays[which], ring, number).await;
        }
        let kept = join_all(back.iter().map(|member| member.overlays[which].metrics())).await;
        let kept: u64 = kept.into_iter().map(|metrics| metrics.unwrap().records).sum();
        println!(
            "{ring}: {VALUES} values read in {asked} tries, {:?} after the restart; they keep {kept}",
            again.elapsed()
        );
        assert!(kept > 0, "{ring}: those that were started again keep nothing");
    }
    let all: Vec<Member> = left.into_iter().chain(back).collect();
    let guids: Vec<Guid> = all.iter().map(|member| member.node.guid()).collect();
    for (which, ring) in RINGS.into_iter().enumerate() {
        let all_right = async { while count_right(&all, which, &guids, NODES).await < NODES {} };
        timeout(PATIENCE, all_right).await.unwrap_or_else(|_| panic!("{ring} does not find every owner"));
        println!("{ring}: every owner found, {:?} after the restart", again.elapsed());
    }
}

/// Who is in a node's table.
async fn table(overlay: &Overlay) -> BTreeSet<Guid> {
    overlay.neighbors().await.unwrap().into_iter().map(|neighbor| neighbor.peer).collect()
}

/// What a node would have on its disk.
async fn snapshot(overlay: &Overlay) -> Vec<u8> {
    overlay.snapshot().await.unwrap().encode(id(overlay))
}

fn id(overlay: &Overlay) -> OverlayId {
    OverlayName::new(overlay.name(), Admission::Open).unwrap().id()
}

/// A killed node, started again with that and nothing else: not even a contact.
async fn restarted(identity: Identity, snapshots: Vec<Vec<u8>>) -> Member {
    let member = attached(identity).await;
    for (overlay, snapshot) in member.overlays.iter().zip(snapshots) {
        let snapshot = Snapshot::decode(&snapshot, id(overlay)).unwrap();
        overlay.resume(snapshot, &[]).await.unwrap();
    }
    member.joined().await;
    member
}

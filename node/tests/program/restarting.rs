//! Nodes that are killed and started again with the same home.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::control::until_linked;
use crate::support::{Place, Running, finish, text};

const NODE: [&str; 5] = ["node", "--listen", "tcp://127.0.0.1:0", "--overlay", "find=chord"];

/// Starts a node, and waits until it is ready: the node and its contact.
fn start(place: &Place, home: &str, more: &[&str]) -> (Running, String) {
    ready(place.start(home, &[&NODE[..], more].concat()))
}

fn ready(mut node: Running) -> (Running, String) {
    let contact = text(&node.event("ready"), "contact");
    (node, contact)
}

fn values(lines: &[Value]) -> Vec<String> {
    lines.iter().map(|line| text(line, "value")).collect()
}

/// The files of the overlays that a home remembers.
fn snapshots(place: &Place, home: &str) -> Vec<PathBuf> {
    let folder = fs::read_dir(place.path(home).join("overlays")).unwrap();
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_killed_node_finds_its_way_back_without_a_contact_and_has_its_records() {
    let place = Place::new();
    let (_one, contact) = start(&place, "one", &[]);
    let (_two, _) = start(&place, "two", &["--join", &contact]);
    let (mut three, _) = start(&place, "three", &["--join", &contact]);
    ["one", "two", "three"].iter().for_each(|home| until_linked(&place, home));
    let stored = &place.lines("three", &["put", "a key", "a value"])[0];
    assert!(stored["replicas"].as_u64() >= Some(2), "{stored}");
    place.lines("three", &["provide", "a content"]);
    let me = text(&place.lines("three", &["status"])[0], "guid");
    three.kill();

    let (_three, _) = start(&place, "three", &[]);
    until_linked(&place, "three");
    let owner = |home: &str| text(&place.lines(home, &["lookup", "a key"])[0], "owner");
    assert_eq!(owner("three"), owner("one"));
    assert_eq!(values(&place.lines("three", &["records", "a key"])), ["a value"]);
    let providers = place.lines("one", &["providers", "a content"]);
    assert_eq!(providers.iter().map(|line| text(line, "provider")).collect::<Vec<_>>(), [me]);
}

#[test]
fn what_was_put_through_a_node_alone_in_the_world_is_there_however_often_it_is_killed() {
    let place = Place::new();
    for round in 0..4 {
        let (mut node, _) = start(&place, "one", &[]);
        for before in 0..round {
            assert_eq!(values(&place.lines("one", &["records", &format!("key {before}")])), [format!("{before}")]);
        }
        place.lines("one", &["put", &format!("key {round}"), &round.to_string()]);
        if round == 0 {
            // It is kept until it expires, and published no longer.
            place.lines("one", &["withdraw", "key 0"]);
        }
        // It is killed while it writes, or before, or after.
        let unfinished = place.program("one", &["put", &format!("other {round}"), "x"]);
        let unfinished = std::thread::spawn(move || finish(unfinished));
        node.kill();
        unfinished.join().unwrap();
    }
    let (node, _) = start(&place, "one", &[]);
    assert_eq!(node.end("INT").0, Some(0));
    assert_eq!(snapshots(&place, "one").len(), 1, "nothing half done stays");
}

/// The same where it can be found again.
fn start_at(place: &Place, home: &str, more: &[&str]) -> (Running, String) {
    let socket = format!("unix:{}", place.path(&format!("{home}.sock")).display());
    let node = ["node", "--overlay", "find=kademlia", "--listen", &socket];
    ready(place.start(home, &[&node[..], more].concat()))
}

/// The nodes one and two, which were killed, are started again, and have found each other.
fn again(place: &Place, of_two: &[&str]) -> [Running; 2] {
    // Where a killed node listened its socket is left.
    let nodes = [start_at(place, "one", &[]).0, start_at(place, "two", of_two).0];
    for home in ["one", "two"] {
        // Each waits some seconds for the other before the lower of the two begins; a try takes milliseconds.
        let is_in = || place.run(home, &["lookup", "a key"]).status.success();
        assert!((0..20_000).any(|_| is_in()), "{home} is not in");
        until_linked(place, home);
    }
    nodes
}

#[test]
fn two_nodes_that_are_killed_at_once_find_each_other_again() {
    let place = Place::new();
    let (mut one, contact) = start_at(&place, "one", &[]);
    let (mut two, _) = start_at(&place, "two", &["--join", &contact]);
    until_linked(&place, "two");
    for number in 0..6 {
        place.lines(["one", "two"][number % 2], &["put", &format!("key {number}"), &format!("{number}")]);
    }
    [&mut one, &mut two].into_iter().for_each(Running::kill);
    let _nodes = again(&place, &[]);
    for number in 0..6 {
        for home in ["one", "two"] {
            assert_eq!(values(&place.lines(home, &["records", &format!("key {number}")])), [format!("{number}")]);
        }
    }
}

#[test]
fn of_a_hand_over_whose_both_ends_are_killed_midway_nothing_is_lost() {
    // More than one frame of a hand-over names.
    const VALUES: usize = 300;
    let place = Place::new();
    let (one, contact) = start_at(&place, "one", &[]);
    let (mut publisher, _) = start_at(&place, "publisher", &["--join", &contact]);
    until_linked(&place, "publisher");
    for number in 0..VALUES {
        let line = &place.lines("publisher", &["put", &format!("key {number}"), &format!("{number}")])[0];
        assert_eq!(line["replicas"], 2);
    }
    // From now on one alone has them, written down, and nobody would store them anew.
    publisher.kill();
    assert_eq!(one.end("TERM").0, Some(0));
    let (mut one, _) = start_at(&place, "one", &[]);
    let (mut two, _) = start_at(&place, "two", &["--join", &contact]);
    let kept = |home: &str| place.lines(home, &["overlays"])[0]["records"].as_u64().unwrap();
    assert_eq!(kept("one"), VALUES as u64);
    assert!((0..20_000).any(|_| kept("two") > 0), "nothing is handed over");
    [&mut two, &mut one].into_iter().for_each(Running::kill);
    // Nobody had written down yet whom it met.
    let _nodes = again(&place, &["--join", &contact]);
    for number in 0..VALUES {
        let home = ["one", "two"][number % 2];
        assert_eq!(values(&place.lines(home, &["records", &format!("key {number}")])), [number.to_string()]);
    }
}

#[test]
fn a_damaged_snapshot_is_set_aside_in_one_line_and_the_node_runs() {
    let place = Place::new();
    let (node, _) = start(&place, "one", &[]);
    place.lines("one", &["put", "a key", "a value"]);
    assert_eq!(node.end("TERM").0, Some(0));
    let [file] = &snapshots(&place, "one")[..] else { panic!("one overlay, one file") };
    let whole = fs::read(file).unwrap();
    for (number, bytes) in (1..).zip([&whole[..whole.len() / 2], b"something else", &[]]) {
        fs::write(file, bytes).unwrap();
        let said = place.path("said");
        let mut command = place.program("one", &NODE);
        command.stderr(fs::File::create(&said).unwrap());
        let mut node = Running::new(command);
        node.event("ready");
        assert_eq!(node.end("TERM").0, Some(0));
        let said = fs::read_to_string(&said).unwrap();
        let aside = file.with_extension(format!("damaged-{number}"));
        assert!(said.lines().count() == 1 && said.contains(aside.to_str().unwrap()), "{said}");
        assert_eq!(fs::read(&aside).unwrap(), bytes);
    }
    // Back in its place it is as good as before.
    fs::write(file, whole).unwrap();
    let (_node, _) = start(&place, "one", &[]);
    assert_eq!(values(&place.lines("one", &["records", "a key"])), ["a value"]);
}

//! Sharing and getting, with three processes and more, and what may happen to them.

use serde_json::Value;

use crate::support::{Place, Running, same, text};

/// A node, two that share the same file, and their link.
struct Network {
    place: Place,
    contact: String,
    link: String,
    _node: Running,
    shares: [Running; 2],
}

const MEBIBYTES: usize = 24;

fn network(listen: &str) -> Network {
    let place = Place::new();
    place.file("file.bin", MEBIBYTES, 7);
    let mut node = place.start("node", &["node", "--listen", listen]);
    let contact = text(&node.event("ready"), "contact");
    let share = |home: &str| {
        let mut share = place.start(home, &["share", "file.bin", "--listen", listen, "--join", &contact]);
        let ready = share.event("ready");
        assert_eq!((ready["bytes"].as_u64(), ready["blobs"].as_u64()), (Some((MEBIBYTES << 20) as u64), Some(1)));
        (share, text(&ready, "link"))
    };
    let ((one, link), (two, other)) = (share("one"), share("two"));
    assert!(link.starts_with("pml") && other.starts_with("pml"));
    Network { place, contact, link, _node: node, shares: [one, two] }
}

impl Network {
    fn get<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&["get", self.link.as_str(), "--join", self.contact.as_str()], more].concat()
    }

    fn is_done(&self, done: &Value, output: &str) {
        assert_eq!(done["event"], "done", "{done}");
        assert_eq!(done["bytes"].as_u64(), Some((MEBIBYTES << 20) as u64));
        assert!(done["seconds"].as_f64().unwrap() > 0.0);
        assert!(text(done, "path").ends_with(output), "{done}");
        assert!(same(&self.place.path("file.bin"), &self.place.path(output)));
    }
}

fn three_processes_pass_a_file_on(listen: &str) {
    let network = network(listen);
    let lines = network.place.lines("get", &network.get(&["-o", "out.bin"]));
    let (done, progress) = lines.split_last().unwrap();
    network.is_done(done, "out.bin");
    assert_eq!((done["sources"].as_u64(), done["resumed_bytes"].as_u64()), (Some(2), Some(0)));
    assert!(!progress.is_empty() && progress.iter().all(|line| line["event"] == "progress"));
    let Network { shares: [one, _two], .. } = network;
    assert_eq!(one.end("INT").0, Some(0), "share leaves cleanly");
}

#[test]
fn three_processes_pass_a_file_on_over_tcp() {
    three_processes_pass_a_file_on("tcp://127.0.0.1:0");
}

#[test]
fn three_processes_pass_a_file_on_over_quic() {
    three_processes_pass_a_file_on("quic://127.0.0.1:0");
}

#[test]
fn what_a_killed_get_had_is_not_fetched_again() {
    let network = network("tcp://127.0.0.1:0");
    let slowly = network.get(&["-o", "out.bin", "--limit", "6000000"]);
    let mut get = network.place.start("get", &slowly);
    let most = (MEBIBYTES << 20) as u64 * 7 / 10;
    get.until(|line| line["event"] == "progress" && line["bytes"].as_u64().unwrap() >= most);
    get.kill();
    assert!(!network.place.path("out.bin").exists(), "whole or not at all");
    let lines = network.place.lines("get", &network.get(&["-o", "out.bin"]));
    let done = lines.last().unwrap();
    network.is_done(done, "out.bin");
    assert!(done["resumed_bytes"].as_u64().unwrap() > 0, "{done}");
}

#[test]
fn a_provider_that_is_killed_is_replaced_by_the_other() {
    let mut network = network("tcp://127.0.0.1:0");
    let arguments: Vec<String> =
        network.get(&["-o", "out.bin", "--limit", "8000000"]).into_iter().map(str::to_owned).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut get = network.place.start("get", &arguments);
    let some = (MEBIBYTES << 20) as u64 * 3 / 10;
    get.until(|line| line["event"] == "progress" && line["bytes"].as_u64().unwrap() >= some);
    network.shares[0].kill();
    let done = get.event("done");
    network.is_done(&done, "out.bin");
}

#[test]
fn a_folder_is_shared_whole_and_lands_where_it_was_asked_for() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("album/inner")).unwrap();
    let (a, b) = (place.file("album/a.bin", 1, 1), place.file("album/inner/b.bin", 2, 2));
    let mut share = place.start("share", &["share", "album", "--title", "T", "--listen", "tcp://127.0.0.1:0"]);
    let ready = share.event("ready");
    assert_eq!(ready["blobs"].as_u64(), Some(2));
    std::fs::create_dir(place.path("into")).unwrap();
    let link = text(&ready, "link");
    for output in ["new", "into"] {
        place.lines("get", &["get", &link, "-o", output]);
        assert!(same(&a, &place.path(output).join("album/a.bin")));
        assert!(same(&b, &place.path(output).join("album/inner/b.bin")));
    }
}

#[test]
fn an_interrupted_get_says_so_in_its_exit_code() {
    let network = network("tcp://127.0.0.1:0");
    let mut get = network.place.start("get", &network.get(&["-o", "out.bin", "--limit", "500000"]));
    get.event("progress");
    assert_eq!(get.end("INT").0, Some(130));
}

#[test]
fn three_commands_work_with_one_home() {
    let place = Place::new();
    let file = place.file("file.bin", 2, 3);
    let mut node = place.start("home", &["node", "--listen", "tcp://127.0.0.1:0"]);
    let contact = text(&node.event("ready"), "contact");
    let arguments = ["share", "file.bin", "--join", &contact, "--listen", "tcp://127.0.0.1:0"];
    let mut share = place.start("home", &arguments);
    let link = text(&share.event("ready"), "link");
    place.lines("home", &["get", &link, "-o", "out.bin"]);
    assert!(same(&file, &place.path("out.bin")));
}

#[test]
fn an_overlay_with_a_secret_lets_in_who_knows_it() {
    let place = Place::new();
    let file = place.file("file.bin", 1, 4);
    let door = format!("private=chord,secret={}", "5a".repeat(32));
    let listen = "tcp://127.0.0.1:0";
    let mut share = place.start("share", &["share", "file.bin", "--overlay", &door, "--listen", listen]);
    let link = text(&share.event("ready"), "link");
    place.lines("get", &["get", &link, "--overlay", &door, "-o", "out.bin"]);
    assert!(same(&file, &place.path("out.bin")));
}

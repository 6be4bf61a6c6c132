//! The demo and the list of topologies.

use crate::support::{Place, text};

#[test]
fn the_demo_verifies_every_file_and_misses_no_chunk() {
    let place = Place::new();
    let lines = place.lines("home", &["demo", "--nodes", "5"]);
    let done = lines.last().unwrap();
    assert_eq!((text(done, "event"), done["nodes"].as_u64()), ("done".into(), Some(5)));
    let overlays = done["overlays"].as_array().unwrap();
    assert!(overlays.len() >= 3);
    assert!(overlays.iter().all(|overlay| overlay["peers"].as_u64().unwrap() >= 4), "{overlays:?}");
    let topologies: Vec<_> = overlays.iter().map(|overlay| text(overlay, "topology")).collect();
    assert!(["chord", "hyparview-plumtree", "scribe"].iter().all(|name| topologies.iter().any(|t| t == name)));
    let files = done["files"].as_array().unwrap();
    assert_eq!(files.len(), 6);
    for (file, (name, bytes)) in files.iter().zip(polymorph::media::samples::FILES) {
        assert_eq!((text(file, "name").as_str(), file["bytes"].as_u64()), (name, Some(bytes.len() as u64)));
        assert_eq!(text(file, "hash"), blake3::hash(bytes).to_string());
        assert!(file["verified"] == true && file["sources"].as_u64().unwrap() >= 1);
    }
    let stream = &done["stream"];
    assert_eq!((stream["sent"].as_u64(), stream["missed"].as_u64()), (stream["delivered_min"].as_u64(), Some(0)));
    assert!(done["seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_demo_stays_up_and_shows_its_page() {
    use std::io::{Read, Write};
    let place = Place::new();
    let file = place.file("more.bin", 3, 9);
    let mut demo = place.start("home", &["demo", "--nodes", "3", "--serve", "--file", file.to_str().unwrap()]);
    let url = text(&demo.event("serving"), "url");
    let done = demo.event("done");
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let fetch = |path: &str| {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let at = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
        let body = answer.split_off(at + 4);
        (String::from_utf8(answer).unwrap(), body)
    };
    assert!(fetch("/").0.starts_with("HTTP/1.1 200"));
    let state: serde_json::Value = serde_json::from_slice(&fetch("/state.json").1).unwrap();
    assert_eq!(state["nodes"].as_array().unwrap().len(), 3);
    let file = &done["files"].as_array().unwrap()[1];
    let (head, body) = fetch(&format!("/file/{}", text(file, "hash")));
    assert!(head.contains("image/webp"));
    assert_eq!(blake3::hash(&body).to_string(), text(file, "hash"));
    assert!(fetch("/nothing").0.starts_with("HTTP/1.1 404"));
    assert_eq!(done["files"].as_array().unwrap().len(), 7);
    assert_eq!(demo.end("INT").0, Some(0));
}

#[test]
fn topologies_are_listed_with_what_can_be_set() {
    let place = Place::new();
    let lines = place.lines("home", &["sim", "--list"]);
    let chord = lines.iter().find(|line| line["topology"] == "chord").unwrap();
    assert!(
        chord["settings"].as_array().unwrap().iter().any(|row| row["key"] == "successors" && row["default"] == "16")
    );
    assert!(text(chord, "paper").contains("2001"));
}

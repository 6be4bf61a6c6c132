//! Looking at and steering running nodes.

use crate::support::{Place, text};

#[test]
fn running_nodes_are_looked_at_and_steered() {
    let place = Place::new();
    let overlays = ["--overlay", "find=chord", "--overlay", "chat=hyparview-plumtree"];
    let listen = ["node", "--listen", "tcp://127.0.0.1:0"];
    let mut one = place.start("one", &[&listen[..], &overlays].concat());
    let first = one.event("ready");
    let (guid, contact) = (text(&first, "guid"), text(&first, "contact"));
    let mut two = place.start("two", &[&listen[..], &overlays, &["--join", &contact]].concat());
    let other = text(&two.event("ready"), "guid");
    until_linked(&place, "one");
    until_linked(&place, "two");

    let status = &place.lines("one", &["status"])[0];
    assert_eq!((text(status, "guid"), status["overlays"].as_u64()), (guid.clone(), Some(2)));
    assert!(status["engine_bytes"].as_u64().unwrap() > 0 && text(status, "contact").starts_with("pmc"));
    let peers = place.lines("one", &["peers"]);
    assert_eq!((peers.len(), text(&peers[0], "peer")), (1, other.clone()));

    let owner = |home: &str| text(&place.lines(home, &["lookup", "--overlay", "find", "a name"])[0], "owner");
    assert_eq!(owner("one"), owner("two"));

    place.lines("one", &["send", "--overlay", "find", &other, "hello"]);
    let message = two.event("message");
    assert_eq!((text(&message, "from"), text(&message, "payload")), (guid.clone(), "hello".into()));

    let mut hears = place.start("two", &["subscribe", "--overlay", "chat", "-"]);
    hears.event("subscribed");
    place.lines("one", &["publish", "--overlay", "chat", "-", "news"]);
    let news = hears.event("published");
    assert_eq!(
        (text(&news, "from"), text(&news, "payload"), text(&news, "origin")),
        (guid, "news".into(), "signed".into())
    );
    assert_eq!(hears.end("INT").0, Some(0), "to be interrupted is how a subscription ends");

    let names = || place.lines("one", &["overlays"]).iter().map(|line| text(line, "name")).collect::<Vec<_>>();
    place.lines("one", &["attach", "more=full-mesh"]);
    assert_eq!(names(), ["find", "chat", "more"]);
    let (code, error) = place.failure("one", &["attach", "more=full-mesh"]);
    assert!(code == Some(1) && error.contains("attached already"), "{error}");
    place.lines("one", &["detach", "more"]);
    assert_eq!(names(), ["find", "chat"]);
    let (code, error) = place.failure("one", &["detach", "more"]);
    assert!(code == Some(1) && error.contains("find, chat"), "{error}");
    let (code, error) = place.failure("one", &["lookup", "--overlay", "fnd", "x"]);
    assert!(code == Some(1) && error.contains("find, chat"), "{error}");
}

#[test]
fn one_process_is_a_member_of_six_rings_at_once_over_one_session() {
    let rings = ["chord", "kademlia", "pastry", "tapestry", "symphony", "one-hop"];
    let place = Place::new();
    let texts = rings.map(|ring| format!("in-{ring}={ring}"));
    let overlays = texts.iter().flat_map(|text| ["--overlay", text]);
    let arguments: Vec<&str> = ["node", "--listen", "tcp://127.0.0.1:0"].into_iter().chain(overlays).collect();
    let mut one = place.start("one", &arguments);
    let contact = text(&one.event("ready"), "contact");
    let mut two = place.start("two", &[&arguments[..], &["--join", &contact]].concat());
    two.event("ready");
    for home in ["one", "two"] {
        until_linked(&place, home);
        let shown = place.lines(home, &["overlays"]);
        let shown: Vec<String> =
            shown.iter().map(|line| format!("{}={}", text(line, "name"), text(line, "topology"))).collect();
        assert_eq!(shown, texts);
        let peers = place.lines(home, &["peers"]);
        assert_eq!((peers.len(), peers[0]["overlays"].as_u64()), (1, Some(6)), "one session carries all");
    }
    for ring in rings {
        let overlay = format!("in-{ring}");
        let owner = |home: &str| text(&place.lines(home, &["lookup", "--overlay", &overlay, "a name"])[0], "owner");
        assert_eq!(owner("one"), owner("two"), "{ring}");
    }
}

/// Asks until the node has a neighbor in every overlay; each question takes a process, so nothing spins.
pub(crate) fn until_linked(place: &Place, home: &str) {
    let linked = || {
        let overlays = place.lines(home, &["overlays"]);
        overlays.iter().all(|line| line["neighbors"].as_array().is_some_and(|all| !all.is_empty()))
    };
    assert!((0..1000).any(|_| linked()), "{home} did not get neighbors");
}

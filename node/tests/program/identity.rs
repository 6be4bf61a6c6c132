//! Who a node is, and who may know.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Place, text};

#[test]
fn a_node_is_the_same_every_time_and_only_its_owner_can_read_its_key() {
    let place = Place::new();
    let first = place.lines("home", &["id"]);
    assert_eq!(first, place.lines("home", &["id"]));
    assert_eq!((text(&first[0], "guid").len(), text(&first[0], "public_key").len()), (64, 64));
    let mode = place.path("home/identity").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_ne!(first, place.lines("other", &["id"]));
}

#[test]
fn a_damaged_identity_is_an_error_and_stays_as_it_is() {
    let place = Place::new();
    place.lines("home", &["id"]);
    let path = place.path("home/identity");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 9);
    std::fs::write(&path, &bytes).unwrap();
    let (code, error) = place.failure("home", &["id"]);
    assert_eq!((code, error.lines().count()), (Some(1), 1), "{error}");
    assert!(error.contains("damaged") && error.contains("identity"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_node_leaves_cleanly_when_interrupted_and_its_home_is_free_again() {
    let place = Place::new();
    for signal in ["INT", "TERM"] {
        let mut node = place.start("home", &["node", "--listen", "tcp://127.0.0.1:0"]);
        let ready = node.event("ready");
        assert!(text(&ready, "contact").starts_with("pmc") && ready["gateway"].is_null());
        assert!(ready["listen"][0].as_str().unwrap().starts_with("tcp://127.0.0.1:"));
        assert_eq!(ready["guid"], place.lines("home", &["id"])[0]["guid"]);
        let control = place.path("home/control.sock");
        assert_eq!(control.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let (code, _) = node.end(signal);
        assert_eq!(code, Some(0), "{signal}");
        assert!(!control.exists());
    }
}

#[test]
fn a_home_runs_one_node_and_says_who_has_it() {
    let place = Place::new();
    let mut node = place.start("home", &["node", "--listen", "tcp://127.0.0.1:0"]);
    node.event("ready");
    let (code, error) = place.failure("home", &["node", "--listen", "tcp://127.0.0.1:0"]);
    assert_eq!((code, error.lines().count()), (Some(1), 1), "{error}");
    assert!(error.contains("in use by process") && error.contains("polymorph node"), "{error}");
}

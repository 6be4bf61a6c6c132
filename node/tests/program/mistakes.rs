//! Wrong words, and how they are answered.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Place, finish, text};

#[test]
fn wrong_usage_ends_with_two() {
    let place = Place::new();
    let wrong: [&[&str]; 6] =
        [&["no-such-command"], &["get"], &["share"], &["id", "--no-such-flag"], &["demo", "--nodes", "x"], &["sim"]];
    for arguments in wrong {
        assert_eq!(place.failure("home", arguments).0, Some(2), "{arguments:?}");
    }
}

/// What is said must be one line and name what would help.
fn refused(place: &Place, arguments: &[&str], hints: &[&str]) {
    let (code, error) = place.failure("home", arguments);
    assert_eq!((code, error.lines().count()), (Some(1), 1), "{arguments:?}: {error}");
    hints.iter().for_each(|hint| assert!(error.contains(hint), "{arguments:?} lacks {hint:?}: {error}"));
}

#[test]
fn wrong_words_are_answered_with_what_would_be_right() {
    let place = Place::new();
    std::fs::write(place.path("file"), "x").unwrap();
    let mut share = place.start("share", &["share", "file", "--listen", "tcp://127.0.0.1:0"]);
    let ready = share.event("ready");
    let (link, contact) = (text(&ready, "link"), text(&ready, "contact"));
    let typo = |word: &str| {
        let at = word.len() / 2;
        let other = if &word[at..=at] == "a" { "b" } else { "a" };
        format!("{}{other}{}", &word[..at], &word[at + 1..])
    };
    refused(&place, &["get", &typo(&link)], &["link", "typo"]);
    refused(&place, &["get", &contact], &["starts with pml"]);
    refused(&place, &["node", "--join", &typo(&contact)], &["contact"]);
    refused(&place, &["node", "--overlay", "find=cord"], &["did you mean chord?"]);
    refused(&place, &["node", "--overlay", "find=chord,succesors=8"], &["did you mean successors?"]);
    refused(&place, &["node", "--overlay", "find"], &["NAME=TOPOLOGY"]);
    refused(&place, &["node", "--listen", "127.0.0.1:0"], &["tcp://IP:PORT"]);
    refused(&place, &["node", "--listen", "tcp://192.0.2.1:1"], &["cannot listen", "192.0.2.1"]);
    refused(&place, &["share", "nothing-here"], &["nothing-here"]);
    refused(&place, &["status"], &["no node runs", "polymorph node"]);
    refused(&place, &["node", "--config", "nothing-here"], &["nothing-here"]);
    refused(&place, &["sim", "cord"], &["chord"]);
}

#[test]
fn settings_with_a_mistake_name_the_line() {
    let place = Place::new();
    std::fs::write(place.path("settings.toml"), "listen = []\nlisen = []\n").unwrap();
    refused(&place, &["node", "--config", "settings.toml"], &["settings.toml", "line 2", "lisen"]);
}

#[test]
fn a_home_that_cannot_be_written_is_a_clear_error() {
    let place = Place::new();
    std::fs::write(place.path("file"), "x").unwrap();
    std::fs::create_dir(place.path("closed")).unwrap();
    std::fs::set_permissions(place.path("closed"), std::fs::Permissions::from_mode(0o500)).unwrap();
    // Whoever may write everywhere meets a home below a file instead.
    let writes_anyway = std::fs::write(place.path("closed/probe"), "").is_ok();
    let home = if writes_anyway { "file/home" } else { "closed/home" };
    for arguments in [&["id"][..], &["node"], &["share", "file"]] {
        let (code, error) = place.failure(home, arguments);
        assert_eq!((code, error.lines().count()), (Some(1), 1), "{arguments:?}: {error}");
        assert!(error.contains("--home"), "{arguments:?}: {error}");
    }
}

#[test]
fn a_get_without_anybody_to_ask_says_whom_to_join() {
    let place = Place::new();
    std::fs::write(place.path("file"), "x").unwrap();
    let mut share = place.start("share", &["share", "file", "--listen", "tcp://127.0.0.1:0"]);
    let link: polymorph::media::Link = text(&share.event("ready"), "link").parse().unwrap();
    let bare = polymorph::media::Link::new(link.root(), link.overlay(), link.topology(), &[]).unwrap();
    refused(&place, &["get", &bare.to_string()], &["--join"]);
}

#[test]
fn a_reader_that_goes_away_does_no_harm() {
    let place = Place::new();
    let mut command = std::process::Command::new("sh");
    let program = env!("CARGO_BIN_EXE_polymorph");
    command.arg("-c").arg(format!("{program} sim --list --home home | head -1")).current_dir(place.0.path());
    let output = finish(command);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !error.contains("panicked"), "{error}");
}

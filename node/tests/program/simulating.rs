//! Worlds: their report as a page, real nodes beside them, advice measured in them, and the skeleton of a topology.

use crate::support::{Place, text};

/// What must be said in one line that helps.
fn refused(place: &Place, arguments: &[&str], code: i32, hints: &[&str]) {
    let (ended, error) = place.failure("home", arguments);
    assert_eq!(ended, Some(code), "{arguments:?}: {error}");
    let first = error.lines().next().unwrap_or_default();
    hints.iter().for_each(|hint| assert!(first.contains(hint), "{arguments:?} lacks {hint:?}: {error}"));
}

#[test]
fn a_page_has_the_figures_of_its_run_and_stands_alone() {
    let place = Place::new();
    let run = ["sim", "chord", "--peers", "40", "--lookups", "60", "--ideal", "--fail", "0.1", "--report", "page.html"];
    let report = &place.lines("home", &run)[0];
    let page = std::fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains(&text(report, "trace_hash")));
    let (_, figures) = page.split_once("<pre>").unwrap();
    let figures = figures.split_once("</pre>").unwrap().0.replace("&quot;", "\"");
    assert_eq!(&serde_json::from_str::<serde_json::Value>(&figures).unwrap(), report);
    // Four of forty crashed.
    assert_eq!(page.matches("<circle").count(), 36);
    assert!(page.contains("polymorph sim chord --peers 40 --lookups 60 --ideal --fail 0.1"));
    for outside in ["://", "src=", "@import", "<script", "<link", "href"] {
        assert!(!page.contains(outside), "{outside}");
    }
    // Nothing is left beside it.
    let left =
        std::fs::read_dir(place.0.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(left.filter(|name| name.contains("report")).count(), 0);
}

#[test]
fn a_page_that_cannot_be_written_is_said_before_the_run() {
    let place = Place::new();
    let run = |path| ["sim", "chord", "--peers", "1000000", "--ideal", "--report", path];
    refused(&place, &run("nowhere/page.html"), 1, &["nowhere/page.html", "cannot write"]);
    std::fs::create_dir(place.path("folder")).unwrap();
    refused(&place, &run("folder"), 1, &["folder", "it is a folder"]);
}

#[test]
fn a_signal_ends_a_long_run_and_leaves_no_page() {
    let place = Place::new();
    let files = || std::fs::read_dir(place.0.path()).unwrap().filter(|file| file.as_ref().unwrap().path().is_file());
    let world = ["sim", "chord", "--peers", "2000", "--ideal", "--time", "1000000"];
    let real = ["sim", "chord", "--peers", "8", "--ideal", "--lookups", "1000000", "--sockets", "mem"];
    for (run, signal) in [(&world[..], "INT"), (&real, "TERM")] {
        let running = place.start("home", &[run, &["--report", "page.html"]].concat());
        // The page is begun first of all.
        while files().count() == 0 {
            std::thread::yield_now();
        }
        let (code, printed) = running.end(signal);
        assert_eq!((code, printed.as_str()), (Some(130), ""), "{run:?}");
        assert_eq!(files().count(), 0, "{run:?}");
    }
}

#[test]
fn a_thousand_peers_that_sign_and_encode_for_real_find_what_those_find_that_do_not() {
    let place = Place::new();
    let run = ["sim", "chord", "--peers", "1000", "--ideal", "--seed", "1", "--lookups", "300"];
    let real = &place.lines("home", &[&run[..], &["--real-crypto", "--wire"]].concat())[0];
    assert_eq!((&real["lookups"]["ok"], &real["lookups"]["consistent"]), (&300.into(), &300.into()), "{real}");
    // Real keys are other identities, and so other places on the ring; encoding alone changes nothing.
    let [plain, encoded] = [&run[..], &[&run[..], &["--wire"]].concat()].map(|run| place.lines("home", run).remove(0));
    assert_eq!(plain["trace_hash"], encoded["trace_hash"]);
    assert_ne!(plain["trace_hash"], real["trace_hash"]);
}

#[test]
fn real_nodes_take_as_many_hops_as_a_world_says() {
    let place = Place::new();
    let run = ["sim", "chord", "--peers", "24", "--lookups", "60", "--ideal", "--seed", "3"];
    for wire in ["mem", "tcp"] {
        let report = &place.lines("home", &[&run[..], &["--sockets", wire]].concat())[0];
        assert_eq!((&report["lookups"]["ok"], &report["lookups"]["consistent"]), (&60.into(), &60.into()), "{report}");
        let agreement = &report["agreement"];
        assert_eq!((&agreement["lookups"], &agreement["equal_hops"]), (&60.into(), &60.into()), "{agreement}");
        assert_eq!(agreement["hops"]["p"], 1.0);
        assert_eq!(report["lookups"]["hops"], agreement["simulated"]["lookups"]["hops"]);
        assert!(report["trace_hash"].is_null());
    }
    refused(&place, &["sim", "chord", "--peers", "5000", "--sockets", "tcp"], 1, &["5000", "at most"]);
    refused(&place, &["sim", "chord", "--sockets", "tcp", "--fail", "0.1"], 2, &["--sockets"]);
}

#[test]
fn real_nodes_that_join_one_after_another_find_every_owner() {
    let place = Place::new();
    let run = ["sim", "chord", "--peers", "6", "--lookups", "30", "--seed", "4", "--sockets", "tcp"];
    let quick = ["--set", "stabilize=1", "--set", "fix_fingers=1"];
    let report = &place.lines("home", &[&run[..], &quick].concat())[0];
    assert_eq!((&report["lookups"]["ok"], &report["lookups"]["consistent"]), (&30.into(), &30.into()), "{report}");
    assert_eq!(report["agreement"]["lookups"], 30);
}

#[test]
fn real_nodes_hear_broadcasts_as_in_a_world() {
    let place = Place::new();
    let run = ["sim", "hyparview-plumtree", "--peers", "20", "--broadcasts", "8", "--ideal", "--sockets", "mem"];
    let report = &place.lines("home", &run)[0];
    assert_eq!(
        (&report["broadcast"]["reliability"], &report["broadcast"]["count"]),
        (&1.0.into(), &8.into()),
        "{report}"
    );
    assert_eq!(report["agreement"]["simulated"]["broadcast"]["reliability"], 1.0);
}

#[test]
fn advice_is_measured_and_its_commands_measure_the_same() {
    let place = Place::new();
    let advice = place.lines("home", &["recommend", "--peers", "30", "--purpose", "announce"]);
    assert!(advice.len() >= 3, "{advice:?}");
    assert_eq!((&advice[0]["rank"], &advice[0]["report"]["broadcast"]["reliability"]), (&1.into(), &1.0.into()));
    let command = text(&advice[0], "command");
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    assert_eq!(place.lines("home", &words)[0]["trace_hash"], advice[0]["report"]["trace_hash"]);
    refused(&place, &["recommend", "--peers", "30", "--purpose", "find", "--churn", "wild"], 1, &["wild", "--churn"]);
}

#[test]
fn a_new_topology_is_a_whole_crate_or_nothing() {
    let place = Place::new();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let make = |name| ["new-topology", name, "--path", "made", "--polymorph", source];
    let made = &place.lines("home", &make("my-ring"))[0];
    for file in made["files"].as_array().unwrap() {
        let text = std::fs::read_to_string(place.path("made/my-ring").join(file.as_str().unwrap())).unwrap();
        assert!(!text.is_empty() && !text.contains("{{"), "{file}: {text}");
    }
    let manifest = std::fs::read_to_string(place.path("made/my-ring/Cargo.toml")).unwrap();
    assert!(manifest.contains("/core\", default-features = false }"), "{manifest}");
    refused(&place, &make("my-ring"), 1, &["my-ring", "already"]);
    refused(&place, &make("My Ring"), 2, &["My Ring", "letter"]);
    refused(&place, &["new-topology", "other", "--path", "made", "--polymorph", "made"], 1, &["no checkout"]);
    assert_eq!(std::fs::read_dir(place.path("made")).unwrap().count(), 1);
}

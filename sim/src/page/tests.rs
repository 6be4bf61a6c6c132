use core::time::Duration;

use polymorph_core::topology::question::{Hold, Neighbor, Role};
use polymorph_core::{Guid, OverlayId};

use super::*;
use crate::attack::Kind;
use crate::attack::damage::Damage;
use crate::report::{
    self, Answers, Arrivals, Bins, Load, Percentiles, Portrait, Quantiles, Records, Spread, State, Windows,
};

fn guid(number: u8) -> Guid {
    Guid([number; 32])
}

/// Everything there is to draw, and a name that is no good markup.
fn report() -> Report {
    let hops = vec![Some(3), Some(4), None, Some(4), Some(9)];
    let lookups = Lookups {
        count: 5,
        ok: 4,
        consistent: Some(3),
        hops: Quantiles::of(vec![3.0, 4.0, 4.0, 9.0]),
        latency_ms: Percentiles::of(vec![120.5, 310.0]),
        answers: Answers { hops, began: polymorph_core::Time::ZERO, latency_ms: Bins::of([120.5, 310.0], 0.01) },
        ..Lookups::default()
    };
    let mut arrivals = Arrivals::default();
    arrivals.count(Duration::from_millis(70));
    let broadcast = Broadcast {
        count: 7,
        reliability: 0.9375,
        redundancy: Some(0.25),
        last_hop: Spread::of(&[4.0]),
        coverage: arrivals.each().map(|(at, _)| (at, 0.9375)).collect(),
        ..Broadcast::default()
    };
    let peers = (0..20u8).map(|at| {
        let next = Neighbor { peer: guid((at + 1) % 20), role: Role::Successor, hold: Hold::Required };
        let far = Neighbor { peer: guid((at + 7) % 20), role: Role::Finger, hold: Hold::Cached };
        (guid(at), 1.0, vec![next, far])
    });
    let mut report = Report {
        topology: "a<b>&\"c".into(),
        peers: 20,
        sim_seconds: 12.25,
        events: 123_456,
        events_per_s: Some(650_000.0),
        baseline_events_per_s: Some(1_300_000.0),
        trace_hash: "00ff".into(),
        windows: Some(Windows {
            before_repair: Some(Window { lookups: Some(lookups.clone()), broadcast: None }),
            after_repair: None,
        }),
        lookups: Some(lookups),
        broadcast: Some(broadcast),
        state: Some(State { entries_mean: 2.0, entries_max: 3.0, bytes_mean: None }),
        load: Load::of(vec![1.0, 3.0]),
        ..Report::default()
    };
    let calm = Service { lookups: 8, ok: 8, consistent: Some(8), honest: Some(8), ..Service::default() };
    let with = Service { ok: 6, honest: Some(2), tables: 0.125, reliability: Some(0.75), ..calm };
    let (kind, share, attackers, honest) = (Kind::Sybil, 0.2, 4, 16);
    report.attack =
        Some(Damage { kind, share, attackers, honest, without: calm, with, blamed: 3, wronged: 0, doubts: 5 });
    report.records = Some(Records { count: 40, stored: 40, found: 39, ..Records::default() });
    report.shape.load = vec![0.5, 1.5];
    report.shape.degree = Bins::of([2.0, 2.0, 3.0], 1.0);
    report.shape.kinds =
        vec![report::Kind { name: "copy", frames: 2, bytes: 2048 }, report::Kind { name: "ping", frames: 1, bytes: 9 }];
    report.shape.portrait = Portrait::of(OverlayId([1; 32]), peers.collect());
    report.shape.portrait.as_mut().expect("they are few").peers[0].attacks = true;
    report
}

/// The tags that are open at the end; panics where one closes that was not the last to open.
fn left_open(page: &str) -> Vec<&str> {
    let mut open = Vec::new();
    for tag in page.split('<').skip(1).map(|part| part.split('>').next().expect("every tag ends")) {
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().expect("a name");
        match tag {
            _ if tag.starts_with('!') || tag.ends_with('/') => {}
            _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(name), "closed out of turn"),
            _ => open.push(name),
        }
    }
    open
}

#[test]
fn every_tag_is_closed_and_nothing_is_fetched() {
    let (report, empty) = (report(), Report::default());
    for layout in [Layout::Circle, Layout::Forces] {
        let caption = Caption { command: "polymorph sim <x>".into(), figures: "{\"a\": 1 < 2}".into(), layout };
        for report in [&report, &empty] {
            let page = html(report, &caption);
            assert_eq!(left_open(&page), Vec::<&str>::new());
            for outside in ["://", "src=", "@import", "url(", "<script", "<link", "href"] {
                assert!(!page.contains(outside), "{outside}");
            }
            assert!(!page.contains("NaN") && !page.contains("inf\""), "a figure that is none");
        }
    }
}

#[test]
fn the_page_says_what_the_report_says() {
    let page = html(&report(), &Caption { figures: "{\"peers\":20}".into(), ..Caption::default() });
    let said = [
        "<h1>a&lt;b&gt;&amp;&quot;c</h1>",
        "12.25 s",
        "<b>5</b><span>hops on average",
        "p99 9",
        "<b>80.0 %</b>",
        "60.0 %",
        "<b>93.8 %</b>",
        "<b>0.25</b>",
        "0.50 of the yardstick",
        "before repair",
        "Trace 00ff",
        "4 hops: 2 (50.0 %)",
        "{&quot;peers&quot;:20}",
        "2 KiB",
        "4 attackers (sybil) among 16 honest peers",
        "<td>100 %</td><td>25.0 %</td>",
        "12.5 %",
        "97.5 %</b><span>values found again",
        "; 5 claims refused",
        "successor",
        "finger",
        "attacker <small>1</small>",
    ];
    said.iter().for_each(|words| assert!(page.contains(words), "the page lacks {words:?}"));
    assert_eq!((page.matches("<circle").count(), page.matches("\"peer bad\"").count()), (20, 1));
}

#[test]
fn the_same_report_gives_the_same_page() {
    let caption = Caption { layout: Layout::Forces, ..Caption::default() };
    assert_eq!(html(&report(), &caption), html(&report(), &caption));
}

#[test]
fn peers_that_are_linked_stand_near_each_other() {
    let report = report();
    let portrait = report.shape.portrait.as_ref().expect("few enough");
    // A chain in the order of keys, but every other one is linked to the first.
    let chain: Vec<(usize, usize)> = (0..19).map(|at| (at, at + 1)).collect();
    let (used, at) = layout::places(portrait, Layout::Forces, &chain);
    assert_eq!(used, Layout::Forces);
    let apart = |a: usize, b: usize| libm::hypot(at[a].0 - at[b].0, at[a].1 - at[b].1);
    let linked = chain.iter().map(|&(a, b)| apart(a, b)).sum::<f64>() / 19.0;
    assert!(linked * 2.0 < apart(0, 19), "{linked} against {}", apart(0, 19));
    assert!(at.iter().all(|(x, y)| (0.0..=1.0).contains(x) && (0.0..=1.0).contains(y)));
}

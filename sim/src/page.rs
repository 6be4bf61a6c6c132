//! A report as a page: one HTML file that stands alone, with charts and a drawing as inline SVG, for light and dark.

mod chart;
mod drawing;
mod layout;
mod scale;

use core::fmt::Write as _;

use crate::attack::damage::Service;
use crate::report::{Bins, Broadcast, Lookups, Report, Window};
use chart::Mark;
pub use layout::Layout;
use scale::{bytes, escape, number, percent, short};

const STYLE: &str = include_str!("page/style.css");

/// What a page says besides what was measured.
#[derive(Clone, Debug, Default)]
pub struct Caption {
    /// The command that measures the same again.
    pub command: String,
    /// The report as others read it, such as JSON: put at the end as it is.
    pub figures: String,
    /// How the overlay is drawn.
    pub layout: Layout,
}

/// The page. It needs no network: nothing in it is fetched from anywhere.
#[must_use]
pub fn html(report: &Report, caption: &Caption) -> String {
    let title = format!("{}, {} peers, seed {}", escape(&report.topology), number(report.peers as f64), report.seed);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n"
    );
    let _ = writeln!(
        page,
        "<header><h1>{}</h1><p>{} peers · seed {} · {} s {}</p><code>{}</code></header>",
        escape(&report.topology),
        number(report.peers as f64),
        report.seed,
        number(report.sim_seconds),
        if report.trace_hash.is_empty() { "on real nodes" } else { "of virtual time" },
        escape(&caption.command)
    );
    page += &tiles(report);
    page += "<main class=\"grid\">\n";
    charts(report, &mut page);
    windows(report, &mut page);
    attack(report, &mut page);
    if let Some(portrait) = &report.shape.portrait {
        let note = "Its links at the end of the run, in the colors of what one peer is to the other.";
        card(&mut page, "wide", "The overlay", note, &drawing::draw(portrait, caption.layout));
    }
    page += "</main>\n";
    let _ = write!(
        page,
        "<details class=\"card\"><summary>All figures</summary><pre>{}</pre></details>\n\
         <footer>{}</footer>\n</body>\n</html>\n",
        escape(&caption.figures),
        trace(&report.trace_hash)
    );
    page
}

fn trace(hash: &str) -> String {
    match hash {
        "" => "Measured on real nodes.".into(),
        hash => format!("Trace {}. The same command gives the same trace on any machine.", escape(hash)),
    }
}

/// The figures one looks at first.
fn tiles(report: &Report) -> String {
    let mut tiles = String::from("<section class=\"tiles\">");
    let mut tile = |figure: String, what: &str, note: String| {
        let _ = write!(tiles, "<div class=\"tile\"><b>{figure}</b><span>{what}</span><small>{note}</small></div>");
    };
    if let Some(lookups) = &report.lookups {
        let share = |part| share(part, lookups.count);
        if let Some(hops) = lookups.hops {
            tile(number(hops.mean), "hops on average", format!("p99 {}, most {}", number(hops.p99), number(hops.max)));
        }
        if let Some(latency) = lookups.latency_ms {
            tile(format!("{} ms", number(latency.p50)), "median lookup", format!("p99 {} ms", number(latency.p99)));
        }
        let right = lookups.consistent.map_or_else(String::new, |right| format!("{} by the right owner", share(right)));
        tile(share(lookups.ok), "lookups answered", right);
    }
    if let Some(cast) = &report.broadcast {
        tile(percent(cast.reliability), "receivers reached", format!("the first {}", percent(cast.reliability_first)));
        if let Some(redundancy) = cast.redundancy {
            tile(
                number(redundancy),
                "copies beyond one",
                format!("{} copies sent", short(cast.payload_messages as f64)),
            );
        }
        if let Some(hops) = cast.last_hop {
            tile(number(hops.mean), "links to the last one", format!("most {}", number(hops.max)));
        }
    }
    if let Some(records) = &report.records {
        let confirmed = format!("{} of {} confirmed", number(records.stored as f64), number(records.count as f64));
        tile(share(records.found, records.stored), "values found again", confirmed);
    }
    if let Some(state) = &report.state {
        tile(number(state.entries_mean), "neighbors on average", format!("most {}", number(state.entries_max)));
    }
    if let Some(traffic) = &report.traffic {
        let payload = format!("and {}/s of payload", bytes(traffic.payload_bytes_per_peer_s));
        tile(format!("{}/s", bytes(traffic.maintenance_bytes_per_peer_s)), "upkeep of a peer", payload);
    }
    if let Some(rate) = report.events_per_s {
        let ratio = report
            .baseline_events_per_s
            .map_or_else(String::new, |base| format!(", {:.2} of the yardstick", rate / base));
        tile(short(rate), "events a second", format!("{} in all{ratio}", short(report.events as f64)));
    }
    tiles + "</section>\n"
}

fn charts(report: &Report, page: &mut String) {
    if let Some((lookups, hops)) = report.lookups.as_ref().and_then(|lookups| Some((lookups, lookups.hops?))) {
        let bins = lookups.answers.hops();
        let marks = [Mark(hops.mean, format!("mean {}", number(hops.mean)))];
        let note = format!("{} lookups of random keys", number(lookups.count as f64));
        card(page, "", "Hops of lookups", &note, &chart::bars(&bins, "hops", &marks));
        let marks: Vec<Mark> = lookups.latency_ms.map(|all| Mark(all.p50, "median".into())).into_iter().collect();
        let chart = chart::bars(&lookups.answers.latency_ms, "milliseconds", &marks);
        card(page, "", "Latency of lookups", "From asking to the answer", &chart);
    }
    if let Some(cast) = report.broadcast.as_ref().filter(|cast| !cast.coverage.is_empty()) {
        let note = format!("Receivers that had it, over {} broadcasts", number(cast.count as f64));
        let half = cast.coverage.iter().find(|(_, share)| *share >= 0.5);
        let marks: Vec<Mark> =
            half.map(|(at, _)| Mark(*at, format!("half after {} ms", number(*at)))).into_iter().collect();
        let hops = Bins { from: 0.0, width: 1.0, counts: cast.hops.clone() };
        if hops.counts.len() > 1 {
            let chart = chart::bars(&hops, "links", &[]);
            card(page, "", "Links of deliveries", "How far copies went before they were delivered", &chart);
        }
        card(
            page,
            "",
            "Coverage over time",
            &note,
            &chart::steps(&cast.coverage, "milliseconds after sending", &marks),
        );
    }
    let shape = &report.shape;
    let there = shape.degree.counts.iter().sum();
    if !shape.load.is_empty() && report.load.is_some() {
        let note = report.load.map_or_else(String::new, |load| {
            let (most, p99) = (number(load.max_over_mean), number(load.p99_over_mean));
            format!("Frames handled, against the mean: the busiest {most}×, p99 {p99}×")
        });
        card(page, "", "Load of peers", &note, &chart::ranks(&shape.load, there));
    }
    if !shape.degree.counts.is_empty() {
        // The mean is of before: it is none of those who are left, or who came.
        let state = report.state.as_ref().filter(|_| report.windows.is_none() && report.attack.is_none());
        let marks: Vec<Mark> = state
            .iter()
            .map(|state| Mark(state.entries_mean, format!("mean {}", number(state.entries_mean))))
            .collect();
        card(
            page,
            "",
            "Neighbors of a peer",
            "At the end of the run",
            &chart::bars(&shape.degree, "neighbors", &marks),
        );
    }
    if !shape.kinds.is_empty() {
        let note = "Bytes at their encoded size, payload apart from upkeep by its color";
        // Alone in its row it takes all of it.
        let class = if page.matches("class=\"card").count().is_multiple_of(2) { "wide" } else { "" };
        card(page, class, "Traffic by kind", note, &chart::kinds(&shape.kinds));
    }
}

fn card(page: &mut String, class: &str, title: &str, note: &str, inside: &str) {
    let _ = writeln!(page, "<section class=\"card {class}\"><h2>{title}</h2><p>{}</p>{inside}</section>", escape(note));
}

/// One row of a table: what it is called, and what stands in a column.
type Row<'a, S> = (&'a str, &'a dyn Fn(&S) -> Option<String>);

/// The same figures of several times side by side; rows of which nothing is known are left out.
fn side_by_side<S>(columns: &[(&str, Option<&S>)], rows: &[Row<'_, S>]) -> String {
    let heads: String = columns.iter().map(|(head, _)| format!("<th>{head}</th>")).collect();
    let mut table = format!("<table><tr><th></th>{heads}</tr>");
    for (name, cell) in rows {
        let cells: Vec<Option<String>> = columns.iter().map(|(_, column)| column.and_then(cell)).collect();
        if cells.iter().any(Option::is_some) {
            let cells: String =
                cells.into_iter().map(|cell| format!("<td>{}</td>", cell.unwrap_or("–".into()))).collect();
            let _ = write!(table, "<tr><td>{name}</td>{cells}</tr>");
        }
    }
    table + "</table>"
}

/// So many of so many.
fn share(part: usize, all: usize) -> String {
    percent(part as f64 / all.max(1) as f64)
}

/// Before and after repair, beside what was measured without failures.
fn windows(report: &Report, page: &mut String) {
    let Some(windows) = &report.windows else { return };
    let whole = Window { lookups: report.lookups.clone(), broadcast: report.broadcast.clone() };
    let columns = [
        ("all well", Some(&whole)),
        ("before repair", windows.before_repair.as_ref()),
        ("after repair", windows.after_repair.as_ref()),
    ];
    let lookups = |what: fn(&Lookups) -> Option<String>| move |window: &Window| window.lookups.as_ref().and_then(what);
    let cast = |what: fn(&Broadcast) -> Option<String>| move |window: &Window| window.broadcast.as_ref().and_then(what);
    let rows: [Row<'_, Window>; 7] = [
        ("lookups answered", &lookups(|all| Some(share(all.ok, all.count)))),
        ("by the right owner", &lookups(|all| Some(share(all.consistent?, all.count)))),
        ("hops, mean", &lookups(|all| Some(number(all.hops?.mean)))),
        ("peers on the way that did not answer", &lookups(|all| Some(number(all.timeouts_mean?)))),
        ("receivers reached", &cast(|all| Some(percent(all.reliability)))),
        ("by the first of them", &cast(|all| Some(percent(all.reliability_first)))),
        ("copies beyond one", &cast(|all| Some(number(all.redundancy?)))),
    ];
    let note = "Measured again among those who survived, before and after repair";
    card(page, "wide", "A failure of many", note, &side_by_side(&columns, &rows));
}

/// What attackers did.
fn attack(report: &Report, page: &mut String) {
    let Some(damage) = &report.attack else { return };
    let columns = [("without them", Some(&damage.without)), ("with them", Some(&damage.with))];
    let lookups = |what: fn(&Service) -> Option<usize>| {
        move |of: &Service| what(of).filter(|_| of.lookups > 0).map(|part| share(part, of.lookups))
    };
    let rows: [Row<'_, Service>; 6] = [
        ("lookups answered", &lookups(|of| Some(of.ok))),
        ("by the owner, attackers counted in", &lookups(|of| of.consistent)),
        ("by the owner there would be without them", &lookups(|of| of.honest)),
        ("honest receivers reached", &|of| of.reliability.map(percent)),
        ("table entries that name attackers", &|of| Some(percent(of.tables))),
        ("frames of a peer each second", &|of| Some(number(of.frames_per_peer_s))),
    ];
    let (attackers, kind) = (number(damage.attackers as f64), damage.kind.name());
    let note = format!(
        "{attackers} attackers ({kind}) among {} honest peers, who alone ask; {} blamed, {} of them wrongly; \
         {} claims refused",
        number(damage.honest as f64),
        number(damage.blamed as f64),
        number(damage.wronged as f64),
        number(damage.doubts as f64)
    );
    card(page, "wide", "An attack", &note, &side_by_side(&columns, &rows));
}

#[cfg(test)]
mod tests;

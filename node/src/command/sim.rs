//! `sim`: topologies in virtual time.

mod agreement;
mod page;
mod run;
mod sockets;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use polymorph::sim::attack::Attack;
use polymorph::sim::attack::damage::Service;
use polymorph::sim::churn::{Churn, Lifetimes};
use polymorph::sim::latency::Plane;
use polymorph::sim::report::{Broadcast, Lookups, Report};
use polymorph::sim::workload::Sources;
use polymorph::sim::{Latency, try_seed_or};
use polymorph::topologies::catalog::{Catalog, typed};
use serde_json::json;

use super::Ended;
use crate::cli::Common;
use crate::interrupt::Interrupt;
use agreement::Agreement;

/// What to simulate.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Name the topologies with family, paper, settings and defaults
    #[arg(long)]
    list: bool,
    /// The topology
    #[arg(value_name = "TOPOLOGY", required_unless_present = "list")]
    topology: Option<String>,
    /// How many peers
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000_000))]
    peers: usize,
    /// Everything random follows from it [default: POLYMORPH_SEED, or 0]
    #[arg(long)]
    seed: Option<u64>,
    /// How long the world runs before anything is asked of it; events, traffic and load count from its beginning
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
    time: f64,
    /// A setting of the topology or of its lookups
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// constant:MS, uniform:LOW,HIGH or coords
    #[arg(long, default_value = "constant:50", value_parser = latency)]
    latency: Latency,
    /// The share of packets that are lost; streams send them again, late
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = share)]
    loss: f64,
    /// How long a session nobody holds stays open [default: as a node's, 30]
    #[arg(long, value_name = "SECONDS", value_parser = idle)]
    idle: Option<f64>,
    /// How peers come and go: none, weibull:SHAPE,SCALE or exp:MEAN, scale and mean in seconds
    #[arg(long, default_value = "none", value_parser = churn)]
    churn: Coming,
    /// The share of peers that crash at once, after what is measured before; measured again before and after repair
    #[arg(long, value_name = "P", value_parser = share)]
    fail: Option<f64>,
    /// How many lookups of random keys
    #[arg(long, value_name = "N", default_value_t = 0)]
    lookups: usize,
    /// Milliseconds between two lookups
    #[arg(long, value_name = "MS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    every: u64,
    /// How often a lookup that nobody answered is asked again
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10))]
    retries: u32,
    /// How many values of a kibibyte are put before peers come and go, lie for --time, and are fetched again
    #[arg(long, value_name = "N", default_value_t = 0)]
    records: usize,
    /// How many broadcasts are measured
    #[arg(long, value_name = "N", default_value_t = 0)]
    broadcasts: usize,
    /// How many broadcasts go before and are not counted
    #[arg(long, value_name = "N", default_value_t = 10)]
    warmup_broadcasts: usize,
    /// Whether broadcasts always come from the same peer
    #[arg(long, value_enum, default_value_t = From::One)]
    sources: From,
    /// A share of peers that attack after the calm: the same is measured without and with them. One of drop, misroute,
    /// poison, free-ride, flood, sybil, eclipse-key and eclipse-node
    #[arg(long, value_name = "KIND:SHARE", conflicts_with = "churn")]
    attack: Option<Attack>,
    /// Begin with ideal tables instead of joining one by one
    #[arg(long)]
    ideal: bool,
    /// Encode and decode every frame
    #[arg(long)]
    wire: bool,
    /// Sign with ed25519 instead of a stand-in of the same size
    #[arg(long)]
    real_crypto: bool,
    /// Run it on real nodes in this process, over these wires, and compare with the world of the same seed
    #[arg(long, value_enum, value_name = "WIRE", conflicts_with_all = ["churn", "fail", "wire", "loss", "attack", "records", "every", "retries", "idle"])]
    sockets: Option<sockets::Wire>,
    /// With how many seeds real nodes and worlds are compared
    #[arg(long, value_name = "N", default_value_t = 1, requires = "sockets", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Draw what was measured into one HTML file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Who sends broadcasts.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    /// Always the same peer
    One,
    /// Each time another
    Random,
}

impl std::convert::From<From> for Sources {
    fn from(from: From) -> Self {
        match from {
            From::One => Self::One,
            From::Random => Self::Random,
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    if (0.0..=1e9).contains(&seconds) { Ok(seconds) } else { Err("expected 0 to a billion seconds".into()) }
}

/// Less than a second would hang up before most answers come.
fn idle(text: &str) -> Result<f64, String> {
    number(text, 1.0, 1e9)
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "expected a share between 0 and 1".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("expected a share between 0 and 1".into()) }
}

fn number(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if (least..=most).contains(&number) { Ok(number) } else { Err(format!("use {least} to {most}, not {number}")) }
}

fn latency(text: &str) -> Result<Latency, String> {
    let millis = |text: &str| Ok::<_, String>(Duration::from_secs_f64(number(text, 0.0, 600_000.0)? / 1e3));
    match text.split_once(':') {
        Some(("constant", span)) => Ok(Latency::Constant(millis(span)?)),
        Some(("uniform", spans)) => {
            let (low, high) = spans.split_once(',').ok_or("uniform latency needs two bounds: uniform:20,80")?;
            let (low, high) = (millis(low)?, millis(high)?);
            if low > high {
                return Err(format!("uniform:{spans} has its bounds the wrong way round"));
            }
            Ok(Latency::Uniform { low, high })
        }
        None if text == "coords" => Ok(Latency::Coordinates(Plane::default())),
        _ => Err("use constant:MS, uniform:LOW,HIGH or coords".into()),
    }
}

/// Whether peers come and go, and how.
#[derive(Clone, Copy, Debug)]
struct Coming(Option<Churn>);

fn churn(text: &str) -> Result<Coming, String> {
    let span = |text: &str| Ok::<_, String>(Duration::from_secs_f64(number(text, 1.0, 1e9)?));
    let lifetimes = match text.split_once(':') {
        Some(("exp", mean)) => Lifetimes::Exponential { mean: span(mean)? },
        Some(("weibull", rest)) => {
            let (shape, scale) =
                rest.split_once(',').ok_or("weibull churn needs a shape and a scale: weibull:0.59,2500")?;
            Lifetimes::Weibull { shape: number(shape, 0.1, 10.0)?, scale: span(scale)? }
        }
        None if text == "none" => return Ok(Coming(None)),
        _ => return Err("use none, weibull:SHAPE,SCALE or exp:MEAN".into()),
    };
    Ok(Coming(Some(Churn::new(lifetimes))))
}

/// Lists the topologies, or runs one.
pub(crate) async fn run(arguments: Arguments, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let Some(name) = arguments.topology.clone().filter(|_| !arguments.list) else {
        list(common);
        return Ok(Ended::Done);
    };
    let pair = |set: &String| {
        let (key, value) = set.split_once('=').with_context(|| format!("--set {set:?} is not KEY=VALUE"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    let settings = arguments.set.iter().map(pair).collect::<anyhow::Result<Vec<_>>>()?;
    let seed = arguments.seed.map_or_else(|| try_seed_or(0), Ok)?;
    // Whether it can be written is better known before a long run than after it.
    let page = arguments.report.as_deref().map(page::Page::create).transpose()?;
    let Some(reckoned) = interrupt.or(move || reckon(&name, &settings, &arguments, seed)).await else {
        return Ok(Ended::Interrupted);
    };
    let (report, agreement) = reckoned?;
    let mut figures = json!(report);
    if let Some(agreement) = &agreement {
        figures["agreement"] = json!(agreement);
    }
    let page = page.map(|page| page.write(&report, &figures)).transpose()?;
    let human = [Some(human(&report)), agreement.map(|found| found.to_string())];
    common.form().say(human.into_iter().flatten().collect::<Vec<_>>().join("\n"), || figures);
    if let Some(path) = page {
        common.form().tell(format_args!("report     {}", path.display()));
    }
    Ok(Ended::Done)
}

/// Settings as a user wrote them.
type Settings = [(String, String)];

/// What was asked for, on a thread that may block.
fn reckon(
    name: &str,
    settings: &Settings,
    arguments: &Arguments,
    seed: u64,
) -> anyhow::Result<(Report, Option<Agreement>)> {
    let Some(wire) = arguments.sockets else { return Ok((simulate(name, settings, arguments, seed)?, None)) };
    let both = Box::pin(compare(name, settings, arguments, (wire, seed)));
    let (report, agreement) = tokio::runtime::Handle::current().block_on(both)?;
    Ok((report, Some(agreement)))
}

/// A world, measured.
pub(crate) fn simulate(name: &str, settings: &Settings, arguments: &Arguments, seed: u64) -> anyhow::Result<Report> {
    typed::visit(name, settings, run::Run { name, arguments, seed })?
}

/// Real nodes and a world, seed after seed; the report is that of the first seed's real nodes.
async fn compare(
    name: &str,
    settings: &Settings,
    arguments: &Arguments,
    (wire, seed): (sockets::Wire, u64),
) -> anyhow::Result<(Report, Agreement)> {
    if arguments.peers > sockets::MAX_NODES {
        bail!(
            "{} real nodes are too many for one process; use at most {}, or leave --sockets out",
            arguments.peers,
            sockets::MAX_NODES
        );
    }
    let (mut first, mut agreement) = (None, Agreement::default());
    for seed in (0..arguments.seeds).map(|more| seed.wrapping_add(more)) {
        let world = simulate(name, settings, arguments, seed)?;
        let began = (
            world.lookups.as_ref().map(|all| all.answers.began).unwrap_or_default(),
            world.broadcast.as_ref().map(|all| all.began).unwrap_or_default(),
        );
        let real = typed::visit(name, settings, sockets::Sockets { name, arguments, wire, seed, began })?.await?;
        agreement.add(&world, &real);
        first.get_or_insert((real, world));
    }
    let (real, world) = first.context("no seed was tried")?;
    Ok((real, agreement.judged(world)))
}

/// The figures one looks at first.
fn human(report: &Report) -> String {
    let mut lines = vec![format!("{}: {} peers, seed {}", report.topology, report.peers, report.seed)];
    measured(report.lookups.as_ref(), report.broadcast.as_ref(), &mut lines);
    if let Some(windows) = &report.windows {
        for (name, window) in [("before", &windows.before_repair), ("after", &windows.after_repair)] {
            if let Some(window) = window {
                lines.push(format!("{name} repair, among those who survived:"));
                measured(window.lookups.as_ref(), window.broadcast.as_ref(), &mut lines);
            }
        }
    }
    if let Some(records) = &report.records {
        let rate = records.bytes_per_peer_s.map_or_else(String::new, |rate| format!(", {rate:.1} B/s of each peer"));
        let (count, stored, found) = (records.count, records.stored, records.found);
        lines.push(format!("records    {count} put, {stored} confirmed, {found} found again{rate}"));
    }
    if let Some(damage) = &report.attack {
        let of = |service: &Service| {
            let right = service.honest.or(service.consistent).map_or_else(String::new, |n| format!(", {n} right"));
            let reached = service.reliability.map_or_else(String::new, |r| format!(", broadcasts reach {r:.4}"));
            format!("{} of {} lookups answered{right}{reached}", service.ok, service.lookups)
        };
        lines.push(format!("{} of {} peers attack: {}", damage.attackers, report.peers, damage.kind.name()));
        lines.push(format!("  without them {}", of(&damage.without)));
        let tables = 100.0 * damage.with.tables;
        lines.push(format!("  with them    {}; {tables:.1} % of table entries name them", of(&damage.with)));
        let (blamed, wronged, doubts) = (damage.blamed, damage.wronged, damage.doubts);
        lines.push(format!("  {blamed} times somebody was blamed, {wronged} times wrongly; {doubts} claims refused"));
    }
    if let (Some(state), Some(links)) = (&report.state, &report.links) {
        lines.push(format!("a peer has {:.1} neighbors and {:.1} sessions on average", state.entries_mean, links.mean));
    }
    let (events, seconds) = (report.events, report.sim_seconds);
    lines.push(match report.trace_hash.as_str() {
        "" => format!("{events} frames in {seconds:.1} s on real nodes"),
        hash => format!("{events} events in {seconds:.1} virtual seconds, trace {hash}"),
    });
    lines.join("\n")
}

fn measured(lookups: Option<&Lookups>, broadcast: Option<&Broadcast>, lines: &mut Vec<String>) {
    if let Some(lookups) = lookups {
        let hops = lookups.hops.as_ref().map_or_else(String::new, |h| format!(", {:.2} hops (p99 {})", h.mean, h.p99));
        let right = lookups.consistent.map_or_else(String::new, |n| format!(", {n} by the right owner"));
        lines.push(format!("lookups    {} asked, {} answered{right}{hops}", lookups.count, lookups.ok));
    }
    if let Some(cast) = broadcast {
        let waste = cast.redundancy.map_or_else(String::new, |r| format!(", redundancy {r:.3}"));
        let (mean, first) = (cast.reliability, cast.reliability_first);
        lines.push(format!("broadcasts {}, reliability {mean:.4} (the first {first:.4}){waste}", cast.count));
    }
}

fn list(common: &Common) {
    for entry in Catalog::standard().entries() {
        let settings = entry.settings();
        let rows = settings.iter().map(|row| format!("\n    {}={}  {}", row.key, row.default, row.help));
        let human = format!("{} ({})\n    {}{}", entry.name, entry.family, entry.paper, rows.collect::<String>());
        let rows = || settings.iter().map(|row| json!({ "key": row.key, "default": row.default, "help": row.help }));
        let json = || {
            json!({ "topology": entry.name, "family": entry.family.to_string(), "paper": entry.paper,
                "settings": rows().collect::<Vec<_>>() })
        };
        common.form().say(human, json);
    }
}

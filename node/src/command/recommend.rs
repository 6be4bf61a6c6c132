//! `recommend`: which topologies suit a purpose, measured in small worlds.

use anyhow::Context as _;
use clap::{Args, Parser, ValueEnum};
use polymorph::Guid;
use polymorph::core::engine::settings;
use polymorph::core::topology::model::Model;
use polymorph::core::topology::question::Powers;
use polymorph::core::{OverlayId, Place};
use polymorph::sim::report::Report;
use polymorph::sim::try_seed_or;
use polymorph::topologies::catalog::Catalog;
use polymorph::topologies::catalog::typed::{self, Visitor};
use serde_json::json;

use super::{Ended, sim};
use crate::cli::Common;
use crate::interrupt::Interrupt;
use crate::output::Form;

/// For whom, and for what.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// How many peers there will be
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..=10_000_000))]
    peers: usize,
    /// How they will come and go: none, weibull:SHAPE,SCALE or exp:MEAN, scale and mean in seconds
    #[arg(long, default_value = "none")]
    churn: String,
    /// What for
    #[arg(long, value_enum)]
    purpose: Purpose,
    /// Everything random follows from it [default: POLYMORPH_SEED, or 1]
    #[arg(long)]
    seed: Option<u64>,
}

/// What an overlay is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Purpose {
    /// Who has what: keys have owners
    Find,
    /// Now and then everybody is told something, by anybody
    Announce,
    /// One sends all the time, everybody receives
    Stream,
    /// Large content is fetched from whoever has it, whom one has to find first
    Bulk,
}

/// Larger worlds take longer than one waits for advice; the commands measure them.
const MOST_PEERS: usize = 1000;
/// How long worlds run before anything is asked, in seconds: upkeep shows, and whoever left was missed.
const TIME: u32 = 120;

/// A world as `sim` has it.
#[derive(Parser, Debug)]
struct Words {
    #[command(flatten)]
    sim: sim::Arguments,
}

/// Measures those that suit, and prints the best first.
pub(crate) async fn run(arguments: Arguments, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let form = common.form();
    interrupt.or(move || advise(&arguments, form)).await.unwrap_or(Ok(Ended::Interrupted))
}

fn advise(arguments: &Arguments, form: Form) -> anyhow::Result<Ended> {
    let seed = arguments.seed.map_or_else(|| try_seed_or(1), Ok)?;
    let peers = arguments.peers.min(MOST_PEERS);
    let mut rows = Vec::new();
    let mut unfit = Vec::new();
    for entry in Catalog::standard().entries() {
        let powers = typed::visit::<&str, &str, _>(entry.name, &[], Ask)?;
        if let Some(why) = why_not(entry.name, powers, arguments) {
            unfit.push((entry.name, why));
            continue;
        }
        let words = words(entry.name, peers, seed, arguments);
        let parsed = Words::try_parse_from(&words).map_err(|error| {
            // The one thing a user wrote is the churn.
            let text = error.to_string();
            anyhow::anyhow!("{}", text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned())
        })?;
        let report = sim::simulate(entry.name, &[], &parsed.sim, seed)
            .with_context(|| format!("{} could not be measured", entry.name))?;
        rows.push(Row { name: entry.name, command: format!("polymorph {}", words.join(" ")), report });
    }
    let purpose = arguments.purpose;
    rows.sort_by(|a, b| a.order(purpose).partial_cmp(&b.order(purpose)).unwrap_or(core::cmp::Ordering::Equal));
    form.tell(head(purpose, peers, arguments));
    for (rank, row) in rows.iter().enumerate() {
        let json = || {
            json!({ "rank": rank + 1, "topology": row.name, "purpose": format!("{purpose:?}").to_lowercase(),
                "command": row.command, "report": row.report })
        };
        form.say(row.line(purpose), json);
    }
    if rows.iter().any(|row| row.report.lookups.as_ref().is_some_and(|all| all.consistent.is_none())) {
        form.tell("* answered; who the owner of a random key should be, this topology does not say");
    }
    for (name, why) in &unfit {
        form.tell(format_args!("{name:<19} {why}"));
    }
    form.tell("\nmeasured by:");
    rows.iter().for_each(|row| form.tell(format_args!("  {}", row.command)));
    Ok(Ended::Done)
}

/// What a topology can do.
struct Ask;

impl Visitor for Ask {
    type Output = Powers;

    fn visit<T: Model>(self, config: T::Config, _: settings::Overlay) -> Powers {
        T::new(&config, Place { overlay: OverlayId([0; 32]), me: Guid([0; 32]) }).powers()
    }
}

fn why_not(name: &str, powers: Powers, arguments: &Arguments) -> Option<String> {
    let most = settings::Node::default().connections;
    let finds = matches!(arguments.purpose, Purpose::Find | Purpose::Bulk);
    match () {
        () if name == "full-mesh" && arguments.peers > most => {
            Some(format!("not for more than {most} peers: it needs a session with each"))
        }
        () if finds && !powers.routes => Some("has no owners of keys".into()),
        () if !finds && !powers.spreads => Some("does not carry broadcasts".into()),
        () => None,
    }
}

/// The command that measures one.
fn words(name: &str, peers: usize, seed: u64, arguments: &Arguments) -> Vec<String> {
    let workload = match arguments.purpose {
        Purpose::Find | Purpose::Bulk => "--lookups 2000",
        Purpose::Announce => "--broadcasts 50 --sources random",
        Purpose::Stream => "--broadcasts 100 --sources one",
    };
    let Arguments { churn, .. } = arguments;
    let text = format!("sim {name} --peers {peers} --seed {seed} --ideal --latency coords --time {TIME} {workload}");
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    if churn != "none" {
        words.extend(["--churn".to_owned(), churn.clone()]);
    }
    words
}

/// One that was measured.
struct Row {
    name: &'static str,
    command: String,
    report: Report,
}

/// Differences below this are of no account: shares of lookups or receivers.
const EQUAL: f64 = 0.001;

impl Row {
    /// The share that went well.
    fn good(&self) -> f64 {
        let found =
            self.report.lookups.as_ref().map(|all| all.consistent.unwrap_or(all.ok) as f64 / all.count.max(1) as f64);
        found.or(self.report.broadcast.as_ref().map(|all| all.reliability)).unwrap_or_default()
    }

    fn upkeep(&self) -> f64 {
        self.report.traffic.map_or(0.0, |rates| rates.maintenance_bytes_per_peer_s)
    }

    /// What goes wrong first; then how long it takes, or what it costs.
    fn order(&self, purpose: Purpose) -> (f64, f64, f64) {
        let latency = self.report.lookups.as_ref().and_then(|all| all.latency_ms).map_or(0.0, |all| all.p50);
        let waste = self.report.broadcast.as_ref().and_then(|all| all.redundancy).unwrap_or_default();
        let load = self.report.load.map_or(0.0, |load| load.max_over_mean);
        let bad = ((1.0 - self.good()) / EQUAL).round();
        match purpose {
            Purpose::Find => (bad, latency, self.upkeep()),
            Purpose::Bulk => (bad, self.upkeep(), latency),
            Purpose::Announce => (bad, (waste * 100.0).round(), self.upkeep()),
            Purpose::Stream => (bad, (waste * 100.0).round(), load),
        }
    }

    fn line(&self, purpose: Purpose) -> String {
        let report = &self.report;
        let links = report.links.map_or(0.0, |links| links.mean);
        let (good, upkeep) = (self.good() * 100.0, self.upkeep());
        let load = report.load.map_or(0.0, |load| load.max_over_mean);
        match purpose {
            Purpose::Find | Purpose::Bulk => {
                let lookups = report.lookups.as_ref();
                let unproven = if lookups.is_some_and(|all| all.consistent.is_none()) { '*' } else { ' ' };
                let hops = lookups.and_then(|all| all.hops).unwrap_or_default();
                let latency = lookups.and_then(|all| all.latency_ms).unwrap_or_default();
                format!(
                    "{:<19} {good:>8.2}{unproven} {:>6.2} {:>4.0} {:>9.0} {:>7.0} {upkeep:>11.1} {links:>9.1} {load:>8.1}",
                    self.name, hops.mean, hops.p99, latency.p50, latency.p99
                )
            }
            Purpose::Announce | Purpose::Stream => {
                let cast = report.broadcast.as_ref();
                let (waste, last) = (cast.and_then(|all| all.redundancy), cast.and_then(|all| all.last_hop));
                format!(
                    "{:<19} {good:>9.2} {:>8.3} {:>10.1} {upkeep:>11.1} {links:>9.1} {load:>8.1}",
                    self.name,
                    waste.unwrap_or_default(),
                    last.map_or(0.0, |last| last.mean)
                )
            }
        }
    }
}

fn head(purpose: Purpose, peers: usize, arguments: &Arguments) -> String {
    let asked = if peers < arguments.peers {
        format!(
            "measured with {peers} peers, not {}: give the commands below more to see the difference",
            arguments.peers
        )
    } else {
        format!("measured with {peers} peers")
    };
    let columns = match purpose {
        Purpose::Find | Purpose::Bulk => format!(
            "{:<19} {:>9} {:>6} {:>4} {:>9} {:>7} {:>11} {:>9} {:>8}",
            "topology", "right %", "hops", "p99", "ms", "p99", "upkeep B/s", "sessions", "load"
        ),
        Purpose::Announce | Purpose::Stream => format!(
            "{:<19} {:>9} {:>8} {:>10} {:>11} {:>9} {:>8}",
            "topology", "reached %", "copies+", "last link", "upkeep B/s", "sessions", "load"
        ),
    };
    let order = match purpose {
        Purpose::Find => "right owners, then latency",
        Purpose::Bulk => "right owners, then upkeep: bytes are fetched straight from whoever was found",
        Purpose::Announce => "receivers reached, then copies beyond one, then upkeep",
        Purpose::Stream => "receivers reached, then copies beyond one, then the load of the busiest against the mean",
    };
    format!("{asked}; churn {}; the best first, by {order}\n\n{columns}", arguments.churn)
}

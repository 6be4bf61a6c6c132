//! `conform`: whether a topology keeps the laws.

use anyhow::{Context, bail};
use clap::Args;
use polymorph::core::engine::settings::Overlay;
use polymorph::core::topology::model::Model;
use polymorph::sim::laws::{Finding, Law, PEERS, Replay, Subject, Verdict};
use polymorph::sim::try_seed_or;
use polymorph::topologies::catalog::typed::{self, Visitor};
use serde_json::json;

use super::Ended;
use crate::cli::Common;
use crate::interrupt::Interrupt;
use crate::output::Form;

/// What to try.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The topology
    #[arg(value_name = "TOPOLOGY")]
    topology: String,
    /// With how many seeds each law is tried
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seeds: u64,
    /// The first of them [default: POLYMORPH_SEED, or 1]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Only this law
    #[arg(long, value_name = "LAW")]
    law: Option<Law>,
    /// How many peers enter
    #[arg(long, value_name = "N", default_value_t = PEERS, value_parser = clap::value_parser!(u32).range(4..=1000))]
    peers: u32,
    /// A setting of the topology or of its lookups
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Play one run again, as a failure printed it
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["seeds", "law"])]
    replay: Option<Replay>,
}

/// Tries the laws, or plays one run again.
pub(crate) async fn run(arguments: Arguments, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let pair = |set: &String| {
        let (key, value) = set.split_once('=').with_context(|| format!("--set {set:?} is not KEY=VALUE"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    let settings = arguments.set.iter().map(pair).collect::<anyhow::Result<Vec<_>>>()?;
    let first = arguments.seed.map_or_else(|| try_seed_or(1), Ok)?;
    let Some(end) = first.checked_add(arguments.seeds) else {
        bail!("there are no {} seeds after {first}", arguments.seeds);
    };
    let form = common.form();
    let tried =
        move || typed::visit(&arguments.topology, &settings, Trial { arguments: &arguments, seeds: first..end, form });
    interrupt.or(tried).await.map_or(Ok(Ended::Interrupted), |ended| ended.map_err(Into::into))
}

impl Arguments {
    /// The command that plays one run of this topology again.
    fn again(&self, replay: &Replay) -> String {
        let sets: String = self.set.iter().map(|set| format!(" --set {set}")).collect();
        format!("polymorph conform {} --peers {}{sets} --replay '{replay}'", self.topology, self.peers)
    }
}

struct Trial<'a> {
    arguments: &'a Arguments,
    seeds: core::ops::Range<u64>,
    form: Form,
}

impl Visitor for Trial<'_> {
    type Output = Ended;

    fn visit<T: Model>(self, config: T::Config, overlay: Overlay) -> Ended {
        let Self { arguments, seeds, form } = self;
        let subject = Subject::<T>::new(config).with(overlay).among(arguments.peers);
        if let Some(replay) = &arguments.replay {
            return play_again(&subject, replay, form);
        }
        form.tell(format_args!("{:<14} {:<12} {:>5}  ", "law", "verdict", "seeds"));
        let mut kept = true;
        for law in Law::ALL.into_iter().filter(|law| arguments.law.is_none_or(|only| only == *law)) {
            let finding = subject.find(law, seeds.clone());
            kept &= !matches!(finding.verdict, Verdict::Violated(_));
            say(arguments, &finding, form);
        }
        if kept { Ended::Done } else { Ended::Refused }
    }
}

fn say(arguments: &Arguments, finding: &Finding, form: Form) {
    let human = || {
        let (law, verdict) = (finding.law, finding.verdict.name());
        let row = format!("{law:<14} {verdict:<12} {:>5}  {}", finding.seeds, finding.note());
        match &finding.verdict {
            Verdict::Violated(failure) => {
                format!("{}\n{failure}\n  here:                  {}", row.trim_end(), arguments.again(&failure.replay))
            }
            _ => row.trim_end().to_owned(),
        }
    };
    let json = || {
        let mut row = json!(finding);
        row["topology"] = json!(arguments.topology);
        row
    };
    form.say(if form == Form::Human { human() } else { String::new() }, json);
}

fn play_again<T: Model>(subject: &Subject<T>, replay: &Replay, form: Form) -> Ended {
    match subject.replay(replay) {
        Ok(()) => {
            form.say(format_args!("{}: held", replay.law), || json!({ "law": replay.law, "verdict": "held" }));
            Ended::Done
        }
        Err(violation) => {
            let json = || json!({ "law": replay.law, "verdict": "violated", "violation": violation.to_string() });
            form.say(&violation, json);
            Ended::Refused
        }
    }
}

//! `sim`: topologies in virtual time.

use anyhow::bail;
use clap::Args;
use polymorph::topologies::catalog::Catalog;
use serde_json::json;

use super::Ended;
use crate::cli::Common;

/// What to simulate.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Name the topologies with family, paper, settings and defaults
    #[arg(long)]
    list: bool,
    /// The topology
    #[arg(value_name = "TOPOLOGY", required_unless_present = "list")]
    topology: Option<String>,
}

/// Lists the topologies.
pub(crate) fn run(arguments: &Arguments, common: &Common) -> anyhow::Result<Ended> {
    if let Some(topology) = &arguments.topology {
        Catalog::standard().entry(topology)?;
        bail!("this version lists the topologies but runs none; use sim --list");
    }
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
    Ok(Ended::Done)
}

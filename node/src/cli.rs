//! The command line: what may be said, and how it ends.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::command::{self, Ended};
use crate::interrupt::Interrupt;
use crate::output::Form;

/// Peer-to-peer overlays of any shape: share, fetch and stream media over them.
#[derive(Parser, Debug)]
#[command(name = "polymorph", version, max_term_width = 110, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args, Debug, Clone)]
pub(crate) struct Common {
    /// The folder with identity, store and settings; the platform's data folder if not given
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Settings in TOML; settings.toml in the home folder if not given. Flags win
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print one JSON object per line, and nothing else, on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Common {
    /// How to print.
    pub(crate) fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Human }
    }
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Print this node's Guid, making its identity if need be
    Id,
    /// Run a node until interrupted
    Node(command::node::Arguments),
    /// Make a package of files and folders, and stay up to serve it
    Share(command::share::Arguments),
    /// Find, fetch and verify what a link names; resumes what was begun
    Get(Box<command::get::Arguments>),
    /// Ask a running node who owns a key
    Lookup(command::verbs::Lookup),
    /// Send a message to a peer through a running node
    Send(command::verbs::Send),
    /// Publish on a topic through a running node
    Publish(command::verbs::Publish),
    /// Print what is published on a topic, until interrupted
    Subscribe(command::verbs::Subscribe),
    /// Keep a signed record at the replicas of a key, through a running node
    Put(command::records::Put),
    /// Print the records under a key
    Records(command::records::Records),
    /// Keep a record alive no longer
    Withdraw(command::records::OfKey),
    /// Say that a running node provides a content
    Provide(command::records::Provide),
    /// Print who provides a content
    Providers(command::records::OfKey),
    /// Print the sessions of a running node
    Peers,
    /// Print the overlays of a running node
    Overlays,
    /// Print how a running node does
    Status,
    /// Attach an overlay to a running node
    Attach(command::change::Attach),
    /// Detach an overlay from a running node
    Detach(command::change::Detach),
    /// Sign a grant that lets a node into an overlay of which this node is the authority
    Grant(command::grant::Arguments),
    /// Topologies in virtual time
    Sim(Box<command::sim::Arguments>),
    /// Whether a topology keeps the laws: each held, not claimed, or violated with the shortest run that shows it
    Conform(command::conform::Arguments),
    /// Which topologies suit a purpose, measured in small worlds
    Recommend(command::recommend::Arguments),
    /// Make a crate that is a topology already, to be changed into another
    NewTopology(command::new_topology::Arguments),
    /// Several real nodes in this process show what there is
    Demo(command::demo::Arguments),
}

impl Command {
    async fn run(self, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
        match self {
            Self::Id => command::id::run(common),
            Self::Node(arguments) => command::node::run(arguments, common, interrupt).await,
            Self::Share(arguments) => command::share::run(arguments, common, interrupt).await,
            Self::Get(arguments) => command::get::run(*arguments, common, interrupt).await,
            Self::Lookup(arguments) => command::verbs::lookup(arguments, common, interrupt).await,
            Self::Send(arguments) => command::verbs::send(arguments, common, interrupt).await,
            Self::Publish(arguments) => command::verbs::publish(arguments, common, interrupt).await,
            Self::Subscribe(arguments) => command::verbs::subscribe(arguments, common, interrupt).await,
            Self::Put(arguments) => command::records::put(arguments, common, interrupt).await,
            Self::Records(arguments) => command::records::records(arguments, common, interrupt).await,
            Self::Withdraw(arguments) => command::records::withdraw(arguments, common, interrupt).await,
            Self::Provide(arguments) => command::records::provide(arguments, common, interrupt).await,
            Self::Providers(arguments) => command::records::providers(arguments, common, interrupt).await,
            Self::Peers => command::look::peers(common, interrupt).await,
            Self::Overlays => command::look::overlays(common, interrupt).await,
            Self::Status => command::look::status(common, interrupt).await,
            Self::Attach(arguments) => command::change::attach(arguments, common, interrupt).await,
            Self::Detach(arguments) => command::change::detach(arguments, common, interrupt).await,
            Self::Grant(arguments) => command::grant::run(&arguments, common),
            Self::Sim(arguments) => command::sim::run(*arguments, common, interrupt).await,
            Self::Conform(arguments) => command::conform::run(arguments, common, interrupt).await,
            Self::Recommend(arguments) => command::recommend::run(arguments, common, interrupt).await,
            Self::NewTopology(arguments) => command::new_topology::run(&arguments, common),
            Self::Demo(arguments) => command::demo::run(arguments, common, interrupt).await,
        }
    }
}

/// Runs the program; wrong usage ends it with 2 right here.
pub(crate) fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    log_to_stderr();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let ended = runtime.block_on(async {
        let interrupt = Interrupt::listen()?;
        Box::pin(command.run(&common, &interrupt)).await
    });
    // Threads that wait for standard input or a slow disk do not keep the program.
    runtime.shutdown_background();
    match ended {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Refused) => ExitCode::FAILURE,
        Ok(Ended::Interrupted) => ExitCode::from(130),
        Err(error) => fail(&error),
    }
}

/// One line, whatever is in it.
fn fail(error: &anyhow::Error) -> ExitCode {
    let line = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!("polymorph: {line}");
    ExitCode::FAILURE
}

/// Log lines are for whoever looks for a fault: `POLYMORPH_LOG=debug`.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("POLYMORPH_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
        let _: Cli = Cli::try_parse_from(["polymorph", "id", "--json"]).unwrap();
    }
}

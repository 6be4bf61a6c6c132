//! `lookup`, `send`, `publish`, `subscribe`: the raw verbs, through a running node.

use clap::Args;
use data_encoding::HEXLOWER;
use serde_json::Value;

use super::Ended;
use super::look::{ask, text};
use crate::cli::Common;
use crate::control::Request;
use crate::interrupt::Interrupt;
use crate::output::plain;

/// Whose key?
#[derive(Args, Debug)]
pub(crate) struct Lookup {
    /// The overlay; may be left out if the node has only one
    #[arg(long, value_name = "NAME")]
    overlay: Option<String>,
    /// How many peers of the replica set
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// 64 hexadecimal digits, or a name whose key it is
    #[arg(value_name = "KEY")]
    key: String,
}

/// What to whom?
#[derive(Args, Debug)]
pub(crate) struct Send {
    /// The overlay; may be left out if the node has only one
    #[arg(long, value_name = "NAME")]
    overlay: Option<String>,
    /// The peer's Guid, or a key or name whose owner gets it
    #[arg(value_name = "TO")]
    to: String,
    /// What to say; the node there prints it
    #[arg(value_name = "MESSAGE")]
    message: String,
}

/// What on which topic?
#[derive(Args, Debug)]
pub(crate) struct Publish {
    /// The overlay; may be left out if the node has only one
    #[arg(long, value_name = "NAME")]
    overlay: Option<String>,
    /// The topic; "-" for everybody on the overlay
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// What to say
    #[arg(value_name = "MESSAGE")]
    message: String,
}

/// Which topic?
#[derive(Args, Debug)]
pub(crate) struct Subscribe {
    /// The overlay; may be left out if the node has only one
    #[arg(long, value_name = "NAME")]
    overlay: Option<String>,
    /// The topic; "-" for what is said to everybody on the overlay
    #[arg(value_name = "TOPIC")]
    topic: String,
}

fn topic(text: String) -> Option<String> {
    (text != "-").then_some(text)
}

/// Looks a key up.
pub(crate) async fn lookup(arguments: Lookup, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let Lookup { overlay, key, count } = arguments;
    let human = |line: &Value| format!("{} owns it, {} hops away", text(line, "owner"), line["hops"]);
    ask(common, interrupt, &Request::Lookup { overlay, key, count }, human).await
}

/// Sends a message.
pub(crate) async fn send(arguments: Send, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let Send { overlay, to, message } = arguments;
    let request = Request::Send { overlay, to, payload: HEXLOWER.encode(message.as_bytes()) };
    ask(common, interrupt, &request, |line| format!("{} has it", text(line, "to"))).await
}

/// Publishes.
pub(crate) async fn publish(arguments: Publish, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let topic = topic(arguments.topic);
    let payload = HEXLOWER.encode(arguments.message.as_bytes());
    let request = Request::Publish { overlay: arguments.overlay, topic, payload };
    ask(common, interrupt, &request, |line| format!("published {} bytes", line["bytes"])).await
}

/// Prints what is published, until interrupted: then it is done.
pub(crate) async fn subscribe(arguments: Subscribe, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let request = Request::Subscribe { overlay: arguments.overlay, topic: topic(arguments.topic) };
    let human = |line: &Value| match line["payload"].as_str() {
        Some(said) => format!("{} ({}): {}", text(line, "from"), text(line, "origin"), plain(said)),
        None if line["event"] == "subscribed" => "subscribed; end with Ctrl-C".into(),
        None => format!("{}: {}", text(line, "from"), line["payload"]),
    };
    ask(common, interrupt, &request, human).await?;
    Ok(Ended::Done)
}

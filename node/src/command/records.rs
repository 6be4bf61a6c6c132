//! `put`, `records`, `withdraw`, `provide`, `providers`: records on an overlay, through a running node.

use clap::Args;
use data_encoding::HEXLOWER;
use polymorph::core::record::Quorum;
use serde_json::Value;

use super::Ended;
use super::look::{ask, text};
use crate::cli::Common;
use crate::control::{OnRecords, Request};
use crate::interrupt::Interrupt;
use crate::output::plain;

/// How long a record lives if nothing else is said: a day. The node stores it anew after a third of that.
const LIFETIME_SECS: u64 = 24 * 3600;

/// What under which key?
#[derive(Args, Debug)]
pub(crate) struct Put {
    /// The overlay; may be left out if the node has only one
    #[arg(long, value_name = "NAME")]
    overlay: Option<String>,
    /// How long each copy lives; the node stores it anew before, until it is withdrawn
    #[arg(long, value_name = "SECONDS", default_value_t = LIFETIME_SECS)]
    lifetime: u64,
    /// How many replicas must have confirmed: majority, all, or a number
    #[arg(long, default_value = "majority", value_parser = quorum)]
    quorum: Quorum,
    /// Its place among this node's records under this key: the higher replaces the lower [default: the time]
    #[arg(long)]
    sequence: Option<u64>,
    /// 64 hexadecimal digits, or a name whose key it is
    #[arg(value_name = "KEY")]
    key: String,
    /// At most 1024 bytes
    #[arg(value_name = "VALUE")]
    value: String,
}

/// The records under which key?
#[derive(Args, Debug)]
pub(crate) struct Records {
    /// The overlay; may be left out if the node has only one
    #[arg(long, value_name = "NAME")]
    overlay: Option<String>,
    /// How many replicas must have answered: majority, all, or a number
    #[arg(long, default_value = "majority", value_parser = quorum)]
    quorum: Quorum,
    /// 64 hexadecimal digits, or a name whose key it is
    #[arg(value_name = "KEY")]
    key: String,
}

/// Which record, or which content?
#[derive(Args, Debug)]
pub(crate) struct OfKey {
    /// The overlay; may be left out if the node has only one
    #[arg(long, value_name = "NAME")]
    overlay: Option<String>,
    /// 64 hexadecimal digits, or a name whose key it is
    #[arg(value_name = "KEY")]
    key: String,
}

/// Which content?
#[derive(Args, Debug)]
pub(crate) struct Provide {
    /// How long each copy of the record lives; the node stores it anew before, until it is withdrawn
    #[arg(long, value_name = "SECONDS", default_value_t = LIFETIME_SECS)]
    lifetime: u64,
    #[command(flatten)]
    content: OfKey,
}

fn quorum(text: &str) -> Result<Quorum, String> {
    match text {
        "majority" => Ok(Quorum::Majority),
        "all" => Ok(Quorum::All),
        number => match number.parse() {
            Ok(n @ 1..) => Ok(Quorum::Of(n)),
            _ => Err("a quorum is majority, all, or a number of replicas".into()),
        },
    }
}

async fn ask_of(
    common: &Common,
    interrupt: &Interrupt,
    (overlay, key): (Option<String>, String),
    what: OnRecords,
    human: impl Fn(&Value) -> String,
) -> anyhow::Result<Ended> {
    ask(common, interrupt, &Request::Records { overlay, key, what }, human).await
}

fn stored(line: &Value) -> String {
    format!("{} replicas have it", line["replicas"])
}

/// Puts a record.
pub(crate) async fn put(arguments: Put, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let Put { overlay, lifetime, quorum, sequence, key, value } = arguments;
    let what = OnRecords::Put { value: HEXLOWER.encode(value.as_bytes()), lifetime, quorum, sequence };
    ask_of(common, interrupt, (overlay, key), what, stored).await
}

/// Prints the records under a key.
pub(crate) async fn records(arguments: Records, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let Records { overlay, quorum, key } = arguments;
    let human = |line: &Value| match line["value"].as_str() {
        Some(value) => format!("{}: {}", text(line, "publisher"), plain(value)),
        None => format!("{}: {}", text(line, "publisher"), line["value"]),
    };
    ask_of(common, interrupt, (overlay, key), OnRecords::Get { quorum }, human).await
}

/// Lets a record expire.
pub(crate) async fn withdraw(arguments: OfKey, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let human = |_: &Value| "withdrawn: what is stored expires".to_owned();
    ask_of(common, interrupt, (arguments.overlay, arguments.key), OnRecords::Withdraw, human).await
}

/// Says that the node provides a content.
pub(crate) async fn provide(arguments: Provide, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let Provide { lifetime, content: OfKey { overlay, key } } = arguments;
    ask_of(common, interrupt, (overlay, key), OnRecords::Provide { lifetime }, stored).await
}

/// Prints who provides a content.
pub(crate) async fn providers(arguments: OfKey, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let human = |line: &Value| text(line, "provider").to_owned();
    ask_of(common, interrupt, (arguments.overlay, arguments.key), OnRecords::Providers, human).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_a_word_or_a_number() {
        assert_eq!(quorum("majority"), Ok(Quorum::Majority));
        assert_eq!(quorum("all"), Ok(Quorum::All));
        assert_eq!(quorum("3"), Ok(Quorum::Of(3)));
        assert!(quorum("0").is_err() && quorum("most").is_err());
    }
}

//! `peers`, `overlays`, `status`: look at a running node.

use serde_json::Value;

use super::Ended;
use crate::cli::Common;
use crate::control::{self, Request};
use crate::home::Home;
use crate::interrupt::Interrupt;
use crate::output::bytes;

/// Prints the sessions.
pub(crate) async fn peers(common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let human = |line: &Value| {
        let rtt = line["rtt_ms"].as_f64().map_or_else(|| "-".into(), |rtt| format!("{rtt:.1} ms"));
        format!("{}  round trip {rtt}, {} overlays", text(line, "peer"), line["overlays"])
    };
    ask(common, interrupt, &Request::Peers, human).await
}

/// Prints the overlays.
pub(crate) async fn overlays(common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let human = |line: &Value| {
        let neighbors = line["neighbors"].as_array().map_or(0, Vec::len);
        let client = if line["client"] == true { ", as a client" } else { "" };
        let (name, topology) = (text(line, "name"), text(line, "topology"));
        format!("{name}={topology}  {neighbors} neighbors, {} records kept{client}", line["records"])
    };
    ask(common, interrupt, &Request::Overlays, human).await
}

/// Prints how the node does.
pub(crate) async fn status(common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let human = |line: &Value| {
        let listen: Vec<_> = line["listen"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let engine = bytes(line["engine_bytes"].as_u64().unwrap_or_default());
        let (guid, contact) = (text(line, "guid"), text(line, "contact"));
        let counts = format!("{} sessions, {} overlays, {engine} in the engine", line["peers"], line["overlays"]);
        format!("node {guid}\nlistens on {}\n{counts}\nothers join with: --join {contact}", listen.join(", "))
    };
    ask(common, interrupt, &Request::Status, human).await
}

/// A text of an answer; control characters cannot be in it, since names and hexadecimal have none.
pub(super) fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_default()
}

/// Asks the running node and prints each answer.
pub(super) async fn ask(
    common: &Common,
    interrupt: &Interrupt,
    request: &Request,
    human: impl Fn(&Value) -> String,
) -> anyhow::Result<Ended> {
    let form = common.form();
    let control = Home::find(common)?.control();
    let print = |line: Value| form.say(human(&line), || line.clone());
    tokio::select! {
        asked = control::ask(&control, request, print) => asked.map(|()| Ended::Done),
        () = interrupt.wait() => Ok(Ended::Interrupted),
    }
}

//! What a running node answers to questions about records.

use std::time::Duration;

use polymorph::Key;
use polymorph::core::record::{GetOptions, PutOptions, Record, Source};
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;

use super::OnRecords;
use super::answer::{bytes, say, shown};
use crate::running::{Attached, Running};

pub(super) async fn answer(
    what: OnRecords,
    (node, attached): (&Running, &Attached),
    key: Key,
    lines: &Sender<Value>,
) -> anyhow::Result<()> {
    let overlay = &attached.overlay;
    let name = data_encoding::HEXLOWER.encode(&key.0);
    match what {
        OnRecords::Put { value, lifetime, quorum, sequence } => {
            let options = PutOptions { lifetime: Duration::from_secs(lifetime), quorum, sequence };
            let put = overlay.put_with(key, bytes(&value)?, options).await;
            // It is tried again however it went, and also if the node is killed now.
            node.remember(attached).await;
            say(lines, json!({ "event": "stored", "key": name, "replicas": put? })).await;
        }
        OnRecords::Provide { lifetime } => {
            let provided = overlay.provide(key, Duration::from_secs(lifetime)).await;
            node.remember(attached).await;
            say(lines, json!({ "event": "stored", "key": name, "replicas": provided? })).await;
        }
        OnRecords::Withdraw => {
            overlay.withdraw(key).await?;
            node.remember(attached).await;
            say(lines, json!({ "event": "withdrawn", "key": name })).await;
        }
        OnRecords::Get { quorum } => {
            let found = overlay.get_with(key, GetOptions { quorum, ..GetOptions::default() }).await?;
            for record in &found.records {
                say(lines, line(&name, record, found.source)).await;
            }
        }
        OnRecords::Providers => {
            for provider in overlay.find_providers(key).await? {
                say(lines, json!({ "key": name, "provider": provider.to_string() })).await;
            }
        }
    }
    Ok(())
}

fn line(key: &str, record: &Record, source: Source) -> Value {
    let replicas = match source {
        Source::Replicas(replicas) => Some(replicas),
        Source::Way => None,
    };
    json!({
        "key": key, "publisher": record.publisher.to_string(), "value": shown(&record.value),
        "sequence": record.sequence, "expires": record.expires, "replicas": replicas,
    })
}

//! `demo`: real nodes over real sockets in this process, and what they do together.
//!
//! Every node carries four overlays. Files are announced over the mesh, found through the ring, fetched from whoever
//! has them, and a stream of signed chunks goes to everybody over the tree. Each step waits until the overlays say
//! that they are ready, and ends the demo with what is missing if they are not in time.

mod crew;
mod files;
mod page;
mod paths;
mod stream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::Ended;
use crate::cli::Common;
use crate::interrupt::Interrupt;
use crate::output::{Form, bytes};
use crew::Crew;
use files::FileReport;
use stream::StreamReport;

/// How many nodes one process can hold without raising its limit of open files.
const MAX_NODES: i64 = 64;

/// How to show it.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(2..=MAX_NODES))]
    nodes: u8,
    /// Share this file too
    #[arg(long, value_name = "PATH")]
    file: Vec<PathBuf>,
    /// Stay up and show the web page
    #[arg(long)]
    serve: bool,
    /// Where the page is
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    page: SocketAddr,
}

/// Shows everything, then ends or stays up.
pub(crate) async fn run(arguments: Arguments, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let form = common.form();
    let shown = tokio::select! {
        shown = Box::pin(show(&arguments, form)) => shown?,
        () = interrupt.wait() => return Ok(Ended::Interrupted),
    };
    let (crew, summary) = shown;
    let mut page = None;
    if arguments.serve {
        let serving = page::Page::start(arguments.page, &crew, summary.clone()).await?;
        let url = serving.url();
        form.say(format_args!("the page is at {url}; end with Ctrl-C"), || json!({ "event": "serving", "url": url }));
        page = Some(serving);
    }
    form.say("everything was verified", || summary);
    if page.is_some() {
        interrupt.wait().await;
    }
    crew.leave().await;
    Ok(Ended::Done)
}

async fn show(arguments: &Arguments, form: Form) -> anyhow::Result<(Crew, Value)> {
    let began = Instant::now();
    let mut crew = Crew::start(usize::from(arguments.nodes)).await?;
    let overlays = crew.overlays().await?;
    let human = format!("{} nodes on TCP and QUIC, each in {} overlays", crew.members.len(), overlays.len());
    let seconds = began.elapsed().as_secs_f64();
    form.say(human, || json!({ "event": "joined", "nodes": crew.members.len(), "seconds": seconds }));
    for overlay in &overlays {
        form.tell(format_args!("  {:<9} {:<19} {} sessions carry it", overlay.name, overlay.topology, overlay.peers));
    }
    let lookups = paths::agree(&crew).await?;
    for (name, hops) in &lookups {
        let human = format!("{name}: every node finds the same owners, {hops:.1} hops on average");
        form.say(human, || json!({ "event": "looked_up", "overlay": name, "hops_mean": hops }));
    }
    let files = files::pass_on(&mut crew, &arguments.file).await?;
    files.iter().for_each(|file| say_file(form, file));
    let stream = stream::run(&crew).await?;
    say_stream(form, &stream);
    let seconds = began.elapsed().as_secs_f64();
    form.tell(format_args!("done in {seconds:.1} s"));
    let files: Vec<Value> = files.iter().map(FileReport::json).collect();
    // As it is now: fetching opened sessions.
    let overlays: Vec<Value> = crew.overlays().await?.iter().map(crew::OverlayReport::json).collect();
    let summary = json!({
        "event": "done", "nodes": crew.members.len(), "overlays": overlays, "files": files,
        "stream": { "sent": stream.sent, "delivered_min": stream.delivered_min, "missed": stream.missed },
        "seconds": seconds,
    });
    Ok((crew, summary))
}

fn say_file(form: Form, file: &FileReport) {
    let (size, hash) = (bytes(file.bytes), file.hash.short());
    let counts = format!("{} nodes fetched it from {} sources", file.fetched, file.sources);
    let human = format!("  {:<13} {size:>9}  {hash}…  {counts}, verified", file.name);
    let json = || {
        json!({ "event": "fetched", "name": file.name, "bytes": file.bytes, "fetched": file.fetched,
            "sources": file.sources })
    };
    form.say(human, json);
}

fn say_stream(form: Form, stream: &StreamReport) {
    let StreamReport { sent, delivered_min, missed, receivers, seconds } = *stream;
    let human = format!(
        "stream: {sent} signed chunks to {receivers} nodes in {seconds:.2} s; at least {delivered_min} verified at each, \
         {missed} missed"
    );
    let json = || json!({ "event": "streamed", "sent": sent, "receivers": receivers, "seconds": seconds });
    form.say(human, json);
}

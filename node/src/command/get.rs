//! `get`: finds providers through an overlay, as a client of it, and fetches from all of them.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::Args;
use polymorph::media::fetch::{Fetched, Progress};
use polymorph::media::package::extract;
use polymorph::media::{Link, Package, Store};
use polymorph::{Contact, Guid, Overlay};
use serde_json::json;
use tokio::sync::watch;

use super::Ended;
use crate::cli::Common;
use crate::fetching::Fetch;
use crate::home::Home;
use crate::interrupt::Interrupt;
use crate::output::{Form, Meter, bytes};
use crate::overlay_text::OverlayText;
use crate::running::{DRAIN, Running, Start};

/// What to get, and where to put it.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// One word, as `share` prints it
    #[arg(value_name = "LINK")]
    link: String,
    /// An existing folder receives the items inside it; otherwise this is the file, or the new folder of several
    #[arg(short, long, value_name = "PATH", default_value = ".")]
    output: PathBuf,
    /// Enter through this node too; may be given several times
    #[arg(long, value_name = "CONTACT")]
    join: Vec<String>,
    /// The link's overlay, if it needs a secret or a grant
    #[arg(long, value_name = "NAME=TOPOLOGY[,key=value…]")]
    overlay: Option<OverlayText>,
    /// At most so many bytes per second
    #[arg(long, value_name = "BYTES_PER_S")]
    limit: Option<NonZeroU64>,
}

/// Fetches, verifies and writes.
pub(crate) async fn run(arguments: Arguments, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let link: Link = arguments.link.parse()?;
    let mut text = match (arguments.overlay, link.topology()) {
        (Some(text), _) => text,
        (None, topology) => format!("{}={}", link.overlay(), topology.unwrap_or("chord")).parse()?,
    };
    text.client = true;
    let home = Home::take_seat(common, "get")?;
    let mut start = Start::read(&[], &arguments.join, &home.settings(common)?)?;
    start.listen.clear();
    start.join.extend(link.contacts().iter().cloned());
    ensure!(!start.join.is_empty(), "the link names no node to ask; say whom to join with --join CONTACT");
    let contacts = start.join.clone();
    let identity = home.identity()?;
    let store = home.store().await?;
    let (running, _events) = Running::start(&identity, start, None, None).await?;
    let overlay = running.attach(text).await?;
    let began = Instant::now();
    let fetched = tokio::select! {
        fetched = Box::pin(fetch(&overlay, &store, &link, &contacts, arguments.limit, common.form())) => fetched?,
        () = interrupt.wait() => {
            running.node.shutdown(DRAIN).await;
            return Ok(Ended::Interrupted);
        }
    };
    let (package, fetched) = fetched;
    let path = extract(&store, &package, &arguments.output).await?;
    let seconds = began.elapsed().as_secs_f64();
    running.node.shutdown(DRAIN).await;
    let (length, sources, resumed) = (package.length(), fetched.sources(), fetched.resumed_bytes);
    let human = format!(
        "{} in {seconds:.1} s from {sources} providers ({} were here already): {}",
        bytes(length),
        bytes(resumed),
        path.display()
    );
    let json = || {
        json!({ "event": "done", "bytes": length, "seconds": seconds, "sources": sources, "resumed_bytes": resumed,
            "path": path })
    };
    common.form().say(human, json);
    Ok(Ended::Done)
}

async fn fetch(
    overlay: &Overlay,
    store: &Store,
    link: &Link,
    contacts: &[Contact],
    limit: Option<NonZeroU64>,
    form: Form,
) -> anyhow::Result<(Package, Fetched)> {
    let (told, progress) = watch::channel(Progress::default());
    let known: Vec<Guid> = contacts.iter().map(Contact::guid).collect();
    let fetch = Fetch { overlay, store, root: link.root(), known, limit, progress: Some(told) };
    let mut meter = Meter::new(form);
    let last = progress.clone();
    let fetched = tokio::select! {
        fetched = Box::pin(fetch.run()) => fetched,
        never = meter.follow(progress) => match never {},
    };
    let end = *last.borrow();
    meter.show(end);
    fetched.with_context(|| format!("cannot fetch from overlay {:?}", overlay.name()))
}

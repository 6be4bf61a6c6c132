//! `share`: makes a package, provides it, and stays up to serve it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use polymorph::media::Link;
use polymorph::media::package::share;
use polymorph::media::store::Import;
use serde_json::json;

use super::Ended;
use crate::cli::Common;
use crate::home::Home;
use crate::interrupt::Interrupt;
use crate::output::bytes;
use crate::running::{Running, Start};
use crate::{control, media_service, patience};

/// How long it may take until the overlay knows that this node provides the package.
const KNOWN_WITHIN: Duration = Duration::from_secs(20);

/// What to share.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Files and folders
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// What people call it; the name of a single path if not given
    #[arg(long, default_value = "")]
    title: String,
    /// Where to listen: quic://IP:PORT, tcp://IP:PORT or unix:PATH; port 0 picks a free one
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Enter through this node; may be given several times
    #[arg(long, value_name = "CONTACT")]
    join: Vec<String>,
    /// The overlay on which to provide it; the first one if there are several [default: find=chord]
    #[arg(long, value_name = "NAME=TOPOLOGY[,key=value…]")]
    overlay: Vec<String>,
    /// Keep a copy in the store, so that the files may change or go away
    #[arg(long)]
    copy: bool,
}

/// Shares until interrupted, then leaves cleanly.
pub(crate) async fn run(arguments: Arguments, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let home = Home::take_seat(common, "share")?;
    let settings = home.settings(common)?;
    let texts = super::node::overlays(&arguments.overlay, &settings)?;
    let start = Start::read(&arguments.listen, &arguments.join, &settings)?.or_everywhere()?;
    let identity = home.identity()?;
    let store = home.store().await?;
    let import = if arguments.copy { Import::Copy } else { Import::Reference };
    let collecting = share(&store, &arguments.title, arguments.paths, import);
    let (package, root) = tokio::select! {
        shared = Box::pin(collecting) => shared?,
        () = interrupt.wait() => return Ok(Ended::Interrupted),
    };
    let join = start.join.clone();
    let (running, events) = Running::start(&identity, start, Some(store), Some(home.memory())).await?;
    let tag = texts[0].tag();
    let mut attached = Vec::new();
    for text in texts {
        attached.push(running.attach(text).await?);
    }
    let overlay = &attached[0];
    let _control = control::Server::start(&home.control(), running.clone(), common.form());
    let known = patience::until(overlay, KNOWN_WITHIN, async || media_service::provide(overlay, root).await);
    tokio::select! {
        known = Box::pin(known) => {
            known.with_context(|| format!("overlay {:?} does not take the package in; is a contact given with --join still up?", overlay.name()))?;
        }
        () = interrupt.wait() => return Ok(Ended::Interrupted),
    }
    let contact = running.node.contact();
    let contacts: Vec<_> = std::iter::once(contact.clone()).chain(join).collect();
    let link = Link::new(root, overlay.name(), Some(&tag), &contacts)?.to_string();
    let (length, blobs, form) = (package.length(), package.items().len(), common.form());
    let human = format!("{blobs} files, {}\nfetch it with: polymorph get {link}", bytes(length));
    let json =
        || json!({ "event": "ready", "link": link, "bytes": length, "blobs": blobs, "contact": contact.to_string() });
    form.say(human, json);
    super::node::follow(form, events, interrupt).await;
    running.end().await;
    Ok(Ended::Done)
}

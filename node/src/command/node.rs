//! `node`: runs a node until interrupted.

use clap::Args;
use polymorph::Node;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Ended;
use crate::cli::Common;
use crate::control;
use crate::home::Home;
use crate::interrupt::Interrupt;
use crate::output::{Form, plain};
use crate::overlay_text::OverlayText;
use crate::running::{Event, Running, Start};

/// The overlay of a node that is told of none: to find things.
pub(crate) const DEFAULT_OVERLAY: &str = "find=chord";

/// How to run.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Where to listen: quic://IP:PORT, tcp://IP:PORT or unix:PATH; port 0 picks a free one
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Enter through this node; may be given several times
    #[arg(long, value_name = "CONTACT")]
    join: Vec<String>,
    /// Take part in this overlay; may be given several times [default: find=chord]
    #[arg(long, value_name = "NAME=TOPOLOGY[,key=value…]")]
    overlay: Vec<String>,
    /// Take part as a client: ask, and carry nothing for others
    #[arg(long)]
    client: bool,
}

/// The overlays that flags say, or else the settings, or else the default.
pub(crate) fn overlays(flags: &[String], settings: &crate::home::Settings) -> anyhow::Result<Vec<OverlayText>> {
    let mut all = match flags {
        [] => settings.overlays()?,
        _ => flags.iter().map(|text| text.parse()).collect::<anyhow::Result<_>>()?,
    };
    if all.is_empty() {
        all.push(DEFAULT_OVERLAY.parse()?);
    }
    Ok(all)
}

/// Runs until interrupted, then leaves cleanly.
pub(crate) async fn run(arguments: Arguments, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let home = Home::take(common, "node")?;
    let settings = home.settings(common)?;
    let mut texts = overlays(&arguments.overlay, &settings)?;
    texts.iter_mut().for_each(|text| text.client |= arguments.client);
    let mut start = Start::read(&arguments.listen, &arguments.join, &settings)?;
    if !arguments.client {
        start = start.or_everywhere()?;
    }
    let identity = home.identity()?;
    let store = home.store().await?;
    let (running, events) = Running::start(&identity, start, Some(store), Some(home.memory())).await?;
    for text in texts {
        running.attach(text).await?;
    }
    let _control = control::Server::start(&home.control(), running.clone(), common.form());
    let form = common.form();
    ready(form, &running.node);
    follow(form, events, interrupt).await;
    form.tell("leaving …");
    running.end().await;
    Ok(Ended::Done)
}

fn ready(form: Form, node: &Node) {
    let listen: Vec<String> = node.listening().iter().map(ToString::to_string).collect();
    let (guid, contact) = (node.guid().to_string(), node.contact().to_string());
    let human = format!("node {guid}\nlistens on {}\nothers join with: --join {contact}", listen.join(", "));
    let json =
        || json!({ "event": "ready", "guid": guid, "contact": contact, "listen": listen, "gateway": Value::Null });
    form.say(human, json);
}

/// Prints events until interrupted.
pub(crate) async fn follow(form: Form, mut events: mpsc::Receiver<Event>, interrupt: &Interrupt) {
    loop {
        tokio::select! {
            () = interrupt.wait() => return,
            Some(event) = events.recv() => print(form, &event),
        }
    }
}

fn print(form: Form, event: &Event) {
    match event {
        Event::Neighbor { overlay, peer, up } => {
            let (sign, word) = if *up { ('+', "neighbor_up") } else { ('-', "neighbor_down") };
            let json = || json!({ "event": word, "overlay": overlay, "peer": peer.to_string() });
            form.say(format_args!("{sign} {overlay} {}", peer.short()), json);
        }
        Event::Message { overlay, from, payload } => {
            let text = String::from_utf8_lossy(payload);
            let shown = plain(&text);
            let json = || json!({ "event": "message", "overlay": overlay, "from": from.to_string(), "payload": text });
            form.say(format_args!("{} says on {overlay}: {shown}", from.short()), json);
        }
    }
}

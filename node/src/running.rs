//! A node with the overlays that a command line asked for.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use anyhow::{Context as _, bail};
use polymorph::core::engine::io::Watch;
use polymorph::core::runtime::{Request, ServiceError};
use polymorph::core::snapshot::Snapshot;
use polymorph::core::topology::event::Change;
use polymorph::media::Store;
use polymorph::{Contact, Guid, Identity, Key, Node, Overlay, TransportAddress};
use tokio::sync::mpsc;

use crate::home::Settings;
use crate::media_service::MediaService;
use crate::memory::{Memory, WRITE_EVERY};
use crate::overlay_text::OverlayText;

/// How long leaving may take.
pub(crate) const DRAIN: Duration = Duration::from_secs(3);
/// How many events wait to be printed; further ones are missed.
const EVENTS: usize = 256;
/// The service that takes `polymorph send`.
pub(crate) const INBOX: &str = "inbox";

/// Where a node listens and whom it joins.
#[derive(Debug, Default)]
pub(crate) struct Start {
    pub(crate) listen: Vec<TransportAddress>,
    pub(crate) advertise: Vec<TransportAddress>,
    pub(crate) join: Vec<Contact>,
}

impl Start {
    /// What flags say, or else the settings.
    pub(crate) fn read(listen: &[String], join: &[String], settings: &Settings) -> anyhow::Result<Self> {
        let or = |flags: &[String], settings: &[String]| match flags {
            [] => settings.to_vec(),
            _ => flags.to_vec(),
        };
        let addresses = |texts: Vec<String>| -> anyhow::Result<Vec<TransportAddress>> {
            texts.iter().map(|text| Ok(text.parse()?)).collect()
        };
        let join = or(join, &settings.join);
        let join = join.iter().map(|word| word.parse().with_context(|| contact(word)));
        Ok(Self {
            listen: addresses(or(listen, &settings.listen))?,
            advertise: addresses(settings.advertise.clone())?,
            join: join.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Listens on every interface over QUIC and TCP if nothing else was said.
    pub(crate) fn or_everywhere(mut self) -> anyhow::Result<Self> {
        if self.listen.is_empty() {
            self.listen = vec!["quic://0.0.0.0:0".parse()?, "tcp://0.0.0.0:0".parse()?];
        }
        Ok(self)
    }
}

/// A contact in a message: its first letters.
fn contact(word: &str) -> String {
    format!("contact {:?}", word.chars().take(12).chain("…".chars()).collect::<String>())
}

/// Something that happened, for whoever watches the program.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// An overlay links to a peer, or does so no longer.
    Neighbor { overlay: String, peer: Guid, up: bool },
    /// A peer sent a message.
    Message { overlay: String, from: Guid, payload: bytes::Bytes },
}

/// One overlay of the running node.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    pub(crate) text: OverlayText,
    pub(crate) overlay: Overlay,
    media: Option<Arc<MediaService>>,
}

/// A running node and what was attached to it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) node: Node,
    store: Option<Store>,
    memory: Option<Memory>,
    join: Vec<Contact>,
    attached: Mutex<Vec<Attached>>,
    events: mpsc::Sender<Event>,
}

impl Running {
    /// Starts a node; its events come out of the queue. With a memory it goes on where it ended.
    pub(crate) async fn start(
        identity: &Identity,
        start: Start,
        store: Option<Store>,
        memory: Option<Memory>,
    ) -> anyhow::Result<(Arc<Self>, mpsc::Receiver<Event>)> {
        let Start { listen, advertise, join } = start;
        let builder = listen.into_iter().fold(polymorph::node(identity), polymorph::Builder::listen);
        let node = advertise.into_iter().fold(builder, polymorph::Builder::advertise).start().await?;
        let (events, queue) = mpsc::channel(EVENTS);
        let running = Arc::new(Self { node, store, memory, join, attached: Mutex::default(), events });
        if running.memory.is_some() {
            tokio::spawn(remember_again(Arc::downgrade(&running)));
        }
        Ok((running, queue))
    }

    /// Writes what is to be remembered, then leaves in good order.
    pub(crate) async fn end(&self) {
        self.remember_all().await;
        self.node.shutdown(DRAIN).await;
    }

    async fn remember_all(&self) {
        for attached in self.overlays() {
            self.remember(&attached).await;
        }
    }

    /// Writes what is to be remembered of an overlay, now.
    pub(crate) async fn remember(&self, attached: &Attached) {
        let Attached { text, overlay, media } = attached;
        let (Some(memory), Ok(name)) = (&self.memory, text.full_name()) else { return };
        // What the store holds is provided again whenever it is opened.
        let keeps = |key: &Key| !media.as_ref().is_some_and(|media| media.provides(key));
        memory.write(name.id(), overlay, keeps).await;
    }

    /// Attaches an overlay and joins it, through those it knew before too.
    pub(crate) async fn attach(&self, text: OverlayText) -> anyhow::Result<Overlay> {
        let known = match &self.memory {
            Some(memory) => memory.read(text.full_name()?.id()).await?,
            None => Snapshot::default(),
        };
        let overlay = self.node.attach(text.build(self.node.guid())?).await?;
        self.watch(&overlay).await?;
        let me = self.node.guid();
        let seeds: Vec<_> = self.join.iter().filter(|contact| contact.guid() != me).cloned().collect();
        let media = match &self.store {
            Some(store) if !text.client => Some(MediaService::start(&overlay, store).await?),
            _ => None,
        };
        let before = known.contacts.clone();
        overlay.resume(known, &seeds).await?;
        if seeds.is_empty() && !before.is_empty() {
            let overlay = overlay.clone();
            tokio::spawn(async move { overlay.begin_if_nobody_does(&before).await });
        }
        let attached = Attached { text, overlay: overlay.clone(), media: media.map(Arc::new) };
        self.lock().push(attached);
        Ok(overlay)
    }

    /// Leaves an overlay in good order.
    pub(crate) async fn detach(&self, name: &str) -> anyhow::Result<()> {
        let attached = self.overlay(Some(name))?;
        self.remember(&attached).await;
        attached.overlay.clone().detach().await?;
        self.lock().retain(|other| other.text.name != name);
        Ok(())
    }

    /// The overlay of this name; without a name the only one.
    pub(crate) fn overlay(&self, name: Option<&str>) -> anyhow::Result<Attached> {
        let all = self.lock();
        let names = || all.iter().map(|one| one.text.name.as_str()).collect::<Vec<_>>().join(", ");
        match (name, all.as_slice()) {
            (Some(name), _) => {
                let found = all.iter().find(|one| one.text.name == name).cloned();
                found.with_context(|| format!("this node has no overlay {name:?}; it has: {}", names()))
            }
            (None, [one]) => Ok(one.clone()),
            (None, []) => bail!("this node has no overlay; attach one"),
            (None, _) => bail!("say which overlay with --overlay; this node has: {}", names()),
        }
    }

    /// All overlays, in the order they were attached.
    pub(crate) fn overlays(&self) -> Vec<Attached> {
        self.lock().clone()
    }

    async fn watch(&self, overlay: &Overlay) -> anyhow::Result<()> {
        let (name, events) = (overlay.name().to_owned(), self.events.clone());
        overlay
            .serve(INBOX, move |request: Request| {
                let Request { from, payload } = request;
                let message = Event::Message { overlay: name.clone(), from, payload };
                let taken = events.try_send(message).map_err(|_| ServiceError("the inbox is full".into()));
                taken.map(|()| bytes::Bytes::new())
            })
            .await?;
        let mut changes = overlay.watch().await?;
        let (name, events) = (overlay.name().to_owned(), self.events.clone());
        tokio::spawn(async move {
            while let Some(change) = changes.recv().await {
                let (peer, up) = match change {
                    Watch::Changed(Change::NeighborUp(peer)) => (peer, true),
                    Watch::Changed(Change::NeighborDown(peer)) => (peer, false),
                    _ => continue,
                };
                let _ = events.try_send(Event::Neighbor { overlay: name.clone(), peer, up });
            }
        });
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Attached>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what changed now and then, as long as the node is there.
async fn remember_again(running: Weak<Running>) {
    loop {
        tokio::time::sleep(WRITE_EVERY).await;
        let Some(running) = running.upgrade() else { return };
        running.remember_all().await;
    }
}

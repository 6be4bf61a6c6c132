//! Files on their way: shared by a few nodes, announced over the mesh, found through the ring, fetched by the others.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use polymorph::core::engine::io::Origin;
use polymorph::media::package::{extract, share};
use polymorph::media::store::Import;
use polymorph::media::{Hash, Link, samples};
use polymorph::{Guid, Subscription};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::crew::{Crew, Member, WITHIN};
use crate::fetching::Fetch;
use crate::media_service::{MediaService, provide};
use crate::patience;

/// How many nodes have a file from the start.
const PROVIDERS: usize = 3;
/// How many nodes fetch a file the user brought along, which may be large.
const FETCHERS_OF_LARGE: usize = 1;
/// How many fetches run at once.
const FETCHING: usize = 16;

/// What became of a file.
#[derive(Clone, Debug)]
pub(super) struct FileReport {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) hash: Hash,
    /// Different providers that delivered bytes of it.
    pub(super) sources: usize,
    /// How many nodes fetched and verified it.
    pub(super) fetched: usize,
}

impl FileReport {
    pub(super) fn json(&self) -> Value {
        json!({ "name": self.name, "bytes": self.bytes, "hash": self.hash.to_string(), "sources": self.sources,
            "verified": true })
    }
}

/// A file, and who has it.
#[derive(Debug)]
struct Shared {
    name: String,
    bytes: u64,
    hash: Hash,
    link: Link,
    fetchers: Vec<usize>,
}

/// Shares, announces, finds, fetches and verifies all files.
pub(super) async fn pass_on(crew: &mut Crew, more: &[PathBuf]) -> anyhow::Result<Vec<FileReport>> {
    let folder = crew.folder.path().join("samples");
    fs::create_dir(&folder)?;
    let mut files = Vec::new();
    for (name, bytes) in samples::FILES {
        let path = folder.join(name);
        fs::write(&path, bytes)?;
        files.push((path, crew.members.len()));
    }
    files.extend(more.iter().map(|path| (path.clone(), FETCHERS_OF_LARGE)));
    let mut shared = Vec::new();
    for (number, (path, fetchers)) in files.into_iter().enumerate() {
        shared.push(give_out(crew, number, &path, fetchers).await?);
    }
    let mut services = Vec::new();
    for member in &crew.members {
        services.push(MediaService::start(&member.find, &member.store).await?);
    }
    for file in &shared {
        for provider in providers(crew, file) {
            for hash in [file.link.root(), file.hash] {
                patience::until(&provider.find, WITHIN, async || provide(&provider.find, hash).await).await?;
            }
        }
    }
    announce(crew, &shared).await?;
    let mut reports = Vec::new();
    for file in &shared {
        reports.push(fetch(crew, file).await?);
    }
    Ok(reports)
}

fn providers<'a>(crew: &'a Crew, file: &'a Shared) -> impl Iterator<Item = &'a Member> {
    let contacts = file.link.contacts();
    crew.members.iter().filter(|member| contacts.iter().any(|contact| contact.guid() == member.node.guid()))
}

/// Puts a file into the stores of a few nodes, which makes the same package of it everywhere.
async fn give_out(crew: &Crew, number: usize, path: &Path, fetchers: usize) -> anyhow::Result<Shared> {
    let count = crew.members.len();
    let providers: Vec<usize> = (0..PROVIDERS.min(count - 1)).map(|next| (number + next) % count).collect();
    let mut made = None;
    for &provider in &providers {
        let store = &crew.members[provider].store;
        made = Some(share(store, "", vec![path.into()], Import::Reference).await?);
    }
    let (package, root) = made.context("nobody shares the file")?;
    let item = package.items().first().filter(|_| package.items().len() == 1);
    let item = item.with_context(|| format!("{} is not one file; name a file", path.display()))?;
    let contacts: Vec<_> = providers.iter().map(|provider| crew.members[*provider].node.contact()).collect();
    let link = Link::new(root, crew.members[0].find.name(), Some("chord"), &contacts)?;
    let others = (0..count).filter(|member| !providers.contains(member));
    let fetchers = others.take(fetchers).collect();
    Ok(Shared { name: item.name.clone(), bytes: item.length, hash: item.hash, link, fetchers })
}

/// The first node announces all links over the mesh; every other must hear every one of them, signed.
async fn announce(crew: &Crew, shared: &[Shared]) -> anyhow::Result<()> {
    let mut hears = Vec::new();
    for member in &crew.members[1..] {
        hears.push(member.announce.subscribe(None).await?);
    }
    let herald = &crew.members[0];
    for file in shared {
        let word = Bytes::from(file.link.to_string());
        let publish = async || herald.announce.publish(None, word.clone(), Origin::Signed).await;
        patience::until(&herald.announce, WITHIN, publish).await?;
    }
    let words: BTreeSet<String> = shared.iter().map(|file| file.link.to_string()).collect();
    for mut one in hears {
        hear(&mut one, herald.node.guid(), words.clone()).await?;
    }
    Ok(())
}

async fn hear(from: &mut Subscription, herald: Guid, mut words: BTreeSet<String>) -> anyhow::Result<()> {
    while !words.is_empty() {
        let news = timeout(WITHIN, from.next()).await.ok().flatten();
        let news = news.with_context(|| format!("{} announcements did not get through the mesh", words.len()))?;
        ensure!(news.origin == Origin::Signed && news.from == herald, "an announcement has a wrong origin");
        words.remove(&String::from_utf8_lossy(&news.payload).into_owned());
    }
    Ok(())
}

/// The others fetch a file, through the ring alone, and write and check it.
async fn fetch(crew: &Crew, file: &Shared) -> anyhow::Result<FileReport> {
    let fetches = file.fetchers.iter().map(|&number| async move {
        let member = &crew.members[number];
        let to = crew.folder.path().join(format!("fetched-{number}-{}", file.hash));
        fetch_at(member, file, &to).await.with_context(|| format!("{} at node {number}", file.name))
    });
    let sources: Vec<Vec<Guid>> = futures_util::stream::iter(fetches).buffer_unordered(FETCHING).try_collect().await?;
    let fetched = sources.len();
    let sources: BTreeSet<Guid> = sources.into_iter().flatten().collect();
    let (name, bytes, hash) = (file.name.clone(), file.bytes, file.hash);
    Ok(FileReport { name, bytes, hash, sources: sources.len(), fetched })
}

async fn fetch_at(member: &Member, file: &Shared, to: &Path) -> anyhow::Result<Vec<Guid>> {
    let (overlay, store, root) = (&member.find, &member.store, file.link.root());
    let fetch = Fetch { overlay, store, root, known: Vec::new(), limit: None, progress: None };
    let (package, fetched) = Box::pin(fetch.run()).await?;
    let written = extract(store, &package, to).await?;
    let hash = tokio::task::spawn_blocking(move || -> anyhow::Result<Hash> {
        let mut hasher = blake3::Hasher::new();
        std::io::copy(&mut fs::File::open(written)?, &mut hasher)?;
        Ok(Hash(*hasher.finalize().as_bytes()))
    });
    ensure!(hash.await?? == file.hash, "what was written is not what was shared");
    Ok(fetched.by.into_iter().map(|(guid, _)| guid).collect())
}

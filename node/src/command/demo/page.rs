//! A small web page of the demo: what the nodes are linked to, and the files as a node fetched them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use polymorph::media::{Hash, Store};
use polymorph::{Node, Overlay};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::crew::Crew;

/// How long a request may be.
const MAX_REQUEST_BYTES: usize = 8 * 1024;
/// How long it may take.
const WITHIN: Duration = Duration::from_secs(10);
/// How many are answered at once; further ones wait.
const MAX_CLIENTS: usize = 32;
/// How large a file is shown; all of it is in memory for a moment.
const MAX_FILE_BYTES: u64 = 16 << 20;

const HTML: &str = include_str!("page.html");

/// What is shown. Files come from the store of the first node that has them.
#[derive(Debug)]
struct Shown {
    summary: Value,
    members: Vec<(Node, Store, Vec<Overlay>)>,
}

/// The page, as long as it lives.
#[derive(Debug)]
pub(super) struct Page {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Page {
    /// Shows the page at `address`; port 0 picks a free one.
    pub(super) async fn start(address: SocketAddr, crew: &Crew, summary: Value) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("the page cannot be at {address}; choose another place with --page"))?;
        let address = listener.local_addr()?;
        let member = |m: &super::crew::Member| {
            let overlays = [&m.find, &m.announce, &m.stream, &m.paths].map(Clone::clone).to_vec();
            (m.node.clone(), m.store.clone(), overlays)
        };
        let shown = Arc::new(Shown { summary, members: crew.members.iter().map(member).collect() });
        let task = AbortOnDropHandle::new(tokio::spawn(accept(listener, shown)));
        Ok(Self { address, _task: task })
    }

    /// Where it is.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

async fn accept(listener: TcpListener, shown: Arc<Shown>) {
    let mut clients = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if clients.len() < MAX_CLIENTS => match accepted {
                Ok((stream, _)) => {
                    let shown = shown.clone();
                    clients.spawn(async move { tokio::time::timeout(WITHIN, talk(stream, &shown)).await });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = clients.join_next() => {}
        }
    }
}

async fn talk(mut stream: TcpStream, shown: &Shown) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() >= MAX_REQUEST_BYTES || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let (status, kind, body) = match line.split(' ').collect::<Vec<_>>()[..] {
        ["GET", path, _] => answer(path, shown).await,
        _ => ("405 Method Not Allowed", "text/plain".into(), b"only GET\n".to_vec()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nx-content-type-options: nosniff\r\n\
         cache-control: no-store\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.shutdown().await
}

async fn answer(path: &str, shown: &Shown) -> (&'static str, String, Vec<u8>) {
    match path {
        "/" => ("200 OK", "text/html; charset=utf-8".into(), HTML.into()),
        "/state.json" => ("200 OK", "application/json".into(), state(shown).await.to_string().into_bytes()),
        _ => match file(path.trim_start_matches("/file/"), shown).await {
            Some((kind, body)) => ("200 OK", kind, body),
            None => ("404 Not Found", "text/plain".into(), b"there is no such page\n".to_vec()),
        },
    }
}

async fn state(shown: &Shown) -> Value {
    let mut nodes = Vec::new();
    for (node, store, overlays) in &shown.members {
        let mut rows = Vec::new();
        for overlay in overlays {
            let neighbors = overlay.neighbors().await.unwrap_or_default();
            let row = |n: &polymorph::core::topology::question::Neighbor| {
                json!([n.peer.short(), format!("{:?}", n.role).to_lowercase()])
            };
            let rows_of: Vec<Value> = neighbors.iter().map(row).collect();
            rows.push(json!({ "name": overlay.name(), "neighbors": rows_of }));
        }
        let listen: Vec<String> = node.listening().iter().map(ToString::to_string).collect();
        let blobs = store.holdings().await.map_or(0, |all| all.len());
        let status = node.status().await.ok();
        nodes.push(json!({
            "guid": node.guid().short(), "listen": listen, "overlays": rows, "blobs": blobs,
            "sessions": status.map(|s| s.sessions), "engine_bytes": status.map(|s| s.engine_bytes),
        }));
    }
    json!({ "nodes": nodes, "summary": shown.summary })
}

async fn file(hash: &str, shown: &Shown) -> Option<(String, Vec<u8>)> {
    let hash: Hash = hash.parse().ok()?;
    let text = hash.to_string();
    let files = shown.summary["files"].as_array()?;
    let name = files.iter().find(|file| file["hash"] == text.as_str())?["name"].as_str()?;
    for (_, store, _) in &shown.members {
        if let Ok(Some(_)) = store.holding(hash).await {
            let bytes = store.read(hash, MAX_FILE_BYTES).await.ok()?;
            return Some((polymorph::media::package::media_type::of_name(name).to_owned(), bytes));
        }
    }
    None
}

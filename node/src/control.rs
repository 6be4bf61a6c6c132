//! The local control socket of a running node: one request a line, answered in lines of JSON.
//!
//! `{"do":"status"}` is answered with `{"ok":…}` lines, then `{"end":true}` or `{"error":"why"}`. Only the owner of
//! the home may connect (mode 0600); requests are bounded in length and number.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use polymorph::core::record::Quorum;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::task::AbortOnDropHandle;

use crate::output::Form;
use crate::running::Running;

mod answer;
mod records;

/// How long a request may be: a payload of 256 KiB in hexadecimal.
const MAX_REQUEST_BYTES: u64 = 600 * 1024;
/// How many may be connected at once; further ones wait.
const MAX_CLIENTS: usize = 32;
/// How long a client may take to say what it wants.
const ASK_WITHIN: Duration = Duration::from_secs(10);

/// What a running node can be told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Request {
    Status,
    Peers,
    Overlays,
    Attach { overlay: String },
    Detach { overlay: String },
    Lookup { overlay: Option<String>, key: String, count: usize },
    Send { overlay: Option<String>, to: String, payload: String },
    Publish { overlay: Option<String>, topic: Option<String>, payload: String },
    Subscribe { overlay: Option<String>, topic: Option<String> },
    Records { overlay: Option<String>, key: String, what: OnRecords },
}

/// What is to be done about the records under a key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnRecords {
    /// The value in hexadecimal; the lifetime in seconds.
    Put {
        value: String,
        lifetime: u64,
        quorum: Quorum,
        sequence: Option<u64>,
    },
    Get {
        quorum: Quorum,
    },
    Withdraw,
    Provide {
        lifetime: u64,
    },
    Providers,
}

/// Answers on the socket as long as it lives.
#[derive(Debug)]
pub(crate) struct Server {
    path: PathBuf,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    /// Opens the socket. A node without one runs all the same, and says why.
    pub(crate) fn start(path: &Path, running: Arc<Running>, form: Form) -> Option<Self> {
        match bind(path) {
            Ok(listener) => {
                let task = AbortOnDropHandle::new(tokio::spawn(accept(listener, running)));
                Some(Self { path: path.into(), _task: task })
            }
            Err(error) => {
                form.tell(format_args!("this node cannot be told anything: {error:#}"));
                tracing::warn!(%error, "no control socket");
                None
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The home is this process's own, so a socket that is there is a leftover.
fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    let failed = || format!("control socket {}", path.display());
    let _ = std::fs::remove_file(path);
    // Nobody else can connect before the mode is set: the socket is made beside its final name.
    let fresh = path.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh).with_context(failed)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600)).with_context(failed)?;
    std::fs::rename(&fresh, path).with_context(failed)?;
    Ok(listener)
}

async fn accept(listener: UnixListener, running: Arc<Running>) {
    let mut clients = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if clients.len() < MAX_CLIENTS => match accepted {
                Ok((stream, _)) => drop(clients.spawn(talk(stream, running.clone()))),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = clients.join_next() => {}
        }
    }
}

async fn talk(stream: UnixStream, running: Arc<Running>) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read.take(MAX_REQUEST_BYTES));
    let mut line = String::new();
    let Ok(Ok(_)) = tokio::time::timeout(ASK_WITHIN, read.read_line(&mut line)).await else { return };
    let (lines, mut answers) = tokio::sync::mpsc::channel::<Value>(16);
    let work = async move {
        let request = serde_json::from_str(&line).context("this program and the running node differ in version");
        let answered = match request {
            Ok(request) => answer::answer(request, &running, &lines).await,
            Err(error) => Err(error),
        };
        let last = match answered {
            Ok(()) => json!({ "end": true }),
            Err(error) => json!({ "error": format!("{error:#}") }),
        };
        let _ = lines.send(last).await;
    };
    let pass_on = async {
        while let Some(answer) = answers.recv().await {
            if write.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
                return;
            }
        }
    };
    // Whoever goes away ends a subscription.
    let mut rest = [0; 1];
    tokio::select! {
        ((), ()) = async { tokio::join!(work, pass_on) } => {}
        _ = read.read(&mut rest) => {}
    }
}

/// Asks the node that has this home, and gives each answer to `each`.
pub(crate) async fn ask(path: &Path, request: &Request, mut each: impl FnMut(Value)) -> anyhow::Result<()> {
    let nobody =
        || format!("no node runs with this home (looked for {}); start one with polymorph node", path.display());
    let mut stream = UnixStream::connect(path).await.with_context(nobody)?;
    stream
        .write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes())
        .await
        .context("the node went away")?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await.context("the node went away")? {
        let mut answer: Value =
            serde_json::from_str(&line).context("the node answers oddly; is it another version?")?;
        if let Some(error) = answer.get("error").and_then(Value::as_str) {
            return Err(anyhow!("{error}"));
        }
        match answer.get_mut("ok") {
            Some(ok) => each(ok.take()),
            None => return Ok(()),
        }
    }
    bail!("the node ended before it had answered")
}

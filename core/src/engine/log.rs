//! Event logs: everything that went into an engine, and everything that came out of it.
//!
//! An engine does nothing by itself, so what it was given is all there is to know about what it did: a log of a real
//! node on sockets, fed to a new engine ([`replay`]), gives the same outputs byte for byte, in a debugger and as often
//! as one likes. TigerBeetle and commonware replay their simulations alike.
//!
//! A log is a row of records, each a varint length and a postcard [`Entry`]. It holds the seed of the node's
//! randomness and everything it was told: whoever reads it can guess as the node does.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::io::{Attach, Input, Output};
use super::{Contacts, Engine, Slot, Workspace, settings};
use crate::topology::Topology;
use crate::wire::frame::Body;
use crate::{Contact, Guid, Signer, Time, Verifier};

/// The form of a log. Another is not read.
const VERSION: u32 = 1;

/// One record of a log.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Entry<T: Topology> {
    /// The first: how the engine was made.
    Began {
        /// The form of the log.
        version: u32,
        /// Whose engine.
        me: Guid,
        /// The seed of all its randomness.
        seed: [u8; 32],
        /// Its bounds.
        settings: settings::Node,
    },
    /// The node's own contact was put into its book.
    Introduced(Contact),
    /// An overlay was attached.
    Attached(Time),
    /// An overlay was detached.
    Detached(Time, Slot),
    /// The node shut down.
    Ended(Time),
    /// Something happened.
    Input(Time, Input<T>, Undone),
    /// The next thing the engine put out.
    Output(Vec<u8>),
}

impl<T: Topology> core::fmt::Debug for Entry<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Began { me, .. } => write!(f, "began {me:?}"),
            Self::Introduced(_) => f.write_str("introduced"),
            Self::Attached(now) => write!(f, "{now:?} attached"),
            Self::Detached(now, slot) => write!(f, "{now:?} detached {slot:?}"),
            Self::Ended(now) => write!(f, "{now:?} ended"),
            Self::Input(now, input, _) => write!(f, "{now:?} {input:?}"),
            Self::Output(bytes) => write!(f, "output of {} bytes", bytes.len()),
        }
    }
}

/// What a routed message that comes back remembers, and what no wire carries: the state with which the last hop asked
/// for its way, and who was tried.
pub type Undone = Option<(bytes::Bytes, Vec<Guid>)>;

/// What `input` would lose on its way into a log.
#[must_use]
pub fn undone<T: Topology>(input: &Input<T>) -> Undone {
    match input {
        Input::Undelivered { frame, .. } => match &frame.body {
            Body::Routed(routed) => Some((routed.before.clone(), routed.tried.clone())),
            _ => None,
        },
        _ => None,
    }
}

/// The first entry of a log.
#[must_use]
pub fn began<T: Topology>(me: Guid, seed: [u8; 32], settings: &settings::Node) -> Entry<T> {
    Entry::Began { version: VERSION, me, seed, settings: settings.clone() }
}

/// An output as a log has it.
///
/// # Panics
/// If a message's own `Serialize` fails, which is its author's mistake.
#[must_use]
pub fn output<T: Topology>(output: &Output<T>) -> Vec<u8> {
    postcard::to_stdvec(output).expect("an output serializes")
}

/// Appends an entry to `to`.
///
/// # Panics
/// If a message's own `Serialize` fails, which is its author's mistake.
pub fn append<T: Topology>(entry: &Entry<T>, to: &mut Vec<u8>) {
    let bytes = postcard::to_stdvec(entry).expect("an entry serializes");
    to.extend(postcard::to_stdvec(&(bytes.len() as u32)).unwrap_or_default());
    to.extend(bytes);
}

/// What a log said, and an engine did again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Replayed {
    /// How often something went in.
    pub inputs: usize,
    /// How many things came out, all alike.
    pub outputs: usize,
}

/// Why a log was not done again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReplayError {
    /// The bytes from here on are no entry. A node that was killed leaves half of one.
    #[error("the log's entry at byte {0} does not decode")]
    Malformed(usize),
    /// It does not begin as a log of this version and of this signer's node does.
    #[error("this is no log of this node, or one of another version")]
    Foreign,
    /// The engine did something else.
    #[error("output {at}: the node said {logged}, the engine says {replayed}")]
    Differs {
        /// Which output, counted from 0.
        at: usize,
        /// What the log says, or nothing if it says nothing more.
        logged: String,
        /// What the engine says, or nothing.
        replayed: String,
    },
}

/// Feeds everything a log says went into an engine into a new one, and compares what comes out with what came out
/// then. `attach` makes the overlays that were attached, in their order. Entries that were cut off at the end are
/// named in the error, so that what stands before them may be replayed alone.
///
/// # Errors
/// Every variant of [`ReplayError`].
pub fn replay<T: Topology>(
    log: &[u8],
    signer: Arc<dyn Signer>,
    verifier: Arc<dyn Verifier>,
    mut attach: impl FnMut(usize) -> Attach<T>,
) -> Result<Replayed, ReplayError> {
    let mut entries = Entries { log, at: 0 };
    let Some(Entry::<T>::Began { version: VERSION, me, seed, settings }) = entries.next()? else {
        return Err(ReplayError::Foreign);
    };
    if Guid::of(&signer.public_key()) != me {
        return Err(ReplayError::Foreign);
    }
    let mut ws = workspace(verifier.clone(), &seed);
    let mut engine = Engine::new(Arc::new(settings), signer, verifier, seed);
    let (mut done, mut attached) = (Replayed::default(), 0);
    // What came out and was not compared yet.
    let mut out = std::collections::VecDeque::new();
    while let Some(entry) = entries.next()? {
        done.inputs += usize::from(matches!(entry, Entry::Input(..)));
        match entry {
            Entry::Began { .. } => return Err(ReplayError::Foreign),
            Entry::Introduced(contact) => ws.book.introduce(contact),
            Entry::Attached(now) => {
                // Whether it could be was said to whoever asked, and shows in what follows.
                let _ = engine.attach(now, attach(attached), &mut ws);
                attached += 1;
            }
            Entry::Detached(now, slot) => engine.detach(now, slot, &mut ws),
            Entry::Ended(now) => engine.shutdown(now, &mut ws),
            Entry::Input(now, input, undone) => engine.handle(now, restored(input, undone), &mut ws),
            Entry::Output(logged) => {
                let next: Option<Output<T>> = out.pop_front();
                if next.as_ref().map(output).as_ref() != Some(&logged) {
                    return Err(differs(done.outputs, Some(&logged), next.as_ref()));
                }
                done.outputs += 1;
            }
        }
        out.extend(ws.out.drain(..));
    }
    match out.front() {
        None => Ok(done),
        Some(more) => Err(differs(done.outputs, None, Some(more))),
    }
}

/// The workspace of a node whose randomness follows from `seed`.
#[must_use]
pub fn workspace<T: Topology>(verifier: Arc<dyn Verifier>, seed: &[u8; 32]) -> Workspace<T> {
    let hash_seed = u64::from_le_bytes(seed[..8].try_into().unwrap_or_default());
    Workspace::new(Box::new(Contacts::new(verifier, hash_seed)))
}

fn restored<T: Topology>(mut input: Input<T>, undone: Undone) -> Input<T> {
    if let (Input::Undelivered { frame, .. }, Some((before, tried))) = (&mut input, undone)
        && let Body::Routed(routed) = &mut frame.body
    {
        (routed.before, routed.tried) = (before, tried);
    }
    input
}

fn differs<T: Topology>(at: usize, logged: Option<&Vec<u8>>, replayed: Option<&Output<T>>) -> ReplayError {
    let logged = logged.map_or_else(|| "nothing".to_owned(), |bytes| format!("{} bytes", bytes.len()));
    let replayed = replayed.map_or_else(|| "nothing".to_owned(), |output| format!("{output:?}"));
    ReplayError::Differs { at, logged, replayed }
}

struct Entries<'a> {
    log: &'a [u8],
    at: usize,
}

impl Entries<'_> {
    fn next<T: Topology>(&mut self) -> Result<Option<Entry<T>>, ReplayError> {
        let rest = self.log.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let malformed = ReplayError::Malformed(self.at);
        let Ok((len, rest)) = postcard::take_from_bytes::<u32>(rest) else { return Err(malformed) };
        let (Some(bytes), after) = (rest.get(..len as usize), self.log.len() - rest.len()) else {
            return Err(malformed);
        };
        match postcard::take_from_bytes(bytes) {
            Ok((entry, [])) => {
                self.at = after + len as usize;
                Ok(Some(entry))
            }
            _ => Err(malformed),
        }
    }
}

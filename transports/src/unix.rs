//! TLS 1.3 over Unix domain sockets: `unix:PATH`. Reaches nodes of one machine; identities are proven all the same.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use polymorph_core::runtime::transport::{Connection, Listener, Transport, TransportError};
use polymorph_core::{Guid, Identity, TransportAddress};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};

use crate::socket::{Socket, Wires, poll_socket};

/// The Unix-socket transport of one node. A bulk stream is a connection of its own, opened by the side that dialed.
#[derive(Clone, Debug)]
pub struct Unix {
    wires: Arc<Wires<UnixStream>>,
}

impl Unix {
    /// For the node that `identity` is.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        Self { wires: Wires::new(identity) }
    }
}

#[async_trait]
impl Transport for Unix {
    fn handles(&self, address: &TransportAddress) -> bool {
        matches!(address, TransportAddress::Unix(_))
    }

    /// A socket file that nobody listens on any more is replaced; any other file is left alone.
    async fn listen(&self, address: &TransportAddress) -> Result<Box<dyn Listener>, TransportError> {
        if !self.handles(address) {
            return Err(TransportError::NoTransport(address.clone()));
        }
        self.wires.listen(address).await
    }

    async fn dial(
        &self,
        address: &TransportAddress,
        expected: Option<Guid>,
    ) -> Result<Arc<dyn Connection>, TransportError> {
        if !self.handles(address) {
            return Err(TransportError::NoTransport(address.clone()));
        }
        self.wires.dial(address, expected).await
    }
}

/// A listening socket and its file, which goes with it.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: a file that somebody else put there since is not ours to remove.
    file: Option<(u64, u64)>,
}

impl Drop for Door {
    fn drop(&mut self) {
        if self.file.is_some() && self.file == identify(&self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Socket for UnixStream {
    type Door = Door;

    async fn connect(address: &TransportAddress) -> io::Result<Self> {
        Self::connect(path(address)?).await
    }

    async fn bind(address: &TransportAddress) -> io::Result<(Door, TransportAddress)> {
        let path = path(address)?.to_owned();
        let listener = match UnixListener::bind(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(&path).await => {
                fs::remove_file(&path)?;
                UnixListener::bind(&path)?
            }
            other => other?,
        };
        let file = identify(&path);
        Ok((Door { listener, path, file }, address.clone()))
    }

    async fn accept(door: &Door) -> io::Result<(Self, TransportAddress)> {
        let (stream, _) = door.listener.accept().await?;
        // A dialing socket has no name: all that can be said is where we met.
        Ok((stream, TransportAddress::Unix(door.path.to_string_lossy().into_owned())))
    }

    poll_socket!();
}

fn path(address: &TransportAddress) -> io::Result<&Path> {
    match address {
        TransportAddress::Unix(path) => Ok(Path::new(path)),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn identify(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Whether this is a socket left behind: nobody listens on it.
async fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    is_socket && UnixStream::connect(path).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(path: &Path) -> TransportAddress {
        TransportAddress::Unix(path.to_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a plain listener leaves its file behind");
        let unix = Unix::new(&Identity::from_seed(&[1; 32]));
        let listener = unix.listen(&address(&path)).await.unwrap();
        let second = unix.listen(&address(&path)).await;
        assert!(matches!(second, Err(TransportError::Io { error, .. }) if error.kind() == io::ErrorKind::AddrInUse));
        drop(listener);
        while path.exists() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("letter");
        fs::write(&path, "dear").unwrap();
        let unix = Unix::new(&Identity::from_seed(&[1; 32]));
        assert!(unix.listen(&address(&path)).await.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "dear");
    }
}

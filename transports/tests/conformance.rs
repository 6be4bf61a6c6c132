//! Every transport passes the same rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use polymorph_core::runtime::transport::Transport;
use polymorph_core::{Identity, TransportAddress};
use polymorph_transports::conformance::Subject;
use polymorph_transports::memory::Hub;
use polymorph_transports::{Memory, Tcp, Unix};

struct InMemory(Hub);

impl Subject for InMemory {
    fn transport(&self, identity: &Identity) -> Arc<dyn Transport> {
        Arc::new(Memory::new(identity, &self.0))
    }

    fn address(&self) -> TransportAddress {
        TransportAddress::Memory("0".into())
    }
}

struct OverTcp;

impl Subject for OverTcp {
    fn transport(&self, identity: &Identity) -> Arc<dyn Transport> {
        Arc::new(Tcp::new(identity))
    }

    fn address(&self) -> TransportAddress {
        "tcp://127.0.0.1:0".parse().unwrap()
    }
}

struct OverTcp6;

impl Subject for OverTcp6 {
    fn transport(&self, identity: &Identity) -> Arc<dyn Transport> {
        Arc::new(Tcp::new(identity))
    }

    fn address(&self) -> TransportAddress {
        "tcp://[::1]:0".parse().unwrap()
    }
}

struct OverUnix {
    dir: tempfile::TempDir,
    next: AtomicUsize,
}

impl OverUnix {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), next: AtomicUsize::new(0) }
    }
}

impl Subject for OverUnix {
    fn transport(&self, identity: &Identity) -> Arc<dyn Transport> {
        Arc::new(Unix::new(identity))
    }

    fn address(&self) -> TransportAddress {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        TransportAddress::Unix(self.dir.path().join(name).to_str().unwrap().into())
    }
}

polymorph_transports::conformance!(memory, InMemory(Hub::new()));
polymorph_transports::conformance!(tcp, OverTcp);
polymorph_transports::conformance!(tcp_over_ipv6, OverTcp6);
polymorph_transports::conformance!(unix, OverUnix::new());
